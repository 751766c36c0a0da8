"""Windows out of the memory-mapped signals, a batch at a time."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from biocl.store.store import Store, reciprocal
from biocl.store.table import WindowTable

Scale = Literal["none", "window", "recording"]


def gather(store: Store, table: WindowTable, indices: NDArray[Any], scale: Scale = "none") -> NDArray[np.float32]:
    """Read a batch of windows.

    Parameters
    ----------
    store : Store
    table : WindowTable
        Of this store.
    indices : ndarray of int, shape (n_batch,)
        Rows of the table.
    scale : {"none", "window", "recording"}
        Physical units; each channel of each window with mean 0 and standard deviation 1 over its valid
        part; or the recording's stored mean and standard deviation taken out. A channel that does not vary
        becomes 0.

    Returns
    -------
    ndarray of float32, shape (n_batch, n_times, n_chans)
        Contiguous, and not part of the store. Padding is 0, also after scaling.
    """
    recording = table.recording[indices]
    begin = store.offsets[recording] + table.start[indices]
    if table.has_padding:
        return padded(store, table, indices, scale, recording, begin)
    batch = pieces(store.signals, begin, table.n_times)
    if scale == "recording":
        scale_by(batch, *(values[recording] for values in store.scaling))
    elif scale == "window":
        scale_by(batch, *window_statistics(batch, batch.shape[1]))
    return batch


def padded(
    store: Store,
    table: WindowTable,
    indices: NDArray[Any],
    scale: Scale,
    recording: NDArray[Any],
    begin: NDArray[Any],
) -> NDArray[np.float32]:
    """The same for a table in which some windows are only partly signal."""
    rows = table.rows[indices]
    batch = np.zeros((len(rows), table.n_times, store.signals.shape[1]), np.float32)
    whole = rows["valid_length"] == rows["length"]
    batch[whole] = pieces(store.signals, begin[whole], table.n_times)
    for i in np.flatnonzero(~whole):
        first, n = int(rows["valid_start"][i]), int(rows["valid_length"][i])
        batch[i, first : first + n] = store.signals[begin[i] + first : begin[i] + first + n]
    if scale == "none":
        return batch
    if scale == "recording":
        scale_by(batch, *(values[recording] for values in store.scaling))
    else:
        scale_by(batch, *window_statistics(batch, rows["valid_length"][:, None]))
    step = np.arange(table.n_times)
    first_step, n_steps = rows["valid_start"][:, None], rows["valid_length"][:, None]
    batch *= ((step >= first_step) & (step < first_step + n_steps))[:, :, None]
    return batch


def pieces(signals: NDArray[np.float32], begin: NDArray[Any], length: int) -> NDArray[np.float32]:
    """Pieces of `length` time steps, shape (n, length, n_chans), copied by one fancy index.

    The memory-mapped signals are seen as a list of all possible pieces that overlap, each one opaque item of
    as many bytes, so that NumPy copies a piece at a time.
    """
    n_times, n_chans = signals.shape
    if not len(begin):
        return np.empty((0, length, n_chans), np.float32)
    step = n_chans * signals.itemsize
    piece = np.dtype((np.void, length * step))
    every: NDArray[Any] = np.ndarray((n_times - length + 1,), piece, signals.data, 0, (step,))
    return every[begin].view(np.float32).reshape(len(begin), length, n_chans)


def scale_by(batch: NDArray[np.float32], mean: NDArray[np.float32], factor: NDArray[np.float32]) -> None:
    """Subtract and multiply in place; `mean` and `factor` have shape (n_batch, n_chans)."""
    # Broadcasting over two or three channels is slow, so several time steps go together.
    n_batch, n_times, n_chans = batch.shape
    together = max(n for n in range(1, max(1, 64 // n_chans) + 1) if n_times % n == 0)
    grouped = batch.reshape(n_batch, n_times // together, together * n_chans)
    grouped -= np.tile(mean, together)[:, None]
    grouped *= np.tile(factor, together)[:, None]


def window_statistics(
    batch: NDArray[np.float32], n_valid: int | NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and reciprocal standard deviation of each channel of each window, shape (n_batch, n_chans).

    Padding is 0 and so adds nothing to sums.
    """
    along = np.ascontiguousarray(batch.transpose(0, 2, 1))  # sums along contiguous memory are faster
    mean = along.sum(axis=2, dtype=np.float64) / n_valid
    along -= mean[:, :, None].astype(np.float32)
    squares = np.square(along, out=along).sum(axis=2, dtype=np.float64)
    squares -= (batch.shape[1] - n_valid) * mean**2  # what the padding added after centring
    return mean.astype(np.float32), reciprocal(np.sqrt(np.maximum(squares, 0) / n_valid))
