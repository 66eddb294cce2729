"""``simclr bench``: this machine's throughput beside other libraries', in one process run.

Everybody does the same work: the same images, the same operations with the same probabilities, the same
network. Each library is used as its documentation shows.

Every competitor is an endless iterator: each item is one step, and says how many units of work that was. A
competitor is started afresh, warms up for as long as it is then measured, and is dropped. All take turns,
``repeats`` times, and the median counts.

A loop that is fed by worker processes is timed whole, waiting included. Its queue is empty when the loop
starts. If the workers are the bottleneck it stays empty, otherwise the warm-up fills it: either way as many
batches are made in the measured time as are used, and none comes free.

Beside the ratio stands the share of what this machine's measured peak allows: of a large matrix product where
work is arithmetic (training, loss), of copying memory where it is bytes that must be moved (augmentation, optimiser).
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from simclr_lib.augment import SimCLRAugment
from simclr_lib.commands.common import Stopwatch, write_results
from simclr_lib.commands.settings import BenchConfig
from simclr_lib.data import load_dataset
from simclr_lib.device import autocast, environment, pick_device, place
from simclr_lib.distributed import distribute_and_compile
from simclr_lib.errors import SimCLRError
from simclr_lib.loop import BatchLoss
from simclr_lib.losses import nt_xent
from simclr_lib.models import ProjectionHead, ResNet, SimCLR, resnet18
from simclr_lib.objectives import contrastive_objective
from simclr_lib.optim import LARS, build_optimizer, default_lr

Competitor = Callable[[], Iterator[int]]
"""Starts an endless iterator of steps; an item is the units of work that the step did."""

OPTIONAL = ("kornia", "lightly")
INSTALL = "pip install 'simclr-lib[bench]'"

IMAGES = 1024  # that training loops draw from
AT_ONCE = 256  # that are augmented
LOSS_PAIRS = 512
MANY_PAIRS = 16_384  # whose similarities in one piece are 4 GB, a few times over
CHUNK = 1_024
SECONDS = 0.5  # that one measurement takes, after as long a warm-up; at least one step
LOOP_SECONDS = 4.0  # the same for a training loop


@dataclass(frozen=True)
class Peak:
    """What this machine can do at best, measured.

    Attributes:
        training: floating-point operations per second of a large matrix product, at the training's precision.
        float32: the same in float32.
        memory: bytes per second that are read and written when memory is copied.
    """

    training: float
    float32: float
    memory: float


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: who was measured.
        value: in ``unit``; more is better.
        unit: of the throughput.
        share: of what the machine's peak allows, 0…1.
        gigabytes: that it took at most.
    """

    name: str
    value: float
    unit: str
    share: float | None = None
    gigabytes: float | None = None

    def __str__(self) -> str:
        share = "" if self.share is None else f"{self.share:>8.1%} of peak"
        memory = "" if self.gigabytes is None else f"{self.gigabytes:>8.2f} GB"
        return share + memory


@dataclass(frozen=True)
class Section:
    """Who did the same work how fast.

    Attributes:
        title: what the work is.
        rows: the measurements; the first is ours.
        missing: libraries that are not installed.
    """

    title: str
    rows: list[Row]
    missing: list[str]

    def ratio(self, row: Row) -> float:
        """ours / theirs: above 1 we are faster."""
        return self.rows[0].value / row.value

    def to_dict(self) -> dict[str, object]:
        """Plain values, for the results file."""
        rows = [{**vars(row), "ratio": self.ratio(row)} for row in self.rows]
        return {"title": self.title, "rows": rows, "missing": self.missing}

    def __str__(self) -> str:
        lines = [self.title]
        lines += [f"  {r.name:<20}{r.value:>12,.1f} {r.unit:<10}{self.ratio(r):>8.1f} ×{r}" for r in self.rows]
        lines += [f"  {name:<20}not installed: {INSTALL}" for name in self.missing]
        return "\n".join(lines)


