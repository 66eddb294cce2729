"""Image files to tensors: decoded once, in parallel, into a memory-mapped cache."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from simclr_lib.data.dataset import ImageDataset
from simclr_lib.errors import SimCLRError

CACHE_FORMAT = 1  # raise it whenever the same files would decode to other pixels
BLOCK = 512  # images decoded between two writes: bounds the memory, and the wait after Ctrl-C
PIECE = 32  # images that a thread takes at a time: small ones cost less to decode than to hand over
MAX_UNREADABLE = 0.1  # the share of broken files that is skipped rather than refused

log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Where decoded images are kept. Anything in it may be deleted at any time.

    ``$SIMCLR_CACHE``, else ``$XDG_CACHE_HOME/simclr``, else ``~/.cache/simclr``.
    """
    if chosen := os.environ.get("SIMCLR_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "simclr"


def to_rgb(image: Image.Image) -> Image.Image:
    """Bring any Pillow image to upright 8-bit RGB.

    The EXIF rotation is applied, transparency is laid over white, and deep grey levels are scaled
    (65,535 becomes 255) where Pillow's own ``convert`` would clip them.
    """
    image.load()  # what is wrong with the pixels shows here
    with contextlib.suppress(Exception):  # damaged EXIF raises almost anything, over sound pixels
        image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):  # "I", "I;16", "I;16B", …
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(levels: np.ndarray) -> np.ndarray:
    """Grey levels [H, W] as uint8. Integers are 16-bit; floats fill 0…1, 0…255 or 0…65,535."""
    white = 65535.0
    if levels.dtype.kind == "f":
        levels = np.nan_to_num(levels)
        white = next((top for top in (1.0, 255.0) if levels.max(initial=0) <= top), white)
    return (levels * (255.0 / white)).round().clip(0, 255).astype(np.uint8)


def balanced_subset(labels: Tensor, limit: int, seed: int = 0) -> Tensor:
    """Pick ``limit`` positions at random, as many of each class as can be, reproducibly.

    Args:
        labels: int64 [N].
        limit: how many to pick; all of them where there are no more.
        seed: the shuffle's seed.

    Returns:
        Ascending int64 [min(limit, N)]. A larger limit contains a smaller one's choice.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    turn = torch.empty_like(labels)
    for label in labels.unique():
        members = (labels[shuffled] == label).nonzero().flatten()
        turn[members] = torch.arange(len(members))
    # Every class's first, then every class's second, …
    return shuffled[turn.argsort(stable=True)][:limit].sort().values


def load_files(
    paths: Sequence[Path],
    labels: Tensor,
    classes: list[str],
    image_size: int,
    limit: int | None,
    name: str,
) -> ImageDataset:
    """Read labelled image files; only those that ``limit`` chooses are decoded.

    Args:
        paths: N image files.
        labels: int64 [N].
        classes: class names.
        image_size: side of the square images, in pixels.
        limit: load a class-balanced random subset of this size; None loads all.
        name: the set's name.

    Raises:
        SimCLRError: as ``decode_images``.
    """
    if limit is not None:
        chosen = balanced_subset(labels, limit)
        paths, labels = [paths[i] for i in chosen.tolist()], labels[chosen]
    images, kept = decode_images(paths, image_size)
    return ImageDataset(images, labels[kept], classes, name)


def decode_images(paths: Sequence[Path], image_size: int) -> tuple[Tensor, Tensor]:
    """Decode image files to one uint8 tensor, memory-mapped from a cache.

    Each image's central square is resized to ``image_size`` (antialiased bilinear), which is to resize
    its shorter side and crop the centre. The cache is found again for as long as the files' paths,
    sizes and times stay as they are; where it cannot be written, the images are kept in memory.
    Unreadable files are skipped with a warning.

    Args:
        paths: N image files.
        image_size: side of the decoded images, S pixels.

    Returns:
        (images, kept): uint8 [n, 3, S, S] and int64 [n], the positions in ``paths`` of the readable ones.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable, or the images fit nowhere.
    """
    folder = cache_dir() / f"images-{_fingerprint(paths, image_size)}"
    decoded = _open_cache(folder)
    if decoded is None:
        try:
            _write_cache(folder, paths, image_size)
            decoded = _open_cache(folder)
        except OSError as error:
            reason = error.strerror or error
            log.warning(
                f"cannot cache images in {folder.parent} ({reason}): decoding into memory; "
                "set SIMCLR_CACHE to another folder to decode only once."
            )
    images, kept = decoded or _decode_to_memory(paths, image_size)
    if len(kept) < len(paths):
        readable = set(kept.tolist())
        skipped = [str(path) for i, path in enumerate(paths) if i not in readable]
        more = ", …" if len(skipped) > 3 else ""
        log.warning(f"skipped {len(skipped)} unreadable images: {', '.join(skipped[:3])}{more}")
    return images, kept


def _fingerprint(paths: Sequence[Path], image_size: int) -> str:
    """A name for the decoded form of these files in their present state."""
    digest = hashlib.sha256(f"{CACHE_FORMAT} {image_size}".encode())
    for path in paths:
        digest.update(b"\0" + os.fsencode(os.path.abspath(path)))
        try:
            state = os.stat(path)
        except OSError:
            continue  # a dangling link: decoding will report it
        digest.update(f"\0{state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def _open_cache(folder: Path) -> tuple[Tensor, Tensor] | None:
    """(images, kept) from a cache folder, or None where it is missing or damaged."""
    try:
        kept = torch.from_numpy(np.load(folder / "kept.npy"))
        images = _memory_map(folder / "images.npy")
    except (OSError, ValueError, EOFError):
        return None
    return (images, kept) if len(images) == len(kept) else None


def _memory_map(path: Path) -> Tensor:
    """The array in a .npy file, paged in as it is read."""
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: the file stays as it is
    except OSError:
        # Linux refuses a private writable map that is larger than its memory, but gives a read-only one.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")
            return torch.from_numpy(np.load(path, mmap_mode="r"))


def _write_cache(folder: Path, paths: Sequence[Path], image_size: int) -> None:
    """Decode into ``folder``, which appears whole or not at all. Raises OSError where it cannot."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder.parent).free < len(paths) * 3 * image_size**2:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with tempfile.TemporaryDirectory(prefix="decoding-", dir=folder.parent) as temporary:
        unfinished = Path(temporary) / "images"
        unfinished.mkdir()
        kept: list[int] = []
        with open(unfinished / "images.npy", "wb") as file:
            _write_header(file, len(paths), image_size)
            # Written, not memory-mapped: a disk that fills up is then an error and not a killed process.
            for images, positions in _decode_blocks(paths, image_size):
                file.write(images.data)
                kept += positions
            file.seek(0)
            _write_header(file, len(kept), image_size)  # NumPy pads headers, so both are equally long
        np.save(unfinished / "kept.npy", np.array(kept, dtype=np.int64))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one, or another process was faster
        os.replace(unfinished, folder)


