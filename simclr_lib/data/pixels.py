"""One image file to one small square of RGB pixels.

Pillow reads what nearly every file holds: 8 bits, and at most four bands. What it would cut to 8 bits, or refuses, is
read as an array of `Bands`: deep grey and colour (10 to 32 bits, signed, float) and images with more bands.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from tifffile import TiffFile, TiffPage

from simclr_lib.choices import Fit
from simclr_lib.data.reading import Reading
from simclr_lib.errors import SimCLRError

ORIENTATION = 0x0112  # the number of this tag in EXIF and in TIFF
BITS, COLOURS, SAMPLES, FORMAT = 258, 262, 277, 339  # tags of TIFF; the last is the format of the numbers
CMYK = 5  # value of the tag COLOURS


class NeedsLevelsError(SimCLRError):
    """A deep image cannot be read before it is known which of its levels become black and white."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} has more than 8 bits: say which of its levels become black and white (levels).")


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
            return _positions(chosen, self.count)
        return [0, 1, 2] if self.count - self.has_alpha >= 3 else [0]


def read_square(path: Path, reading: Reading) -> np.ndarray:
    """Read an image file as a square of ``reading.store_size`` pixels.

    Returns:
        uint8 [3, S, S].

    Raises:
        NeedsLevelsError: the image is deep, and ``reading.levels`` is None.
        TooLargeError: the image has more than ``reading.max_pixels``.
        Exception: the file is broken; decoders raise almost anything.
    """
    assert reading.store_size
    with opened(path, reading.max_pixels) as file:
        if isinstance(file, Bands):
            image = _rgb_of_bands(file, path, reading)
        else:
            _draft(file, reading.store_size, reading.fit)
            image = _chosen_bands(file, reading.bands) if reading.bands else to_rgb(file)
        square = fitted(image, reading.store_size, reading.fit)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def level_range(path: Path, reading: Reading) -> np.ndarray:
    """Find the smallest and largest level of a deep image, in the bands that are taken.

    Returns:
        float64 [3]: smallest, largest, and 1 where all levels are whole numbers or 0 where not. All are NaN for an
        image of 8 bits, and for one without a finite level.

    Raises:
        TooLargeError, Exception: as in `read_square`.
    """
    with opened(path, reading.max_pixels) as file:
        if isinstance(file, Bands):
            levels = file.load()
            if levels.dtype != np.uint8:
                levels = levels[..., file.colours(reading.bands)]
                finite = levels if levels.dtype.kind in "iu" else levels[np.isfinite(levels)]
                if finite.size:
                    return np.array([finite.min(), finite.max(), levels.dtype.kind in "iu"], dtype=np.float64)
    return np.full(3, np.nan)


