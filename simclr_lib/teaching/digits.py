"""Handwritten digits as files, for a notebook that is about folders of photos and needs some without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from simclr_lib.data import few_labels
from simclr_lib.files import write_csv

SIDE = 32  # pixels of a file; the digits have 8, and are enlarged as a scan is finer than its ink


def write_digits(
    folder: str | Path, by_class: bool = False, per_class: int = 10, numbers: range = range(1_797)
) -> dict[str, str]:
    """Write scikit-learn's handwritten digits as PNG files of 32×32 pixels.

    Args:
        folder: it is made where it is missing.
        by_class: make a folder for each digit. Otherwise all files lie in one folder, beside ``labels.csv``, a table
            "file,label" of a few of them.
        per_class: the number of files of each digit that ``labels.csv`` names; they are drawn at random, always the
            same ones. With 0 there is no such file.
        numbers: which of the digits to write.

    Returns:
        file name, relative to the folder → its digit, for all files.

    Raises:
        OSError: the folder cannot be written to.
    """
    from sklearn.datasets import load_digits  # imported here, because scikit-learn takes a second

    folder, digits = Path(folder), load_digits()
    truth = {}
    for number in numbers:
        image, digit = digits.images[number], str(digits.target[number])
        name = f"{digit}/scan-{number:04d}.png" if by_class else f"scan-{number:04d}.png"
        truth[name] = digit
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((image / 16 * 255).round().astype(np.uint8))  # there are 17 levels
        grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / name)
    if not by_class and per_class:
        names = list(truth)
        labelled = few_labels(torch.tensor([int(digit) for digit in truth.values()]), per_class, seed=0)
        rows = [(names[i], truth[names[i]]) for i in labelled.tolist()]
        write_csv(folder / "labels.csv", ("file", "label"), rows)
    return truth
