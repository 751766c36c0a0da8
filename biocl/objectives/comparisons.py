"""What a contrastive term lays side by side: entries of the table Z[view, branch or device]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple, TypeVar

from biocl.objectives.criterion_spec import AtOnce
from biocl.objectives.spec import ContrastTerm


class Entry(NamedTuple):
    """One cell of the table: the place of a view in ``term.views``, and a branch or device, or None for what all say
    together."""

    view: int
    branch: str | None


Side = tuple[Entry, ...]
Comparison = tuple[Side, ...]
"""Two sides, one for pairs inside a view, or all for a criterion that reads them at once; the entries of a side are
stacked on the batch axis."""

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

    Without an anchor, more than two entries are compared pair by pair. Devices stand where branches do. A criterion
    that reads all at once has them in one comparison::

        across: device, views [a], criterion mv-dhel                     ap | aq | ar

    Parameters
    ----------
    term : ContrastTerm
    branches : sequence of str
        The encoder's, or its devices, for terms that read them and name none.
    """
    views: list[int] = list(range(len(term.views)))
    if term.across == "view":
        own: Sequence[str | None] = term.sources or (branches if term.stack else [None])
        anchor = term.views.index(term.anchor) if term.anchor is not None else None
        groups = [tuple(views)] if isinstance(term.criterion, AtOnce) else pairs_of(views, anchor)
        chosen = [[[Entry(view, branch) for view in group] for branch in own] for group in groups]
    else:
        all_of_them = tuple(term.sources or branches)
        named = [all_of_them] if isinstance(term.criterion, AtOnce) else pairs_of(all_of_them, term.anchor)
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
