"""The cache of what was computed from files: a folder for each set of files, memory-mapped, with checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import logging
import math
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from simclr_lib.device import cores
from simclr_lib.errors import shown
from simclr_lib.files import temporary_folder

ARRAYS = ("keys.npy", "rows.npy", "kept.npy")
CHECKSUMS = "checksums.json"
CHECKED_AT_ONCE = 2**24  # bytes that share a checksum
LARGE = 5e9  # bytes: how much all caches together may take without a word

log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """The folder of decoded images. Anything in it may be deleted at any time.

    ``$SIMCLR_CACHE``, else ``$XDG_CACHE_HOME/simclr``, else ``~/.cache/simclr``; where there is no home folder, or it
    is read-only, a folder of this user among the temporary files.

    Raises:
        OSError: no temporary folder can be written to either, or it belongs to somebody else.
    """
    if chosen := os.environ.get("SIMCLR_CACHE"):
        return Path(os.path.expanduser(chosen))
    base = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    folder = Path(base) / "simclr"
    has_home = not base.startswith("~")
    return folder if has_home and is_writable(folder) else _temporary_cache_dir(folder)


def is_writable(folder: Path) -> bool:
    """Return whether a folder can be written to, or be made."""
    existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)


@lru_cache  # so that it is said once
def _temporary_cache_dir(unwritable: Path) -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"simclr-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != user):
        raise PermissionError(errno.EPERM, f"{folder} belongs to somebody else")
    log.warning(
        f"{unwritable} cannot be written to: decoded images are kept in {folder}. SIMCLR_CACHE chooses another."
    )
    return folder


class Cached(NamedTuple):
    """Rows that were computed from files, such as their pixels.

    Attributes:
        keys: uint8 [N, 16]: which files these are, and of what state, see `file_keys`.
        rows: [n, …], memory-mapped: a row for each file that could be read.
        kept: int64 [n]: the positions of those files among the N.
    """

    keys: np.ndarray
    rows: Tensor
    kept: Tensor


def file_keys(paths: Sequence[Path]) -> np.ndarray:
    """Compute a key for each file that changes with its path, its size and its time.

    Returns:
        uint8 [N, 16].
    """
    keys = bytearray()
    for path in paths:
        digest = hashlib.blake2b(os.fsencode(os.path.abspath(path)), digest_size=16)
        with contextlib.suppress(OSError):  # a dangling link: reading it will report it
            state = os.stat(path)
            digest.update(f"\0{state.st_size} {state.st_mtime_ns}".encode())
        keys += digest.digest()
    return np.frombuffer(keys, np.uint8).reshape(-1, 16)


def known_rows(folder: Path, keys: np.ndarray, own: Cached | None) -> dict[int, np.ndarray]:
    """Find the rows of files in a cache that other files have changed or joined since, and in the caches beside it.

    Args:
        folder: the cache. Its name is ``kind-family-part``: all caches of a family hold the same row for the same file.
        keys: uint8 [N, 16]: the files' keys.
        own: the content of the cache; None if there is none, or it is damaged.

    Returns:
        position among the N files → the file's row.
    """
    position = {key.tobytes(): i for i, key in enumerate(keys)}
    found: dict[int, np.ndarray] = {}

    def take(cached: Cached | None) -> None:
        if cached:
            for row, key in zip(cached.rows.numpy(), cached.keys[cached.kept.numpy()], strict=True):
                if key.tobytes() in position:
                    found[position[key.tobytes()]] = row

    take(own)
    for other in sorted(folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*")):
        lacking = {key for key, i in position.items() if i not in found}
        if other != folder and any(key.tobytes() in lacking for key in _keys(other)):
            take(open_cache(other))
    return found


def _keys(folder: Path) -> np.ndarray:
    """The keys of a cache, not yet compared with their checksum; none if they cannot be read."""
    with contextlib.suppress(Exception):  # whatever a damaged file raises
        keys = np.load(folder / "keys.npy")
        if isinstance(keys, np.ndarray) and keys.ndim == 2:
            return keys
    return np.empty((0, 16), np.uint8)


def open_cache(folder: Path) -> Cached | None:
    """Open a cache that `write_cache` wrote, after all of it has been compared with its checksums.

    Reading a memory map is nothing that a program can watch, so the checks cannot wait until an image is used. They run
    on all cores, at the speed of the disk (a second or less for a gigabyte), and leave the images in the operating
    system's memory, where the training that follows finds them.

    Returns:
        What it holds; or None if there is no cache, or a damaged one, which a warning names.
    """
    while before := _state(folder):
        cached, problem = None, "its checksums do not fit"
        try:
            if (folder / CHECKSUMS).read_bytes() == _checksums(folder):
                cached = _open(folder)
        except OSError as error:
            problem = error.strerror or type(error).__name__
        if _state(folder) != before:
            continue  # another process has replaced it meanwhile, and what was read is perhaps of both
        if cached is None:
            log.warning(
                f"the cache {folder} is damaged or of an older version ({problem}): the images are decoded again."
            )
        return cached
    return None


def _state(folder: Path) -> tuple[int, int] | None:
    """Return numbers that change when a folder is replaced, or loses a file; None if there is no folder."""
    with contextlib.suppress(OSError):
        state = os.stat(folder)
        return state.st_ino, state.st_mtime_ns
    return None


def write_cache(
    folder: Path, keys: np.ndarray, blocks: Iterable[tuple[np.ndarray, list[int]]], shape: tuple[int, ...], dtype: str
) -> Cached:
    """Write the rows of some files to ``folder``, which appears whole or not at all, and replaces one that is there.

    Other processes may read and write the same folder meanwhile, for other files.

    Args:
        folder: the folder.
        keys: uint8 [N, 16]: the files' keys.
        blocks: (rows [n, …], their n positions among the files), block by block.
        shape: shape of a row.
        dtype: number type of the rows, as NumPy writes it: "|u1".

    Returns:
        What was written, memory-mapped.

    Raises:
        OSError: there is not enough space, or the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder.parent).free < len(keys) * math.prod(shape) * np.dtype(dtype).itemsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with temporary_folder(folder.parent) as temporary:
        unfinished = temporary / folder.name
        unfinished.mkdir()
        kept: list[int] = []
        with open(unfinished / "rows.npy", "wb") as file:
            _write_header(file, (len(keys), *shape), dtype)
            # Written, not memory-mapped: a disk that fills up is then an error and not a killed process.
            for rows, positions in blocks:
                file.write(rows.data)
                kept += positions
            file.seek(0)
            _write_header(file, (len(kept), *shape), dtype)  # NumPy pads headers, so both are equally long
        np.save(unfinished / "keys.npy", keys)
        np.save(unfinished / "kept.npy", np.array(kept, dtype=np.int64))
        (unfinished / CHECKSUMS).write_bytes(_checksums(unfinished))
        # Opened here, because another process may put its own files in the place at any time. Windows moves no folder
        # with an open file: there it is opened afterwards, and its keys tell whose it is.
        cached = None if os.name == "nt" else _open(unfinished)
        _put(unfinished, folder, temporary)
    _tell_size(folder.parent)
    cached = cached or open_cache(folder)
    if cached is None or not np.array_equal(cached.keys, keys):
        raise OSError(errno.EBUSY, f"another process writes to {folder}")
    return cached


