"""InfoNCE of any number of views at once: MV-InfoNCE and MV-DHEL."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from biocl.objectives.criteria.devices import (
    Devices,
    counts,
    devices,
    masked_log_sum_exp,
    mean_of,
    within_devices,
)
from biocl.objectives.criteria.streamed import streamed_log_sum_exp


def mv_info_nce(
    z: Tensor,
    *,
    temperature: float = 0.5,
    denominator: Literal["all", "cross"] = "all",
    present: Tensor | None = None,
    ignore: Tensor | None = None,
) -> tuple[Tensor, dict[str, int]]:
    """One ratio per sample: all pairs of its views against all pairs with a view of it.

    With u_il the unit latent of sample i in view l,
    ``L = mean_i [ logsumexp_{l, (j,m)} u_il·u_jm/τ − logsumexp_{l≠l'} u_il·u_il'/τ ]``, where (j, m) runs
    over every entry but (i, l) itself ("all", the authors' code) or over those of other views, m ≠ l
    ("cross", their formula). Collapse gives log((VB − 1)/(V − 1)) with "all". With two views it is never
    below NT-Xent ("all") or symmetric InfoNCE ("cross"), and equals neither. V²B² scores, streamed.

    Parameters
    ----------
    z : Tensor, shape (V, B, D)
        Latents of V views or devices; any order of them gives the same loss.
    temperature : float
    denominator : {"all", "cross"}
    present : bool Tensor, shape (B, V), optional
        Absent latents are not read, neither as anchors nor as negatives.
    ignore : bool Tensor, shape (B, B), optional
        Pairs of samples that are neither positive nor negative; symmetric. The diagonal is not looked at.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no sample is left, a batch of one included.
    info : dict of str to int
        ``anchors`` that entered the mean, and ``skipped`` samples, with fewer than two views or without a
        negative. A sample with one view is still a negative of others.

    References
    ----------
    Koromilas et al. 2025, "A Principled Framework for Multi-View Contrastive Learning".
    """
    with torch.autocast(z.device.type, enabled=False):
        d = devices(z, present, ignore)
        n_views, n, _ = d.u.shape

        def hide(view: int, part: slice) -> Tensor:
            pairs = (d.hidden(part, own=False)[:, None] | ~d.here).clone()
            pairs[:, view] = d.hidden(part) | ~d.here[view] if denominator == "all" else True
            return pairs.flatten(1)

        columns = d.u.reshape(1, n_views * n, -1).expand(n_views, -1, -1)
        rows = streamed_log_sum_exp(d.u / temperature, columns, hide)
        valid = (d.here.sum(dim=0) >= 2) & (d.negatives() > 0).any(dim=0)
        loss = mean_of(masked_log_sum_exp(rows.T, d.here.T) - attraction(d, temperature, ordered=True), valid)
    return loss, counts(valid)


def mv_dhel(
    z: Tensor,
    *,
    temperature: float = 0.5,
    present: Tensor | None = None,
    ignore: Tensor | None = None,
) -> tuple[Tensor, dict[str, int]]:
    """Views of a sample attract each other, and samples spread within each view on its own.

    ``L = mean_i [ Σ_l logsumexp_{j≠i} u_il·u_jl/τ − logsumexp_{l<l'} u_il·u_il'/τ ]``. Views do not meet in
    the spreading term: its mixed second derivative between views is zero, and its VB² scores, streamed,
    grow linearly with the number of views. It is a sum over the views while the attraction is not, so more
    views weigh spreading more. Collapse gives V(log(B − 1) + 1/τ) − log(V(V − 1)/2) − 1/τ.

    Parameters
    ----------
    z, temperature, present, ignore
        As for `mv_info_nce`. Of absent views there is no term; negatives are those with the same view.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no sample is left, a batch of one included.
    info : dict of str to int
        ``anchors`` and ``skipped`` samples, with fewer than two views or with a negative in none of them.
        A view without a negative has no spreading term.

    References
    ----------
    Koromilas et al. 2025, "A Principled Framework for Multi-View Contrastive Learning".
    """
    with torch.autocast(z.device.type, enabled=False):
        d = devices(z, present, ignore)
        spread = d.here & (d.negatives() > 0)
        valid = (d.here.sum(dim=0) >= 2) & spread.any(dim=0)
        spreading = within_devices(d, temperature).masked_fill(~spread, 0).sum(dim=0)
        loss = mean_of(spreading - attraction(d, temperature, ordered=False), valid)
    return loss, counts(valid)


def attraction(d: Devices, temperature: float, *, ordered: bool) -> Tensor:
    """``logsumexp`` over the pairs of views of each sample, (B,), meaningless with fewer than two."""
    scores, exist = d.pair_scores(temperature)
    return masked_log_sum_exp(scores.flatten(1), (exist if ordered else exist.triu(1)).flatten(1))
