"""Test images in other colours, or damaged, unlike any training image (after Hendrycks & Dietterich 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from simclr_lib.data import ImageDataset
from simclr_lib.errors import SimCLRError, unknown_name

NOISE_DEVIATION = 0.1  # standard deviation of the noise, as a share of the range of values
HIDDEN_SIDE = 0.4  # side of the hidden square, as a share of the side of the image


def _opposite_hue(images: Tensor) -> Tensor:
    return TF.adjust_hue(images, 0.5)


def _grey(images: Tensor) -> Tensor:
    return TF.rgb_to_grayscale(images, num_output_channels=3)


def _dark(images: Tensor) -> Tensor:
    return TF.adjust_brightness(images, 0.3)


def _blurred(images: Tensor) -> Tensor:
    sigma = images.shape[-1] / 24
    return TF.gaussian_blur(images, [2 * round(2 * sigma) + 1] * 2, [sigma] * 2)


def _noisy(images: Tensor) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images.device)
    return (images + 255 * NOISE_DEVIATION * noise).round().clamp(0, 255).to(torch.uint8)


def _hidden(images: Tensor) -> Tensor:
    """Hide a part of each image under a grey square at a random place."""
    side = images.shape[-1]
    hidden = round(HIDDEN_SIDE * side)
    left, top = torch.randint(side - hidden + 1, (2, len(images), 1), generator=torch.Generator().manual_seed(0))
    along = torch.arange(side)
    columns, rows = ((along >= start) & (along < start + hidden) for start in (left, top))  # each [N, side]
    square = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)  # [N, 1, side, side]
    return images.masked_fill(square, 128)


SHIFTS: dict[str, Callable[[Tensor], Tensor]] = {
    "opposite_hue": _opposite_hue,
    "grey": _grey,
    "negative": TF.invert,
    "dark": _dark,
    "blurred": _blurred,
    "noisy": _noisy,
    "hidden": _hidden,
}
"""Name → function of uint8 images [N, 3, H, H] that returns such images. Four change colours, three destroy detail."""


def shifted(dataset: ImageDataset, shift: str) -> ImageDataset:
    """Change the images of a set, reproducibly, to test what the accuracy of a network depends on.

    Args:
        dataset: square images.
        shift: a name in `SHIFTS`: "opposite_hue" turns every hue by half a circle, "grey" takes away the colour,
            "negative" inverts, "dark" leaves 30 % of the brightness, "blurred" blurs with σ = H / 24, "noisy" adds
            Gaussian noise with σ = 10 % of the range, "hidden" covers a square of 40 % of the side.

    Returns:
        The set with changed images and the same labels.

    Raises:
        SimCLRError: the name is unknown, or the images are not square.
    """
    if shift not in SHIFTS:
        raise unknown_name("shift", shift, SHIFTS)
    images = dataset.whole(slice(None))
    height, width = images.shape[-2:]
    if height != width:
        raise SimCLRError(f"shifted needs square images, not {height} × {width} pixels.")
    return replace(dataset, images=SHIFTS[shift](images), name=f"{dataset.name}, {shift.replace('_', ' ')}")
