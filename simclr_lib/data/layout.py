"""The contents of a folder of images: its parts, classes and files, found by their names before any is decoded."""

from __future__ import annotations

import codecs
import contextlib
import csv
import hashlib
import io
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image, features

from simclr_lib.data.listing import files_below, holds_a_run, is_set_aside
from simclr_lib.errors import SimCLRError, counted, shown
from simclr_lib.files import content_of, require_folder

# Formats of pictures by Pillow's names, and the feature that Pillow must have to read them. Plugins add HEIF and JXL.
FORMATS = {
    "JPEG": "jpg",
    "PNG": "zlib",
    "WEBP": "webp",
    "AVIF": "avif",
    "JPEG2000": "jpg_2000",
} | dict.fromkeys(("TIFF", "HEIF", "JXL", "BMP", "DIB", "GIF", "PPM", "MPO", "QOI", "SGI", "TGA"), "")
# Files that lie beside images and are none. All others that are not read are counted.
BESIDE_IMAGES = {
    "",
    ".txt",
    ".csv",
    ".tsv",
    ".json",
    ".xml",
    ".md",
    ".html",
    ".pdf",
    ".log",
    ".ini",
    ".db",
    ".yaml",
    ".yml",
    ".py",
    ".ipynb",
    ".xmp",
    ".aae",
    ".thm",
    ".npy",
    ".npz",
    ".pt",
    ".zip",
}
READABLE = (
    "images are read from .jpg, .png, .tif and other files that Pillow reads: convert others, for instance to .jpg; "
    "pip install 'simclr-lib[heic]' reads .heic"
)
TEST_SHARE = 0.2  # of the labelled images, where there is no test folder
PARTS = {"train": "train", "training": "train"} | dict.fromkeys(
    ("test", "testing", "val", "valid", "validation", "eval", "evaluation"), "test"
)
YEAR, BETWEEN, END = r"(19|20)\d\d", "[-_. ]", r"(?![^\W_])"  # after the end, there is neither letter nor digit
DATE = re.compile(  # 2019, 2024-05-17, 20240517_trip, 2024-05 Norway; 17.05.2024
    rf"({YEAR}({BETWEEN}?\d\d){{0,2}}|\d\d?{BETWEEN}\d\d?{BETWEEN}{YEAR}){END}.*"
)
FILE_COLUMNS = ("file", "filename", "file_name", "filepath", "file_path", "image", "path", "name")
LABEL_COLUMNS = ("label", "labels", "class", "category")

