"""Triggers, annotations and cuts: what stands beside an EEG signal, as events and as gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.signals.recording import Events, Read

STIM_MASK = 2**17 - 1  # trigger bits of a status channel; the higher ones tell the amplifier's state
Gaps = Sequence[tuple[int, int]]


def rising_codes(pieces: Iterable[tuple[int, NDArray[np.int64]]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where a trigger channel rises to another code, and to which.

    Parameters
    ----------
    pieces : iterable of (first step, values)
        The channel in consecutive pieces.

    Returns
    -------
    steps, codes : ndarray of int64, shape (n_events,)
        A code that is there from the first step on is no event.
    """
    steps, codes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    last: NDArray[np.int64] | None = None
    for first, values in pieces:
        before = np.concatenate([values[:1] if last is None else last, values[:-1]])
        rises = np.flatnonzero(values > before)
        steps.append(first + rises)
        codes.append(values[rises])
        last = values[-1:]
    return np.concatenate(steps), np.concatenate(codes)


def trigger_events(onset_s: ArrayLike, codes: NDArray[np.int64]) -> Events:
    """Triggers as events of kind ``trigger`` and duration 0; the label is the code."""
    return Events.of("trigger", onset_s, 0.0, codes.astype(np.str_))


def annotation_events(
    onset_s: ArrayLike, duration_s: ArrayLike, label: Sequence[str], length_s: float
) -> tuple[Events, tuple[str, ...]]:
    """Annotations as events of kind ``annotation``: those inside the signal, ended where it ends.

    Returns
    -------
    events : Events
    notes : tuple of str
        How many were outside, or reached over the end.
    """
    onset = np.asarray(onset_s, dtype=np.float64).reshape(-1)
    duration = np.nan_to_num(np.asarray(duration_s, dtype=np.float64).reshape(-1), nan=0.0)
    inside = np.isfinite(onset) & np.isfinite(duration) & (onset >= 0) & (onset < length_s)
    ended = np.clip(duration, 0.0, np.maximum(length_s - onset, 0.0))
    notes = []
    if outside := int((~inside).sum()):
        notes.append(f"{outside} annotations lie outside the signal and are left out")
    if over := int((inside & (duration > ended + 1e-6)).sum()):
        notes.append(f"{over} annotations reach over the end of the signal and are ended there")
    labels = np.array(list(label), dtype=np.str_) if len(onset) else np.empty(0, np.str_)
    return Events.of("annotation", onset[inside], ended[inside], labels[inside]), tuple(notes)


def with_gaps(read: Read, gaps: Gaps) -> Read:
    """The same signal with NaN in the stretches [start, stop)."""
    if not gaps:
        return read

    def read_with_gaps(start: int, stop: int) -> NDArray[np.float32]:
        block = read(start, stop)
        for begin, end in gaps:
            if begin < stop and end > start:
                block[max(begin - start, 0) : end - start] = np.nan
        return block

    return read_with_gaps
