"""One HTML page about a run, a picture for previews of it, and its film as a GIF, all without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from simclr_lib.data import ImageDataset
from simclr_lib.errors import counted
from simclr_lib.evaluation import Film
from simclr_lib.files import write_atomically
from simclr_lib.results import BALANCED, Table, in_words
from simclr_lib.teaching.dark import in_the_dark
from simclr_lib.teaching.moving import moving_picture
from simclr_lib.teaching.page import DARK_CARD, About, as_html, html_document
from simclr_lib.teaching.plots import plot_preview

WIDE = 6.5  # inches: a wider figure is moved sideways on a phone, instead of being shrunk until nobody can read it


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: heading.
        conclusion: the sentence to take away, with the numbers of what is shown.
        text: one or two sentences of explanation.
        html: what is shown: a table, an explorer, or figures.
    """

    title: str
    conclusion: str
    text: str
    html: str


@dataclass(frozen=True)
class Picture:
    """A figure of the report with its explanation.

    Attributes:
        title: heading.
        conclusion: the sentence to take away, with the numbers of the figure.
        text: one or two sentences for every reader.
        figure: the matplotlib figure.
        alt: description of the figure for readers who cannot see it.
    """

    title: str
    conclusion: str
    text: str
    figure: Figure
    alt: str

    @cached_property
    def png(self) -> bytes:
        """The content of a PNG file of the figure."""
        return png_bytes(self.figure)

    @cached_property
    def section(self) -> Section:
        """The figure as a part of a page that is light or dark, as its reader likes it."""
        light, dark = (_address(png) for png in (self.png, png_bytes(in_the_dark(self.figure), DARK_CARD)))
        wide = self.figure.get_figwidth() > WIDE
        hint = "<p class=hint>Swipe sideways to see all of the figure.</p>" if wide else ""
        html = (
            f'{hint}<figure class="scroll{" wide" if wide else ""}"><picture>'
            f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
            f'<img alt="{as_html(self.alt)}" src="{light}"></picture></figure>'
        )
        return Section(self.title, self.conclusion, self.text, html)


