"""Make the weights that come with the package, from the first seed of ``simclr demo`` and a run on CIFAR-10:

``python -m simclr_lib.authoring.bundle runs/demo/seed-0 simclr_lib/training/weights/emblems-resnet18.pt``
``python -m simclr_lib.authoring.bundle runs/cifar10-500 simclr_lib/training/weights/cifar10-resnet18.pt --8-bit``
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.errors import SimCLRError
from simclr_lib.files import write_atomically
from simclr_lib.training import load_checkpoint, save_checkpoint


def bundle(run: Path, file: Path, eight_bit: bool = False) -> None:
    """Write a run's model alone, in half precision and compressed, to a file that loads like a run's checkpoint.

    Args:
        run: the run's folder, or its checkpoint.
        file: the file to write.
        eight_bit: store kernels and weight matrices in 8 bits, see `in_eight_bits`: half the size.
    """
    state = load_checkpoint(run)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in state["model"].items()}
    scales: dict[str, Tensor] = {}
    if eight_bit:
        for name, value in state["model"].items():
            if value.is_floating_point() and value.dim() > 1:
                weights[name], scales[name] = in_eight_bits(value)
    save_checkpoint(file, {"config": state["config"], "facts": state["facts"], "model": weights, "scales": scales})
    write_atomically(file, compressed(file.read_bytes()))


def in_eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round weights to whole numbers from −127 to 127 times a scale of their output channel.

    Args:
        weight: float [C, …], a kernel or a weight matrix.

    Returns:
        (numbers: int8 [C, …], scales: float32 [C, 1, …]); their product is the weight, but for rounding.
    """
    weight = weight.float()
    scale = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True).clamp_min(1e-12) / 127
    return (weight / scale).round().to(torch.int8), scale


def compressed(archive: bytes) -> bytes:
    """A zip archive, such as a checkpoint is, with its entries deflated."""
    smaller = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return smaller.getvalue()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["--8-bit"]):
        raise SimCLRError("usage: python -m simclr_lib.authoring.bundle RUN FILE [--8-bit]")
    bundle(Path(sys.argv[1]), Path(sys.argv[2]), eight_bit=len(sys.argv) == 4)
