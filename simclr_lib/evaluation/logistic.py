"""Multinomial logistic regression on frozen features: many problems of one size are solved as one.

The table of one encoder takes some three hundred solutions: budgets, draws of the labelled images, validation splits,
penalties. Each takes microseconds per step, which Python multiplies. Here problems are stacked, and their objectives
are added up: the sum is smallest where each of them is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.data import split_indices
from simclr_lib.device import one_core
from simclr_lib.seeding import initial_weights

L2_GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # for standardised features, from strong to weak
SMALL = 2_000  # with fewer labels than this, one validation split is too noisy: five are taken
HELD_OUT = 0.2  # of each class, in a validation split
VALIDATION_TOLERANCE = 1e-3  # largest entry of the gradient; enough to rank the penalties
TOLERANCE = 3e-5
AXES = 256  # strongest directions of the features whose curvature is known; the others share one
ONE_CORE = 10_000_000  # multiplications for the logits of all problems, up to which one core is as fast as two
FLAT = 1e-6  # least curvature: along a direction without variance and without penalty nothing has to be found


@dataclass(frozen=True)
class Heads:
    """Linear heads of P problems.

    Attributes:
        weight: float [P, C, D].
        bias: float [P, C].
        l2: the L2 strength of each, P numbers.
        validation: of each, the validation accuracy for every L2 strength tried; None if the strength was given.
    """

    weight: Tensor
    bias: Tensor
    l2: list[float]
    validation: Sequence[dict[float, float] | None]


@dataclass(frozen=True)
class _Problems:
    """P data sets of the same size.

    Attributes:
        features: float [P, N, K + 1]; the last column is 1 and stands for the bias.
        labels: int64 [P, N].
        num_classes: C.
        axes: float [P, K + 1, Q], orthonormal directions in which the features vary most; 0 for the bias.
        variances: float [P, Q], of the features along them.
        rest: float [P], mean variance along all other directions.
    """

    features: Tensor
    labels: Tensor
    num_classes: int
    axes: Tensor
    variances: Tensor
    rest: Tensor


def logistic_heads(features: Tensor, labels: Tensor, num_classes: int, l2: float | None = None, seed: int = 0) -> Heads:
    """Minimise mean cross-entropy + l2 / 2 · ‖W‖² for each of P data sets.

    Args:
        features: float [P, N, D], standardised over N.
        labels: int64 [P, N], 0 … C − 1.
        num_classes: C.
        l2: strength of the penalty; None chooses one of `L2_GRID` for each data set, on validation splits of it.
        seed: random seed of the validation splits.
    """
    kept = min(features.shape[1:])  # K, see `_within_their_span`
    logits = features.shape[0] * features.shape[1] * kept * num_classes
    with one_core() if logits <= ONE_CORE else nullcontext():
        coordinates, span = _within_their_span(features)
        problems = _problems(coordinates, labels, num_classes)
        if l2 is None:
            tried, starts = _validate(problems, seed)
            chosen = [max(accuracy, key=lambda strength: (accuracy[strength], strength)) for accuracy in tried]
            start = torch.stack([starts[strength][p] for p, strength in enumerate(chosen)])
        else:
            tried, chosen = None, [l2] * len(features)
            start = torch.zeros_like(problems.features[:, :1]).expand(-1, num_classes, -1)
        everything = torch.ones_like(labels, dtype=torch.bool)[:, None]
        solution = _solve(problems, everything, features.new_tensor(chosen), start[:, None], TOLERANCE)[:, 0]
    weight = solution[..., :-1] if span is None else solution[..., :-1] @ span.mT
    return Heads(weight, solution[..., -1], chosen, tried or [None] * len(features))


def _within_their_span(features: Tensor) -> tuple[Tensor, Tensor | None]:
    """Compute coordinates [P, N, K] of features [P, N, D] along orthonormal directions [P, D, K], K = min(N, D).

    An L2 penalty keeps the weights of a linear head within the span of its training features. So with N < D the
    coordinates give the same head as the features do, and give it faster. Otherwise the directions are None.
    """
    if features.shape[1] >= features.shape[2]:
        return features, None
    directions = torch.linalg.qr(features.mT).Q
    return features @ directions, directions


def _problems(features: Tensor, labels: Tensor, num_classes: int) -> _Problems:
    """Find in which directions features [P, N, K] vary most, and append the column of the bias."""
    count, width = features.shape[1:]
    with initial_weights(0):  # the search for the axes starts at random
        _, deviations, axes = torch.svd_lowrank(features, q=min(AXES, count, width), niter=1)
    variances = deviations.square() / count
    others = max(1, width - variances.shape[1])
    rest = (features.square().sum(dim=(1, 2)) / count - variances.sum(dim=1)).clamp(min=0) / others
    with_bias = torch.cat([features, torch.ones_like(features[..., :1])], dim=2)
    return _Problems(with_bias, labels, num_classes, F.pad(axes, (0, 0, 0, 1)), variances, rest)


def _validate(problems: _Problems, seed: int) -> tuple[list[dict[float, float]], dict[float, Tensor]]:
    """Try the strengths in `L2_GRID` on validation splits, from strong to weak, until the heads overfit.

    Returns:
        (for each problem {strength: validation accuracy}, {strength: weights [P, C, K + 1] on the first split}). The
        second is a good start for the solution on all features.
    """
    labels = problems.labels
    num_splits = 1 if labels.shape[1] >= SMALL else 5
    held_out = torch.zeros(len(labels), num_splits, labels.shape[1], dtype=torch.bool)
    for p, split in product(range(len(labels)), range(num_splits)):
        held_out[p, split, split_indices(labels[p], HELD_OUT, seed=seed * num_splits + split)[1]] = True
    held_out = held_out.to(labels.device)
    # With fewer than three labels per class nothing is held out: the strongest penalty wins.
    tested = held_out.sum(dim=(1, 2)).clamp(min=1)

    weight = torch.zeros_like(problems.features[:, None, :1]).expand(-1, num_splits, problems.num_classes, -1)
    starts: dict[float, Tensor] = {}
    accuracies = labels.new_zeros(len(labels), 0, dtype=torch.float64)
    for l2 in L2_GRID:
        strengths = problems.features.new_full([len(labels)], l2)
        weight = _solve(problems, ~held_out, strengths, weight, VALIDATION_TOLERANCE)  # the last is a good start
        starts[l2] = weight[:, 0]
        predicted = _logits(problems, weight).argmax(dim=2)  # [P, S, N]
        right = ((predicted == labels[:, None]) & held_out).sum(dim=(1, 2))
        accuracies = torch.cat([accuracies, (right.double() / tested)[:, None]], dim=1)
        if (accuracies.argmax(dim=1) < len(starts) - 2).all():
            break  # for no problem were the last two penalties better: still weaker ones overfit even more
    return [dict(zip(starts, row, strict=True)) for row in accuracies.tolist()], starts


def _logits(problems: _Problems, weight: Tensor) -> Tensor:
    """Compute logits [P, S, C, N] of weights [P, S, C, K + 1]."""
    return (weight.flatten(1, 2) @ problems.features.mT).unflatten(1, weight.shape[1:3])


def _solve(problems: _Problems, part: Tensor, l2: Tensor, start: Tensor, tolerance: float) -> Tensor:
    """Minimise the objective of each problem on S parts of its rows by L-BFGS.

    At W = 0, a direction with variance v has the curvature v / C + l2 (Böhning 1992 bounds that of any W). L-BFGS moves
    in units of the inverse root of it, so that strong and weak directions, which differ thousandfold, are curved alike.

    Args:
        problems: the data sets.
        part: bool [P, S, N], the rows that count.
        l2: float [P].
        start: weights [P, S, C, K + 1].
        tolerance: stop where no entry of the gradient, in these units, is larger.

    Returns:
        Weights [P, S, C, K + 1].
    """
    penalty = l2[:, None, None].expand_as(problems.features[:, :1]).clone()  # [P, 1, K + 1]
    penalty[..., -1] = 0  # the bias is free
    curvature = torch.where(penalty > 0, problems.rest[:, None, None], 1.0) / problems.num_classes + penalty
    along_axes = problems.variances[:, None] / problems.num_classes + l2[:, None, None]  # [P, 1, Q]
    others, axes = (c.clamp(min=FLAT).rsqrt() for c in (curvature, along_axes))
    shape = start.shape[1:3]

    def scaled(values: Tensor, others: Tensor, axes: Tensor) -> Tensor:
        flat = values.flatten(1, 2)  # [P, S · C, K + 1]
        along = (flat @ problems.axes) * (axes - others[..., :1])
        return (flat * others + along @ problems.axes.mT).unflatten(1, shape)

    steps = scaled(start, 1 / others, 1 / axes).requires_grad_()
    share = (part / part.sum(dim=2, keepdim=True)).flatten(0, 1)  # [P · S, N], of the mean over a part
    labels = problems.labels.repeat_interleave(part.shape[1], dim=0)  # [P · S, N]
    solver = torch.optim.LBFGS(
        [steps], max_iter=200, history_size=10, tolerance_grad=tolerance, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        solver.zero_grad()
        weight = scaled(steps, others, axes)
        cross_entropy = F.cross_entropy(_logits(problems, weight).flatten(0, 1), labels, reduction="none")
        loss = (share * cross_entropy).sum() + (penalty[:, None] * weight.square()).sum() / 2
        loss.backward()
        return loss

    solver.step(objective)
    return scaled(steps.detach(), others, axes)
