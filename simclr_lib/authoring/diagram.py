"""Draws the SimCLR diagram at the top of the README from real emblems and their augmented views.

    python -m simclr_lib.authoring.diagram image.png

The same seed always gives the same picture.
"""

from __future__ import annotations

import argparse
import os

import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Generator, Tensor

from simclr_lib.augment import SimCLRAugment
from simclr_lib.data.emblems import draw_emblems
from simclr_lib.teaching.style import OKABE_ITO

WIDTH, HEIGHT = 1600, 800  # pixels; also the drawing's coordinates, with y upwards

BLUE, ORANGE = OKABE_ITO["blue"], OKABE_ITO["orange"]  # encoder f and its h; projection head g and its z
GREEN, VERMILLION = OKABE_ITO["bluish green"], OKABE_ITO["vermillion"]  # pull together; push apart
PURPLE = OKABE_ITO["reddish purple"]  # output head
INK, QUIET, PANEL = "#222222", "#5f6368", "#f2f4f7"

ANCHOR = 6  # which emblem is x: a spoked star
OTHERS = (12, 20, 33)  # the rest of the batch

# The columns that both stages share, and the heights of the two branches and of the line between them.
X_VIEW, X_ENCODER, X_H = 390, 595, 745
Y_I, Y_MIDDLE, Y_J = 615, 500, 385

Point = tuple[float, float]


def draw_diagram(path: str | os.PathLike[str], seed: int = 15) -> None:
    """Draw SimCLR's two stages, pretraining and what comes after, as a PNG of 1600 × 800 pixels.

    Args:
        path: the file to write.
        seed: chooses the random views.
    """
    dataset = draw_emblems("test", limit=40)
    image, others = dataset.images[ANCHOR], dataset.images[list(OTHERS)]
    generator = torch.Generator().manual_seed(seed)
    # Colour jitter at every view and no blur: at 32 × 32 pixels the picture should show what happens.
    augment = SimCLRAugment(
        size=32, crop_scale=(0.35, 0.7), color_strength=0.7, color_prob=1.0, gray_prob=0.0, blur_prob=0.0
    )
    views = augment(torch.stack([image, image, *others]), generator=generator)
    guesses = {dataset.classes[dataset.labels[i]]: p for i, p in ((ANCHOR, 0.93), (OTHERS[2], 0.05), (OTHERS[0], 0.02))}

    with rc_context({"font.family": "DejaVu Sans", "mathtext.fontset": "stix", "text.color": INK}):
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
        axes.axis("off")
        _draw_pretraining(axes, image, views, generator)
        _draw_after(axes, image, guesses, generator)
        # Without matplotlib's version in it, the file depends on nothing but the drawing.
        canvas.print_png(os.fspath(path), metadata={"Software": None})


# ---- The two stages ----------------------------------------------------------------------------------------


