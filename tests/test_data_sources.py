"""Every source of images: what it yields, and what it says when it cannot."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import random
import shutil
import signal
import socket
import stat
import threading
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from torchvision.transforms.v2 import functional as TF

from simclr_lib.data import (
    DATASETS,
    ImageDataset,
    Reading,
    cache,
    cifar,
    decoding,
    download,
    few_labels,
    load_dataset,
    rows,
    split_indices,
    tiny_imagenet,
)
from simclr_lib.data.cache import cache_dir
from simclr_lib.data.pixels import to_rgb
from simclr_lib.data.subsets import balanced_subset
from simclr_lib.device import cores
from simclr_lib.errors import SimCLRError

RED, WHITE = (255, 0, 0), (255, 255, 255)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMCLR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files decoded so far."""
    seen: list[Path] = []
    read = decoding.read_square

    def spy(path: Path, reading: Reading) -> np.ndarray:
        seen.append(path)
        return read(path, reading)

    monkeypatch.setattr(decoding, "read_square", spy)
    return seen


def save(path: Path, colour: Any = RED, size: tuple[int, int] = (8, 8), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def make_folder(root: Path, counts: dict[str, int]) -> Path:
    """Image i of each class is grey, of level i."""
    for folder, n in counts.items():
        for i in range(n):
            save(root / folder / f"{i:03}.png", (i, i, i))
    return root


def decode(paths: list[Path], size: int, **reading: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return decoding.decode_images(paths, Reading(size, **reading))


def break_image(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def photograph(path: Path, size: tuple[int, int], detail: int = 6, **options: Any) -> Path:
    """A smooth picture with ``detail`` blotches a side."""
    noise = np.random.default_rng(0).integers(0, 256, (detail, detail, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


# ---- One image of any kind --------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("1", 1, WHITE),
        ("CMYK", (0, 255, 255, 0), RED),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (0, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("RGBa", (128, 0, 0, 128), (255, 127, 127)),
        ("LA", (0, 128), (127, 127, 127)),
    ],
)
def test_every_mode_becomes_the_colour_one_sees_on_white_paper(
    mode: str, colour: Any, expected: tuple[int, int, int]
) -> None:
    image = to_rgb(Image.new(mode, (2, 2), colour))
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("mode", ["P", "PA"])
def test_a_palette_gives_its_colours(mode: str) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, *RED])
    assert to_rgb(image.convert(mode)).getpixel((0, 0)) == RED


@pytest.mark.parametrize(("extension", "transparency"), [("png", 1), ("png", bytes([255, 0])), ("gif", 1)])
def test_a_transparent_palette_entry_is_white(tmp_path: Path, extension: str, transparency: Any) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([*RED, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / f"p.{extension}", transparency=transparency)
    with Image.open(tmp_path / f"p.{extension}") as stored:
        assert [to_rgb(stored).getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), WHITE)
    image.paste(RED, (0, 0, 8, 4))  # red above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: red on the right
    image.save(tmp_path / "turned.png", exif=exif)
    picture = decode([tmp_path / "turned.png"], 8)[0][0]
    assert picture[:, 4, 7].tolist() == list(RED)
    assert picture[:, 4, 0].tolist() == list(WHITE)


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.5
    damaged = exif.tobytes().replace(b"\x01\x1a", b"\x01\x51")  # a fraction under the name of a text
    path = save(tmp_path / "a.jpg", exif=damaged)
    _, kept = decode([path], 8)
    assert kept.tolist() == [0]


# ---- Files to a tensor ------------------------------------------------------------------


def test_channels_are_red_green_blue_and_rows_run_down(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    image.putpixel((3, 0), (200, 0, 0))  # x = 3, y = 0
    image.save(tmp_path / "a.png")
    (picture,), _ = decode([tmp_path / "a.png"], 4)
    assert picture[:, 1, 1].tolist() == [10, 20, 30]
    assert picture[:, 0, 3].tolist() == [200, 0, 0]


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (40, 40), (20, 30)])
def test_resizing_is_that_of_torchvision(tmp_path: Path, size: tuple[int, int]) -> None:
    path = photograph(tmp_path / "a.png", size)
    with Image.open(path) as image:
        reference = TF.pil_to_tensor(TF.center_crop(TF.resize(image, [32]), [32]))
    difference = decode([path], 32)[0][0].int() - reference.int()
    assert difference.float().abs().mean() < 1.5  # at most half a pixel's shift


def test_the_fast_jpeg_path_keeps_the_picture(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.jpg", (128, 128), detail=16, quality=95)
    with Image.open(path) as image:
        reference = TF.pil_to_tensor(image.resize((32, 32), Image.Resampling.BILINEAR))
    difference = decode([path], 32)[0][0].int() - reference.int()
    assert difference.float().abs().mean() < 2


def test_the_right_size_is_not_resampled(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.png", (16, 16))
    assert torch.equal(decode([path], 16)[0][0], TF.pil_to_tensor(Image.open(path)))


def test_a_second_load_decodes_nothing(tmp_path: Path, decoded: list[Path]) -> None:
    paths = [save(tmp_path / f"{i}.png", (i, 0, 0)) for i in range(3)]
    first, _ = decode(paths, 8)
    again, kept = decode(paths, 8)
    assert len(decoded) == 3
    assert torch.equal(first, again)
    assert kept.tolist() == [0, 1, 2]


def test_another_size_is_decoded_anew(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    assert [decode([path], size)[0].shape[-1] for size in (8, 4)] == [8, 4]


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bmp", (0, 0, 0))
    decode([path], 8)
    save(path, WHITE)  # as many bytes as before
    os.utime(path, (1, 1))
    assert decode([path], 8)[0].unique().tolist() == [255]


def test_writing_to_the_images_leaves_the_cache_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", WHITE)
    decode([path], 8)[0].zero_()
    assert decode([path], 8)[0].unique().tolist() == [255]


def test_a_cache_larger_than_memory_opens_without_a_warning(tmp_path: Path) -> None:
    n = 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (3 * 64 * 64)
    path = tmp_path / "huge.npy"
    with open(path, "wb") as file:
        cache._write_header(file, (n, 3, 64, 64), "|u1")
        file.truncate(file.tell() + n * 3 * 64 * 64)  # a hole: takes no space
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = cache._memory_map(path)
    assert mapped.shape == (n, 3, 64, 64)
    assert mapped[-1].max() == 0


def test_it_is_said_when_the_caches_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path / "a.png")
    with caplog.at_level("INFO", "simclr_lib"):
        decode([path], 8)
        assert caplog.text == ""
        monkeypatch.setattr(cache, "LARGE", 1_000)
        decode([path], 32)  # an array of 3,072 bytes joins one of 192
    assert f"images in {cache_dir()} take 0.0 GB; any folder there may be deleted at any time" in caplog.text


def test_an_interrupted_decode_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / f"{i}.png") for i in range(4)]
    read = decoding.read_square

    def interrupted(path: Path, reading: Reading) -> np.ndarray:
        if path == paths[3]:
            raise KeyboardInterrupt
        return read(path, reading)

    monkeypatch.setattr(rows, "PIECE", 2)  # so that the first piece is already on disk
    monkeypatch.setattr(decoding, "read_square", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decode(paths, 8)
    assert list(cache_dir().iterdir()) == []


def damages(content: bytes, dice: random.Random) -> list[bytes]:
    """Damaged forms of a file: flipped bits, header damage, lost and added bytes, and files of other kinds."""
    flips, blocks = [], []
    for end in (min(len(content), 128), len(content)):  # anywhere, and in what would be a header
        for _ in range(5):
            flipped = bytearray(content)
            flipped[dice.randrange(end)] ^= 1 << dice.randrange(8)
            flips.append(bytes(flipped))
            start = dice.randrange(end)
            block = bytes(dice.choice([0, dice.randrange(256)]) for _ in range(16))
            blocks.append(content[:start] + block + content[start + 16 :])
    zipped = io.BytesIO()
    np.savez(zipped, np.zeros(3))
    others = [b"", b"PK", pickle.dumps([1, 2]), zipped.getvalue(), b"{}", content + b"\0", content[16:]]
    return [
        changed for changed in flips + blocks + [content[: -i * 7] for i in range(1, 5)] + others if changed != content
    ]


@pytest.mark.parametrize("name", ["keys.npy", "rows.npy", "kept.npy", "checksums.json"])
def test_a_damaged_cache_is_named_once_and_decoded_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, decoded: list[Path], name: str
) -> None:
    paths = [save(tmp_path / f"{i:02}.png", (i, 0, 0)) for i in range(11)]
    break_image(paths[4])
    whole, kept = decode(paths, 8)
    (stored,) = cache_dir().glob(f"*/{name}")
    content = stored.read_bytes()
    for damaged in damages(content, random.Random(0)):
        stored.write_bytes(damaged)
        caplog.clear()
        decoded.clear()
        for _ in ("decoded again", "from the new cache"):
            images, again = decode(paths, 8)
            assert torch.equal(images, whole)
            assert torch.equal(again, kept)
        assert len(decoded) == 12  # the broken file is tried again each time
        assert caplog.text.count("is damaged or of an older version") == 1


def test_a_cache_without_checksums_is_decoded_again(tmp_path: Path, decoded: list[Path]) -> None:
    """Caches of older versions have none."""
    path = save(tmp_path / "a.png", WHITE)
    decode([path], 8)
    (stored,) = cache_dir().glob("*/checksums.json")
    stored.unlink()
    assert decode([path], 8)[0].unique().tolist() == [255]
    assert len(decoded) == 2


def test_the_cache_of_other_images_is_not_taken(tmp_path: Path) -> None:
    white, red = (save(tmp_path / name / "a.png", colour) for name, colour in (("white", WHITE), ("red", RED)))
    decoding.decode_images([white], Reading(8), white.parent)
    (of_white,) = cache_dir().iterdir()
    decoding.decode_images([red], Reading(8), red.parent)
    (of_red,) = set(cache_dir().iterdir()) - {of_white}
    shutil.rmtree(of_red)
    of_white.rename(of_red)
    assert decoding.decode_images([red], Reading(8), red.parent)[0][0, :, 0, 0].tolist() == list(RED)


@pytest.mark.parametrize("moment", ["before the move", "after the move", "during the check"])
def test_another_process_may_write_to_the_same_cache_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    """The cache of a part is one folder, whatever files the part has, and these depend on the labels."""
    paths = [save(tmp_path / f"{i}.png", (i, 0, 0)) for i in range(20)]
    if moment == "during the check":
        decode(paths, 8)
    place, name = (cache, "_checksums") if moment == "during the check" else (os, "replace")
    real = getattr(place, name)
    begun: list[Path] = []

    def other_process(path: Path) -> None:
        if path.name.startswith("images-") and not begun:
            begun.append(path)
            assert decode(paths[5:], 8)[0][:, 0, 0, 0].tolist() == list(range(5, 20))

    def raced(*args: Path) -> Any:
        if moment != "after the move":
            other_process(args[-1])
        result = real(*args)
        if moment == "after the move":
            other_process(args[-1])
        return result

    monkeypatch.setattr(place, name, raced)
    images, kept = decode(paths, 8)
    assert images[:, 0, 0, 0].tolist() == kept.tolist() == list(range(20))
    assert begun
    assert caplog.text == ""


def test_no_files_are_no_images(tmp_path: Path) -> None:
    images, kept = decode([], 8)
    assert images.shape == (0, 3, 8, 8)
    assert kept.shape == (0,)


def test_without_a_cache_folder_images_go_to_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SIMCLR_CACHE", str(tmp_path / "file" / "cache"))
    decoded, _ = decode([save(tmp_path / "a.png", WHITE)], 8)
    assert decoded.unique().tolist() == [255]
    assert "SIMCLR_CACHE" in caplog.text


@pytest.mark.parametrize("noticed", ["before", "while writing"])
def test_a_full_disk_falls_back_to_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, noticed: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if noticed == "before":
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    else:
        monkeypatch.setattr(cache.np, "save", full)
    decoded, kept = decode([save(tmp_path / "a.png", WHITE)], 8)
    assert decoded.unique().tolist() == [255]
    assert kept.tolist() == [0]
    assert os.strerror(errno.ENOSPC) in caplog.text
    assert list(cache_dir().iterdir()) == []


def test_images_that_fit_nowhere_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    monkeypatch.setattr(torch, "empty", too_large)
    with pytest.raises(SimCLRError, match=r"fit neither the cache folder nor the memory: set SIMCLR_CACHE"):
        decode([save(tmp_path / "a.png")], 8)


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("SIMCLR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "simclr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "simclr"


@pytest.mark.parametrize("home", ["a file", "none"])
def test_without_a_home_folder_the_cache_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, home: str
) -> None:
    for name in ("SIMCLR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if home == "a file":
        (tmp_path / "home").touch()
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
    else:
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user id without a name
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    cache._temporary_cache_dir.cache_clear()
    path = save(tmp_path / "a.png", WHITE)
    for _ in ("decoded", "from the cache"):
        assert decode([path], 8)[0].unique().tolist() == [255]
    assert len(list(tmp_path.glob("simclr-*/images-*"))) == 1
    assert caplog.text.count("decoded images are kept in") == 1


def test_a_temporary_cache_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SIMCLR_CACHE")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    cache._temporary_cache_dir.cache_clear()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"simclr-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    assert decode([save(tmp_path / "a.png", WHITE)], 8)[0].unique().tolist() == [255]
    assert "belongs to somebody else" in caplog.text
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are of Unix")
def test_what_a_killed_decoder_leaves_is_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save(tmp_path / f"{i}.png") for i in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "read_square", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        child = os.fork()
        if child == 0:
            try:
                decode(paths, 8)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert len(list(cache_dir().iterdir())) == 2  # half a cache and its lock
    decode(paths, 8)
    (left,) = cache_dir().iterdir()
    assert left.name.startswith("images-")


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_truncated_images_are_skipped_and_the_rest_keep_their_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, decoded: list[Path], extension: str
) -> None:
    for name, level in (("dark", 0), ("light", 200)):
        for i in range(10):
            save(tmp_path / "train" / name / f"{i}.{extension}", (level, level, level))
    save(tmp_path / "test" / "dark" / f"0.{extension}")
    break_image(tmp_path / "train" / "dark" / f"3.{extension}")
    for _ in ("decoded", "from the cache"):
        caplog.clear()
        dataset = load_dataset("imagefolder", root=tmp_path)
        assert dataset.labels.bincount().tolist() == [9, 10]
        assert torch.equal(dataset.images.amin((1, 2, 3)) > 100, dataset.labels == 1)
        assert "skipped 1 unreadable" in caplog.text
        assert f"3.{extension}" in caplog.text
    assert len(decoded) == 21  # the broken file is tried again


def test_a_file_that_can_be_read_later_is_read_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, decoded: list[Path]
) -> None:
    paths = [save(tmp_path / f"{i:02}.png", (i, 0, 0)) for i in range(30)]
    read = decoding.read_square

    def failing(path: Path, reading: Reading) -> np.ndarray:
        if path in (paths[3], paths[7]):
            raise OSError("the network is down")
        return read(path, reading)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "read_square", failing)
        for _ in ("decoded", "from the cache"):
            caplog.clear()
            assert len(decode(paths, 8)[0]) == 28
            assert "skipped 2 unreadable images: " in caplog.text
            assert "03.png (the network is down), " in caplog.text
    caplog.clear()
    decoded.clear()
    images, kept = decode(paths, 8)
    assert images[:, 0, 0, 0].tolist() == kept.tolist() == list(range(30))
    assert set(decoded) == {paths[3], paths[7]}
    assert caplog.text == ""


