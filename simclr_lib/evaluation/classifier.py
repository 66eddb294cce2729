"""The accuracy of a classifier on test images."""

from __future__ import annotations

from torch import nn

from simclr_lib.choices import Precision
from simclr_lib.data import ImageDataset
from simclr_lib.evaluation.features import extract_features


def accuracy(classifier: nn.Module, dataset: ImageDataset, precision: Precision = "auto") -> float:
    """Share of images that a classifier (images → logits) gets right, 0…1, without augmentation."""
    logits = extract_features(classifier, dataset, precision=precision)
    return (logits.argmax(dim=1) == dataset.labels.cpu()).float().mean().item()
