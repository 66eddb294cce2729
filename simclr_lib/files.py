"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from simclr_lib.errors import SimCLRError


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
