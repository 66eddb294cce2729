"""The shape of an embedding: how many directions it uses, how close partners are, how evenly it is spread."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.errors import SimCLRError


def principal_variances(features: Tensor) -> Tensor:
    """Variances along the principal components of unit features, descending: float [N, D] → [min(N, D)]."""
    unit = F.normalize(features.double(), dim=1)
    return torch.linalg.svdvals(unit - unit.mean(dim=0)).square() / len(features)


def effective_rank(features: Tensor) -> float:
    """exp of the entropy of the principal variances (Roy & Vetterli 2007): how many directions are really used.

    From 1 (all on a line) to min(N, D) (the same variance in each direction).
    """
    variances = principal_variances(features)
    share = variances / variances.sum()
    return float(torch.special.entr(share).sum().exp())


def alignment(a: Tensor, b: Tensor) -> float:
    """Mean squared distance of partners on the unit sphere (Wang & Isola 2020, with α = 2): 0 … 4, small is good.

    Args:
        a, b: float [N, D], row i of one belongs to row i of the other.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise SimCLRError(f"alignment takes two [N, D] tensors of one shape, not {list(a.shape)} and {list(b.shape)}.")
    return (F.normalize(a.double(), dim=1) - F.normalize(b.double(), dim=1)).square().sum(dim=1).mean().item()


def uniformity(features: Tensor) -> float:
    """log of the mean of exp(−2 d²) over all pairs on the unit sphere (Wang & Isola 2020, with t = 2).

    0 if all features coincide, at least −8; the lower, the more evenly they are spread.

    Args:
        features: float [N, D], N ≥ 2; of more than 5,000, compare a sample: the pairs grow with the square.
    """
    if len(features) < 2:
        raise SimCLRError(f"uniformity compares pairs: it needs at least two features, not {len(features)}.")
    return torch.pdist(F.normalize(features.double(), dim=1)).square().mul(-2).exp().mean().log().item()
