"""Memories: what a term keeps of earlier training steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from biocl.objectives.batch import Ids

COLUMNS = ("recording", "patient", "trial", "start", "length")
"""What is known of the window of a remembered key."""


@dataclass(frozen=True)
class Keys:
    """Keys of unit length, detached, (N, D), and where their windows come from, (N,) int64 each; see `Ids`."""

    keys: Tensor
    recording: Tensor
    patient: Tensor
    trial: Tensor
    start: Tensor
    length: Tensor

    @classmethod
    def of(cls, keys: Tensor, ids: Ids) -> Keys:
        """Keys of the windows `ids`."""
        return cls(keys.detach(), *(getattr(ids, name) for name in COLUMNS))

    def __len__(self) -> int:
        return len(self.keys)


class Queue(nn.Module):
    """The newest keys, first in first out.

    All state is in buffers, so that a checkpoint holds it. Rows that were never filled are never read.

    Parameters
    ----------
    size : int
        Keys that are kept.
    dim : int
        Width of a key.
    """

    rows: Tensor
    ids: Tensor
    place: Tensor
    filled: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("ids", torch.full((size, len(COLUMNS)), -1))
        self.register_buffer("place", torch.tensor(0))
        self.register_buffer("filled", torch.tensor(0))

    def read(self) -> Keys:
        """Every key that is kept, in no order."""
        filled = int(self.filled)
        return Keys(self.rows[:filled], *self.ids[:filled].unbind(dim=1))

    @torch.no_grad()
    def push(self, new: Keys) -> None:
        """Keep new keys in place of the oldest ones; of more than the queue holds, the last."""
        size = len(self.rows)
        keys = new.keys[-size:]
        ids = torch.stack([getattr(new, name) for name in COLUMNS], dim=1)[-size:]
        at = (self.place + torch.arange(len(keys), device=self.rows.device)) % size
        self.rows[at], self.ids[at] = keys.to(self.rows.dtype), ids
        self.place.add_(len(keys)).remainder_(size)
        self.filled.add_(len(keys)).clamp_(max=size)
