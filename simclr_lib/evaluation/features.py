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
from simclr_lib.evaluation.checks import check_features
from simclr_lib.models import SimCLR
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
    _check(dataset, "extract_features")
    if batch_size < 1:
        raise SimCLRError(f"batch_size must be at least 1, not {batch_size}.")
    parameter = next(encoder.parameters(), None)
    device = _batch(dataset, slice(0, 0)).device if parameter is None else parameter.device
    features = []
    with evaluating(encoder), autocast(device, precision):
        starts = range(0, len(dataset), batch_size)
        for start in tqdm(starts, desc="features", unit="batch", delay=2, leave=False, disable=not progress):
            batch = to_unit_range(_batch(dataset, slice(start, start + batch_size)).to(device))
            h = encoder(batch.contiguous(memory_format=torch.channels_last))
            check_output(h, len(batch))
            features.append(h.float().cpu())
    return torch.cat(features)


@torch.no_grad()
def projected(model: SimCLR, h: Tensor) -> Tensor:
    """Compute the embeddings z of features h by the projection head, in evaluation mode.

    Args:
        model: encoder and projection head.
        h: float [N, D], as `extract_features` returns them.

    Returns:
        float32 [N, out_dim], on the CPU.

    Raises:
        SimCLRError: the features have another shape or type, or are not finite.
    """
    check_features(h, "h", at_least=0)
    parameter = next(model.parameters())
    with evaluating(model):
        return torch.cat([model.projector(part.to(parameter)).float().cpu() for part in h.split(4096)])


def pixel_features(dataset: ImageDataset | Tensor, side: int = PIXEL_SIDE) -> Tensor:
    """Take the images themselves as features: the accuracy that needs no learning.

    Larger images are first averaged down to ``side`` × ``side`` pixels: a linear probe on more than 3·32·32 numbers
    takes hours and gigabytes.

    Args:
        dataset: as in `extract_features`.
        side: largest height and width that is kept, in pixels.

    Returns:
        float32 [N, 3·H·W] in [0, 1], on the CPU.

    Raises:
        SimCLRError: there are no images, or they have another shape, type or range.
    """
    _check(dataset, "pixel_features")
    parts = (to_unit_range(_batch(dataset, slice(i, i + 1_000))) for i in range(0, len(dataset), 1_000))
    return torch.cat([_small(part, side).flatten(1).cpu() for part in parts])


def _small(images: Tensor, side: int) -> Tensor:
    """Average images down to ``side`` × ``side`` pixels, if they are larger."""
    return images if max(images.shape[-2:]) <= side else F.interpolate(images, side, mode="area")


def _check(dataset: ImageDataset | Tensor, caller: str) -> None:
    """Raise `SimCLRError` unless these are images, at least one."""
    check_images(dataset.images if isinstance(dataset, ImageDataset) else dataset)
    if len(dataset) == 0:
        raise SimCLRError(f"{caller} needs at least one image.")


def _batch(dataset: ImageDataset | Tensor, rows: slice) -> Tensor:
    """Take a few whole images, at the size at which a network sees them."""
    return dataset.whole(rows) if isinstance(dataset, ImageDataset) else dataset[rows]
