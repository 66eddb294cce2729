"""Every setting of a training run in one place. The command line is made from these fields."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simclr_lib.choices import OptimizerName, Precision, Stem
from simclr_lib.errors import SimCLRError

if TYPE_CHECKING:
    from simclr_lib.augment import SimCLRAugment
    from simclr_lib.loop import LoopConfig
    from simclr_lib.models import ResNet, SimCLR

# Settings that do not change what a run computes: they may differ when it is resumed.
FREE_ON_RESUME = (
    *("data_dir", "download", "device", "run_dir", "resume", "checkpoint_seconds", "tensorboard", "timeout"),
    "loss_chunk",  # but for rounding
)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of ``simclr train``. The defaults are the paper's recipe for CIFAR-10 (B.9) with ResNet-18."""

    contrastive: bool = True
    """Pretrain with SimCLR, and then train an output head on the frozen features. Without it, encoder and head are
    trained with labels."""

    dataset: str = "cifar10"
    """Name of the data set."""
    data_dir: Path | None = None
    """Folder in which the data set lies, or to which it is downloaded. By default it is ./data."""
    download: bool = True
    """Download the data set if it is not there."""
    limit: int | None = None
    """Use at most this many training images, drawn evenly from the classes. By default all are used."""
    image_size: int | None = None
    """Side to which the images are resized, in pixels. By default they keep their size; a folder of images of mixed
    sizes gets 64."""

    base_model: Literal[18, 34, 50] = 18
    """Depth of the ResNet."""
    width: int = 64
    """Channels of the ResNet's first stage (64 in the original)."""
    stem: Stem | None = None
    """First layers of the network: cifar (stride 1), fast (stride 2) or imagenet (7×7, stride 2, and max-pool).
    By default it is cifar for images of up to 64 pixels, and imagenet for larger ones."""
    projection_hidden: int = 2048
    """Units of the projection head's hidden layer."""
    projection_dim: int = 128
    """Length of the projection z."""
    projection_layers: int = 2
    """Linear layers of the projection head: 2 in the paper, 3 in its reference code. With 0 there is no head, and z is
    h."""

    temperature: float = 0.5
    """Temperature τ of the loss NT-Xent."""
    view_size: int | None = None
    """Side of a view in pixels. By default it is that of the images. Crops zoom in, so that a network trained on
    somewhat smaller views meets objects of the size that they have in whole images (Touvron et al. 2019,
    arXiv 1906.06423), and it trains faster."""
    crop_min: float = 0.08
    """Area of the smallest crop, as a share of the image's area."""
    crop_max: float = 1.0
    """Area of the largest crop, as a share of the image's area."""
    color_strength: float = 0.5
    """Strength s of the colour jitter: 0.5 for CIFAR-10 and 1 for ImageNet in the paper."""
    color_prob: float = 0.8
    """Probability of colour jitter."""
    gray_prob: float = 0.2
    """Probability of conversion to grayscale."""
    blur_prob: float | None = None
    """Probability of Gaussian blur. By default it is 0 for images of up to 32 pixels (B.9), and 0.5 for larger ones
    (appendix A)."""
    blur_sigma: tuple[float, float] = (0.01, 2.0)
    """Smallest and largest standard deviation of the blur, in pixels. The paper has 0.1 and 2."""

    epochs: int = 200
    """Number of passes over the training images."""
    batch_size: int = 512
    """Images in a step, of all processes together. SimCLR makes two views of each."""
    micro_batch: int | None = None
    """Take this many images of a process's part through the network at a time (gradient caching). A large batch then
    needs the memory of a small one, and a third more time. The result is the same except for batch norm, which sees
    one micro-batch at a time. By default all images go through at once. Training with labels ignores this setting."""
    loss_chunk: int | None = None
    """Compare this many embeddings at a time with all others. By default all are compared at once, which takes memory
    that grows with the square of their number."""
    global_negatives: bool = True
    """With several processes (torchrun), use the other processes' images as negatives, too."""
    optimizer: OptimizerName | None = None
    """Optimiser: adam (AdamW), sgd (Nesterov) or lars. By default it is lars for SimCLR, and sgd with labels."""
    lr: float | None = None
    """Peak learning rate. By default it is computed from the optimiser and the batch size."""
    weight_decay: float = 1e-4
    """Weight decay of kernels and weight matrices. Biases and normalisation parameters get none."""
    warmup_epochs: float | None = None
    """Epochs of linear warm-up before the cosine schedule. By default these are 10, or a tenth of all epochs if that is
    less."""
    seed: int = 0
    """Random seed of the initial weights, the order of the images and their views."""

    validation: float = 0.05
    """Share of the training images that is kept out of pretraining, to measure kNN accuracy on during the run. With 0,
    nothing is measured. Training with labels keeps nothing out."""
    monitor_every: int | None = None
    """Epochs between two measurements on the validation images. By default there are about ten in a run."""
    precision: Precision = "auto"
    """Precision of the computation: bf16 or fp32. With auto, it is bf16 where that is faster."""
    compile: bool = False
    """Compile the network for this machine first (torch.compile, with CUDA graphs on a GPU). This takes minutes at the
    start."""
    device: str = "auto"
    """Device to train on: cpu, cuda or cuda:N. With auto, it is the GPU if there is one."""
    run_dir: Path | None = None
    """Folder for checkpoint, metrics and results. By default it is a new folder below ./runs."""
    resume: bool = False
    """Continue the run in the run folder from its checkpoint."""
    checkpoint_seconds: float = 60.0
    """Longest time between two checkpoints, in seconds. They are saved at any step."""
    timeout: float = 600.0
    """Seconds to wait for the other processes (torchrun) before giving up."""
    tensorboard: bool = False
    """Also write TensorBoard event files to the run's folder. This needs the tensorboard package."""

    def check(self) -> None:
        """Raise `SimCLRError` for a setting that cannot be meant. Training calls this first."""
        if not self.temperature > 0:
            raise SimCLRError(f"temperature must be above 0, not {self.temperature}: the paper uses 0.05 to 1.")
        if self.epochs < 1 or self.batch_size < 1:
            raise SimCLRError("epochs and batch-size must be at least 1.")
        if self.contrastive and self.batch_size < 2:
            raise SimCLRError("SimCLR needs a batch-size of at least 2: with one image there is no negative.")
        if not 0 <= self.validation <= 0.5:
            raise SimCLRError(f"validation is a share between 0 and 0.5, not {self.validation}.")
        if self.base_model not in (18, 34, 50):
            raise SimCLRError(f"base-model must be 18, 34 or 50, not {self.base_model}.")
        if self.micro_batch is not None and self.micro_batch > self.batch_size:
            raise SimCLRError(
                f"a micro-batch of {self.micro_batch} is larger than the batch of {self.batch_size}: "
                "leave it out, or make it smaller."
            )
        for name in ("limit", "view_size", "monitor_every", "micro_batch", "loss_chunk"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SimCLRError(f"{name.replace('_', '-')} must be at least 1, not {value}.")
        if not self.timeout > 0:
            raise SimCLRError(f"timeout must be above 0 seconds, not {self.timeout:g}.")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise SimCLRError(f"lr must be above 0, not {self.lr}.")
        for name in ("weight_decay", "warmup_epochs"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise SimCLRError(f"{name.replace('_', '-')} must be 0 or more, not {value}.")

    def augment(self, image_size: int) -> SimCLRAugment:
        """The views of these settings, for images of that size."""
        from simclr_lib.augment import SimCLRAugment

        blur_prob = self.blur_prob
        if blur_prob is None:
            blur_prob = 0.0 if image_size <= 32 else 0.5
        return SimCLRAugment(
            size=self.view_size or image_size,
            crop_scale=(self.crop_min, self.crop_max),
            color_strength=self.color_strength,
            color_prob=self.color_prob,
            gray_prob=self.gray_prob,
            blur_prob=blur_prob,
            blur_sigma=self.blur_sigma,
        )

    def encoder(self, image_size: int) -> ResNet:
        """A new encoder for images of that size."""
        from simclr_lib.models import resnet18, resnet34, resnet50

        return {18: resnet18, 34: resnet34, 50: resnet50}[self.base_model](self.stem_for(image_size), self.width)

    def stem_for(self, image_size: int) -> Stem:
        """The chosen stem, or what suits images of that size."""
        return self.stem or ("cifar" if image_size <= 64 else "imagenet")

    def simclr(self, image_size: int) -> SimCLR:
        """A new encoder and projection head."""
        from torch import nn

        from simclr_lib.models import ProjectionHead, SimCLR

        encoder = self.encoder(image_size)
        if self.projection_layers == 0:
            return SimCLR(encoder, nn.Identity())
        head = ProjectionHead(encoder.feature_dim, self.projection_hidden, self.projection_dim, self.projection_layers)
        return SimCLR(encoder, head)

    def loop(self) -> LoopConfig:
        """The settings of the training loop."""
        from simclr_lib.loop import LoopConfig
        from simclr_lib.optim import default_lr

        optimizer: OptimizerName = self.optimizer or ("lars" if self.contrastive else "sgd")
        warmup = min(10.0, 0.1 * self.epochs) if self.warmup_epochs is None else self.warmup_epochs
        return LoopConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=optimizer,
            lr=default_lr(optimizer, self.batch_size) if self.lr is None else self.lr,
            weight_decay=self.weight_decay,
            warmup_epochs=warmup,
            seed=self.seed,
            precision=self.precision,
        )

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON and checkpoints."""
        values = dataclasses.asdict(self)
        return {
            name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @staticmethod
    def from_dict(values: dict[str, object]) -> TrainConfig:
        """The inverse of `to_dict`."""
        restored = dict(values)
        for name in ("data_dir", "run_dir"):
            if restored.get(name) is not None:
                restored[name] = Path(str(restored[name]))
        try:
            restored["blur_sigma"] = tuple(restored["blur_sigma"])  # type: ignore[arg-type]
            return TrainConfig(**restored)  # type: ignore[arg-type]
        except (TypeError, KeyError) as error:
            raise SimCLRError(f"these settings are from another version of this package ({error}).") from error
