"""One augmented version of a batch of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from biocl.errors import UsageError
from biocl.views import masks
from biocl.views.spec import MaskStep, ViewStep


@dataclass(frozen=True)
class View:
    """A batch after augmentation, with what an objective must know of it.

    Attributes
    ----------
    x : Tensor, shape (B, n_chans, n_times)
        The signal.
    target : Tensor, shape (B,), or None
        The label that the augmented window carries (a reflected window may carry another one).
    time_index : Tensor, shape (B, n_times), or None
        Which step of the original window each step shows; None when steps are where they were.
    valid : Tensor of bool, shape (B, n_times), or None
        False where the window is padding; None when nothing is padded.
    keep : Tensor of bool, shape (B, n_times) or (B, n_times, hidden_dim), or None
        False where the encoder sets its first hidden sequence to zero.
    """

    x: torch.Tensor
    target: torch.Tensor | None = None
    time_index: torch.Tensor | None = None
    valid: torch.Tensor | None = None
    keep: torch.Tensor | None = None


def make_view(view: View, steps: Sequence[ViewStep], *, hidden_dim: int | None, generator: torch.Generator) -> View:
    """Apply `steps` in order to the clean `view`; draws are per sample, from `generator`."""
    for step in steps:
        view = apply_mask(view, step, hidden_dim=hidden_dim, generator=generator)
    return view


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
    return replace(view, x=torch.where(shown, view.x, 0.0))


def draw_mask(
    step: MaskStep,
    *,
    n_samples: int,
    n_times: int,
    n_features: int,
    generator: torch.Generator,
    device: torch.device,
) -> torch.Tensor:
    """Draw the boolean mask of a step: True is kept; (B, n_times), or (B, n_times, n_features)."""
    match step.mask:
        case "continuous":
            return masks.continuous_mask(
                n_samples, n_times, n_segments=step.n_segments, share=step.share, generator=generator, device=device
            )
        case "binomial":
            return masks.binomial_mask(n_samples, n_times, p=1 - step.share, generator=generator, device=device)
        case "channel-continuous":
            return masks.channel_continuous_mask(
                n_samples,
                n_times,
                n_features,
                n_segments=step.n_segments,
                share=step.share,
                generator=generator,
                device=device,
            )
        case "channel-binomial":
            return masks.channel_binomial_mask(
                n_samples, n_times, n_features, p=1 - step.share, generator=generator, device=device
            )


def both(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Kept by both masks, whatever their number of axes."""
    if first.ndim == second.ndim:
        return first & second
    return (first[..., None] if first.ndim == 2 else first) & (second[..., None] if second.ndim == 2 else second)
