"""The cost of a pretraining run, in time and memory, before anybody pays for it.

A few steps on this machine give the seconds of a step, as a fixed part and a part for each image, and likewise the
bytes that a step keeps. A step of W processes like this one is then estimated as

    compute(B / W)  +  loss(B / W against B)  +  exchange of embeddings, batch statistics and gradients,

where summing b bytes over W processes takes 2 (W − 1) / W · b / bandwidth + 2 ⌈log₂ W⌉ · latency (a ring, and the
messages of a tree). PyTorch hides a part of the exchange of gradients behind the backward pass; the estimate does not,
so it is on the safe side.

`measured_estimate` trains on this machine and puts the measurement beside the estimate. W processes share the CPU's
threads here, so the calibration is made with a process's share of them, and bandwidth and latency are those that are
measured between the processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from simclr_lib.config import TrainConfig
from simclr_lib.data import load_dataset
from simclr_lib.device import autocast, gradient_scaler, pick_device, place
from simclr_lib.distributed import (
    World,
    agree,
    distribute_and_compile,
    from_leader,
    joined,
    on_this_machine,
    summed,
    world,
)
from simclr_lib.experiments.competitors import loss_steps, loss_work
from simclr_lib.experiments.throughput import largest_size, median_seconds
from simclr_lib.loop import train_step
from simclr_lib.losses import nt_xent
from simclr_lib.models import SimCLR
from simclr_lib.optim import build_optimizer
from simclr_lib.seeding import seeded

SIZES = {  # data set → training images, side in pixels
    "emblems": (8_192, 32),
    "cifar10": (50_000, 32),
    "cifar100": (50_000, 32),
    "stl10": (100_000, 96),
    "tinyimagenet": (100_000, 64),
}
FIRST_IMAGES = 16  # images of a step, when calibrating; doubled until steps take long enough to tell their slope
LONG_ENOUGH = 0.1  # seconds
MOST_IMAGES = 4_096
MOST_PAIRS = 4_096  # pairs of the loss, when calibrating


@dataclass(frozen=True)
class Link:
    """The connection between two processes.

    Attributes:
        bandwidth: bytes per second.
        latency: seconds of a message.
    """

    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Calibration:
    """The cost of a step on this machine, as a few steps have shown it.

    Attributes:
        fixed: seconds of a step that do not depend on its images.
        per_image: seconds for each image (two views), forward and backward.
        loss_rate: multiplications and additions per second of NT-Xent.
        kept: bytes that a step keeps until its backward pass and that do not depend on its images.
        kept_per_image: bytes that a step keeps for each image.
        weights: bytes of the weights.
        norms: number of batch-norm layers.
        bandwidth: bytes per second between processes.
        latency: seconds of a message.
    """

    fixed: float
    per_image: float
    loss_rate: float
    kept: float
    kept_per_image: float
    weights: int
    norms: int
    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Estimate:
    """A step of several processes.

    Attributes:
        processes: number of processes.
        compute: seconds that a process computes on its images, forward, backward and update.
        loss: seconds that it compares its embeddings with all others.
        exchange: seconds that it exchanges embeddings, batch statistics and gradients.
        memory: bytes that it takes.
        measured: seconds that the step took on this machine; None where it was not measured.
        measured_memory: bytes that a process took on top of what it had before it made its network; None where it was
            not measured, and 0 on other CPUs than Linux's.
    """

    processes: int
    compute: float
    loss: float
    exchange: float
    memory: float
    measured: float | None = None
    measured_memory: float | None = None

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.compute + self.loss + self.exchange


def size_of(config: TrainConfig) -> tuple[int, int]:
    """(number of images that are trained on, their side in pixels). Only a folder of images must be there."""
    if config.dataset in SIZES:
        num_images, size = SIZES[config.dataset]
    else:
        where = config.data_dir, config.download, None, config.image_size
        found = load_dataset(config.dataset, "train", *where, config.labels, config.reading())
        num_images, size = len(found), found.image_size
    num_images = min(num_images, config.limit or num_images)
    if config.dataset != "stl10":  # its images without labels are all trained on
        num_images = round(num_images * (1 - config.validation))
    return num_images, config.image_size or size


# Calibration.


def stepper(
    config: TrainConfig, size: int, device: torch.device, batch_size: int, num_images: int = 0
) -> tuple[Callable[[], object], SimCLR]:
    """A function that takes one step of pretraining on random images, and the model that it trains.

    Args:
        config: settings of the training.
        size: side of the images in pixels.
        device: the device to train on.
        batch_size: images of the step, of all processes together.
        num_images: images that are held in memory, at least a batch.
    """
    model, optimizer, images = parts_of_step(config, size, device, max(batch_size, num_images))
    scaler = gradient_scaler(device, config.precision)
    objective = config.objective(distribute_and_compile(model, config.compile).train(), images)

    def step() -> Tensor:
        indices, views = torch.arange(batch_size), seeded(config.seed)
        return train_step(optimizer, objective, indices, views, autocast(device, config.precision), scaler)

    return step, model


def parts_of_step(
    config: TrainConfig, size: int, device: torch.device, num_images: int
) -> tuple[SimCLR, Optimizer, Tensor]:
    """The model, its optimiser with a small learning rate, and random images, uint8 [num_images, 3, H, H]."""
    model = place(config.simclr(size), device)
    stored = config.store_size or size
    images = torch.randint(256, (num_images, 3, stored, stored), dtype=torch.uint8, device=device)
    loop = config.loop()
    return model, build_optimizer(loop.optimizer, model, 1e-6, loop.weight_decay), images


def calibrate(config: TrainConfig, size: int, device: torch.device, link: Link) -> Calibration:
    """Take a few steps of two sizes, and a few passes of the loss.

    Args:
        config: settings of the training.
        size: side of the images in pixels.
        device: the device to train on.
        link: the connection between processes, which is taken as it is.
    """
    fixed, per_image = seconds_of_steps(config, size, device)

    # Everything in one pass: the bytes that are kept for a micro-batch follow from those of its images.
    whole = replace(config, micro_batch=None)
    step, model = stepper(whole, size, device, FIRST_IMAGES)
    few, many = bytes_kept(step, model), bytes_kept(*stepper(whole, size, device, 2 * FIRST_IMAGES))
    # The similarities grow with the square of the images, and are counted by themselves.
    few, many = few - 4 * (2 * FIRST_IMAGES) ** 2, many - 4 * (4 * FIRST_IMAGES) ** 2
    kept_per_image = (many - few) / FIRST_IMAGES

    pairs = min(config.batch_size, MOST_PAIRS)
    loss = partial(nt_xent, temperature=config.temperature, chunk_size=config.loss_chunk)
    losses = loss_steps(loss, pairs, device, config.projection_dim)

    return Calibration(
        fixed=fixed,
        per_image=per_image,
        loss_rate=loss_work(pairs, pairs, config.projection_dim) / median_seconds(lambda: next(losses), device),
        kept=max(0.0, few - kept_per_image * FIRST_IMAGES),
        kept_per_image=kept_per_image,
        weights=sum(p.numel() * p.element_size() for p in model.parameters()),
        norms=sum(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.SyncBatchNorm) for m in model.modules()),
        bandwidth=link.bandwidth,
        latency=link.latency,
    )


def seconds_of_steps(config: TrainConfig, size: int, device: torch.device) -> tuple[float, float]:
    """(seconds of a step that do not depend on its images, seconds for each image of a process), from two sizes.

    Processes that train together take these steps together: all of them must call this, and get the same numbers.
    """

    def seconds(images: int) -> float:
        fitting = replace(config, micro_batch=config.micro_batch and min(config.micro_batch, images))
        step, _ = stepper(fitting, size, device, images * world().size)
        return from_leader(median_seconds(step, device))

    images = 2 * FIRST_IMAGES
    short, long = seconds(FIRST_IMAGES), seconds(images)
    while long < LONG_ENOUGH and images < MOST_IMAGES:
        images *= 2
        short, long = long, seconds(images)
    per_image = max(0.0, long - short) / (images // 2)
    return max(0.0, short - per_image * (images // 2)), per_image


def bytes_kept(step: Callable[[], object], model: nn.Module) -> int:
    """Bytes that autograd keeps from the forward to the backward pass of a step, besides the weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}  # a storage may be kept by several operations

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(kept.values())


