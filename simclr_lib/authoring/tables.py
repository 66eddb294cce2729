"""Tables for README and notebooks, written from results files: no number there is typed by hand.

    python -m simclr_lib.authoring.tables README.md notebooks/results/README.md notebooks/*.ipynb \\
        simclr_lib/training/weights/*.md

fills every block between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` anew from ``notebooks/results/``, and every
number between ``<!-- FILE · ROW · COLUMN -->`` and ``<!-- -->``. With ``· seeds`` after the column, every seed has its
number: where seeds disagree, a mean says little.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from simclr_lib.errors import SimCLRError, percentage, unknown_name
from simclr_lib.results import Result, Table, columns, in_words, per_cent


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are flushed right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def accuracies(*files: Result, title: str = "test accuracy, %") -> str:
    """The accuracy tables of results files as one, in per cent, with how they were measured below."""
    table: Table = {source: dict(row) for file in files for source, row in file.results.items()}
    names = {column: name for column, name in columns(table, long=True).items() if column != "knn_200"}  # much like 20
    rows = [[source, *(per_cent(row[key]) if key in row else "–" for key in names)] for source, row in table.items()]
    return "\n\n".join([markdown([title, *names.values()], rows), *(provenance(file) for file in files)])


def demo(file: Result) -> str:
    """The demo's accuracies over seeds, and how long it takes with one."""
    alone = f"One seed takes {seconds_of_one_seed(file) / 60:.1f} of these minutes, with drawing and report."
    return "\n\n".join([accuracies(file), alone])


def seconds_of_one_seed(file: Result) -> float:
    """The seconds of ``simclr demo`` with one seed: drawing and report come once, the rest for each seed."""
    seconds = file.seconds
    fixed = seconds["drawing emblems"] + seconds["report"]
    return fixed + (seconds["total"] - fixed) / len(file.seeds)


def provenance(file: Result) -> str:
    """One line that says how a results file was made."""
    where = file.environment
    if len(file.seeds) > 1:
        spread = f"{len(file.seeds)} seeds, mean ± standard deviation"
    elif any(len(accuracy["values"]) > 1 for row in file.results.values() for accuracy in row.values()):
        spread = "1 seed, ± over draws of the labels"
    else:
        spread = "1 seed"
    sizes = f"{file.num_train:,} training and {file.num_test:,} test images, " if file.num_train else ""
    duration = f"{file.seconds['total'] / 60:.1f} minutes " if file.seconds else ""
    return (
        f"`{where['command']}`: {sizes}{spread}, {duration}on {where['device']} with {threads(where)}, "
        f"torch {where['torch']}."
    )


def threads(where: Mapping[str, Any]) -> str:
    """The threads of a measurement in words."""
    return "1 thread" if where["threads"] == 1 else f"{where['threads']} threads"


def bench(file: Result) -> str:
    """The throughput table of ``simclr bench``, with how it was measured below."""
    rows = [
        [section["title"], row["name"], throughput(row), f"{row['ratio']:.1f} ×", share_of_peak(row)]
        for section in file.extra["sections"]
        for row in section["rows"]
    ]
    where = file.environment
    versions = ", ".join(f"{name} {version}" for name, version in file.extra["versions"].items())
    how = (
        f"`{where['command']}`: {file.extra['statistic']} of {file.extra['n']} on {where['device']} with "
        f"{threads(where)}, torch {where['torch']}, {versions}."
    )
    peak = file.extra["peak"]
    how += (
        f" Peak, measured too: {peak['training'] / 1e9:,.0f} GFLOP/s in a large matrix product at the training's "
        f"precision, {peak['float32'] / 1e9:,.0f} in float32, {peak['memory'] / 1e9:,.1f} GB/s in copying memory."
    )
    return "\n\n".join([markdown(["what", "library", "throughput", "ours / theirs", "of peak"], rows), how])


COMPARED = (  # the sections of ``simclr bench`` that README shows
    "Augmentation, 32×32, one core",
    "Pretraining, small encoder, batch 256, cpu",
    "Pretraining, ResNet-18, batch 256, cpu",
    "NT-Xent, forward and backward, 512 pairs, cpu",
)


