"""The weights that come with the package are small, load like a run, and are as good as said."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simclr_lib import extract_features, knn_accuracy, load_dataset
from simclr_lib.authoring import weights
from simclr_lib.authoring.bundle import bundle, in_bits
from simclr_lib.authoring.tables import fill
from simclr_lib.choices import BUNDLED
from simclr_lib.config import TrainConfig
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import accuracy
from simclr_lib.models import OutputHead
from simclr_lib.results import Result
from simclr_lib.teaching.profiles import EMBLEMS, load_profile
from simclr_lib.training import (
    load_checkpoint,
    load_classifier,
    load_encoder,
    load_pretrained,
    load_run,
    pretrain,
    save_checkpoint,
    train_supervised,
)
from simclr_lib.training.pretrained import WEIGHTS

RESULTS = Path(__file__).parent.parent / "notebooks" / "results"


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
    assert config.to_dict() == EMBLEMS.resolved(32).to_dict()


def test_the_weights_of_cifar10_give_the_recorded_features():
    model = load_pretrained("cifar10-resnet18", "cpu")
    with torch.no_grad():
        h, z = model(load_dataset("emblems", "test", limit=4).images.float() / 255)
    recorded = [
        [-0.3317, 0.2305, 1.6838, -0.8000],
        [0.4141, 0.0274, 1.1595, 0.3860],
        [-1.4068, 1.2946, 1.8621, -0.8590],
        [-0.4731, 0.9881, 0.6031, -0.1744],
    ]
    torch.testing.assert_close(z[:, ::32], torch.tensor(recorded), rtol=0, atol=2e-3)
    torch.testing.assert_close(h.norm(dim=1), torch.tensor([5.0213, 5.7522, 7.5772, 5.5408]), rtol=0, atol=2e-3)
    assert not model.training


def test_they_are_under_eleven_megabytes_and_of_the_run_that_was_measured():
    file = WEIGHTS / "cifar10-resnet18.pt"
    assert file.stat().st_size < 11_000_000
    _, config = load_run(file, torch.device("cpu"))
    used = Result.read(RESULTS / "cifar10-gpu-simclr.json").config
    assert config == TrainConfig.from_dict(used).resolved(32)
    assert (config.optimizer, config.lr, config.temperature, config.epochs) == ("lars", 2.0, 0.5, 500)


def test_eight_bits_keep_the_accuracies_of_half_precision():
    rows = Result.read(RESULTS / "cifar10-weights.json").results
    for column, before in rows["half precision"].items():
        assert rows["8 bits"][column]["mean"] > before["mean"] - 0.002


def test_the_figures_in_the_model_card_are_those_of_the_results_files():
    card = (WEIGHTS / "cifar10-resnet18.md").read_text(encoding="utf-8")
    assert "0 to 1, no normalisation" in card
    assert card.count("<!-- cifar10") >= 9
    assert fill(card, RESULTS) == card
    measured = Result.read(RESULTS / "cifar10-weights.json").extra
    size, change = measured["megabytes"], measured["relative_change_of_features"]
    text = " ".join(card.split())
    assert f"{size['8 bits']:.1f} MB instead of {size['half precision']:.1f} in half precision" in text
    assert f"by {change['8 bits']:.1%}; with 6 bits ({size['6 bits']:.1f} MB) it would be {change['6 bits']:.1%}" in (
        text.replace(" %", "%")
    )


@pytest.mark.parametrize(("bits", "largest"), [(8, 127), (6, 31)])
def test_rounded_weights_are_within_half_a_step_of_each_channel(bits, largest):
    sizes = torch.tensor([0, 1e-9, 1e-3, 1, 1e3]).view(5, 1, 1, 1)
    weight = sizes * torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    numbers, scale = in_bits(weight, bits)
    assert (numbers.dtype, scale.shape) == (torch.int8, (5, 1, 1, 1))
    assert numbers.abs().amax(dim=(1, 2, 3)).tolist() == [0, *[largest] * 4]
    assert ((numbers * scale - weight).abs() <= 0.5001 * scale).all()


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """The folder of a short run of a narrow network."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    config = replace(EMBLEMS, width=4, epochs=1, device="cpu", precision="fp32", validation=0.0)
    pretrain(load_dataset("emblems", limit=64), config, folder)
    return folder


