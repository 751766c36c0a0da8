"""The same stretch of signal under two names: copies between the recordings of a store, whole or in part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biocl.signals.stretches import Marks, Stretch, exact_marks, rough_marks, same_stretch, varying_channel
from biocl.store.store import Store

FEWEST_VOTES = {True: 3, False: 4}
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
        for one, other, offset in candidates(store, exact=exact):
            if (one, other) in found:
                continue
            stretch = same_stretch(store.signal(one), store.signal(other), offset, store.sfreq, exact=exact)
            if stretch is not None:
                found[one, other] = Duplicate(one, other, stretch, exact)
    return [found[pair] for pair in sorted(found)]


def candidates(store: Store, *, exact: bool) -> Iterator[tuple[int, int, int]]:
    """Pairs of recordings with an offset that several marks vote for, those with most votes first."""
    marks: list[Marks] = []
    for number in range(len(store)):
        channel = varying_channel(np.asarray(store.signal(number)))
        marks.append(exact_marks(channel) if exact else rough_marks(channel, store.sfreq))
    votes = votes_of(marks, tolerance=1 if exact else 3)
    few = FEWEST_VOTES[exact]
    for one, other, offset, count in votes[:MOST_LOOKED_AT]:
        if count >= few:
            yield one, other, offset


def votes_of(marks: list[Marks], *, tolerance: int) -> list[tuple[int, int, int, int]]:
    """``(one, other, offset, votes)`` of pairs of recordings that share marks, most votes first.

    Offsets are counted in bins of `tolerance` steps; the offset is the mean of the votes.
    """
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
        pairs.append(np.stack([recording[left], recording[right], at[left] - at[right]], axis=1))
    if not pairs:
        return []
    every = np.concatenate(pairs)
    binned = np.column_stack([every[:, :2], every[:, 2] // tolerance])
    keys, inverse, count = np.unique(binned, axis=0, return_inverse=True, return_counts=True)
    offset = np.rint(np.bincount(inverse.ravel(), every[:, 2]) / count).astype(np.int64)
    best = np.argsort(-count, kind="stable")[:MOST_LOOKED_AT]
    return [(int(keys[k, 0]), int(keys[k, 1]), int(offset[k]), int(count[k])) for k in best]
