"""Build the site: README, the executed notebooks, the results, the guides and the docstrings as HTML pages.

    python -m simclr_lib.authoring.site public --report runs/demo/report.html

Run it at the top of a clone, with the packages of the extra ``site``. It needs no network and executes no notebook:
their outputs are those that are committed. The report is one that ``simclr demo`` wrote. Every warning of Sphinx, and
every link within the site that leads nowhere, is an error.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from simclr_lib.errors import SimCLRError, counted

SETTINGS = Path(".github/site")
WEIGHTS = "simclr_lib/training/weights/cifar10-resnet18.md"
PAGES = ("README.md", "CITATION.cff", "LICENSE", "image.png", ".github/CONTRIBUTING.md", "notebooks", WEIGHTS)


def build(out: Path, report: Path) -> None:
    """Build the site.

    Args:
        out: the folder to write; what was in it is replaced.
        report: the page that ``simclr demo`` wrote.

    Raises:
        SimCLRError: there is no such report, Sphinx warns of something, or a link leads nowhere.
    """
    from sphinx.cmd.build import build_main

    if not report.is_file():
        raise SimCLRError(f"there is no page {report}: run simclr demo first, or name the report.html of another demo.")
    with tempfile.TemporaryDirectory() as temporary:
        sources, pages = Path(temporary) / "sources", Path(temporary) / "pages"
        stage(sources)
        options = ["--quiet", "--fail-on-warning", "--keep-going", "-d", f"{temporary}/trees"]
        if build_main([*options, str(sources), str(pages)]):
            raise SimCLRError("Sphinx found something to mend, see above.")
        shutil.copy(report, pages / "report.html")
        shutil.copy(pages / "README.html", pages / "index.html")  # where a browser looks first
        broken = broken_links(pages)
        if broken:
            raise SimCLRError(f"{counted(len(broken), 'link')} of the site lead nowhere: {'; '.join(broken[:10])}.")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(pages, out)


def stage(folder: Path) -> None:
    """Copy all that the site is made of to a folder, where links between them hold as in the repository."""
    shutil.copytree(SETTINGS, folder)
    for name in PAGES:
        source, copy = Path(name), folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("student", ".*", "runs", "data", "__pycache__"))
        else:
            shutil.copy(source, copy)
    readme, navigation = folder / "README.md", folder / "navigation.md"
    text = readme.read_text(encoding="utf-8").replace("[notebooks/student](notebooks/student)", "`notebooks/student`")
    readme.write_text(text + navigation.read_text(encoding="utf-8"), encoding="utf-8")
    navigation.unlink()


class _Page(HTMLParser):
    """The links of a page, and the places in it that a link can name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.places.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def broken_links(folder: Path) -> list[str]:
    """Find the links between the pages of a folder that lead nowhere: "page.html: other.html#place" for each."""
    pages = {path.resolve(): _Page(path) for path in sorted(folder.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.exists() or (place and target in pages and place not in pages[target].places):
                broken.append(f"{path.relative_to(folder.resolve())}: {link}")
    return broken


def main(words: Sequence[str] | None = None) -> None:
    """Build the site that the command line describes."""
    parser = argparse.ArgumentParser(prog="python -m simclr_lib.authoring.site", description="Build the site.")
    parser.add_argument("out", type=Path, help="folder to write; what was in it is replaced")
    parser.add_argument("--report", type=Path, required=True, help="report.html that simclr demo wrote")
    chosen = parser.parse_args(words)
    build(chosen.out, chosen.report)
    print(f"site: {chosen.out / 'index.html'}")


if __name__ == "__main__":
    try:
        main()
    except SimCLRError as error:
        sys.exit(f"error: {error}")
