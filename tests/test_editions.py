"""Three editions come from one source, and the plans for teachers agree with the notebooks."""

import json
import math
import re
from itertools import accumulate
from pathlib import Path

import nbformat
import pytest

from simclr_lib.authoring.execute import execute
from simclr_lib.authoring.tables import duration
from simclr_lib.results import Result
from simclr_lib.teaching.exercises import NOT_ATTEMPTED
from simclr_lib.teaching.workshop.editions import (
    build,
    exercises_of,
    is_stub,
    landmarks,
    module_of,
    note_cell,
    notebook_bytes,
    slide_type,
    solved_cells,
    source_notebooks,
    split_at_titles,
    student_cells,
    with_folded_answer,
    without_expectations,
)
from simclr_lib.teaching.workshop.marking import outcome_of
from simclr_lib.teaching.workshop.notes import computing, minutes_of, plans, read_notes, sayings

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
SOURCES = source_notebooks()
NOTES = read_notes(NOTEBOOKS / "instructor.md")
PLANS = plans(NOTEBOOKS / "TEACHING.md")

every_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def cells(content, kind=None):
    """The cells of a notebook, of one kind or all, with their sources as text."""
    found = [{**cell, "source": "".join(cell["source"])} for cell in json.loads(content)["cells"]]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def text(found):
    return "\n\n".join(cell["source"] for cell in found)


# --- the student edition


def test_the_student_edition_is_what_the_command_builds():
    names = {path.name for path in (NOTEBOOKS / "student").glob("*")} - {"runs", ".ipynb_checkpoints"}
    assert names == {source.name for source in SOURCES}
    for source in SOURCES:
        committed = (NOTEBOOKS / "student" / source.name).read_bytes()
        assert committed == notebook_bytes(source, "student"), "run: simclr workshop build notebooks/student"


@every_notebook
def test_students_get_valid_notebooks_without_outputs_and_solutions(source):
    content = notebook_bytes(source, "student")
    nbformat.validate(nbformat.reads(content.decode(), as_version=4))
    assert len(content) < 80_000
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(content, "code"))
    assert "<summary>Solution" not in text(cells(content))
    assert "folded" not in text(cells(content))
    assert "**Student edition.**" in cells(content)[0]["source"]


@every_notebook
def test_students_do_not_read_what_was_measured_before_they_guess(source):
    """What is said about the figure of a question is folded, up to the next subject."""
    asked, visible = False, []
    for cell in cells(notebook_bytes(source, "student")):
        if cell["cell_type"] == "code":
            asked = asked or re.search(r"^\s*predict\(", cell["source"], re.MULTILINE)
        elif asked:
            visible.append(re.sub(r"<details>.*?</details>\s*(<br>\s*)?", "", cell["source"], flags=re.DOTALL))
            asked = False
    assert not [words for words in visible if re.match(r"\*What you see|\|", words)]
    assert not re.search(r"^\*(What you see|Why|So what)", "\n".join(visible), re.MULTILINE)


def test_a_cell_that_asks_does_not_say_what_is_expected():
    asks = "best = max(found)\npredict('Which is best?', best)\n"
    expects = "expect(best == 'h', 'h is best.')\nif quick:\n    lead = 3\n    expect(lead > 2, 'yes')\n"
    assert without_expectations(asks + expects) == asks.rstrip()
    assert without_expectations("if quick:\n    predict('Which?', 3)\n    expect(True, 'so')\nx = 1") == (
        "if quick:\n    predict('Which?', 3)\nx = 1"
    )
    assert without_expectations("if quick:\n    lead = 3") == "if quick:\n    lead = 3"


def test_an_answer_is_folded_and_the_next_subject_is_not():
    seen, why, others = "*What you see.* Red is best.", "*Why.* Nobody knows.", "Move the slider.\n\n## Next"
    folded = f"<details><summary>After your guess</summary>\n\n{seen}\n\n{why}\n\n</details>"
    assert with_folded_answer(f"{seen}\n\n{why}\n\n{others}") == f"{folded}\n\n<br>\n\n{others}"
    assert with_folded_answer("Red is best.\n\n**Blue.** Or not.").endswith("</details>\n\n<br>\n\n**Blue.** Or not.")
    assert with_folded_answer("## Next\n\nRed.") == "## Next\n\nRed."


@every_notebook
def test_students_run_the_same_code_with_every_exercise_open(source):
    code = cells(notebook_bytes(source, "student"), "code")
    of_source = [cell["source"] for cell in cells(source.read_bytes(), "code")]
    assert [cell["source"] for cell in code] == [
        without_expectations(code) if re.search(r"^\s*predict\(", code, re.MULTILINE) else code for code in of_source
    ]
    module = module_of(cell["source"] for cell in code)
    assert len([cell for cell in code if is_stub(cell)]) == len(exercises_of(module))