def test_a_run_is_bundled_in_half_precision(tiny_run, tmp_path):
    bundle(tiny_run, tmp_path / "small.pt")
    whole, small = load_pretrained(tiny_run, "cpu"), load_pretrained(tmp_path / "small.pt", "cpu")
    assert (tmp_path / "small.pt").stat().st_size < (tiny_run / "checkpoint.pt").stat().st_size / 2
    for a, b in zip(whole.state_dict().values(), small.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_a_run_is_bundled_in_eight_bits(tiny_run, tmp_path):
    bundle(tiny_run, tmp_path / "half.pt")
    bundle(tiny_run, tmp_path / "eight.pt", bits=8)
    assert (tmp_path / "eight.pt").stat().st_size < 0.9 * (tmp_path / "half.pt").stat().st_size
    whole, small = load_pretrained(tiny_run, "cpu"), load_pretrained(tmp_path / "eight.pt", "cpu")
    for a, b in zip(whole.state_dict().values(), small.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=max(1e-3, float(a.abs().max()) / 250))
    images = load_dataset("emblems", limit=8).images.float() / 255
    with torch.no_grad():
        before, after = whole.encoder(images), small.encoder(images)
    assert (after - before).norm() < 0.05 * before.norm()


@pytest.mark.slow
def test_fewer_bits_make_a_smaller_file_and_change_the_features_more(one_penalty, tiny_run):
    train, test = load_dataset("emblems", limit=60), load_dataset("emblems", "test", limit=20)
    file = weights.measure(tiny_run, train, test, torch.device("cpu"))
    half, eight, six = file.results
    size, change = file.extra["megabytes"], file.extra["relative_change_of_features"]
    assert size[half] > size[eight] > size[six]
    assert 0 == change[half] < change[eight] < change[six]


@pytest.mark.parametrize("place", [0.01, 0.5, 0.9])
def test_damaged_bundled_weights_never_load(tmp_path, monkeypatch, place):
    content = bytearray((WEIGHTS / "emblems-resnet18.pt").read_bytes())
    content[round(place * len(content))] ^= 16
    (tmp_path / "emblems-resnet18.pt").write_bytes(content)
    monkeypatch.setattr("simclr_lib.training.pretrained.WEIGHTS", tmp_path)
    with pytest.raises(SimCLRError, match="is damaged"):
        load_pretrained("emblems-resnet18", "cpu")


def test_the_bundled_weights_carry_a_digest():
    assert "digest" in torch.load(WEIGHTS / "emblems-resnet18.pt", weights_only=True)


def test_weights_that_are_not_there_are_named():
    with pytest.raises(SimCLRError, match="no checkpoint at emblems-resnet19"):
        load_pretrained("emblems-resnet19")


def test_a_run_is_not_mistaken_for_a_file_of_nearly_the_same_name(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "run.pt").write_text("something else")
    assert not load_pretrained(tmp_path / "run", "cpu").training


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(
            ("config", {name: value})
            for name in ("base_model", "width", "projection_hidden")
            for value in ("x", [1], {})
        ),
        ("config", {"stem": ["fast"]}),
        ("config", {"stem": 3}),
        ("config", {"projection_layers": "2"}),
        ("config", {"width": 2**40}),
        ("config", {"width": -1}),
        ("config", {"projection_hidden": 2**63 - 1}),
        ("config", {"blur_sigma": None}),
        ("config", {"unknown": 1}),
        ("model", {"encoder.conv1.weight": torch.zeros(1)}),
        ("model", {"encoder.conv1.weight": 3}),
        ("model", {"more": torch.zeros(1)}),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_the_weights_get_one_line(tiny_run, tmp_path, place, value):
    state = load_checkpoint(tiny_run)
    save_checkpoint(tmp_path / "checkpoint.pt", {**state, place: {**state[place], **value}})
    with pytest.raises(SimCLRError) as error:
        load_pretrained(tmp_path, "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["config", "facts", "model"])
def test_parts_of_another_kind_get_one_line(tiny_run, tmp_path, place):
    save_checkpoint(tmp_path / "checkpoint.pt", {**load_checkpoint(tiny_run), place: [1, 2]})
    with pytest.raises(SimCLRError, match="do not fit"):
        load_pretrained(tmp_path, "cpu")


def test_loading_a_model_leaves_the_global_random_numbers_alone(tiny_run):
    before = torch.get_rng_state()
    load_pretrained(tiny_run, "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_profiles_are_found_by_name(tiny_run, tmp_path, monkeypatch):
    assert load_profile("quick").recipe == EMBLEMS
    monkeypatch.chdir(tmp_path)
    assert load_profile("full").pretrained().encoder.feature_dim == 512
    shutil.copytree(tiny_run, tmp_path / "runs" / "03-full")
    assert load_profile("full").pretrained().encoder.feature_dim == 32  # one's own run goes first
    with pytest.raises(SimCLRError, match="unknown profile 'quik'"):
        load_profile("quik")


# --- classifiers and encoders

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def labelled_run(tmp_path_factory):
    """The folder of a short run with labels, and the classifier that it trained."""
    folder = tmp_path_factory.mktemp("labelled") / "run"
    config = replace(EMBLEMS, contrastive=False, width=4, epochs=1, optimizer=None, lr=None, device="cpu")
    return folder, train_supervised(load_dataset("emblems", limit=64), config, folder)


@pytest.fixture
def run_with_head(tiny_run, tmp_path):
    """A copy of a SimCLR run's folder with an output head beside its checkpoint, and that head."""
    shutil.copytree(tiny_run, tmp_path / "run")
    head = OutputHead(32, 3)
    save_checkpoint(tmp_path / "run" / "output_head.pt", {"head": head.state_dict(), "classes": ["a", "b", "c"]})
    return tmp_path / "run", head


def test_the_classifier_of_a_run_with_labels_is_the_one_that_was_trained(labelled_run):
    folder, trained = labelled_run
    test = load_dataset("emblems", "test", limit=50)
    for path in (folder, folder / "checkpoint.pt"):
        classifier, config, classes = load_classifier(path, CPU)
        assert torch.equal(extract_features(classifier, test), extract_features(trained, test))
        assert (classes, config.width, classifier.training) == (test.classes, 4, False)
    assert accuracy(classifier, test) == accuracy(trained, test)


def test_the_classifier_of_a_simclr_run_is_its_encoder_and_the_output_head_beside_it(run_with_head, tiny_run):
    folder, head = run_with_head
    classifier, config, classes = load_classifier(folder, CPU)
    images = torch.rand(3, 3, 32, 32)
    expected = head(load_pretrained(tiny_run, "cpu").encoder(images))
    torch.testing.assert_close(classifier(images), expected)
    assert (config.contrastive, classes) == (True, ["a", "b", "c"])


def test_a_run_without_an_output_head_has_no_classifier(tiny_run):
    with pytest.raises(SimCLRError, match=r"no output head at .*output_head\.pt.* train on images with labels"):
        load_classifier(tiny_run, CPU)
    with pytest.raises(SimCLRError, match="no checkpoint"):
        load_classifier(tiny_run / "elsewhere", CPU)


@pytest.mark.parametrize(
    "content",
    [
        {"head": OutputHead(32, 3).state_dict(), "classes": ["a", "b"]},
        {"head": OutputHead(31, 2).state_dict(), "classes": ["a", "b"]},
        {"head": {}, "classes": ["a"]},
        {"head": [1], "classes": 3},
        {},
    ],
    ids=["too many rows", "too short", "empty", "of another kind", "nothing"],
)
def test_an_output_head_that_does_not_fit_gets_one_line(run_with_head, content):
    folder, _ = run_with_head
    save_checkpoint(folder / "output_head.pt", content)
    with pytest.raises(SimCLRError, match="do not fit") as error:
        load_classifier(folder, CPU)
    assert "\n" not in str(error.value)


def test_the_encoder_of_either_kind_of_run_can_be_loaded(tiny_run, labelled_run):
    images = torch.rand(3, 3, 32, 32)
    folder, trained = labelled_run
    encoder, config = load_encoder(folder, CPU)
    assert torch.equal(encoder(images), trained.encoder(images))
    assert (config.contrastive, encoder.training) == (False, False)
    encoder, config = load_encoder(tiny_run, CPU)
    assert torch.equal(encoder(images), load_pretrained(tiny_run, "cpu").encoder(images))
    assert config.contrastive


def test_a_run_with_labels_is_no_simclr_model(labelled_run):
    with pytest.raises(SimCLRError, match="was trained with labels"):
        load_run(labelled_run[0], CPU)


def test_a_run_of_an_early_version_is_what_trained_it_and_not_what_its_settings_say(tiny_run, labelled_run, tmp_path):
    """`pretrain` and `train_supervised` stored `contrastive` as it was given, and did not go by it."""
    folder, trained = labelled_run
    for run, said in ((tiny_run, False), (folder, True)):
        state = load_checkpoint(run)
        state["config"]["contrastive"] = said
        save_checkpoint(tmp_path / f"said {said}.pt", state)
    images = torch.rand(3, 3, 32, 32)
    classifier, config, _ = load_classifier(tmp_path / "said True.pt", CPU)
    assert torch.equal(classifier(images), trained(images))
    assert not config.contrastive
    _, z = load_pretrained(tmp_path / "said False.pt", "cpu")(images)
    assert torch.equal(z, load_pretrained(tiny_run, "cpu")(images)[1])


def test_the_command_line_knows_the_weights_without_torch():
    assert {file.stem for file in WEIGHTS.glob("*.pt")} == set(BUNDLED)
