"""A checkpoint loads as it was written or not at all; writing one is all or nothing, even for a killed process."""

from __future__ import annotations

import errno
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simclr_lib.authoring.bundle import compressed
from simclr_lib.errors import SimCLRError
from simclr_lib.files import temporary_folder, write_atomically
from simclr_lib.training import load_checkpoint, save_checkpoint
from simclr_lib.training.checkpoint import FORMAT

STATE: dict[str, Any] = {
    "model": {
        "weight": torch.arange(60.0).reshape(3, 20),
        "half": torch.ones(2, 2, 2).half(),
        "steps": torch.tensor(7),
    },
    "optimizer": {"state": {0: {"momentum": torch.linspace(-1, 1, 60)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    "config": {"stem": "fast", "blur_sigma": [0.01, 2.0], "limit": None, "resume": False, "pair": (1, float("nan"))},
    "facts": {"classes": ["\N{CAT FACE}", "undecodable \udcff"], "num_images": 2**40},
}


def equal(a: object, b: object) -> bool:
    """Return whether two nested values are the same to the last bit, NaN included."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return repr(a) == repr(b)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small checkpoint."""
    save_checkpoint(tmp_path / "checkpoint.pt", STATE)
    return tmp_path / "checkpoint.pt"


# ---- What was saved is what is loaded -------------------------------------------------------


def test_tensors_and_plain_values_come_back_as_they_were(path: Path) -> None:
    for given in (path, path.parent, str(path)):
        assert equal(load_checkpoint(given), {**STATE, "format": FORMAT})


def test_a_loaded_checkpoint_can_be_changed_and_saved_again(path: Path) -> None:
    save_checkpoint(path, {**load_checkpoint(path), "step": 3})
    assert load_checkpoint(path)["step"] == 3


@pytest.mark.parametrize("value", [np.float64(0.1), np.int64(3), np.zeros(2), Path("x"), {1, 2}, object()])
def test_a_value_that_could_not_be_loaded_is_not_saved(tmp_path: Path, value: object) -> None:
    with pytest.raises(SimCLRError, match=r"tensors and plain values only, not .*convert it") as error:
        save_checkpoint(tmp_path / "checkpoint.pt", {"config": {"lr": value}})
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


# ---- Damage ---------------------------------------------------------------------------------


def flip_a_bit(content: bytearray, dice: random.Random) -> None:
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)


def flip_a_bit_of_the_directory(content: bytearray, dice: random.Random) -> None:
    content[dice.randrange(content.rindex(b"PK\x01\x02") - 500, len(content))] ^= 1 << dice.randrange(8)


def overwrite_a_block(content: bytearray, dice: random.Random) -> None:
    start, length = dice.randrange(len(content)), dice.randrange(1, 300)
    content[start : start + length] = dice.randbytes(len(content[start : start + length]))


def zero_a_block(content: bytearray, dice: random.Random) -> None:
    start, length = dice.randrange(len(content)), dice.randrange(1, 300)
    content[start : start + length] = bytes(len(content[start : start + length]))


def truncate(content: bytearray, dice: random.Random) -> None:
    del content[dice.randrange(len(content)) :]


def lose_some_bytes(content: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(content))
    del content[start : start + dice.randrange(1, 100)]


def append_some_bytes(content: bytearray, dice: random.Random) -> None:
    content += dice.randbytes(dice.randrange(1, 100))


@pytest.mark.parametrize("archive", ["stored", "deflated"])  # as training writes it, and as the package brings it
@pytest.mark.parametrize(
    ("damage", "times"),
    [
        (flip_a_bit, 200),
        (flip_a_bit_of_the_directory, 100),
        (overwrite_a_block, 50),
        (zero_a_block, 50),
        (truncate, 50),
        (lose_some_bytes, 50),
        (append_some_bytes, 20),
    ],
)
def test_a_damaged_checkpoint_never_loads(path: Path, damage: Callable, times: int, archive: str) -> None:
    content = path.read_bytes() if archive == "stored" else compressed(path.read_bytes())
    path.write_bytes(content)
    whole = load_checkpoint(path)
    refusals = []
    for seed in range(times):
        changed = bytearray(content)
        damage(changed, random.Random(seed))
        path.write_bytes(changed)
        try:
            assert equal(load_checkpoint(path), whole), f"seed {seed}: other values, and no word"
        except SimCLRError as error:
            refusals.append(str(error))
    assert all(str(path) in refusal and "\n" not in refusal for refusal in refusals)
    assert len(refusals) > times / 2 or damage is append_some_bytes


def test_a_flipped_bit_of_a_weight_is_called_damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(STATE["model"]["weight"].numpy().tobytes()) + 9] ^= 64
    path.write_bytes(content)
    with pytest.raises(SimCLRError, match=r"checkpoint\.pt is damaged \(its checksum does not fit\)"):
        load_checkpoint(path)


@pytest.mark.parametrize("change", ["value", "missing", "added"])
def test_values_that_do_not_fit_the_digest_are_called_damage(path: Path, change: str) -> None:
    """The archive's checksums fit, but its content is not what was saved."""
    state = torch.load(path, weights_only=True)
    if change == "value":
        state["model"]["weight"][0, 0] += 1
    elif change == "missing":
        del state["optimizer"]
    else:
        state["more"] = 1
    torch.save(state, path)
    with pytest.raises(SimCLRError, match="is damaged"):
        load_checkpoint(path)


def test_a_checkpoint_of_an_older_version_has_no_digest_and_loads(path: Path) -> None:
    torch.save({"format": FORMAT, "step": 5}, path)
    assert load_checkpoint(path) == {"format": FORMAT, "step": 5}


# ---- What is no checkpoint ------------------------------------------------------------------


class Malicious:
    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_malicious_checkpoint_runs_no_code(tmp_path: Path) -> None:
    harm = Malicious()
    harm.path = tmp_path / "harm"
    for write in (lambda path: torch.save({"model": harm}, path), lambda path: path.write_bytes(pickle.dumps(harm))):
        write(tmp_path / "checkpoint.pt")
        with pytest.raises(SimCLRError, match=r"not a safe checkpoint|not a checkpoint"):
            load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1000), pickle.dumps({"format": FORMAT})])