def _draw_pretraining(axes: Axes, image: Tensor, views: Tensor, generator: Generator) -> None:
    """Draw the upper part: two views of one image are pulled together and pushed away from the rest of the batch.

    Args:
        axes: the axes to draw on.
        image: uint8 [3, H, W].
        views: float32 [2 + others, 3, H, W]: two views of ``image``, then one of each other image.
        generator: random stream for the embeddings' shades.
    """
    x_image, x_projector, x_z, x_negative = 120, 905, 1100, 1500

    columns = {x_image: "one image", X_VIEW: "two random views", 670: "encode", x_projector: "project"}
    for x, heading in (columns | {x_z: "compare", x_negative - 45: "rest of the batch"}).items():
        axes.text(x, 765, heading, size=14, weight="bold", ha="center", va="center", color=QUIET)

    _picture(axes, image, (x_image, Y_MIDDLE), 150)
    axes.text(x_image, Y_MIDDLE + 100, "$x$", size=25, ha="center", va="center")

    embedding = torch.rand(6, generator=generator)
    for y, index, transform, view in ((Y_I, "i", "t", views[0]), (Y_J, "j", "t′", views[1])):
        side = 1 if y > Y_MIDDLE else -1
        _arrow(axes, (x_image + 84, Y_MIDDLE + 25 * side), (X_VIEW - 70, y - 12 * side))
        _label(axes, (238, Y_MIDDLE + 92 * side), rf"${transform}\sim\mathcal{{T}}$", size=19)
        _picture(axes, view, (X_VIEW, y), 120)
        axes.text(X_VIEW, y + 82, rf"$\tilde{{x}}_{index}$", size=23, ha="center", va="center")
        _encode(axes, y, f"$h_{index}$", generator)
        _arrow(axes, (X_H + 20, y), (x_projector - 78, y))
        _box(axes, (x_projector, y), (144, 78), r"$g(\cdot)$", "projection head", ORANGE)
        _arrow(axes, (x_projector + 78, y), (x_z - 20, y))
        shades = (embedding + 0.08 * torch.randn(6, generator=generator)).clamp(0, 1)  # the two z agree
        _vector(axes, (x_z, y), shades, ORANGE, f"$z_{index}$", name_below=side < 0)
        _arrow(axes, (x_z, y - 52 * side), (x_z, Y_MIDDLE + 39 * side), color=GREEN, width=3)
        _arrow(axes, (x_z + 32, y), (x_negative - 130, y + 28 * side), color=VERMILLION, dashed=True)
        _label(axes, (1250, y + 38 * side), "push apart", VERMILLION, 14)

    for x in (X_ENCODER, x_projector):
        _label(axes, (x, Y_MIDDLE), "same weights")
        for side in (-1, 1):
            ends = [Y_MIDDLE + 16 * side, Y_MIDDLE + 72 * side]
            axes.plot([x, x], ends, color=QUIET, linestyle=(0, (1, 2)), linewidth=1.6)

    _box(axes, (x_z, Y_MIDDLE), (230, 66), "maximise agreement", "NT-Xent loss", GREEN, size=14)
    for y, view in zip((660, 500, 340), views[2:], strict=True):
        _vector(axes, (x_negative - 100, y), torch.rand(6, generator=generator), QUIET)
        _picture(axes, view, (x_negative, y), 84, opacity=0.5)
        _arrow(axes, (x_negative - 50, y), (x_negative - 80, y), color=QUIET)


def _draw_after(axes: Axes, image: Tensor, guesses: dict[str, float], generator: Generator) -> None:
    """Draw the lower part: g is dropped, and a linear head reads the class from h.

    Args:
        axes: the axes to draw on.
        image: uint8 [3, H, W].
        guesses: class names with their probabilities, 0…1.
        generator: random stream for the embedding's shades.
    """
    y, x_head, x_bars = 130, 905, 1055
    axes.add_patch(FancyBboxPatch((44, 44), 1512, 172, "round,pad=16", facecolor=PANEL, edgecolor="none"))
    axes.text(62, y + 18, "After pretraining", size=17, weight="bold", va="center")
    axes.text(62, y - 18, "drop $g$, keep $f$ and its $h$", size=15, va="center", color=QUIET)

    _picture(axes, image, (X_VIEW, y), 120)
    _encode(axes, y, "$h$", generator)
    _arrow(axes, (X_ENCODER, Y_J - 46), (X_ENCODER, y + 46), color=BLUE)
    _label(axes, (X_ENCODER + 14, 270), "pretrained weights", BLUE, ha="left")
    _arrow(axes, (X_H + 20, y), (x_head - 98, y))
    _box(axes, (x_head, y), (184, 78), "linear", "output head", PURPLE, size=17)
    _arrow(axes, (x_head + 98, y), (x_bars - 20, y))
    for row, (name, probability) in enumerate(guesses.items()):
        height = y + 40 - 40 * row
        axes.add_patch(Rectangle((x_bars, height - 11), 320 * probability, 22, color=PURPLE))
        weight = "bold" if row == 0 else "normal"
        axes.text(x_bars + 320 * probability + 12, height, name, size=15, va="center", weight=weight)


