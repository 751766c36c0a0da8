"""Bring your own folder: files named by a CSV with columns path, patient, trial, label, start, end.

::

    path,patient,trial,label,start,end
    a/rec1.hea,P01,1,rest,0,30            several rows of one file: several trials
    a/rec1.hea,P01,2,stress,30,60         start and end in seconds; empty: the whole file
    b/walk.npy,P02,1,rest,,               (n_times, n_chans); needs a sampling rate
    b/run.csv.gz,P02,1,stress,,           numbers below a header of channel names; needs a sampling rate

`path` counts from the CSV's own folder. Optional columns: `session`, and `sfreq`, samples per second of a
``.npy`` or ``.csv`` file. Each file is one recording, each row one event ``trial``.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError
from biocl.files import digest
from biocl.signals.recording import Events, Recording
from biocl.signals.tables import read_csv, read_npy
from biocl.signals.wfdb_reader import read_wfdb

REQUIRED = ("path", "patient")
OPTIONAL = ("trial", "label", "start", "end", "session", "sfreq")
Row = Mapping[str, str]


def folder_dataset(table: str | Path, *, sfreq: float | None = None, modality: str = "other") -> Dataset:
    """A data set of the user's own files.

    Parameters
    ----------
    table : str or Path
        The CSV described above.
    sfreq : float, optional
        Samples per second of ``.npy`` and ``.csv`` files that have no `sfreq` of their own in the table.
    modality : str
        ``ecg``, ``eeg``, ``imu`` or ``other``.

    Raises
    ------
    DataError
        If a file is missing, a file has two patients, a column is missing or a time makes no sense; the
        message names the lines.
    """
    table = Path(table)
    rows = read_rows(table)
    found = make_entries(table, rows, sfreq)
    return Dataset(
        name=table.stem,
        modality=modality,
        version="1",
        entries=partial(same_entries, tuple(found)),
        read=read,
        classes=tuple(sorted({row["label"] for row in rows.values()} - {""})),
        defaults={
            "windows": {"kind": "sliding", "length_s": 2.0, "step_s": 2.0},
            "trials": {"kind": "event", "events": "trial"},
        },
    )


def same_entries(found: tuple[Entry, ...], raw: Path | None = None) -> list[Entry]:
    """The entries that the table named; the table says where the files are, so there is no raw folder."""
    return list(found)


def read_rows(table: Path) -> dict[int, Row]:
    """Line number to row; every known column present, values stripped."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = [name.strip() for name in reader.fieldnames or []]
            rows = dict((reader.line_num, row) for row in reader)  # noqa: C402 - the line number moves
    except FileNotFoundError as error:
        raise DataError("The table of recordings does not exist", table, "Check the path") from error
    except OSError as error:
        raise DataError(
            f"The table of recordings cannot be read ({error.strerror})", table, "Check the path"
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"The table of recordings is not a CSV file ({error})", table, "Save it as CSV, UTF-8"
        ) from error
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in (*REQUIRED, *OPTIONAL)]
    if missing or unknown:
        raise DataError(
            f"Column {missing[0]!r} is missing" if missing else f"Column {unknown[0]!r} is not known",
            f"{table}, line 1",
            f"Use the columns {', '.join(REQUIRED)} and, if needed, {', '.join(OPTIONAL)}",
        )
    if not rows:
        raise DataError("The table of recordings has no rows", table, "Add one row for each trial")
    clean: dict[int, Row] = {}
    for line, row in rows.items():
        if None in row or None in row.values():
            raise DataError(
                f"This row does not have the {len(header)} fields of the first line",
                f"{table}, line {line}",
                "Add or remove commas; quote a value that holds one",
            )
        values = {name.strip(): str(value).strip() for name, value in row.items()}
        clean[line] = {**dict.fromkeys(OPTIONAL, ""), **values}
        for name in REQUIRED:
            if not values[name]:
                raise DataError(f"The {name} is empty", f"{table}, line {line}", f"Every row needs its {name}")
    return clean


