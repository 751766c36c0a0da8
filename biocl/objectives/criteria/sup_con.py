"""SupCon: any number of positives per anchor."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import Similarity, attached_zero, scores


def sup_con(
    z: Tensor,
    positives: Tensor,
    *,
    temperature: float = 0.1,
    similarity: Similarity = "cosine",
    ignore: Tensor | None = None,
    average: Literal["logs", "probabilities"] = "logs",
) -> tuple[Tensor, dict[str, int]]:
    """Every anchor against all other samples of one view.

    ``L_i = mean_{p∈P_i} [ logsumexp_{a≠i} s_ia/τ − s_ip/τ ]``, mean over the anchors with a positive.
    The self pair is neither positive nor negative. The loss does not depend on the order of the batch.

    Parameters
    ----------
    z : Tensor, shape (N, D)
    positives : bool Tensor, shape (N, N)
        The diagonal is not looked at.
    temperature : float
    similarity : {"cosine", "dot"}
    ignore : bool Tensor, shape (N, N), optional
        Pairs that are neither positive nor negative.
    average : {"logs", "probabilities"}
        Where the average over positives stands: outside the logarithm, or inside (never larger).

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no anchor has a positive.
    info : dict of str to int
        ``anchors`` that entered the mean, and ``skipped`` ones without a positive.

    References
    ----------
    Khosla et al. 2020, "Supervised Contrastive Learning", L_out and L_in.
    """
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    scored = ~own if ignore is None else ~own & ~ignore
    s = scores(z, z, similarity=similarity, temperature=temperature)
    return _mean_over_anchors(s, positives & scored, scored, average, (z,))


def sup_con_views(
    z1: Tensor,
    z2: Tensor,
    positives: Tensor,
    *,
    temperature: float = 0.1,
    similarity: Similarity = "cosine",
    ignore: Tensor | None = None,
    self_pair: Literal["exclude", "positive"] = "exclude",
    average: Literal["logs", "probabilities"] = "logs",
) -> tuple[Tensor, dict[str, int]]:
    """Every anchor of one view against the samples of the other, in both directions.

    The mean of `sup_con`'s loss with rows from `z1` and columns from `z2`, and with rows from `z2` and
    columns from `z1`: unlike COMET's released loss it depends on neither the order of the batch nor the
    order of the views, and the same window in the other view is never a negative.

    Parameters
    ----------
    z1, z2 : Tensor, shape (N, D)
    positives : bool Tensor, shape (N, N)
        The diagonal is not looked at.
    temperature, similarity, ignore, average
        As for `sup_con`; `ignore` has rows of `z1` and columns of `z2`, and on its diagonal the self pairs.
    self_pair : {"exclude", "positive"}
        What the same sample in the other view is.

    Returns
    -------
    loss : Tensor, shape ()
    info : dict of str to int
        ``anchors`` and ``skipped``, of 2N.
    """
    own = torch.eye(len(z1), dtype=torch.bool, device=z1.device)
    others = ~own if ignore is None else ~own & ~ignore
    if self_pair == "positive":
        own = own if ignore is None else own & ~ignore
        scored, wanted = others | own, positives & others | own
    else:
        scored, wanted = others, positives & others
    s = scores(z1, z2, similarity=similarity, temperature=temperature)
    return _mean_over_anchors(
        torch.cat([s, s.T]), torch.cat([wanted, wanted.T]), torch.cat([scored, scored.T]), average, (z1, z2)
    )


def _mean_over_anchors(
    s: Tensor, positives: Tensor, scored: Tensor, average: str, inputs: tuple[Tensor, ...]
) -> tuple[Tensor, dict[str, int]]:
    """The loss of (A, N) scores, given which pairs are positive and which are scored at all."""
    anchors = positives.any(dim=1)
    n_anchors = int(anchors.sum())
    info = {"anchors": n_anchors, "skipped": len(s) - n_anchors}
    if n_anchors == 0:
        return attached_zero(*inputs), info
    s, positives, scored = s[anchors], positives[anchors], scored[anchors]
    normaliser = s.masked_fill(~scored, -torch.inf).logsumexp(dim=1)
    counts = positives.sum(dim=1)
    if average == "logs":
        attraction = s.masked_fill(~positives, 0).sum(dim=1) / counts
    else:
        attraction = s.masked_fill(~positives, -torch.inf).logsumexp(dim=1) - counts.log()
    return (normaliser - attraction).mean(), info
