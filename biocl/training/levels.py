"""The level of a window: what is taken out of each channel before it is encoded, and put back into a forecast."""

from __future__ import annotations

import torch

from biocl.training.spec import Normalise


def levels(x: torch.Tensor, valid: torch.Tensor | None, how: Normalise) -> tuple[torch.Tensor, torch.Tensor]:
    """What is taken out of windows and put back into their forecasts: ``x -> (x - mean) / spread``.

    Parameters
    ----------
    x : Tensor, shape (B, n_chans, n_times)
    valid : bool Tensor, shape (B, n_times), optional
    how : {"instance", "last"}
        Mean and standard deviation of each channel (Kim et al. 2022, "Reversible instance normalization", without
        its affine map), or the last value and 1.

    Returns
    -------
    mean, spread : Tensor, shape (B, n_chans, 1)
    """
    shown = torch.ones_like(x[:, :1], dtype=torch.bool) if valid is None else valid[:, None]
    if how == "last":
        step = torch.arange(x.shape[2], device=x.device)
        last = (step * shown).amax(dim=2, keepdim=True).expand(-1, x.shape[1], -1)
        mean = x.gather(2, last)
        return mean, torch.ones_like(mean)
    count = shown.sum(dim=2, keepdim=True).clamp(min=1)
    mean = (x * shown).sum(dim=2, keepdim=True) / count
    variance = ((x - mean).square() * shown).sum(dim=2, keepdim=True) / count
    return mean, (variance + 1e-5).sqrt()


def levelled(x: torch.Tensor, valid: torch.Tensor | None, mean: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
    """Windows without their level; what is padded or missing stays 0."""
    out = (x - mean) / spread
    return out if valid is None else out * valid[:, None]
