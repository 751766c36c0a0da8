"""One clock: signals of several devices, each with its own time stamps, on a common grid of time steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.conditioning import LARGEST_FACTOR, read_resampled
from biocl.signals.recording import Channel
from biocl.signals.sample_times import SampleTimes, recover_times

SLOWER = 1.1
"""A device faster than the grid by more than this factor is low-pass filtered before it is thinned."""
EMPTIEST = 100
"""A recording that is longer than this many times what its rows fill has a wrong clock."""
CHUNK = 2**16
"""Samples of a spline that are held at once."""
OVERLAP = 24
"""Samples that a spline reaches over the ends of its chunk: a sample's weight falls by 3.7 at every next one."""


Recovered = tuple[float, list[SampleTimes]]


@dataclass(frozen=True)
class TimedSignal:
    """What one device recorded: rows of values, each with a time stamp.

    Attributes
    ----------
    device : str
        Its name.
    time_s : ndarray of float64, shape (n,)
        Stamps in seconds, from any origin that all devices share, in the order of the file.
    values : ndarray of float32, shape (n, n_chans)
        Physical units; NaN for a missing value.
    channels : sequence of Channel
        The columns; their device is set by `align`.
    """

    device: str
    time_s: NDArray[np.float64]
    values: NDArray[np.float32]
    channels: Sequence[Channel]


@dataclass(frozen=True)
class Clock:
    """What the time stamps of one device say.

    Attributes
    ----------
    device : str
    n_rows : int
        Rows of the file.
    rate_hz, rate_ratio : float
        Samples per second, and that divided by the first device's.
    start_s, stop_s : float
        Times of the first and last sample, on the clock of the stamps.
    offset_s : float
        Start less the first device's start.
    times : SampleTimes
        The details.
    """

    device: str
    n_rows: int
    rate_hz: float
    rate_ratio: float
    start_s: float
    stop_s: float
    offset_s: float
    times: SampleTimes


@dataclass(frozen=True)
class Aligned:
    """Several devices on one clock.

    Attributes
    ----------
    start_s : float
        Time of the first time step, on the clock of the stamps.
    sfreq : float
        Time steps per second.
    values : ndarray of float32, shape (n_times, n_chans)
        NaN inside gaps, and where a device had not begun or had ended.
    channels : tuple of Channel
        All devices' in order, each with its device's name.
    notes : tuple of str
        One sentence for each device.
    clocks : tuple of Clock
        The numbers behind the notes.
    """

    start_s: float
    sfreq: float
    values: NDArray[np.float32]
    channels: tuple[Channel, ...]
    notes: tuple[str, ...]
    clocks: tuple[Clock, ...]


