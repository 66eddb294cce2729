"""Every control of every panel changes the picture or the line below it, and the picture keeps its size."""

import io
import re

import ipywidgets as widgets
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from simclr_lib.data import load_dataset
from simclr_lib.errors import SimCLRError
from simclr_lib.results import summary
from simclr_lib.seeding import seeded
from simclr_lib.teaching.notebook import load_results
from simclr_lib.teaching.panels import augmentation_panel, labels_panel, scaling_panel, temperature_panel
from simclr_lib.teaching.plots import SOURCE_STYLE

PANELS = {
    "augmentation": lambda: augmentation_panel(load_dataset("emblems", "test", limit=20)),
    "temperature": lambda: temperature_panel(
        F.normalize(torch.randn(32, 8, generator=seeded(0)), dim=1), load_results("temperature")
    ),
    "labels": lambda: labels_panel(load_results("labels")),
    "scaling": lambda: scaling_panel(
        lambda processes, images, speed, bandwidth, latency: {
            "compute": images / processes / speed,
            "loss": images / 1000 / speed,
            "exchange": (processes - 1) / bandwidth + processes.bit_length() * latency / 1e4,
        }
    ),
}


def ends(control):
    """Return the extreme values of a control."""
    if isinstance(control.value, bool):
        return [True, False]
    if hasattr(control, "base"):  # a logarithmic slider
        return [control.base**control.min, control.base**control.max]
    if hasattr(control, "options"):
        return [control.options[end][1] for end in (0, -1)]
    if hasattr(control, "click"):
        return [control.value, control.value + 1]
    if isinstance(control.value, tuple):
        return [(control.min, control.min), (control.max, control.max), (control.min, control.max)]
    return [control.min, control.max]


@pytest.mark.slow
@pytest.mark.parametrize("name", PANELS)
def test_every_control_can_go_to_its_ends(name):
    panel = PANELS[name]()
    size = Image.open(io.BytesIO(panel.picture.value)).size
    for control in panel.controls.values():
        before, pictures = control.value, set()
        for value in ends(control):
            control.value = value
            pictures.add(bytes(panel.picture.value))
            assert Image.open(io.BytesIO(panel.picture.value)).size == size
            assert panel.text
        control.value = before
        assert len(pictures) > 1 or isinstance(before, bool), control.description


def test_the_same_randomness_stays_until_resampled():
    panel = PANELS["augmentation"]()

    def flips():
        return panel.text.partition(";")[2]

    kept = flips()
    panel.controls["color_strength"].value = 0.3
    assert flips() == kept
    panel.controls["resample"].click()
    assert flips() != kept


def test_without_it_every_change_draws_anew():
    panel = PANELS["augmentation"]()
    panel.controls["same_randomness"].value = False
    seen = set()
    for strength in (0.2, 0.4, 0.6, 0.8):
        panel.controls["color_strength"].value = strength
        seen.add(panel.text)
    assert len(seen) > 1


def test_a_snapshot_leaves_the_panel_as_it_was(capsys):
    panel = PANELS["augmentation"]()
    before = bytes(panel.picture.value)
    panel.show(color_strength=0.0)
    assert "mean crop" in capsys.readouterr().out
    assert panel.controls["color_strength"].value == 1.0
    assert bytes(panel.picture.value) == before


def test_exchange_that_takes_long_makes_fewer_processes_the_fastest():
    panel = PANELS["scaling"]()
    panel.controls["bandwidth"].value = 1000
    assert "256 processes are fastest: " in panel.text
    panel.controls["bandwidth"].value = 0.1
    assert "16 processes are fastest: " in panel.text
    assert panel.text.endswith(" times as fast as one.")


def test_where_exchange_eats_every_gain_one_process_is_fastest():
    panel = scaling_panel(lambda processes, *_: {"compute": 1.0, "loss": 0.1, "exchange": processes - 1.0})
    assert panel.text.endswith(" is exchange. One process is fastest.")


# The panel of labels:


