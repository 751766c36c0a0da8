"""Batches cut from a list: at random, or in COMET's frozen trial order."""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np

from biocl.randomness import stream


def random_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Cut a fresh permutation of ``0 .. n-1`` into batches; the last one may be shorter.

    Parameters
    ----------
    n : int
        Number of windows.
    batch_size : int
        Windows in a batch.
    seed, epoch : int
        Equal numbers give equal batches.

    Returns
    -------
    list of ndarray of int64
    """
    return cut(stream(seed, "sampling", "random", epoch).permutation(n), batch_size)


def frozen_trial_batches(
    trial: np.ndarray, *, batch_size: int, order_seed: int = 42, seed: int, epoch: int
) -> list[np.ndarray]:
    """The batches of COMET's public code: trials side by side, membership decided once.

    The windows are sorted by trial id, permuted inside each trial and trials are permuted among themselves
    (both by NumPy's old generator with `order_seed`, so that trials of equal length share one permutation),
    then cut into runs of `batch_size`. An epoch only permutes inside each batch, always from that order, by
    Python's ``random.shuffle`` seeded once with `seed`. So the negatives of a window are the
    same in all epochs, and a trial may be cut at a batch edge: use `hierarchical_batches` unless the aim is
    to repeat the publication.

    Parameters
    ----------
    trial : ndarray of int, shape (n_windows,)
        Trial ids; windows of a trial need not be neighbours.
    batch_size : int
        Windows in a batch; the last may be shorter.
    order_seed : int
        Seed of the order that is decided once (42 in the publication).
    seed, epoch : int
        The run's seed and the epoch, counted from 0.

    Returns
    -------
    list of ndarray of int64

    References
    ----------
    Wang et al., "Contrast Everything", NeurIPS 2023.
    """
    batches = cut(frozen_order(np.asarray(trial), order_seed), batch_size)
    orders = shuffled_positions(tuple(len(batch) for batch in batches), seed, epoch)
    return [batch[order] for batch, order in zip(batches, orders, strict=True)]


def frozen_order(trial: np.ndarray, order_seed: int) -> np.ndarray:
    """Row numbers, trial by trial, in the order that COMET's public code decides once."""
    if len(trial) == 0:
        return np.empty(0, np.int64)
    # NumPy's default sort, as there: it leaves equal ids in an order that may differ between processors.
    by_trial = np.argsort(trial)
    starts = np.flatnonzero(np.diff(trial[by_trial])) + 1
    trials = np.split(by_trial, starts)
    inside = {size: old_permutation(size, order_seed) for size in {len(rows) for rows in trials}}
    return np.concatenate([trials[i][inside[len(trials[i])]] for i in old_permutation(len(trials), order_seed)]).astype(
        np.int64
    )


def old_permutation(n: int, seed: int) -> np.ndarray:
    """The permutation behind ``sklearn.utils.shuffle(..., random_state=seed)``."""
    order = np.arange(n)
    np.random.RandomState(seed).shuffle(order)  # the published order needs this old generator
    return order


def cut(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Consecutive runs of `batch_size` rows; the last one may be shorter."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


class Shuffles:
    """Positions inside each batch, shuffled by every epoch from one random stream."""

    def __init__(self, sizes: tuple[int, ...], seed: int) -> None:
        self.sizes = sizes
        self.orders: list[list[int]] = []
        self.generator = random.Random(seed)
        self.epoch = -1

    def advance(self, epoch: int) -> None:
        """Shuffle until `epoch` is reached."""
        while self.epoch < epoch:
            self.orders = [list(range(size)) for size in self.sizes]
            for order in self.orders:
                self.generator.shuffle(order)
            self.epoch += 1


def shuffled_positions(sizes: tuple[int, ...], seed: int, epoch: int) -> list[np.ndarray]:
    """Where each batch's windows stand in an epoch, after all the shuffles up to it."""
    shuffles = recent_shuffles(sizes, seed)
    if shuffles.epoch > epoch:
        recent_shuffles.cache_clear()
        shuffles = recent_shuffles(sizes, seed)
    shuffles.advance(epoch)
    return [np.array(order, dtype=np.int64) for order in shuffles.orders]


@lru_cache(maxsize=2)
def recent_shuffles(sizes: tuple[int, ...], seed: int) -> Shuffles:
    """The walk over epochs is kept, so that the next epoch costs one shuffle and not all before it."""
    return Shuffles(sizes, seed)