def png_bytes(figure: Figure, ground: str = "white") -> bytes:
    """The content of a PNG file of the figure on a ground of some colour."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=ground)
    return buffer.getvalue()


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@dataclass(frozen=True)
class Report:
    """Everything that a page about a run shows.

    Attributes:
        about: heading and first paragraph.
        tiles: (number, label) of each headline number.
        sections: the parts of the page, in order.
        facts: label → value, for the table that says how the page was made.
        film: the development of the features in two dimensions, or one moment of it; None where there is no picture.
        images: the images that the film shows.
    """

    about: About
    tiles: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    facts: Mapping[str, str] = field(default_factory=dict)
    film: Film | None = None
    images: ImageDataset | None = None

    def write(self, file: Path, address: str | None = None) -> list[Path]:
        """Write the page and, beside it, a picture for previews (.png) and the film (.gif) where there are any.

        Args:
            file: the HTML file.
            address: where the page will stand on the web: some programs show a preview only with its full address.

        Returns:
            the files.
        """
        about, files = self.about, {}
        if self.film and self.images:
            labels, classes = self.images.labels, self.images.classes
            preview = file.with_suffix(".png")
            files[preview] = preview_png(about, self.tiles, self.film.points[-1], self.images)
            about = replace(about, preview=urljoin(address or "", preview.name))
            if len(self.film.captions) > 1:
                files[file.with_suffix(".gif")] = moving_picture(self.film, labels, classes)
        files[file] = html_report(replace(self, about=about)).encode()
        for path, content in files.items():
            write_atomically(path, content)
        return list(files)


def html_report(report: Report) -> str:
    """The whole page of a report."""
    tiles = "".join(f"<div class=tile><b>{as_html(n)}</b>{as_html(label)}</div>" for n, label in report.tiles)
    parts = [f"<div class=tiles>{tiles}</div>"] if tiles else []
    for section in report.sections:
        paragraphs = {" class=conclusion": section.conclusion, "": section.text}
        words = "".join(f"<p{kind}>{as_html(text)}</p>" for kind, text in paragraphs.items() if text)
        parts.append(f"<section><h2>{as_html(section.title)}</h2>{words}{section.html}</section>")
    rows = "".join(
        f"<tr><td>{as_html(name)}</td><td>{as_html(value)}</td></tr>" for name, value in report.facts.items()
    )
    if rows:
        parts.append(f"<section><h2>How this page was made</h2><table class=facts>{rows}</table></section>")
    return html_document(report.about, "".join(parts))


def preview_png(about: About, tiles: Sequence[tuple[str, str]], points: Tensor, images: ImageDataset) -> bytes:
    """The picture that chats and social networks show with a link to the page: a PNG file of `PREVIEW_SIZE`.

    Args:
        about: heading of the page.
        tiles: (number, label); the first three are shown.
        points: float [N, 2], the images in two dimensions.
        images: N images.
    """
    return png_bytes(plot_preview(about.title, about.topic, tiles[:3], points, images.labels, images.classes))


def facts_of(where: Mapping[str, Any]) -> dict[str, str]:
    """The command, the machine and the versions of an `environment`, as far as it names them."""
    facts: dict[str, str] = {}
    if where.get("command"):
        facts["command"] = where["command"]
    if "device" in where:
        facts["machine"] = f"{where['device']}, {counted(where['threads'], 'thread')}"
    if "torch" in where:
        facts["versions"] = f"torch {where['torch']}, torchvision {where['torchvision']}, Python {where['python']}"
    return facts


def search_page(photo: ImageDataset, found: ImageDataset, captions: Sequence[str], where: str) -> str:
    """Make a page with a photo and the images that are nearest to it.

    Args:
        photo: a single image.
        found: N images, the most similar first.
        captions: a line of text below each of them.
        where: name of the set of images that was searched.
    """
    sections = [
        Section("The photo", "", "", image_grid(photo.images, photo.names)),
        Section(
            "Its nearest images",
            "",
            "The number is the cosine similarity of the features.",
            image_grid(found.images, captions),
        ),
    ]
    lead = f"The nearest of {where}: {counted(len(found), 'image')}."
    return html_report(Report(About(f"Images like {photo.names[0]}", lead=lead), [], sections))


def image_grid(images: Tensor, captions: Sequence[str]) -> str:
    """Make HTML of images, uint8 [N, 3, H, W], each with a caption below it, which is its description too."""
    cells = []
    for image, caption in zip(images.cpu(), captions, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG")
        cells.append(
            f'<figure class=cell><img alt="{as_html(caption)}" src="{_address(buffer.getvalue())}">'
            f"<figcaption>{as_html(caption)}</figcaption></figure>"
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
    lines = ["<p class=hint>Swipe sideways to see all of the table.</p><div class=scroll><table><thead><tr>"]
    lines += ["<th>test accuracy</th>", *(f"<th>{as_html(heading)}</th>" for heading in columns.values())]
    lines.append("</tr></thead><tbody>")
    for source, row in results.items():
        lines.append(f"<tr><td>{as_html(source)}</td>")
        for key in columns:
            mark = " class=best" if key in row and row[key]["mean"] == best[key] else ""
            lines.append(f"<td{mark}>{in_words(row[key]) if key in row else '–'}</td>")
        lines.append("</tr>")
    lines.append("</tbody></table></div>")
    return "".join(lines)


def comparison(results: Table) -> str:
    """A sentence that compares the first row of a table with the others, where its last column has them all."""
    (ours, row), *others = results.items()
    shared = [key for key in row if not key.endswith(("_sgd", BALANCED)) and all(key in other for _, other in others)]
    if not shared:
        return ""
    key = "labels_all" if "labels_all" in shared else shared[-1]
    against = ", ".join(f"{in_words(other[key])} ({name})" for name, other in others)
    return f"{_how(key)}, {ours} reaches {in_words(row[key])}" + (f", against {against}." if against else ".")


def _how(column: str) -> str:
    """Say how the accuracies of a column were measured."""
    if column.startswith("knn"):
        return "By a vote of nearest neighbours"
    budget = column.removeprefix("labels_")
    return "With all labels" if budget == "all" else f"With {counted(int(budget), 'label')} per class"
