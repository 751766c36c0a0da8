"""Which pairs of items a term pulls together, pushes apart, or leaves alone: made in one place.

An item is what one row of a comparison says: a window, or a window as one of several stacked views or branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from biocl.objectives import relations
from biocl.objectives.batch import Batch, Ids
from biocl.objectives.comparisons import Comparison
from biocl.objectives.criterion_spec import Focal
from biocl.objectives.memories import Keys
from biocl.objectives.spec import ContrastTerm, Ignored
from biocl.views.view import View


@dataclass(frozen=True)
class Pairs:
    """Pairs of different items as boolean masks (N, N); the diagonal is False in all of them.

    Every pair is positive, negative or ignored. Under ``same-time-step`` the partners are steps of one window,
    so no pair of items is positive or negative. `estranged` (N,) is True where an item's own two sides are no
    pair, because one was relabelled or its target is unknown; such an item is no anchor.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    ignored: torch.Tensor
    estranged: torch.Tensor


@dataclass(frozen=True)
class Shown:
    """The classes that the items of one side show: `label` (N,), and whether a view changed it, (N,) bool or None."""

    label: torch.Tensor
    relabelled: torch.Tensor | None = None

    @classmethod
    def of(cls, views: Sequence[View], batch: Batch | Ids) -> Shown:
        """Of the views that are stacked on one side, each of the whole batch."""
        labels = torch.cat([carried(view, batch) for view in views])
        if all(view.relabelled is None for view in views):
            return cls(labels)
        return cls(labels, torch.cat([relabels(view, batch) for view in views]))


def pairs_of_sides(
    term: ContrastTerm, sides: Comparison, batch: Batch, views: Sequence[View] = ()
) -> tuple[Pairs, Ids, bool]:
    """How the items of a comparison are paired, whose they are, and whether a view may have changed a label.

    Parameters
    ----------
    term : ContrastTerm
    sides : Comparison
    batch : Batch
    views : sequence of View
        One per name in ``term.views``; without them every view carries the window's own label.
    """
    ids = batch.ids.repeated(len(sides[0]))
    stacked = [tuple(entry.view for entry in side) for side in sides if views]
    # Sides of the same views show the same, as one object.
    shown = {one: Shown.of([views[view] for view in one], batch) for one in stacked}
    relabelled = any(one.relabelled is not None for one in shown.values())
    return window_pairs(term, ids, [shown[one] for one in stacked]), ids, relabelled


def window_pairs(term: ContrastTerm, ids: Batch | Ids, shown: Sequence[Shown] = ()) -> Pairs:
    """The pairs of a term among items: an ignored pair is neither positive nor negative, whatever the relation says.

    Parameters
    ----------
    term : ContrastTerm
    ids : Batch or Ids
        Of the N items; a window that is stacked several times stands in it as often (`Ids.repeated`).
    shown : sequence of Shown
        The classes that the two sides show (the same object where they are the same views); without them every view
        carries the window's own.
    """
    size = len(ids.label)
    nothing = torch.zeros(size, size, dtype=torch.bool, device=ids.label.device)
    apart = ~torch.eye(size, dtype=torch.bool, device=ids.label.device)
    changes = label_changes(shown, size) if shown and "label-change" in term.ignored else nothing
    estranged = changes.diagonal()
    if term.relation == "same-time-step":
        return Pairs(nothing, nothing, apart, estranged)
    alike = nothing
    if term.relation in ("same-trial", "same-patient"):
        alike = relations.same_id(ids.trial if term.relation == "same-trial" else ids.patient)
    ignored = kept_apart(term.ignored, ids, ids)
    if term.relation == "near-target":
        assert ids.target is not None
        alike, unknown = relations.near(ids.target, term.near), ids.target.isnan()
        ignored |= unknown[:, None] | unknown[None]
        estranged = estranged | unknown
    if "label-change" in term.ignored:
        ignored |= changes & alike  # items of different classes may still be negatives
    if isinstance(term.criterion, Focal):
        ignored |= relations.same_id(sequences_of(term.criterion, ids))  # ranked, and so no negatives
    ignored &= apart
    positive = alike & apart & ~ignored
    return Pairs(positive, apart & ~positive & ~ignored, ignored, estranged)


def kept_apart(kinds: Sequence[Ignored], ids: Batch | Ids, others: Batch | Ids | Keys) -> torch.Tensor:
    """Which of M others are neither alike nor apart from N, by where their windows come from: (N, M) bool."""
    ignored = torch.zeros(len(ids.trial), len(others.trial), dtype=torch.bool, device=ids.trial.device)
    for kind in kinds:
        match kind:
            case "overlap":
                there = others.recording, others.start, others.length
                ignored |= relations.overlap(ids.recording, ids.start, ids.length, there)
            case "same-trial":
                ignored |= relations.same_id(ids.trial, others.trial)
            case "same-patient":
                ignored |= relations.same_id(ids.patient, others.patient)
            case "other-patient":
                ignored |= ~relations.same_id(ids.patient, others.patient)
    return ignored


def sequences_of(criterion: Focal, ids: Batch | Ids) -> torch.Tensor:
    """Which windows belong together in time, (N,)."""
    return ids.trial if criterion.sequence == "trial" else ids.recording


def label_changes(shown: Sequence[Shown], size: int) -> torch.Tensor:
    """Pairs across which the class changes because a view was relabelled, (N, N) bool.

    Row i is item i of the first side, column j item j of the last; the diagonal is an item's own pair. A pair
    counts if one of the two was relabelled and their classes differ, or one is unknown.
    """
    first, last = shown[0], shown[-1]
    relabelled = torch.zeros(size, size, dtype=torch.bool, device=first.label.device)
    if first.relabelled is not None:
        relabelled |= first.relabelled[:, None]
    if last.relabelled is not None:
        relabelled |= last.relabelled[None]
    one, other = first.label[:, None], last.label[None]
    changes = relabelled & ((one != other) | (one < 0) | (other < 0))
    if first is last:
        changes.fill_diagonal_(False)  # a view is alike to itself
    return changes


def carried(view: View, batch: Batch | Ids) -> torch.Tensor:
    """The label a view carries, or the window's own, (B,)."""
    return batch.label if view.target is None else view.target


def relabels(view: View, batch: Batch | Ids) -> torch.Tensor:
    """Whether each window was relabelled in this view, (B,) bool."""
    return torch.zeros_like(batch.label, dtype=torch.bool) if view.relabelled is None else view.relabelled
