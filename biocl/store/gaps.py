"""Where the gaps of a store lie, in time steps on the axis of its signals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from biocl.store.store import Store

Ints = NDArray[np.int64]


def gap_position(store: Store, start: Ints, stop: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """How many gaps end before each window, and which windows touch one."""
    if "gap" not in store.event_kinds:
        return np.zeros(len(start), np.int64), np.zeros(len(start), np.bool_)
    gap_start, gap_stop = gap_bounds(store)
    ended = np.searchsorted(gap_stop, start, side="right")
    begun = np.searchsorted(gap_start, stop, side="left")
    return ended, begun > ended


def gap_bounds(store: Store) -> tuple[Ints, Ints]:
    """Starts and stops of all gaps, in order, in time steps on the axis of the store's signals."""
    gaps = store.events[events_of_kind(store, "gap")]
    offset = store.numbers["offset"][gaps["recording"]]
    start, stop = (
        np.rint(s * store.sfreq).astype(np.int64) for s in (gaps["onset_s"], gaps["onset_s"] + gaps["duration_s"])
    )
    return start + offset, stop + offset


def steps_in_gaps(store: Store, at: Ints) -> Ints:
    """How many time steps of the store's signals before each place `at` lie in gaps."""
    start, stop = gap_bounds(store)
    total = np.concatenate([[0], np.cumsum(stop - start)])
    begun = np.searchsorted(start, at, side="left")
    last_stop = stop[np.maximum(begun - 1, 0)] if len(stop) else at
    return total[begun] - np.where(begun > 0, np.maximum(last_stop - at, 0), 0)


def events_of_kind(store: Store, kind: str) -> Ints:
    """Rows of the store's events of one kind, by recording and onset."""
    rows = np.flatnonzero(store.events["kind"] == store.event_kinds.index(kind))
    return rows[np.lexsort((store.events["onset_s"][rows], store.events["recording"][rows]))]
