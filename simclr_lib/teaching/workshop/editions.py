"""Editions of the notebooks, all built from the executed ones: for students, with solutions, and for the instructor.

``notebooks/student`` is the student edition that comes with the repository. ``simclr workshop build notebooks/student``
writes it anew.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from simclr_lib.choices import Edition
from simclr_lib.files import write_atomically
from simclr_lib.teaching.course import NOTEBOOKS
from simclr_lib.teaching.exercises import Exercise
from simclr_lib.teaching.workshop.notes import Note, Notes, read_notes, sayings

Cell = dict[str, Any]

ABOUT = {
    "student": "**Student edition.** It has no outputs and no solutions: run the cells, and solve the exercises.",
    "solutions": "**Edition with solutions.** Every exercise is filled in, and every check passes.",
    "instructor": "**Instructor's edition.** It has the solutions, the answers to all questions, the minutes of every "
    "part and the usual mistakes.",
}
MODULE = re.compile(r"^from simclr_lib\.teaching\.exercises import (\w+) as exercises$", re.MULTILINE)
CHECK = re.compile(r"^exercises\.(\w+)\.check\(.*$", re.MULTILINE)
SOLUTION = re.compile(r"<details><summary>Solution</summary>\s*```python\n(.*?)```(.*?)</details>\s*", re.DOTALL)
# This sentence holds for the executed notebooks only.
FOLDED = re.compile(r"\s+Each\s+solution\s+is\s+folded\s+below\s+its\s+exercise\.")
SECTION = re.compile(r"^## (\d+\.\d+)", re.MULTILINE)
QUESTION = re.compile(r"\*\*(Predict|To discuss)")
ASKS = re.compile(r"^\s*predict\(", re.MULTILINE)
OTHER_SUBJECT = re.compile(r"#|\*\*")  # a title, or bold words at the beginning of a paragraph
READING = re.compile(r"\*(What|Why|So what)")  # of a figure: "*What you see.*", "*Why.*", "*So what.*"


def source_notebooks() -> list[Path]:
    """The executed notebooks, in their order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def build(folder: Path, edition: Edition) -> list[Path]:
    """Write an edition of all notebooks into a folder, over an earlier one.

    Returns:
        The notebooks that were written.

    Raises:
        SimCLRError: the folder cannot be written to.
    """
    written = []
    for source in source_notebooks():
        write_atomically(folder / source.name, notebook_bytes(source, edition))
        written.append(folder / source.name)
    return written


