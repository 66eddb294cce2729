"""Exercises of notebook 06: effective rank, alignment, uniformity, and retrieval precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.evaluation import alignment, uniformity
from simclr_lib.teaching.exercises.exercise import Exercise


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# 1. Effective rank, from the variances along the principal components


def _entropy(variances: Tensor) -> Tensor:
    p = variances / variances.sum()
    return -torch.xlogy(p, p).sum()


rank_from_variances = Exercise(
    solution=lambda variances: _entropy(variances).exp(),
    cases=[(torch.tensor([4.0, 2.0, 1.0, 1.0]),), (torch.ones(7),), (torch.tensor([1.0, 0.0, 0.0]),)],
    misconceptions={
        "That is the entropy; the effective rank is its exponential, a number of dimensions.": _entropy,
        "The sum of p log p is negative: the minus sign is missing.": lambda variances: (-_entropy(variances)).exp(),
        "Divide the variances by their sum first: p must add up to 1.": lambda variances: (
            -torch.xlogy(variances, variances).sum()
        ).exp(),
        "That is the plain rank: it counts a direction of tiny variance like a large one.": (
            lambda variances: (variances > 0).sum()
        ),
        "0 · log 0 is 0 in an entropy, but nan in floating point: use torch.xlogy.": lambda variances: (
            -(variances / variances.sum() * (variances / variances.sum()).log()).sum()
        ).exp(),
    },
)

# 2. Alignment

alignment_of_pairs = Exercise(
    solution=alignment,
    cases=[(_normal(6, 4, seed=0), _normal(6, 4, seed=1)), (3 * _normal(9, 3, seed=2), _normal(9, 3, seed=3))],
    misconceptions={
        "The embeddings are not normalised: long ones would count more.": (
            lambda a, b: (a - b).square().sum(dim=1).mean()
        ),
        "That is the mean similarity. Alignment is a squared distance: small is good.": (
            lambda a, b: F.cosine_similarity(a, b).mean()
        ),
        "You took the distance; its square is meant.": (
            lambda a, b: (F.normalize(a, dim=1) - F.normalize(b, dim=1)).norm(dim=1).mean()
        ),
        "You took the mean over the coordinates too: sum the squares of each pair.": (
            lambda a, b: (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().mean()
        ),
    },
)

# 3. Uniformity


def _pairs(z: Tensor) -> Tensor:
    z = F.normalize(z, dim=1)
    return torch.cdist(z, z).square()


uniformity_of = Exercise(
    solution=uniformity,
    cases=[(_normal(8, 3, seed=4),), (2 * _normal(12, 5, seed=5),)],
    misconceptions={
        "Each point is paired with itself in your mean, at distance 0: leave the diagonal out.": (
            lambda z: (-2 * _pairs(z)).exp().mean().log()
        ),
        "You took the mean of the logarithms, which is −2 times the mean squared distance. The logarithm comes last.": (
            lambda z: -2 * _pairs(z).sum() / (len(z) * (len(z) - 1))
        ),
        "The logarithm is missing.": lambda z: math.exp(uniformity(z)),
        "The embeddings are not normalised.": lambda z: (
            torch.nn.functional.pdist(z).square().mul(-2).exp().mean().log()
        ),
        "The factor 2 in the exponent is missing: exp(−2 d²).": (
            lambda z: torch.nn.functional.pdist(F.normalize(z, dim=1)).square().neg().exp().mean().log()
        ),
    },
)

# 4. Precision of retrieval


def _precision(similarity: Tensor, labels: Tensor, k: int, itself: bool = False, largest: bool = True) -> Tensor:
    similarity = similarity.clone()
    if not itself:
        similarity.fill_diagonal_(-torch.inf if largest else torch.inf)
    nearest = similarity.topk(k, dim=1, largest=largest).indices
    return (labels[nearest] == labels[:, None]).double().mean()


def _unit_similarity(n: int, seed: int) -> Tensor:
    z = F.normalize(_normal(n, 3, seed=seed), dim=1)
    return z @ z.T


precision_at = Exercise(
    solution=_precision,
    cases=[
        (_unit_similarity(12, 6), torch.arange(12) % 3, 4),
        (_unit_similarity(20, 7), torch.arange(20) % 4, 1),
    ],
    misconceptions={
        "Every image finds itself first: that is no retrieval. Leave the diagonal out.": (
            lambda similarity, labels, k: _precision(similarity, labels, k, itself=True)
        ),
        "Those are the least similar images: similarity is large for neighbours.": (
            lambda similarity, labels, k: _precision(similarity, labels, k, largest=False)
        ),
        "You asked whether any of the k is right. Precision is the share of the k that are.": (
            lambda similarity, labels, k: (
                (labels[similarity.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices] == labels[:, None])
                .any(dim=1)
                .double()
                .mean()
            )
        ),
    },
)

EXERCISES = {
    "rank_from_variances": rank_from_variances,
    "alignment_of_pairs": alignment_of_pairs,
    "uniformity_of": uniformity_of,
    "precision_at": precision_at,
}
