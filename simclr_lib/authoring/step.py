"""Measure a pretraining step of ResNet-18 on images of 32 × 32 pixels, and its parts.

    python -m simclr_lib.authoring.step --batch-size 512 [--seconds 2] [--out FILE]

Each part is repeated for some seconds after a warm-up of the same length. It is measured as it is and, on a GPU,
compiled; there, the whole step is measured as one CUDA graph, too. On a GPU, two calls may wait for their turn, as in
training. The figures go to ``notebooks/results/step-BATCH.json``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from simclr_lib.config import TrainConfig
from simclr_lib.device import autocast, equal_steps, pick_device
from simclr_lib.distributed import distribute_and_compile
from simclr_lib.experiments.competitors import optimizer_steps
from simclr_lib.experiments.graph import GraphedStep
from simclr_lib.experiments.scaling import parts_of_step, stepper
from simclr_lib.experiments.throughput import throughput
from simclr_lib.losses import nt_xent
from simclr_lib.optim import LARS
from simclr_lib.results import Result
from simclr_lib.seeding import seeded

SIZE = 32  # pixels

Parts = dict[str, Callable[[], object]]
"""Name of a part → what does it once."""


def whole_step(config: TrainConfig, device: torch.device) -> Parts:
    """The whole step, and the passes through network and loss alone."""
    step, model = stepper(config, SIZE, device, config.batch_size)
    network = distribute_and_compile(model, config.compile).train()
    views = torch.rand(2 * config.batch_size, 3, SIZE, SIZE, device=device)
    views = views.contiguous(memory_format=torch.channels_last)

    def passes() -> None:
        with autocast(device, config.precision):
            _, z = network(views)
            z_a, z_b = z.chunk(2)
            loss = nt_xent(z_a, z_b, config.temperature)
        model.zero_grad()
        loss.backward()

    return {"whole step": step, "network and loss, forward and backward": passes}


def one_graph(config: TrainConfig, device: torch.device) -> Parts:
    """The whole step of a GPU, recorded once and repeated in one launch."""
    model, optimizer, images = parts_of_step(config, SIZE, device, config.batch_size)
    if config.compile:
        model.compile()  # without graphs of its own
    objective = config.objective(model.train(), images)
    graphed = GraphedStep(objective, optimizer, autocast(device, config.precision), config.batch_size, device)
    graph, _ = graphed.record()

    def step() -> None:
        graphed.load(torch.arange(config.batch_size), seeded(0), lr=1e-6)
        graph.replay()

    return {"whole step, one CUDA graph": step}


def two_views(config: TrainConfig, device: torch.device) -> Parts:
    """Draw the parameters of two views of each image, and make the views."""
    augment, generator = config.augment_on(device, SIZE), seeded(0)
    images = torch.randint(256, (config.batch_size, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
    params = augment.sample(len(images), SIZE, SIZE, generator)
    return {
        "draw two views": lambda: [augment.sample(len(images), SIZE, SIZE, generator) for _ in range(2)],
        "make two views": lambda: [augment.apply(images, params) for _ in range(2)],
    }


def measure(config: TrainConfig, device: torch.device, seconds: float) -> Result:
    """Measure every part: its milliseconds, and the images of a batch divided by its seconds."""
    on_gpu = device.type == "cuda"
    results = {}

    def repeated(part: Callable[[], object]) -> Iterator[int]:
        while True:
            part()
            yield config.batch_size

    def add(parts: Parts, ending: str = "") -> None:
        for name, part in parts.items():
            speed = throughput(repeated(part), seconds)
            row = {"milliseconds": 1e3 * config.batch_size / speed, "images_per_second": speed}
            results[name + ending] = row
            print(f"{name + ending:<55}{row['milliseconds']:>10.2f} ms", flush=True)

    recipes = {"": replace(config, compile=False)} | ({", compiled": replace(config, compile=True)} if on_gpu else {})
    for ending, recipe in recipes.items():
        add({**whole_step(recipe, device), **two_views(recipe, device)}, ending)
    optimizer = optimizer_steps(LARS, device)
    add({"LARS, of the encoder": lambda: next(optimizer)})
    for ending, recipe in recipes.items() if on_gpu else ():  # last: after a recording that fails, nothing is sure
        try:
            add(one_graph(recipe, device), ending)
        except RuntimeError as error:  # the first error says which operation cannot be recorded
            print(f"one CUDA graph{ending}: not recorded, {error.__context__ or error}", flush=True)
            break
    return Result(
        f"a pretraining step of ResNet-18 on {SIZE}×{SIZE} images at batch {config.batch_size}, and its parts",
        results,
        config=config.to_dict(),
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure at the batch size that the command line names, and write the results file."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.step", description="Measure a step.")
    parser.add_argument("--batch-size", type=int, default=512, help="images in a step")
    parser.add_argument("--width", type=int, default=64, help="channels of the network's first stage")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a measurement")
    parser.add_argument("--out", type=Path, help="results file")
    chosen = parser.parse_args(words)
    device = pick_device()
    config = TrainConfig(batch_size=chosen.batch_size, width=chosen.width).resolved(SIZE, device)
    out = chosen.out or Path(f"notebooks/results/step-{chosen.batch_size}.json")
    command = ["python", "-m", "simclr_lib.authoring.step", *(sys.argv[1:] if words is None else words)]
    with equal_steps(device):  # also while the file is written: it says with how many threads
        measure(config, device, chosen.seconds).write(out, device, shlex.join(command))


if __name__ == "__main__":
    main()