def align(
    signals: Sequence[TimedSignal],
    sfreq: float,
    *,
    max_gap_s: float | None = None,
    span: Literal["intersection", "union"] = "intersection",
    where: str = "",
    recovered: Recovered | None = None,
) -> Aligned:
    """Put all devices of a recording on one grid of time steps.

    ::

        phone   |x x x    xxxx x x x x . . . . x x x|      bursts, a gap
        watch       |x x x x x x x x x x x x x x x x x|    another start, another rate
        grid        |+ + + + + + + + + + + + + + + +|      span: intersection

    Sample times are recovered from the stamps (`biocl.signals.sample_times.recover_times`), so that rows which
    arrived in a burst get their own times. Between gaps the values are a cubic spline through the samples,
    read at the grid's times; a device that is more than 1.1 times as fast as the grid is read at the next
    whole multiple of the grid's rate and thinned by the polyphase filter of `biocl.signals.conditioning`,
    piece by piece between gaps, its edge values repeated. Nothing is interpolated across a gap: the time steps
    between its last and first sample are NaN.

    With stamps that jitter or come in bursts, sample times are found to within one sample interval. With exact
    stamps, a sine of up to a tenth of the device's rate comes back to 0.1 % of its amplitude, away from the ends
    of a stretch. Offsets and rates are those that the stamps state: a clock that is wrong by the same time all
    along cannot be told from a right one.

    Parameters
    ----------
    signals : sequence of TimedSignal
        One for each device.
    sfreq : float
        Rate of the grid.
    max_gap_s : float, optional
        A longer step from sample to sample is a gap. Default: five sample intervals of the device.
    span : {"intersection", "union"}
        The time that all devices cover, or that any does.
    where : str
        The file or recording, for errors.
    recovered : (float, list of SampleTimes), optional
        What `recover` found for these signals, in place of finding it again with `max_gap_s`.

    Raises
    ------
    DataError
        If a device has no rows, a stamp is not finite or goes backwards, two devices share a name, a device's rate is
        not within a factor of 10,000 of `sfreq`, no time is covered by all devices, or more than 99 % of the time
        would be a gap.
    """
    if not signals:
        raise DataError("There is no device to align", where or None, "Name at least one")
    if not (math.isfinite(sfreq) and sfreq > 0):
        raise ValueError(f"sfreq is {sfreq}")
    check_signals(signals, where)
    names = [", ".join(filter(None, [where, f"device {signal.device}"])) for signal in signals]
    origin, found = recovered or recover(signals, names, max_gap_s=max_gap_s)
    for signal, times in zip(signals, found, strict=True):
        if not 1 / LARGEST_FACTOR <= times.rate_hz / sfreq <= LARGEST_FACTOR:
            raise DataError(
                f"Device {signal.device} gives {times.rate_hz:.3g} samples a second, too far from {sfreq:g} Hz",
                where or None,
                "Check the unit of time, or choose another rate",
            )
    choose = {"intersection": (max, min), "union": (min, max)}[span]
    start = choose[0](float(times.time_s[0]) for times in found)
    stop = choose[1](float(times.time_s[-1]) for times in found)
    n_times = math.floor((stop - start) * sfreq + 1e-6) + 1
    if n_times < 1:
        spans = "; ".join(
            f"{signal.device} from {times.time_s[0]:.3f} s to {times.time_s[-1]:.3f} s"
            for signal, times in zip(signals, found, strict=True)
        )
        raise DataError(
            f"No moment is covered by all devices: counted from the first stamp, {spans}",
            where or None,
            "Check that the devices share a clock, or leave one out",
        )
    filled = max(len(times.time_s) / times.rate_hz for times in found)
    if stop - start > EMPTIEST * filled:
        raise DataError(
            f"The devices' time stamps span {stop - start:.6g} s, of which rows fill {filled:.3g} s at most",
            where or None,
            "Check the unit of time and that all devices share a clock, or cut the file at its long gap",
        )
    values = np.concatenate(
        [
            on_grid(times, signal.values[times.rows], start, n_times, sfreq)
            for signal, times in zip(signals, found, strict=True)
        ],
        axis=1,
    )
    clocks = tuple(
        Clock(
            device=signal.device,
            n_rows=len(signal.time_s),
            rate_hz=times.rate_hz,
            rate_ratio=times.rate_hz / found[0].rate_hz,
            start_s=origin + float(times.time_s[0]),
            stop_s=origin + float(times.time_s[-1]),
            offset_s=float(times.time_s[0] - found[0].time_s[0]),
            times=times,
        )
        for signal, times in zip(signals, found, strict=True)
    )
    return Aligned(
        start_s=origin + start,
        sfreq=float(sfreq),
        values=values,
        channels=tuple(replace(c, device=signal.device) for signal in signals for c in signal.channels),
        notes=tuple(sentence(clock, start, clocks[0].device) for clock in clocks),
        clocks=clocks,
    )


def recover(signals: Sequence[TimedSignal], where: Sequence[str], *, max_gap_s: float | None = None) -> Recovered:
    """The first stamp of all devices, and each device's sample times counted from it; `where` names each in errors."""
    # Differences of large stamps (milliseconds since 1970) are exact, their fits are not: count from the first.
    origin = min(float(signal.time_s[np.isfinite(signal.time_s)].min(initial=np.inf)) for signal in signals)
    origin = origin if math.isfinite(origin) else 0.0
    return origin, [
        recover_times(signal.time_s - origin, signal.values, max_gap_s=max_gap_s, where=place)
        for signal, place in zip(signals, where, strict=True)
    ]


def check_signals(signals: Sequence[TimedSignal], where: str) -> None:
    """Shapes fit, every device has rows and a name of its own."""
    names = [signal.device for signal in signals]
    for signal in signals:
        if signal.values.shape != (len(signal.time_s), len(signal.channels)):
            raise ValueError(f"values {signal.values.shape} are not ({len(signal.time_s)}, {len(signal.channels)})")
        if names.count(signal.device) > 1:
            raise DataError(f"Two devices are named {signal.device!r}", where or None, "Give each its own name")
        if not len(signal.time_s):
            raise DataError(f"Device {signal.device} has no rows", where or None, "Leave it out, or copy it again")


