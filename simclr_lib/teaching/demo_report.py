"""The report of ``simclr demo``: pictures of the first seed's features, an explorer, and the table of all seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.data import ImageDataset
from simclr_lib.device import environment
from simclr_lib.errors import counted
from simclr_lib.evaluation import Film, knn_predict, make_film, pixel_features, project, trustworthiness
from simclr_lib.files import write_atomically
from simclr_lib.models import SimCLR
from simclr_lib.recipes import DEMO
from simclr_lib.results import Result, Table, columns, in_words
from simclr_lib.teaching.explorer import kinds_of_features, make_scene
from simclr_lib.teaching.page import About
from simclr_lib.teaching.pictures import (
    picture_of_confusion,
    picture_of_embeddings,
    picture_of_neighbors,
    picture_of_training,
    picture_of_views,
    section_of_explorer,
)
from simclr_lib.teaching.plots import plot_label_efficiency
from simclr_lib.teaching.report import Picture, Report, Section, accuracy_table, comparison, facts_of
from simclr_lib.training import read_film, read_metrics, untrained_knn


@dataclass(frozen=True)
class Exhibit:
    """The model and the images that the report shows.

    Attributes:
        model: the first seed's model.
        run_dir: the folder of the first seed's run, with its metrics and its film.
        seed: the first seed.
        train: the training images.
        shown: the test images that are shown; the film is of them.
        h_train: float32 [N, D], the model's features of the training images.
    """

    model: SimCLR
    run_dir: Path
    seed: int
    train: ImageDataset
    shown: ImageDataset
    h_train: Tensor


@dataclass(frozen=True)
class Drawn:
    """The parts of the report that show the first seed's features: they are drawn once, before all is measured.

    Attributes:
        explorer: the embedding explorer, with the film.
        pictures: with titles and descriptions, in order.
        film: the film of the training; a single moment where none was kept.
        shown: the images that explorer and film show.
        trust: kind of features → trustworthiness of its picture.
    """

    explorer: Section
    pictures: list[Picture]
    film: Film
    shown: ImageDataset
    trust: dict[str, float]


def draw(exhibit: Exhibit) -> Drawn:
    """Project the features of the shown images and draw everything that shows them."""
    shown, train = exhibit.shown, exhibit.train
    config = replace(DEMO, seed=exhibit.seed)
    kinds = kinds_of_features(exhibit.model, config, shown)
    h, pixels = kinds["SimCLR h"], kinds["pixels"]
    embeddings = {name: project(kinds[name]) for name in ("SimCLR h", "pixels")}
    trust = {name: trustworthiness(kinds[name], points) for name, points in embeddings.items()}
    first = torch.arange(6)  # images of six classes
    predicted = knn_predict(exhibit.h_train, train.labels, h)
    num_views = 2 * DEMO.batch_size
    pictures = [
        picture_of_views(shown.images[first], DEMO.augment(shown.image_size), num_views),
        picture_of_training(read_metrics(exhibit.run_dir), num_views - 2, untrained_knn(train, config)),
        picture_of_embeddings(embeddings, trust, shown, "Features and pixels in two dimensions"),
        picture_of_neighbors(
            shown.subset(first),
            train,
            {"SimCLR": (h[first], exhibit.h_train), "pixels": (pixels[first], pixel_features(train))},
        ),
        picture_of_confusion(shown.labels, predicted, shown.classes, "kNN"),
    ]
    frames = read_film(exhibit.run_dir, shown) or {"now": h}
    film = make_film("SimCLR h", frames, last=embeddings["SimCLR h"])
    scene = make_scene(shown, kinds, embeddings, film=film, title="Emblems")
    explorer = section_of_explorer(scene, counted(len(shown), "test image"), moves=True)
    return Drawn(explorer, pictures, film, shown, trust)


def picture_of_budgets(table: Table, budgets: tuple[int, ...], steps: int) -> Picture:
    """Draw the accuracy at every budget of labels, of SimCLR and of what it is compared with.

    Args:
        table: source → column → accuracy.
        budgets: labels per class that are compared.
        steps: steps of training from scratch where labels are few.
    """
    few = f"labels_{min(budgets)}"
    measured = {source: in_words(row[few]) for source, row in table.items()}
    return Picture(
        "What labels add",
        f"With {min(budgets)} labels per class, a linear head on SimCLR's features reaches {measured['SimCLR']}; the "
        f"same network, trained from scratch with these labels, reaches {measured['supervised']}.",
        f"Training from scratch takes {steps} steps where labels are few. With more steps it would do better: notebook "
        "5 measures how much.",
        plot_label_efficiency(table, budgets),
        f"Accuracy against labels per class. With {min(budgets)}: "
        + ", ".join(f"{source} {number}" for source, number in measured.items()),
    )


def make_report(drawn: Drawn, result: Result, labelled: Picture | None, device: torch.device) -> Report:
    """Put the report together.

    Args:
        drawn: what shows the features, see `draw`.
        result: the content of results.json; the numbers, seeds, settings and times are taken from it.
        labelled: the comparison with training from scratch, see `picture_of_budgets`. As long as it is None, the
            page says that it is not complete.
        device: the device that was trained on.
    """
    table: Table = {source: dict(row) for source, row in result.results.items()}
    seeds = f", mean ± standard deviation over {len(result.seeds)} seeds" if len(result.seeds) > 1 else ""
    lead = (
        "SimCLR trains a network to recognise which two altered copies were made from the same image. Here a ResNet-18 "
        f"of width {DEMO.width} was trained in this way for {result.config['epochs']} epochs. Afterwards, linear "
        f"heads read the classes from its features. All accuracies are of {result.num_test:,} test images, after the "
        f"last epoch{seeds}."
    )
    if labelled is None:
        lead += " This page is not complete yet: the demo is still training with labels, for comparison."
    text = (
        "Linear heads on frozen features, and kNN; “10 per class” means with 10 labels per class. Supervised is the "
        "whole network, trained with labels."
    )
    sections = [
        drawn.explorer,
        Section("Accuracy", comparison(table), text, accuracy_table(table, columns(table))),
        *([labelled.section] if labelled else []),
        *(picture.section for picture in drawn.pictures),
    ]
    title = f"What a neural network learns from {result.num_train:,} drawings without labels"
    tiles = _tiles(table)
    *most, last = [f"{number} {label}" for number, label in tiles]
    summary = f"Test accuracy: {', '.join(most)} and {last}."
    about = About(title, "SimCLR on emblems", lead, summary)
    return Report(about, tiles, sections, _facts(result, device), drawn.film, drawn.shown)


def _tiles(table: Table) -> list[tuple[str, str]]:
    """The headline numbers, as far as they are measured."""
    ours, supervised = table["SimCLR"], table.get("supervised", {})
    budgets = [column for column in columns(table) if column.startswith("labels_") and column[7:].isdecimal()]
    fewest = budgets[0].removeprefix("labels_")
    tiles = [
        (in_words(ours["labels_all"]), "linear head, all labels"),
        (in_words(ours[budgets[0]]), f"linear head, {fewest} labels per class"),
    ]
    if supervised:
        tiles.append((in_words(supervised[budgets[0]]), f"from scratch, the same {fewest} labels per class"))
    return [*tiles, (in_words(ours["knn"]), "kNN on the features, no head trained")]


def _facts(result: Result, device: torch.device) -> Mapping[str, str]:
    return {
        "command": "simclr demo",  # unless the environment names another one
        **facts_of(environment(device)),
        "time": ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items() if name != "total"),
        "seeds": ", ".join(map(str, result.seeds)),
    }


def write_figures(folder: Path, pictures: list[Picture]) -> None:
    """Write the pictures as PNG files."""
    for number, picture in enumerate(pictures, 1):
        write_atomically(folder / f"{number}-{picture.title.lower().replace(' ', '-')}.png", picture.png)
