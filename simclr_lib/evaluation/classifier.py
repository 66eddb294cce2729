"""The accuracy of a classifier on test images, and that of predictions whose classes count equally."""

from __future__ import annotations

from torch import Tensor, nn

from simclr_lib.choices import Precision
from simclr_lib.data import ImageDataset
from simclr_lib.data.labels import check_labels
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation.checks import check_features
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


def balanced_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Compute the mean over the classes of the share of a class's images that are predicted rightly, 0…1.

    Where 95 of 100 images are of one class, predicting always that class has an accuracy of 0.95, but a balanced
    accuracy of 0.5.

    Args:
        predicted: int64 [M], M ≥ 1, predicted classes, 0 or more.
        labels: int64 [M], true classes, 0 or more. Classes without an image do not count.

    Raises:
        SimCLRError: predictions or labels are of another shape or type, or negative, or there are none.
    """
    check_labels(predicted, "predicted")
    check_labels(labels, "labels", len(predicted))
    if len(labels) == 0:
        raise SimCLRError("balanced_accuracy needs at least one image.")
    counts = labels.bincount()
    right = labels[predicted.to(labels.device) == labels].bincount(minlength=len(counts))
    return (right[counts > 0] / counts[counts > 0]).mean().item()
