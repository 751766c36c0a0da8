"""RR intervals: how early a beat comes, as scalars beside its window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from biocl.store.store import Store

RR_NAMES = (
    "log_rr_previous",
    "log_rr_next",
    "log_rr_previous_to_recording",
    "log_rr_next_to_recording",
    "log_rr_previous_to_neighbours",
    "log_rr_next_to_neighbours",
)
NEIGHBOURS = 5


def rr_intervals(store: Store, kind: str = "beat") -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Natural logarithms of the intervals before and after every beat, absolute and relative.

    All beats count, whatever their class. Relative to the recording means to the median of its intervals;
    relative to the neighbours, to the mean of the ten intervals around the beat (five before, five after,
    fewer at the ends). An interval that does not exist (before the first beat, after the last, across a gap)
    is taken to be the recording's median, so that its relative value says nothing; in a recording without
    any interval, that is one second.

    Parameters
    ----------
    store : Store
    kind : str
        The kind of events that are beats.

    Returns
    -------
    values : ndarray of float32, shape (n_events, 6)
        One row for each event of the store; rows of other kinds are 0.
    names : tuple of str
    """
    rows = np.flatnonzero(store.events["kind"] == store.event_kinds.index(kind))
    rows = rows[np.lexsort((store.events["onset_s"][rows], store.events["recording"][rows]))]
    recording = store.events["recording"][rows]
    interval, exists = intervals_after(store, recording, store.events["onset_s"][rows])
    median = recording_medians(interval[exists], recording[exists], len(store))[recording]
    after = np.where(exists, interval, median)
    before = np.where(np.roll(exists, 1), np.roll(interval, 1), median)
    local = neighbour_means(interval, exists, recording, median)
    columns = [before, after, before / median, after / median, before / local, after / local]
    values = np.zeros((len(store.events), len(RR_NAMES)), np.float32)
    values[rows] = np.log(np.stack(columns, axis=1)) if len(rows) else 0
    return values, RR_NAMES


def intervals_after(
    store: Store, recording: NDArray[np.int32], onset_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The interval from each beat to the next, and whether it exists; the last of all never does."""
    exists = np.zeros(len(onset_s), np.bool_)
    interval = np.ones(len(onset_s))
    exists[:-1] = recording[1:] == recording[:-1]
    interval[:-1] = np.where(exists[:-1], np.maximum(np.diff(onset_s), 1 / store.sfreq), 1.0)
    if "gap" in store.event_kinds:
        gaps = store.events[store.events["kind"] == store.event_kinds.index("gap")]
        # One axis for all recordings: each begins behind the end of the one before it.
        shift = float(max(onset_s.max(initial=0), gaps["onset_s"].max(initial=0))) + 1
        gap_at = np.sort(gaps["onset_s"] + gaps["recording"] * shift)
        passed = np.searchsorted(gap_at, onset_s + recording * shift)
        exists[:-1] &= passed[1:] == passed[:-1]
    return interval, exists


def recording_medians(
    interval: NDArray[np.float64], recording: NDArray[np.int32], n_recordings: int
) -> NDArray[np.float64]:
    """The median interval of every recording; 1 where it has none."""
    order = np.lexsort((interval, recording))
    sizes = np.bincount(recording, minlength=n_recordings)
    first = np.cumsum(sizes) - sizes
    median = np.ones(n_recordings)
    some = sizes > 0
    ranked = interval[order]
    low, high = first[some] + (sizes[some] - 1) // 2, first[some] + sizes[some] // 2
    median[some] = (ranked[low] + ranked[high]) / 2
    return median


def neighbour_means(
    interval: NDArray[np.float64],
    exists: NDArray[np.bool_],
    recording: NDArray[np.int32],
    median: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The mean of the ten intervals around each beat; the recording's median where none exists."""
    total = np.concatenate([[0.0], np.cumsum(np.where(exists, interval, 0.0))])
    number = np.concatenate([[0], np.cumsum(exists)])
    at = np.arange(len(interval))
    low = np.maximum(at - NEIGHBOURS, np.searchsorted(recording, recording, side="left"))
    high = np.minimum(at + NEIGHBOURS, np.searchsorted(recording, recording, side="right"))
    n = number[high] - number[low]
    return np.where(n > 0, (total[high] - total[low]) / np.maximum(n, 1), median)