def on_grid(
    times: SampleTimes, values: NDArray[np.float32], start: float, n_times: int, sfreq: float
) -> NDArray[np.float32]:
    """Values of one device at the grid's times, shape (n_times, n_chans); NaN outside and in gaps.

    A channel with missing values (NaN) is read without those rows; where they leave a step longer than a gap
    may be, it has a gap of its own.
    """
    out = np.full((n_times, values.shape[1]), np.nan, dtype=np.float32)
    missing = np.isnan(values)
    whole = ~missing.any(axis=0)
    groups = [np.flatnonzero(whole), *(np.array([column]) for column in np.flatnonzero(~whole))]
    for columns in groups:
        if not len(columns):
            continue
        rows = np.flatnonzero(~missing[:, columns[0]])
        time = times.time_s[rows]
        ends = [*(np.flatnonzero(np.diff(time) > times.max_gap_s) + 1), len(time)]
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            first, piece = read_piece(
                time[begin:end], values[rows[begin:end]][:, columns], start, n_times, sfreq, times.rate_hz
            )
            out[first : first + len(piece), columns] = piece
    return out


def read_piece(
    time: NDArray[np.float64], values: NDArray[np.float32], start: float, n_times: int, sfreq: float, rate: float
) -> tuple[int, NDArray[np.float32]]:
    """The grid's first time step inside a stretch without gaps, and the values from there to its end."""
    if len(time) < 2:
        return 0, np.empty((0, values.shape[1]), dtype=np.float32)
    first = max(0, math.ceil((time[0] - start) * sfreq - 1e-6))
    last = min(n_times - 1, math.floor((time[-1] - start) * sfreq + 1e-6))
    n = max(0, last - first + 1)
    if n == 0 or rate <= SLOWER * sfreq:
        return first, spline(time, values, start + (first + np.arange(n)) / sfreq)
    thinning = math.ceil(rate / sfreq)
    # From the first time step to the stretch's end, not only to the last time step: the filter looks ahead.
    fine = math.floor((time[-1] - start) * sfreq * thinning + 1e-6) - first * thinning + 1
    dense = spline(time, values, start + (first + np.arange(fine) / thinning) / sfreq)
    return first, read_resampled(lambda a, b: dense[a:b], len(dense), 1, thinning, 0, n)


def spline(time: NDArray[np.float64], values: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """A cubic spline through (time, values), read at ascending times, chunk by chunk; shape (n_at, n_chans).

    Times before the first or after the last sample (by rounding) take the end's value; two or three samples
    are joined by straight lines.
    """
    from scipy.interpolate import CubicSpline, make_interp_spline

    at = np.clip(at, time[0], time[-1])
    out = np.empty((len(at), values.shape[1]), dtype=np.float32)
    for begin in range(0, len(time), CHUNK):
        end = min(begin + CHUNK, len(time))
        is_last = end == len(time)
        low = 0 if begin == 0 else np.searchsorted(at, time[begin], side="left")
        high = len(at) if is_last else np.searchsorted(at, time[end], side="left")
        if low == high:
            continue
        around = slice(max(0, begin - OVERLAP), min(len(time), end + 1 + OVERLAP))
        known, given = time[around], values[around].astype(np.float64)
        curve = CubicSpline(known, given) if len(known) > 3 else make_interp_spline(known, given, k=1)
        out[low:high] = curve(at[low:high])
    return out


def sentence(clock: Clock, start: float, first: str) -> str:
    """What was found in the stamps of one device."""
    times = clock.times
    parts = [f"{clock.rate_hz:.3f} Hz in {clock.n_rows} rows"]
    if clock.device != first:
        ppm = (clock.rate_ratio - 1) * 1e6
        parts.append(f"starts {clock.offset_s:+.3f} s and samples {ppm:+.0f} ppm against {first}")
    if times.duplicates:
        parts.append(f"{times.duplicates} repeated rows dropped")
    if times.sorted_rows:
        parts.append(f"{times.sorted_rows} stamps before an earlier row's, sorted")
    if not times.steady:
        parts.append("not sampled evenly, so that its stamps are taken as they are")
    if times.equal_stamps or times.latest_s > 0.5 / clock.rate_hz:
        parts.append(
            f"{times.equal_stamps} stamps equal the one before (bursts); stamps lie up to "
            f"{1e3 * times.latest_s:.0f} ms from the sample times found"
        )
    if times.wander_s > 0.5 / clock.rate_hz:
        parts.append(f"its clock wanders by {1e3 * times.wander_s:.0f} ms")
    if times.lost:
        parts.append(f"{times.lost} lost samples bridged, in steps of at most {times.max_gap_s:.3g} s")
    if len(times.gaps):
        longest = float(np.diff(times.gaps, axis=1).max())
        parts.append(
            f"{len(times.gaps)} gaps left empty, the longest {longest:.3f} s, the first at "
            f"{times.gaps[0, 0] - start:.3f} s"
        )
    return f"Device {clock.device}: {'; '.join(parts)}."
