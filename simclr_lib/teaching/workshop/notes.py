"""The instructor's notes: minutes of every part of the course, and answers to the questions that the notebooks ask.

``notebooks/instructor.md`` holds them. It has a chapter for each notebook, ``## 02_nt_xent``. In a chapter there is a
table of minutes, whose rows are the notebook's sections ("2.4") and its exercises ("exercise 1"), and then the notes.
A note has a heading such as ``### 2.4 Can a whole batch reach the lower bound?``: the number is that of the section,
and "To discuss" stands for the notebook's last question. The first notes of a section belong to its questions, in
their order; further ones belong to the section as a whole.

``notebooks/TEACHING.md`` holds the plans and a table of what learners say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simclr_lib.errors import SimCLRError

HEADING = re.compile(r"^### (\d+\.\d+|To discuss)[. ]?(.*)$", re.MULTILINE)
PART = re.compile(r"\d+\.\d+|E\d+\.\d+")  # section 2.4, or exercise 1 of notebook 2: E2.1


@dataclass(frozen=True)
class Note:
    """An answer or a remark for the instructor.

    Attributes:
        section: "2.4", or "To discuss".
        title: the question in short.
        text: the answer, as Markdown.
    """

    section: str
    title: str
    text: str


@dataclass(frozen=True)
class Notes:
    """The instructor's notes for one notebook.

    Attributes:
        minutes: "2.4" or "exercise 1" → minutes.
        notes: in their order.
    """

    minutes: dict[str, int] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def select(self, section: str) -> list[Note]:
        """The notes of a section, in their order."""
        return [note for note in self.notes if note.section == section]

    @property
    def reading(self) -> int:
        """Minutes for all sections."""
        return sum(minutes for part, minutes in self.minutes.items() if not part.startswith("exercise"))

    @property
    def exercises(self) -> int:
        """Minutes for all exercises."""
        return sum(self.minutes.values()) - self.reading


def read_notes(path: Path) -> dict[str, Notes]:
    """Read ``instructor.md``: notebook's name without its ending → its notes.

    Raises:
        SimCLRError: there is no such file.
    """
    chapters = re.split(r"^## (\d\d_\w+)\n", _text(path), flags=re.MULTILINE)[1:]
    return {name: _chapter(text) for name, text in zip(chapters[::2], chapters[1::2], strict=True)}


def _chapter(text: str) -> Notes:
    minutes = {row[0]: int(row[1]) for row in table_rows(HEADING.split(text)[0])}
    parts = HEADING.split(text)[1:]
    notes = [Note(*(part.strip() for part in parts[i : i + 3])) for i in range(0, len(parts), 3)]
    return Notes(minutes, tuple(notes))


def table_rows(text: str) -> list[list[str]]:
    """The cells of the rows of Markdown tables, without the rows of titles and rules."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if re.match(r"^\|[\s:|-]+\|$", line):
            rows.pop()  # the titles stand above the rule
        elif line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def sayings(path: Path) -> dict[str, list[list[str]]]:
    """The table "What people get wrong" of ``TEACHING.md``: number of a notebook → rows (they say, ask, answer)."""
    chapter = _text(path).split("## What people get wrong", 1)[1].split("\n## ", 1)[0]
    found: dict[str, list[list[str]]] = {}
    for number, *row in table_rows(chapter):
        found.setdefault(number, []).append(row)
    return found


def plans(path: Path) -> dict[str, list[list[str]]]:
    """The plans of ``TEACHING.md``: title, such as "90 minutes" → rows (start, minutes, what, parts)."""
    chapter = _text(path).split("## Plans", 1)[1].split("\n## ", 1)[0]
    parts = re.split(r"^### (.*)\n", chapter, flags=re.MULTILINE)[1:]
    return {title: table_rows(text) for title, text in zip(parts[::2], parts[1::2], strict=True)}


def minutes_of(parts: str, notes: dict[str, Notes]) -> dict[str, int]:
    """Minutes of each part of the course in a list such as "1.1–1.3, E2.1", by the tables of ``instructor.md``.

    Raises:
        SimCLRError: a part is not in a table.
    """
    known = {}
    for name, chapter in notes.items():
        number = int(name[:2])
        for part, minutes in chapter.minutes.items():
            known[part if "." in part else f"E{number}.{part.removeprefix('exercise ')}"] = minutes
    found: dict[str, int] = {}
    names = list(known)
    for group in parts.split(", "):
        first, _, last = group.partition("–")
        if first not in known or (last or first) not in known:
            raise SimCLRError(f"{group!r} is no part of the course: see the tables of minutes in instructor.md.")
        found |= {name: known[name] for name in names[names.index(first) : names.index(last or first) + 1]}
    return found


def computing(rows: Sequence[Collection[str]], clock: Mapping[str, Mapping[str, float]]) -> list[dict[str, float]]:
    """Seconds of computing in each row of a plan, by part.

    Later cells need earlier ones. So the first row that reaches a part of a notebook also runs the parts above it that
    are in no row of the plan.

    Args:
        rows: the parts of each row.
        clock: notebook → part → seconds, in the order of the notebook, as ``notebooks/results/plans.json`` has them.
    """
    planned, waiting = {part for row in rows for part in row}, {name: dict(parts) for name, parts in clock.items()}
    result = []
    for row in rows:
        run: dict[str, float] = {}
        for parts in waiting.values():
            reached = max((i for i, part in enumerate(parts) if part in row), default=-1)
            for part in [part for part in list(parts)[: reached + 1] if part in row or part not in planned]:
                run[part] = run.get(part, 0.0) + parts.pop(part)  # each notebook has a "start"
        result.append(run)
    return result


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SimCLRError(f"there is no {path}: the notes for instructors come with the notebooks.") from None
