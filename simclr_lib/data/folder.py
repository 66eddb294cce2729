"""Your own images: any folder, with a folder for each class, a CSV file of labels, or no labels."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from simclr_lib.data.bands import Bands, opened, without_pillows_limit
from simclr_lib.data.dataset import ImageDataset
from simclr_lib.data.decoding import load_files
from simclr_lib.data.layout import Labels, Layout, find_images
from simclr_lib.data.levels import set_levels
from simclr_lib.data.pixels import NeedsLevelsError
from simclr_lib.data.reading import Reading
from simclr_lib.errors import SimCLRError, shown

DEFAULT_SIZE = 64  # pixels, for photographs and mixed sizes
MAX_NATIVE_SIZE = 128  # larger images are resized to DEFAULT_SIZE unless another size is asked for
MAX_STORE_SIZE = 256  # pixels, unless a larger size is asked for
SAMPLED = 64  # files whose size and bands are looked at to choose the sizes

log = logging.getLogger(__name__)


def image_parts(
    root: Path,
    limits: Mapping[str, int | None],
    image_size: int | None = None,
    labels: Labels | None = None,
    reading: Reading | None = None,
) -> dict[str, ImageDataset]:
    """Load the images of a folder, see `find_images` for what it may hold.

    Args:
        root: the folder.
        limits: the parts to load ("train", "test", "all") → the size of a class-balanced random subset; None is all.
        image_size: side at which a network sees the images, in pixels. None takes the training images' own size where
            they are all squares of one size up to 128 pixels, and 64 otherwise.
        labels: where the labels come from.
        reading: how the files become pixels. Without a store_size, the images are stored at their own size where they
            are such squares, and otherwise at twice the image size, so that crops are sharp, but at most at 256.

    Returns:
        The parts; "test" only where some images have labels or there is a folder of that name.

    Raises:
        SimCLRError: the folder is not as described, or the images are unreadable.
    """
    layout = find_images(root, labels)
    train = [path for path, _ in layout.parts["train"]]
    files = sorted((pair for files in layout.parts.values() for pair in files), key=lambda pair: str(pair[0]))
    if "all" in limits:
        layout = replace(layout, parts={"all": files})
    log.info(shown(str(layout)))
    if not train:
        raise SimCLRError(f"{root} has too few images for a train part: add more, or a train/ folder.")
    sample = _sample(train, reading or Reading())
    size, reading = _sizes(sample, image_size, reading or Reading())  # both parts get the training images' size
    log.info(shown(f"{root}: {_choices(sample, size, reading)}"))
    find_levels = partial(set_levels, [path for path, _ in files], reading, root)
    if reading.levels is None:
        reading = replace(reading, levels=find_levels(scan=False))
    parts = {}
    for part, pairs in layout.parts.items():
        if not pairs or part not in limits:
            continue
        load = partial(_load_part, layout, part, limit=limits[part], shown_size=size)
        try:
            parts[part] = load(reading=reading)
        except NeedsLevelsError:  # the first deep image: the parts before it have none, and need no levels
            reading = replace(reading, levels=find_levels(scan=True))
            parts[part] = load(reading=reading)
    return {part: replace(images, reading=reading) for part, images in parts.items()}


def _load_part(layout: Layout, part: str, reading: Reading, limit: int | None, shown_size: int) -> ImageDataset:
    paths, labels = zip(*layout.parts[part], strict=True)
    return load_files(
        paths,
        torch.tensor(labels, dtype=torch.int64),
        layout.classes,
        reading,
        limit,
        name=layout.root.resolve().name,
        root=layout.root,
        part=part,
        shown_size=shown_size,
    )


@dataclass(frozen=True)
class Sample:
    """The facts that some of the files state about themselves, before their pixels are decoded.

    Attributes:
        sizes: the different (width, height) among them, in pixels.
        bands: the most bands that one of them has.
        alpha: which one of these is the image's opacity, counted from 1, if one is.
    """

    sizes: frozenset[tuple[int, int]]
    bands: int = 0
    alpha: int | None = None

    @property
    def native_size(self) -> int | None:
        """The side of the images, if all are squares of one size up to 128 pixels."""
        sides = {side for size in self.sizes for side in size}
        return sides.pop() if len(sides) == 1 and max(sides) <= MAX_NATIVE_SIZE else None

    @property
    def square(self) -> bool:
        """True if all images are square."""
        return all(width == height for width, height in self.sizes)


def _sample(paths: Sequence[Path], reading: Reading) -> Sample:
    """Look at the headers of some files, evenly spaced."""
    sizes, most, of_most = set(), 0, None
    with without_pillows_limit():
        for i in np.linspace(0, len(paths) - 1, min(len(paths), SAMPLED)).astype(int):
            with (
                contextlib.suppress(Exception),  # whatever is wrong with a file is reported when it is read
                opened(paths[i], reading.max_pixels) as file,
            ):
                sizes.add(file.size)
                bands, alpha = _count(file)
                if bands > most:
                    most, of_most = bands, alpha
    return Sample(frozenset(sizes), most, of_most)


def _count(file: Image.Image | Bands) -> tuple[int, int | None]:
    """Return an image's number of bands, and which one is its opacity. CMYK has the three bands of its colours."""
    if isinstance(file, Bands):
        return file.count, None if file.alpha is None else file.alpha + 1
    count = 3 if file.mode == "CMYK" else len(file.getbands())
    return count, count if file.has_transparency_data else None


def _sizes(sample: Sample, image_size: int | None, reading: Reading) -> tuple[int, Reading]:
    """Choose the side at which whole images are seen, and the side at which they are stored, where they are open."""
    native = sample.native_size
    size = image_size or min(native or DEFAULT_SIZE, reading.store_size or MAX_STORE_SIZE)
    store = reading.store_size or max(size, min(2 * size, native or MAX_STORE_SIZE))
    if store < size:
        raise SimCLRError(f"store_size must be at least image_size, {size} pixels, not {store}: leave it out.")
    return size, replace(reading, store_size=store)


def _choices(sample: Sample, size: int, reading: Reading) -> str:
    """Say in a line what becomes of the images."""
    text = (
        f"images are stored with {reading.store_size} × {reading.store_size} pixels and seen whole at {size} × {size}"
    )
    if not sample.square:
        what = "the central square of each" if reading.fit == "crop" else "all of each, with black borders"
        text += f"; not all are square: {what} is taken (fit {reading.fit})"
    if reading.levels is not None:
        text += f"; levels {reading.levels[0]:,.6g} and {reading.levels[1]:,.6g} of deep images are black and white"
    if reading.bands is None and sample.bands > 3:
        alpha = f", over white where band {sample.alpha} is transparent" if sample.alpha else ""
        text += f"; of {sample.bands} bands, 1, 2 and 3 are taken as red, green and blue{alpha}; bands chooses others"
    return text
