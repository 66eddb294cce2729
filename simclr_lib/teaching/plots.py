"""Figures for notebooks and reports. Each function takes plain tensors or numbers and returns a matplotlib figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.ticker import FuncFormatter
from scipy.stats import t as student_t
from torch import Tensor
from torchvision.utils import make_grid

from simclr_lib.augment import to_unit_range
from simclr_lib.data.labels import check_labels
from simclr_lib.errors import percentage
from simclr_lib.evaluation import nearest_neighbors
from simclr_lib.evaluation.projection import check_picture
from simclr_lib.teaching.style import MARKERS, OKABE_ITO, class_look, drawn

INK = "#222222"
MAX_LEGEND = 20  # classes that a legend can name and that colours and markers can tell apart
MAX_COLUMNS = 3  # scatter plots in a row, so that the points of each can be told apart
NO_CLASS = "no class"
SOURCE_STYLE = {  # colour, marker and line of each source of features, the same in every figure
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
    """A white figure, its size in inches, with its axes in reading order."""
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
    plt.close(figure)  # otherwise a notebook would show it a second time
    return figure, list(axes.flat)


def show_image(axes: Axes, image: Tensor, frame: str | None = None) -> None:
    """Draw one image, uint8 [3, H, W] or float in [0, 1], without ticks, and with a frame if its colour is given."""
    axes.imshow(image.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        spine.set_color(frame)
        spine.set_linewidth(3)


def plot_views(originals: Tensor, views: Tensor) -> Figure:
    """Originals in the first column and their random views beside them.

    Args:
        originals: uint8 [R, 3, H, W], or float in [0, 1].
        views: float [R, C, 3, S, S] in [0, 1].
    """
    rows, columns = views.shape[:2]
    figure, (axes,) = new_figure(columns + 1, rows + 0.25)
    for row in range(rows):
        _thumbnail(axes, originals[row], (0, -row), 0.92, OKABE_ITO["orange"])
        for column in range(columns):
            _thumbnail(axes, views[row, column], (1 + column, -row), 0.92)
    for x, heading in ((0, "image"), ((1 + columns) / 2, "random views")):
        axes.text(x, 0.6, heading, ha="center", fontsize=9, color=INK)
    axes.set(xlim=(-0.5, columns + 0.5), ylim=(0.5 - rows, 0.75), aspect="equal")
    axes.axis("off")
    return figure


def plot_idea(images: Tensor, views: Tensor) -> Figure:
    """SimCLR in one picture: two images, two views of each, one network, and four embeddings on a circle.

    Args:
        images: uint8 [2, 3, H, W].
        views: float [2, 2, 3, S, S] in [0, 1]; the second index is the view.
    """
    figure, (axes,) = new_figure(9, 4.7)
    axes.set(xlim=(0, 10.4), ylim=(0, 5.4), aspect="equal")
    axes.axis("off")
    center, radius = (8.6, 2.5), 1.35
    colors = [OKABE_ITO["blue"], OKABE_ITO["orange"]]
    angles = [[115, 65], [245, 295]]  # degrees: the partners of an image lie beside each other

    def arrow(start: tuple[float, float], end: tuple[float, float], color: str = INK, style: str = "-|>") -> None:
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=13, color=color, lw=1.6))

    for i, color in enumerate(colors):
        y = 3.75 - 2.5 * i
        _thumbnail(axes, images[i], (1.0, y), 1.7, color)
        for j in range(2):
            height = y + 0.6 - 1.2 * j
            arrow((1.95, y), (2.75, height))
            _thumbnail(axes, views[i, j], (3.4, height), 1.05, color)
            arrow((4.05, height), (4.75, 2.5 + 0.35 * (height - 2.5)))
            turn = math.radians(angles[i][j])
            x, y_point = center[0] + radius * math.cos(turn), center[1] + radius * math.sin(turn)
            axes.plot(x, y_point, MARKERS[i], color=color, ms=9, zorder=3)
            outside = (center[0] + 1.5 * radius * math.cos(turn), center[1] + 1.42 * radius * math.sin(turn))
            _thumbnail(axes, views[i, j], outside, 0.85, color)
    for x, heading in ((1.0, "two images"), (3.4, "two views of each"), (5.55, "one network"), (8.6, "embeddings")):
        axes.text(x, 5.2, heading, ha="center", va="center", color=INK, fontsize=11)
    axes.add_patch(Rectangle((4.8, 1.3), 1.5, 2.4, facecolor="#e8f1f8", edgecolor=INK))
    axes.text(5.55, 2.5, "f, then g", ha="center", va="center", color=INK, fontsize=11, style="italic")
    arrow((6.35, 2.5), (7.05, 2.5))
    axes.add_patch(Circle(center, radius, fill=False, color="#999999", lw=1.2))
    green, red = OKABE_ITO["bluish green"], OKABE_ITO["vermillion"]
    for side in (1, -1):
        y = center[1] + 0.88 * side * radius
        for end in (-1, 1):
            arrow((center[0] + 0.42 * end, y), (center[0] + 0.02 * end, y), green)
        axes.text(center[0], y - 0.25 * side, "pull together", ha="center", va="center", color=green, fontsize=9)
    arrow((center[0], center[1] + 0.7), (center[0], center[1] - 0.7), red, "<|-|>")
    axes.text(center[0] + 0.15, center[1], "push apart", va="center", color=red, fontsize=9)
    return figure


def _thumbnail(axes: Axes, image: Tensor, center: tuple[float, float], side: float, frame: str | None = None) -> None:
    """Draw a square image of that side around a point of the axes, with a frame if its colour is given.

    Axes of their own for each of many images would take far longer to draw.
    """
    left, bottom = center[0] - side / 2, center[1] - side / 2
    extent = (left, left + side, bottom, bottom + side)
    smoothing = "nearest" if image.shape[-1] <= 64 else None  # the pixels of small images can be seen
    axes.imshow(image.permute(1, 2, 0).cpu().numpy(), extent=extent, interpolation=smoothing, zorder=2)
    if frame:
        axes.add_patch(Rectangle((left, bottom), side, side, fill=False, color=frame, lw=2, zorder=3))


def tile(axes: Axes, images: Tensor, columns: int) -> None:
    """Draw many images of one size in a grid, as one picture, which is fast enough for a slider.

    Args:
        images: uint8 [N, 3, S, S], or float in [0, 1].
        columns: images per row.
    """
    grid = make_grid(to_unit_range(images.cpu()), nrow=columns, padding=2, pad_value=1.0)  # [3, rows·(S + 2) + 2, …]
    axes.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def plot_grid(rows: Mapping[str, Tensor], titles: Sequence[str] = ()) -> Figure:
    """Rows of images, each row with its name.

    Args:
        rows: name → uint8 [C, 3, S, S], or float in [0, 1], all of one shape.
        titles: headings of the columns.
    """
    columns, _, side, _ = next(iter(rows.values())).shape
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    figure, (axes,) = new_figure(1.5 + 0.8 * columns, 0.2 + 0.8 * len(rows) + 0.2 * lines)
    tile(axes, torch.cat(list(rows.values())), columns)
    centers = [2 + side / 2 + i * (side + 2) for i in range(max(len(rows), columns))]
    axes.set_yticks(centers[: len(rows)], [drawn(name) for name in rows], fontsize=10, color=INK)
    axes.set_xticks(centers[: len(titles)], [drawn(title) for title in titles], fontsize=9, color=INK)
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
    """Images with a crop box on each, and the crops below them.

    Args:
        images: uint8 [N, 3, H, W], or float in [0, 1].
        boxes: int64 [N, 4]: top, left, height, width.
        crops: float [N, 3, S, S] in [0, 1].
        second_boxes, second_crops: the box and the crop of another view of each image, of the same shapes.
        titles: headings of the images.
    """
    rows = [(boxes, crops, OKABE_ITO["vermillion"], "-")]
    if second_boxes is not None and second_crops is not None:
        rows.append((second_boxes, second_crops, OKABE_ITO["blue"], "--"))
    n = len(images)
    figure, axes = new_figure(1.0 * n, 1.05 * (1 + len(rows)) + 0.2, 1 + len(rows), n)
    for i in range(n):
        show_image(axes[i], images[i])
        if titles:
            axes[i].set_title(drawn(titles[i]).replace(" ", "\n", 1), fontsize=8, color=INK)
        for row, (box, crop, color, line) in enumerate(rows, 1):
            top, left, height, width = (box[i] - torch.tensor([0.5, 0.5, 0, 0])).tolist()
            axes[i].add_patch(Rectangle((left, top), width, height, fill=False, color=color, lw=2, ls=line))
            show_image(axes[row * n + i], crop[i], frame=color)
    return figure


def plot_histogram(panels: Mapping[str, tuple[Tensor, Callable[[float], float], tuple[float, float]]]) -> Figure:
    """Histograms of samples, with the densities that the samples should have.

    Args:
        panels: title → (samples [N], density, (lowest, highest value)).
    """
    figure, axes_list = new_figure(9.5, 2.4, 1, len(panels))
    for axes, (title, (samples, density, (low, high))) in zip(axes_list, panels.items(), strict=True):
        margin = 0.1 * (high - low)  # samples outside the range must be visible
        axes.hist(samples, bins=48, range=(low - margin, high + margin), density=True, color=OKABE_ITO["sky blue"])
        values = torch.linspace(low, high, 100).tolist()
        axes.plot(values, [density(value) for value in values], color=OKABE_ITO["vermillion"], lw=2, label="specified")
        axes.set_title(drawn(title), fontsize=9, color=INK)
        axes.set_yticks([])
        tidy(axes)
    lines = axes_list[0].get_lines()[:1]
    figure.legend(lines, ["specified"], loc="outside lower center", frameon=False, fontsize=8)  # not over the bars
    return figure


def plot_variants(
    results: Mapping[str, Mapping[str, Mapping]], column: str, label: str, untrained: float | None = None
) -> Figure:
    """The accuracy of each variant of a sweep: a dot for every seed, and their mean and standard deviation.

    Args:
        results: variant → column → {"mean", "std", "values"}, accuracies from 0 to 1.
        column: the measure to draw.
        label: the name of that measure, for the axis.
        untrained: accuracy of an untrained network, which gets a dotted line.
    """
    rows = {name: row[column] for name, row in results.items() if column in row}
    figure, (axes,) = new_figure(7, 1 + 0.38 * len(rows))
    for i, accuracy in enumerate(rows.values()):
        mean, std, values = accuracy["mean"], accuracy["std"], accuracy["values"]
        (dots,) = axes.plot(values, [i] * len(values), "o", color=OKABE_ITO["sky blue"], ms=5, clip_on=False)
        bar = axes.errorbar(
            mean, i, xerr=std, color=OKABE_ITO["blue"], marker="D", ms=6, capsize=4, lw=2, clip_on=False
        )
        axes.annotate(percentage(mean, 1), (1.03, i), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [drawn(name) for name in rows])
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel=drawn(label))  # the first row on top
    in_per_cent(axes.xaxis)
    handles: dict[str, Artist | Container] = {"single runs": dots, "mean ± standard deviation": bar}
    if untrained is not None:
        line = axes.axvline(untrained, color=OKABE_ITO["black"], ls=":")
        handles[f"untrained: {percentage(untrained, 1)}"] = line
    _legend_above(axes, handles)
    tidy(axes)
    return figure


def _legend_above(axes: Axes, handles: Mapping[str, Artist | Container]) -> None:
    """Name what a chart shows, label by label, in a line above it."""
    axes.legend(
        handles.values(), handles, frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3
    )


def plot_similarities(similarities: Tensor, views: Tensor) -> Figure:
    """The cosine similarities of a batch as a matrix, with the views along its sides and a frame around each partner.

    Args:
        similarities: float [2N, 2N].
        views: float [2N, 3, S, S] in [0, 1], first all first views, then all second views.
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
                value = round(float(similarities[i, k]), 2) + 0.0  # adding 0 turns −0 into 0
                axes.text(
                    k,
                    i,
                    f"{value:.2f}".replace("-", "−"),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="k" if value > 0.2 else "w",
                )
        thumbnail = OffsetImage(views[i].permute(1, 2, 0).numpy(), zoom=0.75, interpolation="nearest")
        for xy, offset in (((i, -0.5), (0, 16)), ((-0.5, i), (-16, 0))):
            axes.add_artist(
                AnnotationBbox(
                    thumbnail, xy, xybox=offset, boxcoords="offset points", frameon=False, annotation_clip=False
                )
            )
    axes.set_xticks(range(count))
    axes.set_yticks(range(count))
    axes.tick_params(length=0, labelsize=8)
    axes.tick_params(axis="y", pad=34)  # beside the views
    axes.set_xlabel("candidate k")
    axes.set_ylabel("anchor i")
    figure.colorbar(matrix, label="cosine similarity", shrink=0.8)
    return figure


