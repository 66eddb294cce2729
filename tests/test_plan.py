"""`simclr plan` estimates what `simclr train` then takes."""

import json
from dataclasses import replace

import pytest
import torch

from simclr_lib import loop
from simclr_lib.cli import main
from simclr_lib.config import TrainConfig
from simclr_lib.experiments import scaling, throughput
from simclr_lib.experiments.competitors import loss_work
from simclr_lib.experiments.scaling import (
    Calibration,
    Link,
    bytes_kept,
    calibrate,
    estimate,
    size_of,
    stepper,
)
from simclr_lib.loop import LoopConfig
from simclr_lib.models import SimCLR

CPU = torch.device("cpu")
TINY = TrainConfig(
    dataset="emblems", stem="fast", width=4, projection_hidden=16, projection_dim=8, batch_size=64, optimizer="sgd"
)
HERE = Calibration(
    fixed=0.5,
    per_image=0.01,
    loss_rate=1e9,
    kept=5e5,
    kept_per_image=1e6,
    weights=4_000_000,
    norms=20,
    bandwidth=1e9,
    latency=1e-3,
)


def test_one_process_exchanges_nothing_and_takes_all_images():
    one = estimate(TINY, HERE, 32, 1000, 1)
    assert one.exchange == 0
    assert one.compute == pytest.approx(0.5 + 64 * 0.01)
    assert one.loss == pytest.approx(3 * 2 * 128 * 128 * 8 / 1e9)


def test_processes_share_the_images_and_each_sees_all_negatives():
    one, four = estimate(TINY, HERE, 32, 1000, 1), estimate(TINY, HERE, 32, 1000, 4)
    assert four.compute == pytest.approx(0.5 + 16 * 0.01)
    assert four.loss == pytest.approx(one.loss / 4)
    assert four.memory < one.memory


def test_exchange_follows_the_stated_formula():
    def all_reduce(size):
        return 2 * 3 / 4 * size / 1e9 + 2 * 2 * 1e-3  # W = 4, log2 W = 2

    expected = 2 * all_reduce(2 * 64 * 8 * 4) + all_reduce(4_000_000) + (2 * 20 + 2) * all_reduce(0)
    assert estimate(TINY, HERE, 32, 1000, 4).exchange == pytest.approx(expected)


def test_memory_counts_weights_optimizer_activations_similarities_and_images():
    memory = estimate(TINY, HERE, 32, 1000, 1).memory
    assert memory == 4_000_000 * 3 + 5e5 + 64 * 1e6 + 3 * 128 * 128 * 4 + 1000 * 3 * 32 * 32
    chunked = estimate(replace(TINY, loss_chunk=8), HERE, 32, 1000, 1).memory
    assert memory - chunked == 3 * (128 - 8) * 128 * 4
    cached = estimate(replace(TINY, micro_batch=16), HERE, 32, 1000, 1)
    assert memory - cached.memory == 48 * 1e6 - 2 * 64 * 3 * 32 * 32 * 4  # the views are now kept apart


def test_local_negatives_compare_less_and_exchange_no_embeddings():
    local = replace(TINY, global_negatives=False)
    ours, theirs = estimate(local, HERE, 32, 1000, 4), estimate(TINY, HERE, 32, 1000, 4)
    assert ours.loss == pytest.approx(theirs.loss / 4)
    assert ours.exchange < theirs.exchange


