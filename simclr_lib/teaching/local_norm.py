"""Batch norm as in processes that do not share their statistics, played by one process: for notebook 09."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LocalBatchNorm(nn.BatchNorm2d):
    """Batch norm of 2N views as in processes of a few images each that do not talk to each other.

    Attributes:
        images: images per process; each has two views.
        apart: whether the second view of an image is normalised in another process than the first.
    """

    images, apart = 4, False

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [2N, C, H, W], first all first views, then all second views."""
        if not self.training:
            return super().forward(x)
        super().forward(x.detach())  # the running statistics follow all of them
        n, shape = self.images, x.shape[1:]
        processes = len(x) // (2 * n)
        first, second = x.chunk(2)
        if self.apart:
            second = second.roll(n, 0)
        # The processes side by side, as if they were channels: [2, processes, n, C, …] → [2 · n, processes · C, …]
        side_by_side = torch.cat([first, second]).view(2, processes, n, *shape).transpose(1, 2)
        side_by_side = side_by_side.reshape(2 * n, processes * shape[0], *shape[1:])
        weight, bias = self.weight.repeat(processes), self.bias.repeat(processes)
        y = F.batch_norm(side_by_side, None, None, weight, bias, training=True, eps=self.eps)
        first, second = y.view(2, n, processes, *shape).transpose(1, 2).reshape(x.shape).chunk(2)
        return torch.cat([first, second.roll(-n, 0) if self.apart else second])


def set_norms(network: nn.Module, images: int, apart: bool) -> None:
    """Give a network local batch norms, or change how many images they see and where a view's partner is."""
    for name, layer in network.named_children():
        if isinstance(layer, nn.BatchNorm2d) and not isinstance(layer, LocalBatchNorm):
            layer = LocalBatchNorm(layer.num_features)
            setattr(network, name, layer)
        if isinstance(layer, LocalBatchNorm):
            layer.images, layer.apart = images, apart
        set_norms(layer, images, apart)
