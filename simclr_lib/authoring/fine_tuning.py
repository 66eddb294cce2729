"""Compare settings of fine-tuning with few labels on training images that are held out.

    python -m simclr_lib.authoring.fine_tuning --data-dir cifar10-jpeg [--only NAME …] [--per-class 10 50 100]

The encoder is the one that comes with the package, cifar10-resnet18. The labelled images are drawn from those that it
was pretrained on, and the held-out ones from those that its pretraining kept out; the test images are not loaded. What
is in the results file already is not measured again, so the work can be done in parts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from simclr_lib.data import ImageDataset, few_labels, load_dataset, split_indices
from simclr_lib.device import pick_device
from simclr_lib.errors import percentage
from simclr_lib.evaluation import extract_features, linear_probe
from simclr_lib.results import Result, per_cent, summary
from simclr_lib.training import fine_tune, load_run
from simclr_lib.training.pretrained import find_run

OUT = Path("notebooks/results/fine-tuning.json")
WEIGHTS = "cifar10-resnet18"
WHAT = f"fine-tuning {WEIGHTS} with few labels; accuracy on training images held out"
HELD_OUT = 200  # images of each class to measure on
LINEAR = "linear head"  # alone, on the frozen features


@dataclass(frozen=True)
class Setting:
    """A way to fine-tune.

    Attributes:
        from_linear_head: start from the head of the linear probe, instead of a random one.
        fixed_statistics: batch norm keeps the statistics of the pretraining, and takes none from the batches.
        lr: peak learning rate.
        epochs: passes over the labelled images.
        batch_size: images in a step.
    """

    from_linear_head: bool = True
    fixed_statistics: bool = False
    lr: float = 0.0005
    epochs: int = 3
    batch_size: int = 64


SETTINGS = {
    "linear head first, lr 0.0005, 3 epochs": Setting(),
    "the same with fixed statistics": Setting(fixed_statistics=True),
    "linear head first, lr 0.005, 10 epochs": Setting(lr=0.005, epochs=10),
    "random head, lr 0.0125, 30 epochs (the paper's rule)": Setting(False, lr=0.0125, epochs=30),
}


class FixedStatistics(nn.BatchNorm2d):
    """A batch norm that stays in evaluation mode."""

    def train(self, mode: bool = True) -> FixedStatistics:
        """Set it to evaluation mode, whatever the mode of the network."""
        super().train(False)
        return self


def accuracy_of(
    setting: Setting | None, encoder: nn.Module, train: ImageDataset, held_out: ImageDataset, seed: int
) -> float:
    """Fine-tune in this way, or train the linear head alone, and measure on the images held out."""
    features = extract_features(encoder, train)
    if setting is None:
        others = extract_features(encoder, held_out)
        return linear_probe(features, train.labels, others, held_out.labels, seed=seed).accuracy
    head = linear_probe(features, train.labels, features, train.labels, seed=seed).head
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = FixedStatistics if setting.fixed_statistics else nn.BatchNorm2d
    tuned = fine_tune(
        encoder,
        train,
        held_out,
        setting.epochs,
        setting.batch_size,
        setting.lr,
        seed,
        head=head if setting.from_linear_head else None,
    )
    return tuned.accuracy


def main(words: Sequence[str] | None = None) -> None:
    """Measure the settings that the command line names, and add them to the results file."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.fine_tuning", description="Fine-tune.")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the images, with train and test")
    parser.add_argument("--only", nargs="+", choices=[LINEAR, *SETTINGS], help="measure these; by default all")
    parser.add_argument("--per-class", nargs="+", type=int, default=[10, 50, 100], help="labels per class")
    parser.add_argument("--seeds", type=int, default=3, help="number of draws of the labelled images")
    parser.add_argument("--out", type=Path, default=OUT, help="results file")
    chosen = parser.parse_args(words)
    device = pick_device()
    model, config = load_run(find_run(WEIGHTS), device)
    images = load_dataset("imagefolder", "train", chosen.data_dir)
    seen, kept_out = (images.subset(rows) for rows in split_indices(images.labels, config.validation, config.seed))
    held_out = kept_out.subset(few_labels(kept_out.labels, HELD_OUT))
    found = Result.read(chosen.out) if chosen.out.exists() else Result(WHAT, num_test=len(held_out))
    for per_class in chosen.per_class:
        column = f"labels_{per_class}"
        for name in chosen.only or [LINEAR, *SETTINGS]:
            values = found.results.get(name, {}).get(column, {}).get("values", [])
            for seed in range(len(values), chosen.seeds):
                start = time.monotonic()
                train = seen.subset(few_labels(seen.labels, per_class, seed))
                values = [*values, accuracy_of(SETTINGS.get(name), model.encoder, train, held_out, seed)]
                reached, seconds = percentage(values[-1], 1), time.monotonic() - start
                print(f"{name}, {column}, seed {seed}: {reached} in {seconds:.0f} s", flush=True)
                found = _with(found, name, column, values)
                found.write(
                    chosen.out, device, f"python -m simclr_lib.authoring.fine_tuning --data-dir {chosen.data_dir}"
                )
    for name, row in found.results.items():
        print(f"{name:<45}" + "".join(f"{per_cent(value):>14}" for value in row.values()))


def _with(result: Result, name: str, column: str, values: Sequence[float]) -> Result:
    """The result with the accuracies of one row in one column."""
    results = {**result.results, name: {**result.results.get(name, {}), column: summary(values)}}
    most = max(len(accuracy["values"]) for row in results.values() for accuracy in row.values())
    settings = {row: vars(SETTINGS[row]) for row in results if row in SETTINGS}
    return replace(result, results=results, seeds=range(most), extra={"settings": settings})


if __name__ == "__main__":
    main()
