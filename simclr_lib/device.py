"""The device and the precision to compute with, and the machine that a result was measured on."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
import torchvision
from torch import nn

from simclr_lib.choices import Precision
from simclr_lib.errors import SimCLRError

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of this name; "auto" is a CUDA GPU, or the CPU. Processes of ``torchrun`` take one GPU each.

    Raises:
        SimCLRError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    local_rank = os.environ.get("LOCAL_RANK")  # set by torchrun
    if name == "cuda" and local_rank is not None:
        name = f"cuda:{local_rank}"
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
        raise SimCLRError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:0 …")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SimCLRError("no CUDA GPU was found: use the device cpu, or install a CUDA build of PyTorch.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SimCLRError(
            f"there is no {name}: this machine has {torch.cuda.device_count()} CUDA GPUs; "
            "torchrun needs one for each of its --nproc-per-node."
        )
    return device


def place(model: ModuleT, device: torch.device) -> ModuleT:
    """Move a network to the device, with its kernels in channels-last order, in which convolutions are fastest."""
    return model.to(device).to(memory_format=torch.channels_last)


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


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager:
    """Return the autocast context of a precision: "auto" is bfloat16 where that is faster.

    Raises:
        SimCLRError: an unknown precision, or bfloat16 on a GPU that lacks it.
    """
    if precision not in ("auto", "bf16", "fp32"):
        raise SimCLRError(f"unknown precision {precision!r}: choose auto, bf16 or fp32.")
    if precision == "bf16" and device.type == "cuda" and not has_fast_bfloat16(device):
        raise SimCLRError("this GPU does not compute in bfloat16, it only imitates it: use the precision fp32.")
    enabled = precision == "bf16" or (precision == "auto" and has_fast_bfloat16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def environment(device: torch.device) -> dict[str, object]:
    """Return what a measured number depends on besides the code: hardware, threads, versions and the command."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "cores": os.cpu_count(),
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
