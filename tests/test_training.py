"""A run can be stopped anywhere and continued bit for bit; what it wrote is never lost."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import tiny
import torch
from IPython.core.interactiveshell import InteractiveShell

from simclr_lib import (
    SimCLRError,
    TrainConfig,
    extract_features,
    knn_accuracy,
    load_dataset,
    pretrain,
    train_supervised,
)
from simclr_lib.cli import main
from simclr_lib.data import Reading
from simclr_lib.loop import DivergedError
from simclr_lib.models import ResNet, SimCLR
from simclr_lib.recipes import EMBLEMS
from simclr_lib.seeding import initial_weights
from simclr_lib.training import (
    Interrupted,
    load_checkpoint,
    load_pretrained,
    pretraining,
    read_film,
    read_metrics,
    run,
    save_checkpoint,
    untrained_knn,
)
from simclr_lib.training.run_folder import claimed

TINY = dataclasses.replace(tiny.TINY, epochs=3)
SAVED_EVERY_STEP = dataclasses.replace(TINY, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def emblems():
    return load_dataset("emblems", "train", limit=120)


@pytest.fixture(scope="module")
def trained_once(emblems, tmp_path_factory):
    """The folder of a run of `TINY`."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    pretrain(emblems, TINY, folder)
    return folder


@pytest.fixture
def finished(trained_once, tmp_path):
    """A copy of that folder, which a test may change."""
    return shutil.copytree(trained_once, tmp_path / "run")


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)["model"]


def without_time(path: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in read_metrics(path)]


def assert_same_run(a: Path, b: Path) -> None:
    for (name, x), y in zip(weights(a).items(), weights(b).values(), strict=True):
        assert torch.equal(x, y), name
    assert without_time(a) == without_time(b)


def stop_after(monkeypatch, saves: int) -> None:
    """Stop a run after so many checkpoints, as a crash would: no clean-up of any kind."""
    save = run.Run.save
    calls = []

    def save_then_crash(self, steps_done):
        save(self, steps_done)
        calls.append(steps_done)
        if len(calls) == saves:
            raise RuntimeError("power cut")

    monkeypatch.setattr(run.Run, "save", save_then_crash)


@pytest.fixture(scope="module")
def uninterrupted(emblems, tmp_path_factory):
    """A function that gives the folder of a whole run with these settings, which it makes only once."""

    @cache
    def run_of(config: TrainConfig) -> Path:
        folder = tmp_path_factory.mktemp("uninterrupted") / "run"
        pretrain(emblems, config, folder)
        return folder

    return run_of