def test_a_file_is_another_one_when_its_size_changes_within_the_same_moment(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RED)
    before, state = cache.file_keys([path]), path.stat()
    save(path, RED, (300, 200))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not np.array_equal(cache.file_keys([path]), before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux gives a process a part of the cores")
def test_only_the_cores_that_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert cores() == 2


def test_files_are_decoded_on_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "cores", lambda: 2)
    together = threading.Barrier(2, timeout=120)  # with one thread, nobody else would ever come
    read = decoding.read_square

    def meeting(path: Path, reading: Reading) -> np.ndarray:
        together.wait()
        return read(path, reading)

    monkeypatch.setattr(decoding, "read_square", meeting)
    assert len(decode([save(tmp_path / f"{i}.png", (i, 0, 0)) for i in range(2 * rows.PIECE)], 8)[0]) == 2 * rows.PIECE


def test_many_unreadable_images_are_an_error_that_names_them(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i}.png") for i in range(10)]
    for path in paths[:2]:
        break_image(path)
    with pytest.raises(SimCLRError, match=r"2 of the first 4 images are unreadable .*0\.png: .*1\.png: .*delete them"):
        decode(paths, 8)
    assert list(cache_dir().iterdir()) == []


def test_a_dangling_link_counts_as_unreadable(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(SimCLRError, match=r"gone\.png"):
        decode([tmp_path / "gone.png"], 8)


# ---- A limited number of images ---------------------------------------------------------


def test_a_limit_is_balanced_reproducible_and_nested() -> None:
    labels = torch.tensor([0] * 50 + [1] * 50 + [2] * 3)
    chosen = balanced_subset(labels, 23)
    assert sorted(labels[chosen].bincount().tolist()) == [3, 10, 10]
    assert torch.equal(chosen, balanced_subset(labels, 23))
    assert set(chosen.tolist()) <= set(balanced_subset(labels, 40).tolist())
    assert not torch.equal(chosen, balanced_subset(labels, 23, seed=1))
    assert balanced_subset(labels, 1000).tolist() == list(range(103))


def test_only_the_limited_images_are_decoded(tmp_path: Path, decoded: list[Path]) -> None:
    root = make_folder(tmp_path / "set", {"a": 20, "b": 20})
    dataset = load_dataset("imagefolder", root=root, limit=6)
    assert dataset.labels.bincount().tolist() == [3, 3]
    assert len(decoded) == 6


# ---- Your own folder --------------------------------------------------------------------


def test_train_and_test_folders_share_the_training_classes(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets", {"train/cat": 3, "train/dog": 2, "train/ant": 1, "test/dog": 4})
    train, test = (load_dataset("imagefolder", split, root) for split in ("train", "test"))
    assert train.classes == test.classes == ["ant", "cat", "dog"]
    assert train.labels.tolist() == [0, 1, 1, 1, 2, 2]
    assert test.labels.tolist() == [2, 2, 2, 2]
    assert train.name == "pets"


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation"])
def test_the_test_folder_may_have_any_usual_name(tmp_path: Path, name: str) -> None:
    root = make_folder(tmp_path, {"train/a": 3, f"{name}/a": 2})
    assert len(load_dataset("imagefolder", "test", root)) == 2


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_without_a_test_folder_about_a_fifth_is_held_out(tmp_path: Path, prefix: str) -> None:
    root = make_folder(tmp_path / "set", {f"{prefix}a": 100, f"{prefix}b": 50})
    train, test = (load_dataset("imagefolder", split, root) for split in ("train", "test"))
    assert 20 <= len(test) <= 40
    for label, n in ((0, 100), (1, 50)):  # image i is grey of level i: the parts are disjoint and complete
        levels = [d.images[d.labels == label, 0, 0, 0].tolist() for d in (train, test)]
        assert sorted(levels[0] + levels[1]) == list(range(n))
    assert torch.equal(test.images, load_dataset("imagefolder", "test", root).images)


def test_hidden_files_are_left_out_and_nested_ones_found(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"train/a": 2, "train/.hidden": 2, "train/a/.trash": 2, "val/a": 1})
    save(root / "train" / "a" / "deeper" / "x.PNG")
    save(root / "train" / "a" / "._x.png")
    (root / "train" / "a" / "notes.txt").write_text("not an image")
    dataset = load_dataset("imagefolder", root=root)
    assert dataset.classes == ["a"]
    assert len(dataset) == 3


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    "links",
    [
        {"a/loop": "."},
        {"a/up": ".."},
        {"a/loop": ".", "a/again": "."},
        {"a/up": "..", "b/up": ".."},
        {"a/deep/up": "../.."},
        {"a/disk": "/"},
        {"a/other": "../b", "b/other": "../a"},
        {"a/other": "../b/deep"},
        {"a/copy.png": "000.png", "b/copy.png": "../a/000.png"},
        {"a/gone.png": "nowhere.png", "a/gone": "nowhere", "a/self": "self"},
        {"a/null.png": "/dev/null"},
    ],
    ids=str,
)
def test_links_bring_no_image_twice_and_none_into_another_class(tmp_path: Path, links: dict[str, str]) -> None:
    root = make_folder(tmp_path / "set", {"a": 10, "b": 5, "b/deep": 5})
    for name, target in links.items():
        link(root / name, target)
    train, test = (load_dataset("imagefolder", split, root) for split in ("train", "test"))
    assert torch.cat([train.labels, test.labels]).bincount().tolist() == [10, 10]
    levels = torch.cat([part.images[part.labels == 0, 0, 0, 0] for part in (train, test)])
    assert sorted(levels.tolist()) == list(range(10))


