"""The notebooks of the course: where they lie with the results that they quote, and copies of them for learners."""

from __future__ import annotations

from pathlib import Path

import simclr_lib
from simclr_lib.files import write_atomically

PACKAGE = Path(simclr_lib.__file__).parent
# An installed package contains the notebooks. In a clone of the repository they lie beside the package.
NOTEBOOKS = next(folder for folder in (PACKAGE / "notebooks", PACKAGE.parent / "notebooks") if folder.is_dir())
RESULTS = NOTEBOOKS / "results"


def copy_notebooks(folder: Path) -> tuple[list[Path], list[Path]]:
    """Copy the notebooks into a folder. A notebook that is there already stays as it is.

    Returns:
        The notebooks that were copied, and those that were there and differ from the original: a learner's work.

    Raises:
        SimCLRError: the folder cannot be written to.
    """
    copied, changed = [], []
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        copy, content = folder / notebook.name, notebook.read_bytes()
        if not copy.exists():
            write_atomically(copy, content)
            copied.append(copy)
        elif copy.read_bytes() != content:
            changed.append(copy)
    return copied, changed
