"""Exercises of notebook 10: what DCL, Barlow Twins, VICReg and SimSiam each add to the page."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simclr_lib.seeding import initial_weights
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect, normal

# 1. From NT-Xent's losses to DCL's

_LOSSES = torch.tensor([0.05, 0.4, 1.5, 4.0, 7.0], dtype=torch.float64)

dcl_from = Exercise(
    solution=lambda losses: losses.expm1().log(),
    cases=[(_LOSSES,), (_LOSSES.flip(0)[:3] + 0.3,)],
    misconceptions=[
        Misconception(
            hint="The logarithm is missing: exp(ℓ) − 1 is exp(d).",
            answer=lambda losses: losses.expm1(),
        ),
        Misconception(
            hint="That is the way back, from DCL to NT-Xent. NT-Xent is log(1 + exp d): solve it for d.",
            answer=lambda losses: F.softplus(losses),
        ),
        Misconception(
            hint="The 1 is inside the logarithm. From ℓ = log(1 + exp d) take the exponential of both sides first.",
            answer=lambda losses: losses - 1,
        ),
        Misconception(
            hint="You took 1 minus the exponential of −ℓ: that is the share of the negatives in the softmax. Its "
            "logarithm still lacks ℓ.",
            answer=lambda losses: (1 - (-losses).exp()).log(),
        ),
        Misconception(
            hint="You took log(ℓ − 1). Take the exponential of ℓ first.",
            answer=lambda losses: (losses - 1).log(),
        ),
        Misconception(
            hint="That is the plain logarithm of the loss. From ℓ = log(1 + exp d) take the exponential of both sides.",
            answer=lambda losses: losses.log(),
        ),
        Misconception(
            hint="These are NT-Xent's losses still. In DCL the positive is not in the denominator.",
            answer=lambda losses: losses,
        ),
        Misconception(
            hint="This is already the mean over the anchors. Return one number for each of them, [2N].",
            answer=lambda losses: losses.expm1().log().mean(),
        ),
        Misconception(
            hint="You subtracted the logarithm of 2. The 1 in log(1 + exp d) is not as large as exp d.",
            answer=lambda losses: losses - math.log(2),
        ),
    ],
)

# 2. The cross-correlation of Barlow Twins


def _scaled(x: Tensor, dim: int = 0, correction: int = 0) -> Tensor:
    return (x - x.mean(dim, keepdim=True)) / x.std(dim, keepdim=True, correction=correction)


def _cross_correlation(a: Tensor, b: Tensor) -> Tensor:
    return _scaled(a).T @ _scaled(b) / len(a)


def _shifted(*shape: int, seed: int) -> Tensor:
    """Numbers whose columns have different means and different spreads, float64."""
    columns = torch.arange(1, shape[1] + 1, dtype=torch.float64)
    return columns * normal(*shape, seed=seed) + columns


cross_correlation = Exercise(
    solution=_cross_correlation,
    cases=[
        (_shifted(6, 3, seed=0), _shifted(6, 3, seed=1)),
        (_shifted(9, 4, seed=2), _shifted(9, 4, seed=3)),
    ],
    misconceptions=[
        Misconception(
            hint="The columns are not centred. A correlation subtracts each dimension's mean over the batch first.",
            answer=lambda a, b: F.normalize(a, dim=0).T @ F.normalize(b, dim=0),
        ),
        Misconception(
            hint="This is the cross-covariance. Divide each dimension by its standard deviation, too.",
            answer=lambda a, b: (a - a.mean(0)).T @ (b - b.mean(0)) / len(a),
        ),
        Misconception(
            hint="This is the cross-covariance with N − 1. Divide each dimension by its standard deviation, too.",
            answer=lambda a, b: (a - a.mean(0)).T @ (b - b.mean(0)) / (len(a) - 1),
        ),
        Misconception(
            hint="Neither mean nor standard deviation is taken out: this is the plain product of the two views.",
            answer=lambda a, b: a.T @ b / len(a),
        ),
        Misconception(
            hint="You standardised each embedding over its dimensions. Barlow Twins standardises each dimension over "
            "the batch: dim=0.",
            answer=lambda a, b: _scaled(a, dim=1).T @ _scaled(b, dim=1) / len(a),
        ),
        Misconception(
            hint="You compared images with images, [N, N], as SimCLR does. Barlow Twins compares dimensions with "
            "dimensions, [D, D].",
            answer=lambda a, b: _scaled(a) @ _scaled(b).T / a.shape[1],
        ),
        Misconception(
            hint="You compared images with images, [N, N], as SimCLR does. Barlow Twins compares dimensions with "
            "dimensions, [D, D].",
            answer=lambda a, b: F.normalize(a, dim=1) @ F.normalize(b, dim=1).T,
        ),
        Misconception(
            hint="This is a sum over the batch: divide by N, then a dimension that agrees fully has the entry 1.",
            answer=lambda a, b: _scaled(a).T @ _scaled(b),
        ),
        Misconception(
            hint="You took the standard deviation with N − 1 and divided by N, so that a full agreement is below 1. "
            "Use N in both, or N − 1 in both.",
            answer=lambda a, b: _scaled(a, correction=1).T @ _scaled(b, correction=1) / len(a),
        ),
        Misconception(
            hint="This is the transposed matrix: rows belong to the dimensions of a, columns to those of b.",
            answer=lambda a, b: _cross_correlation(b, a),
        ),
        Misconception(
            hint="You correlated the first views with themselves. The diagonal of that is always 1, so nothing would "
            "pull the two views together.",
            answer=lambda a, b: _cross_correlation(a, a),
        ),
        Misconception(
            hint="This is the diagonal. Every dimension of a is compared with every dimension of b, [D, D].",
            answer=lambda a, b: _cross_correlation(a, b).diagonal(),
        ),
        Misconception(
            hint="This is already the loss or a part of it. Return the matrix itself.",
            answer=lambda a, b: (_cross_correlation(a, b) - torch.eye(a.shape[1])).square().sum(),
        ),
        Misconception(
            hint="You divided by D. It is a mean over the batch: divide by N.",
            answer=lambda a, b: _cross_correlation(a, b) * len(a) / a.shape[1],
        ),
        Misconception(
            hint="The standard deviation has N, so divide by N as well, not by N − 1.",
            answer=lambda a, b: _cross_correlation(a, b) * len(a) / (len(a) - 1),
        ),
        Misconception(
            hint="You divided by the variance: the standard deviation is its root.",
            answer=lambda a, b: _cross_correlation(a, b) / a.std(0, correction=0)[:, None] / b.std(0, correction=0),
        ),
        Misconception(
            hint="You squared the entries. That comes later, in the loss.",
            answer=lambda a, b: _cross_correlation(a, b).square(),
        ),
        Misconception(
            hint="The mean is not subtracted: a correlation subtracts each dimension's mean over the batch first.",
            answer=lambda a, b: (a / a.std(0, correction=0)).T @ (b / b.std(0, correction=0)) / len(a),
        ),
        Misconception(
            hint="You took one mean and one deviation for the whole matrix. Each dimension has its own: dim=0.",
            answer=lambda a, b: (
                ((a - a.mean()) / a.std(correction=0)).T @ ((b - b.mean()) / b.std(correction=0)) / len(a)
            ),
        ),
    ],
)

# 3. VICReg's variance term

EPSILON = 1e-4


def _variance_term(z: Tensor) -> Tensor:
    return F.relu(1 - (z.var(dim=0) + EPSILON).sqrt()).mean()


def _spreads(rows: int, *spreads: float, seed: int) -> Tensor:
    """Numbers with the given factors of their columns, float64."""
    return normal(rows, len(spreads), seed=seed) * torch.tensor(spreads, dtype=torch.float64)


variance_term = Exercise(
    solution=_variance_term,
    cases=[(_spreads(6, 0.1, 0.5, 3.0, seed=0),), (_spreads(9, 0.0, 0.3, 1.0, 2.0, seed=1),)],
    misconceptions=[
        Misconception(
            hint="A dimension with a standard deviation above 1 lowers your term, so it could pay for one that "
            "collapsed. Cut off below 0: relu.",
            answer=lambda z: (1 - (z.var(dim=0) + EPSILON).sqrt()).mean(),
        ),
        Misconception(
            hint="Your term punishes a standard deviation above 1, too. Only one below 1 costs something: relu, not "
            "the absolute value.",
            answer=lambda z: (1 - (z.var(dim=0) + EPSILON).sqrt()).abs().mean(),
        ),
        Misconception(
            hint="The sign is wrong: your term punishes dimensions that are spread widely, and collapse costs nothing.",
            answer=lambda z: F.relu((z.var(dim=0) + EPSILON).sqrt() - 1).mean(),
        ),
        Misconception(
            hint="You compared the variance with 1. VICReg takes its root: near a collapse the slope of the variance "
            "vanishes, and that of the standard deviation does not.",
            answer=lambda z: F.relu(1 - (z.var(dim=0) + EPSILON)).mean(),
        ),
        Misconception(
            hint="You compared the variance with 1. VICReg takes its root: near a collapse the slope of the variance "
            "vanishes, and that of the standard deviation does not.",
            answer=lambda z: F.relu(1 - z.var(dim=0)).mean(),
        ),
        Misconception(
            hint="Without ε under it, the root has an infinite slope where a dimension has collapsed, and the gradient "
            "is not a number. Add 0.0001 to the variance before you take the root.",
            answer=lambda z: F.relu(1 - z.std(dim=0)).mean(),
        ),
        Misconception(
            hint="You divided by N. The authors' code divides by N − 1, as torch does by default.",
            answer=lambda z: F.relu(1 - (z.var(dim=0, correction=0) + EPSILON).sqrt()).mean(),
        ),
        Misconception(
            hint="You took the spread of each embedding over its dimensions. All embeddings could be the same and "
            "still have that. Take each dimension over the batch: dim=0.",
            answer=lambda z: F.relu(1 - (z.var(dim=1) + EPSILON).sqrt()).mean(),
        ),
        Misconception(
            hint="This is one standard deviation for all numbers of z. Each dimension needs its own: dim=0.",
            answer=lambda z: F.relu(1 - (z.var() + EPSILON).sqrt()),
        ),
        Misconception(
            hint="You averaged the standard deviations before the cut at 1, so a wide dimension pays for one that "
            "collapsed. Cut off each dimension first.",
            answer=lambda z: F.relu(1 - (z.var(dim=0) + EPSILON).sqrt().mean()),
        ),
        Misconception(
            hint="This is the sum over the dimensions. VICReg takes their mean.",
            answer=lambda z: F.relu(1 - (z.var(dim=0) + EPSILON).sqrt()).sum(),
        ),
        Misconception(
            hint="This is still one number for each dimension. Return their mean.",
            answer=lambda z: F.relu(1 - (z.var(dim=0) + EPSILON).sqrt()),
        ),
        Misconception(
            hint="You squared what is missing to 1. VICReg takes it as it is.",
            answer=lambda z: F.relu(1 - (z.var(dim=0) + EPSILON).sqrt()).square().mean(),
        ),
        Misconception(
            hint="The largest term alone: VICReg takes the mean over the dimensions.",
            answer=lambda z: F.relu(1 - (z.var(dim=0) + EPSILON).sqrt()).max(),
        ),
        Misconception(
            hint="VICReg does not normalise the embeddings: take z as it is.",
            answer=lambda z: F.relu(1 - (F.normalize(z, dim=1).var(dim=0) + EPSILON).sqrt()).mean(),
        ),
        Misconception(
            hint="You did not subtract the mean: that is the second moment, and not the variance.",
            answer=lambda z: F.relu(1 - (z.square().mean(dim=0) + EPSILON).sqrt()).mean(),
        ),
    ],
)

# 4. SimSiam's stop-gradient


def _embeddings(pairs: int, dims: int, seed: int) -> Tensor:
    """Short random embeddings, so that their gradients are large: float64 [2N, D], requires grad."""
    return (0.1 * normal(2 * pairs, dims, seed=seed)).requires_grad_()


def _predictor(dims: int, seed: int) -> nn.Module:
    with initial_weights(seed):
        return nn.Sequential(nn.Linear(dims, 5), nn.ReLU(), nn.Linear(5, dims)).double()


def _other_view(z: Tensor) -> Tensor:
    return z.roll(len(z) // 2, dims=0)


def _gradient(loss: Tensor, z: Tensor) -> Tensor:
    return torch.autograd.grad(loss, z)[0]


def _negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    return -F.cosine_similarity(p, z, dim=1).mean()


sim_siam_gradient = Exercise(
    solution=lambda predictor, z: _gradient(_negative_cosine(predictor(z), _other_view(z.detach())), z),
    cases=[(_predictor(4, seed=0), _embeddings(3, 4, seed=0)), (_predictor(3, seed=1), _embeddings(4, 3, seed=1))],
    misconceptions=[
        Misconception(
            hint="Your gradient flows through both sides. Nothing stops all embeddings from becoming the same: the "
            "targets must be constants, z.detach().",
            answer=lambda predictor, z: _gradient(_negative_cosine(predictor(z), _other_view(z)), z),
        ),
        Misconception(
            hint="You stopped the gradient of the prediction, so only the targets move. It is the other way round.",
            answer=lambda predictor, z: _gradient(_negative_cosine(predictor(z.detach()), _other_view(z)), z),
        ),
        Misconception(
            hint="Each prediction is compared with its own embedding. It should predict that of the other view.",
            answer=lambda predictor, z: _gradient(_negative_cosine(predictor(z), z.detach()), z),
        ),
        Misconception(
            hint="You compared each embedding with the next row, another image. The other view is N rows further.",
            answer=lambda predictor, z: _gradient(_negative_cosine(predictor(z), z.detach().roll(1, dims=0)), z),
        ),
        Misconception(
            hint="The predictor is missing: z itself is compared with the other view.",
            answer=lambda predictor, z: _gradient(_negative_cosine(z, _other_view(z.detach())), z),
        ),
        Misconception(
            hint="The targets went through the predictor, too. They are the other views' z.",
            answer=lambda predictor, z: _gradient(
                _negative_cosine(predictor(z), _other_view(predictor(z)).detach()), z
            ),
        ),
        Misconception(
            hint="The sign is wrong: this loss pushes the two views apart. It is minus the cosine similarity.",
            answer=lambda predictor, z: _gradient(-_negative_cosine(predictor(z), _other_view(z.detach())), z),
        ),
        Misconception(
            hint="This is the gradient of the sum. The loss is the mean over the 2N predictions.",
            answer=lambda predictor, z: _gradient(len(z) * _negative_cosine(predictor(z), _other_view(z.detach())), z),
        ),
        Misconception(
            hint="Only the first views predict in your loss. The second views predict the first ones, too.",
            answer=lambda predictor, z: _gradient(
                _negative_cosine(predictor(z).chunk(2)[0], z.detach().chunk(2)[1]), z
            ),
        ),
        Misconception(
            hint="This is a squared distance: it grows with the lengths. SimSiam compares directions, by the cosine.",
            answer=lambda predictor, z: _gradient(F.mse_loss(predictor(z), _other_view(z.detach())), z),
        ),
        Misconception(
            hint="These are dot products: normalise both sides first, or use F.cosine_similarity.",
            answer=lambda predictor, z: _gradient(-(predictor(z) * _other_view(z.detach())).sum(dim=1).mean(), z),
        ),
        Misconception(
            hint="This is the loss. Return its gradient: torch.autograd.grad(loss, z)[0].",
            answer=lambda predictor, z: _negative_cosine(predictor(z), _other_view(z.detach())),
        ),
        Misconception(
            hint="Only the second views predict in your loss. The first views predict the second ones, too.",
            answer=lambda predictor, z: _gradient(
                _negative_cosine(predictor(z).chunk(2)[1], z.detach().chunk(2)[0]), z
            ),
        ),
        Misconception(
            hint="You took the cosine along the batch. Each prediction is compared with its target: dim=1.",
            answer=lambda predictor, z: _gradient(
                -F.cosine_similarity(predictor(z), _other_view(z.detach()), dim=0).mean(), z
            ),
        ),
        Misconception(
            hint="Your targets are the reversed rows. The other view is N rows further: roll.",
            answer=lambda predictor, z: _gradient(_negative_cosine(predictor(z), z.detach().flip(0)), z),
        ),
        Misconception(
            hint="Your neighbours in the batch are not the two views: first all first views come. The other view is N "
            "rows further.",
            answer=lambda predictor, z: _gradient(
                _negative_cosine(predictor(z), z.detach()[torch.arange(len(z)) ^ 1]), z
            ),
        ),
    ],
)

EXERCISES = collect(globals())
