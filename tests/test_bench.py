"""`simclr bench` measures, compares and says what is not installed."""

import io
import json
import sys
from contextlib import redirect_stdout
from functools import partial
from unittest.mock import MagicMock

import pytest
import torch
from PIL import Image
from torch import nn

from simclr_lib import loop
from simclr_lib.authoring import folders, step
from simclr_lib.commands.bench import bench
from simclr_lib.config import TrainConfig
from simclr_lib.data import load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.experiments import benchmarks, competitors, throughput
from simclr_lib.experiments.benchmarks import Workload, decoding, loss_in_chunks, one_pass, seconds_on_gpu
from simclr_lib.experiments.photographs import write_photographs
from simclr_lib.experiments.throughput import Peak, Row, Section, best, compare, version, work
from simclr_lib.models import resnet18
from simclr_lib.results import Result
from simclr_lib.settings import BenchConfig

TINY = Workload(
    images=16,
    photographs=2,
    photograph_width=64,
    augmented=8,
    loss_pairs=16,
    many_pairs=64,
    chunk=16,
    seconds=0.01,
    loop_seconds=0.01,
)  # few images, single steps
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The results file and the output of a quick run on a machine without kornia and lightly."""
    out = tmp_path_factory.mktemp("bench") / "bench.json"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        for name in ("kornia", "lightly"):
            patch.setitem(sys.modules, name, None)
        bench(BenchConfig(out=out, repeats=1, quick=True, batch_size=8, device="cpu"), TINY)
    return json.loads(out.read_text()), printed.getvalue()


@pytest.mark.slow
def test_quick_run_writes_ratios_that_agree_with_its_rows(quick):
    results, printed = quick
    assert results["n"] == 1
    assert set(results["versions"]) == {"kornia", "lightly", "torchvision"}
    for section in results["sections"]:
        ours = section["rows"][0]
        assert (ours["name"], ours["ratio"]) == ("simclr_lib", 1.0)
        assert section["title"] in printed
        for row in section["rows"]:
            assert row["value"] > 0
            assert row["ratio"] == pytest.approx(ours["value"] / row["value"], rel=1e-2)
            assert row["share"] is None or row["share"] > 0
    assert results["peak"].keys() == {"training", "float32", "memory"}
    assert not any("ResNet-18, batch" in section["title"] for section in results["sections"])


def test_all_who_decode_read_the_same_files():
    section = decoding(TINY, size=16)
    assert [row.name for row in section.rows] == ["simclr_lib", "Pillow", "torchvision"]
    assert section.title == "Decoding, JPEG of 64×48 to 16×16, one core"


@pytest.mark.slow
def test_folders_are_loaded_in_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "SECONDS", 0.01)
    folders.main(["--large", "22", "--small", "5", "--width", "64", "--out", str(tmp_path / "folders.json")])
    large, small = Result.read(tmp_path / "folders.json").results.values()
    assert (large["n"], small["n"]) == (22, 5)
    for row in (large, small):
        assert row["images_per_second"] == pytest.approx(row["n"] / row["seconds"], rel=1e-2)
        assert row["gigabytes"] >= row["gigabytes_before"]


def test_photographs_differ_and_have_the_size_that_was_asked_for(tmp_path):
    files = write_photographs(tmp_path, 3, 64, 48)
    assert {Image.open(file).size for file in files} == {(64, 48)}
    assert len({file.read_bytes() for file in files}) == 3


@pytest.mark.slow
def test_libraries_that_are_not_installed_are_named_with_a_remedy(quick):
    results, printed = quick
    augmentation = results["sections"][0]
    assert augmentation["missing"] == ["kornia", "lightly"]
    assert [row["name"] for row in augmentation["rows"]] == ["simclr_lib", "torchvision v2"]
    assert results["versions"]["lightly"] is None
    assert "not installed: pip install 'simclr-lib[bench]'" in printed


@pytest.mark.parametrize("rival", ["compiled", "kornia"])
def test_what_is_measured_on_a_gpu_only_trains_on_a_cpu_too(monkeypatch, rival):
    if rival == "kornia":
        pytest.importorskip("kornia")
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda net, mode: compiled.append(net) or net)
    images = load_dataset("emblems", "train", limit=16).images
    ours, kornias = partial(competitors.our_training, compiled=True), competitors.kornia_training
    start = {"compiled": ours, "kornia": kornias}[rival]
    encoder = resnet18("fast", 4)
    before = encoder.conv1.weight.clone()
    assert next(start(encoder, images, 8)) == 8
    assert not torch.equal(encoder.conv1.weight, before)
    assert len(compiled) == (rival == "compiled")


def test_the_parts_of_a_step_are_measured_in_milliseconds_and_images_per_second():
    config = TrainConfig(width=4, stem="fast", projection_hidden=16, batch_size=8).resolved(32, CPU)
    rows = step.measure(config, CPU, seconds=0.01).results
    assert list(rows) == [
        "whole step",
        "network and loss, forward and backward",
        "draw two views",
        "make two views",
        "LARS, of the encoder",
    ]
    for row in rows.values():
        assert row["milliseconds"] * row["images_per_second"] == pytest.approx(8_000)


def test_version_of_a_missing_library_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightly", None)
    assert version("lightly") is None
    assert version("torchvision")


def test_competitors_take_turns_and_the_median_counts(monkeypatch):
    turns = []
    speeds = iter([1.0, 10.0, 5.0, 30.0, 3.0, 20.0])

    def competitor(name):
        def start():
            turns.append(name)
            return iter(())

        return start

    monkeypatch.setattr(throughput, "throughput", lambda steps, seconds: next(speeds))
    section = compare("work", "things/s", {"ours": competitor("ours"), "theirs": competitor("theirs")}, 3, 0.0)
    assert turns == ["ours", "theirs"] * 3
    assert section.rows == [Row("ours", 3.0, "things/s"), Row("theirs", 20.0, "things/s")]
    assert section.ratio(section.rows[1]) == pytest.approx(0.15)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; the test moves its hand."""
    hand = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: hand[0])
    return hand


