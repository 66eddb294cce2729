"""``simclr predict``: a class and its probability for each image."""

from __future__ import annotations

from collections import Counter

from simclr_lib.commands.checkpoint import open_run
from simclr_lib.errors import counted, shown
from simclr_lib.evaluation import extract_features, suitable_k, votes_of_labelled
from simclr_lib.files import write_csv
from simclr_lib.settings import PredictConfig


def predict(config: PredictConfig) -> None:
    """Run ``simclr predict``: writes a table "file,label,probability" of all images, and prints how many are what."""
    run = open_run(config, classify=config.labels is None)
    images = run.all_images(config.limit)
    if config.labels is None:
        classes, probabilities = run.classes, extract_features(run.model, images).softmax(dim=1)
    else:
        classes, k = images.classes, config.neighbors or suitable_k(images.labels)
        probabilities = votes_of_labelled(extract_features(run.model.encoder, images), images.labels, k)
        print(f"the {k} nearest of {counted(len(images.labelled), 'labelled image')} vote on each image")
    probability, label = probabilities.max(dim=1)
    names = [shown(classes[i]) for i in label.tolist()]
    rows = zip(images.names, names, (f"{value:.4f}" for value in probability.tolist()), strict=True)
    write_csv(run.out, ("file", "label", "probability"), rows)
    counts = ", ".join(f"{count:,} {name}" for name, count in Counter(names).most_common(10))
    print(f"{counted(len(images), 'image')}: {counts}")
    print(f"table: {run.out}")
