"""Image files to tensors: each is decoded once, on all cores, and then comes from the cache."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from simclr_lib.data.cache import cache_dir, open_cache, write_cache
from simclr_lib.data.dataset import ImageDataset, empty_images
from simclr_lib.data.subsets import balanced_subset
from simclr_lib.errors import SimCLRError, shown

CACHE_FORMAT = 1  # raise it whenever the same files would decode to other pixels
BLOCK = 512  # images decoded between two writes: bounds the memory, and the wait after Ctrl-C
PIECE = 32  # images that a thread takes at a time: small ones cost less to decode than to hand over
MAX_UNREADABLE = 0.1  # the share of broken files that is skipped rather than refused

log = logging.getLogger(__name__)


def to_rgb(image: Image.Image) -> Image.Image:
    """Bring any Pillow image to upright 8-bit RGB.

    The EXIF rotation is applied, transparency is laid over white, and deep grey levels are scaled
    (65,535 becomes 255) where Pillow's own ``convert`` would clip them.

    Raises:
        Exception: the file is broken; Pillow's decoders raise almost anything.
    """
    image.load()  # decode now: a broken file raises here
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


def load_files(
    paths: Sequence[Path],
    labels: Tensor,
    classes: list[str],
    image_size: int,
    limit: int | None,
    name: str,
    root: Path,
) -> ImageDataset:
    """Read labelled image files; only those that ``limit`` chooses are decoded.

    Args:
        paths: N image files.
        labels: int64 [N].
        classes: class names.
        image_size: side of the square images, in pixels.
        limit: load a class-balanced random subset of this size; None loads all.
        name: the set's name.
        root: the set's folder, to which the names of the files are relative.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable, or the images fit nowhere.
    """
    if limit is not None:
        chosen = balanced_subset(labels, limit)
        paths, labels = [paths[i] for i in chosen.tolist()], labels[chosen]
    images, kept = decode_images(paths, image_size)
    files = tuple(paths[i].relative_to(root).as_posix() for i in kept.tolist())
    return ImageDataset(images, labels[kept], classes, name, files)


def decode_images(paths: Sequence[Path], image_size: int) -> tuple[Tensor, Tensor]:
    """Decode image files to one uint8 tensor, memory-mapped from a cache.

    Each image's central square is resized to ``image_size`` (antialiased bilinear), which is the same as
    resizing its shorter side and cropping the centre. The cache serves for as long as the files' paths, sizes
    and times stay as they are; a damaged one is named and replaced. Where none can be written, the images are
    kept in memory. Unreadable files are skipped with a warning.

    Args:
        paths: N image files.
        image_size: side of the decoded images, S pixels.

    Returns:
        (images, kept): uint8 [n, 3, S, S] and int64 [n], the positions in ``paths`` of the readable ones.

    Raises:
        SimCLRError: more than a tenth of the files are unreadable, or the images fit nowhere.
    """
    try:
        folder = cache_dir() / f"images-{_fingerprint(paths, image_size)}"
        images, kept = open_cache(folder) or write_cache(
            folder, _decode_blocks(paths, image_size), len(paths), image_size
        )
    except OSError as error:
        log.warning(
            f"images cannot be cached ({error.strerror or error}): decoding into memory; "
            "set SIMCLR_CACHE to another folder to decode only once."
        )
        images, kept = _decode_to_memory(paths, image_size)
    if len(kept) < len(paths):
        readable = set(kept.tolist())
        skipped = [str(path) for i, path in enumerate(paths) if i not in readable]
        more = ", …" if len(skipped) > 3 else ""
        log.warning(shown(f"skipped {len(skipped)} unreadable images: {', '.join(skipped[:3])}{more}"))
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


def _decode_to_memory(paths: Sequence[Path], image_size: int) -> tuple[Tensor, Tensor]:
    """Decode into a tensor in memory. Raises SimCLRError where it does not fit."""
    try:
        images = empty_images(len(paths), image_size)
    except SimCLRError as error:
        raise SimCLRError(
            f"{len(paths)} images of {image_size} pixels fit neither the cache folder nor the memory: "
            "set SIMCLR_CACHE to a folder with more space, or load fewer (limit) or smaller (image_size) images."
        ) from error
    kept: list[int] = []
    for block, positions in _decode_blocks(paths, image_size):
        images[len(kept) : len(kept) + len(block)] = torch.from_numpy(block)
        kept += positions
    return images[: len(kept)], torch.tensor(kept, dtype=torch.int64)


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
    """One image file as uint8 [3, S, S]. Raises whatever is wrong with it."""
    if not os.path.isfile(path):
        raise OSError("there is no such file")  # a pipe with the name of a picture would never end
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
