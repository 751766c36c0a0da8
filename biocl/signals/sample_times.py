"""When was each sample taken? From the time stamps of one device, which come late, in bursts, twice, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GAP_INTERVALS = 5.0
"""Without another limit, a step of more sample intervals than this is a gap."""
LEAST_INTERVAL, LONGEST = 1e-9, 1e11
"""Seconds from sample to sample, and from the first to the last, that no recording goes beyond."""
LAG = 32
"""Stamps this far apart give the first estimate of the sample interval."""
SHORT_RUN = 64
"""A run of fewer samples takes the device's common interval instead of one of its own."""
KNOT_SAMPLES = 1024
"""Samples between two knots of the line through a long run, so that it follows a clock that wanders."""
EARLY_INTERVALS, MANY_EQUAL = 2.0, 0.1
"""Stamps so much before the recovered times, without bursts of equal stamps, come from uneven sampling."""
SAME_INTERVAL = 1e-5
"""A relative change of the interval that no run of samples notices."""
HUBER = 1.345


@dataclass(frozen=True)
class SampleTimes:
    """When the samples of one device were taken, and what was found on the way.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        The rows that remain, in order of time.
    time_s : ndarray of float64, shape (n,)
        Their times, strictly ascending.
    rate_hz : float
        Samples per second inside the runs without a break.
    max_gap_s : float
        A longer step is a gap.
    duplicates, sorted_rows, equal_stamps, lost : int
        Rows that repeat an earlier one in stamp and values (dropped); rows that stood after a later stamp
        (sorted; if all steps back are below three quarters of an interval, only the stamps are); stamps equal to
        the one before; samples missing in breaks that are shorter than a gap.
    latest_s : float
        The largest distance between a stamp and the time recovered for it.
    wander_s : float
        The largest distance of the recovered times from one straight line, in the longest run.
    gaps : ndarray of float64, shape (n_gaps, 2)
        Time of the last sample before each gap and of the first one after it.
    steady : bool
        Whether the samples follow each other evenly. If not, their times are the stamps.
    """

    rows: Ints
    time_s: Floats
    rate_hz: float
    max_gap_s: float
    duplicates: int
    sorted_rows: int
    equal_stamps: int
    lost: int
    latest_s: float
    wander_s: float
    gaps: Floats
    steady: bool


def recover_times(
    stamps: Floats, values: NDArray[np.float32], *, max_gap_s: float | None = None, where: str = ""
) -> SampleTimes:
    """Sample times from time stamps, taking the device's sampling to be steady between breaks.

    A stamp says when a sample was handed over, so several samples may share one (a burst), and what was
    delayed catches up: measured from a straight line of stamp against sample number, a delay comes back to the
    line within about as many samples as it lasted, while after lost samples the line stays shifted. So a break
    is a step up of the smallest distance from that line, ahead of a sample against behind it. Between breaks
    the sample times are a line through the stamps, fitted with Huber weights; in long runs it has a knot every
    1,024 samples, to follow a clock that wanders. A stamp that several samples share counts for the last of
    them, which waited least; where all stamps are whole seconds, a clock that cuts off fractions, for the first.
    Samples that are lost inside a burst cannot be told from a slower rate. A device that does not sample evenly
    (a stamp cannot be much earlier than its sample) keeps its stamps.

    Parameters
    ----------
    stamps : ndarray of float64, shape (n,)
        Seconds.
    values : ndarray, shape (n, n_chans)
        To tell a repeated row (same stamp, same values) from a burst (same stamp, other values).
    max_gap_s : float, optional
        Default: five of the device's own sample intervals.
    where : str
        For errors.

    Raises
    ------
    DataError
        If a stamp is not finite or time steps back by more than five sample intervals (the message names the
        row, counted from 1), there are fewer than two different stamps, or they span a time that no recording
        lasts.
    """
    refuse_senseless(stamps, where)
    repeated = repeated_rows(stamps, values)
    rows = np.flatnonzero(~repeated)
    time = stamps[rows]
    interval = first_interval(time)
    back = np.maximum.accumulate(time) - time
    refuse_steps_back(time, back, rows, GAP_INTERVALS * interval, where)
    # A smaller step back is jitter of the stamps, and the rows are in order; a larger one is a row out of place.
    if back.max() > 0.75 * interval:
        rows = rows[np.argsort(time, kind="stable")]
    time = np.sort(time)
    counts = counting(time)
    for _ in range(2):  # the second time with the interval that the first one found, unless it is the same
        begins = breaks(time, interval)
        bounds = list(zip([0, *begins], [*begins, len(time)], strict=True))
        fitted = np.concatenate([fit_run(time[a:b], counts[a:b], interval) for a, b in bounds])
        before, interval = interval, common_interval(fitted, bounds, interval)
        if abs(interval / before - 1) < SAME_INTERVAL:
            break
    steady = is_steady(time, fitted, interval)
    if not steady:
        fitted = time
    # Neighbouring runs are fitted apart and must not overlap.
    least = 0.25 * interval * counted(len(fitted))
    fitted = least + np.maximum.accumulate(fitted - least)
    limit = GAP_INTERVALS * interval if max_gap_s is None else max_gap_s
    step = np.diff(fitted)
    gap = np.flatnonzero(step > limit)
    small = step[(step > 1.5 * interval) & (step <= limit)]
    start, stop = max(bounds, key=lambda run: run[1] - run[0])
    return SampleTimes(
        rows=rows,
        time_s=fitted,
        rate_hz=float(1 / interval),
        max_gap_s=float(limit),
        duplicates=int(repeated.sum()),
        sorted_rows=int((back > 0).sum()),
        equal_stamps=int((np.diff(time) == 0).sum()),
        lost=int(np.rint(small / interval - 1).sum()),
        latest_s=float(np.abs(time - fitted).max()),
        wander_s=wander(fitted[start:stop]) if steady else 0.0,
        steady=steady,
        gaps=np.column_stack([fitted[gap], fitted[gap + 1]]),
    )


