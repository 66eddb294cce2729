"""``simclr plan``: time and memory of a pretraining run, estimated before anybody pays for it."""

from __future__ import annotations

from dataclasses import fields

import torch

from simclr_lib.config import TrainConfig
from simclr_lib.device import pick_device
from simclr_lib.distributed import World
from simclr_lib.experiments.scaling import Estimate, Link, calibrate, estimate, measured_estimate, size_of
from simclr_lib.objectives import check_micro_batch
from simclr_lib.results import Result
from simclr_lib.settings import PlanConfig


def plan(config: PlanConfig) -> None:
    """Run ``simclr plan``: prints the table and, with ``--out``, writes the results file before."""
    _check(config)
    training = TrainConfig(**{entry.name: getattr(config, entry.name) for entry in fields(TrainConfig)})
    device = pick_device(config.device)
    num_images, size = size_of(training)
    steps = training.loop().steps_per_epoch(num_images) * config.epochs

    print(f"taking a few steps on {device} …", flush=True)
    calibration = calibrate(training, size, device, Link(config.bandwidth * 1e9, config.latency * 1e-6))
    estimates = []
    for processes in config.processes:
        if config.measure and (device.type == "cpu" or processes <= torch.cuda.device_count()):
            print(f"training with {processes} …", flush=True)
            estimates.append(measured_estimate(training, calibration, size, num_images, processes))
        else:
            estimates.append(estimate(training, calibration, size, num_images, processes))

    if config.out:
        Result(
            "seconds of a step and bytes of a process: estimated, and measured where so many trained here",
            {f"{row.processes} processes": {**vars(row), "step": row.step} for row in estimates},
            config=training.resolved(size, device).to_dict(),
            num_train=num_images,
            extra={"steps": steps, "calibration": vars(calibration)},
        ).write(config.out, device)
    print(text_plan(estimates, steps, config))
    if config.out:
        print(f"results: {config.out}")


def _check(config: PlanConfig) -> None:
    config.check()
    for processes in config.processes:
        check_micro_batch(config.micro_batch, World(0, processes).rows(config.batch_size))


def text_plan(estimates: list[Estimate], steps: int, config: PlanConfig) -> str:
    """The estimates as aligned lines: a line for each number of processes."""
    head = "processes   step, ms  = compute + loss + exchange   speed-up   hours   GB each"
    lines = [f"{steps:,} steps of {config.batch_size} images", head + "   measured, ms      GB" * config.measure]
    for row in estimates:
        parts = " + ".join(f"{1000 * seconds:,.0f}" for seconds in (row.compute, row.loss, row.exchange))
        line = f"{row.processes:>9}{1000 * row.step:>11,.0f}  = {parts:<27}{estimates[0].step / row.step:>9.1f}"
        line += f"{steps * row.step / 3600:>8.2f}{row.memory / 1e9:>10.2f}"
        if row.measured is not None and row.measured_memory is not None:
            line += f"{1000 * row.measured:>15,.0f}{row.measured_memory / 1e9:>8.2f}"
        lines.append(line)
    return "\n".join(lines)
