"""MHEALTH (UCI 319): ten people, twelve activities, sensors at chest, left ankle and right forearm, 50 Hz."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_files, uci
from biocl.datasets.imu import COPY, axes, bouts, missing_files, present, read_columns
from biocl.errors import DataError
from biocl.signals.recording import Channel, Recording

# In the order of the labels 1 to 12; 0 is anything else.
ACTIVITIES = (
    "standing", "sitting", "lying", "walking", "climbing-stairs", "waist-bends", "arm-elevation", "knee-bends",
    "cycling", "jogging", "running", "jump-front-back",
)  # fmt: skip
N_SUBJECTS, N_COLUMNS = 10, 24
SFREQ = 50.0
CHANNELS = (
    *axes("chest", ("acc", "m/s2")),
    Channel("chest-ecg-1", "ecg", "mV", "chest"),
    Channel("chest-ecg-2", "ecg", "mV", "chest"),
    *axes("ankle", ("acc", "m/s2"), ("gyr", "deg/s"), ("mag", "a.u.")),
    *axes("forearm", ("acc", "m/s2"), ("gyr", "deg/s"), ("mag", "a.u.")),
)


def entries(raw: Path) -> list[Entry]:
    """The ten recordings of a folder.

    Raises
    ------
    DataError
        If a file is not there.
    """
    files = [f"mHealth_subject{number}.log" for number in range(1, N_SUBJECTS + 1)]
    missing = [name for name in files if present(raw / name) is None]
    if missing:
        raise missing_files(missing, len(files), raw)
    return [
        Entry(f"subject{number}", f"subject{number}", source=str(raw / name)) for number, name in enumerate(files, 1)
    ]


def read(entry: Entry) -> Recording:
    """One subject: 23 channels, and an event ``activity`` for every stretch of one label.

    Raises
    ------
    DataError
        If the file is missing or unreadable, or holds an unknown label.
    """
    path = present(Path(entry.source))
    if path is None:
        raise DataError("The file is missing", entry.source, COPY)
    table = read_columns(path, range(N_COLUMNS), delimiter=" ", n_columns=N_COLUMNS).numbers
    codes = table[:, -1]
    wrong = ~np.isin(codes, np.arange(len(ACTIVITIES) + 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"Row {row + 1} has the unknown label {codes[row]:g}", path, COPY)
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ,
        table[:, :-1],
        CHANNELS,
        events=bouts(codes, dict(enumerate(ACTIVITIES, 1)), SFREQ, "activity"),
        labels=entry.labels,
        source=str(path),
    )


MHEALTH = Dataset(
    name="mhealth",
    modality="imu",
    version="2014-12-06",
    entries=entries,
    read=read,
    classes=ACTIVITIES,
    defaults={
        "windows": {"kind": "sliding", "length_s": 2.56, "step_s": 1.28},
        "trials": {"kind": "event", "events": "activity"},
        "classes": list(ACTIVITIES),
    },
    licence="CC BY 4.0",
    citation=(
        "Banos O, Garcia R, Holgado-Terriza JA, et al. mHealthDroid: a novel framework for agile development of "
        "mobile health applications. IWAAL 2014, 91-98; Banos O, Villalonga C, Garcia R, et al. Design, "
        "implementation and validation of a novel open framework for agile development of mobile health "
        "applications. BioMedical Engineering OnLine 14(S2):S6, 2015"
    ),
    homepage="https://archive.ics.uci.edu/dataset/319/mhealth+dataset",
    notes="Units are those of the data set's description; the magnetic field is in units of its own.",
    download=partial(download_files, (uci(319, "mhealth+dataset", inside="MHEALTHDATASET"),)),
)
