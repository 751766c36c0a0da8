"""What the keys of every encoder share: how its sequence becomes one vector."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from biocl.spec import Spec

Width = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Milliseconds = Annotated[float, Field(gt=0)]
Pool = Literal["max", "mean", "flatten"]


class ReadOut(Spec):
    """From the encoder's sequence of steps to latents."""

    # Whether a view may mask the first hidden sequence (``at: hidden``).
    takes_hidden_mask: ClassVar[bool] = False

    name: str
    """Which encoder."""
    dropout: Share = 0.1
    """On the representation, in training only."""
    pool: Pool = "max"
    """Over time, for one vector per window; flatten lays all steps side by side, so that the vector's width
    depends on the window's length."""
    segments: Width = 1
    """Pool in so many equal stretches of the window, laid side by side in the vector."""


def odd(kernel_size: int) -> int:
    """An even kernel has no centre, so the output would be shifted in time."""
    if kernel_size % 2 == 0:
        raise ValueError("kernel_size must be odd")
    return kernel_size
