"""The queue for a GPU: its order, what it does after an interruption and after a failure, and what comes back."""

from __future__ import annotations

import shlex
import tarfile
import time

import pytest
import torch

from simclr_lib.authoring import gpu
from simclr_lib.authoring.gpu import Job, Size, jobs, read_state, report, work
from simclr_lib.cli import parse
from simclr_lib.results import Result, summary

HOUR = 3600


class Machine:
    """Takes the place of the real commands: it writes down what it is asked to run, and breaks as it is told."""

    def __init__(self, fails=(), interrupted=()):
        self.ran = []
        self.fails, self.interrupted = fails, interrupted

    def __call__(self, command, folder, seconds):
        self.ran.append(command)
        if command in self.interrupted:
            raise KeyboardInterrupt
        return 2 if command in self.fails else 0


QUEUE = [Job("a", 60, ["one", "two"]), Job("b", 600, ["three"]), Job("c", 60, ["four"])]


def worked(folder, machine, queue=QUEUE, seconds=HOUR):
    work(queue, folder, time.time() + seconds, machine)
    return machine.ran


def test_jobs_have_their_turns_in_order_and_nothing_is_repeated(tmp_path):
    assert worked(tmp_path, Machine()) == ["one", "two", "three", "four"]
    assert worked(tmp_path, Machine()) == []


def test_a_job_that_fails_does_not_stop_the_others_and_is_reported(tmp_path):
    assert worked(tmp_path, Machine(fails=["one"])) == ["one", "three", "four"]
    assert worked(tmp_path, Machine()) == []
    lines = report(QUEUE, tmp_path).splitlines()
    assert "failed with exit code 2, see log.txt" in lines[1]
    assert "done" in lines[2]


def test_a_job_that_was_interrupted_is_run_again_and_those_before_it_are_not(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        worked(tmp_path, Machine(interrupted=["three"]))
    assert list(read_state(tmp_path)) == ["a"]
    assert worked(tmp_path, Machine()) == ["three", "four"]


@pytest.mark.parametrize(
    ("command", "sign"),
    [
        ("simclr train --epochs 2 --run-dir runs/a", "checkpoint.pt"),
        ("simclr sweep head --out runs/a --epochs 2", "rows.json"),
    ],
)
def test_an_interrupted_training_or_sweep_goes_on(tmp_path, command, sign):
    assert gpu.resumed(command, tmp_path) == command
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / sign).touch()
    assert gpu.resumed(command, tmp_path) == f"{command} --resume"


def test_a_job_that_would_not_end_in_time_waits_for_the_next_machine(tmp_path):
    assert worked(tmp_path, Machine(), seconds=300) == ["one", "two", "four"]
    assert "to do" in report(QUEUE, tmp_path).splitlines()[2]
    assert worked(tmp_path, Machine()) == ["three"]


def test_a_job_that_is_done_in_parts_starts_whatever_time_is_left(tmp_path):
    assert worked(tmp_path, Machine(), [Job("a", 600, ["one"], in_parts=True)], seconds=1) == ["one"]


def test_no_recipe_is_the_best_before_they_were_compared(tmp_path):
    assert worked(tmp_path, Machine(), [Job("a", 1, ["simclr train {best}"]), Job("b", 1, ["two"])]) == ["two"]
    assert read_state(tmp_path)["a"]["exit"] == 2
    assert "there is no results file" in (tmp_path / gpu.LOG).read_text()


@pytest.fixture
def compared(tmp_path):
    """A queue's folder in which three recipes were compared, and the best two of them with another seed."""
    changed = {"LARS 4": {}, "LARS 8": {"lr": 8.0}, "τ = 0.1": {"temperature": 0.1}}
    measured = {"recipes": [0.7, 0.8, 0.6], "recipes-again": [0.9, 0.7]}
    for name, values in measured.items():
        rows = {f"SimCLR, {row}": {"labels_all": summary([v])} for row, v in zip(changed, values, strict=False)}
        file = tmp_path / "runs" / name / "results.json"
        Result("recipes", rows, extra={"variants": changed}).write(file, torch.device("cpu"), "simclr sweep recipes")
    return tmp_path


def test_the_best_recipe_is_chosen_by_all_seeds(compared):
    assert gpu.best_variants(compared) == ["LARS 4", "LARS 8"]
    assert gpu.filled("simclr train {best} --epochs 2", compared) == "simclr train  --epochs 2"
    (compared / "runs" / "recipes-again" / "results.json").unlink()
    assert gpu.filled("simclr train {best}", compared) == "simclr train --lr 8.0"
    assert shlex.split(gpu.filled("--only {best three}", compared)) == ["--only", "LARS 8", "LARS 4", "τ = 0.1"]


@pytest.mark.parametrize("size", [Size(), gpu.TOY], ids=["full", "rehearsal"])
def test_every_command_can_be_typed(compared, size, monkeypatch):
    monkeypatch.setattr("simclr_lib.settings.checkpoint_file", lambda path: path / "checkpoint.pt")
    for job in jobs(size):
        for command in job.commands:
            program, name, *words = shlex.split(gpu.filled(command, compared))
            if program == "simclr":
                parse(name, words).check()
            assert f"runs/{job.name}" in command


def test_recipes_are_compared_without_the_test_images():
    by_name = {job.name: job.commands[0] for job in jobs(Size())}
    assert all("--held-out 0.1" in by_name[name] for name in ("recipes", "recipes-again"))
    assert all("{best}" in command for name, command in by_name.items() if name.startswith("best"))


def test_no_training_takes_longer_than_half_an_hour():
    assert all(job.seconds < HOUR / 2 for job in jobs(Size()) if not job.in_parts)
    assert len({job.name for job in jobs(Size())}) == len(jobs(Size()))


def test_what_comes_back_is_small_and_lets_another_machine_go_on(tmp_path):
    folder, out = tmp_path / "queue", tmp_path / "out"
    of_a, of_others = (
        ["results.json", "metrics.jsonl", "checkpoint.pt"],
        ["b/config.json", "b/film/0.pt", "c/rows.json"],
    )
    for file in (*(f"a/{name}" for name in of_a), *of_others):
        (folder / "runs" / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / "runs" / file).write_text("{}")
    (folder / "weights").mkdir()
    for number in range(9):
        (folder / "weights" / f"{number}.pt").touch()
    gpu.note(folder, "a", exit=0, seconds=1.0)
    gpu.say(folder, "a line")
    gpu.come_back(folder, out)
    gpu.come_back(folder, out)
    assert len(list(out.iterdir())) == gpu.MAX_FILES
    with tarfile.open(out / gpu.RESULTS) as archive:
        names = set(archive.getnames())
    assert names == {gpu.STATE, gpu.LOG, "runs/a/results.json", "runs/a/metrics.jsonl", "runs/c/rows.json"}
