"""Draws a run's film: the test images as points, while the network learns.

    python -m simclr_lib.authoring.film runs/cifar10-500 cifar10-jpeg notebooks/results/cifar10-gpu-film.png
    python -m simclr_lib.authoring.film runs/cifar10-500 cifar10-jpeg notebooks/results/cifar10-gpu-film.webp
    python -m simclr_lib.authoring.film runs/demo/seed-0 emblems notebooks/results/demo-film.webp

The first command draws four moments side by side, the others all moments as a moving picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor

from simclr_lib.data import ImageDataset, load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import make_film
from simclr_lib.experiments.comparison import evenly
from simclr_lib.files import write_atomically
from simclr_lib.recipes import FILMED
from simclr_lib.teaching.moving import moving_picture
from simclr_lib.teaching.plots import plot_embeddings
from simclr_lib.teaching.report import png_bytes
from simclr_lib.training import read_film

MOMENTS = 4  # pictures in a row: more would be too small on a page


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
    write_atomically(file, moving_picture(film, filmed.labels, filmed.classes, "WEBP"))


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
        raise SimCLRError("usage: python -m simclr_lib.authoring.film RUN FOLDER|emblems FILE.png|FILE.webp")
    source, file = sys.argv[2], Path(sys.argv[3])
    images = load_dataset("emblems" if source == "emblems" else "imagefolder", "test", Path(source))
    draw = draw_moving_film if file.suffix == ".webp" else draw_film
    draw(Path(sys.argv[1]), evenly(images, FILMED), file)
