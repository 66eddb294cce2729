"""LARS is the reference code's, its parameter groups are right, and the schedule is per step."""

import copy
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from simclr_lib import optim
from simclr_lib.errors import SimCLRError
from simclr_lib.models import ProjectionHead, SimCLR, resnet18
from simclr_lib.optim import LARS, build_optimizer, default_lr, norms, parameter_groups, updated_at_once, warmup_cosine

WAYS = pytest.mark.parametrize("way", [lambda params: [params], lambda params: [[p] for p in params]])
SHAPES = [(4, 3, 3, 3), (5, 4), (5,), (1,), ()]


def parameters(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in SHAPES]


def set_gradients(params, step):
    generator = torch.Generator().manual_seed(1000 + step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)


def learning_rate(step):
    return 0.3 * (1 + math.cos(step / 7))


def reference_step(w, g, v, lr, momentum, weight_decay, trust_coefficient, nesterov, adapt):
    """The update of google-research/simclr (``classic_momentum``), in float64. Returns (w, v)."""
    g = g + weight_decay * w
    trust = 1.0
    if adapt and np.linalg.norm(w) > 0 and np.linalg.norm(g) > 0:
        trust = trust_coefficient * np.linalg.norm(w) / np.linalg.norm(g)
    v = momentum * v + lr * trust * g
    return w - (momentum * v + lr * trust * g if nesterov else v), v


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_50_steps_are_those_of_the_reference(weight_decay, nesterov, adapt):
    params = parameters()
    optimizer = LARS(
        [{"params": params, "adapt": adapt}],
        lr=0.0,
        momentum=0.9,
        weight_decay=weight_decay,
        trust_coefficient=0.02,
        nesterov=nesterov,
    )
    expected = [(p.detach().numpy().copy(), np.zeros(p.shape)) for p in params]
    for step in range(50):
        set_gradients(params, step)
        lr = learning_rate(step)
        expected = [
            reference_step(w, p.grad.numpy(), v, lr, 0.9, weight_decay, 0.02, nesterov, adapt)
            for p, (w, v) in zip(params, expected, strict=True)
        ]
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    for p, (w, v) in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(optimizer.state[p]["momentum_buffer"].numpy(), v, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
@WAYS
def test_parameters_move_as_each_would_alone_whether_updated_at_once_or_not(way, nesterov, monkeypatch):
    together, alone = parameters(dtype=torch.float32), parameters(dtype=torch.float32)
    settings = {"lr": 0.3, "weight_decay": 0.1, "trust_coefficient": 0.02, "nesterov": nesterov}
    at_once, each = LARS(together, **settings), [LARS([p], **settings) for p in alone]
    for step in range(5):
        set_gradients(together, step)
        set_gradients(alone, step)
        for optimizer in each:
            optimizer.step()
        with monkeypatch.context() as patch:
            patch.setattr(optim, "updated_at_once", way)
            at_once.step()
    for p, q in zip(together, alone, strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("adapt", [True, False])
def test_a_learning_rate_that_is_a_tensor_is_read_anew_at_every_step(adapt):
    ours, theirs = parameters(), parameters()
    rate = torch.tensor(0.0, dtype=torch.float64)
    with_tensor = LARS([{"params": ours, "adapt": adapt}], lr=rate, weight_decay=0.1)
    with_number = LARS([{"params": theirs, "adapt": adapt}], lr=0.0, weight_decay=0.1)
    for step in range(5):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        rate.fill_(learning_rate(step))
        with_number.param_groups[0]["lr"] = learning_rate(step)
        with_tensor.step()
        with_number.step()
    torch.testing.assert_close(ours, theirs)


@given(
    seed=st.integers(0, 10_000),
    lr=st.floats(1e-3, 10),
    gradient_scale=st.floats(1e-6, 1e6),
    trust_coefficient=st.floats(1e-4, 0.1),
)
def test_first_step_is_lr_times_trust_of_the_weights_norm_however_large_the_gradient(
    seed, lr, gradient_scale, trust_coefficient
):
    params = parameters(seed)
    before = [p.detach().clone() for p in params]
    set_gradients(params, seed)
    for p in params:
        p.grad *= gradient_scale
    LARS(params, lr=lr, trust_coefficient=trust_coefficient).step()
    for p, w in zip(params, before, strict=True):
        assert (p - w).norm().item() == pytest.approx(lr * trust_coefficient * w.norm().item(), rel=1e-6)


def test_weight_decay_enters_before_the_norms():
    p = nn.Parameter(torch.tensor([3.0, 4.0]))
    p.grad = torch.tensor([0.0, 1.0])
    LARS([p], lr=1.0, momentum=0.0, weight_decay=0.5, trust_coefficient=0.1).step()
    decayed = torch.tensor([1.5, 3.0])  # g + λ w
    expected = torch.tensor([3.0, 4.0]) - 0.1 * 5 / decayed.norm() * decayed
    torch.testing.assert_close(p.detach(), expected)


def test_learning_rate_is_inside_the_momentum():
    p = nn.Parameter(torch.tensor([1.0]))
    optimizer = LARS([{"params": [p], "adapt": False}], lr=1.0, momentum=0.5)
    p.grad = torch.tensor([1.0])
    optimizer.step()  # v = 1
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()  # v = 0.5 still moves the weight: a rate outside the momentum would stop it
    assert p.item() == pytest.approx(1 - 1 - 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_weights_have_trust_1(dtype):
    p = nn.Parameter(torch.zeros(3, dtype=dtype))
    p.grad = torch.ones(3, dtype=dtype)
    LARS([p], lr=0.25).step()
    assert p.tolist() == [-0.25] * 3


def test_zero_gradients_leave_the_weights_alone():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.zeros(3)
    LARS([p], lr=0.25).step()
    assert p.tolist() == [1.0] * 3


def test_zero_gradients_with_weight_decay_shrink_the_weights_by_the_trust_coefficient():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.zeros(3)
    LARS([p], lr=0.5, weight_decay=1e-4, trust_coefficient=0.001).step()
    torch.testing.assert_close(p.detach(), torch.full((3,), 1 - 0.5 * 0.001))


def test_group_without_adaptation_takes_the_plain_momentum_step():
    ours, theirs = parameters(), parameters()
    lars = LARS([{"params": ours, "adapt": False}], lr=0.1, weight_decay=0.01)
    sgd = torch.optim.SGD(theirs, lr=0.1, momentum=0.9, weight_decay=0.01)
    for step in range(5):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        lars.step()
        sgd.step()
    torch.testing.assert_close(ours, theirs)


def test_step_leaves_the_gradients_as_they_are():
    params = parameters()
    set_gradients(params, 0)
    gradients = [p.grad.clone() for p in params]
    LARS(params, lr=0.1, weight_decay=0.1).step()
    for p, g in zip(params, gradients, strict=True):
        assert torch.equal(p.grad, g)


def test_parameters_without_a_gradient_are_skipped():
    trained, frozen = parameters()[:2]
    before = frozen.detach().clone()
    trained.grad = torch.ones_like(trained)
    optimizer = LARS([trained, frozen], lr=0.1, weight_decay=0.1)
    optimizer.step()
    assert torch.equal(frozen, before)
    assert frozen not in optimizer.state


def test_step_returns_the_closures_loss():
    p = nn.Parameter(torch.ones(2))

    def closure():
        loss = p.square().sum()
        loss.backward()
        return loss

    assert LARS([p], lr=0.1).step(closure).item() == 2
    assert p[0].item() < 1


def test_state_dict_round_trip_continues_identically():
    params = parameters(dtype=torch.float32)
    optimizer = LARS(params, lr=0.1, weight_decay=0.01, nesterov=True)
    for step in range(3):
        set_gradients(params, step)
        optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    copies = [nn.Parameter(p.detach().clone()) for p in params]
    resumed = LARS(copies, lr=9.0)
    resumed.load_state_dict(saved)
    for step in range(3, 6):
        for group, opt in ((params, optimizer), (copies, resumed)):
            set_gradients(group, step)
            opt.step()
    for p, q in zip(params, copies, strict=True):
        assert torch.equal(p, q)


def test_sparse_gradients_are_refused():
    embedding = nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(SimCLRError, match=r"dense gradients, not torch\.sparse_coo"):
        LARS(embedding.parameters(), lr=0.1).step()


def test_step_never_asks_the_device_for_a_number(monkeypatch):
    params = parameters()
    set_gradients(params, 0)
    optimizer = LARS(params, lr=0.1, weight_decay=0.1)

    def refuse(*_):
        raise AssertionError("a GPU would have to wait here")

    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__bool__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    optimizer.step()


@pytest.mark.parametrize(
    "settings", [{"lr": -1}, {"lr": math.nan}, {"momentum": -0.1}, {"weight_decay": -1}, {"trust_coefficient": 0}]
)
def test_senseless_settings_are_refused(settings):
    with pytest.raises(SimCLRError, match="LARS needs"):
        LARS(parameters(), **{"lr": 0.1, **settings})


# --- parameter groups


@pytest.fixture(scope="module")
def simclr():
    encoder = resnet18(width=4)
    return SimCLR(encoder, ProjectionHead(encoder.feature_dim, 16, 8, num_layers=3, batch_norm=False))


def test_biases_and_normalisation_have_neither_weight_decay_nor_adaptation(simclr):
    decayed, plain = parameter_groups(simclr, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert decayed.get("adapt", True)
    assert plain["weight_decay"] == 0
    assert plain["adapt"] is False
    excluded = {id(p) for p in plain["params"]}
    for module in simclr.modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, p in module.named_parameters(recurse=False):
            assert (id(p) in excluded) == (norm or name == "bias")


def test_every_trained_parameter_is_in_exactly_one_group(simclr):
    simclr = copy.deepcopy(simclr)
    simclr.encoder.conv1.requires_grad_(False)
    grouped = [id(p) for group in parameter_groups(simclr, 0.1) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in simclr.parameters() if p.requires_grad)
    assert id(simclr.encoder.conv1.weight) not in grouped


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.AdamW), ("sgd", torch.optim.SGD), ("lars", LARS)])
def test_named_optimizers_train_with_the_given_rate_and_decay(name, kind, simclr):
    optimizer = build_optimizer(name, simclr, lr=0.3, weight_decay=0.02)
    assert type(optimizer) is kind
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.02, 0.0]


