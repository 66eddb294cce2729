"""NT-Xent, the contrastive loss of SimCLR (arXiv 2002.05709, equation 1 and algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from simclr_lib.choices import MAX_COUNT
from simclr_lib.distributed import gathered
from simclr_lib.errors import SimCLRError, require_whole, type_name


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

    This is exactly algorithm 1. (The reference code adds the means of the two halves, which is twice this value.)

    With W processes (`simclr_lib.distributed.joined`) this is a collective operation: every process must call it,
    with the same number n = N / W of pairs, or the others wait for it until they time out. Each process gets the mean
    of ℓ over its own 2n anchors among all 2N embeddings. ``DistributedDataParallel`` averages the gradients over the
    processes; the result is the gradient that one process computes from all N pairs. With ``global_negatives=False``
    the processes need not wait for each other.

    Args:
        z_a: float [N, D]: embeddings of the first views.
        z_b: float [N, D]: embeddings of the second views; row i belongs to row i of ``z_a``.
        temperature: τ > 0.
        chunk_size: number of anchors whose similarities are in memory at one time. None takes all 2N at once, which
            needs [2N, 2N] numbers. It changes value and gradient by rounding only. The chunked loss has a first
            derivative in reverse mode (`backward`, ``torch.func.grad``), and no other one.
        global_negatives: embeddings of other processes are negatives, too. With False, each process compares its own
            embeddings only.

    Returns:
        Scalar, in float32 or better, whatever the precision of the inputs, and under autocast, too. Embeddings with
        NaN or infinity give NaN: to look for them here would make a GPU wait at every step. Training looks at the loss
        and stops with an error.

    Raises:
        SimCLRError: ``z_a`` and ``z_b`` are not floating-point [N, D] tensors of one shape and device, with N ≥ 1 and
            D ≥ 1; the processes have different N; τ ≤ 0; chunk_size is no whole number above 0; a chunked loss is
            differentiated twice, or in forward mode.
    """
    _check_embeddings(z_a, z_b)
    check_temperature(temperature)
    require_whole("chunk_size", chunk_size, 1, MAX_COUNT)
    # exp(1 / τ) and differences of similarities need more than the 8 bits of bfloat16.
    with torch.autocast(z_a.device.type, enabled=False):
        z = torch.cat([z_a, z_b])  # [2n, D]
        z = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        candidates, offset = gathered(z) if global_negatives else (z, 0)  # [2N, D]
        return partner_cross_entropy(z, candidates, offset, temperature, chunk_size)


def partner_cross_entropy(
    anchors: Tensor, candidates: Tensor, offset: int, temperature: float, chunk_size: int | None = None
) -> Tensor:
    """Mean cross-entropy of finding each anchor's partner among all candidates but the anchor itself.

    This is the formula of `nt_xent` alone: it knows neither processes nor autocast.

    Args:
        anchors: float [2n, D], unit vectors; rows i and i + n are partners.
        candidates: float [2N, D], unit vectors, among them the anchors.
        offset: the row of ``candidates`` where the anchors begin.
        temperature: τ > 0.
        chunk_size: number of anchors whose similarities are in memory at one time; None takes all.

    Returns:
        Scalar.
    """
    if chunk_size is not None:
        anchors = anchors / temperature  # divides the similarities by τ
        return _ChunkedCrossEntropy.apply(anchors, candidates, offset, chunk_size, torch.is_grad_enabled())[0]
    logits = anchors @ candidates.T / temperature  # [2n, 2N]
    # An embedding is not its own negative: exp(−inf) = 0, at any precision.
    logits.diagonal(offset).fill_(-torch.inf)
    return F.cross_entropy(logits, _partners(anchors, offset))


