"""Run notebooks from top to bottom and keep their outputs.

    python -m simclr_lib.authoring.execute notebooks/*.ipynb

Afterwards a notebook reads the same with and without a kernel: it has no widget state and no progress bars, and its
execution counts start at 1. The seconds of each go to ``notebooks/results/notebooks.json``, and from there into its
first cell. Beside them stands the time of a short training step, by which ``simclr workshop check`` compares machines.
Finally the student edition is written anew.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbclient import NotebookClient

from simclr_lib.authoring.tables import fill_file
from simclr_lib.errors import SimCLRError
from simclr_lib.results import Result
from simclr_lib.teaching.workshop.editions import build
from simclr_lib.teaching.workshop.readiness import step_seconds

RESULTS = Path("notebooks/results")
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path) -> float:
    """Run a notebook in its folder and write it back. Returns the seconds that its cells took."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.monotonic()
    client.execute()
    seconds = time.monotonic() - start
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_transient(output)]
    notebook.metadata = nbformat.from_dict(METADATA)
    nbformat.write(notebook, path)
    return seconds


def is_transient(output: Any) -> bool:
    """A progress bar or a live widget: nothing that a reader without a kernel can see."""
    return output.get("name") == "stderr" or WIDGET in output.get("data", {})


def with_row(file: Path, name: str, row: dict[str, float]) -> dict[str, Any]:
    """The rows of a results file, if it exists, with that of one notebook put in or replaced, in order."""
    earlier = Result.read(file).results if file.exists() else {}
    return dict(sorted({**earlier, name: row}.items()))


def note_time(name: str, seconds: float) -> None:
    """Put a notebook's time into the results file."""
    file = RESULTS / "notebooks.json"
    times = with_row(file, name, {"seconds": round(seconds, 1)})
    command = "python -m simclr_lib.authoring.execute notebooks/*.ipynb"
    step = {"step_seconds": step_seconds()}
    result = Result("seconds to run each notebook from top to bottom, quick profile", times, extra=step)
    result.write(file, torch.device("cpu"), command)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SimCLRError("usage: python -m simclr_lib.authoring.execute notebooks/*.ipynb")
    if (runs := Path("notebooks/runs")).exists():
        raise SimCLRError(f"remove {runs} first: what was trained there would not be trained again, nor timed.")
    for argument in sys.argv[1:]:
        path = Path(argument)
        print(f"{path.stem}: ", end="", flush=True)
        seconds = execute(path)
        note_time(path.stem, seconds)
        fill_file(path, RESULTS)
        print(f"{seconds:.0f} s")
    build(Path("notebooks/student"), "student")
