"""TensorBoard, Trackio and Weights & Biases get the metrics of a run as they stand in its ``metrics.jsonl``."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace

import pytest
import tiny

from simclr_lib import SimCLRError, TrainConfig, load_dataset, pretrain
from simclr_lib.cli import main, parse
from simclr_lib.training import read_metrics
from simclr_lib.training.metrics import MetricsLog

TINY = dataclasses.replace(tiny.TINY, epochs=1)
RECORDS = [{"step": step, "epoch": step / 2, "loss": 3.0 - step, "lr": 0.1} for step in range(3)]


@pytest.fixture
def write(tmp_path):
    """A function that logs `RECORDS` in two pieces, as a run does that is killed and resumed."""

    def write(tracker):
        for first in (0, 2):
            log = MetricsLog(tmp_path, tracker, TINY.to_dict())
            log.start(first)
            log.write(RECORDS[first : first + 2])
            log.close()
        return tmp_path

    return write


def test_tensorboard_gets_the_metrics(write):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(write("tensorboard")))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert sorted(events.Tags()["scalars"]) == ["loss", "lr"]


def test_trackio_gets_the_metrics_and_goes_on_with_a_resumed_run(write, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    folder = write("trackio")
    logged = sqlite_storage.SQLiteStorage.get_logs("simclr", folder.name)
    assert [(line["step"], line["loss"]) for line in logged] == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_wandb_gets_the_metrics_without_a_network(write, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    pytest.importorskip("wandb")
    runs = [path.name for path in (write("wandb") / "wandb").glob("offline-run-*")]
    assert runs
    assert len({name.rpartition("-")[2] for name in runs}) == 1  # one run, also after it was resumed


def test_wandb_says_what_to_do_without_an_account(tmp_path, monkeypatch):
    def init(**about):
        raise RuntimeError("no API key")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(SimCLRError, match=r"wandb does not start \(no API key\): run `wandb login` or set WANDB_MODE"):
        MetricsLog(tmp_path, "wandb").start(0)


def test_any_tracker_gets_the_settings_and_every_metric_of_training(tmp_path, monkeypatch):
    logged, about = [], {}

    class Recorder:
        def log(self, metrics, step):
            logged.append({"step": step, **metrics})

        def finish(self):
            logged.append("finished")

    def init(**words):
        about.update(words)
        return Recorder()

    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init))
    pretrain(load_dataset("emblems", limit=120), dataclasses.replace(TINY, log="trackio"), tmp_path / "run")
    kept = [{name: value for name, value in line.items() if name != "epoch"} for line in read_metrics(tmp_path / "run")]
    assert logged == [*kept, "finished"]
    assert (about["name"], about["config"]["width"]) == ("run", TINY.width)


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb"])
def test_without_its_package_nothing_is_begun(name, tmp_path, monkeypatch, capsys):
    for module in (name, "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    words = ["train", *tiny.options(TINY), "--log", name, "--run-dir", str(tmp_path / "run")]
    assert main(words) == 2
    assert f"--log {name} needs a package that is not here: pip install {name}." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_earlier_option_for_tensorboard_still_works():
    assert parse("train", ["--tensorboard"]) == parse("train", ["--log", "tensorboard"])
    assert TrainConfig.from_dict({**TINY.to_dict(), "tensorboard": True}).log == "tensorboard"
    assert TrainConfig.from_dict({"tensorboard": False}).log is None