def bench(config: BenchConfig) -> None:
    """Run ``simclr bench``: prints a table per kind of work and, with ``--out``, writes the results file."""
    if config.repeats < 1:
        raise SimCLRError(f"--repeats must be at least 1, not {config.repeats}.")
    if config.batch_size < 2:
        raise SimCLRError(f"--batch-size must be at least 2, not {config.batch_size}.")
    device = pick_device(config.device)
    clock = Stopwatch()
    images = load_dataset("emblems", "train", limit=IMAGES).images
    encoders = {"small encoder": partial(resnet18, "fast", 32)}
    if not config.quick:
        encoders["ResNet-18"] = partial(resnet18, "cifar", 64)

    peak = measure_peak(device)
    print(
        f"this machine's peak: {peak.training / 1e9:,.0f} GFLOP/s in training, {peak.float32 / 1e9:,.0f} in float32, "
        f"{peak.memory / 1e9:,.1f} GB/s\nmedian throughput, and ours / theirs"
    )
    sections = [
        bench_augmentation(images[:AT_ONCE], config.repeats),
        *(bench_training(name, encoder, images, device, peak, config) for name, encoder in encoders.items()),
        bench_loss(device, peak, config.repeats),
        *([] if config.quick else [bench_chunks(device, peak, config.repeats)]),
        bench_lars(device, peak, config.repeats),
        bench_import(config.repeats),
    ]
    if config.out:
        write_results(
            config.out,
            {
                "what": "throughput beside other libraries' in one process run; ratios are ours / theirs",
                "environment": environment(device),
                "versions": {name: version(name) for name in (*OPTIONAL, "torchvision")},
                "n": config.repeats,
                "statistic": "median",
                "seconds": clock.total,
                "peak": vars(peak),
                "sections": [section.to_dict() for section in sections],
            },
        )
        print(f"results: {config.out}")


# How everything is measured.


def compare(
    title: str,
    unit: str,
    competitors: Mapping[str, Competitor],
    repeats: int,
    seconds: float,
    limit: float | None = None,
) -> Section:
    """Measure competitors in turns and print the medians.

    Args:
        title: what the work is.
        unit: of the throughput.
        competitors: by name, ours first; one that is named like a library in `OPTIONAL` needs it.
        repeats: turns.
        seconds: of one measurement.
        limit: throughput that the machine's peak allows.
    """
    missing = [name for name in competitors if name in OPTIONAL and version(name) is None]
    throughputs: dict[str, list[float]] = {name: [] for name in competitors if name not in missing}
    for _ in range(repeats):
        for name, values in throughputs.items():
            values.append(throughput(competitors[name](), seconds))
    medians = {name: statistics.median(values) for name, values in throughputs.items()}
    rows = [Row(name, value, unit, value / limit if limit else None) for name, value in medians.items()]
    section = Section(title, rows, missing)
    print(section, flush=True)
    return section


def throughput(steps: Iterator[int], seconds: float) -> float:
    """Units of work per second, over whole steps, after a warm-up of ``seconds``."""
    work(steps, seconds)
    units, elapsed = work(steps, seconds)
    return units / elapsed


def work(steps: Iterator[int], seconds: float) -> tuple[int, float]:
    """Take steps for ``seconds``, at least one. Returns the units of work and the seconds they took."""
    units, start = 0, time.perf_counter()
    while units == 0 or time.perf_counter() - start < seconds:
        units += next(steps)
    for number in range(torch.cuda.device_count()):
        torch.cuda.synchronize(number)  # a GPU may be behind
    return units, time.perf_counter() - start


