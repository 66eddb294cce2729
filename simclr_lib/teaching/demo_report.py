"""The report of ``simclr demo``: pictures of the first seed's features, an explorer, and the table of all seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from simclr_lib.data import ImageDataset
from simclr_lib.device import environment
from simclr_lib.evaluation import knn_predict, make_film, pixel_features, project, trustworthiness
from simclr_lib.files import write_atomically
from simclr_lib.models import SimCLR
from simclr_lib.recipes import EMBLEMS
from simclr_lib.results import Result, Table, columns, in_words
from simclr_lib.seeding import seeded
from simclr_lib.teaching.explorer import html_fragment, kinds_of_features, make_scene
from simclr_lib.teaching.plots import (
    plot_confusion,
    plot_embeddings,
    plot_label_efficiency,
    plot_neighbors,
    plot_training,
    plot_views,
)
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
    shown = exhibit.shown
    kinds = kinds_of_features(exhibit.model, replace(EMBLEMS, seed=exhibit.seed), shown)
    embeddings = {name: project(kinds[name]) for name in ("SimCLR h", "pixels")}
    trust = {name: trustworthiness(kinds[name], points) for name, points in embeddings.items()}
    pictures = [
        *pictures_of_training(exhibit),
        picture_of_embeddings(embeddings, trust, shown),
        *pictures_of_neighbors(exhibit, kinds["SimCLR h"], kinds["pixels"]),
    ]
    frames = list(read_film(exhibit.run_dir, shown).items())
    every = 1 if len(frames) <= 8 else 2  # UMAP takes a second for each frame
    film = make_film("SimCLR h", dict(frames[::-every][::-1]), last=embeddings["SimCLR h"]) if frames else None
    explorer = html_fragment(make_scene(shown, kinds, embeddings, film=film, title="Emblems"))
    return Drawn(pictures, explorer, trust)


def pictures_of_training(exhibit: Exhibit) -> list[Picture]:
    """The views that SimCLR sees, its learning curves, and its accuracy at every budget of labels."""
    originals = exhibit.shown.images[:6]
    augment = EMBLEMS.augment(exhibit.shown.image_size)
    views = torch.stack([augment(originals, seeded(0, "report", i)) for i in range(8)], dim=1)
    fewest = f"labels_{min(exhibit.budgets)}"
    return [
        Picture(
            "Two views of one image are all that SimCLR sees",
            "Each view is a random crop, perhaps flipped, with its colours jittered or gone. The network learns to "
            "tell which views come from the same image. No label is used.",
            plot_views(originals, views),
            "Six emblems in the first column; to the right of each, eight random views of it: crops with changed "
            "colours, some of them grey.",
        ),
        Picture(
            "It learns",
            "Left: the contrastive loss of every step. Right: how often the nearest neighbours of an unseen image, "
            "in the features so far, have its class.",
            plot_training(read_metrics(exhibit.run_dir), 2 * EMBLEMS.batch_size - 2),
            "Two curves over the epochs of pretraining: the loss, and the kNN accuracy on validation images.",
        ),
        Picture(
            "Few labels go a long way",
            "A linear output head on frozen features, against the same network trained with labels from scratch on "
            f"the same images, for {exhibit.steps} steps where they are few. With more steps it would do better: "
            "notebook 5 measures how much.",
            plot_label_efficiency(exhibit.table, exhibit.budgets),
            f"Accuracy against labels per class. With {min(exhibit.budgets)}: "
            + ", ".join(f"{source} {in_words(row[fewest])}" for source, row in exhibit.table.items()),
        ),
    ]


def picture_of_embeddings(embeddings: dict[str, Tensor], trust: dict[str, float], shown: ImageDataset) -> Picture:
    """Projections [M, 2] of the shown images, by kind of features."""
    return Picture(
        "The features fall into the classes",
        "A thousand test images, projected to two dimensions by UMAP. Distances between clusters mean little. "
        "Trustworthiness, which is 1 where all neighbours in the picture are neighbours among the features too, is "
        f"{trust['SimCLR h']:.2f} (pixels: {trust['pixels']:.2f}).",
        plot_embeddings(embeddings, shown.labels, shown.classes),
        "Two scatter plots of the same images, by SimCLR's features and by pixels; each class has a colour and a "
        "marker.",
    )


def pictures_of_neighbors(exhibit: Exhibit, h_shown: Tensor, pixels_shown: Tensor) -> list[Picture]:
    """The nearest training images of some test images, and the confusions of kNN.

    Args:
        exhibit: see `Exhibit`.
        h_shown: float32 [M, D], the model's features of the shown images.
        pixels_shown: float32 [M, 3·H·W], the shown images as features.
    """
    train, shown, h_train = exhibit.train, exhibit.shown, exhibit.h_train
    predicted = knn_predict(h_train, train.labels, h_shown)
    confusion = torch.from_numpy(confusion_matrix(shown.labels, predicted, labels=range(len(shown.classes))))
    queries = slice(0, 6)  # images of six classes
    return [
        Picture(
            "What the network thinks is similar",
            "The six training images nearest to a test image. Green and ✓: same class. Red and ✗: another class. "
            "Pixels go by colour, which the augmentations made useless to SimCLR.",
            plot_neighbors(
                shown.images[queries],
                shown.labels[queries],
                train.images,
                train.labels,
                {"SimCLR": (h_shown[queries], h_train), "pixels": (pixels_shown[queries], pixel_features(train))},
            ),
            "Six query emblems, each with its six nearest neighbours by SimCLR's features and the six by pixels.",
        ),
        Picture(
            "Where it errs",
            "kNN predictions for the thousand test images, in per cent of the true class.",
            plot_confusion(confusion, shown.classes),
            f"Confusion matrix of the ten classes; {confusion.trace() / confusion.sum():.0%} of the images lie on its "
            "diagonal.",
        ),
    ]


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
