"""Data sets of the Hugging Face Hub, made on disk: their columns and splits, and what is said where they lack."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from simclr_lib.cli import main
from simclr_lib.data import load_dataset, load_parts
from simclr_lib.errors import SimCLRError

CLASSES = ["zebra", "ant"]  # not in the order of the alphabet, in which folders of images have them


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMCLR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SIMCLR_DATA", str(tmp_path / "data"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A function that makes a data set on disk, of splits with so many grey images, and returns its name."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")

    def make(labels=CLASSES, images="picture", **splits):
        for name, classes in splits.items():
            columns = {"id": list(range(len(classes)))}
            features = {"id": datasets.Value("int64")}
            if images:
                columns[images] = [Image.fromarray(np.full((8, 8, 3), i, np.uint8)) for i in range(len(classes))]
                features[images] = datasets.Image()
            if labels:
                columns["animal"] = classes
                features["animal"] = datasets.ClassLabel(names=labels)
            part = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
            (tmp_path / "hub").mkdir(exist_ok=True)
            part.to_parquet(tmp_path / "hub" / f"{name}-00000-of-00001.parquet")
        return f"hf:{tmp_path}/hub"

    return make


def test_images_and_classes_are_found_by_the_types_of_their_columns(hub):
    name = hub(train=[0, 1, 1, 0], test=[1])
    data = load_parts(name, download=True)
    assert data["train"].images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert data["train"].images.shape == (4, 3, 8, 8)
    assert data["train"].label_names == ["zebra", "ant", "ant", "zebra"]
    assert data["test"].label_names == ["ant"]


def test_what_was_fetched_once_needs_neither_network_nor_package(hub, monkeypatch):
    name = hub(train=[0, 1], test=[1])
    first = load_dataset(name, download=True)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert torch.equal(load_dataset(name).images, first.images)


def test_validation_images_test_where_the_test_images_have_no_labels(hub):
    data = load_parts(hub(train=[0, 1], validation=[0, 1, 1], test=[-1, -1]), download=True)
    assert data["test"].label_names == ["zebra", "ant", "ant"]


def test_without_a_test_split_some_of_the_images_are_for_testing(hub):
    data = load_parts(hub(train=[0, 1] * 20), download=True)
    assert len(data["train"]) + len(data["test"]) == 40
    assert 1 <= len(data["test"]) <= 16


def test_images_without_labels_are_all_for_training(hub):
    name = hub(labels=None, train=[0] * 6)
    assert len(load_parts(name, download=True)["train"]) == 6
    with pytest.raises(SimCLRError, match="hub has no test part"):
        load_dataset(name, "test")


def test_a_limit_and_a_size_hold_as_for_every_data_set(hub):
    data = load_dataset(hub(train=[0, 1] * 5, test=[0]), limit=4, image_size=16, download=True)
    assert data.labels.bincount().tolist() == [2, 2]
    assert data.image_size == 16


def test_a_run_can_be_trained_on_it(hub, tmp_path):
    options = "--base-model 18 --width 4 --epochs 1 --batch-size 4 --limit 8 --device cpu --projection-hidden 8"
    words = ["train", "--dataset", hub(train=[0, 1] * 8, test=[0, 1] * 4), *options.split()]
    assert main([*words, "--run-dir", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "results.json").exists()


def test_a_set_without_images_says_which_columns_it_has(hub):
    with pytest.raises(SimCLRError, match="has no column of images, but id, animal: choose another data set"):
        load_dataset(hub(images=None, train=[0, 1]), download=True)


def test_splits_without_a_training_part_are_named(hub):
    with pytest.raises(SimCLRError, match="has the splits validation, test, and none is called train"):
        load_dataset(hub(validation=[0, 1], test=[0, 1]), download=True)


def test_nothing_is_fetched_unasked(tmp_path):
    with pytest.raises(SimCLRError, match=r"hf:ylecun/mnist is not in .*data: .*fetch it with download=True"):
        load_dataset("hf:ylecun/mnist")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SimCLRError, match="pip install datasets"):
        load_dataset("hf:ylecun/mnist", download=True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no route to the hub"), r'no network: hf:a/b .*no route to the hub.*dataset="emblems"'),
        (ValueError("Config name is missing"), r"hf:a/b cannot be loaded \(Config name is missing\): check its name"),
    ],
)
def test_a_set_that_cannot_be_had_says_what_to_do(monkeypatch, error, message):
    datasets = pytest.importorskip("datasets")

    def unreachable(*args):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(SimCLRError, match=message):
        load_dataset("hf:a/b", download=True)
