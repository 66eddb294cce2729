"""The command line does what its help says, and every mistake gets one line that says what to do."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import os
import re
import shutil
import urllib.error
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simclr_lib.choices import SWEEP_NAMES
from simclr_lib.cli import main, parse
from simclr_lib.commands.checkpoint import open_run
from simclr_lib.commands.common import Steps
from simclr_lib.commands.demo import DemoBudget, demo
from simclr_lib.commands.sweep import sweep
from simclr_lib.config import TrainConfig
from simclr_lib.data import ImageDataset, Reading, load_dataset
from simclr_lib.errors import shown
from simclr_lib.evaluation import SHIFTS, Film, extract_features, votes_of_labelled
from simclr_lib.experiments.sweeps import SWEEPS, Budget, overview
from simclr_lib.recipes import SHORT
from simclr_lib.results import Result
from simclr_lib.seeding import seeded
from simclr_lib.settings import DemoConfig, SweepConfig
from simclr_lib.teaching.demo_report import Drawn
from simclr_lib.teaching.page import PREVIEW_SIZE
from simclr_lib.teaching.report import Section
from simclr_lib.training import (
    Interrupted,
    StoredRun,
    fine_tune,
    load_checkpoint,
    load_classifier,
    new_folder,
    save_checkpoint,
)

TINY = [
    *("--stem", "fast", "--width", "4", "--projection-hidden", "16", "--projection-dim", "8"),
    *("--batch-size", "16", "--epochs", "1", "--limit", "120"),
]


pytestmark = pytest.mark.usefixtures("one_penalty")


@pytest.fixture(autouse=True)
def narrow_networks(monkeypatch):
    """Demo and sweeps take a quarter of the width: these tests are about what they write, not about what is learned."""
    for name, recipes in {
        "simclr_lib.commands.demo": ("DEMO", "DEMO_SUPERVISED"),
        "simclr_lib.teaching.demo_report": ("DEMO",),
        "simclr_lib.commands.sweep": ("SHORT",),
        "simclr_lib.experiments.sweeps": ("EMBLEMS_SUPERVISED",),
    }.items():
        module = importlib.import_module(name)
        for recipe in recipes:
            monkeypatch.setattr(module, recipe, replace(getattr(module, recipe), width=8))


def without_timing(patch):
    """The estimate of a training's time takes steps of its own; it is tested once."""
    patch.setattr("simclr_lib.commands.train.seconds_of_steps", lambda *_: (0.0, 0.01))
    patch.setattr("simclr_lib.commands.demo.median_seconds", lambda *_: 0.1)


@pytest.fixture(autouse=True)
def no_timing(request, monkeypatch):
    if "estimate" not in request.node.name:
        without_timing(monkeypatch)


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path, monkeypatch):
    """New folders below ``runs`` are made in a temporary folder."""
    monkeypatch.chdir(tmp_path)


def fails(capsys, *arguments: str) -> str:
    """Run a command that must fail; returns the one line that it printed."""
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("simclr: error: ")
    assert "\n" not in error
    assert "Traceback" not in error
    return error


