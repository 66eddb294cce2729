"""The choices that decide how the files of one's own images become pixels, and nothing else."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from simclr_lib.choices import MAX_COUNT, MAX_IMAGE_SIZE, MAX_PIXELS, Fit
from simclr_lib.errors import SimCLRError, require_range, unknown_name


@dataclass(frozen=True)
class Reading:
    """The way in which image files become square RGB images of 8 bits.

    Attributes:
        store_size: side at which the images are stored, in pixels, so that training can cut crops from them. None
            takes a size that suits the images and the size at which a network sees them.
        fit: what becomes of an image that is not square: "crop" keeps its central square, "pad" keeps all of it and
            adds black borders.
        bands: the three bands that are taken as red, green and blue, counted from 1. None takes the colours that the
            file names, or the first three bands.
        levels: the levels of deep images (more than 8 bits, signed or float) that become black and white. None takes
            the smallest and the largest level of the whole set.
        max_pixels: width × height of the largest image that is read.

    Raises:
        SimCLRError: a value makes no sense.
    """

    store_size: int | None = None
    fit: Fit = "crop"
    bands: tuple[int, int, int] | None = None
    levels: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        require_range("store_size", self.store_size, 1, MAX_IMAGE_SIZE)
        if self.fit not in typing.get_args(Fit):
            raise unknown_name("value of fit", str(self.fit), typing.get_args(Fit))
        for band in self.bands or ():
            require_range("bands", band, 1, MAX_COUNT)
        for level in self.levels or ():
            require_range("levels", level, -1e30, 1e30)
        if self.levels is not None and not self.levels[0] < self.levels[1]:
            raise SimCLRError(f"levels are those of black and of white, the smaller one first, not {self.levels}.")
        require_range("max_pixels", self.max_pixels, 1, 2**63)
