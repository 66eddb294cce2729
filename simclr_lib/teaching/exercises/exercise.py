"""Exercises that check an answer by running it, and name the misconception behind a wrong answer.

An exercise knows a right answer and some wrong answers, each with a hint. `Exercise.check` runs the learner's function
and all of those on the same inputs. A function that agrees with a wrong answer gets the hint of that answer, so no hint
is ever guessed from the text of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Answer = Callable[..., Any]

RIGHT = "✓ Right."
NOT_ATTEMPTED = "○ Not attempted yet: replace the line that raises NotImplementedError."


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
        tolerance: largest difference, relative and absolute, that still counts as equal.
        constraint: looks at *how* a function works that returns the right values, such as at the memory that it
            needs. Gives a hint, or None if the function keeps to what was asked.
    """

    solution: Answer
    cases: Sequence[tuple[Any, ...]]
    misconceptions: Sequence[Misconception] = ()
    tolerance: float = 1e-4
    constraint: Callable[[Answer], str | None] | None = None

    def check(self, attempt: Answer) -> None:
        """Print the `verdict`."""
        print(self.verdict(attempt))

    def verdict(self, attempt: Answer) -> str:
        """Return `RIGHT`, `NOT_ATTEMPTED`, or "✗ " and a hint. No error of the attempt is raised."""
        for case in self.cases:
            try:
                given = attempt(*deepcopy(case))
            except NotImplementedError as error:
                if not str(error):  # PyTorch raises it too, with a message
                    return NOT_ATTEMPTED
                return f"✗ Your function stopped with NotImplementedError: {error}"
            except Exception as error:
                return f"✗ Your function stopped with {type(error).__name__}: {error}"
            expected = self.solution(*deepcopy(case))
            if not self._equal(given, expected):
                return f"✗ {self._hint(attempt) or _difference(given, expected)}"
        broken = self.constraint(attempt) if self.constraint else None
        return f"✗ {broken}" if broken else RIGHT

    def _hint(self, attempt: Answer) -> str | None:
        """The hint of the misconception that gives the same answers as the attempt in every case, if there is one."""
        for mistake in self.misconceptions:
            if all(self._equal(_call(attempt, case), _call(mistake.answer, case)) for case in self.cases):
                return mistake.hint
        return None

    def _equal(self, given: Any, expected: Any) -> bool:
        try:
            given, expected = _tensor(given), _tensor(expected)
        except (TypeError, ValueError, RuntimeError):
            return False
        return given.shape == expected.shape and torch.allclose(
            given, expected, rtol=self.tolerance, atol=self.tolerance, equal_nan=True
        )


def collect(names: Mapping[str, Any]) -> dict[str, Exercise]:
    """All exercises of a module by name, in order; ``names`` are the module's ``globals()``."""
    return {name: value for name, value in names.items() if isinstance(value, Exercise)}


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers, float64 of that shape, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _call(answer: Answer, case: tuple[Any, ...]) -> Any:
    try:
        return answer(*deepcopy(case))
    except Exception:
        return None


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().double()


def _difference(given: Any, expected: Any) -> str:
    """A hint for an answer that no known misconception explains: the shape or the entry that is wrong."""
    expected = _tensor(expected)
    try:
        given = _tensor(given)
    except (TypeError, ValueError, RuntimeError):
        return f"Not yet: the answer should be a number or a tensor of shape {list(expected.shape)}, not {given!r:.40}."
    if given.shape != expected.shape:
        return f"Not yet: the answer should have shape {list(expected.shape)}, yours has {list(given.shape)}."
    if expected.ndim == 0:
        return f"Not yet: expected {expected.item():.4g}, you have {given.item():.4g}."
    worst = (given - expected).abs().nan_to_num(torch.inf).argmax()
    index = [int(i) for i in torch.unravel_index(worst, expected.shape)]
    return (
        f"Not yet: the shape is right, but the entry at {index} should be {expected.flatten()[worst].item():.4g}, "
        f"not {given.flatten()[worst].item():.4g}."
    )
