"""``simclr sweep``: measured comparisons, each into one results file that anyone can make again.

On emblems by default, in minutes on a CPU; those that only pretrain also on other data sets, with a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simclr_lib.augment import SimCLRAugment
from simclr_lib.choices import OptimizerName
from simclr_lib.commands.common import (
    Results,
    Stopwatch,
    epochs_for,
    evaluate_baselines,
    evaluate_encoder,
    few_label_parts,
    merge_seeds,
    new_folder,
    text_table,
    write_results,
)
from simclr_lib.commands.demo import FEW_LABEL_STEPS, supervised_row
from simclr_lib.commands.settings import SweepConfig
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.device import environment, pick_device, place
from simclr_lib.errors import SimCLRError, unknown_name
from simclr_lib.evaluation import SHIFTS, accuracy, extract_features, linear_probe, shifted, summary
from simclr_lib.loop import BatchLoss, fit
from simclr_lib.losses import nt_xent
from simclr_lib.models import Classifier, SimCLR
from simclr_lib.objectives import own_views
from simclr_lib.optim import default_lr
from simclr_lib.recipes import EMBLEMS_SUPERVISED, SHORT
from simclr_lib.seeding import initial_weights
from simclr_lib.training import fine_tune, pretrain, train_supervised

TEST_IMAGES = 1024
LABEL_BUDGETS = (10, 20, 50, 100)
FINE_TUNING_STEPS, FINE_TUNING_LR = 150, 0.05  # chosen on training images held out
LR: dict[OptimizerName, float] = {"sgd": 0.4, "lars": 4.0}  # at a batch of 64, likewise
CROPS_AND_FLIPS = replace(EMBLEMS_SUPERVISED, color_prob=0.0, gray_prob=0.0, blur_prob=0.0)  # as most people train

ON_EMBLEMS = ("labels", "shifts")

Measure = Callable[[TrainConfig, ImageDataset, ImageDataset], Results]
"""From (settings with the seed, training images, test images) to that seed's results."""


@dataclass(frozen=True)
class Sweep:
    """A comparison.

    Attributes:
        variants: name → settings.
        measure: takes one seed's results.
    """

    variants: dict[str, TrainConfig]
    measure: Measure


