"""Any network that maps images to features can be pretrained: a ResNet, one of timm's, or one of your own."""

import dataclasses
import sys

import pytest
import timm
import torch
from tiny import TINY
from torch import nn

from simclr_lib import SimCLRError, TrainConfig, extract_features, load_dataset, load_pretrained, pretrain
from simclr_lib.augment import SimCLRAugment
from simclr_lib.cli import main
from simclr_lib.describe import describe
from simclr_lib.distributed import _exchange_batch_norm
from simclr_lib.evaluation import feature_dim
from simclr_lib.experiments.comparison import compare_encoder
from simclr_lib.models import SimCLR, timm_encoder
from simclr_lib.objectives import contrastive_objective
from simclr_lib.seeding import seeded
from simclr_lib.teaching.explorer import kinds_of_features
from simclr_lib.training import load_classifier, load_encoder, load_run, run, train_supervised

CPU = torch.device("cpu")
TIMM = dataclasses.replace(TINY, base_model="timm:test_convnext", width=64, stem=None, limit=60, epochs=1)
OWN = dataclasses.replace(TINY, width=64, stem=None, limit=60)


class Own(nn.Module):
    """A network of somebody's own, with dropout and without batch norm."""

    def __init__(self, dim=5):
        super().__init__()
        self.convolution = nn.Conv2d(3, dim, 5, stride=4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.dropout(torch.tanh(self.convolution(images)).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def emblems():
    return load_dataset("emblems", limit=60)


@pytest.fixture(scope="module")
def own_run(emblems, tmp_path_factory):
    """The folder of a run of `Own`, the model that it trained, and the module that it was given."""
    folder = tmp_path_factory.mktemp("own") / "run"
    torch.manual_seed(0)
    encoder = Own()
    return folder, pretrain(emblems, OWN, folder, encoder=encoder), encoder


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


# --- networks of timm


@pytest.mark.parametrize(
    ("name", "dim"), [("test_convnext", 64), ("test_resnet", 96), ("test_efficientnet", 256), ("test_vit", 64)]
)
def test_networks_of_timm_return_features(name, dim):
    encoder = timm_encoder(name, 32).eval()
    assert feature_dim(encoder, 32) == dim
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, dim)


def test_a_vision_transformer_is_made_for_the_size_of_the_views_and_takes_whole_images_too():
    config = dataclasses.replace(TIMM, base_model="timm:test_vit", view_size=32)
    encoder = config.encoder(64)
    assert encoder.patch_embed.img_size == (32, 32)
    assert feature_dim(encoder, 64) == config.feature_dim(encoder, 64) == 64


def test_a_network_that_takes_one_size_only_is_refused_for_views_of_another():
    config = dataclasses.replace(TIMM, base_model="timm:mixer_s32_224", view_size=32)
    with pytest.raises(SimCLRError, match=r"takes no images of 64 pixels .* choose another size"):
        config.simclr(64)
    with pytest.raises(SimCLRError, match="takes no images of 20 pixels"):
        dataclasses.replace(config, view_size=20, base_model="timm:test_vit").simclr(20)


def test_timm_pretrains_resumes_and_is_loaded(emblems, tmp_path, monkeypatch):
    whole = pretrain(emblems, TIMM, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "after_step", power_cut_after(2))
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(emblems, TIMM, tmp_path / "cut")
    resumed = pretrain(emblems, dataclasses.replace(TIMM, resume=True), tmp_path / "cut")
    assert same_weights(whole, resumed)
    model, config = load_run(tmp_path / "cut", CPU)
    assert same_weights(whole, model)
    assert (config.base_model, config.stem) == ("timm:test_convnext", None)
    assert same_weights(load_encoder(tmp_path / "cut", CPU)[0], whole.encoder)


def power_cut_after(steps):
    """Make a replacement of `Run.after_step` that saves after so many steps, and then fails."""

    def after_step(self, step, flush):
        if step + 1 == steps:
            self.save(step + 1)
            raise RuntimeError("power cut")

    return after_step


@pytest.mark.slow
def test_timm_trains_with_labels_and_is_compared(emblems, tmp_path):
    config = dataclasses.replace(TIMM, contrastive=False)
    classifier = train_supervised(emblems, config, tmp_path)
    assert same_weights(load_classifier(tmp_path, CPU)[0], classifier)
    table, _, _ = compare_encoder(classifier.encoder, config, emblems, emblems, draws=1, budgets=(2,))
    assert set(table) == {"SimCLR", "random encoder", "pixels"}


@pytest.mark.slow
def test_the_command_line_trains_a_network_of_timm(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--dataset", "emblems", "--limit", "40", "--epochs", "1", "--batch-size", "16", "--projection-hidden", "8"]
    assert main(["train", "--base-model", "timm:test_convnext", "--no-contrastive", *words]) == 0
    printed = capsys.readouterr().out
    network = next(line for line in printed.splitlines() if line.startswith("network"))
    assert network.split() == ["network", "base-model", "timm:test_convnext"]  # neither width, stem nor projection head
    assert len(list(tmp_path.glob("runs/emblems-test_convnext-supervised-*"))) == 1
    assert main(["plan", "--base-model", "timm:test_convnext", "--processes", "1", *words]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--base-model 81", "value of --base-model '81': did you mean '18'? Choose one of 18, 34, 50, timm:NAME."),
        ("--base-model resnet18", "choose one of 18, 34, 50, timm:NAME."),
        ("--base-model timm:", "Choose one of 18, 34, 50, timm:NAME."),
        ("--base-model module:x.Y", "choose one of 18, 34, 50, timm:NAME."),
        ("--base-model timm:test_convnex", "timm knows no network 'test_convnex': did you mean 'test_convnext'?"),
        ("--base-model timm:test_convnext --width 8", "leave them out with --base-model timm:test_convnext."),
        ("--base-model timm:test_convnext --stem fast", "leave them out with --base-model timm:test_convnext."),
    ],
)  # fmt: skip
def test_a_network_that_is_not_there_is_one_line_and_nothing_is_written(words, message, tmp_path, capsys):
    command = ["train", "--dataset", "emblems", "--limit", "40", "--run-dir", str(tmp_path / "run"), *words.split()]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_the_help_shows_the_choices_of_networks(capsys):
    assert main(["train", "--help"]) == 0
    assert "18,34,50,timm:NAME" in capsys.readouterr().out


def test_without_timm_its_networks_are_one_line(monkeypatch, emblems):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SimCLRError, match="needs the timm package: pip install timm"):
        pretrain(emblems, TIMM)


