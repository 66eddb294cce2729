"""The sentences and figures of a report: numbers are those of what is shown, and the dark has figures of its own."""

import re
from pathlib import Path

import pytest
import torch
from matplotlib.colors import to_rgb

import simclr_lib
from simclr_lib.augment import SimCLRAugment
from simclr_lib.data import ImageDataset
from simclr_lib.errors import percentage
from simclr_lib.evaluation import Film
from simclr_lib.results import summary
from simclr_lib.seeding import seeded
from simclr_lib.teaching.dark import in_the_dark
from simclr_lib.teaching.page import DARK_CARD, DARK_INK, About, html_document
from simclr_lib.teaching.pictures import (
    beside_its_class,
    picture_of_confusion,
    picture_of_neighbors,
    picture_of_training,
    picture_of_views,
)
from simclr_lib.teaching.plots import new_figure
from simclr_lib.teaching.report import Report, comparison, png_bytes


def images(labels):
    pixels = torch.randint(256, (len(labels), 3, 8, 8), generator=seeded(0), dtype=torch.uint8)
    return ImageDataset(pixels, torch.tensor(labels), ["cat", "dog"])


def test_the_task_of_a_view_is_to_find_its_partner_among_all_others():
    picture = picture_of_views(images([0, 1]).images, SimCLRAugment(8), 128)
    assert "each of 128 views" in picture.conclusion
    assert "among the 127 others" in picture.conclusion


def test_learning_is_told_from_the_first_number_to_the_last():
    metrics = [
        {"step": 0, "epoch": 0.0, "loss": 4.8},
        {"step": 1, "epoch": 1.0, "validation_knn": 0.25},
        {"step": 1, "epoch": 1.0, "loss": 1.234},
        {"step": 2, "epoch": 2.0, "validation_knn": 0.985},
    ]
    conclusion = picture_of_training(metrics, 126).conclusion
    assert conclusion == (
        "The contrastive loss fell from 4.80 in the first step to 1.23 in the last; the kNN accuracy rose from 25 % at "
        "the first measurement to 98 % at the last."
    )


def test_learning_is_compared_with_the_network_before_training():
    metrics = [
        {"step": 0, "epoch": 0.0, "loss": 2.0},
        {"step": 1, "epoch": 1.0, "validation_knn": 0.3},
        {"step": 1, "epoch": 1.0, "loss": 2.5},
    ]
    picture = picture_of_training(metrics, 126, untrained=0.41)
    assert picture.conclusion == (
        "The contrastive loss rose from 2.00 in the first step to 2.50 in the last; the kNN accuracy fell from 41 % "
        "before training to 30 % at the last measurement."
    )
    _, knn_axes = picture.figure.axes
    (line,) = [line for line in knn_axes.lines if line.get_label() == "untrained: 41 %"]
    assert set(line.get_ydata()) == {0.41}
    assert picture.alt.endswith("beside a dotted line for the untrained network.")


def test_neighbours_of_the_same_class_are_counted():
    h, noise = torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    bank = images([0, 0, 1, 1])
    pair = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    found = picture_of_neighbors(images([0, 1]), bank, {"h": (h, pair), "pixels": (noise, pair)})
    assert found.conclusion == "Of 8 neighbours, 4 by h and 4 by pixels show the same class as their query."
    unlabelled = picture_of_neighbors(images([-1, -1]), bank, {"h": (h, pair), "pixels": (noise, pair)})
    assert unlabelled.conclusion == "Of 8 neighbours by h, 8 are neighbours by pixels too."


def test_points_beside_their_class_are_counted_and_points_without_a_class_are_not():
    points = torch.tensor([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0], [0.05, 0.0]])
    assert beside_its_class(points, torch.tensor([0, 0, 0, 1, -1])) == 0.5
    assert beside_its_class(points, torch.full((5,), -1)) is None


def test_the_most_frequent_mistake_is_named():
    labels, predicted = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 1, 0])
    conclusion = picture_of_confusion(labels, predicted, ["cat", "dog"], "kNN").conclusion
    assert conclusion.startswith("50.0 % of 6 test images get the right class from kNN; ")
    assert conclusion.endswith("take cat for dog (2 of 4).")
    assert "mistake" not in picture_of_confusion(labels, labels, ["cat", "dog"], "kNN").conclusion


def test_a_table_is_summed_up_by_a_column_that_all_rows_have():
    table = {"SimCLR": {"knn": summary([0.9]), "labels_all": summary([0.95])}, "pixels": {"labels_all": summary([0.2])}}
    assert comparison(table) == "With all labels, SimCLR reaches 95.0 %, against 20.0 % (pixels)."


@pytest.mark.parametrize(
    ("column", "beginning"),
    [
        ("knn", "By a vote of nearest neighbours, "),
        ("knn_200", "By a vote of nearest neighbours, "),
        ("labels_10", "With 10 labels per class, "),
        ("labels_1", "With 1 label per class, "),
    ],
)
def test_every_column_of_a_table_has_words(column, beginning):
    accuracies = {column: summary([0.8]), f"{column}_balanced": summary([0.7])}
    table = {"SimCLR": accuracies, "pixels": accuracies}
    assert comparison(table) == f"{beginning}SimCLR reaches 80.0 %, against 80.0 % (pixels)."


def test_a_percentage_has_a_space_before_its_sign():
    assert percentage(0.964) == "96 %"
    assert percentage(0.9636, 1) == "96.4 %"
    for file in Path(simclr_lib.__file__).parent.rglob("*.py"):
        assert not re.findall(r'%}|PercentFormatter|_format="[^"]*%"', file.read_text(encoding="utf-8")), file


def test_in_the_dark_black_and_white_change_places_and_colours_stay():
    figure, (axes,) = new_figure(2, 2)
    (black,) = axes.plot([0, 1], [0, 1], color="black", marker="o")
    (blue,) = axes.plot([0, 1], [1, 0], color="#0072B2")
    png_bytes(figure)
    dark = in_the_dark(figure).axes[0]
    assert dark.get_facecolor()[:3] == pytest.approx(to_rgb(DARK_CARD))
    assert to_rgb(dark.lines[0].get_color()) == pytest.approx(to_rgb(DARK_INK))
    assert to_rgb(dark.lines[0].get_markerfacecolor()) == pytest.approx(to_rgb(DARK_INK))
    assert to_rgb(dark.lines[1].get_color()) == pytest.approx(to_rgb("#0072B2"))
    assert (black.get_color(), blue.get_color()) == ("black", "#0072B2")  # the figure itself is as it was
    assert axes.get_facecolor()[:3] == (1, 1, 1)


def test_a_preview_has_the_full_address_where_it_is_known(tmp_path):
    film = Film("h", ["now"], torch.rand(1, 2, 2, generator=seeded(0)))
    report = Report(About("A page"), [("95 %", "kNN")], [], film=film, images=images([0, 1]))
    assert [file.name for file in report.write(tmp_path / "a.html")] == ["a.png", "a.html"]  # one moment is no film
    assert '<meta property="og:image" content="a.png">' in (tmp_path / "a.html").read_text(encoding="utf-8")
    report.write(tmp_path / "a.html", "https://example.org/pages/a.html")
    assert 'content="https://example.org/pages/a.png"' in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_no_text_ends_an_attribute_or_the_page():
    page = html_document(About('"><script>alert(1)</script>', lead="<b>"), "")
    assert "<script>" not in page
    assert "<b>" not in page
