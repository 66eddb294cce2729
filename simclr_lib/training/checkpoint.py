"""Checkpoints: written whole or not at all, and read without running any code in them."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch

from simclr_lib.errors import SimCLRError

FORMAT = 1


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, ``path`` holds either the old content or the new one.

    Raises:
        SimCLRError: the folder cannot be written to, or the disk is full. The old file is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise SimCLRError(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose another folder; "
            f"files that were there are as they were."
        ) from error


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to ``path``, atomically."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, to the CPU.

    Only tensors and plain values are read (``weights_only=True``): a checkpoint from a stranger runs no code.

    Raises:
        SimCLRError: no such file, damaged, or not a checkpoint of this package.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoint.pt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SimCLRError(f"there is no checkpoint at {path}: check the path, or train one first.") from None
    except pickle.UnpicklingError as error:
        raise SimCLRError(
            f"{path} is not a safe checkpoint: it holds more than tensors and plain values, so it was not opened. "
            "Use one that this package wrote."
        ) from error
    except Exception as error:  # a damaged file makes the reader stumble anywhere
        raise SimCLRError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged or something else. "
            "Use another copy."
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise SimCLRError(f"{path} is not a checkpoint of this package (format {FORMAT}): train a new one.")
    return state
