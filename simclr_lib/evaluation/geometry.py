"""The shape of an embedding: how many directions it uses, how close partners are, how evenly it is spread."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation.checks import check_features

ROUNDING = 1e-24  # a variance that equal unit vectors may show, because their mean is rounded


def principal_variances(features: Tensor) -> Tensor:
    """Compute the variances along the principal components of unit features, in descending order.

    Args:
        features: float [N, D].

    Returns:
        float64 [min(N, D)].

    Raises:
        SimCLRError: the features are not [N, D], or not finite.
    """
    check_features(features, "features")
    unit = F.normalize(features.double(), dim=1)
    return torch.linalg.svdvals(unit - unit.mean(dim=0)).square() / len(features)


def effective_rank(features: Tensor) -> float:
    """Compute the exponential of the entropy of the principal variances (Roy & Vetterli 2007).

    It is the number of directions that share the variance: from 1 (all features on a line) to min(N, D) (the same
    variance in each direction). Features that coincide have no variance, and count as 1.

    The unit features are centred, and only shares of the variance count. So the effective rank does not see that an
    embedding has collapsed to one point with a little noise around it: the noise alone decides. `uniformity` sees that.

    Args:
        features: float [N, D].

    Raises:
        SimCLRError: the features are not [N, D], or not finite.
    """
    variances = principal_variances(features)
    if variances.sum() <= ROUNDING:
        return 1.0
    return float(torch.special.entr(variances / variances.sum()).sum().exp())


def alignment(a: Tensor, b: Tensor) -> float:
    """Compute the mean squared distance of partners on the unit sphere (Wang & Isola 2020, arXiv 2005.10242, α = 2).

    It is between 0 and 4, and small where partners are close.

    Args:
        a: float [N, D].
        b: float [N, D]; row i belongs to row i of ``a``.

    Raises:
        SimCLRError: the features are not [N, D] of one shape, or not finite.
    """
    check_features(a, "a")
    check_features(b, "b", width=a.shape[1])
    if len(a) != len(b):
        raise SimCLRError(f"a and b must be of one shape, not {list(a.shape)} and {list(b.shape)}.")
    return (F.normalize(a.double(), dim=1) - F.normalize(b.double(), dim=1)).square().sum(dim=1).mean().item()


def uniformity(features: Tensor) -> float:
    """Compute log mean exp(−2 d²) over all pairs on the unit sphere (Wang & Isola 2020, arXiv 2005.10242, t = 2).

    It is 0 if all features coincide, and at least −8. The lower it is, the more evenly the features are spread.

    Args:
        features: float [N, D], N ≥ 2. With more than 5,000, take a sample: the number of pairs grows with the square.

    Raises:
        SimCLRError: there are fewer than two features, or they are not [N, D], or not finite.
    """
    check_features(features, "features", at_least=2)
    return torch.pdist(F.normalize(features.double(), dim=1)).square().mul(-2).exp().mean().log().item()
