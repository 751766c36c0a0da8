"""EEG against another reference: the average of the channels, or named electrodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.recording import Read, Recording


def rereferenced(recording: Recording, reference: Literal["average"] | Sequence[str]) -> Recording:
    """The mean of the reference channels subtracted from every EEG channel, sample by sample.

    Channels of other kinds stay as they are. Where a reference channel has a gap, every EEG channel has one. A
    channel that is the only reference would be zero throughout and is left out, which the notes say.

    Raises
    ------
    DataError
        If there is no EEG channel, a named one is missing, its name is not unique, or it is not EEG.
    """
    eeg = [i for i, channel in enumerate(recording.channels) if channel.kind == "eeg"]
    if not eeg:
        raise DataError(
            f"data.reference is for EEG, and recording {recording.name} has no EEG channel; it has "
            + ", ".join(f"{channel.name} ({channel.kind})" for channel in recording.channels),
            recording.where,
            "Leave data.reference out, or say what the channels measure",
        )
    chosen = eeg if isinstance(reference, str) else [eeg_channel(recording, name, eeg) for name in reference]
    done = replace(recording, read=partial(read_rereferenced, recording.read, eeg, chosen))
    if len(chosen) > 1 or len(recording.channels) == 1:
        return done
    only = recording.channels[chosen[0]].name
    done = done.with_columns([i for i in range(len(recording.channels)) if i != chosen[0]])
    return replace(done, notes=(*done.notes, f"Channel {only} is the reference, so it is zero and was left out."))


def eeg_channel(recording: Recording, name: str, eeg: Sequence[int]) -> int:
    """The column of a reference channel."""
    named = [i for i, channel in enumerate(recording.channels) if channel.name == name]
    if len(named) == 1 and named[0] in eeg:
        return named[0]
    problem = f"no channel named {name!r}" if not named else f"several channels named {name!r}"
    if len(named) == 1:
        problem = f"{name!r}, but as {recording.channels[named[0]].kind.upper()}, not EEG"
    raise DataError(
        f"Recording {recording.name} has {problem}; its EEG channels are "
        + ", ".join(recording.channels[i].name for i in eeg),
        recording.where,
        "Correct data.reference",
    )


def read_rereferenced(
    read: Read, eeg: Sequence[int], chosen: Sequence[int], start: int, stop: int
) -> NDArray[np.float32]:
    """Steps `start` to `stop`, shape (stop - start, n_chans)."""
    values = read(start, stop)
    level = np.zeros(len(values))
    for column in chosen:  # in this order: the bits do not depend on the piece's length or layout
        level += values[:, column]
    level /= len(chosen)
    out = np.array(values, dtype=np.float32, order="C")
    for column in eeg:
        out[:, column] = values[:, column] - level
    return out
