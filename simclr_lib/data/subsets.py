"""Choices of images, class by class: a part held out, a few labels, a balanced subset. A seed decides each of them."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from simclr_lib.choices import MAX_COUNT
from simclr_lib.data.labels import check_labels
from simclr_lib.errors import require_range, require_whole

MAX_SHUFFLE = 2**63 - 1  # of a seed; those of draws and splits are multiples of a seed that a user chose


def split_indices(labels: Tensor, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Split positions 0…N-1 in two, class by class, reproducibly.

    Args:
        labels: int64 [N]. Images without a label, -1, are in neither part.
        fraction: share of every class that goes to the second part, 0…1, rounded to the nearest whole number.
        seed: the shuffle's seed, 0 or more.

    Returns:
        (first, second): ascending int64 indices.

    Raises:
        SimCLRError: the labels have another shape or type, one is below −1, or a setting is out of its range.
    """
    require_range("fraction", fraction, 0, 1)
    labels, generator = _checked(labels), _shuffler(seed)
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
        per_class: how many to pick of each class, 1 or more; a class with fewer members gives all it has.
        seed: the shuffle's seed, 0 or more.

    Returns:
        Ascending int64 indices.

    Raises:
        SimCLRError: as in `split_indices`.
    """
    require_whole("per_class", per_class, 1, MAX_COUNT)
    labels, generator = _checked(labels), _shuffler(seed)
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


def _checked(labels: Tensor) -> Tensor:
    """Labels on the CPU, if they are int64 [N], -1 or more; those of NumPy and lists will do, too."""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # the check names what is no tensor then
        labels = torch.as_tensor(labels).cpu()
    check_labels(labels, "labels", unlabelled=True)
    return labels


def _shuffler(seed: int) -> torch.Generator:
    """The generator of a shuffle."""
    require_whole("seed", seed, 0, MAX_SHUFFLE)
    return torch.Generator().manual_seed(int(seed))
