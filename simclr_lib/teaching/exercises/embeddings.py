"""Exercises of notebook 06: directions for a share of the variance, alignment, uniformity, and retrieval precision."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.teaching.exercises.exercise import Exercise, Misconception, collect, normal


def _unit_similarity(n: int, seed: int) -> Tensor:
    z = F.normalize(normal(n, 3, seed=seed), dim=1)
    return z @ z.T


def _unit_cosines(n: int, seed: int) -> Tensor:
    """Cosine similarities of n pairs of random vectors, float64."""
    return F.cosine_similarity(normal(n, 4, seed=seed), normal(n, 4, seed=seed + 100), dim=1)


# 1. How many directions hold a share of the variance


def _shares(variances: Tensor) -> Tensor:
    """The variances as shares of their sum, the largest first."""
    return (variances / variances.sum()).sort(descending=True).values


def _needed(shares: Tensor, share: float) -> Tensor:
    return (shares.cumsum(0) < share).sum() + 1


directions_for = Exercise(
    solution=lambda variances, share: _needed(_shares(variances), share),
    cases=[
        (torch.tensor([1.0, 4.0, 2.0, 1.0]), 0.6),
        (torch.ones(7), 0.5),
        (torch.tensor([0.5, 2.0, 0.5, 5.0, 1.0]), 0.9),
        (torch.tensor([1.0, 4.0, 2.0, 1.0]), 0.75),  # two hold exactly that
        (torch.tensor([0.0, 3.0, 0.0]), 0.99),
    ],
    misconceptions=[
        Misconception(
            hint="The variances come in any order. Take the largest first: sort them.",
            answer=lambda variances, share: _needed(variances / variances.sum(), share),
        ),
        Misconception(
            hint="You started with the smallest. The fewest directions are needed if the largest come first.",
            answer=lambda variances, share: _needed(_shares(variances).flip(0), share),
        ),
        Misconception(
            hint="That is one too few: these directions together do not reach the share yet.",
            answer=lambda variances, share: _needed(_shares(variances), share) - 1,
        ),
        Misconception(
            hint="At least that share is asked. If some directions hold exactly the share, they are enough.",
            answer=lambda variances, share: (_shares(variances).cumsum(0) <= share + 1e-6).sum() + 1,
        ),
        Misconception(
            hint="You count the directions with that share each. Add them up, the largest first.",
            answer=lambda variances, share: (_shares(variances) >= share).sum(),
        ),
        Misconception(
            hint="You compared with the largest variance. Compare the sum of the largest ones with the sum of all.",
            answer=lambda variances, share: (variances >= share * variances.max()).sum(),
        ),
        Misconception(
            hint="You took roots: the share is one of the variance, not of the standard deviations.",
            answer=lambda variances, share: _needed(_shares(variances.sqrt()), share),
        ),
        Misconception(
            hint="Divide by the sum of all variances first, so that they are shares.",
            answer=lambda variances, share: _needed(variances.sort(descending=True).values, share),
        ),
        Misconception(
            hint="You squared the variances, which are squares already. The share is a share of their sum.",
            answer=lambda variances, share: _needed(_shares(variances**2), share),
        ),
        Misconception(
            hint="That is a share of the number of directions whose variance is not 0. Ask how much of the variance "
            "they hold.",
            answer=lambda variances, share: math.ceil(share * int((variances > 0).sum())),
        ),
        Misconception(
            hint="These are the directions. Return how many they are.",
            answer=lambda variances, share: variances.argsort(descending=True, stable=True)[
                : int(_needed(_shares(variances), share))
            ],
        ),
        Misconception(
            hint="That is how many directions hold 1 − share of the variance. Count those that hold `share`.",
            answer=lambda variances, share: _needed(_shares(variances), 1 - share),
        ),
        Misconception(
            hint="That is a share of the number of directions. Ask how much of the variance they hold.",
            answer=lambda variances, share: math.ceil(share * len(variances)),
        ),
        Misconception(
            hint="That is how many directions hold no more than the share together. The first direction that reaches "
            "the share counts, too.",
            answer=lambda variances, share: (_shares(variances).cumsum(0) <= share + 1e-6).sum(),
        ),
        Misconception(
            hint="You counted from the other end: how many of the sums reach the share. Count the first sum that "
            "does, and those before it.",
            answer=lambda variances, share: (_shares(variances).cumsum(0) >= share - 1e-6).sum(),
        ),
    ],
    tolerance=0,
)

# 2. Alignment, from similarities

alignment_from = Exercise(
    solution=lambda similarities: (2 - 2 * similarities).mean(),
    cases=[(_unit_cosines(6, 0),), (_unit_cosines(9, 1),)],
    misconceptions=[
        Misconception(
            hint="That is the mean similarity. Alignment is a squared distance: small is good.",
            answer=lambda similarities: similarities.mean(),
        ),
        Misconception(
            hint="You took the distance; its square is meant.",
            answer=lambda similarities: (2 - 2 * similarities).sqrt().mean(),
        ),
        Misconception(
            hint="That is half of it. Write out ‖a − b‖² with ‖a‖ = ‖b‖ = 1: three terms.",
            answer=lambda similarities: 1 - similarities.mean(),
        ),
        Misconception(
            hint="The mixed term of ‖a − b‖² counts twice: 2 − 2 s.",
            answer=lambda similarities: 2 - similarities.mean(),
        ),
        Misconception(
            hint="The mixed term of ‖a − b‖² is negative: partners that are alike are near each other.",
            answer=lambda similarities: 2 + 2 * similarities.mean(),
        ),
        Misconception(
            hint="2 − 2 s is squared already.",
            answer=lambda similarities: (2 - 2 * similarities).square().mean(),
        ),
        Misconception(
            hint="You subtracted the similarity from 1 and squared. Write out ‖a − b‖² with ‖a‖ = ‖b‖ = 1 instead.",
            answer=lambda similarities: (1 - similarities).square().mean(),
        ),
        Misconception(
            hint="That is the length of the arc between the two, squared. The straight line through the sphere is "
            "meant.",
            answer=lambda similarities: similarities.arccos().square().mean(),
        ),
        Misconception(
            hint="You took the square root of the mean. Alignment is the mean of the squared distances, without a "
            "root.",
            answer=lambda similarities: (2 - 2 * similarities).mean().sqrt(),
        ),
        Misconception(
            hint="You subtracted the squared similarity from 1. Write out ‖a − b‖² with ‖a‖ = ‖b‖ = 1 instead.",
            answer=lambda similarities: (1 - similarities.square()).mean(),
        ),
        Misconception(
            hint="That is minus the mean similarity. It falls as the partners approach each other, but it is no "
            "squared distance: write out ‖a − b‖².",
            answer=lambda similarities: -similarities.mean(),
        ),
        Misconception(
            hint="You took the logarithm. Uniformity has one, alignment has none.",
            answer=lambda similarities: (2 - 2 * similarities).mean().log(),
        ),
        Misconception(
            hint="That is half of 1 − s. Write out ‖a − b‖² with ‖a‖ = ‖b‖ = 1: it has three terms.",
            answer=lambda similarities: (1 - similarities).mean() / 2,
        ),
        Misconception(
            hint="You added up all pairs: alignment is their mean.",
            answer=lambda similarities: (2 - 2 * similarities).sum(),
        ),
        Misconception(
            hint="That is one number for each pair. Return their mean.",
            answer=lambda similarities: 2 - 2 * similarities,
        ),
    ],
)

# 3. Uniformity, from similarities


def _others(similarity: Tensor) -> Tensor:
    """The similarities of different points, [N (N − 1)]."""
    return similarity[~torch.eye(len(similarity), dtype=torch.bool)]


def _uniformity(similarity: Tensor, factor: float = 2.0) -> Tensor:
    return (-factor * (2 - 2 * similarity)).exp().mean().log()


uniformity_from = Exercise(
    solution=lambda similarity: _uniformity(_others(similarity)),
    cases=[(_unit_similarity(8, 4),), (_unit_similarity(12, 5),)],
    misconceptions=[
        Misconception(
            hint="Each point is paired with itself in your mean, at distance 0: leave the diagonal out.",
            answer=_uniformity,
        ),
        Misconception(
            hint="You set the diagonal to 0 and still count it: such a pair would be at a right angle. Leave it out.",
            answer=lambda similarity: _uniformity(similarity.clone().fill_diagonal_(0)),
        ),
        Misconception(
            hint="You left the diagonal out of the sum but not out of the number of pairs: that is N (N − 1), not N².",
            answer=lambda similarity: _uniformity(_others(similarity)) + math.log(1 - 1 / len(similarity)),
        ),
        Misconception(
            hint="You added up each pair once and divided by N (N − 1), which counts it twice.",
            answer=lambda similarity: _uniformity(_others(similarity)) - math.log(2),
        ),
        Misconception(
            hint="You took the mean of the exponents, which is −2 times the mean squared distance. The logarithm comes "
            "last.",
            answer=lambda similarity: (4 * _others(similarity) - 4).mean(),
        ),
        Misconception(
            hint="The distance in the exponent is squared: d² = 2 − 2 s.",
            answer=lambda similarity: (-2 * (2 - 2 * _others(similarity)).sqrt()).exp().mean().log(),
        ),
        Misconception(
            hint="Your exponent is half of what it should be. The squared distance d² is 2 − 2 s, and the exponent is "
            "−2 d².",
            answer=lambda similarity: _uniformity(_others(similarity), factor=1.0),
        ),
        Misconception(
            hint="That is the similarity in the exponent. The squared distance is 2 − 2 s.",
            answer=lambda similarity: (-2 * _others(similarity)).exp().mean().log(),
        ),
        Misconception(
            hint="The exponent is negative: far pairs must count for little, exp(−2 d²).",
            answer=lambda similarity: _uniformity(_others(similarity), factor=-2.0),
        ),
        Misconception(
            hint="2 − 2 s is squared already.",
            answer=lambda similarity: (-2 * (2 - 2 * _others(similarity)).square()).exp().mean().log(),
        ),
        Misconception(
            hint="You took the logarithm for each point, and then the mean. The logarithm comes last, after the mean "
            "over all pairs.",
            answer=lambda similarity: (
                (4 * similarity - 4).fill_diagonal_(-torch.inf).logsumexp(dim=1) - math.log(len(similarity) - 1)
            ).mean(),
        ),
        Misconception(
            hint="Your factor is ½. Uniformity takes exp(−2 d²).",
            answer=lambda similarity: _uniformity(_others(similarity), factor=0.5),
        ),
        Misconception(
            hint="You took the nearest pair only. All pairs of different points are in the mean.",
            answer=lambda similarity: (4 * _others(similarity) - 4).max(),
        ),
        Misconception(
            hint="That is the mean squared distance. Take exp(−2 d²) of each pair, the mean of these, and the "
            "logarithm.",
            answer=lambda similarity: (2 - 2 * _others(similarity)).mean(),
        ),
        Misconception(
            hint="The logarithm is missing.",
            answer=lambda similarity: _uniformity(_others(similarity)).exp(),
        ),
        Misconception(
            hint="That is the logarithm of the sum: take the mean over the pairs.",
            answer=lambda similarity: (4 * _others(similarity) - 4).logsumexp(0),
        ),
        Misconception(
            hint="You kept each pair once, but your mean runs over all N² entries, with 0 for the others. Divide the "
            "sum by the number of pairs.",
            answer=lambda similarity: (4 * similarity - 4).exp().triu(1).mean().log(),
        ),
        Misconception(
            hint="You subtracted 1 for the diagonal. It holds N times exp(0) = 1: subtract N.",
            answer=lambda similarity: (
                ((4 * similarity - 4).exp().sum() - 1).div(len(similarity) * (len(similarity) - 1)).log()
            ),
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


def _recall(similarity: Tensor, labels: Tensor, k: int) -> Tensor:
    found = (_neighbors(similarity, labels, k) == labels[:, None]).sum(dim=1)
    return (found / ((labels[:, None] == labels).sum(dim=1) - 1)).mean()


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
            hint="A similarity may be negative: with 0 or −1 on the diagonal an image can still find itself. Use −inf.",
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
        Misconception(
            hint="You drop the first of k + 1 neighbours, as if it were always the image itself. In the last case it "
            "is not: set the diagonal to −inf.",
            answer=lambda similarity, labels, k: (
                (labels[similarity.topk(k + 1, dim=1).indices[:, 1:]] == labels[:, None]).double().mean()
            ),
        ),
        Misconception(
            hint="You took k + 1 neighbours and subtracted 1, as if each image were always among its own neighbours. "
            "In the last case it is not: set the diagonal to −inf.",
            answer=lambda similarity, labels, k: (
                ((labels[similarity.topk(k + 1, dim=1).indices] == labels[:, None]).sum(dim=1) - 1) / k
            ).mean(),
        ),
        Misconception(
            hint="You took k + 1 neighbours, the image itself among them. Leave the diagonal out, and take k.",
            answer=lambda similarity, labels, k: _precision(similarity, labels, k + 1, itself=True),
        ),
        Misconception(
            hint="You took k + 1 neighbours. Take k.",
            answer=lambda similarity, labels, k: _precision(similarity, labels, k + 1),
        ),
        Misconception(
            hint="You looked at the k-th neighbour only. All of the first k count.",
            answer=lambda similarity, labels, k: (_neighbors(similarity, labels, k)[:, -1] == labels).double().mean(),
        ),
        Misconception(
            hint="You looked at the nearest neighbour only. The first k count.",
            answer=lambda similarity, labels, k: _precision(similarity, labels, 1),
        ),
        Misconception(
            hint="You took the mean for each class first. The mean over all images is asked.",
            answer=lambda similarity, labels, k: torch.stack(
                [(_neighbors(similarity, labels, k)[labels == c] == c).double().mean() for c in labels.unique()]
            ).mean(),
        ),
        Misconception(
            hint="You made the similarities symmetric. Row i alone says what image i is similar to.",
            answer=lambda similarity, labels, k: _precision(similarity + similarity.T, labels, k),
        ),
        Misconception(
            hint="You divided by the number of images of the class: that is recall. Divide by k.", answer=_recall
        ),
        Misconception(
            hint="You compare the places of the neighbours with a class. Look up their classes first: labels[nearest].",
            answer=lambda similarity, labels, k: (
                (similarity.clone().fill_diagonal_(-torch.inf).topk(k, dim=1).indices == labels[:, None])
                .double()
                .mean()
            ),
        ),
        Misconception(
            hint="You compare the neighbours with the nearest of them. Compare them with the image itself.",
            answer=lambda similarity, labels, k: (
                (_neighbors(similarity, labels, k) == _neighbors(similarity, labels, k)[:, :1]).double().mean()
            ),
        ),
        Misconception(
            hint="You took the sizes of the similarities. A negative one is no neighbour: leave the sign.",
            answer=lambda similarity, labels, k: _precision(similarity.abs(), labels, k),
        ),
        Misconception(
            hint="Those are the least similar images: similarity is large for neighbours.",
            answer=lambda similarity, labels, k: _precision(similarity, labels, k, itself=True, largest=False),
        ),
        Misconception(
            hint="You asked whether all of the k are right. Precision is the share of the k that are.",
            answer=lambda similarity, labels, k: (
                (_neighbors(similarity, labels, k) == labels[:, None]).all(dim=1).double().mean()
            ),
        ),
    ],
)

EXERCISES = collect(globals())
