"""Image files to a data set: each is decoded once, on all cores, and then comes from the cache."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.data.bands import TooLargeError
from simclr_lib.data.dataset import ImageDataset, empty_images
from simclr_lib.data.pixels import NeedsLevelsError, read_square
from simclr_lib.data.reading import Reading
from simclr_lib.data.rows import Kind, Problems, Read, cached_rows, computed_rows
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

    Returns:
        The images that could be read, in the order of their files.

    Raises:
        SimCLRError: as in `decode_images`.
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

    A file that is in a cache of the same folder, unchanged, is not decoded again; other levels change deep images only.
    A damaged cache is named and replaced. Where none can be written, the images are kept in memory. Files that are
    unreadable or too large are skipped with a warning.

    Args:
        paths: N image files.
        reading: how to read them; with a store_size S.
        root: the set's folder.
        part: the name of the part of the set.

    Returns:
        (images, kept): uint8 [n, 3, S, S] and int64 [n], the positions in ``paths`` of the images.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable, none is left, or the images fit neither the cache
            nor the memory.
        NeedsLevelsError: there is a deep image, and ``reading.levels`` is None.
    """
    kind = _kind(reading, root)
    read = partial(read_square, reading=reading)
    try:
        (_, images, kept), problems = cached_rows(paths, kind, part, read)
    except OSError as error:
        log.warning(
            f"images cannot be cached ({error.strerror or error}): decoding into memory; "
            "set SIMCLR_CACHE to another folder to decode only once."
        )
        problems = {}
        images, kept = _decode_to_memory(paths, kind, read, problems)
    for problem in problems.values():
        if isinstance(problem, NeedsLevelsError):
            raise problem
    _warn_of_skipped(paths, problems)
    return images, kept


def _kind(reading: Reading, root: Path) -> Kind:
    """Images of a folder that are read in one way. Those of 8 bits can be taken from what was read without levels."""
    assert reading.store_size
    shape = (3, reading.store_size, reading.store_size)
    base = _kind(replace(reading, levels=None), root) if reading.levels else None
    return Kind("images", (*astuple(reading), os.path.abspath(root)), shape, "|u1", "decoding", base)


def _decode_to_memory(paths: Sequence[Path], kind: Kind, read: Read, problems: Problems) -> tuple[Tensor, Tensor]:
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
    for rows, positions in computed_rows(paths, kind, read, problems):
        images[len(kept) : len(kept) + len(rows)] = torch.from_numpy(rows)
        kept += positions
    return images[: len(kept)], torch.tensor(kept, dtype=torch.int64)


def _warn_of_skipped(paths: Sequence[Path], problems: Problems) -> None:
    """Name the files that are not among the images, and why.

    Raises:
        SimCLRError: no image is left, because all are too large.
    """
    too_large = {i: problem.size for i, problem in problems.items() if isinstance(problem, TooLargeError)}
    broken = [i for i in sorted(problems) if i not in too_large]
    if broken:
        more = ", ".join(["", *(str(paths[i]) for i in broken[1:3]), *(["…"] if len(broken) > 3 else [])])
        first = f"{paths[broken[0]]} ({problems[broken[0]]})"
        log.warning(shown(f"skipped {counted(len(broken), 'unreadable image')}: {first}{more}"))
    if too_large:
        i, (width, height) = max(too_large.items(), key=lambda item: math.prod(item[1]))
        text = (
            f"left out {counted(len(too_large), 'image')}, too large to be read, such as {paths[i]} with "
            f"{width:,} × {height:,} pixels: max_pixels={width * height} reads "
            f"{'it' if len(too_large) == 1 else 'them'}"
        )
        if len(too_large) == len(paths):
            raise SimCLRError(f"{text}.")
        log.warning(shown(text))
