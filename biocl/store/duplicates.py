"""The same stretch of signal under two names: copies between the recordings of a store, whole or in part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biocl.signals.stretches import (
    Marks,
    Stretch,
    exact_marks,
    looks_alike,
    rough_marks,
    same_stretch,
    varying_channel,
)
from biocl.store.store import Store

FEWEST_VOTES = 3
MOST_SHARING = 12
"""A mark that more places than this have says nothing."""
MOST_LOOKED_AT = 2000


@dataclass(frozen=True)
class Duplicate:
    """One stretch in two recordings: their numbers in the store, and where it lies in either."""

    one: int
    other: int
    stretch: Stretch
    exact: bool


def duplicates(store: Store) -> list[Duplicate]:
    """Pairs of recordings that hold the same stretch of signal, each with the longest one.

    Exact copies are found from less than a second on, at any shift; noisy, rescaled or resampled ones from five seconds
    on. Every recording is read once, and both of a suspected pair once more.
    """
    found: dict[tuple[int, int], Duplicate] = {}
    for exact in (True, False):
        for seen in candidates(store, exact=exact):
            pair = seen.one, seen.other
            if pair in found:
                continue
            one, other = store.signal(seen.one), store.signal(seen.other)
            if looks_alike(one, other, seen.offset, seen.at, store.sfreq):
                stretch = same_stretch(one, other, seen.offset, store.sfreq, exact=exact)
                if stretch is not None:
                    found[pair] = Duplicate(*pair, stretch, exact)
    return [found[pair] for pair in sorted(found)]


@dataclass(frozen=True)
class Candidate:
    """Two recordings, how many places vote for an offset between them, and the middle one of these places in `one`."""

    one: int
    other: int
    offset: int
    at: int
    votes: int


def candidates(store: Store, *, exact: bool) -> list[Candidate]:
    """Pairs of recordings with an offset that several places vote for, those with most votes first."""
    marks: list[Marks] = []
    for number in range(len(store)):
        channel = varying_channel(np.asarray(store.signal(number)))
        marks.append(exact_marks(channel) if exact else rough_marks(channel, store.sfreq))
    return [candidate for candidate in votes_of(marks, tolerance=1 if exact else 3) if candidate.votes >= FEWEST_VOTES]


def votes_of(marks: list[Marks], *, tolerance: int) -> list[Candidate]:
    """Pairs of recordings that share marks, those with most votes first; offsets are in bins of `tolerance` steps."""
    if not marks:
        return []
    number = np.concatenate([own for own, _ in marks])
    at = np.concatenate([places for _, places in marks])
    recording = np.repeat(np.arange(len(marks)), [len(own) for own, _ in marks])
    order = np.argsort(number, kind="stable")
    number, at, recording = number[order], at[order], recording[order]
    first = np.flatnonzero(np.append(True, number[1:] != number[:-1]) if len(number) else np.empty(0, np.bool_))
    size = np.diff(np.append(first, len(number)))
    shared = (size > 1) & (size <= MOST_SHARING)
    pairs: list[NDArray[np.int64]] = []
    for apart in range(1, MOST_SHARING):  # the marks of equal number stand next to one another
        left = np.concatenate(
            [np.arange(f, f + s - apart) for f, s in zip(first[shared], size[shared], strict=True)] or [first[:0]]
        )
        left = left.astype(np.int64)
        if not len(left):
            break
        right = left + apart
        other = recording[left] != recording[right]
        left, right = left[other], right[other]
        pairs.append(np.stack([recording[left], recording[right], at[left] - at[right], at[left]], axis=1))
    if not pairs:
        return []
    every = np.concatenate(pairs)
    if not len(every):
        return []
    # A place votes once for a pair and an offset, whatever the number of its marks; sorted, so that one is the middle.
    binned = np.unique(np.column_stack([every[:, :2], every[:, 2] // tolerance, every[:, 3]]), axis=0)
    first = np.flatnonzero(np.append(True, (binned[1:, :3] != binned[:-1, :3]).any(axis=1)))
    count = np.diff(np.append(first, len(binned)))
    best = np.argsort(-count, kind="stable")[:MOST_LOOKED_AT]
    found = binned[first[best] + count[best] // 2]
    return [
        Candidate(int(one), int(other), int(offset) * tolerance + tolerance // 2, int(at), int(n))
        for (one, other, offset, at), n in zip(found, count[best], strict=True)
    ]
