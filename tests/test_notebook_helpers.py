"""A panel redraws one picture in place, and an error in it is never swallowed."""

import json

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from simclr_lib.data import find_images
from simclr_lib.errors import SimCLRError
from simclr_lib.losses import nt_xent
from simclr_lib.seeding import seeded
from simclr_lib.teaching.digits import write_digits
from simclr_lib.teaching.local_norm import LocalBatchNorm, set_norms
from simclr_lib.teaching.memory import peak_bytes
from simclr_lib.teaching.notebook import DARK_THEME, DRAWING, LivePicture, Panel, load_results, run_folder, show
from simclr_lib.teaching.plots import new_figure


def draw(level):
    figure, (axes,) = new_figure(3, 2)
    axes.axhline(level)
    return figure, f"level {level}"


def panel(draw=draw):
    return Panel(draw, "A line at the chosen level.", level=widgets.IntSlider(min=0, max=5))


def test_moving_a_slider_changes_the_same_picture():
    shown = panel()
    picture, before = shown.picture, shown.picture.value
    shown.controls["level"].value = 4
    assert shown.picture is picture
    assert picture.value != before
    assert bytes(picture.value).startswith(b"\x89PNG")
    assert shown.text == "level 4"
    assert "level 4" in shown.caption.value
    assert "A line at the chosen level." in shown.caption.value
    assert picture.tooltip is None  # JupyterLab cannot show a picture that has one


def test_no_figure_is_left_open():
    shown = panel()
    for level in range(5):
        shown.controls["level"].value = level
    assert plt.get_fignums() == []


def test_an_error_while_redrawing_is_raised():
    def broken(level):
        if level == 3:
            raise RuntimeError("broken")
        return draw(level)

    shown = panel(broken)
    with pytest.raises(RuntimeError, match="broken"):
        shown.controls["level"].value = 3


def test_a_picture_needs_a_description():
    with pytest.raises(SimCLRError, match="alternative text"):
        show(draw(1)[0], " ")


def test_a_shown_picture_has_its_description_in_its_metadata_and_below_it(monkeypatch):
    shown = []
    monkeypatch.setattr("simclr_lib.teaching.notebook.display", lambda what, **_: shown.append(what))
    show(draw(1)[0], "A line.")
    picture, text = shown
    assert ">A line.<" in text.data
    data, metadata = picture._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == "A line."
    assert metadata["image/png"]["width"] == 288
    assert "image/png" in data


@pytest.mark.parametrize(
    ("pixels", "turns_dark"), [(None, True), (np.zeros((4, 4)), True), (np.zeros((4, 4, 3)), False)]
)
def test_drawings_turn_dark_in_jupyterlab_but_photographs_keep_their_colours(monkeypatch, pixels, turns_dark):
    def draw_pixels():
        figure, _ = draw(1)
        if pixels is not None:
            figure.axes[0].imshow(pixels)
        return figure

    shown = []
    monkeypatch.setattr(
        "simclr_lib.teaching.notebook.display", lambda *what, **settings: shown.append((*what, settings))
    )
    show(draw_pixels(), "A line.")
    live, moved = LivePicture(draw_pixels, "A line."), panel(lambda level: (draw_pixels(), "a line"))
    live()
    moved.show()
    (_, of_picture), (text, _), (_, of_panel), (panels_text, _) = shown
    assert of_picture == of_panel == {"metadata": {"needs_background": "light"} if turns_dark else {}}
    for picture in live.picture, moved.picture:
        assert (DRAWING in picture._dom_classes) == turns_dark
    for html in text.data, panels_text.data, live.children[1].value, moved.caption.value:
        assert DARK_THEME in html


def test_results_are_found_wherever_the_notebook_runs(monkeypatch, request, tmp_path):
    results = request.config.rootpath / "notebooks" / "results"
    for folder in (request.config.rootpath, request.config.rootpath / "notebooks", tmp_path):
        monkeypatch.chdir(folder)
        assert load_results("demo") == json.loads((results / "demo.json").read_text())
    with pytest.raises(SimCLRError, match=r"no results file at .*nothing\.json"):
        load_results("nothing")