@contextlib.contextmanager
def opened(path: Path, max_pixels: int) -> Iterator[Image.Image | Bands]:
    """Open an image file, before its pixels are decoded.

    Raises:
        TooLargeError, Exception: as in `read_square`.
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
        if isinstance(image, TiffImageFile) and _is_unusual(image):
            yield _bands_of_tiff(stack.enter_context(TiffFile(path)), max_pixels)
        elif isinstance(image, PngImageFile) and image.mode != "I;16" and ";16" in str(image.tile[:1]):
            yield _bands_of_png(path, image)
        elif image.mode == "F" or image.mode.startswith("I"):  # "I", "I;16", "I;16B", …
            yield Bands(image.size, 1, False, partial(_orientation, image), partial(_grey, image))
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


# Images as Pillow has them.


def to_rgb(image: Image.Image) -> Image.Image:
    """Bring a Pillow image of 8 bits to upright RGB. Transparency is laid over white.

    Raises:
        Exception: the file is broken; Pillow's decoders raise almost anything.
    """
    image = _upright(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _chosen_bands(image: Image.Image, bands: tuple[int, int, int]) -> Image.Image:
    """Take three bands of a Pillow image as red, green and blue."""
    image = _upright(image)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")  # a palette's numbers are no levels
    return Image.merge("RGB", [image.getchannel(i) for i in _positions(bands, len(image.getbands()))])


def _positions(bands: tuple[int, int, int], count: int) -> list[int]:
    if max(bands) > count:
        raise ValueError(f"it has {count} bands, so there is no band {max(bands)}")
    return [band - 1 for band in bands]


def _upright(image: Image.Image) -> Image.Image:
    """Decode an image, and turn it as its EXIF data says."""
    image.load()  # decode now: a broken file raises here
    if _orientation(image) == 1:
        return image
    with contextlib.suppress(Exception):  # damaged EXIF raises almost anything, over sound pixels
        return ImageOps.exif_transpose(image)
    return image


def _draft(image: Image.Image, side: int, fit: Fit) -> None:
    """Let a JPEG be decoded at a half, a quarter or an eighth; twice the final size keeps the result sharp."""
    scale = 2 * side / (min(image.size) if fit == "crop" else max(image.size))
    image.draft(None, (math.floor(scale * image.width), math.floor(scale * image.height)))


def fitted(image: Image.Image, side: int, fit: Fit) -> Image.Image:
    """Resize an image to a square (antialiased bilinear): its central square, or all of it with black borders.

    To resize the central square is the same as to resize the shorter side and crop the centre.
    """
    if image.size == (side, side):
        return image
    width, height = image.size
    bilinear, gap = Image.Resampling.BILINEAR, 3.0  # much larger images are first averaged down to 3 × the final size
    if fit == "crop":
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        return image.resize((side, side), bilinear, (left, top, left + short, top + short), gap)
    scale = side / max(width, height)
    inner = max(1, round(scale * width)), max(1, round(scale * height))
    square = Image.new("RGB", (side, side))
    square.paste(image.resize(inner, bilinear, None, gap), ((side - inner[0]) // 2, (side - inner[1]) // 2))
    return square


# Images as arrays of bands.


def _rgb_of_bands(bands: Bands, path: Path, reading: Reading) -> Image.Image:
    """Bring bands to upright RGB: levels are scaled, and transparency is laid over white."""
    chosen = bands.colours(reading.bands)
    stored = bands.load()
    colours = stored[..., chosen]
    if colours.dtype != np.uint8:
        if reading.levels is None:
            raise NeedsLevelsError(path)
        colours = _to_8_bits(colours, reading.levels)
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(colours, (*colours.shape[:2], 3))))
    if bands.has_alpha and not reading.bands:
        alpha = stored[..., -1]
        opaque = 1.0 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
        mask = Image.fromarray(_to_8_bits(alpha, (0.0, opaque)))
        image = Image.composite(image, Image.new("RGB", image.size, "white"), mask)
    image.getexif()[ORIENTATION] = bands.orientation()
    return _upright(image)


def _to_8_bits(values: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    """Scale values so that the two levels become 0 and 255. What is no number becomes black."""
    black, white = levels
    scaled = (values.astype(np.float32 if values.itemsize <= 2 else np.float64) - black) * (255 / (white - black))
    return np.nan_to_num(scaled, nan=0.0).clip(0, 255).round().astype(np.uint8)


def _grey(image: Image.Image) -> np.ndarray:
    """Return the levels of a deep grey Pillow image, [H, W, 1]."""
    image.load()
    return np.asarray(image)[..., None]


def _orientation(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # as above
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _bands_of_png(path: Path, image: PngImageFile) -> Bands:
    """The bands of a PNG file with 16 bits and more than grey levels. Pillow returns one byte of each number."""
    # Grey with opacity (LA) is 4 bytes a pixel, as RGBA of 8 bits is. Of colours, Pillow takes the first byte of each
    # number (16B, as PNG has it), or the second byte if it is told that the order is the other one (16L).
    grey = "LA;16" in str(image.tile)
    count = 2 if grey else len(image.getbands())
    orders = ("RGBA",) if grey else (f"{image.mode};16B", f"{image.mode};16L")
    tiles = image.tile

    def load() -> np.ndarray:
        parts = []
        for order in orders:
            with Image.open(path) as again:
                again.tile = [(*tile[:3], order) for tile in tiles]
                parts.append(np.asarray(again).astype(np.uint16))
        if grey:
            return parts[0][..., 0::2] * 256 + parts[0][..., 1::2]
        return parts[0] * 256 + parts[1]

    return Bands(image.size, count, count in (2, 4), partial(_orientation, image), load)


def _is_tiff(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) in (b"II", b"MM")


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
