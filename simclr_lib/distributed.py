"""Training on several processes that ``torchrun`` started: which one this is, and what they tell each other.

Each process holds the whole network and computes an equal part of every batch, so that W processes train exactly
as one does on the whole batch. Four things cross between them: embeddings (`gathered`: everybody's are negatives),
batch statistics (`SyncBatchNorm`), gradients (PyTorch's ``DistributedDataParallel``), and a few flags (`agree`).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from simclr_lib.errors import SimCLRError

T = TypeVar("T")

SECONDS_TO_NOTICE = 5.0  # that the others have, after a time-out, to say that they saw it too

_stores: list[dist.Store] = []  # while `joined`: of this start of the processes, of all of the job's


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: this process's number, 0 … size − 1.
        size: how many there are; 1 without ``torchrun``.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes, prints and evaluates."""
        return self.rank == 0

    def rows(self, n: int) -> int:
        """How many rows of a batch of ``n`` each process takes."""
        if n % self.size:
            fewer = n - n % self.size
            nearest = f"{fewer} or {fewer + self.size}" if fewer else str(self.size)
            raise SimCLRError(
                f"a batch of {n} does not divide among {self.size} processes: use --batch-size {nearest}."
            )
        return n // self.size

    def part(self, n: int) -> slice:
        """This process's rows of a batch of ``n``."""
        return slice(self.rank * self.rows(n), (self.rank + 1) * self.rows(n))


class LostProcessError(SimCLRError):
    """Another process ended, or does not answer."""


def world() -> World:
    """The processes that this one trains with: those it has `joined`, or itself alone."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


@contextmanager
def joined(device: torch.device, timeout: float = 600.0) -> Iterator[World]:
    """Within it, this process works together with those that ``torchrun`` started beside it; alone, it changes nothing.

    Args:
        device: what the process computes on: gloo connects CPUs, NCCL connects GPUs.
        timeout: seconds to wait for the others, at the start and in every exchange.

    Raises:
        LostProcessError: a process did not come, ended, or does not answer; says which where that can be known.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        yield world()
        return
    wait = timedelta(seconds=timeout)
    me = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Flags travel between the hosts, so that no GPU has to wait for them.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        _stores[:] = _meeting_place(me, wait)
        dist.init_process_group(backend, store=_stores[0], rank=me.rank, world_size=me.size, timeout=wait)
        yield me
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        silent = _silent(me, "timed out" in str(error).lower())
        what = f"process {', '.join(silent)} did not answer for {timeout:g} s" if silent else "another one is gone"
        raise LostProcessError(
            f"process {me.rank} of 0…{me.size - 1} lost its connection: {what}. See what that printed; then go on with "
            "--resume, or let torchrun do so with --max-restarts."
        ) from error
    finally:
        _stores.clear()
        if dist.is_initialized():
            with suppress(RuntimeError):
                dist.destroy_process_group()


def on_this_machine(work: Callable[..., None], processes: int, *arguments: object) -> None:
    """Call ``work(*arguments)`` in so many new processes, as ``torchrun`` would start them on this machine.

    Args:
        work: a function of a module (not of a notebook: a new process must find it); within `joined`, its processes
            work together.
        processes: how many.
        arguments: are pickled; tensors in shared memory stay shared.
    """
    torch.multiprocessing.spawn(_as_one_of, (processes, free_port(), work, arguments), nprocs=processes)


