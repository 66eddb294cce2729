"""Your own images: any folder, with a folder for each class, a CSV file of labels, or no labels."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from simclr_lib.data.dataset import ImageDataset
from simclr_lib.data.images import load_files
from simclr_lib.data.layout import Labels, find_images
from simclr_lib.errors import SimCLRError, shown

DEFAULT_SIZE = 64  # pixels, for photographs and mixed sizes
MAX_NATIVE_SIZE = 128  # larger images are resized to DEFAULT_SIZE unless another size is asked for

log = logging.getLogger(__name__)


def image_parts(
    root: Path,
    limits: Mapping[str, int | None],
    image_size: int | None = None,
    labels: Labels | None = None,
) -> dict[str, ImageDataset]:
    """Load the images of a folder, see `find_images` for what it may hold.

    Args:
        root: the folder.
        limits: the parts to load ("train", "test", "all") → the size of a class-balanced random subset; None is all.
        image_size: side of the images, in pixels. None takes the training images' own size where they
            are all squares of one size up to 128 pixels, and 64 otherwise.
        labels: where the labels come from.

    Returns:
        The parts; "test" only where some images have labels or there is a folder of that name.

    Raises:
        SimCLRError: the folder is not as described, or the images are unreadable.
    """
    layout = find_images(root, labels)
    log.info(shown(str(layout)))
    train = [path for path, _ in layout.parts["train"]]
    if not train:
        raise SimCLRError(f"{root} has too few images for a train part: add more, or a train/ folder.")
    size = image_size or _native_size(train)  # both parts get the training images' size
    if "all" in limits:
        everything = sorted((pair for files in layout.parts.values() for pair in files), key=lambda pair: str(pair[0]))
        layout = replace(layout, parts={"all": everything})
    return {
        part: load_files(
            [path for path, _ in files],
            torch.tensor([label for _, label in files], dtype=torch.int64),
            layout.classes,
            size,
            limits[part],
            name=root.resolve().name,
            root=root,
        )
        for part, files in layout.parts.items()
        if files and part in limits
    }


def _native_size(paths: Sequence[Path]) -> int:
    """The one size of a sample of square images, or DEFAULT_SIZE."""
    sample = np.linspace(0, len(paths) - 1, min(len(paths), 64)).astype(int)
    sizes = set()
    for i in sample:
        with (
            contextlib.suppress(Exception),  # whatever is wrong with a file is reported when it is read
            Image.open(paths[i]) as image,  # reads the header only
        ):
            sizes.add(image.size)
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height <= MAX_NATIVE_SIZE:
            return width
    return DEFAULT_SIZE
