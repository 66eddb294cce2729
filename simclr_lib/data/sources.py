"""Data sets by their names: one part, or all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torchvision.transforms.v2.functional import resize

from simclr_lib.choices import DATASETS, FORMS, HF, MAX_COUNT, MAX_IMAGE_SIZE
from simclr_lib.data.cifar import torchvision_images
from simclr_lib.data.dataset import ImageDataset, empty_images
from simclr_lib.data.emblems import draw_emblems
from simclr_lib.data.folder import image_parts
from simclr_lib.data.hugging_face import hugging_face
from simclr_lib.data.layout import Labels
from simclr_lib.data.reading import Reading
from simclr_lib.data.tiny_imagenet import tinyimagenet
from simclr_lib.errors import SimCLRError, require_whole, unknown_name
from simclr_lib.files import data_folder


def load_dataset(
    name: str,
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    limit: int | None = None,
    image_size: int | None = None,
    labels: str | os.PathLike[str] | None = None,
    reading: Reading | None = None,
) -> ImageDataset:
    """Load one part of a data set.

    Args:
        name: one of ``DATASETS``, or "hf:NAME" for a data set of the Hugging Face Hub, see `hugging_face`. ``emblems``
            is drawn by the package and needs no files.
        split: ``train`` or ``test``; ``stl10`` has ``unlabeled`` too, and ``imagefolder`` has ``all``.
        root: the data folder; None takes ``$SIMCLR_DATA``, or ``data`` in the current folder.
        download: fetch a missing set (cifar10, cifar100, stl10, tinyimagenet, hf:NAME).
        limit: load this many images only, chosen at random but always the same, as many of each class as
            possible; of ``emblems``, any number can be drawn. None loads all.
        image_size: side of the images, in pixels, at most 4,096; None keeps the source's own.
        labels: of ``imagefolder``: "folders", "none" or a CSV file, see `find_images`; None chooses by what is there.
        reading: of ``imagefolder``: how the files become pixels; None chooses by what is there, see `image_parts`.

    Returns:
        The images, uint8 [N, 3, H, W], with their labels.

    Raises:
        SimCLRError: a name, split, limit or size does not exist; or the set is missing, damaged, out of reach or
            larger than the memory.
    """
    return load_splits(name, {split: limit}, root, download, image_size, labels, reading)[split]


def load_splits(
    name: str,
    limits: Mapping[str, int | None],
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    image_size: int | None = None,
    labels: str | os.PathLike[str] | None = None,
    reading: Reading | None = None,
) -> dict[str, ImageDataset]:
    """Load several parts of a data set, see `load_dataset`. A folder of images is walked once for all of them.

    Args:
        name, root, download, image_size, labels, reading: as in `load_dataset`.
        limits: split → its limit, as in `load_dataset`.

    Returns:
        split → images, for each split of ``limits``.

    Raises:
        SimCLRError: as in `load_dataset`.
    """
    splits = (*_parts(name), "all") if name == "imagefolder" else _parts(name)
    for split in limits:
        if split not in splits:
            raise unknown_name(f"{name} split", str(split), splits)
    loaded = _load(name, root, download, limits, image_size, labels, reading)
    if limits.keys() != loaded.keys():  # only the test part of one's own images may be missing
        where = name if name.startswith(HF) else data_folder(root)
        raise SimCLRError(
            f"{where} has no test part: no image has a label, or so few have one that none of them was chosen. "
            "Add a folder called test, or label images (more of them)."
        )
    return {split: loaded[split] for split in limits}


def load_parts(
    name: str,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    limit: int | None = None,
    image_size: int | None = None,
    labels: str | os.PathLike[str] | None = None,
    reading: Reading | None = None,
) -> dict[str, ImageDataset]:
    """Load all parts of a data set, see `load_dataset`.

    Args:
        name, root, download, image_size, labels, reading: as in `load_dataset`.
        limit: load this many training images only; the test images are all loaded.

    Returns:
        "train", "test" and, of ``stl10``, "unlabeled". A folder of images without labels may have no "test".

    Raises:
        SimCLRError: as in `load_dataset`.
    """
    limits = {part: None if part == "test" else limit for part in _parts(name)}
    return _load(name, root, download, limits, image_size, labels, reading)


def _parts(name: str) -> tuple[str, ...]:
    if name not in DATASETS and not str(name).startswith(HF):
        raise unknown_name("data set", str(name), [*DATASETS, FORMS["dataset"]])
    return ("train", "test", "unlabeled") if name == "stl10" else ("train", "test")


def _load(
    name: str,
    root: str | os.PathLike[str] | None,
    download: bool,
    limits: Mapping[str, int | None],
    image_size: int | None,
    labels: str | os.PathLike[str] | None,
    reading: Reading | None,
) -> dict[str, ImageDataset]:
    """Load the parts that ``limits`` names; one that a folder of images does not have is left out."""
    for limit in limits.values():
        require_whole("limit", limit, 1, MAX_COUNT)
    require_whole("image_size", image_size, 1, MAX_IMAGE_SIZE)
    folder = data_folder(root)
    if name != "imagefolder":
        if labels is not None:
            raise SimCLRError(f"labels are for a folder of your own images, not for {name}: leave them out.")
        if name.startswith(HF):
            files, listed = hugging_face(name, folder, download)
            return image_parts(files, limits, image_size, listed, reading)
        return {part: _load_known(name, part, folder, download, limit, image_size) for part, limit in limits.items()}
    chosen: Labels | None = labels if labels in (None, "folders", "none") else Path(labels).expanduser()  # type: ignore[assignment]
    return image_parts(folder, limits, image_size, chosen, reading)


def _load_known(
    name: str, split: str, folder: Path, download: bool, limit: int | None, image_size: int | None
) -> ImageDataset:
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
    images = empty_images(len(dataset), image_size)
    for start in range(0, len(dataset), 64):
        images[start : start + 64] = resize(dataset.images[start : start + 64], [image_size, image_size])
    return replace(dataset, images=images)
