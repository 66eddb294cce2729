"""The site has a page for every notebook and guide, and notices a link that leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simclr_lib.authoring import site
from simclr_lib.errors import SimCLRError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def staged(tmp_path, monkeypatch):
    """The folder of the site's sources."""
    monkeypatch.chdir(ROOT)
    site.stage(tmp_path / "site")
    return tmp_path / "site"


def test_every_notebook_and_guide_is_in_the_navigation(staged):
    navigation = (ROOT / ".github" / "site" / "navigation.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^[\w./-]+$", navigation, flags=re.MULTILINE))
    pages = {path.relative_to(staged).with_suffix("").as_posix() for path in staged.rglob("*") if is_page(path)}
    assert named == pages - {"README"}


def is_page(path: Path) -> bool:
    return path.suffix in (".md", ".ipynb")


def test_the_first_page_is_readme_with_the_navigation(staged):
    page = (staged / "README.md").read_text(encoding="utf-8")
    assert page.startswith("# SimCLR, learned by doing it")
    assert page.count("{toctree}") == 4


def test_the_student_edition_is_not_on_the_site(staged):
    assert not (staged / "notebooks" / "student").exists()


def test_every_module_of_the_reference_exists():
    modules = re.findall(r"automodule:: ([\w.]+)", (ROOT / ".github" / "site" / "api.md").read_text(encoding="utf-8"))
    assert "simclr_lib.losses" in modules
    for name in modules:
        place = ROOT / name.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__init__.py").exists(), name


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.html").write_text('<p id="here"><a href="../index.html">up</a></p>')
    (tmp_path / "index.html").write_text(
        '<a href="a/b.html#here">good</a><a href="https://example.org/x">elsewhere</a><a href="#top" id="top">top</a>'
        '<a href="a/b.html#there">no such place</a><img src="missing.png">'
    )
    assert site.broken_links(tmp_path) == ["index.html: a/b.html#there", "index.html: missing.png"]


def test_the_report_must_be_there(tmp_path):
    pytest.importorskip("sphinx")
    with pytest.raises(SimCLRError, match=r"there is no page .*report\.html: run simclr demo first"):
        site.build(tmp_path / "site", tmp_path / "report.html")
