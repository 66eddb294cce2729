"""Settings of the commands beside ``simclr train``. No torch is needed to read and check them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional

from simclr_lib.choices import (
    MAX_COUNT,
    MAX_SEED,
    NUM_EMBLEM_CLASSES,
    ONLY_EMBLEMS,
    SWEEP_NAMES,
    Edition,
    ExportFormat,
    Fit,
    Platform,
    ProjectionMethod,
)
from simclr_lib.config import TrainConfig, check_ranges
from simclr_lib.errors import SimCLRError, require_device, require_range, unknown_name
from simclr_lib.files import (
    check_file,
    check_images,
    check_rows,
    check_writable,
    checkpoint_file,
    notebooks_in,
    require_folder,
)
from simclr_lib.recipes import BUDGETS, DEMO, FILMED, PRESETS, SHORT
from simclr_lib.results import Result


@dataclass(frozen=True)
class CheckpointConfig:
    """Settings of a command that reads a checkpoint: the encoder and the images that it is used on."""

    checkpoint: Annotated[Path, Positional]
    """The file checkpoint.pt of a run, or the run's folder."""
    images: Path | None = None
    """Folder of your own images. This is short for the data set imagefolder in this data_dir."""
    labels: str | None = None
    """Labels of your own images: folders, none, or a CSV file with lines "file,label". By default they are taken as
    in training."""
    dataset: str | None = None
    """Name of the data set. By default it is the one that the encoder was trained on."""
    data_dir: Path | None = None
    """Folder of the data set. By default it is the one that was used in training."""
    limit: int | None = None
    """Use at most this many images, drawn evenly from the classes. By default all are used."""
    fit: Fit | None = None
    """The treatment of your own images that are not square: crop or pad. By default it is as in training, and so are
    the next three."""
    bands: tuple[int, int, int] | None = None
    """Bands of your own images that are taken as red, green and blue, counted from 1."""
    levels: tuple[float, float] | None = None
    """Levels of your own images that become black and white, where they have more than 8 bits."""
    max_pixels: int | None = None
    """Number of pixels of the largest file that is read."""
    out: Path | None = None
    """Folder for the results. By default they are written beside the checkpoint."""
    device: str = "auto"
    """Device to compute on: cpu, mps, cuda or cuda:N. With auto, it is the CUDA GPU if there is one."""

    file: ClassVar[str] = ""  # name of the file that a command writes, where it writes a single one

    @property
    def target(self) -> Path:
        """The folder, or the file, for results."""
        return self.out or checkpoint_file(self.checkpoint).parent / self.file

    def check(self) -> None:
        """Raise `SimCLRError` for a setting that is out of range, and for paths that are not there."""
        check_ranges(self)
        require_device(self.device)
        check_images(self.images or (self.data_dir if self.dataset == "imagefolder" else None), self.labels)
        if self.file:
            check_file(self.target, self.file)
        else:
            check_writable(self.target)
        checkpoint_file(self.checkpoint)


@dataclass(frozen=True)
class EvaluateConfig(CheckpointConfig):
    """Settings of ``simclr evaluate``."""

    fine_tune: bool = False
    """Also fine-tune the whole network, at every budget of labels. This is training, and takes as long. With few labels
    the result can be worse than that of a linear head on the frozen features."""
    limit: int | None = None
    """Use at most this many images of the training part, and of the test part. By default all are used."""
    budgets: tuple[int, ...] = BUDGETS
    """Numbers of labels per class to compare, besides all labels. 1 % of CIFAR-10's labels are 50 per class."""

    def check(self) -> None:
        """Raise `SimCLRError` for a setting that is out of range."""
        if not self.budgets:
            raise SimCLRError("--budgets needs numbers of labels of at least 1, such as --budgets 10 100.")
        for budget in self.budgets:
            require_range("budgets", budget, 1, MAX_COUNT)
        super().check()


@dataclass(frozen=True)
class EmbedConfig(CheckpointConfig):
    """Settings of ``simclr embed``."""

    method: ProjectionMethod = "umap"
    """Method that projects the features to two dimensions."""
    seed: int = 0
    """Random seed of the projection."""


