"""One image file to one small square of RGB pixels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from simclr_lib.choices import Fit
from simclr_lib.data.bands import ORIENTATION, Bands, opened, orientation_of, positions
from simclr_lib.data.reading import Reading
from simclr_lib.errors import SimCLRError

TOO_LARGE = 1e30  # a level above it, or below its negative, marks a pixel without data
STRIP = 2**16  # pixels of a deep image that are numbers of 32 or 64 bits at a time, because an image may be large


class NeedsLevelsError(SimCLRError):
    """A deep image cannot be read before it is known which of its levels become black and white."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} has more than 8 bits: say which of its levels become black and white (levels).")


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
    """Find the smallest and largest level of a deep image, in the bands that are taken, among pixels with data.

    Returns:
        float64 [3]: smallest, largest, and 1 where all levels are whole numbers or 0 where not. All are NaN for an
        image of 8 bits, and for one without a finite level.

    Raises:
        TooLargeError, Exception: as in `read_square`.
    """
    with opened(path, reading.max_pixels) as file:
        if isinstance(file, Bands) and file.deep:
            stored = file.load()
            ranges = []
            for _, strip in _strips(stored, file.colours(reading.bands)):
                known = strip[np.isfinite(strip) & ~_is_missing(strip, file.missing)]
                if known.size:
                    ranges += [float(known.min()), float(known.max())]
            if ranges:
                return np.array([min(ranges), max(ranges), stored.dtype.kind in "iu"], dtype=np.float64)
    return np.full(3, np.nan)


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
    elif image.mode == "1":
        image = image.convert("L")
    return Image.merge("RGB", [image.getchannel(i) for i in positions(bands, len(image.getbands()))])


def _upright(image: Image.Image) -> Image.Image:
    """Decode an image, and turn it as its EXIF data says."""
    image.load()  # decode now: a broken file raises here
    if orientation_of(image) == 1:
        return image
    with contextlib.suppress(Exception):  # damaged EXIF
        return ImageOps.exif_transpose(image)
    return image


def _draft(image: Image.Image, side: int, fit: Fit) -> None:
    """Let a JPEG be decoded at a half, a quarter or an eighth; twice the final size keeps the result sharp."""
    scale = 2 * side / (min(image.size) if fit == "crop" else max(image.size))
    image.draft(None, (max(1, math.floor(scale * image.width)), max(1, math.floor(scale * image.height))))


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
    levels = reading.levels if bands.deep else (0.0, 255.0)
    if levels is None:
        raise NeedsLevelsError(path)
    if bands.inverted:
        levels = levels[1], levels[0]
    stored = bands.load()
    picture = np.empty((*stored.shape[:2], len(chosen)), np.uint8)
    for rows, strip in _strips(stored, chosen):
        picture[rows] = _to_8_bits(strip, levels, bands.missing)
        if bands.alpha is not None and not reading.bands:
            alpha = stored[rows][..., [bands.alpha]]
            picture[rows] = _over_white(picture[rows], alpha, bands.premultiplied)
    image = Image.fromarray(picture if len(chosen) == 3 else picture[..., 0]).convert("RGB")
    image.getexif()[ORIENTATION] = bands.orientation()
    return _upright(image)


def _strips(levels: np.ndarray, bands: Sequence[int]) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield an image, [H, W, count], as strips of some rows: (the rows, the bands in them [h, W, len(bands)])."""
    height = max(1, STRIP // levels.shape[1])
    for start in range(0, len(levels), height):
        rows = slice(start, start + height)
        yield rows, levels[rows][..., bands]


def _is_missing(levels: np.ndarray, missing: float | None) -> np.ndarray:
    """Return where an image has no data, as a Boolean array: no number, the file's mark, or a number too large."""
    absent = np.isnan(levels)
    if levels.itemsize > 2:
        absent |= np.isfinite(levels) & (abs(levels) > TOO_LARGE)
    if missing is not None:
        # The mark is text, and rounds as the levels do. Marks outside the range of whole numbers equal none of them.
        absent |= levels == (levels.dtype.type(missing) if levels.dtype.kind == "f" else missing)
    return absent


def _to_8_bits(values: np.ndarray, levels: tuple[float, float], missing: float | None = None) -> np.ndarray:
    """Scale values so that the two levels become 0 and 255. Pixels without data become black."""
    black, white = levels
    scaled = (values.astype(np.float32 if values.itemsize <= 2 else np.float64) - black) * (255 / (white - black))
    return np.where(_is_missing(values, missing), 0, scaled).clip(0, 255).round().astype(np.uint8)


def _over_white(colours: np.ndarray, alpha: np.ndarray, premultiplied: bool) -> np.ndarray:
    """Lay colours, uint8 [h, W, n], over white where the opacity, [h, W, 1] of any number type, is not full."""
    full = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    opacity = _to_8_bits(alpha, (0.0, full)) / np.float32(255)
    part = colours if premultiplied else colours * opacity
    return (part + 255 * (1 - opacity)).clip(0, 255).round().astype(np.uint8)