def test_links_to_collections_elsewhere_are_followed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_folder(tmp_path, {"elsewhere": 3, "elsewhere/deep": 2, "single": 1})
    root = make_folder(tmp_path / "set", {"train/a": 2, "test/a": 1})
    link(tmp_path / "elsewhere" / "back", tmp_path)
    link(root / "train" / "a" / "more", tmp_path / "elsewhere")
    link(root / "train" / "a" / "twice", tmp_path / "elsewhere" / "deep")
    link(root / "train" / "a" / "one.png", tmp_path / "single" / "000.png")
    link(root / "test" / "a" / "more", tmp_path / "elsewhere")
    assert len(load_dataset("imagefolder", "train", root)) == 2 + 3 + 2 + 1
    assert "left out 3 links" in caplog.text
    assert len(load_dataset("imagefolder", "test", root)) == 1


def test_links_from_one_part_to_the_other_are_left_out(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"train/a": 3, "test/a": 2})
    link(root / "train" / "a" / "more", "../../test/a")
    assert [len(load_dataset("imagefolder", split, root)) for split in ("train", "test")] == [3, 2]
    shutil.rmtree(root / "test")
    link(root / "test", "train")
    with pytest.raises(SimCLRError, match=r"the test part of .* has no images of its own"):
        load_dataset("imagefolder", "test", root)


