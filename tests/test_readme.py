"""README and the page of results keep their promises, and their numbers are those that were measured."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from simclr_lib.authoring.tables import BLOCKS, COMPARED, duration, fill, seconds_of_one_seed
from simclr_lib.cli import COMMANDS, joined, parse
from simclr_lib.config import TrainConfig
from simclr_lib.errors import SimCLRError
from simclr_lib.experiments import sweeps
from simclr_lib.experiments.sweeps import pretrained_rows
from simclr_lib.recipes import DEMO, DIGITS, PRESETS, SHORT
from simclr_lib.results import Result, rounded, summary

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "notebooks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {ROOT / "README.md": README, RESULTS / "README.md": (RESULTS / "README.md").read_text(encoding="utf-8")}
OTHERS = [*(ROOT / "notebooks").glob("*.md"), ROOT / ".github" / "CONTRIBUTING.md"]  # pages without results
ON_DIGITS = " --dataset imagefolder --data-dir digits --preset digits --epochs 10"
NOT_MEASURED = {"recipes"}  # which is for photographs
SWEEPS = {name: sweep for name, sweep in sweeps.SWEEPS.items() if name not in NOT_MEASURED}
CAUSES = ("temperature-rate", "optimizers", "head-rate")  # shorter runs, since there are many
PRETRAININGS = [
    name for name, sweep in SWEEPS.items() if getattr(sweep.measure, "func", sweep.measure) is pretrained_rows
]


def base_of(sweep):
    """The recipe whose variants a sweep compares: that of emblems, and for "views" that of digits."""
    if sweep == "views":
        return replace(DIGITS, epochs=10, validation=0.0)
    return replace(SHORT, epochs=6) if sweep in CAUSES else SHORT


def measured(name):
    """The result that is measured once and for all in ``notebooks/results``."""
    return Result.read(RESULTS / f"{name}.json")


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@every_page
def test_the_tables_are_those_of_the_results_files(page):
    assert fill(PAGES[page], RESULTS) == PAGES[page]


def test_every_table_is_on_a_page():
    assert all(any(f"<!-- begin {name} -->" in text for text in PAGES.values()) for name in BLOCKS)


@every_page
def test_no_line_begins_with_a_number_that_would_break_the_paragraph(page):
    assert not re.findall(r"^<!-- (?!begin|end)", PAGES[page], flags=re.MULTILINE)


def test_readme_can_be_read_in_minutes():
    assert len(README.encode()) <= 9 * 1024


def anchors(text):
    """The places in a page that a link can name: its headings in lower case, with hyphens."""
    headings = re.findall(r"^#+ (.*)", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        file, _, place = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), target
        assert not place or place in anchors(there.read_text(encoding="utf-8")), target


@every_page
def test_a_number_that_was_not_measured_is_noticed(page):
    assert fill(PAGES[page].replace(" ± ", " ± 1", 1), RESULTS) == PAGES[page]


def test_an_unknown_block_is_named():
    with pytest.raises(SimCLRError, match="did you mean 'demo'"):
        fill("<!-- begin demos --><!-- end demos -->", RESULTS)


def test_the_time_of_a_notebook_is_said_as_exactly_as_it_is_known():
    assert [duration(seconds) for seconds in (4, 23.7, 93)] == ["10 seconds", "20 seconds", "90 seconds"]
    assert [duration(seconds) for seconds in (96, 121)] == ["2 minutes", "3 minutes"]


MEASURED = [path for path in sorted(RESULTS.glob("*.json")) if path.name != "published.json"]


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.name)
def test_every_results_file_says_how_it_was_made(path):
    file = Result.read(path)
    where = file.environment
    of_the_package = where["command"].startswith(("simclr ", "python -m simclr_lib"))
    assert of_the_package or file.extra["how"]
    assert {"device", "threads", "torch", "torchvision"} <= set(where)
    assert not path.name.startswith("cifar10-gpu") or where["commit"] in ("97d9a55", "b829771")


def test_every_published_figure_has_its_source():
    published = measured("published")
    assert not published.environment  # nothing of it was measured here
    assert set(published.extra["sources"]) == set(published.results)
    for source in published.extra["sources"].values():
        assert source["source"].startswith("https://")
        assert {"encoder", "epochs", "note"} <= set(source)


def test_both_pages_say_plainly_that_ours_is_below_what_others_publish():
    ours, others = measured("cifar10-gpu-evaluation").results["SimCLR"], measured("published").results
    assert all(row[column]["mean"] > ours[column]["mean"] for row in others.values() for column in row)
    assert all("is lower than what others publish**" in text for text in PAGES.values())


def test_the_default_recipe_is_the_best_of_those_compared():
    file = measured("cifar10-gpu-recipes")
    for column in ("knn", "labels_all"):
        best = max(file.results, key=lambda row: file.results[row][column]["mean"])
        compared = TrainConfig.from_dict({**file.config, **file.extra["variants"][best]})
        today = TrainConfig().resolved(32)
        assert (compared.optimizer, compared.lr, compared.temperature) == ("lars", today.lr, today.temperature)
        assert PRESETS["cifar10"].resolved(32) == today


def test_the_default_recipe_was_not_clearly_beaten_by_another_one():
    rows = measured("cifar10-gpu-recipes-45").results
    default, *others = (rows[f"SimCLR, {name}"] for name in ("LARS 4", "LARS 8", "batch 1024", "τ = 0.5", "3 layers"))
    assert len(rows) == 1 + len(others)
    gains = [{column: row[column]["mean"] - default[column]["mean"] for column in default} for row in others]
    assert all(0 < gain < 0.013 for row in gains[:2] for gain in row.values())  # "little more than one point at most"
    assert gains[2]["knn"] < -0.04  # "clearly lower"
    assert gains[2]["labels_all"] < 0 < gains[2]["labels_10"]
    assert all(-0.02 < gain < 0 for gain in gains[3].values())  # "lower in every column, by less than two points"


def test_after_many_epochs_neither_recipe_is_better_in_everything():
    first, second = measured("cifar10-gpu-simclr"), measured("cifar10-gpu-simclr-lars8")
    assert (first.config["temperature"], second.config["temperature"]) == (0.5, 0.2)
    assert second.config["lr"] == 4 * 2.0  # of 2.0, which was the default at batch 512
    assert (first.config["epochs"], second.config["epochs"]) == (500, 500)
    before, after = (file.results["SimCLR"] for file in (first, second))
    gains = {column: after[column]["mean"] - before[column]["mean"] for column in before}
    assert {column for column, gain in gains.items() if gain > 0} == {"labels_all", "labels_all_sgd"}
    assert gains["labels_all"] < 0.005  # "no clear lead"


def test_the_speed_on_a_gpu_is_that_of_the_log():
    rows, config = measured("cifar10-gpu-training").results, measured("cifar10-gpu-training").config
    timed = [row for row in rows.values() if "steps_per_second" in row]
    assert len(timed) == 3
    for row in timed:
        expected = row["steps_per_second"] * config["batch_size"]
        assert row["images_per_second"] == pytest.approx(expected, rel=1e-3)
    crowded, single = (rows[f"each of two trainings, {threads}"] for threads in ("16 threads", "one thread"))
    assert single["images_per_second"] > 3 * crowded["images_per_second"]  # "several times"


def test_both_looks_at_the_run_on_a_gpu_agree():
    first, second = measured("cifar10-gpu-simclr").results, measured("cifar10-gpu-evaluation").results
    for source, row in first.items():
        assert all(second[source][column] == accuracy for column, accuracy in row.items())


def test_fine_tuning_with_few_labels_is_worse_as_the_page_says():
    rows = measured("cifar10-gpu-evaluation").results
    worse = [c for c, a in rows["SimCLR, fine-tuned"].items() if a["mean"] < rows["SimCLR"][c]["mean"]]
    assert worse == ["labels_50", "labels_100"]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_means_and_deviations_are_those_of_the_values(path):
    for row in Result.read(path).results.values():
        for accuracy in row.values():
            if isinstance(accuracy, dict):
                again = summary(accuracy["values"])
                assert accuracy["mean"] == pytest.approx(again["mean"], abs=2e-4)
                assert accuracy["std"] == pytest.approx(again["std"], abs=2e-4)


def test_the_first_screen_holds_the_two_commands():
    first_screen = "\n".join(README.splitlines()[:40])
    assert "pip install '.[lab]' && .venv/bin/simclr demo" in first_screen
    assert "pip install -e '.[test]' && .venv/bin/pytest" in first_screen
    script = (ROOT / ".ci" / "run").read_text()
    assert ".venv/bin/pip install -q -e '.[test]'" in script
    assert "\n.venv/bin/pytest" in script


def test_every_command_is_on_a_page_and_exists():
    command = r"^simclr (workshop \w+|\w+)"
    used = {name for text in PAGES.values() for name in re.findall(command, text, flags=re.MULTILINE)}
    assert used <= set(COMMANDS)
    assert set(COMMANDS) <= used | {"demo"}


def test_the_commands_of_readme_are_read_as_they_stand():
    """Every option in the blocks of commands exists, and has a value of its kind."""
    for block in re.findall(r"```bash\n(.*?)```", "".join(PAGES.values()), flags=re.DOTALL):
        for line in re.findall(r"^simclr (.*)", block, flags=re.MULTILINE):
            name, *words = joined(shlex.split(line, comments=True))
            parse(name, words)


def test_the_python_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict = {}
    exec(code.replace("limit=256", "limit=8"), names)
    assert names["z"].shape == (16, 128)
    assert names["loss"].isfinite()
    assert names["features"].shape == (8, 256)


def test_pictures_have_alternative_text():
    assert all(text.strip() for page in PAGES.values() for text in re.findall(r"!\[(.*?)\]\(", page))
    assert (ROOT / "image.png").read_bytes().startswith(b"\x89PNG")
    for film in ("cifar10-gpu-film.webp", "demo-film.webp"):
        assert (RESULTS / film).stat().st_size < 400_000


def test_demo_results_are_what_the_project_stands_for():
    """The claims of this project's front page, as measured over three seeds."""
    demo = measured("demo")
    assert len(demo.seeds) >= 3
    mean = {source: {column: a["mean"] for column, a in row.items()} for source, row in demo.results.items()}
    assert seconds_of_one_seed(demo) <= 300
    assert mean["SimCLR"]["labels_all"] >= 0.95
    assert mean["SimCLR"]["labels_10"] >= 0.80
    assert mean["SimCLR"]["labels_10"] - mean["supervised"]["labels_10"] >= 0.05
    assert max(a for source in ("random encoder", "pixels") for a in mean[source].values()) <= 0.50


