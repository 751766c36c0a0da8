"""Notch and band-pass filters: of linear phase and centred, computed block by block.

A kernel is a sum of windowed sincs (Hamming window, 53 dB). Its length is 3.3 divided by the width of its narrowest
transition: 6.6 s for a band from 0.5 Hz, 3.3 s for a notch. Being symmetric and centred it moves nothing in time, so
events stay where they are. Notch and band-pass are one kernel, so the signal is read and filtered once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.gaps import grown, partitioned, read_held
from biocl.signals.recording import Read, Recording
from biocl.signals.spec import NOTCH_LEAST_APART_HZ, BandpassSpec, ConditioningSpec

HAMMING_WIDTH = 3.3
NOTCH_HALF_HZ, NOTCH_TRANSITION_HZ = 1.0, 1.0
MOST_TAPS = 2**18
SMALLEST_TRANSFORM, LARGEST_USUAL_TRANSFORM = 2**8, 2**14
HELD_WEIGHT = 0.1
"""Beyond a gap's margin, at most this share of a kernel's absolute weight lies on samples that are not there."""


@dataclass(frozen=True)
class Kernel:
    """A symmetric filter; `taps` has an odd length."""

    taps: NDArray[np.float64]

    @property
    def half(self) -> int:
        """Samples the filter reads to each side."""
        return len(self.taps) // 2

    @cached_property
    def margin(self) -> int:
        """Samples that a gap grows by to each side.

        A long filter has most of its weight near its centre: further from a gap than this, the stretch beyond
        the gap's edge has at most `HELD_WEIGHT` of the absolute weight, and the nearest sample stands in there.
        """
        weight = np.abs(self.taps)
        beyond = weight.sum() - np.cumsum(weight)  # of the taps after each one
        return int(np.argmax(beyond <= HELD_WEIGHT * weight.sum())) - self.half


def filtered(recording: Recording, spec: ConditioningSpec) -> Recording:
    """Notches and band-pass of every channel; nothing is read until its samples are asked for.

    Every read gives the same bits however the recording is partitioned: the signal is transformed in blocks that
    are counted from its first sample, one channel at a time in float64. Before the first and after the last
    sample the edge value is repeated. In a gap, the nearest sample stands in inside the filter, so that a gap
    does not spread by the whole length of a slow filter; NaN is given for the gap and for `Kernel.margin`
    samples around it. A recording that is shorter than the filter gets a note.

    Raises
    ------
    DataError
        If a frequency cannot be had at this recording's rate; the paragraph names the key and the recording.
    """
    if not spec.notches and spec.bandpass is None:
        return recording
    check_frequencies(recording, spec)
    kernel = kernel_of(recording.sfreq, spec.notches, spec.notch_harmonics, spec.bandpass)
    size = transform_size(kernel, recording.n_times)
    spectrum = np.fft.rfft(kernel.taps, size)
    block = lru_cache(maxsize=2)(partial(filtered_block, recording.read, recording.n_times, kernel, spectrum, size))
    notes = recording.notes
    if len(kernel.taps) > recording.n_times:
        notes += (
            f"The filter ({len(kernel.taps) / recording.sfreq:.3g} s) is longer than the recording "
            f"({recording.duration_s:.3g} s): its edge values, repeated, weigh on all of it.",
        )
    return replace(recording, read=partial(partitioned, block, size - 2 * kernel.half), notes=notes)


def check_frequencies(recording: Recording, spec: ConditioningSpec) -> None:
    """Refuse what a recording of this rate cannot have."""
    nyquist = recording.sfreq / 2
    room = NOTCH_HALF_HZ + NOTCH_TRANSITION_HZ / 2
    said = (
        f"Recording {recording.name} has {recording.sfreq:g} samples a second, so it holds nothing above {nyquist:g} Hz"
    )
    for notch_hz in spec.notches:
        if not room < notch_hz < nyquist - room:
            raise DataError(
                f"{said}: data.notch_hz {notch_hz:g} needs {room:g} Hz of room on both sides",
                recording.where,
                f"Choose a frequency between {room:g} and {nyquist - room:g} Hz, or leave data.notch_hz out",
            )
    if spec.bandpass is None:
        return
    low, high = spec.bandpass.low_hz, spec.bandpass.high_hz
    for key, edge in (("low_hz", low), ("high_hz", high)):
        if edge is not None and edge >= nyquist:
            raise DataError(
                f"{said}: data.bandpass.{key} {edge:g} is impossible",
                recording.where,
                f"Choose a lower data.bandpass.{key}, or leave it out",
            )
    if high is not None and spec.resample_hz is not None and high > spec.resample_hz / 2:
        raise DataError(
            f"Recording {recording.name}: data.bandpass.high_hz {high:g} is above half of data.resample_hz "
            f"{spec.resample_hz:g}, and what is resampled to that rate cannot hold it",
            recording.where,
            "Choose a lower data.bandpass.high_hz or a higher data.resample_hz, or leave high_hz out",
        )
    narrowest = min(transitions(spec.bandpass, nyquist))
    if HAMMING_WIDTH * recording.sfreq / narrowest > MOST_TAPS:
        raise DataError(
            f"Recording {recording.name}: data.bandpass fades over {narrowest:.3g} Hz only, which takes a filter of "
            f"{HAMMING_WIDTH / narrowest:.3g} s or {HAMMING_WIDTH * recording.sfreq / narrowest:.3g} samples; "
            f"{MOST_TAPS} is the limit",
            recording.where,
            "Raise data.bandpass.low_hz, or keep data.bandpass.high_hz further from half the sampling rate; for a very "
            "slow drift use data.baseline",
        )


def transitions(band: BandpassSpec, nyquist_hz: float) -> list[float]:
    """Widths in Hz over which a band fades out, of each edge that it has."""
    found = []
    if band.low_hz is not None:
        found.append(min(max(band.low_hz / 4, 2.0), band.low_hz))
    if band.high_hz is not None:
        found.append(min(max(band.high_hz / 4, 2.0), nyquist_hz - band.high_hz))
    return found


def kernel_of(sfreq: float, notches: tuple[float, ...], harmonics: bool, band: BandpassSpec | None) -> Kernel:
    """The filter of all notches and the band, for one sampling rate."""
    edges = None if band is None else (band.low_hz, band.high_hz)
    return cached_kernel(sfreq, notches, harmonics, edges)


@lru_cache(maxsize=8)
def cached_kernel(
    sfreq: float, notches: tuple[float, ...], harmonics: bool, edges: tuple[float | None, float | None] | None
) -> Kernel:
    """The same, by values that can be looked up."""
    parts = []
    if notches:
        stops = all_notches(notches, harmonics, sfreq / 2)
        parts.append(notch_taps(stops, sfreq))
    if edges is not None:
        parts.append(bandpass_taps(BandpassSpec(low_hz=edges[0], high_hz=edges[1]), sfreq))
    taps = parts[0] if len(parts) == 1 else convolved(*parts)
    taps = (taps + taps[::-1]) / 2
    taps.flags.writeable = False
    return Kernel(taps)


def all_notches(notches: tuple[float, ...], harmonics: bool, nyquist_hz: float) -> list[float]:
    """The notches and, if asked for, their multiples below the Nyquist rate; of multiples that meet, the first."""
    found = list(notches)
    room = NOTCH_HALF_HZ + NOTCH_TRANSITION_HZ / 2
    for notch_hz in notches if harmonics else ():
        for multiple in range(2, int(nyquist_hz / notch_hz) + 1):
            harmonic = multiple * notch_hz
            apart = all(abs(harmonic - other) >= NOTCH_LEAST_APART_HZ for other in found)
            if harmonic < nyquist_hz - room and apart:
                found.append(harmonic)
    return sorted(found)


def lowpass_taps(cutoff_hz: float, transition_hz: float, sfreq: float) -> NDArray[np.float64]:
    """A windowed sinc that halves the amplitude at `cutoff_hz`, and whose taps add up to 1."""
    half = int(np.ceil(HAMMING_WIDTH * sfreq / transition_hz / 2))
    taps = np.sinc(2 * cutoff_hz / sfreq * np.arange(-half, half + 1)) * np.hamming(2 * half + 1)
    return taps / taps.sum()


def bandpass_taps(band: BandpassSpec, sfreq: float) -> NDArray[np.float64]:
    """What passes the upper edge (everything, where there is none) minus what passes below the lower edge."""
    widths = iter(transitions(band, sfreq / 2))
    below = np.zeros(1)
    if band.low_hz is not None:
        width = next(widths)
        below = lowpass_taps(band.low_hz - width / 2, width, sfreq)
    upto = np.ones(1)
    if band.high_hz is not None:
        width = next(widths)
        upto = lowpass_taps(band.high_hz + width / 2, width, sfreq)
    return plus(upto, -below)


def notch_taps(stops_hz: list[float], sfreq: float) -> NDArray[np.float64]:
    """Everything minus a narrow band around each frequency."""
    taps = np.ones(1)
    for stop_hz in stops_hz:
        for sign, edge in ((-1, stop_hz + NOTCH_HALF_HZ), (1, stop_hz - NOTCH_HALF_HZ)):
            taps = plus(taps, sign * lowpass_taps(edge, NOTCH_TRANSITION_HZ, sfreq))
    return taps


def plus(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of two centred filters of odd lengths."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    pad = (len(longer) - len(shorter)) // 2
    return longer + np.pad(shorter, pad)


def convolved(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """One filter after the other; by transforms, whose bits do not depend on the number of threads."""
    length = len(one) + len(other) - 1
    return np.fft.irfft(np.fft.rfft(one, length) * np.fft.rfft(other, length), length)


def transform_size(kernel: Kernel, n_times: int) -> int:
    """A power of two that holds the filter and a block: four filters, or less for a short recording."""
    usual = max(LARGEST_USUAL_TRANSFORM, 4 * len(kernel.taps))
    enough = max(SMALLEST_TRANSFORM, n_times + 2 * kernel.half)
    return int(2 ** np.ceil(np.log2(min(usual, enough))))


def filtered_block(
    read: Read, n_times: int, kernel: Kernel, spectrum: NDArray[np.complex128], size: int, number: int
) -> NDArray[np.float32]:
    """Block `number` of ``size - 2 half`` steps (the last one may be shorter), shape (n, n_chans)."""
    half = kernel.half
    step = size - 2 * half
    start = number * step
    stop = min(start + step, n_times)
    rows, missing = read_held(read, n_times, start - half, start + step + half, half)
    out = np.empty((stop - start, len(rows)), np.float32)
    for channel, row in enumerate(rows):  # one by one: the bits do not depend on which channels stand beside
        out[:, channel] = np.fft.irfft(np.fft.rfft(row) * spectrum, size)[2 * half : 2 * half + stop - start]
    if missing.any():
        near = slice(half - kernel.margin, half + step + kernel.margin)
        out[grown(missing[:, near], kernel.margin).T[: stop - start]] = np.nan
    return out
