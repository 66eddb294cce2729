"""Train the page of notebook 0 with each loss of notebook 10, and compare the features by kNN.

    python -m simclr_lib.authoring.after_simclr [--only NAME …] [--seeds 0 1 2] [--out FILE]

The losses are the cells of notebook 10 that are tagged ``loss``, so what is measured is what the notebook shows. Each
loss has the same number of trials on training images that are held out, and the best settings are used with every seed.
The test images are looked at once, after the last epoch. A loss that is in the results file already is not measured
again, so the work can be done in parts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from simclr_lib.augment import to_unit_range
from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.experiments.one_page import BATCH, Loss, knn_accuracy, networks, nt_xent, spread, train, view
from simclr_lib.results import Result, per_cent, summary
from simclr_lib.seeding import initial_weights

NOTEBOOK = Path("notebooks/10_after_simclr.ipynb")
OUT = Path("notebooks/results/after-simclr.json")
UNTRAINED = "untrained network"
NUM_TRAIN, NUM_HELD_OUT = 2048, 1024
EPOCHS, TRIAL_EPOCHS = 8, 3
LR, OTHER_RATES = 0.002, (0.001, 0.005)  # that of the page first

Settings = dict[str, float]
"""The learning rate, "lr", and the loss's own setting."""


@dataclass(frozen=True)
class Method:
    """A loss of the notebook, and what is tried for it.

    Attributes:
        loss: name of the function, or of the module, in the notebook.
        setting: name of the setting that only this loss has.
        values: the usual value of that setting, and another one.
        labels: whether the loss needs the labels of the images.
    """

    loss: str
    setting: str
    values: tuple[float, float]
    labels: bool = False

    def trials(self) -> list[Settings]:
        """Four settings: three learning rates, and another value of the loss's own setting."""
        usual, other = self.values
        rates = [{"lr": lr, self.setting: usual} for lr in (LR, *OTHER_RATES)]
        return [*rates, {"lr": LR, self.setting: other}]


METHODS = {
    "NT-Xent (SimCLR)": Method("nt_xent", "temperature", (0.2, 0.1)),
    "DCL": Method("dcl", "temperature", (0.2, 0.1)),
    "Barlow Twins": Method("barlow_twins", "weight", (0.005, 0.05)),
    "VICReg": Method("vicreg", "invariance", (25, 5)),
    "SimSiam": Method("SimSiam", "width", (32, 128)),
    "SupCon, with labels": Method("sup_con", "temperature", (0.2, 0.1), labels=True),
}


@cache  # an edit of the notebook changes nothing while this program runs
def losses_of(notebook: Path = NOTEBOOK) -> dict[str, Any]:
    """The functions and modules that the cells tagged ``loss`` define, by name, and NT-Xent."""
    names: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "nt_xent": nt_xent}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if "loss" in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), names)
    return names


def make_loss(method: Method, settings: Settings, seed: int, names: Mapping[str, Any]) -> Loss:
    """The loss of a method with its own setting; weights that it has depend on the seed."""
    found, own = names[method.loss], {method.setting: settings[method.setting]}
    with initial_weights(seed):
        return found(**own) if isinstance(found, type) else partial(found, **own)


def measure(
    name: str, settings: Settings, seed: int, epochs: int, images: ImageDataset, queries: ImageDataset
) -> tuple[float, float]:
    """Train with a method. Returns the kNN accuracy on the queries, and the spread of z at the last step."""
    method = METHODS[name]
    done = train(
        make_loss(method, settings, seed, losses_of()),
        to_unit_range(images.images),
        epochs,
        settings["lr"],
        seed,
        images.labels if method.labels else None,
        name,
    )
    accuracy = knn_accuracy(
        done.encoder, to_unit_range(images.images), images.labels, to_unit_range(queries.images), queries.labels
    )
    return accuracy, done.spreads[-1]


def measure_untrained(seed: int, images: ImageDataset, queries: ImageDataset) -> tuple[float, float]:
    """The kNN accuracy and the spread of z of networks that were not trained."""
    torch.manual_seed(seed)
    encoder, head = networks()
    batch = to_unit_range(images.images)[:BATCH]
    z = head(encoder(torch.cat([view(batch), view(batch)])))
    return knn_accuracy(
        encoder, to_unit_range(images.images), images.labels, to_unit_range(queries.images), queries.labels
    ), spread(z)


@dataclass(frozen=True)
class Images:
    """The emblems of the comparison: to train on, to choose settings with, and to test with once."""

    train: ImageDataset
    held_out: ImageDataset
    test: ImageDataset


def load_images() -> Images:
    """Draw the emblems. The held-out ones are training images that the page does not use."""
    drawn = load_dataset("emblems", "train", limit=NUM_TRAIN + NUM_HELD_OUT)
    train, held_out = (drawn.subset(rows) for rows in torch.arange(len(drawn)).split(NUM_TRAIN))
    return Images(train, held_out, load_dataset("emblems", "test"))


def try_settings(name: str, seed: int, images: Images) -> list[dict[str, float]]:
    """The trials of a method, each with its "accuracy" on the images held out."""
    return [
        {**trial, "accuracy": measure(name, trial, seed, TRIAL_EPOCHS, images.train, images.held_out)[0]}
        for trial in METHODS[name].trials()
    ]


def best_of(trials: Sequence[Mapping[str, float]]) -> Settings:
    """The settings of the best trial; of the first, if there are several."""
    best = max(trials, key=lambda trial: trial["accuracy"])
    return {key: value for key, value in best.items() if key != "accuracy"}


def main(words: Sequence[str] | None = None) -> None:
    """Measure the losses that the command line names, and add them to the results file."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.after_simclr", description="Compare losses.")
    parser.add_argument("--only", nargs="+", choices=list(METHODS), help="measure these; by default all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="a training for each of them")
    parser.add_argument("--out", type=Path, default=OUT, help="results file")
    chosen = parser.parse_args(words)
    images = load_images()
    earlier = Result.read(chosen.out) if chosen.out.exists() else Result("", extra={"settings": {}, "search": {}})
    results, settings, search = dict(earlier.results), dict(earlier.extra["settings"]), dict(earlier.extra["search"])
    total = earlier.seconds.get("total", 0.0)
    for name in [UNTRAINED, *(chosen.only or METHODS)]:
        if name in results:
            continue
        start = time.monotonic()
        if name == UNTRAINED:
            values = [measure_untrained(seed, images.train, images.test) for seed in chosen.seeds]
        else:
            search[name] = try_settings(name, chosen.seeds[0], images)
            settings[name] = best_of(search[name])
            values = [measure(name, settings[name], seed, EPOCHS, images.train, images.test) for seed in chosen.seeds]
        accuracies, spreads = zip(*values, strict=True)
        results[name] = {"knn": summary(accuracies), "spread": summary(spreads)}
        total += time.monotonic() - start
        print(f"{name}: {per_cent(results[name]['knn'])} %, with {settings.get(name, 'no training')}", flush=True)
        Result(
            f"losses after SimCLR on the page of notebook 0; kNN accuracy on test images after {EPOCHS} epochs",
            results,
            config={"epochs": EPOCHS, "trial_epochs": TRIAL_EPOCHS, "batch_size": BATCH, "optimizer": "adam"},
            seeds=chosen.seeds,
            num_train=len(images.train),
            num_test=len(images.test),
            seconds={"total": total},
            extra={"num_held_out": len(images.held_out), "settings": settings, "search": search},
        ).write(chosen.out, torch.device("cpu"), "python -m simclr_lib.authoring.after_simclr")


if __name__ == "__main__":
    main()
