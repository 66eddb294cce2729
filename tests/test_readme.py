"""What README promises is there, and its numbers are those that were measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from simclr_lib.authoring.tables import BLOCKS, fill, seconds_of_one_seed
from simclr_lib.cli import COMMANDS
from simclr_lib.commands.common import rounded
from simclr_lib.commands.sweep import SHORT, sweeps
from simclr_lib.config import TrainConfig
from simclr_lib.errors import SimCLRError
from simclr_lib.evaluation import summary
from simclr_lib.teaching.profiles import EMBLEMS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "notebooks" / "results"
PRETRAININGS = ("crop-color", "temperature", "batch-size", "steps", "large-batch", "head", "epochs")
MEASURED_SWEEPS = (*PRETRAININGS, "negatives", "labels", "shifts")


def test_the_tables_are_those_of_the_results_files():
    assert fill(README, RESULTS) == README
    assert all(f"<!-- begin {name} -->" in README for name in BLOCKS)


def test_no_line_begins_with_a_figure_that_would_break_the_paragraph():
    assert not re.findall(r"^<!-- (?!begin|end)", README, flags=re.MULTILINE)


def test_a_number_that_was_not_measured_is_noticed():
    assert fill(README.replace(" ± ", " ± 1", 1), RESULTS) == README


def test_an_unknown_block_is_named():
    with pytest.raises(SimCLRError, match="did you mean 'demo'"):
        fill("<!-- begin demos --><!-- end demos -->", RESULTS)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_every_results_file_says_how_it_was_made(path):
    file = json.loads(path.read_text())
    assert file["environment"]["command"].startswith(("simclr ", "python -m simclr_lib"))
    assert {"device", "threads", "torch", "torchvision"} <= set(file["environment"])


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_means_and_deviations_are_those_of_the_values(path):
    file = json.loads(path.read_text())
    for row in file.get("results", {}).values():
        for figure in row.values():
            if isinstance(figure, dict):
                again = summary(figure["values"])
                assert figure["mean"] == pytest.approx(again["mean"], abs=2e-4)
                assert figure["std"] == pytest.approx(again["std"], abs=2e-4)


def test_the_first_screen_holds_the_two_commands():
    first_screen = "\n".join(README.splitlines()[:24])
    assert "pip install . && .venv/bin/simclr demo" in first_screen
    assert "pip install -e '.[test]' && .venv/bin/pytest" in first_screen
    script = (ROOT / ".ci" / "run").read_text()
    assert ".venv/bin/pip install -q -e '.[test]'" in script
    assert "\n.venv/bin/pytest" in script


def test_every_command_in_readme_exists():
    used = set(re.findall(r"^simclr (\w+)", README, flags=re.MULTILINE))
    assert used <= set(COMMANDS)
    assert set(COMMANDS) <= used | {"demo"}


def test_the_python_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict = {}
    exec(code.replace("[:256]", "[:8]"), names)
    assert names["z"].shape == (16, 128)
    assert names["loss"].isfinite()


def test_pictures_have_alternative_text():
    assert all(text.strip() for text in re.findall(r"!\[(.*?)\]\(", README))
    assert (ROOT / "image.png").read_bytes().startswith(b"\x89PNG")


def test_demo_results_are_what_the_project_stands_for():
    """The claims of this project's front page, as measured over three seeds."""
    demo = json.loads((RESULTS / "demo.json").read_text())
    assert len(demo["seeds"]) >= 3
    mean = {source: {k: f["mean"] for k, f in row.items()} for source, row in demo["results"].items()}
    assert seconds_of_one_seed(demo) <= 360
    assert mean["SimCLR"]["labels_all"] >= 0.95
    assert mean["SimCLR"]["labels_10"] >= 0.80
    assert mean["SimCLR"]["labels_10"] - mean["supervised"]["labels_10"] >= 0.15
    assert max(f for source in ("random encoder", "pixels") for f in mean[source].values()) <= 0.50


