"""Training on several processes that ``torchrun`` started: their numbers, and what they exchange.

Each process holds the whole network and computes an equal part of every batch, so that W processes train exactly
as one does on the whole batch. Four things cross between them: embeddings (`gathered`: everybody's are negatives),
batch statistics (`SyncBatchNorm`), gradients (PyTorch's ``DistributedDataParallel``), and a few flags (`agree`).
"""

from __future__ import annotations

import importlib
import multiprocessing
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

SECONDS_TO_NOTICE = 5.0  # how long the other processes have to report the same time-out
SECONDS_TO_LEAVE = 2.0  # how long a process that has ended waits for the others


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: number of this process, 0 … size − 1.
        size: number of processes; 1 without ``torchrun``.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """True for the process that writes, prints and evaluates."""
        return self.rank == 0

    def rows(self, n: int) -> int:
        """Return the number of rows of a batch of ``n`` that each process takes."""
        if n % self.size:
            fewer = n - n % self.size
            nearest = f"{fewer} or {fewer + self.size}" if fewer else str(self.size)
            raise SimCLRError(
                f"a batch of {n} does not divide among {self.size} processes: use a batch_size of {nearest}."
            )
        return n // self.size

    def part(self, n: int) -> slice:
        """Return the rows of a batch of ``n`` that this process takes."""
        return slice(self.rank * self.rows(n), (self.rank + 1) * self.rows(n))


class LostProcessError(SimCLRError):
    """Another process ended, or does not answer."""


@dataclass(frozen=True)
class _Stores:
    """The key-value stores through which the processes exchange texts.

    Attributes:
        attempt: for this start of the processes.
        job: for the whole job, across the restarts of ``torchrun --max-restarts``.
    """

    attempt: dist.Store
    job: dist.Store


_stores: _Stores | None = None  # set within `joined`, where there are several processes


def world() -> World:
    """Return the processes that this one trains with: those that it has `joined`, or itself alone."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


@contextmanager
def joined(device: torch.device, timeout: float = 600.0) -> Iterator[World]:
    """Let this process work together with those that ``torchrun`` started beside it; alone, it changes nothing.

    Args:
        device: the device of this process: gloo connects CPUs, NCCL connects GPUs.
        timeout: seconds to wait for the others, at the start and in every exchange.

    Raises:
        LostProcessError: a process did not come, ended, or does not answer; the message names it where that is known.
    """
    global _stores
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        yield world()
        return
    wait = timedelta(seconds=timeout)
    me = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # This module keeps the group that exists when it is first imported, as the default of its arguments, and PyTorch
    # imports it with DistributedDataParallel. The threads of the group would then outlive it, and a thread that lets go
    # of a tensor while Python shuts down aborts the process ("terminate called without an active exception").
    importlib.import_module("torch.distributed.nn.functional")
    # Flags travel between the hosts, so that no GPU has to wait for them.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        _stores = _meet(me, wait)
        dist.init_process_group(backend, store=_stores.attempt, rank=me.rank, world_size=me.size, timeout=wait)
        yield me
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        silent = _unresponsive(me, "timed out" in str(error).lower())
        _stores = None  # nobody to leave with
        what = f"process {', '.join(silent)} did not answer for {timeout:g} s" if silent else "another one is gone"
        raise LostProcessError(
            f"process {me.rank} of 0…{me.size - 1} lost its connection: {what}. Read what that process printed; then "
            "go on with resume=True, or let torchrun do so with --max-restarts."
        ) from error
    finally:
        _leave_together(me)
        _stores = None
        if dist.is_initialized():
            with suppress(RuntimeError):
                dist.destroy_process_group()


def on_this_machine(work: Callable[..., None], processes: int, *arguments: object) -> None:
    """Call ``work(*arguments)`` in new processes, as ``torchrun`` would start them on this machine.

    Args:
        work: a function of a module (not of a notebook, where a new process would not find it). Within `joined`, its
            processes work together.
        processes: the number of processes.
        arguments: they are pickled; tensors in shared memory stay shared.
    """
    torch.multiprocessing.start_processes(
        _as_one_of,
        (processes, free_port(), work, arguments),
        nprocs=processes,
        start_method=fresh_processes().get_start_method(),
    )


def fresh_processes() -> multiprocessing.context.BaseContext:
    """Return how to start processes that inherit nothing from this one.

    They come from a server that imports PyTorch once for all of them, with the part that every optimiser needs. Windows
    has no such server: there, each of them imports PyTorch itself.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["simclr_lib.distributed", "simclr_lib.objectives", "torch._dynamo"])
    return context


