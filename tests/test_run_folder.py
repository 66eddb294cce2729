"""A run's folder belongs to one run, and one process at a time writes to it."""

import dataclasses
import os
import re
import shutil
import tempfile
import time

import pytest
import tiny

from simclr_lib import SimCLRError, load_dataset, pretrain
from simclr_lib.distributed import fresh_processes
from simclr_lib.training import load_checkpoint, new_folder, read_film, read_metrics
from simclr_lib.training.run_folder import claimed, locked

TINY = dataclasses.replace(tiny.TINY, limit=60, validation=0.0, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def emblems():
    return load_dataset("emblems", "train", limit=60)


@pytest.fixture(scope="module")
def trained_once(emblems, tmp_path_factory):
    """The folder of a run of `TINY`."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    pretrain(emblems, TINY, folder)
    return folder


@pytest.fixture
def trained(trained_once, tmp_path):
    """A copy of that folder, which a test may change."""
    return shutil.copytree(trained_once, tmp_path / "run")


def new_folder_in(place):
    os.chdir(place)
    return str(new_folder("cifar10"))


@pytest.mark.slow
def test_runs_that_start_together_get_folders_of_their_own(tmp_path):
    with fresh_processes().Pool(3) as pool:
        folders = pool.map(new_folder_in, [tmp_path] * 3, chunksize=1)
    assert set(folders) == {os.path.join("runs", name) for name in ("cifar10", "cifar10-2", "cifar10-3")}


def test_a_folder_that_exists_is_not_new(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [new_folder("a").name, new_folder("a").name] == ["a", "a-2"]


def hold(folder, holding):
    with locked(folder):
        holding.set()
        time.sleep(100)


def test_a_second_writer_is_refused_by_name_until_the_first_one_ends(emblems, tmp_path):
    processes = fresh_processes()
    holding = processes.Event()
    first = processes.Process(target=hold, args=(tmp_path, holding), daemon=True)
    first.start()
    try:
        assert holding.wait(100)
        with pytest.raises(SimCLRError, match=rf"process {first.pid} on .* writes to {re.escape(str(tmp_path))}"):
            pretrain(emblems, TINY, tmp_path)
    finally:
        first.kill()
        first.join()
    pretrain(emblems, TINY, tmp_path)  # the lock of a killed process is void
    assert load_checkpoint(tmp_path)["step"] == 6


def test_a_second_resume_of_the_same_run_is_refused(emblems, trained):
    with locked(trained), pytest.raises(SimCLRError, match=rf"process {os.getpid()} on"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True), trained)


def test_nothing_is_left_of_a_run_that_could_not_begin(emblems, tmp_path):
    with pytest.raises(SimCLRError, match="micro_batch"):
        pretrain(emblems, dataclasses.replace(TINY, micro_batch=0), tmp_path / "run")
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "run", resume=False):
        raise ZeroDivisionError
    assert not (tmp_path / "run").exists()


def test_the_lock_is_gone_when_a_run_has_ended(trained_once):
    assert sorted(path.name for path in trained_once.iterdir()) == ["checkpoint.pt", "config.json", "metrics.jsonl"]


@pytest.mark.parametrize("place", ["/proc/run", "/dev/null/run"])
@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs Linux")
def test_a_folder_that_cannot_be_written_to_is_noticed_before_training(emblems, place, monkeypatch):
    monkeypatch.setattr("simclr_lib.training.pretraining.fit", lambda *_: pytest.fail("trained before it looked"))
    with pytest.raises(SimCLRError, match="cannot write to"):
        pretrain(emblems, TINY, place)


def test_a_folder_that_is_removed_during_the_run_stops_it(emblems, tmp_path):
    def remove(metrics):
        shutil.rmtree(tmp_path / "run")

    watched = dataclasses.replace(TINY, validation=0.2, monitor_every=1)
    with pytest.raises(SimCLRError, match="was removed during the run"):
        pretrain(emblems, watched, tmp_path / "run", watch=remove)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no permissions of the owner alone")
def test_what_a_killed_process_of_an_early_version_left_is_removed(emblems, trained):
    handle, leftover = tempfile.mkstemp(dir=trained, prefix=".checkpoint.pt.")  # as that version wrote checkpoints
    os.close(handle)
    kept = trained / ".checkpoint.pt.original"
    shutil.copy(trained / "checkpoint.pt", kept)
    with locked(trained), pytest.raises(SimCLRError, match="writes to"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True), trained)
    assert os.path.exists(leftover)  # the process that holds the lock may be writing it
    pretrain(emblems, dataclasses.replace(TINY, resume=True), trained)
    assert not os.path.exists(leftover)
    assert kept.exists()


def test_a_file_among_the_moments_of_a_film_is_left_alone(emblems, trained):
    (trained / "film").mkdir()
    notes = trained / "film" / "notes.pt"
    notes.write_bytes(b"mine")
    pretrain(emblems, dataclasses.replace(TINY, resume=True), trained)
    assert notes.read_bytes() == b"mine"
    assert read_film(trained, emblems) == {}


# --- metrics


def damage(path, number, line):
    """Replace one line of a metrics file."""
    lines = path.read_bytes().split(b"\n")
    lines[number] = line
    path.write_bytes(b"\n".join(lines))


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 2, "los',
        b"\xff\xfe",
        b"[1, 2]",
        b'"step"',
        b"null",
        b'{"step": "2"}',
        b'{"step": true}',
        b'{"step": 2, "loss": []}',
        b'{"step": 2, "loss": false}',
    ],
)
def test_a_damaged_line_of_the_metrics_costs_that_line_and_is_said(emblems, trained, line):
    whole = read_metrics(trained)
    damage(trained / "metrics.jsonl", 2, line)
    with pytest.warns(UserWarning, match=r"line 3 of .*metrics\.jsonl is damaged"):
        assert read_metrics(trained) == whole[:2] + whole[3:]
    with pytest.warns(UserWarning, match="line 3"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True), trained)
    assert read_metrics(trained) == whole[:2] + whole[3:]


def test_a_folder_in_the_place_of_the_metrics_is_named(emblems, trained):
    (trained / "metrics.jsonl").unlink()
    (trained / "metrics.jsonl").mkdir()
    with pytest.raises(SimCLRError, match=r"cannot read .*metrics\.jsonl"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True), trained)


def test_a_last_line_that_a_kill_cut_off_is_left_out_without_a_word(trained, recwarn):
    path = trained / "metrics.jsonl"
    whole = read_metrics(trained)
    path.write_bytes(path.read_bytes()[:-9])
    assert read_metrics(trained) == whole[:-1]
    assert not [warning for warning in recwarn if "damaged" in str(warning.message)]
