"""The notebooks read well without a kernel, quote only what was measured, and their exercises have right solutions.

nbval checks that they run and print what they printed before: ``pytest`` runs every cell of ``notebooks/``.
"""

import ast
import importlib.util
import itertools
import json
import re
from html import unescape as html_unescape
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager
from nbconvert import HTMLExporter

from simclr_lib.authoring.execute import is_transient
from simclr_lib.authoring.tables import FIGURE, fill
from simclr_lib.data.emblems import draw_emblems
from simclr_lib.losses import nt_xent
from simclr_lib.teaching.exercises import RIGHT

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "notebooks" / "results"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXERCISES = {  # notebook → module of its exercises
    "00_start_here": "start_here",
    "01_augmentations": "augmentations",
    "02_nt_xent": "nt_xent",
    "03_pretraining": "pretraining",
    "04_linear_probe": "linear_probe",
    "05_supervised_comparison": "supervised_comparison",
    "06_embeddings": "embeddings",
    "07_your_own_images": "own_images",
    "08_scaling_up": "scaling_up",
    "09_processes_and_memory": "processes_and_memory",
    "10_after_simclr": "after_simclr",
}
# Percentages that come from a definition, from the paper or from arithmetic may stand in prose: nobody measured them.
DEFINITIONS = {
    "00_start_here": set(),
    "01_augmentations": {"0.2", "10", "2.6"},
    "02_nt_xent": set(),
    "03_pretraining": set(),
    "04_linear_probe": set(),
    "05_supervised_comparison": {"1"},
    "06_embeddings": set(),
    "07_your_own_images": {"30", "90"},
    "08_scaling_up": {"57.5", "64.6", "62.8", "64.5"},
    "09_processes_and_memory": set(),
    "10_after_simclr": set(),
}

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind=None):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in found if kind in (None, cell["cell_type"])]


def prose(path):
    return "\n\n".join(cell["source"] for cell in cells(path, "markdown"))


def outputs(path):
    return [output for cell in cells(path, "code") for output in cell["outputs"]]


def missing_alternative_texts(found):
    """Return the pictures that have no description, or none that is text below the picture."""
    below = [html_unescape("".join(output.get("data", {}).get("text/html", ""))) for output in found[1:]] + [""]
    return [
        output
        for output, text in zip(found, below, strict=True)
        if "image/png" in output.get("data", {})
        and (not (alt := output["metadata"]["image/png"].get("alt", "").strip()) or alt not in text)
    ]


