"""Every setting of a training run in one place. The command line is made from these fields, and needs no torch for it.

`Recipe` holds what decides the result; `TrainConfig` adds where and how a run takes place.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import math
import operator
import os
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simclr_lib.choices import (
    BUNDLED,
    FORMS,
    IMAGENET,
    MAX_COUNT,
    MAX_IMAGE_SIZE,
    MAX_PIXELS,
    MAX_SEED,
    OWN,
    TIMM,
    Fit,
    LogName,
    OptimizerName,
    Precision,
    Stem,
)
from simclr_lib.errors import ABOVE_0, SimCLRError, require_device, require_range, unknown_name
from simclr_lib.files import check_images, check_run, check_writable, checkpoint_file, data_folder

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from simclr_lib.augment import SimCLRAugment
    from simclr_lib.data import Reading
    from simclr_lib.loop import LoopConfig
    from simclr_lib.models import SimCLR
    from simclr_lib.objectives import Objective

RecipeT = typing.TypeVar("RecipeT", bound="Recipe")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a training run, and nothing else.

    A run that is resumed must have the same recipe. None and "auto" stand for values that suit the other settings;
    `resolved` replaces them, once, before training.
    """

    contrastive: bool = True
    """Pretrain with SimCLR, and then train an output head on the frozen features. Without it, encoder and output head
    are trained together with labels."""

    dataset: str = "cifar10"
    """Data set: emblems, cifar10, cifar100, stl10, tinyimagenet, imagefolder, or hf:NAME for one of the Hugging Face
    Hub, such as hf:ylecun/mnist. That needs the datasets package."""
    limit: int | None = None
    """Use only this many training images, drawn evenly from the classes. By default all are used."""
    image_size: int | None = None
    """Side to which the images are resized, in pixels. By default they keep their own size, and images of a folder of
    mixed sizes are brought to 64 pixels."""
    store_size: int | None = None
    """Side at which your own images are stored, in pixels: views are cut from these, and whole images are resized from
    them. By default it is twice the image size, but at most 256; small images of one size are stored as they are."""
    fit: Fit = "crop"
    """The treatment of your own images that are not square: crop keeps the central square of each, and pad keeps all
    of it and adds black borders."""
    bands: tuple[int, int, int] | None = None
    """Bands of your own images that are taken as red, green and blue, counted from 1. By default these are the colours,
    or the first three bands."""
    levels: tuple[float, float] | None = None
    """Levels of your own images that become black and white, where they have more than 8 bits. By default these are the
    smallest and the largest level of all images together."""

    base_model: Literal[18, 34, 50] | str = 18
    """Encoder: a ResNet of this depth, or timm:NAME for a network of the timm package, such as timm:convnext_atto."""
    width: int = 64
    """Channels of a ResNet's first stage (64 in the original). Networks of timm take no width."""
    stem: Stem | None = None
    """First layers of a ResNet: cifar (stride 1), fast (stride 2) or imagenet (7×7, stride 2, and max-pool). By default
    cifar for images of up to 64 pixels; imagenet for larger ones, and with ImageNet's weights. Networks of timm take
    no stem."""
    init: str | None = None
    """Weights to start from, instead of random ones: the folder of a run, with SimCLR or with labels, or its
    checkpoint.pt; or imagenet for weights that are downloaded from torchvision or timm, trained with labels on ImageNet
    (a ResNet then needs the stem imagenet and the width 64). To train a finished run for longer, start from it."""
    projection_hidden: int = 2048
    """Units of the projection head's hidden layer."""
    projection_dim: int = 128
    """Length of z, the output of the projection head."""
    projection_layers: int = 2
    """Linear layers of the projection head: the paper has 2, its reference code 3. With 0 there is no head, and z is
    h."""

    temperature: float = 0.2
    """Temperature τ of the NT-Xent loss. On CIFAR-10, 0.2 was better than 0.1 and 0.5 after 60 epochs (one seed). The
    paper finds 0.5 the best of 0.1, 0.5 and 1 where training takes more than 300 epochs (B.9)."""
    view_size: int | None = None
    """Side of a view in pixels. By default it is the side of the images. Crops zoom in, so that a network that is
    trained on somewhat smaller views meets objects of the size that they have in whole images (Touvron et al. 2019,
    arXiv 1906.06423), and it trains faster."""
    crop_min: float = 0.08
    """Smallest crop, as a share of the image's area."""
    crop_max: float = 1.0
    """Largest crop, as a share of the image's area."""
    flip_prob: float = 0.5
    """Probability that a view is mirrored. Use 0 where the mirror image has another meaning, as with letters."""
    color_strength: float = 0.5
    """Strength s of the colour jitter: 0.5 for CIFAR-10, 1 for ImageNet."""
    color_prob: float = 0.8
    """Probability of colour jitter."""
    gray_prob: float = 0.2
    """Probability of grayscale."""
    blur_prob: float | None = None
    """Probability of Gaussian blur. By default 0 for images of up to 32 pixels (paper, B.9), and 0.5 for larger ones
    (appendix A)."""
    blur_sigma: tuple[float, float] = (0.01, 2.0)
    """Smallest and largest standard deviation of the blur, in pixels. The paper has 0.1 and 2."""

    epochs: int = 200
    """Number of passes over the training images."""
    batch_size: int = 512
    """Number of images per step, of all processes together. SimCLR makes two views of each."""
    micro_batch: int | None = None
    """Number of images that go through the network at a time (gradient caching): a large batch then needs the memory
    of a small one, and a third more time. The result is exact except for batch norm, which sees one micro-batch at a
    time. By default all images of a process's batch go through at once. Training with labels does not use it."""
    global_negatives: bool = True
    """With several processes (torchrun), use the other processes' images as negatives, too."""
    optimizer: OptimizerName | None = None
    """Optimiser: adam (AdamW), sgd (with Nesterov momentum) or lars. By default lars for SimCLR, and sgd with
    labels."""
    lr: float | None = None
    """Peak learning rate. By default it is chosen to suit the optimiser and the batch size B; for lars it is
    2 · B / 256, twice the paper's, which was better on CIFAR-10 after 60 epochs at B = 512 (one seed)."""
    weight_decay: float = 1e-4
    """Weight decay of kernels and weight matrices. Biases and normalisation parameters get none."""
    warmup_epochs: float | None = None
    """Epochs of linear warm-up before the cosine. By default 10, or a tenth of all epochs if that is less."""
    seed: int = 0
    """Random seed of the initial weights, the order of the images and their views."""

    validation: float = 0.05
    """Share of the training images that is kept out of pretraining, to measure the kNN accuracy on while training;
    with 0 nothing is kept out. Training with labels keeps nothing out."""
    monitor_every: int | None = None
    """Number of epochs between two measurements of the kNN accuracy. By default there are about ten in a run."""
    precision: Precision = "auto"
    """Precision of the computation: bf16, fp16 (with scaled gradients) or fp32. With auto it is bf16 on machines where
    that is faster, and fp16 on GPUs that have it alone, such as a T4."""

    def __post_init__(self) -> None:
        """Turn each value into the plain Python value of its field's type, or refuse it.

        Ranges are not looked at here but in `check`, since the command line makes settings before it can report an
        error in one line.
        """
        if isinstance(self.init, os.PathLike):
            object.__setattr__(self, "init", os.fspath(self.init))
        for name, hint in _types(type(self)).items():
            object.__setattr__(self, name, _plain(name, getattr(self, name), hint))

    def check(self) -> None:
        """Raise `SimCLRError` for a value that makes no sense. Training calls this first."""
        check_ranges(self)
        for name, hint in _types(type(self)).items():
            choices = [c for kind in _kinds(hint) if typing.get_origin(kind) is Literal for c in typing.get_args(kind)]
            value = getattr(self, name)
            is_network = name == "base_model" and str(value).startswith((TIMM, OWN))
            if choices and value is not None and value not in choices and not is_network:
                form = [FORMS[name]] if name in FORMS else []
                raise unknown_name(f"value of {name}", str(value), [*map(str, choices), *form])
        if not isinstance(self.base_model, int) and (self.stem is not None or self.width != Recipe.width):
            raise SimCLRError(
                f'`width` and `stem` belong to the ResNets: leave them out with base_model="{self.base_model}".'
            )
        if self.init == IMAGENET:
            if self.has_own_encoder:
                raise SimCLRError("there are no ImageNet weights for your own encoder: load them into it yourself.")
            if isinstance(self.base_model, int) and (self.stem not in (None, "imagenet") or self.width != Recipe.width):
                raise SimCLRError('init="imagenet" needs the stem="imagenet" and the width=64 of the original ResNets.')
        if self.contrastive and self.batch_size < 2:
            raise SimCLRError("SimCLR needs a batch_size of at least 2: with one image there is no negative.")
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise SimCLRError(
                f"a micro_batch of {self.micro_batch} is larger than the batch_size of {self.batch_size}: "
                "leave it out, or make it smaller."
            )
        if self.crop_min > self.crop_max:
            raise SimCLRError(f"crop_min must be at most crop_max, not {self.crop_min} and {self.crop_max}.")
        if self.blur_sigma[0] > self.blur_sigma[1]:
            raise SimCLRError(f"blur_sigma is a smallest and a largest value, not {self.blur_sigma}.")

    def resolved(
        self: RecipeT,
        image_size: int,
        device: torch.device | None = None,
        earlier: Recipe | None = None,
        reading: Reading | None = None,
    ) -> RecipeT:
        """Return the same settings with every None and "auto" replaced by the value that it stands for.

        Args:
            image_size: side of the training images, in pixels.
            device: decides about the precision "auto"; without a device, "auto" stays.
            earlier: the resolved recipe of the run that is resumed; what these settings leave open is taken from it.
            reading: how the training images were read, if they are from files of one's own.
        """
        from simclr_lib.optim import default_lr

        chosen = self
        if earlier is not None:
            left_open = [name for name in _LEFT_OPEN if getattr(self, name) in (None, "auto")]
            if reading is not None:  # the images decide; early versions also stored levels that were not used
                left_open = [name for name in left_open if not hasattr(reading, name)]
            chosen = dataclasses.replace(self, **{name: getattr(earlier, name) for name in left_open})
        optimizer: OptimizerName = chosen.optimizer or ("lars" if self.contrastive else "sgd")
        values: dict[str, Any] = {
            "image_size": image_size,
            "store_size": reading.store_size if reading else None,
            "levels": reading.levels if reading else None,
            "stem": self._default_stem(image_size),
            "view_size": image_size,
            "blur_prob": 0.0 if image_size <= 32 else 0.5,
            "optimizer": optimizer,
            "lr": default_lr(optimizer, self.batch_size),
            "warmup_epochs": min(10.0, 0.1 * self.epochs),
            "monitor_every": max(1, round(self.epochs / 10)),
        }
        if device is not None and chosen.precision == "auto":
            from simclr_lib.device import fastest_precision

            chosen = dataclasses.replace(chosen, precision=fastest_precision(device))
        return dataclasses.replace(
            chosen, **{name: value for name, value in values.items() if getattr(chosen, name) is None}
        )

    def _default_stem(self, image_size: int) -> Stem | None:
        if not isinstance(self.base_model, int):
            return None
        return "imagenet" if image_size > 64 or self.init == IMAGENET else "cifar"

    # What the settings describe.

    def augment(self, image_size: int) -> SimCLRAugment:
        """Make the random views of these settings, for images of this size."""
        from simclr_lib.augment import SimCLRAugment

        settings = self.resolved(image_size)
        assert settings.view_size
        assert settings.blur_prob is not None
        return SimCLRAugment(
            size=settings.view_size,
            crop_scale=(settings.crop_min, settings.crop_max),
            flip_prob=settings.flip_prob,
            color_strength=settings.color_strength,
            color_prob=settings.color_prob,
            gray_prob=settings.gray_prob,
            blur_prob=settings.blur_prob,
            blur_sigma=settings.blur_sigma,
        )

    def check_network(self) -> None:
        """Raise `SimCLRError` where timm is missing or lacks the encoder. This imports timm, unlike `check`."""
        if str(self.base_model).startswith(TIMM):
            from simclr_lib.models.encoders import check_timm

            check_timm(str(self.base_model).removeprefix(TIMM))

    @property
    def network(self) -> str:
        """The encoder's name, for a folder or a report: "resnet18", "convnext_atto" or "module:package.Class"."""
        return f"resnet{self.base_model}" if isinstance(self.base_model, int) else self.base_model.removeprefix(TIMM)

    @property
    def has_own_encoder(self) -> bool:
        """True if the encoder is a module that was given to `pretrain`: these settings alone cannot make it."""
        return str(self.base_model).startswith(OWN)

    def with_own_encoder(self: RecipeT, encoder: nn.Module | None) -> RecipeT:
        """Return the settings of training this module: ``base_model`` names its class. None changes nothing."""
        if encoder is None:
            return self
        kind = type(encoder)
        return dataclasses.replace(self, base_model=f"{OWN}{kind.__module__}.{kind.__qualname__}")

    def encoder(self, image_size: int, own: nn.Module | None = None) -> nn.Module:
        """Make a new encoder for images of this size.

        Args:
            image_size: side of the images, in pixels.
            own: the module that was given to `pretrain`; the encoder is a copy of it.

        Raises:
            SimCLRError: it is a module that was given, and ``own`` is missing; or a network that timm does not have.
        """
        from simclr_lib.models import resnet18, resnet34, resnet50, timm_encoder

        if own is not None:
            return copy.deepcopy(own)
        settings = self.resolved(image_size)
        name = str(settings.base_model)
        if name.startswith(OWN):
            raise SimCLRError(f"the encoder is a {name.removeprefix(OWN)}, which was given as a module: give it again.")
        if name.startswith(TIMM):
            assert settings.view_size
            return timm_encoder(name.removeprefix(TIMM), settings.view_size)
        makers = {"18": resnet18, "34": resnet34, "50": resnet50}
        if name not in makers:
            raise unknown_name("value of base_model", name, [*makers, FORMS["base_model"]])
        assert settings.stem
        return makers[name](settings.stem, self.width)

    def simclr(self, image_size: int, own: nn.Module | None = None) -> SimCLR:
        """Make a new encoder and projection head for images of this size.

        Args:
            image_size: side of the images, in pixels.
            own: as for `encoder`.

        Raises:
            SimCLRError: there is no such encoder, or it takes no images or views of the run's size.
        """
        from torch import nn

        from simclr_lib.models import ProjectionHead, SimCLR

        encoder = self.encoder(image_size, own)
        dim = self.feature_dim(encoder, image_size)
        if self.projection_layers == 0:
            return SimCLR(encoder, nn.Identity())
        return SimCLR(encoder, ProjectionHead(dim, self.projection_hidden, self.projection_dim, self.projection_layers))

    def feature_dim(self, encoder: nn.Module, image_size: int) -> int:
        """Find the length of an encoder's features.

        Raises:
            SimCLRError: it does not take both whole images and views, or gives features of different lengths for them.
        """
        from simclr_lib.models import feature_dim

        view_size = self.resolved(image_size).view_size
        assert view_size
        of_views = feature_dim(encoder, view_size)
        of_images = of_views if view_size == image_size else feature_dim(encoder, image_size)
        if of_views != of_images:
            raise SimCLRError(
                f"the encoder gives {of_views} features for views of {view_size} pixels and {of_images} for images of "
                f"{image_size}: leave view_size out, or choose another encoder."
            )
        return of_views

    def loop(self) -> LoopConfig:
        """Return the settings of the training loop."""
        from simclr_lib.loop import LoopConfig

        settings = self.resolved(image_size=1)  # the loop's settings do not depend on it
        assert settings.optimizer
        assert settings.lr
        assert settings.warmup_epochs is not None
        return LoopConfig(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            optimizer=settings.optimizer,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            warmup_epochs=settings.warmup_epochs,
            seed=settings.seed,
            precision=settings.precision,
        )


