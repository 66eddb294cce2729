"""SimCLR (Chen et al. 2020, arXiv 2002.05709): a small, fast, tested package to learn it with.

Data (`load_dataset`), views (`SimCLRAugment`), networks (`resnet18`, `ProjectionHead`, `SimCLR`), loss (`nt_xent`),
optimiser (`LARS`), training (`TrainConfig`, `pretrain`, `train_supervised`) and evaluation (`extract_features`,
`knn_accuracy`, `linear_probe`, `fine_tune`). Plots and reports are in `simclr_lib.teaching`.
"""

from simclr_lib.augment import AugmentParams, SimCLRAugment
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import extract_features, fine_tune, knn_accuracy, linear_probe
from simclr_lib.losses import nt_xent
from simclr_lib.models import Classifier, OutputHead, ProjectionHead, SimCLR, resnet18, resnet34, resnet50
from simclr_lib.optim import LARS
from simclr_lib.training import pretrain, train_supervised

__version__ = "0.1.0"

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
    "nt_xent",
    "pretrain",
    "resnet18",
    "resnet34",
    "resnet50",
    "train_supervised",
]
