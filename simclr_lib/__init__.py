"""SimCLR (Chen et al. 2020, arXiv 2002.05709): a small, fast, tested package to learn it with.

Data (`load_dataset`), views (`SimCLRAugment`), networks (`resnet18`, `ProjectionHead`, `SimCLR`), loss (`nt_xent`),
optimiser (`LARS`), training (`TrainConfig`, `pretrain`, `train_supervised`, `fine_tune`) and evaluation
(`extract_features`, `knn_accuracy`, `linear_probe`). Plots and reports are in `simclr_lib.teaching`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simclr_lib.augment import AugmentParams, SimCLRAugment
    from simclr_lib.config import TrainConfig
    from simclr_lib.data import ImageDataset, load_dataset
    from simclr_lib.errors import SimCLRError
    from simclr_lib.evaluation import extract_features, knn_accuracy, linear_probe
    from simclr_lib.losses import nt_xent
    from simclr_lib.models import Classifier, OutputHead, ProjectionHead, SimCLR, resnet18, resnet34, resnet50
    from simclr_lib.optim import LARS
    from simclr_lib.training import fine_tune, load_pretrained, pretrain, train_supervised

__version__ = "0.1.0"

_HOMES = {
    "augment": ("AugmentParams", "SimCLRAugment"),
    "config": ("TrainConfig",),
    "data": ("ImageDataset", "load_dataset"),
    "errors": ("SimCLRError",),
    "evaluation": ("extract_features", "knn_accuracy", "linear_probe"),
    "losses": ("nt_xent",),
    "models": ("Classifier", "OutputHead", "ProjectionHead", "SimCLR", "resnet18", "resnet34", "resnet50"),
    "optim": ("LARS",),
    "training": ("fine_tune", "load_pretrained", "pretrain", "train_supervised"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "LARS",
    "AugmentParams",
    "Classifier",
    "ImageDataset",
    "OutputHead",
    "ProjectionHead",
    "SimCLR",
    "SimCLRAugment",
    "SimCLRError",
    "TrainConfig",
    "extract_features",
    "fine_tune",
    "knn_accuracy",
    "linear_probe",
    "load_dataset",
    "load_pretrained",
    "nt_xent",
    "pretrain",
    "resnet18",
    "resnet34",
    "resnet50",
    "train_supervised",
]


def __getattr__(name: str) -> Any:
    """Import a public name, or a module, when it is first used: ``simclr --help`` must not wait for torch."""
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f"simclr_lib.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in _HOMES:
        return importlib.import_module(f"simclr_lib.{name}")
    raise AttributeError(f"module 'simclr_lib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
