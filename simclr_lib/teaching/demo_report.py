"""The report of ``simclr demo``: pictures of the first seed's features, an explorer, and the table of all seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.data import ImageDataset
from simclr_lib.device import environment
from simclr_lib.evaluation import knn_predict, make_film, pixel_features, project, trustworthiness
from simclr_lib.files import write_atomically
from simclr_lib.models import SimCLR
from simclr_lib.recipes import EMBLEMS
from simclr_lib.results import Result, Table, columns, in_words
from simclr_lib.teaching.explorer import html_fragment, kinds_of_features, make_scene
from simclr_lib.teaching.pictures import (
    picture_of_confusion,
    picture_of_embeddings,
    picture_of_neighbors,
    picture_of_training,
    picture_of_views,
)
from simclr_lib.teaching.plots import plot_label_efficiency
from simclr_lib.teaching.report import Picture, accuracy_table, html_report
from simclr_lib.training import read_film, read_metrics

PAPER = (
    "T. Chen, S. Kornblith, M. Norouzi, G. Hinton: A Simple Framework for Contrastive Learning of Visual "
    "Representations, 2020, arXiv 2002.05709"
)


@dataclass(frozen=True)
class Exhibit:
    """The model, images and accuracies that the report shows.

    Attributes:
        model: the first seed's model.
        run_dir: the folder of the first seed's run, with its metrics and its film.
        seed: the first seed.
        train: the training images.
        shown: the test images that are shown; the film is of them.
        h_train: float32 [N, D], the model's features of the training images.
        table: the accuracies of all seeds.
        budgets: labels per class that are compared.
        steps: steps of training from scratch where labels are few.
    """

    model: SimCLR
    run_dir: Path
    seed: int
    train: ImageDataset
    shown: ImageDataset
    h_train: Tensor
    table: Table
    budgets: tuple[int, ...]
    steps: int


@dataclass(frozen=True)
class Drawn:
    """The report's pictures.

    Attributes:
        pictures: with titles and descriptions, in order.
        explorer: the embedding explorer as HTML.
        trust: kind of features → trustworthiness of its picture.
    """

    pictures: list[Picture]
    explorer: str
    trust: dict[str, float]


def draw(exhibit: Exhibit) -> Drawn:
    """Project the features of the shown images and draw everything that the report shows."""
    shown, train = exhibit.shown, exhibit.train
    kinds = kinds_of_features(exhibit.model, replace(EMBLEMS, seed=exhibit.seed), shown)
    h, pixels = kinds["SimCLR h"], kinds["pixels"]
    embeddings = {name: project(kinds[name]) for name in ("SimCLR h", "pixels")}
    trust = {name: trustworthiness(kinds[name], points) for name, points in embeddings.items()}
    first = torch.arange(6)  # images of six classes
    predicted = knn_predict(exhibit.h_train, train.labels, h)
    pictures = [
        picture_of_views(shown.images[first], EMBLEMS.augment(shown.image_size)),
        picture_of_training(read_metrics(exhibit.run_dir), 2 * EMBLEMS.batch_size - 2),
        picture_of_budgets(exhibit),
        picture_of_embeddings(embeddings, trust, shown, "The features fall into the classes"),
        picture_of_neighbors(
            shown.subset(first),
            train,
            {"SimCLR": (h[first], exhibit.h_train), "pixels": (pixels[first], pixel_features(train))},
        ),
        picture_of_confusion(shown.labels, predicted, shown.classes, "kNN"),
    ]
    frames = list(read_film(exhibit.run_dir, shown).items())
    every = 1 if len(frames) <= 8 else 2  # UMAP takes a second for each frame
    film = make_film("SimCLR h", dict(frames[::-every][::-1]), last=embeddings["SimCLR h"]) if frames else None
    explorer = html_fragment(make_scene(shown, kinds, embeddings, film=film, title="Emblems"))
    return Drawn(pictures, explorer, trust)


def picture_of_budgets(exhibit: Exhibit) -> Picture:
    """Draw the accuracy at every budget of labels, of SimCLR and of what it is compared with."""
    fewest = f"labels_{min(exhibit.budgets)}"
    return Picture(
        "Few labels go a long way",
        "A linear output head on frozen features, against the same network trained with labels from scratch on the "
        f"same images, for {exhibit.steps} steps where they are few. With more steps it would do better: notebook 5 "
        "measures how much.",
        plot_label_efficiency(exhibit.table, exhibit.budgets),
        f"Accuracy against labels per class. With {min(exhibit.budgets)}: "
        + ", ".join(f"{source} {in_words(row[fewest])}" for source, row in exhibit.table.items()),
    )


def write_report(out: Path, exhibit: Exhibit, drawn: Drawn, result: Result, device: torch.device) -> None:
    """Write the pictures as PNG files, and then report.html.

    Args:
        out: folder of the demo.
        exhibit: what is shown.
        drawn: its pictures, see `draw`.
        result: the content of results.json; seeds, settings and times are taken from it.
        device: the device that was trained on.
    """
    for number, picture in enumerate(drawn.pictures, 1):
        name = picture.title.lower().replace(" ", "-")
        write_atomically(out / "figures" / f"{number}-{name}.png", picture.png)
    fewest = min(exhibit.budgets)
    ours, supervised = exhibit.table["SimCLR"], exhibit.table["supervised"]
    seeds = f", mean ± standard deviation over {len(result.seeds)} seeds" if len(result.seeds) > 1 else ""
    where = environment(device)
    page = html_report(
        title="SimCLR on emblems",
        lead=f"A ResNet-18 of width {EMBLEMS.width}, pretrained for {result.config['epochs']} epochs on "
        f"{result.num_train:,} drawn images without a single label, then read out with a linear output head. All "
        f"numbers are test accuracies after the last epoch{seeds}.",
        tiles=[
            (in_words(ours["labels_all"]), "linear output head, all labels"),
            (in_words(ours[f"labels_{fewest}"]), f"with {fewest} labels per class"),
            (in_words(supervised[f"labels_{fewest}"]), f"trained from scratch on the same {fewest}"),
            (in_words(ours["knn"]), "kNN on the features, no head trained"),
        ],
        blocks=[
            (
                "Every source of features, every budget of labels",
                "Linear output heads on frozen features; “supervised” is the whole network trained with labels.",
                accuracy_table(exhibit.table, columns(exhibit.table)),
            ),
            (
                "Touch the features",
                f"{len(exhibit.shown):,} test images. Point at one, click it for its true neighbours, switch to other "
                "features, or watch the film of the training.",
                drawn.explorer,
            ),
        ],
        pictures=drawn.pictures,
        facts={
            "command": str(where["command"] or "simclr demo"),
            "machine": f"{where['device']}, {where['threads']} threads",
            "versions": f"torch {where['torch']}, torchvision {where['torchvision']}, Python {where['python']}",
            "time": ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items() if name != "total"),
            "seeds": ", ".join(map(str, result.seeds)),
            "paper": PAPER,
        },
    )
    write_atomically(out / "report.html", page.encode())
