"""A check that this machine is ready for the course, and an estimate of how long the notebooks will take on it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from simclr_lib.device import cores
from simclr_lib.losses import nt_xent
from simclr_lib.models import ProjectionHead, SimCLR, resnet18
from simclr_lib.results import Result
from simclr_lib.seeding import initial_weights
from simclr_lib.teaching.course import RESULTS
from simclr_lib.teaching.workshop.editions import source_notebooks

PYTHON = (3, 10)
DISK, MEMORY = (
    1e9,
    2e9,
)  # bytes that should be free: runs/ stays far below the first; PyTorch and a browser need the second
STEPS = 5


@dataclass(frozen=True)
class Finding:
    """One line of the check.

    Attributes:
        good: True if nothing has to be done, False if something is missing, None for a warning.
        text: what was found and, unless it is good, what to do.
    """

    good: bool | None
    text: str


def findings() -> list[Finding]:
    """List what the notebooks need, and whether this machine has it."""
    return [python_finding(sys.version_info[:3]), *package_findings(), *kernel_findings(), *room_findings()]


def python_finding(version: tuple[int, int, int]) -> Finding:
    """The version of Python."""
    shown = ".".join(map(str, version))
    if version < PYTHON:
        return Finding(False, f"Python {shown} is too old: install Python {PYTHON[0]}.{PYTHON[1]} or newer.")
    return Finding(True, f"Python {shown}")


def package_findings(requirements: Iterable[str] | None = None) -> list[Finding]:
    """The packages that simclr-lib requires, and their versions.

    Args:
        requirements: such as "torch>=2.6"; None stands for those of the installed package.
    """
    if requirements is None:
        try:
            requirements = importlib.metadata.requires("simclr-lib") or ()
        except importlib.metadata.PackageNotFoundError:
            return [Finding(False, "simclr-lib is not installed here: install it with pip.")]
    bad, good = [], []
    for requirement in requirements:
        if "extra ==" in requirement:
            continue
        name, least = re.match(r"([\w.-]+?)(?:>=([\d.]+))?(?=$|[;,\s])", requirement).groups()  # type: ignore[union-attr]
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            bad.append(Finding(False, f"{name} is missing: pip install '{requirement}'"))
            continue
        if least and _numbers(version) < _numbers(least):
            bad.append(Finding(False, f"{name} {version} is too old: pip install '{requirement}'"))
        else:
            good.append(f"{name} {version}")
    return [*bad, Finding(True, f"packages: {', '.join(good)}")] if good else bad


def kernel_findings() -> list[Finding]:
    """The kernel that notebooks run in, and JupyterLab."""
    if importlib.util.find_spec("ipykernel") is None:
        return [
            Finding(False, "there is no kernel for notebooks: pip install ipykernel, or jupyterlab, which brings it.")
        ]
    kernel = Finding(True, f"a kernel for notebooks: ipykernel {importlib.metadata.version('ipykernel')}")
    if importlib.util.find_spec("jupyterlab") is None:
        return [
            kernel,
            Finding(None, "there is no JupyterLab: open the notebooks in VS Code, or pip install jupyterlab"),
        ]
    return [kernel, Finding(True, f"JupyterLab {importlib.metadata.version('jupyterlab')}")]


def room_findings() -> list[Finding]:
    """Free disk and memory, and cores."""
    disk, memory = shutil.disk_usage(Path.cwd()).free, free_memory()
    advice = "" if disk >= DISK else f": free {DISK / 1e9:.0f} GB for the runs."
    found = [Finding(disk >= DISK, f"{disk / 1e9:.1f} GB of disk free{advice}")]
    if memory is not None:
        advice = "" if memory >= MEMORY else f": close programs until {MEMORY / 1e9:.0f} GB are free."
        found.append(Finding(memory >= MEMORY or None, f"{memory / 1e9:.1f} GB of memory free{advice}"))
    return [*found, Finding(True, f"{cores()} cores, of which PyTorch uses {torch.get_num_threads()}")]


def free_memory() -> float | None:
    """Bytes of memory that programs can still take; None where the operating system does not say so in a file."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * float(found[1]) if found else None


def step_seconds() -> float:
    """Seconds of a short training step on this machine, the median of a few.

    A step is SimCLR with a narrow ResNet-18 on 64 random images of 24 × 24 pixels. The same function measured the
    machine on which the times of the notebooks were recorded: `simclr_lib.authoring.execute` calls it.
    """
    with initial_weights(0):
        encoder = resnet18("fast", width=16)
        model = SimCLR(encoder, ProjectionHead(encoder.feature_dim))
    views = torch.rand(128, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        nt_xent(*model(views)[1].chunk(2)).backward()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first one also prepares the operations


def estimates(step: float, recorded: Result | None = None) -> dict[str, float]:
    """Seconds that each notebook will take where a training step takes ``step`` seconds.

    The recorded seconds of the notebooks are scaled by the ratio of the steps. This is an estimate: not every cell
    trains, and other programs may be running. Where no step was recorded, the recorded seconds stand as they are.

    Args:
        step: seconds, see `step_seconds`.
        recorded: the times; None stands for those that come with the notebooks.
    """
    recorded = recorded or Result.read(RESULTS / "notebooks.json")
    ratio = step / recorded.extra.get("step_seconds", step)
    names = [path.stem for path in source_notebooks()]
    return {name: ratio * recorded.results[name]["seconds"] for name in names if name in recorded.results}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
