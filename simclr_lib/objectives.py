"""What a training step minimises: NT-Xent for pretraining, cross-entropy where there are labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.augment import SimCLRAugment
from simclr_lib.data import ImageDataset
from simclr_lib.errors import SimCLRError
from simclr_lib.loop import BatchLoss
from simclr_lib.losses import check_temperature, nt_xent
from simclr_lib.models import Classifier, SimCLR


def contrastive_objective(model: SimCLR, images: Tensor, augment: SimCLRAugment, temperature: float) -> BatchLoss:
    """NT-Xent between two views of each image of a batch.

    Both views go through the encoder in one forward pass, as in the reference code: batch norm then takes its
    statistics over all 2B views, so that neither view can be told from its statistics.

    Args:
        model: trained in place.
        images: uint8 [N, 3, H, W], on the model's device.
        augment: draws a view.
        temperature: τ.
    """
    check_temperature(temperature)

    def batch_loss(indices: Tensor, generator: torch.Generator) -> Tensor:
        batch = images[indices.to(images.device, non_blocking=True)]
        views = torch.cat([augment(batch, generator), augment(batch, generator)])  # [2B, 3, S, S]
        _, z = model(views.contiguous(memory_format=torch.channels_last))
        z_a, z_b = z.chunk(2)
        return nt_xent(z_a, z_b, temperature)

    return batch_loss


def classification_objective(model: Classifier, dataset: ImageDataset, augment: SimCLRAugment | None) -> BatchLoss:
    """Cross-entropy of one view (or, without ``augment``, the plain image) of each image of a batch."""
    if (dataset.labels < 0).any():
        raise SimCLRError(f"{dataset.name} has images without labels: choose another split.")

    def batch_loss(indices: Tensor, generator: torch.Generator) -> Tensor:
        indices = indices.to(dataset.images.device, non_blocking=True)
        batch = dataset.images[indices]
        views = batch.float() / 255 if augment is None else augment(batch, generator)
        logits = model(views.contiguous(memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), dataset.labels[indices])

    return batch_loss
