"""The errors that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SimCLRError(ValueError):
    """Something that the user can mend: the message is one line that says what to do next.

    The command line prints the message without a traceback and exits with 2.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SimCLRError:
    """The error for a name that is not among ``known``; offers the nearest one."""
    known = list(known)
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return SimCLRError(f"unknown {kind} {name!r}: {hint}Choose one of {', '.join(known)}.")


def type_name(value: object) -> str:
    """The name of a value's type with its module, for an error: "list", "numpy.ndarray"."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
