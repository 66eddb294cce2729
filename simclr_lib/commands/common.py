"""What several subcommands need: folders, the comparison with baselines, tables in the terminal."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from simclr_lib.commands.settings import BUDGETS
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, few_labels
from simclr_lib.device import pick_device, place
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import SHIFTS, evaluate_features, extract_features, linear_probe, pixel_features, summary
from simclr_lib.files import write_atomically
from simclr_lib.results import per_cent
from simclr_lib.seeding import initial_weights

FILMED = 1_000  # test images in an explorer: enough to see clusters, few enough for UMAP to take seconds
Results = dict[str, dict[str, dict]]
"""source of features → column → figure, as `simclr_lib.evaluation.summary` gives it."""


def new_folder(name: str) -> Path:
    """A folder below ``runs`` that does not exist yet: runs/name, runs/name-2, …"""
    path, number = Path("runs") / name, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path


def compare_encoder(
    encoder: nn.Module,
    config: TrainConfig,
    train: ImageDataset,
    test: ImageDataset,
    draws: int = 3,
    budgets: Sequence[int] = BUDGETS,
) -> tuple[Results, nn.Linear, tuple[Tensor, Tensor]]:
    """A trained encoder beside a random one and the bare pixels, all on the same labels.

    Returns:
        The results, the output head that the SGD protocol trained on all labels, and the trained encoder's features
        of the training and of the test images.
    """
    row, head, features = evaluate_encoder(encoder, config, train, test, draws, budgets)
    return {"SimCLR": row, **evaluate_baselines(config, train, test, draws, budgets)}, head, features


def evaluate_encoder(
    encoder: nn.Module,
    config: TrainConfig,
    train: ImageDataset,
    test: ImageDataset,
    draws: int = 3,
    budgets: Sequence[int] = BUDGETS,
) -> tuple[dict[str, dict], nn.Linear, tuple[Tensor, Tensor]]:
    """kNN and linear probes on a trained encoder's features, by L-BFGS at every budget and by SGD with all labels.

    Returns:
        The row of figures, the output head that SGD trained, and the features of the training and the test images.
    """
    if len(train.labels.unique()) < 2:
        raise SimCLRError(
            f"{train.name} has one class only: pretraining works, but there is nothing to classify. "
            "The checkpoint is saved; use `simclr embed` on it, or add a second class."
        )
    of_train, of_test = (extract_features(encoder, part, precision=config.precision) for part in (train, test))
    train_labels, test_labels = train.labels.cpu(), test.labels.cpu()
    row: dict[str, dict] = dict(
        evaluate_features(of_train, train_labels, of_test, test_labels, budgets, draws, config.seed)
    )
    probe = linear_probe(
        of_train,
        train_labels,
        of_test,
        test_labels,
        method="sgd",
        seed=config.seed,
        num_classes=len(train.classes),
    )
    row["labels_all_sgd"] = summary([probe.accuracy])
    return row, probe.head, (of_train, of_test)


def evaluate_baselines(
    config: TrainConfig, train: ImageDataset, test: ImageDataset, draws: int = 3, budgets: Sequence[int] = BUDGETS
) -> Results:
    """kNN and linear probes on what nobody trained: the same network with random weights, and the pixels."""
    with initial_weights(config.seed):
        random_encoder = place(config.encoder(train.image_size), pick_device(config.device))
    features = {
        "random encoder": [
            extract_features(random_encoder, part, precision=config.precision) for part in (train, test)
        ],
        "pixels": [pixel_features(part) for part in (train, test)],
    }
    return {
        source: evaluate_features(of_train, train.labels.cpu(), of_test, test.labels.cpu(), budgets, draws, config.seed)
        for source, (of_train, of_test) in features.items()
    }


def few_label_parts(train: ImageDataset, budgets: Sequence[int], seed: int) -> dict[str, ImageDataset]:
    """Column of the results → the images that have a label there; for each budget that the smallest class allows."""
    smallest_class = int(train.labels.bincount(minlength=len(train.classes)).min())
    return {
        f"labels_{budget}": train.subset(few_labels(train.labels, budget, seed))
        for budget in budgets
        if budget <= smallest_class
    }


def epochs_for(steps: int, num_images: int, batch_size: int) -> int:
    """Epochs that are at least so many steps; a batch has at most as many images as there are."""
    return math.ceil(steps / (num_images // min(batch_size, num_images)))


def evenly(dataset: ImageDataset, at_most: int) -> ImageDataset:
    """So many of the images, evenly spaced: of every class, also where the classes come one after the other."""
    return dataset.subset(torch.linspace(0, len(dataset) - 1, min(len(dataset), at_most)).long())


def merge_seeds(runs: Sequence[Results]) -> Results:
    """The same table from several seeds: a figure's values are the seeds' means."""
    return {
        source: {column: summary([run[source][column]["mean"] for run in runs]) for column in runs[0][source]}
        for source in runs[0]
    }


def columns(results: Mapping[str, Mapping[str, Mapping]]) -> dict[str, str]:
    """The measures that results have, in the order in which to read them, and their names."""
    measured = {key for row in results.values() for key in row}
    budgets = sorted(int(key.removeprefix("labels_")) for key in measured if key.removeprefix("labels_").isdecimal())
    names = {
        "knn": "kNN, k = 20",
        "knn_200": "kNN, k = 200",
        **{f"labels_{budget}": f"{budget} per class" for budget in budgets},
        "labels_all": "all labels",
        "labels_all_sgd": "all, SGD",
        **{shift: shift.replace("_", " ") for shift in ("unchanged", *SHIFTS)},
    }
    return {key: name for key, name in names.items() if key in measured}


def text_table(results: Mapping[str, Mapping[str, Mapping]]) -> str:
    """The results as aligned lines of per cents: a line a measure and a column a source, to fit a terminal."""
    heads = {source: _in_two_lines(source) for source in results}
    widths = {source: max(len("99.9 ± 0.1"), *map(len, head)) + 2 for source, head in heads.items()}
    lines = [
        "".join([f"{name:<16}", *(f"{heads[source][i]:>{widths[source]}}" for source in results)])
        for i, name in enumerate(("", "test accuracy, %"))
    ]
    for key, name in columns(results).items():
        cells = [f"{name:<16}"]
        for source, row in results.items():
            text = per_cent(row[key]) if key in row else "–"
            if "±" not in text:
                text += " " * len(" ± 0.0")  # below the means of the others
            cells.append(f"{text:>{widths[source]}}")
        lines.append("".join(cells))
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _in_two_lines(text: str) -> tuple[str, str]:
    """Broken at the space that leaves the shortest lines; a single word is the second line."""
    words = text.split()
    breaks = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(len(words))]
    return min(breaks, key=lambda lines: max(map(len, lines)))


def write_results(path: Path, results: Mapping[str, object]) -> None:
    """Write a results file: JSON with the accuracies rounded to four digits."""
    content = json.dumps(rounded(results), indent=1, ensure_ascii=False)
    write_atomically(path, (content + "\n").encode())


def rounded(value: object) -> object:
    """As results files have it: at most four decimals, small numbers whole."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) and abs(value) >= 0.01 else value


class Stopwatch:
    """Seconds of named parts of a command."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Book the time since the last lap to ``name``."""
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0) + now - self._last, 1)
        self._last = now

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self._start, 1)
