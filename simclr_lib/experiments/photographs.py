"""Photographs to measure with: scikit-learn's two, enlarged to what a camera takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

QUALITY = 90  # of the JPEG files
NOISE = 6  # largest change of a pixel's level: enlarged pictures are smooth, and compress better than photographs


def photographs(count: int, width: int, height: int) -> Iterator[Image.Image]:
    """Make photographs: different parts of scikit-learn's two, enlarged, with a little noise.

    Args:
        count: number of photographs.
        width, height: their size, in pixels.
    """
    from sklearn.datasets import load_sample_images  # takes a second

    originals = [Image.fromarray(image) for image in load_sample_images().images]
    random = np.random.default_rng(0)
    for i in range(count):
        original = originals[i % len(originals)]
        left, top = (0.2 * random.random() * side for side in original.size)
        box = (left, top, left + 0.8 * original.width, top + 0.8 * original.height)
        enlarged = original.resize((width, height), Image.Resampling.BICUBIC, box)
        noise = random.integers(-NOISE, NOISE + 1, (height, width, 1), dtype=np.int16)
        yield Image.fromarray((np.asarray(enlarged) + noise).clip(0, 255).astype(np.uint8))


def write_photographs(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """Write photographs as JPEG files into a folder that is there, see `photographs`."""
    paths = [folder / f"{i}.jpg" for i in range(count)]
    for path, image in zip(paths, photographs(count, width, height), strict=True):
        image.save(path, quality=QUALITY)
    return paths