@every_notebook
def test_students_can_follow_every_link_and_see_every_picture(source):
    for target in re.findall(r"\]\(([^)\s]+)\)", text(cells(notebook_bytes(source, "student"), "markdown"))):
        assert target.startswith("https://") or (NOTEBOOKS / "student" / target).exists(), target


def test_only_the_solution_is_taken_out_of_a_cell():
    solution = "<details><summary>Solution</summary>\n\n```python\nx = 1\n```\n\nWhy.\n\n</details>"
    cell = {"cell_type": "markdown", "source": f"{solution}\n\n**2. Next.** A question."}
    assert [c["source"] for c in student_cells([cell])] == ["**2. Next.** A question."]
    assert student_cells([{**cell, "source": solution}]) == []


@pytest.mark.slow
def test_a_students_notebook_runs_from_top_to_bottom(tmp_path):
    (path,) = (path for path in build(tmp_path, "student") if path.stem == "02_nt_xent")
    execute(path)
    outputs = [output for cell in cells(path.read_bytes(), "code") for output in cell["outputs"]]
    said = [output for output in outputs if NOT_ATTEMPTED in "".join(output.get("text", ""))]
    assert len(said) == 5  # every exercise


# --- the edition with solutions


@every_notebook
def test_the_checks_of_the_solved_edition_pass(source):
    code = cells(notebook_bytes(source, "solutions"), "code")
    assert not [cell for cell in code if is_stub(cell)]
    sources = [cell["source"] for cell in code]
    for name, exercise in exercises_of(module_of(sources)).items():
        assert outcome_of(sources, name, exercise) == ("right", "")


def test_what_stands_below_a_solution_is_kept_and_stale_outputs_are_not():
    stub = {
        "cell_type": "code",
        "source": "def f(x):\n    raise NotImplementedError\n\n\nexercises.f.check(f)",
        "outputs": [{"text": [NOT_ATTEMPTED]}],
        "execution_count": 3,
    }
    solution = "<details><summary>Solution</summary>\n\n```python\ndef f(x):\n    return x\n```\n\nWhy.\n\n</details>"
    filled, reason = solved_cells([stub, {"cell_type": "markdown", "source": f"{solution}\n\n**2. Next.**"}])
    assert filled["source"] == "def f(x):\n    return x\n\n\nexercises.f.check(f)"
    assert filled["outputs"] == []
    assert reason["source"] == "Why.\n\n**2. Next.**"


# --- the instructor's edition


@every_notebook
def test_every_question_has_an_answer(source):
    chapter = NOTES[source.stem]
    asked = [section for _, section, is_question in landmarks(cells(source.read_bytes())) if is_question]
    assert asked
    assert "To discuss" in asked
    for section in asked:
        assert len(chapter.select(section)) >= asked.count(section), f"instructor.md answers too little of {section}"
    sections = {section for _, section, _ in landmarks(cells(source.read_bytes()))}
    assert {note.section for note in chapter.notes} <= sections


@every_notebook
def test_an_answer_stands_below_its_question(source):
    found = cells(notebook_bytes(source, "instructor"))
    nbformat.validate(nbformat.reads(notebook_bytes(source, "instructor").decode(), as_version=4))
    assert len({cell["id"] for cell in found}) == len(found)
    for i, cell in enumerate(found):
        if "**Predict" in cell["source"] or "**To discuss" in cell["source"]:
            assert "instructor" in found[i + 1]["metadata"]["tags"]
    for note in NOTES[source.stem].notes:
        assert note.title in text(found)
        assert note.text.splitlines()[0] in text(found)
    for said, _, answer in sayings(NOTEBOOKS / "TEACHING.md").get(str(int(source.stem[:2])), []):
        assert said in text(found)
        assert answer in text(found)


@every_notebook
def test_the_usual_mistakes_stand_below_each_exercise(source):
    found = cells(notebook_bytes(source, "instructor"))
    exercises = exercises_of(module_of(cell["source"] for cell in found if cell["cell_type"] == "code"))
    for name, exercise in exercises.items():
        (place,) = (i for i, cell in enumerate(found) if f"exercises.{name}.check(" in cell["source"])
        note = found[place + 1]["source"]
        assert "minutes" in note
        assert all(mistake.hint in note for mistake in exercise.misconceptions)


def test_the_title_of_a_section_begins_a_slide():
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "The end.\n\n## 1.2 Views\nText."}
    first, second = split_at_titles([cell])
    assert (first["source"], second["source"]) == ("The end.", "## 1.2 Views\nText.")
    assert first["id"] != second["id"]
    assert [slide_type(first), slide_type(second)] == ["subslide", "slide"]


