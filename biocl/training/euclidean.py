"""Euclidean alignment: windows of a group whitened by the inverse square root of its mean covariance.

He & Wu 2020, doi:10.1109/TBME.2019.2913914: with the reference ``R = mean_i cov(x_i)`` of a group (a patient, a
session or a recording), ``x_i <- R^(-1/2) x_i``, after which the mean covariance of the group is the identity. It
needs no labels. Where a test patient's reference comes from is the mode:

============= ========================================================== ==================================
mode          reference of a group that training has not seen            uses of the test patient
============= ========================================================== ==================================
inductive     mean covariance of all training windows                    nothing
online        running mean over the group's windows so far, in time      its unlabelled past and present
transductive  mean over all of the group's windows                       all of its unlabelled windows
============= ========================================================== ==================================

A group that is in the training part has the mean over its own training windows, in every mode.

All of it is computed in float64 and by one thread, since the last bits of an eigenvalue move published accuracies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.store.table import WindowTable
from biocl.training.spec import AlignSpec

Matrices = NDArray[np.float64]

RANK_TOLERANCE = 1e-10
"""Directions with less than this share of the largest variance are taken as absent (average-referenced EEG)."""

MOST_ONLINE_BYTES = 2**32


def covariances(x: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> Matrices:
    """Covariance matrices of windows, as `numpy.cov` (divisor n - 1), symmetric to the last bit.

    Parameters
    ----------
    x : ndarray, shape (n, n_times, n_chans)
    valid : ndarray of bool, shape (n, n_times), optional
        Steps that count.

    Returns
    -------
    ndarray of float64, shape (n, n_chans, n_chans)
    """
    rows = np.ascontiguousarray(x.transpose(0, 2, 1)).astype(np.float64)
    count = np.full(len(rows), rows.shape[2]) if valid is None else valid.sum(axis=1)
    if valid is not None:
        rows *= valid[:, None, :]
    rows -= (rows.sum(axis=2) / np.maximum(count, 1)[:, None])[:, :, None]
    if valid is not None:
        rows *= valid[:, None, :]
    with one_thread():
        found = rows @ rows.transpose(0, 2, 1)
    return symmetric(found / np.maximum(count - 1, 1)[:, None, None])


def symmetric(matrices: Matrices) -> Matrices:
    """The symmetric part."""
    return (matrices + np.swapaxes(matrices, -1, -2)) / 2


def mean_covariance(blocks: Iterable[Matrices], n_chans: int) -> Matrices:
    """The mean of covariance matrices that come in blocks, shape (n_chans, n_chans)."""
    total, count = np.zeros((n_chans, n_chans)), 0
    for block in blocks:
        total += block.sum(axis=0)
        count += len(block)
    return total / max(count, 1)


def running_means(found: Matrices) -> Matrices:
    """The mean of the first k matrices, for every k from 1, shape (n, n_chans, n_chans)."""
    return np.cumsum(found, axis=0) / np.arange(1, len(found) + 1)[:, None, None]


def whitener(reference: Matrices) -> Matrices:
    """The inverse square root of one covariance matrix or of several, symmetric.

    Of a matrix without full rank it is the inverse square root on its range and 0 across it, so that aligned
    windows stay finite: their mean covariance is then the projection onto the range.
    """
    with one_thread():
        values, vectors = np.linalg.eigh(symmetric(reference))
        largest = np.maximum(values[..., -1:], np.finfo(np.float64).tiny)
        kept = values > RANK_TOLERANCE * largest
        factor = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)
        return symmetric((vectors * factor[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def one_thread() -> AbstractContextManager[Any]:
    """Linear algebra by one thread inside a ``with``: its bits do not depend on how many there are."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    return threadpool_limits(limits=1, user_api="blas")


@dataclass(frozen=True)
class Groups:
    """Which windows share a reference.

    Attributes
    ----------
    number : ndarray of int, shape (n_windows,)
        Group of each window.
    names : tuple of str
        What identifies each group, within its data set.
    turn : ndarray of int, shape (n_windows,)
        Place of each window among its group's, in time: by session, recording and start.
    """

    number: NDArray[np.int64]
    names: tuple[str, ...]
    turn: NDArray[np.int64]

    @classmethod
    def of(cls, table: WindowTable, per: str) -> Groups:
        """The groups of a table: its patients, the sessions of its patients, or its recordings."""
        rows = table.rows
        if per == "session":
            n_sessions = len(table.names["session"])
            keys, number = np.unique(table.patient * np.int64(n_sessions) + rows["session"], return_inverse=True)
            pairs = [divmod(int(key), n_sessions) for key in keys]
            names = [f"{table.names['patient'][p]}\0{table.names['session'][s]}" for p, s in pairs]
        else:
            keys, number = np.unique(rows[per], return_inverse=True)
            names = [table.names[per][key] for key in keys]
        turn = np.empty(len(rows), np.int64)
        order = np.lexsort((rows["start"], rows["recording"], rows["session"], number))
        begin = np.searchsorted(number[order], np.arange(len(names)))
        turn[order] = np.arange(len(rows)) - begin[number[order]]
        return cls(number.astype(np.int64), tuple(names), turn)

    def rows(self, group: int) -> NDArray[np.int64]:
        """Table rows of a group, in time."""
        mine = np.flatnonzero(self.number == group)
        return mine[np.argsort(self.turn[mine])]


@dataclass(frozen=True)
class Aligner:
    """Gives every window its whitening matrix.

    Attributes
    ----------
    spec : AlignSpec
    groups : Groups
    seen : mapping of int to ndarray
        Whitening matrices of the groups that training has seen.
    unseen : ndarray, shape (n_chans, n_chans)
        Whitening matrix of the mean training covariance.
    covariances : callable
        Table rows to their covariance matrices, in blocks.
    known : dict
        Whitening matrices of unseen groups, as they are asked for: one a group, or (online) one a window.
    """

    spec: AlignSpec
    groups: Groups
    seen: dict[int, Matrices]
    unseen: Matrices
    covariances: Callable[[NDArray[np.int64]], Iterable[Matrices]]
    known: dict[int, Matrices] = field(default_factory=dict)

    def whiteners(self, indices: NDArray[np.int64]) -> Matrices:
        """Whitening matrices of table rows `indices`, shape (n, n_chans, n_chans)."""
        out = np.empty((len(indices), *self.unseen.shape))
        number = self.groups.number[indices]
        for group in np.unique(number).tolist():
            mine = number == group
            if group in self.seen:
                out[mine] = self.seen[group]
            elif self.spec.mode == "inductive":
                out[mine] = self.unseen
            elif self.spec.mode == "transductive":
                out[mine] = self.of_unseen(group)
            else:
                out[mine] = self.of_unseen(group)[self.groups.turn[indices[mine]]]
        return out

    def of_unseen(self, group: int) -> Matrices:
        """From the group's own windows: one matrix (transductive), or one for each window in time (online)."""
        if group not in self.known:
            rows = self.groups.rows(group)
            found = self.covariances(rows)
            if self.spec.mode == "transductive":
                self.known[group] = whitener(mean_covariance(found, len(self.unseen)))
            else:
                if len(rows) * self.unseen.nbytes > MOST_ONLINE_BYTES:
                    raise DataError(
                        f"Online alignment keeps a matrix for each of the {len(rows)} windows of a {self.spec.per}, "
                        f"which takes {len(rows) * self.unseen.nbytes / 2**30:.1f} GiB",
                        "data.align",
                        "Cut fewer windows, keep fewer channels, or choose another data.align.mode",
                    )
                self.known[group] = whitener(running_means(np.concatenate(list(found))))
        return self.known[group]