def test_a_live_picture_appears_when_there_is_something_to_see():
    live = LivePicture(lambda level: draw(level)[0], "A line.")
    assert live.children == ()
    live(1)
    first = bytes(live.picture.value)
    live(3)
    assert bytes(live.picture.value) != first
    assert live.picture in live.children
    assert "A line." in live.children[1].value


def test_a_run_goes_below_the_notebook(tmp_path, monkeypatch):
    monkeypatch.delenv("SIMCLR_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run_folder("03-quick").resolve() == tmp_path / "runs" / "03-quick"


def test_where_nothing_may_be_written_a_run_goes_elsewhere_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SIMCLR_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file where the folder should be")
    folder = run_folder("03-quick")
    assert folder.is_dir()
    assert tmp_path not in folder.parents
    assert f"stored in the temporary folder {folder}, which the system may delete." in capsys.readouterr().out


def test_the_peak_is_what_is_held_at_one_time():
    x = torch.zeros(1000)  # 4,000 bytes, made before

    def one_after_the_other():
        for number in range(5):
            y = x + number
            del y

    assert peak_bytes(lambda: x + 1) == 4_000
    assert peak_bytes(lambda: (x + 1) + 2) == 8_000
    assert peak_bytes(one_after_the_other) == 4_000
    assert peak_bytes(lambda: [x + number for number in range(5)]) == 20_000
    assert peak_bytes(lambda: x[1:].add_(1).view(-1, 3)) == 0  # views, and what is changed in place


def test_what_autograd_keeps_counts_until_it_lets_go():
    z = torch.randn(2, 64, 8, requires_grad=True)
    similarities = 4 * 128 * 128
    assert peak_bytes(lambda: nt_xent(z[0], z[1])) > 2 * similarities
    assert peak_bytes(lambda: nt_xent(z[0], z[1], chunk_size=16).backward()) < similarities


def test_digits_lie_in_one_folder_with_a_few_labels_or_in_a_folder_each(tmp_path):
    truth = write_digits(tmp_path / "flat", per_class=3, numbers=range(200))
    layout = find_images(tmp_path / "flat", tmp_path / "flat" / "labels.csv")
    labels = {path.name: label for files in layout.parts.values() for path, label in files}
    assert labels.keys() == truth.keys()
    assert sum(label >= 0 for label in labels.values()) == 30
    assert all(layout.classes[label] == truth[name] for name, label in labels.items() if label >= 0)
    assert len(write_digits(tmp_path / "new", per_class=0, numbers=range(200, 210))) == 10
    assert not (tmp_path / "new" / "labels.csv").exists()
    write_digits(tmp_path / "sorted", by_class=True, numbers=range(50))
    assert find_images(tmp_path / "sorted").classes == [str(digit) for digit in range(10)]


# Batch norm of processes that do not talk to each other, in notebook 09:


@pytest.mark.parametrize("apart", [False, True])
def test_local_batch_norm_takes_the_statistics_of_each_process(apart):
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    set_norms(network, images=4, apart=apart)
    x = torch.randn(32, 3, 5, 5, generator=seeded(1))  # two views of 16 images, in four processes
    first, second = x.chunk(2)
    second = second.roll(4, 0) if apart else second  # then the second views are in the next process
    parts = [torch.cat(views) for views in zip(first.split(4), second.split(4), strict=True)]
    normalised = [torch.nn.functional.batch_norm(part, None, None, training=True).chunk(2) for part in parts]
    first, second = (torch.cat(views) for views in zip(*normalised, strict=True))
    expected = torch.cat([first, second.roll(-4, 0) if apart else second])
    assert torch.allclose(network(x), expected, atol=1e-5)


def test_local_batch_norm_is_an_ordinary_one_in_evaluation_mode():
    layer, ordinary, x = LocalBatchNorm(3), torch.nn.BatchNorm2d(3), torch.randn(8, 3, 2, 2, generator=seeded(2))
    for norm in (layer, ordinary):
        norm.train()(x)  # both see the same images
    assert torch.equal(layer.eval()(x), ordinary.eval()(x))