@dataclass(frozen=True)
class TrainConfig(Recipe):
    """Settings of ``simclr train``: a recipe, and where and how to train.

    The defaults follow the paper's recipe for CIFAR-10 (arXiv 2002.05709, B.9). As in the CIFAR-10 command of the
    reference repository, the network is ResNet-18 and not ResNet-50, and weight decay is 1e-4 and not 1e-6. The
    learning rate and the temperature were compared on held-out training images, see
    notebooks/results/cifar10-gpu-recipes.json in the repository. The settings of this class may differ when a run is
    resumed: they change its result by rounding at most. `pretrain` and `train_supervised` are given their images, so
    ``dataset``, ``data_dir``, ``images``, ``labels``, ``max_pixels`` and ``download`` only say what the command line
    loads.
    """

    data_dir: Path | None = None
    """Folder that holds the data set, or to which it is downloaded; ./data by default."""
    images: Path | None = None
    """Folder of your own images. This is short for the data set imagefolder in this data_dir."""
    labels: str | None = None
    """Labels of your own images: folders, none, or a CSV file with lines "file,label". By default the folders are the
    classes, unless there is only one or their names are dates."""
    max_pixels: int = MAX_PIXELS
    """Number of pixels of the largest file that is read. Larger files are left out with a warning."""
    download: bool = True
    """Download the data set if it is not there."""
    loss_chunk: int | None = None
    """Number of embeddings that are compared with all others at a time. By default all are compared at once, which
    takes memory with the square of their number."""
    compile: bool = False
    """Compile the network for this machine first (torch.compile). On a GPU it then runs as CUDA graphs, and the views
    are compiled, too. That takes minutes at the start."""
    device: str = "auto"
    """Device to compute on: cpu, cuda, cuda:N, or mps for an Apple GPU (in fp32 only, and not measured). With auto it
    is the CUDA GPU if there is one."""
    run_dir: Path | None = None
    """Folder for checkpoint, metrics and results. By default a new folder below ./runs is made."""
    resume: bool = False
    """Continue the run in run_dir from its checkpoint."""
    checkpoint_seconds: float = 60.0
    """Longest time between two checkpoints, in seconds."""
    timeout: float = 600.0
    """Seconds to wait for the other processes (torchrun) before giving up."""
    log: LogName | None = None
    """Program that also gets the metrics of every step: tensorboard, trackio (which draws curves on this machine) or
    wandb (Weights & Biases). Each needs the package of its name."""
    tensorboard: bool = False
    """This is short for --log tensorboard."""

    def __post_init__(self) -> None:
        """Make the values plain, ``images`` a data set and its folder, and ``tensorboard`` a name."""
        super().__post_init__()
        if self.tensorboard:
            object.__setattr__(self, "log", "tensorboard")
            object.__setattr__(self, "tensorboard", False)
        if self.images is not None:
            for name, value in {"dataset": "imagefolder", "data_dir": self.images, "images": None}.items():
                object.__setattr__(self, name, value)

    def reading(self) -> Reading:
        """Return how the files of one's own images become pixels."""
        from simclr_lib.data import Reading

        return Reading(self.store_size, self.fit, self.bands, self.levels, self.max_pixels)

    def augment_on(self, device: torch.device, image_size: int) -> SimCLRAugment:
        """Return `augment` for a device: with ``compile``, its compiled form on a GPU.

        A CPU is faster without, since it skips the operations that an image has not drawn.
        """
        augment = self.augment(image_size)
        return augment.compiled() if self.compile and device.type == "cuda" else augment

    def check_start(self) -> None:
        """Raise `SimCLRError` if ``simclr train`` cannot start: a path is not there, or cannot be written to."""
        require_device(self.device)
        check_images(data_folder(self.data_dir) if self.dataset == "imagefolder" else None, self.labels)
        if self.resume and self.run_dir is None:
            raise SimCLRError("resume=True needs run_dir: name the folder of the run to continue.")
        if self.init not in (None, IMAGENET, *BUNDLED) and not self.resume:
            checkpoint_file(Path(str(self.init)).expanduser())
        if self.run_dir and os.environ.get("RANK", "0") == "0":  # the leading process writes
            check_writable(self.run_dir)
        if self.run_dir and "RANK" not in os.environ:  # several processes find this out together
            check_run(self.run_dir, self.resume)

    def objective(self, network: nn.Module, images: Tensor) -> Objective:
        """Return the loss of a pretraining step on batches of these images, see `contrastive_objective`.

        Args:
            network: a `SimCLR`, or its distributed or compiled form.
            images: uint8 [N, 3, H, W], on the network's device.
        """
        from simclr_lib.objectives import contrastive_objective

        return contrastive_objective(
            network,
            images,
            self.augment_on(images.device, self.image_size or max(images.shape[-2:])),
            temperature=self.temperature,
            micro_batch=self.micro_batch,
            loss_chunk=self.loss_chunk,
            global_negatives=self.global_negatives,
        )

    def to_dict(self) -> dict[str, object]:
        """Return plain values, for JSON and checkpoints."""
        values = dataclasses.asdict(self)
        return {
            name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @staticmethod
    def from_dict(values: dict[str, Any]) -> TrainConfig:
        """Make settings from what `to_dict` returned; settings that it lacks take their defaults.

        Runs store the learning rate that they used. One that left it open is older: the default of LARS was 1 · B / 256
        then, and stays so for it.

        Raises:
            SimCLRError: for an unknown setting, or a value of another type.
        """
        if not isinstance(values, dict):
            raise SimCLRError("the stored settings do not fit this package: the file is damaged. Use another copy.")
        try:
            stored = TrainConfig(**values)
        except TypeError as error:
            raise SimCLRError(f"these settings are from another version of this package ({error}).") from error
        is_lars = stored.optimizer == "lars" or (stored.optimizer is None and stored.contrastive)
        return dataclasses.replace(stored, lr=stored.batch_size / 256) if is_lars and stored.lr is None else stored


RECIPE = tuple(field.name for field in dataclasses.fields(Recipe))

ONLY_WITHOUT_LABELS = frozenset(  # settings that training with labels does not use
    {"temperature", "micro_batch", "loss_chunk", "global_negatives", "validation", "monitor_every"}
    | {"projection_hidden", "projection_dim", "projection_layers"}
)

_LEFT_OPEN = (
    *("image_size", "store_size", "levels", "stem", "view_size", "blur_prob", "optimizer", "lr", "warmup_epochs"),
    *("monitor_every", "precision"),
)  # None or "auto" until they are resolved

_RANGES: dict[str, tuple[float, float]] = {  # setting → smallest and largest value
    "limit": (1, MAX_COUNT),
    "image_size": (4, MAX_IMAGE_SIZE),
    "store_size": (1, MAX_IMAGE_SIZE),
    "bands": (1, MAX_COUNT),
    "levels": (-1e30, 1e30),
    "max_pixels": (1, 2**63),
    "width": (1, 2**14),
    "projection_hidden": (1, 2**16),
    "projection_dim": (1, 2**16),
    "projection_layers": (0, 10),
    "temperature": (ABOVE_0, 1e9),
    "view_size": (4, MAX_IMAGE_SIZE),
    "crop_min": (ABOVE_0, 1),
    "crop_max": (ABOVE_0, 1),
    "flip_prob": (0, 1),
    "color_strength": (0, 2.5),
    "color_prob": (0, 1),
    "gray_prob": (0, 1),
    "blur_prob": (0, 1),
    "blur_sigma": (ABOVE_0, 1e4),
    "epochs": (1, MAX_COUNT),
    "batch_size": (1, MAX_COUNT),
    "micro_batch": (1, MAX_COUNT),
    "loss_chunk": (1, MAX_COUNT),
    "lr": (ABOVE_0, 1e9),
    "weight_decay": (0, 1e9),
    "warmup_epochs": (0, MAX_COUNT),
    "seed": (0, MAX_SEED),
    "validation": (0, 0.5),
    "monitor_every": (1, MAX_COUNT),
    "checkpoint_seconds": (0, math.inf),
    "timeout": (ABOVE_0, 1e9),
}


def check_ranges(settings: object) -> None:
    """Raise `SimCLRError` for a setting outside its range, in `TrainConfig` or a class with some of its fields."""
    for name, (low, high) in _RANGES.items():
        for value in _numbers(getattr(settings, name, None)):
            require_range(name, value, low, high)
    levels = getattr(settings, "levels", None)
    if levels is not None and not levels[0] < levels[1]:
        raise SimCLRError(f"levels are those of black and of white, the smaller one first, not {levels}.")


def _numbers(value: object) -> tuple[float, ...]:
    """Return the numbers that a setting holds: none for None."""
    return () if value is None else value if isinstance(value, tuple) else (value,)


def _types(settings: type) -> dict[str, Any]:
    """Return the type of each field of a class of settings."""
    return typing.get_type_hints(settings)


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return A and B for the type ``A | B``."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _plain(name: str, value: Any, hint: Any) -> Any:
    """Return a setting's value as the plain Python value of its type: NumPy scalars, enums and paths become plain.

    Raises:
        SimCLRError: for a value of another type.
    """
    kinds = _kinds(hint)
    if value is None and types.NoneType in kinds:
        return None
    if isinstance(value, enum.Enum):
        value = value.value
    descriptions = []
    for kind in kinds:
        if kind is types.NoneType:
            continue
        if typing.get_origin(kind) is tuple:
            return _plain_tuple(name, value, typing.get_args(kind))
        choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
        if isinstance(value, str) and value in map(str, choices):
            return next(choice for choice in choices if str(choice) == value)
        convert, description = _CONVERSIONS[type(choices[0]) if choices else kind]
        try:
            return convert(value)
        except (TypeError, ValueError, OverflowError):
            descriptions.append(description)
    raise SimCLRError(f"{name} must be {' or '.join(descriptions)}, not {value!r:.60}.")


def _plain_tuple(name: str, value: Any, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a tuple of plain values: as many as there are hints, or any number where the second one is "..."."""
    try:
        values = tuple(value)
    except TypeError:
        values = ()
    if hints[-1] is Ellipsis:
        hints = hints[:1] * len(values)
    if len(values) != len(hints) or isinstance(value, str):
        raise SimCLRError(f"{name} must be {len(hints) or 'several'} numbers, not {value!r:.60}.")
    return tuple(_plain(name, item, hint) for item, hint in zip(values, hints, strict=True))


def _boolean(value: Any) -> bool:
    if str(value) not in ("True", "False"):  # NumPy's booleans, too
        raise TypeError
    return bool(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _real(value: Any) -> float:
    if isinstance(value, str | bytes | bool):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


def _path(value: Any) -> Path:
    return Path(os.fspath(value)).expanduser()


_CONVERSIONS: dict[Any, tuple[Callable[[Any], Any], str]] = {  # type → conversion, and its name in errors
    bool: (_boolean, "True or False"),
    int: (_whole, "a whole number"),
    float: (_real, "a number"),
    str: (_text, "text"),
    Path: (_path, "a path"),
}
