"""Supervised training from scratch: what SimCLR is compared with."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset
from simclr_lib.device import pick_device, place
from simclr_lib.errors import SimCLRError
from simclr_lib.loop import fit
from simclr_lib.models import Classifier, OutputHead
from simclr_lib.objectives import classification_objective
from simclr_lib.seeding import initial_weights
from simclr_lib.training.run import Run, facts_of, prepare


def train_supervised(dataset: ImageDataset, config: TrainConfig, run_dir: Path | None = None) -> Classifier:
    """Train an encoder and an output head together, with labels and the same views as SimCLR.

    Args:
        dataset: labelled training images.
        config: settings; those of the projection head and the temperature are not used.
        run_dir: folder for metrics and checkpoint; None writes nothing.

    Returns:
        The trained classifier, in evaluation mode, on the configured device.
    """
    config.check()
    if len(dataset.labels.unique()) < 2:
        raise SimCLRError(f"{dataset.name} has one class only: there is nothing to tell apart. Add a second class.")
    device = pick_device(config.device)
    with initial_weights(config.seed):
        encoder = config.encoder(dataset.image_size)
        model = place(Classifier(encoder, OutputHead(encoder.feature_dim, len(dataset.classes))), device)
    objective = classification_objective(prepare(model, config), dataset.to(device), config.augment(dataset.image_size))
    run = Run(run_dir, config, facts_of("supervised", dataset)) if run_dir else None
    with run or nullcontext():
        fit(model, objective, len(dataset), config.loop(), run, "supervised")
    return model.eval()
