"""Exercises that check an answer by running it, and name the misconception behind a wrong answer.

An exercise knows a right answer and some wrong answers, each with a hint. `Exercise.check` runs the learner's function
and all of those on the same inputs. A function that agrees with a wrong answer gets the hint of that answer, so no hint
is ever guessed from the text of the code.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from numbers import Number
from traceback import walk_tb
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

Answer = Callable[..., Any]

RIGHT = "✓ Right."
NOT_ATTEMPTED = "○ Not attempted yet: replace the line with the error."
UNREADABLE = (TypeError, ValueError, RuntimeError)  # what PyTorch raises for what is no number

_ORIGINS = {
    100: "Is your answer in percent? The plain number is expected.",
    1 / math.log(2): "Your logarithm has base 2. A natural logarithm is expected.",
    1 / math.log(10): "Your logarithm has base 10. A natural logarithm is expected.",
}  # factor between a wrong answer and the right one → where it may come from


@dataclass(frozen=True)
class Misconception:
    """A mistake that learners make.

    Attributes:
        hint: one or two sentences for a learner who made it.
        answer: the function that such a learner writes.
    """

    hint: str
    answer: Answer


@dataclass(frozen=True)
class Exercise:
    """A function for the learner to write.

    Attributes:
        solution: a right answer.
        cases: the arguments of each call that is tried. Each call gets copies, which it may change.
        misconceptions: known mistakes; the first one that explains an answer gives the hint.
        tolerance: largest difference, relative and absolute, that still counts as equal. An answer in half precision
            may differ by its rounding.
        constraint: looks at *how* a function works that returns the right values, such as at the memory that it
            needs. Gives a hint, or None if the function keeps to what was asked.
        compared: maps the arguments of a call and its answer to what is compared of the answer. By default that is the
            answer itself.
    """

    solution: Answer
    cases: Sequence[tuple[Any, ...]]
    misconceptions: Sequence[Misconception] = ()
    tolerance: float = 1e-4
    constraint: Callable[[Answer], str | None] | None = None
    compared: Callable[..., Any] = lambda *arguments_and_answer: arguments_and_answer[-1]

    def check(self, attempt: Answer) -> None:
        """Print the `verdict`."""
        print(self.verdict(attempt))

    def verdict(self, attempt: Answer) -> str:
        """Return `RIGHT`, `NOT_ATTEMPTED`, or "✗ " and a hint. No error of the attempt is raised."""
        code = getattr(attempt, "__code__", None)
        for number, case in enumerate(self.cases):
            try:
                given = self._answer(attempt, case)
            except Exception as error:
                if isinstance(error, NotImplementedError) and not str(error):  # PyTorch raises it with a message
                    return NOT_ATTEMPTED
                return f"✗ {_stopped(error, code)} {_again(attempt, case, number)}"
            expected = self._answer(self.solution, case)
            if not self._equal(given, expected):
                hint = self._hint(attempt) or self._pattern(attempt)
                return f"✗ {hint or _difference(given, expected) + ' ' + _again(attempt, case, number)}"
        try:
            broken = self.constraint(attempt) if self.constraint else None
        except Exception as error:
            broken = _stopped(error, code)
        return f"✗ {broken}" if broken else RIGHT

    def _hint(self, attempt: Answer) -> str | None:
        """The hint of the misconception that gives the same answers as the attempt in every case, if there is one."""
        for mistake in self.misconceptions:
            if all(self._equal(self._call(attempt, case), self._call(mistake.answer, case)) for case in self.cases):
                return mistake.hint
        return None

    def _pattern(self, attempt: Answer) -> str | None:
        """Name what is wrong in every case in the same simple way: chance, the sign, a factor, or a number added."""
        if any(self._changes(attempt, case) for case in self.cases):
            return "Not yet: your function gives another answer each time, although its arguments are the same."
        pairs = [(self._call(attempt, case), _tensor(self._call(self.solution, case))) for case in self.cases]
        try:
            given, expected = (
                torch.cat([_tensor(answer).flatten() for answer in side]) for side in zip(*pairs, strict=True)
            )
            factor, excess = (given / expected).nanmedian().item(), (given - expected).nanmedian().item()
        except UNREADABLE:
            return None
        if _is_size(factor) and all(self._equal(answer, factor * right) for answer, right in pairs):
            return _of_factor(factor)
        if _is_size(excess) and all(self._equal(answer, right + excess) for answer, right in pairs):
            return f"Not yet: in every case you return {abs(excess):.4g} too {'much' if excess > 0 else 'little'}."
        return None

    def _changes(self, attempt: Answer, case: tuple[Any, ...]) -> bool:
        """Return whether two calls with the same arguments give different answers."""
        try:
            first, second = (_tensor(self._call(attempt, case)) for _ in range(2))
        except UNREADABLE:
            return False
        return not self._equal(first, second)

    def _answer(self, function: Answer, case: tuple[Any, ...]) -> Any:
        """Return what is compared of the answer to a case."""
        answer = function(*deepcopy(case))
        try:
            return self.compared(*deepcopy(case), answer)
        except UNREADABLE:
            return answer

    def _call(self, function: Answer, case: tuple[Any, ...]) -> Any:
        """Return what is compared of the answer to a case, or None if the function stops with an error."""
        try:
            return self._answer(function, case)
        except Exception:
            return None

    def _equal(self, given: Any, expected: Any) -> bool:
        try:
            tolerance = max(self.tolerance, _rounding(given))
            given, expected = _tensor(given), _tensor(expected)
        except UNREADABLE:
            return False
        return given.shape == expected.shape and torch.allclose(
            given, expected, rtol=tolerance, atol=tolerance, equal_nan=True
        )


def collect(names: Mapping[str, Any]) -> dict[str, Exercise]:
    """All exercises of a module by name, in order; ``names`` are the module's ``globals()``."""
    return {name: value for name, value in names.items() if isinstance(value, Exercise)}


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers, float64 of that shape, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def runs_code_of(module: ModuleType, attempt: Answer, *arguments: Any) -> bool:
    """Return whether a call of the attempt runs code of a module, by whatever name it knows that code."""
    source, seen = inspect.getsourcefile(module), set()

    def look(frame: FrameType, event: str, argument: Any) -> None:
        seen.add(frame.f_code.co_filename)

    profiler = sys.getprofile()
    sys.setprofile(look)
    try:
        attempt(*deepcopy(arguments))
    finally:
        sys.setprofile(profiler)
    return source in seen


