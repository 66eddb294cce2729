"""A row of numbers from each of many files, such as its pixels: computed on all cores, and only once."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from simclr_lib.data.bands import TooLargeError, without_pillows_limit
from simclr_lib.data.cache import Cached, cache_dir, file_keys, known_rows, open_cache, write_cache
from simclr_lib.data.pixels import NeedsLevelsError
from simclr_lib.device import cores
from simclr_lib.errors import SimCLRError, counted

CACHE_FORMAT = 3  # raise it whenever the same files would give other rows
PIECE = 4  # files that a thread takes at a time: to hand over a small image costs a part of what it costs to decode
AHEAD = 2  # pieces for each thread that are begun before the first is done: bounds the memory, and the wait at Ctrl-C
MAX_UNREADABLE = 0.1  # the share of broken files that is skipped rather than refused

Read = Callable[[Path], np.ndarray]
"""Computes the row of a file."""

Problems = dict[int, Exception]
"""Position of a file → what reading it raised."""


@dataclass(frozen=True)
class Kind:
    """The rows that are computed from files.

    Attributes:
        name: names the cache.
        choices: all that decides what is computed from a file, besides the file: rows of equal choices are exchanged.
        shape: shape of a row.
        dtype: number type of a row, as NumPy writes it.
        doing: title of the progress bar.
        base: a kind whose rows, of fewer of the files, are rows of this kind too.
    """

    name: str
    choices: tuple[object, ...]
    shape: tuple[int, ...]
    dtype: str
    doing: str
    base: Kind | None = None

    def cache(self, part: str) -> Path:
        """Return the folder of a cache. Those of equal choices, for several parts of a set, have names alike.

        Raises:
            OSError: see `cache_dir`.
        """
        words = (repr((CACHE_FORMAT, *self.choices)), part)
        hashes = (hashlib.blake2b(os.fsencode(word), digest_size=8).hexdigest() for word in words)
        return cache_dir() / "-".join([self.name, *hashes])


def cached_rows(paths: Sequence[Path], kind: Kind, part: str, read: Read) -> tuple[Cached, Problems]:
    """Compute a row from each file, or take it from a cache if the file has not changed since.

    Files that cannot be read, or are too large, have no row. They are tried again each time, because a disk or a
    network may have failed, or a decoder may have been installed.

    Args:
        paths: N files.
        kind: what is computed.
        part: the part of a set that the files are, which has a cache of its own.
        read: path → the file's row.

    Returns:
        (rows, problems): the rows, memory-mapped, and why the other files have none.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable.
        OSError: the cache cannot be written.
    """
    folder, keys = kind.cache(part), file_keys(paths)
    cached, problems, again = open_cache(folder), Problems(), Results()
    if cached and np.array_equal(cached.keys, keys):
        failed = sorted(set(range(len(paths))) - set(cached.kept.tolist()))
        with without_pillows_limit(), ThreadPoolExecutor(cores()) as pool:
            for results in pool.map(partial(_read_piece, paths, {}, read), ([i] for i in failed)):
                again |= results
        problems = {i: problem for i, problem in again.items() if isinstance(problem, Exception)}
        if len(problems) == len(failed):
            return cached, problems
    known = known_rows(folder, keys, cached) | {i: row for i, row in again.items() if isinstance(row, np.ndarray)}
    if kind.base:
        base = kind.base.cache(part)
        known |= known_rows(base, keys, open_cache(base))
    blocks = computed_rows(paths, kind, read, problems, known)
    return write_cache(folder, keys, blocks, kind.shape, kind.dtype), problems


def computed_rows(
    paths: Sequence[Path], kind: Kind, read: Read, problems: Problems, known: dict[int, np.ndarray] | None = None
) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Compute a row from each file, on all cores, without a cache.

    Threads are enough, because the libraries that decode images let other threads run meanwhile.

    Args:
        paths, kind, read: as in `cached_rows`.
        problems: why the other files have no row is written here.
        known: position in ``paths`` → row, of files that need not be read.

    Yields:
        (rows [n, …], their n positions in ``paths``), in order.

    Raises:
        SimCLRError: as in `cached_rows`.
    """
    known = known or {}
    unreadable: list[str] = []
    threads = cores()
    pieces = (range(start, min(start + PIECE, len(paths))) for start in range(0, len(paths), PIECE))
    bar = tqdm(total=len(paths) - len(known), desc=kind.doing, unit="image", delay=1)
    with without_pillows_limit(), ThreadPoolExecutor(threads) as pool, bar:
        for piece, results in _in_order(pool, partial(_read_piece, paths, known, read), pieces, AHEAD * threads):
            rows = {i: row for i, row in results.items() if isinstance(row, np.ndarray)}
            for i, problem in results.items():
                if isinstance(problem, Exception):
                    problems[i] = problem
                    if not isinstance(problem, TooLargeError | NeedsLevelsError):
                        unreadable.append(f"{paths[i]}: {problem}")
            if len(unreadable) > MAX_UNREADABLE * len(paths):
                raise SimCLRError(
                    f"{len(unreadable)} of the first {counted(piece.stop, 'image')} "
                    f"{'is' if len(unreadable) == 1 else 'are'} unreadable ({'; '.join(unreadable[:3])}): "
                    "repair or delete them, or copy the set anew."
                )
            if rows:
                yield np.stack(list(rows.values())), list(rows)
            bar.update(sum(i not in known for i in piece))


Results = dict[int, np.ndarray | Exception]
"""Position of a file → its row, or what reading it raised."""


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[range], Results], pieces: Iterator[range], ahead: int
) -> Iterator[tuple[range, Results]]:
    """Let the threads do the pieces, ``ahead`` of them at a time, and yield each with its result, in order."""
    begun: deque[tuple[range, Future[Results]]] = deque()
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


def _read_piece(paths: Sequence[Path], known: dict[int, np.ndarray], read: Read, piece: Iterable[int]) -> Results:
    results: Results = {}
    for i in piece:
        try:
            results[i] = known[i] if i in known else read(paths[i])
        except MemoryError:
            raise
        except Exception as error:  # decoders raise almost anything on a broken file
            results[i] = error
    return results