def test_a_depth_may_be_given_as_text():
    assert TrainConfig(base_model="50").base_model == 50


def test_batch_norms_of_timm_keep_their_activation_when_processes_share_them():
    encoder = timm_encoder("test_efficientnet", 32).eval()
    images = torch.rand(2, 3, 32, 32)
    expected = encoder(images)
    _exchange_batch_norm(encoder)
    assert not any(type(module) is timm.layers.BatchNormAct2d for module in encoder.modules())
    torch.testing.assert_close(encoder(images), expected)


# --- a network of your own


def test_a_copy_of_your_own_network_is_trained_from_the_weights_that_it_has(own_run, emblems):
    _, model, encoder = own_run
    assert type(model.encoder) is Own
    assert not same_weights(model.encoder, encoder)
    torch.manual_seed(0)
    assert same_weights(encoder, Own())
    untrained = pretrain(emblems, dataclasses.replace(OWN, lr=1e-30), encoder=encoder)
    torch.testing.assert_close(untrained.encoder.state_dict(), encoder.state_dict())


def test_a_run_of_your_own_network_resumes_bit_for_bit_though_it_has_dropout(own_run, emblems, tmp_path, monkeypatch):
    _, whole, encoder = own_run
    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "after_step", power_cut_after(2))
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(emblems, OWN, tmp_path, encoder=encoder)
    resume = dataclasses.replace(OWN, resume=True)
    with pytest.raises(SimCLRError, match=r"base_model was 'module:.*Own', is 18"):
        pretrain(emblems, resume, tmp_path)
    torch.rand(3)
    assert same_weights(pretrain(emblems, resume, tmp_path, encoder=Own()), whole)


