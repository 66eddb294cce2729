"""The notebooks' exercises: one module a notebook, each a list of functions to write, with self-checks."""

from simclr_lib.teaching.exercises.exercise import NOT_ATTEMPTED, RIGHT, Exercise

__all__ = ["NOT_ATTEMPTED", "RIGHT", "Exercise"]
