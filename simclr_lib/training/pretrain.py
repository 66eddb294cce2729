"""SimCLR pretraining (paper, algorithm 1): no label is used but for watching."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, split_indices
from simclr_lib.device import pick_device, place
from simclr_lib.evaluation import extract_features, knn_accuracy
from simclr_lib.loop import fit, initial_weights, seeded
from simclr_lib.models import SimCLR
from simclr_lib.objectives import contrastive_objective
from simclr_lib.training.run import Run

MONITOR_BANK = 4_000  # at most so many training images vote in the kNN monitor
MONITOR_QUERIES = 1_000


def pretrain(dataset: ImageDataset, config: TrainConfig, run_dir: Path | None = None) -> SimCLR:
    """Pretrain an encoder and a projection head.

    Args:
        dataset: training images. A share ``config.validation`` of them is kept out, and the kNN accuracy on it is
            logged while training; labels are used for nothing else.
        config: settings.
        run_dir: folder for metrics and checkpoint; None writes nothing.

    Returns:
        The trained model, in evaluation mode, on the configured device.
    """
    config.check()
    device = pick_device(config.device)
    with initial_weights(config.seed):
        model = place(config.simclr(dataset.image_size), device)
    run = Run(run_dir, config, {"task": "pretrain", "num_images": len(dataset)}) if run_dir else None

    train = dataset
    if config.validation and len(dataset.labels.unique()) > 1 and dataset.labels.min() >= 0:
        train_part, validation_part = split_indices(dataset.labels, config.validation, config.seed)
        train = dataset.subset(train_part)
        if run and len(validation_part):
            generator = seeded(config.seed, "monitor")
            bank = train.subset(torch.randperm(len(train), generator=generator)[:MONITOR_BANK])
            chosen = torch.randperm(len(validation_part), generator=generator)[:MONITOR_QUERIES]
            queries = dataset.subset(validation_part[chosen])
            run.monitor = lambda: {
                "validation_knn": knn_accuracy(
                    extract_features(model.encoder, bank, precision=config.precision, progress=False),
                    bank.labels,
                    extract_features(model.encoder, queries, precision=config.precision, progress=False),
                    queries.labels,
                )
            }

    objective = contrastive_objective(
        model, train.images.to(device), config.augment(dataset.image_size), config.temperature
    )
    with run or nullcontext():
        fit(model, objective, len(train), config.loop(), run, "pretraining")
    return model.eval()
