"""NT-Xent, the contrastive loss of SimCLR (paper, equation 1 and algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from simclr_lib.distributed import gathered, world
from simclr_lib.errors import SimCLRError


def nt_xent(
    z_a: Tensor,
    z_b: Tensor,
    temperature: float = 0.5,
    chunk_size: int | None = None,
    global_negatives: bool = True,
) -> Tensor:
    """Normalised temperature-scaled cross-entropy: each view must find its partner among 2N − 1 others.

    With s(i, k) the cosine similarity of two of the 2N embeddings, and j(i) the partner of i:

        ℓ(i) = −log( exp(s(i, j(i)) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) ),   loss = mean of ℓ over all 2N anchors.

    This is exactly algorithm 1. (The reference code adds the two halves' means instead: twice this value.)

    With W processes (`simclr_lib.distributed.joined`), each gives its n = N / W pairs, and gets the mean of ℓ over
    its own 2n anchors among all 2N embeddings. The mean of that over the processes, and of its gradients, which
    ``DistributedDataParallel`` takes, are those of one process with all pairs.

    Args:
        z_a: float [N, D]: embeddings of the first views.
        z_b: float [N, D]: embeddings of the second views; row i belongs to row i of ``z_a``.
        temperature: τ > 0.
        chunk_size: anchors whose similarities are in memory at a time; None is all 2N, hence [2N, 2N]. Changes
            neither value nor gradient but by rounding. The gradient then cannot be differentiated again.
        global_negatives: other processes' embeddings are negatives too. False leaves each process to itself.

    Returns:
        Scalar, at least in float32, whatever the inputs' precision and under autocast too.

    Raises:
        SimCLRError: shapes differ, also between processes; N is 0; τ ≤ 0; chunk_size is below 1.
    """
    if z_a.ndim != 2 or z_a.shape != z_b.shape or len(z_a) == 0:
        raise SimCLRError(f"nt_xent takes two [N, D] tensors, N ≥ 1, not {list(z_a.shape)} and {list(z_b.shape)}.")
    check_temperature(temperature)
    if chunk_size is not None and chunk_size < 1:
        raise SimCLRError(f"chunk_size must be at least 1, not {chunk_size}.")
    n = len(z_a)
    # exp(1 / τ) and differences of similarities need more than the 8 bits of bfloat16.
    with torch.autocast(z_a.device.type, enabled=False):
        z = torch.cat([z_a, z_b])  # [2n, D]
        z = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        everyone = gathered(z) if global_negatives else z  # [2N, D]: each process's first views, then its second
        first = 2 * n * world().rank if global_negatives else 0  # the place of this process's rows among them
        if chunk_size is not None:
            return _ChunkedCrossEntropy.apply(z, everyone, first, temperature, chunk_size)
        logits = z @ everyone.T / temperature  # [2n, 2N]
        # An embedding is not its own negative: exp(−inf) = 0, at any precision.
        logits.diagonal(first).fill_(-torch.inf)
        partner = first + torch.arange(2 * n, device=z.device).roll(n)  # n … 2n−1, 0 … n−1, from ``first`` on
        return F.cross_entropy(logits, partner)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The same, a few anchors at a time: memory grows with N, not N².

    With P the softmax of the logits and Y the one-hot partners, the gradient is known as soon as a chunk's logits
    are: (P − Y) · everyone / (2n τ) for its anchors, (P − Y)ᵀ · anchors / (2n τ) for everyone. So it is taken at
    once, and no chunk needs to be computed again in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, everyone: Tensor, first: int, temperature: float, chunk_size: int) -> Tensor:
        num_anchors = len(anchors)
        n = num_anchors // 2
        loss = anchors.new_zeros(())
        for_anchors, for_everyone = torch.zeros_like(anchors), torch.zeros_like(everyone)
        for start in range(0, num_anchors, chunk_size):
            chunk = anchors[start : start + chunk_size]
            rows = torch.arange(start, start + len(chunk), device=anchors.device)
            partner = (first + (rows + n) % num_anchors).unsqueeze(1)
            logits = (chunk @ everyone.T).div_(temperature)  # [c, 2N]
            logits.diagonal(first + start).fill_(-torch.inf)
            positive = logits.gather(1, partner)
            normalizer = logits.logsumexp(dim=1, keepdim=True)
            loss += (normalizer - positive).sum()
            if any(ctx.needs_input_grad):
                error = logits.sub_(normalizer).exp_()  # P
                error.scatter_add_(1, partner, -torch.ones_like(positive))  # P − Y
                for_anchors[start : start + len(chunk)] = error @ everyone
                for_everyone.addmm_(error.T, chunk)
        scale = num_anchors * temperature
        ctx.save_for_backward(for_anchors.div_(scale), for_everyone.div_(scale))
        return loss / num_anchors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        for_anchors, for_everyone = ctx.saved_tensors
        return for_anchors * grad, for_everyone * grad, None, None, None


def check_temperature(temperature: float) -> None:
    """Raise `SimCLRError` unless τ > 0."""
    if not temperature > 0:
        raise SimCLRError(f"temperature must be above 0, not {temperature}: the paper uses 0.05 to 1.")
