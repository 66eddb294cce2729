"""Folders and times: what several commands need around the work itself."""

from __future__ import annotations

import time
from collections.abc import Sequence


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


def minutes(seconds: float) -> str:
    """A duration as "2:05 minutes"."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d} minutes"


class Steps:
    """Tells the reader of a terminal which step of a command has begun, and how long the rest takes.

    Args:
        steps: (what is done, estimated seconds), in order. They are printed.
    """

    def __init__(self, steps: Sequence[tuple[str, float]]) -> None:
        self.steps, self.begun = steps, 0
        self._start = time.monotonic()
        print(f"This takes about {minutes(sum(seconds for _, seconds in steps))} here:")
        for number, (what, seconds) in enumerate(steps, 1):
            print(f"  {number}. {what}: about {minutes(seconds)}")

    def begin(self) -> None:
        """Announce the next step. What is left is estimated by the pace of the steps so far."""
        what, _ = self.steps[self.begun]
        past = sum(seconds for _, seconds in self.steps[: self.begun])
        pace = (time.monotonic() - self._start) / past if past else 1.0
        left = pace * sum(seconds for _, seconds in self.steps[self.begun :])
        self.begun += 1
        print(f"step {self.begun} of {len(self.steps)}, about {minutes(left)} left: {what} …", flush=True)
