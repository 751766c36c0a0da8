"""A stack of recurrent layers over the samples of a window."""

from __future__ import annotations

from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, hide
from biocl.encoders.spec_series import LSTMSpec


class LSTM(Encoder):
    """A linear layer on each sample, then recurrent layers, one after the other.

    Parameters
    ----------
    spec : LSTMSpec
    n_chans, n_times : int

    References
    ----------
    Hochreiter & Schmidhuber 1997, "Long short-term memory".
    """

    def __init__(self, spec: LSTMSpec, n_chans: int, n_times: int) -> None:
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.width,
            receptive_field=n_times,
            hidden_dim=spec.width,
            causal=True,
        )
        self.inlet = nn.Linear(n_chans, spec.width)
        self.blocks = nn.ModuleList(nn.LSTM(spec.width, spec.width, batch_first=True) for _ in range(spec.layers))

    def n_steps(self, n_times: int) -> int:
        """One step per sample."""
        return n_times

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, n_times, width)."""
        steps = hide(self.inlet(x.transpose(1, 2)), keep)
        for block in self.blocks:
            steps, _ = block(steps)
        return steps
