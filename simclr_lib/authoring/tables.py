"""Tables for README and notebooks, written from results files: no number there is typed by hand.

``python -m simclr_lib.authoring.tables README.md notebooks/*.ipynb`` fills every block between ``<!-- begin NAME -->``
and ``<!-- end NAME -->`` anew from ``notebooks/results/``, and every figure between ``<!-- FILE · ROW · COLUMN -->``
and ``<!-- -->``.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simclr_lib.errors import SimCLRError, unknown_name
from simclr_lib.results import per_cent

HEADINGS = {
    "knn": "kNN, k = 20",
    "labels_10": "10 labels / class",
    "labels_50": "50 labels / class",
    "labels_100": "100 labels / class",
    "labels_all": "all labels",
    "labels_all_sgd": "all labels, SGD protocol",
}


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are flushed right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def accuracies(*files: Mapping[str, Any]) -> str:
    """The accuracy tables of results files as one, in per cent, with how they were measured below."""
    results = {source: row for file in files for source, row in file["results"].items()}
    columns = [key for key in HEADINGS if any(key in row for row in results.values())]
    rows = [
        [source, *(per_cent(row[key]) if key in row else "–" for key in columns)] for source, row in results.items()
    ]
    table = markdown(["test accuracy, %", *(HEADINGS[key] for key in columns)], rows)
    return "\n\n".join([table, *(provenance(file) for file in files)])


def demo(file: Mapping[str, Any]) -> str:
    """The demo's accuracies over seeds, and how long it takes with one."""
    alone = f"One seed takes {seconds_of_one_seed(file) / 60:.1f} of these minutes, with drawing and report."
    return "\n\n".join([accuracies(file), alone])


def seconds_of_one_seed(file: Mapping[str, Any]) -> float:
    """How long ``simclr demo`` takes with one seed: drawing and report come once, the rest for each."""
    seconds = file["seconds"]
    once = seconds["drawing emblems"] + seconds["report"]
    return once + (seconds["total"] - once) / len(file["seeds"])


def provenance(file: Mapping[str, Any]) -> str:
    """One line on how a results file was made."""
    where = file["environment"]
    seeds = file.get("seeds", [file["config"]["seed"]] if "config" in file else [])
    figures = [figure for row in file["results"].values() for figure in row.values()]
    over = f"{len(seeds)} seeds, mean ± standard deviation" if len(seeds) > 1 else "1 seed"
    if len(seeds) == 1 and any(len(figure["values"]) > 1 for figure in figures):
        over += ", ± over draws of the labels"
    seconds = file["seconds"]["total"] if isinstance(file["seconds"], dict) else file["seconds"]
    minutes = f"{seconds / 60:.1f} minutes"
    sizes = f"{file['num_train']:,} training and {file['num_test']:,} test images"
    return (
        f"`{where['command']}`: {sizes}, {over}, {minutes} on {where['device']} with {where['threads']} threads, "
        f"torch {where['torch']}."
    )


def bench(file: Mapping[str, Any]) -> str:
    """The throughput table of ``simclr bench``, with how it was measured below."""
    rows = [
        [section["title"], row["name"], throughput(row), f"{row['ratio']:.1f} ×", share_of_peak(row)]
        for section in file["sections"]
        for row in section["rows"]
    ]
    where = file["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in file["versions"].items())
    how = (
        f"`{where['command']}`: {file['statistic']} of {file['n']} on {where['device']} with {where['threads']} "
        f"threads, torch {where['torch']}, {versions}."
    )
    peak = file["peak"]
    how += (
        f" Peak, measured too: {peak['training'] / 1e9:,.0f} GFLOP/s in a large matrix product at the training's "
        f"precision, {peak['float32'] / 1e9:,.0f} in float32, {peak['memory'] / 1e9:,.1f} GB/s in copying memory."
    )
    return "\n\n".join([markdown(["what", "library", "throughput", "ours / theirs", "of peak"], rows), how])


def throughput(row: Mapping[str, Any]) -> str:
    """Of a row of ``simclr bench``, with the memory where that was measured."""
    value = f"{row['value']:,.0f}" if row["value"] >= 10 else f"{row['value']:.2g}"
    return f"{value} {row['unit']}" + ("" if row["gigabytes"] is None else f", {row['gigabytes']:.2g} GB")


def share_of_peak(row: Mapping[str, Any]) -> str:
    """Of a row of ``simclr bench``, in per cent."""
    return "–" if row["share"] is None else f"{100 * row['share']:.2g} %"


def plan(file: Mapping[str, Any]) -> str:
    """What ``simclr plan --measure`` foretold beside what it took, with how below."""
    rows = [
        [
            str(row["processes"]),
            " + ".join(f"{1000 * row[part]:,.0f}" for part in ("compute", "loss", "exchange")),
            f"{1000 * row['step']:,.0f}",
            f"{1000 * row['measured']:,.0f}",
            f"{row['memory'] / 1e9:.2f}",
            f"{row['measured_memory'] / 1e9:.2f}",
        ]
        for row in file["results"].values()
    ]
    where = file["environment"]
    head = ["processes", "compute + loss + exchange, ms", "step, ms", "measured, ms", "memory each, GB", "measured, GB"]
    how = (
        f"`{where['command']}`: {file['config']['batch_size']} images a step, median of 5 on {where['device']} with "
        f"{where['threads']} threads, which the processes share; torch {where['torch']}."
    )
    return "\n\n".join([markdown(head, rows), how])


BLOCKS: dict[str, tuple[list[str], Callable[..., str]]] = {
    "demo": (["demo"], demo),
    "crop-color": (["crop-color"], accuracies),
    "cifar10-jpeg": (["cifar10-jpeg-simclr", "cifar10-jpeg-supervised"], accuracies),
    "tinyimagenet-20": (["tinyimagenet-20"], accuracies),
    "bench": (["bench-cpu"], bench),
    "plan": (["plan-cpu"], plan),
}


FIGURE = re.compile(r"(<!-- ([\w-]+) · ([^·]+?) · (\w+) -->).*?(<!-- -->)", re.DOTALL)


def in_words(figure: Any, column: str) -> str:
    """A figure as it stands in a sentence: an accuracy in per cent, or seconds as minutes."""
    if column == "seconds":
        minutes = math.ceil(figure / 60)
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"{per_cent(figure)} %"


def fill(text: str, results: Path) -> str:
    """Write every block and every figure of a text anew from the results files in a folder."""

    def block(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in BLOCKS:
            raise unknown_name("block", name, BLOCKS)
        files, table = BLOCKS[name]
        contents = [json.loads((results / f"{file}.json").read_text()) for file in files]
        return f"<!-- begin {name} -->\n\n{table(*contents)}\n\n<!-- end {name} -->"

    def figure(match: re.Match[str]) -> str:
        begin, file, row, column, end = match.groups()
        content = json.loads((results / f"{file}.json").read_text())["results"]
        return f"{begin}{in_words(content[row][column], column)}{end}"

    text = re.sub(r"<!-- begin ([\w-]+) -->.*?<!-- end \1 -->", block, text, flags=re.DOTALL)
    return FIGURE.sub(figure, text)


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
        raise SimCLRError("usage: python -m simclr_lib.authoring.tables README.md notebooks/*.ipynb")
    for argument in sys.argv[1:]:
        fill_file(Path(argument), Path("notebooks/results"))
