"""A whole training step can be recorded once and repeated as it is, as a CUDA graph repeats it."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from simclr_lib import ProjectionHead, SimCLR, SimCLRAugment, augment, optim, resnet18
from simclr_lib.device import autocast
from simclr_lib.experiments.graph import GraphedStep
from simclr_lib.loop import train_step
from simclr_lib.objectives import contrastive_objective
from simclr_lib.optim import build_optimizer
from simclr_lib.seeding import initial_weights, seeded

CPU = torch.device("cpu")
IMAGES = torch.randint(256, (48, 3, 16, 16), generator=seeded(0), dtype=torch.uint8)
BATCH = 16
# Operations for which a GPU would have to wait, or numbers would have to come from the CPU (`torch.tensor`).
WAITS = [
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.lift_fresh.default,
]
LRS = [0.01, 0.02, 0.05, 0.1, 0.03]  # of five steps


class Tape(TorchDispatchMode):
    """Does on a CPU what a CUDA graph does: the same operations, with the same numbers, on the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation not in WAITS, "a GPU would have to wait for a number"
        result = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        with torch.no_grad():
            for operation, args, kwargs, result in self.operations:
                again = operation(*args, **kwargs)
                for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Views are computed in fixed shapes, and all parameters are updated at once."""
    assert augment.has_fixed_shapes(torch.empty(1, device="meta"))  # not a CPU
    monkeypatch.setattr(augment, "has_fixed_shapes", lambda views: True)
    monkeypatch.setattr(optim, "updated_at_once", lambda params: [params])


def parts(optimizer):
    """The same model for every call, its loss, and its optimiser."""
    with initial_weights(0):
        encoder = resnet18("fast", width=4)
        model = SimCLR(encoder, ProjectionHead(encoder.feature_dim, 16, 8))
    objective = contrastive_objective(model, IMAGES, SimCLRAugment(16), temperature=0.5)
    return model, objective, build_optimizer(optimizer, model, 0.0, 1e-4)


def of_step(step):
    """The images and the generator of a step."""
    return torch.randperm(len(IMAGES), generator=seeded(1, step))[:BATCH], seeded(2, step)


def trained_step_by_step(optimizer, precision):
    model, objective, stepper = parts(optimizer)
    losses = []
    for step, lr in enumerate(LRS):
        for group in stepper.param_groups:
            group["lr"] = lr
        losses.append(train_step(stepper, objective, *of_step(step), autocast(CPU, precision)).item())
    return losses, model.state_dict()


def trained_from_a_recording(optimizer, precision):
    model, objective, stepper = parts(optimizer)
    graphed = GraphedStep(objective, stepper, autocast(CPU, precision), BATCH, CPU)
    assert all(group.get("capturable", True) for group in stepper.param_groups)
    graphed.load(*of_step(0), LRS[0])
    losses = [graphed.compute().item()]  # the warm-up
    graphed.load(*of_step(1), LRS[1])
    with Tape() as tape:
        loss = graphed.compute()
    losses.append(loss.item())
    for step, lr in enumerate(LRS[2:], 2):
        graphed.load(*of_step(step), lr)
        tape.replay()
        losses.append(loss.item())
    return losses, model.state_dict()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["lars", "adam"])
def test_a_recorded_step_trains_as_the_steps_themselves(as_on_a_gpu, optimizer, precision):
    losses, weights = trained_step_by_step(optimizer, precision)
    of_recording, again = trained_from_a_recording(optimizer, precision)
    assert of_recording == pytest.approx(losses, rel=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(again[name], weight, rtol=1e-4, atol=1e-5, msg=name)
