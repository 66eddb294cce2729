"""The pixels of one's own images are what their files hold, whatever the number of bits, bands and pixels."""

from __future__ import annotations

import base64
import logging
import struct
import tracemalloc
import warnings
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tiny import TINY

from simclr_lib import TrainConfig
from simclr_lib.commands.checkpoint import Loaded
from simclr_lib.data import ImageDataset, Reading, bands, decoding, levels, load_dataset, load_parts
from simclr_lib.data import pixels as pixels_module
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import extract_features, pixel_features, shifted
from simclr_lib.models import SimCLR
from simclr_lib.objectives import classification_objective
from simclr_lib.training import StoredRun, load_checkpoint, pretrain

TWELVE_BITS = np.arange(64).reshape(8, 8) * 65  # 0…4,095


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMCLR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files decoded so far."""
    seen: list[str] = []
    read = decoding.read_square

    def spy(path: Path, reading: Reading) -> np.ndarray:
        seen.append(path.name)
        return read(path, reading)

    monkeypatch.setattr(decoding, "read_square", spy)
    return seen


def folder(root: Path, **images: Any) -> Path:
    """A folder of images: arrays, or Pillow images, by name; "__" stands for the dot before the extension."""
    root.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        path = root / name.replace("__", ".")
        if isinstance(image, Image.Image):
            image.save(path)
        elif path.suffix == ".tif":
            tifffile.imwrite(path, image, photometric="rgb" if image.ndim == 3 else "minisblack", planarconfig=None)
        elif image.dtype == np.uint16 and image.ndim == 3:
            write_deep_png(path, image)
        else:
            Image.fromarray(image).save(path)
    return root


def write_deep_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG file with 16 bits and two to four bands, which Pillow cannot write."""
    height, width, bands = image.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    kind = {2: 4, 3: 2, 4: 6}[bands]

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def pixels(root: Path, **reading: Any) -> dict[str, np.ndarray]:
    """File → its pixels, [H, W, 3], of a folder of small squares of one size."""
    data = load_dataset("imagefolder", "all", root, reading=Reading(**reading))
    assert data.files
    return {file: image.permute(1, 2, 0).numpy() for file, image in zip(data.files, data.images, strict=True)}


def grey(image: np.ndarray) -> np.ndarray:
    """The levels of a picture whose three channels are equal."""
    assert (image == image[..., :1]).all()
    return image[..., 0].astype(int)


# ---- Deep levels ------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_twelve_bits_in_sixteen_fill_the_range_from_black_to_white(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, extension: str
) -> None:
    root = folder(tmp_path / "set", **{f"a__{extension}": TWELVE_BITS.astype(np.uint16)})
    with caplog.at_level(logging.INFO, "simclr_lib"):
        (image,) = pixels(root).values()
    assert np.abs(grey(image) - TWELVE_BITS * 255 / 4095).max() <= 1
    assert (
        "1 image of more than 8 bits; the levels 0 and 4,095 of all of them together become black and white"
        in caplog.text
    )


def test_images_keep_their_brightness_beside_each_other_in_both_parts(tmp_path: Path) -> None:
    dark, light = (np.full((8, 8), level, np.uint16) for level in (1000, 3000))
    folder(tmp_path / "set" / "train" / "a", dark__png=dark, black__png=0 * dark)
    folder(tmp_path / "set" / "test" / "a", light__png=light, white__png=4 * dark)
    parts = load_parts("imagefolder", tmp_path / "set")
    assert parts["train"].images[:, 0, 0, 0].tolist() == [0, 64]
    assert parts["test"].images[:, 0, 0, 0].tolist() == [191, 255]
    assert {part.reading.levels for part in parts.values() if part.reading} == {(0.0, 4000.0)}


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_broken_file_is_named_once_wherever_the_deep_image_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, decoded: list[str], part: str
) -> None:
    shallow = {f"{i:02}__png": Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(20)}
    for name in ("train", "test"):
        root = folder(tmp_path / "set" / name, **shallow)
        (root / "broken.png").write_bytes((root / "00.png").read_bytes()[:40])
    folder(tmp_path / "set" / part, deep__png=np.eye(8, dtype=np.uint16) * 3000)
    parts = load_parts("imagefolder", tmp_path / "set")
    assert [len(parts[name]) for name in ("train", "test")] == ([21, 20] if part == "train" else [20, 21])
    assert {images.reading.levels for images in parts.values() if images.reading} == {(0.0, 3000.0)}
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert ["/train/broken.png" in line for line in warnings] == [True, False]
    assert ["/test/broken.png" in line for line in warnings] == [False, True]
    assert Counter(decoded) == Counter({f"{i:02}.png": 2 for i in range(20)} | {"deep.png": 2, "broken.png": 3})


