"""``simclr bench``: this machine's throughput beside other libraries', in one process run."""

from __future__ import annotations

from dataclasses import replace

from simclr_lib.commands.common import Stopwatch
from simclr_lib.device import pick_device
from simclr_lib.experiments.benchmarks import Workload, measured_sections
from simclr_lib.experiments.throughput import OPTIONAL, Section, measure_peak, version
from simclr_lib.results import Result
from simclr_lib.settings import BenchConfig


def bench(config: BenchConfig, load: Workload | None = None) -> None:
    """Run ``simclr bench``: prints a table per kind of work and, with ``--out``, writes the results file.

    Args:
        config: settings of the command.
        load: how much is measured; repeats and batch size are the command's settings.
    """
    config.check()
    device = pick_device(config.device)
    load = replace(load or Workload(), repeats=config.repeats, batch_size=config.batch_size)
    clock = Stopwatch()
    peak = measure_peak(device, load.seconds)
    print(
        f"this machine's peak: {peak.training / 1e9:,.0f} GFLOP/s in training, {peak.float32 / 1e9:,.0f} in float32, "
        f"{peak.memory / 1e9:,.1f} GB/s\nmedian throughput, and ours / theirs",
        flush=True,
    )
    sections: list[Section] = []
    for section in measured_sections(device, peak, load, config.quick):
        sections.append(section)
        if config.out:  # after every section: nothing that happens later loses what was measured
            Result(
                "throughput beside other libraries' in one process run; ratios are ours / theirs",
                seconds={"total": clock.total},
                extra={
                    "versions": {name: version(name) for name in (*OPTIONAL, "torchvision")},
                    "n": config.repeats,
                    "statistic": "median",
                    "peak": vars(peak),
                    "sections": [measured.to_dict() for measured in sections],
                },
            ).write(config.out, device)
        print(section, flush=True)
    if config.out:
        print(f"results: {config.out}")
