"""What a contrastive term lays side by side: entries of the table Z[view, branch, device]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any, NamedTuple, TypeVar

from biocl.objectives.criterion_spec import AtOnce, Focal
from biocl.objectives.spec import ContrastTerm


class Entry(NamedTuple):
    """One cell of the table: the place of a view in ``term.views``, a branch and a device.

    Without a branch it is what the branches say together, without a device what the devices do.
    """

    view: int
    branch: str | None = None
    device: str | None = None

    @property
    def name(self) -> str:
        """The branch and the device in words."""
        return " of ".join(one for one in (self.branch, self.device) if one is not None)


Side = tuple[Entry, ...]
Comparison = tuple[Side, ...]
"""Two sides, one for pairs inside a view, or all for a criterion that reads them at once; the entries of a side are
stacked on the batch axis."""

T = TypeVar("T")


def comparisons(term: ContrastTerm, branches: Sequence[str], devices: Sequence[str] = ()) -> list[Comparison]:
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
        across: device, views [a, b], criterion focal                    ap | aq | ar | bp | bq | br

    A branch belongs to a device, so that of an encoder with both (branches p and q, devices 1 and 2) all devices are
    read wherever branches are; a term across device that names no branch compares what the branches say together::

        across: device, views [a]                                        a1  | a2
        across: device, views [a], branches [p, q]                       ap1 | ap2,   aq1 | aq2
        across: branch, views [a]                                        ap1 | aq1,   ap2 | aq2
        across: branch, views [a], stack [device]                        ap1 ap2 | aq1 aq2

    Parameters
    ----------
    term : ContrastTerm
    branches, devices : sequence of str
        The encoder's, for terms that read them and name none.
    """
    axes: dict[str, Sequence[Any]] = {
        "view": range(len(term.views)),
        "branch": (term.branches or branches) if term.reads_branches else (None,),
        "device": (term.devices or devices or (None,)) if term.reads_apart else (None,),
    }
    compared = tuple(axes.pop(term.across))
    anchor = term.views.index(term.anchor) if term.across == "view" and term.anchor is not None else term.anchor
    groups = [compared] if isinstance(term.criterion, AtOnce) else pairs_of(compared, anchor)

    def cells(names: Sequence[str]) -> list[dict[str, Any]]:
        return [dict(zip(names, values, strict=True)) for values in product(*(axes[name] for name in names))]

    stacked = cells([name for name in axes if name in term.stack])
    alone = cells([name for name in axes if name not in term.stack])
    found = [
        tuple(tuple(Entry(**{**own, **more, term.across: value}) for more in stacked) for value in group)
        for group in groups
        for own in alone
    ]
    if not isinstance(term.criterion, Focal):
        return found
    at_once: dict[str | None, list[Side]] = {}  # the devices of all views together
    for sides in found:
        at_once.setdefault(sides[0][0].branch, []).extend(sides)
    return [tuple(sides) for sides in at_once.values()]


def pairs_of(values: Sequence[T], anchor: T | None) -> list[tuple[T, ...]]:
    """The anchor with each other value, or every two values; one value alone is its own group."""
    if len(values) == 1:
        return [(values[0],)]
    if anchor is None:
        return list(combinations(values, 2))
    return [(anchor, value) for value in values if value != anchor]