def test_a_class_may_be_a_link(tmp_path: Path) -> None:
    make_folder(tmp_path / "pool", {"cats": 5, "dogs": 5})
    for name in ("cats", "dogs"):
        link(tmp_path / "set" / name, tmp_path / "pool" / name)
    link(tmp_path / "set" / "loop", ".")  # an endless folder is no class
    assert load_dataset("imagefolder", "all", tmp_path / "set").labels.bincount().tolist() == [5, 5]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of Unix")
def test_pipes_and_sockets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path / "set", {"a": 5})
    os.mkfifo(root / "a" / "pipe.png")
    link(root / "a" / "link.png", "pipe.png")
    monkeypatch.chdir(root / "a")  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        assert len(load_dataset("imagefolder", root=root)) == 5
    with pytest.raises(SimCLRError, match="there is no such file"):
        decode([root / "a" / "pipe.png"], 8)


def test_names_that_are_not_valid_text_are_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = os.fsdecode(b"caf\xe9")  # Latin-1
    try:
        root = make_folder(tmp_path / name, {f"train/{name}": 20, f"test/{name}": 1})
    except OSError:
        pytest.skip("this file system takes valid text only")
    folder = root / "train" / name
    (folder / "000.png").rename(folder / f"{name}.png")
    break_image(folder / f"{name}.png")
    for _ in ("decoded", "from the cache"):
        parts = [load_dataset("imagefolder", split, root) for split in ("train", "test")]
        assert [len(part) for part in parts] == [19, 1]
        assert parts[0].classes == [name]
        assert parts[0].name == name
    assert "skipped 1 unreadable" in caplog.text
    assert "caf\ufffd.png" in caplog.text  # a log file can hold it


