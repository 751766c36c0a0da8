"""ColloSSL's multi-view contrastive loss: an anchor device, positive devices, negative devices."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from biocl.objectives.criteria.devices import counts, masked_log_sum_exp, mean_of
from biocl.objectives.criteria.scores import full_precision, unit


def collossl(
    anchor: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    positive_weights: Tensor | None = None,
    negative_weights: Tensor | None = None,
    temperature: float = 0.05,
    sign: Literal["paper", "released"] = "paper",
    positive_present: Tensor | None = None,
    negative_present: Tensor | None = None,
) -> tuple[Tensor, dict[str, int]]:
    """The anchor's own moment on positive devices against other moments on negative devices.

    ``L = mean_b −log( S⁺ / (S⁺ + S⁻) )`` with ``S⁺ = Σ_p w_p e^{cos(a_b, z_pb)/τ}`` and
    ``S⁻ = Σ_{n,k} w_n e^{cos(a_b, z_nkb)/τ}``, in logarithms. Multiplying all weights by one number changes
    nothing, so the published division by the largest is left out. O((P + NK)BD).

    With ``sign="released"`` the cosine is replaced by its negative, as in the public code, where the Keras
    loss ``CosineSimilarity`` stands for the similarity. It pushes aligned moments apart: at τ = 0.05 an
    anchor that equals its positive and is orthogonal to its negative costs 20.0, one that is orthogonal to
    its positive and equals its negative costs 0.0, and free latents end at cos(a, positive) = −1. It is here
    to compare with, not to train with.

    Parameters
    ----------
    anchor : Tensor, shape (B, D)
    positives : Tensor, shape (P, B, D)
        Row b is the anchor's moment b on P devices.
    negatives : Tensor, shape (N, K, B, D)
        Row b is some other moment, K draws for each of N devices; already permuted. The positive's device
        may be among them.
    positive_weights, negative_weights : Tensor, shape (P,) and (N,), optional
        Published: 1, and 1 over the distance of device n from the anchor's; not differentiated. A device of
        weight 0 is left out. Default 1.
    temperature : float
    sign : {"paper", "released"}
    positive_present, negative_present : bool Tensor, shape (P, B) and (N, K, B), optional
        Latents that exist; the others are not read. For a moment without its anchor, False throughout.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no moment is left.
    info : dict of str to int
        ``anchors`` that entered the mean, and ``skipped`` moments without a positive or without a negative.

    References
    ----------
    Jain et al. 2022, "ColloSSL: Collaborative Self-Supervised Learning for Human Activity Recognition".
    """
    scale = {"paper": 1, "released": -1}[sign] / temperature
    with torch.autocast(anchor.device.type, enabled=False):
        attracts = _counted(positives, positive_weights, positive_present)
        repels = _counted(negatives, negative_weights, negative_present)
        valid = attracts.any(dim=1) & repels.any(dim=1)
        anchor = unit(full_precision(anchor).masked_fill(~valid[:, None], 0)) * scale
        attract = _weighted_scores(anchor, positives, positive_weights, positive_present)
        repel = _weighted_scores(anchor, negatives, negative_weights, negative_present)
        mass = masked_log_sum_exp(torch.cat([attract, repel], dim=1), torch.cat([attracts, repels], dim=1))
        loss = mean_of(mass - masked_log_sum_exp(attract, attracts), valid)
    return loss, counts(valid)


def _counted(others: Tensor, weights: Tensor | None, present: Tensor | None) -> Tensor:
    """Which latents count, (B, P) or (B, N * K)."""
    counted = torch.ones(others.shape[:-1], dtype=torch.bool, device=others.device)
    if weights is not None:
        counted = counted & (weights > 0).reshape(-1, *[1] * (others.ndim - 2))
    if present is not None:
        counted = counted & present
    return counted.reshape(-1, others.shape[-2]).T


def _weighted_scores(anchor: Tensor, others: Tensor, weights: Tensor | None, present: Tensor | None) -> Tensor:
    """Scores plus the logarithm of their device's weight, finite also for those that do not count, as above."""
    others = full_precision(others)
    if present is not None:
        others = others.masked_fill(~present[..., None], 0)
    scores = (unit(others) * anchor).sum(dim=-1)
    if weights is not None:
        weights = weights.detach().to(scores.dtype).reshape(-1, *[1] * (others.ndim - 2))
        scores = scores + weights.masked_fill(weights <= 0, 1).log()
    return scores.reshape(-1, len(anchor)).T
