"""Features of frozen encoders, and the pixels as a baseline."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from simclr_lib.augment import check_images, to_unit_range
from simclr_lib.choices import Precision
from simclr_lib.data import ImageDataset
from simclr_lib.device import autocast
from simclr_lib.errors import SimCLRError
from simclr_lib.models.encoders import check_output, evaluating

PIXEL_SIDE = 32  # images as features are at most this many pixels high and wide


@torch.no_grad()
def extract_features(
    encoder: nn.Module,
    dataset: ImageDataset | Tensor,
    batch_size: int = 512,
    precision: Precision = "auto",
    progress: bool = True,
) -> Tensor:
    """Compute the features h of every image, without augmentation, in evaluation mode.

    Args:
        encoder: images [N, 3, H, W] → h [N, D]. Its mode and statistics stay as they were.
        dataset: an `ImageDataset`, or images: uint8 [N, 3, H, W] in 0…255, or float [N, 3, H, W] in 0…1.
        batch_size: number of images in one forward pass; it does not change the result.
        precision: "auto" uses bfloat16 where that is faster.
        progress: show a progress bar when it takes over two seconds.

    Returns:
        float32 [N, D], on the CPU.

    Raises:
        SimCLRError: there are no images, they have another shape, type or range, batch_size is below 1, or the encoder
            does not return features [N, D].
    """
    images = _images(dataset)
    if len(images) == 0:
        raise SimCLRError("extract_features needs at least one image.")
    if batch_size < 1:
        raise SimCLRError(f"batch_size must be at least 1, not {batch_size}.")
    parameter = next(encoder.parameters(), None)
    device = images.device if parameter is None else parameter.device
    features = []
    with evaluating(encoder), autocast(device, precision):
        starts = range(0, len(images), batch_size)
        for start in tqdm(starts, desc="features", unit="batch", delay=2, leave=False, disable=not progress):
            batch = to_unit_range(images[start : start + batch_size].to(device))
            h = encoder(batch.contiguous(memory_format=torch.channels_last))
            check_output(h, len(batch))
            features.append(h.float().cpu())
    return torch.cat(features)


def pixel_features(dataset: ImageDataset | Tensor) -> Tensor:
    """Take the images themselves as features: the accuracy that needs no learning.

    Images with a side above 32 pixels are first averaged down to 32×32: a linear probe on more numbers than that
    takes hours and gigabytes.

    Args:
        dataset: as in `extract_features`.

    Returns:
        float32 [N, 3·H·W] in [0, 1], on the CPU.

    Raises:
        SimCLRError: the images have another shape, type or range.
    """
    images = _images(dataset)
    if max(images.shape[-2:]) <= PIXEL_SIDE:
        return to_unit_range(images).flatten(1).cpu()
    parts = (F.interpolate(to_unit_range(part), PIXEL_SIDE, mode="area") for part in images.split(1_000))
    return torch.cat([part.flatten(1).cpu() for part in parts])


def _images(dataset: ImageDataset | Tensor) -> Tensor:
    """Take the images of a data set, or the images themselves, and check them."""
    images = dataset.images if isinstance(dataset, ImageDataset) else dataset
    check_images(images)
    return images
