"""Fine-tuning: the pretrained encoder goes on learning, with labels (arXiv 2002.05709, section 5 and B.5)."""

from __future__ import annotations

import copy
from typing import NamedTuple

from torch import nn

from simclr_lib.augment import SimCLRAugment
from simclr_lib.choices import Precision
from simclr_lib.data import ImageDataset
from simclr_lib.device import place
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import accuracy, feature_dim
from simclr_lib.loop import LoopConfig, fit
from simclr_lib.models import Classifier, OutputHead
from simclr_lib.objectives import classification_objective
from simclr_lib.seeding import initial_weights


class FineTuned(NamedTuple):
    """The result of `fine_tune`.

    Attributes:
        classifier: the trained copy of the encoder with its output head, in evaluation mode.
        accuracy: share of test images that it classifies correctly, 0…1.
    """

    classifier: Classifier
    accuracy: float


def fine_tune(
    encoder: nn.Module,
    train: ImageDataset,
    test: ImageDataset,
    epochs: int = 30,
    batch_size: int = 256,
    lr: float | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    crop_scale: tuple[float, float] = (0.08, 1.0),
    head: nn.Linear | None = None,
) -> FineTuned:
    """Train a copy of the encoder and an output head on labelled images, then test once, after the last epoch.

    As in the paper (B.5): SGD with Nesterov momentum 0.9, learning rate 0.05 · B / 256, no weight decay, and random
    crops and flips alone. Unlike the paper, there is a short warm-up, because batches are smaller here.

    Args:
        encoder: images [N, 3, H, W] → features h [N, D], such as `resnet18`, or torchvision's and timm's networks. It
            stays as it was.
        train: labelled training images.
        test: labelled test images.
        epochs: passes over ``train``.
        batch_size: images in a step; more than there are in ``train`` counts as all of them.
        lr: peak learning rate; None follows the rule above.
        seed: random seed of the head, the order of the images and their views.
        precision: "auto" uses bfloat16 where that is faster.
        crop_scale: smallest and largest share of the image's area that a crop keeps.
        head: output head to start from, such as that of `linear_probe` (arXiv 2202.10054). None is a random one.

    Returns:
        (classifier, accuracy on ``test``).

    Raises:
        SimCLRError: the encoder has no parameters or gives no features [N, D], the head does not fit, an image has no
            label, a set is empty, or a setting is out of its range.
    """
    parameter = next(encoder.parameters(), None)
    if parameter is None:
        raise SimCLRError("fine_tune needs an encoder with parameters to train, and this one has none.")
    for part, name in ((train, "train"), (test, "test")):
        if len(part) == 0:
            raise SimCLRError(f"fine_tune needs at least one image in {name}.")
    encoder = copy.deepcopy(encoder)
    batch_size = min(batch_size, len(train))
    head = _output_head(head, feature_dim(encoder, train.image_size), len(train.classes), seed)
    model = place(Classifier(encoder, head), parameter.device)
    augment = SimCLRAugment(train.image_size, crop_scale=crop_scale, color_prob=0.0, gray_prob=0.0, blur_prob=0.0)
    config = LoopConfig(
        epochs=epochs,
        batch_size=batch_size,
        optimizer="sgd",
        lr=0.05 * batch_size / 256 if lr is None else lr,
        warmup_epochs=0.05 * epochs,
        seed=seed,
        precision=precision,
    )
    objective = classification_objective(model, train.to(parameter.device), augment)
    fit(model, objective, len(train), config, description="fine-tuning")
    return FineTuned(model.eval(), accuracy(model, test, precision))


def _output_head(given: nn.Linear | None, features: int, classes: int, seed: int) -> nn.Linear:
    """A copy of the head that was given, or a new one."""
    if given is None:
        with initial_weights(seed):
            return OutputHead(features, classes)
    if (given.in_features, given.out_features) != (features, classes):
        raise SimCLRError(
            f"the head must be for {features} features and {classes} classes, not {given.in_features} and "
            f"{given.out_features}: train it on this encoder's features of these images."
        )
    return copy.deepcopy(given)
