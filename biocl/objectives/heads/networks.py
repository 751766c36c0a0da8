"""What heads are made of: auxiliary inputs beside the latents, a network to numbers, and errors of numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

    def joined(self, vec: Tensor, aux: Tensor | None) -> Tensor:
        """Latents (B, D) with the scaled auxiliary inputs beside them, (B, D + n_aux)."""
        if not self.aux_mean.numel():
            return vec
        if aux is None:
            raise ValueError(f"this head expects {self.aux_mean.numel()} auxiliary inputs")
        return torch.cat([vec, (aux - self.aux_mean) / self.aux_std], dim=1)


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
