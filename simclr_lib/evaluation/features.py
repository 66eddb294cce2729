"""Features of frozen encoders, and the baselines beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from simclr_lib.choices import Precision
from simclr_lib.data import ImageDataset
from simclr_lib.device import autocast

PIXEL_SIDE = 32  # of images as features, at most


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (batch norm uses its running statistics and keeps them), and each layer back to what it was."""
    training_layers = [layer for layer in model.modules() if layer.training]
    model.eval()
    try:
        yield
    finally:
        for layer in training_layers:
            layer.training = True


@torch.no_grad()
def extract_features(
    encoder: nn.Module,
    dataset: ImageDataset | Tensor,
    batch_size: int = 512,
    precision: Precision = "auto",
    progress: bool = True,
) -> Tensor:
    """h of every image, without augmentation, in evaluation mode.

    Args:
        encoder: images [N, 3, H, W] → h [N, D]. Its mode and statistics are left as they were.
        dataset: an `ImageDataset`, or images: uint8 [N, 3, H, W] or float in [0, 1].
        batch_size: images at a time; does not change the result.
        precision: "auto" uses bfloat16 where that is faster.
        progress: show a progress bar when it takes over two seconds.

    Returns:
        float32 [N, D], on the CPU.
    """
    images = dataset if isinstance(dataset, Tensor) else dataset.images
    device = next(encoder.parameters()).device
    features = []
    with evaluating(encoder), autocast(device, precision):
        starts = range(0, len(images), batch_size)
        for start in tqdm(starts, desc="features", unit="batch", delay=2, leave=False, disable=not progress):
            batch = to_float(images[start : start + batch_size].to(device))
            features.append(encoder(batch.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(features)


def to_float(images: Tensor) -> Tensor:
    """uint8 0…255 → float32 0…1; floats stay as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def pixel_features(dataset: ImageDataset | Tensor) -> Tensor:
    """The images themselves as features: what no learning at all gives.

    Images with a side above 32 pixels are first averaged down to 32×32: a linear probe on more numbers than that
    takes hours and gigabytes.

    Returns:
        float32 [N, 3·H·W] in [0, 1], on the CPU.
    """
    images = dataset if isinstance(dataset, Tensor) else dataset.images
    if max(images.shape[-2:]) <= PIXEL_SIDE:
        return to_float(images).flatten(1).cpu()
    parts = (F.interpolate(to_float(part), PIXEL_SIDE, mode="area") for part in images.split(1_000))
    return torch.cat([part.flatten(1).cpu() for part in parts])
