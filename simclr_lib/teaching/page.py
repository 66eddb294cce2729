"""The frame of every HTML page: its style in light and dark, what chats show of a link to it, and links to read on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, metadata

from simclr_lib.errors import shown

PAPER_ADDRESS = "https://arxiv.org/abs/2002.05709"
PREVIEW_SIZE = (1200, 630)  # pixels of the picture that chats and social networks show with a link

CARD, DARK_CARD = "#ffffff", "#1d2128"  # what figures lie on
INK, DARK_INK = "#1d2430", "#e8ebf0"

STYLE = f"""
:root {{ color-scheme: light dark; --ink: {INK}; --soft: #5a6472; --ground: #f6f7f9; --card: {CARD};
  --rule: #dfe3e8; --accent: #0072b2; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: {DARK_INK}; --soft: #a5afbd; --ground: #14171c;
  --card: {DARK_CARD}; --rule: #343a44; --accent: #56b4e9; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
main {{ max-width: 62rem; margin: 0 auto; padding: 2.25rem 1.25rem 3rem; }}
.topic {{ margin: 0 0 .3rem; color: var(--accent); font-weight: 600; }}
h1 {{ font-size: clamp(1.6rem, 4.5vw, 2.25rem); line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em;
  text-wrap: balance; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.25rem; line-height: 1.3; margin: 0 0 .3rem; }}
p {{ margin: .3rem 0 .8rem; }}
a {{ color: var(--accent); }}
.soft {{ color: var(--soft); }}
.lead {{ max-width: 46rem; }}
.conclusion {{ font-size: 1.06rem; font-weight: 600; }}
section {{ background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 1.25rem 1.5rem 1.4rem; margin-top: 1.25rem; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1rem; margin-top: 1.5rem; }}
.tile {{ background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: .8rem 1.1rem;
  line-height: 1.35; font-size: .95rem; }}
.tile b {{ display: block; font-size: 1.5rem; line-height: 1.35; white-space: nowrap; color: var(--accent);
  font-variant-numeric: tabular-nums; }}
figure {{ margin: .5rem 0 0; }}
figure img {{ display: block; max-width: 100%; height: auto; margin: 0 auto; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: .45rem .5rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
th {{ font-weight: 600; color: var(--soft); }}
td.best {{ font-weight: 700; }}
.facts td {{ text-align: left; white-space: normal; vertical-align: top; overflow-wrap: anywhere; }}
.facts td:first-child {{ color: var(--soft); white-space: nowrap; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; }}
.cell {{ margin: 0; }}
.cell img {{ width: 100%; border-radius: 8px; image-rendering: pixelated; }}
.cell figcaption {{ font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; margin-top: .3rem; }}
code {{ background: var(--ground); border: 1px solid var(--rule); border-radius: 5px; padding: .1rem .35rem;
  font-size: .88em; overflow-wrap: anywhere; }}
footer {{ margin-top: 2rem; color: var(--soft); }}
footer ul {{ margin: .3rem 0; padding-left: 1.2rem; }}
.hint {{ display: none; }}
@media (max-width: 40rem) {{
  main {{ padding: 1.25rem .75rem 2rem; }}
  section {{ padding: 1rem .9rem 1.1rem; }}
  .tiles {{ grid-template-columns: 1fr 1fr; gap: .6rem; }}
  .tile {{ padding: .6rem .8rem; font-size: .85rem; }}
  .tile b {{ font-size: 1.2rem; }}
  .wide img {{ max-width: none; width: 36rem; }}  /* the writing in a wide figure stays readable */
  .hint {{ display: block; margin: 0 0 .3rem; font-size: .8rem; color: var(--soft); }}
}}
@media print {{ section {{ break-inside: avoid; }} }}
"""


@dataclass(frozen=True)
class About:
    """The subject of a page, for its readers and for programs that show a link to it.

    Attributes:
        title: heading, which tells a stranger what the page shows.
        topic: a few words above the heading.
        lead: the first paragraph.
        summary: one sentence for a preview of the page; the lead by default.
        preview: the address of a picture of `PREVIEW_SIZE` for that preview, absolute or relative to the page.
    """

    title: str
    topic: str = ""
    lead: str = ""
    summary: str = ""
    preview: str | None = None


def html_document(about: About, body: str) -> str:
    """Make a whole HTML page, which needs no network.

    Args:
        about: its heading and its description.
        body: HTML that follows the heading.
    """
    topic = f"<p class=topic>{as_html(about.topic)}</p>" if about.topic else ""
    lead = f'<p class="soft lead">{as_html(about.lead)}</p>' if about.lead else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{_head(about)}<style>{STYLE}</style></head>'
        f"<body><main>{topic}<h1>{as_html(about.title)}</h1>{lead}{body}{_footer()}</main></body></html>\n"
    )


def _head(about: About) -> str:
    title = " · ".join(filter(None, [about.title, about.topic]))
    named = {"description": about.summary or about.lead, "twitter:card": "summary_large_image" if about.preview else ""}
    shared = {"og:type": "article", "og:title": title, "og:description": named["description"]}
    if about.preview:
        width, height = PREVIEW_SIZE
        shared |= {"og:image": about.preview, "og:image:width": str(width), "og:image:height": str(height)}
        shared["og:image:alt"] = "Images as points, coloured by class, beside the numbers of the page."
    return (
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        + f"<title>{as_html(title)}</title>"
        + "".join(f'<meta name="{name}" content="{as_html(text)}">' for name, text in named.items() if text)
        + "".join(f'<meta property="{name}" content="{as_html(text)}">' for name, text in shared.items() if text)
    )


def _footer() -> str:
    """Say how a reader gets further: links, and the commands that make such a page."""
    names = " · ".join(f'<a href="{as_html(address)}">{as_html(name)}</a>' for name, address in links().items())
    return (
        f"<footer><p>{names}</p><p>Made with simclr-lib, a package and a course on SimCLR. With the package installed:"
        "</p><ul><li><code>simclr demo</code> makes a page like this one, offline, in minutes;</li>"
        "<li><code>simclr train --preset photos --images FOLDER --run-dir RUN</code> and then "
        "<code>simclr report RUN</code> make one of your own images;</li>"
        "<li><code>simclr notebooks FOLDER</code> copies out the notebooks that explain all of it.</li></ul></footer>"
    )


def links() -> dict[str, str]:
    """Name → address of the paper, and of the project, its notebooks and all else that the package's metadata names."""
    addresses = {"The SimCLR paper": PAPER_ADDRESS}
    with suppress(PackageNotFoundError):  # the package may be used without being installed
        for entry in metadata("simclr-lib").get_all("Project-URL") or ():
            name, _, address = entry.partition(", ")
            if address not in addresses.values():
                addresses[name] = address
    return addresses


def as_html(text: str) -> str:
    """Text as a part of an HTML page, also within an attribute. A number stays on one line with its per cent sign."""
    return escape(shown(text)).replace(" %", "\N{NO-BREAK SPACE}%")
