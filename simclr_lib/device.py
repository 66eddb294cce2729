"""The device and the precision to compute with, and the machine that a result was measured on."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
import typing
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
import torchvision
from torch import nn

from simclr_lib.choices import Precision
from simclr_lib.errors import SimCLRError, require_device, unknown_name

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of this name; "auto" is a CUDA GPU, or the CPU. Processes of ``torchrun`` take one GPU each.

    Apple's GPUs ("mps") are only taken by name: nobody has measured this package on them.

    Raises:
        SimCLRError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    local_rank = os.environ.get("LOCAL_RANK")  # set by torchrun
    if name == "cuda" and local_rank is not None:
        name = f"cuda:{local_rank}"
    require_device(name)
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SimCLRError("no Apple GPU was found (mps): use the device cpu, or PyTorch for macOS on a newer Mac.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SimCLRError("no CUDA GPU was found: use the device cpu, or install a CUDA build of PyTorch.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SimCLRError(
            f"there is no {name}: this machine has {torch.cuda.device_count()} CUDA GPUs; "
            "torchrun needs one for each of its --nproc-per-node."
        )
    return device


def place(model: ModuleT, device: torch.device) -> ModuleT:
    """Move a network to the device, with its kernels in channels-last order, in which convolutions are fastest.

    On Apple's GPUs the order stays, since nobody has measured it there.
    """
    placed = model.to(device)
    return placed if device.type == "mps" else placed.to(memory_format=torch.channels_last)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether the hardware computes faster in bfloat16 than in float32: autocast only pays then.

    CPUs with AMX tiles do, and AMD's CPUs with AVX512-BF16. Intel's AVX512-BF16 without the tiles is no faster than
    its float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8  # Ampere, the first with bfloat16 in its tensor cores
    if device.type != "cpu":
        return False
    # PyTorch has no public name for these.
    has_amx, has_avx512_bf16 = (
        getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )
    return has_amx or ("AMD" in _cpu_name() and has_avx512_bf16)


def fastest_precision(device: torch.device) -> Precision:
    """The precision that "auto" stands for on a device.

    It is bfloat16 where the hardware has it, float16 on the GPUs before those that have tensor cores for it alone (such
    as a T4), and float32 elsewhere.
    """
    if has_fast_bfloat16(device):
        return "bf16"
    has_tensor_cores = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 7
    return "fp16" if has_tensor_cores else "fp32"


def check_precision(device: torch.device, precision: Precision) -> None:
    """Raise `SimCLRError` for an unknown precision, or one that the device does not compute in."""
    if precision not in typing.get_args(Precision):
        raise unknown_name("precision", precision, typing.get_args(Precision))
    if precision == "bf16" and device.type == "cuda" and not has_fast_bfloat16(device):
        raise SimCLRError("this GPU does not compute in bfloat16, it only imitates it: use the precision fp16 or fp32.")
    if precision in ("bf16", "fp16") and device.type == "mps":
        raise SimCLRError("on Apple's GPUs (mps) this package computes in float32 only: use the precision fp32.")


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager:
    """Return the autocast context of a precision; "auto" is the `fastest_precision`.

    Raises:
        SimCLRError: an unknown precision, or one that the device does not compute in.
    """
    check_precision(device, precision)
    chosen = fastest_precision(device) if precision == "auto" else precision
    dtype = torch.float16 if chosen == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=chosen != "fp32")


def gradient_scaler(device: torch.device, precision: Precision = "auto") -> torch.amp.GradScaler:
    """Return what keeps small gradients from vanishing in float16, and does nothing in the other precisions.

    It multiplies the loss by a large factor and divides the gradients by it again. A step whose gradients are not
    finite is left out, and the factor is halved; after 2,000 good steps it doubles.
    """
    chosen = fastest_precision(device) if precision == "auto" else precision
    kind = device.type if device.type in ("cpu", "cuda") else "cpu"
    return torch.amp.GradScaler(kind, enabled=chosen == "fp16")


@contextmanager
def one_core() -> Iterator[None]:
    """Let PyTorch compute on one core of the CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def equal_steps(device: torch.device) -> Iterator[None]:
    """Prepare PyTorch for many steps of one size on a CUDA GPU, and undo that at the end. Elsewhere, nothing changes.

    cuDNN tries its kernels for every size and takes the fastest, unless PyTorch was told to be deterministic. And the
    CPU draws the random views with one thread. These draws are too small to be divided, and threads that wait for their
    next part keep the cores busy, so that two trainings on one machine slow each other down several times
    (notebooks/results/cifar10-gpu-training.json).
    """
    if device.type != "cuda":
        yield
        return
    searches = torch.backends.cudnn.benchmark
    deterministic = torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = searches or not deterministic
    try:
        with one_core():
            yield
    finally:
        torch.backends.cudnn.benchmark = searches


def check_compiler(device: torch.device) -> None:
    """Raise `SimCLRError` where torch.compile will not find the compiler that it calls for this device.

    It calls a C++ compiler for a CPU, and for a GPU a C compiler, too.
    """
    if sys.platform == "win32":
        wanted = {"CXX": ["cl"]}
    else:
        wanted = {"CXX": ["clang++" if sys.platform == "darwin" else "g++"]}
        if device.type == "cuda":
            wanted["CC"] = ["gcc", "clang"]
    for variable, usual in wanted.items():
        names = [os.environ[variable]] if os.environ.get(variable) else usual
        programs = [words[0] for words in map(shlex.split, names) if words]
        if not any(map(shutil.which, programs)):
            raise SimCLRError(
                f"compile=True needs a compiler, and there is no {' or '.join(programs)}: install one (or set "
                f"{variable} to its place), or leave compile=True out."
            )


def cores() -> int:
    """Return how many cores this process may use. A container or a job on a cluster often has a part of the machine."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(device: torch.device) -> dict[str, object]:
    """Return what a measured number depends on besides the code: hardware, threads, versions and the command."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "fast_bfloat16": has_fast_bfloat16(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "command": shlex.join(["simclr", *sys.argv[1:]]) if _is_our_command(Path(sys.argv[0])) else None,
    }


def _is_our_command(program: Path) -> bool:
    return program.name == "simclr" or program.parts[-2:] == ("simclr_lib", "__main__.py")


@lru_cache
def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