Labels = Literal["folders", "none"] | Path
Files = list[tuple[Path, int]]
"""(file, index of its class or -1) for each image."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """The files of a folder of images.

    Attributes:
        root: the folder.
        classes: class names, sorted; none where no image has a label.
        parts: "train" and, perhaps, "test" → (file, index of its class or -1) for each image; or "all" of them.
        left_out: extension → number of files in a format that is not read.
        found: what the classes were taken from, in words.
        beside: names of what lies beside the folders of the parts, and is not used.
        split_by_name: whether there was no test folder, so that the images' names decided about the test part.
    """

    root: Path
    classes: list[str]
    parts: dict[str, Files]
    left_out: Counter[str]
    found: str
    beside: tuple[str, ...] = ()
    split_by_name: bool = False

    def __str__(self) -> str:
        """One line: the parts, the classes, and what was left out."""
        counts, unlabelled = [], 0
        for part, files in self.parts.items():
            without = sum(label < 0 for _, label in files)
            unlabelled += without
            note = f" ({without:,} without a label)" if self.classes and without else ""
            kind = {"train": "training image", "all": "image"}.get(part, f"{part} image")
            counts.append(f"{counted(len(files), kind)}{note}")
        classes = "one class" if len(self.classes) == 1 else f"{len(self.classes):,} classes"
        found = f"{classes}, {self.found}" if self.classes else self.found
        text = f"{self.root}: {' and '.join(counts)}; {found}"
        if self.classes and self.split_by_name and "all" not in self.parts:
            if "test" not in self.parts:
                text += "; no labelled image was chosen for testing: label more of them, or add a folder called test"
            elif unlabelled:
                text += (
                    "; the test images are chosen by name among those with labels: an image that is labelled after "
                    "training may become one, although training has seen it without its label"
                )
        if self.beside:
            more = ", …" if len(self.beside) > 3 else ""
            text += f"; not used, beside the parts: {', '.join(self.beside[:3])}{more}"
        if self.left_out:
            text += f"; left out: {_by_extension(self.left_out)} ({READABLE})"
        return text


def _by_extension(left_out: Counter[str]) -> str:
    return ", ".join(f"{count:,} {extension}" for extension, count in left_out.most_common(5))


def readable_extensions() -> set[str]:
    """Return the extensions of the pictures that Pillow reads here, in lower case."""
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener  # the photographs of many telephones

        register_heif_opener()
    readable = {name for name, feature in FORMATS.items() if not feature or features.check(feature)}
    return {
        extension
        for extension, name in Image.registered_extensions().items()
        if name in readable and name in Image.OPEN
    }


def find_images(root: Path, labels: Labels | None = None) -> Layout:
    """Find the images of a folder, their parts and their labels.

    - Folders called train and test (or training, val, validation, …, ``Train_Set`` as well) are the parts, also below
      a single folder such as ``images``. Without them about a fifth of the labelled images is the test part. An image's
      name alone decides about that, so that images which are added later move no other image; only a class whose
      images would all be test images keeps one for training. Images without labels are all for training. So an image
      that gets its label later may move to the test part, and an encoder that was trained before has seen it, though
      not its label: label the images first, or put test images into a folder of their own.
    - In a part, folders are classes and images beside them have no label. There are no classes where all images lie
      in one folder, or in folders whose names are dates.
    - Hidden files and folders are left out, those that systems make (``@eaDir``, ``$RECYCLE.BIN``, …), and the
      results of runs.

    Args:
        root: the folder.
        labels: "folders" makes every folder a class, "none" none; a CSV file in UTF-8 (or UTF-16) has lines
            ``file,label``, or a first line with the names of the columns, among them these two. Files are relative to
            ``root`` or to the CSV file, and images that it does not name have no label.

    Returns:
        The parts and classes, and what was left out.

    Raises:
        SimCLRError: there are no images, the parts do not fit together, or the CSV file does not fit the images.
    """
    require_folder(root)
    roots = _part_folders(root)
    beside = _beside(root, roots)
    blocks = [(name, folder, child) for name, folder in roots.items() for child in [*_folders(folder), folder]]
    # All in one list, so that a link from one part to the other does not bring test images into training. A part's
    # own folder comes last: the folders in it have taken their files by then.
    listed = files_below([child for *_, child in blocks])
    extensions = readable_extensions()
    suffixes = (path.suffix.lower() for files in listed for path in files)
    left_out = Counter(suffix for suffix in suffixes if suffix not in extensions | BESIDE_IMAGES)
    images = [[path for path in files if path.suffix.lower() in extensions] for files in listed]
    if not any(images):
        others = f" that can be read, but {_by_extension(left_out)}" if left_out else ""
        raise SimCLRError(f"{root} has no images{others}: {READABLE}.")
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
    albums = " (labels none takes these for albums)" if labels is None and "test" not in roots else ""
    found = f"named by their folders{albums}" if classes else found
    return _with_test_part(Layout(root, classes, parts, left_out, found, beside))


def _part_folders(root: Path) -> dict[str, Path]:
    """Find the folders of the parts: {"train": root} where there are none of these names.

    A folder called train or test that holds images itself, beside other folders of images, is a class of that name.
    """
    folders = _folders(root)
    role = {folder: _role(folder.name) for folder in folders}
    if not any(role.values()):
        holding = [folder for folder in folders if _holds_images(folder)]
        loose = any(path.suffix.lower() in readable_extensions() for path in root.iterdir())
        below = {_role(folder.name) for folder in _folders(holding[0])} if len(holding) == 1 and not loose else set()
        if {"train", "test"} <= below:
            return _part_folders(holding[0])  # such as images/, beside a folder of labels
        return {"train": root}
    alone = not any(_holds_images(folder) for folder in folders if not role[folder])
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
    """Return the names of the folders and images that lie beside the folders of the parts."""
    if root in parts.values():
        return ()
    place, extensions = parts["train"].parent, readable_extensions()
    folders = [f"{folder.name}/" for folder in _folders(place) if folder not in parts.values()]
    return (
        *folders,
        *sorted(path.name for path in place.iterdir() if path.suffix.lower() in extensions and path.is_file()),
    )


def _holds_images(folder: Path) -> bool:
    """Return whether there is an image anywhere in a folder."""
    extensions = readable_extensions()
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_set_aside(name)]
        if any(os.path.splitext(name)[1].lower() in extensions for name in files if not is_set_aside(name)):
            return True
    return False


def _role(name: str) -> str | None:
    """Return "train" or "test" for a folder called so: Train, training_set, test-images, val2017, …"""
    words = re.split(r"[\W_]+", re.sub(rf"[\W_]*{YEAR}$", "", name.casefold()))
    words = [word for word in words if word not in ("set", "data", "images", "split")]
    return PARTS.get(words[0].removesuffix("set")) if len(words) == 1 else None


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without those that are set aside and links that lead back up."""
    place = Path(os.path.realpath(folder))
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir()
        and not is_set_aside(path.name)
        and not holds_a_run(path)
        and not place.is_relative_to(os.path.realpath(path))
    )


