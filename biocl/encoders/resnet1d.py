"""A residual CNN for signals."""

from __future__ import annotations

from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, hide, seen_by_a_step
from biocl.encoders.spec import ResNet1dSpec


class ResNet1d(Encoder):
    """A mixture of channels, then one block of convolutions with a skip for each width, batch-normalised.

    The blocks are those of Wang et al. 2017 ("Time series classification from scratch"). The mixture before them gives
    the hidden sequence that masks hide: it reads each sample on its own, so that what is hidden is seen by no step. A
    stride makes long windows cheap.

    Parameters
    ----------
    spec : ResNet1dSpec
    n_chans : int
    """

    def __init__(self, spec: ResNet1dSpec, n_chans: int) -> None:
        strides = [1] + [spec.stride] * (len(spec.widths) - 1)
        layers: list[tuple[int, int]] = []
        for stride in strides:
            layers += [(spec.kernels[0], stride), *((kernel, 1) for kernel in spec.kernels[1:])]
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.widths[-1],
            receptive_field=seen_by_a_step(layers),
            hidden_dim=spec.widths[0],
        )
        self.strides = strides
        self.stem = normalised(n_chans, spec.widths[0], 1)
        widths = [spec.widths[0], *spec.widths]
        self.blocks = nn.ModuleList(
            ResidualBlock(widths[i], widths[i + 1], spec.kernels, stride) for i, stride in enumerate(strides)
        )

    def n_steps(self, n_times: int) -> int:
        """Steps after the strides, rounded up."""
        for stride in self.strides:
            n_times = -(-n_times // stride)
        return n_times

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, out_dim)."""
        hidden = self.stem(x).relu().transpose(1, 2)
        steps = hide(hidden, keep).transpose(1, 2)
        for block in self.blocks:
            steps = block(steps)
        return steps.transpose(1, 2)


class ResidualBlock(nn.Module):
    """Convolutions with batch norm, and a skip that is projected where width or length change."""

    def __init__(self, width_in: int, width_out: int, kernels: list[int], stride: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            normalised(width_out if i else width_in, width_out, kernel, 1 if i else stride)
            for i, kernel in enumerate(kernels)
        )
        changes = width_in != width_out or stride > 1
        self.skip = normalised(width_in, width_out, 1, stride) if changes else nn.BatchNorm1d(width_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width_in, T) to (B, width_out, ceil(T / stride))."""
        out = x
        for i, convolution in enumerate(self.convolutions):
            out = convolution(out.relu() if i else out)
        return (out + self.skip(x)).relu()


def normalised(width_in: int, width_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the length (but for the stride), without bias, and batch norm."""
    convolution = nn.Conv1d(width_in, width_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm1d(width_out))
