"""The exercises of the notebooks, one module for each notebook: functions to write, with checks of the answers."""

from simclr_lib.teaching.exercises.exercise import NOT_ATTEMPTED, RIGHT, Exercise, Misconception

__all__ = ["NOT_ATTEMPTED", "RIGHT", "Exercise", "Misconception"]
