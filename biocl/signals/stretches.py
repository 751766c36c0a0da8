"""The same stretch of signal in two recordings: found by marks that move with it, then held against each other.

::

    one      ──────╱╲──╱╲_╱╲─────────────          marks: numbers made from the signal around a place, so that
    other    ───────────────╱╲──╱╲_╱╲────          a copy has the same ones, whatever its place
                     |<----->|                     equal marks vote for an offset; the offset is then looked at

Two kinds of marks. *Exact* ones are made from the bits of neighbouring samples: a copy shares all of them, and hardly
anything else does. *Rough* ones are the distances between the largest slopes, which survive noise, another scale and
resampling; of seven neighbours any two may be missing in a copy. Signals of great regularity share some of these marks,
which is why the stretch must then be long and alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Marks = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""Numbers made from the signal, and at which time steps."""

EXACT_STEPS, EXACT_EVERY = 32, 16
ROUGH_NEIGHBOURS, ROUGH_KEPT, ROUGH_STEP = 6, 4, 3
PEAK_EVERY_S, PEAK_QUANTILE = 0.15, 0.97
BLOCK_S, SHORTEST_BLOCK = 0.125, 16
ALIKE, ALIKE_SHARE = 0.95, 0.4
NEIGHBOURS = (0, -1, 1, -2, 2)
SHORTEST_EXACT_BLOCKS, SHORTEST_ROUGH_S = 6, 5.0
FACTOR = np.uint64(0x9E3779B97F4A7C15)


def varying_channel(signal: NDArray[np.floating]) -> NDArray[np.float32]:
    """The first channel (n_times,) of a signal (n_times, n_chans) that varies; of a copy it is the same one."""
    for column in signal.T:
        known = column[np.isfinite(column)]
        if len(known) and np.ptp(known) > 0:
            return np.ascontiguousarray(column, np.float32)
    return np.empty(0, np.float32)


def exact_marks(channel: NDArray[np.float32]) -> Marks:
    """Marks of about one in `EXACT_EVERY` places, each from the bits of `EXACT_STEPS` samples.

    Places where the signal hardly moves, is clipped or missing have none.
    """
    n = len(channel) - EXACT_STEPS + 1
    if n < 1:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    bits = channel.view(np.uint32).astype(np.uint64)
    moves = np.append(np.diff(channel) != 0, False) & np.isfinite(channel)
    moved = np.concatenate([[0], np.cumsum(moves)])
    number = np.zeros(n, np.uint64)
    for step in range(EXACT_STEPS):
        number = number * FACTOR + bits[step : step + n]
        number ^= number >> np.uint64(29)
    lively = moved[EXACT_STEPS : EXACT_STEPS + n] - moved[:n] > EXACT_STEPS // 2
    at = np.flatnonzero(lively & (number >> np.uint64(40)) % np.uint64(EXACT_EVERY) == 0)
    return number[at], at


