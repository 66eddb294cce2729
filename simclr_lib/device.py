"""Which device and precision to compute with, and what machine a result was measured on."""

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
    """The named device; "auto" is a CUDA GPU, or the CPU. Processes of ``torchrun`` take one GPU each."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    local_rank = os.environ.get("LOCAL_RANK")  # set by torchrun
    if name == "cuda" and local_rank is not None:
        name = f"cuda:{local_rank}"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise SimCLRError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:0 …")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SimCLRError("no CUDA GPU was found: use --device cpu, or install a CUDA build of PyTorch.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SimCLRError(
            f"there is no {name}: this machine has {torch.cuda.device_count()} CUDA GPUs; "
            "torchrun needs one for each of its --nproc-per-node."
        )
    return device


def place(model: ModuleT, device: torch.device) -> ModuleT:
    """Move a network to the device, its kernels in channels-last order: convolutions are fastest so, everywhere."""
    return model.to(device).to(memory_format=torch.channels_last)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes faster in bfloat16 than in float32: then autocast pays, otherwise it costs.

    CPUs with AMX tiles do, and AMD's with AVX512-BF16. Intel's AVX512-BF16 alone is no faster than its float32:
    there the tiles are meant for that.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8  # Ampere, the first with bfloat16 in its tensor cores
    if device.type == "cpu" and hasattr(torch.cpu, "_is_avx512_bf16_supported"):
        is_amd = "AMD" in _cpu_name()
        return torch.cpu._is_amx_tile_supported() or (is_amd and torch.cpu._is_avx512_bf16_supported())
    return False


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager:
    """The autocast context of a precision: "auto" is bfloat16 where that is faster."""
    if precision not in ("auto", "bf16", "fp32"):
        raise SimCLRError(f"unknown precision {precision!r}: choose auto, bf16 or fp32.")
    if precision == "bf16" and device.type == "cuda" and not has_fast_bfloat16(device):
        raise SimCLRError("this GPU does not compute in bfloat16, it only imitates it: use --precision fp32.")
    enabled = precision == "bf16" or (precision == "auto" and has_fast_bfloat16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def environment(device: torch.device) -> dict[str, object]:
    """What a figure depends on besides the code: hardware, threads and versions."""
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
