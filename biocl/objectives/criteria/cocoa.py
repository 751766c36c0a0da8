"""COCOA: agreement between a moment's devices against other moments of each device."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from biocl.objectives.criteria.devices import counts, devices, masked_log_sum_exp, mean_of, within_devices


def cocoa(
    z: Tensor,
    *,
    form: Literal["cocoa", "cocoa2"] = "cocoa",
    temperature: float = 0.5,
    present: Tensor | None = None,
    ignore: Tensor | None = None,
) -> tuple[Tensor, dict[str, int]]:
    """COCOA's two losses, as coded.

    With ``pos_i = Σ_{l≠l'} e^{s(z_il, z_il')/τ}`` over ordered pairs of devices and
    ``neg_i = Σ_l mean_{j≠i} e^{s(z_il, z_jl)/τ}``:

    - "cocoa": ``mean_i −log(pos_i / (pos_i + neg_i))``, in logarithms throughout;
    - "cocoa2": ``Σ_i [ mean_{l,l'} e^{(1 − s(z_il, z_il'))/τ} / 32 + 0.0039 neg_i ]``, the mean over all V²
      pairs, those of a device with itself included. It is a sum over the batch and exponential in 1/τ,
      which leaves float32 below a τ of about 0.02.

    The public code takes latents as they come; here s is the cosine. VB² + V²B scores, those within
    devices streamed.

    Parameters
    ----------
    z : Tensor, shape (V, B, D)
    form : {"cocoa", "cocoa2"}
    temperature : float
    present : bool Tensor, shape (B, V), optional
        Sums and means run over the devices that are there.
    ignore : bool Tensor, shape (B, B), optional
        Pairs of samples that are no negatives; symmetric. The diagonal is not looked at.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no sample is left, a batch of one included.
    info : dict of str to int
        ``anchors`` and ``skipped`` samples, with fewer than two devices or without a negative.

    References
    ----------
    Deldari et al. 2022, "COCOA: Cross Modality Contrastive Learning for Sensor Data".
    """
    with torch.autocast(z.device.type, enabled=False):
        d = devices(z, present, ignore)
        n_negatives = d.negatives()
        spread = d.here & (n_negatives > 0)
        valid = (d.here.sum(dim=0) >= 2) & spread.any(dim=0)
        means = within_devices(d, temperature) - n_negatives.clamp(min=1).log()
        log_negative = masked_log_sum_exp(means.T, spread.T)
        scores, apart = d.pair_scores(temperature)
        if form == "cocoa":
            log_positive = masked_log_sum_exp(scores.flatten(1), apart.flatten(1))
            return mean_of(torch.logaddexp(log_negative, log_positive) - log_positive, valid), counts(valid)
        exist = (d.here.T[:, :, None] & d.here.T[:, None, :]).flatten(1)
        n_pairs = exist.sum(dim=1).clamp(min=1)
        log_distance = masked_log_sum_exp(1 / temperature - scores.flatten(1), exist) - n_pairs.log()
        both = torch.stack([log_distance, log_negative]).masked_fill(~valid, -torch.inf).exp()
        return both[0].sum() / 32 + 3.9e-3 * both[1].sum(), counts(valid)
