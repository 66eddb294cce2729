"""NT-Xent, the contrastive loss of SimCLR (paper, equation 1 and algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.errors import SimCLRError


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float = 0.5) -> Tensor:
    """Normalised temperature-scaled cross-entropy: each view must find its partner among 2N − 1 others.

    With s(i, k) the cosine similarity of two of the 2N embeddings, and j(i) the partner of i:

        ℓ(i) = −log( exp(s(i, j(i)) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) ),   loss = mean of ℓ over all 2N anchors.

    This is exactly algorithm 1. (The reference code adds the two halves' means instead: twice this value.)

    Args:
        z_a: float [N, D]: embeddings of the first views.
        z_b: float [N, D]: embeddings of the second views; row i belongs to row i of ``z_a``.
        temperature: τ > 0.

    Returns:
        Scalar, at least in float32, whatever the inputs' precision and under autocast too.

    Raises:
        SimCLRError: shapes differ, N is 0, or τ ≤ 0.
    """
    if z_a.ndim != 2 or z_a.shape != z_b.shape or len(z_a) == 0:
        raise SimCLRError(f"nt_xent takes two [N, D] tensors, N ≥ 1, not {list(z_a.shape)} and {list(z_b.shape)}.")
    check_temperature(temperature)
    n = len(z_a)
    # exp(1 / τ) and differences of similarities need more than the 8 bits of bfloat16.
    with torch.autocast(z_a.device.type, enabled=False):
        z = torch.cat([z_a, z_b])  # [2N, D]
        z = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        logits = z @ z.T / temperature  # [2N, 2N]
        # An embedding is not its own negative: exp(−inf) = 0, at any precision.
        logits = logits.fill_diagonal_(-torch.inf)
        partner = torch.arange(2 * n, device=z.device).roll(n)  # N … 2N−1, 0 … N−1
        return F.cross_entropy(logits, partner)


def check_temperature(temperature: float) -> None:
    """Raise `SimCLRError` unless τ > 0."""
    if not temperature > 0:
        raise SimCLRError(f"temperature must be above 0, not {temperature}: the paper uses 0.05 to 1.")
