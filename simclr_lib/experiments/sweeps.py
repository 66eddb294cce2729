"""The questions of the paper as sweeps: each is a function from a recipe to the variants that are compared.

A sweep's name is its function's, its question is the docstring, and `SWEEPS` lists all of them in this order. On
emblems a sweep takes minutes on a CPU; those that only pretrain also run on other data sets, with a GPU.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from simclr_lib.augment import SimCLRAugment
from simclr_lib.choices import OptimizerName
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset
from simclr_lib.device import pick_device, place
from simclr_lib.errors import unknown_name
from simclr_lib.evaluation import SHIFTS, accuracy, extract_features, linear_probe, shifted
from simclr_lib.experiments.comparison import (
    epochs_for,
    evaluate_baselines,
    evaluate_encoder,
    few_label_parts,
    fine_tuned_classifier,
    supervised_row,
)
from simclr_lib.experiments.rows import Rows
from simclr_lib.loop import BatchLoss, fit
from simclr_lib.losses import nt_xent
from simclr_lib.models import Classifier, SimCLR
from simclr_lib.objectives import draw_views, make_views
from simclr_lib.recipes import EMBLEMS_SUPERVISED
from simclr_lib.results import Accuracy, Table, summary
from simclr_lib.seeding import initial_weights
from simclr_lib.training import pretrain, train_supervised

Variants = dict[str, TrainConfig]
"""Name of a variant → its settings."""


@dataclass(frozen=True)
class Budget:
    """The work of a sweep besides pretraining.

    Attributes:
        labels: labels per class that "labels" compares.
        few_labels: the fewer of them at which training from scratch is repeated with as many views as SimCLR saw.
        steps: steps of training from scratch.
        fine_tuning_steps: steps of fine-tuning; chosen on training images held out.
        test_images: test emblems.
    """

    labels: tuple[int, ...] = (10, 20, 50, 100)
    few_labels: tuple[int, ...] = (10, 100)
    steps: int = 300
    fine_tuning_steps: int = 150
    test_images: int = 1024


Measured = Iterator[tuple[Collection[str], Table]]
"""Yields, again and again, (names of variants that are done, their rows of the table)."""

Measure = Callable[[Variants, ImageDataset, ImageDataset, Budget], Measured]
"""From (variants with one seed, training images, test images, budget) to the rows of that seed's table."""


@dataclass(frozen=True)
class Sweep:
    """A comparison of variants.

    Attributes:
        question: the question that it answers.
        variants: from the recipe, with its seed and device, to the variants.
        measure: makes the table of one seed, piece by piece.
    """

    question: str
    variants: Callable[[TrainConfig], Variants]
    measure: Measure

    def chosen(self, base: TrainConfig, only: Sequence[str] | None = None) -> Variants:
        """The variants of a recipe, or those of these names.

        Raises:
            SimCLRError: there is no variant of a name.
        """
        variants = self.variants(base)
        for name in only or ():
            if name not in variants:
                raise unknown_name("variant", name, variants)
        return {name: variant for name, variant in variants.items() if only is None or name in only}

    def table(
        self, variants: Variants, seed: int, train: ImageDataset, test: ImageDataset, budget: Budget, rows: Rows
    ) -> Table:
        """Measure the variants with a seed, except for those that ``rows`` has already, and keep them there."""
        left = {
            name: replace(variant, seed=seed)
            for name, variant in variants.items()
            if name not in rows.variants_of(seed)
        }
        if left:
            for names, table in self.measure(left, train, test, budget):
                rows.add(seed, names, table)
        return rows.table_of(seed)


SWEEPS: dict[str, Sweep] = {}
"""Every sweep by its name."""


def answered_by(measure: Measure) -> Callable[[Callable[[TrainConfig], Variants]], Callable[[TrainConfig], Variants]]:
    """Register a function of variants as a sweep: its name gives the sweep's name, its docstring the question."""

    def register(variants: Callable[[TrainConfig], Variants]) -> Callable[[TrainConfig], Variants]:
        question = " ".join((inspect.getdoc(variants) or "").split())
        SWEEPS[variants.__name__.replace("_", "-")] = Sweep(question, variants, measure)
        return variants

    return register


