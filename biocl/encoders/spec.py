"""The `encoder:` key."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from biocl.spec import Spec


class DilatedCNNSpec(Spec):
    """The dilated CNN of TS2Vec and COMET: `depth` hidden residual blocks and one output block."""

    name: Literal["dilated-cnn"] = "dilated-cnn"
    depth: int = Field(default=10, ge=0, le=30, description="hidden blocks; block i has dilation 2^i")
    hidden_dim: int = Field(default=64, ge=1, description="channels of the hidden blocks")
    embed_dim: int = Field(default=320, ge=1, description="channels of the representation")
    kernel_size: int = Field(default=3, ge=1, description="taps of each convolution, an odd number")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="on the representation, in training only")
    pool: Literal["max", "mean"] = Field(default="max", description="over time, for one vector per window")
    segments: int = Field(
        default=1,
        ge=1,
        description="pool in so many equal stretches of the window, laid side by side in the vector",
    )

    @field_validator("kernel_size")
    @classmethod
    def odd(cls, kernel_size: int) -> int:
        """An even kernel has no centre, so the output would be shifted in time."""
        if kernel_size % 2 == 0:
            raise ValueError("kernel_size must be odd")
        return kernel_size


EncoderSpec = DilatedCNNSpec
