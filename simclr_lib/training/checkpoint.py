"""Checkpoints: written whole or not at all, checked for damage, and read without running any code in them."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simclr_lib.errors import SimCLRError
from simclr_lib.files import CHECKPOINT, checkpoint_file, write_atomically

FORMAT = 1
MAX_EXPANSION = 10  # weights compress little: an archive that unpacks to more than this many times its size is a trap


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values to ``path``, atomically, with a digest of all of them.

    Args:
        path: the file.
        state: a dictionary of tensors, numbers, strings, None, and lists, tuples and dictionaries of these.

    Raises:
        SimCLRError: ``state`` holds something else, which `load_checkpoint` would refuse; or the file cannot be
            written. Nothing is written then.
    """
    content = {**state, "format": FORMAT}
    content.pop("digest", None)
    buffer = io.BytesIO()
    torch.save({**content, "digest": _digest(content)}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, to the CPU.

    Only tensors and plain values are read (``weights_only=True``): a checkpoint from a stranger runs no code. A file
    that changed since it was written is refused: the archive's own checksums (CRC-32) are compared before anything is
    read, and the digest of what was read afterwards. Checkpoints of older versions have no digest.

    Args:
        path: the file, or the folder that holds it as ``checkpoint.pt``.

    Returns:
        The saved dictionary, and ``format``.

    Raises:
        SimCLRError: there is no such file, it is damaged, or it is not a checkpoint of this package.
    """
    path = checkpoint_file(Path(path))
    try:
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SimCLRError(f"cannot read {path}: {error.strerror or error}.") from error
    except SimCLRError:
        raise
    except pickle.UnpicklingError as error:
        raise SimCLRError(
            f"{path} is not a safe checkpoint: it holds more than tensors and plain values, so it was not opened. "
            "Use one that this package wrote."
        ) from error
    except Exception as error:  # another program's archive makes the reader stumble anywhere
        raise SimCLRError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged or something else. "
            "Use another copy."
        ) from error
    if not isinstance(state, dict) or not isinstance(state.get("format"), int) or state["format"] != FORMAT:
        raise SimCLRError(f"{path} is not a checkpoint of this package (format {FORMAT}): train a new one.")
    digest = state.pop("digest", None)
    if digest is not None and digest != _digest(state):
        raise _damaged(path)
    return state


def _check_archive(path: Path) -> None:
    """Raise SimCLRError unless ``path`` is a zip archive, and all that it holds fits the archive's checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > MAX_EXPANSION * path.stat().st_size:
                raise SimCLRError(f"{path} is not a safe checkpoint: it would unpack to {unpacked / 1e9:.3g} GB.")
            intact = archive.testzip() is None
    except (OSError, SimCLRError):
        raise
    except Exception as error:  # a damaged directory makes zipfile stumble anywhere
        with open(path, "rb") as file:
            begins_as_archive = file.read(2) == b"PK"
        if begins_as_archive:
            raise _damaged(path) from error
        raise SimCLRError(
            f"{path} is not a checkpoint and cannot be read as one: give a run's folder or its {CHECKPOINT}."
        ) from error
    if not intact:
        raise _damaged(path)


def _damaged(path: Path) -> SimCLRError:
    return SimCLRError(f"{path} is damaged (its checksum does not fit): use another copy, or train anew.")


def _digest(state: object) -> str:
    """A fingerprint of tensors (type, shape and values) and plain values, in any nesting."""
    digest = hashlib.blake2b(digest_size=16)
    _add(state, digest)
    return digest.hexdigest()


def _add(value: object, digest: hashlib.blake2b) -> None:
    if isinstance(value, Tensor):
        digest.update(f"tensor {value.dtype} {list(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)} ".encode())
        for key, entry in value.items():
            _add(key, digest)
            _add(entry, digest)
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)} ".encode())
        for entry in value:
            _add(entry, digest)
    elif value is None or type(value) in (bool, int, float, str):  # NumPy's float64 is a float, but not a plain one
        text = repr(value)
        digest.update(f"{len(text)} {text} ".encode())
    else:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise SimCLRError(
            f"a checkpoint holds tensors and plain values only, not {' '.join(repr(value).split()):.60} ({kind}): "
            "convert it to a plain number or text."
        )
