"""What is done to a recording before it is stored: a choice of channels, another sampling rate; lazily."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.recording import Read, Recording
from biocl.signals.spec import ConditioningSpec

LARGEST_FACTOR = 10_000
ZERO_CROSSINGS = 10
KAISER_BETA = 5.0


def condition(recording: Recording, spec: ConditioningSpec) -> Recording:
    """The conditioned recording; nothing is read until its samples are asked for.

    Events stay where they are: they are in seconds.

    Raises
    ------
    DataError
        If a channel is missing or its name is not unique.
    """
    if spec.channels is not None:
        recording = select_channels(recording, spec.channels)
    if spec.resample_hz is not None:
        recording = resample(recording, spec.resample_hz)
    return recording


def select_channels(recording: Recording, names: Sequence[str]) -> Recording:
    """The named channels, in the order given."""
    available = recording.channel_names
    wrong = [name for name in names if available.count(name) != 1]
    if wrong:
        problem = "several channels" if wrong[0] in available else "no channel"
        raise DataError(
            f"Recording {recording.name} has {problem} named {wrong[0]!r}; it has {', '.join(available)}",
            recording.where,
            "Correct data.channels, or leave it out to keep all",
        )
    return recording.with_columns([available.index(name) for name in names])


def resample(recording: Recording, resample_hz: float) -> Recording:
    """Another sampling rate by a polyphase filter, computed block by block.

    The ratio of the rates is taken as ``up / down`` with whole numbers up to 10,000 (exact to 1e-8). The
    low-pass filter is a windowed sinc (Kaiser, beta 5, ten zero crossings a side), of linear phase and
    centred: output step `n` lies at input time ``n * down / up``. Before the first and after the last sample
    the edge value is repeated. Any partition into blocks gives the same bits, since each output value is one
    dot product over the same samples in the same order. A gap (NaN) grows by the filter's half width, ten
    samples of the slower rate, on both sides.
    """
    ratio = Fraction(resample_hz / recording.sfreq).limit_denominator(LARGEST_FACTOR)
    up, down = ratio.numerator, ratio.denominator
    if up == 0:
        raise DataError(
            f"{recording.sfreq} Hz cannot be resampled to {resample_hz} Hz: less than 1 to {LARGEST_FACTOR}",
            recording.where,
            "Choose a higher resample_hz",
        )
    if up == down:
        return replace(recording, sfreq=float(resample_hz))
    return replace(
        recording,
        sfreq=float(resample_hz),
        n_times=-(-recording.n_times * up // down),
        read=partial(read_resampled, recording.read, recording.n_times, up, down),
    )


@lru_cache(maxsize=8)
def polyphase_filter(up: int, down: int) -> tuple[NDArray[np.float32], int]:
    """Taps at ``up`` times the input rate, and the index of their centre, a multiple of `down`."""
    slow = max(up, down)
    half = ZERO_CROSSINGS * slow
    steps = np.arange(-half, half + 1)
    taps = np.sinc(steps / slow) * np.kaiser(len(steps), KAISER_BETA)
    taps *= up / taps.sum()
    centre = math.ceil(half / down) * down
    return np.concatenate([np.zeros(centre - half), taps]).astype(np.float32), centre


def read_resampled(read: Read, n_times: int, up: int, down: int, start: int, stop: int) -> NDArray[np.float32]:
    """Output steps `start` to `stop`, shape (stop - start, n_chans).

    Output `n` needs the input steps whose upsampled place lies within the filter around ``n * down``. The
    piece begins at a multiple of `down`, so that its first output falls on a whole step.
    """
    from scipy.signal import upfirdn

    taps, centre = polyphase_filter(up, down)
    first = math.floor((start * down - centre) / up / down) * down
    last = math.floor((stop - 1) * down / up + centre / up) + 1
    inside = max(first, 0), min(last + 1, n_times)
    # Channels as rows: upfirdn walks along contiguous memory.
    piece = np.ascontiguousarray(read(*inside).T)
    padded = np.pad(piece, ((0, 0), (inside[0] - first, max(0, last + 1 - n_times))), mode="edge")
    filtered = upfirdn(taps, padded, up, down, axis=1)
    offset = start + (centre - first * up) // down
    return np.ascontiguousarray(filtered[:, offset : offset + stop - start].T)
