"""Predict, then see: a question whose answer appears after the learner's guess, and results that are expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import ipywidgets as widgets
from IPython.core.getipython import get_ipython
from IPython.display import HTML, display

from simclr_lib.errors import SimCLRError, is_number


class Prediction(widgets.VBox):
    """A question, a field for the guess, and a button that shows what was measured.

    Args:
        question: what to guess, as a sentence or a short name of the quantity.
        measured: the answer: a number, or one of the options.
        then: shows the figure.
        options: the answers to choose from. Without them the guess is a number.
        unit: unit of the number, such as "%".
        decimals: number of decimals of the measured number.
    """

    def __init__(
        self,
        question: str,
        measured: float | str,
        then: Callable[[], object] | None,
        options: Sequence[str],
        unit: str,
        decimals: int,
    ) -> None:
        self.question, self.then, self.unit, self.guess = question, then, unit, ""
        self.has_options = bool(options)
        self.measured = measured if isinstance(measured, str) else f"{measured:,.{decimals}f} {unit}".strip()
        self.field = (
            widgets.RadioButtons(options=list(options), value=None, layout=widgets.Layout(width="auto"))
            if options
            else widgets.Text(description=f"Your guess in {unit}" if unit else "Your guess", placeholder="a number")
        )
        self.field.style.description_width = "initial"
        self.button = widgets.Button(description="This is my guess", button_style="primary")
        self.button.on_click(self._answer)
        self.reply, self.output = widgets.HTML(), widgets.Output()
        asked = widgets.HTML(f"<b>{escape(question)}</b>")
        super().__init__([asked, self.field, self.button, self.reply, self.output])

    def _answer(self, button: object) -> None:
        """Keep the guess, and show what was measured. Without a guess, ask for one."""
        guess = str(self.field.value or "").strip().removesuffix("%").strip()
        if not (guess if self.has_options else is_number(guess)):
            self._say("Please choose an answer." if self.has_options else "Please type a number.")
            return
        self.guess = f"{guess} {self.unit}".strip()
        self.field.disabled = self.button.disabled = True
        self._say(f"You predicted {self.guess}; measured: {self.measured}.")
        if self.then:
            with self.output:
                self.then()

    def _say(self, text: str) -> None:
        """Show a line, which screen readers read aloud when it changes."""
        self.reply.value = f'<span aria-live="polite">{escape(text)}</span>'


ASKED: dict[str, Prediction] = {}  # question → prediction, in the order of the notebook


def predict(
    question: str,
    measured: float | str,
    then: Callable[[], object] | None = None,
    *,
    options: Sequence[str] = (),
    unit: str = "",
    decimals: int = 1,
) -> None:
    """Ask for a guess, and then show what was measured, with its figure.

    Where nobody can answer, because the notebook is executed by a program, the figure is there without a guess.
    The arguments are those of `Prediction`.

    Raises:
        SimCLRError: the measured answer is not among the options.
    """
    if options and measured not in options:
        raise SimCLRError(f"the measured answer {measured!r} is not among the options {list(options)}.")
    ASKED[question] = prediction = Prediction(question, measured, then, options, unit, decimals)
    if somebody_answers():
        display(prediction)
        return
    display(HTML(f"<p><b>{escape(question)}</b> Measured: {escape(prediction.measured)}.</p>"))
    if then:
        then()


def predictions() -> None:
    """Display a table of the learner's guesses beside what was measured, and how many choices were right."""
    rows = [(asked.question, asked.guess or "–", asked.measured) for asked in ASKED.values()]
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
    print(f"Here it came out otherwise. With the given settings this held: {result}")


def somebody_answers() -> bool:
    """Return True in a notebook that a person runs.

    A page in a browser allows the kernel to ask for input. nbconvert, nbval and nbclient do not (``allow_stdin`` of
    Jupyter's message ``execute_request``).
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))