def measure_peak(device: torch.device) -> Peak:
    """The best of a few large matrix products and copies."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=device)
    with autocast(device):
        low_a, low_b = a.to((a[:1] @ b).dtype), b.to((a[:1] @ b).dtype)  # not cast again in every product
    operations = 2 * side**3
    training = best(lambda: low_a @ low_b) * operations
    return Peak(training, best(lambda: a @ b) * operations, copying_speed(device))


def copying_speed(device: torch.device) -> float:
    """Bytes per second that are read and written when memory is copied, at best."""
    large = torch.zeros(2**26, device=device)  # 256 MB: far more than caches hold
    target = torch.empty_like(large)
    return best(lambda: target.copy_(large)) * 2 * large.nbytes


def best(step: Callable[[], object]) -> float:
    """Calls per second, the best of a few measurements."""

    def steps() -> Iterator[int]:
        while True:
            step()
            yield 1

    return max(throughput(steps(), SECONDS) for _ in range(3))


def version(library: str) -> str | None:
    """The version of an installed library; None if it is not there."""
    try:
        return str(importlib.import_module(library).__version__)
    except ImportError:
        return None


@contextmanager
def one_core() -> Iterator[None]:
    """PyTorch computes on one core of the CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def pil_images(images: Tensor) -> list[Image.Image]:
    """uint8 [N, 3, H, W] → N images, the form that torchvision's data sets give."""
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


# Augmentation: crop, flip, jitter at strength 0.5 and grayscale; no blur, as the paper has it for CIFAR-10.


def bench_augmentation(images: Tensor, repeats: int) -> Section:
    """Views per second on one core. The libraries' views are tensors like ours, not yet made into a batch."""
    pictures = pil_images(images)
    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: our_views(images),
        "kornia": lambda: kornia_views(images),
        "torchvision v2": lambda: torchvision_views(pictures),
        "lightly": lambda: lightly_views(pictures),
    }
    size = images.shape[-1]
    moved = 3 * size**2 * (1 + 4)  # bytes of a view: uint8 in, float32 out
    with one_core():
        limit = copying_speed(torch.device("cpu")) / moved
        return compare(f"Augmentation, {size}×{size}, one core", "views/s", competitors, repeats, SECONDS, limit)


def our_views(images: Tensor) -> Iterator[int]:
    augment = SimCLRAugment(images.shape[-1], color_strength=0.5, blur_prob=0.0)
    while True:
        yield len(augment(images))


def kornia_views(images: Tensor) -> Iterator[int]:
    transform = kornia_transform(images.shape[-1])
    while True:
        yield len(transform(images.float() / 255))


def kornia_transform(size: int) -> Callable[[Tensor], Tensor]:
    """These operations, on a batch."""
    from kornia import augmentation as K

    return K.AugmentationSequential(
        K.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        data_keys=["input"],
    )


def torchvision_views(pictures: list[Image.Image]) -> Iterator[int]:
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(pictures[0].height),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    while True:
        for picture in pictures:
            augment(picture)
            yield 1


def lightly_views(pictures: list[Image.Image]) -> Iterator[int]:
    transform = lightly_transform(pictures[0].height)
    while True:
        for picture in pictures:
            yield len(transform(picture))  # two views


def lightly_transform(size: int) -> Callable[[Image.Image], Any]:
    """lightly's SimCLR transform with these operations: two views of an image, not normalised."""
    from lightly.transforms import SimCLRTransform

    return SimCLRTransform(input_size=size, cj_strength=0.5, gaussian_blur=0.0, normalize=None)


# Pretraining: an image is two views, an AdamW step is one for both.


def bench_training(
    name: str, encoder: Callable[[], ResNet], images: Tensor, device: torch.device, peak: Peak, config: BenchConfig
) -> Section:
    """Images per second of a training loop, with all cores; on a GPU also compiled, and with kornia's views there."""
    batch_size = config.batch_size
    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: our_training(encoder(), images.to(device), batch_size),
        "lightly": lambda: lightly_training(encoder(), pil_images(images), device, batch_size),
    }
    if device.type == "cuda":  # a CPU compiles for minutes and gains little
        competitors |= {
            "simclr_lib, compiled": lambda: our_training(encoder(), images.to(device), batch_size, compiled=True),
            "kornia": lambda: kornia_training(encoder(), images.to(device), batch_size),
        }
    title = f"Pretraining, {name}, batch {batch_size}, {device.type}"
    with FlopCounterMode(display=False) as counter:
        next(our_training(encoder(), images.to(device), batch_size))
    limit = peak.training * batch_size / counter.get_total_flops()
    return compare(title, "images/s", competitors, config.repeats, LOOP_SECONDS, limit)