# The model.


def estimate(config: TrainConfig, calibration: Calibration, size: int, num_images: int, processes: int) -> Estimate:
    """Estimate a step of ``processes`` processes from the calibration of one.

    Args:
        config: settings of the training; ``batch_size`` is of all processes together.
        calibration: what steps take on one of the machines.
        size: side of the images in pixels.
        num_images: images that each process holds in memory.
        processes: number of processes.
    """
    own = World(0, processes).rows(config.batch_size)  # images of a process
    others = config.batch_size if config.global_negatives else own

    def all_reduce(size: float, times: int = 1) -> float:
        sent, messages = all_reduce_needs(processes)
        return times * (sent * size / calibration.bandwidth + messages * calibration.latency)

    embeddings = 2 * others * config.projection_dim * 4 if config.global_negatives else 0
    # Forward and backward: embeddings, and the statistics of each norm. Once: gradients, and two exchanges of flags.
    exchange = (
        all_reduce(embeddings, times=2)
        + all_reduce(calibration.weights)
        + all_reduce(0, times=2 * calibration.norms + 2)
    )

    anchors = min(2 * own, config.loss_chunk or 2 * own)
    states = {"adam": 2, "sgd": 1, "lars": 1}[config.loop().optimizer]
    view = 3 * (config.view_size or size) ** 2 * 4
    memory = (
        calibration.weights * (2 + states)  # weights, gradients, the optimiser's state
        + calibration.kept
        + calibration.kept_per_image * min(own, config.micro_batch or own)
        + (2 * own * view if config.micro_batch else 0)  # without micro-batches they are among what is kept
        + 3 * anchors * 2 * others * 4  # similarities, their softmax, their gradient
        + num_images * 3 * size * size
    )
    compute = calibration.fixed + calibration.per_image * own
    loss = loss_work(own, others, config.projection_dim) / calibration.loss_rate
    return Estimate(processes, compute, loss, exchange, memory)


