"""Your own images: a folder for each class."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simclr_lib.data.dataset import ImageDataset, split_indices
from simclr_lib.data.images import load_files
from simclr_lib.errors import SimCLRError

EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
OTHER_PICTURES = (
    ".heic",
    ".heif",
    ".avif",
    ".jxl",
    ".dng",
)  # not read, but counted
READABLE = f"images are read from {', '.join(EXTENSIONS)} files: convert others, for instance to .jpg"
TEST_FOLDERS = ("test", "val", "valid", "validation")
TEST_SHARE = 0.2  # held out where there is no test folder
DEFAULT_SIZE = 64  # pixels, for photographs and mixed sizes
MAX_NATIVE_SIZE = 128  # larger images are resized to DEFAULT_SIZE unless another size is asked for

log = logging.getLogger(__name__)


def imagefolder(
    root: Path, split: str = "train", limit: int | None = None, image_size: int | None = None
) -> ImageDataset:
    """Load images whose class is the name of their folder.

    ``root`` holds ``train/`` and ``test/`` (or ``val/``, ``valid/``, ``validation/``) with a folder for
    each class; or the class folders themselves, and then a fifth of every class becomes the test part.
    Folders inside a class folder are searched too; hidden files and folders are left out.

    Args:
        root: the folder.
        split: ``train`` or ``test``.
        limit: load a class-balanced random subset of this size; None loads all.
        image_size: side of the images, in pixels. None takes the training images' own size where they
            are all squares of one size up to 128 pixels, and 64 otherwise.

    Raises:
        SimCLRError: the folders are not as above, or the images are unreadable.
    """
    if not root.is_dir():
        raise SimCLRError(f"there is no folder {root}: point --data-dir to a folder with a folder per class.")
    train_folder = root / "train"
    test_folder = next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), None)
    if test_folder and not train_folder.is_dir():
        raise SimCLRError(f"{root} has {test_folder.name}/ but no train/: add the training images.")
    if not train_folder.is_dir():
        train_folder = root

    classes = _class_names(train_folder)
    train_paths, train_labels = _list_images(train_folder, classes)
    if test_folder:
        _check_known(test_folder, classes)
        own_part = (train_paths, train_labels) if split == "train" else _list_images(test_folder, classes)
    else:
        train, test = split_indices(train_labels, TEST_SHARE)
        chosen = train if split == "train" else test
        own_part = [train_paths[i] for i in chosen.tolist()], train_labels[chosen]
        train_paths = [train_paths[i] for i in train.tolist()]
    paths, labels = own_part
    if not paths:
        raise SimCLRError(f"{root} has too few images for a {split} part: add more, or a {split}/ folder.")
    size = image_size or _native_size(train_paths)  # both parts get the training images' size
    return load_files(paths, labels, classes, size, limit, name=root.resolve().name)


def _class_names(folder: Path) -> list[str]:
    """The class folders' names, sorted."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if not names:
        raise SimCLRError(
            f"{folder} has no class folders: put each class's images into a folder of its own "
            "(unlabelled images: all into one)."
        )
    return names


def _check_known(test_folder: Path, classes: list[str]) -> None:
    unknown = sorted(set(_class_names(test_folder)) - set(classes))
    if unknown:
        raise SimCLRError(
            f"{test_folder} has classes that the training part lacks ({', '.join(unknown[:3])}): "
            "add training images for them or remove them."
        )


def _list_images(folder: Path, classes: list[str]) -> tuple[list[Path], Tensor]:
    """(paths, labels): N image files, sorted within each class, and int64 [N]."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            continue  # a class may have no test images
        found = _files_below(folder / name, EXTENSIONS)
        if left_out := _files_below(folder / name, OTHER_PICTURES):
            log.warning(f"{folder / name}: left out {len(left_out)} pictures such as {left_out[0].name}; {READABLE}.")
        if not found:
            raise SimCLRError(f"{folder / name} has no images: add some or remove the folder; {READABLE}.")
        paths += found
        labels += [label] * len(found)
    return paths, torch.tensor(labels, dtype=torch.int64)


def _files_below(folder: Path, extensions: tuple[str, ...]) -> list[Path]:
    found: list[str] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [f"{parent}/{name}" for name in files if name[0] != "." and name.lower().endswith(extensions)]
    return [Path(path) for path in sorted(found)]


def _native_size(paths: Sequence[Path]) -> int:
    """The one size of a sample of square images, or DEFAULT_SIZE."""
    sample = np.linspace(0, len(paths) - 1, min(len(paths), 64)).astype(int)
    sizes = set()
    for i in sample:
        with (
            contextlib.suppress(Exception),  # whatever is wrong with a file is said when it is read
            Image.open(paths[i]) as image,  # reads the header only
        ):
            sizes.add(image.size)
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height <= MAX_NATIVE_SIZE:
            return width
    return DEFAULT_SIZE