def _is_size(value: float) -> bool:
    return math.isfinite(value) and value != 0


def _of_factor(factor: float) -> str:
    """Say by which factor all answers are wrong, and where it may come from."""
    if math.isclose(factor, -1, rel_tol=1e-3):
        return "Not yet: the size is right, but the sign is wrong in every case."
    for value, origin in _ORIGINS.items():
        if math.isclose(factor, value, rel_tol=1e-3):
            return f"Not yet: in every case you return {factor:.4g} times what is expected. {origin}"
    return f"Not yet: in every case you return {factor:.4g} times what is expected."


def _stopped(error: Exception, code: CodeType | None) -> str:
    """Say which error the answer raised, and in which of its lines, counted from its first one."""
    frames = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code is code]
    place = f" in line {frames[-1] - code.co_firstlineno + 1}" if code and frames else ""
    message = next(iter(str(error).splitlines()), "no message").rstrip(".")  # PyTorch goes on with all its overloads
    return f"Your function stopped{place} with {type(error).__name__}: {message}."


def _again(attempt: Answer, case: tuple[Any, ...], number: int) -> str:
    """Say how a learner can repeat the call of a case. The function has the name of its exercise."""
    name = getattr(attempt, "__name__", "")
    plain = all(isinstance(argument, str | Number | dict) for argument in case)
    arguments = ", ".join(map(repr, case)) if plain else f"*exercises.{name}.cases[{number}]"
    return f"Look at the case {name}({arguments})."


def _tensor(value: Any) -> Tensor:
    """Convert what an answer returned to float64: a tensor, an array, a number, or lists of these."""
    if isinstance(value, list | tuple):
        return torch.stack([_tensor(part) for part in value])
    if isinstance(value, Number):  # also a fraction
        return torch.tensor(float(value), dtype=torch.float64)  # type: ignore[arg-type]
    return torch.as_tensor(value).detach().double()


def _rounding(value: Any) -> float:
    """The relative error that a few operations in the precision of an answer may cause: 0 for whole numbers."""
    if isinstance(value, list | tuple):
        return max(map(_rounding, value), default=0.0)
    dtype = torch.as_tensor(value).dtype if isinstance(value, Tensor | np.ndarray | np.generic) else torch.float64
    return 4 * torch.finfo(dtype).eps if dtype.is_floating_point else 0.0


def _difference(given: Any, expected: Any) -> str:
    """A hint for an answer that no known misconception explains: the shape or the entry that is wrong."""
    if given is None:
        return "Not yet: your function returned nothing. Did you forget `return`?"
    truth = isinstance(expected, Tensor) and expected.dtype == torch.bool
    expected = _tensor(expected)
    try:
        given = _tensor(given)
    except UNREADABLE:
        return f"Not yet: the answer should be {_form(expected)}, not {' '.join(repr(given).split()):.40}."
    if given.shape != expected.shape:
        same = given.numel() == expected.numel() and torch.allclose(given.flatten(), expected.flatten(), rtol=1e-3)
        numbers = "the numbers are right, but " if same else ""
        return f"Not yet: {numbers}the answer should be {_form(expected)}; yours is {_form(given)}."
    if given.isnan().any() and not expected.isnan().any():
        return (
            f"Not yet: your answer {'is' if expected.ndim == 0 else 'contains'} nan, which is not a number. It comes "
            "from 0 / 0, ∞ − ∞, 0 · ∞, or from the root or the logarithm of a number below 0."
        )
    if expected.ndim == 0:
        return f"Not yet: expected {expected.item():.6g}, you have {given.item():.6g}."
    worst = (given - expected).abs().nan_to_num(torch.inf).argmax()
    index = [int(i) for i in torch.unravel_index(worst, expected.shape)]
    right, wrong = (x.flatten()[worst].item() for x in (expected, given))
    if truth:
        return f"Not yet: the shape is right, but the entry at {index} should be {right == 1}, not {wrong == 1}."
    return f"Not yet: the shape is right, but the entry at {index} should be {right:.4g}, not {wrong:.4g}."


def _form(value: Tensor) -> str:
    return f"a tensor of shape {list(value.shape)}" if value.ndim else "one number"