@pytest.mark.parametrize(
    ("optimizer", "saves", "precision"),
    [
        pytest.param("sgd", 1, "fp32", marks=pytest.mark.slow),  # stopped before the first step
        ("sgd", 4, "fp32"),  # in the first epoch
        pytest.param("sgd", 7, "fp32", marks=pytest.mark.slow),  # at the end of it
        pytest.param("adam", 4, "fp32", marks=pytest.mark.slow),
        ("lars", 4, "fp32"),
        pytest.param("lars", 4, "bf16", marks=pytest.mark.slow),
        pytest.param("lars", 4, "fp16", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(
    emblems, uninterrupted, tmp_path, monkeypatch, optimizer, saves, precision
):
    config = dataclasses.replace(SAVED_EVERY_STEP, epochs=2, optimizer=optimizer, precision=precision)
    whole = uninterrupted(config)
    with monkeypatch.context() as patch:
        stop_after(patch, saves)
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(emblems, config, tmp_path / "cut")
    torch.rand(7)  # whatever else the process draws meanwhile makes no difference
    pretrain(emblems, dataclasses.replace(config, resume=True), tmp_path / "cut")
    assert_same_run(whole, tmp_path / "cut")


@pytest.mark.slow
def test_supervised_training_resumes_too(emblems, tmp_path, monkeypatch):
    config = dataclasses.replace(SAVED_EVERY_STEP, epochs=2, contrastive=False)
    train_supervised(emblems, config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(RuntimeError):
            train_supervised(emblems, config, tmp_path / "cut")
    train_supervised(emblems, dataclasses.replace(config, resume=True), tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


LONG = dataclasses.replace(SAVED_EVERY_STEP, epochs=10, monitor_every=5)  # long enough to be stopped twice
COMMAND = ["train", *tiny.options(LONG)]


@pytest.fixture(scope="module")
def whole(one_penalty, tmp_path_factory):
    """The folder of a run of `COMMAND` that nobody interrupted."""
    path = tmp_path_factory.mktemp("whole") / "run"
    assert main([*COMMAND, "--run-dir", str(path)]) == 0
    return path


@pytest.mark.slow
def test_killed_and_resumed_and_stopped_by_ctrl_c_and_resumed_it_is_the_same_run(whole, tmp_path, wait_for_steps):
    command, cut = [*COMMAND, "--run-dir", str(tmp_path / "cut")], tmp_path / "cut"

    def stop(sent: signal.Signals, *options: str) -> subprocess.Popen:
        done = len(read_metrics(cut))
        arguments = [sys.executable, "-m", "simclr_lib", *command, *options]
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        wait_for_steps(cut, process, done + 5)
        process.send_signal(sent)
        return process

    stop(signal.SIGKILL).communicate(timeout=120)
    killed = load_checkpoint(cut)["step"]
    process = stop(signal.SIGINT, "--resume")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Continue with the same command and --resume" in stderr
    assert "Traceback" not in stderr
    assert 0 < killed < load_checkpoint(cut)["step"] < LONG.epochs * 6
    assert main([*command, "--resume"]) == 0
    assert_same_run(whole, cut)
    same = [json.loads((path / "results.json").read_text())["results"] for path in (whole, cut)]
    assert same[0] == same[1]


def test_ctrl_c_saves_and_says_how_to_go_on(emblems, tmp_path, monkeypatch):
    config = dataclasses.replace(TINY, checkpoint_seconds=1e9)
    after_step = run.Run.after_step

    def press_ctrl_c(self, step, flush):
        if step == 8:
            os.kill(os.getpid(), signal.SIGINT)
        after_step(self, step, flush)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(run.Run, "after_step", press_ctrl_c)
    with pytest.raises(Interrupted, match="--resume --run-dir"):
        pretrain(emblems, config, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run")["step"] >= 9
    assert signal.getsignal(signal.SIGINT) is before


def test_a_notebook_shows_a_stopped_training_as_one_line_that_says_how_to_go_on(emblems, tmp_path, monkeypatch, capsys):
    after_step = run.Run.after_step

    def press_stop(self, step, flush):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        after_step(self, step, flush)

    monkeypatch.setattr(run.Run, "after_step", press_stop)
    with pytest.raises(Interrupted) as stopped:
        pretrain(emblems, TINY, tmp_path / "run")
    capsys.readouterr()
    InteractiveShell().showtraceback((stopped.type, stopped.value, stopped.tb))
    assert capsys.readouterr().out == "Stopped after step 3 of 18; everything is saved. Run the cell again to go on.\n"


@pytest.mark.slow
def test_a_filmed_run_keeps_features_from_before_training_and_from_every_look(emblems, tmp_path):
    filmed = load_dataset("emblems", "test", limit=30)
    model = pretrain(emblems, TINY, tmp_path / "run", filmed=filmed)
    film = read_film(tmp_path / "run", filmed)
    assert list(film) == ["epoch 0", "epoch 1", "epoch 2", "epoch 3"]
    h = extract_features(model.encoder, filmed, precision="fp32")
    torch.testing.assert_close(film["epoch 3"], h, rtol=2e-3, atol=2e-3)  # kept in half precision
    assert not torch.allclose(film["epoch 0"], film["epoch 1"], atol=0.01)
    plain = pretrain(emblems, TINY, tmp_path / "plain")
    assert read_film(tmp_path / "plain", filmed) == {}
    assert read_film(tmp_path / "run", emblems) == {}  # it is of other images
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_the_monitor_sees_only_images_that_are_not_trained_on(emblems, tmp_path, monkeypatch):
    trained_on, looked_at = set(), []
    real_objective, real_features = TrainConfig.objective, pretraining.extract_features

    def objective(self, network, images):
        loss = real_objective(self, network, images)
        return lambda rows, views: trained_on.update(row_of(images[rows])) or loss(rows, views)

    def row_of(images):
        matches = (emblems.images[None] == images[:, None]).flatten(2).all(dim=2)
        return matches.nonzero()[:, 1].tolist()

    def features(encoder, part, **options):
        looked_at.append(set(row_of(part.images)))
        return real_features(encoder, part, **options)

    monkeypatch.setattr(TrainConfig, "objective", objective)
    monkeypatch.setattr(pretraining, "extract_features", features)
    whole_epochs = dataclasses.replace(TINY, batch_size=11)  # divides the 110, so that no image is left out
    pretrain(emblems, whole_epochs, tmp_path / "run")
    bank, queries = looked_at[0], looked_at[1]
    assert looked_at == [bank, queries] * 3
    assert len(trained_on) == 110  # of each class's 12 images, one is kept out
    assert bank == trained_on
    assert len(queries) == 10
    assert not queries & trained_on
    looks = [m for m in read_metrics(tmp_path / "run") if "validation_knn" in m]
    assert [m["epoch"] for m in looks] == [1, 2, 3]


def test_the_accuracy_before_training_is_that_of_the_first_weights_on_the_images_kept_out(emblems):
    before = untrained_knn(emblems, tiny.TINY)
    assert 0 <= before <= 1
    assert untrained_knn(emblems, dataclasses.replace(tiny.TINY, epochs=9, lr=1.0)) == before
    with pytest.raises(SimCLRError, match="set validation"):
        untrained_knn(emblems, dataclasses.replace(tiny.TINY, validation=0.0))


def test_of_few_labelled_images_some_are_kept_out_to_look_at(emblems, tmp_path, monkeypatch):
    trained_on = set()
    real_objective = TrainConfig.objective

    def objective(self, network, images):
        loss = real_objective(self, network, images)
        return lambda rows, views: trained_on.update(rows.tolist()) or loss(rows, views)

    monkeypatch.setattr(TrainConfig, "objective", objective)
    few = dataclasses.replace(emblems, labels=torch.where(torch.arange(len(emblems)) < 60, emblems.labels, -1))
    settings = dataclasses.replace(TINY, batch_size=10, validation=0.2, limit=None)
    pretrain(few, settings, tmp_path / "run")
    kept_out = set(range(len(few))) - trained_on
    assert len(kept_out) == 10
    assert all(few.labels[row] >= 0 for row in kept_out)
    assert any("validation_knn" in record for record in read_metrics(tmp_path / "run"))


def test_metrics_have_a_line_for_every_step(emblems, finished):
    steps = [m for m in read_metrics(finished) if "loss" in m]
    assert [m["step"] for m in steps] == list(range(3 * 6))
    about = json.loads((finished / "config.json").read_text())
    assert about["config"]["seed"] == 0
    assert about["environment"]["torch"] == torch.__version__


def test_a_diverging_run_stops_and_keeps_the_last_good_checkpoint(emblems, tmp_path, monkeypatch):
    from simclr_lib import objectives

    real, calls = objectives.nt_xent, []

    def nt_xent_nan_at_step_5(*args):
        calls.append(None)
        return real(*args) * (float("nan") if len(calls) == 6 else 1.0)

    monkeypatch.setattr(objectives, "nt_xent", nt_xent_nan_at_step_5)
    with pytest.raises(DivergedError, match=r"nan at step 5 of 18.*last good checkpoint is .*checkpoint\.pt"):
        pretrain(emblems, SAVED_EVERY_STEP, tmp_path / "run")
    state = load_checkpoint(tmp_path / "run")
    assert state["step"] == 5
    assert all(value.isfinite().all() for value in state["model"].values())


def test_a_checkpoint_with_infinite_weights_is_not_written(emblems, tmp_path):
    model = torch.nn.Linear(2, 2)
    with claimed(tmp_path / "run", resume=False) as folder:
        observer = run.Run(folder, TINY, identity={})
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        observer.start(model, torch.optim.SGD(model.parameters()), steps_per_epoch=6, scaler=scaler)
        torch.nn.init.constant_(model.bias, torch.inf)
        with pytest.raises(DivergedError, match="weights are not finite after step 4"):
            observer.save(5)
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())


def test_ctrl_c_while_looking_at_the_validation_images_saves_too(emblems, tmp_path, monkeypatch):
    real = pretraining.knn_accuracy

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(pretraining, "knn_accuracy", interrupted)
    with pytest.raises(Interrupted, match="stopped after step 6 of 18"):
        pretrain(emblems, dataclasses.replace(TINY, checkpoint_seconds=1e9), tmp_path / "run")
    assert load_checkpoint(tmp_path / "run")["step"] == 6


def test_resuming_on_other_images_is_refused(emblems, finished):
    other = dataclasses.replace(emblems, images=255 - emblems.images)
    with pytest.raises(SimCLRError, match=r"another configuration \(images was"):
        pretrain(other, dataclasses.replace(TINY, resume=True), finished)


def test_a_checkpoint_from_another_configuration_is_refused_by_name(emblems, finished):
    other = dataclasses.replace(TINY, temperature=0.1, width=8, resume=True)
    with pytest.raises(SimCLRError, match=r"temperature was 0.2, is 0.1; width was 4, is 8"):
        pretrain(emblems, other, finished)


def test_an_existing_run_is_not_overwritten(emblems, finished):
    before = (finished / "checkpoint.pt").read_bytes()
    with pytest.raises(SimCLRError, match=r"already holds a run: continue it \(resume=True\)"):
        pretrain(emblems, TINY, finished)
    assert (finished / "checkpoint.pt").read_bytes() == before


def test_resuming_nothing_is_an_error(emblems, tmp_path):
    with pytest.raises(SimCLRError, match="no checkpoint to resume"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True), tmp_path / "nothing")


def test_a_batch_larger_than_the_data_set_is_refused(emblems):
    with pytest.raises(SimCLRError, match="batch of 512 is larger than the 110 training images"):
        pretrain(emblems, dataclasses.replace(TINY, batch_size=512))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"epochs": 0}, "at least 1"),
        ({"batch_size": 1}, "no negative"),
        ({"validation": 0.9}, "between 0 and 0.5"),
        ({"base_model": 19}, "Choose one of 18, 34, 50, timm:NAME"),
        ({"base_model": "resnet18"}, "unknown value of base_model 'resnet18'"),
        ({"stem": "cifer"}, "did you mean 'cifar'"),
        ({"optimizer": "lasr"}, "did you mean 'lars'"),
        ({"device": "tpuu"}, "unknown device"),
        ({"precision": "fp8"}, "Choose one of auto, bf16, fp16, fp32"),
        ({"lr": -1.0}, "lr must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay must be between 0 and"),
        ({"warmup_epochs": float("nan")}, "warmup_epochs must be between 0 and 2,147,483,647"),
        ({"view_size": 0}, "view_size must be between 4 and"),
        ({"monitor_every": 0}, "monitor_every must be at least 1"),
    ],
)
def test_bad_settings_give_one_line_that_says_what_to_do(emblems, setting, message):
    with pytest.raises(SimCLRError, match=message) as caught:
        pretrain(emblems, dataclasses.replace(TINY, **setting))
    assert "\n" not in str(caught.value)