def test_the_numbers_are_those_of_todays_recipes():
    for name, recipe in {"demo": DEMO, **{name: base_of(name) for name in SWEEPS}}.items():
        # Settings that are newer than the file were not there to be changed: they are as they are by default.
        used = TrainConfig.from_dict(measured(name).config)
        left_open = {key: getattr(used, key) for key, value in vars(recipe).items() if value in (None, "auto")}
        assert used == replace(recipe, **left_open)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_was_measured_as_it_is_defined_today(name):
    file = measured(name)
    options = ON_DIGITS if name == "views" else " --epochs 6" if name in CAUSES else ""
    assert re.fullmatch(rf"simclr sweep {name}{options}( --out \S+)?( --resume)?", file.environment["command"])
    assert len(file.seeds) >= 3
    assert file.seconds["total"] > 0
    default = base_of(name).to_dict()
    for variant, settings in SWEEPS[name].variants(base_of(name)).items():
        changed = {key: value for key, value in settings.to_dict().items() if value != default[key]}
        assert file.extra["variants"][variant] == rounded(changed)
    accuracies = [accuracy for row in file.results.values() for accuracy in row.values()]
    assert all(len(accuracy["values"]) == len(file.seeds) for accuracy in accuracies)


@pytest.mark.parametrize("name", PRETRAININGS)
def test_a_sweep_of_pretrainings_has_a_row_for_each_variant(name):
    file = measured(name)
    assert {f"SimCLR, {variant}" for variant in file.extra["variants"]} <= set(file.results)


