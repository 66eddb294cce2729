"""A sweep leaves the test images alone where it is asked to, and repeats nothing when it goes on."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
import torch
from tiny import TINY

from simclr_lib.commands.sweep import sweep
from simclr_lib.config import TrainConfig
from simclr_lib.data import load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.experiments import sweeps
from simclr_lib.experiments.rows import kept_rows
from simclr_lib.files import ROWS
from simclr_lib.losses import nt_xent
from simclr_lib.recipes import EMBLEMS
from simclr_lib.results import Result, summary
from simclr_lib.seeding import initial_weights
from simclr_lib.settings import SweepConfig
from simclr_lib.training.run_folder import locked

QUICK = replace(TINY, limit=None, epochs=1, validation=0.0)


@pytest.fixture
def trained(monkeypatch):
    """Pretraining and evaluation that take no time: the (variant's temperature, seed, images) that were trained."""
    done = []

    def pretrain(train, config):
        done.append((config.temperature, config.seed, len(train)))
        return sweeps.SimCLR(None, None)

    def evaluate_encoder(encoder, config, train, test):
        return {"labels_all": summary([config.temperature * len(test) / 1000])}, None, None

    monkeypatch.setattr(sweeps, "pretrain", pretrain)
    monkeypatch.setattr(sweeps, "evaluate_encoder", evaluate_encoder)
    return done


def config(out, **settings):
    chosen = {"seeds": (0,), "images": 64, **settings}
    return SweepConfig("temperature", epochs=1, device="cpu", out=out, **chosen)


def test_recipes_for_photographs_are_those_around_the_default():
    base = TrainConfig(dataset="imagefolder")
    variants = sweeps.SWEEPS["recipes"].variants(base)
    assert list(variants) == [
        "LARS 4",
        "LARS 8",
        "SGD 0.24",
        "τ = 0.1",
        "τ = 0.5",
        "batch 256",
        "batch 1024",
        "3 layers",
    ]
    assert variants["LARS 4"] == base
    assert {variants[name].lr for name in ("LARS 8", "batch 1024")} == {8.0}
    assert (variants["batch 256"].lr, variants["SGD 0.24"].optimizer) == (2.0, "sgd")
    assert variants["3 layers"].projection_layers == 3


def test_recipes_around_another_one_change_one_thing_each():
    variants = sweeps.SWEEPS["recipes"].variants(EMBLEMS)
    assert {"SGD 0.4", "SGD 0.8", "τ = 0.1", "τ = 0.5", "3 layers"} <= set(variants)
    assert any(variant.optimizer == "lars" for variant in variants.values())


def test_a_rate_in_proportion_to_the_temperature_cancels_the_factor_of_the_gradient():
    variants = sweeps.SWEEPS["temperature-rate"].variants(EMBLEMS)
    matched = [variant for name, variant in variants.items() if "rate" in name]
    assert [variant.lr / variant.temperature for variant in matched] == pytest.approx([2.0] * 4)  # 0.4 / 0.2
    z = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sharp, soft = (torch.autograd.grad(tau * nt_xent(*z.unbind(), tau), z)[0].norm() for tau in (1e3, 1e4))
    assert sharp == pytest.approx(float(soft), rel=1e-2)  # τ times the gradient does not grow any more


def test_both_optimizers_are_tried_at_their_best_rate_and_at_two_on_either_side():
    variants = sweeps.SWEEPS["optimizers"].variants(EMBLEMS)
    for name, best in {"sgd": 0.4, "lars": 4.0}.items():
        rates = [variant.lr for variant in variants.values() if variant.optimizer == name]
        assert rates == pytest.approx([best / 4, best / 2, best, 2 * best, 4 * best])


@pytest.fixture(scope="module")
def emblems():
    return load_dataset("emblems", "train", limit=48)


def test_a_model_that_is_pretrained_in_one_part_is_that_of_pretrain(emblems):
    recipe = replace(QUICK, epochs=2)
    with initial_weights(recipe.seed):
        model = recipe.simclr(emblems.image_size)
    in_parts = sweeps.pretrained_in_parts(model, emblems, recipe)
    usual = sweeps.pretrain(emblems, recipe)
    for own, other in zip(in_parts.parameters(), usual.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def test_batch_norm_alone_takes_the_place_of_the_head(emblems):
    model = sweeps.pretrained_without_head(emblems, replace(QUICK, projection_layers=0))
    h, z = model.train()(emblems.images.float() / 255)
    torch.testing.assert_close(z, torch.nn.functional.batch_norm(h, None, None, training=True))
    assert not list(model.projector.parameters())
    assert not model.encoder(emblems.images.float() / 255).allclose(z)


def test_held_out_training_images_take_the_place_of_the_test_images(tmp_path, trained, monkeypatch):
    loaded = []
    load_splits = sweep.__globals__["load_splits"]

    def load(name, limits, *arguments, **settings):
        loaded.extend(limits)
        return load_splits(name, limits, *arguments, **settings)

    monkeypatch.setattr("simclr_lib.commands.sweep.load_splits", load)
    sweep(config(tmp_path / "out", held_out=0.25, images=80), recipe=QUICK)
    file = Result.read(tmp_path / "out" / "results.json")
    assert loaded == ["train"]
    assert (file.num_train, file.num_test) == (60, 20)
    assert "accuracy on images held out" in file.what
    assert all(images == 60 for *_, images in trained)


def test_only_the_variants_that_were_named_are_compared(tmp_path, trained):
    sweep(config(tmp_path / "out", only=("τ = 0.1", "τ = 1")), recipe=QUICK)
    assert list(Result.read(tmp_path / "out" / "results.json").results) == ["SimCLR, τ = 0.1", "SimCLR, τ = 1"]
    with pytest.raises(SimCLRError, match="unknown variant 'τ = 3'"):
        sweep(config(tmp_path / "other", only=("τ = 3",)), recipe=QUICK)


def test_a_sweep_that_was_interrupted_goes_on_and_repeats_nothing(tmp_path, trained, monkeypatch):
    pretrain = sweeps.pretrain

    def interrupted(train, config):
        if len(trained) == 7:
            raise KeyboardInterrupt
        return pretrain(train, config)

    out = tmp_path / "out"
    monkeypatch.setattr(sweeps, "pretrain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(config(out, seeds=(0, 1)), recipe=QUICK)
    assert not (out / "results.json").exists()
    with pytest.raises(SimCLRError, match="unfinished sweep"):
        sweep(config(out, seeds=(0, 1)), recipe=QUICK)
    with pytest.raises(SimCLRError, match="a sweep with another weight_decay"):
        sweep(config(out, seeds=(0, 1), resume=True), recipe=replace(QUICK, weight_decay=0.5))
    rows = json.loads((out / ROWS).read_text())
    (out / ROWS).write_text(json.dumps({**rows, "seconds": 5000}))  # the first part took so long

    monkeypatch.setattr(sweeps, "pretrain", pretrain)
    sweep(config(out, seeds=(0, 1), resume=True), recipe=QUICK)
    assert len(trained) == len(set(trained)) == 10  # five temperatures, two seeds
    sweep(config(tmp_path / "whole", seeds=(0, 1)), recipe=QUICK)
    parts, whole = (json.loads((folder / "results.json").read_text()) for folder in (out, tmp_path / "whole"))
    assert parts["results"] == whole["results"]
    assert whole["seconds"] < 5000 <= parts["seconds"]
    assert not (out / ROWS).exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"identity": 3, "seeds": {}}', "\udcff"])
def test_damaged_rows_are_named(tmp_path, trained, content):
    (tmp_path / ROWS).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SimCLRError, match=r"rows\.json is damaged: delete it"):
        sweep(config(tmp_path, resume=True), recipe=QUICK)


def test_one_process_at_a_time_writes_to_the_folder_of_a_sweep(tmp_path, trained):
    with locked(tmp_path), pytest.raises(SimCLRError, match=f"process {os.getpid()} on .* writes to"):
        sweep(config(tmp_path), recipe=QUICK)
    sweep(config(tmp_path), recipe=QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_sweep_that_began_in_between_is_noticed(tmp_path):
    with kept_rows(tmp_path, {}, resume=False) as rows:
        rows.add(0, ["τ = 1"], {})
    with pytest.raises(SimCLRError, match="unfinished sweep"), kept_rows(tmp_path, {}, resume=False):
        pass


def test_there_must_be_a_sweep_to_go_on_with(tmp_path):
    with pytest.raises(SimCLRError, match="no sweep to resume"):
        sweep(config(tmp_path / "out", resume=True), recipe=QUICK)
    with pytest.raises(SimCLRError, match="needs out=FOLDER"):
        sweep(config(None, resume=True), recipe=QUICK)