def make_entries(table: Path, rows: Mapping[int, Row], sfreq: float | None) -> list[Entry]:
    """One entry for each file, in order of first appearance, with its trials as JSON in the source."""
    first_line: dict[str, int] = {}
    trials: dict[str, list[list[object]]] = {}
    rates: dict[str, float | None] = {}
    names: dict[Path, str] = {}  # one file may be spelled in several ways, and is named as at first
    for line, row in rows.items():
        where = f"{table}, line {line}"
        path = table.parent / row["path"]
        key = names.setdefault(path.resolve().with_suffix("") if path.suffix == ".hea" else path.resolve(), row["path"])
        if key not in first_line:
            first_line[key] = line
            rates[key] = positive(row["sfreq"], "sfreq", where) if row["sfreq"] else sfreq
            check_file(path, rates[key], where)
        first = rows[first_line[key]]
        for column, noun in (("patient", "patients"), ("session", "sessions"), ("sfreq", "sampling rates")):
            if row[column] != first[column]:
                raise DataError(
                    f"The file {key} has two {noun}: {first[column]!r} in line {first_line[key]} and "
                    f"{row[column]!r} in line {line}",
                    table,
                    "One file is one recording of one person: correct the row, or cut the file",
                )
        start = seconds(row["start"], "start", where)
        end = seconds(row["end"], "end", where)
        if end is not None and end <= (start or 0.0):
            raise DataError(f"The trial ends at {end:g} s, before it starts", where, "Give end > start, in seconds")
        trials.setdefault(key, []).append([row["trial"], row["label"], start, end])
    return [
        Entry(
            name=key.removesuffix(".hea"),
            patient=rows[first_line[key]]["patient"],
            session=rows[first_line[key]]["session"] or "1",
            source=json.dumps({"path": str(table.parent / key), "sfreq": rates[key], "trials": trials[key]}),
            revision=digest([rates[key], trials[key], file_stamp(table.parent / key)]),
        )
        for key in first_line
    ]


def file_stamp(path: Path) -> list[list[object]]:
    """Name, size and time of the files that belong to a recording (of a WFDB record: header, signals, marks)."""
    stem = path.name.removesuffix(".hea")
    files = [path] if path.suffix not in ("", ".hea") else sorted(path.parent.glob(f"{stem}.*"))
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def check_file(path: Path, sfreq: float | None, where: str) -> None:
    """Refuse a missing file, a kind that cannot be read and an array without a sampling rate."""
    table = path.name.endswith((".npy", ".csv", ".csv.gz"))
    if not table and path.suffix not in ("", ".hea"):
        raise DataError(
            f"Files like {path.name} cannot be read", where, "Use WFDB records (.hea), .npy, .csv or .csv.gz"
        )
    file = path if table or path.suffix == ".hea" else path.with_name(f"{path.name}.hea")
    if not file.is_file():
        raise DataError(f"The file {file} does not exist", where, "Correct the path; it counts from the table's folder")
    if table and sfreq is None:
        raise DataError(
            f"The sampling rate of {path.name} is not known",
            where,
            "Fill the column sfreq, in samples per second",
        )


def seconds(text: str, column: str, where: str) -> float | None:
    """A time in seconds, or None if empty."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise DataError(f"{column} is {text!r}", where, "Give seconds from the start of the file, or leave it empty")
    return value


def positive(text: str, column: str, where: str) -> float:
    """A number above zero."""
    value = seconds(text, column, where)
    if not value:
        raise DataError(f"{column} is {text!r}", where, "Give samples per second")
    return value


def read(entry: Entry) -> Recording:
    """One file, with its rows as events ``trial``.

    Raises
    ------
    DataError
        If a trial lies outside the file.
    """
    source = json.loads(entry.source)
    path = Path(source["path"])
    if path.name.endswith(".npy"):
        recording = read_npy(path, source["sfreq"], name=entry.name, patient=entry.patient, session=entry.session)
    elif path.name.endswith((".csv", ".csv.gz")):
        recording = read_csv(path, source["sfreq"], name=entry.name, patient=entry.patient, session=entry.session)
    else:
        recording = read_wfdb(path, name=entry.name, patient=entry.patient, session=entry.session)
    length = recording.duration_s
    spans = []
    for name, label, start, end in source["trials"]:
        first, last = start or 0.0, length if end is None else end
        if first >= length or last > length + 0.5 / recording.sfreq:
            trial = f"Trial {name or label!r}" if name or label else "A trial"
            raise DataError(
                f"{trial} lasts from {first:g} to {last:g} s, the file only {length:g} s",
                path,
                "Correct start and end in the table",
            )
        spans.append((first, min(last, length) - first, label))
    onset, duration, labels = zip(*spans, strict=True)
    events = Events.of("trial", onset, duration, labels)
    return Recording(**{**vars(recording), "events": events, "labels": entry.labels})
