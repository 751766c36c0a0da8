"""EEG Conformer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, samples_of, valid_length
from biocl.encoders.shallow_convnet import SpatioTemporal
from biocl.encoders.spec_eeg import ConformerSpec
from biocl.encoders.transformer import Attention, Block


class EEGConformer(Encoder):
    """ShallowConvNet's stem with ELU, averages as tokens, and pre-norm blocks without positions.

    Attention products are scaled by the root of the token's width, as published, not by that of a head's. 1,000
    samples at 250 Hz are 61 tokens of width 40.

    Parameters
    ----------
    spec : ConformerSpec
    n_chans : int
    sfreq : float

    References
    ----------
    Song et al. 2023, "EEG Conformer: convolutional Transformer for EEG decoding and visualization".
    """

    def __init__(self, spec: ConformerSpec, n_chans: int, n_times: int, sfreq: float) -> None:
        kernel = samples_of(spec.kernel_ms, sfreq)
        layers = [(kernel, 1), (samples_of(spec.pool_ms, sfreq), samples_of(spec.stride_ms, sfreq))]
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.width,
            receptive_field=n_times,
            least_times=kernel + layers[1][0] - 1,
        )
        self.layers = layers
        self.stem = SpatioTemporal(n_chans, spec.width, kernel, spatial_bias=True)
        self.mix = nn.Conv1d(spec.width, spec.width, 1)
        self.dropout = nn.Dropout(spec.block_dropout)
        self.blocks = nn.ModuleList(
            Block(
                Attention(spec.width, spec.n_heads, scale=spec.width**-0.5, dropout=spec.block_dropout),
                spec.width,
                4 * spec.width,
                dropout=spec.block_dropout,
            )
            for _ in range(spec.depth)
        )

    def n_steps(self, n_times: int) -> int:
        """Averages that fit."""
        return valid_length(n_times, self.layers)

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, width)."""
        steps = F.avg_pool1d(F.elu(self.stem(x)), *self.layers[1])
        steps = self.mix(self.dropout(steps)).transpose(1, 2)
        for block in self.blocks:
            steps = block(steps)
        return steps