@pytest.fixture(scope="module")
def trained_once(one_penalty, tmp_path_factory):
    """The folder of a run on emblems, and what the command printed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        without_timing(patch)
        assert main(["train", "--dataset", "emblems", *TINY, "--run-dir", str(folder)]) == 0
    return folder, printed.getvalue()


@pytest.fixture
def trained(trained_once, tmp_path):
    """A copy of that folder, which a test may change."""
    return shutil.copytree(trained_once[0], tmp_path / "run")


def test_train_pretrains_and_reports_beside_the_baselines(trained_once):
    run, printed = trained_once
    results = json.loads((run / "results.json").read_text())
    assert set(results["results"]) == {"SimCLR", "random encoder", "pixels"}
    assert {"knn", "labels_10", "labels_all", "labels_all_sgd"} <= set(results["results"]["SimCLR"])
    assert "all labels" in printed
    head = load_checkpoint(run / "output_head.pt")
    assert head["head"]["weight"].shape == (10, 32)


def test_a_run_says_what_it_will_use_and_an_estimate_before_it_trains(tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise Interrupted("stopped")

    monkeypatch.setattr("simclr_lib.commands.train.pretrain", stop)
    assert main(["train", "--dataset", "emblems", *TINY, "--device", "cpu", "--run-dir", str(tmp_path / "run")]) == 130
    out = capsys.readouterr().out
    assert "optimizer lars, lr 0.125" in out  # nobody chose them
    assert "estimated time: less than a minute" in out


@pytest.mark.parametrize("flag", [["--no-contrastive"], ["--contrastive", "False"], ["--contrastive=false"]])
def test_without_contrastive_it_trains_with_labels(tmp_path, flag):
    assert main(["train", *flag, "--dataset", "emblems", *TINY, "--run-dir", str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results["results"]) == {"supervised"}
    assert results["config"]["optimizer"] == "sgd"  # by default


def test_base_model_50_switches_the_network(tmp_path):
    options = ["--dataset", "emblems", "--base-model", "50", *TINY, "--limit", "40", "--run-dir", str(tmp_path)]
    assert main(["train", "--no-contrastive", *options]) == 0
    assert "encoder.layer1.0.conv3.weight" in load_checkpoint(tmp_path)["model"]


def test_train_without_options_is_simclr_on_cifar10_with_resnet18():
    config = TrainConfig()
    assert (config.contrastive, config.dataset, config.base_model) == (True, "cifar10", 18)
    assert config.encoder(32).conv1.stride == (1, 1)
    assert config.loop().optimizer == "lars"
    assert TrainConfig(contrastive=False).loop().optimizer == "sgd"


def table(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(file, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
def test_twelve_loose_photos_can_be_trained_on_embedded_searched_predicted_and_exported(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("simclr_lib.device.fastest_precision", lambda device: "fp32")  # like the exported encoder
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, image in enumerate(load_dataset("emblems", limit=12).images):
        size = (40 + number, 60)  # as photographs are: neither square nor of one size
        Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size).save(photos / f"IMG {number} é.jpg")
    run, out = tmp_path / "run", tmp_path / "out"
    options = [*TINY, "--batch-size", "4", "--limit", "None", "--run-dir", str(run)]
    assert main(["train", "--images", str(photos), "--labels", "none", *options]) == 0
    printed = capsys.readouterr()
    assert "validation" not in printed.out  # there is none without labels
    assert "12 training images; no labels" in printed.out
    assert "the images have no labels to test the features with" in printed.out
    results = Result.read(run / "results.json")
    assert (results.num_train, results.num_test, results.results) == (12, 0, {})
    assert main(["embed", str(run), "--method", "pca", "--out", str(out)]) == 0
    names = [f"IMG {number} é.jpg" for number in range(12)]
    rows = table(out / "embeddings.csv")
    assert sorted(row["file"] for row in rows) == sorted(names)
    with np.load(out / "embeddings.npz") as saved:
        assert saved["files"].tolist() == [row["file"] for row in rows]
        assert np.allclose(saved["xy"], [(float(row["x"]), float(row["y"])) for row in rows], atol=1e-4)
        assert saved["h"].shape == (12, 32)
    page = (out / "explorer.html").read_text(encoding="utf-8")
    assert all(name in page or name.encode("unicode_escape").decode() in page for name in names)

    copy = photos / "a copy.jpg"
    copy.write_bytes((photos / names[3]).read_bytes())
    assert main(["search", str(run), str(copy), "--count", "4", "--out", str(out)]) == 0
    found = table(out / "search.csv")
    assert [row["rank"] for row in found] == ["1", "2", "3", "4"]
    assert found[0]["file"] == names[3]
    assert float(found[0]["similarity"]) > 0.999
    assert (out / "search.html").read_text(encoding="utf-8").count("<img") == 5
    assert main(["embed", str(run), "--method", "pca", "--out", str(out)]) == 0
    assert [(row["file"], row["other"]) for row in table(out / "duplicates.csv")] == [(names[3], copy.name)]
    copy.unlink()

    copies = {f"copy {number}.jpg": names[number] for number in range(4)}
    for name, original in copies.items():
        (photos / name).write_bytes((photos / original).read_bytes())
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(f"{name},{'dog' if i % 2 else 'cat'}" for i, name in enumerate(names[:4])), "utf-8")
    capsys.readouterr()
    assert main(["predict", str(run), "--labels", str(labels), "--out", str(tmp_path / "found.csv")]) == 0
    printed = capsys.readouterr().out
    assert "the 2 nearest of 4 labelled images vote on each image" in printed
    assert f"{photos}: 16 images (12 without a label); 2 classes" in printed  # not divided into parts
    predicted = {row["file"]: row for row in table(tmp_path / "found.csv")}
    assert sorted(predicted) == sorted([*names, *copies])
    assert [predicted[name]["label"] for name in copies] == ["cat", "dog", "cat", "dog"]
    with np.load(out / "embeddings.npz") as saved:
        h = dict(zip(saved["files"].tolist(), torch.from_numpy(saved["h"]), strict=True))
    known = torch.tensor([0, 1, 0, 1])
    votes = votes_of_labelled(torch.stack([h[name] for name in names]), torch.cat([known, torch.full((8,), -1)]))
    shares = votes.amax(dim=1).tolist()
    assert [float(predicted[name]["probability"]) for name in names] == pytest.approx(shares, abs=1e-3)
    for name in copies:
        (photos / name).unlink()
    assert main(["export", str(run), "--to", "torch", "--out", str(tmp_path / "encoder.pt2")]) == 0
    encoder = torch.export.load(tmp_path / "encoder.pt2").module()
    images = load_dataset("imagefolder", "all", photos, labels="none")
    with torch.no_grad():
        features = encoder(images.whole(slice(None)) / 255)
    assert torch.allclose(features, torch.stack([h[file] for file in images.files]), atol=1e-4)
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert "SimCLR on photos" in (tmp_path / "page.html").read_text(encoding="utf-8")

    capsys.readouterr()
    assert "there is no output head" in fails(capsys, "predict", str(run))
    assert "no test part: no image has a label" in fails(capsys, "evaluate", str(run))
    # The labels were a choice about the photos, and other images have their own.
    assert main(["evaluate", str(run), "--dataset", "emblems", "--limit", "40"]) == 0


@pytest.mark.slow
def test_evaluate_and_embed_read_the_checkpoint(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("simclr_lib.experiments.comparison.fine_tune", partial(fine_tune, epochs=3))
    options = ["--limit", "120", "--fine-tune", "--budgets", "3", "10"]
    assert main(["evaluate", str(trained / "checkpoint.pt"), *options]) == 0
    printed = capsys.readouterr().out
    assert "fine-tuned" in printed
    assert "3 per class" in printed
    assert json.loads((trained / "evaluation.json").read_text())["num_train"] == 120
    assert main(["embed", str(trained), "--method", "pca", "--limit", "60", "--out", str(tmp_path / "e")]) == 0
    with np.load(tmp_path / "e" / "embeddings.npz") as saved:
        assert [saved[name].shape for name in ("files", "labels", "h", "z", "xy")] == [
            (60,),
            (60,),
            (60, 32),
            (60, 8),
            (60, 2),
        ]
    assert '"film": null' in (tmp_path / "e" / "explorer.html").read_text()  # it is of other images
    assert main(["embed", str(trained), "--method", "pca", "--out", str(tmp_path / "e")]) == 0
    assert '"captions": ["epoch 0", "epoch 1"' in (tmp_path / "e" / "explorer.html").read_text()
    # A checkpoint that was trained on a GPU is evaluated without one.
    state = load_checkpoint(trained)
    del state["format"]
    save_checkpoint(tmp_path / "gpu" / "checkpoint.pt", {**state, "config": {**state["config"], "device": "cuda:9"}})
    assert main(["evaluate", str(tmp_path / "gpu"), "--limit", "40", "--device", "cpu"]) == 0
    assert Image.open(tmp_path / "e" / "embedding.png").size[0] > 300


def demo_of_seconds(out, seeds=(0,)):
    """A demo with as little of everything as possible."""
    budget = DemoBudget(labels=(10,), steps=2, supervised_epochs=1, filmed=60)
    demo(DemoConfig(images=200, epochs=1, seeds=seeds, out=out, device="cpu"), budget)


@pytest.mark.slow
def test_demo_leaves_a_self_contained_report(tmp_path, capsys):
    out = tmp_path / "demo"
    demo_of_seconds(out, seeds=(0, 1))
    results = json.loads((out / "results.json").read_text())
    assert set(results["results"]) == {"SimCLR", "random encoder", "pixels", "supervised"}
    assert len(results["results"]["supervised"]["labels_10"]["values"]) == 2
    assert {"supervised", "resumed", "trustworthiness"} <= set(results)
    assert {"drawing emblems", "pretraining", "evaluation", "supervised", "report", "total"} == set(results["seconds"])
    assert results["complete"]
    page = (out / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert not re.findall(r"""src="?http|<link[^>]*http|@import|\burl\(""", page)
    assert '<a href="https://arxiv.org/abs/2002.05709">' in page
    assert '<meta property="og:image" content="report.png">' in page
    assert Image.open(out / "report.png").size == PREVIEW_SIZE
    assert Image.open(out / "report.gif").n_frames == 5
    assert page.count('prefers-color-scheme: dark)" srcset=') == 6
    assert "not complete yet" not in page
    assert "% before training to" in page
    assert page.count('<div id="explorer-') == 1
    assert '"captions": ["epoch 0", "epoch 1"]' in page
    assert page.count("<img alt=") == 6
    assert 'alt=""' not in page
    shown = results["results"]["SimCLR"]["labels_10"]
    assert f"{100 * shown['mean']:.1f} ± {100 * shown['std']:.1f} %" in page
    assert len(list((out / "figures").glob("*.png"))) == 6
    said = capsys.readouterr().out
    assert [line.split(",")[0] for line in said.splitlines() if line.startswith("step ")] == [
        f"step {number} of 7" for number in range(1, 8)
    ]
    assert said.index("A first report is ready") < said.index("step 3 of 7")
    assert fails(capsys, "demo", "--out", str(out)).endswith("already holds a demo: choose another folder.")


