"""Helpers for notebook cells: pictures with alternative text, code, results files, and pictures that sliders change."""

from __future__ import annotations

import inspect
import os
import tempfile
import textwrap
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from IPython.display import HTML, Image, Markdown, display
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, BboxImage

from simclr_lib.errors import SimCLRError, require_range, require_whole, shown, unknown_name
from simclr_lib.results import Result
from simclr_lib.teaching.course import RESULTS
from simclr_lib.teaching.report import png_bytes

WIDTH = 860  # largest width of a picture on the page, in pixels

# In JupyterLab's dark theme, drawings are light on a dark ground: black and white change places, and colours stay.
# JupyterLab gives this class to pictures whose metadata say that they need a light background.
DRAWING = "jp-needs-light-background"
DARK_THEME = f"<style>[data-jp-theme-light=false] .{DRAWING} {{filter: invert(0.93) hue-rotate(180deg)}}</style>"
# JupyterLab and nbconvert drop the alternative text that a picture carries. This gives it back to the picture above.
DESCRIBE = """<script>{
const here = document.currentScript?.closest(".jp-OutputArea-child");
const picture = here?.previousElementSibling?.querySelector("img");
if (picture) picture.alt = here.querySelector("small").textContent;
}</script>"""


def show(figure: Figure, alt: str) -> None:
    """Display a figure as PNG, and below it its description, which becomes its alternative text too.

    A figure without photographs is dark in JupyterLab's dark theme.

    Raises:
        SimCLRError: if the description ``alt`` is empty.
    """
    if not alt.strip():
        raise SimCLRError("every picture needs an alternative text: describe what it shows.")
    _display(png_bytes(figure), _width(figure), alt, _is_drawing(figure))


def _display(png: bytes, width: int, alt: str, drawing: bool) -> None:
    """Display a PNG, so many pixels wide, above its description."""
    display(Image(png, width=width, alt=shown(alt)), metadata={"needs_background": "light"} if drawing else {})
    display(HTML(caption(alt) + DESCRIBE))


def caption(text: str) -> str:
    """HTML of the description of a picture, in smaller letters, and of what makes drawings dark."""
    return f'{DARK_THEME}<p style="max-width: {WIDTH}px"><small>{escape(shown(text))}</small></p>'


def _is_drawing(figure: Figure) -> bool:
    """Return whether a figure has no photographs, whose colours must stay."""
    images = [artist.get_array() for artist in figure.findobj() if isinstance(artist, AxesImage | BboxImage)]
    return all(pixels is None or pixels.ndim < 3 for pixels in images)


def _width(figure: Figure) -> int:
    return min(WIDTH, round(96 * float(figure.get_size_inches()[0])))


def show_code(*functions: Callable[..., Any]) -> None:
    """Display the source code of functions, with the colours of the page."""
    display(Markdown("```python\n" + "\n\n".join(map(inspect.getsource, functions)) + "```"))


def load_results(name: str) -> dict[str, Any]:
    """The content of a results file that comes with the notebooks, wherever the notebook runs.

    Returns:
        What `simclr_lib.results.Result.to_dict` gives.

    Raises:
        SimCLRError: there is no such file.
    """
    return Result.read(RESULTS / f"{name}.json").to_dict()


def run_folder(name: str) -> Path:
    """Make the folder ``runs/name`` beside the notebook, or below ``$SIMCLR_RUNS`` where that is set.

    Where nothing may be written, it is a temporary folder instead, and a printed line says so.
    """
    folder = Path(os.environ.get("SIMCLR_RUNS", "runs")) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        temporary = Path(tempfile.mkdtemp(prefix=f"simclr-{name}-"))
        print("This folder cannot be written to.")
        print(f"The run is stored in the temporary folder {temporary}, which the system may delete.")
        return temporary


def _put(picture: widgets.Image, figure: Figure) -> bool:
    """Let a widget show a figure, and return whether that is a drawing."""
    picture.value = png_bytes(figure)
    picture.width = str(_width(figure))
    drawing = _is_drawing(figure)
    mark = picture.add_class if drawing else picture.remove_class
    mark(DRAWING)
    return drawing


class LivePicture(widgets.VBox):
    """A picture that every call draws again in the same place, such as a training curve.

    Args:
        draw: maps the arguments of the call to a figure.
        alt: description of the picture.
    """

    def __init__(self, draw: Callable[..., Figure], alt: str) -> None:
        self.draw = draw
        self.picture = widgets.Image(format="png")
        super().__init__([], layout=widgets.Layout(min_height="1px"))
        self.described = [self.picture, widgets.HTML(caption(alt))]

    def __call__(self, *arguments: Any) -> None:
        figure = self.draw(*arguments)
        _put(self.picture, figure)
        self.children = self.described  # before the first call there is nothing to see


class Panel(widgets.VBox):
    """Controls above one picture, which they redraw in place: nothing flickers and no figure stays open.

    Args:
        draw: maps the values of the controls, passed by name, to (figure, one line of text).
        alt: description of the picture.
        controls: widgets with a ``value``, each under the name of an argument of ``draw``.
    """

    def __init__(self, draw: Callable[..., tuple[Figure, str]], alt: str, **controls: widgets.ValueWidget) -> None:
        self.draw, self.alt, self.controls = draw, alt, controls
        for name, control in controls.items():
            if not getattr(control, "description", None):
                control.description = name.replace("_", " ")
            if "continuous_update" in control.traits():
                control.style.description_width = "9rem"
                control.layout.width = "28rem"
            control.observe(self._redraw, "value")
        self.picture = widgets.Image(format="png")  # without a tooltip, which JupyterLab cannot show
        self.caption = widgets.HTML()
        rows = widgets.Box(list(controls.values()), layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([rows, self.picture, self.caption])
        self._redraw()

    def show(self, **values: Any) -> None:
        """Display the panel's picture for these values of its controls. The displayed picture needs no kernel.

        Raises:
            SimCLRError: the panel has no such control, or the control cannot take such a value.
        """
        for name, value in values.items():
            if name not in self.controls:
                raise unknown_name("control", name, self.controls)
            _require_possible(name, value, self.controls[name])
        before = {name: self.controls[name].value for name in values}
        for name, value in values.items():
            self.controls[name].value = value
        _display(bytes(self.picture.value), int(self.picture.width), self.alt, self.drawing)
        print(textwrap.fill(self.text, 58))  # as wide as a page of JupyterLab shows without a scroll bar
        for name, value in before.items():
            self.controls[name].value = value

    def _redraw(self, change: object = None) -> None:
        figure, text = self.draw(**{name: control.value for name, control in self.controls.items()})
        self.drawing = _put(self.picture, figure)
        self.text = text
        self.caption.value = f'<span aria-live="polite">{escape(shown(text))}</span>{caption(self.alt)}'


def _require_possible(name: str, value: Any, control: widgets.ValueWidget) -> None:
    """Raise `SimCLRError` for a value that a control would refuse, or replace by another one without a word."""
    if isinstance(control, widgets.SelectionSlider):
        first, second, *_, last = (choice for _, choice in control.options)
        if value not in (choice for _, choice in control.options):
            raise SimCLRError(f"{name} must be one of {first}, {second} … {last}, not {value}.")
    elif hasattr(control, "min"):
        low, high = control.min, control.max
        if isinstance(control, widgets.FloatLogSlider):
            low, high = (round(control.base**exponent, 9) for exponent in (low, high))
        require = require_whole if isinstance(control, widgets.IntSlider) else require_range
        for end in value if isinstance(value, tuple) else (value,):
            require(name, end, low, high)