def overview() -> str:
    """The names and questions of all sweeps, a line each."""
    width = max(map(len, SWEEPS))
    return "\n".join(f"{name:<{width}}  {sweep.question}" for name, sweep in SWEEPS.items())


# Ways to measure.


def pretrained_rows(
    variants: Variants,
    train: ImageDataset,
    test: ImageDataset,
    budget: Budget,
    baselines: bool = False,
    also_z: bool = False,
    normalized: str | None = None,
) -> Measured:
    """Pretrain every variant and evaluate its features: one variant after the other.

    Args:
        variants: name → settings.
        train: training images.
        test: test images.
        budget: is not needed here.
        baselines: also measure a random encoder and the pixels.
        also_z: also measure the projection head's output.
        normalized: how the names of variants begin in which batch normalisation takes the place of the head.
    """
    if baselines:
        yield (), evaluate_baselines(next(iter(variants.values())), train, test)
    for name, config in variants.items():
        _announce(config, name)
        without_head = normalized is not None and name.startswith(normalized)
        model = pretrained_without_head(train, config) if without_head else pretrain(train, config)
        rows: Table = {}
        rows[f"SimCLR, {name}"], *_ = evaluate_encoder(model.encoder, config, train, test)
        if also_z:
            whole = nn.Sequential(model.encoder, model.projector)
            rows[f"SimCLR, {name}, z"], *_ = evaluate_encoder(whole, config, train, test)
        yield [name], rows
        if config.compile:
            torch.compiler.reset()  # else PyTorch compiles no more than eight networks, and keeps the memory of all


def pretrained_without_head(train: ImageDataset, config: TrainConfig) -> SimCLR:
    """Pretrain an encoder with the last layer of a projection head behind it: batch normalisation alone."""
    with initial_weights(config.seed):
        encoder = config.encoder(train.image_size)
        norm = nn.BatchNorm1d(config.feature_dim(encoder, train.image_size), affine=False)
    return pretrained_in_parts(SimCLR(encoder, norm), train, config)


def pretrained_in_parts(model: SimCLR, train: ImageDataset, config: TrainConfig, parts: int = 1) -> SimCLR:
    """Pretrain a model with the negatives of each image from one of ``parts`` equal parts of the batch."""
    device = pick_device(config.device)
    model = place(model, device)
    images, augment = train.images.to(device), config.augment(train.image_size)
    objective = objective_of_parts(model, images, augment, config.temperature, parts)
    fit(model, objective, len(train), config.loop(), description="pretraining")
    return model.eval()


def rows_of_batch_parts(variants: Variants, train: ImageDataset, test: ImageDataset, budget: Budget) -> Measured:
    """Take the same steps on the same batches; each image's negatives come from all, a quarter or a sixteenth of it.

    Processes that keep their embeddings to themselves (``global_negatives=False``), but share gradients and batch
    statistics, do just that. One process can play all of them: its loss is the mean of theirs.
    """
    (config,) = variants.values()
    table: Table = {}
    for parts in (1, 4, 16):
        name = f"{2 * config.batch_size // parts - 2} negatives"
        _announce(config, name)
        with initial_weights(config.seed):
            model = config.simclr(train.image_size)
        encoder = pretrained_in_parts(model, train, config, parts).encoder
        table[f"SimCLR, {name}"], *_ = evaluate_encoder(encoder, config, train, test)
    yield variants, table


def objective_of_parts(
    model: SimCLR, images: Tensor, augment: SimCLRAugment, temperature: float, parts: int
) -> BatchLoss:
    """The mean of the NT-Xent losses within each of ``parts`` equal parts of a batch."""

    def batch_loss(indices: Tensor, generator: torch.Generator) -> Tensor:
        _, z = model(make_views(augment, images, draw_views(augment, images, indices, generator, 2)))  # [2B, D]
        pairs = zip(*(half.chunk(parts) for half in z.chunk(2)), strict=True)
        return torch.stack([nt_xent(a, b, temperature) for a, b in pairs]).mean()

    return batch_loss


