"""What a training step knows of its windows."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Batch:
    """Windows and the ids from which relations are made; all tensors have B rows.

    Attributes
    ----------
    x : Tensor, shape (B, n_chans, n_times)
        Signals after input scaling.
    recording, patient, trial, start, length : Tensor of int64, shape (B,)
        Ids from the window table; `start` and `length` in samples.
    label : Tensor of int64, shape (B,)
        Class index, -1 where there is none.
    aux : Tensor, shape (B, n_aux), or None
        Scalar inputs such as RR intervals.
    valid : Tensor of bool, shape (B, n_times), or None
        False where a window is padding.
    """

    x: torch.Tensor
    recording: torch.Tensor
    patient: torch.Tensor
    trial: torch.Tensor
    start: torch.Tensor
    length: torch.Tensor
    label: torch.Tensor
    aux: torch.Tensor | None = None
    valid: torch.Tensor | None = None
