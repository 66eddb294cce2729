"""The film of a training as a moving picture: a file that chats, slides and web pages play."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from torch import Tensor

from simclr_lib.evaluation import Film
from simclr_lib.teaching.plots import plot_embeddings

STEPS = 4  # pictures from one moment to the next
STEP, REST = 90, 700  # milliseconds that a picture in between stays, and that a moment stays
PLAYS = 3  # times that the moving picture plays before it rests on the last moment
DPI = 75


def moving_picture(film: Film, labels: Tensor, classes: Sequence[str], format: str = "GIF") -> bytes:
    """The content of a file in which the points move from each moment of the film to the next.

    Args:
        film: at least two moments of N images.
        labels: int64 [N]; −1 where an image has no label.
        classes: class names.
        format: "GIF", which everything plays, or "WEBP", which is smaller.
    """
    pictures, milliseconds = zip(*_drawn(film, labels, classes), strict=True)
    options = {"quality": 50, "method": 6} if format == "WEBP" else {"optimize": True}
    if format == "GIF":
        palette = _palette(pictures[-1])  # one for all, so that no colour flickers
        pictures = tuple(picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, format, save_all=True, append_images=pictures[1:], duration=list(milliseconds), loop=PLAYS, **options
    )
    return buffer.getvalue()


def _palette(picture: Image.Image) -> Image.Image:
    """An image with at most 128 colours of a picture as its palette.

    The method keeps colours of few pixels too, such as those of a small class. White becomes 252, so it is put back.
    """
    image = picture.quantize(128, Image.Quantize.MAXCOVERAGE)
    colors = np.array(image.getpalette()).reshape(-1, 3)
    colors[(colors >= 248).all(axis=1)] = 255
    image.putpalette(colors.flatten().tolist())
    return image


def in_motion(film: Film) -> Iterator[tuple[str, Tensor, int]]:
    """The pictures of a moving film: (caption, float [N, 2], milliseconds)."""
    for index, (caption, points) in enumerate(zip(film.captions, film.points, strict=True)):
        yield caption, points, REST
        if index + 1 < len(film.captions):
            for step in range(1, STEPS):
                yield caption, torch.lerp(points, film.points[index + 1], step / STEPS), STEP


def _drawn(film: Film, labels: Tensor, classes: Sequence[str]) -> Iterator[tuple[Image.Image, int]]:
    """Draw the pictures: (picture, milliseconds). One figure serves for all, since only its points change places."""
    (left, bottom), (right, top) = film.points.amin(dim=(0, 1)).tolist(), film.points.amax(dim=(0, 1)).tolist()
    width, height = 0.03 * (right - left), 0.03 * (top - bottom)  # margins
    figure = plot_embeddings({film.captions[0]: film.points[0]}, labels, classes)
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    (axes,) = figure.axes
    axes.set(xlim=(left - width, right + width), ylim=(bottom - height, top + height))
    # The classes were drawn one after the other, and those without a label last.
    rows = [labels == label for label in [*range(len(classes)), -1]]
    for caption, points, milliseconds in in_motion(film):
        axes.set_title(caption)
        for collection, chosen in zip(axes.collections, rows, strict=False):
            collection.set_offsets(points[chosen].numpy())
        canvas.draw()
        figure.set_layout_engine("none")  # it has found its layout in the first picture
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), milliseconds
