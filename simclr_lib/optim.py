"""Optimisers (AdamW, SGD, LARS) and the learning-rate schedule: linear warm-up, then a cosine, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from simclr_lib.choices import OptimizerName
from simclr_lib.errors import SimCLRError, unknown_name

CPU_SMALL = 2**15  # numbers in the largest parameter that a CPU does not update by itself


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv 1708.03888), as SimCLR's reference code computes it.

    For each parameter w with gradient g, learning rate η, momentum μ, weight decay λ and trust coefficient c:

        g ← g + λ w                                  weight decay enters before the norms
        r ← c ‖w‖ / ‖g‖   (1 if either norm is 0)    the layer's trust ratio; 1 in groups with adapt=False
        v ← μ v + η r g                              the learning rate is inside the momentum
        w ← w − v                                    (nesterov: w ← w − (μ v + η r g))

    Args:
        params: parameters, or groups of them. Groups with ``adapt=False`` take the plain momentum step; they are for
            biases and normalisation parameters, see `parameter_groups`.
        lr: learning rate η ≥ 0. A tensor without dimensions can be changed on its device between the steps.
        momentum: μ ≥ 0.
        weight_decay: λ ≥ 0.
        trust_coefficient: c > 0.
        nesterov: look one step ahead.

    Raises:
        SimCLRError: a setting is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Tensor,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        nesterov: bool = False,
    ) -> None:
        if not (lr >= 0 and momentum >= 0 and weight_decay >= 0 and trust_coefficient > 0):
            raise SimCLRError(
                "LARS needs lr, momentum and weight_decay of at least 0 and a trust_coefficient above 0, "
                f"not {lr}, {momentum}, {weight_decay} and {trust_coefficient}."
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "nesterov": nesterov,
            "adapt": True,
        }
        super().__init__(params, defaults)
        self._rooms: dict[torch.dtype, Tensor] = {}  # memory of a CPU for the update of one parameter

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._rooms = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. All norms stay on the device.

        Args:
            closure: computes the loss and its gradients again.

        Returns:
            The loss that ``closure`` returns; None without it.

        Raises:
            SimCLRError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for params in updated_at_once([p for p in group["params"] if p.grad is not None]):
                self._update(params, group)
        return loss

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Update parameters that have a gradient: every operation is one call for all of them."""
        gradients = [_dense_gradient(p) for p in params]
        velocities = [self._velocity(p) for p in params]
        updates = self._with_weight_decay(gradients, params, group["weight_decay"])
        if group["adapt"]:
            rates = group["lr"] * trust_ratios(params, updates, group["trust_coefficient"])
            torch._foreach_mul_(updates, rates.unbind())  # η r g
        else:
            torch._foreach_mul_(updates, group["lr"])
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates)
        if group["nesterov"]:
            torch._foreach_add_(updates, velocities, alpha=group["momentum"])
            torch._foreach_sub_(params, updates)
        else:
            torch._foreach_sub_(params, velocities)

    def _with_weight_decay(self, gradients: list[Tensor], params: list[Tensor], weight_decay: float) -> list[Tensor]:
        """g + λ w, in memory of its own: the gradients stay unchanged."""
        if len(params) > 1 or params[0].device.type != "cpu":
            return list(torch._foreach_add(gradients, params, alpha=weight_decay))
        (g,), (w,) = gradients, params
        # For new memory in every step, the system may have to provide and clear new pages, which takes twice as long.
        room = self._rooms.setdefault(w.dtype, torch.empty(0, dtype=w.dtype))
        return [torch.add(g, w, alpha=weight_decay, out=room.resize_(0))]  # the memory stays

    def _velocity(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        return state["momentum_buffer"]


def trust_ratios(params: list[Tensor], gradients: list[Tensor], trust_coefficient: float) -> Tensor:
    """Compute the trust ratio of each layer, c ‖w‖ / ‖g‖ in the notation of `LARS`.

    Args:
        params: n parameters w, on one device.
        gradients: n gradients g, with the weight decay in them.
        trust_coefficient: c > 0.

    Returns:
        float [n], on that device; 1 where w or g is zero.
    """
    w_norms, g_norms = norms(params), norms(gradients)
    return torch.where((w_norms > 0) & (g_norms > 0), trust_coefficient * w_norms / g_norms, 1.0)


def norms(tensors: list[Tensor]) -> Tensor:
    """Compute ‖x‖ of each of n tensors on one device, float [n].

    On a CPU, the rows of a tensor come first, and then their norms. One sum over all numbers would be computed by one
    core, and in float32 its relative error is some 1e-5 for the largest layers of ResNet-18.
    """
    if tensors[0].device.type != "cpu":
        return torch.stack(torch._foreach_norm(tensors))
    norm = torch.linalg.vector_norm
    return torch.stack([norm(norm(x, dim=tuple(range(1, x.ndim)))) if x.ndim > 1 else norm(x) for x in tensors])


def _dense_gradient(p: Tensor) -> Tensor:
    assert p.grad is not None
    if p.grad.layout != torch.strided:
        raise SimCLRError(f"LARS takes dense gradients, not {p.grad.layout}: make the layer with sparse=False.")
    return p.grad


def updated_at_once(params: list[Tensor]) -> list[list[Tensor]]:
    """Group the parameters that are updated together.

    A GPU takes all at once, with one launch for each operation. A CPU takes the small ones at once, since a call costs
    more than their numbers, and each large one by itself, so that an operation finds in its cache what the operation
    before it wrote.
    """
    alone: list[list[Tensor]] = []
    at_once: list[Tensor] = []
    for p in params:
        if p.device.type == "cpu" and p.numel() > CPU_SMALL:
            alone.append([p])
        else:
            at_once.append(p)
    return [*alone, at_once] if at_once else alone


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters into two groups: weight matrices and kernels; biases and normalisation parameters.

    The second group gets no weight decay and, with LARS, no layer adaptation, as in the reference code.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "adapt": False},
    ]


