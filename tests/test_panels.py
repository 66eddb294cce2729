"""Every control of every panel changes the picture or the line below it, and the picture keeps its size."""

import io

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from simclr_lib.data import load_dataset
from simclr_lib.seeding import seeded
from simclr_lib.teaching.notebook import load_results
from simclr_lib.teaching.panels import augmentation_panel, labels_panel, scaling_panel, temperature_panel

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
    panel.controls["resample"].value += 1
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
    assert "The best number of processes is 256" in panel.text
    panel.controls["bandwidth"].value = 0.1
    assert "The best number of processes is 16: " in panel.text
