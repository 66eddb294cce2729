"""The training loop that pretraining, supervised training, fine-tuning and the SGD probe share.

Every random choice is a function of the seed and the step alone (`seeded`), never of what ran before. So a run that
is continued from a checkpoint at any step sees the same batches and the same views as one that was never stopped. That
holds for the random numbers within a network, such as those of dropout, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from tqdm.auto import tqdm

from simclr_lib.choices import OptimizerName, Precision
from simclr_lib.device import autocast, equal_steps, gradient_scaler
from simclr_lib.distributed import average, world
from simclr_lib.errors import SimCLRError
from simclr_lib.optim import build_optimizer, warmup_cosine
from simclr_lib.seeding import seeded

BatchLoss = Callable[[Tensor, torch.Generator], Tensor]
"""(indices int64 [B], generator) → scalar loss."""

FLUSH_EVERY = 25  # steps between two looks at the losses: each look makes a GPU wait


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the training loop.

    Attributes:
        epochs: passes over the examples.
        batch_size: number of examples per step. The remainder of an epoch is dropped, another one in each epoch.
        optimizer: "adam" (AdamW), "sgd" (Nesterov) or "lars".
        lr: peak learning rate.
        weight_decay: weight decay of weight matrices and kernels.
        warmup_epochs: epochs of linear warm-up before the cosine to zero; both go step by step.
        seed: random seed of the order of the examples and of their views.
        precision: "auto" uses bfloat16 or float16 where that is faster.
    """

    epochs: int
    batch_size: int
    optimizer: OptimizerName
    lr: float
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    seed: int = 0
    precision: Precision = "auto"

    def steps_per_epoch(self, num_examples: int) -> int:
        """Return the number of whole batches in ``num_examples``; an error if there is none."""
        if self.epochs < 1 or self.batch_size < 1:
            raise SimCLRError("epochs and batch size must be at least 1.")
        if self.batch_size > num_examples:
            raise SimCLRError(
                f"a batch of {self.batch_size} is larger than the {num_examples} training images: "
                f"use a batch_size of {num_examples} or less."
            )
        return num_examples // self.batch_size


class Observer(Protocol):
    """An object that follows a run: it writes logs and checkpoints, and may continue an earlier run."""

    def start(self, model: nn.Module, optimizer: Optimizer, steps_per_epoch: int, scaler: GradScaler) -> int:
        """Prepare for training. Called once, before the first step; returns the step to start at."""

    def log(self, first_step: int, losses: list[float], lrs: list[float]) -> None:
        """Take note of the finite losses of successive steps, and of their learning rates."""

    def after_step(self, step: int, flush: Callable[[], None]) -> None:
        """Measure, save, or raise to stop. Called after every step.

        Args:
            step: the number of the step, from 0.
            flush: passes the losses of all steps so far to `log`. A GPU waits for that, so it is called when needed.
        """


class DivergedError(SimCLRError):
    """The loss is not finite."""


