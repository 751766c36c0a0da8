"""Who belongs together: boolean masks over the pairs of a batch, made from the window table's columns.

A relation answers one question about every pair (row i, column j); terms combine the answers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def same_id(ids: Tensor, others: Tensor | None = None) -> Tensor:
    """Whether two windows carry the same id; a negative id is unknown and matches nothing.

    Parameters
    ----------
    ids : int Tensor, shape (N,)
        Patients, trials, sessions or labels of the rows.
    others : int Tensor, shape (M,), optional
        The same of the columns; the rows themselves by default.

    Returns
    -------
    bool Tensor, shape (N, M)
    """
    others = ids if others is None else others
    return (ids[:, None] == others[None, :]) & (ids >= 0)[:, None]


def near(target: Tensor, most: float) -> Tensor:
    """Whether the numbers of two windows differ by `most` at most; an unknown one (NaN) is near nothing.

    Parameters
    ----------
    target : Tensor, shape (N,)
    most : float
        At least 0; a rounding error of the numbers' own precision is allowed.

    Returns
    -------
    bool Tensor, shape (N, N)
    """
    rounding = 4 * torch.finfo(target.dtype).eps * target.abs()
    return (target[:, None] - target[None, :]).abs() <= most + torch.maximum(rounding[:, None], rounding[None, :])


def overlap(
    recording: Tensor,
    start: Tensor,
    length: Tensor,
    others: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """Whether two windows share at least one step of one recording (each overlaps itself).

    Parameters
    ----------
    recording, start, length : int Tensor, shape (N,)
        Recording, first step and number of steps of each window.
    others : three int Tensors, shape (M,), optional
        The same of the columns; the rows themselves by default.

    Returns
    -------
    bool Tensor, shape (N, M)
    """
    there, begin, extent = (recording, start, length) if others is None else others
    meet = (start[:, None] < (begin + extent)[None, :]) & (begin[None, :] < (start + length)[:, None])
    return same_id(recording, there) & meet