def our_training(encoder: ResNet, images: Tensor, batch_size: int, compiled: bool = False) -> Iterator[int]:
    """What `simclr_lib.training.pretraining` does, without its logs."""
    model = new_model(encoder, images.device)
    network = distribute_and_compile(model, compiled)
    augment = SimCLRAugment(images.shape[-1], color_strength=0.5, blur_prob=0.0)
    objective = contrastive_objective(network, images, augment, temperature=0.5)
    steps = training_steps(model, objective, images, batch_size)
    for _ in range(3 if compiled else 0):  # CUDA graphs are recorded in the second
        next(steps)
    return steps


def kornia_training(encoder: ResNet, images: Tensor, batch_size: int) -> Iterator[int]:
    """The same, but for who makes the views."""
    model = new_model(encoder, images.device)
    transform = kornia_transform(images.shape[-1])

    def objective(indices: Tensor, generator: torch.Generator) -> Tensor:
        batch = images[indices.to(images.device, non_blocking=True)].float() / 255
        with torch.autocast(images.device.type, enabled=False):
            views = torch.cat([transform(batch), transform(batch)])
        _, z = model(views.contiguous(memory_format=torch.channels_last))
        z_a, z_b = z.chunk(2)
        return nt_xent(z_a, z_b, temperature=0.5)

    return training_steps(model, objective, images, batch_size)


def new_model(encoder: ResNet, device: torch.device) -> SimCLR:
    """An encoder with a projection head of 512 units."""
    return place(SimCLR(encoder, ProjectionHead(encoder.feature_dim, 512)), device)


def training_steps(model: SimCLR, objective: BatchLoss, images: Tensor, batch_size: int) -> Iterator[int]:
    """Steps of AdamW on random batches."""
    optimizer = build_optimizer("adam", model, default_lr("adam", batch_size), weight_decay=1e-4)
    generator = torch.Generator()
    while True:
        indices = torch.randint(len(images), (batch_size,), generator=generator)
        with autocast(images.device):
            loss = objective(indices, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield batch_size


class TwoViews(Dataset[list[Tensor]]):
    """Two views of each image, made by lightly."""

    def __init__(self, pictures: list[Image.Image]) -> None:
        self.pictures = pictures
        self.transform = lightly_transform(pictures[0].height)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.pictures[index])


def lightly_training(
    encoder: ResNet, pictures: list[Image.Image], device: torch.device, batch_size: int
) -> Iterator[int]:
    """The loop of lightly's documentation, with a worker per core, our encoder and AdamW."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead

    model = nn.Sequential(encoder, SimCLRProjectionHead(encoder.feature_dim, 512, 128)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=default_lr("adam", batch_size), weight_decay=1e-4)
    criterion = NTXentLoss()
    dataset = TwoViews(pictures)
    endless = RandomSampler(dataset, replacement=True, num_samples=2**40)
    for view_a, view_b in DataLoader(dataset, batch_size, sampler=endless, num_workers=os.cpu_count() or 1):
        z_a = model(view_a.to(device))
        z_b = model(view_b.to(device))
        loss = criterion(z_a, z_b)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield batch_size


# Loss and optimiser.


def loss_steps(
    loss: Callable[[Tensor, Tensor], Tensor], pairs: int, device: torch.device, dim: int = 128
) -> Iterator[int]:
    """Forward and backward passes of a contrastive loss."""
    z_a, z_b = torch.randn(2, pairs, dim, device=device).requires_grad_().unbind()
    while True:
        torch.autograd.grad(loss(z_a, z_b), (z_a, z_b))
        yield 1


def loss_work(anchors: int, others: int, dim: int = 128) -> float:
    """Multiplications and additions of NT-Xent's three matrix products, for so many of all pairs."""
    return 3 * 2 * (2 * anchors) * (2 * others) * dim


