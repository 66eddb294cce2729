"""An image file as Pillow opens it, or as an array of bands where Pillow would lose something.

Pillow reads what nearly every file holds: 8 bits, and at most four bands. It cuts deep colours (10 to 32 bits, signed,
float) to 8 bits or refuses them, and refuses or drops most bands after the colours.
"""

from __future__ import annotations

import contextlib
import os
import re
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
from tifffile import TIFF, TiffFile, TiffPage

from simclr_lib.errors import counted

ORIENTATION = 0x0112  # the number of this tag in EXIF and in TIFF
BITS, COLOURS, SAMPLES, FORMAT = 258, 262, 277, 339  # tags of TIFF; the last is the format of the numbers
MISSING = 42113  # GDAL's tag: the level, as text, that stands for a pixel without data
WHITE_IS_ZERO, CMYK = 0, 5  # values of the tag COLOURS
PREMULTIPLIED, STRAIGHT = 1, 2  # TIFF's numbers of bands of opacity, whose colours are multiplied by it or are not


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
        deep: whether the levels are other numbers than 8 bits without a sign.
        orientation: reads how the image is to be turned, by EXIF's numbers; 1 is upright.
        load: reads the bands: an array [H, W, count] of any number type.
        alpha: position of the band that is the image's opacity, if there is one.
        premultiplied: whether the colours are multiplied by the opacity.
        inverted: whether the smallest level is white.
        missing: the level that stands for a pixel without data, if there is one.
    """

    size: tuple[int, int]
    count: int
    deep: bool
    orientation: Callable[[], int]
    load: Callable[[], np.ndarray]
    alpha: int | None = None
    premultiplied: bool = False
    inverted: bool = False
    missing: float | None = None

    def colours(self, chosen: tuple[int, int, int] | None) -> list[int]:
        """Return the positions of the bands that become the picture: three, or one of a grey image.

        Raises:
            ValueError: there is no such band.
        """
        if chosen:
            return positions(chosen, self.count)
        coloured = [i for i in range(self.count) if i != self.alpha]
        return coloured[:3] if len(coloured) >= 3 else coloured[:1]


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

    Yields:
        A Pillow image of 8 bits, or the bands of an image of another kind.

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
        elif isinstance(image, TiffImageFile) and (_is_unusual(image) or _lacks_bands(image, path)):
            yield _bands_of_tiff(stack.enter_context(TiffFile(path)), max_pixels)
        elif isinstance(image, PngImageFile) and not image.mode.startswith("I") and ";16" in str(image.tile[:1]):
            yield _bands_of_png(path, image)
        elif image.mode == "F" or image.mode.startswith("I"):  # "I", "I;16", "I;16B", …
            yield _grey_bands(image)
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


def _grey_bands(image: Image.Image) -> Bands:
    """The only band of a deep grey Pillow image."""

    def load() -> np.ndarray:
        if isinstance(image, TiffImageFile) and image.tile[0][0] == "libtiff":
            image.tile = [_in_native_order(tile) for tile in image.tile]
        image.load()
        return np.asarray(image)[..., None]

    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    return Bands(
        size=image.size,
        count=1,
        deep=True,
        orientation=partial(orientation_of, image),
        load=load,
        inverted=tags.get(COLOURS) == WHITE_IS_ZERO,
        missing=_number(tags.get(MISSING)),
    )


def _number(text: object) -> float | None:
    """The number that a tag has as text."""
    with contextlib.suppress(ValueError):
        return float(str(text).strip("\0 "))
    return None


def _bands_of_png(path: Path, image: PngImageFile) -> Bands:
    """The bands of a PNG file with 16 bits and more than grey levels."""
    if "LA;16" not in str(image.tile):
        return _bands_of_two_bytes(path, image, first="16B", second="16L")
    as_bytes = _reread(path, "RGBA")  # grey with opacity is 4 bytes a pixel, as RGBA of 8 bits is

    def load() -> np.ndarray:
        values = as_bytes()
        return _of_two_bytes(values[..., 0::2], values[..., 1::2])

    return Bands(image.size, 2, True, partial(orientation_of, image), load, alpha=1)


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
    alpha = 3 if count == 4 else None
    load = lambda: _of_two_bytes(upper(), lower())  # noqa: E731
    return Bands(image.size, count, True, partial(orientation_of, image), load, alpha)


def _of_two_bytes(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return numbers of 16 bits, made in place because images may be large."""
    numbers = upper.astype(np.uint16)
    numbers *= 256
    numbers += lower
    return numbers