def _partners(anchors: Tensor, offset: int) -> Tensor:
    """Int64 [2n]: the row of each anchor's partner among the candidates."""
    rows = torch.arange(len(anchors), device=anchors.device)
    return offset + rows.roll(len(anchors) // 2)  # n … 2n−1, 0 … n−1, counted from ``offset``


class _ChunkedCrossEntropy(torch.autograd.Function):
    """`partner_cross_entropy` a few anchors at a time: its memory grows with N, not with N².

    With P the softmax of the logits and Y the one-hot partners, the gradient of the mean loss is

        (P − Y) · candidates / 2n  for the anchors,  (P − Y)ᵀ · anchors / 2n  for the candidates.

    Both are known as soon as the logits of a chunk are. The forward pass therefore computes them, and the backward
    pass need not compute any chunk again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        anchors: Tensor, candidates: Tensor, offset: int, chunk_size: int, with_gradient: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss and its gradients for ``anchors`` (already divided by τ) and for ``candidates``."""
        partners = _partners(anchors, offset).unsqueeze(1)
        losses = []
        for_anchors, for_candidates = torch.zeros_like(anchors), torch.zeros_like(candidates)
        for start in range(0, len(anchors), chunk_size):
            chunk, partner = anchors[start : start + chunk_size], partners[start : start + chunk_size]
            logits = chunk @ candidates.T  # [c, 2N]
            logits.diagonal(offset + start).fill_(-torch.inf)
            log_p = logits.log_softmax(dim=1)  # subtracts the largest logit first: no rounding of 1 / τ
            positive = log_p.gather(1, partner)
            losses.append(-positive)
            if with_gradient:
                error = log_p.exp_().scatter_add_(1, partner, -torch.ones_like(positive))  # P − Y
                for_anchors[start : start + chunk_size] = error @ candidates
                for_candidates += error.T @ chunk
        return torch.cat(losses).mean(), for_anchors.div_(len(anchors)), for_candidates.div_(len(anchors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        anchors, candidates, *_ = inputs
        _, for_anchors, for_candidates = output
        ctx.mark_non_differentiable(for_anchors, for_candidates)
        ctx.save_for_backward(anchors, candidates, for_anchors, for_candidates)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return *_ChunkedGradient.apply(gradient, *ctx.saved_tensors), None, None, None

    @staticmethod
    def jvp(ctx: Any, *_: Tensor | None) -> tuple[Tensor, ...]:
        raise _no_derivative()


class _ChunkedGradient(torch.autograd.Function):
    """The gradient of `_ChunkedCrossEntropy`. To differentiate it again would take the logits, which are gone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        gradient: Tensor, anchors: Tensor, candidates: Tensor, for_anchors: Tensor, for_candidates: Tensor
    ) -> tuple[Tensor, Tensor]:
        # `anchors` and `candidates` are arguments so that autograd knows that the result depends on them.
        return gradient * for_anchors, gradient * for_candidates

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        raise _no_derivative()

    @staticmethod
    def jvp(ctx: Any, *_: Tensor | None) -> tuple[Tensor, ...]:
        raise _no_derivative()


def _no_derivative() -> SimCLRError:
    return SimCLRError(
        "nt_xent with a chunk_size can be differentiated only once, and only in reverse mode: for a second derivative, "
        "or one in forward mode (torch.func.jvp), use chunk_size=None."
    )


def check_temperature(temperature: float) -> None:
    """Raise `SimCLRError` unless τ > 0."""
    if not temperature > 0:
        raise SimCLRError(f"temperature must be above 0, not {temperature}: the paper uses 0.05 to 1.")


def _check_embeddings(z_a: Tensor, z_b: Tensor) -> None:
    """Raise `SimCLRError` unless both are floating-point tensors [N, D] of one shape and device."""
    for z in (z_a, z_b):
        if not isinstance(z, Tensor) or not z.is_floating_point():
            found = z.dtype if isinstance(z, Tensor) else type_name(z)
            raise SimCLRError(f"nt_xent takes floating-point tensors, not {found}.")
    if z_a.ndim != 2 or z_a.shape != z_b.shape or 0 in z_a.shape:
        raise SimCLRError(
            f"nt_xent takes two [N, D] tensors with N ≥ 1 and D ≥ 1, not {list(z_a.shape)} and {list(z_b.shape)}."
        )
    if z_a.device != z_b.device:
        raise SimCLRError(f"nt_xent takes two tensors on one device, not on {z_a.device} and {z_b.device}.")
