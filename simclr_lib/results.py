"""Results files and the accuracies in them: one format, one writer, one reader, one table of column names."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from simclr_lib.errors import SimCLRError, shown
from simclr_lib.files import write_atomically

if TYPE_CHECKING:
    import torch


class Accuracy(TypedDict):
    """A test accuracy, 0…1, that was measured once or several times.

    Attributes:
        mean: mean of the values.
        std: sample standard deviation of the values; 0 for one value.
        values: one accuracy for each measurement.
    """

    mean: float
    std: float
    values: list[float]


Table = dict[str, dict[str, Accuracy]]
"""Source of features → column → accuracy. A column is a way to measure, such as "knn" or "labels_10"."""

COLUMN_NAMES = {  # column → (name in a terminal, name on a page); {} is the number of labels per class
    "knn": ("kNN, k = 20", "kNN, k = 20"),
    "knn_200": ("kNN, k = 200", "kNN, k = 200"),
    "labels_{}": ("{} per class", "{} labels / class"),
    "labels_all": ("all labels", "all labels"),
    "labels_all_sgd": ("all, SGD", "all labels, SGD protocol"),
}


BALANCED = "_balanced"  # at the end of a column's name: the mean accuracy of the classes, see `balanced_accuracy`


@dataclass(frozen=True)
class Result:
    """The content of a results file: what was measured, and everything that it takes to measure it again.

    Attributes:
        what: one line that says what was measured.
        results: row → column → measurement. The measurements are an `Accuracy` each; those of ``simclr plan`` are
            seconds and bytes.
        config: settings of the training, as `TrainConfig.to_dict` gives them.
        seeds: the seeds that were averaged over; empty where only ``config`` knows the seed.
        num_train: number of training images.
        num_test: number of test images.
        seconds: part of the work → seconds; "total" is all of it. Empty where it was not measured.
        environment: hardware, versions and command, see `simclr_lib.device.environment`; `write` fills it in.
        extra: what only some commands measure, such as the rows of ``simclr bench``.
    """

    what: str
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    config: dict[str, object] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    num_train: int | None = None
    num_test: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path, device: torch.device, command: str | None = None) -> None:
        """Write the results file, as a whole or not at all, with the numbers `rounded`.

        Args:
            path: the JSON file.
            device: the device that was measured on.
            command: the command that measured, where it is not a ``simclr`` command.
        """
        from simclr_lib.device import environment  # imported here, because the command line reads results without torch

        where = environment(device)
        complete = replace(self, environment={**where, "command": command or where["command"]})
        content = json.dumps(rounded(complete.to_dict()), indent=1, ensure_ascii=False)
        write_atomically(path, (shown(content) + "\n").encode())  # a folder's name may be no valid text

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a results file of any command.

        Raises:
            SimCLRError: there is no such file, or it is not a results file.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SimCLRError(f"there is no results file at {path}: check the path.") from None
        except ValueError:  # not UTF-8, or not JSON
            content = None
        if not isinstance(content, dict) or "what" not in content:
            raise SimCLRError(f"{path} is not a results file of this package: measure again.")
        if not isinstance(content.get("seconds", {}), dict):
            content["seconds"] = {"total": content["seconds"]}
        names = [entry.name for entry in fields(cls) if entry.name != "extra"]
        known = {name: content.pop(name) for name in names if name in content}
        return cls(**known, extra=content)

    def to_dict(self) -> dict[str, Any]:
        """The content of the file. Seconds that have no parts are written as one number, the total."""
        seconds = self.seconds["total"] if list(self.seconds) == ["total"] else self.seconds
        content = {
            "what": self.what,
            "environment": self.environment,
            "config": self.config,
            "seeds": list(self.seeds),
            "num_train": self.num_train,
            "num_test": self.num_test,
            "seconds": seconds,
            **self.extra,
            "results": self.results,
        }
        return {name: value for name, value in content.items() if name in self.extra or value not in (None, [], {})}


def summary(values: Sequence[float]) -> Accuracy:
    """Compute the mean and the sample standard deviation (0 for one value), and keep the values themselves.

    Raises:
        SimCLRError: there are no values.
    """
    if not values:
        raise SimCLRError("a summary needs at least one value.")
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": std, "values": list(values)}


def rounded(value: object) -> object:
    """Plain values for a results file: numbers get four decimals; numbers below 0.01 keep all of them."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) and abs(value) >= 0.01 else value


# How accuracies are shown.


def per_cent(accuracy: Accuracy) -> str:
    """An accuracy as "96.4", or "96.4 ± 0.3" where it has several values."""
    text = f"{100 * accuracy['mean']:.1f}"
    return f"{text} ± {100 * accuracy['std']:.1f}" if len(accuracy["values"]) > 1 else text


def in_words(accuracy: Accuracy) -> str:
    """An accuracy as it stands in a sentence: "96.4 %", or "96.4 ± 0.3 %" where it has several values."""
    return f"{per_cent(accuracy)} %"


def columns(table: Mapping[str, Mapping[str, Any]], long: bool = False) -> dict[str, str]:
    """The columns that a table has, in the order in which to read them, and their names.

    Args:
        table: row → column → measurement.
        long: give the names that pages have room for, instead of the terminal's.
    """
    measured = list(dict.fromkeys(column for row in table.values() for column in row))
    budgets = sorted(int(column.removeprefix("labels_")) for column in measured if _is_budget(column))
    known = ["knn", "knn_200", *(f"labels_{budget}" for budget in budgets), "labels_all", "labels_all_sgd"]
    known = [variant for column in known for variant in (column, f"{column}{BALANCED}")]
    others = [column for column in measured if column not in known]
    return {column: _column_name(column, long) for column in (*known, *others) if column in measured}


def _is_budget(column: str) -> bool:
    return column.startswith("labels_") and column.removeprefix("labels_").isdecimal()


def _column_name(column: str, long: bool) -> str:
    if column.endswith(BALANCED):
        return f"{_column_name(column.removesuffix(BALANCED), long)}, {'balanced' if long else 'bal.'}"
    if _is_budget(column):
        return COLUMN_NAMES["labels_{}"][long].format(column.removeprefix("labels_"))
    return COLUMN_NAMES[column][long] if column in COLUMN_NAMES else column.replace("_", " ")


def text_table(table: Table, measured: str = "test accuracy") -> str:
    """The accuracies as aligned lines in per cent: a line a column of the table, so that it fits a terminal.

    Args:
        table: row → column → accuracy.
        measured: what the accuracies are.
    """
    heads = {source: _in_two_lines(source) for source in table}
    widths = {source: max(len("99.9 ± 0.1"), *map(len, head)) + 2 for source, head in heads.items()}
    margin = max(16, len(measured) + 3, *(len(name) + 1 for name in columns(table).values()))
    lines = [
        "".join([f"{name:<{margin}}", *(f"{heads[source][i]:>{widths[source]}}" for source in table)])
        for i, name in enumerate(("", f"{measured}, %"))
    ]
    for column, name in columns(table).items():
        cells = [f"{name:<{margin}}"]
        for source, row in table.items():
            text = per_cent(row[column]) if column in row else "–"
            if "±" not in text:
                text += " " * len(" ± 0.0")  # stands below the means of the others
            cells.append(f"{text:>{widths[source]}}")
        lines.append("".join(cells))
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _in_two_lines(text: str) -> tuple[str, str]:
    """Break a text at the space that leaves the shortest lines; a single word is the second line."""
    words = text.split()
    breaks = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(len(words))]
    return min(breaks, key=lambda lines: max(map(len, lines)))