def plot_training(
    metrics: Sequence[Mapping[str, float]], num_negatives: int | None, untrained: float | None = None
) -> Figure:
    """Loss and, where it was measured, validation kNN accuracy over the epochs.

    A live picture that is given ``untrained`` has both plots from the first step on.

    Args:
        metrics: the records of a run, as `simclr_lib.training.read_metrics` returns them.
        num_negatives: negatives per anchor, 2N − 2. A network that cannot tell views apart has the loss log(2N − 1).
            None for training with labels, whose loss is cross-entropy.
        untrained: kNN accuracy of the network before training, on the same images.
    """
    steps = [m for m in metrics if "loss" in m]
    looks = [m for m in metrics if "validation_knn" in m]
    watched = bool(looks) or untrained is not None
    figure, axes_list = new_figure(9 if watched else 5.5, 3.2, 1, 2 if watched else 1)
    loss_axes = axes_list[0]
    loss_axes.plot(
        [m["epoch"] for m in steps], [m["loss"] for m in steps], color=OKABE_ITO["sky blue"], lw=0.7, label="every step"
    )
    window = max(1, len(steps) // 50)
    losses = torch.tensor([m["loss"] for m in steps])
    if len(losses) >= window > 1:
        smooth = losses.unfold(0, window, 1).mean(dim=1)
        epochs = [m["epoch"] for m in steps[window - 1 :]]
        loss_axes.plot(epochs, smooth, color=OKABE_ITO["blue"], lw=2, label=f"mean of {window} steps")
    if num_negatives is not None:
        chance = torch.tensor(num_negatives + 1.0).log().item()
        loss_axes.axhline(chance, color=OKABE_ITO["black"], ls=":", lw=1.2, label=f"all views alike: {chance:.2f}")
    loss_axes.set(xlabel="epoch", ylabel="cross-entropy" if num_negatives is None else "NT-Xent loss")
    loss_axes.legend(frameon=False, fontsize=8)
    if watched:
        knn_axes = axes_list[1]
        knn_axes.plot(
            [m["epoch"] for m in looks],
            [m["validation_knn"] for m in looks],
            color=OKABE_ITO["bluish green"],
            marker="o",
            ms=4,
            label="during training",
        )
        if untrained is not None:
            _mark_untrained(knn_axes, untrained)
        knn_axes.set(xlabel="epoch", ylabel="kNN accuracy, validation images", ylim=(0, 1.02))
        knn_axes.set_xlim(0, loss_axes.get_xlim()[1])  # before the first look, too
        in_per_cent(knn_axes.yaxis)
    for axes in axes_list:
        tidy(axes)
    return figure


def plot_page(losses: Sequence[float], accuracies: Sequence[float], num_views: int) -> Figure:
    """The loss of every step and the kNN accuracy after every epoch of SimCLR on one page.

    Args:
        losses: of the steps.
        accuracies: of the untrained network, then after each epoch.
        num_views: 2N. A network that cannot tell views apart has the loss log(2N − 1).
    """
    figure, (loss_axes, knn_axes) = new_figure(9, 3.2, 1, 2)
    epochs = len(accuracies) - 1
    steps = torch.linspace(0, epochs, len(losses) + 1)[1:]
    loss_axes.plot(steps, losses, color=OKABE_ITO["sky blue"], lw=0.8)
    same = math.log(num_views - 1)
    loss_axes.axhline(same, color=OKABE_ITO["black"], ls=":", label=f"all views alike: {same:.2f}")
    loss_axes.set(xlabel="epoch", ylabel="NT-Xent loss of every step")
    knn_axes.plot(range(epochs + 1), accuracies, color=OKABE_ITO["bluish green"], marker="o", label="SimCLR")
    _mark_untrained(knn_axes, accuracies[0], legend=False)
    knn_axes.set(xlabel="epoch", ylabel="kNN accuracy", ylim=(0, None))
    in_per_cent(knn_axes.yaxis)
    for axes in (loss_axes, knn_axes):
        tidy(axes)
        axes.legend(frameon=False, fontsize=9)
    return figure


def _mark_untrained(axes: Axes, accuracy: float, legend: bool = True) -> None:
    """Draw the accuracy of an untrained network as a dotted line."""
    axes.axhline(accuracy, color=OKABE_ITO["black"], ls=":", label=f"untrained: {percentage(accuracy)}")
    if legend:
        axes.legend(frameon=False, fontsize=8)


def plot_comparison(runs: Mapping[str, Sequence[Mapping[str, float]]], untrained: float) -> Figure:
    """Loss, as a mean of 20 steps, and kNN accuracy of several runs.

    Args:
        runs: name → the records of a run, as `simclr_lib.training.read_metrics` returns them.
        untrained: kNN accuracy of the network before training, on the same images.
    """
    figure, (loss_axes, knn_axes) = new_figure(9, 3.2, 1, 2)
    styles = zip(runs.items(), ("blue", "vermillion"), ("-", "--"), ("o", "s"), strict=True)
    for (name, metrics), color, line, marker in styles:
        steps = [m for m in metrics if "loss" in m]
        looks = [m for m in metrics if "validation_knn" in m]
        smooth = torch.tensor([m["loss"] for m in steps]).unfold(0, 20, 1).mean(dim=1)
        style: dict[str, Any] = {"color": OKABE_ITO[color], "ls": line, "label": name}
        loss_axes.plot([m["epoch"] for m in steps[19:]], smooth, lw=2, **style)
        knn_axes.plot([m["epoch"] for m in looks], [m["validation_knn"] for m in looks], marker=marker, **style)
    _mark_untrained(knn_axes, untrained)
    loss_axes.set(xlabel="epoch", ylabel="NT-Xent loss")
    loss_axes.legend(frameon=False)
    knn_axes.set(xlabel="epoch", ylabel="kNN accuracy, validation images", xlim=(0, None), ylim=(0, 1))
    in_per_cent(knn_axes.yaxis)
    for axes in (loss_axes, knn_axes):
        tidy(axes)
    return figure


def plot_relative_steps(ratios: Tensor, trust: float = 0.001) -> Figure:
    """The gradient's length relative to the weights', layer by layer, beside the step of LARS.

    Args:
        ratios: ‖g‖ / ‖w‖ of each layer, from the image to z, float [L].
        trust: LARS's trust coefficient.
    """
    figure, (axes,) = new_figure(7, 3.2)
    layers = range(1, len(ratios) + 1)
    axes.plot(layers, ratios, color=OKABE_ITO["vermillion"], marker="o", label="SGD: ‖g‖ / ‖w‖")
    axes.plot(layers, [trust] * len(ratios), color=OKABE_ITO["blue"], marker="s", label="LARS: the same for all")
    axes.set(yscale="log", xlabel="layer, from the image to z", ylabel="relative step, at η = 1")
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def plot_learning_rates(rates: Mapping[str, Mapping[float, Mapping]]) -> Figure:
    """The accuracy of training runs against their learning rate: a dot for each seed, and a line through the means.

    Args:
        rates: name of the optimiser → learning rate → {"mean", "values"}, accuracies from 0 to 1.
    """
    figure, (axes,) = new_figure(7, 3.4)
    for (name, runs), color, marker in zip(rates.items(), ("vermillion", "blue"), "os", strict=True):
        dots_and_means(axes, runs, OKABE_ITO[color], marker, marker=marker, label=name)
    ticks = sorted({rate for runs in rates.values() for rate in runs})
    axes.set(xscale="log", xlabel="learning rate η", ylabel="test accuracy", ylim=(0, 1.02))
    axes.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
    axes.minorticks_off()
    in_per_cent(axes.yaxis)
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def dots_and_means(axes: Axes, runs: Mapping[float, Mapping], color: str, dot: str, **line: Any) -> None:
    """Draw a dot for each seed, and a line through the means.

    Args:
        axes: where to draw.
        runs: setting, such as a learning rate → {"mean", "values"}, accuracies from 0 to 1.
        color: colour of both.
        dot: marker of a seed.
        line: further properties of the line.
    """
    for setting, accuracy in runs.items():
        axes.plot([setting] * len(accuracy["values"]), accuracy["values"], dot, color=color, alpha=0.5)
    axes.plot(list(runs), [accuracy["mean"] for accuracy in runs.values()], color=color, lw=2, **line)


def plot_schedule(shares: Sequence[float], warmup: int) -> Figure:
    """The learning rate of every step, relative to its peak, and the end of the warm-up."""
    figure, (axes,) = new_figure(6, 2.6)
    axes.plot(shares, color=OKABE_ITO["blue"], lw=2)
    axes.axvline(warmup, color=OKABE_ITO["black"], ls=":", label="end of the warm-up")
    axes.set(xlabel="step", ylabel="share of the peak rate")
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def plot_bound(sizes: Sequence[int], bounds: Tensor, truth: float) -> Figure:
    """The bound of InfoNCE on the mutual information against the number of candidates.

    Args:
        sizes: numbers of candidates K.
        bounds: log K − loss in nats, float [seeds, sizes].
        truth: the mutual information in nats.
    """
    figure, (axes,) = new_figure(6.5, 3.6)
    axes.errorbar(sizes, bounds.mean(0), bounds.std(0), color=OKABE_ITO["blue"], marker="o", label="log K − loss")
    most = [math.log(size) for size in sizes]
    axes.plot(sizes, most, color=OKABE_ITO["orange"], ls="--", label="log K, which no batch can exceed")
    axes.axhline(truth, color=OKABE_ITO["black"], ls=":", label=f"true mutual information, {truth:.2f} nats")
    axes.set(xscale="log", xlabel="candidates K", ylabel="nats", ylim=(0, 5))
    in_plain_numbers(axes.xaxis)
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def plot_curves(
    curves: Mapping[str, Mapping[int, float | Mapping[str, float]]], xlabel: str, ylabel: str, log_y: bool = False
) -> Figure:
    """Lines over a few sizes, such as those of batches, on a logarithmic axis.

    Args:
        curves: name → size → a number, or {"mean", "std"}, which is drawn with a bar.
        xlabel, ylabel: names of the axes.
        log_y: whether the vertical axis is logarithmic, too. Otherwise it is for accuracies, from 0 to 1.
    """
    figure, (axes,) = new_figure(6.5, 3.4)
    styles = zip(("vermillion", "blue", "bluish green", "black"), "soD^", ("--", "-", "-.", ":"), strict=True)
    for (name, curve), (color, marker, line) in zip(curves.items(), styles, strict=False):
        means = [value["mean"] if isinstance(value, Mapping) else value for value in curve.values()]
        bars = [value["std"] if isinstance(value, Mapping) else 0.0 for value in curve.values()]
        axes.errorbar(
            list(curve), means, bars, color=OKABE_ITO[color], marker=marker, ls=line, capsize=3, label=drawn(name)
        )
    sizes = sorted({size for curve in curves.values() for size in curve})
    axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    if log_y:
        axes.set_yscale("log")
        in_plain_numbers(axes.yaxis)
    else:
        axes.set_ylim(0, 1.02)
        in_per_cent(axes.yaxis)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def plot_selection(tries: Tensor, chosen: int) -> Figure:
    """Accuracies of many tries on two halves of a test set, and the try that was chosen by the first half.

    Args:
        tries: float [T, 2].
        chosen: row of the chosen one.
    """
    figure, (axes,) = new_figure(6.5, 3.8)
    axes.scatter(tries[:, 0], tries[:, 1], color=OKABE_ITO["sky blue"], label="a draw of ten labels per class")
    axes.scatter(
        tries[chosen, 0],
        tries[chosen, 1],
        color=OKABE_ITO["vermillion"],
        marker="D",
        s=60,
        label="chosen on the first half",
    )
    axes.axhline(float(tries[:, 1].mean()), color=OKABE_ITO["black"], ls=":", label="mean of all draws")
    axes.set(xlabel="accuracy on the half used for choosing", ylabel="accuracy on the other half")
    in_per_cent(axes.xaxis)
    in_per_cent(axes.yaxis)
    tidy(axes)
    axes.legend(frameon=False, fontsize=8)
    return figure


def plot_spectra(spectra: Mapping[str, tuple[Tensor, float]]) -> Figure:
    """Variances along the principal components, relative to the largest, on logarithmic axes.

    Args:
        spectra: name → (variances in descending order [D], effective rank).
    """
    figure, (axes,) = new_figure(6.5, 3.6)
    styles = zip(("blue", "orange", "reddish purple", "black"), ("-", "--", "-.", ":"), strict=True)
    for (name, (variances, rank)), (color, line) in zip(spectra.items(), styles, strict=False):
        label = f"{name}: effective rank {rank:.1f}"
        share = variances / variances[0]
        axes.plot(range(1, len(share) + 1), share, color=OKABE_ITO[color], ls=line, lw=2, label=drawn(label))
    axes.set(xscale="log", yscale="log", ylim=(1e-6, 1.5))
    axes.set(xlabel="principal component", ylabel="variance relative to the largest")
    tidy(axes)
    axes.legend(frameon=False, fontsize=9)
    return figure


def plot_differences(differences: Mapping[str, Sequence[float]], label: str) -> Figure:
    """Differences, seed by seed, with their mean and the interval of Student's t that chance leaves one time in twenty.

    Args:
        differences: name → the difference of every seed.
        label: what differs, for the axis.
    """
    figure, (axes,) = new_figure(8, 1.1 + 0.3 * len(differences))
    for i, values in enumerate(differences.values()):
        d = torch.tensor(values)
        error = student_t.ppf(0.975, len(d) - 1) * float(d.std()) / math.sqrt(len(d))
        (dots,) = axes.plot(d, [i] * len(d), "o", color=OKABE_ITO["sky blue"], ms=4)
        bar = axes.errorbar(float(d.mean()), i, xerr=error, color=OKABE_ITO["blue"], marker="D", ms=5, capsize=3)
    axes.axvline(0, color=OKABE_ITO["black"], lw=1)
    axes.set_yticks(range(len(differences)), [drawn(name) for name in differences], fontsize=9)
    axes.set(ylim=(len(differences) - 0.5, -0.5), xlabel=label)
    _legend_above(axes, {"single seeds": dots, "mean, with the interval of Student's t (95 %)": bar})
    tidy(axes)
    return figure


def plot_spreads(spreads: Mapping[str, Sequence[float]]) -> Figure:
    """The spread of the embeddings at each step of several runs; runs that belong together come in pairs."""
    figure, (axes,) = new_figure(8.5, 3.4)
    styles = zip(("bluish green", "bluish green", "blue", "blue"), ("-", "--", "-", "--"), "osDX", strict=True)
    for (name, spread), (color, line, marker) in zip(spreads.items(), styles, strict=False):
        axes.plot(spread, color=OKABE_ITO[color], ls=line, marker=marker, markevery=8, label=drawn(name))
    axes.set(xlabel="step", ylabel="spread of z", ylim=(0, 1.05))
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    tidy(axes)
    return figure


def plot_true_neighbors(
    points: Tensor, features: Tensor, images: Tensor, labels: Tensor, classes: Sequence[str], chosen: int
) -> Figure:
    """Draw what the explorer shows after a click on an image: lines to its ten true neighbours, and their pictures.

    Args:
        points: positions in the picture, float [N, 2].
        features: float [N, D], which decide who the neighbours are.
        images: uint8 [N, 3, H, W].
        labels: int64 [N]; −1 where an image has no label.
        classes: class names.
        chosen: row of the image.
    """
    figure, (left, right) = new_figure(9.5, 4.6, 1, 2, width_ratios=[1.7, 1])
    handles = scatter_classes(left, points, labels, classes)
    left.legend(
        handles=handles, frameon=False, fontsize=7, loc="center right", bbox_to_anchor=(0, 0.5), markerscale=1.5
    )
    _, (nearest,) = nearest_neighbors(features, features[[chosen]], k=11)  # itself, then its neighbours
    for row in nearest[1:].tolist():
        left.plot(points[[chosen, row], 0], points[[chosen, row], 1], color=INK, lw=1)
    left.plot(*points[chosen], marker="o", ms=12, mfc="none", mec=INK, mew=2)
    tile(right, images[nearest], columns=4)
    label = int(labels[chosen])
    title = "the image, and its ten neighbours"
    if label >= 0:
        same = int((labels[nearest[1:]] == label).sum())
        title = f"{drawn(classes[label])},\nand its ten neighbours: {same} of its class"
    right.set_title(title, fontsize=9)
    return figure


def plot_label_efficiency(results: Mapping[str, Mapping[str, Mapping]], budgets: Sequence[int]) -> Figure:
    """Accuracy against labels per class: a line for every source, with the standard deviation as a bar.

    Args:
        results: source → {"labels_all": …, "labels_10": …}, each {"mean", "std"} of accuracies from 0 to 1.
        budgets: labels per class, in ascending order; all labels follow as the last point.
    """
    figure, (axes,) = new_figure(7, 4)
    ticks = [*map(str, budgets), "all"]
    keys = [*(f"labels_{budget}" for budget in budgets), "labels_all"]
    for source, (color, marker, line) in SOURCE_STYLE.items():
        row = results.get(source, {})
        accuracies = {i: row[key] for i, key in enumerate(keys) if key in row}
        if not accuracies:
            continue
        axes.errorbar(
            list(accuracies),
            [accuracy["mean"] for accuracy in accuracies.values()],
            yerr=[accuracy["std"] for accuracy in accuracies.values()],
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
    in_per_cent(axes.yaxis)
    tidy(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def plot_by_test_set(results: Mapping[str, Mapping[str, Mapping]], names: Mapping[str, str]) -> Figure:
    """Accuracy on several test sets: a row for every set, a marker for every source, the standard deviation as a bar.

    Args:
        results: source → column → {"mean", "std"}, accuracies from 0 to 1.
        names: column → the name of that test set.
    """
    sources = [source for source in SOURCE_STYLE if source in results]
    figure, (axes,) = new_figure(8, 1.2 + 0.45 * len(names))
    for number, source in enumerate(sources):
        color, marker, _ = SOURCE_STYLE[source]
        accuracies = [results[source][column] for column in names]
        shift = 0.11 * (number - (len(sources) - 1) / 2)  # without it equal values would hide each other
        axes.errorbar(
            [accuracy["mean"] for accuracy in accuracies],
            [i + shift for i in range(len(names))],
            xerr=[accuracy["std"] for accuracy in accuracies],
            color=color,
            marker=marker,
            ls="",
            ms=7,
            capsize=3,
            label=source,
        )
    axes.set_yticks(range(len(names)), [drawn(name) for name in names.values()])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="test accuracy")
    in_per_cent(axes.xaxis)
    tidy(axes)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return figure


def plot_embeddings(
    pictures: Mapping[str, Tensor], labels: Tensor, classes: Sequence[str], side: float = 5.2
) -> Figure:
    """Scatter plots, at most three in a row, with colour and marker by class; a legend names up to 20 classes.

    Args:
        pictures: title → float [N, 2].
        labels: int64 [N]; −1 where an image has no label.
        classes: class names.
        side: width of each plot in inches.

    Raises:
        SimCLRError: points or labels have another shape or type, points are not finite, or a label is of no class.
    """
    check_labels(labels, "labels", num_classes=len(classes), unlabelled=True)
    for title, points in pictures.items():
        check_picture(points, title, len(labels))
    columns = min(len(pictures), MAX_COLUMNS)
    rows = math.ceil(len(pictures) / columns)
    figure, axes_list = new_figure(side * columns, (side - 0.2) * rows, rows, columns)
    for axes, (title, points) in zip(axes_list, pictures.items(), strict=False):
        handles = scatter_classes(axes, points, labels, classes)
        axes.set_title(drawn(title), fontsize=11, color=INK)
    for empty in axes_list[len(pictures) :]:
        empty.remove()
    if len(classes) <= MAX_LEGEND:
        names = [drawn(name) for name in [*classes, NO_CLASS]][: len(handles)]
        column_width = 0.7 + 0.07 * max(map(len, names))  # inches of a marker and a name at this font size
        legend = figure.legend(
            handles,
            ["class"] * len(handles),
            loc="outside lower center",
            ncols=max(1, min(5, len(handles), int(side * columns / column_width))),
            frameon=False,
            markerscale=2,
            fontsize=9,
        )
        # The names come last because older versions of matplotlib leave out entries that begin with "_".
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set_text(name)
    else:
        figure.supxlabel(f"{len(classes)} classes; colours and markers repeat", fontsize=9, color=INK)
    return figure


def scatter_classes(axes: Axes, points: Tensor, labels: Tensor, classes: Sequence[str]) -> list[PathCollection]:
    """Draw each class with a colour and a marker that together tell it apart, also without colour vision.

    Args:
        axes: the axes to draw on.
        points: float [N, 2].
        labels: int64 [N]; points without a label, −1, are grey.
        classes: class names.

    Returns:
        The points of each class and, if there are any, those without a label: the handles of a legend.
    """

    size = min(max(12.0, 1200 / len(points)), 60.0)  # few points may be large

    def draw(rows: Tensor, name: str, color: str, marker: str) -> PathCollection:
        chosen = points[rows]
        # A thin dark edge, so that yellow shows on white.
        return axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=size,
            facecolor=color,
            edgecolor=INK,
            linewidths=0.25,
            marker=marker,
            alpha=0.8,
            label=drawn(name),
        )

    handles = [draw(labels == label, name, *class_look(label)) for label, name in enumerate(classes)]
    if (labels < 0).any():
        handles.append(draw(labels < 0, NO_CLASS, "#999999", "."))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#cccccc")
    return handles


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
        queries: test images, uint8 [Q, 3, H, W].
        query_labels: int64 [Q]; without a label, −1, no neighbour is marked as right or wrong.
        bank: training images, uint8 [N, 3, H, W].
        bank_labels: int64 [N]; −1 where an image has no label.
        features: name → (float [Q, D], float [N, D]), the features of the queries and of the bank.
        count: neighbours per query.
    """
    row_height = 1.3 if bool((query_labels >= 0).any()) else 1.05  # of images; labels put a mark below each of them
    columns, height = 1 + len(features) * (count + 0.3), row_height * len(queries)
    figure, (axes,) = new_figure(0.72 * columns, 0.72 * height + 0.2)
    headings = {0.0: "query"}
    for row in range(len(queries)):
        _thumbnail(axes, queries[row], (0, -row_height * row), 0.88, OKABE_ITO["orange"])
    for block, (name, (query_features, bank_features)) in enumerate(features.items()):
        first = 1.3 + block * (count + 0.3)  # the middle of the nearest image
        headings[first + (count - 1) / 2] = f"nearest by {drawn(name)}"
        _, nearest = nearest_neighbors(bank_features, query_features, count)  # [Q, count]
        for row in range(len(queries)):
            for rank, index in enumerate(nearest[row].tolist()):
                place = first + rank, -row_height * row
                if min(bank_labels[index], query_labels[row]) < 0:
                    _thumbnail(axes, bank[index], place, 0.88)
                    continue
                right = bool(bank_labels[index] == query_labels[row])
                _thumbnail(axes, bank[index], place, 0.88, OKABE_ITO["bluish green" if right else "vermillion"])
                mark = "✓" if right else "✗"
                axes.text(place[0], place[1] - 0.5, mark, ha="center", va="top", fontsize=8, color=INK)
    for x, heading in headings.items():
        axes.text(x, 0.6, heading, ha="center", fontsize=9, color=INK)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(0.5 - height, 0.8), aspect="equal")
    axes.axis("off")
    return figure


def plot_confusion(matrix: Tensor, classes: Sequence[str]) -> Figure:
    """A confusion matrix in per cent of each row: rows are true classes, columns are predicted classes.

    Args:
        matrix: counts, int64 [C, C].
        classes: C class names.
    """
    share = 100 * matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    figure, (axes,) = new_figure(0.5 * len(classes) + 2.4, 0.5 * len(classes) + 1.6)
    axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=100)
    for i in range(len(classes)):
        for j in range(len(classes)):
            if share[i, j] >= 0.5:
                color = "white" if share[i, j] > 55 else INK
                axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=8, color=color)
    names = [drawn(name) for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure


def plot_preview(
    title: str, topic: str, tiles: Sequence[tuple[str, str]], points: Tensor, labels: Tensor, classes: Sequence[str]
) -> Figure:
    """A page in one picture of 1,200 × 630 pixels, as chats show it with a link: its heading, numbers, and the images.

    Args:
        title: heading of the page.
        topic: a few words above it.
        tiles: (number, label) of the headline numbers.
        points: float [N, 2], the images in two dimensions.
        labels: int64 [N]; −1 where an image has no label.
        classes: class names.
    """
    figure, (text, axes) = new_figure(8, 4.2, 1, 2)
    figure.set_layout_engine("constrained", w_pad=0.25, h_pad=0.25, wspace=0)
    text.axis("off")
    text.set(xlim=(0, 1), ylim=(0, 1))
    lines = textwrap.wrap(drawn(title), 23)[:5]
    text.text(0, 1, drawn(topic), va="top", fontsize=11, color=OKABE_ITO["blue"], weight="bold")
    text.text(0, 0.91, "\n".join(lines), va="top", fontsize=17, color=INK, weight="bold", linespacing=1.25)
    for row, (number, label) in enumerate(reversed(tiles)):
        height = 0.06 + 0.14 * row
        text.text(0, height, number, va="center", fontsize=13, color=OKABE_ITO["blue"], weight="bold")
        words = "\n".join(textwrap.wrap(drawn(label), 28))
        text.text(0.4, height, words, va="center", fontsize=9, color=INK)
    scatter_classes(axes, points, labels, classes)
    axes.spines[:].set_visible(False)
    return figure


def in_per_cent(axis: Axis) -> None:
    """Write the accuracies along an axis, from 0 to 1, as tables and texts write them: "90 %"."""
    axis.set_major_formatter(FuncFormatter(_percentage))


def in_plain_numbers(axis: Axis) -> None:
    """Write the numbers along a logarithmic axis as texts write them: "1,000" instead of a power of ten."""
    axis.set_major_formatter(FuncFormatter(_plain_number))


# These are no lambdas, because a report copies its figures with pickle.
def _percentage(share: float, position: int | None) -> str:
    return f"{100 * share:.4g} %"


def _plain_number(number: float, position: int | None) -> str:
    return f"{number:,.10g}"


def tidy(axes: Axes) -> None:
    """Give a chart the style of this package: no box, and a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e5e5", lw=0.8)
    axes.set_axisbelow(True)
