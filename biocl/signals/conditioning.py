"""What is done to a recording before it is stored, in a fixed order and lazily; and its resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.filtering import filtered
from biocl.signals.levels import scaled, without_drift, without_mean
from biocl.signals.recording import Read, Recording
from biocl.signals.reference import rereferenced
from biocl.signals.spec import ConditioningSpec, MeanBaseline, RunningMedianBaseline
from biocl.signals.units import to_standard

LARGEST_FACTOR = 10_000
ZERO_CROSSINGS = 10
KAISER_BETA = 5.0


def condition(recording: Recording, spec: ConditioningSpec) -> Recording:
    """The conditioned recording; nothing is read until its samples are asked for.

    The order is fixed, whatever the order of the keys in a file:

    ============== ===================================================================================
    units          first, so that every later number is in the unit it is said in
    channels       what is not wanted is not computed
    reference      channels are still as they were recorded, all against one electrode
    notch_hz       at the file's rate, so that line noise and its harmonics cannot fold into the band
    bandpass       together with the notches, as one filter
    resample_hz    less to compute from here on; its low-pass meets a band that is already limited
    baseline       after the filters, so that the level of what is stored is 0
    scale          last, so that the spread of what is stored is 1
    ============== ===================================================================================

    All steps are computed block by block: any partition gives the same bits, and events stay where they are,
    in seconds. Statistics of the whole recording (baseline: mean, scale) take one more pass, at the first read.

    Raises
    ------
    DataError
        If a channel is missing or its name is not unique, or a frequency cannot be had at the recording's rate.
    """
    if spec.units == "standard":
        lent = spec.reference if isinstance(spec.reference, list) else []
        recording = to_standard(recording, None if spec.channels is None else {*spec.channels, *lent})
    recording = selected(recording, spec)
    recording = filtered(recording, spec)
    if spec.resample_hz is not None:
        recording = resample(recording, spec.resample_hz)
    if isinstance(spec.baseline, RunningMedianBaseline):
        recording = without_drift(recording, spec.baseline)
    elif isinstance(spec.baseline, MeanBaseline) and spec.scale != "recording":  # which takes the mean out itself
        recording = without_mean(recording)
    if spec.scale != "none":
        recording = scaled(recording, spec.scale, spec)
    return recording


def selected(recording: Recording, spec: ConditioningSpec) -> Recording:
    """The chosen channels against the chosen reference, whose channels need not be among those chosen."""
    if spec.channels is None or spec.reference is None or isinstance(spec.reference, str):
        chosen = recording if spec.channels is None else select_channels(recording, spec.channels)
        return chosen if spec.reference is None else rereferenced(chosen, spec.reference)
    lent = [name for name in spec.reference if name not in spec.channels and name in recording.channel_names]
    done = rereferenced(select_channels(recording, [*spec.channels, *lent]), spec.reference)
    kept = [name for name in spec.channels if name in done.channel_names]
    done = select_channels(done, kept)
    return done if len(kept) < len(spec.channels) else replace(done, notes=recording.notes)


def select_channels(recording: Recording, names: Sequence[str]) -> Recording:
    """The named channels, in the order given; ``wrist/acc_x`` is the channel ``acc_x`` of the device ``wrist``."""
    columns = [columns_named(recording, name) for name in names]
    for name, found in zip(names, columns, strict=True):
        if len(found) != 1:
            problem = "several channels" if found else "no channel"
            raise DataError(
                f"Recording {recording.name} has {problem} named {name!r}; it has {', '.join(full_names(recording))}",
                recording.where,
                "Correct data.channels, or leave it out to keep all",
            )
    return recording.with_columns([found[0] for found in columns])


def columns_named(recording: Recording, name: str) -> list[int]:
    """Columns of the channels of that name, with or without their device's."""
    return [
        column
        for column, channel in enumerate(recording.channels)
        if name in (channel.name, f"{channel.device}/{channel.name}")
    ]


def full_names(recording: Recording) -> list[str]:
    """Names of the channels, with their device's where there are several devices."""
    if len(recording.devices) == 1:
        return list(recording.channel_names)
    return [f"{channel.device}/{channel.name}" for channel in recording.channels]


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
