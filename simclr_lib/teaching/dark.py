"""Figures for pages in the dark: the same drawing with light lines and letters on a dark ground."""

from __future__ import annotations

import pickle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from simclr_lib.teaching.page import DARK_CARD, DARK_INK

COLORS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
GREY = 0.06  # the channels of a colour that counts as grey differ by no more


def in_the_dark(figure: Figure) -> Figure:
    """Copy a figure for a dark page: white becomes dark and black becomes light; colours and photos stay as they are.

    A picture of numbers, such as a confusion matrix, has its scale of colours turned round.

    Args:
        figure: a figure that has been drawn once, so that its layout is known.
    """
    copy: Figure = pickle.loads(pickle.dumps(figure))
    copy.set_layout_engine("none")  # everything is in its place already
    for artist in copy.findobj(lambda artist: not isinstance(artist, Axes | Figure)):  # their grounds are patches
        if isinstance(artist, AxesImage) and (pixels := artist.get_array()) is not None and pixels.ndim == 2:
            artist.set_cmap(artist.get_cmap().reversed())
        names = [name for name in COLORS if hasattr(artist, f"get_{name}") and hasattr(artist, f"set_{name}")]
        # All are read before one is changed, since a marker may take its colour from its line.
        colors = {name: _darkened(to_rgba_array(getattr(artist, f"get_{name}")())) for name in names}
        for name, color in colors.items():
            getattr(artist, f"set_{name}")(color[0] if len(color) == 1 else color)
    return copy


def _darkened(colors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours [N, 4] with every grey between white and black moved to its place between the dark card and light ink."""
    grey = np.ptp(colors[:, :3], axis=1) <= GREY
    ground, ink = np.array(to_rgb(DARK_CARD)), np.array(to_rgb(DARK_INK))
    lightness = colors[grey, :3].mean(axis=1, keepdims=True)
    result = colors.copy()
    result[grey, :3] = ink + lightness * (ground - ink)
    return result