@pytest.mark.parametrize("name", ["train", "test", "val"])
def test_a_class_may_be_called_train_or_test(tmp_path: Path, name: str) -> None:
    root = make_folder(tmp_path / "vehicles", {"bus": 5, name: 10})
    train, test = (load_dataset("imagefolder", split, root) for split in ("train", "test"))
    assert train.classes == ["bus", name]
    assert torch.cat([train.labels, test.labels]).bincount().tolist() == [5, 10]


def test_pictures_of_kinds_that_are_not_read_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_folder(tmp_path / "set", {"train/a": 2, "train/b": 1, "val/a": 1})
    for name in ("x.DNG", "y.xcf"):
        (root / "train" / "a" / name).write_bytes(b"a picture")
    with caplog.at_level("INFO", "simclr_lib"):
        assert len(load_dataset("imagefolder", root=root)) == 3
    assert "left out: 1 .dng, 1 .xcf" in caplog.text


@pytest.mark.parametrize(("size", "expected"), [((40, 40), 40), ((128, 128), 128), ((200, 200), 64), ((40, 30), 64)])
def test_both_parts_take_the_training_images_size(tmp_path: Path, size: tuple[int, int], expected: int) -> None:
    save(tmp_path / "train" / "a" / "1.png", size=size)
    save(tmp_path / "test" / "a" / "1.png", size=(16, 16))
    for split in ("train", "test"):
        assert load_dataset("imagefolder", split, tmp_path).image_size == expected
    assert load_dataset("imagefolder", root=tmp_path, image_size=12).image_size == 12


def test_a_file_that_cannot_even_be_measured_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in ("train", "test"):
        for i in range(20):
            save(tmp_path / part / "a" / f"{i}.png", (i,) * 3, (16, 16))
    bomb = PngImagePlugin.PngInfo()
    bomb.add_text("text", "a" * 3_000_000, zip=True)  # more text than Pillow unpacks
    Image.new("RGB", (16, 16)).save(tmp_path / "train" / "a" / "z.png", pnginfo=bomb)
    assert load_dataset("imagefolder", root=tmp_path).images.shape == (20, 3, 16, 16)
    assert "skipped 1 unreadable" in caplog.text


def test_mixed_sizes_become_64(tmp_path: Path) -> None:
    for i, side in enumerate((32, 48)):
        save(tmp_path / "train" / "a" / f"{i}.png", size=(side, side))
    assert load_dataset("imagefolder", root=tmp_path).image_size == 64


@pytest.mark.parametrize(
    ("counts", "empty", "message"),
    [
        ({"train/a": 1, "test/a": 1, "test/b": 1}, None, r"test part of .* has classes .* lacks \(b\)"),
        ({"train/a": 1}, "test", "test part of .* has no images of its own"),
        ({"val/a": 1}, None, "val/ but no train/"),
        ({"a": 1}, None, "no test part: no image has a label"),
        ({}, "train", "has no images: images are read from"),
        ({}, None, "no folder .*: check the path of the images"),
    ],
)
def test_a_folder_that_cannot_be_used_says_what_to_do(
    tmp_path: Path, counts: dict[str, int], empty: str | None, message: str
) -> None:
    root = make_folder(tmp_path / "set", counts)
    if empty:
        (root / empty).mkdir(parents=True)
    with pytest.raises(SimCLRError, match=message) as error:
        load_dataset("imagefolder", "test", root)
    assert "\n" not in str(error.value)


# ---- One door for all -------------------------------------------------------------------


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(SimCLRError, match="'cifar-10': did you mean 'cifar10'"):
        load_dataset("cifar-10")


