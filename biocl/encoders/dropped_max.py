"""Dropout, then the largest step, without the dropped sequence.

Of steps that are not negative, the largest one stays with probability ``1 − rate`` and is then the largest of what
dropout leaves; if it is dropped, the same holds for the next. So about one draw for each window and feature says what
otherwise takes one for every step::

    steps       0.2  0.9  0.0  0.7
    first draw       dropped
    second                     stays      largest 0.7 / (1 − rate)

The sequence itself is made when it is read, of the same draw.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class DroppedSteps:
    """One dropout draw of a sequence: its `largest` step, and all of it in `sequence`.

    What is drawn hangs on torch's stream when this is made, not on what is read first.

    Parameters
    ----------
    trunk : Tensor, shape (B, L, D)
        No entry is negative.
    rate : float
    """

    def __init__(self, trunk: Tensor, rate: float) -> None:
        self.rows, self.rate, self.scale = trunk.mT, rate, 1 / (1 - rate)
        self.draws = torch.Generator().manual_seed(int(torch.randint(2**62, ())))

    @cached_property
    def largest(self) -> Tensor:
        """The largest step that is left, (B, D); of equally large ones the first gets the gradient."""
        at, stays, _ = self.drawn
        found = self.rows.gather(2, at[..., None])[..., 0]
        return found * (stays * self.scale).to(found.dtype)

    @cached_property
    def sequence(self) -> Tensor:
        """All steps (B, L, D) after dropout: what was drawn for `largest` holds, the rest is drawn now."""
        at, stays, dropped = self.drawn
        keep = torch.empty(self.rows.shape).bernoulli_(1 - self.rate, generator=self.draws)
        keep.view(-1)[dropped] = 0
        keep.scatter_(2, at[..., None], stays[..., None].to(keep.dtype))
        return (self.rows * (keep * self.scale).to(self.rows.dtype)).mT

    @cached_property
    @torch.no_grad()
    def drawn(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where the largest step is that stays and whether there is one, (B, D) each, and which entries are dropped."""
        n_steps = self.rows.shape[2]
        left = self.rows.reshape(-1, n_steps)
        number = torch.arange(len(left))
        at, stays = torch.empty_like(number), torch.empty_like(number, dtype=torch.bool)
        dropped = [number[:0]]
        while len(number):
            value, place = left.max(dim=1)
            at[number], stays[number] = place, value > 0
            again = ((torch.rand(len(number), generator=self.draws) < self.rate) & (value > 0)).nonzero()[:, 0]
            number, place = number[again], place[again]
            left = left[again].scatter_(1, place[:, None], 0)
            dropped.append(number * n_steps + place)
        shape = self.rows.shape[:2]
        return at.view(shape), stays.view(shape), torch.cat(dropped)
