"""Windows out of the memory-mapped signals, a batch at a time."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from biocl.store.store import Store, reciprocal
from biocl.store.table import WindowTable

Scale = Literal["none", "window", "recording"]


MeanAndFactor = tuple[NDArray[np.float32], NDArray[np.float32]]


def gather(
    store: Store,
    table: WindowTable,
    indices: NDArray[Any],
    scale: Scale = "none",
    by: MeanAndFactor | None = None,
    columns: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
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
    by : tuple of ndarray of float32, shape (n_batch, n_chans), optional
        In place of `scale`: what is subtracted from each channel of each window, and by what it is multiplied.
    columns : ndarray of int, shape (n_chans,), optional
        The store's channels that are read, in this order; default: all.

    Returns
    -------
    ndarray of float32, shape (n_batch, n_times, n_chans)
        Contiguous, and not part of the store. Padding is 0, also after scaling, and so are missing samples.
    """
    recording = table.recording[indices]
    begin = store.offsets[recording] + table.start[indices]
    if by is None and scale == "recording":
        mean, factor = store.scaling
        by = of_columns(mean[recording], columns), of_columns(factor[recording], columns)
    if table.has_padding:
        return padded(store, table, indices, scale, by, begin, columns)
    batch = of_columns(pieces(store.signals, begin, table.n_times), columns)
    if table.has_gaps:
        return with_gaps(store, batch, np.ones(batch.shape[:2], np.bool_), scale, by)
    if by is not None:
        scale_by(batch, *by)
    elif scale == "window":
        scale_by(batch, *window_statistics(batch, batch.shape[1]))
    return batch


def padded(
    store: Store,
    table: WindowTable,
    indices: NDArray[Any],
    scale: Scale,
    by: MeanAndFactor | None,
    begin: NDArray[Any],
    columns: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """The same for a table in which some windows are only partly signal."""
    rows = table.rows[indices]
    batch = np.zeros((len(rows), table.n_times, store.signals.shape[1]), np.float32)
    whole = rows["valid_length"] == rows["length"]
    batch[whole] = pieces(store.signals, begin[whole], table.n_times)
    for i in np.flatnonzero(~whole):
        first, n = int(rows["valid_start"][i]), int(rows["valid_length"][i])
        batch[i, first : first + n] = store.signals[begin[i] + first : begin[i] + first + n]
    batch = of_columns(batch, columns)
    if table.has_gaps:
        return with_gaps(store, batch, in_window(rows), scale, by)
    if by is None and scale == "none":
        return batch
    if by is not None:
        scale_by(batch, *by)
    else:
        scale_by(batch, *window_statistics(batch, rows["valid_length"][:, None]))
    batch *= in_window(rows)[:, :, None]
    return batch


def of_columns(values: NDArray[np.float32], columns: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Some of the channels, which are the last axis, contiguous; all of them for None."""
    return values if columns is None else np.ascontiguousarray(values[..., columns])


def in_window(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which time steps of each window are not padding, shape (n, n_times)."""
    step = np.arange(int(rows["length"][0]) if len(rows) else 0)
    first, n = rows["valid_start"][:, None], rows["valid_length"][:, None]
    return np.asarray((step >= first) & (step < first + n))


def with_gaps(
    store: Store,
    batch: NDArray[np.float32],
    inside: NDArray[np.bool_],
    scale: Scale,
    by: MeanAndFactor | None,
) -> NDArray[np.float32]:
    """The batch scaled by what is present, with 0 where a sample is missing; never interpolated."""
    absent = ~(np.isfinite(batch) & inside[:, :, None])
    batch[absent] = 0
    if by is None and scale == "none":
        return batch
    if by is not None:
        scale_by(batch, *by)
    else:
        n_present = np.maximum(batch.shape[1] - absent.sum(axis=1), 1)
        scale_by(batch, *window_statistics(batch, n_present))
    batch[absent] = 0
    return batch


def valid_steps(
    store: Store, table: WindowTable, indices: NDArray[Any], columns: NDArray[np.int64] | None = None
) -> NDArray[np.bool_] | None:
    """Time steps (n_batch, n_times) that hold a value in every channel (of `columns`); None where all do throughout.

    False on padding and, where the table keeps windows that touch gaps, inside these.
    """
    rows = table.rows[indices]
    padded = table.has_padding and bool((rows["valid_length"] < rows["length"]).any())
    if not padded and not table.has_gaps:
        return None
    steps = in_window(rows)
    if table.has_gaps:
        begin = store.offsets[table.recording[indices]] + table.start[indices]
        for i, (first, n) in enumerate(zip(rows["valid_start"].tolist(), rows["valid_length"].tolist(), strict=True)):
            signal = of_columns(store.signals[begin[i] + first : begin[i] + first + n], columns)
            steps[i, first : first + n] &= np.isfinite(signal).all(axis=1)
    return None if steps.all() else steps


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
