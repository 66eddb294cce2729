"""Training starts from the weights of another run, or from ImageNet's, which then take images in 0…1."""

import copy
import dataclasses

import pytest
import timm
import torch
import torchvision
from tiny import TINY, options
from torch import nn
from torchvision.models import WeightsEnum

from simclr_lib import SimCLRError, TrainConfig, load_dataset, pretrain, train_supervised
from simclr_lib.cli import main
from simclr_lib.models import imagenet, timm_encoder
from simclr_lib.models.imagenet import fold_normalisation, imagenet_resnet, imagenet_timm
from simclr_lib.training import load_checkpoint, load_classifier

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
START = dataclasses.replace(TINY, epochs=1, limit=60, lr=1e-30, optimizer="sgd")  # steps that change next to nothing
LABELLED = dataclasses.replace(START, contrastive=False)


@pytest.fixture(scope="module")
def emblems():
    return load_dataset("emblems", limit=60)


@pytest.fixture(scope="module")
def simclr_run(emblems, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simclr") / "run"
    return folder, pretrain(emblems, dataclasses.replace(TINY, limit=60, seed=5), folder)


@pytest.fixture(scope="module")
def labelled_run(emblems, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled") / "run"
    return folder, train_supervised(emblems, dataclasses.replace(LABELLED, lr=0.05, seed=5), folder)


def assert_starts_from(model, other):
    for (name, value), expected in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(value, expected, msg=name)


def differs(model, other):
    return any(not torch.allclose(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


# --- from a run


def test_pretraining_goes_on_from_encoder_and_projection_head_of_a_run(emblems, simclr_run):
    folder, model = simclr_run
    for path in (folder, str(folder / "checkpoint.pt")):
        assert_starts_from(pretrain(emblems, dataclasses.replace(START, init=path)), model)


def test_a_projection_head_of_another_shape_starts_anew(emblems, simclr_run):
    folder, model = simclr_run
    again = pretrain(emblems, dataclasses.replace(START, init=str(folder), projection_dim=4))
    assert_starts_from(again.encoder, model.encoder)
    assert again.projector[3].weight.shape == (4, 16)


def test_training_with_labels_from_a_simclr_run_is_fine_tuning_that_leaves_a_checkpoint(emblems, simclr_run, tmp_path):
    folder, model = simclr_run
    classifier = train_supervised(emblems, dataclasses.replace(LABELLED, init=str(folder)), tmp_path)
    assert_starts_from(classifier.encoder, model.encoder)
    loaded, config, _ = load_classifier(tmp_path, torch.device("cpu"))
    assert_starts_from(loaded, classifier)
    assert config.init == str(folder)


def test_a_run_with_labels_gives_its_encoder_and_for_the_same_classes_its_output_head(emblems, labelled_run):
    folder, trained = labelled_run
    assert_starts_from(pretrain(emblems, dataclasses.replace(START, init=str(folder))).encoder, trained.encoder)
    assert_starts_from(train_supervised(emblems, dataclasses.replace(LABELLED, init=str(folder))), trained)
    renamed = dataclasses.replace(emblems, classes=[f"other {name}" for name in emblems.classes])
    other = train_supervised(renamed, dataclasses.replace(LABELLED, init=str(folder)))
    assert_starts_from(other.encoder, trained.encoder)
    assert differs(other.head, trained.head)


def test_a_resumed_run_no_longer_needs_the_run_that_it_started_from(emblems, simclr_run, tmp_path):
    folder, _ = simclr_run
    source = tmp_path / "source.pt"
    source.write_bytes((folder / "checkpoint.pt").read_bytes())
    config = dataclasses.replace(START, init=str(source))
    whole = pretrain(emblems, config, tmp_path / "run")
    source.unlink()
    assert_starts_from(pretrain(emblems, dataclasses.replace(config, resume=True), tmp_path / "run"), whole)
    with pytest.raises(SimCLRError, match=r"init was .*, is None"):
        pretrain(emblems, dataclasses.replace(START, resume=True), tmp_path / "run")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"width": 8}, r"\(resnet18\) does not fit .* whose conv1.weight is 8×3×3×3 and not 4×3×3×3: choose the"),
        ({"stem": "imagenet"}, r"conv1.weight is 4×3×7×7 and not 4×3×3×3"),
        ({"base_model": 50}, r"does not fit this one \(resnet50\)"),
        ({"base_model": 34}, r"layer1\.2\.conv1\.weight is 4×4×3×3 and not missing"),
    ],
)
def test_an_encoder_of_another_shape_is_refused_in_one_line(emblems, simclr_run, tmp_path, setting, message):
    config = dataclasses.replace(START, init=str(simclr_run[0]), **setting)
    with pytest.raises(SimCLRError, match=message) as error:
        pretrain(emblems, config, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_line_starts_from_a_run_and_says_so(simclr_run, tmp_path, capsys):
    folder, _ = simclr_run
    words = options(dataclasses.replace(TINY, limit=60, epochs=1, init=str(folder), run_dir=tmp_path / "run"))
    assert main(["train", "--no-contrastive", *words]) == 0
    assert f"init {folder}" in " ".join(capsys.readouterr().out.split())
    assert load_checkpoint(tmp_path / "run")["config"]["init"] == str(folder)
    assert main(["train", *words[:-2], "--run-dir", str(tmp_path / "x"), "--init", str(tmp_path / "none")]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err


@pytest.mark.slow
def test_training_a_finished_run_for_longer_is_refused_with_a_word_on_init(simclr_run, capsys):
    folder, _ = simclr_run
    config = dataclasses.replace(TINY, limit=60, seed=5, epochs=9, run_dir=folder)
    assert main(["train", *options(config), "--resume"]) == 2
    error = capsys.readouterr().err
    assert "epochs was 2, is 9" in error
    assert f"--init {folder} starts a new run from these weights" in error


# --- from ImageNet


def with_statistics(network, size=64):
    """The network with batch-norm statistics of some images, in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    with torch.no_grad():
        network.train()(torch.randn(8, 3, size, size))
    return network.eval()


@pytest.fixture
def theirs(monkeypatch):
    """torchvision's ResNet-18 with random weights, which it then gives for those of ImageNet."""
    torch.manual_seed(0)
    network = with_statistics(torchvision.models.resnet18(weights=None))
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: network.state_dict())
    network.fc = nn.Identity()
    return network


def normalised(images):
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def maps_of(network, images):
    """The output of the first stage, [N, C, H, W]."""
    maps = []
    handle = network.layer1.register_forward_hook(lambda _, __, output: maps.append(output))
    with torch.no_grad():
        network(images)
    handle.remove()
    return maps[0]


def test_imagenets_weights_see_the_same_in_images_of_0_to_1_but_for_the_border(theirs):
    ours = imagenet_resnet(18).eval()
    images = torch.rand(3, 3, 96, 96)
    expected, maps = maps_of(theirs, normalised(images)), maps_of(ours, images)
    inside = slice(7, -7)  # the border spreads by 2 pixels of these maps in the stem, 1 in the pooling, 4 in the stage
    torch.testing.assert_close(maps[..., inside, inside], expected[..., inside, inside], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(maps, expected, atol=1e-2)


def without_padding(network, name):
    """A copy whose first convolution has no border, so that nothing differs there."""
    network = copy.deepcopy(network)
    network.get_submodule(name).padding = (0, 0)
    return network


def test_without_a_border_the_features_are_the_same(theirs):
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        expected = without_padding(theirs, "conv1")(normalised(images))
        features = without_padding(imagenet_resnet(18).eval(), "conv1")(images)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["test_convnext", "test_vit", "test_resnet", "test_efficientnet"])
def test_timms_weights_see_the_same_in_images_of_0_to_1(name, monkeypatch):
    original = with_statistics(timm_encoder(name, 64))
    monkeypatch.setattr(imagenet, "timm_encoder", lambda *_, **__: copy.deepcopy(original))
    first, mean, std = (original.pretrained_cfg[key] for key in ("first_conv", "mean", "std"))
    images = torch.rand(2, 3, 64, 64)
    normal = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        expected = without_padding(original, first)(normal)
        features = without_padding(imagenet_timm(name, 64), first)(images)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


def test_mean_and_std_are_not_folded_where_they_cannot_be():
    with pytest.raises(SimCLRError, match="cannot be folded into its first layer"):
        fold_normalisation(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU()), None, MEAN, STD)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(4))
    with pytest.raises(SimCLRError, match="cannot be folded into its first layer"):
        fold_normalisation(network, network[0], MEAN, STD)