def cells_without_output(code):
    """Return the cells that print or show something when they run, but hold no output."""
    speaks = re.compile(r"^\s*(print|show)\(|\.(show|check)\(", re.MULTILINE)
    functions = re.compile(r"^def .*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)  # they print when they are called
    return [c["source"] for c in code if speaks.search(functions.sub("", c["source"])) and not c["outputs"]]


def is_check(cell):
    """Return True if a code cell can fail: its output is compared, or it asserts something."""
    tagged = "nbval-check-output" in cell["metadata"].get("tags", [])
    return tagged or bool(re.search(r"^\s*(assert |expect\()", cell["source"], re.MULTILINE))


def unchecked_equations(found, within=3):
    """Return the cells with an equation that no code cell checks before the next equation comes."""
    unchecked = []
    for i, cell in enumerate(found):
        if cell["cell_type"] != "markdown" or "$$" not in cell["source"]:
            continue
        until_next = itertools.takewhile(lambda c: "$$" not in c["source"], found[i + 1 :])
        code = [c for c in until_next if c["cell_type"] == "code"][:within]
        if not any(is_check(c) for c in code):
            unchecked.append(cell["source"])
    return unchecked


def unmeasured(text, allowed):
    """Return the accuracies in prose that no results file confirms."""
    text = FIGURE.sub("", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [n for n in re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)\s?%", text) if n not in allowed] + re.findall(
        r"\d ± \d", text
    )


@every_notebook
def test_it_has_run_from_top_to_bottom(path):
    assert [cell["execution_count"] for cell in cells(path, "code")] == list(range(1, len(cells(path, "code")) + 1))


@every_notebook
def test_it_opens_with_the_projects_kernel_and_no_stale_widgets(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"]
    assert not [output for output in outputs(path) if is_transient(output)]
    assert path.stat().st_size < 1_500_000


@every_notebook
def test_every_cell_keeps_its_output(path):
    assert not cells_without_output(cells(path, "code"))
    assert not [output for output in outputs(path) if output["output_type"] == "error"]


@every_notebook
def test_every_picture_has_alternative_text(path):
    assert [output for output in outputs(path) if "image/png" in output.get("data", {})]
    assert not missing_alternative_texts(outputs(path))
    assert all(text.strip() for text in re.findall(r"!\[(.*?)\]\(", prose(path)))


def test_the_descriptions_arrive_in_exported_pages():
    path = NOTEBOOKS[-1]
    page, _ = HTMLExporter().from_filename(str(path))
    text = html_unescape(page)
    pictures = [output for output in outputs(path) if "image/png" in output.get("data", {})]
    assert pictures
    for picture in pictures:
        assert f"<small>{picture['metadata']['image/png']['alt']}</small>" in text


@every_notebook
def test_the_figures_in_prose_are_those_of_the_results_files(path):
    assert fill(prose(path), RESULTS) == prose(path)
    assert unmeasured(prose(path), DEFINITIONS[path.stem]) == []


@every_notebook
def test_no_line_begins_with_a_comment_that_would_break_the_paragraph(path):
    assert not re.findall(r"^<!--", prose(path), flags=re.MULTILINE)


@every_notebook
def test_every_displayed_equation_is_checked_soon(path):
    assert unchecked_equations(cells(path)) == []


@every_notebook
def test_the_exercises_are_all_there_and_their_solutions_right(path):
    exercises = importlib.import_module(f"simclr_lib.teaching.exercises.{EXERCISES[path.stem]}").EXERCISES
    assert 3 <= len(exercises) <= 6
    imports = next(cell["source"] for cell in cells(path, "code") if "import torch" in cell["source"])
    statements = [node for node in ast.parse(imports).body if isinstance(node, ast.Import | ast.ImportFrom)]
    imports = "\n".join(ast.unparse(node) for node in statements)
    solutions = re.findall(r"<details>.*?```python\n(.*?)```.*?</details>", prose(path), flags=re.DOTALL)
    assert len(solutions) == len(exercises)
    for (name, exercise), solution in zip(exercises.items(), solutions, strict=True):
        stub = next(cell for cell in cells(path, "code") if f"exercises.{name}.check({name})" in cell["source"])
        assert "raise NotImplementedError" in stub["source"]
        assert "nbval-check-output" in stub["metadata"]["tags"]
        names: dict = {}
        exec(imports + "\n" + solution, names)
        assert exercise.verdict(names[name]) == RIGHT


@every_notebook
def test_it_says_how_to_start_and_how_long_it_takes(path):
    first = cells(path)[0]["source"]
    assert "**After this notebook you can**" in first
    assert "**You need**" in first
    assert f"notebooks · {path.stem} · seconds" in first
    seconds = json.loads((RESULTS / "notebooks.json").read_text(encoding="utf-8"))["results"][path.stem]["seconds"]
    assert seconds <= 180


def first_code(path):
    """The first code cell, and the part of it that is there in case the kernel has no simclr_lib."""
    code = cells(path, "code")[0]["source"]
    return code, code[code.index("# Colab and Kaggle") :]


def test_all_notebooks_install_what_is_missing_in_the_same_way():
    assert len({first_code(path)[1] for path in NOTEBOOKS}) == 1


@pytest.fixture
def kernel_without_simclr_lib(monkeypatch, tmp_path):
    """Returns a function that runs the first cell and returns the magic commands that it gave, with their names."""
    code = TransformerManager().transform_cell(first_code(NOTEBOOKS[0])[0])
    magics: list[tuple[str, str]] = []
    shell = SimpleNamespace(run_line_magic=lambda *magic: magics.append(magic))

    def run():
        names: dict = {"get_ipython": lambda: shell}
        exec(code, names)
        return magics, names

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "simclr_lib" else find_spec(name))
    monkeypatch.chdir(tmp_path)
    return run


def test_the_first_cell_installs_a_wheel_that_lies_beside_the_notebook(kernel_without_simclr_lib, tmp_path):
    (tmp_path / "simclr_lib-0.1.0-py3-none-any.whl").touch()
    magics, names = kernel_without_simclr_lib()
    assert magics == [("pip", 'install -q "{found[0]}"')]
    assert names["found"] == [Path("simclr_lib-0.1.0-py3-none-any.whl")]


def test_the_first_cell_installs_the_clone_that_the_notebook_lies_in(kernel_without_simclr_lib, monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    magics, names = kernel_without_simclr_lib()
    assert magics
    assert ROOT in names["found"]


def test_the_first_cell_says_what_to_do_where_there_is_nothing_to_install(kernel_without_simclr_lib):
    with pytest.raises(SystemExit, match="upload the wheel"):
        kernel_without_simclr_lib()


def test_links_between_notebooks_lead_somewhere():
    for path in NOTEBOOKS:
        for target in re.findall(r"\]\((\d\d_\w+\.ipynb)\)", prose(path)):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


# SimCLR on one page, in notebook 00:

START = ROOT / "notebooks" / "00_start_here.ipynb"
ON_THE_PAGE = 45  # lines at most


def page():
    """The cells that are SimCLR on one page, as one program."""
    return "\n".join(cell["source"] for cell in cells(START, "code") if "page" in cell["metadata"].get("tags", []))


def test_the_page_is_short_and_needs_nothing_of_the_library():
    assert 30 < len([line for line in page().splitlines() if line.strip()]) <= ON_THE_PAGE
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(ast.parse(page()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported == {"torch", "torchvision", "tqdm"}


def test_the_page_trains_with_the_loss_of_the_library_too():
    emblems = draw_emblems(limit=64)
    images = emblems.images.float() / 255
    names = {"images": images, "labels": emblems.labels, "queries": images[:8], "query_labels": emblems.labels[:8]}
    with torch.random.fork_rng():
        exec(page(), names)
        _, losses, accuracies = names["train"](names["nt_xent"], epochs=1)
        _, with_the_librarys, _ = names["train"](lambda z: nt_xent(*z.chunk(2), temperature=0.2), epochs=1)
    assert len(losses) == 1  # of one batch
    assert losses == pytest.approx(with_the_librarys, rel=1e-4)
    assert len(accuracies) == 2  # of the untrained network, and after the epoch
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)


def test_the_map_of_the_course_gives_the_minutes_of_every_other_notebook():
    rows = dict(re.findall(r"^\| \[[^]]*\]\((\w+)\.ipynb\) .* \| (\d+) \|", prose(START), re.MULTILINE))
    minutes = {path.stem: re.search(r"\*\*Time:\*\* (\d+) minutes", prose(path)).group(1) for path in NOTEBOOKS}
    assert rows == {name: number for name, number in minutes.items() if name != START.stem}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_is_long(path):
    assert max(len(cell["source"].splitlines()) for cell in cells(path, "code")) <= 15


# The checks above can fail:


def test_a_stripped_output_is_noticed():
    cell = {"source": "x = 1\nprint(x)", "outputs": []}
    assert cells_without_output([cell])
    assert not cells_without_output([{**cell, "outputs": ["1"]}])
    assert not cells_without_output([{"source": "def table():\n    print(1)\n\n\nx = 1", "outputs": []}])


def test_a_picture_without_alternative_text_is_noticed():
    def picture(alt):
        return {"data": {"image/png": "…"}, "metadata": {"image/png": {"alt": alt}}}

    below = {"data": {"text/html": ["<p>A &lt; B, as a line.</p>"]}}
    assert missing_alternative_texts([picture(" "), below])
    assert missing_alternative_texts([picture("A < B, as a line.")])
    assert not missing_alternative_texts([picture("A < B, as a line."), below])


def test_an_equation_without_a_check_is_noticed():
    def cell(kind, source):
        return {"cell_type": kind, "source": source, "metadata": {}}

    equation, silent, check = cell("markdown", "$$a$$"), cell("code", "a = 1"), cell("code", "assert a == 1")
    assert unchecked_equations([equation, silent, check]) == []
    assert unchecked_equations([equation, silent, silent, silent, check]) == ["$$a$$"]
    assert unchecked_equations([equation, equation, check]) == ["$$a$$"]


def test_a_wrong_figure_in_prose_is_noticed():
    good = fill("<!-- crop-color · SimCLR, crop only · labels_all -->?<!-- -->", RESULTS)
    assert "±" in good
    assert unmeasured(good, set()) == []
    assert fill(good.replace(" ± ", " ± 1"), RESULTS) == good
    assert unmeasured("It reaches 94.7 % of them.", {"10"}) == ["94.7"]
    assert unmeasured("94.7 ± 2.2", set()) == ["7 ± 2"]