def test_throughput_counts_units_after_the_warm_up(clock):
    def steps():
        for seconds in (100.0, 1.0, 1.0, 2.0, 50.0):  # the first is the warm-up
            clock[0] += seconds
            yield 8

    assert throughput.throughput(steps(), seconds=4.0) == 24 / 4.0


def test_the_best_of_three_measurements_is_the_peak(clock):
    seconds = iter([4.0, 4.0, 2.0, 2.0, 5.0, 5.0])  # warm-up and measurement, three times

    def step():
        clock[0] += next(seconds)

    assert best(step, CPU, seconds=1.0) == 1 / 2.0


def test_the_median_of_the_calls_after_the_warm_up_counts(clock):
    seconds = iter([90.0, 80.0, 3.0, 1.0, 2.0, 60.0, 2.5])

    def step():
        clock[0] += next(seconds)

    assert throughput.median_seconds(step, CPU) == 2.5


def test_at_least_one_step_is_taken(clock):
    assert work(iter([7, 8]), seconds=0.0) == (7, 0.0)


def test_the_steps_that_are_measured_are_the_training_loops(monkeypatch):
    taken = []

    def train_step(*arguments):
        taken.append(arguments)
        return loop.train_step(*arguments)

    monkeypatch.setattr(competitors, "train_step", train_step)
    images = load_dataset("emblems", "train", limit=16).images
    assert next(competitors.our_training(resnet18("fast", 4), images, 8)) == 8
    assert len(taken) == 1


