"""Quality indices of windows: how much of a window is flat, clipped, missing, wandering, humming or misshapen.

Every index is a pure function of a batch of windows ``x`` of shape (B, n_times, n_chans) and gives one number for
each window and channel, float64 (B, n_chans). Missing samples are NaN. NaN in a result means: not applicable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biocl.signals.beat_agreement import beat_agreement
from biocl.signals.plateaus import flat_share, saturation_share, unchanged

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

INDICES = ("flat", "saturation", "nan", "baseline", "kurtosis", "line_noise", "template")
BASELINE_HZ, LINE_HZ, LINE_HALF_HZ, NEIGHBOUR_HZ = 0.5, (50.0, 60.0), 1.0, 5.0
LARGEST_RATIO = 1e6
VOLTAGES = ("ecg", "eeg", "eog", "emg")


@dataclass(frozen=True)
class Usual:
    """A usual threshold of an index: least and most, for which kinds of channels (none: all), and who says so."""

    least: float | None
    most: float | None
    kinds: tuple[str, ...]
    source: str


# What is called convention here is nobody's published number.
USUAL = {
    "flat": Usual(None, 0.1, (*VOLTAGES, "acc", "gyr"), "convention"),
    "saturation": Usual(None, 0.01, (*VOLTAGES, "acc", "gyr"), "convention"),
    "nan": Usual(None, 0.0, (), "biocl leaves out windows that touch a gap"),
    "baseline": Usual(None, 0.1, ("ecg",), "convention (basSQI of Li et al. 2014 at least 0.9)"),
    "kurtosis": Usual(5.0, None, ("ecg",), "kSQI above 5: He et al. 2006, Clifford et al. 2012"),
    "line_noise": Usual(None, 10.0, VOLTAGES, "convention (10 dB)"),
    "template": Usual(0.66, None, ("ecg",), "Orphanidou et al. 2015"),
}


@dataclass(frozen=True)
class Context:
    """What a window's recording tells about its channels; arrays of shape (B, n_chans) or (n_chans,).

    Attributes
    ----------
    tolerance : ndarray
        Steps up to this size count as no change (rounding, after resampling).
    low, high : ndarray
        The recording's extremes, where a converter clips.
    template : ndarray of shape (B, n_times, n_chans), optional
        The recording's median beat, for windows that are aligned to beats.
    """

    tolerance: NDArray[np.floating]
    low: NDArray[np.floating]
    high: NDArray[np.floating]
    template: NDArray[np.floating] | None = None


def quality_indices(
    x: NDArray[np.floating],
    sfreq: float,
    kinds: Sequence[str],
    *,
    context: Context | None = None,
    valid: Mask | None = None,
    names: Sequence[str] = INDICES,
) -> dict[str, Floats]:
    """Several indices of a batch of windows.

    Parameters
    ----------
    x : ndarray, shape (B, n_times, n_chans)
        In physical units, not scaled; NaN where samples are missing.
    sfreq : float
        Samples per second.
    kinds : sequence of str, length n_chans
        What the channels measure. ``baseline`` and ``line_noise`` apply to ``ecg, eeg, eog, emg``, ``template``
        to ``ecg``.
    context : Context, optional
        Of the recordings; by default every window is judged by itself.
    valid : ndarray of bool, shape (B, n_times), optional
        False on padding, which counts in no index.
    names : sequence of str
        Which of `INDICES`.

    Returns
    -------
    dict of str to ndarray of float64, shape (B, n_chans)
    """
    x = np.asarray(x)
    context = own_context(x) if context is None else context
    inside = np.ones(x.shape[:2], bool) if valid is None else valid
    present = np.isfinite(x) & inside[:, :, None]
    found: dict[str, Floats] = {}
    if {"flat", "saturation"} & set(names):
        still = np.ascontiguousarray(unchanged(x, context.tolerance, present))
        if "flat" in names:
            found["flat"] = flat_share(still, present, sfreq)
        if "saturation" in names:
            found["saturation"] = saturation_share(x, still, present, context.low, context.high)
    if "nan" in names:
        found["nan"] = missing_share(present, inside)
    if "kurtosis" in names:
        found["kurtosis"] = kurtosis(x, present)
    if {"baseline", "line_noise"} & set(names):
        power, hz = spectrum(x, present, sfreq)
        if "baseline" in names:
            found["baseline"] = of_kinds(baseline_ratio(power, hz), kinds, VOLTAGES)
        if "line_noise" in names:
            found["line_noise"] = of_kinds(line_noise_ratio(power, hz, sfreq), kinds, VOLTAGES)
    if "template" in names:
        found["template"] = template_agreement(x, sfreq, kinds, present, context.template)
    return {name: found[name] for name in INDICES if name in found}


def own_context(x: NDArray[np.floating]) -> Context:
    """Windows judged by themselves: no tolerance, and their own extremes."""
    present = np.isfinite(x)
    low = np.where(present, x, np.inf).min(axis=1, initial=np.inf)
    high = np.where(present, x, -np.inf).max(axis=1, initial=-np.inf)
    return Context(np.zeros(x.shape[2]), low, high)


def of_kinds(values: Floats, kinds: Sequence[str], wanted: Sequence[str]) -> Floats:
    """The values of channels of some kinds; NaN for the others."""
    return np.where([kind in wanted for kind in kinds], values, np.nan)


def missing_share(present: Mask, inside: Mask) -> Floats:
    """Share (0-1) of the window, padding aside, in which a channel has no value."""
    n = inside.sum(axis=1)[:, None]
    return np.where(n > 0, 1 - present.sum(axis=1) / np.maximum(n, 1), np.nan)


def centred(x: NDArray[np.floating], present: Mask) -> Floats:
    """Windows less their mean, in float64, with 0 where samples are missing."""
    values = np.where(present, x, 0.0).astype(np.float64)
    n = np.maximum(present.sum(axis=1), 1)
    values -= (values.sum(axis=1) / n)[:, None, :]
    values[~present] = 0.0
    return values


def kurtosis(x: NDArray[np.floating], present: Mask) -> Floats:
    """Fourth standardised moment ``m4 / m2²`` (dimensionless; 3 for Gaussian noise, 1.5 for a sine).

    A clean ECG lies above 5, since it is mostly quiet with rare high peaks; muscle noise lowers it, and in an
    EEG a high value marks an artefact. NaN for a window that does not vary.

    References
    ----------
    kSQI: Li Q, Mark RG, Clifford GD. Robust heart rate estimation from multiple asynchronous noisy sources.
    Physiol Meas 29:15-32, 2008; He T, Clifford GD, Tarassenko L. Neural Comput Appl 15:105-116, 2006.
    """
    squares = centred(x, present) ** 2
    n = np.maximum(present.sum(axis=1), 1)
    second, fourth = squares.sum(axis=1) / n, (squares**2).sum(axis=1) / n
    size = np.abs(np.where(present, x, 0)).max(axis=1, initial=0).astype(np.float64)
    varies = second > (1e-6 * size) ** 2  # less is the rounding of float32
    return np.where(varies, fourth / np.where(varies, second, 1) ** 2, np.nan)


def spectrum(x: NDArray[np.floating], present: Mask, sfreq: float) -> tuple[Floats, Floats]:
    """Power (B, n_freqs, n_chans) and frequencies in Hz of mean-free windows under a Hann taper.

    Missing samples are 0 after the mean is taken out. Windows of which less than half is present have no
    spectrum: NaN.
    """
    n_times = x.shape[1]
    taper = np.hanning(n_times + 2)[1:-1]
    along = np.ascontiguousarray((centred(x, present) * taper[:, None]).transpose(0, 2, 1))
    power = np.abs(np.fft.rfft(along, axis=2)) ** 2
    power[present.sum(axis=1) < 0.5 * n_times] = np.nan
    return power.transpose(0, 2, 1), np.asarray(np.fft.rfftfreq(n_times, 1 / sfreq), np.float64)


def baseline_ratio(power: Floats, hz: Floats) -> Floats:
    """Power below 0.5 Hz as a share (0-1) of all power up to 40 Hz; the constant part counts in neither.

    High for baseline wander (breathing, loose electrodes, sweat). Windows shorter than 2 s hold no full cycle of
    0.5 Hz: NaN.

    References
    ----------
    One less basSQI of Li Q, Rajagopalan C, Clifford GD. A machine learning approach to multi-level ECG signal
    quality classification. Comput Methods Programs Biomed 117:435-447, 2014, there with 1 Hz.
    """
    if len(hz) < 2 or hz[1] > BASELINE_HZ:
        return np.full((power.shape[0], power.shape[2]), np.nan)
    low = power[:, (hz > 0) & (hz <= BASELINE_HZ)].sum(axis=1)
    return ratio(low, power[:, (hz > 0) & (hz <= 40.0)].sum(axis=1))


def line_noise_ratio(power: Floats, hz: Floats, sfreq: float) -> Floats:
    """Mean power in 50 ± 1 Hz over that of its neighbours up to 5 Hz away, or of 60 Hz; the larger (1: no hum).

    In windows shorter than 2 s the band is as wide as the taper blurs it, ``2 / length``. NaN where the band
    lies above half the sampling rate, or the window is shorter than 0.5 s.

    References
    ----------
    The neighbour-based line measure of de Cheveigné A. ZapLine. NeuroImage 207:116356, 2020, and of Bigdely-Shamlo
    N et al. The PREP pipeline. Front Neuroinform 9:16, 2015.
    """
    best = np.full((power.shape[0], power.shape[2]), np.nan)
    if len(hz) < 2:
        return best
    half = max(LINE_HALF_HZ, 2 * hz[1])
    if half > 4.0:
        return best
    for line in LINE_HZ:
        if line + half > sfreq / 2:
            continue
        away = np.abs(hz - line)
        band, beside = away <= half, (away > half) & (away <= half + NEIGHBOUR_HZ)
        best = np.fmax(best, ratio(power[:, band].mean(axis=1), power[:, beside].mean(axis=1)))
    return best


def ratio(part: Floats, whole: Floats) -> Floats:
    """``part / whole``, at most 1e6; NaN for 0 / 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.minimum(part / whole, LARGEST_RATIO)


