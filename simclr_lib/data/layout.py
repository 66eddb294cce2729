"""What a folder of images holds: its parts, classes and files, found by their names before any image is decoded."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image, features

from simclr_lib.data.listing import files_below, is_set_aside
from simclr_lib.errors import SimCLRError

# Formats of pictures by Pillow's names, and the feature that Pillow must have to read them. Plugins add HEIF and JXL.
FORMATS = {
    **{"JPEG": "jpg", "PNG": "zlib", "TIFF": "", "WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000", "HEIF": ""},
    **{"JXL": "", "BMP": "", "DIB": "", "GIF": "", "PPM": "", "MPO": "", "QOI": "", "SGI": "", "TGA": ""},
}
PICTURES = {
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".webp", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf"),
    *(".rw2", ".raf", ".raw", ".svg", ".psd", ".xcf"),
}  # not read, unless Pillow can
READABLE = (
    "images are read from .jpg, .png, .tif and other files that Pillow reads: convert others, for instance to .jpg; "
    "pip install pillow-heif reads .heic"
)
TEST_SHARE = 0.2  # of the labelled images, where there is no test folder
PARTS = {"train": "train", "training": "train"} | dict.fromkeys(
    ("test", "testing", "val", "valid", "validation"), "test"
)
DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}\b.*")  # 2019, 2024-05-17, 2024-05 Norway

Labels = Literal["folders", "none"] | Path


@dataclass(frozen=True)
class Layout:
    """The files of a folder of images.

    Attributes:
        root: the folder.
        classes: class names, sorted; none where no image has a label.
        parts: "train" and, perhaps, "test" → (file, index of its class or -1) for each image.
        left_out: extension → number of pictures in a format that is not read.
        found: what the classes were taken from, in words.
        beside: names of what lies beside the folders of the parts, and is not used.
    """

    root: Path
    classes: list[str]
    parts: dict[str, list[tuple[Path, int]]]
    left_out: Counter[str]
    found: str
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line: the parts, the classes, and what was left out."""
        counts = []
        for part, files in self.parts.items():
            without = sum(label < 0 for _, label in files)
            note = f" ({without:,} without a label)" if self.classes and without else ""
            counts.append(f"{len(files):,} {'training' if part == 'train' else part} images{note}")
        classes = "one class" if len(self.classes) == 1 else f"{len(self.classes):,} classes"
        found = f"{classes}, {self.found}" if self.classes else self.found
        text = f"{self.root}: {' and '.join(counts)}; {found}"
        if self.beside:
            more = ", …" if len(self.beside) > 3 else ""
            text += f"; not used, beside the parts: {', '.join(self.beside[:3])}{more}"
        if self.left_out:
            formats = ", ".join(f"{count:,} {extension}" for extension, count in self.left_out.most_common(5))
            text += f"; left out: {formats} ({READABLE})"
        return text


def readable_extensions() -> set[str]:
    """Return the extensions of the pictures that Pillow reads here, in lower case."""
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener  # the photographs of many telephones

        register_heif_opener()
    here = {name for name, feature in FORMATS.items() if not feature or features.check(feature)}
    return {
        extension for extension, name in Image.registered_extensions().items() if name in here and name in Image.OPEN
    }


def find_images(root: Path, labels: Labels | None = None) -> Layout:
    """Find the images of a folder, their parts and their labels.

    - Folders called train and test (or training, val, validation, …, ``Train_Set`` as well) are the parts. Without
      them a fifth of the labelled images is the test part. An image's name alone decides about that, so that images
      which are added later move no other image. Images without labels are all for training.
    - In a part, folders are classes and images beside them have no label. There are no classes where all images lie
      in one folder, or in folders whose names are dates.
    - Hidden files and folders are left out, and those that systems make (``@eaDir``, ``$RECYCLE.BIN``, …).

    Args:
        root: the folder.
        labels: "folders" makes every folder a class, "none" none; a CSV file has lines ``file,label``, with files
            relative to ``root`` or to the CSV file, and images that it does not name have no label.

    Raises:
        SimCLRError: there are no images, the parts do not fit together, or the CSV file does not fit the images.
    """
    if not root.is_dir():
        raise SimCLRError(f"there is no folder {root}: point data_dir to a folder of images.")
    roots = _part_folders(root)
    beside = _beside(root, roots)
    blocks = [(name, folder, child) for name, folder in roots.items() for child in [*_folders(folder), folder]]
    # All in one list, so that a link from one part to the other does not bring test images into training. A part's
    # own folder comes last: the folders in it have taken their files by then.
    listed = files_below([child for *_, child in blocks])
    extensions = readable_extensions()
    others = PICTURES - extensions
    left_out = Counter(path.suffix.lower() for files in listed for path in files if path.suffix.lower() in others)
    images = [[path for path in files if path.suffix.lower() in extensions] for files in listed]
    if not any(images):
        raise SimCLRError(f"{root} has no images: {READABLE}.")
    if isinstance(labels, Path):
        files: dict[str, list[Path]] = {name: [] for name in roots}
        for (part, *_), paths in zip(blocks, images, strict=True):
            files[part] += paths
        classes, parts = _labels_of_csv(labels, root, files)
        return _with_test_part(Layout(root, classes, parts, left_out, f"from {labels.name}", beside))
    holding = [child for (_, folder, child), paths in zip(blocks, images, strict=True) if paths and child != folder]
    folders = holding if _are_classes(holding, "test" in roots, labels) else []
    classes = sorted({folder.name for folder in folders})
    number, is_class = {name: i for i, name in enumerate(classes)}, set(folders)
    parts = {name: [] for name in roots}
    for (part, _, child), paths in zip(blocks, images, strict=True):
        label = number[child.name] if child in is_class else -1
        parts[part] += [(path, label) for path in paths]
    dated = labels is None and not classes and len(holding) > 1
    found = "no labels, as the folders have dates for names" if dated else "no labels"
    found = "named by their folders" if classes else found
    return _with_test_part(Layout(root, classes, parts, left_out, found, beside))


