"""The log of a run: a line of JSON per step and per measurement."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path

from simclr_lib.choices import LogName
from simclr_lib.errors import SimCLRError
from simclr_lib.files import content_of, write_atomically
from simclr_lib.training.trackers import Tracker, open_tracker

NAME = "metrics.jsonl"


class MetricsLog:
    """The file ``metrics.jsonl`` of a run's folder and, if wanted, a tracker that receives the same numbers.

    Args:
        run_dir: the run's folder.
        tracker: name of the tracker.
        settings: the settings of the run, for the tracker.
    """

    def __init__(
        self, run_dir: Path, tracker: LogName | None = None, settings: dict[str, object] | None = None
    ) -> None:
        self.run_dir = run_dir
        self.path = run_dir / NAME
        self._name, self._settings = tracker, settings or {}
        self._tracker: Tracker | None = None

    def start(self, step: int) -> None:
        """Begin to log at a step. What a killed run logged after its last checkpoint is dropped, as it comes again.

        Raises:
            SimCLRError: the tracker is missing, or does not start.
        """
        kept = [json.dumps(record) + "\n" for record in read_metrics(self.run_dir) if record["step"] < step]
        write_atomically(self.path, "".join(kept).encode())
        if self._name:
            self._tracker = open_tracker(self._name, self.run_dir, step, self._settings)

    def write(self, records: Iterable[dict[str, float]]) -> None:
        """Append records, each with its "step"."""
        records = list(records)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)
        except OSError as error:
            raise SimCLRError(
                f"cannot write {self.path}: {error.strerror}. Free some space or choose another folder; "
                "the last checkpoint is as it was."
            ) from error
        if self._tracker:
            for record in records:
                metrics = {name: value for name, value in record.items() if name not in ("step", "epoch")}
                self._tracker.log(metrics, step=int(record["step"]))

    def close(self) -> None:
        """End the tracker's part."""
        if self._tracker:
            self._tracker.finish()


def read_metrics(run_dir: Path) -> list[dict[str, float]]:
    """Read the lines of a run's ``metrics.jsonl``; [] where there is no such file.

    A damaged line is left out, with a warning that names it. A last line without its end, as a killed run leaves it,
    is left out without a word.

    Raises:
        SimCLRError: the file cannot be read.
    """
    path = Path(run_dir) / NAME
    content = content_of(path) if path.exists() else b""
    *lines, _ = content.split(b"\n")  # behind the last line's end there is nothing, or a line that was cut off
    records = []
    for number, line in enumerate(lines, 1):
        record = _record(line)
        if record is None:
            warnings.warn(f"line {number} of {path} is damaged and was left out.", stacklevel=2)
        else:
            records.append(record)
    return records


def _record(line: bytes) -> dict[str, float] | None:
    """Return a line's record, or None if it is damaged."""
    try:
        record = json.loads(line)
    except ValueError:  # not JSON, or not UTF-8
        return None
    if not isinstance(record, dict) or type(record.get("step")) is not int:
        return None
    return record if all(type(value) in (int, float) for value in record.values()) else None  # True is no number here