@dataclass(frozen=True)
class SearchConfig(CheckpointConfig):
    """Settings of ``simclr search``."""

    photo: Annotated[Path, Positional] = field(kw_only=True)
    """Image file to find similar images of."""
    count: int = 12
    """Number of images to find."""

    def check(self) -> None:
        """Raise `SimCLRError` for a setting that is out of range."""
        require_range("count", self.count, 1, MAX_COUNT)
        if not self.photo.is_file():
            raise SimCLRError(f"there is no image {self.photo}: check its path.")
        super().check()


@dataclass(frozen=True)
class PredictConfig(CheckpointConfig):
    """Settings of ``simclr predict``."""

    labels: str | None = None
    """Labels of some of the images: folders, or a CSV file with lines "file,label". The nearest labelled images then
    vote on each image (kNN). By default the run's output head predicts."""
    out: Path | None = None
    """CSV file to write. By default it is predictions.csv beside the checkpoint."""
    neighbors: int | None = None
    """Number of the nearest labelled images that vote. By default 20, or the size of the smallest labelled class if
    that is less."""

    file: ClassVar[str] = "predictions.csv"

    def check(self) -> None:
        """Raise `SimCLRError` for a setting that is out of range."""
        require_range("neighbors", self.neighbors, 1, MAX_COUNT)
        if self.labels == "none":
            raise SimCLRError('labels="none" gives nobody a vote: leave it out, or name a CSV file.')
        super().check()


@dataclass(frozen=True)
class ReportConfig(CheckpointConfig):
    """Settings of ``simclr report``."""

    out: Path | None = None
    """HTML file to write. By default it is report.html beside the checkpoint."""
    limit: int | None = None
    """Use at most this many training images. By default as many as in training."""
    address: str | None = None
    """Address at which the page will stand on the web, such as https://example.org/report.html. Some programs show the
    picture beside a link to the page only if they know it."""

    file: ClassVar[str] = "report.html"


@dataclass(frozen=True)
class ExportConfig:
    """Settings of ``simclr export``."""

    checkpoint: Annotated[Path, Positional]
    """The file checkpoint.pt of a run, or the run's folder."""
    to: ExportFormat = "torchvision"
    """The library that is to load the encoder: torchvision or timm (a state dict for the network of theirs), torch (a
    program for torch.export.load, which needs PyTorch alone), safetensors (the weights by their names) or onnx (a
    graph for any runtime, which needs no Python)."""
    out: Path | None = None
    """File to write; beside it, a file with .json behind the name says what the encoder takes and how to load it. By
    default it is encoder.torchvision.pt, .timm.pt, .pt2, .safetensors or .onnx beside the checkpoint."""

    def check(self) -> None:
        """Raise `SimCLRError` if there is no checkpoint, or the file cannot be written."""
        check_file(self.out or checkpoint_file(self.checkpoint), "encoder.pt")


@dataclass(frozen=True)
class DemoBudget:
    """The work of the demo besides pretraining.

    Attributes:
        labels: labels per class that it compares.
        steps: steps of training from scratch with the fewest labels.
        supervised_epochs: epochs of training from scratch with all labels.
        filmed: test images in the film and in the report.
    """

    labels: tuple[int, ...] = (10, 100)
    steps: int = 300
    supervised_epochs: int = 8
    filmed: int = FILMED


