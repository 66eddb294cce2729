"""A checkpoint and the images that it is used on, for the commands that begin with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from simclr_lib.commands.common import check_writable
from simclr_lib.commands.settings import CheckpointConfig
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.device import pick_device
from simclr_lib.models import SimCLR
from simclr_lib.training import load_run


@dataclass(frozen=True)
class Loaded:
    """A checkpoint, and what a command needs besides it.

    Attributes:
        model: the trained model.
        settings: the settings that it was trained with, but for device and precision, which suit this machine, and
            for the data set, which is that of the command.
        run_dir: the folder of the checkpoint.
        out: the folder for results; it can be written to.
    """

    model: SimCLR
    settings: TrainConfig
    run_dir: Path
    out: Path

    def images(self, split: str, limit: int | None) -> ImageDataset:
        """Load a part of the images, at the size that the model was trained on."""
        config = self.settings
        return load_dataset(
            config.dataset, split, config.data_dir, limit=limit, image_size=config.image_size, labels=config.labels
        )


def open_run(config: CheckpointConfig) -> Loaded:
    """Load the checkpoint of a command and find the folder for its results, which can be written to."""
    config.check()
    model, settings = load_run(config.checkpoint, pick_device(config.device))
    run_dir = config.checkpoint if config.checkpoint.is_dir() else config.checkpoint.parent
    out = config.out or run_dir
    check_writable(out)
    settings = replace(
        settings,
        dataset=config.dataset or settings.dataset,
        data_dir=config.data_dir or settings.data_dir,
        images=config.images,
        labels=config.labels or (None if config.images or config.dataset else settings.labels),  # of those images
        device=config.device,
        precision="auto",
    )
    return Loaded(model, settings, run_dir, out)