def _as_one_of(rank: int, processes: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    work(*arguments)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _meeting_place(me: World, wait: timedelta) -> list[dist.Store]:
    """Where the processes leave word for each other, once all are there, and where they do so across restarts.

    Raises:
        LostProcessError: names who does not come.
    """
    torchrun_has_one = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        place = dist.TCPStore(host, port, me.size, me.leads and not torchrun_has_one, wait, wait_for_workers=False)
    except RuntimeError as error:
        raise LostProcessError(
            f"process {me.rank} of 0…{me.size - 1} finds nobody at {host}:{port}: start process 0 there first."
        ) from error
    # What processes left there before a restart is not for us. (PyTorch's own meeting place goes by the same count.)
    store = dist.PrefixStore(f"simclr/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", place)
    store.set(f"here/{me.rank}", "")
    missing: list[str] = []
    for rank in range(me.size):
        try:
            store.wait([f"here/{rank}"], timedelta(milliseconds=100) if missing else wait)
        except RuntimeError:
            missing.append(str(rank))
    if missing:
        raise LostProcessError(
            f"process {', '.join(missing)} of 0…{me.size - 1} did not come within {wait.total_seconds():g} s: "
            "start it, or start fewer (--nproc-per-node, --nnodes)."
        )
    return [store, dist.PrefixStore("simclr/job", place)]


def _silent(me: World, timed_out: bool) -> list[str]:
    """The processes that do not notice the lost connection as this one does: it is them that do not answer."""
    try:
        _stores[0].set(f"noticed/{me.rank}", "")
        if not timed_out:  # a process that ended is torchrun's to name
            return []
        time.sleep(SECONDS_TO_NOTICE + me.leads)  # the leading process keeps the store, so it leaves last
        return [str(rank) for rank in range(me.size) if not _stores[0].check([f"noticed/{rank}"])]
    except (RuntimeError, IndexError):  # the store is gone, too
        return []


def _is_lost_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "connection" in str(error).lower()


def remember(name: str, value: str) -> None:
    """Leave a word for this job's processes, also for those that ``torchrun --max-restarts`` starts later."""
    if _stores:
        _stores[1].set(name, value)


def recall(name: str) -> str | None:
    """What a process of this job said, before a restart or since; None if none has."""
    return _stores[1].get(name).decode() if _stores and _stores[1].check([name]) else None


@contextmanager
def first_on_each_machine() -> Iterator[None]:
    """One process of each machine does it before the others: to download and decode once. It may take its time."""
    machine = f"ready on {os.environ.get('GROUP_RANK', 0)}"
    first = int(os.environ.get("LOCAL_RANK", world().rank)) == 0
    if _stores and not first:
        _stores[0].wait([machine], timedelta(days=1))
    yield
    if _stores and first:
        _stores[0].set(machine, "")


def agree(*flags: bool) -> list[bool]:
    """For each flag, whether any process has raised it. All must call it together; none goes on before all have."""
    if world().size == 1:
        return list(flags)
    raised = torch.tensor([0, *flags], dtype=torch.int32)
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return [bool(flag) for flag in raised[1:]]


def from_leader(value: T) -> T:
    """The leading process's value: tensors and plain values."""
    if world().size == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def average(values: Tensor) -> Tensor:
    """Mean over the processes, without gradient."""
    if world().size == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / world().size


def gathered(rows: Tensor) -> tuple[Tensor, int]:
    """Stack the rows of all processes, in the order of the processes, with the exact gradient.

    The rows of a process enter the losses of the others, too. So their gradient is the sum of what all processes send
    back. The usual ``all_gather`` sends nothing back: embeddings then learn only from the loss of their own process.

    Args:
        rows: float [n, D], with the same n in every process.

    Returns:
        (float [W · n, D], the position of this process's first row in it).

    Raises:
        SimCLRError: the processes have different numbers of rows.
    """
    if world().size == 1:
        return rows, 0
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(world().size)]
    dist.all_gather(counts, torch.tensor([len(rows)]))
    if len({int(count) for count in counts}) > 1:
        raise SimCLRError(
            f"the processes have batches of {', '.join(str(int(count)) for count in counts)} rows: they must be equal. "
            "Drop the last, smaller batch (drop_last=True)."
        )
    return _stacked(rows), world().rank * len(rows)


def _stacked(rows: Tensor) -> Tensor:
    """`gathered` for what is known to be of the same size everywhere."""
    # Each adds its rows to the others' zeros: twice the bytes of an all-gather, which is little beside the gradients',
    # and one exchange whose gradient is plain to see serves embeddings and statistics.
    before, after = world().rank * len(rows), (world().size - 1 - world().rank) * len(rows)
    return summed(F.pad(rows, (0, 0, before, after)))