@pytest.mark.slow
@pytest.mark.parametrize("contrastive", [True, False])
def test_training_starts_from_imagenets_weights(theirs, emblems, contrastive):
    config = dataclasses.replace(START, init="imagenet", contrastive=contrastive, width=64, stem=None)
    model = (pretrain if contrastive else train_supervised)(emblems, config)
    assert_starts_from(model.encoder, imagenet_resnet(18))


def test_a_failed_download_is_one_line_that_says_what_to_do(monkeypatch, emblems, tmp_path):
    def no_network(*_, **__):
        raise OSError("<urlopen error [Errno -3]\nTemporary failure in name resolution>")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", no_network)
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda *a, pretrained, **k: no_network() if pretrained else create(*a, **k)
    )
    for base_model in (18, "timm:test_convnext"):
        config = dataclasses.replace(START, init="imagenet", width=64, stem=None, base_model=base_model)
        with pytest.raises(SimCLRError, match=r"could not be had .* connect this machine to the network") as error:
            pretrain(emblems, config, tmp_path / "run")
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("setting", [{"stem": "cifar"}, {"width": 32}, {"stem": "fast", "base_model": 50}])
def test_imagenets_weights_need_the_original_stem_and_width(setting):
    with pytest.raises(SimCLRError, match='needs the stem="imagenet" and the width=64'):
        TrainConfig(init="imagenet", **setting).check()


def test_imagenets_weights_choose_the_stem_where_it_is_left_open():
    assert TrainConfig(init="imagenet").resolved(32).stem == "imagenet"
    assert TrainConfig(init="imagenet", base_model="timm:test_vit").resolved(32).stem is None


def test_there_are_no_imagenet_weights_for_your_own_encoder(emblems):
    config = dataclasses.replace(START, width=64, stem=None, init="imagenet")
    with pytest.raises(SimCLRError, match="no ImageNet weights for your own encoder"):
        pretrain(emblems, config, encoder=nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