def _are_classes(folders: Sequence[Path], has_test_part: bool, labels: Labels | None) -> bool:
    """Return whether these folders of images are classes, rather than albums or days."""
    if labels is not None:
        return labels == "folders"
    names = {folder.name for folder in folders}
    return len(names) > (0 if has_test_part else 1) and not all(DATE.fullmatch(name) for name in names)


def _labels_of_csv(file: Path, root: Path, files: dict[str, list[Path]]) -> tuple[list[str], dict[str, Files]]:
    """Return the classes, and the files of each part with their labels, as a CSV file has them."""
    # macOS writes an é in a file's name as two characters, and other systems as one.
    exact = {os.path.abspath(path): path for paths in files.values() for path in paths}
    places = {_composed(place): path for place, path in exact.items()} | exact
    label_of: dict[Path, str] = {}
    unknown = []
    rows = _rows_of_csv(file)
    for name, label in rows:
        spelled = (name, name.replace("\\", "/"))  # Windows writes album\0.jpg
        candidates = [os.path.abspath(base / path) for base in (root, file.parent) for path in spelled]
        path = next((places[p] for p in (*candidates, *map(_composed, candidates)) if p in places), None)
        if path is None:
            unknown.append(name)
        elif label_of.setdefault(path, label) != label:
            raise SimCLRError(f"{file} gives {name} two labels: {label_of[path]} and {label}.")
    if unknown:
        what = "file that is not an image" if len(unknown) == 1 else "files that are not images"
        text = f"{file} names {len(unknown):,} {what} in {root}, such as {unknown[0]}"
        if 2 * len(unknown) >= len(rows):
            raise SimCLRError(f"{text}: its file column needs file names relative to that folder.")
        log.warning(shown(text))
    classes = sorted(set(label_of.values()))
    number = {name: i for i, name in enumerate(classes)}
    return classes, {
        part: [(path, number[label_of[path]] if path in label_of else -1) for path in paths]
        for part, paths in files.items()
    }


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _rows_of_csv(file: Path) -> list[tuple[str, str]]:
    """Return the (file, label) of each line that has both; the names of the columns may stand first."""
    written = content_of(file)
    try:
        is_utf16 = written.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = written.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise SimCLRError(f'{file} is not in UTF-8: save it as "CSV UTF-8", as spreadsheets call it.') from error
    first = text.partition("\n")[0]
    table = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        rows = [[cell.strip() for cell in row] for row in table]
    except csv.Error as error:
        raise SimCLRError(
            f"{file} cannot be read as a CSV file ({error}): look for a quotation mark that is not closed, up to line "
            f"{table.line_num:,}."
        ) from error
    rows = [row for row in rows if any(row)]
    name, label, has_names = _columns(file, rows[0] if rows else [])
    pairs = []
    for row in rows[has_names:]:
        if len(row) <= max(name, label):
            raise SimCLRError(
                f"{file} has a line with a file but no label ({', '.join(row)}): each line needs file,label."
            )
        if "\n" in row[name] + row[label]:
            raise SimCLRError(
                f"{file} has a name or label of several lines, which begins with {(row[name] + row[label])[:20]!r}: "
                "look for a quotation mark that is not closed."
            )
        pairs.append((row[name], row[label]))
    return [pair for pair in pairs if all(pair)]


def _columns(file: Path, first: list[str]) -> tuple[int, int, bool]:
    """Find the columns of the file names and of the labels, and whether the first line names them.

    Raises:
        SimCLRError: the first line has names of columns, but not of these two.
    """
    names = [cell.casefold() for cell in first]
    name = next((names.index(word) for word in FILE_COLUMNS if word in names), None)
    label = next((names.index(word) for word in LABEL_COLUMNS if word in names), None)
    if name is None and (label is None or any(Path(word).suffix in readable_extensions() for word in names)):
        return 0, 1, False
    if label is None and len(names) == 2:
        label = 1 - (name or 0)
    if name is None or label is None:
        raise SimCLRError(
            f"{file} has the columns {', '.join(first)}: the one of file names must be called file, the other label."
        )
    return name, label, True


def _with_test_part(layout: Layout) -> Layout:
    """Check the parts' classes; where there is no test part, hold out about a fifth of the labelled images."""
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
    # The image of each class that is the last one to be held out is for training in any case.
    shares = {path: _share(path, layout.root) for path, label in train if label >= 0}
    last = {label: path for path, label in sorted(train, key=lambda pair: shares.get(pair[0], 0.0))}
    held_out = {path for path, label in train if label >= 0 and shares[path] < TEST_SHARE and path != last[label]}
    parts = {"train": [pair for pair in train if pair[0] not in held_out]}
    if held_out:
        parts["test"] = [pair for pair in train if pair[0] in held_out]
    return replace(layout, parts=parts, split_by_name=True)


def _share(path: Path, root: Path) -> float:
    """A number from 0 to 1 that a file's name alone decides, so that files which are added later change nothing."""
    name = os.fsencode(path.relative_to(root).as_posix())
    return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "big") / 2**32
