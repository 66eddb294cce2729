"""The training loop shows the right images at the right learning rate, and does the same when it runs again."""

import contextlib
import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from simclr_lib.augment import SimCLRAugment
from simclr_lib.device import gradient_scaler
from simclr_lib.errors import SimCLRError
from simclr_lib.loop import DivergedError, LoopConfig, batches, fit, train_step
from simclr_lib.models import ProjectionHead, SimCLR, resnet18
from simclr_lib.objectives import contrastive_objective
from simclr_lib.optim import build_optimizer, warmup_cosine
from simclr_lib.seeding import seeded


def config(**settings):
    return LoopConfig(**{"epochs": 3, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "precision": "fp32", **settings})


def regression(num_examples=40, seed=0):
    """Return a model and the loss of a noisy linear problem, whose noise is drawn from the step's generator."""
    torch.manual_seed(seed)
    model = nn.Linear(5, 1)
    x = torch.randn(num_examples, 5)
    y = x.sum(dim=1, keepdim=True)

    def batch_loss(indices, generator):
        noise = torch.randn(len(indices), 1, generator=generator)
        return F.mse_loss(model(x[indices]), y[indices] + noise)

    return model, batch_loss


class Watcher:
    """An observer that writes everything down, and may start late."""

    def __init__(self, first_step=0, act_at=(), restore=None):
        self.first_step, self.act_at, self.restore = first_step, act_at, restore
        self.rates, self.steps, self.reported, self.reported_rates = [], [], [], []
        self.acted, self.saved = [], {}

    def start(self, model, optimizer, steps_per_epoch, scaler):
        self.model, self.optimizer, self.steps_per_epoch, self.scaler = model, optimizer, steps_per_epoch, scaler
        if self.restore:
            model.load_state_dict(self.restore["model"])
            optimizer.load_state_dict(self.restore["optimizer"])
            if scaler.is_enabled():
                scaler.load_state_dict(self.restore["scaler"])
        return self.first_step

    def log(self, first_step, losses, lrs):
        assert first_step == self.first_step + len(self.reported)
        self.reported += losses
        self.reported_rates += lrs

    def after_step(self, step, flush):
        self.steps.append(step)
        self.rates.append({group["lr"] for group in self.optimizer.param_groups})
        if step not in self.act_at:
            return
        flush()
        self.acted.append((step, self.first_step + len(self.reported)))
        parts = {"model": self.model, "optimizer": self.optimizer, "scaler": self.scaler}
        self.saved[step] = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})


# --- batches


@given(num_examples=st.integers(1, 60), batch_size=st.integers(1, 20), epochs=st.integers(1, 4))
def test_an_epoch_shows_no_image_twice_and_drops_less_than_a_batch(num_examples, batch_size, epochs):
    batch_size = min(batch_size, num_examples)
    steps = list(batches(num_examples, config(epochs=epochs, batch_size=batch_size)))
    per_epoch = num_examples // batch_size
    assert len(steps) == epochs * per_epoch
    for epoch in range(epochs):
        seen = torch.cat(steps[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert len(seen.unique()) == len(seen) > num_examples - batch_size
        assert seen.min() >= 0
        assert seen.max() < num_examples


def test_whole_epochs_are_permutations_and_each_has_its_own_order():
    first, second, third = torch.stack(list(batches(40, config()))).view(3, 40)
    for order in (first, second, third):
        assert order.sort().values.tolist() == list(range(40))
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_the_images_that_an_epoch_drops_are_not_always_the_same():
    steps = torch.stack(list(batches(10, config(epochs=20, batch_size=8))))
    dropped = {tuple(sorted(set(range(10)) - set(step.tolist()))) for step in steps}
    assert len(dropped) > 5


@given(first_step=st.integers(0, 15))
def test_batches_from_a_later_step_continue_the_same_sequence(first_step):
    whole = [step.tolist() for step in batches(41, config())]
    assert [step.tolist() for step in batches(41, config(), first_step)] == whole[first_step:]


def test_seed_decides_the_order():
    def order(seed):
        return torch.cat(list(batches(40, config(seed=seed)))).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_a_batch_larger_than_the_set_is_refused_with_both_numbers():
    with pytest.raises(SimCLRError, match=r"batch of 64 .* 40 training images.*batch_size of 40"):
        next(batches(40, config(batch_size=64)))
    model, batch_loss = regression()
    with pytest.raises(SimCLRError, match=r"batch of 64 .* 40 training images"):
        fit(model, batch_loss, 40, config(batch_size=64))


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"batch_size": 0}])
def test_no_epochs_and_empty_batches_are_refused(settings):
    with pytest.raises(SimCLRError, match="at least 1"):
        config(**settings).steps_per_epoch(40)


