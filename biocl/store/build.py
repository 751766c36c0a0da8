"""From native files to a store: in bounded memory, in parallel, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError, UsageError
from biocl.files import digest, write_array, write_json
from biocl.signals.spec import ConditioningSpec
from biocl.store.convert import Converted
from biocl.store.names import natural_key
from biocl.store.store import EVENT, FORMAT, Store, hash_content, number_dtype
from biocl.store.table import write_table
from biocl.store.windows import default_windows
from biocl.store.workers import convert_here, convert_side_by_side
from biocl.store.workspace import remove_remains, workspace

HEADER_BYTES = 128
Progress = Callable[[int, int, str], None]


def store_key(dataset: Dataset, conditioning: ConditioningSpec) -> str:
    """What identifies a prepared store: data set, version and conditioning."""
    return digest([dataset.name, dataset.version, conditioning.model_dump()])


def build_store(
    dataset: Dataset,
    raw: Path | Sequence[Entry] | None,
    out: str | Path,
    conditioning: ConditioningSpec | None = None,
    *,
    n_jobs: int = 1,
    on_progress: Progress | None = None,
) -> Store:
    """Prepare a data set.

    Each recording is opened once and appended by blocks to one file, with its mean, standard deviation
    (float64, gaps left out) and hash computed on the way. The bytes do not depend on `n_jobs`, on the order
    of the listing or on interruptions. Whatever happens, `out` is complete or absent; a killed build leaves a
    hidden folder that the next one removes.

    Parameters
    ----------
    dataset : Dataset
    raw : Path, sequence of Entry, or None
        The folder of native files, the recordings themselves, or None for a data set that needs no files.
    out : str or Path
        The store's folder.
    conditioning : ConditioningSpec, optional
        Default: signals as they are in the files.
    n_jobs : int
        Processes.
    on_progress : callable (done, total, name), optional
        Called after each recording.

    Returns
    -------
    Store
        If `out` already holds what is asked for, it is opened and nothing is done.

    Raises
    ------
    DataError
        If a recording cannot be read or is implausible (the paragraph names it), recordings differ in
        channels or rate, the disk is full, or `out` holds something else.
    """
    out = Path(out)
    conditioning = ConditioningSpec() if conditioning is None else conditioning
    entries = list(raw) if isinstance(raw, Sequence) else dataset.entries(raw if raw is not None else Path())
    entries.sort(key=lambda entry: natural_key(entry.name))
    check_entries(entries, out)
    meta = {
        "format": FORMAT,
        "dataset": dataset.name,
        "version": dataset.version,
        "modality": dataset.modality,
        "patients_known": dataset.patients == "known",
        "conditioning": conditioning.model_dump(),
        "key": store_key(dataset, conditioning),
        "entries": digest([[e.name, e.patient, e.session, e.labels, e.revision] for e in entries]),
    }
    if (existing := existing_store(out, meta)) is not None:
        return existing
    with workspace(out) as folder:
        fill(folder, meta, dataset, entries, conditioning, n_jobs, on_progress or no_progress)
    return Store.open(out)


def no_progress(done: int, total: int, name: str) -> None:
    """Report to nobody."""


def check_entries(entries: Sequence[Entry], out: Path) -> None:
    """There is something to prepare, and names are unique."""
    if not entries:
        raise DataError("The data set lists no recordings", out, "Check the folder of the native files")
    for one, other in pairwise(entries):
        if one.name == other.name:
            raise DataError(
                f"Two recordings are named {one.name!r}",
                one.source or None,
                "Give every recording its own name",
            )


def existing_store(out: Path, meta: dict[str, Any]) -> Store | None:
    """The store at `out` if it is the one that is asked for; None if the place is free."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if (out / "store.json").is_file():
        store = Store.open(out)
        if all(store.meta.get(name) == meta[name] for name in ("key", "entries")):
            remove_remains(out)
            return store
        raise DataError(
            f"This folder holds another store: data set {store.meta['dataset']}, version "
            f"{store.meta['version']}, with its own conditioning and list of recordings",
            out,
            "Choose another place with --out, or delete the folder",
        )
    raise DataError("This place holds something that is not a store", out, "Choose another place with --out")


