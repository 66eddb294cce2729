"""Train with ten labels per class in three ways: from scratch, a linear head on SimCLR's features, and fine-tuning.

    python -m simclr_lib.authoring.ten_labels [--seeds 3] [--out FILE]

The encoder is the one that comes with the package, emblems-resnet18. Each seed draws other labelled images, and the
three ways get the same ones. Notebook 05 shows the results, and the images that the networks of the first seed mistake.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from simclr_lib.data import ImageDataset, few_labels
from simclr_lib.errors import percentage
from simclr_lib.evaluation import extract_features, linear_probe
from simclr_lib.models import Classifier
from simclr_lib.results import Result, per_cent, summary
from simclr_lib.teaching.profiles import Profile, load_profile
from simclr_lib.training import fine_tune, train_supervised

OUT = Path("notebooks/results/ten-labels.json")
NUM_TRAIN, NUM_TEST = 4096, 1024  # the labelled images are drawn from the first; tested on the second
PER_CLASS = 10
STEPS = 300  # of training from scratch: a step per epoch, of up to 64 images


def classifiers_of(profile: Profile, few: ImageDataset, test: ImageDataset, seed: int) -> dict[str, Classifier]:
    """Train on a few labelled images in the three ways. The test images choose nothing."""
    encoder = profile.pretrained().encoder
    batch_size = min(profile.supervised.batch_size, len(few))
    config = replace(profile.supervised, batch_size=batch_size, epochs=STEPS, seed=seed)
    h, h_test = extract_features(encoder, few), extract_features(encoder, test)
    probe = linear_probe(h, few.labels, h_test, test.labels, seed=seed)
    crop_scale = profile.recipe.crop_min, profile.recipe.crop_max
    tuned, _ = fine_tune(encoder, few, test, epochs=20, batch_size=32, lr=0.03, seed=seed, crop_scale=crop_scale)
    return {
        "supervised": train_supervised(few, config),
        "SimCLR, linear head": Classifier(encoder, probe.head),
        "SimCLR, fine-tuned": tuned,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure all seeds, and write the results file after each."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.ten_labels", description="Ten labels.")
    parser.add_argument("--seeds", type=int, default=3, help="number of draws of the labelled images")
    parser.add_argument("--out", type=Path, default=OUT, help="results file")
    chosen = parser.parse_args(words)
    profile = load_profile("quick")
    train, test = profile.train.subset(torch.arange(NUM_TRAIN)), profile.test.subset(torch.arange(NUM_TEST))
    accuracies: dict[str, list[float]] = {}
    on_labelled: dict[str, list[float]] = {}
    predicted: dict[str, str] = {}
    for seed in range(chosen.seeds):
        few = train.subset(few_labels(train.labels, PER_CLASS, seed))
        for name, classifier in classifiers_of(profile, few, test, seed).items():
            seen, unseen = (extract_features(classifier, part).argmax(dim=1) for part in (few, test))
            on_labelled.setdefault(name, []).append((seen == few.labels).double().mean().item())
            accuracies.setdefault(name, []).append((unseen == test.labels).double().mean().item())
            predicted.setdefault(name, "".join(map(str, unseen.tolist())))  # a digit for each image, of the first seed
            print(f"seed {seed}, {name}: {percentage(accuracies[name][-1], 1)}", flush=True)
        Result(
            f"ten labels per class, three ways to use them; the encoder is {profile.weights}",
            {
                name: {"labels_10": summary(accuracies[name]), "its_labelled_images": summary(on_labelled[name])}
                for name in accuracies
            },
            seeds=range(seed + 1),
            num_train=len(few),
            num_test=len(test),
            extra={"predicted_of_seed_0": predicted},
        ).write(chosen.out, torch.device("cpu"), "python -m simclr_lib.authoring.ten_labels")
    print("\n".join(f"{name:<22}{per_cent(summary(found))}" for name, found in accuracies.items()))


if __name__ == "__main__":
    main()
