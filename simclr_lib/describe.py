"""The settings of a run and its duration in words, for the terminal."""

from __future__ import annotations

import textwrap

from simclr_lib.config import TrainConfig
from simclr_lib.options import GROUPS, unused_settings

WIDTH = 80  # columns
INDENT = 11  # columns of the groups' titles
GLUE = "\N{NO-BREAK SPACE}"  # lines end between two settings, not within one


def describe(config: TrainConfig, watched: bool = True) -> str:
    """Every setting that a run will use, in the groups of ``simclr train --help``, at most 80 columns wide.

    Settings that are None are left out: they are not used. So are the `unused_settings`, whose arguments are the same.
    Call it with a resolved recipe.
    """
    lines: list[str] = []
    unused = unused_settings(config, watched) | {name for name, value in vars(config).items() if value is None}
    for title, names in GROUPS.items():
        lines += textwrap.wrap(
            ", ".join(_in_words(name, getattr(config, name)) for name in names if name not in unused),
            WIDTH,
            initial_indent=f"{title:<{INDENT}}",
            subsequent_indent=" " * INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines).replace(GLUE, " ")


def _in_words(name: str, value: object) -> str:
    name = name.replace("_", "-")
    if isinstance(value, bool):
        shown = name if value else f"no {name}"
    elif isinstance(value, tuple):
        shown = f"{name} {' '.join(f'{number:g}' for number in value)}"
    else:
        shown = f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
    return shown.replace(" ", GLUE)


def format_minutes(seconds: float) -> str:
    """A duration in words: "less than a minute", "12 minutes", "3.4 hours" or "2.5 days"."""
    if seconds < 60:
        return "less than a minute"
    if seconds < 90:
        return "a minute"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 86400:.1f} days"
