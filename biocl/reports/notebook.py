"""A run's text as HTML, for notebooks."""

from __future__ import annotations

from html import escape

STYLE = "text-align: left; font-variant-numeric: tabular-nums"


def markdown_html(text: str) -> str:
    """Paragraphs and Markdown tables as HTML; everything is escaped.

    Parameters
    ----------
    text : str
        As `biocl.commands.tables` writes it.
    """
    blocks = []
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if line.strip()]
        is_table = len(lines) > 1 and all(line.startswith("|") for line in lines)
        blocks += [html_table(lines)] if is_table else [f"<p>{escape(line)}</p>" for line in lines]
    return "\n".join(blocks)


def html_table(lines: list[str]) -> str:
    """The lines of one Markdown table (header, rule, rows) as an HTML table."""
    header, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]

    def row(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f'<{tag} style="{STYLE}">{escape(cell)}</{tag}>' for cell in cells) + "</tr>"

    body = "\n".join(row(cells, "td") for cells in rows)
    return f"<table>\n<thead>{row(header, 'th')}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
