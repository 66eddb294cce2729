"""The rows of a table of results: SimCLR's features, what they are compared with, and the labels they are given."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, few_labels
from simclr_lib.device import pick_device, place
from simclr_lib.errors import SimCLRError, shown
from simclr_lib.evaluation import accuracy, evaluate_features, extract_features, linear_probe, pixel_features
from simclr_lib.models import Classifier
from simclr_lib.recipes import BUDGETS
from simclr_lib.results import Accuracy, Table, summary
from simclr_lib.seeding import initial_weights
from simclr_lib.training import fine_tune, train_supervised

log = logging.getLogger(__name__)

FINE_TUNING_LR = 0.05  # at a fixed number of steps; chosen on emblems held out from training


# The labels and images of a comparison.


def few_label_parts(train: ImageDataset, budgets: Sequence[int], seed: int) -> dict[str, ImageDataset]:
    """Column of the results → the images that are labelled there, for each budget that the smallest class allows."""
    smallest_class = int(train.labels.bincount(minlength=len(train.classes)).min())
    return {
        f"labels_{budget}": train.subset(few_labels(train.labels, budget, seed))
        for budget in budgets
        if budget <= smallest_class
    }


def epochs_for(steps: int, num_images: int, batch_size: int) -> int:
    """The number of epochs that take at least ``steps`` steps; a batch has at most ``num_images`` images."""
    return math.ceil(steps / (num_images // min(batch_size, num_images)))


def evenly(dataset: ImageDataset, at_most: int) -> ImageDataset:
    """Take at most so many images, evenly spaced: every class is among them, even if the set is sorted by class."""
    return dataset.subset(torch.linspace(0, len(dataset) - 1, min(len(dataset), at_most)).long())


# Frozen encoders and what they are compared with.


def compare_encoder(
    encoder: nn.Module,
    config: TrainConfig,
    train: ImageDataset,
    test: ImageDataset,
    draws: int = 3,
    budgets: Sequence[int] = BUDGETS,
) -> tuple[Table, nn.Linear, tuple[Tensor, Tensor]]:
    """Evaluate a trained encoder beside a random one and the bare pixels, all with the same labels.

    Args:
        encoder: images [N, 3, H, W] → features [N, D].
        config: the settings that the encoder was trained with.
        train: labelled training images.
        test: labelled test images.
        draws: random choices of the labelled images at each budget.
        budgets: labels per class.

    Returns:
        (table, output head, features): the output head is the one that the SGD protocol trained with all labels; the
        features are the trained encoder's, of the training images [N, D] and of the test images [M, D].

    Raises:
        SimCLRError: the training images have one class only.
    """
    row, head, features = evaluate_encoder(encoder, config, train, test, draws, budgets)
    return {"SimCLR": row, **evaluate_baselines(config, train, test, draws, budgets)}, head, features


def evaluate_encoder(
    encoder: nn.Module,
    config: TrainConfig,
    train: ImageDataset,
    test: ImageDataset,
    draws: int = 3,
    budgets: Sequence[int] = BUDGETS,
) -> tuple[dict[str, Accuracy], nn.Linear, tuple[Tensor, Tensor]]:
    """Evaluate an encoder's features by kNN and linear probes: L-BFGS at every budget, and SGD with all labels.

    The arguments, the output head, the features and the error are those of `compare_encoder`.

    Returns:
        (row of the table, output head, features).
    """
    if len(train.labels.unique()) < 2:
        raise SimCLRError(
            f"{train.name} has one class only, so there is nothing to classify: add labelled images of a second class."
        )
    _report_budgets(train, budgets)
    train_features, test_features = (
        extract_features(encoder, part, precision=config.precision) for part in (train, test)
    )
    train_labels, test_labels = train.labels.cpu(), test.labels.cpu()
    row = evaluate_features(train_features, train_labels, test_features, test_labels, budgets, draws, config.seed)
    probe = linear_probe(
        train_features,
        train_labels,
        test_features,
        test_labels,
        method="sgd",
        seed=config.seed,
        num_classes=len(train.classes),
    )
    return {**row, "labels_all_sgd": summary([probe.accuracy])}, probe.head, (train_features, test_features)


def output_head(encoder: nn.Module, config: TrainConfig, train: ImageDataset) -> nn.Linear:
    """Train the output head of `evaluate_encoder` where no labelled image is left to test it with.

    Args:
        encoder: images [N, 3, H, W] → features [N, D].
        config: the settings that the encoder was trained with.
        train: labelled training images.

    Returns:
        Features [N, D] → logits [N, C].
    """
    features, labels = extract_features(encoder, train, precision=config.precision), train.labels.cpu()
    classes = len(train.classes)
    return linear_probe(features, labels, features, labels, "sgd", seed=config.seed, num_classes=classes).head


def _report_budgets(train: ImageDataset, budgets: Sequence[int]) -> None:
    """Say which budgets of labels the table does not have, because a class is too small."""
    counts = train.labels.bincount(minlength=len(train.classes))
    smallest = int(counts.min())
    too_many = [str(budget) for budget in budgets if budget > smallest]
    if too_many:
        name = shown(train.classes[int(counts.argmin())])
        log.info(f"left out: {', '.join(too_many)} labels per class, as {name} has {smallest} training images")


def evaluate_baselines(
    config: TrainConfig, train: ImageDataset, test: ImageDataset, draws: int = 3, budgets: Sequence[int] = BUDGETS
) -> Table:
    """Evaluate features that nobody trained: the same network's with random weights, and the pixels themselves.

    The arguments are those of `compare_encoder`. A network that was given as a module cannot be made anew with random
    weights, so its row is left out.
    """
    features = {"pixels": [pixel_features(part) for part in (train, test)]}
    if config.has_own_encoder:
        log.info("the row of a random encoder is left out: this run's encoder was given as a module")
    else:
        encoder = random_encoder(config, train.image_size)
        random = [extract_features(encoder, part, precision=config.precision) for part in (train, test)]
        features = {"random encoder": random, **features}
    return {
        source: evaluate_features(h_train, train.labels.cpu(), h_test, test.labels.cpu(), budgets, draws, config.seed)
        for source, (h_train, h_test) in features.items()
    }


def random_encoder(config: TrainConfig, image_size: int) -> nn.Module:
    """The encoder with random weights: those that training with these settings starts from."""
    with initial_weights(config.seed):
        return place(config.encoder(image_size), pick_device(config.device))


# Networks that train with labels.


def supervised_row(
    parts: Mapping[str, ImageDataset], test: ImageDataset, settings: TrainConfig, steps: int
) -> dict[str, Accuracy]:
    """Train the same network from scratch on each part's labels, for at least ``steps`` steps.

    Args:
        parts: column → labelled training images, see `few_label_parts`.
        test: labelled test images.
        settings: settings of the supervised training; the epochs follow from ``steps``.
        steps: gradient steps.

    Returns:
        Column → test accuracy.
    """
    row = {}
    for column, part in parts.items():
        batch_size = min(settings.batch_size, len(part))
        epochs = epochs_for(steps, len(part), batch_size)
        classifier = train_supervised(part, replace(settings, batch_size=batch_size, epochs=epochs))
        row[column] = summary([accuracy(classifier, test)])
    return row


def trained_from_scratch(
    train: ImageDataset, test: ImageDataset, settings: TrainConfig, budget: int, steps: int, epochs: int
) -> dict[str, Accuracy]:
    """Train the same network from scratch on few labels, those that a probe with the same seed gets, and on all.

    Args:
        train: labelled training images.
        test: labelled test images.
        settings: settings of the supervised training.
        budget: labels per class where they are few.
        steps: gradient steps with few labels.
        epochs: epochs with all labels.

    Returns:
        Column → test accuracy.
    """
    row = supervised_row(few_label_parts(train, [budget], settings.seed), test, settings, steps)
    classifier = train_supervised(train, replace(settings, epochs=epochs))
    return {**row, "labels_all": summary([accuracy(classifier, test)])}


def fine_tuned_row(
    encoder: nn.Module, parts: Mapping[str, ImageDataset], test: ImageDataset, settings: TrainConfig
) -> dict[str, Accuracy]:
    """Fine-tune the whole network on each part's labels, starting from ``encoder``, by the rules of `fine_tune`.

    Args:
        encoder: the pretrained encoder; it is left as it is.
        parts: column → labelled training images, see `few_label_parts`.
        test: labelled test images.
        settings: the settings of the pretraining; seed, precision and crops are taken from them.

    Returns:
        Column → test accuracy.
    """

    def fine_tuned(part: ImageDataset) -> float:
        crops = settings.crop_min, settings.crop_max
        _, value = fine_tune(encoder, part, test, seed=settings.seed, precision=settings.precision, crop_scale=crops)
        return value

    return {column: summary([fine_tuned(part)]) for column, part in parts.items()}


def fine_tuned_classifier(
    encoder: nn.Module, part: ImageDataset, test: ImageDataset, settings: TrainConfig, steps: int
) -> tuple[Classifier, float]:
    """Fine-tune on a part of the training images for at least ``steps`` steps, whatever its size.

    Returns:
        (classifier, its accuracy on ``test``).
    """
    epochs = epochs_for(steps, len(part), settings.batch_size)
    crops = settings.crop_min, settings.crop_max
    return fine_tune(encoder, part, test, epochs, settings.batch_size, FINE_TUNING_LR, settings.seed, crop_scale=crops)


# Several seeds.


def merge_seeds(tables: Sequence[Table]) -> Table:
    """One table from those of several seeds; the values of its accuracies are the seeds' means."""
    return {
        source: {column: summary([table[source][column]["mean"] for table in tables]) for column in row}
        for source, row in tables[0].items()
    }
