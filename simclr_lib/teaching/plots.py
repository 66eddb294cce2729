"""Figures for notebooks and reports. Each function takes plain tensors or numbers and returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from simclr_lib.teaching.style import MARKERS, OKABE_ITO

INK = "#222222"
MAX_LEGEND = 20  # classes that a legend can name and that colours and markers can tell apart
SOURCE_STYLE = {  # how a source of features is drawn, wherever it is drawn
    "SimCLR": (OKABE_ITO["blue"], "o", "-"),
    "SimCLR, linear head": (OKABE_ITO["blue"], "o", "-"),
    "SimCLR, fine-tuned": (OKABE_ITO["sky blue"], "P", "-"),
    "supervised": (OKABE_ITO["vermillion"], "s", "--"),
    "supervised, as many views": (OKABE_ITO["orange"], "X", "--"),
    "supervised, crops and flips": (OKABE_ITO["bluish green"], "v", "--"),
    "random encoder": (OKABE_ITO["reddish purple"], "^", "-."),
    "pixels": (OKABE_ITO["black"], "D", ":"),
}


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, width_ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure of that size in inches, on white, with its axes in reading order."""
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width, height),
        dpi=150,
        layout="constrained",
        facecolor="white",
        squeeze=False,
        width_ratios=width_ratios,
    )
    plt.close(figure)  # it is shown where it is returned, not twice
    return figure, list(axes.flat)


