"""The pictures that the report of a run and that of the demo share, each with its conclusion and its description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from simclr_lib.augment import SimCLRAugment
from simclr_lib.data import ImageDataset
from simclr_lib.errors import counted, percentage
from simclr_lib.evaluation import nearest_neighbors
from simclr_lib.seeding import seeded
from simclr_lib.teaching.explorer import Scene, conclusion_of, html_fragment
from simclr_lib.teaching.plots import plot_confusion, plot_embeddings, plot_neighbors, plot_training, plot_views
from simclr_lib.teaching.report import Picture, Section


def section_of_explorer(scene: Scene, images: str, moves: bool) -> Section:
    """Make the part of a page that holds an embedding explorer.

    Args:
        scene: what it shows, see `make_scene`.
        images: the images in words, such as "600 test images".
        moves: whether it shows how the features developed.
    """
    film = " Play the training to see them move while the network learns." if moves else ""
    return Section(
        "Explore the features",
        conclusion_of(scene),
        f"Each point is one of {images}.{film} Point at one to see it, click it for its true neighbours, zoom in to "
        "see the images themselves, or switch to other features.",
        html_fragment(scene),
    )


def picture_of_views(originals: Tensor, augment: SimCLRAugment, num_views: int | None) -> Picture:
    """Draw some images, uint8 [R, 3, H, W], with eight random views of each.

    Args:
        originals: the images.
        augment: makes the views.
        num_views: views in a batch, 2N; None for training with labels.
    """
    views = torch.stack([augment(originals, seeded(0, "report", i)) for i in range(8)], dim=1)
    if num_views is None:
        title = "The network sees a new view every time"
        conclusion = "In every epoch the network sees another view of each image, and learns the label of the image."
    else:
        title = "Two views of one image are all that SimCLR sees"
        conclusion = (
            f"For each of {num_views:,} views in a batch, the network has to find the one among the {num_views - 1:,} "
            "others that shows the same image. No label is used."
        )
    return Picture(
        title,
        conclusion,
        "Each view is a random crop, perhaps flipped, with its colours changed or removed.",
        plot_views(originals, views),
        f"{len(originals)} images in the first column; to the right of each, eight random views of it: crops with "
        "changed colours, some of them grey.",
    )


def picture_of_training(
    metrics: Sequence[Mapping[str, float]], num_negatives: int | None, untrained: float | None = None
) -> Picture:
    """Draw the learning curves. The arguments are those of `plot_training`."""
    loss = "cross-entropy" if num_negatives is None else "contrastive loss"
    losses = [record["loss"] for record in metrics if "loss" in record]
    looks = [record["validation_knn"] for record in metrics if "validation_knn" in record]
    change = _rose_or_fell(losses[0], losses[-1])
    conclusion = f"The {loss} {change} from {losses[0]:.2f} in the first step to {losses[-1]:.2f} in the last"
    if looks and untrained is not None:
        change = _rose_or_fell(untrained, looks[-1])
        before, after = percentage(untrained), percentage(looks[-1])
        conclusion += f"; the kNN accuracy {change} from {before} before training to {after} at the last measurement"
    elif len(looks) > 1:
        change = _rose_or_fell(looks[0], looks[-1])
        conclusion += f"; the kNN accuracy {change} from {percentage(looks[0])} at the first measurement "
        conclusion += f"to {percentage(looks[-1])} at the last"
    if looks:
        text = (
            f"Left: the {loss} of every step. Right: how often a vote of the nearest neighbours of an unseen image, in "
            "the features so far, gives its class."
        )
        alt = "Two curves over the epochs of training: the loss, and the kNN accuracy on validation images"
        alt += "." if untrained is None else ", beside a dotted line for the untrained network."
    else:
        text, alt = f"The {loss} of every step.", "A curve of the loss over the epochs of training."
    return Picture("How it learned", f"{conclusion}.", text, plot_training(metrics, num_negatives, untrained), alt)


def _rose_or_fell(first: float, last: float) -> str:
    return "rose" if last > first else "fell" if last < first else "went"


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
    measured = ", ".join(f"{name} {value:.3f}" for name, value in trust.items())
    together = {name: beside_its_class(points, shown.labels) for name, points in embeddings.items()}
    shares = " and ".join(
        f"for {percentage(share)} of the points by {name}" for name, share in together.items() if share is not None
    )
    conclusion = f"The nearest point shows the same class {shares}." if shares else ""
    return Picture(
        title,
        conclusion,
        f"{counted(len(shown), 'image')}, projected to two dimensions by UMAP. Distances between clusters mean little. "
        "Trustworthiness, which is 1 where all neighbours in the picture are neighbours among the features too: "
        f"{measured}.",
        plot_embeddings(embeddings, shown.labels, shown.classes),
        f"Scatter plots of the same images by {' and by '.join(embeddings)}"
        + ("; each class has a colour and a marker." if shown.classes else "."),
    )


def beside_its_class(points: Tensor, labels: Tensor) -> float | None:
    """The share of points, float [N, 2], whose nearest other point has their label; None without labels, int64 [N]."""
    rows = (labels >= 0).nonzero().flatten()
    if len(rows) < 2:
        return None
    distance = torch.cdist(points[rows], points[rows]).fill_diagonal_(torch.inf)
    return float((labels[rows][distance.argmin(dim=1)] == labels[rows]).float().mean())


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
    total = count * len(queries)
    nearest = {
        name: nearest_neighbors(others, asked, count)[1] for name, (asked, others) in features.items()
    }  # [Q, count]
    marks, conclusion = "", ""
    if bool((queries.labels >= 0).all()):
        marks = "Green and ✓: same class. Red and ✗: another class. "
        hits = {name: int((bank.labels[rows] == queries.labels[:, None]).sum()) for name, rows in nearest.items()}
        found = " and ".join(f"{number} by {name}" for name, number in hits.items())
        conclusion = f"Of {total} neighbours, {found} show the same class as their query."
    elif len(nearest) > 1:
        first, second, *_ = nearest
        shared = int((nearest[first][:, :, None] == nearest[second][:, None, :]).sum())
        conclusion = f"Of {total} neighbours by {first}, {shared} are neighbours by {second} too."
    return Picture(
        "What the network thinks is similar",
        conclusion,
        f"Each row shows an image and the {count} other images that are nearest to it. {marks}Pixels compare colour "
        "and place, which the augmentations change.",
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
    right = float(confusion.trace() / confusion.sum())
    wrong = confusion - confusion.diag().diag()
    conclusion = f"{percentage(right, 1)} of {counted(len(labels), 'test image')} get the right class from {method}"
    if wrong.any():
        true, taken = divmod(int(wrong.argmax()), len(classes))
        conclusion += f"; the most frequent mistake is to take {classes[true]} for {classes[taken]}"
        conclusion += f" ({wrong[true, taken]} of {confusion[true].sum()})"
    return Picture(
        "Where the network is wrong",
        f"{conclusion}.",
        f"Each row shows what {method} predicts for the images of one true class, in per cent of these images.",
        plot_confusion(confusion, classes),
        f"Confusion matrix of {len(classes)} classes; {percentage(right)} of the images lie on its diagonal.",
    )
