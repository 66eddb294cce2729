"""Folders and times: what several commands need around the work itself."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from simclr_lib.errors import SimCLRError


def check_writable(folder: Path) -> None:
    """Raise `SimCLRError` if no file can be written below ``folder``, before hours of work depend on it.

    The folder need not exist, and this does not make it.
    """
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise SimCLRError(
            f"cannot write to {folder}: {error.strerror or error}. Choose another folder, or mend its permissions."
        ) from error


class Stopwatch:
    """Seconds of the named parts of a command."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Add the time since the last lap to the part ``name``."""
        moment = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0) + moment - self._last, 1)
        self._last = moment

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self._start, 1)

    def laps(self) -> dict[str, float]:
        """Seconds of every part so far, and the total."""
        return {**self.seconds, "total": self.total}