def all_reduce_needs(processes: int) -> tuple[float, int]:
    """Cost of an all-reduce: bytes sent per process, as a multiple of the tensor's, and sequential messages."""
    return 2 * (processes - 1) / processes, 2 * math.ceil(math.log2(processes))


# The measurement beside it.


def measured_estimate(
    config: TrainConfig, calibration: Calibration, size: int, num_images: int, processes: int
) -> Estimate:
    """Estimate a step of so many processes on this machine, each with its share of the threads, and measure it.

    The arguments are those of `estimate`; ``calibration`` was made with all threads.
    """
    device, threads = pick_device(config.device), torch.get_num_threads()
    share = max(1, threads // processes)
    if share != threads:
        torch.set_num_threads(share)
        try:
            calibration = calibrate(config, size, device, Link(calibration.bandwidth, calibration.latency))
        finally:
            torch.set_num_threads(threads)
    measured = torch.zeros(4, dtype=torch.float64).share_memory_()
    on_this_machine(_measure, processes, share, config, size, num_images, measured)
    seconds, memory, large, small = measured.tolist()
    if processes > 1:
        sent, messages = all_reduce_needs(processes)
        bandwidth = sent * calibration.weights / max(1e-9, large - small)
        calibration = replace(calibration, latency=small / messages, bandwidth=bandwidth)
    expected = estimate(config, calibration, size, num_images, processes)
    return replace(expected, measured=seconds, measured_memory=memory)


def _measure(threads: int, config: TrainConfig, size: int, num_images: int, measured: Tensor) -> None:
    """Train for some steps, and store what that takes, in the leading process.

    ``measured`` gets the seconds of a step, its bytes, and the seconds of summing many numbers and of summing one.
    """
    torch.set_num_threads(threads)
    device = pick_device(config.device)
    with joined(device, config.timeout) as world:
        tiny = replace(config, batch_size=2 * world.size, micro_batch=None)
        stepper(tiny, size, device, tiny.batch_size)[0]()  # the first step loads and sets up what later ones use
        before = largest_size(device)
        step, model = stepper(config, size, device, config.batch_size, num_images)
        seconds = median_seconds(step, device)
        memory = largest_size(device) - before
        gradient = torch.zeros(sum(p.numel() for p in model.parameters()), device=device)
        agree()  # all processes wait here for each other
        large = median_seconds(lambda: summed(gradient), device)
        small = median_seconds(lambda: summed(gradient[:1]), device)
        if world.leads:
            measured[:] = torch.tensor([seconds, memory, large, small])