@pytest.mark.slow
def test_a_photo_is_found_in_a_data_set_too(trained, tmp_path, capsys):
    image = load_dataset("emblems", "test", limit=40).images[3]
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "photo.png")
    assert main(["search", str(trained), str(tmp_path / "photo.png"), "--count", "2", "--limit", "40"]) == 0
    nearest, other = table(trained / "search.csv")
    assert (nearest["file"], nearest["similarity"]) == ("3", "1.0000")
    assert float(other["similarity"]) < 1
    deep, broken = tmp_path / "deep.png", tmp_path / "broken.jpg"
    Image.fromarray((np.arange(4096).reshape(64, 64)).astype(np.uint16)).save(deep)
    broken.write_bytes(b"no")
    error = fails(capsys, "search", str(trained), str(deep), "--limit", "40")
    assert f"{deep} has more than 8 bits: `--levels` says" in error
    assert main(["search", str(trained), str(deep), "--levels", "0", "4095", "--count", "2", "--limit", "40"]) == 0
    error = fails(capsys, "search", str(trained), str(tmp_path / "photo.png"), "--max-pixels", "9", "--limit", "40")
    assert "photo.png has 32 × 32 pixels: --max-pixels=1024 reads it" in error
    assert f"{broken} cannot be read as an image" in fails(capsys, "search", str(trained), str(broken), "--limit", "40")
    assert "there is no image" in fails(capsys, "search", str(trained), str(tmp_path / "none.png"))
    assert "needs PHOTO" in fails(capsys, "search", str(trained))


