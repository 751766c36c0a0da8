"""MVCNet's Transformer branch: tokens are channels, their width is the window's length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biocl.encoders.electrodes import electrode_positions
from biocl.encoders.encoder import Encoder
from biocl.encoders.spec_eeg import ChannelTransformerSpec
from biocl.encoders.transformer import Attention, Block
from biocl.errors import UsageError


class ChannelTransformer(Encoder):
    """Post-norm blocks over channels, and a network from all of them to one vector between -1 and 1.

    22 channels of 1,000 samples have 8,011,000 parameters in the block and 46,111,232 in the projector. Samples at
    the window's end that do not divide among the heads are dropped (one of 1,001).

    Parameters
    ----------
    spec : ChannelTransformerSpec
    n_chans, n_times : int
        The encoder serves windows of this length alone.
    channel_names : sequence of str, optional
        Needed for ``positions: electrodes``.

    References
    ----------
    MVCNet, Knowledge-Based Systems 328:114205 (2025).
    """

    electrodes: Tensor | None

    def __init__(
        self,
        spec: ChannelTransformerSpec,
        n_chans: int,
        n_times: int,
        channel_names: Sequence[str] | None = None,
    ) -> None:
        width = n_times // spec.n_heads * spec.n_heads
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.projector[-1] if spec.projector else width,
            receptive_field=width,
            least_times=max(n_times, spec.n_heads),
            steps_are_time=False,
        )
        self.n_times, self.width = n_times, width
        self.check_length(n_times)
        learned = spec.positions == "learned"
        self.places = nn.Parameter(0.02 * torch.randn(n_chans, width)) if learned else None
        electrodes = None
        if spec.positions == "electrodes":
            electrodes = torch.from_numpy(electrode_positions(channel_names or ()))
            self.place = nn.Linear(3, width)
        # Follows from the channels' names, so it is not saved.
        self.register_buffer("electrodes", electrodes, persistent=False)
        self.blocks = nn.ModuleList(
            Block(
                Attention(width, spec.n_heads, dropout=spec.block_dropout),
                width,
                spec.hidden_dim,
                dropout=spec.block_dropout,
                norm_first=False,
                activation=F.relu,
            )
            for _ in range(spec.depth)
        )
        if spec.projector:
            self.blocks.append(projector([n_chans * width, *spec.projector]))
        self.projected = bool(spec.projector)

    def n_steps(self, n_times: int) -> int:
        """One vector, or one step for each channel."""
        return 1 if self.projected else self.n_chans

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, 1, projector[-1]), or to (B, n_chans, width) without projector."""
        if x.shape[2] != self.n_times:
            raise UsageError(
                f"The encoder {self.name} was made for windows of {self.n_times} samples, and these have {x.shape[2]}",
                "encoder",
                "Cut windows of that length, or choose an encoder that serves several, such as patch-transformer",
            )
        steps = x[..., : self.width]
        if self.places is not None:
            steps = steps + self.places
        if self.electrodes is not None:
            steps = steps + self.place(self.electrodes)
        for block in self.blocks:
            steps = block(steps)
        return steps


def projector(widths: list[int]) -> nn.Sequential:
    """From all tokens (B, n_chans, width) to (B, 1, widths[-1]): linear layers with layer norm and ReLU between, and a
    tanh at the end."""
    layers: list[nn.Module] = [nn.Flatten(1)]
    for i in range(len(widths) - 1):
        layers.append(nn.Linear(widths[i], widths[i + 1]))
        if i < len(widths) - 2:
            layers += [nn.LayerNorm(widths[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Tanh(), nn.Unflatten(1, (1, -1)))
