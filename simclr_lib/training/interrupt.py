"""Ctrl-C and SIGTERM as a wish to stop after the step, so that a run can save first."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or the stop button of a notebook, after the checkpoint was saved.

    A notebook shows one line instead of a traceback, because nothing went wrong.

    Args:
        state: a sentence that says where training stopped.
        command: a sentence that says how a command goes on from there.
    """

    def __init__(self, state: str, command: str = "") -> None:
        super().__init__(state, command)

    def __str__(self) -> str:
        return " ".join(filter(None, self.args))

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows."""
        state = self.args[0]
        return [f"{state[:1].upper()}{state[1:]} Run the cell again to go on."]


class Interrupt:
    """A context within which the first Ctrl-C, or the SIGTERM of a job scheduler, only sets `asked`.

    A second Ctrl-C raises `KeyboardInterrupt` at once. Outside the main thread, where Python allows no handlers,
    signals do what they did before.

    Args:
        announce: print to stderr that the run is going to save.

    Attributes:
        asked: whether the user, or the job scheduler, asked to stop.
    """

    def __init__(self, announce: bool = True) -> None:
        self.announce = announce
        self.asked = False
        self._old_handlers: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old_handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # torchrun sends SIGTERM to the other processes when one dies: they must report before they exit.
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.announce and not self.asked:
            print("\nsaving after this step … (Ctrl-C again stops at once)", file=sys.stderr, flush=True)
        self.asked = True
