"""The rows of a comparison that takes hours, kept so that it can be interrupted."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from simclr_lib.config import RECIPE, TrainConfig
from simclr_lib.data import ImageDataset
from simclr_lib.errors import SimCLRError
from simclr_lib.files import ROWS, check_rows, content_of, write_atomically
from simclr_lib.results import Table
from simclr_lib.training.run_folder import locked


class Rows:
    """The rows of a sweep so far, in a file that is written after each variant.

    Args:
        folder: the folder of the sweep.
        identity: what must be the same on resuming, see `rows_identity`.

    Raises:
        SimCLRError: the folder holds rows of another sweep, or a damaged file.
    """

    def __init__(self, folder: Path, identity: dict[str, object]) -> None:
        self.file = folder / ROWS
        self.content: dict[str, Any] = {"identity": identity, "seconds": 0.0, "seeds": {}}
        if self.file.exists():
            self.content = _read(self.file)
            earlier = self.content["identity"]
            changed = [name for name in identity if earlier.get(name) != identity[name]]
            if changed:
                raise SimCLRError(
                    f"{folder} holds a sweep with another {', '.join(changed)}: use the same settings, or "
                    "choose another out=FOLDER."
                )
        self._start = time.perf_counter() - self.content.get("seconds", 0.0)  # older files do not tell the seconds

    @property
    def seconds(self) -> float:
        """The seconds that the sweep has taken, those before an interruption included."""
        return round(time.perf_counter() - self._start, 1)

    def variants_of(self, seed: int) -> list[str]:
        """The variants that are done with this seed."""
        return self._part(seed)["variants"]

    def table_of(self, seed: int) -> Table:
        """The rows that were measured with this seed."""
        return self._part(seed)["table"]

    def add(self, seed: int, variants: Collection[str], table: Table) -> None:
        """Keep the rows of variants that are done."""
        so_far = self._part(seed)
        so_far["variants"] += variants
        so_far["table"] |= table
        self.content["seconds"] = self.seconds
        write_atomically(self.file, json.dumps(self.content).encode())

    def remove(self) -> None:
        """Remove the file, when the results file holds everything."""
        self.file.unlink()

    def _part(self, seed: int) -> dict[str, Any]:
        return self.content["seeds"].setdefault(str(seed), {"variants": [], "table": {}})


@contextlib.contextmanager
def kept_rows(folder: Path, identity: dict[str, object], resume: bool) -> Iterator[Rows]:
    """Open the rows of a sweep; within the context no other process can write to its folder.

    Raises:
        SimCLRError: another process writes to the folder, or as in `Rows` and `check_rows`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        check_rows(folder, resume)  # another sweep may have begun in between
        yield Rows(folder, identity)


def _read(file: Path) -> dict[str, Any]:
    """Read the rows so far."""
    try:
        content = json.loads(content_of(file))
    except ValueError:  # not UTF-8, or not JSON
        content = None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in ("identity", "seeds")):
        raise SimCLRError(f"{file} is damaged: delete it to start the sweep anew, or choose another folder.")
    return content


def rows_identity(sweep: str, recipe: TrainConfig, train: ImageDataset, test: ImageDataset) -> dict[str, object]:
    """Everything that must be the same on resuming: the sweep, its images and its recipe, except for the seed."""
    settings = recipe.to_dict()
    images = {"training images": train.fingerprint(), "test images": test.fingerprint()}
    return {"sweep": sweep, **images, **{name: settings[name] for name in RECIPE if name != "seed"}}