def build_optimizer(name: OptimizerName, model: nn.Module, lr: float, weight_decay: float) -> Optimizer:
    """Make the named optimiser for the `parameter_groups` of ``model``.

    "adam" is AdamW (weight decay is separate from the gradient); "sgd" has Nesterov momentum 0.9; "lars" is `LARS`.

    Raises:
        SimCLRError: the name is unknown.
    """
    groups = parameter_groups(model, weight_decay)
    if name == "adam":
        return torch.optim.AdamW(groups, lr=lr, fused=True)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    if name == "lars":
        return LARS(groups, lr=lr)
    raise unknown_name("optimizer", name, ("adam", "sgd", "lars"))


def default_lr(name: OptimizerName, batch_size: int) -> float:
    """Choose a learning rate to begin with, for pretraining with batches of B images.

    LARS: 2.0 · B / 256 (the linear rule, with twice the value of the paper for CIFAR-10, B.9: of 1, 2 and 4 at B = 512,
    4 was the best after 60 epochs, see notebooks/results/cifar10-gpu-recipes.json; after 45, 8 was
    above 4 by 0.3 to 1.3 points, with one seed). SGD: 0.12 · B / 256.
    Adam: 0.001 · √(B / 128), since its steps do not grow with the gradient.
    """
    if name == "lars":
        return 2.0 * batch_size / 256
    if name == "sgd":
        return 0.12 * batch_size / 256
    return 0.001 * math.sqrt(batch_size / 128)


def warmup_cosine(step: int, total_steps: int, warmup_steps: int) -> float:
    """Compute the share of the peak learning rate at ``step`` (0 … total_steps − 1).

    It rises linearly from 1 / warmup_steps to 1 during the warm-up, then falls to 0 on half a cosine. Without a
    warm-up, step 0 is at the peak.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))