def _encode(axes: Axes, y: float, name: str, generator: Generator) -> None:
    """Draw the arrow from a view through the encoder to h, at height ``y``."""
    _arrow(axes, (X_VIEW + 68, y), (X_ENCODER - 66, y))
    _box(axes, (X_ENCODER, y), (120, 78), r"$f(\cdot)$", "encoder", BLUE)
    _arrow(axes, (X_ENCODER + 66, y), (X_H - 20, y))
    _vector(axes, (X_H, y), torch.rand(6, generator=generator), BLUE, name)


# ---- The pieces --------------------------------------------------------------------------------------------


def _picture(axes: Axes, image: Tensor, centre: Point, side: float, opacity: float = 1.0) -> None:
    """Draw one image, uint8 [3, H, W] or float in [0, 1], so that its pixels stay visible."""
    x, y = centre
    extent = (x - side / 2, x + side / 2, y - side / 2, y + side / 2)
    pixels = image.permute(1, 2, 0).numpy()
    axes.imshow(pixels, extent=extent, interpolation="nearest", alpha=opacity, aspect="auto", zorder=2)
    axes.add_patch(
        Rectangle(
            (extent[0], extent[2]),
            side,
            side,
            fill=False,
            edgecolor=INK,
            alpha=opacity,
            linewidth=1.2,
            zorder=3,
        )
    )


def _box(axes: Axes, centre: Point, sides: Point, text: str, caption: str, color: str, size: float = 22) -> None:
    """Draw a rounded box, ``sides`` = (width, height), with a text and a caption below it."""
    (x, y), (width, height) = centre, sides
    corner = (x - width / 2 + 8, y - height / 2 + 8)
    shape = FancyBboxPatch(corner, width - 16, height - 16, "round,pad=8", facecolor=_tint(color, 0.16))
    shape.set(edgecolor=color, linewidth=2)
    axes.add_patch(shape)
    axes.text(x, y + 11, text, size=size, ha="center", va="center")
    axes.text(x, y - 18, caption, size=11.5, ha="center", va="center")


def _vector(axes: Axes, centre: Point, values: Tensor, color: str, name: str = "", name_below: bool = False) -> None:
    """Draw a column of cells, one for each value (float [n] in [0, 1]): a larger value is darker."""
    x, y = centre
    width, height = 22, 84 / len(values)
    for row, value in enumerate(values):
        shade = _tint(color, 0.1 + 0.9 * float(value))
        corner = (x - width / 2, y + 42 - (row + 1) * height)
        axes.add_patch(Rectangle(corner, width, height, facecolor=shade, edgecolor="white", linewidth=1))
    axes.add_patch(Rectangle((x - width / 2, y - 42), width, 84, fill=False, edgecolor=color, linewidth=1.5))
    axes.text(x, y - 66 if name_below else y + 62, name, size=22, ha="center", va="center")


def _tint(color: str, strength: float) -> tuple[float, float, float]:
    """``color`` mixed with white: strength 0 is white, 1 is the full colour."""
    red, green, blue = (1 - strength * (1 - channel) for channel in to_rgb(color))
    return red, green, blue


def _arrow(axes: Axes, start: Point, end: Point, color: str = INK, width: float = 1.8, dashed: bool = False) -> None:
    """Draw a straight arrow from ``start`` to ``end``."""
    style = "-|>,head_length=7,head_width=3.5"
    line = (0, (4, 2.5)) if dashed else "solid"
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle=style, color=color, linewidth=width, linestyle=line, shrinkA=0, shrinkB=0
        )
    )


def _label(axes: Axes, position: Point, text: str, color: str = QUIET, size: float = 12.5, ha: str = "center") -> None:
    axes.text(*position, text, size=size, ha=ha, va="center", color=color)


def main() -> None:
    """Run the command line, which takes the file to write and the seed."""
    parser = argparse.ArgumentParser(description="Draw the SimCLR diagram as a PNG.")
    parser.add_argument("path", help="the file to write, for instance image.png")
    parser.add_argument("--seed", type=int, default=15, help="chooses the random views (default: %(default)s)")
    arguments = parser.parse_args()
    draw_diagram(arguments.path, arguments.seed)


if __name__ == "__main__":
    main()
