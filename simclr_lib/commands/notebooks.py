"""``simclr notebooks``: copies of the course's notebooks, to work on."""

from __future__ import annotations

import importlib.util

from simclr_lib.settings import NotebooksConfig
from simclr_lib.teaching.course import copy_notebooks


def notebooks(config: NotebooksConfig) -> None:
    """Run ``simclr notebooks``: copies the notebooks that the folder does not have yet, and says what to do next."""
    copied, changed = copy_notebooks(config.folder)
    print(f"notebooks: {len(copied)} copied to {config.folder}")
    if changed:
        names = ", ".join(notebook.name for notebook in changed)
        print(f"not overwritten, because they differ from the originals: {names}. To have those, name a new folder.")
    first = min(config.folder.glob("*.ipynb"))
    if importlib.util.find_spec("jupyterlab"):
        print(f"next: jupyter lab {first}")
    else:
        print(f"next: open {first} in VS Code or Jupyter. To have JupyterLab: pip install jupyterlab")
