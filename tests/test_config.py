"""A recipe is resolved once: what is stored is what was used, and what cannot be meant is refused at once."""

import dataclasses
import enum
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from simclr_lib import SimCLRError, TrainConfig, load_dataset, pretrain
from simclr_lib.config import RECIPE, Recipe
from simclr_lib.data import Reading
from simclr_lib.optim import default_lr
from simclr_lib.recipes import DIGITS
from simclr_lib.training import load_checkpoint, save_checkpoint

TINY = TrainConfig(
    dataset="emblems", limit=60, width=4, projection_hidden=16, projection_dim=8, batch_size=16, epochs=1, device="cpu"
)


@pytest.fixture
def emblems():
    return load_dataset("emblems", "train", limit=60)


def test_the_views_of_digits_are_not_mirrored():
    assert (TrainConfig().augment(32).flip_prob, DIGITS.augment(16).flip_prob) == (0.5, 0.0)


def test_a_resolved_recipe_leaves_nothing_open():
    small, large = TrainConfig().resolved(32, torch.device("cpu")), TrainConfig().resolved(96, torch.device("cpu"))
    assert (small.stem, small.view_size, small.blur_prob) == ("cifar", 32, 0.0)
    assert (large.stem, large.view_size, large.blur_prob) == ("imagenet", 96, 0.5)
    assert (small.optimizer, small.lr, small.warmup_epochs) == ("lars", default_lr("lars", 512), 10.0)
    assert small.precision in ("bf16", "fp32")
    assert (small.image_size, large.image_size) == (32, 96)
    # None means: all, random, in one piece, the colours. These images are not from files, whose size is chosen.
    open_by_meaning = {"limit", "init", "micro_batch", "bands", "store_size", "levels"}
    assert {name for name in RECIPE if getattr(small, name) is None} == open_by_meaning
    assert small.resolved(96) == small  # what is chosen stays


def test_a_run_that_left_its_learning_rate_open_keeps_the_default_of_its_time():
    older = {"batch_size": 512, "lr": None, "optimizer": None}
    assert TrainConfig.from_dict(older).resolved(32).lr == 2.0
    assert TrainConfig.from_dict({**older, "contrastive": False}).resolved(32).lr == default_lr("sgd", 512)
    assert TrainConfig.from_dict({**older, "lr": 4.0}).lr == 4.0


def test_with_labels_the_default_optimiser_is_sgd():
    supervised = TrainConfig(contrastive=False).resolved(32)
    assert (supervised.optimizer, supervised.lr) == ("sgd", default_lr("sgd", 512))


def test_a_run_stores_the_values_that_it_used(emblems, tmp_path):
    pretrain(emblems, TINY, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())["config"]
    assert stored == load_checkpoint(tmp_path)["config"]
    assert stored["optimizer"] == "lars"
    assert stored["lr"] == default_lr("lars", 16)
    assert stored["stem"] == "cifar"
    assert stored["view_size"] == 32
    assert stored["precision"] in ("bf16", "fp32")


def test_what_a_resumed_run_leaves_open_is_taken_from_the_run(emblems, tmp_path):
    """Also where this version, or this machine, would choose otherwise."""
    chosen = dataclasses.replace(TINY, lr=0.01, blur_prob=0.25, optimizer="adam", precision="bf16", epochs=1)
    pretrain(emblems, chosen, tmp_path)
    pretrain(emblems, dataclasses.replace(TINY, resume=True), tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())["config"]
    assert [stored[name] for name in ("lr", "blur_prob", "optimizer", "precision")] == [0.01, 0.25, "adam", "bf16"]
    with pytest.raises(SimCLRError, match=r"lr was 0\.01, is 0\.02"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True, lr=0.02), tmp_path)


def test_where_and_how_may_change_when_a_run_is_resumed(emblems, tmp_path):
    pretrain(emblems, TINY, tmp_path)
    elsewhere = {"data_dir": Path("elsewhere"), "checkpoint_seconds": 5.0, "loss_chunk": 8, "timeout": 7.0}
    pretrain(emblems, dataclasses.replace(TINY, resume=True, **elsewhere), tmp_path)


def test_a_recipe_holds_what_decides_the_result_and_nothing_else():
    where_and_how = {field.name for field in dataclasses.fields(TrainConfig)} - set(RECIPE)
    assert where_and_how == {
        *("data_dir", "images", "labels", "download", "loss_chunk", "compile", "device", "run_dir", "resume"),
        *("checkpoint_seconds", "timeout", "log", "tensorboard", "max_pixels"),
    }
    assert issubclass(TrainConfig, Recipe)


# --- plain values


class Stems(enum.Enum):
    FAST = "fast"


