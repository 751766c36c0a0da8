"""PAMAP2 (UCI 231): nine people, eighteen activities, sensor units at hand, chest and ankle, 100 Hz."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_files, uci
from biocl.datasets.imu import COPY, axes, bouts, missing_files, present, read_columns
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.recording import Recording

ACTIVITIES = {
    1: "lying", 2: "sitting", 3: "standing", 4: "walking", 5: "running", 6: "cycling", 7: "nordic-walking",
    9: "watching-tv", 10: "computer-work", 11: "car-driving", 12: "ascending-stairs", 13: "descending-stairs",
    16: "vacuum-cleaning", 17: "ironing", 18: "folding-laundry", 19: "house-cleaning", 20: "playing-soccer",
    24: "rope-jumping",
}  # fmt: skip
PROTOCOL = tuple(name for code, name in ACTIVITIES.items() if code in (1, 2, 3, 4, 5, 6, 7, 12, 13, 16, 17, 24))
SUBJECTS = tuple(f"subject{number}" for number in range(101, 110))
DEVICES = {"hand": 3, "chest": 20, "ankle": 37}  # column of the unit's temperature, counted from 0
N_COLUMNS = 54
SFREQ = 100.0
EMPTIEST = 100  # time steps for each row; with more of them the time stamps are wrong
# Of each unit: acceleration at ±16 g, gyroscope, magnetometer. Left out: temperature, the acceleration at ±6 g,
# which saturates, and the orientation, which the source calls invalid; and the heart rate, at 9 Hz.
COLUMNS = [first + offset for first in DEVICES.values() for offset in (1, 2, 3, 7, 8, 9, 10, 11, 12)]
CHANNELS = tuple(c for device in DEVICES for c in axes(device, ("acc", "m/s2"), ("gyr", "rad/s"), ("mag", "uT")))


def entries(raw: Path) -> list[Entry]:
    """The nine recordings of the protocol, and the optional ones that are there.

    Raises
    ------
    DataError
        If a file of the protocol is not there.
    """
    folder = raw if (raw / "Protocol").is_dir() else raw / "PAMAP2_Dataset"
    files = [f"Protocol/{subject}.dat" for subject in SUBJECTS]
    missing = [name for name in files if present(folder / name) is None]
    if missing:
        raise missing_files(missing, len(files), raw)
    optional = [f"Optional/{subject}.dat" for subject in SUBJECTS if present(folder / f"Optional/{subject}.dat")]
    return [
        Entry(
            f"{Path(name).stem}-{Path(name).parent.name.lower()}",
            Path(name).stem,
            Path(name).parent.name.lower(),
            source=str(folder / name),
        )
        for name in (*files, *optional)
    ]


def read(entry: Entry) -> Recording:
    """One file: three units, 27 channels, an event ``activity`` for every stretch of one activity.

    Each row stands where its time stamp says; samples that the radio lost are gaps (NaN).

    Raises
    ------
    DataError
        If the file is missing or unreadable, time goes backwards, or an activity is unknown.
    """
    path = present(Path(entry.source))
    if path is None:
        raise DataError("The file is missing", entry.source, COPY)
    table = read_columns(path, [0, 1, *COLUMNS], delimiter=" ", n_columns=N_COLUMNS, gaps=True).numbers
    wrong = ~np.isin(table[:, 1], [0, *ACTIVITIES]) | np.isnan(table[:, 0])
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"Row {row + 1} has no time or the unknown activity {table[row, 1]:g}", path, COPY)
    step = np.rint((table[:, 0] - table[0, 0]) * SFREQ).astype(np.int64)
    back = np.flatnonzero(np.diff(step) < 0)
    if len(back):
        raise DataError(f"Time goes backwards in row {back[0] + 2}", path, COPY)
    if step[-1] > EMPTIEST * len(step):
        raise DataError(f"The {len(step)} rows span {step[-1] / SFREQ:.6g} s", path, COPY)
    values = np.full((step[-1] + 1, len(COLUMNS)), np.nan, dtype=np.float32)
    values[step] = table[:, 2:]
    codes = np.zeros(len(values), dtype=np.int64)
    codes[step] = table[:, 1]
    lost = len(values) - len(np.unique(step))
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ,
        values,
        CHANNELS,
        session=entry.session,
        events=bouts(codes, ACTIVITIES, SFREQ, "activity"),
        labels=entry.labels,
        source=str(path),
        notes=[f"{lost} time steps without a row are gaps."] if lost else [],
    )


PAMAP2 = Dataset(
    name="pamap2",
    modality="imu",
    version="2012-08-06",
    entries=entries,
    read=read,
    classes=tuple(ACTIVITIES.values()),
    splits=published_splits("pamap2"),
    defaults={
        "nan": "keep",
        "windows": {"kind": "sliding", "length_s": 5.12, "step_s": 1.0},
        "trials": {"kind": "event", "events": "activity"},
        "classes": list(PROTOCOL),
    },
    licence="CC BY 4.0",
    citation=(
        "Reiss A, Stricker D. Introducing a new benchmarked dataset for activity monitoring. ISWC 2012, 108-109; "
        "Reiss A, Stricker D. Creating and benchmarking a new dataset for physical activity monitoring. PETRA 2012"
    ),
    homepage="https://archive.ics.uci.edu/dataset/231/pamap2+physical+activity+monitoring",
    notes="subject109 did rope jumping only. The default classes are the twelve activities of the protocol.",
    download=partial(download_files, (uci(231, "pamap2+physical+activity+monitoring"),)),
)
