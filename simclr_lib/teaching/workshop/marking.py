"""Marking: which exercises of returned notebooks are right, which are wrong, and why.

**Marking executes the learners' code.** It runs in processes of their own, each for one notebook, in an empty folder,
with a time limit, and without access to the network or to other programs. This stops accidents. It is no protection
against somebody who wants to do harm: mark on an account that can be spared if you do not know the learners.

Only the answer and what it uses are executed: imports, functions, classes and plain values of the notebook. So a
notebook is marked in a moment, although running it would take minutes.
"""

from __future__ import annotations

import ast
import contextlib
import json
import multiprocessing
import os
import pkgutil
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, get_args

from simclr_lib.errors import counted
from simclr_lib.files import notebooks_in
from simclr_lib.teaching import exercises as package
from simclr_lib.teaching.exercises import NOT_ATTEMPTED, RIGHT, Exercise
from simclr_lib.teaching.workshop.editions import CHECK, exercises_of, module_of, source_notebooks

Outcome = Literal["right", "misconception", "wrong", "not attempted", "stopped"]
COLUMNS = ("learner", "notebook", "exercise", "outcome", "remark")
FORBIDDEN = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.bind",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.startfile",
)


@dataclass(frozen=True)
class Mark:
    """The outcome of one exercise of one learner.

    Attributes:
        learner: the folder of the notebook, or its name without the original's name.
        notebook: name of the file.
        exercise: name of the function.
        outcome: "misconception" is a wrong answer whose mistake is known; "stopped" covers errors and time limits.
        remark: the hint or the error; empty for right answers and untouched exercises.
    """

    learner: str
    notebook: str
    exercise: str
    outcome: Outcome
    remark: str = ""


def mark_folder(folder: Path, seconds: float = 10.0) -> Iterator[list[Mark]]:
    """Mark every notebook in a folder and the folders in it, one after the other.

    Args:
        folder: the returned notebooks, such as ``anna/02_nt_xent.ipynb`` or ``anna-02_nt_xent.ipynb``.
        seconds: how long a single answer may take.

    Yields:
        The marks of one notebook; none for a notebook without exercises.

    Raises:
        SimCLRError: the folder holds no notebooks.
    """
    for path in notebooks_in(folder):
        yield mark_notebook(path, learner_of(path, folder), seconds)


def learner_of(path: Path, folder: Path) -> str:
    """Find the learner's name: "anna" of ``anna/02_nt_xent.ipynb``, ``anna-02_nt_xent.ipynb`` and ``anna.ipynb``."""
    own = path.stem
    for original in source_notebooks():
        own = own.replace(original.stem, "")
    parts = [*path.relative_to(folder).parent.parts, own]
    return "/".join(filter(None, (part.strip(" -_.()") for part in parts))) or path.stem


def mark_notebook(path: Path, learner: str, seconds: float) -> list[Mark]:
    """Mark the exercises of one notebook in a process of its own.

    After an answer that had to be stopped, a new process goes on with the next one.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError):
        return [Mark(learner, path.name, "", "stopped", "the file is not a notebook")]
    module = module_of(sources)
    if module is None or module not in modules():
        return []
    names = list(exercises_of(module))
    marks: list[Mark] = []
    while len(marks) < len(names):
        for outcome, remark in _attempts(sources, module, names[len(marks) :], seconds):
            marks.append(Mark(learner, path.name, names[len(marks)], outcome, remark))
    return marks


def _attempts(sources: list[str], module: str, names: list[str], seconds: float) -> Iterator[tuple[Outcome, str]]:
    """The outcome of each exercise, until one of them had to be stopped."""
    # A server that has imported PyTorch once starts the processes in a moment. Windows has none, and takes seconds.
    server = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload([__name__, *(f"{package.__name__}.{name}" for name in modules())])
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="simclr-marking-") as folder:
        process = context.Process(target=_work, args=(sender, folder, sources, module, names), daemon=True)
        process.start()
        sender.close()
        try:
            receiver.recv()  # it has started: imports do not count
            for _ in names:
                if not receiver.poll(seconds):
                    yield "stopped", f"it did not end in {seconds:g} s"
                    return
                yield receiver.recv()
        except EOFError:
            yield "stopped", "it ended the whole process"
        finally:
            process.kill()
            process.join()
            receiver.close()


def modules() -> list[str]:
    """The modules of `simclr_lib.teaching.exercises`."""
    return [found.name for found in pkgutil.iter_modules(package.__path__)]


# In the learner's process


def _work(sender: Connection, folder: str, sources: list[str], module: str, names: Sequence[str]) -> None:
    """Send the outcome of each exercise, in order. What answers print is dropped."""
    exercises = exercises_of(module)
    sender.send("started")
    os.chdir(folder)
    sys.addaudithook(_forbid)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        for name in names:
            sender.send(outcome_of(sources, name, exercises[name]))


def _forbid(event: str, arguments: object) -> None:
    if event in FORBIDDEN:
        raise PermissionError("answers run without a network and without other programs")


def outcome_of(sources: Sequence[str], name: str, exercise: Exercise) -> tuple[Outcome, str]:
    """Run a learner's answer, and say what came of it."""
    names: dict[str, Any] = {}
    try:
        statements = needed(sources, name)
    except SyntaxError as error:
        return "stopped", f"SyntaxError: {error.msg}, line {error.lineno} of the cell"
    for statement in statements:
        with contextlib.suppress(Exception):  # if the answer really needs what fails here, it says so when it runs
            exec(compile(ast.Module([statement], []), "answer", "exec"), names)
    if name not in names:
        return "stopped", f"there is no function {name}"
    return judged(exercise, exercise.verdict(names[name]))