# --- random streams


def test_a_stream_gives_the_same_numbers_whatever_ran_before():
    def draw():
        return torch.rand(5, generator=seeded(0, "views", 3))

    first = draw()
    with torch.random.fork_rng():
        torch.manual_seed(123)
        torch.rand(10)
        assert torch.equal(draw(), first)


def test_streams_differ():
    names = [(0,), (1,), (0, "views", 0), (0, "views", 1), (0, "order", 0), (1, "views", 0), (0, 0), (0, "0")]
    numbers = [tuple(torch.rand(3, generator=seeded(*name)).tolist()) for name in names]
    assert len(set(numbers)) == len(names)


def test_streams_leave_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    torch.rand(5, generator=seeded(0, "views", 3))
    assert torch.equal(torch.get_rng_state(), before)


# --- fit


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lars"])
@pytest.mark.parametrize("warmup_epochs", [0, 1, 0.5])
def test_learning_rate_follows_the_schedule_at_every_step(optimizer, warmup_epochs):
    watcher = Watcher()
    model, batch_loss = regression(43)  # 5 steps an epoch
    settings = config(epochs=6, optimizer=optimizer, lr=0.02, warmup_epochs=warmup_epochs)
    fit(model, batch_loss, 43, settings, watcher)
    expected = [0.02 * warmup_cosine(step, 30, round(5 * warmup_epochs)) for step in range(30)]
    assert watcher.steps == list(range(30))
    assert watcher.rates == [{rate} for rate in expected]
    assert watcher.reported_rates == expected
    assert expected[0] > 0
    assert max(expected) == 0.02


def test_warmup_longer_than_the_run_is_all_warmup():
    watcher = Watcher()
    model, batch_loss = regression()
    fit(model, batch_loss, 40, config(epochs=2, warmup_epochs=100), watcher)
    assert [rate for rates in watcher.rates for rate in rates] == pytest.approx([0.01 * (i + 1) for i in range(10)])


def test_history_has_the_loss_of_every_step():
    model, batch_loss = regression()
    computed = []

    def spy(indices, generator):
        loss = batch_loss(indices, generator)
        computed.append(loss.item())
        return loss

    watcher = Watcher(act_at=(2, 11))
    history = fit(model, spy, 40, config(epochs=12), watcher)  # 60 steps: two looks of 25, and the rest
    assert len(history) == 60
    assert history == computed == watcher.reported
    assert sum(history[-10:]) < sum(history[:10])


def test_observer_acts_after_its_step_with_the_losses_up_to_date():
    model, batch_loss = regression()
    watcher = Watcher(act_at=(0, 7, 14))
    fit(model, batch_loss, 40, config(), watcher)
    assert watcher.acted == [(0, 1), (7, 8), (14, 15)]
    assert watcher.steps_per_epoch == 5


@pytest.mark.parametrize("bad_step", [0, 7, 24, 25, 59])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_reported_with_its_exact_step(bad_step, value):
    model, batch_loss = regression()
    steps = iter(range(60))

    def diverging(indices, generator):
        loss = batch_loss(indices, generator)
        return loss * value if next(steps) == bad_step else loss

    watcher = Watcher()
    with pytest.raises(DivergedError, match=rf"the loss became {value} at step {bad_step} of 60.*learning rate"):
        fit(model, diverging, 40, config(epochs=12), watcher)
    assert len(watcher.reported) == bad_step  # all that were finite
    assert all(math.isfinite(loss) for loss in watcher.reported)


def test_a_diverged_model_is_not_saved():
    model, batch_loss = regression()
    watcher = Watcher(act_at=range(15))
    steps = iter(range(15))
    with pytest.raises(DivergedError, match="at step 4 of 15"):
        fit(model, lambda *batch: batch_loss(*batch) * (math.nan if next(steps) == 4 else 1), 40, config(), watcher)
    assert [step for step, _ in watcher.acted] == [0, 1, 2, 3]


def test_model_is_trained_in_training_mode():
    model, batch_loss = regression()
    modes = []
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    fit(model.eval(), batch_loss, 40, config(epochs=1))
    assert modes == [True] * 5