def batches(num_examples: int, config: LoopConfig, first_step: int = 0) -> Iterator[Tensor]:
    """Yield index tensors int64 [batch_size], from ``first_step`` to the end: a new random order every epoch."""
    steps_per_epoch = config.steps_per_epoch(num_examples)
    for epoch in range(first_step // steps_per_epoch, config.epochs):
        order = torch.randperm(num_examples, generator=seeded(config.seed, "order", epoch))
        for i in range(steps_per_epoch):
            if epoch * steps_per_epoch + i >= first_step:
                yield order[i * config.batch_size : (i + 1) * config.batch_size]


def train_step(
    optimizer: Optimizer,
    batch_loss: BatchLoss,
    indices: Tensor,
    generator: torch.Generator,
    precision: AbstractContextManager,
    scaler: GradScaler | None = None,
) -> Tensor:
    """Take one gradient step: loss, gradients, update. Training, `simclr bench` and `simclr plan` all take this one.

    Args:
        optimizer: updates the parameters that ``batch_loss`` depends on.
        batch_loss: from (indices, generator) to the scalar loss.
        indices: int64 [B], the examples of the batch.
        generator: the source of the step's random views.
        precision: the context of the forward pass, see `simclr_lib.device.autocast`.
        scaler: scales the gradients in float16, see `simclr_lib.device.gradient_scaler`.

    Returns:
        The loss, a scalar without gradient that is still on the device: reading its value would make a GPU wait.
    """
    with precision:
        loss = batch_loss(indices, generator)
    optimizer.zero_grad(set_to_none=True)
    if scaler is None or not scaler.is_enabled():
        loss.backward()
        optimizer.step()
    else:
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    return loss.detach()


class _Losses:
    """The losses of a training: those that were read, and those that are still on the device.

    Args:
        observer: is told the losses when they are read.
        first_step: number of the first step.
        total_steps: number of steps of the whole run.
        peak_lr: peak learning rate, for the message of an error.
    """

    def __init__(self, observer: Observer | None, first_step: int, total_steps: int, peak_lr: float) -> None:
        self.observer = observer
        self.next_step = first_step
        self.total_steps = total_steps
        self.peak_lr = peak_lr
        self.history: list[float] = []
        self._pending: list[tuple[Tensor, float]] = []  # (loss, learning rate) of the steps that were not read yet

    def add(self, loss: Tensor, lr: float) -> None:
        """Take the loss of the next step. From time to time, all losses so far are read."""
        self._pending.append((loss, lr))
        self.next_step += 1
        if len(self._pending) == FLUSH_EVERY or self.next_step == self.total_steps:
            self.flush()

    def flush(self) -> None:
        """Read the losses so far, which makes a GPU wait.

        Raises:
            DivergedError: a loss is not finite. The observer is told those before it.
        """
        if not self._pending:
            return
        losses, lrs = zip(*self._pending, strict=True)
        self._pending.clear()
        values = average(torch.stack(losses)).tolist()
        first_step = self.next_step - len(values)
        finite = list(itertools.takewhile(math.isfinite, values))
        self.history.extend(finite)
        if self.observer:
            self.observer.log(first_step, finite, list(lrs[: len(finite)]))
        if len(finite) < len(values):
            raise DivergedError(
                f"the loss became {values[len(finite)]} at step {first_step + len(finite)} of {self.total_steps}: "
                f"try a lower learning rate (it peaks at {self.peak_lr:g}) or a longer warm-up."
            )


def fit(
    model: nn.Module,
    batch_loss: BatchLoss,
    num_examples: int,
    config: LoopConfig,
    observer: Observer | None = None,
    description: str = "training",
) -> list[float]:
    """Train ``model`` in place.

    Args:
        model: what the optimiser updates; it is set to training mode.
        batch_loss: from (indices, generator) to the scalar loss; computed under autocast. With several processes,
            each is given the whole batch's indices and returns the loss of its part.
        num_examples: the indices run from 0 to num_examples − 1.
        config: see `LoopConfig`.
        observer: see `Observer`.
        description: the progress bar's label.

    Returns:
        The loss of every step from the first one that ran.

    Raises:
        DivergedError: a loss was not finite; says at which step.
    """
    steps_per_epoch = config.steps_per_epoch(num_examples)
    total_steps = config.epochs * steps_per_epoch
    warmup_steps = min(round(config.warmup_epochs * steps_per_epoch), total_steps)
    device = next(model.parameters()).device
    optimizer = build_optimizer(config.optimizer, model, config.lr, config.weight_decay)
    scaler = gradient_scaler(device, config.precision)
    first_step = observer.start(model, optimizer, steps_per_epoch, scaler) if observer else 0

    losses = _Losses(observer, first_step, total_steps, config.lr)
    model.train()
    with (
        equal_steps(device),
        torch.random.fork_rng([device] if device.type == "cuda" else []),  # dropout draws from the global generators
        _progress_bar(first_step, total_steps, description) as bar,
    ):
        for step, indices in enumerate(batches(num_examples, config, first_step), first_step):
            lr = config.lr * warmup_cosine(step, total_steps, warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = lr
            torch.manual_seed(seeded(config.seed, "within the network", step, world().rank).initial_seed())
            generator = seeded(config.seed, "views", step)
            loss = train_step(optimizer, batch_loss, indices, generator, autocast(device, config.precision), scaler)
            losses.add(loss, lr)
            bar.update()
            if observer:
                observer.after_step(step, losses.flush)
            if losses.history:
                bar.set_postfix(loss=f"{losses.history[-1]:.3f}", refresh=False)
    return losses.history


def _progress_bar(first_step: int, total_steps: int, description: str) -> tqdm:
    """A bar that appears when training takes over two seconds, on the leading process."""
    return tqdm(
        total=total_steps,
        initial=first_step,
        desc=description,
        unit="step",
        delay=2,
        leave=False,
        disable=not world().leads,
    )