def _part_folders(root: Path) -> dict[str, Path]:
    """Find the folders of the parts: {"train": root} where there are none of these names.

    A folder called train or test that holds images itself, beside folders of other names, is a class of that name.
    """
    folders = _folders(root)
    role = {folder: _role(folder.name) for folder in folders}
    alone = all(role.values())
    parts = [folder for folder in folders if role[folder] and (alone or _folders(folder))]
    training = [folder for folder in parts if role[folder] == "train"]
    testing = [folder for folder in parts if role[folder] == "test"]
    if not training:
        if testing:
            raise SimCLRError(f"{root} has {testing[0].name}/ but no train/: add the training images.")
        return {"train": root}
    if len(training) > 1:
        raise SimCLRError(f"{root} has {training[0].name}/ and {training[1].name}/: leave one of them for training.")
    has_classes = bool(_folders(training[0]))
    # The part with labels, and test/ rather than val/.
    testing.sort(key=lambda folder: (bool(_folders(folder)) != has_classes, "test" not in folder.name.casefold()))
    return {"train": training[0], "test": testing[0]} if testing else {"train": training[0]}


def _beside(root: Path, parts: dict[str, Path]) -> tuple[str, ...]:
    """Return the names of the folders and images that lie in the root beside the folders of the parts."""
    if root in parts.values():
        return ()
    extensions = readable_extensions()
    folders = [f"{folder.name}/" for folder in _folders(root) if folder not in parts.values()]
    return (
        *folders,
        *sorted(path.name for path in root.iterdir() if path.suffix.lower() in extensions and path.is_file()),
    )


def _role(name: str) -> str | None:
    """Return "train" or "test" for a folder called so: Train, training_set, test-images, val, …"""
    words = [word for word in re.split(r"[\W_]+", name.casefold()) if word not in ("set", "data", "images", "split")]
    return PARTS.get(words[0].removesuffix("set")) if len(words) == 1 else None


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without those that are set aside."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_set_aside(path.name))


def _are_classes(folders: Sequence[Path], has_test_part: bool, labels: Labels | None) -> bool:
    """Return whether these folders of images are classes, rather than albums or days."""
    if labels is not None:
        return labels == "folders"
    names = {folder.name for folder in folders}
    return len(names) > (0 if has_test_part else 1) and not all(DATE.fullmatch(name) for name in names)


def _labels_of_csv(
    file: Path, root: Path, files: dict[str, list[Path]]
) -> tuple[list[str], dict[str, list[tuple[Path, int]]]]:
    """Return the classes, and the files of each part with their labels, as a CSV file has them."""
    places = {os.path.abspath(path): path for paths in files.values() for path in paths}
    label_of: dict[Path, str] = {}
    unknown = []
    for name, label in _rows_of_csv(file):
        path = next(
            (places[p] for p in (os.path.abspath(base / name) for base in (root, file.parent)) if p in places), None
        )
        if path is None:
            unknown.append(name)
        elif label_of.setdefault(path, label) != label:
            raise SimCLRError(f"{file} gives {name} two labels: {label_of[path]} and {label}.")
    if unknown:
        raise SimCLRError(
            f"{file} names {len(unknown):,} files that are not images in {root}, such as {unknown[0]}: "
            "its first column has file names relative to that folder."
        )
    classes = sorted(set(label_of.values()))
    number = {name: i for i, name in enumerate(classes)}
    return classes, {
        part: [(path, number[label_of[path]] if path in label_of else -1) for path in paths]
        for part, paths in files.items()
    }


def _rows_of_csv(file: Path) -> list[tuple[str, str]]:
    """Return the (file, label) of each line that has both; the names of the columns may stand first."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SimCLRError(f"{file} cannot be read as a CSV file in UTF-8 ({error}).") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter)]
    if rows and rows[0] and rows[0][0].casefold() in ("file", "filename", "file_name", "image", "path", "name"):
        rows = rows[1:]
    short = next((row for row in rows if len(row) == 1), None)
    if short:
        raise SimCLRError(f"{file} has a line with a file but no label ({short[0]}): each line needs file,label.")
    return [(row[0], row[1]) for row in rows if row and row[0] and row[1]]


def _with_test_part(layout: Layout) -> Layout:
    """Check the parts' classes; where there is no test part, hold out a fifth of the labelled images."""
    train, test = layout.parts["train"], layout.parts.get("test")
    if test is not None:
        if not test:
            raise SimCLRError(f"the test part of {layout.root} has no images of its own: add some or remove it.")
        learned = {label for _, label in train}
        unknown = sorted({layout.classes[label] for _, label in test if label not in learned and label >= 0})
        if unknown:
            raise SimCLRError(
                f"the test part of {layout.root} has classes that the training part lacks ({', '.join(unknown[:3])}): "
                "add training images for them or remove them."
            )
        return layout
    held_out = {path for path, label in train if label >= 0 and _is_held_out(path, layout.root)}
    if not held_out:
        return layout
    parts = {
        "train": [(path, label) for path, label in train if path not in held_out],
        "test": [(path, label) for path, label in train if path in held_out],
    }
    return replace(layout, parts=parts)


def _is_held_out(path: Path, root: Path) -> bool:
    """Decide by a file's name alone, so that files which are added later change nothing."""
    name = os.fsencode(path.relative_to(root).as_posix())
    return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "big") < TEST_SHARE * 2**32
