"""Predict, then see: a question whose answer appears after the learner's guess, and results that are expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import ipywidgets as widgets
from IPython.core.getipython import get_ipython
from IPython.display import HTML, display

from simclr_lib.errors import SimCLRError, is_number


class Prediction(widgets.VBox):
    """A question, a field for the guess and a button, or a button for each answer; a guess shows what was measured.

    Buttons are reached with the Tab key, and screen readers say their names. Jupyter's radio buttons lack both.

    Args:
        question: what to guess, as a sentence or a short name of the quantity.
        measured: the answer: a number, or one of the options.
        reveal: shows the figure.
        options: the answers to choose from. Without them the guess is a number.
        unit: unit of the number, such as "%".
        decimals: number of decimals of the measured number.
    """

    def __init__(
        self,
        question: str,
        measured: float | str,
        reveal: Callable[[], object] | None,
        options: Sequence[str],
        unit: str,
        decimals: int,
    ) -> None:
        self.question, self.reveal, self.unit, self.guess = question, reveal, unit, ""
        self.has_options = bool(options)
        self.measured = measured if isinstance(measured, str) else f"{measured:,.{decimals}f} {unit}".strip()
        self.field = widgets.Text(description=f"Your guess in {unit}" if unit else "Your guess", placeholder="a number")
        self.field.style.description_width = "initial"
        self.buttons = [
            widgets.Button(description=answer, layout=widgets.Layout(width="auto"))
            for answer in options or ["This is my guess"]
        ]
        for button in self.buttons:
            button.on_click(self._answer)
        inputs = self.buttons if options else [self.field, *self.buttons]
        self.reply, self.output = widgets.HTML(), widgets.Output()
        asked = widgets.HTML(f"<b>{escape(question)}</b>")
        row = widgets.HBox(inputs, layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([asked, row, self.reply, self.output])

    def _answer(self, button: widgets.Button) -> None:
        """Keep the guess, and show what was measured. Where no number was typed, ask for one."""
        guess = button.description if self.has_options else self.field.value.strip().removesuffix("%").strip()
        if not self.has_options and not is_number(guess):
            self._say("Please type a number.")
            return
        button.button_style = "primary"
        self.settle(f"{guess} {self.unit}".strip())

    def settle(self, guess: str) -> None:
        """Take a guess, with its unit, and show what was measured."""
        self.guess = guess
        for control in (self.field, *self.buttons):
            control.disabled = True
        self._say(f"You predicted {self.guess}; measured: {self.measured}.")
        if self.reveal:
            with self.output:
                self.reveal()

    def _say(self, text: str) -> None:
        """Show a line, which screen readers read aloud when it changes."""
        self.reply.value = f'<span aria-live="polite">{escape(text)}</span>'


ASKED: dict[str, Prediction] = {}  # question → prediction, in the order of the notebook


def predict(
    question: str,
    measured: float | str,
    reveal: Callable[[], object] | None = None,
    *,
    options: Sequence[str] = (),
    unit: str = "",
    decimals: int = 1,
) -> None:
    """Ask for a guess, and then show what was measured, with its figure.

    A cell that is run again keeps the guess. Where nobody can answer, because a program executes the notebook, the
    figure is there without a guess. The arguments are those of `Prediction`.

    Raises:
        SimCLRError: the measured answer is not among the options.
    """
    if options and measured not in options:
        raise SimCLRError(f"the measured answer {measured!r} is not among the options {list(options)}.")
    earlier = ASKED.get(question)
    ASKED[question] = prediction = Prediction(question, measured, reveal, options, unit, decimals)
    if somebody_answers():
        display(prediction)
        if earlier and earlier.guess:
            prediction.settle(earlier.guess)
        return
    display(HTML(f"<p><b>{escape(question)}</b> Measured: {escape(prediction.measured)}.</p>"))
    if reveal:
        reveal()


def predictions() -> None:
    """Display a table of the learner's guesses beside what was measured, and how many choices were right."""
    waits = somebody_answers()  # an answer that nobody has guessed yet stays hidden
    rows = [
        (asked.question, asked.guess or "–", asked.measured if asked.guess or not waits else "–")
        for asked in ASKED.values()
    ]
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    display(HTML(f"<table><tr><th>question</th><th>your guess</th><th>measured</th></tr>{body}</table>"))
    chosen = [asked for asked in ASKED.values() if asked.guess and asked.has_options]
    if chosen:
        right = sum(asked.guess == asked.measured for asked in chosen)
        print(f"Of the answers that you chose from a list, {right} of {len(chosen)} were right.")


def expect(held: bool, result: str) -> None:
    """Say so if a result of the given settings did not come out: learners may change settings, and then it need not.

    Args:
        held: whether it came out.
        result: what came out with the given settings, as a sentence.

    Raises:
        AssertionError: it did not, in a notebook that a program executes.
    """
    if held:
        return
    if not somebody_answers():
        raise AssertionError(result)
    print(f"Your result is different. With the original settings: {result}")


def somebody_answers() -> bool:
    """Return True in a notebook that a person runs.

    A page in a browser allows the kernel to ask for input. nbconvert, nbval and nbclient do not (``allow_stdin`` of
    Jupyter's message ``execute_request``).
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))