def fill(
    folder: Path,
    meta: dict[str, Any],
    dataset: Dataset,
    entries: Sequence[Entry],
    conditioning: ConditioningSpec,
    n_jobs: int,
    on_progress: Progress,
) -> None:
    """Write all files of a store into an empty folder."""
    n_jobs = min(n_jobs, len(entries))
    converted: list[Converted] = []
    with open(folder / "signals.npy", "w+b") as file:
        write_header(file, (0, 1))
        if n_jobs > 1:
            scratch = folder.with_name("parts")
            scratch.mkdir()
            results = convert_side_by_side(dataset, entries, conditioning, file, n_jobs=n_jobs, scratch=scratch)
        else:
            results = convert_here(dataset, entries, conditioning, file)
        with closing(results):
            for entry, result in zip(entries, results, strict=True):
                converted.append(result)
                check_alike(entries[0], converted[0], entry, result)
                on_progress(len(converted), len(entries), entry.name)
        file.seek(0)
        write_header(file, (sum(c.n_times for c in converted), len(converted[0].channels)))
    write_tables(folder, meta, dataset, entries, converted)
    converted.clear()  # the events are on disk, and need not be in memory twice
    if "windows" in dataset.defaults:
        try:
            table = default_windows(Store.open(folder))
        except (DataError, UsageError):
            return  # said again, in full, to whoever asks the store for these windows
        write_table(table, folder)


def write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    """Write the start of ``signals.npy``; NumPy leaves room in it, so that it is as long for any size."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    if file.tell() != HEADER_BYTES:
        raise RuntimeError(f"a header of {file.tell()} bytes instead of {HEADER_BYTES}")


def check_alike(first: Entry, one: Converted, second: Entry, other: Converted) -> None:
    """All recordings of a store share rate and channels."""
    if other.sfreq != one.sfreq:
        raise DataError(
            f"Recording {first.name} has {one.sfreq:g} samples a second, and {second.name} {other.sfreq:g}",
            second.source or None,
            "Set data.resample_hz",
        )
    if other.channels != one.channels:
        mine, theirs = (
            ", ".join(f"{c.name} [{c.kind}, {c.unit}, {c.device}]" for c in recording.channels)
            for recording in (one, other)
        )
        raise DataError(
            f"Recording {first.name} has the channels {mine}, and {second.name} has {theirs}",
            second.source or None,
            "Choose channels that all recordings have with data.channels (of one of several devices: device/channel), "
            "or leave recordings out",
        )


def write_tables(
    folder: Path,
    meta: dict[str, Any],
    dataset: Dataset,
    entries: Sequence[Entry],
    converted: Sequence[Converted],
) -> None:
    """Write ``recordings.npy``, ``events.npy`` and ``store.json``."""
    patients = sorted({entry.patient for entry in entries}, key=natural_key)
    sessions = sorted({entry.session for entry in entries}, key=natural_key)
    patient_code, session_code = ({n: i for i, n in enumerate(names)} for names in (patients, sessions))
    numbers = np.zeros(len(entries), number_dtype(len(converted[0].channels)))
    numbers["n_times"] = [recording.n_times for recording in converted]
    numbers["offset"] = np.cumsum(numbers["n_times"]) - numbers["n_times"]
    numbers["patient"] = [patient_code[entry.patient] for entry in entries]
    numbers["session"] = [session_code[entry.session] for entry in entries]
    numbers["mean"] = [recording.mean for recording in converted]
    numbers["std"] = [recording.std for recording in converted]
    write_array(folder / "recordings.npy", numbers)

    kinds, labels = write_events(folder / "events.npy", converted)
    label_keys = sorted({key for recording in converted for key in recording.labels})
    content = {
        **meta,
        "sfreq": converted[0].sfreq,
        "channels": [asdict(channel) for channel in converted[0].channels],
        "patients": patients,
        "sessions": sessions,
        "event_kinds": kinds,
        "event_labels": labels,
        "classes": list(dataset.classes),
        "splits": {**dataset.splits, **(dataset.splits_of(entries) if dataset.splits_of else {})},
        "defaults": dict(dataset.defaults),
        # Not part of the content's hash: a run reads nothing of it.
        "about": [[list(line) for line in recording.about] for recording in converted],
        "recordings": {
            "name": [entry.name for entry in entries],
            "patient": [entry.patient for entry in entries],
            "session": [entry.session for entry in entries],
            "hash": [recording.hash for recording in converted],
            "labels": {key: [recording.labels.get(key) for recording in converted] for key in label_keys},
            "notes": [list(recording.notes) for recording in converted],
        },
    }
    write_json(folder / "store.json", {**content, "content_hash": hash_content(content)})


def write_events(path: Path, converted: Sequence[Converted]) -> tuple[list[str], list[str]]:
    """Write all events, one recording after the other; returns the sorted names of their kinds and labels."""
    found = [recording.events for recording in converted]
    kinds = sorted({kind for events in found for kind in events.kinds.tolist()})
    labels = sorted({"", *(label for events in found for label in events.labels.tolist())})
    shape = (sum(len(events.rows) for events in found),)
    with path.open("wb") as file:
        descr = np.lib.format.dtype_to_descr(EVENT)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for number, events in enumerate(found):
            rows = events.rows.copy()
            rows["recording"] = number
            if len(rows):
                rows["kind"] = np.searchsorted(kinds, events.kinds)[rows["kind"]]
                rows["label"] = np.searchsorted(labels, events.labels)[rows["label"]]
            file.write(rows.tobytes())
    return kinds, labels
