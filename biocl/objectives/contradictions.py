"""Pairs that one term pulls together and another pushes apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch

from biocl.objectives.batch import Batch
from biocl.objectives.comparisons import Comparison, comparisons
from biocl.objectives.criterion_spec import has_negatives
from biocl.objectives.pairs import Pairs, pairs_of_sides
from biocl.objectives.spec import ContrastTerm
from biocl.views.view import View

Named = tuple[str, str | None, str | None]
"""A view, a branch and a device."""


@dataclass(frozen=True)
class TermPairs:
    """What a term does to a batch.

    Attributes
    ----------
    positive, negative : bool Tensor, shape (B, B)
        Pairs of different windows, in whichever views, branches and devices.
    own_positive, own_negative : dict of frozenset to bool Tensor, shape (B,)
        Of two entries, (view, branch, device) each: for which windows the two are a pair. An entry without a branch or
        device is what all of them say together.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    own_positive: dict[frozenset[Named], torch.Tensor]
    own_negative: dict[frozenset[Named], torch.Tensor]


def contradictions(
    terms: Sequence[ContrastTerm],
    batch: Batch,
    branches: Sequence[str],
    views: Mapping[str, View] | None = None,
    devices: Sequence[str] = (),
) -> list[tuple[str, str, float]]:
    """Titles of a term that pulls and of one that pushes the same pairs, and which share of the pulled they are.

    Two windows count as the same pair in all their views, branches and devices. Two entries of one window, such as two
    branches of one view, are a pair of their own.

    Parameters
    ----------
    terms : sequence of ContrastTerm
    batch : Batch
    branches : sequence of str
        Of the encoder.
    views : mapping of str to View, optional
        For the labels that they carry.
    devices : sequence of str, optional
        Of the encoder.
    """
    known = {term.title: term_pairs(term, batch, branches, views, devices) for term in terms}
    found = []
    for pulling, pulled in known.items():
        n_pulled = int(pulled.positive.sum()) + sum(int(mask.sum()) for mask in pulled.own_positive.values())
        for pushing, pushed in known.items():
            both = int((pulled.positive & pushed.negative).sum())
            for entries in pulled.own_positive.keys() & pushed.own_negative.keys():
                both += int((pulled.own_positive[entries] & pushed.own_negative[entries]).sum())
            if both:
                found.append((pulling, pushing, both / n_pulled))
    return found


def term_pairs(
    term: ContrastTerm,
    batch: Batch,
    branches: Sequence[str],
    views: Mapping[str, View] | None = None,
    devices: Sequence[str] = (),
) -> TermPairs:
    """The pairs of one term, over all its comparisons."""
    size = len(batch.label)
    nothing = torch.zeros(size, size, dtype=torch.bool, device=batch.label.device)
    total = TermPairs(nothing, nothing.clone(), {}, {})
    for sides in comparisons(term, branches, devices):
        pairs, _, _ = pairs_of_sides(term, sides, batch, [views[name] for name in term.views] if views else ())
        if not has_negatives(term.criterion):
            pairs = replace(pairs, negative=torch.zeros_like(pairs.negative))
        add_pairs(total, term, sides, pairs, size)
    total.positive.fill_diagonal_(False)
    total.negative.fill_diagonal_(False)
    return total


def add_pairs(total: TermPairs, term: ContrastTerm, sides: Comparison, pairs: Pairs, size: int) -> None:
    """Add the pairs of one comparison, block by block of its stacked entries."""
    names = [[(term.views[at], branch, device) for at, branch, device in side] for side in sides]
    n_stacked = len(sides[0])
    # Items within a side meet too, but in sup-con of two sides.
    within = term.criterion.name == "nt-xent" or len(sides) == 1
    meetings = [(a, b) for a in range(len(sides)) for b in range(len(sides)) if a != b or within]
    positive, negative = (
        mask.view(n_stacked, size, n_stacked, size).transpose(1, 2) for mask in (pairs.positive, pairs.negative)
    )
    for s in range(n_stacked):
        for t in range(n_stacked):
            total.positive.logical_or_(positive[s, t])
            total.negative.logical_or_(negative[s, t])
            for a, b in meetings:
                entries = frozenset((names[a][s], names[b][t]))
                if len(entries) == 2 and s != t:
                    join(total.own_positive, entries, positive[s, t].diagonal())
                    join(total.own_negative, entries, negative[s, t].diagonal())
        self_pair = "exclude" if term.criterion.name == "comet-id" else getattr(term.criterion, "self_pair", "positive")
        for two in combinations([side[s] for side in names], 2):
            if len(set(two)) == 2 and self_pair == "positive" and term.relation != "same-time-step":
                join(total.own_positive, frozenset(two), ~pairs.estranged.view(n_stacked, size)[s])


def join(masks: dict[frozenset[Named], torch.Tensor], entries: frozenset[Named], mask: torch.Tensor) -> None:
    """Add a mask to what is known of two entries."""
    if bool(mask.any()):
        masks[entries] = masks.get(entries, torch.zeros_like(mask)) | mask
