"""Data sets of the Hugging Face Hub: written once to a folder of image files, which is then read like one's own."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from simclr_lib.choices import HF
from simclr_lib.data.download import missing
from simclr_lib.data.layout import LABEL_COLUMNS, PARTS, Labels
from simclr_lib.errors import SimCLRError
from simclr_lib.files import temporary_folder

LABELS = "labels.csv"

log = logging.getLogger(__name__)


def hugging_face(name: str, root: Path, download: bool = False) -> tuple[Path, Labels]:
    """Find the files of a data set, or fetch it with the optional package ``datasets``.

    The first column of images counts, and the first one of class labels, or else one that is called label. The split
    called train is the training part. The split called test or, where that has no labels, the one called validation is
    the test part; without either, a fifth of the images becomes the test part, see `find_images`. Other splits are
    left out. A folder that was written once needs neither the network nor the package; delete it to fetch it anew.

    Args:
        name: "hf:NAME", or "hf:NAME:CONFIG" where a data set has several configurations. NAME is a name on the hub,
            such as ylecun/mnist, or a folder that ``datasets.load_dataset`` reads.
        root: the data folder; the files go to a folder below ``root/hf``.
        download: fetch the set where it is missing.

    Returns:
        (folder, labels), for `image_parts`.

    Raises:
        SimCLRError: the set is missing, out of reach or has no images; or the package is missing.
    """
    folder = root / "hf" / re.sub(r"[^\w.-]+", "--", name.removeprefix(HF)).strip("-")
    if not folder.is_dir():
        if not download:
            raise missing(name, root)
        splits = _fetched(name)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with temporary_folder(folder.parent) as temporary:
                _write(splits, temporary / folder.name, name)
                os.replace(temporary / folder.name, folder)
        except OSError as error:
            raise SimCLRError(
                f"cannot write to {root} ({error.strerror or error}): free some space, or choose another data_dir."
            ) from error
        log.info(f"{name} was written to {folder}")
    return folder, folder / LABELS if (folder / LABELS).exists() else "none"


def _fetched(name: str) -> Mapping[str, Any]:
    """Return the splits of a data set, from the hub or from where ``datasets`` keeps them."""
    try:
        import datasets
    except ImportError:
        raise SimCLRError(f'dataset="{name}" needs a package that is not here: pip install datasets.') from None
    path, _, configuration = name.removeprefix(HF).partition(":")
    elsewhere = 'use dataset="emblems", which needs no network, or point data_dir to a folder that holds a copy.'
    try:
        splits: Mapping[str, Any] = datasets.load_dataset(path, configuration or None)
    except ConnectionError as error:
        raise SimCLRError(f"no network: {name} cannot be fetched ({error}); {elsewhere}") from error
    except Exception as error:  # there is no such name, it has several configurations, a file is damaged, …
        raise SimCLRError(f"{name} cannot be loaded ({error}): check its name on the hub, or {elsewhere}") from error
    return splits


def _write(splits: Mapping[str, Any], folder: Path, name: str) -> None:
    """Write the parts of a data set as image files, and their labels as a CSV file beside them."""
    from datasets import Image as ImageColumn

    features = next(iter(splits.values())).features
    image = next((column for column, feature in features.items() if isinstance(feature, ImageColumn)), None)
    if image is None:
        raise SimCLRError(f"{name} has no column of images, but {', '.join(features)}: choose another data set.")
    label = _label_column(features)
    rows = []
    for part, split in _parts(splits, label, name).items():
        (folder / part).mkdir(parents=True)
        split = split.cast_column(image, ImageColumn(decode=False))
        for i, row in enumerate(tqdm(split, desc=f"writing {part or 'images'}", unit="image", delay=1)):
            content = row[image]["bytes"] or Path(row[image]["path"]).read_bytes()
            file = Path(part) / f"{i:07d}{_suffix(content)}"
            (folder / file).write_bytes(content)
            if label and _is_label(row[label]):
                feature = features[label]
                text = feature.int2str(row[label]) if hasattr(feature, "int2str") else str(row[label])
                rows.append((file.as_posix(), text))
    if rows:
        with (folder / LABELS).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("file", "label"), *rows])


def _label_column(features: Mapping[str, Any]) -> str | None:
    from datasets import ClassLabel

    classes = [column for column, feature in features.items() if isinstance(feature, ClassLabel)]
    return next((column for column in (*classes, *features) if column in classes or column in LABEL_COLUMNS), None)


def _parts(splits: Mapping[str, Any], label: str | None, name: str) -> dict[str, Any]:
    """Return "train" and "test" → split; or "" → split where there is one of them only."""
    train = [split for split in splits if PARTS.get(split) == "train"] or list(splits)
    if len(train) > 1:
        raise SimCLRError(f"{name} has the splits {', '.join(splits)}, and none is called train: choose another one.")
    test = [
        split for split in splits if label and PARTS.get(split) == "test" and any(map(_is_label, splits[split][label]))
    ]
    if not test or test == train:
        return {"": splits[train[0]]}
    return {"train": splits[train[0]], "test": splits["test" if "test" in test else test[0]]}


def _is_label(value: object) -> bool:
    return value is not None and value != -1  # -1 stands for none, as in test sets whose labels are kept secret


def _suffix(content: bytes) -> str:
    """The ending of an image file's name, such as ".jpeg". A broken file gets one too, and reading it names it."""
    with contextlib.suppress(OSError), Image.open(io.BytesIO(content)) as image:
        return f".{image.format}".lower()
    return ".png"
