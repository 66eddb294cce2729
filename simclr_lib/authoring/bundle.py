"""Make the weights that come with the package, from a run of ``simclr train --preset emblems`` and one on CIFAR-10:

``python -m simclr_lib.authoring.bundle runs/emblems simclr_lib/training/weights/emblems-resnet18.pt``
``python -m simclr_lib.authoring.bundle runs/cifar10-500 simclr_lib/training/weights/cifar10-resnet18.pt --bits 8``
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from simclr_lib.files import write_atomically
from simclr_lib.training import load_checkpoint, save_checkpoint


def bundle(run: Path, file: Path, bits: int | None = None) -> None:
    """Write a run's model alone, in half precision and compressed, to a file that loads like a run's checkpoint.

    Args:
        run: the run's folder, or its checkpoint.
        file: the file to write.
        bits: store kernels and weight matrices in so many bits, see `in_bits`. With 8 the file is half as large.
    """
    state = load_checkpoint(run)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in state["model"].items()}
    scales: dict[str, Tensor] = {}
    if bits is not None:
        for name, value in state["model"].items():
            if value.is_floating_point() and value.dim() > 1:
                weights[name], scales[name] = in_bits(value, bits)
    save_checkpoint(file, {"config": state["config"], "facts": state["facts"], "model": weights, "scales": scales})
    write_atomically(file, compressed(file.read_bytes()))


def in_bits(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Round weights to whole numbers of so many bits, times a scale of their output channel.

    Args:
        weight: float [C, …], a kernel or a weight matrix.
        bits: from 2 to 8. The largest whole number is 2^(bits − 1) − 1, which is 127 with 8 bits.

    Returns:
        (numbers: int8 [C, …], scales: float32 [C, 1, …]); their product is the weight, except for rounding.
    """
    weight, largest = weight.float(), 2 ** (bits - 1) - 1
    scale = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True).clamp_min(1e-12) / largest
    return (weight / scale).round().to(torch.int8), scale


def compressed(archive: bytes) -> bytes:
    """A zip archive, such as a checkpoint is, with its entries deflated."""
    smaller = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return smaller.getvalue()


def main(words: Sequence[str] | None = None) -> None:
    """Bundle the run that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.bundle", description="Bundle weights.")
    parser.add_argument("run", type=Path, help="folder of a run, or its checkpoint")
    parser.add_argument("file", type=Path, help="file to write")
    parser.add_argument("--bits", type=int, choices=range(2, 9), help="bits of a weight; by default half precision")
    chosen = parser.parse_args(words)
    bundle(chosen.run, chosen.file, chosen.bits)


if __name__ == "__main__":
    main()