def why(bench: Result, folders: Result) -> str:
    """Sentences that say how much faster this package is than others, with the command of each row."""
    sections = {section["title"]: section["rows"] for section in bench.extra["sections"]}
    rows = []
    for title in COMPARED:
        ours, *others = sections[title]
        faster = {row["name"]: row["ratio"] for row in others}
        rows.append([title, throughput(ours), times(faster), program(bench)])
    name, read = next(iter(folders.results.items()))
    faster = {"Pillow": read["ratio_to_pillow"], "torchvision": read["ratio_to_torchvision"]}
    speed = f"{read['images_per_second_per_core']:,.0f} images/s"
    rows.append([f"Reading {name}, one core", speed, times(faster), program(folders)])
    bf16 = " with fast bf16" if bench.environment["fast_bfloat16"] else ""
    where = f"Measured on {bench.environment['device']}{bf16}; reading on {folders.environment['device']}."
    return "\n\n".join([markdown(["what", "simclr_lib", "faster than", "command"], rows), where])


def times(faster: Mapping[str, float]) -> str:
    """Library → how many times faster, as one line."""
    return ", ".join(f"{name} {ratio:.1f} ×" for name, ratio in faster.items())


def program(file: Result) -> str:
    """The command of a results file without its options."""
    command, *_ = file.environment["command"].split(" --")
    return f"`{command}`"


def throughput(row: Mapping[str, Any]) -> str:
    """The throughput of a row of ``simclr bench``, with the memory where that was measured."""
    value = f"{row['value']:,.0f}" if row["value"] >= 10 else f"{row['value']:.2g}"
    return f"{value} {row['unit']}" + ("" if row["gigabytes"] is None else f", {row['gigabytes']:.2g} GB")


def share_of_peak(row: Mapping[str, Any]) -> str:
    """The share of the machine's peak that a row of ``simclr bench`` reaches, in per cent."""
    return "–" if row["share"] is None else f"{100 * row['share']:.2g} %"


def plan(file: Result) -> str:
    """The estimates of ``simclr plan --measure`` beside what was measured, with how below."""
    rows = [
        [
            str(row["processes"]),
            " + ".join(f"{1000 * row[part]:,.0f}" for part in ("compute", "loss", "exchange")),
            f"{1000 * row['step']:,.0f}",
            f"{1000 * row['measured']:,.0f}",
            f"{row['memory'] / 1e9:.2f}",
            f"{row['measured_memory'] / 1e9:.2f}",
        ]
        for row in file.results.values()
    ]
    where = file.environment
    head = ["processes", "compute + loss + exchange, ms", "step, ms", "measured, ms", "memory each, GB", "measured, GB"]
    how = (
        f"`{where['command']}`: {file.config['batch_size']} images per step, median of 5 on {where['device']} with "
        f"{threads(where)}, which the processes share; torch {where['torch']}."
    )
    return "\n\n".join([markdown(head, rows), how])


def folders(file: Result) -> str:
    """The time and memory to load folders of images, with how they were measured below."""
    rows = [
        [
            name,
            f"{row['seconds']:,.0f} s",
            f"{row['images_per_second_per_core']:,.0f}",
            f"{row['pillow_per_core']:,.0f}",
            f"{row['torchvision_per_core']:,.0f}",
            f"{row['ratio_to_pillow']:.1f} ×",
            f"{row['gigabytes'] - row['gigabytes_before']:.2f} GB",
            f"{row['seconds_from_cache']:.1f} s",
        ]
        for name, row in file.results.items()
    ]
    where = file.environment
    head = ["folder", "first time", "images/s per core", "Pillow", "torchvision", "ours / Pillow", "memory", "again"]
    how = f"`{where['command']}`: {file.extra['cores']} cores, {where['device']}, torch {where['torch']}."
    return "\n\n".join([markdown(head, rows), how])


