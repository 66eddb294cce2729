"""Data and settings of the notebooks: emblems, in minutes on a CPU ("quick"), or CIFAR-10 on a GPU ("full")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.errors import unknown_name
from simclr_lib.models import SimCLR
from simclr_lib.recipes import EMBLEMS, EMBLEMS_SUPERVISED
from simclr_lib.training import load_pretrained


@dataclass(frozen=True)
class Profile:
    """Data, settings and weights that the notebooks use.

    Attributes:
        name: "quick" or "full".
        recipe: settings for pretraining.
        supervised: settings for training from scratch with labels.
        weights: the name of weights that come with the package.
        run: the folder of notebook 03's own run, whose weights go first; None if there is no such run.
        data_dir: the folder of the images, which are downloaded to it if they are missing.
    """

    name: str
    recipe: TrainConfig
    supervised: TrainConfig
    weights: str
    run: Path | None = None
    data_dir: Path | None = None

    @cached_property
    def train(self) -> ImageDataset:
        """The training images."""
        return load_dataset(self.recipe.dataset, "train", self.data_dir, download=True)

    @cached_property
    def test(self) -> ImageDataset:
        """The test images."""
        return load_dataset(self.recipe.dataset, "test", self.data_dir, download=True)

    def pretrained(self) -> SimCLR:
        """Load a model with the weights that notebook 03 trained, or else with those that come with the package."""
        return load_pretrained(self.run if self.run and self.run.exists() else self.weights)


PROFILES = {
    "quick": Profile("quick", EMBLEMS, EMBLEMS_SUPERVISED, "emblems-resnet18"),
    "full": Profile(
        name="full",
        recipe=TrainConfig(),
        supervised=replace(TrainConfig(), contrastive=False),
        weights="cifar10-resnet18",
        run=Path("runs/03-full"),
        data_dir=Path("data"),
    ),
}


def load_profile(name: str) -> Profile:
    """The profile with this name, "quick" or "full".

    Raises:
        SimCLRError: if there is no such profile.
    """
    if name not in PROFILES:
        raise unknown_name("profile", name, PROFILES)
    return PROFILES[name]
