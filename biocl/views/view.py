"""A batch of windows after augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import torch


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
        Which step of the original window each step shows; None when steps are where they were. Integers put every
        step somewhere (reversal, permutation); floating numbers lie between steps (warp, crop and resize).
    valid : Tensor of bool, shape (B, n_times), or None
        False where the window is padding; None when nothing is padded.
    keep : Tensor of bool, shape (B, n_times) or (B, n_times, hidden_dim), or None
        False where the encoder sets its first hidden sequence to zero.
    relabelled : Tensor of bool, shape (B,), or None
        True where the view may show another class than the window: `target` differs, or nobody knows the window's
        class. None when no view of the batch does.
    present : Tensor of bool, shape (B, n_devices), or None
        Which devices of a window are there, in the order in which its channels name them; None when all are.
    hidden : Tensor of bool, shape (B, n_chans, n_times), or None
        True where a mask of the signal (``at: input``) hid a sample, which is 0 in `x`; None when none did.
    """

    x: torch.Tensor
    target: torch.Tensor | None = None
    time_index: torch.Tensor | None = None
    valid: torch.Tensor | None = None
    keep: torch.Tensor | None = None
    relabelled: torch.Tensor | None = None
    present: torch.Tensor | None = None
    hidden: torch.Tensor | None = None


def where(happens: torch.Tensor, new: View, old: View) -> View:
    """Samples of `new` where `happens` (B,), of `old` elsewhere."""

    def pick(one: torch.Tensor | None, other: torch.Tensor | None, otherwise: torch.Tensor) -> torch.Tensor | None:
        if one is None and other is None:
            return None
        one, other = otherwise if one is None else one, otherwise if other is None else other
        while one.ndim != other.ndim:
            one, other = (one[..., None], other) if one.ndim < other.ndim else (one, other[..., None])
        return torch.where(happens.view(-1, *[1] * (one.ndim - 1)), one, other)

    n_samples, n_times = len(new.x), new.x.shape[-1]
    steps = torch.arange(n_times, device=new.x.device).expand(n_samples, n_times)
    shown = torch.ones(n_samples, n_times, dtype=torch.bool, device=new.x.device)
    x = pick(new.x, old.x, new.x)
    assert x is not None
    return View(
        x=x,
        target=pick(new.target, old.target, shown[:, 0]),
        time_index=pick(new.time_index, old.time_index, steps),
        valid=pick(new.valid, old.valid, shown),
        keep=pick(new.keep, old.keep, shown),
        relabelled=pick(new.relabelled, old.relabelled, ~happens & happens),
        hidden=pick(new.hidden, old.hidden, torch.zeros_like(x, dtype=torch.bool)),
        present=new.present if new.present is old.present else pick_present(happens, new.present, old.present),
    )


def pick_present(happens: torch.Tensor, new: torch.Tensor | None, old: torch.Tensor | None) -> torch.Tensor | None:
    """Devices that are there in `new` where it `happens`, in `old` elsewhere; None says that all are."""
    known = new if new is not None else old
    assert known is not None
    every = torch.ones_like(known)
    return torch.where(happens[:, None], every if new is None else new, every if old is None else old)
