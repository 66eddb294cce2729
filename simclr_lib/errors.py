"""The errors that a user can mend."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Iterable
from typing import SupportsIndex

from simclr_lib.choices import MAX_COUNT

ABOVE_0 = 5e-324  # the smallest number above 0


class SimCLRError(ValueError):
    """Something that the user can mend: the message is one line that says what to do next.

    The command line prints the message without a traceback and exits with 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


def shown(text: str) -> str:
    """Return valid text: bytes of a file name that could not be decoded become U+FFFD, the replacement character.

    Python keeps such bytes as lone surrogates (PEP 383), which no page, log file or font accepts.
    """
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def counted(count: int, noun: str) -> str:
    """A number of things: "1 image", "1,200 images"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percentage(share: float, decimals: int = 0) -> str:
    """A share from 0 to 1 as it stands in a sentence: "96 %", or "96.4 %" with one decimal."""
    return f"{100 * share:.{decimals}f} %"


def is_number(text: str) -> bool:
    """Return whether a text is a number, as `float` reads it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that looks most like ``name``, or None if nothing does."""
    return next(iter(difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)), None)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SimCLRError:
    """The error for a name that is not among ``known``: it offers the nearest one, or lists all.

    A short list follows the nearest one, too.
    """
    known = list(known)
    near, listed = nearest(name, known), ", ".join(known)
    if near is None:
        return SimCLRError(f"unknown {kind} {name!r}: choose one of {listed}.")
    others = f" Choose one of {listed}." if len(listed) <= 40 else ""
    return SimCLRError(f"unknown {kind} {name!r}: did you mean {near!r}?{others}")


def require_device(name: str) -> None:
    """Raise `SimCLRError` unless this is the name of a device; the device itself need not be there."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise SimCLRError(f"unknown device {name!r}: choose auto, cpu, mps, cuda or cuda:0 …")


def require_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise `SimCLRError` unless ``low`` ≤ ``value`` ≤ ``high``.

    None passes, because it stands for a setting's default. `ABOVE_0` as ``low`` excludes 0.
    """
    if value is None or low <= value <= high:
        return
    if high == math.inf or (high == MAX_COUNT and value < low):
        bounds = "above 0" if low == ABOVE_0 else f"at least {low:g}"
    elif low == ABOVE_0:
        bounds = f"above 0 and at most {high:,.10g}"
    else:
        bounds = f"between {low:,.10g} and {high:,.10g}"
    raise SimCLRError(f"{name} must be {bounds}, not {value}.")


def require_whole(name: str, value: SupportsIndex | None, low: int, high: float) -> None:
    """Raise `SimCLRError` unless ``value`` is a whole number (NumPy's too) from ``low`` to ``high``.

    None passes, because it stands for a setting's default.
    """
    if value is None:
        return
    try:
        require_range(name, operator.index(value), low, high)
    except TypeError:
        raise SimCLRError(f"{name} must be a whole number, not {value!r}.") from None


def type_name(value: object) -> str:
    """The name of a value's type with its module, for an error: "list", "numpy.ndarray"."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
