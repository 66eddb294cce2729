"""The work that ``simclr bench`` measures, one function a section of its table."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torchvision
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from simclr_lib.data import load_dataset
from simclr_lib.device import equal_steps, one_core
from simclr_lib.distributed import fresh_processes
from simclr_lib.experiments.competitors import (
    kornia_training,
    kornia_views,
    lightly_lars_steps,
    lightly_loss_steps,
    lightly_training,
    lightly_views,
    loss_steps,
    loss_work,
    optimizer_steps,
    our_decoding,
    our_training,
    our_views,
    pil_images,
    pillow_decoding,
    torchvision_decoding,
    torchvision_views,
)
from simclr_lib.experiments.photographs import write_photographs
from simclr_lib.experiments.throughput import (
    BEST_OF,
    Competitor,
    Peak,
    Row,
    Section,
    compare,
    copying_speed,
    largest_size,
    work,
)
from simclr_lib.losses import nt_xent
from simclr_lib.models import ResNet, resnet18
from simclr_lib.optim import LARS


@dataclass(frozen=True)
class Workload:
    """The amount of work that ``simclr bench`` measures. On a GPU it takes at most four minutes, see `seconds_on_gpu`.

    Attributes:
        repeats: how often each competitor is measured; the median counts.
        batch_size: images in a step of training.
        images: images that the training loops draw from.
        photographs: JPEG files that are decoded.
        photograph_width: their width in pixels; the height is three quarters of it.
        augmented: images in a call of an augmentation that takes batches.
        loss_pairs: pairs in the loss of a usual batch.
        many_pairs: pairs in the loss of a very large batch; the similarities of 16,384 take 4 GB, a few times over.
        chunk: anchors in a chunk of that loss.
        seconds: length of one measurement, after a warm-up of the same length; it has at least one step.
        loop_seconds: length of one measurement of a training loop.
    """

    repeats: int = 3
    batch_size: int = 256
    images: int = 1024
    photographs: int = 4
    photograph_width: int = 4_000
    augmented: int = 256
    loss_pairs: int = 512
    many_pairs: int = 16_384
    chunk: int = 1_024
    seconds: float = 0.5
    loop_seconds: float = 4.0


COMPILING = 30.0  # seconds that our network and views take to be compiled; after the first time less, from a cache
MANY_PAIRS = 1.0  # seconds of a pass of the loss of very many pairs on a GPU, with its warm-up


def seconds_on_gpu(load: Workload) -> float:
    """Add up how long ``simclr bench`` takes on a GPU, where no step is longer than a measurement."""
    competitors = training_competitors(resnet18, torch.empty(0), torch.device("cuda"), load.batch_size)
    return (
        BEST_OF * 3 * 2 * load.seconds  # the peak of three kinds of work; each measurement has a warm-up of its length
        + load.repeats * (len(competitors) * 2 * load.loop_seconds + COMPILING)
        + load.repeats * 2 * (2 + 2) * load.seconds  # two competitors in the loss, and two in LARS
        + load.repeats * 2 * MANY_PAIRS
    )


def measured_sections(device: torch.device, peak: Peak, load: Workload, quick: bool = False) -> Iterator[Section]:
    """Measure one section after the other. With a GPU, these are the full ResNet-18's training, the losses and LARS.

    Args:
        device: where training, losses and optimisers run; augmentation and decoding run on one core of the CPU.
        peak: what the machine can do at best, see `measure_peak`.
        load: how much is measured.
        quick: leave out the full ResNet-18, whose steps take seconds on a CPU, and the loss of very many pairs.
    """
    images = load_dataset("emblems", "train", limit=load.images).images
    on_cpu = device.type != "cuda"
    encoders = {}
    if on_cpu:
        yield augmentation(images[: load.augmented], load)
        yield decoding(load)
        encoders["small encoder"] = partial(resnet18, "fast", 32)
    if not quick:
        encoders["ResNet-18"] = partial(resnet18, "cifar", 64)
    for name, encoder in encoders.items():
        yield training(name, encoder, images, device, peak, load)
    yield loss(device, peak, load)
    if not quick:
        yield loss_in_chunks(device, peak, load)
    yield lars(device, peak, load)
    if on_cpu:
        yield importing(load)


def augmentation(images: Tensor, load: Workload) -> Section:
    """Views per second on one core. The libraries' views are tensors like ours, not yet made into a batch."""
    pictures = pil_images(images)
    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: our_views(images),
        "kornia": lambda: kornia_views(images),
        "torchvision v2": lambda: torchvision_views(pictures),
        "lightly": lambda: lightly_views(pictures),
    }
    size = images.shape[-1]
    moved = 3 * size**2 * (1 + 4)  # bytes of a view: uint8 are read, float32 are written
    with one_core():
        limit = copying_speed(torch.device("cpu"), load.seconds) / moved
        title = f"Augmentation, {size}×{size}, one core"
        return compare(title, "views/s", competitors, load.repeats, load.seconds, limit)


