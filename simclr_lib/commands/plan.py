"""``simclr plan``: what a pretraining run would take, in time and memory, before anybody pays for it.

A few steps on this machine give the seconds of a step, as a fixed part and a part for each image, and the bytes that
a step keeps for each image. A step of W processes like this one is then estimated as

    compute(B / W)  +  loss(B / W against B)  +  exchange of embeddings, batch statistics and gradients,

where summing b bytes over W processes takes 2 (W − 1) / W · b / bandwidth + 2 ⌈log₂ W⌉ · latency (a ring, and the
messages of a tree). PyTorch hides a part of the exchange of gradients behind the backward pass; the estimate does
not, so it is on the safe side. ``--measure`` trains on this machine and puts what came out beside the estimate.
"""

from __future__ import annotations

import math
import os
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from simclr_lib.commands.common import write_results
from simclr_lib.config import TrainConfig
from simclr_lib.data import load_dataset
from simclr_lib.device import autocast, environment, pick_device, place
from simclr_lib.distributed import agree, distribute, joined, summed
from simclr_lib.errors import SimCLRError
from simclr_lib.loop import seeded
from simclr_lib.losses import nt_xent
from simclr_lib.models import SimCLR
from simclr_lib.objectives import contrastive_objective
from simclr_lib.optim import build_optimizer

SIZES = {  # data set → training images, side in pixels
    "emblems": (8_192, 32),
    "cifar10": (50_000, 32),
    "cifar100": (50_000, 32),
    "stl10": (100_000, 96),
    "tinyimagenet": (100_000, 64),
}
CALIBRATED = (32, 64)  # images a step
STEPS = 5  # the median counts, after a warm-up of two


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
class Calibration:
    """What a few steps on this machine said.

    Attributes:
        fixed: seconds of a step that do not depend on its images.
        per_image: seconds for each image (two views), forward and backward.
        loss_rate: multiplications and additions per second of NT-Xent.
        kept: bytes that a step keeps for each image until its backward pass.
        weights: bytes of the weights.
        norms: number of batch-norm layers.
        bandwidth: bytes per second between processes.
        latency: seconds of a message.
    """

    fixed: float
    per_image: float
    loss_rate: float
    kept: float
    weights: int
    norms: int
    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Estimate:
    """A step of ``processes`` processes, seconds and bytes of each process; see the head of this file."""

    processes: int
    compute: float
    loss: float
    exchange: float
    memory: float
    measured: float | None = None

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.compute + self.loss + self.exchange


def plan(config: PlanConfig) -> None:
    """Run ``simclr plan``: prints the table and, with ``--out``, writes the results file."""
    config.check()
    if not config.processes or min(config.processes) < 1:
        raise SimCLRError("--processes needs numbers of at least 1, such as --processes 1 2 4.")
    if not config.bandwidth > 0 or not config.latency >= 0:
        raise SimCLRError("--bandwidth must be above 0 GB/s and --latency at least 0 microseconds.")
    for processes in config.processes:
        if config.batch_size % processes:
            raise SimCLRError(f"a batch of {config.batch_size} does not divide among {processes} processes.")
    device = pick_device(config.device)
    num_images, size = size_of(config)
    steps = config.loop().steps_per_epoch(round(num_images * (1 - config.validation))) * config.epochs

    print(f"taking a few steps on {device} …", flush=True)
    here = calibrate(config, size, device)
    rows = []
    for processes in config.processes:
        measured = None
        if config.measure:
            print(f"training with {processes} …", flush=True)
            measured, bandwidth = measure(config, size, processes)
            # What this machine's processes have between them, not what the cluster would.
            here = replace(here, bandwidth=bandwidth, latency=0.0) if processes > 1 else here
        rows.append(replace(estimate(config, here, size, num_images, processes), measured=measured))
    print(table(rows, steps, config))
    if config.out:
        results = {f"{row.processes} processes": {**vars(row), "step": row.step} for row in rows}
        write_results(
            config.out,
            {
                "what": "seconds of a step and bytes of a process: estimated, and measured where so many trained here",
                "environment": environment(device),
                "config": TrainConfig(**{f.name: getattr(config, f.name) for f in fields(TrainConfig)}).to_dict(),
                "num_train": num_images,
                "steps": steps,
                "calibration": vars(here),
                "results": results,
            },
        )
        print(f"results: {config.out}")


def size_of(config: TrainConfig) -> tuple[int, int]:
    """Number of training images and their side; only a folder of images must be there."""
    if config.dataset in SIZES:
        num_images, size = SIZES[config.dataset]
    else:
        found = load_dataset(config.dataset, "train", config.data_dir, config.download, None, config.image_size)
        num_images, size = len(found), found.image_size
    return min(num_images, config.limit or num_images), config.image_size or size


# Calibration.