class FakeMachine:
    """A machine whose steps and losses take known times: its clock goes on by what they take.

    A step takes ``fixed`` seconds and ``per_image`` for each image, and a pass of the loss takes a quarter of a second.
    """

    def __init__(self, monkeypatch, fixed, per_image):
        self.fixed, self.per_image, self.now, self.sizes = fixed, per_image, 0.0, []
        monkeypatch.setattr(throughput.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(scaling, "stepper", self.stepper)
        monkeypatch.setattr(scaling, "loss_steps", self.loss_steps)

    def stepper(self, config, size, device, batch_size):
        self.sizes.append((batch_size, config.micro_batch))

        def step():
            self.now += self.fixed + self.per_image * batch_size

        return step, config.simclr(size)

    def loss_steps(self, *_):
        while True:
            self.now += 0.25
            yield 1


@pytest.mark.parametrize("micro_batch", [None, 16])
def test_the_calibration_finds_what_a_step_and_an_image_take(monkeypatch, micro_batch):
    machine = FakeMachine(monkeypatch, fixed=0.5, per_image=0.01)
    config = replace(TINY, micro_batch=micro_batch)
    found = calibrate(config, 32, CPU, Link(bandwidth=2e9, latency=3e-5))
    assert (found.fixed, found.per_image) == (pytest.approx(0.5), pytest.approx(0.01))
    assert found.loss_rate == pytest.approx(loss_work(64, 64, 8) / 0.25)
    assert (found.bandwidth, found.latency) == (2e9, 3e-5)
    assert found.weights == sum(p.numel() * 4 for p in TINY.simclr(32).parameters())
    assert found.norms == 22  # 20 of the ResNet-18 and 2 of the projection head
    assert all(micro is None or micro <= images for images, micro in machine.sizes)
    # So the estimate is what the machine takes.
    assert estimate(config, found, 32, 64, 1).step == pytest.approx(0.5 + 64 * 0.01 + 0.25)


def test_steps_grow_until_they_are_long_enough_to_time(monkeypatch):
    machine = FakeMachine(monkeypatch, fixed=0.0, per_image=0.001)
    assert calibrate(TINY, 32, CPU, Link(1e9, 1e-5)).per_image == pytest.approx(0.001)
    assert [images for images, _ in machine.sizes[:4]] == [16, 32, 64, 128]  # 128 images take more than 0.1 s


def test_noise_never_makes_a_cost_negative(monkeypatch):
    FakeMachine(monkeypatch, fixed=1.0, per_image=-0.001)
    found = calibrate(TINY, 32, CPU, Link(1e9, 1e-5))
    assert found.per_image == 0.0
    assert found.fixed > 0


def test_the_step_that_is_measured_is_the_training_loops(monkeypatch):
    taken = []

    def train_step(*arguments):
        taken.append(arguments)
        return loop.train_step(*arguments)

    monkeypatch.setattr(scaling, "train_step", train_step)
    step, model = stepper(TINY, 32, CPU, 16)
    before = model.encoder.conv1.weight.clone()
    assert step().isfinite()
    assert isinstance(model, SimCLR)
    assert len(taken) == 1
    assert not torch.equal(model.encoder.conv1.weight, before)


def test_the_loss_is_three_products_of_all_similarities():
    assert loss_work(16, 64, 8) == 3 * 2 * 32 * 128 * 8


def test_kept_bytes_grow_with_the_images():
    def kept(images):
        torch.manual_seed(0)
        return bytes_kept(*stepper(TINY, 32, CPU, images))

    few, more, many = kept(16), kept(32), kept(48)
    assert 0 < few < more
    # A number for each image, except for the similarities, which grow with the square.
    similarities = [4 * (2 * images) ** 2 for images in (16, 32, 48)]
    growth = (more - similarities[1]) - (few - similarities[0]), (many - similarities[2]) - (more - similarities[1])
    assert growth[1] == pytest.approx(growth[0], rel=0.1)


def test_known_data_sets_need_not_be_there():
    assert size_of(TrainConfig(dataset="cifar10")) == (47_500, 32)  # 5 % are kept out to watch
    assert size_of(TrainConfig(dataset="stl10", limit=1000, image_size=64)) == (1000, 64)  # those have no labels


@pytest.mark.slow
def test_the_plan_is_printed_and_measured_on_as_many_processes(tmp_path, capsys):
    out = tmp_path / "plan.json"
    options = ["--dataset", "emblems", "--stem", "fast", "--width", "4", "--projection-hidden", "16", "--epochs", "2"]
    options += ["--batch-size", "64", "--processes", "1", "2", "--measure", "--device", "cpu", "--out", str(out)]
    assert main(["plan", *options]) == 0
    file = json.loads(out.read_text())
    steps = 2 * (round(8192 * 0.95) // 64)
    assert file["steps"] == steps == 2 * LoopConfig(2, 64, "sgd", 1.0).steps_per_epoch(round(8192 * 0.95))
    head, titles, *lines = capsys.readouterr().out.splitlines()[-5:-1]
    assert head == f"{steps:,} steps of 64 images"
    assert titles.split()[-4:] == ["each", "measured,", "ms", "GB"]
    for line, processes in zip(lines, ("1", "2"), strict=True):
        assert line.split()[0] == processes
        assert all(float(number.replace(",", "")) >= 0 for number in line.split()[-2:])
    for processes in (1, 2):
        row = file["results"][f"{processes} processes"]
        assert row["processes"] == processes
        assert row["step"] == pytest.approx(row["compute"] + row["loss"] + row["exchange"], abs=1e-3)
        assert row["measured"] > 0
        assert row["measured_memory"] >= 0  # 0 on other CPUs than Linux's
    assert file["results"]["1 processes"]["exchange"] == 0 < file["results"]["2 processes"]["exchange"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--processes", "0"], "--processes must be between 1 and 1,000,000, not 0"),
        (["--processes", "3"], "does not divide among 3 processes"),
        (["--no-contrastive"], "plan is for pretraining"),
        (["--micro-batch", "64", "--processes", "2"], "between 1 and 32, the number of images of a process"),
        (["--bandwidth", "0"], "--bandwidth must be between"),
        (["--dataset", "imagefolder", "--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_planned_gets_one_line(capsys, options, message):
    assert main(["plan", "--batch-size", "64", *options]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