def test_slides_show_sections_and_pictures_and_give_notes_to_the_speaker():
    picture = {"cell_type": "code", "metadata": {}, "outputs": [{"data": {"image/png": "…"}}]}
    assert slide_type(note_cell("a", "Answer.")) == "notes"
    assert slide_type({"cell_type": "markdown", "metadata": {}, "source": "## 1.1 Views\nText."}) == "slide"
    assert slide_type({"cell_type": "markdown", "metadata": {}, "source": "Text."}) == "subslide"
    assert slide_type(picture) == "subslide"
    assert slide_type({**picture, "outputs": []}) == "skip"


# --- minutes


@every_notebook
def test_the_header_gives_the_sums_of_the_minutes(source):
    header = cells(source.read_bytes())[0]["source"]
    pattern = r"\*\*Time:\*\* (\d+) minutes to read and \w+, and another (\d+) minutes for the exercises"
    reading, exercises = map(int, re.search(pattern, header).groups())
    assert (reading, exercises) == (NOTES[source.stem].reading, NOTES[source.stem].exercises)
    module = module_of(cell["source"] for cell in cells(source.read_bytes(), "code"))
    known = [part for part in NOTES[source.stem].minutes if part.startswith("exercise")]
    assert known == [f"exercise {number}" for number in range(1, len(exercises_of(module)) + 1)]


@every_notebook
def test_minutes_are_given_for_sections_that_exist(source):
    sections = re.findall(r"^## (\d+\.\d+)", text(cells(source.read_bytes(), "markdown")), re.MULTILINE)
    given = [part for part in NOTES[source.stem].minutes if not part.startswith("exercise")]
    assert [section for section in sections if section in given] == given


@pytest.mark.parametrize(
    ("title", "total"),
    [("90 minutes", 90), ("Half a day", 240), ("Two half-days: the first", 240), ("Two half-days: the second", 240)],
)
def test_a_plans_minutes_are_the_sum_of_their_parts(title, total):
    rows = PLANS[title]
    minutes = [int(row[1]) for row in rows]
    starts = [0, *accumulate(minutes)]
    assert [row[0] for row in rows] == [f"{start // 60}:{start % 60:02}" for start in starts[:-1]]
    assert starts[-1] == total
    for _, given, _, parts in rows:
        if parts != "–":
            assert sum(minutes_of(parts, NOTES).values()) == int(given), parts


CLOCKED = re.compile(r"### (.*)\n(?:(?!###)(?:.*\n))*?\*\*Timed\.\*\* ((?:.+\n)+)")


def test_what_a_plan_says_of_computing_was_clocked():
    """The minutes in all, rounded up, and the longest wait. Each row has more minutes than it computes."""
    clock = Result.read(NOTEBOOKS / "results" / "plans.json").results
    said = dict(CLOCKED.findall((NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")))
    assert said.keys() == PLANS.keys()
    for title, words in said.items():
        rows = [minutes_of(row[3], NOTES) if row[3] != "–" else {} for row in PLANS[title]]
        run = computing(rows, clock)
        one_line = " ".join(words.split())
        assert f"computes for {math.ceil(sum(sum(row.values()) for row in run) / 60)} minutes in all" in one_line
        longest = max((seconds, part) for row in run for part, seconds in row.items())
        assert f"longest wait is {duration(longest[0])}, in {longest[1]}" in one_line
        for row, (_, minutes, what, _) in zip(run, PLANS[title], strict=True):
            assert sum(row.values()) / 60 < int(minutes), what


def test_a_row_computes_what_it_needs_and_only_once():
    clock = {"03": {"start": 5.0, "3.1": 1.0, "3.5": 60.0, "3.6": 30.0, "E3.1": 2.0}}
    rows = computing([{"3.1"}, (), {"3.6"}, {"3.5"}], clock)
    assert rows == [{"start": 5.0, "3.1": 1.0}, {}, {"3.6": 30.0}, {"3.5": 60.0}]
    skipped = computing([{"3.6"}, {"E3.1"}], clock)
    assert skipped == [{"start": 5.0, "3.1": 1.0, "3.5": 60.0, "3.6": 30.0}, {"E3.1": 2.0}]


def test_every_plan_is_tested():
    assert len(PLANS) == 4


def test_minutes_of_a_range_of_parts():
    assert minutes_of("2.1–2.3", NOTES) == {"2.1": 6, "2.2": 4, "2.3": 8}
    assert minutes_of("E2.1, 2.2", NOTES) == {"E2.1": 4, "2.2": 4}
    with pytest.raises(ValueError, match=r"'2\.77' is no part of the course"):
        minutes_of("2.77", NOTES)