def needed(sources: Sequence[str], name: str) -> list[ast.stmt]:
    """The statements that define an answer and all that it uses: imports, functions, classes, and plain values.

    Raises:
        SyntaxError: the cell of this exercise is not Python.
    """
    definitions: dict[str, ast.stmt] = {}
    for source in sources:
        try:
            statements = ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)).body
        except SyntaxError:
            if name in CHECK.findall(source):
                raise
            continue
        for statement in statements:
            for bound in bound_names(statement):
                definitions.pop(bound, None)  # the last definition counts, in its own place
                definitions[bound] = statement
    wanted, found = [name], set[ast.stmt]()
    while wanted:
        definition = definitions.get(wanted.pop())
        if definition and definition not in found:
            found.add(definition)
            wanted += [node.id for node in ast.walk(definition) if isinstance(node, ast.Name)]
    return [statement for statement in dict.fromkeys(definitions.values()) if statement in found]


def bound_names(statement: ast.stmt) -> list[str]:
    """The names that a statement defines without computing anything; none for every other statement."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        calls = any(isinstance(node, ast.Call) for node in ast.walk(statement.value))
        if isinstance(statement.value, ast.Lambda) or not calls:
            return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def judged(exercise: Exercise, verdict: str) -> tuple[Outcome, str]:
    """The outcome and the remark that a verdict stands for."""
    if verdict == RIGHT:
        return "right", ""
    if verdict == NOT_ATTEMPTED:
        return "not attempted", ""
    remark = verdict.removeprefix("✗ ")
    if remark in {mistake.hint for mistake in exercise.misconceptions}:
        return "misconception", remark
    return ("stopped" if remark.startswith("Your function stopped") else "wrong"), remark


# Tables


def learner_line(marks: Sequence[Mark]) -> str:
    """One learner's notebook in a line: "anna · 02_nt_xent.ipynb: 3 of 5 right, 1 not attempted"."""
    counts = {outcome: sum(mark.outcome == outcome for mark in marks) for outcome in get_args(Outcome)[1:]}
    others = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    right = sum(mark.outcome == "right" for mark in marks)
    return f"{marks[0].learner} · {marks[0].notebook}: " + ", ".join([f"{right} of {len(marks)} right", *others])


def exercise_lines(marks: Sequence[Mark]) -> list[str]:
    """Say for each exercise how many tried it, how many are right, and what the most frequent misconception is."""
    lines = []
    for name in dict.fromkeys(mark.exercise for mark in marks if mark.exercise):
        of_it = [mark for mark in marks if mark.exercise == name]
        tried = [mark for mark in of_it if mark.outcome != "not attempted"]
        hints = [mark.remark for mark in of_it if mark.outcome == "misconception"]
        right = sum(mark.outcome == "right" for mark in of_it)
        line = f"{name}: {counted(len(tried), 'answer')}, {right} right"
        if hints:
            most = max(dict.fromkeys(hints), key=hints.count)
            line += f"; most frequent mistake ({hints.count(most)} ×): {most}"
        lines.append(line)
    return lines