def beside_published(
    simclr: Result, evaluation: Result, other: Result, supervised: Result, step: Result, published: Result
) -> str:
    """The accuracies of the runs on a GPU beside those that others published, with the sources of all below."""
    rows = {
        "SimCLR, τ = 0.5": evaluation.results["SimCLR"],
        "SimCLR, τ = 0.5, fine-tuned": evaluation.results["SimCLR, fine-tuned"],
        "SimCLR, τ = 0.2, four times the rate": other.results["SimCLR"],
    }
    trained = dict.fromkeys(rows, f"ResNet-18, {simclr.config['epochs']:,}, JPEG")
    rows |= dict(supervised.results)
    trained["supervised"] = f"ResNet-18, {supervised.config['epochs']:,}, JPEG"
    for name, source in published.extra["sources"].items():
        rows[name] = published.results[name]
        trained[name] = f"{source['encoder']}, {source['epochs']:,}, original"
    names = columns(rows, long=True)
    cells = [
        [row, trained[row], *(per_cent(measured[key]) if key in measured else "–" for key in names)]
        for row, measured in rows.items()
    ]
    where = simclr.environment
    commands = ", ".join(f"`{file.environment['command']}`" for file in (simclr, evaluation, other, supervised))
    ours, lightly, kornia = (
        step.results[name]["images_per_second"]
        for name in ("simclr_lib, compiled", "lightly's documented loop, 16 workers", "kornia's views on the GPU")
    )
    how = (
        f"Ours: {commands}: 1 seed, ± over draws of the labels, {simclr.seconds['pretraining'] / 60:.1f} and "
        f"{other.seconds['pretraining'] / 60:.1f} minutes of pretraining on {where['device']}, torch {where['torch']}, "
        f"commits {where['commit']} and, with τ = 0.2, {other.environment['commit']}. "
        f"At the first of them, a step at batch {step.config['batch_size']} takes in {ours:,.0f} images/s there, "
        f"{ours / lightly:.1f} × lightly's documented loop with 16 workers and "
        f"{ours / kornia:.1f} × kornia's views on the GPU."
    )
    others = [f"{name}: {source['source']} ({source['note']})" for name, source in published.extra["sources"].items()]
    header = ["test accuracy, %", "encoder, epochs, pixels", *names.values()]
    return "\n\n".join([markdown(header, cells), f"{how} Published by others: {'; '.join(others)}."])


def gpu_speed(before: Result, at_512: Result, at_1024: Result, training: Result) -> str:
    """The milliseconds of a pretraining step on a GPU, part by part, and the speed of training there."""

    def milliseconds(file: Result, row: str) -> str:
        return f"{file.results[row]['milliseconds']:.1f}" if row else "–"

    network = "network and loss, forward and backward"
    parts = [  # name, row of the first file, row of the two others
        (network, f"{network}, compiled", f"{network}, compiled"),
        ("making two views", "apply two views", "make two views, compiled"),
        ("drawing their parameters, on the CPU", "sample two views on the CPU", "draw two views, compiled"),
        ("LARS", "LARS step", "LARS, of the encoder"),
        ("the whole step", "whole step, compiled, LARS", "whole step, compiled"),
        ("the whole step as one CUDA graph", "", "whole step, one CUDA graph, compiled"),
    ]
    rows = [
        [name, milliseconds(before, old), milliseconds(at_512, new), milliseconds(at_1024, new)]
        for name, old, new in parts
    ]
    header = ["milliseconds", *(f"batch {file.config['batch_size']:,}" for file in (at_512, at_512, at_1024))]
    header[1] += f", commit {before.environment['commit']}"
    speed = {name: row["images_per_second"] for name, row in training.results.items()}
    alone, lightly = speed["alone"], before.results["lightly's documented loop, 16 workers"]["images_per_second"]
    step = 1e3 * float(str(training.config["batch_size"])) / alone
    share = alone * training.extra["gflop_per_image"] / (1e3 * training.extra["peak_tflops"])
    crowded, single = speed["each of two trainings, 16 threads"], speed["each of two trainings, one thread"]
    where = training.environment
    said = (
        f"`simclr train --compile` takes in {alone:,.0f} images/s at batch {training.config['batch_size']}: "
        f"{step:.1f} milliseconds for a step, {50_000 / alone:.2f} seconds for "
        f"50,000 images, and {percentage(share)} of what a large matrix product reaches. With its measurements and "
        f"checkpoints it is {speed['alone, with its pauses']:,.0f} images/s. lightly's documented loop with 16 workers "
        f"took in {lightly:,.0f} images/s on such a machine; that loop waited for the GPU after every step. "
        f"When two trainings shared the GPU, each took in {crowded:,.0f} images/s with 16 threads of the CPU, and "
        f"{single:,.0f} with one (OMP_NUM_THREADS=1). So training on a GPU now draws its views with one thread."
    )
    commands = ", ".join(f"`{file.environment['command']}`" for file in (at_512, at_1024))
    how = (
        f"{commands}, on {where['device']} with {threads(at_512.environment)} of the CPU, compiled, "
        f"torch {where['torch']}. The first column was measured by scripts beside the project, with "
        f"{threads(before.environment)}; there, only the network was compiled."
    )
    return "\n\n".join([markdown(header, rows), how, said])


