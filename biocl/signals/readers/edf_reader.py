"""EDF, EDF+, BDF and BDF+ files to recordings: any part is read on its own, gaps and rates are kept apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.channels import unit_name
from biocl.signals.readers.edf_header import COPY_AGAIN, EdfHeader, EdfSignal, read_header
from biocl.signals.readers.eeg_channels import describe, unique_names
from biocl.signals.readers.triggers import STIM_MASK, annotation_events, rising_codes, trigger_events
from biocl.signals.recording import Events, Recording

ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?")
MOST_GAP = 100  # a file whose gaps are this many times longer than its signal is damaged
PIECE_BYTES = 2**24


@dataclass(frozen=True)
class Layout:
    """Where each data record lies in the recording, in time steps of the fastest channel."""

    positions: NDArray[np.int64]  # (n_records,), ascending
    per_record: int
    sfreq: float

    @property
    def n_times(self) -> int:
        """Length of the recording."""
        return int(self.positions[-1]) + self.per_record

    def runs(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Stretches of records [low, high) without a gap between them."""
        breaks = np.flatnonzero(np.diff(self.positions[low:high]) != self.per_record) + low + 1
        edges = [low, *breaks.tolist(), high]
        yield from pairwise(edges)


def read_edf(
    path: str | Path,
    *,
    name: str,
    patient: str,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
) -> Recording:
    """Open an EDF, EDF+, BDF or BDF+ file; reads its header, its annotations and its trigger channel only.

    Parameters
    ----------
    path : str or Path
        The file.
    name, patient, session : str
        The recording's name, the person, the visit.
    labels : mapping, optional
        What is known of the whole recording.

    Returns
    -------
    Recording
        Sampled like its fastest channel. Slower channels stay on the same clock: between two of their samples
        a straight line is drawn, and a note says so. EEG, EOG and EMG in uV, ECG in mV, other channels in the
        file's unit. A pause of an EDF+D file is NaN. Channels named Status or Trigger become events.

    Raises
    ------
    DataError
        If the header is damaged, the file is shorter than its header says, or its time stamps go backwards.
    """
    path = Path(path)
    header = read_header(path)
    signals = [s for s in header.signals if not (s.is_annotation or s.is_trigger) and s.n_samples]
    if not signals:
        raise DataError("This file holds no signals beside triggers", path, "Give the file that holds the signals")
    marks = read_marks(header)
    layout, gap_notes = record_layout(header, max(signal.n_samples for signal in signals), marks)
    names, renamed = unique_names([signal.label for signal in signals])
    described = [describe(name, signal.unit) for name, signal in zip(names, signals, strict=True)]
    factors = np.array([factor for _, factor in described])
    events, event_notes = spoken_events(marks, layout.n_times / layout.sfreq)
    return Recording(
        name=name,
        patient=patient,
        sfreq=layout.sfreq,
        n_times=layout.n_times,
        channels=tuple(channel for channel, _ in described),
        read=partial(read_samples, header, layout, tuple(signals), factors),
        session=session,
        events=Events.join(events, *(triggers(header, layout, s) for s in header.signals if s.is_trigger)),
        labels=dict(labels or {}),
        source=str(path),
        about=(header.patient,) if header.patient else (),
        file_units={name: unit_name(signal.unit) for name, signal in zip(names, signals, strict=True)},
        notes=(*header.notes, *renamed, *rate_notes(header, signals, names), *gap_notes, *event_notes),
    )


def rate_notes(header: EdfHeader, signals: Sequence[EdfSignal], names: Sequence[str]) -> tuple[str, ...]:
    """What is done to channels that are slower than the fastest, and which have no samples at all."""
    fastest = max(signal.n_samples for signal in signals)
    slow = [
        f"{name} ({signal.n_samples / header.record_s:g} Hz)"
        for name, signal in zip(names, signals, strict=True)
        if signal.n_samples < fastest
    ]
    empty = [s.label for s in header.signals if not (s.n_samples or s.is_annotation)]
    notes = []
    if slow:
        notes.append(
            f"Channels slower than the fastest ({fastest / header.record_s:g} Hz) are read on its clock, with straight "
            f"lines between their samples: {', '.join(slow)}"
        )
    if empty:
        notes.append(f"Channels without samples are left out: {', '.join(empty)}")
    return tuple(notes)


