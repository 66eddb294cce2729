"""Every figure shows the names of classes and folders to the letter, whatever characters they have."""

import io
import warnings

import matplotlib
import pytest
import torch
from matplotlib.cbook import is_math_text
from matplotlib.text import Text
from PIL import Image

from simclr_lib.data import ImageDataset
from simclr_lib.errors import SimCLRError, shown
from simclr_lib.seeding import seeded
from simclr_lib.teaching.page import About
from simclr_lib.teaching.panels import augmentation_panel
from simclr_lib.teaching.plots import (
    in_per_cent,
    in_plain_numbers,
    new_figure,
    plot_by_test_set,
    plot_confusion,
    plot_curves,
    plot_differences,
    plot_embeddings,
    plot_grid,
    plot_histogram,
    plot_neighbors,
    plot_training,
    plot_true_neighbors,
    plot_variants,
    show_crops,
)
from simclr_lib.teaching.report import Picture, Report, Section, accuracy_table, html_report, png_bytes
from simclr_lib.teaching.style import class_look, drawn

NASTY = {  # name → the text that a figure in DejaVu Sans shows
    "$$": "$$",
    "$_$": "$_$",
    r"$\frac{$": r"$\frac{$",
    "$x_1$": "$x_1$",
    "US$1_$5": "US$1_$5",
    r"\$": r"\$",
    "_background_": "_background_",
    "__": "__",
    "猫": "U+732B",
    "a👩b": "aU+1F469b",
    "bell\x07": "bellU+0007",
    "caf\udce9": "caf\ufffd",
    "\ud800": "\ufffd",
    "é": "é",
    "{}%#&~^<b>": "{}%#&~^<b>",
}
NAMES = list(NASTY)
N = len(NAMES)
LABELS = torch.arange(2 * N) % N
IMAGES = torch.randint(256, (2 * N, 3, 8, 8), generator=seeded(0), dtype=torch.uint8)
ACCURACY = {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}


def test_a_live_picture_of_training_has_the_line_of_the_untrained_network_from_the_first_step_on():
    steps = [{"step": step, "epoch": step / 4, "loss": 4.8} for step in range(8)]
    for metrics in (steps[:1], [*steps, {"step": 7, "epoch": 2.0, "validation_knn": 0.5}]):
        figure = plot_training(metrics, 126, untrained=0.25)
        loss_axes, knn_axes = figure.axes
        assert knn_axes.get_legend_handles_labels()[1] == ["during training", "untrained: 25 %"]
        assert knn_axes.get_xlim() == (0, loss_axes.get_xlim()[1])
    assert len(plot_training(steps, 126).axes) == 1  # nothing was measured but the loss


def random_points():
    return torch.randn(2 * N, 2, generator=seeded(1))


def neighbors():
    points = random_points()
    return plot_neighbors(IMAGES[:2], LABELS[:2], IMAGES, LABELS, dict.fromkeys(NAMES, (points[:2], points)), 1)


def crops():
    return show_crops(IMAGES[:N], torch.tensor([[0, 0, 4, 4]]).expand(N, 4), IMAGES[:N] / 255, titles=NAMES)


PLOTS = {
    "rows of a grid": lambda: plot_grid(dict.fromkeys(NAMES, IMAGES[:2] / 255)),
    "columns of a grid": lambda: plot_grid({"row": IMAGES[:N] / 255}, NAMES),
    "crops": crops,
    "histograms": lambda: plot_histogram({name: (torch.rand(9), lambda x: 1.0, (0, 1)) for name in NAMES}),
    "variants": lambda: plot_variants({name: {"knn": ACCURACY} for name in NAMES}, "knn", "accuracy"),
    "test sets": lambda: plot_by_test_set({"SimCLR": dict.fromkeys(NAMES, ACCURACY)}, {name: name for name in NAMES}),
    "classes of an embedding": lambda: plot_embeddings({"h": random_points()}, LABELS, NAMES),
    "titles of embeddings": lambda: plot_embeddings(dict.fromkeys(NAMES, random_points()), LABELS * 0, ["class"]),
    "neighbours": neighbors,
    "confusion": lambda: plot_confusion(torch.eye(N).long(), NAMES),
}


