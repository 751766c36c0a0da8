"""What a training step knows of its windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Ids:
    """Where items of a batch come from, and of which class they are: what relations are made from.

    Attributes
    ----------
    recording, patient, trial, start, length : Tensor of int64, shape (N,)
        Ids from the window table; `start` and `length` in samples.
    label : Tensor of int64, shape (N,)
        Class index, -1 where there is none.
    target : Tensor of float32, shape (N,), or None
        The number that is known of each item (``data.target``), NaN where it is unknown; None where none is asked for.
    """

    recording: torch.Tensor
    patient: torch.Tensor
    trial: torch.Tensor
    start: torch.Tensor
    length: torch.Tensor
    label: torch.Tensor
    target: torch.Tensor | None = None

    def repeated(self, times: int) -> Ids:
        """The ids of all items, then of all again: of what is stacked on the batch axis."""
        return self if times == 1 else self.each(lambda column: column.repeat(times))

    def where(self, kept: torch.Tensor) -> Ids:
        """The ids of some items: a mask, or numbers."""
        return self.each(lambda column: column[kept])

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Ids:
        """The ids with every column changed alike."""
        return replace(self, **{name: change(column) for name, column in vars(self).items() if column is not None})


@dataclass(frozen=True)
class Batch:
    """Windows and the ids from which relations are made; all tensors have B rows.

    Attributes
    ----------
    x : Tensor, shape (B, n_chans, n_times)
        Signals after input scaling.
    recording, patient, trial, start, length, label : Tensor of int64, shape (B,)
        See `Ids`.
    aux : Tensor, shape (B, n_aux), or None
        Scalar inputs such as RR intervals.
    valid : Tensor of bool, shape (B, n_times), or None
        False where a window is padding.
    present : Tensor of bool, shape (B, n_devices), or None
        Which devices of a window are there, in the order in which its channels name them; None where all are.
    future : Tensor, shape (B, n_chans, horizon), or None
        What comes after each window, in the units of ``data.input_scale`` (and aligned as the window is).
    level : tuple of Tensor, each of shape (B, n_chans, 1), or None
        Mean and spread that ``data.normalise`` took out of `x`: ``forecast * spread + mean`` is in the units of
        `future`.
    target : Tensor of float32, shape (B,), or None
        See `Ids`.
    labels : Tensor of int8, shape (B, n_labels), or None
        Which of several labels hold (``data.labels``): 1 and 0, -1 where it is unknown.
    trace : Tensor of float32, shape (B, n_times), or None
        The channel that is predicted (``data.target`` of kind channel) in its own unit, NaN where it is unknown.
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
    present: torch.Tensor | None = None
    future: torch.Tensor | None = None
    level: tuple[torch.Tensor, torch.Tensor] | None = None
    target: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    trace: torch.Tensor | None = None

    @property
    def ids(self) -> Ids:
        """The ids alone."""
        return Ids(self.recording, self.patient, self.trial, self.start, self.length, self.label, self.target)
