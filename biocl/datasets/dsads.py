"""Daily and Sports Activities (UCI 256): eight people, nineteen activities, five sensor units at 25 Hz."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_files, uci
from biocl.datasets.imu import COPY, axes, missing_files, present, read_columns
from biocl.errors import DataError
from biocl.signals.recording import Recording

# In the order of the folders a01 to a19.
ACTIVITIES = (
    "sitting", "standing", "lying-back", "lying-right", "ascending-stairs", "descending-stairs",
    "standing-in-elevator", "moving-in-elevator", "walking-parking-lot", "walking-treadmill-flat",
    "walking-treadmill-inclined", "running-treadmill", "stepper", "cross-trainer", "cycling-horizontal",
    "cycling-vertical", "rowing", "jumping", "basketball",
)  # fmt: skip
DEVICES = ("torso", "right-arm", "left-arm", "right-leg", "left-leg")
N_SUBJECTS, N_SEGMENTS, N_ROWS = 8, 60, 125
SFREQ = 25.0


def entries(raw: Path) -> list[Entry]:
    """The 152 recordings: every activity of every subject, five minutes each.

    Raises
    ------
    DataError
        If one of the 9,120 files is not there.
    """
    folder = raw / "data" if (raw / "data").is_dir() else raw
    people = [f"p{number}" for number in range(1, N_SUBJECTS + 1)]
    files = [
        f"a{activity:02d}/{person}/s{segment:02d}.txt"
        for activity in range(1, len(ACTIVITIES) + 1)
        for person in people
        for segment in range(1, N_SEGMENTS + 1)
    ]
    missing = [name for name in files if present(folder / name) is None]
    if missing:
        raise missing_files(missing, len(files), folder)
    return [
        Entry(f"{person}-{label}", person, source=str(folder / f"a{number:02d}" / person), labels={"label": label})
        for number, label in enumerate(ACTIVITIES, 1)
        for person in people
    ]


def read(entry: Entry) -> Recording:
    """One activity of one subject: its 60 segments of 5 s joined again, 45 channels.

    Raises
    ------
    DataError
        If a segment is missing or unreadable, or has not 125 rows.
    """
    parts = []
    for segment in range(1, N_SEGMENTS + 1):
        path = present(Path(entry.source) / f"s{segment:02d}.txt")
        if path is None:
            raise DataError(f"Segment s{segment:02d}.txt is missing", entry.source, COPY)
        rows = read_columns(path, range(45), delimiter=",", n_columns=45).numbers
        if len(rows) != N_ROWS:
            raise DataError(f"This segment has {len(rows)} rows instead of {N_ROWS}", path, COPY)
        parts.append(rows.astype(np.float32))
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ,
        np.concatenate(parts),
        [c for device in DEVICES for c in axes(device, ("acc", "m/s2"), ("gyr", "rad/s"), ("mag", "a.u."))],
        labels=entry.labels,
        source=entry.source,
    )


DSADS = Dataset(
    name="dsads",
    modality="imu",
    version="2013-07-19",
    entries=entries,
    read=read,
    classes=ACTIVITIES,
    defaults={
        "windows": {"kind": "sliding", "length_s": 5.0, "step_s": 5.0},
        "trials": {"kind": "recording"},
        "classes": list(ACTIVITIES),
    },
    licence="CC BY 4.0",
    citation=(
        "Altun K, Barshan B, Tuncel O. Comparative study on classifying human activities with miniature inertial and "
        "magnetic sensors. Pattern Recognition 43(10):3605-3620, 2010"
    ),
    homepage="https://archive.ics.uci.edu/dataset/256/daily+and+sports+activities",
    notes="The segments of 5 s are consecutive pieces of five minutes, and are joined again.",
    download=partial(download_files, (uci(256, "daily+and+sports+activities"),)),
)
