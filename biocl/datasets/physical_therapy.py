"""Physical Therapy Exercises (UCI 730): five people, eight exercises, five sensor units at 25 Hz."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_files, uci
from biocl.datasets.imu import COPY, axes, missing_files, present, read_columns
from biocl.errors import DataError
from biocl.signals.recording import ChannelKind, Events, Recording

SUBJECTS = ("s1", "s2", "s3", "s4", "s5")
EXERCISES = ("e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8")
UNITS = ("u1", "u2", "u3", "u4", "u5")
SESSIONS = ("test", "template_session")
EXECUTIONS = {1: "correct", 2: "fast", 3: "low-amplitude"}
SFREQ = 25.0
# Xsens' own units: the magnetic field is relative to the earth's.
SENSORS: tuple[tuple[ChannelKind, str], ...] = (("acc", "m/s2"), ("gyr", "rad/s"), ("mag", "a.u."))
COLUMNS = [f"{sensor}_{axis}" for sensor, _ in SENSORS for axis in "xyz"]


def entries(raw: Path) -> list[Entry]:
    """The 80 sessions of a folder: every subject and exercise, once as test and once as template session.

    Raises
    ------
    DataError
        If a file is not there.
    """
    files = [
        *(f"{s}/{e}/{u}/{k}.txt" for s in SUBJECTS for e in EXERCISES for u in UNITS for k in SESSIONS),
        *(f"{s}/{e}/template_times.txt" for s in SUBJECTS for e in EXERCISES),
    ]
    missing = [name for name in files if present(raw / name) is None]
    if missing:
        raise missing_files(missing, len(files), raw)
    return [
        Entry(
            f"{subject}-{exercise}-{session}",
            subject,
            session,
            source=str(raw / subject / exercise),
            labels={"label": exercise, "exercise": exercise},
        )
        for subject in SUBJECTS
        for exercise in EXERCISES
        for session in SESSIONS
    ]


def read(entry: Entry) -> Recording:
    """One session: the five units side by side, 45 channels, since their files have a common time index.

    Template sessions hold three events of kind ``execution``: one repetition each done correctly, fast and with
    low amplitude.

    Raises
    ------
    DataError
        If a file is missing or unreadable, the units differ in length, or a time index does not count up by one.
    """
    folder = Path(entry.source)
    parts: list[NDArray[np.float32]] = []
    for unit in UNITS:
        path = needed(folder / unit / f"{entry.session}.txt")
        table = read_columns(path, ["time index", *COLUMNS], delimiter=";", n_columns=10).numbers
        wrong = np.flatnonzero(table[:, 0] != np.arange(1, len(table) + 1))
        if len(wrong):
            raise DataError(
                f"The time index of row {wrong[0] + 1} is {table[wrong[0], 0]:g}: it goes back or jumps", path, COPY
            )
        if parts and len(table) != len(parts[0]):
            raise DataError(
                f"Unit {unit} has {len(table)} rows and {UNITS[0]} has {len(parts[0])}: they share no time index",
                path,
                COPY,
            )
        parts.append(table[:, 1:].astype(np.float32))
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ,
        np.concatenate(parts, axis=1),
        [channel for unit in UNITS for channel in axes(unit, *SENSORS)],
        session=entry.session,
        events=executions(folder, len(parts[0])) if entry.session == "template_session" else None,
        labels=entry.labels,
        source=str(folder),
    )


def needed(path: Path) -> Path:
    """The file, plain or compressed."""
    found = present(path)
    if found is None:
        raise DataError(f"The file {path.name} is missing", path, COPY)
    return found


def executions(folder: Path, n_times: int) -> Events:
    """The chosen repetition of each execution type; the file counts time steps from 1, in halves."""
    path = needed(folder / "template_times.txt")
    table = read_columns(path, ["execution type", "start", "end"], delimiter=";", n_columns=3).numbers
    kind, start, end = table.T
    wrong = ~np.isin(kind, list(EXECUTIONS)) | (start < 1) | (end <= start) | (end > n_times)
    if wrong.any():
        raise DataError(f"Row {int(np.argmax(wrong)) + 1} is no stretch of the session's {n_times} rows", path, COPY)
    labels = [EXECUTIONS[int(code)] for code in kind]
    return Events.of("execution", (start - 1) / SFREQ, (end - start) / SFREQ, labels)


PHYSICAL_THERAPY = Dataset(
    name="physical-therapy",
    modality="imu",
    version="2022-05-07",
    entries=entries,
    read=read,
    classes=EXERCISES,
    defaults={
        "windows": {"kind": "sliding", "length_s": 3.0, "step_s": 3.0},
        "trials": {"kind": "recording"},
        "classes": list(EXERCISES),
    },
    licence="CC BY 4.0",
    citation=(
        "Yurtman A, Barshan B. Automated evaluation of physical therapy exercises using multi-template dynamic time "
        "warping on wearable sensor signals. Comput Methods Programs Biomed 117(2):189-207, 2014"
    ),
    homepage="https://archive.ics.uci.edu/dataset/730/physical+therapy+exercises+dataset",
    notes="The whole session carries its exercise's label, rest between repetitions included.",
    download=partial(download_files, (uci(730, "physical+therapy+exercises+dataset"),)),
)
