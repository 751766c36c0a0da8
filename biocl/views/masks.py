"""Masks over the steps of a window, drawn for a whole batch at once. True means kept.

A mask is applied inside the encoder, after its first layer, so that a masked step is exactly zero there.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from biocl.errors import UsageError
from biocl.views.spec import MaskStep
from biocl.views.view import View


def continuous_mask(
    n_samples: int,
    n_times: int,
    *,
    n_segments: int = 5,
    share: float = 0.1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Mask a few segments of each window; they may overlap.

    The defaults mask 40.5 % of 300 steps on average, as COMET does.

    Parameters
    ----------
    n_samples, n_times : int
        Windows and steps per window.
    n_segments : int
        Segments per window, at least 1 and at most half the steps.
    share : float
        Length of a segment as a share of the window, rounded down, at least one step.
    generator : torch.Generator, optional
        Source of the draws, on `device`.

    Returns
    -------
    bool Tensor, shape (n_samples, n_times)
    """
    return ~_segments(n_samples, n_times, n_segments, share, generator, device).any(dim=1)


def channel_continuous_mask(
    n_samples: int,
    n_times: int,
    hidden_dim: int,
    *,
    n_segments: int = 5,
    share: float = 0.1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Mask a few segments of each window, each in its own random half of the hidden channels.

    Returns
    -------
    bool Tensor, shape (n_samples, n_times, hidden_dim)
    """
    steps = _segments(n_samples, n_times, n_segments, share, generator, device)
    draws = torch.rand(*steps.shape[:2], hidden_dim, generator=generator, device=device)
    half = draws.argsort(dim=-1) < hidden_dim // 2
    keep = torch.ones(n_samples, n_times, hidden_dim, dtype=torch.bool, device=device)
    for segment in range(steps.shape[1]):
        keep &= ~(steps[:, segment, :, None] & half[:, segment, None, :])
    return keep


def binomial_mask(
    n_samples: int,
    n_times: int,
    *,
    p: float = 0.5,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Keep each step with probability `p`.

    Returns
    -------
    bool Tensor, shape (n_samples, n_times)
    """
    return torch.rand(n_samples, n_times, generator=generator, device=device) < p


def channel_binomial_mask(
    n_samples: int,
    n_times: int,
    hidden_dim: int,
    *,
    p: float = 0.5,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Keep each hidden channel of each step with probability `p`.

    Returns
    -------
    bool Tensor, shape (n_samples, n_times, hidden_dim)
    """
    return torch.rand(n_samples, n_times, hidden_dim, generator=generator, device=device) < p


def _segments(
    n_samples: int,
    n_times: int,
    n_segments: int,
    share: float,
    generator: torch.Generator | None,
    device: torch.device | str | None,
) -> Tensor:
    """Which steps each segment covers, ``(n_samples, n_segments, n_times)``."""
    n_segments = max(min(n_segments, n_times // 2), 1)
    length = max(int(share * n_times), 1)
    starts = torch.randint(n_times - length + 1, (n_samples, n_segments, 1), generator=generator, device=device)
    steps = torch.arange(n_times, device=device)
    return (steps >= starts) & (steps < starts + length)


def apply_mask(view: View, step: MaskStep, *, hidden_dim: int | None, generator: torch.Generator) -> View:
    """Hide parts of the input (`x` becomes 0 there) or mark parts of the hidden sequence as hidden."""
    n_samples, n_chans, n_times = view.x.shape
    n_features = n_chans if step.at == "input" else hidden_dim
    if n_features is None:
        raise UsageError(
            "A mask of the hidden sequence needs an encoder that has one, and in two branches one width for both",
            "views",
            "Mask the signal with at: input, or give both branches the same hidden_dim",
        )
    keep = draw_mask(
        step,
        n_samples=n_samples,
        n_times=n_times,
        n_features=n_features,
        generator=generator,
        device=view.x.device,
    )
    if step.at == "hidden":
        return replace(view, keep=keep if view.keep is None else both(view.keep, keep))
    shown = keep[:, None, :] if keep.ndim == 2 else keep.transpose(1, 2)
    hidden = ~shown.expand_as(view.x)
    hidden = hidden if view.hidden is None else hidden | view.hidden
    return replace(view, x=torch.where(shown, view.x, 0.0), hidden=hidden)


def draw_mask(
    step: MaskStep,
    *,
    n_samples: int,
    n_times: int,
    n_features: int,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Draw the boolean mask of a step: True is kept; (B, n_times), or (B, n_times, n_features)."""
    match step.mask:
        case "continuous":
            return continuous_mask(
                n_samples, n_times, n_segments=step.n_segments, share=step.share, generator=generator, device=device
            )
        case "binomial":
            return binomial_mask(n_samples, n_times, p=1 - step.share, generator=generator, device=device)
        case "channel-continuous":
            return channel_continuous_mask(
                n_samples,
                n_times,
                n_features,
                n_segments=step.n_segments,
                share=step.share,
                generator=generator,
                device=device,
            )
        case "channel-binomial":
            return channel_binomial_mask(
                n_samples, n_times, n_features, p=1 - step.share, generator=generator, device=device
            )


def both(first: Tensor, second: Tensor) -> Tensor:
    """Kept by both masks, whatever their number of axes."""
    if first.ndim == second.ndim:
        return first & second
    return (first[..., None] if first.ndim == 2 else first) & (second[..., None] if second.ndim == 2 else second)