def notebook_bytes(source: Path, edition: Edition) -> bytes:
    """The content of a notebook's edition, as nbformat writes notebooks."""
    notebook = json.loads(source.read_text(encoding="utf-8"))
    cells = [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]
    if edition == "student":
        cells = student_cells(cells)
    else:
        cells = solved_cells(cells)
    if edition == "instructor":
        cells = instructor_cells(split_at_titles(cells), source.stem)
        add_slides(cells)
    title, *rest = cells
    heading, text = title["source"].split("\n", 1)
    title["source"] = f"{heading}\n\n> {ABOUT[edition]}\n{text}"
    notebook["cells"] = [{**cell, "source": cell["source"].splitlines(keepends=True)} for cell in [title, *rest]]
    return (json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def student_cells(cells: Iterable[Cell]) -> list[Cell]:
    """The cells without outputs and solutions. A cell that held nothing but a solution is left out.

    Somebody who is still guessing must not read what was measured. So the text about the figure of a question is
    folded, and what is expected is not in the cell that asks.
    """
    kept, asked, wondering = [], False, False  # by a cell that takes a guess, by the text
    for cell in cells:
        if cell["cell_type"] == "code":
            asks = bool(ASKS.search(cell["source"]))
            source = without_expectations(cell["source"]) if asks else cell["source"]
            kept.append({**cell, "source": source, "outputs": [], "execution_count": None})
            asked = asked or asks
            continue
        text = FOLDED.sub("", SOLUTION.sub("", cell["source"])).rstrip()
        if text:
            folds = asked or (wondering and bool(READING.match(text)))
            kept.append({**cell, "source": with_folded_answer(text) if folds else text})
        asked, wondering = False, "**Predict" in text
    return kept


def without_expectations(code: str) -> str:
    """Leave out the statements that call `expect`, and the conditions that hold nothing else."""
    lines = code.splitlines()
    for first, last in reversed(list(_expectations(ast.parse(code).body))):
        del lines[first - 1 : last]
    return "\n".join(lines).rstrip()


def _expectations(statements: Sequence[ast.stmt]) -> Iterator[tuple[int, int]]:
    """First and last line of each statement that only serves to expect something."""
    for statement in statements:
        if _only_expects(statement):
            yield statement.lineno, statement.end_lineno or statement.lineno
        elif isinstance(statement, ast.If):
            yield from _expectations(statement.body)


def _only_expects(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.If):
        *others, last = statement.body
        return _only_expects(last) and all(isinstance(other, ast.Assign) or _only_expects(other) for other in others)
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "expect"


def with_folded_answer(text: str) -> str:
    """Fold what a text says about the figure above it: up to the next subject, or to the last words on its reading."""
    paragraphs = text.split("\n\n")
    others = [index for index, paragraph in enumerate(paragraphs) if OTHER_SUBJECT.match(paragraph)]
    end = min(others, default=len(paragraphs))
    readings = [index for index, paragraph in enumerate(paragraphs[:end]) if READING.match(paragraph)]
    end = max(readings, default=end - 1) + 1
    if end == 0:
        return text
    folded, rest = paragraphs[:end], paragraphs[end:]
    gap = [] if not rest or rest[0].startswith("#") else ["<br>"]  # JupyterLab leaves none
    return "\n\n".join(["<details><summary>After your guess</summary>", *folded, "</details>", *gap, *rest])


def solved_cells(cells: list[Cell]) -> list[Cell]:
    """The cells with solutions in place of the stubs. What was said below a solution is text now.

    The outputs are those of the executed notebook, without the ones that say that nothing was attempted.
    """
    solutions = iter([code for cell in cells for code, _ in SOLUTION.findall(cell["source"])])
    solved = []
    for cell in cells:
        if cell["cell_type"] == "code":
            solved.append(_filled(cell, next(solutions)) if is_stub(cell) else _without_open_answers(cell))
            continue
        text = FOLDED.sub("", SOLUTION.sub(lambda found: f"{found[2].strip()}\n\n".lstrip(), cell["source"])).strip()
        if text:
            solved.append({**cell, "source": text})
    return solved


def is_stub(cell: Cell) -> bool:
    """Return True for a code cell that holds an exercise to fill in."""
    return (
        cell["cell_type"] == "code"
        and "raise NotImplementedError" in cell["source"]
        and bool(CHECK.search(cell["source"]))
    )


def _filled(cell: Cell, code: str) -> Cell:
    check = CHECK.search(cell["source"])
    assert check is not None  # it is a stub
    return {**cell, "source": f"{code.strip()}\n\n\n{check[0]}", "outputs": [], "execution_count": None}


def _without_open_answers(cell: Cell) -> Cell:
    """The cell, without an output that says which exercises are open."""
    if any("".join(output.get("text", "")).startswith("○") for output in cell["outputs"]):
        return {**cell, "outputs": [], "execution_count": None}
    return cell


# The instructor's edition


def instructor_cells(cells: list[Cell], name: str) -> list[Cell]:
    """The cells with the instructor's notes between them: minutes, answers, usual mistakes, what learners say."""
    chapter = read_notes(NOTEBOOKS / "instructor.md").get(name, Notes())
    module = module_of(cell["source"] for cell in cells if cell["cell_type"] == "code")
    known = exercises_of(module) if module else {}
    places = places_of_notes(cells, chapter)
    result, number = [], 0
    for index, cell in enumerate(cells):
        result.append(cell)
        texts = places.get(index, [])
        check = CHECK.search(cell["source"]) if cell["cell_type"] == "code" else None
        if check and check[1] in known:
            number += 1
            minutes = chapter.minutes.get(f"exercise {number}")
            texts = [*texts, mistakes_text(known[check[1]], minutes)]
        if texts:
            result.append(note_cell(f"{cell.get('id', index)}-note", "\n\n".join(texts)))
    said = sayings(NOTEBOOKS / "TEACHING.md").get(str(int(name[:2])), [])
    if said:
        result.append(note_cell(f"{name[:2]}-said", sayings_text(said)))
    return result


def split_at_titles(cells: Iterable[Cell]) -> list[Cell]:
    """The cells, with the title of each section at the beginning of a cell, so that it begins a slide."""
    result = []
    for cell in cells:
        first, *rest = re.split(r"\n+(?=## )", cell["source"]) if cell["cell_type"] == "markdown" else [cell["source"]]
        result.append({**cell, "source": first})
        result += [{**cell, "id": f"{cell['id']}-part-{i}", "source": text} for i, text in enumerate(rest, start=2)]
    return result


def places_of_notes(cells: list[Cell], chapter: Notes) -> dict[int, list[str]]:
    """Index of a cell → the texts to show below it: the answer below its question, minutes below a section's title."""
    places: dict[int, list[str]] = {}
    waiting = {note.section: chapter.select(note.section) for note in chapter.notes}
    titles: dict[str, int] = {}
    for index, section, asked in landmarks(cells):
        if not asked:
            titles[section] = index
            if section in chapter.minutes:
                places.setdefault(index, []).append(f"**Section {section}: {chapter.minutes[section]} minutes.**")
        elif waiting.get(section):
            places.setdefault(index, []).append(note_text(waiting[section].pop(0)))
    for section, rest in waiting.items():
        for note in rest:
            places.setdefault(titles.get(section, len(cells) - 1), []).append(note_text(note))
    return places


def landmarks(cells: Iterable[Cell]) -> list[tuple[int, str, bool]]:
    """The titles of sections and the questions, in their order: (index of the cell, section, whether it is a question).

    A question "To discuss" belongs to no section: its section is "To discuss".
    """
    found, section = [], ""
    for index, cell in enumerate(cells):
        if cell["cell_type"] != "markdown":
            continue
        events = [*SECTION.finditer(cell["source"]), *QUESTION.finditer(cell["source"])]
        for event in sorted(events, key=lambda event: event.start()):
            if event.re is SECTION:
                section = event[1]
            asked = event.re is QUESTION
            found.append((index, "To discuss" if event[1] == "To discuss" else section, asked))
    return found


def module_of(sources: Iterable[str]) -> str | None:
    """The module of `simclr_lib.teaching.exercises` that the code cells of a notebook import, if they import one."""
    module = MODULE.search("\n".join(sources))
    return module[1] if module else None


def exercises_of(module: str) -> dict[str, Exercise]:
    """The exercises of a module of `simclr_lib.teaching.exercises`, by name."""
    found: dict[str, Exercise] = importlib.import_module(f"simclr_lib.teaching.exercises.{module}").EXERCISES
    return found


def note_text(note: Note) -> str:
    """A note, with its title in bold."""
    return f"**{note.title}**\n\n{note.text}" if note.title else note.text


def mistakes_text(exercise: Exercise, minutes: int | None) -> str:
    """The minutes of an exercise, and the hints for its usual mistakes."""
    time = f"**About {minutes} minutes.** " if minutes else ""
    hints = "\n".join(f"- {mistake.hint}" for mistake in exercise.misconceptions)
    return f"{time}Usual mistakes, in the words of the hints that learners get:\n\n{hints}"


def sayings_text(rows: Iterable[list[str]]) -> str:
    """List what learners say, what to ask them, and a good answer."""
    texts = [f"They say: {said}  \nAsk: {ask}  \nAnswer: {answer}" for said, ask, answer in rows]
    return "\n\n".join(["**What people get wrong**", *texts])


def note_cell(name: str, text: str) -> Cell:
    """A cell for the instructor alone, set apart as a quotation."""
    quoted = "\n".join(f"> {line}" if line else ">" for line in f"*For the instructor.* {text}".splitlines())
    return {"cell_type": "markdown", "id": name, "metadata": {"tags": ["instructor"]}, "source": quoted}


def add_slides(cells: Iterable[Cell]) -> None:
    """Mark the cells for ``jupyter nbconvert --to slides``: text and pictures are slides, notes are for the speaker."""
    for cell in cells:
        cell["metadata"] = {**cell["metadata"], "slideshow": {"slide_type": slide_type(cell)}}


def slide_type(cell: Cell) -> str:
    """The place of a cell in the slides: sections side by side, the rest below them, code without a picture nowhere."""
    if "instructor" in cell["metadata"].get("tags", []):
        return "notes"
    if cell["cell_type"] == "markdown":
        return "slide" if re.search(r"^##? ", cell["source"], re.MULTILINE) else "subslide"
    return "subslide" if any("image/png" in output.get("data", {}) for output in cell["outputs"]) else "skip"