def rows_of_label_budgets(variants: Variants, train: ImageDataset, test: ImageDataset, budget: Budget) -> Measured:
    """Evaluate SimCLR's features and what they are compared with at every budget of labels, on the same images.

    Training from scratch is measured twice: with the budget's steps, and with as many views as SimCLR saw.
    """
    settings, supervised = variants["SimCLR"], variants["supervised"]
    parts = {**few_label_parts(train, budget.labels, settings.seed), "labels_all": train}
    _announce(settings, "pretraining")
    encoder = pretrain(train, settings).encoder

    def fine_tuned(part: ImageDataset) -> Accuracy:
        _, value = fine_tuned_classifier(encoder, part, test, settings, budget.fine_tuning_steps)
        return summary([value])

    _announce(settings, "linear heads and fine-tuning")
    linear, *_ = evaluate_encoder(encoder, settings, train, test, draws=1, budgets=budget.labels)
    table: Table = {
        "SimCLR, linear head": linear,
        "SimCLR, fine-tuned": {column: fine_tuned(part) for column, part in parts.items()},
        **evaluate_baselines(settings, train, test, draws=1, budgets=budget.labels),
    }
    _announce(settings, f"from scratch, for {budget.steps} steps")
    table["supervised"] = supervised_row(parts, test, supervised, budget.steps)
    steps = 2 * settings.epochs * (len(train) // settings.batch_size)  # SimCLR takes two views of each image
    _announce(settings, f"from scratch, for {steps} steps")
    few = {**few_label_parts(train, budget.few_labels, settings.seed), "labels_all": train}
    table["supervised, as many views"] = supervised_row(few, test, supervised, steps)
    yield variants, table


def rows_of_shifts(variants: Variants, train: ImageDataset, test: ImageDataset, budget: Budget) -> Measured:
    """Test classifiers that had all labels on images with other colours or damage that no training image had.

    Training from scratch is measured twice: with SimCLR's augmentations, and with crops and flips only. The
    augmentations explain the difference between those two; only what is left can be due to SimCLR.
    """
    settings = variants["SimCLR"]
    _announce(settings, "pretraining")
    encoder = pretrain(train, settings).encoder
    h_train, h_test = (extract_features(encoder, part) for part in (train, test))
    probe = linear_probe(h_train, train.labels, h_test, test.labels, seed=settings.seed)
    fine_tuned, _ = fine_tuned_classifier(encoder, train, test, settings, budget.fine_tuning_steps)
    classifiers: dict[str, nn.Module] = {
        "SimCLR, linear head": Classifier(encoder, probe.head.to(next(encoder.parameters()).device)),
        "SimCLR, fine-tuned": fine_tuned,
    }
    for name in ("supervised", "supervised, crops and flips"):
        _announce(settings, name)
        epochs = epochs_for(budget.steps, len(train), variants[name].batch_size)
        classifiers[name] = train_supervised(train, replace(variants[name], epochs=epochs))
    tests = {"unchanged": test, **{shift: shifted(test, shift) for shift in SHIFTS}}
    table = {
        name: {shift: summary([accuracy(classifier, images)]) for shift, images in tests.items()}
        for name, classifier in classifiers.items()
    }
    yield variants, table


def changes(
    base: TrainConfig, variants: Variants, image_size: int, device: torch.device
) -> dict[str, dict[str, object]]:
    """Find, for each variant, the resolved settings that are not those of the resolved recipe ``base``."""
    usual = base.to_dict()
    settings = {name: variant.resolved(image_size, device).to_dict() for name, variant in variants.items()}
    return {name: {key: value for key, value in own.items() if value != usual[key]} for name, own in settings.items()}


def _announce(config: TrainConfig, work: str) -> None:
    print(f"seed {config.seed}: {work} …", flush=True)


# The questions.


@answered_by(partial(pretrained_rows, baselines=True))
def crop_color(base: TrainConfig) -> Variants:
    """Figure 5: which augmentations must come together?"""
    return {
        "crop only": replace(base, color_prob=0.0, gray_prob=0.0),
        "color only": replace(base, crop_min=1.0),
        "crop + color": base,
    }


@answered_by(partial(pretrained_rows, baselines=True))
def views(base: TrainConfig) -> Variants:
    """Which augmentation does this data set need, and which one hurts?"""
    usual = replace(base, flip_prob=0.5, color_prob=0.8, gray_prob=0.2)
    return {
        "crop + flip + color": usual,
        "no flip": replace(usual, flip_prob=0.0),
        "no color": replace(usual, color_prob=0.0, gray_prob=0.0),
        "no flip, no color": replace(usual, flip_prob=0.0, color_prob=0.0, gray_prob=0.0),
        "no crop": replace(usual, crop_min=1.0),
    }


@answered_by(pretrained_rows)
def temperature(base: TrainConfig) -> Variants:
    """Table 5: how sharply should the softmax look at the hardest negatives?"""
    return {f"τ = {value:g}": replace(base, temperature=value) for value in (0.05, 0.1, 0.2, 0.5, 1.0)}


@answered_by(pretrained_rows)
def temperature_rate(base: TrainConfig) -> Variants:
    """Table 5 again: what is left of the temperature's effect when it does not change the size of the steps?"""
    # The gradient of NT-Xent grows with 1/τ. A rate in proportion to τ takes this factor out of SGD's steps; LARS,
    # which the paper's table used, divides every gradient by its norm.
    temperatures, rate, lars_rate = (0.05, 0.1, 0.2, 0.5, 1.0), base.loop().lr, _best_rates(base)["lars"]
    variants: Variants = {}
    for tau in temperatures:
        variants[f"SGD, τ = {tau:g}"] = replace(base, temperature=tau, lr=rate)
        variants[f"LARS, τ = {tau:g}"] = replace(base, temperature=tau, optimizer="lars", lr=lars_rate)
        if tau != base.temperature:
            matched = rate * tau / base.temperature
            variants[f"SGD, rate {matched:g}, τ = {tau:g}"] = replace(base, temperature=tau, lr=matched)
    return variants


@answered_by(pretrained_rows)
def optimizers(base: TrainConfig) -> Variants:
    """How much does the learning rate matter, with SGD and with LARS?"""
    return {
        f"{name.upper()}, rate {factor * lr:g}": replace(base, optimizer=name, lr=factor * lr)
        for name, lr in _best_rates(base).items()
        for factor in (0.25, 0.5, 1, 2, 4)
    }


def _best_rates(base: TrainConfig) -> dict[OptimizerName, float]:
    """The learning rate of each optimiser that a sweep begins with.

    On emblems these are the best at a batch of 64, chosen on training images held out. Elsewhere they are the defaults.
    """
    if base.dataset == "emblems":
        return {"sgd": 0.4, "lars": 4.0}
    names: tuple[OptimizerName, ...] = ("sgd", "lars")
    return {name: replace(base, optimizer=name, lr=None).loop().lr for name in names}


@answered_by(pretrained_rows)
def batch_size(base: TrainConfig) -> Variants:
    """Figure 9: what does a large batch buy?"""
    variants = (_with_batches_of(base, quarters) for quarters in (1, 4, 16))
    return {f"batch {variant.batch_size}": variant for variant in variants}


@answered_by(pretrained_rows)
def steps(base: TrainConfig) -> Variants:
    """What is left of the advantage of large batches when all take as many steps?"""
    return {
        name: replace(variant, epochs=max(1, base.epochs * variant.batch_size // base.batch_size))
        for name, variant in batch_size(base).items()
    }


def _with_batches_of(base: TrainConfig, quarters: int) -> TrainConfig:
    """The batch size in quarters of the recipe's; the learning rate grows with the root of the batch size (B.1)."""
    rate = base.loop().lr * math.sqrt(quarters / 4)
    return replace(base, batch_size=base.batch_size * quarters // 4, lr=rate)


@answered_by(pretrained_rows)
def large_batch(base: TrainConfig) -> Variants:
    """B.1: how must the learning rate grow with the batch, and is it LARS that makes large batches possible?"""
    # SGD and LARS, each from its best rate at the recipe's batch, at eight times the batch: the rate grows in
    # proportion to the batch, or to its square root. Every run sees as many images.
    base = replace(base, epochs=2 * base.epochs)
    variants: Variants = {}
    for optimizer, rate in _best_rates(base).items():
        small = replace(base, optimizer=optimizer)
        large, name = 8 * base.batch_size, optimizer.upper()
        variants |= {
            f"{name}, batch {base.batch_size}": replace(small, lr=rate),
            f"{name}, batch {large}, linear": replace(small, batch_size=large, lr=8 * rate),
            f"{name}, batch {large}, square root": replace(small, batch_size=large, lr=math.sqrt(8) * rate),
        }
    return variants


@answered_by(rows_of_batch_parts)
def negatives(base: TrainConfig) -> Variants:
    """A large batch makes steps less noisy and has more negatives: how much of its advantage is the negatives?"""
    large = _with_batches_of(base, 16)
    return {f"batch {large.batch_size}": large}


@answered_by(partial(pretrained_rows, also_z=True))
def head(base: TrainConfig) -> Variants:
    """Figure 8: what is the projection head good for, and is h or z the better representation?"""
    layers = {"no head": 0, "linear head": 1, "two layers": 2}
    return {name: replace(base, projection_layers=count) for name, count in layers.items()}


BATCH_NORM_ONLY = "batch norm only"


@answered_by(partial(pretrained_rows, normalized=BATCH_NORM_ONLY))
def head_rate(base: TrainConfig) -> Variants:
    """Figure 8 again: is it the head that helps, its batch normalisation, or the size of the steps?"""
    # Without a head, features that are never negative point in similar directions, and gradients are small.
    rate, factors = base.loop().lr, {1: "", 2: ", twice the rate", 4: ", 4 times the rate", 8: ", 8 times the rate"}
    none = replace(base, projection_layers=0)
    return {
        **{f"no head{times}": replace(none, lr=factor * rate) for factor, times in factors.items()},
        **{f"{BATCH_NORM_ONLY}{factors[factor]}": replace(none, lr=factor * rate) for factor in (1, 2)},
        **{f"two layers{factors[factor]}": replace(base, lr=factor * rate) for factor in (1, 2)},
    }


@answered_by(pretrained_rows)
def epochs(base: TrainConfig) -> Variants:
    """Figure 9: does longer training help?"""
    lengths = [max(1, base.epochs * quarters // 4) for quarters in (1, 2, 4, 8)]
    return {f"{length} epochs": replace(base, epochs=length) for length in lengths}


@answered_by(pretrained_rows)
def recipes(base: TrainConfig) -> Variants:
    """Which learning rate, optimiser, temperature, batch size and projection head suit these images?"""
    # Each variant changes one thing; the learning rate grows in proportion to the batch.
    usual, rate = base.loop().optimizer, base.loop().lr
    other: OptimizerName = "lars" if usual == "sgd" else "sgd"
    decay = {"sgd": 5e-4, "lars": 1e-4}[other]
    another = replace(base, optimizer=other, lr=None, weight_decay=decay)
    variants: Variants = {
        f"{usual.upper()} {rate:g}": base,
        f"{usual.upper()} {2 * rate:g}": replace(base, lr=2 * rate),
        f"{other.upper()} {another.loop().lr:g}": another,
    }
    for value in (0.1, 0.2, 0.5):
        if value != base.temperature:
            variants[f"τ = {value:g}"] = replace(base, temperature=value)
    for factor in (0.5, 2):
        size = round(factor * base.batch_size)
        variants[f"batch {size}"] = replace(base, batch_size=size, lr=factor * rate)
    for layers in (2, 3):
        if layers != base.projection_layers:
            variants[f"{layers} layers"] = replace(base, projection_layers=layers)
    return variants


@answered_by(rows_of_label_budgets)
def labels(base: TrainConfig) -> Variants:
    """Section 5: what are the features worth, beside training with labels?"""
    return {"SimCLR": base, "supervised": _supervised(base)}


@answered_by(rows_of_shifts)
def shifts(base: TrainConfig) -> Variants:
    """Does what was learnt without labels hold where test images differ from the training images?"""
    supervised = _supervised(base)
    crops_and_flips = replace(supervised, color_prob=0.0, gray_prob=0.0, blur_prob=0.0)  # as most people train
    return {"SimCLR": base, "supervised": supervised, "supervised, crops and flips": crops_and_flips}


def _supervised(base: TrainConfig) -> TrainConfig:
    return replace(EMBLEMS_SUPERVISED, seed=base.seed, device=base.device)
