"""Choices of images, class by class: a part held out, a few labels, a balanced subset. A seed decides each of them."""

from __future__ import annotations

import torch
from torch import Tensor


def split_indices(labels: Tensor, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Split positions 0…N-1 in two, class by class, reproducibly.

    Args:
        labels: int64 [N]. Images without a label, -1, are in neither part.
        fraction: share of every class that goes to the second part, rounded to the nearest whole number.
        seed: the shuffle's seed.

    Returns:
        (first, second): ascending int64 indices.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.as_tensor(labels).cpu()
    in_second = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels[labels >= 0].unique():
        members = (labels == label).nonzero().flatten()
        shuffled = members[torch.randperm(len(members), generator=generator)]
        in_second[shuffled[: round(fraction * len(members))]] = True
    return (~in_second & (labels >= 0)).nonzero().flatten(), in_second.nonzero().flatten()


def few_labels(labels: Tensor, per_class: int, seed: int = 0) -> Tensor:
    """Pick ``per_class`` positions of every class at random, reproducibly.

    Args:
        labels: int64 [N]. Images without a label, -1, are not picked.
        per_class: how many to pick of each class; a class with fewer members gives all it has.
        seed: the shuffle's seed.

    Returns:
        Ascending int64 indices.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.as_tensor(labels).cpu()
    picked = [torch.empty(0, dtype=torch.int64)]
    for label in labels[labels >= 0].unique():
        members = (labels == label).nonzero().flatten()
        picked.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    return torch.cat(picked).sort().values


def balanced_subset(labels: Tensor, limit: int, seed: int = 0) -> Tensor:
    """Pick ``limit`` positions at random, as many of each class as possible, reproducibly.

    Args:
        labels: int64 [N].
        limit: how many to pick; all of them where there are no more.
        seed: the shuffle's seed.

    Returns:
        Ascending int64 [min(limit, N)]. A larger limit contains a smaller one's choice.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    turn = torch.empty_like(labels)
    for label in labels.unique():
        members = (labels[shuffled] == label).nonzero().flatten()
        turn[members] = torch.arange(len(members))
    # Take every class's first member, then every class's second, and so on.
    return shuffled[turn.argsort(stable=True)][:limit].sort().values
