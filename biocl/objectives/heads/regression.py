"""The number of a window."""

from __future__ import annotations

import torch
from torch import Tensor

from biocl.encoders.latents import Latents
from biocl.errors import DataError, UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import RegressionTerm
from biocl.objectives.heads.networks import HeadWithAux, build_network, error_of


class RegressionHead(HeadWithAux):
    """Pooled latents (B, D), joined with auxiliary inputs (B, n_aux), to numbers (B,) in the target's units.

    The network gives standard deviations from the mean of the training windows' targets; both are kept with the
    weights.

    Parameters
    ----------
    term : RegressionTerm
    in_dim, n_aux : int
        Width of the latents, number of auxiliary inputs.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(self, term: RegressionTerm, *, in_dim: int, n_aux: int = 0) -> None:
        super().__init__(n_aux)
        self.term = term
        self.register_buffer("target_mean", torch.zeros(()))
        self.register_buffer("target_std", torch.ones(()))
        self.network = build_network(term.network, in_dim + n_aux, 1)

    def fit_target(self, target: Tensor) -> None:
        """Take mean and deviation of the known targets (n,) of the training windows.

        Raises
        ------
        DataError
            None is known.
        """
        known = target[target.isfinite()].double()
        if not len(known):
            raise DataError(
                "No training window has a number that could be learned", "data.target", "Check data.target and split"
            )
        std = known.std(correction=0)
        self.target_mean.copy_(known.mean())
        self.target_std.copy_(std if float(std) > 0 else torch.ones_like(std))

    def forward(self, vec: Tensor, aux: Tensor | None = None) -> Tensor:
        """Numbers (B,) in the target's units, of latents (B, D) and auxiliary inputs (B, n_aux)."""
        return self.scaled(vec, aux) * self.target_std + self.target_mean

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
        wanted = (batch.target - self.target_mean) / self.target_std
        return error_of(self.scaled(latents.vec, batch.aux), wanted, self.term.loss, batch.target.isfinite())