def sweep_of_labels(many_views):
    """A sweep over 10, 100 and all 1,000 labels per class, in which one way of training has fewer budgets."""
    means = {"supervised": {10: 0.5, 100: 0.7, 1000: 0.9}, "supervised, as many views": many_views}
    rows = {
        source: {"labels_all" if n == 1000 else f"labels_{n}": summary([mean]) for n, mean in row.items()}
        for source, row in means.items()
    }
    return {"results": rows, "num_train": 10_000}


def drawn_by(panel, target, source):
    """The rings and the kinds of lines in the colour of a source."""
    figure, _ = panel.draw(target)
    lines = [line for line in figure.axes[0].lines if line.get_color() == SOURCE_STYLE[source][0]]
    rings = [
        tuple(map(float, line.get_xydata()[0]))
        for line in figure.axes[0].lines
        if line.get_markeredgecolor() == SOURCE_STYLE[source][0] and line.get_markersize() == 14
    ]
    return rings, [
        line.get_linestyle() for line in lines if len(line.get_xdata()) == 2 and line.get_linestyle() != "None"
    ]


def test_a_crossing_between_budgets_that_were_skipped_is_not_called_a_measurement():
    panel = labels_panel(sweep_of_labels({10: 0.6, 1000: 1.0}))
    panel.controls["target"].value = 0.8
    assert panel.text == (
        "Labels per class for 80 %: supervised: about 316; "
        "supervised, as many views: between 10 and 1,000 labels (not measured)."
    )
    (ring,), lines = drawn_by(panel, 0.8, "supervised")
    assert ring == pytest.approx((10**2.5, 0.8))
    assert lines == ["--", "--"]
    assert drawn_by(panel, 0.8, "supervised, as many views") == ([], [":"])


def test_where_all_budgets_were_measured_every_crossing_has_its_ring():
    panel = labels_panel(sweep_of_labels({10: 0.6, 100: 0.8, 1000: 1.0}))
    panel.controls["target"].value = 0.7
    assert panel.text == "Labels per class for 70 %: supervised: about 100; supervised, as many views: about 32."
    (ring,), lines = drawn_by(panel, 0.7, "supervised, as many views")
    assert ring == pytest.approx((10**1.5, 0.7))
    assert lines == ["--", "--"]


# Values for a snapshot:


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("temperature", {"temperature": 0.01}, "temperature must be between 0.02 and 2, not 0.01."),
        ("temperature", {"temperature": 5.0}, "temperature must be between 0.02 and 2, not 5.0."),
        ("temperature", {"anchor": 16}, "anchor must be between 0 and 15, not 16."),
        ("temperature", {"anchor": 1.5}, "anchor must be a whole number, not 1.5."),
        ("temperature", {"temprature": 1.0}, "unknown control 'temprature': did you mean 'temperature'?"),
        ("augmentation", {"crop_area": (0.5, 1.5)}, "crop_area must be between 0.02 and 1, not 1.5."),
        ("labels", {"target": 0.999}, "target must be one of 0.2, 0.21 … 0.99, not 0.999."),
        ("labels", {"target": 0.1}, "target must be one of 0.2, 0.21 … 0.99, not 0.1."),
    ],
)
def test_a_value_that_a_control_cannot_take_is_refused_and_nothing_is_shown(name, values, message, capsys):
    panel = PANELS[name]()
    before = bytes(panel.picture.value)
    with pytest.raises(SimCLRError, match=f"^{re.escape(message)}"):
        panel.show(**values)
    assert capsys.readouterr().out == ""
    assert bytes(panel.picture.value) == before


@pytest.mark.parametrize(("name", "control"), [("temperature", "temperature"), ("labels", "target")])
def test_the_ends_of_a_control_can_be_shown(name, control, capsys):
    panel = PANELS[name]()
    for value in {"temperature": (0.02, 2), "target": (0.2, 0.99)}[control]:
        panel.show(**{control: value})
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_new_draws_come_from_a_button_that_the_keyboard_reaches():
    button = PANELS["augmentation"]().controls["resample"]
    assert isinstance(button, widgets.Button)
    assert button.description == "resample"
