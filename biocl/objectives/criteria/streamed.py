"""Log-sum-exp over many columns without keeping the scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from biocl.objectives.criteria.nt_xent import CHUNK_SCORES

# (group, rows) -> True for the pairs that are left out, broadcastable to (rows of the slice, columns).
Hide = Callable[[int, slice], Tensor]


def streamed_log_sum_exp(rows: Tensor, columns: Tensor, hide: Hide) -> Tensor:
    """``logsumexp_m rows_gn · columns_gm`` over the columns that are not hidden from a row.

    A few rows' scores exist at a time, in the forward pass and again in the backward pass, so memory
    grows with rows and columns and not with their product. First derivatives only.

    Parameters
    ----------
    rows : Tensor, shape (G, N, D)
        Divided by the temperature.
    columns : Tensor, shape (G, M, D)
    hide : callable
        Given a group and a slice of its rows, True where row and column are no pair.

    Returns
    -------
    Tensor, shape (G, N)
        Minus infinity for a row from which every column is hidden; its gradient is zero.
    """
    result: Tensor = _Streamed.apply(rows, columns, hide)
    return result


class _Streamed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, hide: Hide) -> Tensor:
        result = rows.new_empty(rows.shape[:2])
        for group, part in _chunks(rows, columns):
            scores = (rows[group, part] @ columns[group].T).masked_fill_(hide(group, part), -torch.inf)
            result[group, part] = scores.logsumexp(dim=1)
        ctx.save_for_backward(rows, columns, result)
        ctx.hide = hide
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, columns, result = ctx.saved_tensors
        to_rows, to_columns = torch.zeros_like(rows), torch.zeros_like(columns)
        shift = result.masked_fill(result.isneginf(), 0)  # the softmax of an empty row is zero
        with torch.autocast(rows.device.type, enabled=False):
            for group, part in _chunks(rows, columns):
                pull = rows[group, part] @ columns[group].T
                pull.masked_fill_(ctx.hide(group, part), -torch.inf)
                pull.sub_(shift[group, part, None]).exp_().mul_(grad[group, part, None])
                to_rows[group, part] = pull @ columns[group]
                to_columns[group].addmm_(pull.T, rows[group, part])
        return to_rows, to_columns, None


def _chunks(rows: Tensor, columns: Tensor) -> list[tuple[int, slice]]:
    """Groups and slices of their rows that are scored at once."""
    n_groups, n_rows, _ = rows.shape
    budget = CHUNK_SCORES["cpu" if rows.device.type == "cpu" else "gpu"]
    step = max(budget // max(columns.shape[1], 1), 1)
    return [(group, slice(start, start + step)) for group in range(n_groups) for start in range(0, n_rows, step)]