def test_levels_can_be_chosen(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__png=np.array([[0, 100], [200, 300]], np.uint16))
    assert grey(pixels(root, levels=(100, 200))["a.png"]).tolist() == [[0, 0], [255, 255]]


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.uint16, np.int16])
def test_eight_bits_in_a_deep_file_stay_as_they_are(tmp_path: Path, dtype: type) -> None:
    levels = np.arange(10, 74).reshape(8, 8)
    root = folder(tmp_path / "set", a__tif=levels.astype(dtype))
    assert grey(pixels(root)["a.tif"]).tolist() == levels.tolist()


def test_signed_levels_begin_below_zero(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__tif=np.array([[-1000, 0], [500, 1000]], np.int16))
    assert grey(pixels(root)["a.tif"]).tolist() == [[0, 128], [191, 255]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_that_are_none_become_black_and_do_not_count(tmp_path: Path, dtype: type) -> None:
    root = folder(tmp_path / "set", a__tif=np.array([[np.nan, 0.5], [1.0, 1.5]], dtype), b__tif=np.eye(2, dtype=dtype))
    images = pixels(root)
    assert grey(images["a.tif"]).tolist() == [[0, 85], [170, 255]]
    assert grey(images["b.tif"]).tolist() == [[170, 0], [0, 170]]


def test_infinite_levels_are_black_or_white(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__tif=np.array([[-np.inf, -1], [1, np.inf]], np.float32))
    assert grey(pixels(root)["a.tif"]).tolist() == [[0, 0], [255, 255]]


def test_images_of_one_level_can_be_read(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__tif=np.full((2, 2), 700, np.uint16))
    assert grey(pixels(root)["a.tif"]).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_the_file_says_whether_the_smallest_level_is_black_or_white(
    tmp_path: Path, dtype: type, byteorder: Any, compression: str, photometric: str
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    ramp = np.tile([0, 8192, 16384, 32767], (4, 1)).astype(dtype)
    layout = {"photometric": photometric, "byteorder": byteorder, "compression": compression}
    tifffile.imwrite(root / "a.tif", ramp, **layout)
    expected = ramp.astype(float) * 255 / 32767
    if photometric == "miniswhite":
        expected = 255 - expected
    assert np.abs(grey(pixels(root)["a.tif"]) - expected).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "mark", "tag"),
    [
        (np.float32, -3.4028235e38, None),
        (np.float32, 1e35, None),
        (np.float64, -1.7e308, None),
        (np.float32, -9999, "-9999"),
        (np.float32, -9999.9, "-9999.9"),
        (np.float64, -9999, "-9999"),
        (np.int16, -32768, "-32768"),
        (np.uint16, 65535, "65535 "),
        (np.uint16, 10, "-9999"),  # no level of this kind
        (np.float32, np.nan, "nan"),
    ],
)
def test_pixels_without_data_are_black_and_do_not_count(
    tmp_path: Path, dtype: type, mark: float, tag: str | None
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    tags = [(42113, 2, len(tag) + 1, tag, True)] if tag else []  # GDAL's
    image = np.array([[mark, 10], [138, 265]], dtype)
    tifffile.imwrite(root / "a.tif", image, photometric="minisblack", extratags=tags)
    assert grey(pixels(root)["a.tif"]).tolist() == [[0, 0], [128, 255]]


@pytest.mark.parametrize("bands", [1, 3])
def test_a_large_deep_image_needs_little_more_memory_than_its_file(tmp_path: Path, bands: int) -> None:
    image = np.zeros((1500, 1500, bands), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb" if bands == 3 else "minisblack")
    for read in (pixels_module.level_range, pixels_module.read_square):
        tracemalloc.start()
        read(tmp_path / "a.tif", Reading(64, levels=(0, 4095)))
        assert tracemalloc.get_traced_memory()[1] / 1500**2 < 5 * bands  # bytes per pixel; Pillow adds its own
        tracemalloc.stop()


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_colours_of_sixteen_bits_keep_their_low_bits(tmp_path: Path, extension: str) -> None:
    image = np.random.default_rng(0).integers(0, 4096, (8, 8, 3)).astype(np.uint16)
    image[0, 0] = 0, 2048, 4095
    root = folder(tmp_path / "set", **{f"a__{extension}": image})
    (read,) = pixels(root).values()
    assert np.abs(read - image * (255 / 4095)).max() <= 1


@pytest.mark.parametrize("bands", [2, 4])
def test_deep_transparency_is_laid_over_white(tmp_path: Path, bands: int) -> None:
    image = np.zeros((2, 2, bands), np.uint16)
    image[..., -1] = [[0, 65535], [32768, 65535]]
    image[1, 1, :-1] = 4095
    root = folder(tmp_path / "set", a__png=image)
    assert grey(pixels(root)["a.png"]).tolist() == [[255, 0], [127, 255]]


# np.arange(48).reshape(4, 4, 3) * 85 as Photoshop and GDAL write it (LZW), which no library here can write.
LZW_LITTLE_ENDIAN = (
    "SUkqAAgAAAAOAAABBAABAAAABAAAAAEBBAABAAAABAAAAAIBAwADAAAAtgAAAAMBAwABAAAABQAAAAYBAwABAAAAAgAAABEBBAABAAAA4AAA"
    "ABUBAwABAAAAAwAAABYBBAABAAAABAAAABcBBAABAAAAbwAAABoBBQABAAAAvAAAABsBBQABAAAAxAAAABwBAwABAAAAAQAAACgBAwABAAAA"
    "AQAAADEBAgAMAAAAzAAAAAAAAAAQABAAEAABAAAAAQAAAAEAAAABAAAAdGlmZmZpbGUucHkAAAAAAAAAAACAAAAFUAKoAP8AFQAqkAv4AlMB"
    "KgBP0BFIBqcBvwBlECKYCPsCFACqUCvoCk8DKQDPkDE4DqMDvgDk0EKIEPcEEwEqEEvYEksFKAFPUFEoFp8FvQFkkGJ4GPMGEgGp0GvIGkcH"
    "JwHPEHEYHpsHwEA="
)
LZW_BIG_ENDIAN = (
    "TU0AKgAAAAgADgEAAAQAAAABAAAABAEBAAQAAAABAAAABAECAAMAAAADAAAAtgEDAAMAAAABAAUAAAEGAAMAAAABAAIAAAERAAQAAAABAAAA"
    "4AEVAAMAAAABAAMAAAEWAAQAAAABAAAABAEXAAQAAAABAAAAbgEaAAUAAAABAAAAvAEbAAUAAAABAAAAxAEcAAMAAAABAAEAAAEoAAMAAAAB"
    "AAEAAAExAAIAAAAMAAAAzAAAAAAAEAAQABAAAAABAAAAAQAAAAEAAAABdGlmZmZpbGUucHkAAAAAAAAAAACAACBFUAKoAP8AlQAqkAv4BFMB"
    "KgBP0BlIBqcBvwCFECKYCPsClACqUCvoDE8DKQDPkDk4DqMDvgEE0EKIEPcEkwEqEEvYFEsFKAFPUFkoFp8FvQGEkGJ4GPMGkgGp0GvIHEcH"
    "JwHPEHkYHpuAgA=="
)


LZW_TURNED = (  # 8 × 8 pixels, the upper half white, to be turned a quarter clockwise
    "SUkqAAgAAAAQAAABBAABAAAACAAAAAEBBAABAAAACAAAAAIBAwADAAAAzgAAAAMBAwABAAAABQAAAAYBAwABAAAAAgAAAA4BAgAVAAAA1AAA"
    "ABEBBAABAAAAIAEAABIBAwABAAAABgAAABUBAwABAAAAAwAAABYBBAABAAAACAAAABcBBAABAAAAOAAAABoBBQABAAAA+AAAABsBBQABAAAA"
    "AAEAABwBAwABAAAAAQAAACgBAwABAAAAAQAAADEBAgAMAAAACAEAAAAAAAAQABAAEAB7InNoYXBlIjogWzgsIDgsIDNdfQAAAAAAAAAAAAAA"
    "AAAAAAABAAAAAQAAAAEAAAABAAAAdGlmZmZpbGUucHkAAAAAAAAAAAAAAAAAgD/B8CgkDg0FhEHhUJhkLh0NiEPiURikTi0VjEXjURAEdj0f"
    "kEhkUjkklk0nlEplUrlktl0dgIA="
)


@pytest.mark.parametrize("content", [LZW_LITTLE_ENDIAN, LZW_BIG_ENDIAN], ids=["little", "big"])
def test_compressed_colours_of_sixteen_bits_keep_their_low_bits(tmp_path: Path, content: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.tif").write_bytes(base64.b64decode(content))
    image = pixels(tmp_path / "set", levels=(0, 255 * 17))["a.tif"]
    assert np.abs(image - np.arange(48).reshape(4, 4, 3) * 5).max() <= 1


def test_deep_images_are_turned_upright(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint16)
    image[:4] = 4095
    root = tmp_path / "set"
    root.mkdir()
    (root / "compressed.tif").write_bytes(base64.b64decode(LZW_TURNED))
    for name, stored in (("colour", image), ("grey", image[..., 0]), ("float", image.astype(np.float32))):
        tag = (274, 3, 1, 6, True)
        photometric = "rgb" if stored.ndim == 3 else "minisblack"
        tifffile.imwrite(root / f"{name}.tif", stored, photometric=photometric, extratags=[tag])
    for file, picture in pixels(root).items():
        assert grey(picture).tolist() == [[0] * 4 + [255] * 4] * 8, file


def test_float_colours_are_read(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    image[0, 0] = 0, 0.5, 1
    root = folder(tmp_path / "set", a__tif=image)
    assert np.abs(pixels(root)["a.tif"] - image * 255.0).max() <= 1


def test_images_of_eight_bits_stay_as_they_are_beside_deep_ones(tmp_path: Path) -> None:
    shallow, deep = np.full((8, 8), 77, np.uint8), np.full((8, 8), 4095, np.uint16)
    images = pixels(folder(tmp_path / "set", a__png=shallow, b__png=deep, c__png=0 * deep))
    assert [int(image[0, 0, 0]) for image in images.values()] == [77, 255, 0]


def test_a_new_deep_image_is_the_only_one_that_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    root = folder(tmp_path / "set", a__png=TWELVE_BITS.astype(np.uint16))
    pixels(root)
    scanned: list[str] = []
    level_range = levels.level_range
    monkeypatch.setattr(
        levels, "level_range", lambda path, reading: (scanned.append(path.name), level_range(path, reading))[1]
    )
    decoded.clear()
    pixels(folder(root, b__png=TWELVE_BITS.astype(np.uint16) // 2))
    assert (scanned, decoded) == (["b.png"], ["b.png"])


def test_photographs_beside_deep_images_are_decoded_once_whatever_the_levels(
    tmp_path: Path, decoded: list[str]
) -> None:
    photos = {f"{i:02}__png": Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(20)}
    root = folder(
        tmp_path / "set", m__png=np.full((8, 8), 3000, np.uint16), n__png=np.eye(8, dtype=np.uint16), **photos
    )
    assert {file: int(image[0, 0, 0]) for file, image in pixels(root).items()} == {
        "m.png": 255,
        "n.png": 0,
        **{f"{i:02}.png": i for i in range(20)},
    }
    assert sorted(decoded) == sorted([*(f"{i:02}.png" for i in range(20)), "m.png", "m.png", "n.png", "n.png"])
    decoded.clear()
    images = pixels(folder(root, brighter__png=np.full((8, 8), 6000, np.uint16)))
    assert [int(images[f"{name}.png"][0, 0, 0]) for name in ("brighter", "m", "n", "19")] == [255, 128, 0, 19]
    assert sorted(decoded) == ["brighter.png", "m.png", "n.png"]


def test_other_images_are_brought_to_the_levels_and_the_size_of_the_run(tmp_path: Path) -> None:
    trained = folder(tmp_path / "trained", **{f"{i}__png": TWELVE_BITS.astype(np.uint16) for i in range(3)})
    data = load_dataset("imagefolder", root=trained)
    config = TrainConfig(images=tmp_path / "other").resolved(data.image_size, reading=data.reading)
    assert (config.image_size, config.store_size, config.levels) == (8, 8, (0.0, 4095.0))
    folder(tmp_path / "other", a__png=np.full((30, 40), 2048, np.uint16))
    stored = StoredRun(tmp_path, config, {}, {})
    model = SimCLR(torch.nn.Identity(), torch.nn.Identity())  # type: ignore[arg-type]
    run = Loaded(model, [], stored, config, tmp_path, tmp_path)
    other = run.splits("train", limit=None)[0]
    assert other.images.shape == (1, 3, 8, 8)
    assert other.images.unique().tolist() == [128]


def test_a_run_keeps_what_was_chosen_for_its_images_and_is_resumed_with_it(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 4096, (30, 40)).astype(np.uint16)
    root = folder(tmp_path / "set", **{f"{i}__png": image for i in range(16)})
    config = replace(TINY, dataset="imagefolder", limit=None, batch_size=8, epochs=1, image_size=None)
    data = load_dataset("imagefolder", root=root, image_size=16)
    pretrain(data, config, tmp_path / "run")
    kept = TrainConfig.from_dict(load_checkpoint(tmp_path / "run")["config"])
    assert (kept.image_size, kept.reading()) == (16, data.reading)
    assert (data.images.shape[-1], kept.view_size, kept.levels) == (32, 16, (image.min(), image.max()))
    pretrain(data, replace(config, resume=True), tmp_path / "run")
    with pytest.raises(SimCLRError, match="fit is 'pad', but these images were read with 'crop'"):
        pretrain(data, replace(config, resume=True, fit="pad"), tmp_path / "run")


# ---- Bands ------------------------------------------------------------------------------


def five_bands(dtype: type = np.uint8) -> np.ndarray:
    return (np.arange(5) * 50 + np.zeros((8, 8, 5))).astype(dtype)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_three_of_five_bands_are_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture, planar: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    image = five_bands() if planar == "contig" else five_bands().transpose(2, 0, 1)
    tifffile.imwrite(root / "a.tif", image, photometric="minisblack", planarconfig=planar)
    with caplog.at_level(logging.INFO, "simclr_lib"):
        assert pixels(root)["a.tif"][0, 0].tolist() == [0, 50, 100]
    assert "of 5 bands, 1, 2 and 3 are taken as red, green and blue; bands chooses others" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "simclr_lib"):
        assert pixels(root, bands=(3, 2, 1))["a.tif"][0, 0].tolist() == [100, 50, 0]
        assert pixels(root, bands=(5, 5, 2))["a.tif"][0, 0].tolist() == [200, 200, 50]
    assert "bands chooses others" not in caplog.text


def test_bands_of_transparent_images_are_those_of_the_file(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__png=Image.new("RGBA", (8, 8), (10, 20, 30, 128)))
    assert pixels(root, bands=(4, 2, 3))["a.png"][0, 0].tolist() == [128, 20, 30]
    assert pixels(root)["a.png"][0, 0].tolist() == pytest.approx([132, 137, 142], abs=1)  # over white


def test_a_band_that_an_image_lacks_is_named_with_the_file(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__png=np.zeros((8, 8), np.uint8))
    with pytest.raises(SimCLRError, match=r"a\.png: it has 1 band, so there is no band 3"):
        pixels(root, bands=(3, 2, 1))


def one_colour(path: Path, *colour: float, dtype: type = np.uint8, **kind: Any) -> np.ndarray:
    """Write a TIFF file of one colour, and return the red, green and blue that are read from it."""
    image = np.full((6, 6, len(colour)), colour).astype(dtype)
    tifffile.imwrite(path, image, planarconfig="contig", **kind)
    top = 1.0 if dtype == np.float32 else 65535.0
    return pixels_module.read_square(path, Reading(4, levels=(0.0, top)))[:, 0, 0].astype(int)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("extra", [(), ("unspecified",), ("unassalpha",)])
def test_inks_become_colours_whatever_follows_them(tmp_path: Path, dtype: type, extra: tuple[str, ...]) -> None:
    full = np.iinfo(dtype).max
    colour = [0, full, full, 0, *(full for _ in extra)]
    read = one_colour(tmp_path / "a.tif", *colour, dtype=dtype, photometric="separated", extrasamples=extra or None)
    assert read.tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("extra", "values"),
    [
        (("unassalpha", "unspecified"), (0, 99)),
        (("unspecified", "unassalpha"), (99, 0)),
        (("unassalpha", "unspecified", "unspecified"), (0, 99, 99)),
    ],
)
def test_opacity_is_found_wherever_it_stands(tmp_path: Path, extra: Any, values: tuple[int, ...]) -> None:
    read = one_colour(tmp_path / "a.tif", 200, 0, 0, *values, photometric="rgb", extrasamples=extra)
    assert read.tolist() == [255, 255, 255]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(("kind", "expected"), [("assocalpha", (255, 127, 127)), ("unassalpha", (191, 127, 127))])
@pytest.mark.parametrize(("dtype", "half"), [(np.uint8, 128), (np.uint16, 32768), (np.float32, 0.5)])
def test_half_opaque_colours_are_laid_over_white(
    tmp_path: Path, kind: Any, expected: tuple[int, ...], dtype: type, half: float, compression: str
) -> None:
    layout = {"photometric": "rgb", "extrasamples": [kind], "compression": compression}
    read = one_colour(tmp_path / "a.tif", half, 0, 0, half, dtype=dtype, **layout)
    assert np.abs(read - expected).max() <= 1


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_near_infrared_beside_colours_of_eight_bits_can_be_chosen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, compression: str
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    image = np.full((8, 8, 4), (10, 20, 30, 200), np.uint8)
    tifffile.imwrite(root / "a.tif", image, photometric="rgb", extrasamples=["unspecified"], compression=compression)
    with caplog.at_level(logging.INFO, "simclr_lib"):
        assert pixels(root)["a.tif"][0, 0].tolist() == [10, 20, 30]
    assert "of 4 bands, 1, 2 and 3 are taken as red, green and blue; bands chooses others" in caplog.text
    assert pixels(root, bands=(4, 1, 2))["a.tif"][0, 0].tolist() == [200, 10, 20]


def test_colours_that_only_pillow_can_unpack_are_read_without_their_fourth_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.full((8, 8, 4), (10, 20, 30, 200), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", extrasamples=["unspecified"])
    monkeypatch.setattr(bands.TIFF, "DECOMPRESSORS", {})
    assert pixels_module.read_square(tmp_path / "a.tif", Reading(8))[:, 0, 0].tolist() == [10, 20, 30]


def test_bands_of_an_image_of_one_bit_are_black_and_white(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__png=Image.fromarray(np.eye(8, dtype=bool)))
    assert (grey(pixels(root, bands=(1, 1, 1))["a.png"]) == 255 * np.eye(8)).all()


# ---- Shapes and sizes -------------------------------------------------------------------


def striped() -> np.ndarray:
    """32 × 16 pixels: red, green, blue and white from the left."""
    stripes = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
    return np.broadcast_to(stripes.repeat(8, 0), (16, 32, 3)).copy()


def test_cropping_takes_the_central_square_and_padding_takes_all(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__png=striped())
    cropped, padded = (pixels(root, store_size=16, fit=fit)["a.png"] for fit in ("crop", "pad"))
    assert cropped[0, [0, 15]].tolist() == [[0, 255, 0], [0, 0, 255]]
    assert padded[:4].max() == padded[12:].max() == 0
    assert padded[4, [0, 6, 10, 15]].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]


@pytest.mark.parametrize("size", [(6000, 10), (10, 6000)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_a_very_long_photograph_is_read(tmp_path: Path, fit: Any, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (200, 0, 0)).save(tmp_path / "a.jpg")
    image = pixels_module.read_square(tmp_path / "a.jpg", Reading(128, fit))
    assert abs(int(image[0].max()) - 200) < 3


QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, QUARTERS),
        (2, QUARTERS[:, ::-1]),
        (3, QUARTERS[::-1, ::-1]),
        (4, QUARTERS[::-1]),
        (5, QUARTERS.transpose(1, 0, 2)),
        (6, QUARTERS.transpose(1, 0, 2)[:, ::-1]),
        (7, QUARTERS.transpose(1, 0, 2)[::-1, ::-1]),
        (8, QUARTERS.transpose(1, 0, 2)[::-1]),
    ],
)
@pytest.mark.parametrize("kind", ["jpg", "png", "deep png"])
def test_photographs_are_turned_upright(tmp_path: Path, kind: str, orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = QUARTERS.repeat(40, 0).repeat(40, 1)
    if kind == "deep png":  # grey: 16 bits
        stored, upright = 257 * stored[..., 1].astype(np.uint16), upright[..., [1]]
    path = tmp_path / f"a.{kind[-3:]}"
    Image.fromarray(stored).save(path, exif=exif, **({"quality": 95} if kind == "jpg" else {}))
    read = pixels_module.read_square(path, Reading(40, levels=(0, 65535))).transpose(1, 2, 0).astype(int)
    assert np.abs(read[[10, 30]][:, [10, 30]] - upright).max() <= 5


def test_a_large_jpeg_is_decoded_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (1600, 1200), (200, 0, 0)).save(tmp_path / "a.jpg")
    sizes: list[tuple[int, int]] = []
    real = pixels_module.fitted
    monkeypatch.setattr(pixels_module, "fitted", lambda image, *rest: (sizes.append(image.size), real(image, *rest))[1])
    for side in (64, 150, 400):
        pixels_module.read_square(tmp_path / "a.jpg", Reading(side))
    assert sizes == [(200, 150), (400, 300), (1600, 1200)]  # at least twice the final side


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_what_becomes_of_images_that_are_not_square_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fit: str
) -> None:
    root = folder(tmp_path / "set", a__png=striped())
    with caplog.at_level(logging.INFO, "simclr_lib"):
        load_dataset("imagefolder", root=root, reading=Reading(fit=fit))  # type: ignore[arg-type]
    assert "stored with 128 × 128 pixels and seen whole at 64 × 64; not all are square" in caplog.text
    assert f"(fit {fit})" in caplog.text


@pytest.mark.parametrize(
    ("native", "image_size", "store_size", "expected"),
    [
        ((32, 32), None, None, (32, 32)),  # as CIFAR-10
        ((32, 32), 32, None, (32, 32)),
        ((32, 32), 64, None, (64, 64)),
        ((128, 128), 32, None, (64, 32)),
        ((200, 200), None, None, (128, 64)),
        ((40, 30), None, None, (128, 64)),
        ((40, 30), 128, None, (256, 128)),
        ((40, 30), 300, None, (300, 300)),
        ((40, 30), None, 32, (32, 32)),
        ((40, 30), None, 300, (300, 64)),
    ],
)
def test_photographs_are_stored_larger_than_they_are_seen(
    tmp_path: Path, native: tuple[int, int], image_size: int, store_size: int, expected: tuple[int, int]
) -> None:
    root = folder(tmp_path / "set", a__png=Image.new("RGB", native))
    data = load_dataset("imagefolder", root=root, image_size=image_size, reading=Reading(store_size))
    assert (data.images.shape[-1], data.image_size) == expected
    assert data.reading == Reading(expected[0])


def test_images_are_not_stored_smaller_than_they_are_seen(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", a__png=Image.new("RGB", (40, 30)))
    with pytest.raises(SimCLRError, match="store_size must be at least image_size, 64 pixels, not 32"):
        load_dataset("imagefolder", root=root, image_size=64, reading=Reading(32))


@pytest.fixture
def stored_larger() -> ImageDataset:
    """Ten images of 16 pixels, to be seen at 8, whose columns are 0, 200, 0, 200, …"""
    images = (torch.arange(16) % 2 * 200).to(torch.uint8).expand(10, 3, 16, 16)
    return ImageDataset(images, torch.zeros(10).long(), ["a"], shown_size=8)


def test_a_network_sees_whole_images_at_their_image_size(stored_larger: ImageDataset) -> None:
    seen: list[torch.Tensor] = []

    class Encoder(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return images.mean((2, 3))

    extract_features(Encoder(), stored_larger, batch_size=4)
    classification_objective(Encoder(), stored_larger, None)(torch.arange(2), torch.Generator())
    assert [list(images.shape) for images in seen] == [[n, 3, 8, 8] for n in (4, 4, 2, 2)]
    assert all(abs(images.mean() * 255 - 100) < 1 for images in seen)
    assert pixel_features(stored_larger).shape == (10, 3 * 8 * 8)
    assert shifted(stored_larger, "negative").images.shape == (10, 3, 8, 8)
    assert stored_larger.subset(torch.arange(3)).image_size == 8


def test_images_above_the_largest_size_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small, large = Image.new("RGB", (10, 10), "red"), Image.new("RGB", (30, 20), "red")
    root = folder(tmp_path / "set", a__png=small, b__png=large, c__jpg=large, d__tif=large)
    for _ in ("decoded", "from the cache"):
        caplog.clear()
        assert list(pixels(root, max_pixels=599)) == ["a.png"]
        assert "left out 3 images, too large to be read, such as" in caplog.text
        assert "with 30 × 20 pixels: max_pixels=600 reads them" in caplog.text
    assert len(pixels(root, max_pixels=600)) == 4
    with pytest.raises(SimCLRError, match="4 images, too large"):
        pixels(root, max_pixels=99)


def test_large_images_are_read_without_a_warning_of_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "set", **{f"a__{kind}": Image.new("RGB", (300, 200), "red") for kind in ("png", "jpg")})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns above this, and refuses twice as much
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = pixels(root, store_size=64)
    assert [image[32, 32].tolist() for image in images.values()] == [[254, 0, 0], [255, 0, 0]]
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"store_size": 0}, "store_size must be"),
        ({"fit": "stretch"}, "unknown value of fit 'stretch'.*crop, pad"),
        ({"bands": (0, 1, 2)}, "bands must be at least 1"),
        ({"levels": (0, np.inf)}, "levels must be"),
        ({"levels": (np.nan, 1)}, "levels must be"),
        ({"levels": (5, 5)}, "levels are those of black and of white"),
        ({"max_pixels": 0}, "max_pixels must be"),
    ],
)
def test_a_reading_that_makes_no_sense_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(SimCLRError, match=message):
        Reading(**setting)


