"""Many image files to one tensor: each file is decoded once, on all cores, and then comes from the cache."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from simclr_lib.data.cache import Cached, cache_dir, file_keys, known_rows, open_cache, write_cache
from simclr_lib.data.dataset import ImageDataset, empty_images
from simclr_lib.data.pixels import (
    NeedsLevelsError,
    TooLargeError,
    level_range,
    opened,
    read_square,
    without_pillows_limit,
)
from simclr_lib.data.reading import Reading
from simclr_lib.data.subsets import balanced_subset
from simclr_lib.errors import SimCLRError, shown

CACHE_FORMAT = 2  # raise it whenever the same files would decode to other pixels
PIECE = 4  # files that a thread takes at a time: to hand over a small image costs a part of what it costs to decode
AHEAD = 2  # pieces for each thread that are begun before the first is done: bounds the memory, and the wait at Ctrl-C
MAX_UNREADABLE = 0.1  # the share of broken files that is skipped rather than refused

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
    read = partial(read_square, reading=reading)
    shape = (3, reading.store_size, reading.store_size)
    try:
        folder = _cache_folder("images", (*astuple(reading), os.path.abspath(root)), part)
        cached = computed_rows(paths, folder, read, shape, "|u1", "decoding")
        images, kept = cached.rows, cached.kept
    except OSError as error:
        log.warning(
            f"images cannot be cached ({error.strerror or error}): decoding into memory; "
            "set SIMCLR_CACHE to another folder to decode only once."
        )
        images, kept = _decode_to_memory(paths, reading.store_size, read)
    _warn_of_skipped(paths, kept, reading.max_pixels)
    return images, kept


def set_levels(paths: Sequence[Path], reading: Reading, root: Path, scan: bool) -> tuple[float, float] | None:
    """Find the levels that become black and white in all deep images of a set together.

    These are the smallest and the largest level in any of them; whole numbers from 0 to 255 stay as they are.

    Args:
        paths: all files of the set.
        reading: how they are read.
        root: the set's folder.
        scan: look through the files. Otherwise that is only done if it was done before, and then new files are.

    Returns:
        (black, white), which a line of the log names; None if no image is deep.
    """
    read, name = partial(level_range, reading=reading), "finding the grey levels"
    try:
        folder = _cache_folder("levels", (reading.bands, reading.max_pixels, os.path.abspath(root)), "")
        if not scan and not folder.exists():
            return None
        ranges = computed_rows(paths, folder, read, (3,), "<f8", name).rows.numpy()
    except OSError:
        if not scan:
            return None
        ranges = np.concatenate([rows for rows, _ in _rows(paths, {}, read, name)])
    ranges = ranges[~np.isnan(ranges[:, 0])]
    if not len(ranges):
        return None
    low, high, whole = ranges[:, 0].min(), ranges[:, 1].max(), ranges[:, 2].all()
    if whole and low >= 0 and high <= 255:
        low, high = 0, 255
    high = max(high, np.nextafter(low, np.inf))  # images of one level are black
    log.info(
        shown(
            f"{root}: {len(ranges):,} images have grey levels from {low:,.6g} to {high:,.6g}, which become black and "
            "white; levels chooses other limits"
        )
    )
    return float(low), float(high)


def _cache_folder(kind: str, family: tuple[object, ...], part: str) -> Path:
    """The folder for a part of a set. Caches of a family differ in their files, not in what is made of a file."""
    names = (
        hashlib.blake2b(repr(words).encode(), digest_size=8).hexdigest() for words in ((CACHE_FORMAT, *family), part)
    )
    return cache_dir() / "-".join([kind, *names])


def computed_rows(
    paths: Sequence[Path],
    folder: Path,
    read: Callable[[Path], np.ndarray],
    shape: tuple[int, ...],
    dtype: str,
    description: str,
) -> Cached:
    """Compute a row of numbers from each file, or take it from a cache if the file has not changed since.

    Args:
        paths: N files.
        folder: the cache, see `known_rows`.
        read: path → the file's row.
        shape: shape of a row.
        dtype: its number type.
        description: title of the progress bar.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable, or ``read`` raises it.
        OSError: the cache cannot be written.
    """
    keys = file_keys(paths)
    cached = open_cache(folder)
    if cached and np.array_equal(cached.keys, keys):
        return cached
    known = known_rows(folder, keys, cached)
    return write_cache(folder, keys, _rows(paths, known, read, description), shape, dtype)


def _decode_to_memory(paths: Sequence[Path], size: int, read: Callable[[Path], np.ndarray]) -> tuple[Tensor, Tensor]:
    """Decode into a tensor in memory. Raises SimCLRError where it does not fit."""
    try:
        images = empty_images(len(paths), size)
    except SimCLRError as error:
        raise SimCLRError(
            f"{len(paths)} images of {size} pixels fit neither the cache folder nor the memory: "
            "set SIMCLR_CACHE to a folder with more space, or load fewer (limit) or smaller (store_size) images."
        ) from error
    kept: list[int] = []
    for rows, positions in _rows(paths, {}, read, "decoding"):
        images[len(kept) : len(kept) + len(rows)] = torch.from_numpy(rows)
        kept += positions
    return images[: len(kept)], torch.tensor(kept, dtype=torch.int64)


def _rows(
    paths: Sequence[Path], known: dict[int, np.ndarray], read: Callable[[Path], np.ndarray], description: str
) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Yield (rows [n, …], their n positions in ``paths``), block by block, in order; known rows are not read again."""
    unreadable: list[str] = []
    pieces = (range(start, min(start + PIECE, len(paths))) for start in range(0, len(paths), PIECE))
    piece_rows = partial(_read_piece, paths, known, read)
    bar = tqdm(total=len(paths) - len(known), desc=description, unit="image", delay=1)
    with without_pillows_limit(), ThreadPoolExecutor(os.cpu_count()) as pool, bar:
        for piece, results in _in_order(pool, piece_rows, pieces, AHEAD * (os.cpu_count() or 1)):
            rows = {i: row for i, row in zip(piece, results, strict=True) if isinstance(row, np.ndarray)}
            unreadable += [
                f"{paths[i]}: {problem}"
                for i, problem in zip(piece, results, strict=True)
                if i not in rows and not isinstance(problem, TooLargeError)
            ]
            if len(unreadable) > MAX_UNREADABLE * len(paths):
                raise SimCLRError(
                    f"{len(unreadable)} of the first {piece.stop} images are unreadable "
                    f"({'; '.join(unreadable[:3])}): repair or delete them, or copy the set anew."
                )
            if rows:
                yield np.stack(list(rows.values())), list(rows)
            bar.update(sum(i not in known for i in piece))


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[range], list[np.ndarray | Exception]],
    pieces: Iterator[range],
    ahead: int,
) -> Iterator[tuple[range, list[np.ndarray | Exception]]]:
    """Let the threads do the pieces, ``ahead`` of them at a time, and yield each with its result, in order."""
    begun: deque[tuple[range, Future[list[np.ndarray | Exception]]]] = deque()
    try:
        for piece in pieces:
            begun.append((piece, pool.submit(work, piece)))
            if len(begun) > ahead:
                first, future = begun.popleft()
                yield first, future.result()
        while begun:
            first, future = begun.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read_piece(
    paths: Sequence[Path], known: dict[int, np.ndarray], read: Callable[[Path], np.ndarray], piece: range
) -> list[np.ndarray | Exception]:
    """The row of each file of a piece, or what reading it raised."""
    results: list[np.ndarray | Exception] = []
    for i in piece:
        try:
            results.append(known[i] if i in known else read(paths[i]))
        except (MemoryError, NeedsLevelsError):
            raise
        except Exception as error:  # decoders raise almost anything on a broken file
            results.append(error)
    return results


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
        log.warning(shown(f"skipped {len(broken)} unreadable images: {', '.join(broken[:3])}{more}"))
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
