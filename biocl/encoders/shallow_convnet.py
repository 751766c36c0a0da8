"""ShallowConvNet, and the stem it shares with EEG Conformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, samples_of, seen_by_a_step, valid_length
from biocl.encoders.spec_eeg import ShallowConvNetSpec


class SpatioTemporal(nn.Module):
    """Temporal filters, then spatial filters over all of them, as one convolution; batch-normalised.

    Nothing stands between the two, so ``sum_f sum_c spatial[o, f, c] temporal[f, k]`` is the kernel of one
    convolution over all channels: the same values at a fraction of time and memory.

    Parameters
    ----------
    n_chans, n_filters, kernel : int
    spatial_bias : bool
        Whether the spatial filters have a bias.
    """

    def __init__(self, n_chans: int, n_filters: int, kernel: int, *, spatial_bias: bool) -> None:
        super().__init__()
        self.temporal = nn.Conv2d(1, n_filters, (1, kernel))
        self.spatial = nn.Conv2d(n_filters, n_filters, (n_chans, 1), bias=spatial_bias)
        self.norm = nn.BatchNorm1d(n_filters)

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, n_chans, T) to (B, n_filters, T - kernel + 1)."""
        temporal, spatial = self.temporal.weight[:, 0, 0], self.spatial.weight[..., 0]
        assert self.temporal.bias is not None
        weight = torch.einsum("ofc,fk->ock", spatial, temporal)
        bias = torch.einsum("ofc,f->o", spatial, self.temporal.bias)
        if self.spatial.bias is not None:
            bias = bias + self.spatial.bias
        return self.norm(F.conv1d(x, weight, bias.to(weight.dtype)))


class ShallowConvNet(Encoder):
    """The logarithm of the averaged square of spatially filtered bands.

    At 250 Hz with 22 channels the default sizes have 36,320 parameters; a linear layer from 69 steps (1,125
    samples) to four classes makes them 47,364.

    Parameters
    ----------
    spec : ShallowConvNetSpec
    n_chans : int
    sfreq : float

    References
    ----------
    Schirrmeister et al. 2017, "Deep learning with convolutional neural networks for EEG decoding and visualization".
    """

    def __init__(self, spec: ShallowConvNetSpec, n_chans: int, sfreq: float) -> None:
        kernel = samples_of(spec.kernel_ms, sfreq)
        pool, stride = samples_of(spec.pool_ms, sfreq), samples_of(spec.stride_ms, sfreq)
        layers = [(kernel, 1), (pool, stride)]
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.n_filters,
            receptive_field=seen_by_a_step(layers),
            least_times=kernel + pool - 1,
        )
        self.layers = layers
        self.blocks = nn.ModuleList([SpatioTemporal(n_chans, spec.n_filters, kernel, spatial_bias=False)])

    def n_steps(self, n_times: int) -> int:
        """Averages that fit."""
        return valid_length(n_times, self.layers)

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, n_filters)."""
        kernel, stride = self.layers[1]
        power = F.avg_pool1d(self.blocks[0](x).square(), kernel, stride)
        return power.clamp(min=1e-6).log().transpose(1, 2)
