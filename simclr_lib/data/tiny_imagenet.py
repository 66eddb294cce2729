"""TinyImageNet: 200 classes of 64×64 photographs, in its original layout."""

from __future__ import annotations

import logging
import stat
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch
from tqdm import tqdm

from simclr_lib.data.dataset import ImageDataset
from simclr_lib.data.decoding import load_files
from simclr_lib.data.download import damaged, fetch, missing
from simclr_lib.data.reading import Reading
from simclr_lib.errors import SimCLRError

log = logging.getLogger(__name__)

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
FOLDER = "tiny-imagenet-200"
NATIVE_SIZE = 64


def tinyimagenet(
    split: str, root: Path, download: bool = False, limit: int | None = None, image_size: int | None = None
) -> ImageDataset:
    """Load TinyImageNet; its labelled validation images are the test part.

    Classes without training images are left out, so that a part of the set can be used.

    Args:
        split: ``train`` or ``test``.
        root: the folder ``tiny-imagenet-200`` or the one above it.
        download: fetch the set (248 MB) where it is missing.
        limit: load a class-balanced random subset of this size; None loads all.
        image_size: side of the images, in pixels; None keeps 64.

    Raises:
        SimCLRError: the set is missing or damaged, or the download failed.
    """
    if (root / "wnids.txt").is_file():
        folder = root
    else:
        parent = root.parent if root.name == FOLDER else root
        folder = parent / FOLDER
        if not folder.is_dir():
            if not download:
                raise missing("tinyimagenet", parent)
            fetch(URL, parent, MD5, FOLDER, extract_zip)

    try:
        wnids = sorted((folder / "wnids.txt").read_text(encoding="utf-8").split())
        train = {wnid: sorted((folder / "train" / wnid / "images").glob("*.JPEG")) for wnid in wnids}
        train = {wnid: paths for wnid, paths in train.items() if paths}
        classes = _class_names(folder / "words.txt", list(train))
        if split == "train":
            paths_and_wnids = [(path, wnid) for wnid, paths in train.items() for path in paths]
        else:
            paths_and_wnids = _validation_images(folder / "val", wnids)
    except (FileNotFoundError, ValueError) as error:  # a file is missing, or a line was cut off
        raise damaged(folder) from error
    if not paths_and_wnids or not {wnid for _, wnid in paths_and_wnids} <= set(wnids):
        raise damaged(folder)
    if len(train) < len(wnids):
        log.warning(f"{folder}: {len(train)} of {len(wnids)} classes have training images; the others are left out.")
    paths_and_wnids = [pair for pair in paths_and_wnids if pair[1] in train]

    label_of = {wnid: label for label, wnid in enumerate(train)}
    labels = torch.tensor([label_of[wnid] for _, wnid in paths_and_wnids])
    paths = [path for path, _ in paths_and_wnids]
    reading = Reading(store_size=image_size or NATIVE_SIZE)
    return load_files(paths, labels, classes, reading, limit, name="tinyimagenet", root=folder, part=split)


def _class_names(words: Path, wnids: list[str]) -> list[str]:
    """Each WordNet id's first synonym; where two share it ("crane"), the id is added."""
    synonyms = dict(line.split("\t", 1) for line in words.read_text(encoding="utf-8").splitlines() if "\t" in line)
    names = [synonyms.get(wnid, wnid).split(",")[0].strip() for wnid in wnids]
    uses = Counter(names)
    return [name if uses[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids, strict=True)]


def _validation_images(folder: Path, wnids: Sequence[str]) -> list[tuple[Path, str]]:
    """(path, WordNet id) of every validation image. Raises FileNotFoundError for a missing one.

    Many users have sorted these images into a folder for each class, as those for training are.
    """
    pairs = [(path, wnid) for wnid in wnids for path in sorted((folder / wnid).rglob("*.JPEG"))]
    if pairs:
        return pairs
    present = {path.name: path for path in (folder / "images").iterdir()}
    for line in (folder / "val_annotations.txt").read_text(encoding="utf-8").splitlines():
        name, wnid = line.split("\t")[:2]
        if name not in present:
            raise FileNotFoundError(name)
        pairs.append((present[name], wnid))
    return pairs


def extract_zip(archive: Path, destination: Path) -> None:
    """Unpack a zip file, unless one of its members would land outside ``destination`` or is a link.

    Raises:
        SimCLRError: there is such a member; nothing is unpacked then.
    """
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            outside = path.is_absolute() or ".." in path.parts or ":" in member.filename  # ":" as in C:
            if outside or stat.S_ISLNK(member.external_attr >> 16):
                raise SimCLRError(f"{archive} holds an unsafe path, {member.filename!r}: delete the file.")
        for member in tqdm(members, desc=f"unpacking {archive.name}", unit="file", delay=1):
            content.extract(member, destination)
