"""The networks of SimCLR (arXiv 2002.05709): encoder f(·) → h, projection head g(·) → z, and the output head for h."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from simclr_lib.errors import SimCLRError


class ProjectionHead(nn.Sequential):
    """The MLP g(·) of section 4.2 of the paper: h [N, in_dim] → z [N, out_dim]. It is thrown away after pretraining.

    Args:
        in_dim: length of h.
        hidden_dim: units of each hidden layer.
        out_dim: length of z.
        num_layers: number of linear layers: 2 in the paper, 3 in its reference code; 1 is the linear projection of
            figure 8 in the paper.
        batch_norm: batch normalisation after every linear layer, as in the reference code. The last one has no
            parameters here, so that every dimension of z has the same variance over a batch. In the reference code it
            has a scale for each dimension, but no shift. The loss does not undo such scales: it normalises the length
            of z, not its dimensions.

    Raises:
        SimCLRError: a size is below 1.
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
            raise SimCLRError(
                "in_dim, hidden_dim, out_dim and num_layers of a projection head must be at least 1, "
                f"not {in_dim}, {hidden_dim}, {out_dim} and {num_layers}."
            )
        dims = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        layers: list[nn.Module] = []
        for i, (dim, next_dim) in enumerate(pairwise(dims)):
            last = i == num_layers - 1
            layers.append(nn.Linear(dim, next_dim, bias=not batch_norm))
            if batch_norm:
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
        """Map images, float [N, 3, H, W], to (h [N, D], z [N, out_dim])."""
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
        """Map images, float [N, 3, H, W], to logits [N, C]."""
        return self.head(self.encoder(images))
