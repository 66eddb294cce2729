"""The pictures that the report of a run and that of the demo share, each with its text and its description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from simclr_lib.augment import SimCLRAugment
from simclr_lib.data import ImageDataset
from simclr_lib.seeding import seeded
from simclr_lib.teaching.plots import plot_confusion, plot_embeddings, plot_neighbors, plot_training, plot_views
from simclr_lib.teaching.report import Picture


def picture_of_views(originals: Tensor, augment: SimCLRAugment, contrastive: bool = True) -> Picture:
    """Draw some images, uint8 [R, 3, H, W], with eight random views of each."""
    views = torch.stack([augment(originals, seeded(0, "report", i)) for i in range(8)], dim=1)
    learning = (
        "The network learns to tell which views come from the same image. No label is used."
        if contrastive
        else "The network learns the label of the image that a view comes from."
    )
    return Picture(
        "Two views of one image are all that SimCLR sees" if contrastive else "The network sees a new view every time",
        f"Each view is a random crop, perhaps flipped, with its colours jittered or gone. {learning}",
        plot_views(originals, views),
        f"{len(originals)} images in the first column; to the right of each, eight random views of it: crops with "
        "changed colours, some of them grey.",
    )


def picture_of_training(metrics: Sequence[Mapping[str, float]], num_negatives: int | None) -> Picture:
    """Draw the learning curves. The arguments are those of `plot_training`."""
    loss = "cross-entropy" if num_negatives is None else "contrastive loss"
    if any("validation_knn" in record for record in metrics):
        text = (
            f"Left: the {loss} of every step. Right: how often the nearest neighbours of an unseen image, in the "
            "features so far, have its class."
        )
        alt = "Two curves over the epochs of training: the loss, and the kNN accuracy on validation images."
    else:
        text, alt = f"The {loss} of every step.", "A curve of the loss over the epochs of training."
    return Picture("It learns", text, plot_training(metrics, num_negatives), alt)


def picture_of_embeddings(
    embeddings: Mapping[str, Tensor], trust: Mapping[str, float], shown: ImageDataset, title: str
) -> Picture:
    """Draw UMAP's projections of the shown images.

    Args:
        embeddings: kind of features → float [M, 2].
        trust: kind of features → trustworthiness of its projection.
        shown: M images.
        title: heading.
    """
    measured = ", ".join(f"{name} {value:.2f}" for name, value in trust.items())
    return Picture(
        title,
        f"{len(shown):,} images, projected to two dimensions by UMAP. Distances between clusters mean little. "
        "Trustworthiness, which is 1 where all neighbours in the picture are neighbours among the features too: "
        f"{measured}.",
        plot_embeddings(embeddings, shown.labels, shown.classes),
        f"Scatter plots of the same images by {' and by '.join(embeddings)}"
        + ("; each class has a colour and a marker." if shown.classes else "."),
    )


def picture_of_neighbors(
    queries: ImageDataset, bank: ImageDataset, features: Mapping[str, tuple[Tensor, Tensor]]
) -> Picture:
    """Draw the images of the bank that are nearest to some queries.

    Args:
        queries: Q images.
        bank: N other images.
        features: kind of features → (float [Q, D], float [N, D]).
    """
    count = min(6, len(bank))
    marks = "Green and ✓: same class. Red and ✗: another class. " if bool((queries.labels >= 0).any()) else ""
    return Picture(
        "What the network thinks is similar",
        f"The {count} images nearest to an image that is not among them. {marks}Pixels go by colour and place, which "
        "the augmentations change.",
        plot_neighbors(queries.images, queries.labels, bank.images, bank.labels, features, count),
        f"{len(queries)} images, each with its {count} nearest neighbours by {' and by '.join(features)}.",
    )


def picture_of_confusion(labels: Tensor, predicted: Tensor, classes: Sequence[str], method: str) -> Picture:
    """Draw the confusion matrix of predicted classes.

    Args:
        labels: int64 [M], the true classes.
        predicted: int64 [M].
        classes: class names.
        method: how the classes were predicted, such as "kNN".
    """
    confusion = torch.from_numpy(confusion_matrix(labels, predicted, labels=range(len(classes))))
    right = confusion.trace() / confusion.sum()
    return Picture(
        "Where it errs",
        f"Classes that {method} predicts for {len(labels):,} test images, in per cent of the true class.",
        plot_confusion(confusion, classes),
        f"Confusion matrix of {len(classes)} classes; {right:.0%} of the images lie on its diagonal.",
    )
