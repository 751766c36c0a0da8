"""One recording into its place in the store: signal by blocks, statistics, checks and hash in one pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError
from biocl.signals.checks import RunningStatistics, check_recording, refuse, unit_doubts
from biocl.signals.conditioning import condition
from biocl.signals.recording import Channel, Events, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.people import hashed_words
from biocl.store.store import EVENT, hash_events

# float32 values in a block: the memory of a build does not grow with the recordings.
BLOCK_VALUES = 2**21


@dataclass(frozen=True)
class CodedEvents:
    """Events of one recording as numbers, a fraction of the size; `kinds` and `labels` are sorted."""

    rows: NDArray[Any]  # of dtype EVENT, with kind and label as numbers of the names here
    kinds: NDArray[np.str_]
    labels: NDArray[np.str_]


@dataclass(frozen=True)
class Converted:
    """What is known of a recording once its signal is written."""

    n_times: int
    sfreq: float
    channels: tuple[Channel, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    hash: str
    events: CodedEvents
    labels: dict[str, str]
    notes: tuple[str, ...]
    about: tuple[tuple[str, ...], ...]  # hashed words of what the file's header says of the person


def convert(dataset: Dataset, entry: Entry, conditioning: ConditioningSpec, file: BinaryIO) -> Converted:
    """Open a recording once and append its signal to a file, in blocks.

    Raises
    ------
    DataError
        If the signal is implausible and the conditioning does not accept that, or cannot be read.
    """
    source = opened(dataset, entry)
    recording = condition(source, conditioning)
    stated = {**{channel.name: channel.unit for channel in source.channels}, **source.file_units}
    n_chans = len(recording.channels)
    running = RunningStatistics(n_chans)
    hashed = hashlib.sha256()
    gaps: list[tuple[int, int]] = []
    step = max(1, BLOCK_VALUES // n_chans)
    for start in range(0, recording.n_times, step):
        stop = min(start + step, recording.n_times)
        block = np.ascontiguousarray(recording.read(start, stop), dtype="<f4")
        if block.shape != (stop - start, n_chans):
            raise DataError(
                f"Recording {recording.name} gave samples of shape {block.shape} instead of "
                f"{(stop - start, n_chans)} from step {start}",
                recording.where,
                "The file is probably cut short: copy it again",
            )
        running.update(block)
        if running.count.min() < running.n_times:
            add_gaps(gaps, ~np.isfinite(block).all(axis=1), start)
        write_block(file, block)
        hashed.update(block.data)
    refuse(recording, check_recording(recording, running, stated), conditioning)
    events = Events.join(recording.events, gap_events(gaps, recording.sfreq)) if gaps else recording.events
    hash_events(hashed, events.onset_s, events.duration_s, events.kind.tolist(), events.label.tolist())
    return Converted(
        n_times=recording.n_times,
        sfreq=float(recording.sfreq),
        channels=recording.channels,
        mean=running.mean,
        std=running.std,
        hash=hashed.hexdigest(),
        events=coded(events),
        labels={**entry.labels, **recording.labels},
        notes=(*entry.notes, *recording.notes, *unit_doubts(recording, running, stated)),
        about=hashed_words(dataset.name, dataset.version, source.about),
    )


def opened(dataset: Dataset, entry: Entry) -> Recording:
    """The recording of an entry, which must be what the listing said."""
    recording = dataset.read(entry)
    if (recording.name, recording.patient) != (entry.name, entry.patient):
        raise DataError(
            f"Entry {entry.name!r} of patient {entry.patient!r} was read as recording {recording.name!r} of "
            f"patient {recording.patient!r}",
            recording.where,
            f"Correct the reader of data set {dataset.name}",
        )
    if recording.n_times < 1:
        raise DataError(f"Recording {entry.name} holds no samples", recording.where, "Leave it out")
    return recording


def coded(events: Events) -> CodedEvents:
    """Events as numbers with names beside them."""
    rows = np.zeros(len(events), EVENT)
    rows["onset_s"], rows["duration_s"] = events.onset_s, events.duration_s
    kinds, rows["kind"] = np.unique(events.kind, return_inverse=True)
    labels, rows["label"] = np.unique(events.label, return_inverse=True)
    return CodedEvents(rows, kinds, labels)


def write_block(file: BinaryIO, block: NDArray[Any]) -> None:
    """Write the next samples; the one place where a full disk is noticed."""
    file.write(block.data)


def add_gaps(gaps: list[tuple[int, int]], missing: NDArray[np.bool_], start: int) -> None:
    """Append the stretches where any channel is missing; one that goes on from the last block joins it."""
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False)) + start
    for begin, end in edges.reshape(-1, 2).tolist():
        if gaps and gaps[-1][1] == begin:
            gaps[-1] = (gaps[-1][0], end)
        else:
            gaps.append((begin, end))


def gap_events(gaps: list[tuple[int, int]], sfreq: float) -> Events:
    """Gaps as events of kind ``gap``, which no window may touch."""
    begin, end = np.array(gaps, dtype=np.float64).T / sfreq
    return Events.of("gap", begin, end - begin)
