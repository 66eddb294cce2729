"""The log of a run: a line of JSON per step and per measurement."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simclr_lib.errors import SimCLRError
from simclr_lib.files import write_atomically

NAME = "metrics.jsonl"


class MetricsLog:
    """The file ``metrics.jsonl`` of a run's folder and, if wanted, TensorBoard's event files beside it.

    Args:
        run_dir: the run's folder.
        tensorboard: also write event files.

    Raises:
        SimCLRError: the tensorboard package is missing.
    """

    def __init__(self, run_dir: Path, tensorboard: bool = False) -> None:
        self.run_dir = run_dir
        self.path = run_dir / NAME
        self._make_writer = _summary_writer() if tensorboard else None  # fail before anything is written
        self._writer: Any = None

    def keep_before(self, step: int) -> None:
        """Drop what a killed run logged after its last checkpoint: the resumed run will log it again."""
        kept = [json.dumps(record) + "\n" for record in read_metrics(self.run_dir) if record["step"] < step]
        write_atomically(self.path, "".join(kept).encode())
        if self._make_writer:
            self._writer = self._make_writer(str(self.run_dir), purge_step=step)

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
        if self._writer:
            for record in records:
                for name, value in record.items():
                    if name not in ("step", "epoch"):
                        self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Close TensorBoard's files."""
        if self._writer:
            self._writer.close()


def read_metrics(run_dir: Path) -> list[dict[str, float]]:
    """Read the lines of a run's ``metrics.jsonl``; [] where there is no such file.

    A damaged line is left out, with a warning that names it. A last line without its end, as a killed run leaves it,
    is left out without a word.
    """
    path = Path(run_dir) / NAME
    content = path.read_bytes() if path.exists() else b""
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
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        return None
    return record if all(isinstance(value, int | float) for value in record.values()) else None


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise SimCLRError("tensorboard=True needs a package that is not here: pip install tensorboard.") from None
    return SummaryWriter