def summed(values: Tensor) -> Tensor:
    """Sum over the processes, with the exact gradient: what comes back is the sum over the processes, too."""
    return values if world().size == 1 else _Sum.apply(values)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm with the mean and variance of all processes' batches, on any device.

    (``torch.nn.SyncBatchNorm`` does so on GPUs only; there it is faster.)
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2 dimensions, not {input.ndim}")

    def forward(self, x: Tensor) -> Tensor:
        """float [N, C, …] → the same shape."""
        if not self.training or world().size == 1:
            return super().forward(x)
        with torch.no_grad():
            # PyTorch's own batch norm is the fastest way to the statistics of this process's batch.
            values = x.to(torch.promote_types(x.dtype, torch.float32))
            _, mean, scale = torch.native_batch_norm(values, None, None, None, None, True, 0.0, self.eps)
            variance = scale.pow(-2) - self.eps
            means, variances = _stacked(torch.cat([mean, variance])[None]).chunk(2, dim=1)  # [W, C] each
            mean = means.mean(dim=0)
            variance = (variances + (means - mean).square()).mean(dim=0)  # within the processes and between them
            if self.track_running_stats:
                count = world().size * x.numel() // x.shape[1]
                self._keep(mean, variance * count / max(1, count - 1))
        return _Normalize.apply(x, mean, variance, self.weight, self.bias, self.eps)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow those of a batch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_(variance.to(self.running_var.dtype), rate)


class _Normalize(torch.autograd.Function):
    """(x − mean) / √(variance + ε) · weight + bias, differentiated through the statistics of all processes' batches.

    With x̂ the normalised values, g the gradient that comes back, and means over all processes' batches, that is

        weight / √(variance + ε) · (g − mean(g) − x̂ · mean(g x̂)).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, mean, variance, weight)
        ctx.eps = eps
        return F.batch_norm(x.to(mean.dtype), mean, variance, weight, bias, training=False, eps=eps).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, variance, weight = ctx.saved_tensors
        values, g = x.to(mean.dtype), gradient.to(mean.dtype)
        own = torch.ones_like(mean) if weight is None else weight
        # With the statistics held fixed: weight / √(variance + ε) · g, Σ g x̂ and Σ g of this process's batch.
        fixed, for_weight, for_bias = torch.ops.aten.native_batch_norm_backward(
            g, values, own, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        count = world().size * x.numel() // x.shape[1]
        mean_g, mean_g_normalized = summed(torch.cat([for_bias, for_weight])).div(count).chunk(2)
        scale = (variance + ctx.eps).rsqrt()
        slope = own * scale.square() * mean_g_normalized  # mean(g x̂) x̂ and mean(g), as slope · x + offset
        offset = own * scale * mean_g - slope * mean
        shape = [1, -1] + [1] * (x.ndim - 2)
        for_x = fixed.sub_(offset.view(shape)).addcmul_(values, slope.view(shape), value=-1).to(x.dtype)
        # DDP takes the mean of the processes' gradients of the parameters, so each gives that of its own batch.
        return for_x, None, None, *((None, None) if weight is None else (for_weight, for_bias)), None


def distribute(model: nn.Module) -> nn.Module:
    """The network to call in training: the model itself, or, with several processes, one that keeps all copies equal.

    The model's batch norms are exchanged, in place, for ones that share their statistics. Parameters stay the same
    objects; names in the state dict, too.
    """
    if world().size == 1:
        return model
    device = next(model.parameters()).device
    if device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    else:
        _exchange_batch_norm(model)
    ids = [device.index] if device.type == "cuda" else None
    network = DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)
    network.broadcast_buffers = False  # they are equal everywhere; the argument's name changes between versions
    return network


def _exchange_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            synchronized = SyncBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            synchronized.__dict__ = child.__dict__  # the same parameters and buffers
            setattr(module, name, synchronized)
        else:
            _exchange_batch_norm(child)
