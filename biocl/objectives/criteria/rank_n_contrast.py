"""Rank-N-Contrast: embeddings are to be as far apart, in order, as targets are."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import attached_zero, full_precision, scores


def rank_n_contrast(
    z: Tensor,
    target: Tensor,
    *,
    temperature: float = 2.0,
    similarity: Literal["distance", "cosine"] = "distance",
    ignore: Tensor | None = None,
) -> tuple[Tensor, dict[str, int]]:
    """Every pair against all items whose targets are as far from the anchor's, or farther.

    ``L_i = mean_{j≠i} [ logsumexp_{k: |y_i−y_k| ≥ |y_i−y_j|} s_ik/τ − s_ij/τ ]``, mean over the anchors that have a
    partner. It is never negative, and depends on the order of the distances between targets alone, not on their unit.

    Parameters
    ----------
    z : Tensor, shape (N, D)
        Of one view, or of several one after the other.
    target : Tensor, shape (N,)
        All known.
    temperature : float
    similarity : {"distance", "cosine"}
        Minus the Euclidean distance of the embeddings as they are, as published, or their cosine.
    ignore : bool Tensor, shape (N, N), optional
        Pairs that are left out.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no anchor has a partner.
    info : dict of str to int
        ``anchors`` and ``skipped``.

    References
    ----------
    Zha et al. 2023, "Rank-N-Contrast: Learning Continuous Representations for Regression".
    """
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    scored = ~own if ignore is None else ~own & ~ignore
    anchors = scored.any(dim=1)
    info = {"anchors": int(anchors.sum()), "skipped": int((~anchors).sum())}
    if not info["anchors"]:
        return attached_zero(z), info
    if similarity == "cosine":
        s = scores(z, z, similarity="cosine", temperature=temperature)
    else:
        with torch.autocast(z.device.type, enabled=False):
            z = full_precision(z)
            s = -torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") / temperature
    target = full_precision(target)
    # Pairs that are left out stand first in the order of distance, where no sum from a pair to the farthest meets them.
    apart = (target[:, None] - target[None, :]).abs().masked_fill(~scored, -1)
    apart, order = apart.sort(dim=1)
    s = s.gather(1, order)
    from_here = s.flip(1).logcumsumexp(dim=1).flip(1)
    as_far = torch.searchsorted(apart, apart, side="left")  # the first that is as far: ties meet each other
    loss = (from_here.gather(1, as_far) - s).masked_fill(apart < 0, 0)
    return (loss.sum(dim=1)[anchors] / scored.sum(dim=1)[anchors]).mean(), info
