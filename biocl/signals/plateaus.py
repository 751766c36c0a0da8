"""Plateaus in windows: flat lines, and peaks that a converter cut off."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FLAT_S, FLAT_STEPS = 0.1, 5
RAIL_STEPS, RAIL_SHARE, CUT_QUANTA = 5, 0.01, 16


def per_step(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n_chans,) or (B, n_chans) as (1 or B, 1, n_chans)."""
    return np.atleast_2d(values)[:, None, :]


def unchanged(x: NDArray[np.floating], tolerance: NDArray[np.floating], present: Mask) -> Mask:
    """Steps (B, n_times - 1, n_chans) from one present sample to the next that change by `tolerance` at most."""
    with np.errstate(invalid="ignore"):
        return (np.abs(np.diff(x, axis=1)) <= per_step(tolerance)) & present[:, 1:] & present[:, :-1]


def in_runs(still: Mask, least: int) -> Mask:
    """Samples (B, n_times, n_chans) that lie in a run of at least `least` samples joined by unchanging steps.

    Erosion and dilation with a window of ``least - 1`` steps, each by doubling.
    """
    n = least - 1
    if still.shape[1] < n:
        return np.zeros((still.shape[0], still.shape[1] + 1, still.shape[2]), bool)
    starts = every_of(still, n)  # runs of n steps begin here
    batch, n_starts, n_chans = starts.shape
    room = np.zeros((batch, n_starts + 2 * n, n_chans), bool)
    room[:, n : n + n_starts] = starts
    return ~every_of(~room, n + 1)  # sample t is covered by a run that begins at t - n ... t


def every_of(mask: Mask, n: int) -> Mask:
    """Whether `n` entries in a row along axis 1, from each place on, are all true: (B, length - n + 1, n_chans)."""
    done, result = 1, mask
    while done < n:
        step = min(done, n - done)
        result = result[:, : result.shape[1] - step] & result[:, step:]
        done += step
    return result


def flat_share(still: Mask, present: Mask, sfreq: float) -> Floats:
    """Share (0-1) of the present samples that lie on a flat line.

    A flat line is a run of samples, at least 0.1 s and 5 samples long, in which no step exceeds the tolerance
    (the store gives 1e-3 of the recording's standard deviation). Short equal neighbours, which coarse converters
    give in every T-P segment, do not count.

    References
    ----------
    The flat-line index fSQI of Clifford GD et al., Signal quality indices and data fusion for determining
    clinical acceptability of electrocardiograms. Physiol Meas 33:1419-1433, 2012.
    """
    least = max(FLAT_STEPS, math.ceil(FLAT_S * sfreq) + 1)
    if still.shape[1] + 1 < least:
        return np.full((present.shape[0], present.shape[2]), np.nan)
    return share(in_runs(still, least), present)


def saturation_share(
    x: NDArray[np.floating],
    still: Mask,
    present: Mask,
    low: NDArray[np.floating],
    high: NDArray[np.floating],
) -> Floats:
    """Share (0-1) of the present samples that are clipped at a rail.

    Clipped are runs of at least 5 samples that do not change, lie within 1 % of the recording's range from its
    lowest or highest value, and are cut off (`is_cut`): a peak that is merely the highest, or that a coarse
    converter flattens, is not. Resampling makes clipped plateaus ring, so the share is a lower bound in a
    resampled store.

    References
    ----------
    Rail contact as in Johannesen L, Galeotti L, Automatic ECG quality scoring methodology. Physiol Meas
    33:1479-1489, 2012.
    """
    span = per_step(high) - per_step(low)
    with np.errstate(invalid="ignore"):
        margin = RAIL_SHARE * span
        near = ((x <= per_step(low) + margin) | (x >= per_step(high) - margin)) & (span > 0)
    clipped = in_runs(still, RAIL_STEPS) & near & present
    if clipped.any():
        clipped = only_cut(x, clipped, still)
    return share(clipped, present)


def only_cut(x: NDArray[np.floating], clipped: Mask, still: Mask) -> Mask:
    """The runs of `clipped` that are cut off; see `is_cut`. There are few, so each is looked at."""
    result = clipped.copy()
    for b, c in np.argwhere(clipped.any(axis=1)):
        column = x[b, :, c]
        steps = np.abs(np.diff(column))
        moving = steps[np.isfinite(steps) & ~still[b, :, c]]
        quantum = float(moving.min()) if len(moving) else 0.0
        for start, stop in np.flatnonzero(np.diff(clipped[b, :, c], prepend=False, append=False)).reshape(-1, 2):
            if not is_cut(column, start, stop, quantum):
                result[b, start:stop, c] = False
    return result


def is_cut(column: NDArray[np.floating], start: int, stop: int, quantum: float) -> bool:
    """Whether the plateau ``column[start:stop]`` is a peak cut off, and not a round one flattened by rounding.

    A parabola that rounding to steps of one quantum flattens over `n` samples has dropped by about eight quanta
    another `n` samples away from the plateau. What drops by more than twice that on either side was higher.
    """
    n = stop - start
    sides = [column[max(0, start - n) : start][:1], column[stop : stop + n][-1:]]
    drops = np.abs(np.concatenate(sides) - column[start])
    drops = drops[np.isfinite(drops)]
    return not len(drops) or bool(drops.max() > CUT_QUANTA * quantum)


def share(part: Mask, present: Mask) -> Floats:
    """``|part| / |present|`` along time; NaN where nothing is present."""
    n = present.sum(axis=1)
    return np.where(n > 0, (part & present).sum(axis=1) / np.maximum(n, 1), np.nan)
