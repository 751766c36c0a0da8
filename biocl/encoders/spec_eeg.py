"""Keys of the encoders that were made for EEG; their defaults are as published, times in milliseconds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from biocl.encoders.spec_base import Milliseconds, Pool, ReadOut, Share, Width


class EEGNetSpec(ReadOut):
    """EEGNet: temporal filters, spatial filters for each, one separable convolution."""

    name: Literal["eegnet"]
    """EEGNet-8,2 (Lawhern et al. 2018): temporal filters, spatial filters for each, a separable convolution."""
    n_temporal: Width = 8
    """Temporal filters (F1)."""
    n_spatial: Width = 2
    """Spatial filters for each temporal one (D)."""
    n_pointwise: Width = 16
    """Channels of the separable convolution (F2)."""
    kernel_ms: Milliseconds = 500
    """Length of the temporal filters; half a second reaches down to 2 Hz."""
    separable_ms: Milliseconds = 500
    """Length of the separable convolution, on the signal after the first pool (16 taps at 128 Hz / 4)."""
    pools: Annotated[list[Width], Field(min_length=2, max_length=2)] = [4, 8]
    """Samples that each of the two averages joins."""
    block_dropout: Share = 0.25
    """After the first pool, in training only."""
    dropout: Share = 0.25
    """On the representation, in training only."""
    pool: Pool = "flatten"
    """Over time, for one vector per window; flatten (as published) lays all steps side by side."""


class ShallowConvNetSpec(ReadOut):
    """ShallowConvNet: the logarithm of the power of spatially filtered bands."""

    name: Literal["shallow-convnet"]
    """ShallowConvNet (Schirrmeister et al. 2017): log power of temporal and spatial filters."""
    n_filters: Width = 40
    """Temporal, and as many spatial, filters."""
    kernel_ms: Milliseconds = 100
    """Length of the temporal filters (25 taps at 250 Hz)."""
    pool_ms: Milliseconds = 300
    """Length of the average of the power."""
    stride_ms: Milliseconds = 60
    """From one average to the next."""
    dropout: Share = 0.5
    """On the representation, in training only."""
    pool: Pool = "flatten"
    """Over time, for one vector per window; flatten (as published) lays all steps side by side."""


class IFNetSpec(ReadOut):
    """IFNet: frequency bands, each with spatial filters and its own temporal kernel, then summed."""

    name: Literal["ifnet"]
    """IFNet (Wang et al. 2023): bands with spatial filters and a temporal kernel each, then summed; with
    bands: null one band, the signal as it is, the CNN branch of MVCNet."""
    bands: Annotated[list[Annotated[list[float], Field(min_length=2, max_length=2)]], Field(min_length=1)] | None = [
        [4, 16],
        [16, 40],
    ]
    """Lower and upper limit of each band in Hz, cut by a fixed filter inside the encoder; null reads the signal as
    it is."""
    width: Width = 64
    """Spatial filters for each band."""
    kernels_ms: list[Milliseconds] = [250, 125]
    """Length of each band's temporal kernel, in turn (63 and 31 taps at 250 Hz)."""
    pool_ms: Milliseconds = 500
    """Length of the average, and from one average to the next."""
    dropout: Share = 0.5
    """On the representation, in training only."""
    pool: Pool = "flatten"
    """Over time, for one vector per window; flatten (as published) lays all steps side by side."""

    @model_validator(mode="after")
    def _fits(self) -> IFNetSpec:
        if len(self.kernels_ms) < len(self.bands or [[]]):
            raise ValueError("kernels_ms needs one entry for each band")
        for low, high in self.bands or []:
            if not 0 < low < high:
                raise ValueError(f"a band goes from a lower to a higher frequency above 0, not from {low} to {high} Hz")
        return self


class ConformerSpec(ReadOut):
    """EEG Conformer: a convolutional stem whose steps are the tokens of a Transformer."""

    name: Literal["eeg-conformer"]
    """EEG Conformer (Song et al. 2023): a convolutional stem, then a Transformer over its steps, without positions."""
    width: Width = 40
    """Filters of the stem, and width of a token."""
    depth: Width = 6
    """Blocks."""
    n_heads: Width = 10
    """Attention heads; divides the width."""
    kernel_ms: Milliseconds = 100
    """Length of the temporal filters (25 taps at 250 Hz)."""
    pool_ms: Milliseconds = 300
    """Length of the average that makes a token."""
    stride_ms: Milliseconds = 60
    """From one token to the next."""
    block_dropout: Share = 0.5
    """In stem and blocks, in training only."""
    dropout: Share = 0.5
    """On the representation, in training only."""
    pool: Pool = "flatten"
    """Over time, for one vector per window; flatten (as published) lays all steps side by side."""

    @model_validator(mode="after")
    def _heads_fit(self) -> ConformerSpec:
        if self.width % self.n_heads:
            raise ValueError(f"n_heads {self.n_heads} does not divide width {self.width}")
        return self


class ChannelTransformerSpec(ReadOut):
    """MVCNet's Transformer: a token is a channel, its width is the window's length."""

    name: Literal["channel-transformer"]
    """MVCNet's Transformer branch: a token is a channel, its width the window's length, so it serves one length."""
    depth: Width = 1
    """Blocks."""
    n_heads: Width = 2
    """Attention heads; samples at the window's end that do not divide among them are dropped."""
    hidden_dim: Width = 2000
    """Width of the hidden layer of a block's perceptron."""
    projector: list[Width] = [2048, 512]
    """Widths of the network from all tokens to the one vector, ended by a tanh; an empty list keeps the tokens."""
    positions: Literal["none", "learned", "electrodes"] = "none"
    """How a token knows its channel: none as published, learned one vector for each channel, electrodes from where
    the electrode of that name sits on the head (10-05 system)."""
    block_dropout: Share = 0.1
    """Inside the blocks, in training only."""
