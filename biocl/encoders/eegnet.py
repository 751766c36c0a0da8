"""EEGNet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, samples_of, seen_by_a_step
from biocl.encoders.fast_conv import DepthwiseConv1d
from biocl.encoders.spec_eeg import EEGNetSpec


class EEGNet(Encoder):
    """Temporal filters, spatial filters for each (of norm at most 1), and a separable convolution.

    At 128 Hz with 22 channels the default sizes have 1,456 parameters; a linear layer from 17 steps to four
    classes makes them 2,548. The last dropout is the shared one. The steps are the feature map before it is flattened.

    Parameters
    ----------
    spec : EEGNetSpec
    n_chans : int
    sfreq : float

    References
    ----------
    Lawhern et al. 2018, "EEGNet: a compact convolutional neural network for EEG-based brain-computer interfaces".
    """

    def __init__(self, spec: EEGNetSpec, n_chans: int, sfreq: float) -> None:
        kernel = samples_of(spec.kernel_ms, sfreq)
        separable = samples_of(spec.separable_ms, sfreq / spec.pools[0])
        first, second = spec.pools
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.n_pointwise,
            receptive_field=seen_by_a_step([(kernel, 1), (first, first), (separable, 1), (second, second)]),
            least_times=first * second,
        )
        self.pools = spec.pools
        width = spec.n_temporal * spec.n_spatial
        self.blocks = nn.ModuleList(
            [
                SpatialStage(spec.n_temporal, width, n_chans, kernel),
                SeparableStage(width, spec.n_pointwise, separable),
            ]
        )
        self.dropout = nn.Dropout(spec.block_dropout)

    def n_steps(self, n_times: int) -> int:
        """Steps after both pools."""
        return n_times // self.pools[0] // self.pools[1]

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, n_pointwise)."""
        steps = F.avg_pool1d(F.elu(self.blocks[0](x)), self.pools[0])
        steps = F.avg_pool1d(F.elu(self.blocks[1](self.dropout(steps))), self.pools[1])
        return steps.transpose(1, 2)


class SpatialStage(nn.Module):
    """Temporal filters on every channel, then `width` weighted sums over channels."""

    def __init__(self, n_temporal: int, width: int, n_chans: int, kernel: int) -> None:
        super().__init__()
        self.temporal = nn.Conv2d(1, n_temporal, (1, kernel), padding="same", bias=False)
        self.norm1 = batch_norm(n_temporal, axes=2)
        self.spatial = nn.Conv2d(n_temporal, width, (n_chans, 1), groups=n_temporal, bias=False)
        self.norm2 = batch_norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, n_chans, T) to (B, width, T)."""
        filtered = self.norm1(self.temporal(x.unsqueeze(1)))
        weight = self.spatial.weight
        norm = torch.linalg.vector_norm(weight, dim=(1, 2, 3), keepdim=True)
        weight = weight / norm.clamp(min=1.0)
        return self.norm2(F.conv2d(filtered, weight.to(filtered.dtype), groups=self.spatial.groups).squeeze(2))


class SeparableStage(nn.Module):
    """A convolution for each channel, then one across channels."""

    def __init__(self, width: int, n_pointwise: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv1d(width, kernel)
        self.pointwise = nn.Conv1d(width, n_pointwise, 1, bias=False)
        self.norm = batch_norm(n_pointwise)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, T) to (B, n_pointwise, T)."""
        return self.norm(self.pointwise(self.depthwise(x)))


def batch_norm(width: int, axes: int = 1) -> nn.Module:
    """Batch norm with the published constants, over one axis (time) or two (channels and time)."""
    return (nn.BatchNorm1d if axes == 1 else nn.BatchNorm2d)(width, eps=1e-3, momentum=0.01)
