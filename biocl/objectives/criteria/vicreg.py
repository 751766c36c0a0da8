"""VICReg: two views agree, every dimension varies, no two dimensions say the same; no negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from biocl.objectives.criteria.devices import counts
from biocl.objectives.criteria.scores import full_precision


def vicreg(
    z1: Tensor,
    z2: Tensor,
    *,
    valid: Tensor | None = None,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    target: float = 1.0,
) -> tuple[Tensor, dict[str, int]]:
    """Invariance, variance and covariance of two encodings of one batch.

    ``λ mean_{bd} (z1 − z2)² + μ ½ Σ_views mean_d max(0, γ − sqrt(var_d + 1e-4)) + ν Σ_views Σ_{d≠d'} C²_dd' / D``
    with the unbiased covariance C of each view. Latents keep their length. O(B D²); a half-precision input
    is taken to float32.

    Parameters
    ----------
    z1, z2 : Tensor, shape (B, D)
    valid : bool Tensor, shape (B,), optional
        Rows that count; the others are not read.
    invariance, variance, covariance : float
        λ, μ and ν.
    target : float
        γ, the standard deviation below which a dimension is pulled apart.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph with fewer than two rows, which have no variance.
    info : dict of str to int
        ``anchors``, the rows that count, and ``skipped`` ones.

    References
    ----------
    Bardes et al. 2022, "VICReg: Variance-Invariance-Covariance Regularization".
    """
    with torch.autocast(z1.device.type, enabled=False):
        if valid is None:
            valid = torch.ones(len(z1), dtype=torch.bool, device=z1.device)
        valid = valid & (valid.sum() >= 2)
        z = torch.stack([full_precision(z1), full_precision(z2)]).masked_fill(~valid[:, None], 0)
        n, dim = valid.sum(), z.shape[2]
        agreement = (z[0] - z[1]).square().sum() / (n.clamp(min=1) * dim)
        centred = (z - z.sum(dim=1, keepdim=True) / n.clamp(min=1)).masked_fill(~valid[:, None], 0)
        products = centred.mT @ centred / (n - 1).clamp(min=1)
        deviations = (products.diagonal(dim1=1, dim2=2) + 1e-4).sqrt()
        hinge = (target - deviations).relu().mean(dim=1).sum() / 2
        own = torch.eye(dim, dtype=torch.bool, device=z.device)
        redundancy = products.masked_fill(own, 0).square().sum() / dim
        loss = invariance * agreement + (n > 0) * variance * hinge + covariance * redundancy
    return loss, counts(valid)
