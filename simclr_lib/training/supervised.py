"""Supervised training from scratch, which SimCLR is compared with."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from torch import nn

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset
from simclr_lib.device import place
from simclr_lib.distributed import distribute_and_compile
from simclr_lib.errors import SimCLRError
from simclr_lib.loop import fit
from simclr_lib.models import Classifier, OutputHead
from simclr_lib.objectives import classification_objective
from simclr_lib.seeding import initial_weights
from simclr_lib.training.initial import start_from
from simclr_lib.training.run import Run, dataset_identity, opened


def train_supervised(
    dataset: ImageDataset, config: TrainConfig, run_dir: Path | None = None, encoder: nn.Module | None = None
) -> Classifier:
    """Train an encoder and an output head together, with labels and the same views as SimCLR.

    Args:
        dataset: labelled training images.
        config: settings. Those of the projection head, the loss NT-Xent and the validation images are not used, nor
            is ``contrastive``, because this function decides about it. The settings of how files are read have to be
            those of ``dataset``, or left out.
        run_dir: folder for metrics and checkpoint. None takes ``config.run_dir``; if that is None, too, nothing is
            written.
        encoder: a network of your own to train a copy of, as for `pretrain`.

    Returns:
        The trained classifier, in evaluation mode, on the configured device.

    Raises:
        SimCLRError: there is one class only, a setting makes no sense, the encoder does not return features [N, D], or
            the folder holds another run.
        DivergedError: the loss was not finite.
        Interrupted: Ctrl-C, after everything was saved.
    """
    if len(dataset.labels.unique()) < 2:
        raise SimCLRError(f"{dataset.name} has one class only: there is nothing to tell apart. Add a second class.")
    with opened("supervised", dataset, config, run_dir, encoder) as (config, device, folder):
        with initial_weights(config.seed):
            encoder = config.encoder(dataset.image_size, encoder)
            head = OutputHead(config.feature_dim(encoder, dataset.image_size), len(dataset.classes))
        model = Classifier(encoder, head)
        if config.init and not config.resume:
            start_from(config.init, model, config, dataset.classes)
        model = place(model, device)
        network = distribute_and_compile(model, config.compile)
        objective = classification_objective(network, dataset.to(device), config.augment_on(device, dataset.image_size))
        run = Run(folder, config, dataset_identity("supervised", dataset)) if folder else None
        with run or nullcontext():
            fit(model, objective, len(dataset), config.loop(), run, "supervised")
    return model.eval()
