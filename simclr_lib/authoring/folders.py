"""Measure how long it takes to load folders of images: of large photographs, and of very many small ones.

    python -m simclr_lib.authoring.folders [--large 1000] [--small 100000] [--width 4000] [--out FILE]

Each folder is made anew in a temporary folder, and loaded in a process of its own: first with an empty cache, and then
again. Pillow and torchvision read some of its files on one core in the same run. The figures go to
``notebooks/results/folders.json``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from simclr_lib.data import load_dataset
from simclr_lib.device import cores, one_core
from simclr_lib.distributed import fresh_processes
from simclr_lib.experiments.competitors import pillow_decoding, torchvision_decoding
from simclr_lib.experiments.photographs import QUALITY, photographs, write_photographs
from simclr_lib.experiments.throughput import largest_size, throughput
from simclr_lib.results import Result

OUT = Path("notebooks/results/folders.json")
DIFFERENT = 20  # large photographs that are not copies of another
SMALL_SIZE = (96, 72)
SECONDS = 5.0  # length of a measurement of another library
CPU = torch.device("cpu")
SIDE = 128  # pixels, of the images that the libraries make


def make_large(folder: Path, count: int, width: int) -> None:
    """Write large photographs: a few different ones, and copies of them."""
    originals = write_photographs(folder, min(count, DIFFERENT), width, 3 * width // 4)
    for i in range(len(originals), count):
        shutil.copy(originals[i % len(originals)], folder / f"{i}.jpg")


def make_small(folder: Path, count: int) -> None:
    """Write small photographs: random parts of a larger one, in folders of a thousand."""
    (picture,) = photographs(1, 640, 480)
    width, height = SMALL_SIZE
    random = np.random.default_rng(0)
    for i in range(count):
        part = folder / f"album {i // 1_000}"
        part.mkdir(exist_ok=True)
        left, top = (int(random.integers(side - own)) for side, own in zip(picture.size, SMALL_SIZE, strict=True))
        picture.crop((left, top, left + width, top + height)).save(part / f"{i}.jpg", quality=QUALITY)


def load(folder: Path, cache: Path) -> dict[str, float]:
    """Load a folder in this process, with this cache.

    Returns:
        the seconds that it took, and the gigabytes that the process took at most, before and after it.
    """
    # Not by getrusage: on Linux, what it says of a new process includes the process that started it.
    os.environ["SIMCLR_CACHE"] = str(cache)
    before, start = largest_size(CPU), time.perf_counter()
    images = load_dataset("imagefolder", "all", folder, labels="none").images
    seconds = time.perf_counter() - start
    return {
        "n": len(images),
        "side": images.shape[-1],
        "seconds": seconds,
        "gigabytes": largest_size(CPU) / 1e9,
        "gigabytes_before": before / 1e9,
    }


def load_elsewhere(folder: Path, cache: Path) -> dict[str, float]:
    """Load a folder in a new process."""
    with fresh_processes().Pool(1) as pool:
        return pool.apply(load, (folder, cache))


def measure(folder: Path, cache: Path) -> dict[str, float]:
    """The figures of one folder."""
    first, again = load_elsewhere(folder, cache), load_elsewhere(folder, cache)
    speed = first["n"] / first["seconds"]
    speed_per_core = speed / cores()
    files = sorted(folder.rglob("*.jpg"))[:: max(1, int(first["n"]) // 100)]
    with one_core():
        others = {
            "pillow_per_core": throughput(pillow_decoding(files, SIDE), SECONDS),
            "torchvision_per_core": throughput(torchvision_decoding(files, SIDE), SECONDS),
        }
    return {
        **first,
        "images_per_second": speed,
        "images_per_second_per_core": speed_per_core,
        **others,
        "ratio_to_pillow": speed_per_core / others["pillow_per_core"],
        "ratio_to_torchvision": speed_per_core / others["torchvision_per_core"],
        "seconds_from_cache": again["seconds"],
        "gigabytes_from_cache": again["gigabytes"],
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure both folders and write the results file."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.folders", description="Measure folders.")
    parser.add_argument("--large", type=int, default=1_000, help="number of large photographs")
    parser.add_argument("--small", type=int, default=100_000, help="number of small photographs")
    parser.add_argument("--width", type=int, default=4_000, help="width of a large photograph, in pixels")
    parser.add_argument("--out", type=Path, default=OUT, help="results file")
    chosen = parser.parse_args(words)
    height = 3 * chosen.width // 4
    names = {
        "large": f"{chosen.large:,} JPEG files of {chosen.width:,} × {height:,} pixels",
        "small": f"{chosen.small:,} JPEG files of {SMALL_SIZE[0]} × {SMALL_SIZE[1]} pixels",
    }
    start, results = time.monotonic(), {}
    with TemporaryDirectory() as scratch:
        for kind, name in names.items():
            folder = Path(scratch) / kind
            folder.mkdir()
            if kind == "large":
                make_large(folder, chosen.large, chosen.width)
            else:
                make_small(folder, chosen.small)
            results[name] = measure(folder, Path(scratch) / "cache")
            shutil.rmtree(folder)
            print(f"{name}: {results[name]}", flush=True)
    Result(
        "time and memory to load folders of images, and images per second on one core beside other libraries'",
        results,
        seconds={"total": time.monotonic() - start},
        extra={"cores": cores(), "side_of_other_libraries": SIDE},
    ).write(
        chosen.out,
        CPU,
        f"python -m simclr_lib.authoring.folders --large {chosen.large} --small {chosen.small} --width {chosen.width}",
    )


if __name__ == "__main__":
    main()
