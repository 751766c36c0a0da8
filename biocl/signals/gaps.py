"""Gaps inside a filter: what stands in for missing samples, and how far a gap grows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from biocl.signals.recording import Read

Rows = NDArray[np.float64]


def read_held(read: Read, n_times: int, start: int, stop: int, reach: int) -> tuple[Rows, NDArray[np.bool_]]:
    """Samples `start` to `stop` with every missing one replaced by the nearest sample that is there.

    Before the first and after the last sample of the recording, too, the nearest one stands in; of two equally
    near ones it is the earlier. What stands in within `reach` samples of a sample that is there depends on
    nothing but the recording: not on `start`, `stop` or any partition into blocks.

    Parameters
    ----------
    read : callable
        Of the recording.
    n_times : int
        Of the recording.
    start, stop : int
        May lie outside the recording.
    reach : int
        How far a filter reads to one side.

    Returns
    -------
    rows : ndarray of float64, shape (n_chans, stop - start)
        Channels as contiguous rows; 0 in a row that has no sample at all.
    missing : ndarray of bool, shape (n_chans, stop - start)
        Where the recording has a gap (NaN or infinite); False outside the recording.
    """
    rows = read_rows(read, n_times, start, stop)
    inside = slice(max(0, -start), min(stop, n_times) - start)
    gone = ~np.isfinite(rows[:, inside])
    missing = np.zeros(rows.shape, np.bool_)
    if not gone.any():
        for row in rows:
            row[: inside.start], row[inside.stop :] = row[inside.start], row[inside.stop - 1]
        return rows, missing
    missing[:, inside] = gone
    wide = read_rows(read, n_times, start - reach, stop + reach)
    for row in wide:
        hold_nearest(row)
    return np.ascontiguousarray(wide[:, reach : reach + stop - start]), missing


def read_rows(read: Read, n_times: int, start: int, stop: int) -> Rows:
    """Samples `start` to `stop` as float64 rows; NaN outside the recording."""
    inside = max(start, 0), min(stop, n_times)
    piece = read(*inside)
    rows = np.full((piece.shape[1], stop - start), np.nan)
    rows[:, inside[0] - start : inside[1] - start] = piece.T
    return rows


def hold_nearest(row: NDArray[np.float64]) -> None:
    """Replace missing samples of one channel, in place, by the nearest one; of two, by the earlier."""
    missing = ~np.isfinite(row)
    steps = np.flatnonzero(missing)
    if not len(steps):
        return
    there = np.flatnonzero(~missing)
    if not len(there):
        row[:] = 0
        return
    following = np.searchsorted(there, steps)
    before, after = there[np.maximum(following - 1, 0)], there[np.minimum(following, len(there) - 1)]
    use_after = (following == 0) | ((following < len(there)) & (after - steps < steps - before))
    row[steps] = row[np.where(use_after, after, before)]


def grown(missing: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """Gaps (n_chans, n) grown by `margin` steps to both sides; the outermost `margin` steps are not returned."""
    counted = np.cumsum(np.pad(missing, ((0, 0), (1, 0))), axis=1, dtype=np.int64)
    width = 2 * margin + 1
    return counted[:, width:] - counted[:, :-width] > 0


def partitioned(block: Callable[[int], NDArray[np.float32]], size: int, start: int, stop: int) -> NDArray[np.float32]:
    """Steps `start` to `stop` out of numbered blocks of `size` steps."""
    if stop <= start:
        return block(max(stop - 1, 0) // size)[:0]
    numbers = range(start // size, (stop - 1) // size + 1)
    pieces = [block(n)[max(0, start - n * size) : stop - n * size] for n in numbers]
    return np.concatenate(pieces)
