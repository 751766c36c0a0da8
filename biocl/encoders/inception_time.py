"""InceptionTime: parallel kernels of several lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, seen_by_a_step
from biocl.encoders.resnet1d import normalised
from biocl.encoders.spec import InceptionTimeSpec

MODULES_A_SKIP = 3


class InceptionTime(Encoder):
    """One network of InceptionTime (Ismail Fawaz et al. 2020; the published classifier averages five).

    Each module squeezes the channels, convolves with several kernels side by side and with a pool, and every third
    module ends a residual path.

    Parameters
    ----------
    spec : InceptionTimeSpec
    n_chans : int
    """

    def __init__(self, spec: InceptionTimeSpec, n_chans: int) -> None:
        width = spec.width * (len(spec.kernels) + 1)
        super().__init__(
            spec.name,
            n_chans,
            out_dim=width,
            receptive_field=seen_by_a_step([(max(3, *spec.kernels), 1)] * spec.depth),
        )
        self.blocks = nn.ModuleList(
            InceptionModule(width if i else n_chans, spec.width, spec.kernels) for i in range(spec.depth)
        )
        ends = range(MODULES_A_SKIP - 1, spec.depth, MODULES_A_SKIP)
        for end in ends:
            first = end + 1 - MODULES_A_SKIP
            skip = normalised(width if first else n_chans, width, 1) if not first else nn.BatchNorm1d(width)
            # Kept in the module that ends the path, so that fine-tuning of the last modules trains it too.
            self.blocks[end].add_module("skip", skip)

    def n_steps(self, n_times: int) -> int:
        """One step per sample."""
        return n_times

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, n_times, out_dim)."""
        steps = start = x
        for block in self.blocks:
            steps = block(steps)
            skip = getattr(block, "skip", None)
            if skip is not None:
                steps = start = (steps + skip(start)).relu()
        return steps.transpose(1, 2)


class InceptionModule(nn.Module):
    """A bottleneck under kernels of several lengths, and a maximum beside them."""

    def __init__(self, width_in: int, width: int, kernels: list[int]) -> None:
        super().__init__()
        self.squeeze = nn.Conv1d(width_in, width, 1, bias=False) if width_in > 1 else nn.Identity()
        narrow = width if width_in > 1 else 1
        self.convolutions = nn.ModuleList(
            nn.Conv1d(narrow, width, kernel, padding=kernel // 2, bias=False) for kernel in kernels
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, padding=1), nn.Conv1d(width_in, width, 1, bias=False))
        self.norm = nn.BatchNorm1d(width * (len(kernels) + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width_in, T) to (B, width * (kernels + 1), T)."""
        narrow = self.squeeze(x)
        parts = [convolution(narrow) for convolution in self.convolutions]
        return self.norm(torch.cat([*parts, self.pooled(x)], dim=1)).relu()
