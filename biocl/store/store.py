"""A prepared data set on disk: signals once, memory-mapped, with names, events and a default window table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.files import digest, read_json
from biocl.signals.recording import Channel
from biocl.store.table import WindowTable, read_table

FORMAT = 1
EVENT = np.dtype([("recording", "<i4"), ("onset_s", "<f8"), ("duration_s", "<f8"), ("kind", "<i2"), ("label", "<i4")])


def number_dtype(n_chans: int) -> np.dtype[Any]:
    """A row of ``recordings.npy``."""
    codes = [("offset", "<i8"), ("n_times", "<i8"), ("patient", "<i4"), ("session", "<i4")]
    return np.dtype([*codes, ("mean", "<f8", (n_chans,)), ("std", "<f8", (n_chans,))])


@dataclass(frozen=True)
class StoredRecording:
    """What a store knows of one recording; `offset` is its first row in the signals."""

    name: str
    patient: str
    session: str
    offset: int
    n_times: int
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    hash: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Store:
    """An opened store. ::

        STORE/store.json        names, channels, classes, published splits, hashes
        STORE/recordings.npy    one row a recording: offset, n_times, patient, session, mean, std
        STORE/signals.npy       float32, (all recordings' time steps, n_chans)
        STORE/events.npy        one row an event, by recording and onset; times in seconds
        STORE/windows.npy       the data set's default window table (with windows.json, aux.npy)

    Attributes
    ----------
    path : Path
    meta : dict
        The content of ``store.json``.
    numbers : structured ndarray, shape (n_recordings,)
        ``offset, n_times, patient, session, mean, std``.
    events : structured ndarray, shape (n_events,)
        ``recording, onset_s, duration_s, kind, label``; the last two index `event_kinds` and `event_labels`.
    signals : ndarray of float32, shape (total_times, n_chans)
        Memory-mapped, read-only.
    """

    path: Path
    meta: dict[str, Any]
    numbers: NDArray[Any]
    events: NDArray[Any]
    signals: NDArray[np.float32]

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store; reads its tables and maps its signals, so it takes milliseconds.

        Raises
        ------
        DataError
            If there is no complete store at this place, or it was written by a newer biocl.
        """
        path = Path(path)
        if not (path / "store.json").is_file():
            raise DataError("There is no prepared store here", path, "Make it with 'biocl data prepare'")
        meta = read_json(path / "store.json")
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            raise DataError("This store has another format than this version of biocl reads", path, "Prepare it again")
        try:
            numbers = np.load(path / "recordings.npy")
            events = np.load(path / "events.npy")
            signals = np.load(path / "signals.npy", mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DataError(f"This store is damaged: {error}", path, "Delete it and prepare it again") from error
        if signals.shape != (int(numbers["n_times"].sum()), len(meta["channels"])):
            raise DataError("This store's signals do not fit its tables", path, "Delete it and prepare it again")
        return cls(path, meta, numbers, events, signals)

    def __reduce__(self) -> tuple[Callable[[str], Store], tuple[str]]:
        # Another process maps the same files instead of being sent their content.
        return Store.open, (str(self.path),)

    def __fspath__(self) -> str:
        # So that a store may stand wherever the path of one may.
        return str(self.path)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def key(self) -> str:
        """What was asked for: data set, version and conditioning."""
        return str(self.meta["key"])

    @property
    def content_hash(self) -> str:
        """What came out: signals, events, names and channels."""
        return str(self.meta["content_hash"])

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """First rows of the recordings in the signals, shape (n_recordings,)."""
        return np.ascontiguousarray(self.numbers["offset"])

    @cached_property
    def scaling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and reciprocal standard deviation (0 if flat), each of shape (n_recordings, n_chans)."""
        return self.numbers["mean"].astype(np.float32), reciprocal(self.numbers["std"])

    @property
    def sfreq(self) -> float:
        """Samples per second."""
        return float(self.meta["sfreq"])

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """The columns of the signals."""
        return tuple(Channel(**channel) for channel in self.meta["channels"])

    @property
    def classes(self) -> tuple[str, ...]:
        """All label names of the data set, in order."""
        return tuple(self.meta["classes"])

    @property
    def splits(self) -> dict[str, Any]:
        """The data set's published splits, in the format of a split file."""
        return dict(self.meta["splits"])

    @property
    def defaults(self) -> dict[str, Any]:
        """The ``data`` keys that suit the data set."""
        return dict(self.meta["defaults"])

    @property
    def recording_names(self) -> tuple[str, ...]:
        """Names of the recordings, in the order of the signals."""
        return tuple(self.meta["recordings"]["name"])

    @property
    def patient_names(self) -> tuple[str, ...]:
        """Names that the patient numbers stand for."""
        return tuple(self.meta["patients"])

    @property
    def session_names(self) -> tuple[str, ...]:
        """Names that the session numbers stand for."""
        return tuple(self.meta["sessions"])

    @property
    def event_kinds(self) -> tuple[str, ...]:
        """Names that the events' kinds stand for."""
        return tuple(self.meta["event_kinds"])

    @property
    def event_labels(self) -> tuple[str, ...]:
        """Names that the events' labels stand for; the empty one means none."""
        return tuple(self.meta["event_labels"])

    def recording_labels(self, key: str) -> list[str | None]:
        """One of the recordings' own labels, None where a recording lacks it."""
        found = self.meta["recordings"]["labels"].get(key)
        return list(found) if found is not None else [None] * len(self)

    @property
    def notes(self) -> tuple[tuple[str, ...], ...]:
        """What the readers mended or left out, a tuple of sentences for each recording."""
        return tuple(tuple(sentences) for sentences in self.meta["recordings"]["notes"])

    @property
    def about(self) -> list[list[list[str]]]:
        """Hashed words of each line of every recording's header (`biocl.store.people`); an old store has none."""
        return list(self.meta.get("about", []))

    @cached_property
    def recordings(self) -> tuple[StoredRecording, ...]:
        """The recordings as objects; for many of them, `numbers` is faster."""
        columns = self.meta["recordings"]
        labels = columns["labels"]
        return tuple(
            StoredRecording(
                name=columns["name"][i],
                patient=self.patient_names[row["patient"]],
                session=self.session_names[row["session"]],
                offset=int(row["offset"]),
                n_times=int(row["n_times"]),
                mean=row["mean"],
                std=row["std"],
                hash=columns["hash"][i],
                labels={key: values[i] for key, values in labels.items() if values[i] is not None},
            )
            for i, row in enumerate(self.numbers)
        )

    def signal(self, recording: str | int) -> NDArray[np.float32]:
        """The signal of one recording, shape (n_times, n_chans), memory-mapped."""
        index = self.recording_names.index(recording) if isinstance(recording, str) else recording
        offset = int(self.numbers["offset"][index])
        return self.signals[offset : offset + int(self.numbers["n_times"][index])]

    @cached_property
    def windows(self) -> WindowTable:
        """The default window table.

        Raises
        ------
        DataError
            If the data set names no default windows, or none fits its recordings.
        """
        if (self.path / "windows.json").is_file():
            return read_table(self.path)
        from biocl.store.windows import default_windows

        return default_windows(self)


def reciprocal(std: NDArray[np.float64]) -> NDArray[np.float32]:
    """``1 / std``, and 0 for a channel that does not vary."""
    varies = std > 1e-12
    return np.where(varies, 1 / np.where(varies, std, 1), 0).astype(np.float32)


def hash_recording(signal: NDArray[np.float32], events: NDArray[Any], store: Store) -> str:
    """The hash of one stored recording, from what is on disk.

    Equal to the one that the build computed while writing; see `verify`.
    """
    hashed = hashlib.sha256()
    step = max(1, 2**20 // max(signal.shape[1], 1))
    for start in range(0, len(signal), step):
        hashed.update(np.ascontiguousarray(signal[start : start + step]).data)
    kinds, labels = np.asarray(store.event_kinds), np.asarray(store.event_labels)
    hash_events(
        hashed,
        events["onset_s"],
        events["duration_s"],
        kinds[events["kind"]].tolist() if len(events) else [],
        labels[events["label"]].tolist() if len(events) else [],
    )
    return hashed.hexdigest()


def hash_events(hashed: Any, onset_s: Any, duration_s: Any, kinds: list[str], labels: list[str]) -> None:
    """Add events to a hash, by names rather than by numbers."""
    hashed.update(np.ascontiguousarray(onset_s, "<f8").tobytes())
    hashed.update(np.ascontiguousarray(duration_s, "<f8").tobytes())
    hashed.update("\0".join([*kinds, "", *labels]).encode())


def hash_content(meta: Mapping[str, Any]) -> str:
    """The hash of all that the recordings are, from the content of ``store.json``."""
    return digest([meta["sfreq"], meta["channels"], meta["recordings"]])


def verify(store: Store) -> list[str]:
    """Names of the recordings whose bytes on disk are not those that were written."""
    bounds = np.searchsorted(store.events["recording"], np.arange(len(store) + 1))
    return [
        name
        for i, name in enumerate(store.recording_names)
        if hash_recording(store.signal(i), store.events[bounds[i] : bounds[i + 1]], store)
        != store.meta["recordings"]["hash"][i]
    ]