def _as_one_of(rank: int, processes: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    work(*arguments)


def free_port() -> int:
    """Find a port of this machine that no program listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _meet(me: World, wait: timedelta) -> _Stores:
    """Wait until all processes are there, and return the stores that they share.

    Raises:
        LostProcessError: the message names the processes that do not come.
    """
    torchrun_has_one = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        server = dist.TCPStore(host, port, me.size, me.leads and not torchrun_has_one, wait, wait_for_workers=False)
    except RuntimeError as error:
        raise LostProcessError(
            f"process {me.rank} of 0…{me.size - 1} finds nobody at {host}:{port}: start process 0 there first."
        ) from error
    # A restart must not read what was stored before it. (PyTorch's own rendezvous uses the same count.)
    store = dist.PrefixStore(f"simclr/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", server)
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
    return _Stores(attempt=store, job=dist.PrefixStore("simclr/job", server))


def _unresponsive(me: World, timed_out: bool) -> list[str]:
    """Return the ranks that did not report the lost connection, as text."""
    if _stores is None:
        return []
    try:
        _stores.attempt.set(f"noticed/{me.rank}", "")
        if not timed_out:  # torchrun names a process that ended
            return []
        time.sleep(SECONDS_TO_NOTICE + me.leads)  # the leading process keeps the store, so it leaves last
        return [str(rank) for rank in range(me.size) if not _stores.attempt.check([f"noticed/{rank}"])]
    except RuntimeError:  # the store is gone, too
        return []


def _leave_together(me: World) -> None:
    """Wait a moment until the others have ended, too.

    One of them may still be in the last exchange, and would take the end of this process for a lost connection.
    """
    if _stores is None:
        return
    with suppress(RuntimeError):  # the store is gone, or another process goes on
        _stores.attempt.set(f"leaves/{me.rank}", "")
        others = [f"leaves/{rank}" for rank in range(me.size)]
        _stores.attempt.wait(others, timedelta(seconds=SECONDS_TO_LEAVE))


def _is_lost_connection(error: RuntimeError) -> bool:
    # PyTorch raises plain RuntimeErrors for what gloo reports, so only the words tell.
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "connection" in str(error).lower()


def remember(name: str, value: str) -> None:
    """Store a text for all processes of the job, across the restarts of ``torchrun --max-restarts``."""
    if _stores:
        _stores.job.set(name, value)


def recall(name: str) -> str | None:
    """Return the text that a process of this job stored by `remember`, or None."""
    return _stores.job.get(name).decode() if _stores and _stores.job.check([name]) else None


@contextmanager
def first_on_each_machine() -> Iterator[None]:
    """Run the body on one process per machine first, and then on the others: downloads happen once.

    The others wait without a time-out.
    """
    machine = f"ready on {os.environ.get('GROUP_RANK', 0)}"
    first = int(os.environ.get("LOCAL_RANK", world().rank)) == 0
    if _stores and not first:
        _stores.attempt.wait([machine], timedelta(days=1))
    yield
    if _stores and first:
        _stores.attempt.set(machine, "")


def agree(*flags: bool) -> list[bool]:
    """Return for each flag whether any process has raised it. All processes must call it; it waits for all of them."""
    if world().size == 1:
        return list(flags)
    raised = torch.tensor([0, *flags], dtype=torch.int32)
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return [bool(flag) for flag in raised[1:]]


def wait_for_all() -> None:
    """Wait until every process has called this."""
    agree()


def from_leader(value: T) -> T:
    """Return the leading process's value: tensors and plain values. All processes must call it."""
    if world().size == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def average(values: Tensor) -> Tensor:
    """Return the mean of a tensor over the processes, without gradient. All processes must call it."""
    if world().size == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / world().size


def gathered(rows: Tensor) -> tuple[Tensor, int]:
    """Stack the rows of all processes, in their order, with the exact gradient. Every process must call it.

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
    """Collect the rows of all processes, where their number is known to be the same everywhere."""
    # Each process adds its rows to the zeros of the others. That takes twice the bytes of an all-gather, which is
    # little beside the gradients, and one exchange with a simple gradient serves embeddings and statistics.
    before, after = world().rank * len(rows), (world().size - 1 - world().rank) * len(rows)
    return summed(F.pad(rows, (0, 0, before, after)))


def summed(values: Tensor) -> Tensor:
    """Return the sum over the processes, with the exact gradient, which is a sum over the processes, too."""
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
    """Return the network to call in training: the model itself, or its distributed form with several processes.

    The distributed form keeps all copies of the model equal. The model's batch norms are replaced, in place, by ones
    that share their statistics. The parameters stay the same objects, and the state dict keeps its names.
    """
    if world().size == 1:
        return model
    device = next(model.parameters()).device
    if device.type == "cuda":
        model = _with_pytorchs_sync_batch_norm(model)
    else:
        _exchange_batch_norm(model)
    ids = [device.index] if device.type == "cuda" else None
    network = DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)
    network.broadcast_buffers = False  # they are equal everywhere; the argument's name changes between versions
    return network


def distribute_and_compile(model: nn.Module, compiled: bool) -> nn.Module:
    """Return the network to call in training: its distributed form (`distribute`), compiled if that is asked for."""
    network = distribute(model)
    if not compiled:
        return network
    on_gpu = next(model.parameters()).device.type == "cuda"
    return torch.compile(network, mode="reduce-overhead" if on_gpu else "default")  # type: ignore[return-value]


class _SyncBatchNormAct(SyncBatchNorm):
    """`SyncBatchNorm` with the activation that timm's batch norms have within them."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


def _has_activation(norm: nn.Module) -> bool:
    """Return whether this is timm's ``BatchNormAct2d``, which is a batch norm followed by an activation."""
    return isinstance(norm, nn.BatchNorm2d) and hasattr(norm, "drop") and hasattr(norm, "act")


def _with_pytorchs_sync_batch_norm(model: nn.Module) -> nn.Module:
    if any(map(_has_activation, model.modules())):
        from timm.layers import convert_sync_batchnorm  # PyTorch's own would lose the activations

        return convert_sync_batchnorm(model)
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _exchange_batch_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            kind = _SyncBatchNormAct if _has_activation(child) else SyncBatchNorm
            synchronized = kind(child.num_features, child.eps, child.momentum, child.affine)
            synchronized.weight, synchronized.bias = child.weight, child.bias
            synchronized.running_mean, synchronized.running_var = child.running_mean, child.running_var
            synchronized.num_batches_tracked = child.num_batches_tracked
            if kind is _SyncBatchNormAct:
                synchronized.add_module("drop", child.get_submodule("drop"))
                synchronized.add_module("act", child.get_submodule("act"))
            synchronized.train(child.training)
            setattr(module, name, synchronized)
        else:
            _exchange_batch_norm(child)