BLOCKS: dict[str, tuple[list[str], Callable[..., str]]] = {
    "demo": (["demo"], demo),
    "crop-color": (["crop-color"], accuracies),
    "cifar10-jpeg": (["cifar10-jpeg-simclr", "cifar10-jpeg-supervised"], accuracies),
    "cifar10-gpu": (
        [
            *(f"cifar10-gpu-{part}" for part in ("simclr", "evaluation", "simclr-lars8", "supervised", "step")),
            "published",
        ],
        beside_published,
    ),
    "recipes": (["cifar10-gpu-recipes-45"], partial(accuracies, title="accuracy on held-out training images, %")),
    "gpu-speed": (
        [f"cifar10-gpu-{part}" for part in ("step", "step-512", "step-1024", "training")],
        gpu_speed,
    ),
    "fine-tuning": (["fine-tuning"], partial(accuracies, title="accuracy on held-out training images, %")),
    "tinyimagenet-20": (["tinyimagenet-20"], accuracies),
    "own-images": (["own-images-pretraining", "own-images"], accuracies),
    "folders": (["folders"], folders),
    "why": (["bench-cpu", "folders"], why),
    "bench": (["bench-cpu"], bench),
    "plan": (["plan-cpu"], plan),
}


FIGURE = re.compile(r"(<!-- ([\w-]+) · ([^·]+?) · (\w+)( · seeds)? -->).*?(<!-- -->)", re.DOTALL)


def duration(seconds: float) -> str:
    """Seconds as they stand in a sentence: "20 seconds", to the nearest ten, or "3 minutes", rounded up."""
    return f"{max(10, round(seconds, -1)):.0f} seconds" if seconds < 95 else f"{math.ceil(seconds / 60)} minutes"


def fill(text: str, results: Path) -> str:
    """Write every block and every number of a text anew from the results files in a folder."""

    def block(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in BLOCKS:
            raise unknown_name("block", name, BLOCKS)
        files, table = BLOCKS[name]
        contents = [Result.read(results / f"{file}.json") for file in files]
        return f"<!-- begin {name} -->\n\n{table(*contents)}\n\n<!-- end {name} -->"

    def number(match: re.Match[str]) -> str:
        begin, file, row, column, seeds, end = match.groups()
        value = Result.read(results / f"{file}.json").results[row][column]
        if seeds:
            *first, last = (f"{100 * accuracy:.1f}" for accuracy in value["values"])
            return f"{begin}{', '.join(first)} and {last} %{end}"
        return f"{begin}{duration(value) if column == 'seconds' else in_words(value)}{end}"

    text = re.sub(r"<!-- begin ([\w-]+) -->.*?<!-- end \1 -->", block, text, flags=re.DOTALL)
    return FIGURE.sub(number, text)


def fill_file(page: Path, results: Path) -> None:
    """`fill` a Markdown file, or the Markdown cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        page.write_text(fill(text, results), encoding="utf-8")
        return
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = fill("".join(cell["source"]), results).splitlines(keepends=True)
    page.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SimCLRError("usage: python -m simclr_lib.authoring.tables README.md notebooks/results/README.md …")
    for argument in sys.argv[1:]:
        fill_file(Path(argument), Path("notebooks/results"))