def template_agreement(
    x: NDArray[np.floating],
    sfreq: float,
    kinds: Sequence[str],
    present: Mask,
    template: NDArray[np.floating] | None,
) -> Floats:
    """Correlation (-1 to 1) of an ECG with a template; NaN for other channels.

    With a template (windows aligned to beats): Pearson's correlation of the window with its recording's median
    beat. A sound but ectopic beat is unlike the median beat, so a threshold on this index selects against
    arrhythmia: look before you use it. Without one: R peaks are found in the window, and the result is the mean
    correlation of its beats with their own mean; NaN with fewer than 3 beats (`biocl.signals.beat_agreement`).

    References
    ----------
    Orphanidou C et al. Signal-quality indices for the electrocardiogram and photoplethysmogram. IEEE J Biomed
    Health Inform 19:832-838, 2015, where 0.66 is the least that an acceptable ECG has.
    """
    result = np.full((x.shape[0], x.shape[2]), np.nan)
    columns = [number for number, kind in enumerate(kinds) if kind == "ecg"]
    if not columns:
        return result
    values, has = x[:, :, columns], present[:, :, columns]
    if template is None:
        result[:, columns] = beat_agreement(centred(values, has), sfreq)
    else:
        result[:, columns] = correlation(values, template[:, :, columns], has)
    return result


def correlation(x: NDArray[np.floating], y: NDArray[np.floating], present: Mask) -> Floats:
    """Pearson's correlation along time over the samples that both have; NaN if either does not vary."""
    both = present & np.isfinite(y)
    a, b = centred(x, both), centred(y, both)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(size > 0, (a * b).sum(axis=1) / np.where(size > 0, size, 1), np.nan)


def beyond(values: Mapping[str, NDArray[np.floating]], name: str, least: float | None, most: float | None) -> Mask:
    """Windows (B,) of which any channel lies outside; what is not applicable is not outside."""
    found = values[name]
    with np.errstate(invalid="ignore"):
        outside = np.zeros(found.shape, bool)
        if least is not None:
            outside |= found < least
        if most is not None:
            outside |= found > most
    return np.asarray(outside.any(axis=1))
