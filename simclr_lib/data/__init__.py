"""Images to learn from: every source ends as one ``ImageDataset``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from torchvision.transforms.v2.functional import resize

from simclr_lib.choices import DATASETS
from simclr_lib.data.cifar import torchvision_images
from simclr_lib.data.dataset import ImageDataset, few_labels, split_indices
from simclr_lib.data.emblems import draw_emblems
from simclr_lib.data.folder import imagefolder
from simclr_lib.data.tiny_imagenet import tinyimagenet
from simclr_lib.errors import SimCLRError, unknown_name

__all__ = ["DATASETS", "ImageDataset", "few_labels", "load_dataset", "split_indices"]


def load_dataset(
    name: str,
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    limit: int | None = None,
    image_size: int | None = None,
) -> ImageDataset:
    """Load one part of a data set.

    Args:
        name: one of ``DATASETS``. ``emblems`` is drawn by the package and needs no files.
        split: ``train`` or ``test``; ``stl10`` has ``unlabeled`` too.
        root: the data folder; None takes ``$SIMCLR_DATA``, or ``data`` in the current folder.
        download: fetch a missing set (cifar10, cifar100, stl10, tinyimagenet).
        limit: load this many images only, chosen at random but always the same, as many of each class as
            can be; of ``emblems``, any number can be drawn. None loads all.
        image_size: side of the images, in pixels; None keeps the source's own.

    Returns:
        The images, uint8 [N, 3, H, W], with their labels.

    Raises:
        SimCLRError: an unknown name or split, or a set that is missing, damaged or out of reach.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    splits = ("train", "test", "unlabeled") if name == "stl10" else ("train", "test")
    if split not in splits:
        raise unknown_name(f"{name} split", split, splits)
    for option, value in (("limit", limit), ("image_size", image_size)):
        if value is not None and value < 1:
            raise SimCLRError(f"{option} must be at least 1, not {value}.")
    folder = Path(root or os.environ.get("SIMCLR_DATA") or "data").expanduser()

    if name == "imagefolder":
        return imagefolder(folder, split, limit, image_size)
    if name == "tinyimagenet":
        return tinyimagenet(split, folder, download, limit, image_size)
    if name == "emblems":
        dataset = draw_emblems(split, limit)
    else:
        dataset = torchvision_images(name, split, folder, download, limit)
    if image_size is not None and image_size != dataset.image_size:
        dataset = _resized(dataset, image_size)
    return dataset


def _resized(dataset: ImageDataset, image_size: int) -> ImageDataset:
    """The square images of ``dataset`` at another size (antialiased bilinear)."""
    blocks = [resize(block, [image_size, image_size]) for block in dataset.images.split(1024)]
    return replace(dataset, images=torch.cat(blocks))
