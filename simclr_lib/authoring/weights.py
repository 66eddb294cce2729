"""Measure what storing weights in fewer bits costs: the size of the file, and the accuracies of its features.

    python -m simclr_lib.authoring.weights runs/cifar10-500 --data-dir cifar10-jpeg [--out FILE]

A run is bundled in half precision, in 8 bits and in 6, as `simclr_lib.authoring.bundle` does, and each file is loaded
again. The figures go to ``notebooks/results/cifar10-weights.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from simclr_lib.authoring.bundle import bundle
from simclr_lib.data import ImageDataset, load_splits
from simclr_lib.device import pick_device
from simclr_lib.errors import percentage
from simclr_lib.evaluation import extract_features, knn_accuracy, linear_probe
from simclr_lib.results import Result, Table, summary
from simclr_lib.training import load_run

OUT = Path("notebooks/results/cifar10-weights.json")
STORED = {"half precision": None, "8 bits": 8, "6 bits": 6}
TRAIN, TEST = 5_000, 2_000  # images: one of 2,000 is 0.05 points
SEED = 7  # of the draw of the images


def measure(run: Path, train: ImageDataset, test: ImageDataset, device: torch.device) -> Result:
    """Bundle a run in every way, and measure the features of each file beside those in half precision."""
    table: Table = {}
    megabytes: dict[str, float] = {}
    changes: dict[str, float] = {}
    reference = None
    for name, bits in STORED.items():
        with TemporaryDirectory() as folder:
            file = Path(folder) / "weights.pt"
            bundle(run, file, bits)
            megabytes[name] = file.stat().st_size / 1e6
            model, _ = load_run(file, device)
        h_train, h_test = (extract_features(model.encoder, part, precision="fp32") for part in (train, test))
        reference = h_test if reference is None else reference
        changes[name] = float((h_test - reference).norm() / reference.norm())
        table[name] = {
            "knn": summary([knn_accuracy(h_train, train.labels, h_test, test.labels)]),
            "labels_all": summary([linear_probe(h_train, train.labels, h_test, test.labels).accuracy]),
        }
        print(f"{name}: {megabytes[name]:.2f} MB, features change by {percentage(changes[name], 1)}", flush=True)
    return Result(
        f"SimCLR on {train.name}, the features of the stored weights in fp32; test accuracy",
        table,
        num_train=len(train),
        num_test=len(test),
        extra={"megabytes": megabytes, "relative_change_of_features": changes},
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure the run that the command line names, and write the results file."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.weights", description="Measure bundles.")
    parser.add_argument("run", type=Path, help="folder of a run, or its checkpoint")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the images, with train and test")
    parser.add_argument("--out", type=Path, default=OUT, help="results file")
    chosen = parser.parse_args(words)
    parts = load_splits("imagefolder", {"train": None, "test": None}, chosen.data_dir)
    generator = torch.Generator().manual_seed(SEED)
    train, test = (
        part.subset(torch.randperm(len(part), generator=generator)[:count])
        for part, count in zip(parts.values(), (TRAIN, TEST), strict=True)
    )
    device = pick_device()
    command = f"python -m simclr_lib.authoring.weights {chosen.run} --data-dir {chosen.data_dir}"
    measure(chosen.run, train, test, device).write(chosen.out, device, command)


if __name__ == "__main__":
    main()
