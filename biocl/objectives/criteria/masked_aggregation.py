"""CroSSL: two halves of the devices, whole devices hidden at random, must give one representation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import full_precision
from biocl.objectives.criteria.vicreg import vicreg

Aggregation = Literal["mean", "concatenate"]


def device_masks(present: Tensor, *, generator: torch.Generator, coverage: float = 0.5, n_masks: int = 2) -> Tensor:
    """Which devices every mask keeps, of those that are there.

    Each device of each window is kept with probability `coverage`, independently; where that would keep
    none, one of those present is kept, each as likely as the others.

    Parameters
    ----------
    present : bool Tensor, shape (B, V)
    generator : torch.Generator
        On the device of `present`.
    coverage : float
        Above 0, at most 1.
    n_masks : int

    Returns
    -------
    bool Tensor, shape (n_masks, B, V)
        Never a device that is absent; at least one device of a window that has any.
    """
    draws = torch.rand((n_masks, *present.shape), generator=generator, device=present.device)
    draws = draws.masked_fill(~present, 2)
    least = torch.zeros_like(draws, dtype=torch.bool).scatter_(2, draws.argmin(dim=2, keepdim=True), True)
    return ((draws < coverage) | least) & present


def entry_masks(
    present: Tensor, dim: int, *, generator: torch.Generator, coverage: float = 0.5, n_masks: int = 2
) -> Tensor:
    """Which of `dim` entries of each device every mask keeps, each with probability `coverage`, independently.

    Parameters are those of `device_masks`.

    Returns
    -------
    bool Tensor, shape (n_masks, B, V, dim)
        Never an entry of a device that is absent.
    """
    draws = torch.rand((n_masks, *present.shape, dim), generator=generator, device=present.device)
    return (draws < coverage) & present[:, :, None]


def aggregate(z: Tensor, keep: Tensor, how: Aggregation = "mean") -> Tensor:
    """One vector per window of the devices, or of their entries, that are kept; the others are not read.

    Parameters
    ----------
    z : Tensor, shape (V, B, D)
    keep : bool Tensor, shape (B, V) or (B, V, D)
    how : {"mean", "concatenate"}
        The mean of those kept, (B, D), zero if none is; or all devices side by side, (B, V * D), with zeros
        for those that are not kept, as published.

    Returns
    -------
    Tensor, shape (B, D) or (B, V * D)
    """
    kept = (keep if keep.ndim == 3 else keep[:, :, None]).transpose(0, 1)
    z = full_precision(z).masked_fill(~kept, 0)
    if how == "concatenate":
        return z.transpose(0, 1).flatten(1)
    return z.sum(dim=0) / kept.sum(dim=0).clamp(min=1)


def masked_aggregation(
    z: Tensor,
    keep: Tensor,
    project: Callable[[Tensor], Tensor],
    *,
    how: Aggregation = "mean",
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> tuple[Tensor, dict[str, int]]:
    """VICReg between the aggregates of what two masks keep: no negatives, and any device may be missing.

    Parameters
    ----------
    z : Tensor, shape (V, B, D)
    keep : bool Tensor, shape (2, B, V) or (2, B, V, D)
        From `device_masks` or `entry_masks`.
    project : callable
        From an aggregate to what is compared; published: a perceptron of 64 hidden units. The identity, too.
    how : {"mean", "concatenate"}
    invariance, variance, covariance : float
        VICReg's weights.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph with fewer than two windows that have a device.
    info : dict of str to int
        ``anchors``, and ``skipped`` windows of which a mask keeps nothing.

    References
    ----------
    Deldari et al. 2024, "CroSSL: Cross-modal Self-Supervised Learning for Time-series through Latent Masking".
    """
    first, second = (project(aggregate(z, mask, how)) for mask in keep)
    return vicreg(
        first,
        second,
        valid=keep.flatten(2).any(dim=2).all(dim=0),
        invariance=invariance,
        variance=variance,
        covariance=covariance,
    )