def test_settings_become_plain_values(emblems, tmp_path):
    config = TrainConfig(
        lr=np.logspace(-1, 0, 3)[1], epochs=np.int64(1), temperature=np.float32(0.5), stem=Stems.FAST,
        blur_sigma=np.array([0.1, 2.0]), data_dir="~/photos", download=np.bool_(False), weight_decay=0,
    )  # fmt: skip
    assert [type(config.lr), type(config.epochs), type(config.temperature)] == [float, int, float]
    assert (config.stem, config.blur_sigma, config.download) == ("fast", (0.1, 2.0), False)
    assert config.data_dir == Path.home() / "photos"
    assert type(config.weight_decay) is float
    merged = dataclasses.replace(TINY, lr=np.float64(0.01), epochs=np.int64(1))
    pretrain(emblems, merged, tmp_path)
    assert TrainConfig.from_dict(load_checkpoint(tmp_path)["config"]).lr == 0.01


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 2.5}, "epochs must be a whole number, not 2.5"),
        ({"epochs": "3"}, "epochs must be a whole number, not '3'"),
        ({"epochs": True}, "epochs must be a whole number, not True"),
        ({"epochs": None}, "epochs must be a whole number, not None"),
        ({"lr": "0.1"}, "lr must be a number, not '0.1'"),
        ({"lr": [0.1]}, r"lr must be a number, not \[0.1\]"),
        ({"stem": 3}, "stem must be text, not 3"),
        ({"download": "no"}, "download must be True or False, not 'no'"),
        ({"blur_sigma": 2.0}, "blur_sigma must be 2 numbers, not 2.0"),
        ({"blur_sigma": (1, 2, 3)}, "blur_sigma must be 2 numbers"),
        ({"data_dir": 3}, "data_dir must be a path, not 3"),
        ({"base_model": 18.5}, "base_model must be a whole number or text, not 18.5"),
    ],
)
def test_a_value_of_another_type_is_refused_when_it_is_given(setting, message):
    with pytest.raises(SimCLRError, match=message):
        TrainConfig(**setting)


NUMBERS = [
    name
    for name in (field.name for field in dataclasses.fields(TrainConfig))
    if type(getattr(TrainConfig(), name)) in (int, float) or name in ("limit", "image_size", "lr", "warmup_epochs")
]


@pytest.mark.parametrize("value", [-1, 2**70, 1e308, float("nan"), float("-inf")])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_range_is_refused_in_one_line(name, value):
    if (name, value) in {("temperature", 1e308), ("temperature", 2**70), ("checkpoint_seconds", 1e308),
                         ("checkpoint_seconds", 2**70)}:  # fmt: skip
        return  # these have no upper end
    with pytest.raises(SimCLRError, match=name) as caught:
        TrainConfig(**{name: value}).check()
    assert "\n" not in str(caught.value)


# --- nothing is ignored


def test_pretrain_takes_its_folder_from_the_settings_too(emblems, tmp_path):
    pretrain(emblems, dataclasses.replace(TINY, run_dir=tmp_path / "run"))
    assert (tmp_path / "run" / "checkpoint.pt").exists()


def test_resuming_without_a_folder_is_an_error(emblems):
    with pytest.raises(SimCLRError, match="resume=True needs run_dir"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True))


@pytest.mark.parametrize(("setting", "message"), [({"limit": 50}, "limit is 50"), ({"image_size": 16}, "have 32")])
def test_settings_that_the_images_do_not_follow_are_refused(emblems, setting, message):
    with pytest.raises(SimCLRError, match=message):
        pretrain(emblems, dataclasses.replace(TINY, **setting))


def test_a_checkpoint_with_settings_of_another_kind_is_refused(emblems, tmp_path):
    pretrain(emblems, TINY, tmp_path)
    state = load_checkpoint(tmp_path)
    save_checkpoint(tmp_path / "checkpoint.pt", {**state, "config": {**state["config"], "width": "wide"}})
    with pytest.raises(SimCLRError, match="width must be a whole number"):
        pretrain(emblems, dataclasses.replace(TINY, resume=True), tmp_path)


@pytest.mark.parametrize(("device", "compiled"), [("cpu", False), ("cuda", True)])
def test_compile_compiles_the_views_on_a_gpu_only(device, compiled, monkeypatch):
    programs = []
    monkeypatch.setattr(torch, "compile", lambda program, **_: programs.append(program) or program)
    config = TrainConfig(compile=True)
    assert config.augment_on(torch.device(device), 32) == config.augment(32)
    assert len(programs) == compiled
    TrainConfig(compile=False).augment_on(torch.device(device), 32)
    assert len(programs) == compiled


def test_how_images_are_read_is_not_taken_from_an_earlier_run():
    """Early versions stored levels that their images, of 8 bits, did not need."""
    earlier = TrainConfig(levels=(0.0, 4095.0), view_size=24)
    resolved = TrainConfig().resolved(32, earlier=earlier, reading=Reading())
    assert (resolved.levels, resolved.view_size) == (None, 24)
