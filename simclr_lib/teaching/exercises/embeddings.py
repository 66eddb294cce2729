"""Exercises of notebook 06: effective rank, alignment, uniformity, and retrieval precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.evaluation import alignment, uniformity
from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect, normal

# 1. Effective rank, from the variances along the principal components


def _entropy(variances: Tensor) -> Tensor:
    p = variances / variances.sum()
    return -torch.xlogy(p, p).sum()


rank_from_variances = Exercise(
    solution=lambda variances: _entropy(variances).exp(),
    cases=[(torch.tensor([4.0, 2.0, 1.0, 1.0]),), (torch.ones(7),), (torch.tensor([1.0, 0.0, 0.0]),)],
    misconceptions=[
        Misconception(
            hint="That is the entropy; the effective rank is its exponential, a number of dimensions.",
            answer=_entropy,
        ),
        Misconception(
            hint="The sum of p log p is negative: the minus sign is missing.",
            answer=lambda variances: (-_entropy(variances)).exp(),
        ),
        Misconception(
            hint="Divide the variances by their sum first: p must add up to 1.",
            answer=lambda variances: (-torch.xlogy(variances, variances).sum()).exp(),
        ),
        Misconception(
            hint="That is the plain rank: it counts a direction of tiny variance like a large one.",
            answer=lambda variances: (variances > 0).sum(),
        ),
        Misconception(
            hint="That is the participation ratio, which also counts directions. The effective rank here is the "
            "exponential of the entropy.",
            answer=lambda variances: variances.sum() ** 2 / variances.square().sum(),
        ),
        Misconception(
            hint="You took roots: p are shares of the variances, not of the standard deviations.",
            answer=lambda variances: _entropy(variances.sqrt()).exp(),
        ),
        Misconception(
            hint="0 · log 0 is 0 in an entropy, but nan in floating point: use torch.xlogy.",
            answer=lambda variances: (-(variances / variances.sum() * (variances / variances.sum()).log()).sum()).exp(),
        ),
    ],
)

# 2. Alignment

alignment_of_pairs = Exercise(
    solution=alignment,
    cases=[(normal(6, 4, seed=0), normal(6, 4, seed=1)), (3 * normal(9, 3, seed=2), normal(9, 3, seed=3))],
    misconceptions=[
        Misconception(
            hint="The embeddings are not normalised: long ones would count more.",
            answer=lambda a, b: (a - b).square().sum(dim=1).mean(),
        ),
        Misconception(
            hint="That is the mean similarity. Alignment is a squared distance: small is good.",
            answer=lambda a, b: F.cosine_similarity(a, b).mean(),
        ),
        Misconception(
            hint="You took the distance; its square is meant.",
            answer=lambda a, b: (F.normalize(a, dim=1) - F.normalize(b, dim=1)).norm(dim=1).mean(),
        ),
        Misconception(
            hint="That is 1 minus the mean cosine similarity: half of the squared distance.",
            answer=lambda a, b: 1 - F.cosine_similarity(a, b).mean(),
        ),
        Misconception(
            hint="You added up all pairs: alignment is their mean.",
            answer=lambda a, b: alignment(a, b) * len(a),
        ),
        Misconception(
            hint="You took the mean over the coordinates too: sum the squares of each pair.",
            answer=lambda a, b: (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().mean(),
        ),
    ],
)

# 3. Uniformity


def _pairs(z: Tensor) -> Tensor:
    z = F.normalize(z, dim=1)
    return torch.cdist(z, z).square()


uniformity_of = Exercise(
    solution=uniformity,
    cases=[(normal(8, 3, seed=4),), (2 * normal(12, 5, seed=5),)],
    misconceptions=[
        Misconception(
            hint="Each point is paired with itself in your mean, at distance 0: leave the diagonal out.",
            answer=lambda z: (-2 * _pairs(z)).exp().mean().log(),
        ),
        Misconception(
            hint="You took the mean of the logarithms, which is −2 times the mean squared distance. The logarithm "
            "comes last.",
            answer=lambda z: -2 * _pairs(z).sum() / (len(z) * (len(z) - 1)),
        ),
        Misconception(
            hint="The distance in the exponent is squared: exp(−2 d²).",
            answer=lambda z: F.pdist(F.normalize(z, dim=1)).mul(-2).exp().mean().log(),
        ),
        Misconception(
            hint="The logarithm is missing.",
            answer=lambda z: math.exp(uniformity(z)),
        ),
        Misconception(
            hint="The embeddings are not normalised.",
            answer=lambda z: F.pdist(z).square().mul(-2).exp().mean().log(),
        ),
        Misconception(
            hint="The factor 2 in the exponent is missing: exp(−2 d²).",
            answer=lambda z: F.pdist(F.normalize(z, dim=1)).square().neg().exp().mean().log(),
        ),
    ],
)

# 4. Precision of retrieval


def _precision(similarity: Tensor, labels: Tensor, k: int, itself: bool = False, largest: bool = True) -> Tensor:
    similarity = similarity.clone()
    if not itself:
        similarity.fill_diagonal_(-torch.inf if largest else torch.inf)
    nearest = similarity.topk(k, dim=1, largest=largest).indices
    return (labels[nearest] == labels[:, None]).double().mean()


def _neighbors(similarity: Tensor, labels: Tensor, k: int) -> Tensor:
    """The classes of each image's k nearest other images, [N, k]."""
    return labels[similarity.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices]


def _unit_similarity(n: int, seed: int) -> Tensor:
    z = F.normalize(normal(n, 3, seed=seed), dim=1)
    return z @ z.T


precision_at = Exercise(
    solution=_precision,
    cases=[
        (_unit_similarity(12, 6), torch.arange(12) % 3, 4),
        (_unit_similarity(20, 7), torch.arange(20) % 4, 1),
        (normal(10, 10, seed=12) - 4, torch.arange(10) % 3, 3),  # all negative, and not symmetric
    ],
    misconceptions=[
        Misconception(
            hint="Every image finds itself first: that is no retrieval. Leave the diagonal out.",
            answer=lambda similarity, labels, k: _precision(similarity, labels, k, itself=True),
        ),
        Misconception(
            hint="Those are the least similar images: similarity is large for neighbours.",
            answer=lambda similarity, labels, k: _precision(similarity, labels, k, largest=False),
        ),
        Misconception(
            hint="You asked whether any of the k is right. Precision is the share of the k that are.",
            answer=lambda similarity, labels, k: (
                (_neighbors(similarity, labels, k) == labels[:, None]).any(dim=1).double().mean()
            ),
        ),
        Misconception(
            hint="That is a number of neighbours. Divide it by k for the share.",
            answer=lambda similarity, labels, k: k * _precision(similarity, labels, k),
        ),
        Misconception(
            hint="A similarity may be negative: with 0 on the diagonal an image can still find itself. Use −inf.",
            answer=lambda similarity, labels, k: _precision(
                similarity.clone().fill_diagonal_(0), labels, k, itself=True
            ),
        ),
        Misconception(
            hint="Row i holds the similarities of image i: take the largest of each row, dim=1.",
            answer=lambda similarity, labels, k: _precision(similarity.T, labels, k),
        ),
        Misconception(
            hint="You let the neighbours vote for a class. Precision is the share of the neighbours that are right.",
            answer=lambda similarity, labels, k: (
                (
                    labels[similarity.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices].mode(dim=1).values
                    == labels
                )
                .double()
                .mean()
            ),
        ),
    ],
)

EXERCISES = collect(globals())
