"""Checkpoints: written whole or not at all, and read without running any code in them."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from simclr_lib.errors import SimCLRError
from simclr_lib.files import write_atomically

FORMAT = 1


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
