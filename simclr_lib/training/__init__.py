"""Pretraining and supervised training, with run folders and checkpoints."""

from simclr_lib.training.checkpoint import load_checkpoint, save_checkpoint
from simclr_lib.training.export import Exported, export_encoder
from simclr_lib.training.fine_tuning import FineTuned, fine_tune
from simclr_lib.training.interrupt import Interrupted
from simclr_lib.training.metrics import read_metrics
from simclr_lib.training.pretrained import (
    StoredRun,
    load_classifier,
    load_encoder,
    load_pretrained,
    load_run,
    read_run,
)
from simclr_lib.training.pretraining import pretrain, training_rows, untrained_knn
from simclr_lib.training.run import Run
from simclr_lib.training.run_folder import RunFolder, new_folder, read_film
from simclr_lib.training.supervised import train_supervised

__all__ = [
    "Exported",
    "FineTuned",
    "Interrupted",
    "Run",
    "RunFolder",
    "StoredRun",
    "export_encoder",
    "fine_tune",
    "load_checkpoint",
    "load_classifier",
    "load_encoder",
    "load_pretrained",
    "load_run",
    "new_folder",
    "pretrain",
    "read_film",
    "read_metrics",
    "read_run",
    "save_checkpoint",
    "train_supervised",
    "training_rows",
    "untrained_knn",
]
