"""Make the weights that come with the package, from the first seed of ``simclr demo``:

``python -m simclr_lib.authoring.bundle runs/demo/seed-0 simclr_lib/training/weights/emblems-resnet18.pt``
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from simclr_lib.errors import SimCLRError
from simclr_lib.files import write_atomically
from simclr_lib.training import load_checkpoint, save_checkpoint


def bundle(run: Path, file: Path) -> None:
    """Write a run's model alone, in half precision and compressed, to a file that loads like a run's checkpoint."""
    state = load_checkpoint(run)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in state["model"].items()}
    save_checkpoint(file, {"config": state["config"], "facts": state["facts"], "model": weights})
    write_atomically(file, compressed(file.read_bytes()))


def compressed(archive: bytes) -> bytes:
    """A zip archive, such as a checkpoint is, with its entries deflated."""
    smaller = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return smaller.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SimCLRError("usage: python -m simclr_lib.authoring.bundle RUN FILE")
    bundle(Path(sys.argv[1]), Path(sys.argv[2]))