def test_every_section_is_written_before_the_next_is_measured(tmp_path, monkeypatch):
    first = Section("work", [Row("simclr_lib", 1.0, "steps/s")], [])

    def sections(*_):
        yield first
        raise KeyboardInterrupt

    monkeypatch.setattr("simclr_lib.commands.bench.measured_sections", sections)
    monkeypatch.setattr("simclr_lib.commands.bench.measure_peak", lambda *_: Peak(1.0, 1.0, 1.0))
    with pytest.raises(KeyboardInterrupt):
        bench(BenchConfig(out=tmp_path / "bench.json", device="cpu"), TINY)
    assert Result.read(tmp_path / "bench.json").extra["sections"] == [first.to_dict()]


def test_on_a_gpu_everything_is_measured_within_four_minutes():
    assert seconds_on_gpu(Workload()) <= 240


def test_the_seconds_on_a_gpu_are_those_of_what_is_measured_there(monkeypatch):
    measured = []

    def compare(title, unit, contestants, repeats, seconds, limit):
        measured.append(repeats * len(contestants) * 2 * seconds)
        return Section(title, [], [])

    monkeypatch.setattr(benchmarks, "compare", compare)
    monkeypatch.setattr(benchmarks, "load_dataset", MagicMock())  # its images move to any device
    monkeypatch.setattr(benchmarks, "our_training", lambda *_: iter(torch.ones(1, 1) @ torch.ones(1, 1)))
    monkeypatch.setattr(benchmarks, "one_pass", lambda *_: (1.0, 1.0))
    load = Workload(images=16, repeats=5, seconds=0.7, loop_seconds=3.0)
    sections = list(benchmarks.measured_sections(torch.device("cuda"), Peak(1e9, 1e9, 1e9), load))
    assert any("ResNet-18, batch 256, cuda" in section.title for section in sections)
    calls = []
    monkeypatch.setattr(throughput, "throughput", lambda steps, seconds: calls.append(2 * seconds) or 1.0)
    throughput.measure_peak(CPU, load.seconds)
    extra = load.repeats * (benchmarks.COMPILING + 2 * benchmarks.MANY_PAIRS)
    assert seconds_on_gpu(load) == pytest.approx(sum(measured) + sum(calls) + extra)


def test_lightly_has_a_worker_for_each_core_that_this_process_may_use(monkeypatch):
    workers = []

    def loader(*_, num_workers, **__):
        workers.append(num_workers)
        return iter(())

    for name in ("lightly.loss", "lightly.models.modules"):
        monkeypatch.setitem(sys.modules, name, MagicMock(SimCLRProjectionHead=lambda *_: nn.Identity()))
    monkeypatch.setattr(competitors, "TwoViews", lambda pictures: pictures)
    monkeypatch.setattr(competitors, "DataLoader", loader)
    monkeypatch.setattr(competitors, "cores", lambda: 3)
    assert not list(competitors.lightly_training(resnet18("fast", 4), [None, None], CPU, 2))
    assert workers == [3]


def test_table_is_aligned():
    section = Section("work", [Row("simclr_lib", 12345.6, "views/s"), Row("lightly", 801.0, "views/s")], ["kornia"])
    ours, theirs, missing = str(section).splitlines()[1:]
    assert len(ours) == len(theirs)
    assert theirs.split() == ["lightly", "801.0", "views/s", "15.4", "×"]
    assert missing.split()[:3] == ["kornia", "not", "installed:"]


def test_repeats_below_one_are_refused():
    with pytest.raises(SimCLRError, match="repeats must be at least 1, not 0"):
        bench(BenchConfig(repeats=0))


@pytest.mark.slow
def test_the_loss_of_many_pairs_is_measured_in_processes_of_their_own():
    section = loss_in_chunks(CPU, Peak(1e9, 1e9, 1e9), Workload(repeats=1, many_pairs=64, chunk=16))
    assert [row.name for row in section.rows] == ["chunks of 16", "in one piece"]
    assert all(row.share > 0 for row in section.rows)
    assert "64 pairs" in section.title


def test_a_pass_says_its_seconds_and_its_memory():
    seconds, gigabytes = one_pass(64, 16, CPU, torch.get_num_threads())
    assert seconds > 0
    assert gigabytes >= 0
