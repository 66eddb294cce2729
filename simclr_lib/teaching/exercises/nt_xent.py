"""Exercises of notebook 02: similarities, partners, the loss, its value at the start, and what τ weighs."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.losses import nt_xent
from simclr_lib.teaching.exercises.exercise import Exercise


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# 1. Cosine similarities


def _cosine(z: Tensor) -> Tensor:
    z = F.normalize(z, dim=1)
    return z @ z.T


similarity_matrix = Exercise(
    solution=_cosine,
    cases=[(_random(6, 4),), (3 * _random(5, 2, seed=1),)],
    misconceptions={
        "These are dot products: they grow with the vectors' lengths. Cosine similarity divides each vector by its "
        "length first.": lambda z: z @ z.T,
        "You divided each column by its length: that mixes the images. An embedding is a row, so normalise over "
        "dim=1.": lambda z: F.normalize(z, dim=0) @ F.normalize(z, dim=0).T,
        "You divided by the lengths of one side only. Both vectors of a pair need length 1.": lambda z: (
            F.normalize(z, dim=1) @ z.T
        ),
        "You divided by the squared lengths: the norm is the square root of the sum of squares.": lambda z: (
            (z / z.square().sum(dim=1, keepdim=True)) @ (z / z.square().sum(dim=1, keepdim=True)).T
        ),
        "This is a distance, which is small for similar vectors; a similarity is large.": lambda z: torch.cdist(
            F.normalize(z, dim=1), F.normalize(z, dim=1)
        ),
    },
)

# 2. Who is whose partner


def _partners(n: int) -> Tensor:
    return torch.arange(2 * n).roll(n)


partners = Exercise(
    solution=_partners,
    cases=[(2,), (5,)],
    misconceptions={
        "That is each embedding itself. Its partner is the other view of the same image.": lambda n: torch.arange(
            2 * n
        ),
        "That would be right if the views alternated: a₀, b₀, a₁, b₁ … Here all first views come before all second "
        "views.": lambda n: torch.arange(2 * n) ^ 1,
        "You have the partners of the first views only. Second views are anchors too: 2N entries.": lambda n: (
            torch.arange(n) + n
        ),
        "That is the next row: another image, and so a negative.": lambda n: torch.arange(2 * n).roll(-1),
        "The second views' partners lie in the first half: subtract N there, do not add it.": lambda n: (
            torch.arange(2 * n) + n
        ),
    },
    tolerance=0,
)

# 3. The whole loss


def _loss(
    z_a: Tensor,
    z_b: Tensor,
    temperature: float,
    self_similarity: bool = False,
    positive: bool = True,
    times: bool = False,
    normalize: bool = True,
    other_view_only: bool = False,
) -> Tensor:
    """ℓ(i) of every anchor, [2N], with one mistake at a time."""
    n = len(z_a)
    z = torch.cat([z_a, z_b])
    z = F.normalize(z, dim=1) if normalize else z
    logits = z @ z.T * (temperature if times else 1 / temperature)
    partner = _partners(n)
    allowed = torch.full_like(logits, True, dtype=torch.bool)
    if not self_similarity:
        allowed.fill_diagonal_(False)
    if not positive:
        allowed[torch.arange(2 * n), partner] = False
    if other_view_only:
        half = torch.arange(2 * n) < n
        allowed &= half[:, None] != half
    denominator = logits.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
    return denominator - logits[torch.arange(2 * n), partner]


loss = Exercise(
    solution=lambda z_a, z_b, temperature: nt_xent(z_a, z_b, temperature),
    cases=[(_random(4, 3), _random(4, 3, seed=1), 0.5), (_random(7, 5, seed=2), _random(7, 5, seed=3), 0.1)],
    misconceptions={
        "The similarity of an embedding with itself is still in the denominator: mask the diagonal with −∞.": (
            lambda a, b, t: _loss(a, b, t, self_similarity=True).mean()
        ),
        "The positive is missing from the denominator: equation 1 sums over all k ≠ i, the partner included.": (
            lambda a, b, t: _loss(a, b, t, positive=False).mean()
        ),
        "You multiplied by τ. Dividing by a small τ makes the softmax sharper.": (
            lambda a, b, t: _loss(a, b, t, times=True).mean()
        ),
        "τ is missing: divide the similarities by it.": lambda a, b, t: _loss(a, b, 1.0).mean(),
        "The embeddings are not normalised: s is the cosine similarity.": (
            lambda a, b, t: _loss(a, b, t, normalize=False).mean()
        ),
        "Only the first views are anchors in your mean. Algorithm 1 takes ℓ of all 2N embeddings.": (
            lambda a, b, t: _loss(a, b, t)[: len(a)].mean()
        ),
        "Your negatives come from the other view only. The other images' embeddings of the same view count too: "
        "2N − 2 negatives, not N − 1.": lambda a, b, t: _loss(a, b, t, other_view_only=True).mean(),
        "This is one direction only: first views as anchors, second views as candidates. All 2N embeddings are both.": (
            lambda a, b, t: _loss(a, b, t, other_view_only=True)[: len(a)].mean()
        ),
        "This is the sum over the anchors. Algorithm 1 divides by 2N.": lambda a, b, t: _loss(a, b, t).sum(),
        "This is twice the value of algorithm 1: you added the two halves' means (as the reference code does).": (
            lambda a, b, t: 2 * _loss(a, b, t).mean()
        ),
        "The sign is wrong: the loss is minus the logarithm.": lambda a, b, t: -_loss(a, b, t).mean(),
    },
)

# 4. What the loss is before anything is learnt

loss_without_information = Exercise(
    solution=lambda n: math.log(2 * n - 1),
    cases=[(2,), (64,), (1000,)],
    misconceptions={
        "log N would be a choice among N images. An anchor chooses among all other embeddings.": math.log,
        "log 2N counts the anchor itself among its candidates. It is masked.": lambda n: math.log(2 * n),
        "log(2N − 2) counts the negatives only. The positive is a candidate too.": lambda n: math.log(2 * n - 2),
        "This is the number of candidates; the loss is its logarithm.": lambda n: float(2 * n - 1),
        "Logarithms are natural here, as in PyTorch.": lambda n: math.log2(2 * n - 1),
    },
)

# 5. Which negatives matter

negative_weights = Exercise(
    solution=lambda similarities, temperature: torch.softmax(similarities / temperature, dim=0),
    cases=[(_random(8).tanh(), 0.5), (_random(20, seed=1).tanh(), 0.1)],
    misconceptions={
        "τ is missing: divide the similarities by it before the softmax.": lambda s, t: torch.softmax(s, dim=0),
        "You multiplied by τ: then a small τ would treat all negatives alike. It is the other way round.": (
            lambda s, t: torch.softmax(s * t, dim=0)
        ),
        "These weights do not sum to 1: divide by their sum, to see each negative's share.": (
            lambda s, t: torch.exp(s / t)
        ),
        "τ belongs inside the exponential: shares that are divided by it afterwards do not sum to 1.": (
            lambda s, t: torch.softmax(s, dim=0) / t
        ),
        "You gave the least similar negative the largest share: the sign is wrong.": (
            lambda s, t: torch.softmax(-s / t, dim=0)
        ),
    },
)

EXERCISES = {
    "similarity_matrix": similarity_matrix,
    "partners": partners,
    "loss": loss,
    "loss_without_information": loss_without_information,
    "negative_weights": negative_weights,
}
