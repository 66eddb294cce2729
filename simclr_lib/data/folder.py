"""Your own images: a folder for each class."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simclr_lib.data.dataset import ImageDataset
from simclr_lib.data.images import load_files
from simclr_lib.data.listing import files_below
from simclr_lib.data.subsets import split_indices
from simclr_lib.errors import SimCLRError, shown

EXTENSIONS = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
OTHER_PICTURES = (".heic", ".heif", ".avif", ".jxl", ".dng")  # not read, but counted
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
    Folders inside a class folder are searched too; hidden files and folders are left out. A folder called
    ``train`` or ``test`` that holds images itself, beside other folders, is a class of that name.

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
        raise SimCLRError(f"there is no folder {root}: point data_dir to a folder with a folder per class.")
    train_folder = root / "train"
    test_folder = next((root / name for name in TEST_FOLDERS if _is_part(root, name)), None)
    if not _is_part(root, "train"):
        if test_folder:
            raise SimCLRError(f"{root} has {test_folder.name}/ but no train/: add the training images.")
        train_folder = root

    classes = _class_names(train_folder)
    folders = [train_folder / name for name in classes]
    if test_folder:
        _check_known(test_folder, classes)
        # All in one list, so that a link from one part to the other does not bring test images into training.
        folders += [test_folder / name for name in classes if (test_folder / name).is_dir()]
    images = [_images_in(folder, files) for folder, files in zip(folders, files_below(folders), strict=True)]
    train_paths, train_labels = _labelled(images[: len(classes)], classes, classes)
    if test_folder:
        names = [folder.name for folder in folders[len(classes) :]]
        test_paths, test_labels = _labelled(images[len(classes) :], names, classes)
        paths, labels = (train_paths, train_labels) if split == "train" else (test_paths, test_labels)
    else:
        train, test = split_indices(train_labels, TEST_SHARE)
        chosen = train if split == "train" else test
        paths, labels = [train_paths[i] for i in chosen.tolist()], train_labels[chosen]
        train_paths = [train_paths[i] for i in train.tolist()]
    if not paths:
        raise SimCLRError(f"{root} has too few images for a {split} part: add more, or a {split}/ folder.")
    size = image_size or _native_size(train_paths)  # both parts get the training images' size
    return load_files(paths, labels, classes, size, limit, name=root.resolve().name)


def _is_part(root: Path, name: str) -> bool:
    """Return whether ``root/name`` holds the class folders of a part, and is not a class called train or test."""
    others = set(_folder_names(root)) - {"train", *TEST_FOLDERS}
    return (root / name).is_dir() and (not others or bool(_folder_names(root / name)))


def _folder_names(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    return sorted(entry.name for entry in folder.iterdir() if entry.name[0] != "." and entry.is_dir())


def _class_names(folder: Path) -> list[str]:
    """The names of the class folders, sorted. Raises SimCLRError if there are none."""
    names = _folder_names(folder)
    if not names:
        raise SimCLRError(
            f"{folder} has no class folders: put each class's images into a folder of its own "
            "(unlabelled images: all into one)."
        )
    return names


def _check_known(test_folder: Path, classes: list[str]) -> None:
    """Raise SimCLRError if the test part has classes that the training part has not."""
    unknown = sorted(set(_class_names(test_folder)) - set(classes))
    if unknown:
        raise SimCLRError(
            f"{test_folder} has classes that the training part lacks ({', '.join(unknown[:3])}): "
            "add training images for them or remove them."
        )


def _images_in(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Those of a class folder's files that are images. Raises SimCLRError if there are none."""
    left_out = [path for path in files if path.suffix.lower() in OTHER_PICTURES]
    if left_out:
        log.warning(shown(f"{folder}: left out {len(left_out)} pictures such as {left_out[0].name}; {READABLE}."))
    found = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not found:
        raise SimCLRError(f"{folder} has no images of its own: add some or remove the folder; {READABLE}.")
    return found


def _labelled(images: list[list[Path]], names: list[str], classes: list[str]) -> tuple[list[Path], Tensor]:
    """The images of the named classes in one list of N paths, with their labels, int64 [N]."""
    labels = [classes.index(name) for name, paths in zip(names, images, strict=True) for _ in paths]
    return [path for paths in images for path in paths], torch.tensor(labels, dtype=torch.int64)


def _native_size(paths: Sequence[Path]) -> int:
    """The one size of a sample of square images, or DEFAULT_SIZE."""
    sample = np.linspace(0, len(paths) - 1, min(len(paths), 64)).astype(int)
    sizes = set()
    for i in sample:
        with (
            contextlib.suppress(Exception),  # whatever is wrong with a file is reported when it is read
            Image.open(paths[i]) as image,  # reads the header only
        ):
            sizes.add(image.size)
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height <= MAX_NATIVE_SIZE:
            return width
    return DEFAULT_SIZE
