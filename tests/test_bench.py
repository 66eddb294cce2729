"""`simclr bench` measures, compares and says what is not installed."""

import json
import sys
from functools import partial
from multiprocessing import get_context

import pytest
import torch

from simclr_lib.commands import bench as module
from simclr_lib.commands.bench import BenchConfig, Peak, Row, Section, bench, compare, one_pass, throughput, version
from simclr_lib.data import load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.models import resnet18


@pytest.fixture
def tiny(monkeypatch):
    """A bench of seconds: few images, single steps."""
    for name, value in {
        "IMAGES": 16,
        "AT_ONCE": 8,
        "LOSS_PAIRS": 16,
        "SECONDS": 0.01,
        "LOOP_SECONDS": 0.01,
        "MANY_PAIRS": 64,
        "CHUNK": 16,
    }.items():
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def alone(monkeypatch):
    """A machine without kornia and lightly."""
    for name in ("kornia", "lightly"):
        monkeypatch.setitem(sys.modules, name, None)


def test_quick_run_writes_ratios_that_agree_with_its_rows(tiny, tmp_path, capsys):
    out = tmp_path / "bench.json"
    bench(BenchConfig(out=out, repeats=1, quick=True, batch_size=8, device="cpu"))
    results = json.loads(out.read_text())
    printed = capsys.readouterr().out
    assert results["n"] == 1
    assert set(results["versions"]) == {"kornia", "lightly", "torchvision"}
    for section in results["sections"]:
        ours = section["rows"][0]
        assert (ours["name"], ours["ratio"]) == ("simclr_lib", 1.0)
        assert section["title"] in printed
        for row in section["rows"]:
            assert row["value"] > 0
            assert row["ratio"] == pytest.approx(ours["value"] / row["value"], rel=1e-2)
            assert row["share"] is None or 0 < row["share"] < 1.5
    assert results["peak"].keys() == {"training", "float32", "memory"}
    assert not any("ResNet-18, batch" in section["title"] for section in results["sections"])


def test_libraries_that_are_not_installed_are_named_with_a_remedy(tiny, alone, tmp_path, capsys):
    out = tmp_path / "bench.json"
    bench(BenchConfig(out=out, repeats=1, quick=True, batch_size=8, device="cpu"))
    results = json.loads(out.read_text())
    augmentation = results["sections"][0]
    assert augmentation["missing"] == ["kornia", "lightly"]
    assert [row["name"] for row in augmentation["rows"]] == ["simclr_lib", "torchvision v2"]
    assert results["versions"]["lightly"] is None
    assert "not installed: pip install 'simclr-lib[bench]'" in capsys.readouterr().out


@pytest.mark.parametrize("rival", ["compiled", "kornia"])
def test_what_is_measured_on_a_gpu_only_trains_on_a_cpu_too(monkeypatch, rival):
    if rival == "kornia":
        pytest.importorskip("kornia")
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda net, mode: compiled.append(net) or net)
    images = load_dataset("emblems", "train", limit=16).images
    start = {"compiled": partial(module.our_training, compiled=True), "kornia": module.kornia_training}[rival]
    encoder = resnet18("fast", 4)
    before = encoder.conv1.weight.clone()
    assert next(start(encoder, images, 8)) == 8
    assert not torch.equal(encoder.conv1.weight, before)
    assert len(compiled) == (rival == "compiled")


def test_version_of_a_missing_library_is_none(alone):
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

    monkeypatch.setattr(module, "throughput", lambda steps, seconds: next(speeds))
    section = compare("work", "things/s", {"ours": competitor("ours"), "theirs": competitor("theirs")}, 3, 0.0)
    assert turns == ["ours", "theirs"] * 3
    assert section.rows == [Row("ours", 3.0, "things/s"), Row("theirs", 20.0, "things/s")]
    assert section.ratio(section.rows[1]) == pytest.approx(0.15)


def test_throughput_counts_units_after_the_warm_up(monkeypatch):
    now = 0.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)

    def steps():
        nonlocal now
        for seconds in (100.0, 1.0, 1.0, 2.0, 50.0):  # the first is the warm-up
            now += seconds
            yield 8

    assert throughput(steps(), seconds=4.0) == 24 / 4.0


def test_table_is_aligned():
    section = Section("work", [Row("simclr_lib", 12345.6, "views/s"), Row("lightly", 801.0, "views/s")], ["kornia"])
    ours, theirs, missing = str(section).splitlines()[1:]
    assert len(ours) == len(theirs)
    assert theirs.split() == ["lightly", "801.0", "views/s", "15.4", "×"]
    assert missing.split()[:3] == ["kornia", "not", "installed:"]


def test_repeats_below_one_are_refused():
    with pytest.raises(SimCLRError, match="--repeats must be at least 1"):
        bench(BenchConfig(repeats=0))


def test_the_loss_of_many_pairs_is_measured_in_processes_of_their_own(tiny, capsys):
    section = module.bench_chunks(torch.device("cpu"), Peak(1e9, 1e9, 1e9), repeats=1)
    assert [row.name for row in section.rows] == ["chunks of 16", "in one piece"]
    assert all(row.share > 0 for row in section.rows)
    assert "64 pairs" in capsys.readouterr().out


def test_a_pass_in_one_piece_takes_the_memory_of_all_similarities():
    """In processes that do nothing else, so that their largest size is this pass's."""
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        (_, chunked), (_, whole) = (
            pool.apply(one_pass, (4096, chunk, torch.device("cpu"), 2)) for chunk in (256, None)
        )
    matrix = 4 * 8192**2 / 1e9
    assert whole > 2 * matrix
    assert chunked < matrix / 2