@dataclass(frozen=True)
class DemoConfig:
    """Settings of ``simclr demo``."""

    seeds: tuple[int, ...] = (0,)
    """Random seeds. Everything is repeated with each, and the report gives mean and standard deviation."""
    epochs: int = DEMO.epochs
    """Epochs of pretraining."""
    images: int = 4096
    """Number of training images to draw."""
    out: Path | None = None
    """Folder for the report, its figures and results.json. By default it is a new folder below ./runs."""
    device: str = "auto"
    """Device to compute on: cpu, mps, cuda or cuda:N. With auto, it is the CUDA GPU if there is one."""

    def check(self, budget: DemoBudget | None = None) -> None:
        """Raise `SimCLRError` for a setting that is out of range, and for a folder that holds a finished demo.

        Args:
            budget: the work besides pretraining, which needs some images of each class.
        """
        check_seeds(self.seeds)
        require_range("epochs", self.epochs, 1, MAX_COUNT)
        require_range("images", self.images, 1, MAX_COUNT)
        most = max((budget or DemoBudget()).labels)
        if self.images < NUM_EMBLEM_CLASSES * most:
            raise SimCLRError(
                f"the demo compares up to {most} labels per class: images must be at least "
                f"{NUM_EMBLEM_CLASSES * most:,}, not {self.images}."
            )
        require_device(self.device)
        check_writable(self.out)
        results = self.out and self.out / "results.json"
        if results and results.exists() and Result.read(results).extra.get("complete", True):  # a stopped one goes on
            raise SimCLRError(f"{self.out} already holds a demo: choose another folder.")


@dataclass(frozen=True)
class SweepConfig:
    """Settings of ``simclr sweep``."""

    name: Annotated[str, Positional]
    """One of crop-color, views, temperature, temperature-rate, optimizers, batch-size, steps, large-batch, negatives,
    head, head-rate, epochs, recipes, labels and shifts."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Random seeds. Every variant is trained once with each."""
    epochs: int = SHORT.epochs
    """Epochs of pretraining."""
    images: int | None = None
    """Number of training images. By default these are 4,096 emblems, or all images of another data set."""
    dataset: str = "emblems"
    """Name of the data set. Any other than emblems is trained on with the default settings of `simclr train`."""
    data_dir: Path | None = None
    """Folder in which the data set lies, or to which it is downloaded. By default it is ./data."""
    out: Path | None = None
    """Folder for results.json. By default it is a new folder below ./runs."""
    device: str = "auto"
    """Device to compute on: cpu, mps, cuda or cuda:N. With auto, it is the CUDA GPU if there is one."""
    preset: Literal[tuple(PRESETS)] | None = None  # type: ignore[valid-type]
    """Recipe of `simclr train` to start from, instead of those."""
    only: tuple[str, ...] | None = None
    """Names of the variants to compare, such as "τ = 0.1". By default all are compared."""
    held_out: float | None = None
    """Share of the training images to keep out of training and to test on: a recipe can then be chosen without the test
    images, which are not loaded. By default the test images are used."""
    compile: bool = False
    """Compile each network for this machine first, as with `simclr train --compile`."""
    resume: bool = False
    """Continue the sweep in --out that was interrupted. Variants that are done are not repeated."""

    def check(self) -> None:
        """Raise `SimCLRError` for an unknown sweep, and for a setting that is out of range."""
        if self.name not in SWEEP_NAMES:
            raise unknown_name("sweep", self.name, SWEEP_NAMES)
        if self.dataset != "emblems" and self.name in ONLY_EMBLEMS:
            fitting = f'leave out dataset="{self.dataset}"'
            raise SimCLRError(f"{self.name} compares recipes that were chosen for emblems: {fitting}.")
        check_seeds(self.seeds)
        require_range("epochs", self.epochs, 1, MAX_COUNT)
        require_range("images", self.images, 1, MAX_COUNT)
        require_range("held_out", self.held_out, 0.001, 0.5)
        require_device(self.device)
        check_writable(self.out)
        check_rows(self.out, self.resume)


@dataclass(frozen=True)
class PlanConfig(TrainConfig):
    """Settings of ``simclr plan``: those of ``simclr train``, and those of the machines."""

    processes: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of processes to plan for. Each has a device like this machine's."""
    bandwidth: float = 10.0
    """GB/s between two processes: about 10 for PCIe or a fast network, 1 for 10-gigabit Ethernet, 200 for NVLink."""
    latency: float = 30.0
    """Microseconds that a message takes."""
    measure: bool = False
    """Also train on this machine for some steps, with every number of processes, and compare."""
    out: Path | None = None
    """Results file to write. By default the table is only printed."""

    def check(self) -> None:
        """Raise `SimCLRError` for a setting that is out of range."""
        super().check()
        if not self.contrastive:
            raise SimCLRError("plan is for pretraining: leave out --no-contrastive.")
        if not self.processes:
            raise SimCLRError("--processes needs numbers of at least 1, such as --processes 1 2 4.")
        for processes in self.processes:
            require_range("processes", processes, 1, 1_000_000)
        require_range("bandwidth", self.bandwidth, 1e-6, 1e6)
        require_range("latency", self.latency, 0, 1e9)
        check_file(self.out, "plan.json")


