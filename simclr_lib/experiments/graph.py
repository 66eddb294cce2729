"""A whole training step as one CUDA graph: views, network, loss, backward pass and update in one launch."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.optim import Optimizer

from simclr_lib.loop import train_step
from simclr_lib.objectives import Draw, Objective
from simclr_lib.seeding import seeded

WARM_UP = 3  # steps before the recording: they make the optimiser's state and choose the kernels


class GraphedStep:
    """A step that is recorded once and then repeated with other images, views and learning rates.

    A graph does the same operations again, with the same numbers, on the same memory. So whatever differs from step to
    step lies in tensors of its own, and `load` copies the next values into them.

    Args:
        objective: the loss, whose second part is recorded. Its micro-batches are not supported, since they draw.
        optimizer: `LARS` or AdamW; PyTorch's SGD cannot be recorded, since it takes the learning rate as a number. The
            learning rate becomes a tensor, 0 until `load` sets it.
        precision: the context of the forward pass, without a scaled gradient: see `simclr_lib.device.autocast`.
        batch_size: number B of images of every step.
        device: where the network is.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        precision: AbstractContextManager,
        batch_size: int,
        device: torch.device,
    ) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.precision = precision
        self.lr = torch.zeros((), device=device)
        for group in optimizer.param_groups:
            group["lr"] = self.lr
            if "capturable" in group:  # AdamW must be told
                group["capturable"] = True
        first = objective.draw(torch.arange(batch_size), seeded(0))
        self.drawn = Draw(first.rows.to(device), tuple(params.to(device) for params in first.params))

    def load(self, indices: Tensor, generator: torch.Generator, lr: float) -> None:
        """Draw the next step's views, and set its learning rate.

        Args:
            indices: int64 [B], the examples of the batch.
            generator: the source of the step's random views.
            lr: learning rate.
        """
        self.lr.fill_(lr)
        for fixed, new in zip(self.drawn.tensors(), self.objective.draw(indices, generator).tensors(), strict=True):
            fixed.copy_(new, non_blocking=True)

    def compute(self) -> Tensor:
        """Take the step that was loaded, operation by operation, and return its loss."""
        return train_step(
            self.optimizer, lambda *_: self.objective.loss(self.drawn), self.drawn.rows, seeded(0), self.precision
        )

    def record(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Record the step on a GPU. That takes three steps, which train.

        Returns:
            The graph, whose ``replay()`` takes the step that was loaded, and the loss, which every replay overwrites.
        """
        with torch.cuda.device(self.lr.device):
            beside = torch.cuda.Stream()  # PyTorch asks for a warm-up on another stream
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP):
                    self.compute()
            torch.cuda.current_stream().wait_stream(beside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                loss = self.compute()
        return graph, loss
