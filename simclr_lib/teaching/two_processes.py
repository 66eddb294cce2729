"""Two processes that train as one: the program of notebook 09, which ``torchrun`` starts once for each process.

    torchrun --standalone --nproc-per-node 2 -m simclr_lib.teaching.two_processes OUT.pt

Each process takes its part of the same batch. The program saves the loss and the gradient of the weights for each way
to get the embeddings of the other processes.
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from simclr_lib.distributed import World, distribute, gathered, joined

N, TAU = 8, 0.5  # pairs of all processes together
WAYS = ("alone", "all_gather", "gathered")


def embeddings_of_all(z: Tensor, way: str, me: World) -> tuple[Tensor, int]:
    """The embeddings [2N, D] that an anchor is compared with, and the row in which this process's z [2n, D] begins."""
    if way == "alone":  # ignore the other processes
        return z, 0
    if way == "gathered":  # numbers that come with a gradient
        return gathered(z)
    parts = [torch.empty_like(z) for _ in range(me.size)]
    dist.all_gather(parts, z.detach())  # numbers only
    parts[me.rank] = z  # this process's own may have a gradient
    return torch.cat(parts), me.rank * len(z)


def loss_of(z: Tensor, everyone: Tensor, first: int) -> Tensor:
    """Mean loss of the anchors z [2n, D], which begin at row ``first`` of everyone [2N, D]."""
    logits = z @ everyone.T / TAU
    logits.diagonal(first).fill_(-torch.inf)
    return F.cross_entropy(logits, first + torch.arange(len(z)).roll(len(z) // 2))


def my_views(me: World) -> Tensor:
    """Both views of this process's images, float [2n, 6]. They grow along the batch, so that the parts differ."""
    x = torch.randn(2, N, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x + torch.linspace(0, 2, N, dtype=torch.float64)[:, None]
    return x[:, me.part(N)].flatten(0, 1)


def step(me: World, way: str, norm: bool = False) -> tuple[Tensor, Tensor]:
    """The loss, a mean over the processes, and the gradient of the weights."""
    matrix = nn.Linear(6, 3, bias=False, dtype=torch.float64)
    nn.init.eye_(matrix.weight)
    network = nn.Sequential(matrix, *([nn.BatchNorm1d(3, affine=False, dtype=torch.float64)] if norm else []))
    shared = distribute(network)  # must live until the backward pass, in which it averages the gradients
    z = F.normalize(shared(my_views(me)), dim=1)  # [2n, 3]
    loss = loss_of(z, *embeddings_of_all(z, way, me))
    loss.backward()
    losses, _ = gathered(loss.detach().view(1, 1))
    assert matrix.weight.grad is not None
    return losses.mean(), matrix.weight.grad


if __name__ == "__main__":
    with joined(torch.device("cpu"), timeout=300) as me:
        results = {way: step(me, way) for way in (WAYS if me.size > 1 else ("alone",))}
        results["with batch norm"] = step(me, "gathered", norm=True)
        if me.leads:
            torch.save(results, sys.argv[1])