def test_sgd_has_nesterov_momentum(simclr):
    group = build_optimizer("sgd", simclr, 0.1, 0.0).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.9, True)


@pytest.mark.parametrize("name", ["adam", "sgd", "lars"])
def test_a_model_without_biases_can_be_trained(name):
    model = nn.Linear(3, 2, bias=False)
    before = model.weight.detach().clone()
    optimizer = build_optimizer(name, model, lr=0.1, weight_decay=0.0)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.weight, before)


def test_unknown_optimizer_is_refused_with_the_nearest_name(simclr):
    with pytest.raises(SimCLRError, match="unknown optimizer 'lers': did you mean 'lars'"):
        build_optimizer("lers", simclr, 0.1, 0.0)


def test_default_learning_rates_follow_the_batch_size():
    assert default_lr("lars", 512) == pytest.approx(4.0)  # 2.0 · B / 256: linear
    assert default_lr("sgd", 512) == pytest.approx(2 * default_lr("sgd", 256))
    assert default_lr("adam", 512) == pytest.approx(2 * default_lr("adam", 128))  # square root


# --- schedule


@given(steps_per_epoch=st.integers(1, 50), epochs=st.integers(2, 20), warmup_epochs=st.integers(0, 5))
def test_schedule_rises_linearly_to_the_peak_and_falls_to_nearly_0(steps_per_epoch, epochs, warmup_epochs):
    total, warmup = steps_per_epoch * epochs, steps_per_epoch * min(warmup_epochs, epochs - 1)
    rates = [warmup_cosine(step, total, warmup) for step in range(total)]
    assert rates[0] > 0
    assert max(rates) == pytest.approx(1)
    assert rates[:warmup] == pytest.approx([(step + 1) / warmup for step in range(warmup)])
    assert rates[warmup] == pytest.approx(1)
    falling = rates[warmup:]
    assert all(later < earlier for earlier, later in pairwise(falling))
    assert 0 < rates[-1] < (math.pi / (total - warmup)) ** 2  # one step before the cosine's end