def refuse_senseless(stamps: Floats, where: str) -> None:
    """Raise `DataError` for stamps that are not finite, too few, or span a time that no recording lasts."""
    wrong = np.flatnonzero(~np.isfinite(stamps))
    if len(wrong):
        raise DataError(
            f"The time stamp of row {wrong[0] + 1} is not a number", where or None, "Correct it, or remove the row"
        )
    n, span = len(stamps), float(np.ptp(stamps)) if len(stamps) else 0.0
    if span == 0.0:
        raise DataError(
            f"The time stamps of {n} rows have {min(1, n)} value: no sampling rate can be found",
            where or None,
            "Give at least two rows with different time stamps",
        )
    if not LEAST_INTERVAL * n < span < LONGEST:
        raise DataError(f"The time stamps of {n} rows span {span:.3g} s", where or None, "Correct the unit of time")


def refuse_steps_back(time: Floats, back: Floats, rows: Ints, most: float, where: str) -> None:
    """Raise `DataError` for a stamp that lies more than `most` seconds before an earlier one."""
    if (back > most).any():
        at = int(np.argmax(back > most))
        raise DataError(
            f"Time goes backwards in row {rows[at] + 1}: {time[at]:.6f} s after {time[at] + back[at]:.6f} s",
            where or None,
            "The clock was set back or two recordings stand in one file: cut the file there",
        )


def is_steady(time: Floats, fitted: Floats, interval: float) -> bool:
    """Whether stamps fit even sampling: none of them, but for a few, is well before the time recovered for it."""
    if np.mean(np.diff(time) == 0) > MANY_EQUAL:
        return True  # a burst's stamps may be those of its first sample
    return bool(np.quantile(fitted - time, 0.95) <= EARLY_INTERVALS * interval)


def counted(n: int) -> Floats:
    """0, 1, … n - 1 as float64."""
    return np.arange(n, dtype=np.float64)