def _write_header(file: BinaryIO, n: int, image_size: int) -> None:
    shape = (n, 3, image_size, image_size)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _decode_to_memory(paths: Sequence[Path], image_size: int) -> tuple[Tensor, Tensor]:
    """Decode into a tensor in memory. Raises SimCLRError where it does not fit."""
    try:
        images = np.empty((len(paths), 3, image_size, image_size), dtype=np.uint8)
    except MemoryError as error:
        raise SimCLRError(
            f"{len(paths)} images of {image_size} pixels fit neither the cache {cache_dir()} nor the memory: "
            "set SIMCLR_CACHE to a folder with more space, or load fewer or smaller images."
        ) from error
    kept: list[int] = []
    for block, positions in _decode_blocks(paths, image_size):
        images[len(kept) : len(kept) + len(block)] = block
        kept += positions
    return torch.from_numpy(images[: len(kept)]), torch.tensor(kept)


def _decode_blocks(paths: Sequence[Path], image_size: int) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Yield (images uint8 [n, 3, S, S], their n positions in ``paths``), block by block, in order."""
    unreadable: list[str] = []
    read = partial(_read_piece, image_size=image_size)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(paths), desc="decoding", unit="image", delay=1) as bar,
    ):
        for start in range(0, len(paths), BLOCK):
            images, positions = [], []
            block = paths[start : start + BLOCK]
            pieces = [block[i : i + PIECE] for i in range(0, len(block), PIECE)]
            for position, result in enumerate(chain.from_iterable(pool.map(read, pieces)), start):
                if isinstance(result, np.ndarray):
                    images.append(result)
                    positions.append(position)
                else:
                    unreadable.append(f"{paths[position]}: {result}")
            if len(unreadable) > MAX_UNREADABLE * len(paths):
                raise SimCLRError(
                    f"{len(unreadable)} of the first {start + len(block)} images are unreadable "
                    f"({'; '.join(unreadable[:3])}): repair or delete them, or copy the set anew."
                )
            if images:
                yield np.stack(images), positions
            bar.update(len(block))


def _read_piece(paths: Sequence[Path], image_size: int) -> list[np.ndarray | Exception]:
    """Each file's image, uint8 [3, S, S], or what reading it raised."""
    results: list[np.ndarray | Exception] = []
    for path in paths:
        try:
            results.append(_read(path, image_size))
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise almost anything on a broken file
            results.append(error)
    return results


def _read(path: Path, image_size: int) -> np.ndarray:
    """One image file as uint8 [3, S, S]."""
    with Image.open(path) as file:
        # JPEG can decode at a half, a quarter or an eighth; twice the final size keeps the result sharp.
        file.draft(None, (2 * image_size, 2 * image_size))
        image = to_rgb(file)
    if image.size != (image_size, image_size):
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        image = image.resize(
            (image_size, image_size),
            Image.Resampling.BILINEAR,
            box=(left, top, left + side, top + side),
        )
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