def drawn_texts(figure):
    """The texts of a figure as they are drawn, after it has been saved without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Image.open(io.BytesIO(png_bytes(figure))).load()
    texts = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
    assert not [text for text in texts if is_math_text(text)]
    return [text.replace(r"\$", "$") for text in texts]


@pytest.fixture(autouse=True)
def only_dejavu():
    """The fonts of the machine do not matter: DejaVu Sans comes with matplotlib."""
    with matplotlib.rc_context({"font.family": ["DejaVu Sans"]}):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_names_are_drawn_to_the_letter(plot):
    texts = drawn_texts(plot())
    for text in NASTY.values():
        assert any(text in found.replace("nearest by ", "") for found in texts), text


def test_every_class_has_its_entry_in_the_legend():
    (legend,) = plot_embeddings({"h": random_points()}, LABELS, NAMES).legends
    assert [text.get_text().replace(r"\$", "$") for text in legend.get_texts()] == list(NASTY.values())


@pytest.mark.parametrize(
    "names", [["dog"] * 10, ["golden retriever"] * 20, ["猫の手も借りたい"] * 3, ["x" * 60]], ids=ascii
)
def test_no_name_in_the_legend_is_cut_off(names):
    figure = plot_embeddings({"h": random_points()}, LABELS % len(names), names)
    png_bytes(figure)
    (legend,) = figure.legends
    assert all(figure.bbox.contains(*corner) for corner in legend.get_window_extent().corners())


def test_a_name_is_drawn_as_matplotlib_draws_it_without_formulas():
    def picture(text, **options):
        figure, (axes,) = new_figure(2, 1)
        axes.text(0, 0.5, text, **options)
        return png_bytes(figure)

    for name in ("$x_1$", "US$1_$5", r"\$", "_background_", "$"):
        assert picture(drawn(name)) == picture(name, parse_math=False)


def test_a_character_that_the_first_font_lacks_comes_from_the_next():
    with matplotlib.rc_context({"font.family": ["STIXGeneral", "DejaVu Sans"]}):
        assert drawn("aש猫") == "aשU+732B"
        figure, (axes,) = new_figure(2, 1)
        axes.set_title(drawn("aש猫"))
        assert "aשU+732B" in drawn_texts(figure)
    with matplotlib.rc_context({"font.family": ["STIXGeneral"]}):
        assert drawn("aש") == "aU+05E9"


def test_points_without_a_label_are_drawn_and_named():
    labels = torch.where(torch.arange(2 * N) < 3, -1, 0)
    figure = plot_embeddings({"h": random_points()}, labels, ["_cat"])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["_cat", "no class"]
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 2 * N
    assert "no class" in drawn_texts(plot_embeddings({"h": random_points()}, torch.full((2 * N,), -1), []))


@pytest.mark.slow
def test_the_panel_of_augmentations_names_any_class():
    data = ImageDataset(IMAGES, torch.where(torch.arange(2 * N) == N, -1, LABELS), NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panel = augmentation_panel(data)
        for index in range(N + 1):
            panel.controls["image"].value = index


def test_a_report_with_any_names_is_valid_utf_8():
    figure, _ = new_figure(1, 1)
    for name in NAMES:
        table = accuracy_table({name: {"knn": ACCURACY}}, {"knn": name})
        picture = Picture(name, name, name, figure, name)
        sections = [Section(name, name, name, table), picture.section]
        page = html_report(Report(About(name, name, name), [(name, name)], sections, {name: name}))
        assert page.encode().decode().count("\ufffd") == 22 * shown(name).count("\ufffd")
        assert "<b><b>" not in page


def test_ten_classes_have_ten_colours_and_more_classes_other_markers():
    looks = [class_look(label) for label in range(20)]
    assert len({color for color, _ in looks[:10]}) == 10
    assert len({marker for _, marker in looks[:10]}) == 10
    assert len(set(looks)) == 20


def test_curves_show_numbers_and_means_with_bars():
    rows = {16: {"mean": 0.3, "std": 0.1}, 64: {"mean": 0.9, "std": 0.0}}
    (axes,) = plot_curves({"12 epochs": rows, "768 steps": {16: 0.2, 64: 0.8}}, "images", "accuracy").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["12 epochs", "768 steps"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["16", "64"]
    assert plot_curves({"a": {2: 10.0}}, "images", "MB", log_y=True).axes[0].get_yscale() == "log"


def test_differences_have_a_dot_for_every_seed_and_the_interval_of_students_t():
    (axes,) = plot_differences({"a − b": [1.0, 2.0, 3.0]}, "points").axes
    dots, mean = axes.lines[0], axes.lines[1]
    assert list(dots.get_xdata()) == [1, 2, 3]
    assert list(mean.get_xdata()) == [2]
    ((left, _), (right, _)) = axes.collections[0].get_segments()[0]
    assert (right - left) / 2 == pytest.approx(4.303 / 3**0.5, rel=1e-3)  # t · s / √S with two degrees of freedom


def test_lines_of_a_click_lead_to_the_neighbours_in_feature_space():
    features = torch.eye(20)
    features[1:11, 0] = torch.arange(10, 0, -1)  # the further down, the less similar to the first
    labels = (torch.arange(20) > 10).long()  # the others are of another class, and nearer in the picture
    points = torch.cat([torch.zeros(1, 2), torch.arange(10.0, 20)[:, None].expand(10, 2), torch.rand(9, 2)])
    images = torch.zeros(20, 3, 4, 4, dtype=torch.uint8)
    figure = plot_true_neighbors(points, features, images, labels, ["disc", "square"], chosen=0)
    ends = [line.get_xdata()[1] for line in figure.axes[0].lines[:10]]
    assert ends == list(range(10, 20))  # the most similar first
    assert len(figure.axes[0].lines) == 10 + 1  # lines, and a ring
    assert "10 of its class" in figure.axes[1].get_title()
    without_labels = plot_true_neighbors(points, features, images, torch.full((20,), -1), [], chosen=0)
    assert without_labels.axes[1].get_title() == "the image, and its ten neighbours"


def test_a_dotted_line_is_the_untrained_network():
    results = {"SimCLR": {"knn": {"mean": 0.5, "std": 0.0, "values": [0.5]}}}
    (axes,) = plot_variants(results, "knn", "accuracy", untrained=0.17).axes
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["single runs", "mean ± standard deviation", "untrained: 17.0 %"]


def test_axes_write_numbers_as_texts_do():
    _, (axes,) = new_figure(2, 1)
    in_per_cent(axes.xaxis)
    in_plain_numbers(axes.yaxis)
    assert axes.xaxis.get_major_formatter()(0.9, None) == "90 %"
    assert axes.yaxis.get_major_formatter()(1000, None) == "1,000"


def test_many_embeddings_stand_in_rows_of_three():
    axes = plot_embeddings({str(i): random_points() for i in range(5)}, LABELS, NAMES).axes
    assert [a.get_subplotspec().rowspan.start for a in axes] == [0, 0, 0, 1, 1]


def test_a_grid_of_black_images_has_white_gaps():
    (axes,) = plot_grid({"black": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}).axes
    pixels = axes.images[0].get_array()
    assert pixels.min() == 0
    assert pixels.max() == 1


def test_embeddings_are_drawn_where_they_are_finite_and_their_labels_have_names():
    points = random_points()
    with pytest.raises(SimCLRError, match="labels must be below the number of classes"):
        plot_embeddings({"h": points}, LABELS + len(NAMES), NAMES)
    with pytest.raises(SimCLRError, match="one point for each feature"):
        plot_embeddings({"h": points[:-1]}, LABELS, NAMES)
    points[0, 0] = torch.nan
    with pytest.raises(SimCLRError, match="h must be finite: 1 of"):
        plot_embeddings({"h": points}, LABELS, NAMES)
