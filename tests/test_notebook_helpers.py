"""A panel redraws one picture in place, and an error in it is never swallowed."""

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pytest

from simclr_lib.errors import SimCLRError
from simclr_lib.teaching.notebook import Panel, load_results, show
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
    assert shown.caption.value == "level 4"
    assert picture.tooltip == "A line at the chosen level."


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


def test_a_shown_picture_carries_its_description(monkeypatch):
    shown = []
    monkeypatch.setattr("simclr_lib.teaching.notebook.display", shown.append)
    show(draw(1)[0], "A line.")
    data, metadata = shown[0]._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == "A line."
    assert metadata["image/png"]["width"] == 288
    assert "image/png" in data


def test_results_are_found_from_the_notebooks_folder_and_the_projects(monkeypatch, request):
    for folder in (request.config.rootpath, request.config.rootpath / "notebooks"):
        monkeypatch.chdir(folder)
        assert "results" in load_results("demo")
    with pytest.raises(SimCLRError, match=r"no nothing\.json"):
        load_results("nothing")