def write_photos(folder: Path, count: int) -> list[str]:
    """Write emblems as PNG files; returns their names."""
    folder.mkdir()
    names = [f"{number}.png" for number in range(count)]
    for name, image in zip(names, load_dataset("emblems", limit=count).images, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / name)
    return names


@pytest.fixture
def untrained(tmp_path):
    """A run on six photos that nobody trained: its folder and that of the photos."""
    photos, run = tmp_path / "photos", tmp_path / "run"
    write_photos(photos, 6)
    config = TrainConfig(images=photos, image_size=32, stem="fast", width=4, projection_hidden=8, projection_dim=4)
    torch.manual_seed(0)
    facts = {"task": "pretrain", "image_size": 32, "classes": [], "num_images": 6}
    state = {"config": config.resolved(32).to_dict(), "facts": facts, "step": 0}
    save_checkpoint(run / "checkpoint.pt", {**state, "model": config.simclr(32).state_dict()})
    return run, photos


def changed(run: Path, **settings: object) -> None:
    """Change settings of a run in its checkpoint."""
    state = load_checkpoint(run)
    del state["format"]
    save_checkpoint(run / "checkpoint.pt", {**state, "config": {**state["config"], **settings}})


def test_a_photo_is_not_found_as_its_own_neighbour_by_whatever_path_it_is_named(untrained, tmp_path, capsys):
    run, photos = untrained
    (tmp_path / "alias").symlink_to(photos)
    latin = photos / os.fsdecode(b"caf\xe9.png")
    (photos / "5.png").rename(latin)
    for photo in (photos / "3.png", tmp_path / "alias" / "3.png", latin):
        assert main(["search", str(run), str(photo)]) == 0
        found = [row["file"] for row in table(run / "search.csv")]
        assert len(found) == 5
        assert shown(photo.name) not in found
    write_photos(tmp_path / "single", 1)
    error = fails(capsys, "search", str(run), str(tmp_path / "single" / "0.png"), "--images", str(tmp_path / "single"))
    assert "single holds no other image than" in error


