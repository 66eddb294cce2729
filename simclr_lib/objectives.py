"""Objectives of a training step: NT-Xent for pretraining, cross-entropy where there are labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simclr_lib.augment import AugmentParams, SimCLRAugment, to_unit_range
from simclr_lib.data import ImageDataset
from simclr_lib.distributed import world
from simclr_lib.errors import SimCLRError
from simclr_lib.loop import BatchLoss
from simclr_lib.losses import check_temperature, nt_xent


@dataclass(frozen=True)
class Draw:
    """The random choices of a step: everything in its views that differs from one step to the next.

    Attributes:
        rows: int64 [n]: the images of this process.
        params: n rows for each view of them.
    """

    rows: Tensor
    params: tuple[AugmentParams, ...]

    def tensors(self) -> list[Tensor]:
        """Return the tensors of which the draw consists, always in the same order."""
        return [self.rows, *(getattr(params, field.name) for params in self.params for field in fields(params))]


@dataclass(frozen=True)
class Objective:
    """The loss of a step in two parts: what is random, and what is computed from it.

    Unless the network itself draws (dropout) or ``micro_batch`` is set, nothing in the second part is random. It asks
    the device for no number, so a GPU can repeat it as a CUDA graph.
    Together they are the loss of a batch, from (indices, generator).

    Attributes:
        draw: from (indices int64 [B], generator) to what the step draws.
        loss: from what was drawn to the scalar loss.
    """

    draw: Callable[[Tensor, torch.Generator], Draw]
    loss: Callable[[Draw], Tensor]

    def __call__(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        return self.loss(self.draw(indices, generator))


def contrastive_objective(
    network: nn.Module,
    images: Tensor,
    augment: SimCLRAugment,
    *,
    temperature: float,
    micro_batch: int | None = None,
    loss_chunk: int | None = None,
    global_negatives: bool = True,
) -> Objective:
    """Return the loss of pretraining: NT-Xent between two views of each image of a batch (paper, algorithm 1).

    Both views go through the encoder in one forward pass, as in the reference code: batch norm then takes its
    statistics over all 2B views, so that neither view can be told from its statistics.

    Args:
        network: a `SimCLR`, or its distributed or compiled form (`distribute`); it is trained in place.
        images: uint8 [N, 3, H, W], on the network's device.
        augment: makes a random view of each image.
        temperature: τ > 0.
        micro_batch: number of images that go through the network at a time, see `cached_embeddings`; None is all.
        loss_chunk: see ``chunk_size`` of `nt_xent`.
        global_negatives: see `nt_xent`.

    Raises:
        SimCLRError: τ ≤ 0.
    """
    check_temperature(temperature)

    def draw(indices: Tensor, generator: torch.Generator) -> Draw:
        return draw_views(augment, images, indices, generator, views=2)

    def loss(drawn: Draw) -> Tensor:
        views = make_views(augment, images, drawn)  # [2n, 3, S, S]
        if micro_batch is None:
            _, z = network(views)
        else:
            z = cached_embeddings(network, views, micro_batch)
        z_a, z_b = z.chunk(2)
        return nt_xent(z_a, z_b, temperature, loss_chunk, global_negatives)

    return Objective(draw, loss)


def draw_views(augment: SimCLRAugment, images: Tensor, indices: Tensor, generator: torch.Generator, views: int) -> Draw:
    """Draw the random views of the images that this process has of a batch.

    Args:
        augment: whose parameters are drawn.
        images: uint8 [N, 3, H, W].
        indices: int64 [B], the whole batch, the same in every process.
        generator: in the same state in every process. Each process draws the parameters of all B views and takes its
            own, so that an image gets the same view however many processes there are.
        views: number of views of an image.
    """
    mine = world().part(len(indices))
    height, width = images.shape[-2:]
    params = [augment.sample(len(indices), height, width, generator)[mine] for _ in range(views)]
    return Draw(indices[mine], tuple(params))


def make_views(augment: SimCLRAugment, images: Tensor, draw: Draw) -> Tensor:
    """Make the views that were drawn: nothing is random here.

    Returns:
        float32 [V n, 3, S, S], in channels-last order: all n first views, then all second views, and so on.
    """
    chosen = images[draw.rows.to(images.device, non_blocking=True)]
    views = torch.cat([augment.apply(chosen, params) for params in draw.params])
    return views.contiguous(memory_format=torch.channels_last)


def cached_embeddings(network: nn.Module, views: Tensor, micro_batch: int) -> Tensor:
    """Compute z of all views with the activations of a few (gradient caching, Gao et al. 2021, arXiv 2101.06983).

    A first pass keeps no activations, only z. When the loss's gradient with respect to z is there, a second pass
    takes each micro-batch through the network again and on to its weights' gradients: a third more work, for
    activations that no longer grow with the batch (the views themselves still do). Loss and gradients are exactly
    those of one pass if each z depends on its own view only. Batch norm makes it depend on the batch; here, on its
    micro-batch. Dropout leaves out the same in both passes.

    Args:
        network: views → (h, z), in training mode.
        views: float [2n, 3, S, S]: first views, then second views of the same images.
        micro_batch: number of images per pass, at most n; both views of an image are in the same pass.

    Returns:
        float [2n, D]. Its backward pass is the second pass.
    """
    n = len(views) // 2
    check_micro_batch(micro_batch, n)
    parts = [
        torch.cat([images, images + n]) for images in torch.arange(n, device=views.device).split(micro_batch)
    ]  # rows of views
    kind = views.device.type
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    seeds = torch.randint(2**31, (len(parts),)).tolist()

    def embedded(rows: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return network(views[rows])[1]

    with torch.no_grad(), _statistics_kept(network):
        # A compiled network may use an output's memory again in the next pass.
        z = torch.cat([embedded(*part).clone() for part in zip(parts, seeds, strict=True)])[torch.cat(parts).argsort()]

    def second_pass(z_gradient: Tensor) -> None:
        for rows, seed in zip(parts, seeds, strict=True):
            # Processes exchange gradients once a step, with the last part.
            unsynced = nullcontext if rows is parts[-1] else getattr(network, "no_sync", nullcontext)
            with torch.enable_grad(), torch.autocast(kind, dtype, enabled), unsynced():
                part = embedded(rows, seed)
            part.backward(z_gradient[rows])

    z.requires_grad_().register_hook(second_pass)
    return z


def check_micro_batch(micro_batch: int | None, images: int) -> None:
    """Raise `SimCLRError` unless a micro-batch is a part of a process's ``images`` of a step."""
    if micro_batch is not None and not 1 <= micro_batch <= images:
        raise SimCLRError(
            f"micro_batch must be between 1 and {images}, the number of images of a process in a step, "
            f"not {micro_batch}."
        )


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Keep batch norm from updating its running statistics: they must see each view once."""
    layers = [layer for layer in network.modules() if getattr(layer, "track_running_stats", False)]
    for layer in layers:
        layer.track_running_stats = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True  # type: ignore[assignment]


def classification_objective(network: nn.Module, dataset: ImageDataset, augment: SimCLRAugment | None) -> BatchLoss:
    """Return the loss of training with labels: cross-entropy of one view of each image of a batch.

    Args:
        network: float [B, 3, S, S] → logits [B, C]; it is trained in place.
        dataset: labelled images, on the network's device.
        augment: makes a random view of each image; None takes the whole image itself.

    Raises:
        SimCLRError: an image has no label.
    """
    if (dataset.labels < 0).any():
        raise SimCLRError(f"{dataset.name} has images without labels: choose another split.")

    def batch_loss(indices: Tensor, generator: torch.Generator) -> Tensor:
        own = indices[world().part(len(indices))].to(dataset.images.device, non_blocking=True)
        if augment is None:
            views = to_unit_range(dataset.whole(own)).contiguous(memory_format=torch.channels_last)
        else:
            images = dataset.images
            views = make_views(augment, images, draw_views(augment, images, indices, generator, 1))
        logits = network(views)
        return F.cross_entropy(logits.float(), dataset.labels[own])

    return batch_loss