def test_training_leaves_the_global_random_numbers_alone(emblems):
    encoder = Own()
    before = torch.get_rng_state()
    pretrain(emblems, OWN, encoder=encoder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_of_your_own_network_is_loaded_with_a_module_of_its_class(own_run, emblems):
    folder, model, _ = own_run
    blank = Own()
    loaded = load_pretrained(folder, "cpu", encoder=blank)
    assert torch.equal(extract_features(loaded.encoder, emblems), extract_features(model.encoder, emblems))
    assert not same_weights(loaded.encoder, blank)
    assert same_weights(load_encoder(folder, CPU, Own())[0], model.encoder)
    for load in (load_pretrained, lambda path: load_encoder(path, CPU)):
        with pytest.raises(
            SimCLRError, match=r"a module, a .*test_encoders\.Own: give one again, in Python \(encoder=…\)"
        ):
            load(folder)
    with pytest.raises(SimCLRError, match="do not fit"):
        load_pretrained(folder, "cpu", encoder=Own(dim=6))
    with pytest.raises(SimCLRError, match="has the encoder resnet18"):
        load_pretrained("emblems-resnet18", "cpu", encoder=Own())


def test_your_own_network_trains_with_labels(emblems, tmp_path):
    config = dataclasses.replace(OWN, contrastive=False)
    classifier = train_supervised(emblems, config, tmp_path, encoder=Own())
    assert same_weights(load_classifier(tmp_path, CPU, Own())[0], classifier)


def test_your_own_network_has_no_random_twin_to_compare_with(own_run, emblems):
    folder, _, _ = own_run
    model, config = load_run(folder, CPU, Own())
    table, _, _ = compare_encoder(model.encoder, config, emblems, emblems, draws=1, budgets=(2,))
    assert set(table) == {"SimCLR", "pixels"}
    assert set(kinds_of_features(model, config, emblems)) == {"SimCLR h", "SimCLR z", "pixels"}
    with pytest.raises(SimCLRError, match="was given as a module: give it again"):
        config.encoder(32)
    assert "base-model module:" in describe(config)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (nn.Conv2d(3, 4, 3), r"must return features \[1, D\]"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 5)), "takes no images of 32 pixels"),
    ],
)
def test_a_module_that_returns_no_features_is_refused_before_anything_is_written(emblems, tmp_path, encoder, message):
    with pytest.raises(SimCLRError, match=message):
        pretrain(emblems, OWN, tmp_path / "run", encoder=encoder)
    assert not (tmp_path / "run").exists()


def test_width_and_stem_are_refused_with_your_own_network(emblems):
    with pytest.raises(SimCLRError, match="belong to the ResNets"):
        pretrain(emblems, TINY, encoder=Own())


def test_gradient_caching_drops_the_same_in_both_passes(emblems):
    encoder, dropped = Own(), []
    encoder.dropout.register_forward_hook(lambda _, __, output: dropped.append(output == 0))
    objective = contrastive_objective(
        SimCLR(encoder, nn.Linear(5, 4)), emblems.images, SimCLRAugment(32), temperature=0.5, micro_batch=4
    )
    for _ in range(2):
        objective(torch.arange(8), seeded(0)).backward()
    first, second = torch.stack(dropped).chunk(2)
    for step in (first, second):
        assert torch.equal(step[:2], step[2:])
        assert not torch.equal(step[0], step[1])
    assert not torch.equal(first, second)
