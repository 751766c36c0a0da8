"""TPN, the CNN of ColloSSL, for movement sensors."""

from __future__ import annotations

from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, seen_by_a_step, valid_length
from biocl.encoders.relu_stack import relu_stack
from biocl.encoders.spec import TPNSpec

INNER_DROPOUT = 0.1


class TPN(Encoder):
    """Convolutions without padding, each with ReLU and dropout; the last dropout is the shared one.

    Six channels and the default sizes have 86,720 parameters.

    Parameters
    ----------
    spec : TPNSpec
    n_chans : int

    References
    ----------
    Saeed et al. 2019, "Multi-task self-supervised learning for human activity detection"; Jain et al. 2022, ColloSSL.
    """

    def __init__(self, spec: TPNSpec, n_chans: int) -> None:
        layers = [(kernel, 1) for kernel in spec.kernels]
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.widths[-1],
            receptive_field=seen_by_a_step(layers),
            least_times=1 + sum(kernel - 1 for kernel in spec.kernels),
            rectified=True,
        )
        self.layers = layers
        widths = [n_chans, *spec.widths]
        self.blocks = nn.ModuleList(nn.Conv1d(widths[i], widths[i + 1], k) for i, k in enumerate(spec.kernels))

    def n_steps(self, n_times: int) -> int:
        """Steps after the convolutions."""
        return valid_length(n_times, self.layers)

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, out_dim)."""
        steps = relu_stack(x, list(self.blocks), dropout=INNER_DROPOUT, training=self.training)  # type: ignore[arg-type]
        return steps.transpose(1, 2)
