"""The folder of a training run: it belongs to one run, and one process at a time writes to it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset
from simclr_lib.distributed import world
from simclr_lib.errors import SimCLRError
from simclr_lib.files import CHECKPOINT, RESULTS, check_run, lock_file
from simclr_lib.training.checkpoint import load_checkpoint, save_checkpoint

LOCK = ".lock"
FILM = "film"  # folder of the filmed images' features, a file per moment


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        path: the folder. It holds ``config.json`` (settings, command, versions, hardware), ``metrics.jsonl`` (a line
            per step, and a line per measurement on the validation images), ``checkpoint.pt`` (model, optimiser, step),
            perhaps ``film`` (features of some images at several moments) and, at the end, ``results.json``.
        state: the checkpoint of the run that is resumed; None for a new run.
    """

    path: Path
    state: dict[str, Any] | None = None

    @property
    def checkpoint(self) -> Path:
        """The path of the checkpoint."""
        return self.path / CHECKPOINT

    def settings(self) -> TrainConfig:
        """Return the settings of the run that is resumed.

        Raises:
            SimCLRError: the checkpoint is not that of a run.
        """
        if self.state is None or not {"config", "facts", "step", "model", "optimizer"} <= self.state.keys():
            raise SimCLRError(f"{self.checkpoint} is not the checkpoint of a run: choose another folder.")
        return TrainConfig.from_dict(self.state["config"])

    def save(self, state: dict[str, object]) -> None:
        """Write the checkpoint, whole or not at all."""
        if not self.path.is_dir():
            raise SimCLRError(f"the folder {self.path} was removed during the run: what it held is lost.")
        save_checkpoint(self.checkpoint, state)

    def save_frame(self, steps: int, frame: dict[str, object]) -> None:
        """Keep a moment of the film, after so many steps."""
        save_checkpoint(self.path / FILM / f"{steps:08d}.pt", frame)

    def drop_frames_after(self, steps: int) -> None:
        """Remove what a killed run filmed after its last checkpoint: the resumed run will film it again."""
        for frame in _frames(self.path):
            if int(frame.stem) > steps:
                frame.unlink()


@contextlib.contextmanager
def claimed(path: Path, resume: bool) -> Iterator[RunFolder]:
    """Open the folder of a run; within the context no other process can write to it.

    With several processes all enter it, and the leading one claims the folder. A folder that is empty in the end is
    removed.

    Args:
        path: the folder; it is made where it is missing.
        resume: continue the run in the folder. Otherwise the folder must not hold a run.

    Raises:
        SimCLRError: the folder holds another run, or nothing to resume, cannot be written to, or another process
            writes to it.
    """
    if not world().leads:  # the other processes go by what the leading one finds
        yield RunFolder(path)
        return
    check_run(path, resume)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    with removed_if_empty(path), locked(path):
        check_run(path, resume)  # another run may have begun in between
        _remove_leftovers(path)
        yield RunFolder(path, load_checkpoint(path / CHECKPOINT) if resume else None)


@contextlib.contextmanager
def removed_if_empty(path: Path) -> Iterator[None]:
    """Remove a folder in the end if nothing was written to it."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()  # fails unless the folder is empty


def new_folder(name: str) -> Path:
    """Make a folder below ``runs`` that did not exist before: runs/name, runs/name-2, …"""
    name = re.sub("[/:]", "-", name)  # of a data set such as hf:ylecun/mnist
    path, number = Path("runs") / name, 1
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
            path = Path("runs") / f"{name}-{number}"
        except OSError as error:
            raise _unwritable(path, error) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder. The lock of a process that was killed is void.

    Raises:
        SimCLRError: another process holds the lock; the message names it.
    """
    path = folder / LOCK
    file = _locked_file(path)
    try:
        os.truncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(file)


def _locked_file(path: Path) -> int:
    """Open and lock the file at ``path``, and return its descriptor."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        try:
            lock_file(file)
        except (BlockingIOError, PermissionError) as error:
            holder = b""
            with contextlib.suppress(OSError):  # Windows does not let others read a locked file
                holder = os.read(file, 200)
            os.close(file)
            raise SimCLRError(
                f"{holder.decode(errors='replace') or 'another process'} writes to {path.parent}: wait until it has "
                "ended, or choose another folder."
            ) from error
        except OSError:
            pass  # some network disks know no locks
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        os.close(file)  # its holder removed the file in between


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes of an early version left, ``.checkpoint.pt.k3v9x0ab``; the caller has the lock.

    Such a file was written to become the file of that name, with permissions for its owner alone. By these it is told
    from a hidden copy that somebody made. What later versions leave is removed by `write_atomically`.
    """
    for name in (CHECKPOINT, *RESULTS):
        for leftover in path.glob(f".{name}.????????"):
            with contextlib.suppress(OSError):
                if stat.S_IMODE(leftover.lstat().st_mode) == stat.S_IRUSR | stat.S_IWUSR:
                    leftover.unlink()


def _unwritable(path: Path, error: OSError) -> SimCLRError:
    return SimCLRError(f"cannot write to {path} ({error.strerror or error}): choose another folder.")


def read_film(run_dir: Path, filmed: ImageDataset) -> dict[str, Tensor]:
    """Read the features of some images at each moment that a run kept.

    Args:
        run_dir: the run's folder.
        filmed: the images, as they were given to `pretrain`.

    Returns:
        "epoch 3" → float32 [N, D], in order of time; {} if the run kept features of other images.
    """
    frames = [load_checkpoint(path) for path in sorted(_frames(Path(run_dir)))]
    fingerprint = filmed.fingerprint()
    return {f"epoch {frame['epoch']:.3g}": frame["h"].float() for frame in frames if frame["images"] == fingerprint}


def _frames(run_dir: Path) -> list[Path]:
    """The files of the moments that a run kept. Files with other names in that folder are none of its own."""
    return [path for path in (run_dir / FILM).glob("*.pt") if path.stem.isdecimal()]
