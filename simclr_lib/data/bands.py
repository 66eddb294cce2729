"""An image file as Pillow opens it, or as an array of bands where Pillow would lose something.

Pillow reads what nearly every file holds: 8 bits, and at most four bands. It cuts deep colours (10 to 32 bits, signed,
float) to 8 bits or refuses them, and refuses most images with more bands.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from tifffile import TiffFile, TiffPage

from simclr_lib.errors import counted

ORIENTATION = 0x0112  # the number of this tag in EXIF and in TIFF
BITS, COLOURS, SAMPLES, FORMAT = 258, 262, 277, 339  # tags of TIFF; the last is the format of the numbers
CMYK = 5  # value of the tag COLOURS


class TooLargeError(Exception):
    """An image has more pixels than are read.

    Attributes:
        size: width and height, in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(f"{size[0]:,} × {size[1]:,} pixels")
        self.size = size


@dataclass(frozen=True)
class Bands:
    """The bands of an image that Pillow would change or refuse.

    Attributes:
        size: width and height, in pixels.
        count: number of bands.
        has_alpha: whether the last band is the image's opacity.
        orientation: reads how the image is to be turned, by EXIF's numbers; 1 is upright.
        load: reads the bands: an array [H, W, count] of any number type.
    """

    size: tuple[int, int]
    count: int
    has_alpha: bool
    orientation: Callable[[], int]
    load: Callable[[], np.ndarray]

    def colours(self, chosen: tuple[int, int, int] | None) -> list[int]:
        """Return the positions of the bands that become the picture: three, or one of a grey image.

        Raises:
            ValueError: there is no such band.
        """
        if chosen:
            return positions(chosen, self.count)
        return [0, 1, 2] if self.count - self.has_alpha >= 3 else [0]


def positions(bands: tuple[int, int, int], count: int) -> list[int]:
    """Return the positions of bands that are counted from 1.

    Raises:
        ValueError: there is no such band among the ``count``.
    """
    if max(bands) > count:
        raise ValueError(f"it has {counted(count, 'band')}, so there is no band {max(bands)}")
    return [band - 1 for band in bands]


@contextlib.contextmanager
def opened(path: Path, max_pixels: int) -> Iterator[Image.Image | Bands]:
    """Open an image file, before its pixels are decoded.

    Raises:
        TooLargeError: the image has more than ``max_pixels``.
        Exception: the file is broken; decoders raise almost anything.
    """
    if not os.path.isfile(path):
        raise OSError("there is no such file")  # a pipe with the name of a picture would never end
    with contextlib.ExitStack() as stack:
        try:
            image = stack.enter_context(Image.open(path))
        except UnidentifiedImageError:
            if not _is_tiff(path):
                raise
            yield _bands_of_tiff(stack.enter_context(TiffFile(path)), max_pixels)
            return
        _check_size(image.size, max_pixels)
        if isinstance(image, TiffImageFile) and _is_compressed_deep(image):
            yield _bands_of_two_bytes(path, image, first="16N", second="16B" if sys.byteorder == "little" else "16L")
        elif isinstance(image, TiffImageFile) and _is_unusual(image):
            yield _bands_of_tiff(stack.enter_context(TiffFile(path)), max_pixels)
        elif isinstance(image, PngImageFile) and not image.mode.startswith("I") and ";16" in str(image.tile[:1]):
            yield _bands_of_png(path, image)
        elif image.mode == "F" or image.mode.startswith("I"):  # "I", "I;16", "I;16B", …
            yield Bands(image.size, 1, False, partial(orientation_of, image), partial(_grey, image))
        else:
            yield image


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise TooLargeError(size)


@contextlib.contextmanager
def without_pillows_limit() -> Iterator[None]:
    """Let Pillow open images of any size: `opened` has a limit of its own, which can be chosen."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def orientation_of(image: Image.Image) -> int:
    """Read how a Pillow image is to be turned, by EXIF's numbers; 1 is upright."""
    with contextlib.suppress(Exception):  # damaged EXIF raises almost anything, over sound pixels
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _grey(image: Image.Image) -> np.ndarray:
    """Return the levels of a deep grey Pillow image, [H, W, 1]."""
    image.load()
    return np.asarray(image)[..., None]


