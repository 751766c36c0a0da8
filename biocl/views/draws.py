"""Random numbers of one row a sample, from the generator of a view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """A view's random stream, on the device of its batch.

    Every call gives numbers that belong to one sample a row, in float32, so that a sample's draw depends on no other
    sample's content.
    """

    generator: torch.Generator
    device: torch.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers in [low, high)."""
        return torch.rand(*shape, generator=self.generator, device=self.device) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def happens(self, *shape: int, p: float) -> Tensor:
        """True with probability `p`."""
        return torch.rand(*shape, generator=self.generator, device=self.device) < p

    def order(self, *shape: int) -> Tensor:
        """A random order of the last axis for each row, as int64."""
        return torch.rand(*shape, generator=self.generator, device=self.device).argsort(dim=-1)