def sweeps(base: TrainConfig) -> dict[str, Sweep]:
    """Every sweep by its name, around the settings ``base``."""
    no_crop, no_color = {"crop_min": 1.0}, {"color_prob": 0.0, "gray_prob": 0.0}
    lengths = [max(1, base.epochs * quarters // 4) for quarters in (1, 2, 4, 8)]
    # The learning rate grows with the root of the batch size (B.1).
    quarter, whole, four = (
        replace(base, batch_size=base.batch_size * times // 4, lr=base.loop().lr * math.sqrt(times / 4))
        for times in (1, 4, 16)
    )
    return {
        # The paper's figure 5: which augmentations must come together?
        "crop-color": pretrainings(
            {
                "crop only": replace(base, **no_color),  # type: ignore[arg-type]
                "color only": replace(base, **no_crop),  # type: ignore[arg-type]
                "crop + color": base,
            },
            baselines=True,
        ),
        # Table 5: how sharply should the softmax look at the hardest negatives?
        "temperature": pretrainings({f"τ = {t:g}": replace(base, temperature=t) for t in (0.05, 0.1, 0.2, 0.5, 1.0)}),
        # Figure 9: what does a large batch buy?
        "batch-size": pretrainings({f"batch {variant.batch_size}": variant for variant in (quarter, whole, four)}),
        # The same with as many steps whatever the batch: what is left of the difference when all learn as often?
        "steps": pretrainings(
            {
                f"batch {variant.batch_size}": replace(
                    variant, epochs=max(1, base.epochs * variant.batch_size // base.batch_size)
                )
                for variant in (quarter, whole, four)
            }
        ),
        # B.1: how must the learning rate grow with the batch, and is it LARS that makes large ones possible?
        "large-batch": pretrainings(large_batches(replace(base, epochs=2 * base.epochs))),
        # What a large batch gives besides less noisy steps: how much of it is the negatives?
        "negatives": parts_of_batches(four),
        # Figure 8: what is the projection head good for, and is h or z the better representation?
        "head": pretrainings(
            {
                name: replace(base, projection_layers=layers)
                for name, layers in {"no head": 0, "linear head": 1, "two layers": 2}.items()
            },
            also_z=True,
        ),
        # Figure 9 again: does longer training help?
        "epochs": pretrainings({f"{epochs} epochs": replace(base, epochs=epochs) for epochs in lengths}),
        # Section 5: what are the features worth, beside training with labels?
        "labels": Sweep({"SimCLR": base, "supervised": EMBLEMS_SUPERVISED}, measure_label_budgets),
        # Does what was learnt without labels hold where test images differ from the training images?
        "shifts": Sweep(
            {"SimCLR": base, "supervised": EMBLEMS_SUPERVISED, "supervised, crops and flips": CROPS_AND_FLIPS},
            measure_shifts,
        ),
    }


def pretrainings(variants: dict[str, TrainConfig], baselines: bool = False, also_z: bool = False) -> Sweep:
    """A sweep that pretrains every variant and evaluates its features.

    Args:
        variants: name → settings.
        baselines: also measure a random encoder and the pixels.
        also_z: also measure the projection head's output.
    """

    def measure(settings: TrainConfig, train: ImageDataset, test: ImageDataset) -> Results:
        rows = evaluate_baselines(settings, train, test) if baselines else {}
        for name, variant in variants.items():
            config = replace(variant, seed=settings.seed, device=settings.device)
            print(f"seed {config.seed}: {name} …", flush=True)
            model = pretrain(train, config)
            rows[f"SimCLR, {name}"], *_ = evaluate_encoder(model.encoder, config, train, test)
            if also_z:
                both = nn.Sequential(model.encoder, model.projector)
                rows[f"SimCLR, {name}, z"], *_ = evaluate_encoder(both, config, train, test)
        return rows

    return Sweep(variants, measure)


def large_batches(base: TrainConfig) -> dict[str, TrainConfig]:
    """SGD and LARS, each from its best rate at the batch size of ``base``, at eight times the batch.

    The rate grows in proportion to the batch, or to its square root. Every run sees as many images.
    """
    variants: dict[str, TrainConfig] = {}
    rates = LR if base.dataset == "emblems" else {name: default_lr(name, base.batch_size) for name in LR}
    for optimizer, lr in rates.items():
        small = replace(base, optimizer=optimizer, lr=lr)
        large = replace(small, batch_size=8 * base.batch_size)
        variants |= {
            f"{optimizer.upper()}, batch {small.batch_size}": small,
            f"{optimizer.upper()}, batch {large.batch_size}, linear": replace(large, lr=8 * lr),
            f"{optimizer.upper()}, batch {large.batch_size}, square root": replace(large, lr=math.sqrt(8) * lr),
        }
    return variants


def parts_of_batches(config: TrainConfig) -> Sweep:
    """The same steps on the same batches, of which each image sees all, a quarter or a sixteenth as negatives.

    That is what processes do that keep their embeddings to themselves (``--no-global-negatives``), and share gradients
    and batch statistics. One process can play them all: the loss is the mean of theirs.
    """

    def measure(settings: TrainConfig, train: ImageDataset, test: ImageDataset) -> Results:
        rows: Results = {}
        device = pick_device(settings.device)
        images, augment = train.images.to(device), config.augment(train.image_size)
        for parts in (1, 4, 16):
            name = f"{2 * config.batch_size // parts - 2} negatives"
            print(f"seed {settings.seed}: {name} …", flush=True)
            with initial_weights(settings.seed):
                model = place(config.simclr(train.image_size), device)

            objective = objective_of_parts(model, images, augment, config.temperature, parts)
            fit(model, objective, len(train), replace(config, seed=settings.seed).loop(), description="pretraining")
            rows[f"SimCLR, {name}"], *_ = evaluate_encoder(model.eval().encoder, settings, train, test)
        return rows

    return Sweep({f"batch {config.batch_size}": config}, measure)


def objective_of_parts(
    model: SimCLR, images: Tensor, augment: SimCLRAugment, temperature: float, parts: int
) -> BatchLoss:
    """NT-Xent within each of so many parts of a batch, and the mean of that."""

    def batch_loss(indices: Tensor, generator: torch.Generator) -> Tensor:
        views = torch.cat([own_views(augment, images, indices, generator) for _ in range(2)])  # [2B, 3, S, S]
        _, z = model(views.contiguous(memory_format=torch.channels_last))
        pairs = zip(*(half.chunk(parts) for half in z.chunk(2)), strict=True)
        return torch.stack([nt_xent(a, b, temperature) for a, b in pairs]).mean()

    return batch_loss


def measure_label_budgets(settings: TrainConfig, train: ImageDataset, test: ImageDataset) -> Results:
    """SimCLR's features and what they are compared with, at every budget of labels, all on the same labelled images.

    Training from scratch comes twice: for as many steps as the demo gives it, and for as many views as SimCLR saw.
    """
    seed = settings.seed
    supervised = replace(EMBLEMS_SUPERVISED, seed=seed, device=settings.device)
    parts = {**few_label_parts(train, LABEL_BUDGETS, seed), "labels_all": train}
    print(f"seed {seed}: pretraining …", flush=True)
    encoder = pretrain(train, settings).encoder

    def fine_tuned(part: ImageDataset) -> dict:
        return dict(summary([accuracy(fine_tuned_classifier(encoder, part, test, settings), test)]))

    print(f"seed {seed}: linear heads and fine-tuning …", flush=True)
    linear, *_ = evaluate_encoder(encoder, settings, train, test, draws=1, budgets=LABEL_BUDGETS)
    rows: Results = {
        "SimCLR, linear head": linear,
        "SimCLR, fine-tuned": {column: fine_tuned(part) for column, part in parts.items()},
        **evaluate_baselines(settings, train, test, draws=1, budgets=LABEL_BUDGETS),
    }
    print(f"seed {seed}: from scratch, for {FEW_LABEL_STEPS} steps …", flush=True)
    rows["supervised"] = supervised_row(parts, test, supervised, FEW_LABEL_STEPS)
    as_many_views = 2 * settings.epochs * (len(train) // settings.batch_size)  # SimCLR takes two of each image
    print(f"seed {seed}: from scratch, for {as_many_views} steps …", flush=True)
    some = {**few_label_parts(train, LABEL_BUDGETS[::3], seed), "labels_all": train}
    rows["supervised, as many views"] = supervised_row(some, test, supervised, as_many_views)
    return rows


def fine_tuned_classifier(
    encoder: nn.Module, part: ImageDataset, test: ImageDataset, settings: TrainConfig
) -> Classifier:
    """The encoder fine-tuned on a part of the training images, for as many steps whatever its size."""
    epochs = epochs_for(FINE_TUNING_STEPS, len(part), settings.batch_size)
    crop_scale = settings.crop_min, settings.crop_max
    return fine_tune(
        encoder, part, test, epochs, settings.batch_size, FINE_TUNING_LR, settings.seed, crop_scale=crop_scale
    )[0]


def measure_shifts(settings: TrainConfig, train: ImageDataset, test: ImageDataset) -> Results:
    """Classifiers that have all labels, on test images with other colours or with damage that no training image had.

    Training from scratch comes twice: with SimCLR's augmentations, and with crops and flips only. The difference
    between those two is the augmentations' doing; only what is left can be SimCLR's.
    """
    seed = settings.seed
    print(f"seed {seed}: pretraining …", flush=True)
    encoder = pretrain(train, settings).encoder
    features = [extract_features(encoder, part) for part in (train, test)]
    probe = linear_probe(features[0], train.labels, features[1], test.labels, seed=seed)
    device = next(encoder.parameters()).device
    classifiers: dict[str, nn.Module] = {
        "SimCLR, linear head": Classifier(encoder, probe.head.to(device)),
        "SimCLR, fine-tuned": fine_tuned_classifier(encoder, train, test, settings),
    }
    for name, recipe in {"supervised": EMBLEMS_SUPERVISED, "supervised, crops and flips": CROPS_AND_FLIPS}.items():
        print(f"seed {seed}: {name} …", flush=True)
        epochs = epochs_for(FEW_LABEL_STEPS, len(train), recipe.batch_size)
        classifiers[name] = train_supervised(train, replace(recipe, seed=seed, device=settings.device, epochs=epochs))
    tests = {"unchanged": test, **{shift: shifted(test, shift) for shift in SHIFTS}}
    return {
        name: {shift: dict(summary([accuracy(classifier, images)])) for shift, images in tests.items()}
        for name, classifier in classifiers.items()
    }


def sweep(config: SweepConfig) -> None:
    """Run ``simclr sweep``: prints the table and writes the results file."""
    if not config.seeds:
        raise SimCLRError("--seeds needs at least one number.")
    recipe = SHORT if config.dataset == "emblems" else replace(TrainConfig(), dataset=config.dataset, validation=0.0)
    recipe = replace(recipe, epochs=config.epochs)
    base = replace(recipe, device=config.device)
    known = sweeps(base)
    if config.name not in known:
        raise unknown_name("sweep", config.name, known)
    if config.dataset != "emblems" and config.name in ON_EMBLEMS:
        raise SimCLRError(f"{config.name} compares recipes that were chosen for emblems: leave out --dataset.")
    chosen = known[config.name]
    out = (config.out or new_folder(config.name)) / "results.json"
    if out.exists():
        raise SimCLRError(f"{out.parent} already holds results: choose another --out.")
    clock = Stopwatch()
    limits = (config.images or 4096, TEST_IMAGES) if config.dataset == "emblems" else (config.images, None)
    train, test = (
        load_dataset(config.dataset, split, config.data_dir, download=True, limit=limit)
        for split, limit in zip(("train", "test"), limits, strict=True)
    )
    largest_batch = max(variant.batch_size for variant in chosen.variants.values())
    if len(train) < largest_batch:
        raise SimCLRError(f"{config.name} needs at least {largest_batch} training images, one batch, not {len(train)}.")
    results = merge_seeds([chosen.measure(replace(base, seed=seed), train, test) for seed in config.seeds])
    print(text_table(results))
    common = base.to_dict()
    write_results(
        out,
        {
            "what": f"{config.name} on {config.dataset}; test accuracy after the last epoch",
            "environment": environment(pick_device(config.device)),
            "config": recipe.to_dict(),
            "variants": {
                name: {key: value for key, value in variant.to_dict().items() if value != common[key]}
                for name, variant in chosen.variants.items()
            },
            "seeds": list(config.seeds),
            "num_train": len(train),
            "num_test": len(test),
            "seconds": clock.total,
            "results": results,
        },
    )
    print(f"results: {out}")
