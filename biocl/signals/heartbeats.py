"""Where the heart beats: R peaks in one lead, or in several leads together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BAND_HZ = (5.0, 20.0)  # where a QRS complex has most of its energy, and P, T and drift have little
WIDTH_S = 0.12  # about as long as a QRS complex
REFRACTORY_S = 0.24  # no two beats are nearer
T_WAVE_S = 0.36  # what follows a beat so soon and is much weaker is its T wave
MARGIN_S = 0.09  # how far a peak lies from the middle of its complex, at most
LEARN_S = 8.0
SHORTEST_S = 1.0


def r_peaks(signal: ArrayLike, sfreq: float) -> NDArray[np.int64]:
    """R peaks of an ECG.

    In the manner of Pan and Tompkins (1985): band-pass, slope, square, average over the length of a QRS
    complex, then thresholds between a running level of beats and one of noise, with a second look at half the
    threshold where a beat is overdue. Two things differ. The filters run forwards and backwards, so that
    nothing is delayed. And several leads give one sequence of beats: each lead's energy is divided by its own
    level, then the leads are averaged; a peak lies where the band-passed leads are farthest from zero together,
    whatever the polarity.

    Everything is in memory several times over in float64: give a recording of many hours in pieces.

    Parameters
    ----------
    signal : array_like, shape (n_times,) or (n_times, n_leads)
        In any unit. A lead that does not vary, or holds a value that is not finite, is left out.
    sfreq : float
        Samples per second, above 40.

    Returns
    -------
    ndarray of int64, shape (n_beats,)
        Time steps, ascending, at least 0.24 s apart. Empty for less than a second, or without a usable lead.

    Raises
    ------
    ValueError
        If the rate is 40 Hz or less: the band is not in the signal.
    """
    from scipy.signal import find_peaks

    if sfreq <= 2 * BAND_HZ[1]:
        raise ValueError(f"R peaks need more than {2 * BAND_HZ[1]:g} samples a second, not {sfreq:g}")
    leads = np.asarray(signal, dtype=np.float64)
    leads = leads[:, None] if leads.ndim == 1 else leads
    # How far the values of a lead lie apart, as a number that is not finite if one of them is not.
    spread = np.ptp(leads, axis=0) if leads.size else np.empty(0)
    leads = leads[:, np.isfinite(spread) & (spread > 0)]
    if len(leads) < SHORTEST_S * sfreq or not leads.shape[1]:
        return np.empty(0, np.int64)
    passed = band_passed(leads, sfreq)
    energy = qrs_energy(passed, sfreq)
    candidates, _ = find_peaks(energy, distance=max(1, round(REFRACTORY_S * sfreq)))
    beats = choose(candidates, energy, sfreq)
    return sharpened(beats, np.abs(passed / passed.std(axis=0)).sum(axis=1), sfreq)


def band_passed(leads: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """The leads between 5 and 20 Hz, without delay, shape (n_times, n_leads)."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(2, BAND_HZ, "bandpass", fs=sfreq, output="sos")
    passed: NDArray[np.float64] = sosfiltfilt(sections, leads - leads.mean(axis=0), axis=0)
    return passed


def qrs_energy(passed: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """How steep the leads are around each time step, averaged over the leads, shape (n_times,)."""
    from scipy.ndimage import uniform_filter1d

    steep = np.gradient(passed, axis=0) ** 2
    energy = np.sqrt(uniform_filter1d(steep, max(1, round(WIDTH_S * sfreq)), axis=0, mode="nearest"))
    level = np.sqrt(steep.mean(axis=0))
    averaged: NDArray[np.float64] = (energy / np.where(level > 0, level, 1)).mean(axis=1)
    return averaged


@dataclass
class Levels:
    """Running levels of beats and of noise, each moved by an eighth of what is seen."""

    beat: float
    noise: float

    @property
    def threshold(self) -> float:
        """What a candidate has to exceed."""
        return self.noise + 0.3 * (self.beat - self.noise)

    def see(self, height: float, *, is_beat: bool) -> None:
        """Move the level of what was seen; one huge artefact may at most double the level of beats."""
        if is_beat:
            self.beat += (min(height, 2 * self.beat) - self.beat) / 8
        else:
            self.noise += (height - self.noise) / 8


def choose(candidates: NDArray[np.int64], energy: NDArray[np.float64], sfreq: float) -> NDArray[np.int64]:
    """Which peaks of the energy are beats, ascending."""
    heights = energy[candidates]
    first = heights[candidates < LEARN_S * sfreq]
    first = first if len(first) else heights
    if not len(first):
        return candidates
    levels = Levels(beat=float(np.quantile(first, 0.8)), noise=float(np.quantile(first, 0.8)) / 10)
    beats: list[int] = []
    passed_over: list[int] = []  # candidates since the last beat
    for number, (at, height) in enumerate(zip(candidates.tolist(), heights.tolist(), strict=True)):
        if overdue(candidates, beats, at) and passed_over:
            best = max(passed_over, key=lambda index: heights[index])
            far = candidates[best] - candidates[beats[-1]] >= T_WAVE_S * sfreq
            if heights[best] > levels.threshold / 2 and far:
                beats.append(best)
                levels.see(float(heights[best]), is_beat=True)
                passed_over = [index for index in passed_over if index > best]
        soon = bool(beats) and at - candidates[beats[-1]] < T_WAVE_S * sfreq
        is_beat = height > levels.threshold and not (soon and height < heights[beats[-1]] / 2)
        levels.see(height, is_beat=is_beat)
        if is_beat:
            beats.append(number)
            passed_over = []
        else:
            passed_over.append(number)
    return candidates[beats]


def overdue(candidates: NDArray[np.int64], beats: list[int], now: int) -> bool:
    """Whether the last beat is longer ago than 1.6 of the last eight intervals' mean."""
    if len(beats) < 3:
        return False
    recent = candidates[beats[-9:]]
    return bool(now - recent[-1] > 1.6 * np.diff(recent).mean())


def sharpened(beats: NDArray[np.int64], magnitude: NDArray[np.float64], sfreq: float) -> NDArray[np.int64]:
    """Beats moved to the largest magnitude near them; of two that come too close, the larger stays."""
    reach = max(1, round(MARGIN_S * sfreq))
    moved: list[int] = []
    for beat in beats.tolist():
        begin = max(0, beat - reach)
        at = begin + int(np.argmax(magnitude[begin : beat + reach + 1]))
        if moved and at - moved[-1] < REFRACTORY_S * sfreq:
            if magnitude[at] > magnitude[moved[-1]]:
                moved[-1] = at
            continue
        moved.append(at)
    return np.array(moved, dtype=np.int64)
