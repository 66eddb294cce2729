"""SimCLR on one page, as in notebook 0, for other losses: they get the same views, networks and training loop.

A test holds this module equal to the page: the same seed gives the same losses and the same accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock
from tqdm.auto import tqdm

BATCH = 64  # images in a step
BANK = 1024  # training images that vote in kNN

Loss = Callable[..., Tensor]
"""Embeddings z, float [2N, D], first all first views, then all second views → a scalar. A loss that needs labels gets
those of the N images as its second argument. A loss with weights of its own is a module."""


@dataclass(frozen=True)
class Training:
    """The result of a training on the page.

    Attributes:
        encoder: images → h [N, 128].
        losses: of the steps.
        spreads: of the steps, see `spread`.
    """

    encoder: nn.Module
    losses: list[float]
    spreads: list[float]


def view(batch: Tensor) -> Tensor:
    """Draw a view of each image: a crop, perhaps mirrored, with mixed colours.

    Args:
        batch: float [N, 3, 32, 32] in [0, 1].

    Returns:
        float [N, 3, 24, 24].
    """
    n = len(batch)
    side = torch.empty(n).uniform_(0.3, 1).sqrt()  # the crop's side, relative to the image's
    x, y = (1 - side) * torch.empty(2, n).uniform_(-1, 1)  # the crop's centre; the image reaches from −1 to 1
    mirrored = side * (2 * torch.randint(2, (n,)) - 1)
    crop = torch.stack([mirrored, 0 * side, x, 0 * side, side, y], dim=1).view(n, 2, 3)
    views = F.grid_sample(batch, F.affine_grid(crop, [n, 3, 24, 24], align_corners=False), align_corners=False)
    colors = torch.eye(3) + 0.35 * torch.randn(n, 3, 3)
    return (colors @ views.flatten(2)).view_as(views)


def networks() -> tuple[nn.Module, nn.Module]:
    """Make the encoder, views → h [2N, 128], and the projection head, h → z [2N, 128]."""
    first = nn.Sequential(nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(), BasicBlock(32, 32))
    second = nn.Sequential(nn.Conv2d(32, 64, 2, stride=2), BasicBlock(64, 64))
    third = nn.Sequential(nn.Conv2d(64, 128, 2, stride=2), BasicBlock(128, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = nn.Sequential(nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128))
    return nn.Sequential(first, second, third), head


def nt_xent(z: Tensor, temperature: float = 0.2) -> Tensor:
    """NT-Xent (arXiv 2002.05709, algorithm 1) of embeddings z, float [2N, D]."""
    z = F.normalize(z, dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z) // 2))


@torch.no_grad()
def knn_accuracy(
    encoder: nn.Module, images: Tensor, labels: Tensor, queries: Tensor, query_labels: Tensor, k: int = 20
) -> float:
    """The share of queries whose k nearest neighbours among the first `BANK` images vote for the right class.

    Args:
        encoder: images → features.
        images: float [M, 3, 32, 32] in [0, 1].
        labels: int64 [M].
        queries: float [Q, 3, 32, 32] in [0, 1].
        query_labels: int64 [Q].
        k: number of neighbours.
    """
    encoder.eval()
    bank, asked = (F.normalize(encoder(x), dim=1) for x in (images[:BANK], queries))
    encoder.train()
    nearest = (asked @ bank.T).topk(k).indices
    return (labels[nearest].mode(dim=1).values == query_labels).float().mean().item()


@torch.no_grad()
def spread(z: Tensor) -> float:
    """Measure how far embeddings of length 1 are apart: 0 where all are the same, 1 where they fill the sphere evenly.

    It is the standard deviation of a dimension, averaged over the D dimensions, times √D (arXiv 2011.10566, section
    4.1).

    Args:
        z: float [2N, D], of any length.
    """
    return (F.normalize(z, dim=1).std(dim=0).mean() * z.shape[1] ** 0.5).item()


def train(
    loss_function: Loss,
    images: Tensor,
    epochs: int = 12,
    lr: float = 0.002,
    seed: int = 0,
    labels: Tensor | None = None,
    name: str = "",
) -> Training:
    """Train with a loss, as the page does. The global random generator starts from the seed.

    Args:
        loss_function: see `Loss`. Its own weights, if it has any, are trained too.
        images: float [M, 3, 32, 32] in [0, 1].
        epochs: passes over the images.
        lr: learning rate of Adam.
        seed: decides the weights of encoder and head, the order of the images, and the views.
        labels: int64 [M], for a loss that needs labels.
        name: text before the progress bar.
    """
    torch.manual_seed(seed)
    encoder, head = networks()
    own = list(loss_function.parameters()) if isinstance(loss_function, nn.Module) else []
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters(), *own], lr)
    losses, spreads = [], []
    for _ in tqdm(range(epochs), desc=name, unit="epoch"):
        for rows in torch.randperm(len(images)).split(BATCH):
            z = head(encoder(torch.cat([view(images[rows]), view(images[rows])])))
            loss = loss_function(z) if labels is None else loss_function(z, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            spreads.append(spread(z))
    return Training(encoder, losses, spreads)
