"""The accuracy of a classifier on test images."""

from __future__ import annotations

from torch import nn

from simclr_lib.choices import Precision
from simclr_lib.data import ImageDataset
from simclr_lib.evaluation.checks import check_features, check_labels
from simclr_lib.evaluation.features import extract_features


def accuracy(classifier: nn.Module, dataset: ImageDataset, precision: Precision = "auto") -> float:
    """Compute the share of images that a classifier gets right, 0…1, in evaluation mode and without augmentation.

    Args:
        classifier: images [N, 3, H, W] → logits [N, C].
        dataset: images with labels from 0 to C − 1.
        precision: "auto" uses bfloat16 where that is faster.

    Raises:
        SimCLRError: there are no images, an image has no label or one above C − 1, or the logits are not finite.
    """
    logits = extract_features(classifier, dataset, precision=precision)
    check_features(logits, "logits")
    check_labels(dataset.labels, "labels", len(logits), num_classes=logits.shape[1])
    return (logits.argmax(dim=1) == dataset.labels.cpu()).float().mean().item()