def show_image(axes: Axes, image: Tensor, frame: str | None = None) -> None:
    """Draw one image, [3, H, W] uint8 or float in [0, 1], without ticks; with a coloured frame if given."""
    axes.imshow(image.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        spine.set_color(frame)
        spine.set_linewidth(3)


def plot_views(originals: Tensor, views: Tensor) -> Figure:
    """Originals in the first column, their random views beside them.

    Args:
        originals: [R, 3, H, W].
        views: [R, C, 3, S, S].
    """
    rows, columns = views.shape[:2]
    figure, axes = new_figure(1.0 * (columns + 1), 1.05 * rows, rows, columns + 1)
    for row in range(rows):
        show_image(axes[row * (columns + 1)], originals[row], frame=OKABE_ITO["orange"])
        for column in range(columns):
            show_image(axes[row * (columns + 1) + 1 + column], views[row, column])
    axes[0].set_title("image", fontsize=9, color=INK)
    axes[1 + columns // 2].set_title("random views", fontsize=9, color=INK)
    return figure


def tile(axes: Axes, images: Tensor, columns: int) -> None:
    """Draw many images of one size in a grid, as one picture: fast enough for a slider.

    Args:
        images: float [N, 3, S, S] in [0, 1].
        columns: images a row.
    """
    grid = make_grid(images.cpu(), nrow=columns, padding=2, pad_value=1.0)  # [3, rows·(S + 2) + 2, …]
    axes.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def plot_grid(rows: Mapping[str, Tensor], titles: Sequence[str] = ()) -> Figure:
    """Rows of images, each with its name.

    Args:
        rows: name → float [C, 3, S, S] in [0, 1], all of one shape.
        titles: of the columns.
    """
    columns, _, side, _ = next(iter(rows.values())).shape
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    figure, (axes,) = new_figure(1.5 + 0.8 * columns, 0.2 + 0.8 * len(rows) + 0.17 * lines)
    tile(axes, torch.cat(list(rows.values())), columns)
    centers = [2 + side / 2 + i * (side + 2) for i in range(max(len(rows), columns))]
    axes.set_yticks(centers[: len(rows)], list(rows), fontsize=10, color=INK)
    axes.set_xticks(centers[: len(titles)], list(titles), fontsize=9, color=INK)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    return figure


def show_crops(
    images: Tensor,
    boxes: Tensor,
    crops: Tensor,
    second_boxes: Tensor | None = None,
    second_crops: Tensor | None = None,
    titles: Sequence[str] = (),
) -> Figure:
    """Images with crop boxes on them; below, what is in the boxes.

    Args:
        images: [N, 3, H, W].
        boxes: int64 [N, 4]: top, left, height, width.
        crops: [N, 3, S, S].
        second_boxes, second_crops: of another view of each image.
        titles: of the images.
    """
    rows = [(boxes, crops, OKABE_ITO["vermillion"], "-")]
    if second_boxes is not None and second_crops is not None:
        rows.append((second_boxes, second_crops, OKABE_ITO["blue"], "--"))
    n = len(images)
    figure, axes = new_figure(1.0 * n, 1.05 * (1 + len(rows)) + 0.2, 1 + len(rows), n)
    for i in range(n):
        show_image(axes[i], images[i])
        if titles:
            axes[i].set_title(titles[i].replace(" ", "\n", 1), fontsize=8, color=INK)
        for row, (box, crop, color, line) in enumerate(rows, 1):
            top, left, height, width = (box[i] - torch.tensor([0.5, 0.5, 0, 0])).tolist()
            axes[i].add_patch(Rectangle((left, top), width, height, fill=False, color=color, lw=2, ls=line))
            show_image(axes[row * n + i], crop[i], frame=color)
    return figure


def plot_histogram(panels: Mapping[str, tuple[Tensor, Callable[[float], float], tuple[float, float]]]) -> Figure:
    """Histograms of samples beside the densities that they should have.

    Args:
        panels: title → (samples [N], density, (lowest, highest value)).
    """
    figure, axes_list = new_figure(9.5, 2.4, 1, len(panels))
    for axes, (title, (samples, density, (low, high))) in zip(axes_list, panels.items(), strict=True):
        margin = 0.1 * (high - low)  # what lies outside must show
        axes.hist(samples, bins=48, range=(low - margin, high + margin), density=True, color=OKABE_ITO["sky blue"])
        at = torch.linspace(low, high, 100).tolist()
        axes.plot(at, [density(value) for value in at], color=OKABE_ITO["vermillion"], lw=2, label="specified")
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_yticks([])
        tidy(axes)
    axes_list[0].legend(frameon=False, fontsize=8)
    return figure


def plot_variants(results: Mapping[str, Mapping[str, Mapping]], column: str, label: str) -> Figure:
    """The accuracy of each variant of a sweep: a dot a seed, mean and standard deviation.

    Args:
        results: variant → column → {"mean", "std", "values"}.
        column: the measure to draw.
        label: what it is.
    """
    rows = {name: row[column] for name, row in results.items() if column in row}
    figure, (axes,) = new_figure(7, 0.7 + 0.38 * len(rows))
    for i, figures in enumerate(rows.values()):
        axes.plot(figures["values"], [i] * len(figures["values"]), "o", color=OKABE_ITO["sky blue"], ms=5)
        axes.errorbar(
            figures["mean"], i, xerr=figures["std"], color=OKABE_ITO["blue"], marker="D", ms=6, capsize=4, lw=2
        )
        axes.annotate(f"{figures['mean']:.1%}", (1.01, i), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel=label)  # the first row on top
    tidy(axes)
    return figure


def plot_similarities(similarities: Tensor, views: Tensor) -> Figure:
    """The matrix of cosine similarities of a batch, its views along the sides, partners framed.

    Args:
        similarities: [2N, 2N].
        views: [2N, 3, S, S], the first views, then the second views.
    """
    count = len(views)
    figure, (axes,) = new_figure(7.2, 6.4)
    matrix = axes.imshow(similarities, cmap="cividis", vmin=-1, vmax=1)
    for i in range(count):
        partner = (i + count // 2) % count
        axes.add_patch(
            Rectangle((partner - 0.48, i - 0.48), 0.96, 0.96, fill=False, color=OKABE_ITO["vermillion"], lw=2.5)
        )
        axes.plot([i - 0.4, i + 0.4], [i - 0.4, i + 0.4], color="white", lw=1.5)
        for k in range(count):
            if k != i:
                value = float(similarities[i, k])
                axes.text(k, i, f"{value:.1f}", ha="center", va="center", fontsize=7, color="k" if value > 0.2 else "w")
        thumbnail = OffsetImage(views[i].permute(1, 2, 0).numpy(), zoom=0.75, interpolation="nearest")
        for xy, offset in (((i, -0.5), (0, 16)), ((-0.5, i), (-16, 0))):
            axes.add_artist(
                AnnotationBbox(
                    thumbnail, xy, xybox=offset, boxcoords="offset points", frameon=False, annotation_clip=False
                )
            )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("candidate k")
    axes.set_ylabel("anchor i", labelpad=34)
    figure.colorbar(matrix, label="cosine similarity", shrink=0.8)
    return figure


def plot_training(metrics: Sequence[Mapping[str, float]], num_negatives: int) -> Figure:
    """Loss and validation kNN accuracy over the epochs.

    Args:
        metrics: a run's lines, as `simclr_lib.training.read_metrics` gives them.
        num_negatives: 2N − 2; the loss of a network that cannot tell views apart is log(2N − 1).
    """
    figure, (loss_axes, knn_axes) = new_figure(9, 3.2, 1, 2)
    steps = [m for m in metrics if "loss" in m]
    looks = [m for m in metrics if "validation_knn" in m]
    loss_axes.plot([m["epoch"] for m in steps], [m["loss"] for m in steps], color=OKABE_ITO["sky blue"], lw=0.7)
    window = max(1, len(steps) // 50)
    losses = torch.tensor([m["loss"] for m in steps])
    if len(losses) >= window:
        smooth = losses.unfold(0, window, 1).mean(dim=1)
        epochs = [m["epoch"] for m in steps[window - 1 :]]
        loss_axes.plot(epochs, smooth, color=OKABE_ITO["blue"], lw=2, label=f"mean of {window} steps")
    chance = torch.tensor(num_negatives + 1.0).log().item()
    loss_axes.axhline(chance, color=OKABE_ITO["black"], ls=":", lw=1.2, label=f"all views alike: {chance:.2f}")
    loss_axes.set(xlabel="epoch", ylabel="NT-Xent loss")
    loss_axes.legend(frameon=False, fontsize=8)
    knn_axes.plot(
        [m["epoch"] for m in looks],
        [m["validation_knn"] for m in looks],
        color=OKABE_ITO["bluish green"],
        marker="o",
        ms=4,
    )
    knn_axes.set(xlabel="epoch", ylabel="kNN accuracy, validation images", ylim=(0, 1))
    for axes in (loss_axes, knn_axes):
        tidy(axes)
    return figure


def plot_label_efficiency(results: Mapping[str, Mapping[str, Mapping]], budgets: Sequence[int]) -> Figure:
    """Accuracy against labels per class, one line a source, with the standard deviation as a bar.

    Args:
        results: source → {"labels_all": …, "labels_10": …} of {"mean", "std"}.
        budgets: labels per class; all labels come last.
    """
    figure, (axes,) = new_figure(7, 4)
    ticks = [*map(str, budgets), "all"]
    keys = [*(f"labels_{b}" for b in budgets), "labels_all"]
    for source, (color, marker, line) in SOURCE_STYLE.items():
        figures = [(i, results[source][key]) for i, key in enumerate(keys) if key in results.get(source, {})]
        if not figures:
            continue
        axes.errorbar(
            [i for i, _ in figures],
            [f["mean"] for _, f in figures],
            yerr=[f["std"] for _, f in figures],
            color=color,
            marker=marker,
            ls=line,
            lw=2,
            ms=7,
            capsize=4,
            label=source,
        )
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set(xlabel="labels per class", ylabel="test accuracy", ylim=(0, 1.02))
    tidy(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_by_test_set(results: Mapping[str, Mapping[str, Mapping]], names: Mapping[str, str]) -> Figure:
    """Accuracy on several test sets: a line a set, a marker a source, with the standard deviation as a bar.

    Args:
        results: source → column → {"mean", "std"}.
        names: column → what to call that test set.
    """
    sources = [source for source in SOURCE_STYLE if source in results]
    figure, (axes,) = new_figure(8, 1.2 + 0.45 * len(names))
    for number, source in enumerate(sources):
        color, marker, _ = SOURCE_STYLE[source]
        figures = [results[source][column] for column in names]
        above = 0.11 * (number - (len(sources) - 1) / 2)  # so that equal values do not hide each other
        axes.errorbar(
            [f["mean"] for f in figures],
            [i + above for i in range(len(names))],
            xerr=[f["std"] for f in figures],
            color=color,
            marker=marker,
            ls="",
            ms=7,
            capsize=3,
            label=source,
        )
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="test accuracy")
    tidy(axes)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def plot_embeddings(pictures: Mapping[str, Tensor], labels: Tensor, classes: Sequence[str]) -> Figure:
    """Scatter plots side by side, colour and marker by class; up to 20 classes are named in a legend.

    Args:
        pictures: title → float [N, 2].
        labels: int64 [N].
        classes: names.
    """
    figure, axes_list = new_figure(5.2 * len(pictures), 5.0, 1, len(pictures))
    for axes, (title, points) in zip(axes_list, pictures.items(), strict=True):
        scatter_classes(axes, points, labels, classes)
        axes.set_title(title, fontsize=11, color=INK)
    if len(classes) <= MAX_LEGEND:
        figure.legend(
            *axes_list[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=min(5, len(classes)),
            frameon=False,
            markerscale=2,
            fontsize=9,
        )
    else:
        figure.supxlabel(f"{len(classes)} classes; colours and markers repeat", fontsize=9, color=INK)
    return figure


def scatter_classes(axes: Axes, points: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
    """One scatter a class: colour and marker together tell classes apart, also without colour vision."""
    colors = list(OKABE_ITO.values())
    for label, name in enumerate(classes):
        rows = labels == label
        axes.scatter(
            points[rows, 0],
            points[rows, 1],
            s=12,
            color=colors[label % len(colors)],
            marker=MARKERS[label % len(MARKERS)],
            alpha=0.75,
            lw=0,
            label=name,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#cccccc")


def plot_neighbors(
    queries: Tensor,
    query_labels: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    features: Mapping[str, tuple[Tensor, Tensor]],
    count: int = 6,
) -> Figure:
    """The nearest training images of some test images, in each feature space.

    Args:
        queries: images [Q, 3, H, W], with labels int64 [Q].
        bank: images [N, 3, H, W], with labels int64 [N].
        features: name → (features of the queries [Q, D], of the bank [N, D]).
        count: neighbours a query.
    """
    blocks = len(features)
    columns = 1 + blocks * count
    figure, axes = new_figure(0.72 * columns, 0.8 * len(queries) + 0.5, len(queries), columns)
    for row in range(len(queries)):
        show_image(axes[row * columns], queries[row], frame=OKABE_ITO["orange"])
    axes[0].set_title("query", fontsize=9, color=INK)
    for block, (name, (of_queries, of_bank)) in enumerate(features.items()):
        similarity = F.normalize(of_queries, dim=1) @ F.normalize(of_bank, dim=1).T
        nearest = similarity.topk(count, dim=1).indices  # [Q, count]
        for row in range(len(queries)):
            for rank, index in enumerate(nearest[row].tolist()):
                cell = axes[row * columns + 1 + block * count + rank]
                right = bool(bank_labels[index] == query_labels[row])
                show_image(cell, bank[index], OKABE_ITO["bluish green" if right else "vermillion"])
                cell.set_xlabel("✓" if right else "✗", fontsize=8, labelpad=1)
        axes[1 + block * count + count // 2].set_title(f"nearest by {name}", fontsize=9, color=INK)
    return figure


def plot_confusion(matrix: Tensor, classes: Sequence[str]) -> Figure:
    """Rows are true classes, columns predicted ones, in per cent of the row.

    Args:
        matrix: int64 [C, C] counts.
        classes: names.
    """
    share = 100 * matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    figure, (axes,) = new_figure(0.5 * len(classes) + 2.4, 0.5 * len(classes) + 1.6)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for i in range(len(classes)):
        for j in range(len(classes)):
            if share[i, j] >= 0.5:
                color = "white" if share[i, j] > 55 else INK
                axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def tidy(axes: Axes) -> None:
    """The house style of a chart: no box, a faint grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e5e5", lw=0.8)
    axes.set_axisbelow(True)
