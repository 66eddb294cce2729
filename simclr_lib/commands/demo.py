"""``simclr demo``: all of SimCLR on the embedded data set, offline, in minutes, with a report to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.commands.common import Steps, Stopwatch, minutes
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.device import pick_device
from simclr_lib.experiments.comparison import (
    evaluate_baselines,
    evaluate_encoder,
    evenly,
    merge_seeds,
    trained_from_scratch,
)
from simclr_lib.experiments.scaling import stepper
from simclr_lib.experiments.throughput import median_seconds
from simclr_lib.files import CHECKPOINT
from simclr_lib.models import SimCLR
from simclr_lib.recipes import DEMO, DEMO_SUPERVISED
from simclr_lib.results import Result, Table, columns, in_words, text_table
from simclr_lib.settings import DemoBudget, DemoConfig
from simclr_lib.training import Interrupted, new_folder, pretrain

LOOK_EVERY = 3  # epochs between two looks at the features: each costs a second, and another as a frame of the film

# How long the other parts take, for the estimate at the start. In steps of pretraining, as measured on one core:
IMAGES_A_STEP = 100  # images that are evaluated in the time of a step: features of two encoders, and all probes
SUPERVISED_STEP = 0.7  # a step of training with labels, which has half as many views, but larger ones
REPORT_SECONDS = 25  # most of it is spent on one core, by UMAP


def demo(config: DemoConfig, budget: DemoBudget | None = None) -> None:
    """Run ``simclr demo``: writes results.json, prints the table, and draws report.html and its figures.

    Args:
        config: settings of the command.
        budget: how much is spent besides pretraining.
    """
    budget = budget or DemoBudget()
    config.check(budget)
    pick_device(config.device)  # an error is found before the folder is made
    out = config.out or new_folder("demo")
    try:
        _run_demo(config, budget, out)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; pretraining so far is saved. Continue with the same command and --out {out}"
        ) from None


def _run_demo(config: DemoConfig, budget: DemoBudget, out: Path) -> None:
    device, clock = pick_device(config.device), Stopwatch()
    resumed = any(out.glob(f"seed-*/{CHECKPOINT}"))  # then the seconds are those of the last part only
    train, test = load_dataset("emblems", "train", limit=config.images), load_dataset("emblems", "test")
    images = Images(train, test, evenly(test, budget.filmed))
    clock.lap("drawing emblems")
    steps = _plan(config, budget, images, device)
    with_labels = replace(DEMO_SUPERVISED, epochs=budget.supervised_epochs)

    def result(tables: list[Table], **extra: object) -> Result:
        return Result(
            "SimCLR on emblems; test accuracy after the last epoch",
            merge_seeds(tables),
            config=replace(DEMO, epochs=config.epochs).resolved(train.image_size, device).to_dict(),
            seeds=config.seeds[: len(tables)],
            num_train=len(train),
            num_test=len(test),
            seconds=clock.laps(),
            extra={"supervised": with_labels.resolved(train.image_size, device).to_dict(), "resumed": resumed, **extra},
        )

    tables: list[Table] = []
    for seed in config.seeds:
        model, h_train, table = _pretrain_and_evaluate(seed, config, budget, out, images, steps, clock)
        if not tables:
            first = result([table], complete=False)
            first.write(out / "results.json", device)
            print("drawing a first report …")
            # Imported here, so that the other commands do not wait for matplotlib and UMAP.
            from simclr_lib.teaching.demo_report import Exhibit, draw, make_report, picture_of_budgets, write_figures

            drawn = draw(Exhibit(model, out / f"seed-{seed}", seed, train, images.shown, h_train))
            make_report(drawn, first, None, device).write(out / "report.html")
            clock.lap("report")
            print(f"A first report is ready: open {out / 'report.html'} in a browser, and reload it at the end.")
        steps.begin()
        settings = replace(with_labels, seed=seed, device=config.device)
        row = trained_from_scratch(train, test, settings, min(budget.labels), budget.steps, budget.supervised_epochs)
        tables.append({**table, "supervised": row})
        clock.lap("supervised")

    steps.begin()
    measured = result(tables, complete=False)
    measured.write(out / "results.json", device)
    table = merge_seeds(tables)
    print(text_table(table))
    labelled = picture_of_budgets(table, budget.labels, budget.steps)
    make_report(drawn, measured, labelled, device).write(out / "report.html")
    write_figures(out / "figures", [labelled, *drawn.pictures])
    clock.lap("report")
    result(tables, complete=True, trustworthiness=drawn.trust).write(out / "results.json", device)
    print(f"done in {minutes(clock.total)}. Open {out / 'report.html'} in a browser; report.gif beside it is the film.")


def _plan(config: DemoConfig, budget: DemoBudget, images: Images, device: torch.device) -> Steps:
    """Say what the demo will do, and how long it takes here: a few steps of pretraining are timed for that."""
    train, size = images.train, images.train.image_size
    step = median_seconds(stepper(DEMO, size, device, DEMO.batch_size)[0], device)
    pretraining = config.epochs * (1 - DEMO.validation) * len(train) / DEMO.batch_size
    evaluation = (len(train) + len(images.test)) / IMAGES_A_STEP
    with_labels = budget.steps + budget.supervised_epochs * len(train) / DEMO_SUPERVISED.batch_size
    each_seed = [
        (f"pretraining on {len(train):,} emblems for {config.epochs} epochs, without labels", step * pretraining),
        ("what the features are worth, beside a random encoder and pixels", step * evaluation),
        ("training the same network with labels, for comparison", step * SUPERVISED_STEP * with_labels),
    ]
    parts = [part for _ in config.seeds for part in each_seed]
    what, seconds = parts[1]
    parts[1] = f"{what}; a first report", seconds + REPORT_SECONDS
    return Steps([*parts, ("the whole report", 3.0)])


@dataclass(frozen=True)
class Images:
    """The emblems of the demo: to train on, to test on, and the test images that the report shows."""

    train: ImageDataset
    test: ImageDataset
    shown: ImageDataset


def _pretrain_and_evaluate(
    seed: int, config: DemoConfig, budget: DemoBudget, out: Path, images: Images, steps: Steps, clock: Stopwatch
) -> tuple[SimCLR, Tensor, Table]:
    """Return the pretrained model, its features of the training images [N, D], and the table without training."""
    train, test, run_dir = images.train, images.test, out / f"seed-{seed}"
    settings = replace(
        DEMO,
        seed=seed,
        epochs=config.epochs,
        device=config.device,
        resume=(run_dir / CHECKPOINT).exists(),
        monitor_every=LOOK_EVERY,
    )
    steps.begin()
    model = pretrain(train, settings, run_dir, filmed=images.shown if seed == config.seeds[0] else None)
    clock.lap("pretraining")
    steps.begin()
    row, _, (h_train, _) = evaluate_encoder(model.encoder, settings, train, test, draws=1, budgets=budget.labels)
    names = columns({"SimCLR": row})
    print("first result: " + ", ".join(f"{in_words(row[column])} {name}" for column, name in names.items()))
    table = {"SimCLR": row, **evaluate_baselines(settings, train, test, draws=1, budgets=budget.labels)}
    clock.lap("evaluation")
    return model, h_train, table