@pytest.mark.parametrize("name", DATASETS)
def test_an_unknown_split_names_the_known_ones(name: str) -> None:
    with pytest.raises(SimCLRError, match=r"unknown .* split 'val'.* train, test"):
        load_dataset(name, "val")


@pytest.mark.parametrize("option", ["limit", "image_size"])
def test_counts_and_sizes_start_at_one(option: str) -> None:
    with pytest.raises(SimCLRError, match=f"{option} must be (at least 1|between 1 and 4,096), not 0"):
        load_dataset("emblems", **{option: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["limit", "image_size"])
@pytest.mark.parametrize(
    ("value", "message"),
    [(2**32, "between"), (2**70, "between"), (-1, "at least|between"), (0.5, "whole"), ("8", "whole")],
)
@pytest.mark.parametrize("name", DATASETS)
def test_counts_and_sizes_out_of_range_get_one_line(name: str, option: str, value: Any, message: str) -> None:
    with pytest.raises(SimCLRError, match=f"{option} must be .*({message}).*, not {value!r}") as error:
        load_dataset(name, **{option: value})
    assert "\n" not in str(error.value)


def test_images_that_do_not_fit_into_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "empty", too_large)
    with pytest.raises(
        SimCLRError, match=r"2,000 images of 32 pixels need 0\.0 GB, more memory than there is: load fewer"
    ):
        load_dataset("emblems", limit=2000)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 3, 8, 8), np.uint8), torch.zeros(4).long(), "images must be a tensor, not numpy.ndarray"),
        ([[1]], torch.zeros(4).long(), "images must be a tensor, not list"),
        (torch.zeros(4, 3, 8, 8).byte(), np.zeros(4, np.int64), "labels must be a tensor, not numpy.ndarray"),
        (torch.zeros(4, 3, 8, 8).byte(), [0] * 4, "labels must be a tensor, not list"),
        (
            torch.zeros(4, 3, 8, 8),
            torch.zeros(4).long(),
            r"images must be uint8 \[N, 3, H, W\], not float32 \[4, 3, 8, 8\]",
        ),
        (torch.zeros(4, 3, 8, 8).byte(), torch.zeros(4), r"labels must be int64 \[4\], not float32 \[4\]"),
        (torch.zeros(4, 3, 8, 8).byte(), torch.zeros(4, 1).long(), r"labels must be int64 \[4\], not int64 \[4, 1\]"),
        (torch.zeros(4, 3, 8, 8).byte(), torch.arange(4), "labels must be below the number of classes, 1, not 3"),
        (torch.zeros(4, 3, 8, 8).byte(), torch.arange(4) - 4, "labels must be 0 or more, or -1 .* no label, not -4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_data_set_says_what_it_is_made_of(images: Any, labels: Any, message: str) -> None:
    with pytest.raises(SimCLRError, match=message) as error:
        ImageDataset(images, labels, ["a"])
    assert "\n" not in str(error.value)


def test_numpy_labels_can_be_split() -> None:
    labels = np.repeat(np.arange(3), 10)
    assert torch.equal(few_labels(labels, 2), few_labels(torch.from_numpy(labels), 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("choose", [lambda labels: few_labels(labels, 2), lambda labels: split_indices(labels, 0.2)])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.arange(40)[:, None], r"labels must be int64 \[N\], not int64 \[40, 1\]"),
        (torch.arange(40).int(), r"labels must be int64 \[N\], not int32 \[40\]"),
        (torch.arange(40) - 2, "labels must be 0 or more, or -1 where there is no label, not -2"),
        (["cat", "dog"], "labels must be a tensor, not list"),
    ],
    ids=["column", "int32", "negative", "names"],
)
def test_images_are_chosen_by_labels_only(choose: Any, labels: Any, message: str) -> None:
    with pytest.raises(SimCLRError, match=message):
        choose(labels)


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda labels: split_indices(labels, 1.2), r"fraction must be between 0 and 1, not 1\.2"),
        (lambda labels: split_indices(labels, float("nan")), "fraction must be between 0 and 1, not nan"),
        (lambda labels: split_indices(labels, 0.5, seed=2**70), "seed must be between 0 and"),
        (lambda labels: few_labels(labels, -1), "per_class must be at least 1, not -1"),
        (lambda labels: few_labels(labels, 1.5), r"per_class must be a whole number, not 1\.5"),
        (lambda labels: few_labels(labels, 1, seed=-1), "seed must be between 0 and"),
    ],
)
def test_a_choice_of_images_has_settings_in_range(choose: Any, message: str) -> None:
    with pytest.raises(SimCLRError, match=message) as error:
        choose(torch.arange(40) % 4)
    assert "\n" not in str(error.value)


def test_emblems_of_any_number_and_size() -> None:
    dataset = load_dataset("emblems", limit=12, image_size=16)
    assert dataset.images.shape == (12, 3, 16, 16)
    assert torch.equal(load_dataset("emblems", limit=5).images, load_dataset("emblems", limit=12).images[:5])


def test_the_data_folder_can_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "set", {"train/a": 2, "train/b": 2})
    monkeypatch.setenv("SIMCLR_DATA", str(tmp_path / "set" / "train"))
    assert load_dataset("imagefolder").classes == ["a", "b"]
    monkeypatch.delenv("SIMCLR_DATA")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").rename(tmp_path / "data")
    assert load_dataset("imagefolder").classes == ["a", "b"]


# ---- CIFAR and STL-10 -------------------------------------------------------------------


