"""Which devices of a recording have samples in a window: one may be switched off, run down or fall off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.signals.recording import Channel
from biocl.store.gaps import gap_position
from biocl.store.gather import in_window
from biocl.store.store import Store
from biocl.store.table import WindowTable


def device_columns(channels: Sequence[Channel]) -> dict[str, list[int]]:
    """Columns of each device, devices in the order in which they first appear."""
    columns: dict[str, list[int]] = {}
    for number, channel in enumerate(channels):
        columns.setdefault(channel.device, []).append(number)
    return columns


def device_steps(
    store: Store,
    table: WindowTable,
    indices: NDArray[Any],
    devices: Mapping[str, Sequence[int]] | None = None,
    lacking: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_] | None:
    """At which time steps of its window a device has a value in at least one of its channels.

    ::

        wrist   |xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx|     on one clock, so that a window holds the same
        ankle   |xxxxxxxxxx. . . . . . .xxxxxxxxxx|     moment of both, or NaN
        window      [------][------][------]
        ankle        present  absent  half

    Only windows that touch a gap are read. Parameters are those of `biocl.store.gather.gather`, which columns
    make a device (default: what the channels say), and which devices are taken away, (n_batch, n_devices)
    (`biocl.store.missing`).

    Returns
    -------
    ndarray of bool, shape (n_batch, n_devices, n_times), or None
        False on padding. None where no window touches a gap, is padded or lacks a device.
    """
    devices = device_columns(store.channels) if devices is None else devices
    rows = table.rows[indices]
    first, n_valid = rows["valid_start"].astype(np.int64), rows["valid_length"].astype(np.int64)
    begin = store.offsets[table.recording[indices]] + table.start[indices] + first
    # A table without gaps has left out every window that touches one.
    touches = gap_position(store, begin, begin + n_valid)[1] if table.has_gaps else np.zeros(len(rows), np.bool_)
    lacks = lacking is not None and bool(lacking.any())
    if not touches.any() and not (n_valid < rows["length"]).any() and not lacks:
        return None
    steps = np.repeat(in_window(rows)[:, None, :], len(devices), axis=1)
    for i in np.flatnonzero(touches):
        present = np.isfinite(store.signals[begin[i] : begin[i] + n_valid[i]])
        for number, columns in enumerate(devices.values()):
            steps[i, number, first[i] : first[i] + n_valid[i]] = present[:, list(columns)].any(axis=1)
    if lacking is not None:
        steps &= ~lacking[:, :, None]
    return steps


def device_presence(
    store: Store,
    table: WindowTable,
    indices: NDArray[Any],
    devices: Mapping[str, Sequence[int]] | None = None,
    lacking: NDArray[np.bool_] | None = None,
    *,
    most_missing: float = 0.5,
) -> NDArray[np.bool_] | None:
    """Whether a device is there: has values at all, and lacks at most a share of the window without its padding.

    Parameters
    ----------
    store, table, indices, devices, lacking
        As for `device_steps`.
    most_missing : float
        From 0 (every time step has a value) to 1 (one time step is enough).

    Returns
    -------
    ndarray of bool, shape (n_batch, n_devices), or None
        None where every device is there in every window.
    """
    steps = device_steps(store, table, indices, devices, lacking)
    if steps is None:
        return None
    counts = steps.sum(axis=2)
    n_valid = table.rows["valid_length"][indices][:, None]
    present = (counts > 0) & (n_valid - counts <= most_missing * n_valid)
    return None if present.all() else np.asarray(present)