@dataclass(frozen=True)
class Marks:
    """What the annotation signals say: when each record begins (NaN: not said), and the annotations."""

    record_onset_s: NDArray[np.float64]
    onset_s: list[float]
    duration_s: list[float]
    label: list[str]
    unreadable: int = 0


def read_marks(header: EdfHeader) -> Marks:
    """Read the annotation signals, and nothing else, of every data record."""
    onsets = np.full(header.n_records, np.nan)
    found = Marks(onsets, [], [], [])
    texts = [signal for signal in header.signals if signal.is_annotation and signal.n_samples]
    if not texts:
        return found
    width = header.sample_bytes
    records = np.memmap(
        header.path, np.uint8, "r", header.data_offset, (header.n_records, header.record_samples * width)
    )
    unreadable = 0
    for order, signal in enumerate(texts):
        columns = slice(signal.first * width, (signal.first + signal.n_samples) * width)
        for record in range(header.n_records):
            stamps = [stamp for stamp in records[record, columns].tobytes().split(b"\x00") if stamp]
            for place, stamp in enumerate(stamps):
                when, *said = stamp.split(b"\x14")
                match = ONSET.fullmatch(when)
                if match is None or not said:
                    unreadable += 1
                    continue
                onset, duration = float(match[1]), float(match[2] or 0)
                if order == place == 0:
                    onsets[record] = onset
                for word in filter(None, said):
                    found.onset_s.append(onset)
                    found.duration_s.append(duration)
                    found.label.append(decoded(word))
    return Marks(onsets, found.onset_s, found.duration_s, found.label, unreadable)


def decoded(word: bytes) -> str:
    """The text of an annotation: UTF-8 as the format asks, else Latin-1; a note for one channel loses its name."""
    try:
        said = word.decode("utf-8")
    except UnicodeDecodeError:
        said = word.decode("latin-1")
    return said.split("@@", 1)[0]


def record_layout(header: EdfHeader, per_record: int, marks: Marks) -> tuple[Layout, tuple[str, ...]]:
    """Where the records lie: one after the other, or as the time stamps of an EDF+D file say."""
    sfreq = per_record / header.record_s
    dense = np.arange(header.n_records, dtype=np.int64) * per_record
    if not header.is_discontinuous:
        return Layout(dense, per_record, sfreq), ()
    onset = marks.record_onset_s
    if np.isnan(onset).any():
        record = int(np.flatnonzero(np.isnan(onset))[0])
        raise DataError(f"Data record {record + 1} has no time stamp, which EDF+D needs", header.path, COPY_AGAIN)
    extra = np.rint((onset - onset[0]) * sfreq - dense)
    if (np.diff(extra) < -1).any():
        record = int(np.flatnonzero(np.diff(extra) < -1)[0]) + 1
        raise DataError(
            f"Time goes backwards: data record {record + 1} begins at {onset[record]:g} s, before the one ahead of it "
            f"has ended ({onset[record - 1] + header.record_s:g} s)",
            header.path,
            COPY_AGAIN,
        )
    extra = np.maximum.accumulate(extra)
    if extra[-1] > MOST_GAP * header.n_records * per_record:
        raise DataError(
            f"The time stamps announce pauses of {extra[-1] / sfreq:g} s in a signal of "
            f"{header.n_records * header.record_s:g} s",
            header.path,
            "Cut the file into its pieces and give each as a recording of its own",
        )
    n_gaps = int((np.diff(extra) > 0).sum())
    notes = (f"The recording pauses ({n_gaps} pauses, {extra[-1] / sfreq:g} s in all); the pauses are gaps",)
    return Layout(dense + extra.astype(np.int64), per_record, sfreq), notes if n_gaps else ()


def spoken_events(marks: Marks, length_s: float) -> tuple[Events, tuple[str, ...]]:
    """The annotations as events, in seconds from the first sample."""
    begin = marks.record_onset_s[0] if len(marks.record_onset_s) and np.isfinite(marks.record_onset_s[0]) else 0.0
    events, notes = annotation_events(np.array(marks.onset_s) - begin, marks.duration_s, marks.label, length_s)
    if marks.unreadable:
        notes = (*notes, f"{marks.unreadable} entries of the annotation signal cannot be read and are left out")
    return events, notes


