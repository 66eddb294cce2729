"""A results file is written and read in one way, and its accuracies have one name each."""

import json
import os
from pathlib import Path

import pytest
import torch

from simclr_lib.errors import SimCLRError
from simclr_lib.results import Result, columns, in_words, per_cent, rounded, summary, text_table

FILES = sorted((Path(__file__).parent.parent / "notebooks" / "results").glob("*.json"))
CPU = torch.device("cpu")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_measured_file_reads_as_a_result_that_holds_all_of_it(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    result = Result.read(path)
    assert rounded(result.to_dict()) == content
    assert isinstance(result.seconds, dict)
    assert "seconds" not in content or result.seconds["total"] > 0


def test_what_is_written_is_read_again(tmp_path):
    file = tmp_path / "results.json"
    table = {"SimCLR": {"knn": summary([0.5, 0.75])}}
    written = Result("a test", table, {"seed": 3}, [1, 2], 10, 5, {"work": 1.0, "total": 2.0}, extra={"resumed": False})
    written.write(file, CPU, command="a command")
    again = Result.read(file)
    assert again.environment["command"] == "a command"
    assert again.environment["torch"] == torch.__version__
    assert again.extra == {"resumed": False}
    assert again.results["SimCLR"]["knn"] == {"mean": 0.625, "std": 0.1768, "values": [0.5, 0.75]}
    assert (again.config, again.seeds, again.num_train, again.num_test) == ({"seed": 3}, [1, 2], 10, 5)
    assert again.seconds == {"work": 1.0, "total": 2.0}


def test_a_folder_whose_name_is_not_valid_text_does_not_lose_the_results(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    Result(f"simclr on {name}", config={"data_dir": name}).write(tmp_path / "results.json", CPU)
    assert Result.read(tmp_path / "results.json").config == {"data_dir": "caf\ufffd"}


def test_what_was_not_measured_is_not_written(tmp_path):
    Result("a test", extra={"sections": []}).write(tmp_path / "results.json", CPU)
    assert set(json.loads((tmp_path / "results.json").read_text())) == {"what", "environment", "sections"}


def test_seconds_without_parts_are_one_number(tmp_path):
    file = tmp_path / "results.json"
    Result("a test", seconds={"total": 7.5}).write(file, CPU)
    assert json.loads(file.read_text())["seconds"] == 7.5
    assert Result.read(file).seconds == {"total": 7.5}


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"format": 1}', b"\xff\xfe"])
def test_another_file_is_not_taken_for_results(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(SimCLRError, match="is not a results file"):
        Result.read(tmp_path / "results.json")
    with pytest.raises(SimCLRError, match="there is no results file"):
        Result.read(tmp_path / "nothing.json")


def test_numbers_keep_four_decimals_and_small_ones_all_digits():
    assert rounded({"a": [0.123456, 1e-4 / 3], 2: (1, None)}) == {"a": [0.1235, 1e-4 / 3], "2": [1, None]}


def test_an_accuracy_is_shown_in_per_cent_with_its_deviation():
    assert per_cent(summary([0.9637])) == "96.4"
    assert in_words(summary([0.5])) == "50.0 %"
    assert in_words(summary([0.9, 0.8])) == "85.0 ± 7.1 %"


def test_columns_come_in_reading_order_with_a_short_and_a_long_name():
    row = dict.fromkeys(["labels_all_sgd", "labels_100", "opposite_hue", "labels_20", "labels_all", "knn"])
    assert columns({"SimCLR": row}) == {
        "knn": "kNN, k = 20",
        "labels_20": "20 per class",
        "labels_100": "100 per class",
        "labels_all": "all labels",
        "labels_all_sgd": "all, SGD",
        "opposite_hue": "opposite hue",
    }
    long = columns({"SimCLR": row}, long=True)
    assert list(long) == list(columns({"SimCLR": row}))
    assert (long["labels_20"], long["labels_all_sgd"]) == ("20 labels / class", "all labels, SGD protocol")


def test_the_table_is_aligned_and_marks_what_was_not_measured():
    table = {
        "SimCLR": {"knn": summary([0.5]), "labels_all": summary([0.7, 0.8])},
        "random encoder": {"knn": summary([0.25])},
    }
    assert text_table(table).splitlines() == [
        "                                  random",
        "test accuracy, %      SimCLR     encoder",
        "kNN, k = 20       50.0        25.0",
        "all labels        75.0 ± 7.1     –",
    ]
