"""Views that change values and leave time, frequencies and channels where they are."""

from __future__ import annotations

import torch
from torch import Tensor

from biocl.views.draws import Draws
from biocl.views.spec import Together


def jitter(x: Tensor, valid: Tensor | None, *, share: float, draws: Draws) -> Tensor:
    """Add white noise of standard deviation `share` times the channel's own, ``(B, C, T)``.

    A flat channel stays flat.
    """
    return x + draws.normal(*x.shape).to(x.dtype) * (share * variance(x, valid).sqrt()).to(x.dtype)


def scale(x: Tensor, *, change: float, per: Together, draws: Draws) -> Tensor:
    """Multiply each channel, or the whole window, by a factor that is uniform in 1 ± `change`."""
    n_factors = x.shape[1] if per == "channel" else 1
    factor = draws.uniform(len(x), n_factors, 1, low=1 - change, high=1 + change)
    return x * factor.to(x.dtype)


def sign_flip(x: Tensor, *, per: Together, draws: Draws) -> Tensor:
    """Minus the window, or minus each channel with probability one half."""
    if per == "window":
        return -x
    flipped = draws.happens(len(x), x.shape[1], 1, p=0.5)
    return torch.where(flipped, -x, x)


def variance(x: Tensor, valid: Tensor | None) -> Tensor:
    """Variance of each channel of each window over its valid steps, ``(B, C, 1)`` in float32."""
    x = x.float()
    if valid is None:
        return (x - x.mean(dim=-1, keepdim=True)).square().mean(dim=-1, keepdim=True)
    shown = valid[:, None].float()
    n = shown.sum(dim=-1, keepdim=True).clamp(min=1)
    mean = (x * shown).sum(dim=-1, keepdim=True) / n
    return ((x - mean).square() * shown).sum(dim=-1, keepdim=True) / n