def triggers(header: EdfHeader, layout: Layout, signal: EdfSignal) -> Events:
    """Events of a trigger channel, read in pieces; a pause ends a code."""
    if not signal.n_samples:
        return Events.empty()
    step = max(1, PIECE_BYTES // (header.record_samples * header.sample_bytes))
    found = []
    for low, high in layout.runs(0, header.n_records):
        pieces = (
            (begin * signal.n_samples, trigger_codes(read_records(header, begin, min(begin + step, high)), signal))
            for begin in range(low, high, step)
        )
        steps, codes = rising_codes(pieces)
        begin_s = layout.positions[low] / layout.sfreq
        onset_s = begin_s + (steps - low * signal.n_samples) * header.record_s / signal.n_samples
        found.append(trigger_events(onset_s, codes))
    return Events.join(*found)


def read_records(header: EdfHeader, low: int, high: int) -> NDArray[np.uint8]:
    """The bytes of data records [low, high), shape (n_records, record_samples, sample_bytes)."""
    shape = (high - low, header.record_samples, header.sample_bytes)
    size = shape[1] * shape[2]
    with header.path.open("rb") as file:
        file.seek(header.data_offset + low * size)
        content = np.fromfile(file, np.uint8, shape[0] * size)
    if len(content) < shape[0] * size:
        raise DataError(f"Data records {low + 1} to {high} are not all there", header.path, COPY_AGAIN)
    return content.reshape(shape)


def digital(records: NDArray[np.uint8], signal: EdfSignal) -> NDArray[np.int64]:
    """The integers of one signal, shape (n_records * n_samples,)."""
    columns = np.ascontiguousarray(records[:, signal.first : signal.first + signal.n_samples])
    if columns.shape[-1] == 2:
        return columns.view("<i2").reshape(-1).astype(np.int64)
    wide = np.zeros((*columns.shape[:-1], 4), np.uint8)
    wide[..., 1:] = columns  # the three bytes above an empty one, so that the sign is in its place
    return (wide.view("<i4").reshape(-1) >> 8).astype(np.int64)


def trigger_codes(records: NDArray[np.uint8], signal: EdfSignal) -> NDArray[np.int64]:
    """The codes of a trigger channel: whole numbers, without the bits that tell the amplifier's state."""
    values = digital(records, signal) * signal.gain + signal.offset
    if not (np.abs(values) < 2**53).all():
        return np.zeros(len(values), np.int64)
    return np.trunc(values + np.copysign(1e-6, values)).astype(np.int64) & STIM_MASK


def read_samples(
    header: EdfHeader,
    layout: Layout,
    signals: tuple[EdfSignal, ...],
    factors: NDArray[np.float64],
    start: int,
    stop: int,
) -> NDArray[np.float32]:
    """Time steps `start` to `stop`, shape (stop - start, n_chans); NaN in the pauses of the recording."""
    block = np.full((max(stop - start, 0), len(signals)), np.nan, np.float32)
    if stop <= start:
        return block
    low = max(int(np.searchsorted(layout.positions, start, "right")) - 1, 0)
    high = int(np.searchsorted(layout.positions, stop, "left"))
    for first, last in layout.runs(low, high):
        begin = int(layout.positions[first])
        end = begin + (last - first) * layout.per_record
        inside = slice(max(start, begin), min(stop, end))
        if inside.start >= inside.stop:
            continue
        # A straight line over the end of a record needs the first sample of the next.
        more = last < header.n_records and int(layout.positions[last]) == end
        records = read_records(header, first, last + more)
        at = np.arange(inside.start - begin, inside.stop - begin)
        for column, (signal, factor) in enumerate(zip(signals, factors, strict=True)):
            values = digital(records, signal)
            if signal.n_samples == layout.per_record:
                chosen = values[at[0] : at[-1] + 1].astype(np.float64)
            else:
                chosen = np.interp(at * (signal.n_samples / layout.per_record), np.arange(len(values)), values)
            with np.errstate(over="ignore"):  # an absurd scale gives infinity, which counts as a gap
                chosen = (chosen * signal.gain + signal.offset) * factor
                block[inside.start - start : inside.stop - start, column] = chosen
    return block
