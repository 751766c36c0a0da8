"""A criterion averaged over temporal resolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from biocl.objectives.criteria.scores import attached_zero


def hierarchical_max(
    criterion: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor, *, to_one: bool = False
) -> Tensor:
    """The mean of a criterion over resolutions, each half of the one before by max-pooling two steps.

    An odd last step is dropped. A single step is not scored, unless asked for: 300 steps have 8 resolutions (300, 150,
    75, 37, 18, 9, 4, 2), 12 have 3, and one step has none and gives a zero attached to the graph.

    Parameters
    ----------
    criterion : callable
        ``(z1, z2) -> scalar`` on ``(B, T, D)``.
    z1, z2 : Tensor, shape (B, T, D)
    to_one : bool
        The single step that the last halving leaves is one more resolution.

    Returns
    -------
    Tensor, shape ()

    References
    ----------
    Yue et al. 2022, TS2Vec, which goes down to one; COMET does not.
    """
    losses = []
    while z1.shape[1] > (0 if to_one else 1):
        losses.append(criterion(z1, z2))
        z1, z2 = halved(z1), halved(z2)
    return torch.stack(losses).mean() if losses else attached_zero(z1, z2)


def halved(z: Tensor) -> Tensor:
    """Max-pool pairs of steps, ``(B, T, D)`` to ``(B, T // 2, D)``; of equals the first gets the gradient."""
    pooled: Tensor = _Halved.apply(z)
    return pooled


class _Halved(torch.autograd.Function):
    """Keeps one flag per pair, where autograd would fill and add whole sequences for each half."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        first, second = _pairs(z)
        ctx.save_for_backward(second > first)
        ctx.n_times = z.shape[1]
        return torch.maximum(first, second)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (second_won,) = ctx.saved_tensors
        time_first = grad.new_zeros(ctx.n_times, grad.shape[0], grad.shape[2])
        out = time_first.transpose(0, 1)
        first, second = _pairs(out)
        torch.mul(grad, second_won, out=second)
        torch.sub(grad, second, out=first)
        return out


def _pairs(z: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd steps, an odd last step left out."""
    stop = z.shape[1] // 2 * 2
    return z[:, 0:stop:2], z[:, 1:stop:2]
