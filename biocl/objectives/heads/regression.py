"""The number of a window."""

from __future__ import annotations

from torch import Tensor

from biocl.encoders.latents import Latents
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import RegressionTerm
from biocl.objectives.heads.networks import HeadInUnits, build_network, error_of


class RegressionHead(HeadInUnits):
    """Pooled latents (B, D), joined with auxiliary inputs (B, n_aux), to numbers (B,) in the target's units.

    Parameters
    ----------
    term : RegressionTerm
    in_dim, n_aux : int
        Width of the latents, number of auxiliary inputs.
    """

    def __init__(self, term: RegressionTerm, *, in_dim: int, n_aux: int = 0) -> None:
        super().__init__(n_aux)
        self.term = term
        self.network = build_network(term.network, in_dim + n_aux, 1)

    def forward(self, vec: Tensor, aux: Tensor | None = None) -> Tensor:
        """Numbers (B,) in the target's units, of latents (B, D) and auxiliary inputs (B, n_aux)."""
        return self.in_units(self.scaled(vec, aux))

    def scaled(self, vec: Tensor, aux: Tensor | None) -> Tensor:
        """Numbers (B,) in standard deviations from the mean."""
        out: Tensor = self.network(self.joined(vec, aux))
        return out.float().squeeze(1)

    def predict(self, latents: Latents, batch: Batch) -> Tensor:
        """Numbers (B,) of a batch, in the target's units."""
        return self(latents.vec, batch.aux)

    def loss(self, latents: Latents, batch: Batch) -> Tensor:
        """Error in standard deviations over the windows whose target is known."""
        if batch.target is None:
            raise UsageError(
                f"The head {self.term.title} predicts a number, and the windows have none",
                "data.target",
                "Say which number it is, such as data.target: {kind: heart-rate}",
            )
        wanted = self.in_deviations(batch.target)
        return error_of(self.scaled(latents.vec, batch.aux), wanted, self.term.loss, batch.target.isfinite())