def stepper(config: TrainConfig, size: int, device: torch.device, batch_size: int) -> tuple[Callable[[], None], SimCLR]:
    """A function that takes one training step on random images, and its model."""
    model = place(config.simclr(size), device)
    images = torch.randint(256, (max(batch_size, 64), 3, size, size), dtype=torch.uint8, device=device)
    loop = config.loop()
    optimizer = build_optimizer(loop.optimizer, model, 1e-6, loop.weight_decay)
    network = distribute(model).train()
    micro_batch = config.micro_batch if config.micro_batch is None else min(config.micro_batch, batch_size)
    objective = contrastive_objective(
        network, images, config.augment(size), config.temperature, micro_batch, config.loss_chunk
    )

    def step() -> None:
        with autocast(device, config.precision):
            loss = objective(torch.arange(batch_size), seeded(config.seed))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step, model


def calibrate(config: PlanConfig, size: int, device: torch.device) -> Calibration:
    """Take a few steps of two sizes."""
    seconds = [seconds_of(stepper(config, size, device, batch)[0], device) for batch in CALIBRATED]
    per_image = max(0.0, seconds[1] - seconds[0]) / (CALIBRATED[1] - CALIBRATED[0])
    step, model = stepper(config, size, device, CALIBRATED[0])
    z_a, z_b = torch.randn(2, 512, config.projection_dim, device=device).requires_grad_().unbind()

    def loss_step() -> None:
        torch.autograd.grad(nt_xent(z_a, z_b, config.temperature, config.loss_chunk), (z_a, z_b))

    return Calibration(
        fixed=max(0.0, seconds[0] - per_image * CALIBRATED[0]),
        per_image=per_image,
        loss_rate=loss_work(512, 512, config.projection_dim) / seconds_of(loss_step, device),
        kept=bytes_kept(step, model) / min(CALIBRATED[0], config.micro_batch or CALIBRATED[0]),
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
    """Largest number of bytes that autograd keeps at a time during a step, weights aside."""
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


def loss_work(anchors: int, others: int, dim: int) -> float:
    """Multiplications and additions of NT-Xent's three matrix products, for so many of all pairs."""
    return 3 * 2 * (2 * anchors) * (2 * others) * dim


# The model.


def estimate(config: TrainConfig, here: Calibration, size: int, num_images: int, processes: int) -> Estimate:
    """A step of so many processes, from what one said."""
    mine = config.batch_size // processes

    def all_reduce(size: float, times: int = 1) -> float:
        if processes == 1:
            return 0.0
        messages = 2 * math.ceil(math.log2(processes))
        return times * (2 * (processes - 1) / processes * size / here.bandwidth + messages * here.latency)

    embeddings = 2 * config.batch_size * config.projection_dim * 4
    exchange = all_reduce(embeddings, times=2) + all_reduce(here.weights) + all_reduce(0, times=4 * here.norms + 3)

    anchors = min(2 * mine, config.loss_chunk or 2 * mine)
    states = {"adam": 2, "sgd": 1, "lars": 1}[config.loop().optimizer]
    memory = (
        here.weights * (2 + states)  # weights, gradients, what the optimiser remembers
        + here.kept * min(mine, config.micro_batch or mine)
        + 3 * anchors * 2 * config.batch_size * 4  # similarities, their softmax, their gradient
        + num_images * 3 * size * size
    )
    twice = 4 / 3 if config.micro_batch else 1.0  # one more forward pass, of a third of the work
    compute = twice * (here.fixed + here.per_image * mine)
    loss = loss_work(mine, config.batch_size, config.projection_dim) / here.loss_rate
    return Estimate(processes, compute, loss, exchange, memory)


def table(rows: list[Estimate], steps: int, config: PlanConfig) -> str:
    """The estimates as aligned lines."""
    first = rows[0]
    lines = [
        f"{steps:,} steps of {config.batch_size} images",
        "processes   step, ms  = compute + loss + exchange   speed-up   hours   GB each"
        + "   measured, ms" * config.measure,
    ]
    for row in rows:
        parts = " + ".join(f"{1000 * seconds:,.0f}" for seconds in (row.compute, row.loss, row.exchange))
        lines.append(
            f"{row.processes:>9}{1000 * row.step:>11,.0f}  = {parts:<27}{first.step / row.step:>9.1f}"
            f"{steps * row.step / 3600:>8.2f}{row.memory / 1e9:>10.1f}"
            + (f"{1000 * row.measured:>15,.0f}" if row.measured is not None else "")
        )
    return "\n".join(lines)


# The truth.


def measure(config: TrainConfig, size: int, processes: int) -> tuple[float, float]:
    """Seconds of a step of so many processes on this machine, and bytes per second between them."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    results = torch.zeros(2, dtype=torch.float64).share_memory_()
    work = (processes, port, torch.get_num_threads(), config, size, results)
    torch.multiprocessing.spawn(_measure, work, nprocs=processes)
    return float(results[0]), float(results[1])


def _measure(
    rank: int, processes: int, port: int, threads: int, config: TrainConfig, size: int, results: Tensor
) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(threads)
    device = pick_device(config.device)
    with joined(device, config.timeout) as world:
        step, model = stepper(config, size, device, config.batch_size)
        gradient = torch.zeros(sum(p.numel() for p in model.parameters()), device=device)
        seconds = seconds_of(step, device)
        agree()
        exchanged = seconds_of(lambda: summed(gradient), device)
        if world.leads:
            results[0] = seconds
            results[1] = 2 * (processes - 1) / processes * gradient.nbytes / exchanged