@pytest.mark.slow
def test_a_report_says_what_the_run_was_trained_on_and_what_is_shown(untrained, tmp_path, capsys):
    run, _ = untrained
    write_photos(tmp_path / "other", 3)
    address = ["--address", "https://example.org/pages/report.html"]
    assert main(["report", str(run), "--images", str(tmp_path / "other"), *address]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<title>What a neural network learns from 6 images without labels · SimCLR on photos</title>" in page
    assert "trained in this way for 200 epochs on 6 images of 32 × 32 pixels" in page
    assert "3 images of other. Point at one" in page
    (run / "metrics.jsonl").write_text('{"step": 30, "epoch": 2.5, "loss": 1.0, "lr": 0.1, "images_per_second": 9}\n')
    assert main(["report", str(run)]) == 0
    assert "trained in this way for 2.6 of 200 epochs on 6 images" in (run / "report.html").read_text(encoding="utf-8")
    last = {"step": 2399, "epoch": 2399 / 12, "loss": 1.0, "lr": 0.1, "images_per_second": 9}
    (run / "metrics.jsonl").write_text(json.dumps(last) + "\n")
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "trained in this way for 200 epochs on 6 images" in page
    assert "the run has not ended" not in page
    for damaged in ("{", "[3]", '{"environment": 3}', '{"environment": {"device": "cpu"}}'):
        (run / "config.json").write_text(damaged)
        assert "config.json is damaged: delete it" in fails(capsys, "report", str(run))


def test_a_report_reads_as_many_images_as_were_trained_on(untrained, monkeypatch):
    run, photos = untrained
    changed(run, limit=4)
    limits = []

    def parts(self, limit):
        limits.append(limit)
        raise Interrupted("that is all")

    monkeypatch.setattr("simclr_lib.commands.checkpoint.Loaded.parts", parts)
    for words in ([], ["--limit", "2"], ["--images", str(photos)]):
        assert main(["report", str(run), *words]) == 130
    assert limits == [4, 2, None]


def test_the_features_of_two_images_are_a_table_without_a_map(untrained, tmp_path, capsys):
    run, _ = untrained
    names = write_photos(tmp_path / "two", 2)
    assert main(["embed", str(run), "--images", str(tmp_path / "two")]) == 0
    assert "2 images: a picture in two dimensions needs 4 or more" in capsys.readouterr().out
    empty = {"label": "", "x": "", "y": ""}
    assert table(run / "embeddings.csv") == [{"file": name, **empty} for name in names]
    with np.load(run / "embeddings.npz") as saved:
        assert (saved["h"].shape, "xy" in saved) == ((2, 32), False)


def test_labels_of_the_run_are_not_those_of_another_folder(untrained, tmp_path, capsys):
    run, _ = untrained
    changed(run, labels="labels.csv")
    write_photos(tmp_path / "other", 3)
    for option in ("--images", "--data-dir"):
        assert main(["embed", str(run), option, str(tmp_path / "other")]) == 0
    assert "labels.csv" in fails(capsys, "embed", str(run))  # the run's own are looked for, and are not there


def test_a_class_whose_name_is_not_valid_text_is_predicted_and_printed(untrained, tmp_path, capsys):
    run, _ = untrained
    (tmp_path / "drinks").mkdir()
    write_photos(tmp_path / "drinks" / os.fsdecode(b"caf\xe9"), 3)
    write_photos(tmp_path / "drinks" / "tea", 1)  # a copy of the first one, so each is predicted as the other
    assert main(["predict", str(run), "--images", str(tmp_path / "drinks"), "--labels", "folders"]) == 0
    predicted = {row["file"]: row["label"] for row in table(run / "predictions.csv")}
    assert predicted["tea/0.png"] == "caf\ufffd"
    assert predicted["caf\ufffd/0.png"] == "tea"
    assert " caf\ufffd" in capsys.readouterr().out.splitlines()[-2]


def test_a_folder_is_no_file_to_write_to(untrained, tmp_path, capsys):
    run, photos = untrained
    for command in ("predict", "report"):
        error = fails(capsys, command, str(run), "--out", str(photos))
        assert f"{photos} is a folder: name a file, such as {photos}" in error


@pytest.mark.parametrize(
    ("words", "reading"),
    [
        ([], Reading(48, "pad", (2, 1, 3), (1.0, 8.0), 4096)),
        (["--fit", "crop", "--max-pixels", "5000"], Reading(48, "crop", (2, 1, 3), (1.0, 8.0), 5000)),
        (["--bands", "3", "2", "1", "--levels", "0", "9"], Reading(48, "pad", (3, 2, 1), (0.0, 9.0), 4096)),
    ],
)
def test_images_are_read_as_in_training_or_as_is_asked_for(untrained, words, reading):
    run, _ = untrained
    trained = {"store_size": 48, "fit": "pad", "bands": [2, 1, 3], "levels": [1, 8], "max_pixels": 4096}
    changed(run, **trained)
    assert open_run(parse("embed", [str(run), *words])).settings.reading() == reading


@pytest.fixture
def labelled_folder(tmp_path):
    """A folder of 60 emblems: a folder for each of two classes, of 45 and of 15 images."""
    emblems = load_dataset("emblems", limit=300)
    for label, count in ((0, 45), (1, 15)):
        folder = tmp_path / "mine" / f"US${label}_$"
        folder.mkdir(parents=True)
        for number, row in enumerate((emblems.labels % 2 == label).nonzero().flatten()[:count].tolist()):
            Image.fromarray(emblems.images[row].permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    return tmp_path / "mine"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["--contrastive", "--no-contrastive"])
def test_every_run_with_labels_predicts_classes_and_has_a_report(labelled_folder, tmp_path, capsys, method):
    run = tmp_path / "run"
    options = [method, "--images", str(labelled_folder), *TINY, "--limit", "None", "--run-dir", str(run)]
    assert main(["train", *options, "--batch-size", "64"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"the batch size is \d+, the number of training images, instead of 64", printed)
    assert main(["predict", str(run), "--images", str(labelled_folder)]) == 0
    predicted = table(run / "predictions.csv")
    assert len(predicted) == 60
    assert {row["label"] for row in predicted} <= {"US$0_$", "US$1_$"}
    network, _, classes = load_classifier(run, torch.device("cpu"))
    everything = load_dataset("imagefolder", "all", labelled_folder)
    probability = extract_features(network, everything).softmax(dim=1)
    assert [row["label"] for row in predicted] == [classes[i] for i in probability.argmax(dim=1).tolist()]
    assert np.allclose([float(row["probability"]) for row in predicted], probability.amax(dim=1), atol=1e-4)
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Where the network is wrong" in page
    assert "accuracy with all labels" in page
    assert ("% before training to" in page.replace("\N{NO-BREAK SPACE}", " ")) == (method == "--contrastive")
    assert main(["embed", str(run), "--method", "pca", "--limit", "20"]) == 0
    embedded = table(run / "embeddings.csv")
    assert len(embedded) == 20
    assert all(row["label"] == Path(row["file"]).parent.name for row in embedded)
    if method == "--contrastive":
        assert "labels per class, as US$1_$ has" in printed
        assert "knn_balanced" in Result.read(run / "results.json").results["SimCLR"]
        assert main(["report", str(run), "--limit", "40"]) == 0
        assert "before training" not in (run / "report.html").read_text(encoding="utf-8")  # it watched other images


@pytest.mark.slow
def test_a_report_that_cannot_be_drawn_loses_no_result(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    out = tmp_path / "demo"
    with monkeypatch.context() as patch:
        patch.setattr("simclr_lib.teaching.demo_report.draw", stop)
        with pytest.raises(Interrupted, match="Continue with the same command"):
            demo_of_seconds(out)
    measured = Result.read(out / "results.json")
    assert not measured.extra["complete"]
    assert not (out / "report.html").exists()
    pages = []

    def draw(exhibit):
        film = Film("SimCLR h", ["now"], torch.rand(1, len(exhibit.shown), 2, generator=seeded(0)))
        return Drawn(Section("", "", "", ""), [], film, exhibit.shown, {"SimCLR h": 1.0})

    def train_supervised(*arguments):
        pages.append((out / "report.html").read_text(encoding="utf-8"))
        raise KeyboardInterrupt

    monkeypatch.setattr("simclr_lib.teaching.demo_report.draw", draw)
    with monkeypatch.context() as patch:
        patch.setattr("simclr_lib.experiments.comparison.train_supervised", train_supervised)
        with pytest.raises(Interrupted):
            demo_of_seconds(out)  # goes on where it was stopped
    assert "This page is not complete yet" in pages[0]  # it could be read while the rest was measured
    demo_of_seconds(out)
    assert "not complete yet" not in (out / "report.html").read_text(encoding="utf-8")
    now = Result.read(out / "results.json")
    assert now.results["SimCLR"] == measured.results["SimCLR"]
    assert now.extra["complete"]
    assert now.extra["trustworthiness"] == {"SimCLR h": 1.0}


def test_a_command_says_how_long_its_next_step_and_the_rest_take(monkeypatch, capsys):
    moments = iter([0.0, 20.0])
    monkeypatch.setattr("simclr_lib.commands.common.time.monotonic", lambda: next(moments))
    steps = Steps([("one", 10.0), ("two", 60.0)])
    steps.begin()
    steps.begin()  # the first took twice as long as expected
    assert capsys.readouterr().out.splitlines() == [
        "This takes about 1:10 minutes here:",
        "  1. one: about 0:10 minutes",
        "  2. two: about 1:00 minutes",
        "step 1 of 2, about 1:10 minutes left: one …",
        "step 2 of 2, about 2:00 minutes left: two …",
    ]


def test_the_demo_needs_the_labels_that_it_compares(capsys):
    assert "--images must be at least 1,000, not 80" in fails(capsys, "demo", "--images", "80")


FEW = Budget(labels=(2, 5), few_labels=(2,), steps=2, fine_tuning_steps=2, test_images=100)


def swept(name, out, **settings):
    """The content of the results file of a short sweep."""
    sweep(
        SweepConfig(name, epochs=1, out=out, device="cpu", **{"images": 128, "seeds": (0, 1), **settings}), budget=FEW
    )
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_a_sweep_writes_every_variant_of_every_seed(tmp_path, capsys):
    out = tmp_path / "crop-color"
    results = swept("crop-color", out)
    rows = results["results"]
    assert {"SimCLR, crop only", "SimCLR, color only", "SimCLR, crop + color"} <= set(rows)
    assert {"random encoder", "pixels"} <= set(rows)
    assert all(len(row["labels_all"]["values"]) == 2 for row in rows.values())
    assert results["variants"]["crop only"] == {"color_prob": 0.0, "gray_prob": 0.0}
    assert results["seeds"] == [0, 1]
    capsys.readouterr()  # the progress bars
    assert "already holds results: choose another folder" in fails(capsys, "sweep", "crop-color", "--out", str(out))


@pytest.mark.slow
def test_the_label_sweep_compares_everything_at_every_budget(tmp_path):
    rows = swept("labels", tmp_path / "labels")["results"]
    assert {"SimCLR, linear head", "SimCLR, fine-tuned", "random encoder", "pixels"} <= set(rows)
    for source in ("SimCLR, linear head", "SimCLR, fine-tuned", "random encoder", "pixels", "supervised"):
        assert {"labels_2", "labels_5", "labels_all"} <= set(rows[source])
    assert set(rows["supervised, as many views"]) == {"labels_2", "labels_all"}


@pytest.mark.slow
def test_the_shift_sweep_tests_every_classifier_on_every_changed_image(tmp_path, capsys):
    file = swept("shifts", tmp_path / "shifts")
    assert "opposite hue" in capsys.readouterr().out
    assert file["variants"]["supervised, crops and flips"]["color_prob"] == 0
    for row in file["results"].values():
        assert {"unchanged", *SHIFTS} == set(row)
    assert set(file["results"]) == {
        "SimCLR, linear head",
        "SimCLR, fine-tuned",
        "supervised",
        "supervised, crops and flips",
    }


@pytest.mark.slow
def test_the_head_sweep_measures_z_too(tmp_path):
    rows = swept("head", tmp_path / "head", seeds=(0,))["results"]
    assert rows["SimCLR, no head"] == rows["SimCLR, no head, z"]  # the same thing
    assert rows["SimCLR, two layers"] != rows["SimCLR, two layers, z"]


@pytest.mark.slow
def test_a_part_of_the_batch_as_negatives_is_all_that_the_negatives_sweep_changes(tmp_path):
    rows = {}
    for name in ("negatives", "batch-size"):
        rows |= swept(name, tmp_path / name, images=256, seeds=(0,))["results"]
    assert rows["SimCLR, 510 negatives"] == rows["SimCLR, batch 256"]
    assert rows["SimCLR, 126 negatives"] != rows["SimCLR, 30 negatives"] != rows["SimCLR, 510 negatives"]


@pytest.mark.slow
def test_a_sweep_runs_on_a_folder_of_images_too(tmp_path, capsys):
    for split in ("train", "test"):
        part = load_dataset("emblems", split, limit=60)
        for number, (image, label) in enumerate(zip(part.images, part.labels, strict=True)):
            folder = tmp_path / "images" / split / part.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    images = tmp_path / "images"
    options = ["--dataset", "imagefolder", "--data-dir", str(images)]
    assert "leave out --dataset" in fails(capsys, "sweep", "labels", *options)
    assert "needs at least 512 training images, one batch, not 60" in fails(capsys, "sweep", "temperature", *options)
    settings = SweepConfig("temperature", (0,), 1, None, "imagefolder", images, tmp_path / "out", "cpu")
    sweep(settings, recipe=replace(SHORT, batch_size=16))
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["num_train"], results["num_test"], results["config"]["dataset"]) == (60, 60, "imagefolder")
    assert {"SimCLR, τ = 0.05", "SimCLR, τ = 1"} <= set(results["results"])


def test_a_sweep_needs_a_batch_of_images(capsys):
    assert "needs at least 64 training images, one batch, not 50" in fails(
        capsys, "sweep", "crop-color", "--images", "50"
    )


def test_the_command_line_knows_the_sweeps_without_torch():
    assert tuple(SWEEPS) == SWEEP_NAMES


def test_every_sweep_is_named_in_the_help_and_asks_a_question(capsys):
    with contextlib.suppress(SystemExit):
        main(["sweep", "--help"])
    shown = capsys.readouterr().out
    for name, question in SWEEPS.items():
        assert name in shown
        assert question.question.endswith("?")
        assert f"{name} " in overview()


# Results are kept whatever happens afterwards, and nothing is computed for a folder that cannot be written.


class Unprintable(Exception):
    """Whatever goes wrong while a table is shown."""


@pytest.fixture
def unprintable(monkeypatch):
    """A terminal that cannot show tables."""

    def fail(*_):
        raise Unprintable

    for command in ("train", "evaluate", "sweep"):
        monkeypatch.setattr(f"simclr_lib.commands.{command}.text_table", fail)
    monkeypatch.setattr("simclr_lib.commands.plan.text_plan", fail)


@pytest.mark.slow
def test_results_are_written_before_they_are_shown(tmp_path, unprintable):
    run = tmp_path / "run"
    tiny_plan = ["--dataset", "emblems", *TINY, "--processes", "1", "--out", str(tmp_path / "plan.json")]
    commands = {
        run / "results.json": ["train", "--dataset", "emblems", *TINY, "--run-dir", str(run)],
        run / "evaluation.json": ["evaluate", str(run), "--limit", "40"],
        tmp_path / "plan.json": ["plan", *tiny_plan],
    }
    for file, command in commands.items():
        with pytest.raises(Unprintable):
            main(command)
        assert Result.read(file).results
    with pytest.raises(Unprintable):
        swept("steps", tmp_path / "steps", images=256, seeds=(0,))
    assert Result.read(tmp_path / "steps" / "results.json").results


@pytest.mark.slow
def test_features_are_written_before_they_are_drawn(trained, monkeypatch):
    def fail(*_):
        raise Unprintable

    monkeypatch.setattr("simclr_lib.teaching.plots.plot_embeddings", fail)
    with pytest.raises(Unprintable):
        main(["embed", str(trained), "--method", "pca", "--limit", "40"])
    with np.load(trained / "embeddings.npz") as saved:
        assert saved["h"].shape == (40, 32)


@pytest.mark.parametrize(
    "command",
    [
        ["demo", "--out", "{}"],
        ["sweep", "temperature", "--out", "{}"],
        ["evaluate", "emblems.pt", "--out", "{}"],
        ["embed", "emblems.pt", "--out", "{}"],
        ["plan", "--dataset", "emblems", "--out", "{}/plan.json"],
        ["bench", "--out", "{}/bench.json"],
        ["train", "--dataset", "emblems", "--run-dir", "{}"],
    ],
    ids=lambda command: command[0],
)
def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(tmp_path, capsys, monkeypatch, command):
    def work(*_, **__):
        raise AssertionError("the work has begun")

    for name in ("train.load_parts", "demo.load_dataset", "sweep.load_splits", "checkpoint.load_splits"):
        monkeypatch.setattr(f"simclr_lib.commands.{name}", work)
    monkeypatch.setattr("simclr_lib.commands.plan.calibrate", work)
    monkeypatch.setattr("simclr_lib.commands.bench.measure_peak", work)
    monkeypatch.setattr(StoredRun, "simclr", work)
    monkeypatch.setattr("simclr_lib.commands.checkpoint.read_run", lambda path: StoredRun(path, SHORT, {}, {}))
    (tmp_path / "file").write_text("in the way")
    words = [word.format(tmp_path / "file" / "out") for word in command]
    assert "cannot write to" in fails(capsys, *words)
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_output_head_is_not_overwritten_by_another_run(tmp_path, capsys):
    (tmp_path / "output_head.pt").write_text("somebody's")
    options = ["--dataset", "emblems", *TINY, "--run-dir", str(tmp_path)]
    assert "output_head.pt that would be lost" in fails(capsys, "train", *options)
    assert (tmp_path / "output_head.pt").read_text() == "somebody's"


def test_commands_that_start_together_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(new_folder("demo")) for _ in range(3)] == [
        str(Path("runs") / name) for name in ("demo", "demo-2", "demo-3")
    ]


@pytest.mark.parametrize(
    ("stopped", "line"), [(KeyboardInterrupt(), "simclr: stopped"), (KeyboardInterrupt("saved"), "simclr: saved")]
)
def test_ctrl_c_gets_one_line(capsys, monkeypatch, stopped, line):
    def stop(*_, **__):
        raise stopped

    monkeypatch.setattr("simclr_lib.commands.train.pretrain", stop)
    assert main(["train", "--dataset", "emblems", "--limit", "20"]) == 130
    assert capsys.readouterr().err.strip() == line


def test_mistakes_get_one_line(tmp_path, capsys):
    assert "did you mean 'emblems'" in fails(capsys, "train", "--dataset", "emblem")
    assert "did you mean 'crop-color'" in fails(capsys, "sweep", "crop-colour")
    assert "temperature must be above 0" in fails(capsys, "train", "--temperature", "0")
    assert "no checkpoint at" in fails(capsys, "evaluate", str(tmp_path / "nothing.pt"))
    save_checkpoint(tmp_path / "output_head.pt", {"head": {}})
    assert "is not the checkpoint of a run" in fails(capsys, "evaluate", str(tmp_path / "output_head.pt"))
    assert "--budgets must be at least 1, not 0" in fails(
        capsys, "evaluate", str(tmp_path / "nothing.pt"), "--budgets", "0"
    )
    assert "--resume needs --run-dir" in fails(capsys, "train", "--resume")
    missing = ["--dataset", "cifar10", "--no-download", "--data-dir", str(tmp_path)]
    assert "--data-dir" in fails(capsys, "train", *missing)


def test_without_a_network_it_points_to_emblems_and_data_dir(tmp_path, capsys, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    error = fails(capsys, "train", "--data-dir", str(tmp_path))
    assert "--dataset emblems" in error
    assert "--data-dir" in error


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    options = ["--dataset", "emblems", *TINY, "--run-dir", str(tmp_path / "file" / "run")]
    assert "cannot write" in fails(capsys, "train", *options)
    assert (tmp_path / "file").read_text() == "in the way"


def test_out_of_memory_gets_one_line(capsys, monkeypatch):
    def too_large(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("simclr_lib.commands.train.pretrain", too_large)
    error = fails(capsys, "train", "--dataset", "emblems", "--limit", "20")
    assert error == "simclr: error: out of memory: use a smaller --batch-size, --limit, --width or --projection-hidden."


@pytest.mark.parametrize("step", ["pretrain", "seconds_of_steps"])
def test_a_run_that_fails_before_its_first_step_leaves_no_folder(step, capsys, monkeypatch, tmp_path):
    def too_large(*_, **__):
        raise MemoryError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"simclr_lib.commands.train.{step}", too_large)
    assert "out of memory" in fails(capsys, "train", "--dataset", "emblems", "--limit", "20", *TINY)
    assert not list(tmp_path.glob("runs/*"))


def test_one_class_pretrains_but_has_nothing_to_classify(tmp_path, capsys, monkeypatch):
    emblems = load_dataset("emblems", limit=40)
    one = ImageDataset(emblems.images, torch.zeros(40, dtype=torch.int64), ["all"])
    monkeypatch.setattr("simclr_lib.commands.train.load_parts", lambda *_, **__: {"train": one, "test": one})
    options = [*TINY, "--run-dir", str(tmp_path / "run")]
    assert main(["train", "--images", str(tmp_path), *options]) == 0
    assert "the images are of one class only; look at them with simclr embed" in capsys.readouterr().out
    assert Result.read(tmp_path / "run" / "results.json").results == {}
    assert not (tmp_path / "run" / "output_head.pt").exists()


def test_labels_that_nothing_is_left_to_test_with_train_an_output_head(tmp_path, capsys, monkeypatch):
    emblems = load_dataset("emblems", limit=40)
    few = replace(emblems, labels=torch.where(torch.arange(40) < 6, emblems.labels, -1))
    monkeypatch.setattr("simclr_lib.commands.train.load_parts", lambda *_, **__: {"train": few})
    run = tmp_path / "run"
    assert main(["train", "--images", str(tmp_path), *TINY, "--run-dir", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "no test image has a label: the output head is trained on 6 images, and not tested" in printed
    assert Result.read(run / "results.json").results == {}
    classifier, _, classes = load_classifier(run, torch.device("cpu"))
    assert classes == emblems.classes
    predicted = extract_features(classifier, few.labelled).argmax(dim=1)
    assert set(predicted.tolist()) <= set(few.labelled.labels.tolist())  # a head that nobody trained says anything


def test_an_image_folder_trains_from_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SIMCLR_CACHE", str(tmp_path / "cache"))
    emblems = load_dataset("emblems", limit=200)
    for i, (image, label) in enumerate(zip(emblems.images, emblems.labels, strict=True)):
        folder = tmp_path / "mine" / emblems.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i}.png")
    options = ["--dataset", "imagefolder", "--data-dir", str(tmp_path / "mine"), *TINY]
    assert main(["train", *options, "--run-dir", str(tmp_path / "run")]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["num_train"] == 120
    assert 20 <= results["num_test"] <= 60  # a fifth of 200, give or take what names decide
