"""A teacher can see that machines are ready, carry the course to a place without a network, and mark answers."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from simclr_lib.cli import main
from simclr_lib.errors import SimCLRError
from simclr_lib.results import Result
from simclr_lib.teaching.course import NOTEBOOKS
from simclr_lib.teaching.exercises import nt_xent
from simclr_lib.teaching.workshop import marking, readiness
from simclr_lib.teaching.workshop.editions import source_notebooks
from simclr_lib.teaching.workshop.marking import Mark, exercise_lines, judged, learner_line, learner_of, mark_folder
from simclr_lib.teaching.workshop.offline import make_bundle
from simclr_lib.teaching.workshop.readiness import Finding, estimates, package_findings, python_finding

# --- build


def test_the_command_builds_an_edition(capsys, tmp_path):
    assert main(["workshop", "build", str(tmp_path), "--edition", "solutions"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in source_notebooks()}
    assert "solutions edition" in capsys.readouterr().out


def test_an_unknown_edition_is_refused_in_one_line(capsys, tmp_path):
    assert main(["workshop", "build", str(tmp_path), "--edition", "teacher"]) == 2
    assert "choose one of student, solutions, instructor." in capsys.readouterr().err


# --- bundle


@pytest.fixture
def pip():
    """A pip without a network: it makes the wheels that it is asked for, and keeps the words."""
    calls = []

    def run(words):
        calls.append(list(words))
        option = "--wheel-dir" if words[0] == "wheel" else "--dest"
        folder = Path(words[words.index(option) + 1])
        folder.mkdir(parents=True, exist_ok=True)
        names = ["simclr_lib-0.1.0-py3-none-any"]
        if words[0] == "download":
            names.append("torch-2.6.0-cp312-cp312-win_amd64")
        for name in names:
            (folder / f"{name}.whl").write_bytes(name.encode())

    run.calls = calls
    return run


def test_a_bundle_holds_wheels_notebooks_instructions_and_checksums(pip, tmp_path):
    files = make_bundle(tmp_path, "windows", "3.12", pip)
    assert (tmp_path / "wheels" / "torch-2.6.0-cp312-cp312-win_amd64.whl") in files
    assert (tmp_path / "notebooks" / "00_start_here.ipynb").read_bytes() == (
        NOTEBOOKS / "student" / "00_start_here.ipynb"
    ).read_bytes()
    readme = (tmp_path / "README.txt").read_text()
    assert 'course\\Scripts\\pip install --no-index --find-links wheels "simclr-lib[lab]"' in readme
    assert "Python 3.12 on Windows" in readme
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == len(files)
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_wheels_are_those_of_the_named_system_and_python(pip, tmp_path):
    make_bundle(tmp_path, "windows", "3.13", pip)
    built, downloaded = pip.calls
    assert built[:2] == ["wheel", "--no-deps"]
    assert downloaded[0] == "download"
    assert downloaded[downloaded.index("--only-binary") + 1] == ":all:"
    assert downloaded[downloaded.index("--platform") + 1] == "win_amd64"
    assert downloaded[downloaded.index("--python-version") + 1] == "3.13"
    assert [word for word in downloaded if word.endswith(".whl[lab]")]
    assert "pywinpty" in downloaded  # pip itself would add it on Windows only


def test_linux_wheels_may_be_for_older_systems(pip, tmp_path):
    make_bundle(tmp_path, "linux", "3.12", pip)
    tags = [tag for word, tag in zip(pip.calls[1], pip.calls[1][1:], strict=False) if word == "--platform"]
    assert {"manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"} <= set(tags)


def test_a_bundle_needs_a_version_of_python(capsys, tmp_path):
    assert main(["workshop", "bundle", str(tmp_path), "--python", "three"]) == 2
    assert "--python must be a version such as 3.12, not 'three'." in capsys.readouterr().err


# --- check


def test_an_old_python_and_missing_or_old_packages_are_named():
    assert python_finding((3, 9, 1)) == Finding(False, "Python 3.9.1 is too old: install Python 3.10 or newer.")
    missing, old, good = package_findings(
        ["not-a-package>=1", "torch>=99.0", "numpy>=1.0", "timm>=1 ; extra == 'timm'"]
    )
    assert missing.text == "not-a-package is missing: pip install 'not-a-package>=1'"
    assert old.text.endswith("is too old: pip install 'torch>=99.0'")
    assert (missing.good, old.good, good.good) == (False, False, True)
    assert good.text.startswith("packages: numpy ")


def test_times_are_scaled_by_a_measured_step():
    recorded = Result("seconds", {"02_nt_xent": {"seconds": 20.0}}, extra={"step_seconds": 0.1})
    assert estimates(0.3, recorded) == pytest.approx({"02_nt_xent": 60.0})
    recorded.extra.clear()
    assert estimates(0.3, recorded) == {"02_nt_xent": 20.0}


def test_every_notebook_has_an_estimate():
    assert set(estimates(0.1)) == {path.stem for path in source_notebooks()}


@pytest.fixture
def quick_step(monkeypatch):
    monkeypatch.setattr(readiness, "step_seconds", lambda: 0.1)


def test_a_machine_that_is_ready_is_told_so_in_the_last_line(capsys, monkeypatch, quick_step):
    monkeypatch.setattr(readiness, "findings", lambda: [Finding(True, "Python 3.12.0"), Finding(None, "no JupyterLab")])
    assert main(["workshop", "check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["✓ Python 3.12.0", "! no JupyterLab"]
    assert lines[-1].startswith("ready. All notebooks together will run for about ")


def test_a_machine_that_is_not_ready_gives_exit_code_1(capsys, monkeypatch, quick_step):
    monkeypatch.setattr(readiness, "findings", lambda: [Finding(False, "torch is missing")])
    with pytest.raises(SystemExit) as stop:
        main(["workshop", "check"])
    assert stop.value.code == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("not ready: 1 line above")


def test_this_machine_has_what_its_tests_run_with():
    assert all(finding.good is not False for finding in readiness.findings()[:3])


# --- mark

ANSWERS = {  # learner → their answer to exercise 1 of notebook 2, the contrastive accuracy
    "right": "unit = F.normalize(z, dim=1)\n    best = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1)\n"
    "    return (best == torch.arange(len(z)).roll(len(z) // 2)).double().mean()",
    "wrong": "unit = F.normalize(z, dim=1)\n    best = (unit @ unit.T).argmax(dim=1)\n"  # the diagonal is not masked
    "    return (best == torch.arange(len(z)).roll(len(z) // 2)).double().mean()",
    "crashing": "import os\n    os._exit(1)",
    "endless": "while True:\n        pass",
    "curious": "import socket\n    socket.create_connection(('127.0.0.1', 9))",
}


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Learner → exercise → mark, of returned notebooks. Only the answer that never ends has little time."""
    folder, endless = tmp_path_factory.mktemp("returned"), tmp_path_factory.mktemp("endless")
    original = (NOTEBOOKS / "student" / "02_nt_xent.ipynb").read_text(encoding="utf-8")
    for learner, answer in ANSWERS.items():
        notebook = json.loads(original)
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            if "exercises.contrastive_accuracy.check" in source:
                cell["source"] = source.replace("raise NotImplementedError", answer)
        place = endless if learner == "endless" else folder
        (place / f"{learner}-02_nt_xent.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    (folder / "untouched").mkdir()
    shutil.copy(NOTEBOOKS / "student" / "02_nt_xent.ipynb", folder / "untouched")
    (folder / "broken.ipynb").write_text("not a notebook")
    notebooks = [*mark_folder(folder, seconds=100), *mark_folder(endless, seconds=1)]
    marks = [mark for of_notebook in notebooks for mark in of_notebook]
    return {mark.learner: {m.exercise: m for m in marks if m.learner == mark.learner} for mark in marks}


@pytest.mark.slow
def test_a_right_answer_is_right(marked):
    assert marked["right"]["contrastive_accuracy"].outcome == "right"


@pytest.mark.slow
def test_a_known_misconception_is_named(marked):
    mark = marked["wrong"]["contrastive_accuracy"]
    assert mark.outcome == "misconception"
    assert mark.remark == nt_xent.contrastive_accuracy.misconceptions[0].hint


@pytest.mark.slow
def test_untouched_exercises_are_not_attempted(marked):
    assert {mark.outcome for mark in marked["untouched"].values()} == {"not attempted"}
    assert list(marked["untouched"]) == list(nt_xent.EXERCISES)


@pytest.mark.slow
def test_an_answer_that_ends_its_process_stops_nothing_else(marked):
    assert marked["crashing"]["contrastive_accuracy"].remark == "it ended the whole process"
    assert marked["crashing"]["partners"].outcome == "not attempted"


@pytest.mark.slow
def test_an_answer_that_never_ends_is_stopped(marked):
    assert marked["endless"]["contrastive_accuracy"].remark == "it did not end in 1 s"
    assert list(marked["endless"]) == list(nt_xent.EXERCISES)  # the others had their turn


@pytest.mark.slow
def test_answers_have_no_network(marked):
    mark = marked["curious"]["contrastive_accuracy"]
    assert mark.outcome == "stopped"
    assert "without a network" in mark.remark


@pytest.mark.slow
def test_a_file_that_is_no_notebook_is_reported(marked):
    assert marked["broken"][""].remark == "the file is not a notebook"


def test_helpers_and_constants_of_the_notebook_are_at_hand():
    answer = (
        "def contrastive_accuracy(z):\n    best = (unit(z) @ unit(z).T).fill_diagonal_(-ONE).argmax(dim=1)\n"
        "    return (best == torch.arange(len(z)).roll(len(z) // 2)).double().mean()"
    )
    sources = [
        "import torch\n%matplotlib inline\nONE = 1.0\nlong_training = torch.zeros(0).item()",
        "def unit(z):\n    return z / z.norm(dim=1, keepdim=True)",
        answer,
    ]
    assert marking.outcome_of(sources, "contrastive_accuracy", nt_xent.contrastive_accuracy) == ("right", "")


def test_an_answer_that_is_not_python_is_said_to_be_so():
    source = "def partners(n)\n    return 1\n\nexercises.partners.check(partners)"
    outcome, remark = marking.outcome_of([source], "partners", nt_xent.partners)
    assert outcome == "stopped"
    assert remark.startswith("SyntaxError")


def test_a_missing_answer_is_said_to_be_missing():
    assert marking.outcome_of(["x = 1"], "partners", nt_xent.partners) == ("stopped", "there is no function partners")


def test_outcomes_follow_the_verdicts():
    exercise = nt_xent.partners
    assert judged(exercise, "✗ Not yet: expected 1, you have 2.") == ("wrong", "Not yet: expected 1, you have 2.")
    assert judged(exercise, "✗ Your function stopped with KeyError: 1")[0] == "stopped"


@pytest.mark.parametrize(
    "name", ["anna/02_nt_xent.ipynb", "anna-02_nt_xent.ipynb", "02_nt_xent (anna).ipynb", "anna.ipynb"]
)
def test_a_learner_is_known_by_folder_or_file(name):
    assert learner_of(Path("returned") / name, Path("returned")) == "anna"


def test_the_summary_names_the_most_frequent_mistake():
    marks = [Mark(learner, "n.ipynb", "f", "misconception", "A.") for learner in "ab"]
    marks += [Mark("c", "n.ipynb", "f", "misconception", "B."), Mark("d", "n.ipynb", "f", "right")]
    marks.append(Mark("e", "n.ipynb", "f", "not attempted"))
    assert exercise_lines(marks) == ["f: 4 answers, 1 right; most frequent mistake (2 ×): A."]
    assert learner_line(marks[3:]) == "d · n.ipynb: 1 of 2 right, 1 not attempted"


def test_the_command_writes_a_table(capsys, monkeypatch, tmp_path):
    marks = [Mark("anna", "02_nt_xent.ipynb", "partners", "right")]
    (tmp_path / "anna.ipynb").touch()
    monkeypatch.setattr(marking, "mark_folder", lambda folder, seconds: iter([marks]))
    assert main(["workshop", "mark", str(tmp_path), "--out", str(tmp_path / "marks.csv")]) == 0
    with (tmp_path / "marks.csv").open() as file:
        assert list(csv.DictReader(file)) == [vars(marks[0])]
    assert "executes the learners' code" in capsys.readouterr().out


def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(SimCLRError, match="holds no notebooks"):
        next(mark_folder(tmp_path))
