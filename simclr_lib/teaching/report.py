"""One HTML page about a run: it needs no network, and reads well on a phone, on paper and in the dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from simclr_lib.data import ImageDataset
from simclr_lib.errors import counted, shown
from simclr_lib.results import Table, in_words

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5a6472; --page: #f6f7f9; --card: #fff;
  --line: #dfe3e8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --soft: #a5afbd; --page: #14171c;
  --card: #1d2128; --line: #343a44; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 0 0 .5rem; }
p { margin: .4rem 0 .8rem; } .soft { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 1.25rem 1.5rem 1.4rem; margin-top: 1.25rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 1rem; margin-top: 1.5rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.2rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; white-space: nowrap; color: var(--accent);
  font-variant-numeric: tabular-nums; }
figure { margin: .5rem 0 0; overflow-x: auto; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; background: #fff; border-radius: 8px;
  padding: .4rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .45rem .3rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; color: var(--soft); font-size: .9rem; }
td.best { font-weight: 700; } .scroll { overflow-x: auto; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; }
.cell { margin: 0; } .cell img { width: 100%; height: auto; padding: 0; image-rendering: pixelated; }
.cell figcaption { font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; margin-top: .3rem; }
code { background: var(--page); border: 1px solid var(--line); border-radius: 5px; padding: .1rem .35rem;
  font-size: .88em; overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Picture:
    """A figure of the report with its explanation.

    Attributes:
        title: heading.
        text: one or two sentences for every reader.
        figure: the matplotlib figure.
        alt: description of the figure for readers who cannot see it.
    """

    title: str
    text: str
    figure: Figure
    alt: str

    @cached_property
    def png(self) -> bytes:
        """The content of a PNG file of the figure."""
        return png_bytes(self.figure)


def png_bytes(figure: Figure) -> bytes:
    """The content of a PNG file of the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


def html_report(
    title: str,
    lead: str,
    tiles: Sequence[tuple[str, str]],
    blocks: Sequence[tuple[str, str, str]],
    pictures: Sequence[Picture],
    facts: Mapping[str, str] | None = None,
) -> str:
    """A whole page with embedded pictures.

    Args:
        title: heading.
        lead: first paragraph.
        tiles: (number, label) of each headline number.
        blocks: (heading, text, HTML) of each table, see `accuracy_table`, and of each explorer, see
            `simclr_lib.teaching.explorer.html_fragment`.
        pictures: the figures, in order.
        facts: label → value, for the table that says how the page was made; None leaves the table out.
    """
    parts = [f"<h1>{_html(title)}</h1><p class=soft>{_html(lead)}</p><div class=tiles>"]
    parts += [f"<div class=tile><b>{_html(number)}</b>{_html(label)}</div>" for number, label in tiles]
    parts.append("</div>")
    for heading, text, block in blocks:
        parts.append(f"<section><h2>{_html(heading)}</h2><p>{_html(text)}</p><div class=scroll>{block}</div></section>")
    for picture in pictures:
        data = base64.b64encode(picture.png).decode()
        parts.append(
            f"<section><h2>{_html(picture.title)}</h2><p>{_html(picture.text)}</p><figure>"
            f'<img alt="{_html(picture.alt)}" src="data:image/png;base64,{data}"></figure></section>'
        )
    rows = "".join(
        f"<tr><td>{_html(name)}</td><td style='text-align:left;white-space:normal'>{_html(value)}</td></tr>"
        for name, value in (facts or {}).items()
    )
    if rows:
        parts.append(f"<section><h2>How this page was made</h2><table>{rows}</table></section>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_html(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def search_page(photo: ImageDataset, found: ImageDataset, captions: Sequence[str], where: str) -> str:
    """Make a page with a photo and the images that are nearest to it.

    Args:
        photo: a single image.
        found: N images, the most similar first.
        captions: a line of text below each of them.
        where: name of the set of images that was searched.
    """
    blocks = [
        ("The photo", "", image_grid(photo.images, photo.names)),
        (
            "Its nearest images",
            "The number is the cosine similarity of the features.",
            image_grid(found.images, captions),
        ),
    ]
    return html_report(
        f"Images like {photo.names[0]}", f"The nearest of {where}: {counted(len(found), 'image')}.", [], blocks, []
    )


def image_grid(images: Tensor, captions: Sequence[str]) -> str:
    """Make HTML of images, uint8 [N, 3, H, W], each with a caption below it, which is its description too."""
    cells = []
    for image, caption in zip(images.cpu(), captions, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        cells.append(
            f'<figure class=cell><img alt="{_html(caption)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{_html(caption)}</figcaption></figure>"
        )
    return f"<div class=grid>{''.join(cells)}</div>"


def accuracy_table(results: Table, columns: Mapping[str, str]) -> str:
    """An HTML table of accuracies in per cent, the best accuracy of each column in bold.

    Args:
        results: source → column → accuracy.
        columns: column → heading; columns that no source has are left out.
    """
    columns = {key: heading for key, heading in columns.items() if any(key in row for row in results.values())}
    best = {key: max(row[key]["mean"] for row in results.values() if key in row) for key in columns}
    lines = ["<table><thead><tr><th>features</th>"]
    lines += [f"<th>{_html(heading)}</th>" for heading in columns.values()]
    lines.append("</tr></thead><tbody>")
    for source, row in results.items():
        lines.append(f"<tr><td>{_html(source)}</td>")
        for key in columns:
            mark = " class=best" if key in row and row[key]["mean"] == best[key] else ""
            lines.append(f"<td{mark}>{in_words(row[key]) if key in row else '–'}</td>")
        lines.append("</tr>")
    lines.append("</tbody></table>")
    return "".join(lines)


def _html(text: str) -> str:
    """Text as a part of an HTML page, also within an attribute."""
    return escape(shown(text))