def _tell_size(folder: Path) -> None:
    """Say how much all caches take if it is much: those that are no longer needed stay until they are deleted."""
    size = 0
    for rows in folder.glob("*/rows.npy"):
        with contextlib.suppress(OSError):  # another process may have replaced it meanwhile
            size += rows.stat().st_size
    if size > LARGE:
        log.info(shown(f"images in {folder} take {size / 1e9:,.1f} GB; any folder there may be deleted at any time"))


def _put(unfinished: Path, folder: Path, temporary: Path) -> None:
    """Move a cache to its place, and what is there to the temporary folder: that of other files, or a damaged one."""
    for attempt in itertools.count():
        with contextlib.suppress(FileNotFoundError):
            os.replace(folder, temporary / f"replaced-{attempt}")
        try:
            os.replace(unfinished, folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # of a process that was faster
                raise


def _checksums(folder: Path) -> bytes:
    """JSON: the folder's name, which tells what it holds, and the CRC-32 of every block of each array's file."""
    content: dict[str, object] = {"name": folder.name}
    with ThreadPoolExecutor(cores()) as pool:
        for name in ARRAYS:
            starts = range(0, os.path.getsize(folder / name), CHECKED_AT_ONCE)
            sums = pool.map(partial(_checksum, folder / name), starts)
            content[name] = list(tqdm(sums, total=len(starts), desc="checking the cache", unit="block", delay=2))
    return json.dumps(content).encode()


def _checksum(path: Path, start: int) -> int:
    with open(path, "rb") as file:
        file.seek(start)
        return zlib.crc32(file.read(CHECKED_AT_ONCE))


def _open(folder: Path) -> Cached:
    keys, kept = np.load(folder / "keys.npy"), np.load(folder / "kept.npy")
    return Cached(keys, _memory_map(folder / "rows.npy"), torch.from_numpy(kept))


def _memory_map(path: Path) -> Tensor:
    """The array in a .npy file, paged in as it is read."""
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: the file stays as it is
    except OSError:
        # Linux refuses a private writable map that is larger than its memory, but gives a read-only one.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")
            return torch.from_numpy(np.load(path, mmap_mode="r"))


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: str) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
