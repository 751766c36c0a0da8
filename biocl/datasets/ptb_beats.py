"""COMET's preprocessing of the PTB Diagnostic ECG Database: padded heartbeats in pseudo-trials of ten.

Pure functions over arrays, in the order in which they are applied (Wang et al., "Contrast Everything", NeurIPS
2023, as its published notebooks do it). Everything is float64 until the end.

::

    resample     1000 Hz -> 250 Hz by linear interpolation between the first and the last sample
    standardise  each lead of the recording: mean 0, standard deviation 1
    peaks        R peaks of each lead by itself
    cut          median peak position over the leads, plus and minus half the median interval
    pad          zeros on both sides up to 300 steps; of an odd number the extra one is on the right
    join         ten consecutive beats make a pseudo-trial; the last ones, fewer than ten, are left out
    standardise  each lead of the pseudo-trial again, the zeros included
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from biocl.signals.heartbeats import r_peaks

RATE_HZ = 250.0
BEAT_STEPS = 300
BEATS_PER_TRIAL = 10
Floats = NDArray[np.float64]
Detector = Callable[[Floats, float], NDArray[np.int64]]
REACH_S = 0.1


def resampled_linearly(signal: Floats, sfreq: float) -> Floats:
    """The signal at 250 Hz, shape (int(n_times / sfreq * 250), n_leads), by linear interpolation.

    The first and the last sample stay where they are, so the rate is 250 Hz up to ``1 / n_times``.
    """
    n_times = len(signal)
    at = np.linspace(1, n_times, int(n_times / sfreq * RATE_HZ))
    steps = np.arange(1, n_times + 1)
    return np.stack([np.interp(at, steps, lead) for lead in signal.T], axis=1)


def standardised(signal: Floats) -> Floats:
    """Each column with mean 0 and standard deviation 1 (divisor n); one that does not vary becomes 0."""
    spread = signal.std(axis=0)
    centred: Floats = signal - signal.mean(axis=0)
    return centred / np.where(spread > 10 * np.finfo(np.float64).eps, spread, 1.0)


def upward_peaks(lead: Floats, sfreq: float) -> NDArray[np.int64]:
    """R peaks of one lead, each moved to the most prominent upward peak within 0.1 s of it.

    An R wave points up by definition; where a lead's largest deflection points down (a deep S), COMET's beats lie
    on the upward one, and so do these.
    """
    from scipy.signal import find_peaks

    beats = r_peaks(lead, sfreq)
    tops, properties = find_peaks(lead, prominence=(None, None))
    reach = round(REACH_S * sfreq)
    moved = beats.copy()
    for number, beat in enumerate(beats.tolist()):
        first, last = np.searchsorted(tops, [beat - reach, beat + reach + 1])
        if first < last:
            moved[number] = tops[first + int(np.argmax(properties["prominences"][first:last]))]
    return moved


def beat_positions(peaks: Sequence[NDArray[np.int64]]) -> tuple[Floats, float]:
    """Where the beats lie, and the recording's interval, from the peaks of each lead.

    Parameters
    ----------
    peaks : sequence of ndarray of int64
        One array a lead, ascending, in time steps.

    Returns
    -------
    positions : ndarray of float64, shape (n_beats,)
        Number k is the median over the leads of their k-th peak; there are as many as the lead with the most
        peaks has. A lead with fewer peaks counts for the first ones only.
    interval : float
        The median over the leads of each lead's median interval, NaN if no lead has two peaks.
    """
    columns = zip_longest(*(lead.tolist() for lead in peaks), fillvalue=np.nan)
    positions = np.array([np.nanmedian(column) for column in columns], dtype=np.float64)
    medians = [float(np.median(np.diff(lead))) for lead in peaks if len(lead) > 1]
    return positions, float(np.median(medians)) if medians else float("nan")


def padded_beats(signal: Floats, positions: Floats, interval: float) -> Floats:
    """Beats cut out of a recording and padded with zeros on both sides.

    Parameters
    ----------
    signal : ndarray, shape (n_times, n_leads)
    positions, interval
        As `beat_positions` gives them.

    Returns
    -------
    ndarray, shape (n_beats, 300, n_leads)
        A beat begins half an interval before its position and ends half an interval behind it (both rounded
        down), within the recording. Of the ``300 - n`` zeros, half (rounded down) are before it. An interval
        above 300 is taken as 300.
    """
    half = int(min(interval, BEAT_STEPS) / 2)
    beats = np.zeros((len(positions), BEAT_STEPS, signal.shape[1]))
    for beat, position in zip(beats, positions.tolist(), strict=True):
        piece = signal[max(0, int(position) - half) : int(position) + half]
        left = (BEAT_STEPS - len(piece)) // 2
        beat[left : left + len(piece)] = piece
    return beats


def pseudo_trials(beats: Floats) -> Floats:
    """Ten consecutive beats each, standardised together with their padding.

    Parameters
    ----------
    beats : ndarray, shape (n_beats, 300, n_leads)

    Returns
    -------
    ndarray, shape (n_beats // 10, 3000, n_leads)
    """
    n_trials = len(beats) // BEATS_PER_TRIAL
    joined = beats[: n_trials * BEATS_PER_TRIAL].reshape(n_trials, BEATS_PER_TRIAL * beats.shape[1], beats.shape[2])
    return np.stack([standardised(trial) for trial in joined]) if n_trials else joined


def comet_trials(signal: Floats, sfreq: float, detect: Detector = upward_peaks) -> tuple[Floats, float]:
    """All of the above: the pseudo-trials of a recording, shape (n_trials, 3000, n_leads), and its interval.

    Parameters
    ----------
    signal : ndarray, shape (n_times, n_leads)
    sfreq : float
        Samples per second of `signal`.
    detect : callable (lead, sfreq) -> time steps
        Finds R peaks. COMET used neurokit2's detector; biocl's own may differ from it by a few samples, or by
        a beat where a lead is hard to read, so the trials are COMET's up to that.
    """
    prepared = standardised(resampled_linearly(signal, sfreq))
    positions, interval = beat_positions([detect(lead, RATE_HZ) for lead in prepared.T])
    if not np.isfinite(interval):
        return np.empty((0, BEAT_STEPS * BEATS_PER_TRIAL, signal.shape[1])), interval
    return pseudo_trials(padded_beats(prepared, positions, interval)), interval
