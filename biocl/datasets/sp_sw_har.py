"""Smartphone and smartwatch HAR: 23 people stand up, walk, turn and sit down with a phone and a watch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.imu import axes, bouts, missing_files, present, read_columns
from biocl.datasets.listing import Row, absent_note, none_present, read_listing
from biocl.errors import DataError
from biocl.signals.clock import Aligned, TimedSignal, align
from biocl.signals.recording import Events, Recording

DEVICES = {"phone": "sp", "watch": "sw"}
CLASSES = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
SFREQ = 100.0
SHORTEST_S = 0.03
"""A shorter stretch of one label between two others is a few rows labelled late."""
COLUMNS = [f"{axis}_{sensor}" for sensor in ("acc", "gyro") for axis in "xyz"]
SUBJECT_INFO = ("age", "gender", "height", "weight", "dominant_hand")
EXECUTION_INFO = ("orientation", "first_turn", "second_turn")


def entries(raw: Path) -> list[Entry]:
    """The executions of all subjects that are there.

    A subject without a folder is left out, which the first entry's notes say; a subject with one has all
    executions that ``executions_info.csv`` lists.

    Raises
    ------
    DataError
        If a list is missing, no subject is there, or a file of a subject is not there.
    """
    folder = raw / "DATA" if (raw / "DATA").is_dir() else raw
    subjects: dict[str, Row] = {
        row["subject_id"]: row
        for row in read_listing(folder / "subjects_info.csv", ("subject_id", *SUBJECT_INFO), "The list of subjects")
    }
    rows = read_listing(folder / "executions_info.csv", ("execution_id", *EXECUTION_INFO), "The list of executions")
    rows.sort(key=lambda row: row["execution_id"])
    here = [row for row in rows if (folder / subject_of(row)).is_dir()]
    absent = [row["execution_id"] for row in rows if row not in here]
    if not here:
        raise none_present(absent, "executions_info.csv", folder)
    unknown = [subject_of(row) for row in here if subject_of(row) not in subjects]
    if unknown:
        raise DataError(f"Subject {unknown[0]} is not in the list", folder / "subjects_info.csv", "Copy it again")
    files = [f"{subject_of(row)}/{row['execution_id']}_{short}.csv" for row in here for short in DEVICES.values()]
    missing = [name for name in files if present(folder / name) is None]
    if missing:
        raise missing_files(missing, len(files), folder)
    found = [
        Entry(
            row["execution_id"],
            subject_of(row),
            source=str(folder / subject_of(row) / row["execution_id"]),
            labels={
                **{key: subjects[subject_of(row)][key] for key in SUBJECT_INFO},
                **{key: row[key] for key in EXECUTION_INFO},
            },
        )
        for row in here
    ]
    return [replace(found[0], notes=absent_note(absent, len(rows), "executions_info.csv")), *found[1:]]


def subject_of(row: Row) -> str:
    """``s01`` of ``s01_07``."""
    return row["execution_id"].partition("_")[0]


def read(entry: Entry) -> Recording:
    """One execution: phone and watch at 100 Hz on the clock of their time stamps, 12 channels.

    Labels become events of kind ``activity``, from the phone's rows, which are the watch's to within some
    hundredths of a second.

    Raises
    ------
    DataError
        If a file is missing or unreadable, or its clock makes no sense.
    """
    signals, labels = [], []
    for device, short in DEVICES.items():
        path = present(Path(f"{entry.source}_{short}.csv"))
        if path is None:
            raise DataError(f"The {device}'s file is missing", f"{entry.source}_{short}.csv", "Copy it again")
        table = read_columns(path, [*COLUMNS, "timestamp"], delimiter=",", n_columns=8, text=["label"])
        words = table.text["label"]
        wrong = np.flatnonzero(~np.isin(words, CLASSES))
        if len(wrong):
            raise DataError(f"Row {wrong[0] + 1} has the label {str(words[wrong[0]])!r}", path, "Copy it again")
        channels = axes(device, ("acc", "m/s2"), ("gyr", "rad/s"))
        signals.append(
            TimedSignal(device, table.numbers[:, -1] / 1000, table.numbers[:, :-1].astype(np.float32), channels)
        )
        labels.append(words)
    found = align(signals, SFREQ, where=entry.source)
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ,
        found.values,
        found.channels,
        events=activities(found, labels[0]),
        labels=entry.labels,
        source=entry.source,
        notes=found.notes,
    )


def activities(found: Aligned, labels: NDArray[np.str_]) -> Events:
    """Stretches of one label on the grid; a stretch of a few rows belongs to what follows it."""
    clock = found.clocks[0]
    time = clock.times.time_s - clock.times.time_s[0] + clock.start_s - found.start_s
    words = labels[clock.times.rows]
    begin = np.flatnonzero(np.concatenate([[True], words[1:] != words[:-1]]))
    lasts = np.diff(np.append(time[begin], time[-1]))
    begin = begin[lasts >= SHORTEST_S]
    begin = begin[np.concatenate([[True], words[begin[1:]] != words[begin[:-1]]])]
    # Each time step has the label of the last stretch that began before it.
    number = np.searchsorted(time[begin], np.arange(len(found.values)) / found.sfreq, side="right") - 1
    return bouts(words[begin][np.maximum(number, 0)], {name: name for name in CLASSES}, found.sfreq, "activity")


SP_SW_HAR = Dataset(
    name="sp-sw-har",
    modality="imu",
    version="1.0.0",
    entries=entries,
    read=read,
    classes=CLASSES,
    defaults={
        "nan": "keep",
        "windows": {"kind": "sliding", "length_s": 1.0, "step_s": 0.5},
        "trials": {"kind": "event", "events": "activity"},
        "classes": list(CLASSES),
    },
    licence="CC BY 4.0",
    citation=(
        "Matey-Sanz M, Casteleyn S, Granell C. Dataset of inertial measurements of smartphones and smartwatches for "
        "human activity recognition. Data in Brief 51:109809, 2023"
    ),
    homepage="https://doi.org/10.5281/zenodo.8398688",
    notes="Time stamps of the phone come in bursts; both devices are put on one clock at 100 Hz.",
)
