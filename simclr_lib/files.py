"""Files and folders that appear whole or not at all, and the removal of what a killed process leaves behind."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simclr_lib.errors import SimCLRError, shown

if TYPE_CHECKING:
    import numpy as np

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

CHECKPOINT = "checkpoint.pt"  # name of a run's checkpoint in its folder
OUTPUT_HEAD = "output_head.pt"  # beside it: the head that was trained on the frozen features, and its classes
RESULTS = ("config.json", "metrics.jsonl", "results.json", OUTPUT_HEAD)  # the other files of a run
ROWS = "rows.json"  # in the folder of a sweep that has not ended
PREFIX, LOCK = ".simclr-", ".lock"  # `.simclr-k3v9x0ab` is a temporary folder, `.simclr-k3v9x0ab.lock` its lock


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, ``path`` holds either the old content or the new one.

    Raises:
        SimCLRError: the folder cannot be written to, or the disk is full. The old file is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path.parent) as folder:
            with open(folder / "content", "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(folder / "content", path)
    except OSError as error:
        raise SimCLRError(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose another folder; "
            f"files that were there are as they were."
        ) from error


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as a CSV file in UTF-8, as a whole or not at all.

    Raises:
        SimCLRError: as in `write_atomically`.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(columns)
    table.writerows(rows)
    write_atomically(path, shown(text.getvalue()).encode())


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an .npz file, name → array, as a whole or not at all.

    Raises:
        SimCLRError: as in `write_atomically`.
    """
    import numpy as np  # imported here, because the command line imports this file for its help

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A new hidden folder in ``parent``, on the same disk, so that what it holds can be renamed into ``parent``.

    It is removed at the end of the ``with`` block. A process that is killed cannot do so; the next process that makes
    a temporary folder in the same place does it then. A locked file beside each folder tells the two cases apart,
    because the operating system releases the lock of a process that dies, and only then.

    Raises:
        OSError: the folder cannot be made.
    """
    _remove_abandoned(parent)
    handle, lock = _new_lock(parent)
    folder = lock.with_suffix("")
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
        with contextlib.suppress(OSError):  # another process may have been faster
            lock.unlink()


def _new_lock(parent: Path) -> tuple[int, Path]:
    """Make a file that stays locked until its handle is closed: (handle, path)."""
    while True:
        handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=LOCK, dir=parent)
        try:
            lock_file(handle)
            if os.path.exists(name):
                return handle, Path(name)
        except (BlockingIOError, PermissionError):
            pass
        except OSError:  # a disk without locks: nobody can lock the file, so nobody takes it for abandoned
            return handle, Path(name)
        os.close(handle)  # another process took the file for abandoned before it was locked


def lock_file(handle: int) -> None:
    """Lock an open file for this process, until the file is closed or the process ends.

    Raises:
        BlockingIOError, PermissionError: another process holds the lock (the second one on Windows).
        OSError: this disk knows no locks.
    """
    if sys.platform == "win32":
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders in ``parent`` whose processes are dead."""
    for lock in parent.glob(f"{PREFIX}????????{LOCK}"):
        with contextlib.suppress(OSError):  # its process is alive, or another process removes the folder
            with open(lock, "rb+") as file:
                lock_file(file.fileno())
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink()


def check_writable(folder: Path | None) -> None:
    """Raise `SimCLRError` if no file can be written below ``folder``, before hours of work depend on it.

    The folder need not exist, and this does not make it. None passes, because it stands for a new folder.
    """
    if folder is None:
        return
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise SimCLRError(
            f"cannot write to {folder}: {error.strerror or error}. Choose another folder, or mend its permissions."
        ) from error


def checkpoint_file(path: Path) -> Path:
    """Return the checkpoint that a path names: the file itself, or the one in the folder of a run.

    Raises:
        SimCLRError: there is none.
    """
    if path.is_dir():
        if not (path / CHECKPOINT).is_file():
            raise SimCLRError(f"there is no checkpoint in the folder {path}: check the path, or train one first.")
        return path / CHECKPOINT
    if not path.is_file():
        raise SimCLRError(f"there is no checkpoint at {path}: check the path, or train one first.")
    return path


def data_folder(path: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the data: the one that is named, or that of this machine."""
    return Path(path or os.environ.get("SIMCLR_DATA") or "data").expanduser()


def require_folder(folder: Path | None, holding: str = "images") -> None:
    """Raise `SimCLRError` if a folder was named that is not there."""
    if folder and not folder.is_dir():
        raise SimCLRError(f"there is no folder {folder}: check the path of the {holding}.")


def content_of(file: Path) -> bytes:
    """Return what a file holds.

    Raises:
        SimCLRError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise SimCLRError(f"cannot read {file}: {error.strerror or error}.") from error


def check_images(folder: Path | None, labels: str | None) -> None:
    """Raise `SimCLRError` if a folder of images was named that is not there, or a CSV file of labels that is not."""
    require_folder(folder)
    if labels not in (None, "folders", "none"):
        content_of(Path(labels).expanduser())


def check_file(file: Path | None, example: str) -> None:
    """Raise `SimCLRError` if a file cannot be written, or is a folder that could hold one such as ``example``.

    None passes, because it stands for no file.
    """
    if file is None:
        return
    if file.is_dir():
        raise SimCLRError(f"{file} is a folder: name a file, such as {file / example}.")
    check_writable(file.parent)


def check_run(folder: Path, resume: bool) -> None:
    """Raise `SimCLRError` where a folder holds another run, or nothing to resume."""
    begun = (folder / CHECKPOINT).exists()
    if resume and not begun:
        raise SimCLRError(f"no checkpoint to resume is in {folder}: leave out resume=True to start a run there.")
    if begun and not resume:
        raise SimCLRError(f"{folder} already holds a run: continue it (resume=True), or choose another folder.")
    for name in RESULTS:
        if not begun and (folder / name).exists():
            raise SimCLRError(f"{folder} has no checkpoint, but a {name} that would be lost: choose another folder.")


def check_rows(folder: Path | None, resume: bool) -> None:
    """Raise `SimCLRError` where a folder holds another sweep, or nothing to resume."""
    if folder is None:
        if resume:
            raise SimCLRError("resume=True needs out=FOLDER: name that of the sweep to continue.")
        return
    if (folder / "results.json").exists():
        raise SimCLRError(f"{folder} already holds results: choose another folder.")
    if resume and not (folder / ROWS).exists():
        raise SimCLRError(f"no sweep to resume is in {folder}: leave out resume=True to start one there.")
    if not resume and (folder / ROWS).exists():
        raise SimCLRError(f"{folder} holds an unfinished sweep: continue it (resume=True), or choose another folder.")


def notebooks_in(folder: Path) -> list[Path]:
    """Return the notebooks in a folder and in the folders in it, without Jupyter's own copies.

    Raises:
        SimCLRError: there are none.
    """
    notebooks = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not notebooks:
        raise SimCLRError(f"{folder} holds no notebooks: give the folder with the files that the learners returned.")
    return notebooks
