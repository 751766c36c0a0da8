"""What heads are made of: auxiliary inputs beside the latents, a network to numbers, and errors of numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biocl.errors import DataError
from biocl.objectives.head_spec import Error, NetworkSpec


class HeadWithAux(nn.Module):
    """A head that joins latents with auxiliary inputs (B, n_aux).

    These are z-scored with the mean and deviation of the training windows, which are kept with the weights.
    """

    aux_mean: Tensor
    aux_std: Tensor

    def __init__(self, n_aux: int) -> None:
        super().__init__()
        self.register_buffer("aux_mean", torch.zeros(n_aux))
        self.register_buffer("aux_std", torch.ones(n_aux))

    def fit_aux(self, aux: Tensor) -> None:
        """Take mean and deviation of the auxiliary inputs (n, n_aux) from the training windows."""
        self.aux_mean.copy_(aux.mean(dim=0))
        self.aux_std.copy_(aux.std(dim=0).clamp(min=1e-6))

    def joined(self, latents: Tensor, aux: Tensor | None) -> Tensor:
        """Latents (B, D) with the scaled auxiliary inputs beside them, (B, D + n_aux); steps (B, L, D) each so."""
        if not self.aux_mean.numel():
            return latents
        if aux is None:
            raise ValueError(f"this head expects {self.aux_mean.numel()} auxiliary inputs")
        scaled = (aux - self.aux_mean) / self.aux_std
        if latents.ndim == 3:
            scaled = scaled[:, None].expand(-1, latents.shape[1], -1)
        return torch.cat([latents, scaled], dim=-1)


class HeadInUnits(HeadWithAux):
    """A head for numbers, whose network gives standard deviations from the mean of the training windows' numbers.

    Both are kept with the weights.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(self, n_aux: int) -> None:
        super().__init__(n_aux)
        self.register_buffer("target_mean", torch.zeros(()))
        self.register_buffer("target_std", torch.ones(()))

    def fit_target(self, target: Tensor) -> None:
        """Take mean and deviation of the numbers of the training windows that are known, of any shape.

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

    def in_units(self, scaled: Tensor) -> Tensor:
        """Standard deviations from the mean as numbers in the target's unit."""
        return scaled * self.target_std + self.target_mean

    def in_deviations(self, numbers: Tensor) -> Tensor:
        """Numbers in the target's unit as standard deviations from the mean."""
        return (numbers - self.target_mean) / self.target_std


def build_network(spec: NetworkSpec, in_dim: int, out_dim: int) -> nn.Module:
    """A linear map, or Linear-GELU-Dropout-Linear, on the last axis."""
    if spec.kind == "linear":
        return nn.Linear(in_dim, out_dim)
    return nn.Sequential(
        nn.Linear(in_dim, spec.hidden_dim), nn.GELU(), nn.Dropout(spec.dropout), nn.Linear(spec.hidden_dim, out_dim)
    )


def error_of(predicted: Tensor, wanted: Tensor, kind: Error, counted: Tensor | None = None) -> Tensor:
    """Mean error of numbers, in float32; attached to the graph also where nothing counts.

    Parameters
    ----------
    predicted, wanted : Tensor, of one shape
    kind : {"mse", "mae", "huber"}
        ``d^2``, ``|d|``, or ``d^2 / 2`` up to ``|d| = 1`` and ``|d| - 1/2`` beyond, of the difference d.
    counted : bool Tensor of that shape, optional
        What counts; what does not may be anything, NaN too.
    """
    predicted, wanted = predicted.float(), wanted.float()
    if counted is not None:
        predicted, wanted = predicted[counted], wanted[counted]
    if not predicted.numel():
        return predicted.sum()
    if kind == "huber":
        return F.huber_loss(predicted, wanted)
    return F.mse_loss(predicted, wanted) if kind == "mse" else F.l1_loss(predicted, wanted)


def error_of_windows(predicted: Tensor, wanted: Tensor, kind: Error, counted: Tensor) -> Tensor:
    """Mean over windows of each one's mean error, as `error_of`; a window of which nothing counts is left out.

    Parameters
    ----------
    predicted, wanted : Tensor, shape (B, …)
    kind : {"mse", "mae", "huber"}
    counted : bool Tensor, shape (B, …)
        What counts; what does not may be anything, NaN too.
    """
    counted = counted.expand_as(predicted)
    predicted, wanted = (part.float().masked_fill(~counted, 0) for part in (predicted, wanted))
    if kind == "huber":
        each = F.huber_loss(predicted, wanted, reduction="none")
    else:
        each = (predicted - wanted).square() if kind == "mse" else (predicted - wanted).abs()
    total = each.flatten(1).sum(dim=1)
    number = counted.flatten(1).sum(dim=1)
    some = number > 0
    return (total[some] / number[some]).mean() if bool(some.any()) else total.sum()
