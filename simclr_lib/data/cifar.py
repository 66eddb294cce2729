"""CIFAR-10, CIFAR-100 and STL-10, by way of torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import CIFAR10, CIFAR100, STL10
from torchvision.datasets.utils import extract_archive

from simclr_lib.data.dataset import ImageDataset
from simclr_lib.data.download import damaged, fetch, missing
from simclr_lib.data.subsets import balanced_subset

SOURCES: dict[str, Any] = {"cifar10": CIFAR10, "cifar100": CIFAR100, "stl10": STL10}


def torchvision_images(
    name: str, split: str, root: Path, download: bool = False, limit: int | None = None
) -> ImageDataset:
    """Load CIFAR-10, CIFAR-100 or STL-10 into memory.

    Args:
        name: a key of ``SOURCES``.
        split: ``train`` or ``test``; STL-10 has ``unlabeled`` too, where every label is -1.
        root: the folder with torchvision's ``cifar-10-batches-py`` and so on, or that folder itself.
        download: fetch the set where it is missing.
        limit: load a class-balanced random subset of this size; None loads all.

    Raises:
        SimCLRError: the set is missing or damaged, or the download failed.
    """
    source = SOURCES[name]
    if root.name == source.base_folder:
        root = root.parent
    folder = root / source.base_folder
    if not folder.is_dir():
        if not download:
            raise missing(name, root)
        fetch(source.url, root, source.tgz_md5, source.base_folder, extract_archive)

    part = {"split": split} if source is STL10 else {"train": split == "train"}
    try:
        data = source(str(root), **part)
    except RuntimeError as error:
        if "corrupted" not in str(error):  # torchvision's word for a failed integrity check
            raise
        raise damaged(folder) from error
    if source is STL10:
        images, labels = torch.from_numpy(data.data), torch.from_numpy(data.labels).long()
    else:
        images, labels = torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)
    if limit is not None:
        chosen = balanced_subset(labels, limit)
        images, labels = images[chosen], labels[chosen]
    return ImageDataset(images.contiguous(), labels, list(data.classes), name)
