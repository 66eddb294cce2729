"""Results files: what they hold, and how their numbers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def per_cent(figure: Mapping[str, Any]) -> str:
    """A figure of a results file as "96.4", or "96.4 ± 0.3" where it has several values."""
    text = f"{100 * figure['mean']:.1f}"
    return f"{text} ± {100 * figure['std']:.1f}" if len(figure["values"]) > 1 else text