@dataclass(frozen=True)
class BenchConfig:
    """Settings of ``simclr bench``."""

    out: Path | None = None
    """Results file to write. By default the tables are only printed."""
    repeats: int = 3
    """Number of measurements of each library. The median counts."""
    batch_size: int = 256
    """Images in a step of training."""
    quick: bool = False
    """Leave out the full ResNet-18, whose steps take seconds on a CPU, and the loss of very many pairs, which takes
    16 GB of memory in one piece."""
    device: str = "auto"
    """Device to train on: cpu, mps, cuda or cuda:N. With auto, it is the CUDA GPU if there is one. With cuda, only what
    runs on the GPU is measured: training a ResNet-18, the losses and LARS, in at most four minutes."""

    def check(self) -> None:
        """Raise `SimCLRError` for a setting that is out of range."""
        require_range("repeats", self.repeats, 1, MAX_COUNT)
        require_range("batch_size", self.batch_size, 2, MAX_COUNT)
        require_device(self.device)
        check_file(self.out, "bench.json")


@dataclass(frozen=True)
class NotebooksConfig:
    """Settings of ``simclr notebooks``."""

    folder: Annotated[Path, Positional]
    """Folder to copy the notebooks to. It is made if it does not exist, and nothing in it is overwritten."""

    def check(self) -> None:
        """Accept every folder: whether it can be written to shows when the first notebook is copied."""


@dataclass(frozen=True)
class BuildConfig:
    """Settings of ``simclr workshop build``."""

    folder: Annotated[Path, Positional]
    """Folder to write the notebooks to, over an earlier edition."""
    edition: Edition = "student"
    """Edition to build: student (no outputs, exercises open), solutions (exercises filled in) or instructor (with
    answers, minutes, usual mistakes and slides)."""

    def check(self) -> None:
        """Raise `SimCLRError` for a folder that cannot be written to."""
        check_writable(self.folder)


@dataclass(frozen=True)
class BundleConfig:
    """Settings of ``simclr workshop bundle``."""

    folder: Annotated[Path, Positional]
    """Folder to fill with wheels, notebooks, instructions and checksums."""
    platform: Platform | None = None
    """System of the learners' machines: linux, windows or macos. By default it is the system of this machine."""
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    """Version of Python on the learners' machines, such as 3.12."""

    def check(self) -> None:
        """Raise `SimCLRError` for something that is no version."""
        if not re.fullmatch(r"3\.\d+", self.python):
            raise SimCLRError(f"--python must be a version such as 3.12, not {self.python!r}.")
        check_writable(self.folder)


@dataclass(frozen=True)
class CheckConfig:
    """Settings of ``simclr workshop check``, which has none."""

    def check(self) -> None:
        """Nothing can be wrong."""


@dataclass(frozen=True)
class MarkConfig:
    """Settings of ``simclr workshop mark``."""

    folder: Annotated[Path, Positional]
    """Folder with the returned notebooks, such as anna/02_nt_xent.ipynb or anna-02_nt_xent.ipynb. Their code is
    executed."""
    out: Path | None = None
    """CSV file to write, with a line for each learner and exercise. By default only the summary is printed."""
    seconds: float = 10.0
    """Seconds that a single answer may take."""

    def check(self) -> None:
        """Raise `SimCLRError` for a setting that is out of range."""
        require_range("seconds", self.seconds, 0.1, 3600)
        require_folder(self.folder, "notebooks")
        notebooks_in(self.folder)
        check_file(self.out, "marks.csv")


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Raise `SimCLRError` unless there are seeds, and all are in range."""
    if not seeds:
        raise SimCLRError("--seeds needs at least one number.")
    for seed in seeds:
        require_range("seeds", seed, 0, MAX_SEED)
