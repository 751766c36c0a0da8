"""What is computed from one trial alone: the mean and spread of its stretch of signal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from biocl.store.gather import MeanAndFactor
from biocl.store.store import Store, reciprocal
from biocl.store.table import WindowTable


def trial_scaling(store: Store, table: WindowTable) -> tuple[NDArray[np.int64], MeanAndFactor]:
    """Mean and reciprocal standard deviation of every trial.

    They are taken, in float64, from the trial's signal between the start of its first and the end of its last
    window, each sample once however its windows overlap, padding and missing samples left out. So they do not
    change when other trials do.

    Returns
    -------
    number : ndarray of int, shape (n_windows,)
        Row of each window's trial in the arrays below.
    mean, factor : ndarray of float32, shape (n_trials, n_chans)
        `factor` is 0 for a channel that does not vary in the trial.
    """
    _, number = np.unique(table.trial, return_inverse=True)
    n_trials, n_chans = int(number.max(initial=-1)) + 1, store.signals.shape[1]
    first = store.offsets[table.recording] + table.start + table.rows["valid_start"]
    start = np.full(n_trials, np.iinfo(np.int64).max)
    stop = np.zeros(n_trials, np.int64)
    np.minimum.at(start, number, first)
    np.maximum.at(stop, number, first + table.rows["valid_length"])
    mean, std = np.zeros((n_trials, n_chans)), np.zeros((n_trials, n_chans))
    for trial, (begin, end) in enumerate(zip(start.tolist(), stop.tolist(), strict=True)):
        mean[trial], std[trial] = present_statistics(store.signals[begin:end])
    return number, (mean.astype(np.float32), reciprocal(std))


def present_statistics(signal: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (divisor n) of each channel over the samples that are there; 0 where none is."""
    values = np.ascontiguousarray(signal.T).astype(np.float64)  # sums along contiguous memory
    present = np.isfinite(values)
    if present.all():
        return values.mean(axis=1), values.std(axis=1)
    count = np.maximum(present.sum(axis=1), 1)
    mean = np.where(present, values, 0).sum(axis=1) / count
    squares = np.where(present, (values - mean[:, None]) ** 2, 0).sum(axis=1)
    return mean, np.sqrt(squares / count)
