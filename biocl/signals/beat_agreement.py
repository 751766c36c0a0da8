"""Do the beats of a window look alike? Its R peaks are found simply; `biocl.signals.heartbeats` finds every one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QRS_HZ = (5.0, 20.0)
REFRACTORY_S = 0.25
HALF_BEAT_S = 0.3
LEAST_BEATS, LEAST_SFREQ = 3, 50.0


def beat_agreement(x: Floats, sfreq: float) -> Floats:
    """Mean correlation of a window's beats with their mean, for each lead.

    R peaks are found once for all leads; the pieces 0.3 s before to 0.3 s after them are averaged, and each piece
    is correlated with the average of its lead.

    Parameters
    ----------
    x : ndarray of float64, shape (B, n_times, n_chans)
        Mean-free leads without NaN.
    sfreq : float
        Samples per second; below 50 a beat has too little shape, and nothing is applicable.

    Returns
    -------
    ndarray of float64, shape (B, n_chans)
        NaN where fewer than 3 whole beats are found.
    """
    result = np.full((x.shape[0], x.shape[2]), np.nan)
    if sfreq < LEAST_SFREQ or x.shape[1] < (LEAST_BEATS - 1) * REFRACTORY_S * sfreq + 2 * HALF_BEAT_S * sfreq:
        return result
    half = round(HALF_BEAT_S * sfreq)
    around = np.arange(-half, half + 1)
    for number, energy in enumerate(energy_of_windows(x, sfreq)):
        peaks = peaks_of_window(energy, sfreq)
        peaks = peaks[(peaks >= half) & (peaks < x.shape[1] - half)]
        if len(peaks) < LEAST_BEATS:
            continue
        beats = x[number][peaks[:, None] + around]  # (n_beats, n_around, n_chans)
        beats = beats - beats.mean(axis=1, keepdims=True)
        average = beats.mean(axis=0)
        size = np.sqrt((beats**2).sum(axis=1) * (average**2).sum(axis=0))
        with np.errstate(divide="ignore", invalid="ignore"):
            result[number] = ((beats * average).sum(axis=1) / size).mean(axis=0)
    return result


def energy_of_windows(x: Floats, sfreq: float) -> Floats:
    """Where QRS complexes are: (B, n_times), squared slopes of the 5-20 Hz band, over all leads, smoothed 0.1 s.

    Leads count by their own mean power, so that a noisy one cannot outvote the others.
    """
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, sosfiltfilt

    band = butter(2, (QRS_HZ[0], min(QRS_HZ[1], 0.4 * sfreq)), "bandpass", fs=sfreq, output="sos")
    slope = np.gradient(sosfiltfilt(band, x, axis=1, padlen=min(x.shape[1] - 1, round(sfreq))), axis=1) ** 2
    mean = slope.mean(axis=1, keepdims=True)
    energy = (slope / np.where(mean > 0, mean, 1)).mean(axis=2)
    return np.asarray(uniform_filter1d(energy, max(1, round(0.1 * sfreq)), axis=1))


def peaks_of_window(energy: Floats, sfreq: float) -> NDArray[np.intp]:
    """Time steps of the peaks of one window's QRS energy: at least 0.25 s apart, and 0.3 of the usual highest.

    The usual highest is the median of the maxima of one-second pieces, so that one burst does not hide the rest.
    """
    from scipy.signal import find_peaks

    second = max(1, round(sfreq))
    pieces = [energy[start : start + second].max() for start in range(0, len(energy), second)]
    height = 0.3 * float(np.median(pieces))
    if height <= 0:
        return np.empty(0, np.intp)
    return np.asarray(find_peaks(energy, height=height, distance=max(1, round(REFRACTORY_S * sfreq)))[0])