class FakeCIFAR:
    """As torchvision's: HWC arrays and a list of labels, after an integrity check."""

    base_folder = "cifar-10-batches-py"
    url = "https://example.org/cifar-10-python.tar.gz"
    tgz_md5 = hashlib.md5(b"archive").hexdigest()
    classes = ("even", "odd")

    def __init__(self, root: str, train: bool) -> None:
        if not Path(root, self.base_folder, "batch").is_file():
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")
        n = 8 if train else 4
        self.data = np.zeros((n, 32, 32, 3), dtype=np.uint8)
        self.data[:, 0, 5] = (1, 2, 3)  # y = 0, x = 5
        self.targets = [i % 2 for i in range(n)]


@pytest.fixture
def cifar_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder for the fake set, which is not there yet."""
    monkeypatch.setitem(cifar.SOURCES, "cifar10", FakeCIFAR)
    return tmp_path / "data"


def unpack_fake(archive: Path, destination: Path) -> None:
    (Path(destination) / FakeCIFAR.base_folder).mkdir()
    (Path(destination) / FakeCIFAR.base_folder / "batch").touch()


def serve(content: bytes | Exception, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the network; returns the addresses asked for."""
    asked: list[str] = []

    def answer(url: str, root: str, filename: str, md5: str) -> None:
        asked.append(url)
        if isinstance(content, Exception):
            raise content
        Path(root, filename).write_bytes(content)
        if hashlib.md5(content).hexdigest() != md5:
            raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(download, "download_url", answer)
    monkeypatch.setattr(cifar, "extract_archive", unpack_fake)
    return asked


def test_cifar_becomes_channels_first_and_contiguous(cifar_root: Path) -> None:
    cifar_root.mkdir()
    unpack_fake(Path(), cifar_root)
    for root in (cifar_root, cifar_root / FakeCIFAR.base_folder):
        dataset = load_dataset("cifar10", "test", root)
        assert dataset.images.shape == (4, 3, 32, 32)
        assert dataset.images.is_contiguous()
        assert dataset.images[0, :, 0, 5].tolist() == [1, 2, 3]
        assert dataset.labels.tolist() == [0, 1, 0, 1]
        assert dataset.classes == ["even", "odd"]
    limited = load_dataset("cifar10", root=cifar_root, limit=4)
    assert limited.labels.bincount().tolist() == [2, 2]


def test_stl10_has_an_unlabelled_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeSTL10:
        base_folder = "stl10_binary"
        classes = ("a", "b")

        def __init__(self, root: str, split: str) -> None:
            stored = np.zeros((3, 3, 96, 96), dtype=np.uint8)
            stored[:, 0, 5, 0] = 9  # stored column by column
            self.data = stored.transpose(0, 1, 3, 2)
            self.labels = np.array([-1] * 3) if split == "unlabeled" else np.array([0, 1, 1], dtype=np.uint8)

    monkeypatch.setitem(cifar.SOURCES, "stl10", FakeSTL10)
    monkeypatch.setattr(cifar, "STL10", FakeSTL10)
    (tmp_path / "stl10_binary").mkdir()
    dataset = load_dataset("stl10", "unlabeled", tmp_path)
    assert dataset.labels.tolist() == [-1] * 3
    assert dataset.images[0, 0, 0, 5] == 9
    assert dataset.images.is_contiguous()
    assert load_dataset("stl10", "train", tmp_path, image_size=32).images.shape == (3, 3, 32, 32)


def test_missing_cifar_says_how_to_get_it(cifar_root: Path) -> None:
    with pytest.raises(SimCLRError, match=r"cifar10 is not in .*data_dir.*download=True"):
        load_dataset("cifar10", root=cifar_root)
    assert not cifar_root.exists()


def test_damaged_cifar_names_the_folder_and_keeps_it(cifar_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cifar_root / FakeCIFAR.base_folder).mkdir(parents=True)
    asked = serve(b"archive", monkeypatch)
    with pytest.raises(SimCLRError, match=rf"{FakeCIFAR.base_folder} is incomplete .*delete it"):
        load_dataset("cifar10", root=cifar_root, download=True)
    assert asked == []