def test_fit_leaves_the_global_random_numbers_alone():
    model, batch_loss = regression()
    before = torch.get_rng_state()
    fit(model, batch_loss, 40, config())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lars"])
@pytest.mark.parametrize("stop", [2, 4, 7])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_continued_in_mid_epoch_ends_bit_identically(optimizer, stop, precision):
    settings = config(optimizer=optimizer, lr=0.05, warmup_epochs=1, precision=precision)
    model, batch_loss = regression()
    watcher = Watcher(act_at=(stop,))
    history = fit(model, batch_loss, 40, settings, watcher)

    resumed, batch_loss = regression()
    later = Watcher(first_step=stop + 1, restore=watcher.saved[stop])
    assert fit(resumed, batch_loss, 40, settings, later) == history[stop + 1 :]
    assert later.rates == watcher.rates[stop + 1 :]
    assert torch.equal(resumed.weight, model.weight)
    assert torch.equal(resumed.bias, model.bias)


def test_float16_trains_to_nearly_the_loss_of_float32():
    """Though it leaves out the first steps, until the scale of the gradients is found."""
    losses = {}
    for precision in ("fp32", "fp16"):
        model, batch_loss = regression()
        losses[precision] = fit(model, batch_loss, 40, config(epochs=12, precision=precision))
    assert losses["fp16"] != losses["fp32"]
    assert sum(losses["fp32"][-5:]) < 0.5 * sum(losses["fp32"][:5])
    assert losses["fp16"][-5:] == pytest.approx(losses["fp32"][-5:], abs=0.05)


def test_a_step_with_an_infinite_gradient_is_left_out_and_the_scale_halved():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    scaler = gradient_scaler(torch.device("cpu"), "fp16")
    before = scaler.get_scale()

    def step(factor):
        loss = lambda indices, _: (weight * factor).sum()  # noqa: E731
        return train_step(optimizer, loss, torch.arange(1), seeded(0), contextlib.nullcontext(), scaler)

    step(float("inf"))
    assert torch.equal(weight, torch.ones(3))
    assert scaler.get_scale() == before / 2
    assert step(2.0) == 6
    torch.testing.assert_close(weight.detach(), torch.full((3,), 0.8))


def test_continuing_a_finished_run_does_nothing():
    model, batch_loss = regression()
    before = model.weight.detach().clone()
    assert fit(model, batch_loss, 40, config(), Watcher(first_step=15)) == []
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_equal_simclr_runs_are_bit_identical(precision):
    settings = config(epochs=2, batch_size=16, optimizer="lars", precision=precision)

    def run(noise):
        torch.manual_seed(0)
        encoder = resnet18("fast", width=4)
        model = SimCLR(encoder, ProjectionHead(encoder.feature_dim, 16, 8))
        images = torch.randint(256, (48, 3, 16, 16), generator=seeded(0), dtype=torch.uint8)
        objective = contrastive_objective(model, images, SimCLRAugment(16), temperature=0.5)
        torch.manual_seed(noise)  # what else uses the global generator makes no difference
        history = fit(model, objective, 48, settings)
        return history, model.state_dict()

    (history, weights), (history_again, weights_again) = run(1), run(2)
    assert history == history_again
    for name, weight in weights.items():
        assert torch.equal(weight, weights_again[name]), name


@pytest.mark.parametrize("optimizer", ["lars", "sgd"])
def test_a_pretraining_step_never_asks_the_device_for_a_number(optimizer, monkeypatch):
    # The meta device computes shapes alone. It raises where a program asks it for a number, or for rows whose count
    # depends on numbers: a GPU would have to wait there.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no meta device
    with torch.device("meta"):
        encoder = resnet18("fast", width=4)
        model = SimCLR(encoder, ProjectionHead(encoder.feature_dim, 16, 8))
        images = torch.empty(48, 3, 16, 16, dtype=torch.uint8)
    objective = contrastive_objective(model, images, SimCLRAugment(16), temperature=0.5)
    stepper = build_optimizer(optimizer, model, 0.1, 1e-4)
    for step in range(2):
        loss = train_step(stepper, objective, torch.arange(16), seeded(0, step), contextlib.nullcontext())
    assert loss.device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        loss.item()


def test_another_seed_gives_another_run():
    def run(seed):
        model, batch_loss = regression()
        return fit(model, batch_loss, 40, config(seed=seed))

    assert run(0) != run(1)
