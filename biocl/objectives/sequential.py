"""Prediction after every device: the loss of a state that grows device by device."""

from __future__ import annotations

import torch
from torch import Tensor

CHANGE = 0.01


def sequential_loss(
    errors: Tensor, changes: Tensor, counted: Tensor | None = None, *, change_weight: float = CHANGE
) -> Tensor:
    """Mean error before the first device and after each, and a price on how much a device changes the state.

    ``mean_{m=0..M} E_m + 0.01 mean_{m=1..M} C_m``. What an absent device would have said is not charged, so a
    prediction after few devices is trained on everybody who has them, whatever else they have: that others lack a
    device says nothing at that step, even where those who lack it are the ill ones.

    Parameters
    ----------
    errors : Tensor, shape (M + 1, B)
        Of every step and window.
    changes : Tensor, shape (M, B)
        Mean squared change of the state at every step.
    counted : bool Tensor, shape (B, M), optional
        Which devices are there.
    change_weight : float

    Returns
    -------
    Tensor, shape ()

    References
    ----------
    Swamy et al. 2023, "MultiModN: multimodal, multi-task, interpretable modular networks".
    """
    if counted is None:
        return errors.mean() + change_weight * changes.mean()
    there = counted.T.to(errors.dtype)
    first = torch.ones_like(errors[:1])
    kept = torch.cat([first, there])
    of_errors = (errors * kept).sum() / kept.sum()
    return of_errors + change_weight * (changes * there).sum() / there.sum().clamp(min=1)