# ---- Only what is new is decoded --------------------------------------------------------


def coloured(*names: str) -> dict[str, Image.Image]:
    return {f"{name}__png": Image.new("RGB", (8, 8), (10 * len(name), 0, 0)) for name in names}


def test_only_a_photo_that_was_added_or_changed_is_decoded(tmp_path: Path, decoded: list[str]) -> None:
    root = folder(tmp_path / "set", **coloured("a", "bb", "cccc"))
    before = pixels(root)
    decoded.clear()
    after = pixels(folder(root, **coloured("bbb")))
    assert decoded == ["bbb.png"]
    assert [int(image[0, 0, 0]) for image in after.values()] == [10, 20, 30, 40]
    assert all((after[file] == image).all() for file, image in before.items())
    decoded.clear()
    folder(root, a__png=Image.new("RGB", (8, 8), (99, 9, 9)))
    assert pixels(root)["a.png"][0, 0].tolist() == [99, 9, 9]
    assert decoded == ["a.png"]


def test_nothing_is_decoded_when_photos_are_removed(tmp_path: Path, decoded: list[str]) -> None:
    root = folder(tmp_path / "set", **coloured("a", "bb", "ccc"))
    pixels(root)
    decoded.clear()
    (root / "bb.png").unlink()
    assert {file: int(image[0, 0, 0]) for file, image in pixels(root).items()} == {"a.png": 10, "ccc.png": 30}
    assert decoded == []


