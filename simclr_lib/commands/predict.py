"""``simclr predict``: a class and its probability for each image."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from simclr_lib.commands.checkpoint import open_run
from simclr_lib.commands.settings import PredictConfig
from simclr_lib.data import ImageDataset
from simclr_lib.device import pick_device
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import extract_features, knn_votes
from simclr_lib.files import write_csv
from simclr_lib.training import load_classifier


def predict(config: PredictConfig) -> None:
    """Run ``simclr predict``: writes a table "file,label,probability" of all images, and prints how many are what."""
    run = open_run(config)
    if config.labels is None:
        classifier, _, classes = load_classifier(config.checkpoint, pick_device(config.device))
        images = run.all_images(config.limit)
        probabilities = extract_features(classifier, images).softmax(dim=1)
    else:
        images = run.all_images(config.limit)
        classes = images.classes
        probabilities = _votes(extract_features(run.model.encoder, images), images, config.neighbors)
    probability, label = probabilities.max(dim=1)
    names = [classes[i] for i in label.tolist()]
    rows = zip(images.names, names, (f"{value:.4f}" for value in probability.tolist()), strict=True)
    write_csv(run.out, ("file", "label", "probability"), rows)
    counts = ", ".join(f"{count:,} {name}" for name, count in Counter(names).most_common(10))
    print(f"{len(images):,} images: {counts}")
    print(f"table: {run.out}")


def _votes(features: Tensor, images: ImageDataset, neighbors: int) -> Tensor:
    """Let the nearest images with a label vote on each image, which has no vote on itself: float [N, C]."""
    labelled = (images.labels >= 0).nonzero().flatten()
    if len(images.labels[labelled].unique()) < 2:
        raise SimCLRError(f"{images.name} needs labelled images of two classes or more: add labels of another class.")
    own = torch.full((len(images),), -1)
    own[labelled] = torch.arange(len(labelled))
    return knn_votes(features[labelled], images.labels[labelled], features, neighbors, own=own)