def test_views_may_be_smaller_than_images(emblems):
    """`view_size` is the side of what the network is trained on; features are of whole images."""
    smaller = dataclasses.replace(TINY, epochs=1, view_size=20)
    assert TINY.augment(32)(emblems.images[:4]).shape == (4, 3, 32, 32)
    assert smaller.augment(32)(emblems.images[:4]).shape == (4, 3, 20, 20)
    seen: list[tuple[int, ...]] = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].shape) if isinstance(module, ResNet) else None
    )
    encoder = pretrain(emblems, smaller).encoder
    assert extract_features(encoder, emblems).shape == (120, encoder.feature_dim)
    hook.remove()
    assert {shape[-1] for shape in seen} == {20, 32}


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "results.json"])
def test_a_folder_with_other_files_of_these_names_is_left_alone(emblems, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(SimCLRError, match=f"a {name} that would be lost: choose another folder"):
        pretrain(emblems, TINY, tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_run_that_was_killed_before_its_first_step_can_be_resumed(emblems, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "write_atomically", killed)  # the checkpoint is there, config.json is not yet
    with pytest.raises(KeyboardInterrupt):
        pretrain(emblems, TINY, tmp_path)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    pretrain(emblems, dataclasses.replace(TINY, resume=True), tmp_path)
    assert len([m for m in read_metrics(tmp_path) if "loss" in m]) == 18


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_checkpoint_of_an_older_version_resumes_with_defaults_for_newer_settings(
    emblems, finished, precision, monkeypatch
):
    monkeypatch.setattr("simclr_lib.device.fastest_precision", lambda device: precision)
    config = dataclasses.replace(TINY, resume=True, precision=precision)
    state = load_checkpoint(finished)
    for name in ("micro_batch", "loss_chunk", "global_negatives"):
        del state["config"][name]
    state["config"] |= {"optimizer": None, "lr": None, "view_size": None, "precision": "auto"}  # were not resolved
    save_checkpoint(finished / "checkpoint.pt", state)
    pretrain(emblems, config, finished)
    with pytest.raises(SimCLRError, match="micro_batch was None, is 4"):
        pretrain(emblems, dataclasses.replace(config, micro_batch=4), finished)


def test_a_run_with_another_temperature_names_the_setting_that_continues_it(emblems, finished):
    """The default was 0.5 once, so the same command continues an early run only if it says so."""
    state = load_checkpoint(finished)
    state["config"]["temperature"] = 0.5
    save_checkpoint(finished / "checkpoint.pt", state)
    config = dataclasses.replace(TINY, resume=True)
    with pytest.raises(SimCLRError, match=r"temperature was 0.5, is 0.2\): give temperature=0.5, or use"):
        pretrain(emblems, config, finished)
    pretrain(emblems, dataclasses.replace(config, temperature=0.5), finished)


def test_a_supervised_run_of_an_earlier_version_resumes(emblems, tmp_path):
    """Its settings held a temperature, which it did not use, and `contrastive`, which chose LARS."""
    config = dataclasses.replace(TINY, optimizer=None, lr=0.1)
    train_supervised(emblems, dataclasses.replace(config, optimizer="lars"), tmp_path)
    state = load_checkpoint(tmp_path)
    assert state["config"]["contrastive"] is False
    state["config"] |= {"temperature": 0.5, "contrastive": True, "optimizer": None}
    save_checkpoint(tmp_path / "checkpoint.pt", state)
    train_supervised(emblems, dataclasses.replace(config, resume=True), tmp_path)


@pytest.mark.parametrize("setting", [{"global_negatives": False}, {"micro_batch": 4}])
def test_only_simclr_depends_on_the_processes_by_its_negatives_and_micro_batches(emblems, tmp_path, setting):
    config = dataclasses.replace(TINY, epochs=1, **setting)
    for name, train in {"simclr": pretrain, "labels": train_supervised}.items():
        train(emblems, config, tmp_path / name)
        save_checkpoint(tmp_path / name / "checkpoint.pt", {**load_checkpoint(tmp_path / name), "processes": 2})
    again = dataclasses.replace(config, resume=True)
    with pytest.raises(SimCLRError, match="processes were 2, are 1"):
        pretrain(emblems, again, tmp_path / "simclr")
    train_supervised(emblems, again, tmp_path / "labels")


@pytest.mark.parametrize("contrastive", [True, False])
def test_the_function_decides_whether_there_are_labels(emblems, tmp_path, contrastive):
    config = dataclasses.replace(TINY, contrastive=contrastive, optimizer=None, lr=None, epochs=1)
    pretrain(emblems, config, tmp_path / "a")
    train_supervised(emblems, config, tmp_path / "b")
    stored = [json.loads((tmp_path / run / "config.json").read_text())["config"] for run in "ab"]
    assert [(settings["contrastive"], settings["optimizer"]) for settings in stored] == [(True, "lars"), (False, "sgd")]
    assert isinstance(load_pretrained(tmp_path / "a"), SimCLR)


@pytest.mark.parametrize(
    ("name", "value"), [("fit", "pad"), ("bands", (3, 2, 1)), ("levels", (0.0, 9.0)), ("store_size", 64)]
)
def test_images_that_were_read_otherwise_are_refused(emblems, name, value):
    for read in (emblems, dataclasses.replace(emblems, reading=Reading(store_size=32, levels=(0.0, 1.0)))):
        with pytest.raises(SimCLRError, match=f"{name} is .* but these images were read with"):
            pretrain(read, dataclasses.replace(TINY, **{name: value}))


def test_the_settings_of_a_run_say_how_its_images_were_read(emblems, tmp_path):
    padded = dataclasses.replace(emblems, reading=Reading(store_size=32, fit="pad"))
    pretrain(padded, dataclasses.replace(TINY, epochs=1), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["config"]["fit"] == "pad"


@pytest.mark.parametrize("reading", [None, Reading(store_size=32, levels=(0.0, 1.0))])
def test_resuming_corrects_what_an_early_version_said_about_reading(emblems, tmp_path, reading):
    """It stored these settings as they were given, although the images had been read already."""
    read = dataclasses.replace(emblems, reading=reading)
    pretrain(read, TINY, tmp_path)
    state = load_checkpoint(tmp_path)
    state["config"] |= {"fit": "pad", "levels": [0.0, 9.0], "store_size": 64}
    save_checkpoint(tmp_path / "checkpoint.pt", state)
    pretrain(read, dataclasses.replace(TINY, resume=True), tmp_path)
    stored = TrainConfig.from_dict(json.loads((tmp_path / "config.json").read_text())["config"])
    assert stored.reading() == (reading or Reading())


@pytest.mark.parametrize("arguments", [{"watch": print}, {"filmed": True}, {"log": "tensorboard"}])
def test_what_works_on_the_folder_of_a_run_needs_one(emblems, arguments):
    config = dataclasses.replace(TINY, log=arguments.pop("log", None))
    if "filmed" in arguments:
        arguments["filmed"] = emblems
    with pytest.raises(SimCLRError, match=r"(watch|filmed|log) needs run_dir"):
        pretrain(emblems, config, **arguments)


def test_resuming_on_other_classes_is_refused(emblems, finished):
    renamed = dataclasses.replace(emblems, classes=["cat", *emblems.classes[1:]])
    with pytest.raises(SimCLRError, match=r"another configuration \(classes was .*striped.* is \['cat'"):
        pretrain(renamed, dataclasses.replace(TINY, resume=True), finished)


@pytest.mark.parametrize("part", ["model", "optimizer"])
def test_resuming_weights_that_do_not_fit_is_refused(emblems, finished, part):
    state = load_checkpoint(finished)
    del state["format"]
    save_checkpoint(finished / "checkpoint.pt", {**state, part: {"state": {}, "param_groups": []}})
    with pytest.raises(SimCLRError, match="it is damaged"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True), finished)


def test_resuming_a_checkpoint_that_is_not_of_a_run_is_refused(emblems, tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pt", {"head": {}})
    with pytest.raises(SimCLRError, match="is not the checkpoint of a run"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True), tmp_path)


def test_images_without_labels_are_watched_by_those_that_have_some(emblems, tmp_path):
    unlabelled = dataclasses.replace(emblems, labels=torch.full_like(emblems.labels, -1))
    config = dataclasses.replace(TINY, epochs=1)
    pretrain(unlabelled, config, tmp_path / "a", labelled=emblems)
    pretrain(unlabelled, config, tmp_path / "b")
    looks = [[m for m in read_metrics(tmp_path / run) if "validation_knn" in m] for run in "ab"]
    assert [len(of_run) for of_run in looks] == [1, 0]


def test_pretraining_does_not_copy_the_images(emblems, monkeypatch):
    """A memory-mapped set larger than memory can be trained on."""
    seen, real = [], TrainConfig.objective
    monkeypatch.setattr(
        TrainConfig, "objective", lambda self, network, images: seen.append(images) or real(self, network, images)
    )
    pretrain(emblems, dataclasses.replace(TINY, epochs=1))
    assert seen[0].data_ptr() == emblems.images.data_ptr()


def test_one_class_has_nothing_to_be_trained_on_with_labels(emblems):
    one = dataclasses.replace(emblems, labels=torch.zeros_like(emblems.labels))
    with pytest.raises(SimCLRError, match="one class only"):
        train_supervised(one, TINY)


def test_one_class_can_be_pretrained_on(emblems):
    one = emblems.subset((emblems.labels == 0).nonzero().flatten())
    one = dataclasses.replace(one, images=one.images.repeat(2, 1, 1, 1), labels=one.labels.repeat(2))
    model = pretrain(one, dataclasses.replace(TINY, epochs=1, batch_size=8))
    assert not model.training


@pytest.mark.slow
def test_simclr_learns_the_classes_of_emblems_without_labels():
    """The claim of the whole package, at a size that takes seconds: features get better than their random start.

    Nearly grey views close the shortcut by colour, so that every seed begins to learn at once. The kNN accuracy rose
    by 0.2 to 0.4 for each of five seeds, in fp32 with one and with two threads, and in bf16.
    """
    train, test = load_dataset("emblems", "train", limit=1024), load_dataset("emblems", "test", limit=512)
    gray_views = dataclasses.replace(EMBLEMS, width=8, gray_prob=0.9, color_prob=1.0)
    config = dataclasses.replace(
        gray_views, epochs=10, warmup_epochs=2.0, validation=0.0, precision="fp32", device="cpu"
    )

    def score(encoder: ResNet) -> float:
        bank, queries = (extract_features(encoder, part, precision="fp32") for part in (train, test))
        return knn_accuracy(bank, train.labels, queries, test.labels)

    with initial_weights(config.seed):
        before = score(config.encoder(32))
    assert score(pretrain(train, config).encoder) > before + 0.1


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(emblems, tmp_path, monkeypatch):
    """All but the code generation, which is PyTorch's and takes a minute."""
    modes, real = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda net, mode: modes.append(mode) or real(net, backend="eager"))
    few = dataclasses.replace(TINY, epochs=1, lr=1e-5)
    pretrain(emblems, few, tmp_path / "eager")
    pretrain(emblems, dataclasses.replace(few, compile=True), tmp_path / "compiled")
    assert modes == ["default"]
    for a, b in zip(read_metrics(tmp_path / "eager"), read_metrics(tmp_path / "compiled"), strict=True):
        assert a.get("loss") == pytest.approx(b.get("loss"), abs=1e-3)
    assert list(weights(tmp_path / "compiled")) == list(weights(tmp_path / "eager"))
