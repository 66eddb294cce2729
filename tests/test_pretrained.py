"""The weights that come with the package are small, load like a run, and are as good as said."""

from dataclasses import replace

import pytest
import torch

from simclr_lib import extract_features, knn_accuracy, load_dataset
from simclr_lib.authoring.bundle import bundle
from simclr_lib.errors import SimCLRError
from simclr_lib.teaching.profiles import EMBLEMS, load_profile
from simclr_lib.training import load_pretrained, load_run, pretrain
from simclr_lib.training.pretrained import WEIGHTS


def test_the_bundled_weights_know_emblems():
    model = load_pretrained("emblems-resnet18", "cpu")
    train, test = load_dataset("emblems", "train", limit=1000), load_dataset("emblems", "test", limit=300)
    features = [extract_features(model.encoder, part, precision="fp32") for part in (train, test)]
    assert knn_accuracy(features[0], train.labels, features[1], test.labels) > 0.9
    assert not model.training


def test_they_are_under_six_megabytes_and_of_the_notebooks_recipe():
    file = WEIGHTS / "emblems-resnet18.pt"
    assert file.stat().st_size < 6_000_000
    _, config = load_run(file, torch.device("cpu"))
    assert config.to_dict() == EMBLEMS.to_dict()


def test_a_run_is_bundled_in_half_precision(tmp_path):
    emblems = load_dataset("emblems", limit=64)
    config = replace(EMBLEMS, width=4, epochs=1, device="cpu", validation=0.0)
    model = pretrain(emblems, config, tmp_path / "run")
    bundle(tmp_path / "run", tmp_path / "small.pt")
    small = load_pretrained(tmp_path / "small.pt", "cpu")
    assert (tmp_path / "small.pt").stat().st_size < (tmp_path / "run" / "checkpoint.pt").stat().st_size / 2
    for a, b in zip(model.state_dict().values(), small.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_weights_that_are_not_there_are_named():
    with pytest.raises(SimCLRError, match="no checkpoint at emblems-resnet19"):
        load_pretrained("emblems-resnet19")


def test_profiles_are_found_by_name(tmp_path, monkeypatch):
    assert load_profile("quick").recipe == EMBLEMS
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SimCLRError, match="run notebook 03"):
        load_profile("full").pretrained()
    with pytest.raises(SimCLRError, match="unknown profile 'quik'"):
        load_profile("quik")