def test_all_images_together_are_decoded_once_whatever_parts_are_loaded(tmp_path: Path, decoded: list[str]) -> None:
    for part in ("train", "test"):
        folder(tmp_path / "set" / part / "x", **coloured("a", "bb", "ccc"))
    load_parts("imagefolder", tmp_path / "set")
    assert len(decoded) == 6
    for split, limit in (("all", None), ("all", 4), ("train", 2), ("test", None)):
        load_dataset("imagefolder", split, tmp_path / "set", limit=limit)
    assert len(decoded) == 6


def test_another_way_of_reading_decodes_anew(tmp_path: Path, decoded: list[str]) -> None:
    root = folder(tmp_path / "set", **coloured("a"))
    for reading in ({}, {"bands": (3, 2, 1)}, {"store_size": 16}, {}):
        pixels(root, **reading)
    assert len(decoded) == 3


def test_a_damaged_cache_of_another_part_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = folder(tmp_path / "set", **coloured("a", "bb"))
    pixels(root)
    (rows,) = (tmp_path / "cache").glob("images-*/rows.npy")
    content = bytearray(rows.read_bytes())
    content[-1] ^= 1
    rows.write_bytes(content)
    data = load_dataset("imagefolder", "train", root)
    assert "is damaged or of an older version" in caplog.text
    assert data.images.flatten(2).unique(dim=2).flatten(1).tolist() == [[10, 0, 0], [20, 0, 0]]


def test_photographs_of_telephones_are_read_where_the_plugin_is(tmp_path: Path) -> None:
    plugin = pytest.importorskip("pillow_heif")
    plugin.register_heif_opener()
    root = folder(tmp_path / "set", a__heic=Image.new("RGB", (64, 64), (200, 0, 0)))
    assert abs(int(pixels(root)["a.heic"][32, 32, 0]) - 200) < 10


def test_formats_that_pillow_reads_here_are_read(tmp_path: Path) -> None:
    images = {f"{kind}__{kind}": Image.new("RGB", (8, 8), (200, 0, 0)) for kind in ("avif", "jp2", "webp")}
    root = tmp_path / "set"
    written = []
    for name, image in images.items():
        try:
            folder(root, **{name: image})
            written.append(name.replace("__", "."))
        except (OSError, ValueError, KeyError):  # this Pillow lacks the format
            (root / name.replace("__", ".")).unlink(missing_ok=True)
    if not written:
        pytest.skip("this Pillow has none of these formats")
    assert {file: abs(int(image[4, 4, 0]) - 200) < 10 for file, image in pixels(root).items()} == dict.fromkeys(
        written, True
    )
