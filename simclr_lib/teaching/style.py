"""Colours and markers that everyone can tell apart, and names that every figure can show."""

from __future__ import annotations

from functools import cache

from matplotlib import rcParams
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

from simclr_lib.errors import shown

# Okabe & Ito 2008: eight colours that stay distinct with every common colour vision.
OKABE_ITO: dict[str, str] = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "bluish green": "#009E73",
    "vermillion": "#D55E00",
    "sky blue": "#56B4E9",
    "reddish purple": "#CC79A7",
    "black": "#000000",
    "yellow": "#F0E442",
}

# Ten classes have ten colours. The two beyond Okabe and Ito's are far from the others with every common colour vision.
# Of the emblems, the classes that features confuse most get colours that differ most: a barred cross is brown beside a
# blue striped disc, and a diamonded crescent is violet beside an orange checked square.
CLASS_COLORS: list[str] = [*OKABE_ITO.values(), "#663300", "#6600CC"]

# There are as many shapes as classes in CIFAR-10: with the colours, every class is told apart twice.
MARKERS: list[str] = ["o", "s", "^", "D", "v", "P", "X", "<", ">", "*"]


def class_look(label: int) -> tuple[str, str]:
    """The colour and the marker of a class. From the eleventh class on, colours meet other markers."""
    return CLASS_COLORS[label % 10], MARKERS[(label + label // 10) % 10]


# Fonts of Linux, macOS and Windows for scripts that DejaVu Sans, matplotlib's own font, does not have.
FALLBACK_FONTS: list[str] = [
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Hiragino Sans",
    "PingFang SC",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Nirmala UI",
    "Leelawadee UI",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
]

# A fallback font serves only for characters that the fonts before it lack, so it changes no other text.
# A font that is not installed must stay out of the list: matplotlib would complain at every text.
_installed = {font.name for font in fontManager.ttflist}
rcParams["font.family"] = [*rcParams["font.family"], *(font for font in FALLBACK_FONTS if font in _installed)]


def drawn(name: str) -> str:
    r"""A name, made `shown`, as the text of a matplotlib figure that shows it to the letter.

    A dollar sign is escaped, since two of them would enclose a formula. A character that none of the fonts has would
    be an empty box: its code point takes its place, such as U+732B.
    """
    name = shown(name)
    fonts = [_code_points(findfont(FontProperties(family=[family]))) for family in rcParams["font.family"]]
    missing = {c for c in map(ord, name) if c != ord("\n") and not any(c in font for font in fonts)}
    return name.translate({c: f"U+{c:04X}" for c in missing}).replace("$", r"\$")


@cache
def _code_points(font_file: str) -> frozenset[int]:
    """The code points for which a font has a glyph."""
    return frozenset(get_font(font_file).get_charmap())
