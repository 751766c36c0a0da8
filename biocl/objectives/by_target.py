"""Criteria that compare windows by the distance of their targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from biocl.objectives import criteria
from biocl.objectives.criterion_spec import CWCL, ByTarget, Criterion, RankNContrast, SupReMix
from biocl.objectives.pairs import Pairs

Loss = tuple[Tensor, dict[str, int]]


def target_loss(criterion: ByTarget, reads: Sequence[Tensor], pairs: Pairs, target: Tensor) -> Loss:
    """The loss of one comparison: of the windows of one view, or of two views, whose windows all meet.

    Parameters
    ----------
    criterion : ByTarget
    reads : sequence of one or two Tensor, each of shape (N, D)
    pairs : Pairs
        The two views of a window are a pair unless it is estranged.
    target : Tensor, shape (N,)
        All known.

    Returns
    -------
    loss : Tensor, shape ()
    info : dict of str to int
        ``anchors`` and ``skipped``, of N or 2N.
    """
    if isinstance(criterion, CWCL):
        return cwcl_loss(criterion, reads, pairs, target)
    z, positive, ignored = reads[0], pairs.positive, pairs.ignored
    if len(reads) == 2:
        z, target = torch.cat(list(reads)), target.repeat(2)
        positive = views_meet(pairs.positive, own=~pairs.estranged)
        ignored = views_meet(pairs.ignored, own=pairs.estranged)
    if isinstance(criterion, RankNContrast):
        return criteria.rank_n_contrast(
            z, target, temperature=criterion.temperature, similarity=criterion.similarity, ignore=ignored
        )
    assert isinstance(criterion, SupReMix)
    return criteria.supremix(
        z,
        target,
        positive,
        temperature=criterion.temperature,
        reach=criterion.reach,
        unit=criterion.unit,
        weights=criterion.weights,
        share=(criterion.share[0], criterion.share[1]),
        n_negatives=criterion.n_negatives,
        n_positives=criterion.n_positives,
        ignore=ignored,
    )


def partners(criterion: Criterion, pairs: Pairs, target: Tensor) -> dict[str, float]:
    """How many windows a window of the batch meets on average, in one view; those of unknown target meet none.

    ``positives`` and ``negatives``, with the ``mixed positives`` of supremix; for criteria that grade all pairs,
    ``graded`` ones.
    """
    positive, negative = (float(mask.sum(dim=1).float().mean()) for mask in (pairs.positive, pairs.negative))
    if isinstance(criterion, RankNContrast | CWCL):
        return {"graded": positive + negative}
    found = {"positives": positive, "negatives": negative}
    if isinstance(criterion, SupReMix):
        known = ~target.isnan()
        scored = ~pairs.ignored[known][:, known]
        mixed = criteria.hard_positives(target[known], scored, reach=criterion.reach, most=criterion.n_positives)
        found["mixed positives"] = float(mixed.there.sum()) / len(target)
    return found


def views_meet(mask: Tensor, *, own: Tensor) -> Tensor:
    """Pairs of windows (N, N) as pairs of the entries of two views (2N, 2N); `own` (N,) for a window's own two."""
    across = mask | own.diag()
    return torch.cat([torch.cat([mask, across], dim=1), torch.cat([across, mask], dim=1)])


def cwcl_loss(criterion: CWCL, reads: Sequence[Tensor], pairs: Pairs, target: Tensor) -> Loss:
    """Each view against the other, in both directions; or the windows of one view against each other."""
    weights = criteria.target_weights(target, target, width=criterion.width)
    if len(reads) == 1:
        ignored = pairs.ignored | torch.eye(len(target), dtype=torch.bool, device=target.device)
        return criteria.cwcl(reads[0], reads[0], weights, temperature=criterion.temperature, ignore=ignored)
    first, second = reads
    ignored = pairs.ignored | pairs.estranged.diag()
    there, info = criteria.cwcl(first, second, weights, temperature=criterion.temperature, ignore=ignored)
    back, more = criteria.cwcl(second, first, weights.T, temperature=criterion.temperature, ignore=ignored.T)
    return (there + back) / 2, {name: info[name] + more[name] for name in info}