def test_every_source_is_measured_at_every_budget_on_as_many_views_too():
    rows = measured("labels").results
    for source in ("SimCLR, linear head", "SimCLR, fine-tuned", "random encoder", "pixels", "supervised"):
        assert {"labels_10", "labels_20", "labels_50", "labels_100", "labels_all"} <= set(rows[source])
    assert {"labels_10", "labels_100", "labels_all"} <= set(rows["supervised, as many views"])


def test_crop_and_color_only_work_together():
    rows = measured("crop-color").results
    both, alone = rows["SimCLR, crop + color"], [rows["SimCLR, crop only"], rows["SimCLR, color only"]]
    for column in ("labels_10", "labels_all"):
        assert all(both[column]["mean"] > row[column]["mean"] + 0.05 for row in alone)


def test_the_rows_that_readme_shows_are_faster_than_all_others():
    sections = {s["title"]: s["rows"] for s in measured("bench-cpu").extra["sections"]}
    for title in COMPARED:
        assert all(row["ratio"] > 1 for row in sections[title][1:])
    photographs = next(iter(measured("folders").results.values()))
    assert min(photographs["ratio_to_pillow"], photographs["ratio_to_torchvision"]) > 1


def test_simclr_beats_untrained_features_on_photographs():
    rows = measured("cifar10-jpeg-simclr").results
    untrained = max(a["mean"] for source in ("random encoder", "pixels") for a in rows[source].values())
    assert rows["SimCLR"]["labels_all"]["mean"] > untrained + 0.10


def test_importing_costs_little_more_than_torch_and_torchvision():
    sections = {s["title"]: s["rows"] for s in measured("bench-cpu").extra["sections"]}
    _, theirs = sections["Import, in a new process"]
    assert theirs["name"] == "torch, torchvision"
    assert theirs["ratio"] >= 1 / 1.3


def test_chunks_take_the_loss_of_many_pairs_a_fraction_of_the_memory_and_no_more_time():
    sections = {s["title"]: s["rows"] for s in measured("bench-cpu").extra["sections"]}
    chunked, whole = sections["NT-Xent, forward and backward, 16,384 pairs, cpu"]
    assert (chunked["name"], whole["name"]) == ("chunks of 1,024", "in one piece")
    assert chunked["gigabytes"] <= 0.25 * whole["gigabytes"]
    assert chunked["value"] >= whole["value"] / 1.3


def test_the_plan_foretells_what_was_measured():
    for row in measured("plan-cpu").results.values():
        assert row["step"] == pytest.approx(row["measured"], rel=0.3)
        assert row["memory"] == pytest.approx(row["measured_memory"], rel=0.3)
