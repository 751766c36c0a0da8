"""A Transformer over patches of the window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, hide, samples_of, valid_length
from biocl.encoders.spec import PatchTransformerSpec
from biocl.encoders.transformer import Attention, Block
from biocl.errors import UsageError


class PatchTransformer(Encoder):
    """Patches of all channels are projected to tokens, which pre-norm blocks with positions mix.

    Masks hide tokens before they learn their places, so that a hidden token still has one; the sample in the middle
    of a patch decides. Patches that overlap show parts of what their neighbours hide.

    Parameters
    ----------
    spec : PatchTransformerSpec
    n_chans, n_times : int
    sfreq : float
    """

    def __init__(self, spec: PatchTransformerSpec, n_chans: int, n_times: int, sfreq: float) -> None:
        patch = samples_of(spec.patch_ms, sfreq)
        stride = patch if spec.stride_ms is None else samples_of(spec.stride_ms, sfreq)
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.width,
            receptive_field=n_times,
            least_times=patch,
            hidden_dim=spec.width,
        )
        self.check_length(n_times)
        self.layer = (patch, stride)
        self.inlet = nn.Conv1d(n_chans, spec.width, patch, stride)
        rotary = spec.positions == "rotary"
        self.places = None if rotary else nn.Parameter(0.02 * torch.randn(self.n_steps(n_times), spec.width))
        blocks: list[nn.Module] = [
            Block(
                Attention(spec.width, spec.n_heads, rotary=rotary, dropout=spec.block_dropout),
                spec.width,
                spec.expansion * spec.width,
                dropout=spec.block_dropout,
            )
            for _ in range(spec.depth)
        ]
        blocks[-1] = nn.Sequential(blocks[-1], nn.LayerNorm(spec.width))
        self.blocks = nn.ModuleList(blocks)

    def n_steps(self, n_times: int) -> int:
        """Patches that fit."""
        return valid_length(n_times, [self.layer])

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, width)."""
        patch, stride = self.layer
        steps = self.inlet(x).transpose(1, 2)
        if keep is not None:
            steps = hide(steps, keep[:, patch // 2 :: stride][:, : steps.shape[1]])
        if self.places is not None:
            if steps.shape[1] > len(self.places):
                raise UsageError(
                    f"The encoder {self.name} learned {len(self.places)} positions, and this window has "
                    f"{steps.shape[1]} patches",
                    "encoder.positions",
                    "Use windows no longer than those it was made for, or positions: rotary",
                )
            steps = steps + self.places[: steps.shape[1]]
        for block in self.blocks:
            steps = block(steps)
        return steps
