"""Which pairs of windows a term pulls together, pushes apart, or leaves alone: made in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from biocl.objectives import relations
from biocl.objectives.batch import Batch
from biocl.objectives.spec import ContrastTerm
from biocl.views.view import View


@dataclass(frozen=True)
class Pairs:
    """Pairs of different windows as boolean masks (B, B); the diagonal is False in all of them.

    Every pair is positive, negative or ignored. Under ``same-time-step`` the partners are steps of one window,
    so no pair of windows is positive or negative. `estranged` (B,) is True where a window's own two views are no
    pair, because one was relabelled; such a window is no anchor.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    ignored: torch.Tensor
    estranged: torch.Tensor


def window_pairs(term: ContrastTerm, batch: Batch, views: Sequence[View] = ()) -> Pairs:
    """The pairs of a term in a batch: an ignored pair is neither positive nor negative, whatever the relation says.

    Parameters
    ----------
    term : ContrastTerm
    batch : Batch
    views : sequence of View
        The views of the term, for the labels that they carry; without them every view carries the window's own.
    """
    size = len(batch.x)
    nothing = torch.zeros(size, size, dtype=torch.bool, device=batch.x.device)
    apart = ~torch.eye(size, dtype=torch.bool, device=batch.x.device)
    changes = label_changes(views, batch) if "label-change" in term.ignored else nothing
    estranged = changes.diagonal()
    if term.relation == "same-time-step":
        return Pairs(nothing, nothing, apart, estranged)
    alike = nothing
    if term.relation in ("same-trial", "same-patient"):
        alike = relations.same_id(batch.trial if term.relation == "same-trial" else batch.patient)
    ignored = nothing.clone()
    for kind in term.ignored:
        match kind:
            case "overlap":
                ignored |= relations.overlap(batch.recording, batch.start, batch.length)
            case "same-trial":
                ignored |= relations.same_id(batch.trial)
            case "same-patient":
                ignored |= relations.same_id(batch.patient)
            case "other-patient":
                ignored |= ~relations.same_id(batch.patient)
            case "label-change":
                ignored |= changes & alike  # windows of different classes may still be negatives
    ignored &= apart
    positive = alike & apart & ~ignored
    return Pairs(positive, apart & ~positive & ~ignored, ignored, estranged)


def label_changes(views: Sequence[View], batch: Batch) -> torch.Tensor:
    """Pairs across which the class changes because a view was relabelled, (B, B) bool.

    Row i is window i in the first view, column j window j in the last; the diagonal is a window's own pair. A pair
    counts if one of the two was relabelled and their classes differ, or one is unknown.
    """
    size = len(batch.x)
    if not any(view.relabelled is not None for view in views):
        return torch.zeros(size, size, dtype=torch.bool, device=batch.x.device)
    first, last = views[0], views[-1]
    one, other = carried(first, batch)[:, None], carried(last, batch)[None]
    relabelled = relabels(first, batch)[:, None] | relabels(last, batch)[None]
    changes = relabelled & ((one != other) | (one < 0) | (other < 0))
    if first is last:
        changes.fill_diagonal_(False)  # a view is alike to itself
    return changes


def carried(view: View, batch: Batch) -> torch.Tensor:
    """The label a view carries, or the window's own, (B,)."""
    return batch.label if view.target is None else view.target


def relabels(view: View, batch: Batch) -> torch.Tensor:
    """Whether each window was relabelled in this view, (B,) bool."""
    return torch.zeros_like(batch.label, dtype=torch.bool) if view.relabelled is None else view.relabelled
