"""Compare settings of fine-tuning with few labels on training images that are held out.

    python -m simclr_lib.authoring.fine_tuning --data-dir cifar10-jpeg [--only NAME …] [--seeds 1] [--out FILE]

The encoder is the one that comes with the package, cifar10-resnet18. The labelled images are drawn from those that it
was pretrained on, and the held-out ones from those that its pretraining kept out; the test images are not loaded. What
is in the results file already is not measured again, so the work can be done in parts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from simclr_lib.data import ImageDataset, few_labels, load_dataset, split_indices
from simclr_lib.device import pick_device
from simclr_lib.evaluation import extract_features, linear_probe
from simclr_lib.results import Result, per_cent, summary
from simclr_lib.training import fine_tune, load_run
from simclr_lib.training.pretrained import find_run

OUT = Path("notebooks/results/fine-tuning.json")
WEIGHTS = "cifar10-resnet18"
PER_CLASS, HELD_OUT = 50, 200  # images of each class: those with a label, and those to measure on
COLUMN = f"labels_{PER_CLASS}"
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
    "linear head first, lr 0.005, 70 steps of 64": Setting(lr=0.005, epochs=10),
    "linear head first, lr 0.0005, 21 steps of 64": Setting(),
    "linear head first, lr 0.0005, 21 steps of 64, fixed statistics": Setting(fixed_statistics=True),
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
    parser.add_argument("--seeds", type=int, default=1, help="number of draws of the labelled images")
    parser.add_argument("--out", type=Path, default=OUT, help="results file")
    chosen = parser.parse_args(words)
    device = pick_device()
    model, config = load_run(find_run(WEIGHTS), device)
    images = load_dataset("imagefolder", "train", chosen.data_dir)
    seen, kept_out = (images.subset(rows) for rows in split_indices(images.labels, config.validation, config.seed))
    held_out = kept_out.subset(few_labels(kept_out.labels, HELD_OUT))
    values: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    if chosen.out.exists():
        earlier = Result.read(chosen.out)
        values = {name: row[COLUMN]["values"] for name, row in earlier.results.items()}
        seconds = earlier.extra["seconds_of_a_seed"]
    for name in chosen.only or [LINEAR, *SETTINGS]:
        for seed in range(len(values.get(name, ())), chosen.seeds):
            start = time.monotonic()
            train = seen.subset(few_labels(seen.labels, PER_CLASS, seed))
            value = accuracy_of(SETTINGS.get(name), model.encoder, train, held_out, seed)
            values.setdefault(name, []).append(value)
            seconds[name] = time.monotonic() - start
            print(f"{name}, seed {seed}: {value:.1%} in {seconds[name]:.0f} s", flush=True)
            Result(
                f"fine-tuning {WEIGHTS} with {PER_CLASS} labels per class; accuracy on training images held out",
                {row: {COLUMN: summary(found)} for row, found in values.items()},
                seeds=range(max(map(len, values.values()))),
                num_train=len(train),
                num_test=len(held_out),
                extra={
                    "settings": {row: vars(SETTINGS[row]) for row in values if row in SETTINGS},
                    "seconds_of_a_seed": seconds,
                },
            ).write(chosen.out, device, f"python -m simclr_lib.authoring.fine_tuning --data-dir {chosen.data_dir}")
    print("\n".join(f"{name:<65}{per_cent(summary(found))}" for name, found in values.items()))


if __name__ == "__main__":
    main()
