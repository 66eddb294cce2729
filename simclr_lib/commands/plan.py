"""``simclr plan``: what a pretraining run would take, in time and memory, before anybody pays for it.

A few steps on this machine give the seconds of a step, as a fixed part and a part for each image, and the bytes that
a step keeps, likewise. A step of W processes like this one is then estimated as

    compute(B / W)  +  loss(B / W against B)  +  exchange of embeddings, batch statistics and gradients,

where summing b bytes over W processes takes 2 (W − 1) / W · b / bandwidth + 2 ⌈log₂ W⌉ · latency (a ring, and the
messages of a tree). PyTorch hides a part of the exchange of gradients behind the backward pass; the estimate does
not, so it is on the safe side. ``--measure`` trains on this machine and puts what came out beside the estimate: there
W processes share the CPU's threads, so each is calibrated with its share of them, and bandwidth and latency are
those between the processes here.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor, nn

from simclr_lib.commands.bench import largest_size, loss_steps, loss_work
from simclr_lib.commands.common import write_results
from simclr_lib.commands.settings import PlanConfig
from simclr_lib.config import TrainConfig
from simclr_lib.data import load_dataset
from simclr_lib.device import autocast, environment, pick_device, place
from simclr_lib.distributed import World, agree, distribute_and_compile, joined, on_this_machine, summed
from simclr_lib.errors import SimCLRError
from simclr_lib.losses import nt_xent
from simclr_lib.models import SimCLR
from simclr_lib.objectives import check_micro_batch
from simclr_lib.optim import build_optimizer
from simclr_lib.seeding import seeded

SIZES = {  # data set → training images, side in pixels
    "emblems": (8_192, 32),
    "cifar10": (50_000, 32),
    "cifar100": (50_000, 32),
    "stl10": (100_000, 96),
    "tinyimagenet": (100_000, 64),
}
FIRST_IMAGES = 16  # a step, when calibrating; doubled until steps take long enough to tell their slope
LONG_ENOUGH = 0.1  # seconds
MOST_IMAGES = 4_096
MOST_PAIRS = 4_096  # of the loss, when calibrating
STEPS = 5  # the median counts, after a warm-up of two


@dataclass(frozen=True)
class Calibration:
    """What a few steps on this machine said.

    Attributes:
        fixed: seconds of a step that do not depend on its images.
        per_image: seconds for each image (two views), forward and backward.
        loss_rate: multiplications and additions per second of NT-Xent.
        kept: bytes that a step keeps until its backward pass and that do not depend on its images.
        kept_per_image: those for each image.
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
    """A step of ``processes`` processes: seconds and bytes of each process, see the head of this file.

    ``measured`` and ``measured_memory`` are what it took on this machine, where that was measured. Memory is measured
    on top of what a process has before it makes its network; on other CPUs than Linux's, it is 0.
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


def plan(config: PlanConfig) -> None:
    """Run ``simclr plan``: prints the table and, with ``--out``, writes the results file."""
    config.check()
    if not config.contrastive:
        raise SimCLRError("plan is for pretraining: leave out --no-contrastive.")
    if not config.processes or min(config.processes) < 1:
        raise SimCLRError("--processes needs numbers of at least 1, such as --processes 1 2 4.")
    if not config.bandwidth > 0 or not config.latency >= 0:
        raise SimCLRError("--bandwidth must be above 0 GB/s and --latency at least 0 microseconds.")
    for processes in config.processes:
        check_micro_batch(config.micro_batch, World(0, processes).rows(config.batch_size))
    device = pick_device(config.device)
    num_images, size = size_of(config)
    steps = config.loop().steps_per_epoch(num_images) * config.epochs

    threads = torch.get_num_threads()
    print(f"taking a few steps on {device} …", flush=True)
    here = calibrate(config, size, device)
    rows = []
    for processes in config.processes:
        if config.measure and (device.type == "cpu" or processes <= torch.cuda.device_count()):
            print(f"training with {processes} …", flush=True)
            rows.append(measured_estimate(config, here, size, num_images, device, processes, threads))
        else:
            rows.append(estimate(config, here, size, num_images, processes))
    print(table(rows, steps, config))
    if config.out:
        write_results(
            config.out,
            {
                "what": "seconds of a step and bytes of a process: estimated, and measured where so many trained here",
                "environment": environment(device),
                "config": TrainConfig(**{f.name: getattr(config, f.name) for f in fields(TrainConfig)}).to_dict(),
                "num_train": num_images,
                "steps": steps,
                "calibration": vars(here),
                "results": {f"{row.processes} processes": {**vars(row), "step": row.step} for row in rows},
            },
        )
        print(f"results: {config.out}")


def size_of(config: TrainConfig) -> tuple[int, int]:
    """Number of images that are trained on and their side; only a folder of images must be there."""
    if config.dataset in SIZES:
        num_images, size = SIZES[config.dataset]
    else:
        found = load_dataset(config.dataset, "train", config.data_dir, config.download, None, config.image_size)
        num_images, size = len(found), found.image_size
    num_images = min(num_images, config.limit or num_images)
    if config.dataset != "stl10":  # whose images without labels are all trained on
        num_images = round(num_images * (1 - config.validation))
    return num_images, config.image_size or size


# Calibration.


def stepper(
    config: TrainConfig, size: int, device: torch.device, batch_size: int, num_images: int = 0
) -> tuple[Callable[[], None], SimCLR]:
    """A function that takes one training step on random images, and its model."""
    model = place(config.simclr(size), device)
    shape = max(batch_size, num_images), 3, size, size
    images = torch.randint(256, shape, dtype=torch.uint8, device=device)
    loop = config.loop()
    optimizer = build_optimizer(loop.optimizer, model, 1e-6, loop.weight_decay)
    objective = config.objective(distribute_and_compile(model, config.compile).train(), images)

    def step() -> None:
        with autocast(device, config.precision):
            loss = objective(torch.arange(batch_size), seeded(config.seed))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step, model


def calibrate(config: PlanConfig, size: int, device: torch.device) -> Calibration:
    """Take a few steps of two sizes."""

    def take(images: int) -> float:
        some = replace(config, micro_batch=config.micro_batch and min(config.micro_batch, images))
        return seconds_of(stepper(some, size, device, images)[0], device)

    few, many = FIRST_IMAGES, 2 * FIRST_IMAGES
    seconds = [take(few), take(many)]
    while seconds[1] < LONG_ENOUGH and many < MOST_IMAGES:
        few, many = many, 2 * many
        seconds = [seconds[1], take(many)]
    per_image = max(0.0, seconds[1] - seconds[0]) / (many - few)

    # In one pass: what is kept for a micro-batch is kept for so many images.
    whole = replace(config, micro_batch=None)
    step, model = stepper(whole, size, device, FIRST_IMAGES)
    kept = bytes_kept(step, model), bytes_kept(*stepper(whole, size, device, 2 * FIRST_IMAGES))
    similarities = [4 * (2 * images) ** 2 for images in (FIRST_IMAGES, 2 * FIRST_IMAGES)]  # are counted by themselves
    kept_per_image = (kept[1] - similarities[1] - kept[0] + similarities[0]) / FIRST_IMAGES

    pairs = min(config.batch_size, MOST_PAIRS)
    loss = partial(nt_xent, temperature=config.temperature, chunk_size=config.loss_chunk)
    losses = loss_steps(loss, pairs, device, config.projection_dim)

    return Calibration(
        fixed=max(0.0, seconds[0] - per_image * few),
        per_image=per_image,
        loss_rate=loss_work(pairs, pairs, config.projection_dim) / seconds_of(lambda: next(losses), device),
        kept=max(0.0, kept[0] - similarities[0] - kept_per_image * FIRST_IMAGES),
        kept_per_image=kept_per_image,
        weights=sum(p.numel() * p.element_size() for p in model.parameters()),
        norms=sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()),
        bandwidth=config.bandwidth * 1e9,
        latency=config.latency * 1e-6,
    )


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Median of a few calls, after a warm-up."""
    times = []
    for _ in range(2 + STEPS):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def bytes_kept(step: Callable[[], None], model: nn.Module) -> int:
    """Bytes that autograd keeps from the forward to the backward pass of a step, weights aside."""
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


