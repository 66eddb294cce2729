"""Image files to a data set: each is decoded once, on all cores, and then comes from the cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.data.bands import TooLargeError, opened, without_pillows_limit
from simclr_lib.data.dataset import ImageDataset, empty_images
from simclr_lib.data.pixels import read_square
from simclr_lib.data.reading import Reading
from simclr_lib.data.rows import Kind, Read, cached_rows, computed_rows
from simclr_lib.data.subsets import balanced_subset
from simclr_lib.errors import SimCLRError, counted, shown

log = logging.getLogger(__name__)


def load_files(
    paths: Sequence[Path],
    labels: Tensor,
    classes: list[str],
    reading: Reading,
    limit: int | None,
    name: str,
    root: Path,
    part: str,
    shown_size: int | None = None,
) -> ImageDataset:
    """Read labelled image files; only those that ``limit`` chooses are decoded.

    Args:
        paths: N image files.
        labels: int64 [N].
        classes: class names.
        reading: how to read them; with a store_size.
        limit: load a class-balanced random subset of this size; None loads all.
        name: the set's name.
        root: the set's folder, to which the names of the files are relative.
        part: the name of the part of the set.
        shown_size: see `ImageDataset`.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable, none is left, or the images fit nowhere.
        NeedsLevelsError: there is a deep image, and ``reading.levels`` is None.
    """
    if limit is not None:
        chosen = balanced_subset(labels, limit)
        paths, labels = [paths[i] for i in chosen.tolist()], labels[chosen]
    images, kept = decode_images(paths, reading, root, f"{part} {limit}")
    files = tuple(paths[i].relative_to(root).as_posix() for i in kept.tolist())
    return ImageDataset(images, labels[kept], classes, name, files, shown_size, reading)


def decode_images(
    paths: Sequence[Path], reading: Reading, root: Path = Path(), part: str = ""
) -> tuple[Tensor, Tensor]:
    """Decode image files to one uint8 tensor, memory-mapped from a cache.

    A file that is in a cache of the same folder, unchanged, is not decoded again. A damaged cache is named and
    replaced. Where none can be written, the images are kept in memory. Files that are unreadable or too large are
    skipped with a warning.

    Args:
        paths: N image files.
        reading: how to read them; with a store_size S.
        root: the set's folder.
        part: the name of the part of the set.

    Returns:
        (images, kept): uint8 [n, 3, S, S] and int64 [n], the positions in ``paths`` of the images.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable, none is left, or the images fit nowhere.
        NeedsLevelsError: there is a deep image, and ``reading.levels`` is None.
    """
    assert reading.store_size
    shape = (3, reading.store_size, reading.store_size)
    kind = Kind("images", (*astuple(reading), os.path.abspath(root)), shape, "|u1", "decoding")
    read = partial(read_square, reading=reading)
    try:
        _, images, kept = cached_rows(paths, kind, part, read)
    except OSError as error:
        log.warning(
            f"images cannot be cached ({error.strerror or error}): decoding into memory; "
            "set SIMCLR_CACHE to another folder to decode only once."
        )
        images, kept = _decode_to_memory(paths, kind, read)
    _warn_of_skipped(paths, kept, reading.max_pixels)
    return images, kept


def _decode_to_memory(paths: Sequence[Path], kind: Kind, read: Read) -> tuple[Tensor, Tensor]:
    """Decode into a tensor in memory. Raises SimCLRError where it does not fit."""
    side = kind.shape[-1]
    try:
        images = empty_images(len(paths), side)
    except SimCLRError as error:
        raise SimCLRError(
            f"{len(paths)} images of {side} pixels fit neither the cache folder nor the memory: "
            "set SIMCLR_CACHE to a folder with more space, or load fewer (limit) or smaller (store_size) images."
        ) from error
    kept: list[int] = []
    for rows, positions in computed_rows(paths, kind, read):
        images[len(kept) : len(kept) + len(rows)] = torch.from_numpy(rows)
        kept += positions
    return images[: len(kept)], torch.tensor(kept, dtype=torch.int64)


def _warn_of_skipped(paths: Sequence[Path], kept: Tensor, max_pixels: int) -> None:
    """Name the files that are not among the images, and why.

    Raises:
        SimCLRError: no image is left, because all are too large.
    """
    readable = set(kept.tolist())
    too_large: list[tuple[int, str]] = []
    broken = []
    for path in [path for i, path in enumerate(paths) if i not in readable]:
        if size := _size_if_too_large(path, max_pixels):
            too_large.append((size[0] * size[1], f"{path} with {size[0]:,} × {size[1]:,} pixels"))
        else:
            broken.append(str(path))
    if broken:
        more = ", …" if len(broken) > 3 else ""
        log.warning(shown(f"skipped {counted(len(broken), 'unreadable image')}: {', '.join(broken[:3])}{more}"))
    if too_large:
        pixels, largest = max(too_large)
        text = f"{len(too_large):,} images are too large to be read, such as {largest}: max_pixels={pixels} reads them"
        if not readable:
            raise SimCLRError(f"{text}.")
        log.warning(shown(text))


def _size_if_too_large(path: Path, max_pixels: int) -> tuple[int, int] | None:
    try:
        with without_pillows_limit(), opened(path, max_pixels):
            return None
    except TooLargeError as error:
        return error.size
    except Exception:  # broken
        return None