def test_another_kind_of_file_is_called_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(SimCLRError, match=r"checkpoint\.pt is not a checkpoint"):
        load_checkpoint(tmp_path)


def test_half_an_archive_is_called_damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SimCLRError, match="is damaged"):
        load_checkpoint(path)


def test_a_foreign_file_of_tensors_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    for foreign in ({"weight": torch.zeros(1)}, {"format": torch.ones(3)}, {"format": "1"}, [1], torch.zeros(1)):
        torch.save(foreign, tmp_path / "checkpoint.pt")
        with pytest.raises(SimCLRError, match="not a checkpoint of this package"):
            load_checkpoint(tmp_path / "checkpoint.pt")


def test_an_archive_that_unpacks_to_far_more_than_itself_is_not_unpacked(path: Path) -> None:
    torch.save({"format": FORMAT, "weights": torch.zeros(1_000_000)}, path)
    path.write_bytes(compressed(path.read_bytes()))
    with pytest.raises(SimCLRError, match=r"not a safe checkpoint: it would unpack to 0\.004 GB"):
        load_checkpoint(path)


def test_what_is_not_there_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(SimCLRError, match=r"no checkpoint at .*nothing\.pt: check the path"):
        load_checkpoint(tmp_path / "nothing.pt")
    (tmp_path / "checkpoint.pt").mkdir()
    for given in (tmp_path, tmp_path / "checkpoint.pt"):
        with pytest.raises(SimCLRError, match="no checkpoint in the folder") as error:
            load_checkpoint(given)
        assert str(error.value).count("checkpoint.pt") == (given != tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of Unix")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "checkpoint.pt")
    with pytest.raises(SimCLRError, match="no checkpoint"):
        load_checkpoint(tmp_path)


# ---- Writing --------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_checkpoint_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SimCLRError, match=r"No space left on device.*Free some space"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are of Unix")
def test_files_get_the_permissions_that_the_user_gives_to_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


HALF_WAY = """
import sys, time
from pathlib import Path
from simclr_lib.files import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "content").write_bytes(b"half of it")
    print("half way", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path: Path):
    """A process that is half way through writing a file in ``tmp_path``."""
    process = subprocess.Popen([sys.executable, "-c", HALF_WAY, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "half way\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_a_killed_process_leaves_is_removed_by_the_next_one(tmp_path: Path, writer: subprocess.Popen) -> None:
    writer.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    writer.wait()
    assert len(list(tmp_path.iterdir())) == 2  # the folder and its lock
    write_atomically(tmp_path / "file", b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path, writer: subprocess.Popen) -> None:
    before = sorted(tmp_path.iterdir())
    write_atomically(tmp_path / "file", b"content")
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "file"])
    assert (before[0] / "content").read_bytes() == b"half of it"


def test_other_threads_temporary_folders_are_left_alone(tmp_path: Path) -> None:
    def write() -> None:
        for i in range(30):
            write_atomically(tmp_path / f"{threading.get_ident()}-{i}", b"content")

    with temporary_folder(tmp_path) as folder:
        (folder / "content").touch()
        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (folder / "content").exists()
    assert len([entry for entry in tmp_path.iterdir() if entry.name[0] != "."]) == 8 * 30
    assert not list(tmp_path.glob(".*"))


def test_hidden_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = [tmp_path / name for name in (".checkpoint.pt.original", ".simclr-notes", ".simclr.lock", ".lock")]
    for path in others:
        path.touch()
    write_atomically(tmp_path / "file", b"content")
    assert all(path.exists() for path in others)