def decoding(load: Workload, size: int = 128) -> Section:
    """Large JPEG files per second that become images of ``size`` pixels, on one core."""
    width, height = load.photograph_width, 3 * load.photograph_width // 4
    with TemporaryDirectory() as folder, one_core():
        files = write_photographs(Path(folder), load.photographs, width, height)
        competitors: dict[str, Competitor] = {
            "simclr_lib": lambda: our_decoding(files, size),
            "Pillow": lambda: pillow_decoding(files, size),
        }
        if hasattr(torchvision.io, "decode_jpeg"):  # it is to be removed some day
            competitors["torchvision"] = lambda: torchvision_decoding(files, size)
        title = f"Decoding, JPEG of {width}×{height} to {size}×{size}, one core"
        return compare(title, "images/s", competitors, load.repeats, load.seconds)


def training(
    name: str, encoder: Callable[[], ResNet], images: Tensor, device: torch.device, peak: Peak, load: Workload
) -> Section:
    """Images per second of a training loop, with all cores; on a GPU also compiled, and with kornia's views there."""
    batch_size = load.batch_size
    competitors = training_competitors(encoder, images, device, batch_size)
    with FlopCounterMode(display=False) as counter:
        next(our_training(encoder(), images.to(device), batch_size))
    limit = peak.training * batch_size / counter.get_total_flops()
    title = f"Pretraining, {name}, batch {batch_size}, {device.type}"
    with equal_steps(device):
        return compare(title, "images/s", competitors, load.repeats, load.loop_seconds, limit)


def training_competitors(
    encoder: Callable[[], ResNet], images: Tensor, device: torch.device, batch_size: int
) -> dict[str, Competitor]:
    """The training loops that are compared: lightly's has a worker for each core."""
    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: our_training(encoder(), images.to(device), batch_size),
        "lightly": lambda: lightly_training(encoder(), pil_images(images), device, batch_size),
    }
    if device.type == "cuda":  # a CPU compiles for minutes and gains little
        competitors |= {
            "simclr_lib, compiled": lambda: our_training(encoder(), images.to(device), batch_size, compiled=True),
            "kornia": lambda: kornia_training(encoder(), images.to(device), batch_size),
        }
    return competitors


def loss(device: torch.device, peak: Peak, load: Workload) -> Section:
    """Forward and backward passes of NT-Xent per second."""
    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: loss_steps(nt_xent, load.loss_pairs, device),
        "lightly": lambda: lightly_loss_steps(load.loss_pairs, device),
    }
    limit = peak.float32 / loss_work(load.loss_pairs, load.loss_pairs)
    title = f"NT-Xent, forward and backward, {load.loss_pairs} pairs, {device.type}"
    return compare(title, "steps/s", competitors, load.repeats, load.seconds, limit)


def loss_in_chunks(device: torch.device, peak: Peak, load: Workload) -> Section:
    """The loss of very many pairs, in one piece and in chunks: passes per second, and memory besides the embeddings.

    On a CPU each pass has a process of its own: the memory is the largest size of that process.
    """
    pairs, threads = load.many_pairs, torch.get_num_threads()
    passes: dict[str, list[tuple[float, float]]] = {f"chunks of {load.chunk:,}": [], "in one piece": []}
    with fresh_processes().Pool(1, maxtasksperchild=1) if device.type != "cuda" else nullcontext() as pool:
        for _ in range(load.repeats):
            for values, chunk in zip(passes.values(), (load.chunk, None), strict=True):
                arguments = (pairs, chunk, device, threads)
                values.append(pool.apply(one_pass, arguments) if pool else one_pass(*arguments))
    limit = peak.float32 / loss_work(pairs, pairs)
    rows = []
    for name, values in passes.items():
        speed = statistics.median(1 / seconds for seconds, _ in values)
        rows.append(Row(name, speed, "steps/s", speed / limit, statistics.median(size for _, size in values) or None))
    return Section(f"NT-Xent, forward and backward, {pairs:,} pairs, {device.type}", rows, [])


def one_pass(pairs: int, chunk_size: int | None, device: torch.device, threads: int) -> tuple[float, float]:
    """Seconds of a forward and backward pass of NT-Xent, and gigabytes that it took."""
    torch.set_num_threads(threads)
    chunked = partial(nt_xent, chunk_size=chunk_size)
    next(loss_steps(chunked, 64, device))  # the first call loads and sets up what later ones use
    steps = loss_steps(chunked, pairs, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    before = largest_size(device)
    _, seconds = work(steps, 0.0)
    return seconds, (largest_size(device) - before) / 1e9


def lars(device: torch.device, peak: Peak, load: Workload) -> Section:
    """LARS steps per second over the parameters of a ResNet-18."""
    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: optimizer_steps(LARS, device),
        "lightly": lambda: lightly_lars_steps(device),
    }
    # Weight, gradient and momentum are read, weight and momentum written.
    moved = 5 * 4 * sum(p.numel() for p in resnet18().parameters())
    title = f"LARS step, ResNet-18, {device.type}"
    return compare(title, "steps/s", competitors, load.repeats, load.seconds, peak.memory / moved)


def importing(load: Workload) -> Section:
    """Fresh Python processes per minute that import a library: a user waits so long before anything happens."""

    def processes(modules: str) -> Iterator[int]:
        yield 60  # nothing to warm up: this process has imported the same files already
        while True:
            subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
            yield 60

    competitors: dict[str, Competitor] = {
        "simclr_lib": lambda: processes("simclr_lib"),
        "torch, torchvision": lambda: processes("torch, torchvision"),
    }
    return compare("Import, in a new process", "per minute", competitors, load.repeats, seconds=0.0)  # one process each
