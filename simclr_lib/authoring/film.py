"""Draws a run's film: the test images as points, while the network learns.

    python -m simclr_lib.authoring.film runs/cifar10-500 cifar10-jpeg notebooks/results/cifar10-gpu-film.png
    python -m simclr_lib.authoring.film runs/cifar10-500 cifar10-jpeg notebooks/results/cifar10-gpu-film.webp

The first command draws four moments side by side, the second all moments as a moving picture.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import Film, make_film
from simclr_lib.experiments.comparison import FILMED, evenly
from simclr_lib.files import write_atomically
from simclr_lib.teaching.plots import plot_embeddings
from simclr_lib.teaching.report import png_bytes
from simclr_lib.training import read_film

MOMENTS = 4  # pictures in a row: more would be too small on a page
STEPS = 4  # pictures from one moment to the next, of the moving picture
STEP, REST = 90, 700  # milliseconds that a picture in between stays, and that a moment stays
PLAYS = 3  # times that the moving picture plays before it rests on the last moment


def draw_film(run_dir: Path, filmed: ImageDataset, file: Path) -> None:
    """Draw the first moment of a run's film, the last one, and those between that halve the time again and again.

    Args:
        run_dir: the run's folder.
        filmed: the images that it filmed.
        file: the PNG file to write.

    Raises:
        SimCLRError: the run has no film of these images.
    """
    frames = frames_of(run_dir, filmed)
    captions = list(frames)
    chosen = sorted({0, *((len(captions) - 1) >> halvings for halvings in range(MOMENTS - 1))})
    film = make_film("h", {captions[index]: frames[captions[index]] for index in chosen})
    figure = plot_embeddings(dict(zip(film.captions, film.points, strict=True)), filmed.labels, filmed.classes)
    write_atomically(file, png_bytes(figure))


def draw_moving_film(run_dir: Path, filmed: ImageDataset, file: Path) -> None:
    """Draw all moments of a run's film as a moving picture, in which the points move from one to the next.

    Args:
        run_dir: the run's folder.
        filmed: the images that it filmed.
        file: the WebP file to write.

    Raises:
        SimCLRError: the run has no film of these images.
    """
    film = make_film("h", frames_of(run_dir, filmed))
    (left, bottom), (right, top) = film.points.amin(dim=(0, 1)).tolist(), film.points.amax(dim=(0, 1)).tolist()
    pictures, milliseconds = [], []
    for caption, points, duration in in_motion(film):
        figure = plot_embeddings({caption: points}, filmed.labels, filmed.classes)
        figure.axes[0].set(xlim=(left - 1, right + 1), ylim=(bottom - 1, top + 1))
        picture = Image.open(io.BytesIO(png_bytes(figure))).convert("RGB")
        pictures.append(picture.resize((picture.width // 2, picture.height // 2)))
        milliseconds.append(duration)
    first, *others = pictures
    buffer = io.BytesIO()
    first.save(
        buffer, "WEBP", save_all=True, append_images=others, duration=milliseconds, loop=PLAYS, quality=50, method=6
    )
    write_atomically(file, buffer.getvalue())


def in_motion(film: Film) -> Iterator[tuple[str, Tensor, int]]:
    """The pictures of a moving film: (caption, float [N, 2], milliseconds)."""
    for index, (caption, points) in enumerate(zip(film.captions, film.points, strict=True)):
        yield caption, points, REST
        if index + 1 < len(film.captions):
            for step in range(1, STEPS):
                yield caption, torch.lerp(points, film.points[index + 1], step / STEPS), STEP


def frames_of(run_dir: Path, filmed: ImageDataset) -> dict[str, Tensor]:
    """The features of a run's film, caption → float [N, D], in order of time.

    Raises:
        SimCLRError: the run has no film of these images.
    """
    frames = read_film(run_dir, filmed)
    if not frames:
        raise SimCLRError(f"{run_dir} has no film of {filmed.name}: give the images that the run was tested on.")
    return frames


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SimCLRError("usage: python -m simclr_lib.authoring.film RUN IMAGES FILE.png|FILE.webp")
    images, file = load_dataset("imagefolder", "test", Path(sys.argv[2])), Path(sys.argv[3])
    draw = draw_moving_film if file.suffix == ".webp" else draw_film
    draw(Path(sys.argv[1]), evenly(images, FILMED), file)