def test_the_figures_are_those_of_todays_recipes():
    for name, recipe in {"demo": EMBLEMS, **dict.fromkeys(MEASURED_SWEEPS, SHORT)}.items():
        # Settings that are newer than the file were not there to be changed: they are as they are by default.
        then = TrainConfig.from_dict(json.loads((RESULTS / f"{name}.json").read_text())["config"])
        assert then == recipe


@pytest.mark.parametrize("name", MEASURED_SWEEPS)
def test_a_sweep_was_measured_as_it_is_defined_today(name):
    file = json.loads((RESULTS / f"{name}.json").read_text())
    assert re.fullmatch(rf"simclr sweep {name}( --out \S+)?", file["environment"]["command"])
    assert len(file["seeds"]) >= 3
    assert file["seconds"] > 0
    default = SHORT.to_dict()
    for variant, settings in sweeps(SHORT)[name].variants.items():
        changed = {key: value for key, value in settings.to_dict().items() if value != default[key]}
        assert file["variants"][variant] == rounded(changed)
    figures = [figure for row in file["results"].values() for figure in row.values()]
    assert all(len(figure["values"]) == len(file["seeds"]) for figure in figures)


@pytest.mark.parametrize("name", PRETRAININGS)
def test_a_sweep_of_pretrainings_has_a_row_for_each_variant(name):
    file = json.loads((RESULTS / f"{name}.json").read_text())
    assert {f"SimCLR, {variant}" for variant in file["variants"]} <= set(file["results"])


def test_every_source_is_measured_at_every_budget_on_as_many_views_too():
    rows = json.loads((RESULTS / "labels.json").read_text())["results"]
    for source in ("SimCLR, linear head", "SimCLR, fine-tuned", "random encoder", "pixels", "supervised"):
        assert {"labels_10", "labels_20", "labels_50", "labels_100", "labels_all"} <= set(rows[source])
    assert {"labels_10", "labels_100", "labels_all"} <= set(rows["supervised, as many views"])


def test_crop_and_color_only_work_together():
    rows = json.loads((RESULTS / "crop-color.json").read_text())["results"]
    both, alone = rows["SimCLR, crop + color"], [rows["SimCLR, crop only"], rows["SimCLR, color only"]]
    for column in ("labels_10", "labels_all"):
        assert all(both[column]["mean"] > row[column]["mean"] + 0.05 for row in alone)


def test_simclr_beats_untrained_features_on_photographs():
    rows = json.loads((RESULTS / "cifar10-jpeg-simclr.json").read_text())["results"]
    untrained = max(f["mean"] for source in ("random encoder", "pixels") for f in rows[source].values())
    assert rows["SimCLR"]["labels_all"]["mean"] > untrained + 0.10


def test_importing_costs_little_more_than_torch_and_torchvision():
    sections = {s["title"]: s["rows"] for s in json.loads((RESULTS / "bench-cpu.json").read_text())["sections"]}
    _, theirs = sections["Import, in a new process"]
    assert theirs["name"] == "torch, torchvision"
    assert theirs["ratio"] >= 1 / 1.3


def test_chunks_take_the_loss_of_many_pairs_a_fraction_of_the_memory_and_no_more_time():
    sections = {s["title"]: s["rows"] for s in json.loads((RESULTS / "bench-cpu.json").read_text())["sections"]}
    chunked, whole = sections["NT-Xent, forward and backward, 16,384 pairs, cpu"]
    assert (chunked["name"], whole["name"]) == ("chunks of 1,024", "in one piece")
    assert chunked["gigabytes"] <= 0.25 * whole["gigabytes"]
    assert chunked["value"] >= whole["value"] / 1.3


def test_the_plan_foretells_what_was_measured():
    for row in json.loads((RESULTS / "plan-cpu.json").read_text())["results"].values():
        assert row["step"] == pytest.approx(row["measured"], rel=0.3)
        assert row["memory"] == pytest.approx(row["measured_memory"], rel=0.3)