def rough_marks(channel: NDArray[np.float32], sfreq: float) -> Marks:
    """Marks at the largest slopes, each from the distances to `ROUGH_KEPT` of the next `ROUGH_NEIGHBOURS` of them."""
    from scipy.signal import find_peaks

    filled = np.where(np.isfinite(channel), channel, 0).astype(np.float64)
    slope = np.abs(np.gradient(filled)) if len(filled) > 2 else np.empty(0)
    if len(slope) < 3 or not slope.any():
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    apart = max(2, round(PEAK_EVERY_S * sfreq))
    peaks, _ = find_peaks(slope, height=np.quantile(slope, PEAK_QUANTILE), distance=apart)
    n = len(peaks) - ROUGH_NEIGHBOURS
    if n < 1:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    numbers = []
    for chosen in combinations(range(1, ROUGH_NEIGHBOURS + 1), ROUGH_KEPT):
        number, last = np.ones(n, np.uint64), peaks[:n]
        for step in chosen:
            following = peaks[step : step + n]
            number = number * FACTOR + ((following - last) // ROUGH_STEP).astype(np.uint64)
            last = following
        numbers.append(number)
    return np.concatenate(numbers), np.tile(peaks[:n].astype(np.int64), len(numbers))


@dataclass(frozen=True)
class Stretch:
    """Where two signals are alike: first steps in either, their number, and the correlation over all of them."""

    one: int
    other: int
    n_times: int
    r: float


def same_stretch(
    one: NDArray[np.floating], other: NDArray[np.floating], offset: int, sfreq: float, *, exact: bool
) -> Stretch | None:
    """The longest stretch that two signals share at an offset, or None.

    Parameters
    ----------
    one, other : ndarray, shape (n_times, n_chans) each
        The lengths may differ.
    offset : int
        Step t of `one` is held against step ``t - offset`` of `other`, and against its next neighbours.
    sfreq : float
        Samples per second.
    exact : bool
        Whether the offset comes from exact marks: then less than a second is enough, and else five.
    """
    shifts = NEIGHBOURS[:1] if exact else NEIGHBOURS
    tried = [at_offset(one, other, offset + shift, sfreq, exact=exact) for shift in shifts]
    found = [stretch for stretch in tried if stretch is not None]
    return max(found, key=lambda stretch: (stretch.n_times, stretch.r)) if found else None


def looks_alike(one: NDArray[np.floating], other: NDArray[np.floating], offset: int, at: int, sfreq: float) -> bool:
    """Whether most of a second or two around step `at` of `one` is alike in `other`: a quick look before a long one."""
    block = max(SHORTEST_BLOCK, round(BLOCK_S * sfreq))
    reach = SHORTEST_EXACT_BLOCKS * block
    for shift in NEIGHBOURS:
        first = max(0, at - reach, offset + shift)
        n_blocks = (min(at + reach, len(one), len(other) + offset + shift) - first) // block
        if n_blocks < SHORTEST_EXACT_BLOCKS // 2:
            continue
        second = first - offset - shift
        a, b = (
            np.nan_to_num(x[start : start + n_blocks * block]).astype(np.float64).reshape(n_blocks, block, -1)
            for x, start in ((one, first), (other, second))
        )
        if (correlation(a, b) >= ALIKE).mean() >= ALIKE_SHARE:
            return True
    return False


def at_offset(
    one: NDArray[np.floating], other: NDArray[np.floating], offset: int, sfreq: float, *, exact: bool
) -> Stretch | None:
    """`same_stretch` at this offset and no other."""
    first, second = max(0, offset), max(0, -offset)
    n = min(len(one) - first, len(other) - second)
    block = max(SHORTEST_BLOCK, round(BLOCK_S * sfreq))
    n_blocks = n // block
    needed = SHORTEST_EXACT_BLOCKS if exact else max(SHORTEST_EXACT_BLOCKS, round(SHORTEST_ROUGH_S * sfreq / block))
    if n_blocks < needed:
        return None
    a, b = (np.nan_to_num(x[s : s + n_blocks * block]).astype(np.float64) for x, s in ((one, first), (other, second)))
    a, b = (x.reshape(n_blocks, block, -1) for x in (a, b))
    # Most of five neighbouring blocks: one in which nothing happens but noise does not end a copy.
    alike = np.convolve(correlation(a, b) >= ALIKE, np.ones(5), mode="same") >= 3
    edges = np.flatnonzero(np.diff(alike, prepend=False, append=False)).reshape(-1, 2)
    if not len(edges):
        return None
    start, stop = edges[np.argmax(edges[:, 1] - edges[:, 0])]
    if stop - start < needed:
        return None
    r = float(correlation(a[start:stop].reshape(1, -1, a.shape[2]), b[start:stop].reshape(1, -1, b.shape[2]))[0])
    if r < ALIKE:
        return None
    return Stretch(first + int(start) * block, second + int(start) * block, int(stop - start) * block, r)


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each block (n_blocks, n_times, n_chans): all channels that vary, each from its own mean, on its own scale."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    varies = scale > 0
    own = np.where(varies, (a * b).sum(axis=1) / np.where(varies, scale, 1), 0)
    number = varies.sum(axis=1)
    mean: NDArray[np.float64] = own.sum(axis=1) / np.maximum(number, 1)
    return mean
