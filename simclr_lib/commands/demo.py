"""``simclr demo``: all of SimCLR on the embedded data set, offline, in minutes, with a report to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from simclr_lib.commands.common import Stopwatch, check_writable
from simclr_lib.commands.settings import DemoConfig
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.data.emblems import CLASSES
from simclr_lib.device import pick_device
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import accuracy
from simclr_lib.experiments.comparison import (
    FILMED,
    compare_encoder,
    evenly,
    few_label_parts,
    merge_seeds,
    supervised_row,
)
from simclr_lib.models import SimCLR
from simclr_lib.recipes import EMBLEMS, EMBLEMS_SUPERVISED
from simclr_lib.results import Result, Table, summary, text_table
from simclr_lib.training import Interrupted, new_folder, pretrain, train_supervised

LOOK_EVERY = 2  # epochs between two looks at the features: each costs a second, and another as a frame of the film


@dataclass(frozen=True)
class DemoBudget:
    """The work of the demo besides pretraining.

    Attributes:
        labels: labels per class that it compares.
        steps: steps of training from scratch where labels are few.
        supervised_epochs: epochs of training from scratch with all labels.
        filmed: test images in the film and in the report.
    """

    labels: tuple[int, ...] = (10, 100)
    steps: int = 300
    supervised_epochs: int = 5
    filmed: int = FILMED


def demo(config: DemoConfig, budget: DemoBudget | None = None) -> None:
    """Run ``simclr demo``: writes results.json, prints the table, and draws report.html and its figures.

    Args:
        config: settings of the command.
        budget: how much is spent besides pretraining.
    """
    budget = budget or DemoBudget()
    needed = len(CLASSES) * max(budget.labels)
    config.check()
    if config.images < needed:
        raise SimCLRError(
            f"the demo compares up to {max(budget.labels)} labels per class: --images must be at least {needed:,}, "
            f"not {config.images}."
        )
    pick_device(config.device)  # an error is found before the folder is made
    if config.out:
        check_writable(config.out)
        # A demo that was stopped while it drew its report goes on with it.
        goes_on = any(config.out.glob("seed-*/checkpoint.pt")) and not (config.out / "report.html").exists()
        if (config.out / "results.json").exists() and not goes_on:
            raise SimCLRError(f"{config.out} already holds a demo: choose another --out.")
    out = config.out or new_folder("demo")
    try:
        _run_demo(config, budget, out)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; pretraining so far is saved. Continue with the same command and --out {out}"
        ) from None


def _run_demo(config: DemoConfig, budget: DemoBudget, out: Path) -> None:
    device, clock = pick_device(config.device), Stopwatch()
    resumed = any(out.glob("seed-*/checkpoint.pt"))  # then the seconds are those of the last part only
    train, test = load_dataset("emblems", "train", limit=config.images), load_dataset("emblems", "test")
    images = Images(train, test, evenly(test, budget.filmed))
    clock.lap("drawing emblems")
    runs = [_run_seed(seed, config, budget, out, images, clock) for seed in config.seeds]
    table = merge_seeds([run.table for run in runs])
    result = Result(
        "SimCLR on emblems; test accuracy after the last epoch",
        table,
        config=replace(EMBLEMS, epochs=config.epochs).resolved(train.image_size, device).to_dict(),
        seeds=config.seeds,
        num_train=len(train),
        num_test=len(test),
        seconds=clock.laps(),
        extra={"supervised": EMBLEMS_SUPERVISED.resolved(train.image_size, device).to_dict(), "resumed": resumed},
    )
    result.write(out / "results.json", device)
    print(text_table(table))

    print("drawing the report …")
    # Imported here, so that the other commands do not wait for matplotlib and UMAP.
    from simclr_lib.teaching.demo_report import Exhibit, draw, write_report

    seed, first = config.seeds[0], runs[0]
    run_dir = out / f"seed-{seed}"
    exhibit = Exhibit(
        first.model, run_dir, seed, train, images.shown, first.h_train, table, budget.labels, budget.steps
    )
    drawn = draw(exhibit)
    clock.lap("report")
    result = replace(result, seconds=clock.laps(), extra={**result.extra, "trustworthiness": drawn.trust})
    write_report(out, exhibit, drawn, result, device)
    result.write(out / "results.json", device)
    minutes, seconds = divmod(round(clock.total), 60)
    print(f"done in {minutes}:{seconds:02d} minutes. Open {out / 'report.html'} in a browser.")


@dataclass(frozen=True)
class Images:
    """The emblems of the demo: to train on, to test on, and the test images that the report shows."""

    train: ImageDataset
    test: ImageDataset
    shown: ImageDataset


@dataclass(frozen=True)
class SeedRun:
    """The outcome of one seed: the model, its table, and its features of the training images, [N, D]."""

    model: SimCLR
    table: Table
    h_train: Tensor


def _run_seed(
    seed: int, config: DemoConfig, budget: DemoBudget, out: Path, images: Images, clock: Stopwatch
) -> SeedRun:
    """Pretrain, evaluate, and train with labels instead."""
    train, test, run_dir = images.train, images.test, out / f"seed-{seed}"
    settings = replace(
        EMBLEMS,
        seed=seed,
        epochs=config.epochs,
        device=config.device,
        resume=(run_dir / "checkpoint.pt").exists(),
        monitor_every=LOOK_EVERY,
    )
    print(f"seed {seed}: pretraining on {len(train):,} emblems for {config.epochs} epochs, without labels …")
    model = pretrain(train, settings, run_dir, filmed=images.shown if seed == config.seeds[0] else None)
    clock.lap("pretraining")
    print("reading the features out, beside a random encoder and pixels …")
    table, _, (h_train, _) = compare_encoder(model.encoder, settings, train, test, draws=1, budgets=budget.labels)
    clock.lap("evaluation")
    print("training the same network with labels instead …")
    supervised = replace(EMBLEMS_SUPERVISED, seed=seed, device=config.device)
    few = few_label_parts(train, budget.labels, seed)  # the images whose labels the probe of SimCLR's features gets
    row = supervised_row(few, test, supervised, budget.steps)
    classifier = train_supervised(train, replace(supervised, epochs=budget.supervised_epochs))
    table["supervised"] = {**row, "labels_all": summary([accuracy(classifier, test)])}
    clock.lap("supervised")
    return SeedRun(model, table, h_train)