def estimate(config: TrainConfig, here: Calibration, size: int, num_images: int, processes: int) -> Estimate:
    """A step of so many processes, from what one said."""
    mine = World(0, processes).rows(config.batch_size)
    everyone = config.batch_size if config.global_negatives else mine

    def all_reduce(size: float, times: int = 1) -> float:
        sent, messages = all_reduce_needs(processes)
        return times * (sent * size / here.bandwidth + messages * here.latency)

    embeddings = 2 * everyone * config.projection_dim * 4 if config.global_negatives else 0
    # Forward and backward: embeddings, and the statistics of each norm. Once: gradients, and two exchanges of flags.
    exchange = all_reduce(embeddings, times=2) + all_reduce(here.weights) + all_reduce(0, times=2 * here.norms + 2)

    anchors = min(2 * mine, config.loss_chunk or 2 * mine)
    states = {"adam": 2, "sgd": 1, "lars": 1}[config.loop().optimizer]
    view = 3 * (config.view_size or size) ** 2 * 4
    memory = (
        here.weights * (2 + states)  # weights, gradients, what the optimiser remembers
        + here.kept
        + here.kept_per_image * min(mine, config.micro_batch or mine)
        + (2 * mine * view if config.micro_batch else 0)  # else they are among what is kept
        + 3 * anchors * 2 * everyone * 4  # similarities, their softmax, their gradient
        + num_images * 3 * size * size
    )
    compute = here.fixed + here.per_image * mine
    loss = loss_work(mine, everyone, config.projection_dim) / here.loss_rate
    return Estimate(processes, compute, loss, exchange, memory)


