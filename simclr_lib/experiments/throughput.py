"""Measurements of throughput, and of the peak that this machine could reach.

Everybody who is measured is a `Competitor`: an endless iterator in which each item is one step and says how many units
of work the step did. A competitor is started afresh, warms up for as long as it is then measured, and is dropped. All
take turns, and the median counts.

A loop that is fed by worker processes is timed as a whole, with its waiting. Its queue is empty when the loop starts.
If the workers are the bottleneck it stays empty, otherwise the warm-up fills it: either way as many batches are made
in the measured time as are used, and none comes free.

Beside the ratio stands the share of what the machine's measured peak allows: the peak of a large matrix product where
the work is arithmetic (training, loss), of copying memory where bytes must be moved (augmentation, optimiser).
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from simclr_lib.device import autocast, equal_steps
from simclr_lib.errors import percentage

Competitor = Callable[[], Iterator[int]]
"""Starts an endless iterator of steps; an item is the units of work that the step did."""

OPTIONAL = ("kornia", "lightly")
BEST_OF = 3  # measurements of a peak
IN_FLIGHT = 2  # steps that a GPU may be behind: were its queue full, emptying it would take longer than measuring
INSTALL = "pip install 'simclr-lib[bench]'"


@dataclass(frozen=True)
class Peak:
    """The best that this machine can do, as measured.

    Attributes:
        training: floating-point operations per second of a large matrix product, at the training's precision.
        float32: floating-point operations per second of that product in float32.
        memory: bytes per second that are read and written when memory is copied.
    """

    training: float
    float32: float
    memory: float


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: the library, or the variant, that was measured.
        value: the throughput; more is better.
        unit: unit of the throughput, such as "images/s".
        share: share of the throughput that the machine's peak allows, 0…1.
        gigabytes: the most memory that the work took.
    """

    name: str
    value: float
    unit: str
    share: float | None = None
    gigabytes: float | None = None

    def __str__(self) -> str:
        share = "" if self.share is None else f"{percentage(self.share, 1):>9} of peak"
        memory = "" if self.gigabytes is None else f"{self.gigabytes:>8.2f} GB"
        return share + memory


@dataclass(frozen=True)
class Section:
    """Throughputs of several libraries on the same work.

    Attributes:
        title: names the work.
        rows: the measurements; the first is ours.
        missing: libraries that are not installed.
    """

    title: str
    rows: list[Row]
    missing: list[str]

    def ratio(self, row: Row) -> float:
        """Our throughput divided by the row's: above 1 we are faster."""
        return self.rows[0].value / row.value

    def to_dict(self) -> dict[str, object]:
        """Plain values, for the results file."""
        rows = [{**vars(row), "ratio": self.ratio(row)} for row in self.rows]
        return {"title": self.title, "rows": rows, "missing": self.missing}

    def __str__(self) -> str:
        lines = [self.title]
        lines += [f"  {r.name:<20}{r.value:>12,.1f} {r.unit:<10}{self.ratio(r):>8.1f} ×{r}" for r in self.rows]
        lines += [f"  {name:<20}not installed: {INSTALL}" for name in self.missing]
        return "\n".join(lines)


def compare(
    title: str,
    unit: str,
    competitors: Mapping[str, Competitor],
    repeats: int,
    seconds: float,
    limit: float | None = None,
) -> Section:
    """Measure competitors in turns and keep the medians.

    Args:
        title: names the work.
        unit: unit of the throughput.
        competitors: by name, ours first; one that is named like a library in `OPTIONAL` needs that library.
        repeats: number of turns.
        seconds: length of one measurement, after a warm-up of the same length.
        limit: the throughput that the machine's peak allows.
    """
    missing = [name for name in competitors if name in OPTIONAL and version(name) is None]
    throughputs: dict[str, list[float]] = {name: [] for name in competitors if name not in missing}
    for _ in range(repeats):
        for name, values in throughputs.items():
            values.append(throughput(competitors[name](), seconds))
    medians = {name: statistics.median(values) for name, values in throughputs.items()}
    rows = [Row(name, value, unit, value / limit if limit else None) for name, value in medians.items()]
    return Section(title, rows, missing)


def throughput(steps: Iterator[int], seconds: float) -> float:
    """Units of work per second, over whole steps, after a warm-up of ``seconds``."""
    work(steps, seconds)
    units, elapsed = work(steps, seconds)
    return units / elapsed


def work(steps: Iterator[int], seconds: float) -> tuple[int, float]:
    """Take steps for ``seconds``, at least one. Returns the units of work and the seconds that they took."""
    units, start = 0, time.perf_counter()
    has_gpu, queued = torch.cuda.is_available(), deque[torch.cuda.Event]()
    while units == 0 or time.perf_counter() - start < seconds:
        units += next(steps)
        if has_gpu:
            queued.append(torch.cuda.current_stream().record_event())
            if len(queued) > IN_FLIGHT:
                queued.popleft().synchronize()
    for number in range(torch.cuda.device_count()):
        torch.cuda.synchronize(number)  # a GPU works on after the last call has returned
    return units, time.perf_counter() - start


def median_seconds(step: Callable[[], object], device: torch.device, calls: int = 5) -> float:
    """Median of the seconds that ``calls`` calls take, after two calls that warm up."""
    times = []
    with equal_steps(device):
        for _ in range(2 + calls):
            start = time.perf_counter()
            step()
            _wait_for(device)
            times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def measure_peak(device: torch.device, seconds: float = 0.5) -> Peak:
    """Measure a few large matrix products and copies; the best of them counts."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=device)
    with autocast(device):
        low_a, low_b = a.to((a[:1] @ b).dtype), b.to((a[:1] @ b).dtype)  # not cast again in every product
    operations = 2 * side**3
    training = best(lambda: low_a @ low_b, device, seconds) * operations
    float32 = best(lambda: a @ b, device, seconds) * operations
    return Peak(training, float32, copying_speed(device, seconds))


def copying_speed(device: torch.device, seconds: float = 0.5) -> float:
    """The highest number of bytes per second that are read and written when memory is copied."""
    size = 2**30 if device.type == "cuda" else 2**26  # 4 GB or 256 MB: far more than caches hold
    large = torch.zeros(size, device=device)
    target = torch.empty_like(large)
    return best(lambda: target.copy_(large), device, seconds) * 2 * large.nbytes


def best(step: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Calls per second in the best of three measurements."""

    def steps() -> Iterator[int]:
        while True:
            step()
            _wait_for(device)  # else a GPU's queue takes many more calls than fit into the measured time
            yield 1

    return max(throughput(steps(), seconds) for _ in range(BEST_OF))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def largest_size(device: torch.device) -> int:
    """The most bytes that this process has taken so far: of the GPU's memory, or of the machine's (Linux; else 0)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def version(library: str) -> str | None:
    """The version of an installed library; None if it is not there."""
    try:
        return str(importlib.import_module(library).__version__)
    except ImportError:
        return None
