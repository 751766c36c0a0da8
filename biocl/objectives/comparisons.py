"""What a contrastive term lays side by side: entries of the table Z[view, branch]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

from biocl.objectives.spec import ContrastTerm


class Entry(NamedTuple):
    """One cell of the table: the place of a view in ``term.views``, and a branch, or None for what all say together."""

    view: int
    branch: str | None


Side = tuple[Entry, ...]
Comparison = tuple[Side, ...]
"""Two sides, or one for pairs inside a view; the entries of a side are stacked on the batch axis."""

T = TypeVar("T")


def comparisons(term: ContrastTerm, branches: Sequence[str]) -> list[Comparison]:
    """Every comparison of a term; its loss is their mean.

    ::

        across: view, views [a, b]                                       a  | b
        across: view, views [a, b, c], anchor a                          a  | b,    a  | c
        across: view, views [a, b], branches [p, q]                      ap | bp,   aq | bq
        across: view, views [a, b], branches [p, q], stack [branch]      ap aq | bp bq
        across: branch, views [a, b], branches [p, q]                    ap | aq,   bp | bq
        across: branch, views [a, b], branches [p, q], stack [view]      ap bp | aq bq

    Without an anchor, more than two entries are compared pair by pair.

    Parameters
    ----------
    term : ContrastTerm
    branches : sequence of str
        The encoder's, for terms that read branches and name none.
    """
    views: list[int] = list(range(len(term.views)))
    if term.across == "view":
        own: Sequence[str | None] = term.branches or (branches if term.stack else [None])
        anchor = term.views.index(term.anchor) if term.anchor is not None else None
        chosen = [[[Entry(view, branch) for view in pair] for branch in own] for pair in pairs_of(views, anchor)]
    else:
        named = pairs_of(list(term.branches or branches), term.anchor)
        chosen = [[[Entry(view, branch) for branch in pair] for view in views] for pair in named]
    if term.stack:
        return [tuple(zip(*rows, strict=True)) for rows in chosen]
    return [tuple((entry,) for entry in row) for rows in chosen for row in rows]


def pairs_of(values: Sequence[T], anchor: T | None) -> list[tuple[T, ...]]:
    """The anchor with each other value, or every two values; one value alone is its own group."""
    if len(values) == 1:
        return [(values[0],)]
    if anchor is None:
        return list(combinations(values, 2))
    return [(anchor, value) for value in values if value != anchor]
