"""CWCL: every pair is as positive as its weight says."""

from __future__ import annotations

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import attached_zero, full_precision, scores


def cwcl(
    rows: Tensor,
    columns: Tensor,
    weights: Tensor,
    *,
    temperature: float = 0.07,
    ignore: Tensor | None = None,
) -> tuple[Tensor, dict[str, int]]:
    """Continuously weighted contrast of every row with all columns.

    ``L = −mean_i (1/Σ_j w_ij) Σ_j w_ij [ s_ij/τ − logsumexp_k s_ik/τ ]`` with cosines `s`. With ``w`` the identity it
    is InfoNCE; a row of `w` may be scaled by any number.

    Parameters
    ----------
    rows, columns : Tensor, shape (N, D) and (M, D)
    weights : Tensor, shape (N, M)
        Not negative; no gradient flows into them.
    temperature : float
    ignore : bool Tensor, shape (N, M), optional
        Pairs that are left out, also of the sum over `k`.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no row has a weight.
    info : dict of str to int
        ``anchors`` and ``skipped``.

    References
    ----------
    Srinivasa et al. 2023, "CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss".
    """
    scored = torch.ones_like(weights, dtype=torch.bool) if ignore is None else ~ignore
    weights = full_precision(weights.detach()).masked_fill(~scored, 0)
    total = weights.sum(dim=1)
    anchors = total > 0
    info = {"anchors": int(anchors.sum()), "skipped": int((~anchors).sum())}
    if not info["anchors"]:
        return attached_zero(rows, columns), info
    s = scores(rows, columns, similarity="cosine", temperature=temperature)[anchors]
    share = (weights[anchors] / total[anchors, None]).to(s)
    normaliser = s.masked_fill(~scored[anchors], -torch.inf).logsumexp(dim=1)
    return (normaliser - (share * s).sum(dim=1)).mean(), info


def target_weights(target: Tensor, others: Tensor, *, width: float) -> Tensor:
    """``exp(−|y_i − y_j| / width)``: 1 for equal targets, falling the faster the smaller `width` is; (N, M)."""
    return torch.exp(-(full_precision(target)[:, None] - full_precision(others)[None, :]).abs() / width)
