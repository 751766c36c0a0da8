"""The text of a study's tables, taken apart again for a page: sentences, notes, marks and tables."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from biocl.reports.privacy import shown


@dataclass(frozen=True)
class Block:
    """A sentence or a table.

    Attributes
    ----------
    text : str
        The sentence; of a table, what stands over it.
    header : tuple of str
        Of a table.
    rows : tuple of tuple of str
    """

    text: str = ""
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def blocks_of(text: str) -> list[Block]:
    """Read what `biocl.evaluation.tables.markdown` and its callers wrote.

    Columns are found by the rule below the header, not by the signs in the cells, so that a name may hold a bar.
    """
    found: list[Block] = []
    for piece in text.split("\n\n"):
        lines = piece.strip("\n").split("\n")
        is_table = len(lines) > 1 and set(lines[1]) == {"|", "-"}
        if not is_table:
            found.append(Block(shown(piece)))
            continue
        bars = [place for place, sign in enumerate(lines[1]) if sign == "|"]
        header, *rows = (
            tuple(shown(line[a + 1 : b]).strip() for a, b in pairwise(bars)) for line in (lines[0], *lines[2:])
        )
        over = found.pop().text if found and not found[-1].header else ""
        found.append(Block(over, header, tuple(rows)))
    return found
