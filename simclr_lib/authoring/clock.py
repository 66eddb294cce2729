"""Go through the student edition with a clock: how long does each part of the course keep the computer busy?

    python -m simclr_lib.authoring.clock 00_start_here 01_augmentations …

Each notebook runs from top to bottom in an empty folder, with right answers in its exercises. The seconds of each
section and of each exercise go to ``notebooks/results/plans.json``. From there the plans for teachers have their
minutes of computing. What comes before the first section is called "start". What follows an exercise belongs to its
section, if the section has minutes of its own in ``instructor.md``; otherwise it belongs to the exercise.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import count

import nbformat
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode

from simclr_lib.authoring.execute import with_row
from simclr_lib.errors import SimCLRError
from simclr_lib.results import Result
from simclr_lib.teaching.course import NOTEBOOKS, RESULTS
from simclr_lib.teaching.workshop.editions import CHECK, SECTION, is_stub, notebook_bytes
from simclr_lib.teaching.workshop.notes import read_notes


def answered(name: str) -> NotebookNode:
    """A notebook of the student edition, with a right answer in every exercise."""
    source = NOTEBOOKS / f"{name}.ipynb"
    student, solved = (
        nbformat.reads(notebook_bytes(source, edition).decode(), as_version=4) for edition in ("student", "solutions")
    )
    answers = {found[1]: cell.source for cell in solved.cells if (found := CHECK.search(cell.source))}
    for cell in student.cells:
        if is_stub(cell) and (found := CHECK.search(cell.source)):
            cell.source = answers[found[1]]
    return student


def seconds_of_parts(name: str) -> dict[str, float]:
    """Part of a notebook, such as "2.4" or "E2.1" → seconds, in the order of the notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook, exercises = answered(name), count(1)
    planned = read_notes(NOTEBOOKS / "instructor.md")[name].minutes
    seconds, section, part = {"start": 0.0}, "start", "start"
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        with client.setup_kernel():
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type == "markdown":
                    section = ([section, *SECTION.findall(cell.source)])[-1]
                    part = part if section not in planned and part.startswith("E") else section
                    continue
                exercise = bool(CHECK.search(cell.source))
                if exercise:
                    part = f"E{int(name[:2])}.{next(exercises)}"
                start = time.monotonic()
                client.execute_cell(cell, index)
                seconds[part] = seconds.get(part, 0.0) + time.monotonic() - start
                if exercise and section in planned:
                    part = section
    return {part: round(value, 1) for part, value in seconds.items()}


def note(name: str, seconds: dict[str, float]) -> None:
    """Put a notebook's seconds into the results file."""
    file = RESULTS / "plans.json"
    Result(
        "seconds that each part of the student edition computes, with right answers in the exercises",
        with_row(file, name, seconds),
    ).write(file, torch.device("cpu"), "python -m simclr_lib.authoring.clock 00_start_here …")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SimCLRError("usage: python -m simclr_lib.authoring.clock NOTEBOOK …, such as 03_pretraining")
    for name in sys.argv[1:]:
        seconds = seconds_of_parts(name)
        note(name, seconds)
        print(f"{name}: {sum(seconds.values()):.0f} s", flush=True)