def all_reduce_needs(processes: int) -> tuple[float, int]:
    """What summing over so many processes takes: times its bytes that each sends, and messages one after the other."""
    return 2 * (processes - 1) / processes, 2 * math.ceil(math.log2(processes))


def table(rows: list[Estimate], steps: int, config: PlanConfig) -> str:
    """The estimates as aligned lines."""
    head = "processes   step, ms  = compute + loss + exchange   speed-up   hours   GB each"
    lines = [f"{steps:,} steps of {config.batch_size} images", head + "   measured, ms      GB" * config.measure]
    for row in rows:
        parts = " + ".join(f"{1000 * seconds:,.0f}" for seconds in (row.compute, row.loss, row.exchange))
        line = f"{row.processes:>9}{1000 * row.step:>11,.0f}  = {parts:<27}{rows[0].step / row.step:>9.1f}"
        line += f"{steps * row.step / 3600:>8.2f}{row.memory / 1e9:>10.2f}"
        if row.measured is not None and row.measured_memory is not None:
            line += f"{1000 * row.measured:>15,.0f}{row.measured_memory / 1e9:>8.2f}"
        lines.append(line)
    return "\n".join(lines)


# The truth.


def measured_estimate(
    config: PlanConfig,
    here: Calibration,
    size: int,
    num_images: int,
    device: torch.device,
    processes: int,
    threads: int,
) -> Estimate:
    """The estimate for so many processes on this machine, each with its share of the threads, and what it took."""
    share = max(1, threads // processes)
    if share != threads:  # else ``here`` says it
        torch.set_num_threads(share)
        try:
            here = calibrate(config, size, device)
        finally:
            torch.set_num_threads(threads)
    results = torch.zeros(4, dtype=torch.float64).share_memory_()
    on_this_machine(_measure, processes, share, config, size, num_images, results)
    seconds, memory, large, small = results.tolist()
    if processes > 1:
        sent, messages = all_reduce_needs(processes)
        here = replace(here, latency=small / messages, bandwidth=sent * here.weights / max(1e-9, large - small))
    guess = estimate(config, here, size, num_images, processes)
    return replace(guess, measured=seconds, measured_memory=memory)


def _measure(threads: int, config: TrainConfig, size: int, num_images: int, results: Tensor) -> None:
    """Train for some steps; the leading process writes down seconds, bytes, and what summing over all takes."""
    torch.set_num_threads(threads)
    device = pick_device(config.device)
    with joined(device, config.timeout) as world:
        tiny = replace(config, batch_size=2 * world.size, micro_batch=None)
        stepper(tiny, size, device, tiny.batch_size)[0]()  # what is loaded and set up at the first step
        before = largest_size(device)
        step, model = stepper(config, size, device, config.batch_size, num_images)
        seconds = seconds_of(step, device)
        memory = largest_size(device) - before
        gradient = torch.zeros(sum(p.numel() for p in model.parameters()), device=device)
        agree()
        large = seconds_of(lambda: summed(gradient), device)
        small = seconds_of(lambda: summed(gradient[:1]), device)
        if world.leads:
            results[:] = torch.tensor([seconds, memory, large, small])
