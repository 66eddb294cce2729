"""What the notebooks train on: emblems in minutes on a CPU ("quick"), or CIFAR-10 on a GPU ("full")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.errors import SimCLRError, unknown_name
from simclr_lib.models import SimCLR
from simclr_lib.recipes import EMBLEMS, EMBLEMS_SUPERVISED
from simclr_lib.training import load_pretrained


@dataclass(frozen=True)
class Profile:
    """Data, settings and weights of a run through the notebooks.

    Attributes:
        name: "quick" or "full".
        recipe: settings of pretraining.
        supervised: settings of training from scratch with labels.
        weights: what `pretrained` loads: a name that `load_pretrained` knows, or a run's folder.
        data_dir: where the images lie, or are downloaded to.
    """

    name: str
    recipe: TrainConfig
    supervised: TrainConfig
    weights: str
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
        """A pretrained model: the weights that come with the package, or those that notebook 03 trained."""
        if self.name == "full" and not Path(self.weights).exists():
            raise SimCLRError(
                f"the full profile has no weights yet: run notebook 03 with it; it writes {self.weights}."
            )
        return load_pretrained(self.weights)


PROFILES = {
    "quick": Profile("quick", EMBLEMS, EMBLEMS_SUPERVISED, "emblems-resnet18"),
    "full": Profile("full", TrainConfig(), replace(TrainConfig(), contrastive=False), "runs/03-full", Path("data")),
}


def load_profile(name: str) -> Profile:
    """The profile of that name: "quick" or "full"."""
    if name not in PROFILES:
        raise unknown_name("profile", name, PROFILES)
    return PROFILES[name]
