"""From the trunk's sequence to latents: the dropout after the shared trunk, then pooling over time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F

Pool = Literal["max", "mean"]


@dataclass(frozen=True)
class Latents:
    """What an encoder says of a batch: a row of the table Z[view, branch, device].

    Attributes
    ----------
    seq : Tensor, shape (B, L, D)
        One vector per time step.
    pool : {"max", "mean"}
        How `vec` is made of `seq`.
    valid : Tensor of bool, shape (B, L), or None
        False where the window is padding, which never reaches `vec`.
    """

    seq: torch.Tensor
    pool: Pool
    valid: torch.Tensor | None = None

    @cached_property
    def vec(self) -> torch.Tensor:
        """One vector per window, shape (B, D)."""
        if self.valid is None:
            return self.seq.amax(dim=1) if self.pool == "max" else self.seq.mean(dim=1)
        shown = self.valid[..., None]
        if self.pool == "max":
            return self.seq.masked_fill(~shown, float("-inf")).amax(dim=1)
        return (self.seq * shown).sum(dim=1) / shown.sum(dim=1).clamp(min=1)


def read_out(
    trunk: torch.Tensor, *, pool: Pool, dropout: float, training: bool, valid: torch.Tensor | None = None
) -> Latents:
    """One dropout draw of the trunk's sequence (B, L, D); calling it again is another draw, not another pass."""
    return Latents(F.dropout(trunk, dropout, training), pool, valid)