def _reread(path: Path, order: str) -> Callable[[], np.ndarray]:
    """Return a function that decodes a file as if its bytes had this order, to an array of 8 bits."""

    def read() -> np.ndarray:
        with Image.open(path) as image:
            assert isinstance(image, PngImageFile | TiffImageFile)
            image.tile = [_reordered(tile, order) for tile in image.tile]
            if isinstance(image, TiffImageFile):
                image.getexif()[ORIENTATION] = 1  # else Pillow turns the image as soon as it is decoded
            image.load()
            return np.asarray(image)

    return read


def _reordered(tile: Any, order: str) -> Any:
    """Return Pillow's description of where and how pixels are stored, with another order of the bytes."""
    codec, extents, offset, args = tile
    args = order if isinstance(args, str) else (order, *args[1:])
    return tile._replace(args=args) if hasattr(tile, "_replace") else (codec, extents, offset, args)  # since Pillow 11


def _in_native_order(tile: Any) -> Any:
    """Return libtiff's tile with bytes in this machine's order (N), to which libtiff brings them: Pillow forgets it."""
    return _reordered(tile, re.sub("(16|32)B?(?!N)", r"\1N", tile[3][0]))


def _is_tiff(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) in (b"II", b"MM")


def _is_compressed_deep(image: TiffImageFile) -> bool:
    """Return whether libtiff, which knows all compressions, gives colours of 16 bits, in this machine's order (16N)."""
    return image.mode in ("RGB", "RGBA") and f"'{image.mode};16N'" in str(image.tile)


def _is_unusual(image: TiffImageFile) -> bool:
    """Return whether Pillow's form of a TIFF file lacks bits or signs."""
    tags = image.tag_v2
    bits, samples = max(tags.get(BITS, (1,))), tags.get(SAMPLES, 1)
    unsigned, signed = (kind in tags.get(FORMAT, (1,)) for kind in (1, 2))
    deep_colours = bits > 8 and samples > 1 and tags.get(COLOURS) != CMYK
    return deep_colours or (bits == 8 and signed) or (bits == 32 and unsigned)


def _lacks_bands(image: TiffImageFile, path: Path) -> bool:
    """Return whether Pillow drops bands of a TIFF file, such as near infrared after the colours, that tifffile reads.

    By itself, tifffile knows fewer compressions than Pillow. Of such files, Pillow's bands are better than none.
    """
    if image.mode in ("P", "PA", "CMYK") or image.tag_v2.get(SAMPLES, 1) <= len(image.getbands()):
        return False
    with TiffFile(path) as file:
        page = file.pages[0]
        return isinstance(page, TiffPage) and page.compression in TIFF.DECOMPRESSORS


def _bands_of_tiff(file: TiffFile, max_pixels: int) -> Bands:
    """The bands of the first page of a TIFF file."""
    page = file.pages[0]
    assert isinstance(page, TiffPage)
    _check_size((page.imagewidth, page.imagelength), max_pixels)
    has_ink = page.photometric == CMYK and page.samplesperpixel >= 4
    count = page.samplesperpixel - has_ink  # four inks become three colours
    extra = [int(kind) for kind in page.extrasamples]
    alpha = next((i for i, kind in enumerate(extra, count - len(extra)) if kind in (PREMULTIPLIED, STRAIGHT)), None)
    tags = {number: page.tags[number].value for number in (ORIENTATION, MISSING) if number in page.tags}

    def load() -> np.ndarray:
        height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
        if page.planarconfig == 2:  # one band after the other
            levels = page.asarray().reshape(samples, height, width).transpose(1, 2, 0)
        else:
            levels = page.asarray().reshape(height, width, samples)
        return _without_ink(levels) if has_ink else levels

    return Bands(
        size=(page.imagewidth, page.imagelength),
        count=count,
        deep=page.dtype != np.uint8,
        orientation=lambda: int(tags.get(ORIENTATION, 1)),
        load=load,
        alpha=alpha,
        premultiplied=PREMULTIPLIED in extra,
        inverted=page.photometric == WHITE_IS_ZERO,
        missing=_number(tags.get(MISSING)),
    )


def _without_ink(levels: np.ndarray) -> np.ndarray:
    """Turn cyan, magenta, yellow and black, [H, W, 4 + n], into red, green and blue, [H, W, 3 + n], as Pillow does."""
    most = np.iinfo(levels.dtype).max
    left = 1 - levels[..., :4] / most
    colours = (most * left[..., :3] * left[..., 3:]).round().astype(levels.dtype)
    return np.concatenate([colours, levels[..., 4:]], axis=-1)
