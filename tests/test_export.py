"""An exported encoder loads in the other library, by the lines that are written beside it, with the same features."""

import json
import os
import sys
import zipfile
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import nn

import simclr_lib
from simclr_lib import SimCLRError, TrainConfig, extract_features
from simclr_lib.cli import main
from simclr_lib.training import export_encoder, load_encoder, save_checkpoint

CPU = torch.device("cpu")
SIZE = 32
BASE = TrainConfig(image_size=SIZE, projection_hidden=8, projection_dim=4, device="cpu")
NETWORKS = {
    "cifar": replace(BASE, stem="cifar"),
    "fast": replace(BASE, stem="fast"),
    "imagenet": replace(BASE, stem="imagenet"),
    "narrow": replace(BASE, stem="fast", width=4),
    "vit": replace(BASE, base_model="timm:test_vit"),
    "convnext": replace(BASE, base_model="timm:test_convnext"),
}


class Own(nn.Sequential):
    """A network of somebody's own."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def run_of(config, folder, own=None, classes=("cat", "猫")):
    """A folder with the checkpoint of a run, whose batch norms have seen some images."""
    torch.manual_seed(0)
    config = config.with_own_encoder(own)
    model = config.simclr(SIZE, own)
    with torch.no_grad():
        model.encoder(torch.rand(8, 3, SIZE, SIZE))
    facts = {"task": "pretrain", "image_size": SIZE, "classes": list(classes)}
    state = {"config": config.resolved(SIZE, CPU).to_dict(), "facts": facts, "step": 0, "model": model.state_dict()}
    save_checkpoint(folder / "checkpoint.pt", state)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {name: run_of(config, tmp_path_factory.mktemp(name)) for name, config in NETWORKS.items()}


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def features_here(run, images, own=None):
    return extract_features(load_encoder(run, CPU, own)[0], images, precision="fp32")


def loaded(about, monkeypatch):
    """Run the lines that are written beside an export, in a folder that holds it."""
    monkeypatch.chdir(about.parent)
    names = {}
    exec("\n".join(json.loads(about.read_text(encoding="utf-8"))["how_to_load"]), names)
    return names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "to"),
    [
        *((stem, to) for stem in ("cifar", "fast", "imagenet") for to in ("torchvision", "timm")),
        *((name, "timm") for name in ("vit", "convnext")),
        *((name, "torch") for name in ("cifar", "narrow", "vit")),
        *((name, "safetensors") for name in ("cifar", "narrow", "vit")),
    ],
)
def test_the_lines_beside_an_export_load_it_with_the_same_features(runs, images, tmp_path, monkeypatch, name, to):
    _, about = export_encoder(runs[name], to, tmp_path / "encoder.bin")
    encoder = loaded(about, monkeypatch)["encoder"]
    with torch.no_grad():
        features = encoder(images)
    expected = features_here(runs[name], images)
    assert expected.std() > 0.01
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar", "narrow", "convnext"])
def test_onnx_gives_the_same_features_for_any_number_of_images(runs, images, tmp_path, monkeypatch, name):
    file, about = export_encoder(runs[name], "onnx", tmp_path / "encoder.onnx")
    names = loaded(about, monkeypatch)
    expected = features_here(runs[name], images)
    assert names["features"].shape == (1, expected.shape[1])
    for count in (1, 5):
        (features,) = names["session"].run(["features"], {"images": images[:count].numpy()})
        np.testing.assert_allclose(features, expected[:count].numpy(), rtol=1e-4, atol=1e-4)
    assert metadata_of(file, "onnx") == json.loads(about.read_text(encoding="utf-8"))
    assert json.loads(about.read_text(encoding="utf-8"))["feature_dim"] == expected.shape[1]
    assert onnxruntime.InferenceSession(str(file)).get_inputs()[0].shape[1:] == [3, SIZE, SIZE]


def metadata_of(file, to):
    """The facts within an exported file."""
    if to == "safetensors":
        with safe_open(file, "pt") as opened:
            texts = opened.metadata()
        assert texts["format"] == "pt"  # by the convention of the format
        texts["format"] = to
    elif to == "onnx":
        texts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    else:
        with zipfile.ZipFile(file) as archive:
            return json.loads(archive.read("archive/extra/about.json"))
    plain = ("format", "encoder", "stem", "package")  # the others are JSON
    return {key: text if key in plain and text != "null" else json.loads(text) for key, text in texts.items()}


def test_torchvisions_network_without_its_classifier_has_exactly_the_weights(runs, tmp_path):
    import torchvision

    file, about = export_encoder(runs["imagenet"], "torchvision", tmp_path / "encoder.pt")
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    network.load_state_dict(torch.load(file, weights_only=True))
    assert not any("strict" in line for line in json.loads(about.read_text(encoding="utf-8"))["how_to_load"])


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torchvision", "timm", "torch", "safetensors"])  # and onnx, above
def test_every_format_holds_all_facts_within_the_file(runs, tmp_path, to):
    run = runs["narrow" if to == "torch" else "fast"]
    file, about = export_encoder(run, to, tmp_path / "encoder.bin")
    facts = json.loads(about.read_text(encoding="utf-8"))
    assert metadata_of(file, to) == facts
    assert facts["feature_dim"] == (32 if to == "torch" else 512)
    if to == "torch":
        extra = {"about.json": ""}
        torch.export.load(file, extra_files=extra)
        assert json.loads(extra["about.json"]) == facts


def test_the_facts_say_how_files_become_pixels(tmp_path):
    config = replace(NETWORKS["narrow"], store_size=64, fit="pad", bands=(3, 2, 1), levels=(0, 4095))
    _, about = export_encoder(run_of(config, tmp_path), "safetensors")
    assert json.loads(about.read_text(encoding="utf-8"))["reading"] == {
        "store_size": 64, "fit": "pad", "bands": [3, 2, 1], "levels": [0.0, 4095.0], "max_pixels": 178956970,
        "transparent": "over white",
    }  # fmt: skip


@pytest.mark.parametrize("to", ["safetensors", "torch", "onnx"])
def test_a_class_whose_name_is_not_valid_text_is_written_as_it_is_shown(tmp_path, to):
    run = run_of(NETWORKS["narrow"], tmp_path, classes=["cat", os.fsdecode(b"caf\xe9")])
    file, about = export_encoder(run, to)
    facts = json.loads(about.read_text(encoding="utf-8"))
    assert facts["classes"] == ["cat", "caf\ufffd"]
    assert metadata_of(file, to) == facts


@pytest.mark.slow
def test_exports_for_several_libraries_stand_beside_each_other_and_can_be_repeated(tmp_path):
    run = run_of(NETWORKS["fast"], tmp_path)
    for to in ("torchvision", "timm", "torchvision"):
        _, about = export_encoder(run, to)
        assert json.loads(about.read_text(encoding="utf-8"))["format"] == to
    assert {file.name for file in run.iterdir()} == {
        "checkpoint.pt",
        *("encoder.torchvision.pt", "encoder.torchvision.pt.json", "encoder.timm.pt", "encoder.timm.pt.json"),
    }


def test_the_facts_stand_beside_the_file_and_within_it(runs, tmp_path):
    file, about = export_encoder(runs["fast"], "safetensors", tmp_path / "mine.safetensors")
    facts = json.loads(about.read_text(encoding="utf-8"))
    assert about == tmp_path / "mine.safetensors.json"
    assert facts["input"] == {
        "size": SIZE, "channels": "RGB", "layout": "NCHW", "range": [0, 1], "normalisation": "none",
    }  # fmt: skip
    assert facts["resize"] == {"shorter_side": SIZE, "interpolation": "bilinear", "antialias": True, "crop": "centre"}
    assert (facts["format"], facts["encoder"], facts["feature_dim"]) == ("safetensors", "resnet18", 512)
    assert facts["classes"] == ["cat", "猫"]
    assert facts["package"] == f"simclr-lib {simclr_lib.__version__}"
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["input"]) == facts["input"]
        assert set(opened.keys()) == set(load_encoder(runs["fast"], CPU)[0].state_dict())


@pytest.mark.slow
def test_an_encoder_that_was_trained_with_labels_is_exported(images, tmp_path, monkeypatch):
    config = replace(NETWORKS["fast"], contrastive=False)
    run = run_of(config, tmp_path)
    _, about = export_encoder(run, "torchvision")
    assert about == tmp_path / "encoder.torchvision.pt.json"
    with torch.no_grad():
        features = loaded(about, monkeypatch)["encoder"](images)
    torch.testing.assert_close(features, features_here(run, images), rtol=1e-4, atol=1e-4)


def test_your_own_network_is_exported_with_a_module_of_its_class(images, tmp_path, monkeypatch):
    run = run_of(BASE, tmp_path, Own())
    _, about = export_encoder(run, "safetensors", encoder=Own())
    with torch.no_grad():
        features = loaded(about, monkeypatch)["encoder"](images)
    torch.testing.assert_close(features, features_here(run, images, Own()), rtol=1e-4, atol=1e-4)
    for to in ("torchvision", "timm"):
        with pytest.raises(SimCLRError, match=r"has no module:.*Own to load"):
            export_encoder(run, to, encoder=Own())
    with pytest.raises(SimCLRError, match="give one again, in Python"):
        export_encoder(run, "onnx")


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [
        ("narrow", "torchvision", "have the width 64, and this one has 4: write it for torch, safetensors or onnx"),
        ("narrow", "timm", "have the width 64, and this one has 4"),
        ("vit", "torchvision", "torchvision has no test_vit to load: write it for timm, torch, safetensors or onnx"),
        ("fast", "keras", "unknown format 'keras'"),
    ],
)
def test_a_network_that_the_library_lacks_is_refused_and_nothing_is_written(runs, tmp_path, name, to, message):
    with pytest.raises(SimCLRError, match=message):
        export_encoder(runs[name], to, tmp_path / "encoder.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["config.json", "results", "output_head.pt", "folder"])
def test_no_export_replaces_a_file_that_is_no_export(runs, tmp_path, name):
    (tmp_path / "folder").mkdir()
    for theirs in ("config.json", "results.json", "output_head.pt"):  # of another run, for example
        (tmp_path / theirs).write_text('{"what": "somebody\'s"}')
    before = {file.name: file.read_text() for file in tmp_path.glob("*.*")}
    with pytest.raises(SimCLRError, match="is there already and is no export: choose another name"):
        export_encoder(runs["narrow"], "safetensors", tmp_path / name)
    assert {file.name: file.read_text() for file in tmp_path.glob("*.*")} == before


@pytest.mark.parametrize(
    ("to", "package"), [("safetensors", "safetensors.torch"), ("onnx", "onnx"), ("onnx", "onnxscript")]
)
def test_a_missing_package_is_one_line_that_names_the_extra(runs, tmp_path, monkeypatch, to, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SimCLRError, match=r"simclr-lib\[export\]") as error:
        export_encoder(runs["narrow"], to, tmp_path / "encoder.bin")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_network_that_cannot_be_traced_is_one_line(tmp_path):
    class Untraceable(Own):
        def forward(self, images):
            h = super().forward(images)
            return h if h.sum() > 0 else -h

    run = run_of(BASE, tmp_path, Untraceable())
    for to, form in (("onnx", "ONNX"), ("torch", "a program")):
        with pytest.raises(SimCLRError, match=f"cannot be written as {form}") as error:
            export_encoder(run, to, encoder=Untraceable())
        assert "\n" not in str(error.value)


def test_the_command_writes_and_names_both_files(runs, tmp_path, capsys):
    out = tmp_path / "new" / "encoder.safetensors"
    assert main(["export", str(runs["narrow"]), "--to", "safetensors", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert {file.name for file in out.parent.iterdir()} == {"encoder.safetensors", "encoder.safetensors.json"}
    assert main(["export", str(runs["narrow"]), "--to", "torchvison"]) == 2
    assert "unknown value of --to 'torchvison': did you mean 'torchvision'?" in capsys.readouterr().err
