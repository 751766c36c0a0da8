"""Which pairs of windows a term pulls together, pushes apart, or leaves alone: made in one place."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from biocl.objectives import relations
from biocl.objectives.batch import Batch
from biocl.objectives.spec import ContrastTerm


@dataclass(frozen=True)
class Pairs:
    """Pairs of different windows as boolean masks (B, B); the diagonal is False in all of them.

    Every pair is positive, negative or ignored. Under ``same-time-step`` the partners are steps of one window,
    so no pair of windows is positive or negative.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    ignored: torch.Tensor


def window_pairs(term: ContrastTerm, batch: Batch) -> Pairs:
    """The pairs of a term in a batch: an ignored pair is neither positive nor negative, whatever the relation says."""
    size = len(batch.x)
    nothing = torch.zeros(size, size, dtype=torch.bool, device=batch.x.device)
    apart = ~torch.eye(size, dtype=torch.bool, device=batch.x.device)
    if term.relation == "same-time-step":
        return Pairs(nothing, nothing, apart)
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
    ignored &= apart
    alike = nothing
    if term.relation in ("same-trial", "same-patient"):
        alike = relations.same_id(batch.trial if term.relation == "same-trial" else batch.patient)
    positive = alike & apart & ~ignored
    return Pairs(positive, apart & ~positive & ~ignored, ignored)