def repeated_rows(stamps: Floats, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows equal an earlier one in stamp and values, shape (n,)."""
    repeated = np.zeros(len(stamps), dtype=np.bool_)
    step = np.diff(stamps)
    if (step > 0).all():
        return repeated
    if (step >= 0).all():
        group = np.concatenate([[0], np.cumsum(step > 0)])
    else:
        group = np.unique(stamps, return_inverse=True)[1]
    shared = np.flatnonzero(np.bincount(group)[group] > 1)
    # Equal rows become neighbours by a hash of their bits; NaN equals NaN.
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)[shared]
    hashed = np.zeros(len(shared), dtype=np.uint64)
    for column in bits.T:
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + column
    order = np.lexsort((hashed, group[shared]))
    equal = np.diff(group[shared][order]) == 0
    equal[equal] = (bits[order[1:][equal]] == bits[order[:-1][equal]]).all(axis=1)
    repeated[shared[order[1:][equal]]] = True
    return repeated


def first_interval(time: Floats) -> float:
    """Seconds from sample to sample: the median slope over groups of equal stamps.

    A group counts with its last sample, the one that waited least.
    """
    last = np.flatnonzero(np.diff(time, append=np.inf) != 0)
    lag = min(LAG, max(1, (len(last) - 1) // 2))
    slope = (time[last[lag:]] - time[last[:-lag]]) / (last[lag:] - last[:-lag])
    positive = slope[slope > 0]
    return float(np.median(positive)) if len(positive) else float((time.max() - time.min()) / (len(time) - 1))


def counting(time: Floats) -> NDArray[np.bool_]:
    """Which samples the stamp is true of, shape (n,): the last of equal stamps, or of whole seconds the first."""
    if (time == np.rint(time)).all():
        first = np.diff(time, prepend=time[0]) > 0  # the very first stamp began before its recording did
        return first
    return np.diff(time, append=np.inf) > 0


def breaks(time: Floats, interval: float) -> list[int]:
    """Samples before which others are missing, ascending; `time` is sorted."""
    n = len(time)
    level = time - interval * counted(n)
    jump = np.diff(time, prepend=time[0])
    candidates = np.flatnonzero(jump > 1.5 * interval)
    if not len(candidates):
        return []
    # Twice as many samples as a delay of that length needs to catch up, as a power of two to share the work.
    need = np.minimum(2 * np.ceil(jump[candidates] / interval) + 16, n)
    width = 2 ** np.ceil(np.log2(need)).astype(np.int64)
    rise = np.empty(len(candidates))
    ahead = np.empty(len(candidates))
    for w in np.unique(width).tolist():
        chosen = width == w
        front, behind = smallest(level, w)
        ahead[chosen] = front[candidates[chosen]]
        rise[chosen] = ahead[chosen] - behind[candidates[chosen]]
    front, behind = smallest(level, LAG)
    usual = (front - behind)[1:]
    noise = 1.4826 * float(np.median(np.abs(usual - np.median(usual))))
    threshold = max(0.75 * interval, 6 * noise)
    stays = rise > threshold
    longest_delay = float(jump[candidates[~stays]].max(initial=0.0))
    found: list[int] = []
    for at, w, lowest in zip(candidates[stays].tolist(), width[stays].tolist(), ahead[stays].tolist(), strict=True):
        begin = max(found[-1] if found else 0, at - w)
        # Too few samples are left to catch up: a delay if the device had one as long before.
        undecided = (n - at) * interval < jump[at] <= longest_delay
        if not undecided and lowest - level[begin:at].min() > threshold:
            found.append(at)
    return found


def smallest(level: Floats, width: int) -> tuple[Floats, Floats]:
    """Minimum of `width` values from each one on, and of as many before it (infinite before the first)."""
    from scipy.ndimage import minimum_filter1d

    padded = np.pad(level, width, constant_values=np.inf)
    lowest = minimum_filter1d(padded, width)  # of [i - width // 2, i - width // 2 + width)
    begin = np.arange(len(level)) + width // 2 + width
    return lowest[begin], np.where(np.arange(len(level)) > 0, lowest[begin - width], np.inf)


def fit_run(time: Floats, counts: NDArray[np.bool_], interval: float) -> Floats:
    """Sample times of one run, shape (n,): a robust line of stamp against sample number, with knots if long."""
    n, n_counting = len(time), int(counts.sum())
    steady = interval * counted(n)
    level = time - steady
    if n < SHORT_RUN or n_counting < SHORT_RUN // 8:
        return steady + float(np.median(level[counts] if n_counting else level))
    pieces = max(1, min(n // KNOT_SAMPLES, n_counting // LAG))
    place = counted(n) * (pieces / (n - 1))
    knot = np.minimum(place.astype(np.int64), pieces - 1)
    return steady + robust_line(level, counts, knot, place - knot, pieces, 1e-3 * interval)


def robust_line(
    level: Floats, counts: NDArray[np.bool_], knot: Ints, part: Floats, pieces: int, least_scale: float
) -> Floats:
    """A continuous line with `pieces` + 1 knots through `level`, by least squares with Huber weights.

    `knot` is the knot left of each value and `part` how far it is towards the next one; the normal equations
    have three diagonals. Values that do not count keep a trace of weight, so that no knot is left without any.
    """
    from scipy.linalg import solveh_banded

    def total(values: Floats, shift: int = 0) -> Floats:
        return np.bincount(knot + shift, values, pieces + 1).astype(np.float64)

    share = np.where(counts, 1.0, 1e-6)
    weight, fitted = share, level
    for _ in range(20):
        left, right = weight * (1 - part), weight * part
        diagonal = total(left * (1 - part)) + total(right * part, 1)
        matrix = np.stack([diagonal, total(left * part)])
        height = solveh_banded(matrix, total(left * level) + total(right * level, 1), lower=True)
        before, fitted = fitted, height[knot] * (1 - part) + height[knot + 1] * part
        rest = np.abs(level - fitted)
        scale = max(1.4826 * float(np.median(rest[counts])), least_scale)
        weight = share * np.minimum(1.0, HUBER * scale / np.maximum(rest, 1e-300))
        if np.abs(fitted - before).max() < least_scale:
            break
    return fitted


def common_interval(fitted: Floats, bounds: Sequence[tuple[int, int]], interval: float) -> float:
    """Seconds from sample to sample over all runs that are long enough to say."""
    long = [(start, stop) for start, stop in bounds if stop - start >= SHORT_RUN]
    if not long:
        return interval
    elapsed = sum(fitted[stop - 1] - fitted[start] for start, stop in long)
    return float(elapsed / sum(stop - start - 1 for start, stop in long))


def wander(fitted: Floats) -> float:
    """The largest distance from the straight line through both ends."""
    return float(np.abs(fitted - np.linspace(fitted[0], fitted[-1], len(fitted))).max())