def _bands_of_png(path: Path, image: PngImageFile) -> Bands:
    """The bands of a PNG file with 16 bits and more than grey levels."""
    if "LA;16" not in str(image.tile):
        return _bands_of_two_bytes(path, image, first="16B", second="16L")
    as_bytes = _reread(path, "RGBA")  # grey with opacity is 4 bytes a pixel, as RGBA of 8 bits is

    def load() -> np.ndarray:
        values = as_bytes()
        return 256 * values[..., 0::2] + values[..., 1::2]

    return Bands(image.size, 2, True, partial(orientation_of, image), load)


def _bands_of_two_bytes(path: Path, image: Image.Image, first: str, second: str) -> Bands:
    """The bands of an image with 16 bits in red, green, blue and perhaps opacity, of which Pillow returns one byte.

    It returns the upper byte of each number, and the lower one if it is told that the bytes have the other order.

    Args:
        path: the file.
        image: the image that Pillow has opened.
        first: Pillow's name of the right order of the bytes.
        second: its name of the other order.
    """
    upper, lower = (_reread(path, f"{image.mode};{order}") for order in (first, second))
    count = len(image.getbands())
    return Bands(image.size, count, count == 4, partial(orientation_of, image), lambda: 256 * upper() + lower())


def _reread(path: Path, order: str) -> Callable[[], np.ndarray]:
    """Return a function that decodes a file as if its bytes had this order, to an array of 16 bits."""

    def read() -> np.ndarray:
        with Image.open(path) as image:
            assert isinstance(image, PngImageFile | TiffImageFile)
            image.tile = [_reordered(tile, order) for tile in image.tile]
            if isinstance(image, TiffImageFile):
                image.getexif()[ORIENTATION] = 1  # else Pillow turns the image as soon as it is decoded
            image.load()
            return np.asarray(image).astype(np.uint16)

    return read


def _reordered(tile: Any, order: str) -> Any:
    """Return Pillow's description of where and how pixels are stored, with another order of the bytes."""
    codec, extents, offset, args = tile
    args = order if isinstance(args, str) else (order, *args[1:])
    return tile._replace(args=args) if hasattr(tile, "_replace") else (codec, extents, offset, args)  # since Pillow 11


def _is_tiff(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) in (b"II", b"MM")


def _is_compressed_deep(image: TiffImageFile) -> bool:
    """Return whether libtiff, which knows all compressions, gives colours of 16 bits, in this machine's order (16N)."""
    return image.mode in ("RGB", "RGBA") and f"'{image.mode};16N'" in str(image.tile)


def _is_unusual(image: TiffImageFile) -> bool:
    """Return whether Pillow's form of a TIFF file lacks something: bits, signs, or bands after the fourth."""
    tags = image.tag_v2
    bits, samples = max(tags.get(BITS, (1,))), tags.get(SAMPLES, 1)
    unsigned, signed = (kind in tags.get(FORMAT, (1,)) for kind in (1, 2))
    deep_colours = bits > 8 and samples > 1 and tags.get(COLOURS) != CMYK
    return samples > 4 or deep_colours or (bits == 8 and signed) or (bits == 32 and unsigned)


def _bands_of_tiff(file: TiffFile, max_pixels: int) -> Bands:
    """The bands of the first page of a TIFF file."""
    page = file.pages[0]
    assert isinstance(page, TiffPage)
    _check_size((page.imagewidth, page.imagelength), max_pixels)
    tag = page.tags.get(ORIENTATION)
    extra = [int(kind) for kind in page.extrasamples]

    def load() -> np.ndarray:
        height, width, count = page.imagelength, page.imagewidth, page.samplesperpixel
        if page.planarconfig == 2:  # one band after the other
            return page.asarray().reshape(count, height, width).transpose(1, 2, 0)
        return page.asarray().reshape(height, width, count)

    return Bands(
        size=(page.imagewidth, page.imagelength),
        count=page.samplesperpixel,
        has_alpha=extra[-1:] in ([1], [2]),  # TIFF's numbers for opacity, with and without premultiplied colours
        orientation=lambda: int(tag.value) if tag else 1,
        load=load,
    )
