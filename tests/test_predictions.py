"""A figure appears after the learner's guess, and at once where nobody can answer."""

import jupyter_client
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from simclr_lib.errors import SimCLRError
from simclr_lib.teaching import predictions
from simclr_lib.teaching.predictions import expect, predict

CODE = """
from simclr_lib.teaching.predictions import predict
predict('How high?', 58.94, lambda: print('a figure'), unit='%')
"""


@pytest.fixture(autouse=True)
def nothing_asked_before(monkeypatch):
    monkeypatch.setattr(predictions, "ASKED", {})


@pytest.fixture
def displayed(monkeypatch):
    """The displayed objects, as text where they are HTML."""
    found = []
    monkeypatch.setattr(predictions, "display", lambda shown: found.append(getattr(shown, "data", shown)))
    return found


@pytest.fixture
def learner(monkeypatch):
    """Somebody who answers: a function that types a guess or chooses it, presses a button and returns the reply."""
    monkeypatch.setattr(predictions, "somebody_answers", lambda: True)

    def guess(asked, answer):
        asked.field.value = answer
        chosen = [button for button in asked.buttons if button.description == answer]
        (chosen or asked.buttons)[0].click()
        return asked.reply.value

    return guess


def test_a_number_is_compared_after_the_guess(displayed, learner):
    seen = []
    predict("How high?", 58.94, lambda: seen.append("a figure"), unit="%")
    (asked,) = displayed
    assert seen == []
    assert "You predicted 20 %; measured: 58.9 %." in learner(asked, " 20 % ")
    assert seen == ["a figure"]
    assert asked.field.disabled
    assert asked.buttons[0].disabled


def test_without_a_guess_nothing_is_shown(displayed, learner):
    seen = []
    predict("How high?", 0.5, lambda: seen.append("a figure"))
    assert "type a number" in learner(displayed[0], "high")
    assert seen == []
    assert "You predicted 1; measured: 0.5." in learner(displayed[0], "1")


def test_every_answer_is_a_button_which_keys_reach(displayed, learner):
    predict("Which?", "color", options=["crop", "color"])
    (asked,) = displayed
    assert [button.description for button in asked.children[1].children] == ["crop", "color"]
    assert "You predicted crop; measured: color." in learner(asked, "crop")
    assert all(button.disabled for button in asked.buttons)


def test_the_summary_lists_the_guesses_and_counts_the_right_choices(displayed, learner, capsys):
    predict("Which?", "color", options=["crop", "color"])
    predict("And which now?", "crop", options=["crop", "color"])
    predict("How many?", 12, unit="images", decimals=0)
    for asked, answer in zip(list(displayed), ["color", "color", "30"], strict=True):
        learner(asked, answer)
    predictions.predictions()
    assert "<td>Which?</td><td>color</td><td>color</td>" in displayed[-1]
    assert "<td>How many?</td><td>30 images</td><td>12 images</td>" in displayed[-1]
    assert "1 of 2 were right" in capsys.readouterr().out


def test_a_question_that_is_asked_again_has_one_row(displayed, learner):
    for measured in (1, 2):
        predict("How many?", measured, decimals=0)
    predictions.predictions()
    assert displayed[-1].count("How many?") == 1
    assert "<td>–</td><td>–</td>" in displayed[-1]  # what was measured stays hidden until there is a guess


def test_a_cell_that_runs_again_keeps_the_guess(displayed, learner):
    seen = []
    predict("How high?", 58.94, lambda: seen.append("a figure"), unit="%")
    learner(displayed[0], "20")
    predict("How high?", 61.2, lambda: seen.append("another figure"), unit="%")
    assert "You predicted 20 %; measured: 61.2 %." in displayed[1].reply.value
    assert displayed[1].field.disabled
    assert seen == ["a figure", "another figure"]
    predictions.predictions()
    assert "<td>20 %</td><td>61.2 %</td>" in displayed[-1]


def test_where_nobody_can_answer_the_figure_is_there(displayed):
    seen = []
    predict("How high is x < y?", 58.94, lambda: seen.append("a figure"), unit="%")
    assert displayed == ["<p><b>How high is x &lt; y?</b> Measured: 58.9 %.</p>"]
    assert seen == ["a figure"]


def test_the_answer_has_to_be_among_the_options():
    with pytest.raises(SimCLRError, match="'hue' is not among the options"):
        predict("Which?", "hue", options=["crop", "color"])
    assert not predictions.ASKED


def test_a_result_that_did_not_come_out_stops_a_program_and_tells_a_learner(monkeypatch, capsys):
    expect(True, "The loss falls.")
    with pytest.raises(AssertionError, match="The loss falls"):
        expect(False, "The loss falls.")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(predictions, "somebody_answers", lambda: True)
    expect(False, "The loss falls.")
    assert "With the original settings: The loss falls." in capsys.readouterr().out


@pytest.mark.slow
def test_a_notebook_that_a_program_executes_shows_the_figure():
    notebook = new_notebook(cells=[new_code_cell(CODE)])
    NotebookClient(notebook, kernel_name="python3").execute()
    answer, figure = notebook.cells[0].outputs
    assert "Measured: 58.9 %" in answer["data"]["text/html"]
    assert figure["text"] == "a figure\n"


@pytest.mark.slow
def test_a_notebook_that_a_person_runs_waits_for_the_guess():
    with jupyter_client.run_kernel(kernel_name="python3") as client:
        outputs = []
        client.execute_interactive(CODE, allow_stdin=True, output_hook=outputs.append, timeout=60)
    shown = [message["content"]["data"] for message in outputs if message["msg_type"] == "display_data"]
    assert len(shown) == 1
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
    assert not [message for message in outputs if message["msg_type"] == "stream"]
