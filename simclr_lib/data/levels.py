"""The levels that become black and white in the deep images of a set: the same ones in all of them.

Images of more than 8 bits do not say how many bits are in use, or what is white in a float image. The range of a single
image does not tell either, and images that are each stretched to their own range lose their brightness beside others.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from simclr_lib.data.pixels import level_range
from simclr_lib.data.reading import Reading
from simclr_lib.data.rows import Kind, cached_rows, computed_rows
from simclr_lib.errors import counted, shown

log = logging.getLogger(__name__)


def set_levels(paths: Sequence[Path], reading: Reading, root: Path, scan: bool) -> tuple[float, float] | None:
    """Find the smallest and the largest level in all deep images of a set together.

    Whole numbers that all lie between 0 and 255 are 8 bits in a deep file: their black and white are 0 and 255.

    Args:
        paths: all files of the set.
        reading: how they are read.
        root: the set's folder.
        scan: look through all files. Otherwise that is done only if it was done before, and then for new files.

    Returns:
        The levels of black and of white, which a line of the log names; None if no image is deep, as far as is known.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable.
    """
    choices = (reading.bands, reading.max_pixels, os.path.abspath(root))
    kind = Kind("levels", choices, (3,), "<f8", "finding the grey levels")
    read = partial(level_range, reading=reading)
    try:
        if not scan and not kind.cache("").exists():
            return None
        ranges = cached_rows(paths, kind, "", read)[0].rows.numpy()
    except OSError:
        if not scan:
            return None
        ranges = np.concatenate([rows for rows, _ in computed_rows(paths, kind, read, {})])
    ranges = ranges[~np.isnan(ranges[:, 0])]
    if not len(ranges):
        return None
    low, high = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    if ranges[:, 2].all() and low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    high = max(high, float(np.nextafter(low, np.inf)))  # images of one level are black
    log.info(
        shown(
            f"{root}: {counted(len(ranges), 'image')} of more than 8 bits; the levels {low:,.6g} and {high:,.6g} of "
            "all of them together become black and white; levels chooses others"
        )
    )
    return low, high