def test_schedule_without_warmup_starts_at_the_peak():
    assert warmup_cosine(0, 100, 0) == 1


def test_schedule_with_one_warmup_epoch_changes_at_every_step_of_it():
    assert [warmup_cosine(step, 40, 4) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_schedule_is_half_way_down_in_the_middle_of_the_cosine():
    assert warmup_cosine(60, 100, 20) == pytest.approx(0.5)


def test_schedule_can_be_all_warmup():
    assert [warmup_cosine(step, 3, 3) for step in range(3)] == pytest.approx([1 / 3, 2 / 3, 1])


@WAYS
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_gradients_stay_unchanged_and_no_parameter_sees_the_update_of_another(form, way, monkeypatch):
    monkeypatch.setattr(optim, "updated_at_once", way)
    params = [nn.Parameter(torch.randn(shape).to(memory_format=form)) for shape in [(8, 4, 3, 3), (2, 4, 3, 3)]]
    before = [p.detach().clone() for p in params]
    gradients = [torch.randn_like(p) for p in params]
    for p, g in zip(params, gradients, strict=True):
        p.grad = g.clone()
    optimizer = LARS([{"params": params, "adapt": False}], lr=0.5, momentum=0.0, weight_decay=0.1)
    optimizer.step()
    for p, w, g in zip(params, before, gradients, strict=True):
        assert torch.equal(p.grad, g)
        torch.testing.assert_close(p.detach(), w - 0.5 * (g + 0.1 * w))


def test_a_copied_optimizer_goes_on():
    params = parameters(dtype=torch.float32)[:1]
    optimizer = LARS(params, lr=0.1)
    set_gradients(params, 0)
    optimizer.step()
    again = pickle.loads(pickle.dumps(optimizer))
    assert all(torch.equal(a, b) for a, b in zip(params, again.param_groups[0]["params"], strict=True))
    for p, q in zip(params, again.param_groups[0]["params"], strict=True):
        p.grad = q.grad = torch.ones_like(p)
    optimizer.step()
    again.step()
    assert all(torch.equal(a, b) for a, b in zip(params, again.param_groups[0]["params"], strict=True))


def test_the_norms_of_large_layers_are_exact_to_rounding():
    layers = [torch.randn(512, 512, 3, 3), torch.randn(512, 512, 3, 3).to(memory_format=torch.channels_last)]
    layers += [torch.randn(2048, 512), torch.randn(512), torch.tensor(-3.0), torch.zeros(4, 4)]
    exact = torch.stack([layer.double().norm() for layer in layers])
    torch.testing.assert_close(norms(layers).double(), exact, rtol=1e-6, atol=0)


def test_a_cpu_updates_small_parameters_at_once_and_large_ones_by_themselves():
    params = [torch.zeros(n) for n in (5, optim.CPU_SMALL + 1, 3, optim.CPU_SMALL + 1)]
    groups = updated_at_once(params)
    assert [[len(p) for p in group] for group in groups] == [[optim.CPU_SMALL + 1]] * 2 + [[5, 3]]
    on_another_device = [p.to("meta") for p in params]
    assert updated_at_once(on_another_device) == [on_another_device]
