"""How alike the recordings of two people are: the average heart beat, or the spectrum of every channel.

What stays of a person from one recording to the next is the shape of the beat; where there is no heart beat, how the
power is spread over frequencies and channels. Neither identifies anybody for certain: on one lead of 63 people with two
recordings each (ECG-ID), the nearest recording is of the same person for most and not for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from biocl.signals.heartbeats import BAND_HZ, r_peaks

Floats = NDArray[np.float64]

BEFORE_S, AFTER_S, SHIFT_S = 0.25, 0.45, 0.032
FEWEST_BEATS, ROUNDS = 4, 3
N_BANDS, LOWEST_BANDS, SEGMENT_STEPS = 12, 0.01, 256


def average_beat(signal: NDArray[np.floating], sfreq: float) -> Floats | None:
    """The usual beat of an ECG, shape (n_steps, n_leads), each lead around 0; None where there are too few beats.

    The median over all beats, then over the half of them that is nearest to it, so that rare beats do not matter.
    """
    if sfreq <= 2 * BAND_HZ[1] or not np.isfinite(signal).all():
        return None
    peaks = r_peaks(signal, sfreq)
    shift = max(1, round(SHIFT_S * sfreq))
    before, after = round(BEFORE_S * sfreq) + shift, round(AFTER_S * sfreq) + shift
    peaks = peaks[(peaks >= before) & (peaks + after <= len(signal))]
    if len(peaks) < FEWEST_BEATS:
        return None
    beats = np.stack([signal[peak - before : peak + after] for peak in peaks]).astype(np.float64)
    beats -= beats.mean(axis=1, keepdims=True)
    usual: Floats = np.median(beats, axis=0)
    for _ in range(ROUNDS):
        away = ((beats - usual) ** 2).sum(axis=(1, 2))
        usual = np.median(beats[away <= np.median(away)], axis=0)
    return usual


def beat_distances(beats: Sequence[Floats], sfreq: float) -> Floats:
    """``1 - r`` of every pair of average beats, r over all leads at the best of some shifts, shape (n, n).

    0 is the same shape; the size of the beats does not matter.
    """
    shift = max(1, round(SHIFT_S * sfreq))
    every = np.stack(beats)
    length, n_leads = every.shape[1] - 2 * shift, every.shape[2]
    middle = of_length_one(every[:, shift : shift + length])
    best = np.full((len(every), len(every)), np.inf)
    for start in range(2 * shift + 1):
        distance = 1 - of_length_one(every[:, start : start + length]) @ middle.T / n_leads
        np.minimum(best, np.minimum(distance, distance.T), out=best)
    return np.maximum(best, 0)


def of_length_one(beats: Floats) -> Floats:
    """Beats (n, n_steps, n_leads) around 0 and of length 1 in each lead, in one row each."""
    centred = beats - beats.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit: Floats = (centred / np.where(size > 0, size, 1)).reshape(len(beats), -1)
    return unit


def spectrum(signal: NDArray[np.floating], sfreq: float) -> Floats | None:
    """Log power of every channel in `N_BANDS` bands, shape (n_chans * n_bands,); None where the signal is too short.

    Bands are equally wide on a logarithmic scale from a hundredth of half the sampling rate up to it. Levels count.
    """
    from scipy.signal import welch

    if len(signal) < SEGMENT_STEPS or not np.isfinite(signal).all():
        return None
    frequency, power = welch(signal, fs=sfreq, nperseg=SEGMENT_STEPS, axis=0)
    edges = np.geomspace(LOWEST_BANDS, 1, N_BANDS + 1) * sfreq / 2
    band = np.clip(np.searchsorted(edges, frequency[1:], side="left") - 1, 0, N_BANDS - 1)
    known = np.unique(band)
    summed = np.stack([power[1:][band == one].mean(axis=0) for one in known])
    least = np.finfo(np.float64).tiny
    return np.log(np.maximum(summed, least)).ravel()


def spectrum_distances(spectra: Sequence[Floats]) -> Floats:
    """Root mean square difference of every pair of spectra, shape (n, n)."""
    every = np.stack(spectra)
    squares = (every**2).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2 * every @ every.T
    return np.sqrt(np.maximum(distance, 0) / every.shape[1])