def test_a_download_is_kept_and_not_repeated(cifar_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(b"archive", monkeypatch)
    assert len(load_dataset("cifar10", root=cifar_root, download=True)) == 8
    assert len(load_dataset("cifar10", root=cifar_root, download=True)) == 8
    assert asked == [FakeCIFAR.url]
    assert sorted(entry.name for entry in cifar_root.iterdir()) == [
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
    ]


@pytest.mark.parametrize(
    "failure", [URLError("Name or service not known"), ConnectionResetError("reset"), TimeoutError("slow")]
)
def test_offline_points_to_what_works_without_a_network(
    cifar_root: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    serve(failure, monkeypatch)
    with pytest.raises(SimCLRError, match=r"no network: .*emblems.* or point data_dir") as error:
        load_dataset("cifar10", root=cifar_root, download=True)
    assert "\n" not in str(error.value)
    assert list(cifar_root.iterdir()) == []


def test_a_wrong_checksum_leaves_nothing_behind(cifar_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(b"<html>log in first</html>", monkeypatch)
    with pytest.raises(SimCLRError, match="wrong checksum"):
        load_dataset("cifar10", root=cifar_root, download=True)
    assert list(cifar_root.iterdir()) == []


def test_a_damaged_archive_is_named_and_kept(cifar_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(b"archive", monkeypatch)
    cifar_root.mkdir()
    (cifar_root / "cifar-10-python.tar.gz").write_bytes(b"arch")
    with pytest.raises(SimCLRError, match=r"cifar-10-python\.tar\.gz is incomplete .*delete it"):
        load_dataset("cifar10", root=cifar_root, download=True)
    assert (cifar_root / "cifar-10-python.tar.gz").read_bytes() == b"arch"
    assert asked == []


def test_a_full_disk_is_not_mistaken_for_the_network(cifar_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), monkeypatch)
    with pytest.raises(SimCLRError, match=r"cannot write to .*No space left"):
        load_dataset("cifar10", root=cifar_root, download=True)


# ---- TinyImageNet -----------------------------------------------------------------------


@pytest.fixture
def tiny_root(tmp_path: Path) -> Path:
    """Two classes of three on disk, both called "crane" in the first place, and one grey image."""
    folder = tmp_path / "data" / "tiny-imagenet-200"
    folder.mkdir(parents=True)
    (folder / "wnids.txt").write_text("n03\nn01\nn02\n")
    (folder / "words.txt").write_text("n00\tentity\nn01\tcrane, hoist\nn02\tcrane, bird\nn03\tlemon\n")
    for wnid, level in (("n01", 10), ("n02", 20)):
        for i in range(2):
            save(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", (level,) * 3, (64, 64))
    Image.new("L", (64, 64), 20).save(folder / "train" / "n02" / "images" / "n02_2.JPEG")
    annotations = [("val_0.JPEG", "n02"), ("val_1.JPEG", "n03"), ("val_2.JPEG", "n01")]
    for (name, _), level in zip(annotations, (20, 30, 10), strict=True):
        save(folder / "val" / "images" / name, (level,) * 3, (64, 64))
    lines = [f"{name}\t{wnid}\t0\t0\t9\t9\n" for name, wnid in annotations]
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("given", ["parent", "folder"])
def test_tiny_imagenet_reads_its_original_layout(tiny_root: Path, given: str) -> None:
    root = tiny_root if given == "folder" else tiny_root.parent
    train, test = (load_dataset("tinyimagenet", split, root) for split in ("train", "test"))
    assert train.classes == test.classes == ["crane (n01)", "crane (n02)"]
    assert train.labels.tolist() == [0, 0, 1, 1, 1]
    assert train.images[:, 0, 0, 0].tolist() == [10, 10, 20, 20, 20]
    assert test.labels.tolist() == [1, 0]  # val_1 belongs to a class without training images
    assert test.images[:, 0, 0, 0].tolist() == [20, 10]
    assert train.image_size == 64


@pytest.mark.parametrize("below", ["", "images"])
@pytest.mark.parametrize("annotations", ["kept", "removed"])
def test_tiny_imagenet_may_have_its_validation_images_in_folders_of_classes(
    tiny_root: Path, below: str, annotations: str
) -> None:
    original = load_dataset("tinyimagenet", "test", tiny_root)
    for line in (tiny_root / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        (tiny_root / "val" / wnid / below).mkdir(parents=True)
        (tiny_root / "val" / "images" / name).rename(tiny_root / "val" / wnid / below / name)
    (tiny_root / "val" / "images").rmdir()
    if annotations == "removed":
        (tiny_root / "val" / "val_annotations.txt").unlink()
    sorted_ = load_dataset("tinyimagenet", "test", tiny_root)
    assert sorted(zip(sorted_.labels.tolist(), sorted_.images[:, 0, 0, 0].tolist(), strict=True)) == [(0, 10), (1, 20)]
    assert sorted(original.labels.tolist()) == [0, 1]


@pytest.mark.parametrize("part", ["words.txt", "val/val_annotations.txt", "val/images/val_2.JPEG"])
def test_an_incomplete_tiny_imagenet_is_named(tiny_root: Path, part: str) -> None:
    (tiny_root / part).unlink()
    with pytest.raises(SimCLRError, match=r"tiny-imagenet-200 is incomplete .*delete it"):
        load_dataset("tinyimagenet", "test", tiny_root.parent)


@pytest.mark.parametrize("last_line", ["val_1.JP", "val_2.JPEG\tn0"], ids=["in the name", "in the class"])
def test_a_tiny_imagenet_whose_annotations_were_cut_off_is_named(tiny_root: Path, last_line: str) -> None:
    path = tiny_root / "val" / "val_annotations.txt"
    path.write_text(path.read_text().splitlines()[0] + "\n" + last_line)
    with pytest.raises(SimCLRError, match=r"tiny-imagenet-200 is incomplete .*delete it"):
        load_dataset("tinyimagenet", "test", tiny_root.parent)


def test_a_part_of_tiny_imagenet_says_that_it_is_one(tiny_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_dataset("tinyimagenet", "test", tiny_root.parent)
    assert "2 of 3 classes have training images" in caplog.text


def test_missing_tiny_imagenet_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SimCLRError, match=r"tinyimagenet is not in .*download=True"):
        load_dataset("tinyimagenet", root=tmp_path)


def test_tiny_imagenet_downloads_and_unpacks(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "served.zip"
    with zipfile.ZipFile(archive, "w") as content:
        for path in tiny_root.rglob("*"):
            content.write(path, path.relative_to(tiny_root.parent))
    serve(archive.read_bytes(), monkeypatch)
    monkeypatch.setattr(tiny_imagenet, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    dataset = load_dataset("tinyimagenet", root=tmp_path / "elsewhere", download=True)
    assert dataset.labels.tolist() == [0, 0, 1, 1, 1]


def link_member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "member",
    ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt", link_member("a")],
)
def test_a_zip_that_reaches_outside_is_refused_whole(tmp_path: Path, member: Any) -> None:
    archive, destination = tmp_path / "a.zip", tmp_path / "destination"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("harmless.txt", "first")
        content.writestr(member, "evil")
    with pytest.raises(SimCLRError, match="unsafe path"):
        tiny_imagenet.extract_zip(archive, destination)
    assert not destination.exists()
