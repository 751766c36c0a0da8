"""A recording: one continuous multichannel signal of one patient, read lazily, in physical units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

ChannelKind = Literal["ecg", "eeg", "eog", "emg", "acc", "gyr", "mag", "resp", "other"]
Read = Callable[[int, int], NDArray[np.float32]]


@dataclass(frozen=True)
class Channel:
    """One column of a recording: its name, what it measures, its unit and the device it belongs to."""

    name: str
    kind: ChannelKind
    unit: str
    device: str = "main"


@dataclass(frozen=True)
class Events:
    """What was marked in a recording, in seconds from its first sample, sorted by onset.

    Attributes
    ----------
    onset_s, duration_s : ndarray of float64, shape (n_events,)
        A beat has duration 0.
    kind : ndarray of str, shape (n_events,)
        What sort of mark it is: ``beat``, ``rhythm``, ``quality``, ``trial`` …
    label : ndarray of str, shape (n_events,)
        Its class; empty for none.
    """

    onset_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    kind: NDArray[np.str_]
    label: NDArray[np.str_]

    @classmethod
    def empty(cls) -> Events:
        """No events."""
        return cls.of("", [], [], [])

    @classmethod
    def of(
        cls,
        kind: str | Sequence[str] | NDArray[np.str_],
        onset_s: ArrayLike,
        duration_s: ArrayLike = 0.0,
        label: str | Sequence[str] | NDArray[np.str_] = "",
    ) -> Events:
        """Events from columns; a single kind, duration or label holds for all. Sorts by onset (stable)."""
        onset = np.asarray(onset_s, dtype=np.float64).reshape(-1)
        order = np.argsort(onset, kind="stable")
        return cls(
            onset_s=onset[order],
            duration_s=np.broadcast_to(np.asarray(duration_s, dtype=np.float64), onset.shape)[order],
            kind=np.broadcast_to(np.asarray(kind, dtype=np.str_), onset.shape)[order],
            label=np.broadcast_to(np.asarray(label, dtype=np.str_), onset.shape)[order],
        )

    @classmethod
    def join(cls, *parts: Events) -> Events:
        """All events of several groups, sorted by onset."""
        if not parts:
            return cls.empty()
        return cls.of(
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.onset_s for part in parts]),
            np.concatenate([part.duration_s for part in parts]),
            np.concatenate([part.label for part in parts]),
        )

    def where(self, mask: NDArray[np.bool_]) -> Events:
        """The events for which `mask` (n_events,) is true."""
        return Events(self.onset_s[mask], self.duration_s[mask], self.kind[mask], self.label[mask])

    def of_kind(self, kind: str) -> Events:
        """The events of one kind."""
        return self.where(self.kind == kind)

    def __len__(self) -> int:
        return len(self.onset_s)


@dataclass(frozen=True)
class Recording:
    """One continuous multichannel signal of one patient, on one clock.

    Making a recording reads headers and annotations only; samples are read on demand.

    Attributes
    ----------
    name, patient : str
        Unique name of the recording; the person it belongs to.
    sfreq : float
        Samples per second.
    n_times : int
        Number of time steps.
    channels : tuple of Channel
        The columns of the signal.
    read : callable (start, stop) -> ndarray float32, shape (stop - start, n_chans)
        Physical units; NaN where the file marks a gap.
    session : str
        Which visit of the patient.
    events : Events
        Marks, in seconds.
    labels : mapping of str to str
        What is known of the whole recording (age, sex, diagnosis …).
    source : str
        Where it comes from, for error messages.
    notes : tuple of str
        What its reader mended or left out (duplicate time stamps, a clock that drifts …), a sentence each.
    file_units : mapping of str to str
        The file's units, by channel name, where its reader has converted the values.
    about : tuple of str
        What the file's header says of the person, line by line. A store keeps it as hashes, for the audit alone.
    """

    name: str
    patient: str
    sfreq: float
    n_times: int
    channels: tuple[Channel, ...]
    read: Read
    session: str = "1"
    events: Events = field(default_factory=Events.empty)
    labels: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()
    file_units: Mapping[str, str] = field(default_factory=dict)
    about: tuple[str, ...] = ()

    @classmethod
    def from_array(
        cls,
        name: str,
        patient: str,
        sfreq: float,
        signal: ArrayLike,
        channels: Sequence[Channel],
        *,
        session: str = "1",
        events: Events | None = None,
        labels: Mapping[str, str] | None = None,
        source: str = "",
        notes: Sequence[str] = (),
    ) -> Recording:
        """A recording of a signal in memory, shape (n_times, n_chans)."""
        samples = np.ascontiguousarray(signal, dtype=np.float32)
        if samples.ndim != 2 or samples.shape[1] != len(channels):
            raise ValueError(f"signal {samples.shape} is not (n_times, {len(channels)})")
        return cls(
            name=name,
            patient=patient,
            sfreq=float(sfreq),
            n_times=len(samples),
            channels=tuple(channels),
            read=lambda start, stop: samples[start:stop],
            session=session,
            events=Events.empty() if events is None else events,
            labels=dict(labels or {}),
            source=source,
            notes=tuple(notes),
        )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_times / self.sfreq

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(channel.name for channel in self.channels)

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices, in order of first appearance."""
        return tuple(dict.fromkeys(channel.device for channel in self.channels))

    @property
    def where(self) -> str:
        """The source file if known, else the recording's name."""
        return self.source or f"recording {self.name}"

    def signal(self) -> NDArray[np.float32]:
        """The whole signal, shape (n_times, n_chans)."""
        return self.read(0, self.n_times)

    def blocks(self, seconds: float) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The signal in consecutive pieces of `seconds` (the last may be shorter).

        Yields
        ------
        start : int
            Time step of the block's first row.
        block : ndarray of float32, shape (n, n_chans)
        """
        step = max(1, round(seconds * self.sfreq))
        for start in range(0, self.n_times, step):
            yield start, self.read(start, min(start + step, self.n_times))

    def with_columns(self, columns: Sequence[int], channels: Sequence[Channel] | None = None) -> Recording:
        """The same recording with other columns: a choice, an order and, if given, other channel names."""
        chosen = tuple(self.channels[column] for column in columns) if channels is None else tuple(channels)
        if list(columns) == list(range(len(self.channels))):
            return replace(self, channels=chosen)
        index = list(columns)
        source = self.read
        return replace(self, channels=chosen, read=lambda start, stop: source(start, stop)[:, index])
