"""SimCLR's networks: encoder f(·) → h, projection head g(·) → z; and the output head for h."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from simclr_lib.errors import SimCLRError


class ProjectionHead(nn.Sequential):
    """The MLP g(·) of paper section 4.2: h → z. It is thrown away after pretraining.

    Args:
        in_dim: length of h.
        hidden_dim: units of each hidden layer.
        out_dim: length of z.
        num_layers: number of linear layers: 2 in the paper, 3 in its reference code; 1 is the linear
            projection of the paper's figure 8.
        batch_norm: batch normalisation after every linear layer, as in the reference code.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 2048,
        out_dim: int = 128,
        num_layers: int = 2,
        batch_norm: bool = True,
    ) -> None:
        if min(in_dim, hidden_dim, out_dim, num_layers) < 1:
            raise SimCLRError("in_dim, hidden_dim, out_dim and num_layers of a projection head are at least 1.")
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        layers: list[nn.Module] = []
        for i, (dim, next_dim) in enumerate(pairwise(dims)):
            last = i == num_layers - 1
            layers.append(nn.Linear(dim, next_dim, bias=not batch_norm))
            if batch_norm:
                # The last one has no scale and shift: the loss normalises z anyway.
                layers.append(nn.BatchNorm1d(next_dim, affine=not last))
            if not last:
                layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class SimCLR(nn.Module):
    """Encoder and projection head.

    Args:
        encoder: images [N, 3, H, W] → h [N, D], for instance `resnet18()`.
        projector: h → z, a `ProjectionHead`.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """float [N, 3, H, W] → (h [N, D], z [N, out_dim])."""
        h = self.encoder(images)
        return h, self.projector(h)


class OutputHead(nn.Linear):
    """The linear output head: h [N, in_dim] → logits [N, num_classes]."""

    def __init__(self, in_dim: int, num_classes: int) -> None:
        super().__init__(in_dim, num_classes)


class Classifier(nn.Module):
    """Encoder and output head: images → logits.

    Args:
        encoder: images [N, 3, H, W] → h [N, D].
        head: h → logits [N, C], an `OutputHead`.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """float [N, 3, H, W] → logits [N, C]."""
        return self.head(self.encoder(images))
