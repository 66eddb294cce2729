"""Settings of the commands beside ``simclr train``. No torch is needed to read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from simclr_lib.choices import ProjectionMethod
from simclr_lib.config import TrainConfig
from simclr_lib.recipes import EMBLEMS, SHORT

BUDGETS = (10, 50, 100)  # labels per class


@dataclass(frozen=True)
class CheckpointConfig:
    """Which encoder on which images."""

    checkpoint: Annotated[Path, Positional]
    """checkpoint.pt of a run, or the run's folder."""
    dataset: str | None = None
    """Data set; by default the one it was trained on."""
    data_dir: Path | None = None
    """Where the data set lies; by default where it lay for training."""
    limit: int | None = None
    """Use only so many images of each part."""
    out: Path | None = None
    """Folder for the results; by default beside the checkpoint."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto is the GPU if there is one."""


@dataclass(frozen=True)
class EvaluateConfig(CheckpointConfig):
    """Settings of ``simclr evaluate``."""

    fine_tune: bool = False
    """Also train the whole network on, at every budget of labels: slow, since it is training."""
    budgets: tuple[int, ...] = BUDGETS
    """Labels per class to compare with, beside all of them. 1 % of CIFAR-10's labels are 50 per class."""


@dataclass(frozen=True)
class EmbedConfig(CheckpointConfig):
    """Settings of ``simclr embed``."""

    method: ProjectionMethod = "umap"
    """umap, pca or tsne."""
    seed: int = 0
    """Of the projection."""


@dataclass(frozen=True)
class DemoConfig:
    """Settings of ``simclr demo``."""

    seeds: tuple[int, ...] = (0,)
    """Repeat everything with each of these seeds and give mean and standard deviation."""
    epochs: int = EMBLEMS.epochs
    """Epochs of pretraining."""
    images: int = 8192
    """Training images."""
    out: Path | None = None
    """Folder for the report, its figures and results.json; a new one below ./runs by default."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto is the GPU if there is one."""


@dataclass(frozen=True)
class SweepConfig:
    """Settings of ``simclr sweep``."""

    name: Annotated[str, Positional]
    """crop-color, temperature, batch-size, steps, large-batch, negatives, head, epochs, labels or shifts."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each variant with each seed."""
    epochs: int = SHORT.epochs
    """Epochs of pretraining."""
    images: int | None = None
    """Training images; by default 4,096 emblems, or all of another data set."""
    dataset: str = "emblems"
    """emblems, or another data set, which is trained on with the settings that `simclr train` has by default."""
    data_dir: Path | None = None
    """Where the data set lies, or is downloaded to; ./data by default."""
    out: Path | None = None
    """Folder for results.json; a new one below ./runs by default."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto is the GPU if there is one."""


@dataclass(frozen=True)
class PlanConfig(TrainConfig):
    """Settings of ``simclr plan``: those of ``simclr train``, and of the machines."""

    processes: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of processes to plan for, each on a device like this machine's."""
    bandwidth: float = 10.0
    """GB/s between two processes: about 10 for PCIe or a fast network, 1 for 10-gigabit Ethernet, 200 for NVLink."""
    latency: float = 30.0
    """Microseconds that a message takes."""
    measure: bool = False
    """Also train on this machine for some steps, with every number of processes, and compare."""
    out: Path | None = None
    """Results file; by default the table is only printed."""


@dataclass(frozen=True)
class BenchConfig:
    """Settings of ``simclr bench``."""

    out: Path | None = None
    """Results file; by default the tables are only printed."""
    repeats: int = 3
    """How often everybody is measured; the median counts."""
    batch_size: int = 256
    """Images a step of training."""
    quick: bool = False
    """Leave out the full ResNet-18, whose steps take seconds on a CPU, and the loss of very many pairs, which takes
    16 GB of memory in one piece."""
    device: str = "auto"
    """Where to train: cpu, cuda or cuda:N; auto is the GPU if there is one. Augmentation runs on one core."""
