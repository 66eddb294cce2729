"""A run and the images that it is used on, for the commands that begin with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_parts, load_splits
from simclr_lib.data.bands import TooLargeError
from simclr_lib.data.pixels import NeedsLevelsError, read_square
from simclr_lib.device import pick_device
from simclr_lib.errors import SimCLRError
from simclr_lib.files import checkpoint_file
from simclr_lib.models import Classifier, SimCLR
from simclr_lib.settings import CheckpointConfig
from simclr_lib.training import StoredRun, read_run


@dataclass(frozen=True)
class Loaded:
    """A run's model, and what a command needs besides it.

    Attributes:
        model: the trained model.
        classes: the classes that it tells apart, if it is a `Classifier`.
        stored: the run's checkpoint: the settings that it was trained with, and facts.
        settings: the same settings, with device and precision of this machine, and images and reading of the command.
        run_dir: the folder of the checkpoint.
        out: the folder, or the file, for results; it can be written to.
    """

    model: SimCLR | Classifier
    classes: list[str]
    stored: StoredRun
    settings: TrainConfig
    run_dir: Path
    out: Path

    def splits(self, *splits: str, limit: int | None) -> list[ImageDataset]:
        """Load parts of the images, read in the way and at the size that the model was trained with."""
        config, limits = self.settings, dict.fromkeys(splits, limit)
        where, size, reading = config.data_dir, config.image_size, config.reading()
        return list(load_splits(config.dataset, limits, where, False, size, config.labels, reading).values())

    def photo(self, path: Path, images: ImageDataset) -> ImageDataset:
        """Load a single image file, read in the way the other images were.

        Raises:
            SimCLRError: it cannot be read.
        """
        size = images.image_size
        reading = images.reading or replace(self.settings.reading(), store_size=size)
        try:
            pixels = torch.from_numpy(read_square(path, reading))
        except TooLargeError as error:
            pixels_needed = error.size[0] * error.size[1]
            raise SimCLRError(f"{path} has {error}: max_pixels={pixels_needed} reads it.") from error
        except NeedsLevelsError as error:
            raise SimCLRError(f"{path} has more than 8 bits: `levels` says which ones are black and white.") from error
        except Exception as error:  # decoders raise almost anything
            raise SimCLRError(f"{path} cannot be read as an image ({error}): repair it, or take another.") from error
        return ImageDataset(pixels[None], torch.tensor([-1]), [], path.name, (path.name,), size, reading)

    def parts(self, limit: int | None) -> dict[str, ImageDataset]:
        """Load all parts of the images: "train" and, where there is one, "test"."""
        config = self.settings
        where, size, reading = config.data_dir, config.image_size, config.reading()
        return load_parts(config.dataset, where, False, limit, size, config.labels, reading)

    def all_images(self, limit: int | None) -> ImageDataset:
        """Load all images of a folder; of a known data set, the test part."""
        (images,) = self.splits("all" if self.settings.dataset == "imagefolder" else "test", limit=limit)
        return images


def open_run(config: CheckpointConfig, classify: bool = False) -> Loaded:
    """Load the run of a command, and check that its results can be written.

    Args:
        config: the settings of the command.
        classify: load the encoder of a SimCLR run with its output head, as a `Classifier`.
    """
    config.check()
    stored, device = read_run(config.checkpoint), pick_device(config.device)
    model: SimCLR | Classifier
    if classify or not stored.config.contrastive:
        model, classes = stored.classifier(device)
    else:
        model, classes = stored.simclr(device), []
    settings = stored.config
    elsewhere = config.images or config.dataset or config.data_dir
    settings = replace(
        settings,
        dataset=config.dataset or settings.dataset,
        data_dir=config.data_dir or settings.data_dir,
        images=config.images,
        labels=config.labels or (None if elsewhere else settings.labels),  # they are of the run's images
        limit=None if elsewhere else settings.limit,
        fit=config.fit or settings.fit,
        bands=config.bands or settings.bands,
        levels=config.levels or settings.levels,
        max_pixels=config.max_pixels or settings.max_pixels,
        device=config.device,
        precision="auto",
    )
    return Loaded(model, classes, stored, settings, checkpoint_file(config.checkpoint).parent, config.target)
