"""Result tables as plain text that is also Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(str(cell).ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def number(value: float | None) -> str:
    """Three decimals without the leading zero; a dash where there is none."""
    if value is None or value != value:
        return "–"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def with_interval(estimate: Mapping[str, Any]) -> str:
    """``.601 [.480, .690]``."""
    return f"{number(estimate['value'])} [{number(estimate['low'])}, {number(estimate['high'])}]"
