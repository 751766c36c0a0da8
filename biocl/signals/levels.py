"""The level and the size of a channel over its recording: baseline and scaling into the store."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.checks import RunningStatistics, check_recording, refuse
from biocl.signals.gaps import read_held
from biocl.signals.recording import Read, Recording
from biocl.signals.spec import ConditioningSpec, RunningMedianBaseline

BLOCK_VALUES = 2**21
MOST_KEPT = 2**17
"""Evenly spaced samples of a channel from which its median and quartiles are taken; all of a shorter recording."""

IQR_OF_NORMAL = 1.3489795003921634
LevelAndFactor = tuple[NDArray[np.float64], NDArray[np.float64]]


def without_drift(recording: Recording, spec: RunningMedianBaseline) -> Recording:
    """Each channel minus a running median of a running median of itself, centred.

    Before the first and after the last sample, and inside gaps, the nearest sample stands in; a gap stays as long
    as it is. A median picks values and computes none, so any partition into blocks gives the same bits.
    """
    halves = tuple(int(length_s * recording.sfreq / 2 + 1e-9) for length_s in spec.windows_s)
    return replace(recording, read=partial(read_without_drift, recording.read, recording.n_times, halves))


def read_without_drift(read: Read, n_times: int, halves: tuple[int, ...], start: int, stop: int) -> NDArray[np.float32]:
    """Steps `start` to `stop`, shape (stop - start, n_chans)."""
    from scipy.ndimage import median_filter

    reach = sum(halves)
    rows, missing = read_held(read, n_times, start - reach, stop + reach, reach)
    middle = slice(reach, reach + stop - start)
    out = np.empty((stop - start, len(rows)), np.float32)
    for channel, row in enumerate(rows):
        drift = row
        for half in halves:
            drift = median_filter(drift, size=2 * half + 1, mode="nearest")
        out[:, channel] = row[middle] - drift[middle]
    out[missing[:, middle].T] = np.nan
    return out


def without_mean(recording: Recording) -> Recording:
    """Each channel minus its mean over the recording (gaps left out), in float64."""

    def level(running: RunningStatistics, kept: NDArray[np.float32]) -> LevelAndFactor:
        return running.mean, np.ones(len(running.mean))

    return leveled(recording, level)


def scaled(recording: Recording, how: Literal["recording", "robust"], spec: ConditioningSpec) -> Recording:
    """Each channel's z-score over its recording; its unit is ``SD`` from then on.

    ``recording``: mean 0 and standard deviation 1 (divisor n). ``robust``: median 0, and quartiles as far apart as
    those of a normal distribution with standard deviation 1, so that artefacts do not set the scale; both from at
    most `MOST_KEPT` evenly spaced samples. Gaps are left out. A channel that does not vary becomes 0.

    What no body gives in the stated unit is refused here (as `spec` says), since it cannot be seen afterwards.

    Raises
    ------
    DataError
        When first read: implausible amplitudes, or ``robust`` for a channel whose middle half does not vary.
    """

    def level(running: RunningStatistics, kept: NDArray[np.float32]) -> LevelAndFactor:
        refuse(recording, [one for one in check_recording(recording, running) if one.problem == "range"], spec)
        if how == "recording":
            return running.mean, factor_of(running.std)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a channel that is one gap has no quantiles
            low, middle, high = np.nanquantile(np.where(np.isfinite(kept), kept, np.nan), [0.25, 0.5, 0.75], axis=0)
        spread = (high - low) / IQR_OF_NORMAL
        stuck = np.flatnonzero((spread <= 0) & (running.std > 0))
        if len(stuck):
            raise DataError(
                f"Recording {recording.name}: half of the samples of channel {recording.channels[stuck[0]].name} have "
                "the same value, so data.scale: robust has no spread to divide by",
                recording.where,
                "Choose other channels with data.channels, or set data.scale: recording",
            )
        return middle, factor_of(spread)

    done = leveled(recording, level)
    return replace(done, channels=tuple(replace(channel, unit="SD") for channel in recording.channels))


def factor_of(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """``1 / spread``, and 0 where nothing varies (or nothing is there)."""
    varies = np.nan_to_num(spread) > 1e-12
    return np.where(varies, 1 / np.where(varies, spread, 1), 0.0)


def leveled(
    recording: Recording, level: Callable[[RunningStatistics, NDArray[np.float32]], LevelAndFactor]
) -> Recording:
    """Each channel minus a level, times a factor; both from one pass over the recording, at the first read."""

    @lru_cache(maxsize=1)
    def known() -> LevelAndFactor:
        return level(*one_pass(recording))

    def read(start: int, stop: int) -> NDArray[np.float32]:
        middle, factor = known()
        return ((recording.read(start, stop) - middle) * factor).astype(np.float32)

    return replace(recording, read=read)


def one_pass(recording: Recording) -> tuple[RunningStatistics, NDArray[np.float32]]:
    """Statistics in float64 and at most `MOST_KEPT` evenly spaced rows, read in blocks of bounded size."""
    running = RunningStatistics(len(recording.channels))
    step = max(1, BLOCK_VALUES // len(recording.channels))
    apart = -(-recording.n_times // MOST_KEPT)
    kept = []
    for start in range(0, recording.n_times, step):
        block = recording.read(start, min(start + step, recording.n_times))
        running.update(block)
        kept.append(block[-start % apart :: apart].copy())
    return running, np.concatenate(kept)
