"""The page: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from biocl import __version__
from biocl.evaluation.protocol import PRETRAINED, title_of
from biocl.reports.blocks import Block
from biocl.reports.svg import Figure

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Group:
    """Figures and tables under one heading.

    Attributes
    ----------
    anchor, title, intro : str
    figures : sequence of Figure
    blocks : sequence of Block
    columns : int
        Of the figures, on a wide page.
    """

    anchor: str
    title: str
    intro: str = ""
    figures: Sequence[Figure] = ()
    blocks: Sequence[Block] = ()
    columns: int = 2


@dataclass(frozen=True)
class RunPage:
    """What a page says of one run.

    Attributes
    ----------
    anchor, name, kind, experiment, protocol : str
    summary : sequence of str
        The result in sentences.
    marks : sequence of str
        What has to be said beside every number.
    tiles : sequence of (value, words)
        Few numbers at the top.
    groups : sequence of Group
    commands : sequence of (words, text)
    environment : sequence of (words, text)
    config : str
    """

    anchor: str
    name: str
    kind: str
    experiment: str
    protocol: str
    summary: Sequence[str] = ()
    marks: Sequence[str] = ()
    tiles: Sequence[tuple[str, str]] = ()
    groups: Sequence[Group] = ()
    commands: Sequence[tuple[str, str]] = ()
    environment: Sequence[tuple[str, str]] = ()
    config: str = ""


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side, or the sentence that says why they cannot be compared."""

    blocks: Sequence[Block] = ()
    absent: str = ""


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    runs: Sequence[RunPage]
    people: str
    comparison: Comparison | None = None
    version: str = field(default=__version__)


def render(page: Page) -> str:
    """The page as HTML; every text is escaped, and only the figures' own markup is taken as it is."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markup"] = Markup
    environment.globals["row_class"] = row_class
    return environment.get_template(TEMPLATE).render(page=page)


def row_class(block: Block, number: int) -> str:
    """How a row of a table is set: the experiment's own rows stand out, and a new size of labels begins with a line."""
    row, words = block.rows[number], []
    place = block.header.index("what") if "what" in block.header else None
    if place is not None and row[place] in (PRETRAINED, title_of("joint", PRETRAINED)):
        words.append("own")
    if number and block.header[0] == "labels" and row[0] != block.rows[number - 1][0]:
        words.append("begins")
    return " ".join(words)
