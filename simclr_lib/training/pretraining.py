"""SimCLR pretraining (paper, algorithm 1): no label is used but for watching."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, split_indices
from simclr_lib.device import pick_device, place
from simclr_lib.evaluation import extract_features, knn_accuracy
from simclr_lib.loop import fit
from simclr_lib.models import SimCLR
from simclr_lib.objectives import contrastive_objective
from simclr_lib.seeding import initial_weights, seeded
from simclr_lib.training.run import Run, facts_of, prepare

MONITOR_BANK = 1_000  # at most so many training images vote in the kNN monitor
MONITOR_QUERIES = 500


def pretrain(
    dataset: ImageDataset,
    config: TrainConfig,
    run_dir: Path | None = None,
    labelled: ImageDataset | None = None,
    watch: Callable[[list[dict[str, float]]], None] | None = None,
    filmed: ImageDataset | None = None,
) -> SimCLR:
    """Pretrain an encoder and a projection head.

    Args:
        dataset: training images. A share ``config.validation`` of them is kept out, and the kNN accuracy on it is
            logged while training; labels are used for nothing else.
        config: settings.
        run_dir: folder for metrics and checkpoint; None writes nothing.
        labelled: images to watch the kNN accuracy on where ``dataset`` has no labels; they are not trained on.
        watch: called after every look at the validation images with the run's metrics so far (`read_metrics`); needs
            a ``run_dir``.
        filmed: images whose features h are kept in the run's folder, before training and at every look, see
            `read_film`; they are not trained on. Needs a ``run_dir``.

    Returns:
        The trained model, in evaluation mode, on the configured device.
    """
    config.check()
    device = pick_device(config.device)
    with initial_weights(config.seed):
        model = place(config.simclr(dataset.image_size), device)
    network = prepare(model, config)
    run = Run(run_dir, config, facts_of("pretrain", dataset)) if run_dir else None

    if run:
        run.watch = watch
        if filmed is not None:
            of = filmed.fingerprint()
            run.frame = lambda: (
                of,
                extract_features(model.encoder, filmed, precision=config.precision, progress=False),
            )

    rows = torch.arange(len(dataset))  # that are trained on
    watched = dataset if _has_classes(dataset) else labelled
    if config.validation and watched is not None and _has_classes(watched):
        bank_rows, query_rows = split_indices(watched.labels, config.validation, config.seed)
        if watched is dataset:
            rows = bank_rows
        if run and len(query_rows):
            run.monitor = _monitor(model, watched, bank_rows, query_rows, config)

    # The rows are looked up batch by batch: a memory-mapped data set stays on the disk.
    objective = contrastive_objective(
        network,
        dataset.images.to(device),
        config.augment(dataset.image_size),
        config.temperature,
        config.micro_batch,
        config.loss_chunk,
        config.global_negatives,
    )
    with run or nullcontext():
        fit(model, lambda batch, views: objective(rows[batch], views), len(rows), config.loop(), run, "pretraining")
    return model.eval()


def _has_classes(dataset: ImageDataset) -> bool:
    return len(dataset.labels.unique()) > 1 and bool(dataset.labels.min() >= 0)


def _monitor(
    model: SimCLR, watched: ImageDataset, bank_rows: Tensor, query_rows: Tensor, config: TrainConfig
) -> Callable[[], dict[str, float]]:
    """The kNN accuracy so far: the images at ``bank_rows`` vote on those at ``query_rows``."""
    generator = seeded(config.seed, "monitor")

    def draw(rows: Tensor, at_most: int) -> ImageDataset:
        return watched.subset(rows[torch.randperm(len(rows), generator=generator)[:at_most]])

    bank, queries = draw(bank_rows, MONITOR_BANK), draw(query_rows, MONITOR_QUERIES)

    def features(part: ImageDataset) -> Tensor:
        return extract_features(model.encoder, part, precision=config.precision, progress=False)

    return lambda: {"validation_knn": knn_accuracy(features(bank), bank.labels, features(queries), queries.labels)}
