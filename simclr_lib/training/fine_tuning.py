"""Fine-tuning: the pretrained encoder goes on learning, with labels (paper, section 5 and B.5)."""

from __future__ import annotations

import copy

from torch import nn

from simclr_lib.augment import SimCLRAugment
from simclr_lib.choices import Precision
from simclr_lib.data import ImageDataset
from simclr_lib.device import place
from simclr_lib.evaluation import accuracy
from simclr_lib.loop import LoopConfig, fit
from simclr_lib.models import Classifier, OutputHead
from simclr_lib.objectives import classification_objective
from simclr_lib.seeding import initial_weights


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
) -> tuple[Classifier, float]:
    """Train a copy of the encoder and a new output head on labelled images, then test once, after the last epoch.

    As in the paper (B.5): SGD with Nesterov momentum 0.9, learning rate 0.05 · B / 256, no weight decay, and no
    augmentation but random crops and flips. Unlike it, a short warm-up: batches here are smaller.

    Args:
        encoder: images → h, with ``feature_dim``; left as it is.
        train: labelled training images.
        test: labelled test images.
        epochs: passes over ``train``.
        batch_size: at most; with fewer images than that, all of them.
        lr: peak learning rate; None follows the rule above.
        seed: of the head, the order and the views.
        precision: "auto" uses bfloat16 where that is faster.
        crop_scale: smallest and largest share of the image's area that a crop keeps.

    Returns:
        (classifier, accuracy on ``test``, 0…1).
    """
    device = next(encoder.parameters()).device
    batch_size = min(batch_size, len(train))
    with initial_weights(seed):
        head = OutputHead(encoder.feature_dim, len(train.classes))  # type: ignore[arg-type]
    model = place(Classifier(copy.deepcopy(encoder), head), device)
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
    objective = classification_objective(model, train.to(device), augment)
    fit(model, objective, len(train), config, description="fine-tuning")
    return model.eval(), accuracy(model, test, precision)
