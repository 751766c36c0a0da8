"""Figures as SVG that stands inside a page: text as text, ids of its own, the same bytes every time."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from biocl.reports.pictures import INK, PALE
from biocl.reports.privacy import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WIDTH_IN = 5.0
"""Of a figure in a column: 360 units, so that signs of 9 units are read on a telephone too."""
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
TEAL, ORANGE, GREY, RED, PURPLE = "#0b7a75", "#c2620a", "#6b7785", "#b3261e", "#6a4c93"
CYCLE = (INK, ORANGE, TEAL, PURPLE, "#8a6d1f", "#a23b72", "#3a7ca5", RED, "#4f772d", "#5c4033")


@dataclass(frozen=True)
class Figure:
    """A figure of a page, or the sentence that says why it is not there.

    Attributes
    ----------
    name : str
        Of its place in the page, unique in a run's section.
    title, caption : str
    svg : str
        Markup; empty where the figure is absent.
    absent : str
        Why; empty where it is there.
    wide : bool
        Takes the whole width of the page.
    """

    name: str
    title: str
    caption: str = ""
    svg: str = ""
    absent: str = ""
    wide: bool = False


def short(text: Any, length: int = 24) -> str:
    """A name without control signs, cut to a length."""
    name = shown(text)
    return name if len(name) <= length else f"{name[: length - 1]}…"


@contextmanager
def canvas(width_in: float = WIDTH_IN, height_in: float = 3.1) -> Iterator[Canvas]:
    """An empty figure in the page's style, to be drawn on and to be given to `inline` inside the block."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    style: Any = {
        "font.size": 9,
        "axes.edgecolor": "#8c99a6",
        "axes.labelcolor": "#33404d",
        "axes.titlecolor": INK,
        "axes.titlesize": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": "#33404d",
        "ytick.color": "#33404d",
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "legend.labelcolor": "#33404d",
        "grid.color": PALE,
        "grid.alpha": 0.4,
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.5,
        "path.simplify": False,
        "text.parse_math": False,  # a name may hold dollar signs
        "svg.fonttype": "none",
        "svg.hashsalt": "biocl",
    }
    with matplotlib.rc_context(style):
        yield Canvas(figsize=(width_in, height_in), layout="constrained")


def inline(figure: Canvas, name: str, title: str) -> str:
    """The figure's SVG element, to be put into HTML as it is.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Begins every id, so that the ids of several figures differ.
    title : str
        What a reader hears in its place.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    data = io.StringIO()
    figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = data.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\bid=\"([^\"]+)\"", rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r"(xlink:href|href)=\"#([^\"]+)\"", rf'\1="#{name}-\2"', text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONT, text)
    text = re.sub(r"<(?:path|use|text|rect)\b[^>]*>", lambda found: shorter_numbers(found.group()), text)
    text = re.sub(r">\s*\n\s*<", "><", text)
    return headed(text, name, title)


def shorter_numbers(tag: str) -> str:
    """Two decimals are a tenth of what an eye sees."""
    return re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found.group()):.2f}".rstrip("0").rstrip("."), tag)


def headed(svg: str, name: str, title: str) -> str:
    """The same SVG as one picture with a title, as wide as its place."""
    box = re.search(r"viewBox=\"([^\"]+)\"", svg)
    assert box is not None
    width, height = (float(part) for part in box.group(1).split()[2:])
    body = svg[svg.index(">") + 1 :]
    return (
        f'<svg class="plot" viewBox="{box.group(1)}" role="img" aria-labelledby="{name}-title" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'style="aspect-ratio:{width:.6g}/{height:.6g}"><title id="{name}-title">{escape(shown(title))}</title>{body}'
    ).rstrip()


def clean(axes: Axes, grid: str = "y") -> None:
    """Ticks without marks, a pale grid behind what is drawn."""
    axes.tick_params(length=2.5, width=0.6)
    axes.grid(axis=grid, zorder=0)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
