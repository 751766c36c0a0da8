"""Keys of the encoders for long series: forecasting first."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from biocl.encoders.spec_base import ReadOut, Width


class LSTMSpec(ReadOut):
    """A long short-term memory: one step per sample, each of which knows all before it."""

    takes_hidden_mask: ClassVar[bool] = True

    name: Literal["lstm"]
    """A recurrent network (LSTM): one step per sample, each of which sees all samples before it and none behind."""
    layers: Annotated[int, Field(ge=1, le=20)] = 2
    """Recurrent layers on top of each other."""
    width: Width = 128
    """Width of the state of each layer."""


class CoSTSpec(ReadOut):
    """CoST: a trend and a season on top of the dilated CNN of TS2Vec."""

    takes_hidden_mask: ClassVar[bool] = True

    name: Literal["cost"]
    """CoST (Woo et al. 2022): trend and season side by side in each step; terms read them as branches trend and
    season. Made for windows of one length."""
    depth: Annotated[int, Field(ge=0, le=30)] = 10
    """Hidden blocks of the dilated CNN; block i has dilation 2^i."""
    hidden_dim: Width = 64
    """Channels of its hidden blocks."""
    embed_dim: Width = 320
    """Width of a step: its first half is the trend, its second half the season."""
    kernels: Annotated[list[Width], Field(min_length=1)] = [1, 2, 4, 8, 16, 32, 64, 128]
    """Samples that the causal averages of the trend look back; the trend is their mean."""

    @model_validator(mode="after")
    def _halves(self) -> CoSTSpec:
        if self.embed_dim % 2:
            raise ValueError("embed_dim is shared equally by trend and season, so it must be even")
        return self