def bench_loss(device: torch.device, peak: Peak, repeats: int) -> Section:
    """Forward and backward passes of NT-Xent per second."""

    def lightly_loss() -> Iterator[int]:
        from lightly.loss import NTXentLoss

        return loss_steps(NTXentLoss(), LOSS_PAIRS, device)

    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: loss_steps(nt_xent, LOSS_PAIRS, device),
        "lightly": lightly_loss,
    }
    title = f"NT-Xent, forward and backward, {LOSS_PAIRS} pairs, {device.type}"
    return compare(title, "steps/s", competitors, repeats, SECONDS, peak.float32 / loss_work(LOSS_PAIRS, LOSS_PAIRS))


def bench_chunks(device: torch.device, peak: Peak, repeats: int) -> Section:
    """The loss of very many pairs, in one piece and in chunks: passes per second, and memory on top of the embeddings.

    Each pass has a process of its own, whose largest size is the memory.
    """
    passes: dict[str, list[tuple[float, float]]] = {f"chunks of {CHUNK:,}": [], "in one piece": []}
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for _ in range(repeats):
            for name, values in passes.items():
                chunk = None if name == "in one piece" else CHUNK
                values.append(pool.apply(one_pass, (MANY_PAIRS, chunk, device, torch.get_num_threads())))
    limit = peak.float32 / loss_work(MANY_PAIRS, MANY_PAIRS)
    rows = []
    for name, values in passes.items():
        speed = statistics.median(1 / seconds for seconds, _ in values)
        rows.append(Row(name, speed, "steps/s", speed / limit, statistics.median(size for _, size in values) or None))
    section = Section(f"NT-Xent, forward and backward, {MANY_PAIRS:,} pairs, {device.type}", rows, [])
    print(section, flush=True)
    return section


def one_pass(pairs: int, chunk_size: int | None, device: torch.device, threads: int) -> tuple[float, float]:
    """Seconds of a forward and backward pass of NT-Xent, and gigabytes that it took."""
    torch.set_num_threads(threads)
    loss = partial(nt_xent, chunk_size=chunk_size)
    next(loss_steps(loss, 64, device))  # what is loaded and set up at the first call
    steps = loss_steps(loss, pairs, device)
    before = largest_size(device)
    _, seconds = work(steps, 0.0)
    return seconds, (largest_size(device) - before) / 1e9


def largest_size(device: torch.device) -> int:
    """Bytes that this process took at most so far: of the GPU's memory, or of the machine's (on Linux; else 0)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def bench_lars(device: torch.device, peak: Peak, repeats: int) -> Section:
    """LARS steps per second over the parameters of a ResNet-18."""

    def steps(optimizer: Callable[..., torch.optim.Optimizer]) -> Iterator[int]:
        params = list(resnet18().to(device).parameters())
        for p in params:
            p.grad = torch.randn_like(p)
        step = optimizer(params, lr=1e-3, momentum=0.9, weight_decay=1e-4).step
        while True:
            step()
            yield 1

    def lightly_lars() -> Iterator[int]:
        from lightly.utils.lars import LARS as LightlyLARS

        return steps(LightlyLARS)

    competitors: dict[str, Competitor] = {"simclr_lib": lambda: steps(LARS), "lightly": lightly_lars}
    # Weight, gradient and momentum are read, weight and momentum written.
    moved = 5 * 4 * sum(p.numel() for p in resnet18().parameters())
    title = f"LARS step, ResNet-18, {device.type}"
    return compare(title, "steps/s", competitors, repeats, SECONDS, peak.memory / moved)


# Starting up.


def bench_import(repeats: int) -> Section:
    """Fresh Python processes per minute that import a library: what a user waits for before anything happens."""

    def processes(modules: str) -> Iterator[int]:
        while True:
            subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
            yield 60

    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: processes("simclr_lib"),
        "torch, torchvision": lambda: processes("torch, torchvision"),
    }
    return compare("Import, in a new process", "per minute", competitors, repeats, SECONDS)
