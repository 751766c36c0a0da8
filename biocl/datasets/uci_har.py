"""UCI HAR (UCI 240): thirty people, six activities, a phone at the waist, 50 Hz."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_files, uci
from biocl.datasets.imu import COPY, axes, missing_files, present, read_columns
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.recording import Events, Recording

ACTIVITIES = ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")
PARTS = ("train", "test")
SIGNALS = [f"{sensor}_{axis}" for sensor in ("total_acc", "body_gyro") for axis in "xyz"]
LENGTH, STEP = 128, 64
SFREQ = 50.0


def entries(raw: Path) -> list[Entry]:
    """The subjects of both parts, one recording each.

    Raises
    ------
    DataError
        If a file is not there, or a subject stands in both parts.
    """
    folder = raw if (raw / "train").is_dir() else raw / "UCI HAR Dataset"
    files = [name for part in PARTS for name in files_of(part)]
    missing = [name for name in files if present(folder / name) is None]
    if missing:
        raise missing_files(missing, len(files), raw)
    subjects = {part: sorted(set(whole_numbers(folder, f"{part}/subject_{part}.txt").tolist())) for part in PARTS}
    both = set(subjects["train"]) & set(subjects["test"])
    if both:
        raise DataError(f"Subject {min(both)} stands in train and in test", folder, COPY)
    found = [
        Entry(f"subject{number}", f"subject{number}", source=str(folder / part), labels={"part": part})
        for part in PARTS
        for number in subjects[part]
    ]
    return sorted(found, key=lambda entry: int(entry.patient.removeprefix("subject")))


def files_of(part: str) -> list[str]:
    """Files of one part that are read."""
    signals = [f"{part}/Inertial Signals/{name}_{part}.txt" for name in SIGNALS]
    return [f"{part}/subject_{part}.txt", f"{part}/y_{part}.txt", *signals]


def whole_numbers(folder: Path, name: str) -> NDArray[np.int64]:
    """A file of one number a line."""
    path = present(folder / name)
    if path is None:
        raise DataError(f"The file {name} is missing", folder, COPY)
    values = read_columns(path, [0], delimiter=" ", n_columns=1).numbers[:, 0]
    if (values != np.rint(values)).any():
        raise DataError("This file holds a number that is not whole", path, COPY)
    return values.astype(np.int64)


@lru_cache(maxsize=2)
def load(folder: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Subjects, labels and windows (n_windows, 128, 6) of one part; kept, since each subject needs a few of them."""
    part = Path(folder).name
    subject, label, *signals = files_of(part)
    root = Path(folder).parent
    who, what = whole_numbers(root, subject), whole_numbers(root, label)
    windows = np.empty((len(who), LENGTH, len(signals)), dtype=np.float32)
    for number, name in enumerate(signals):
        path = present(root / name)
        if path is None:
            raise DataError(f"The file {name} is missing", root, COPY)
        rows = read_columns(path, range(LENGTH), delimiter=" ", n_columns=LENGTH).numbers
        if not len(rows) == len(who) == len(what):
            raise DataError(
                f"This file has {len(rows)} windows, {subject} {len(who)} and {label} {len(what)}", path, COPY
            )
        windows[:, :, number] = rows
    wrong = np.flatnonzero((what < 1) | (what > len(ACTIVITIES)))
    if len(wrong):
        raise DataError(f"Row {wrong[0] + 1} of {label} is {what[wrong[0]]}, no activity", root, COPY)
    return who, what, windows


def read(entry: Entry) -> Recording:
    """One subject: 6 channels, and an event ``trial`` for every stretch of one activity.

    The files hold windows of 128 steps, each half covered by the next one. Windows that follow each other with
    one label, the second half of one equal to the first half of the next, are joined again into a stretch.
    Stretches are set apart by one time step without values (NaN): how much time lies between is not told.
    Windows of 2.56 s at steps of 1.28 s inside the trials are then the published ones.

    Raises
    ------
    DataError
        If a file is missing or unreadable, or the files differ in their number of windows.
    """
    who, what, windows = load(entry.source)
    mine = np.flatnonzero(who == int(entry.patient.removeprefix("subject")))
    own, labels = windows[mine], what[mine]
    same = (own[:-1, STEP:] == own[1:, :STEP]).all(axis=(1, 2)) & (labels[:-1] == labels[1:]) & (np.diff(mine) == 1)
    first = np.concatenate([[0], np.flatnonzero(~same) + 1])
    last = np.append(first[1:], len(own)) - 1
    gap = np.full((1, own.shape[2]), np.nan, dtype=np.float32)
    pieces, onset, at = [], [], 0
    for begin, end in zip(first.tolist(), last.tolist(), strict=True):
        piece = np.concatenate([*own[begin : end + 1, :STEP], own[end, STEP:]])
        onset.append(at)
        pieces += [piece, gap]
        at += len(piece) + 1
    duration = (last - first + 2) * STEP
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ,
        np.concatenate(pieces[:-1]),
        axes("waist", ("acc", "g"), ("gyr", "rad/s")),
        events=Events.of(
            "trial", np.array(onset) / SFREQ, duration / SFREQ, [ACTIVITIES[code - 1] for code in labels[first]]
        ),
        labels=entry.labels,
        source=entry.source,
        notes=[f"{len(own)} overlapping windows were joined to {len(first)} stretches, set apart by a gap each."],
    )


UCI_HAR = Dataset(
    name="uci-har",
    modality="imu",
    version="1.0",
    entries=entries,
    read=read,
    classes=ACTIVITIES,
    splits=published_splits("uci-har"),
    defaults={
        "nan": "keep",
        "windows": {"kind": "sliding", "length_s": LENGTH / SFREQ, "step_s": STEP / SFREQ},
        "trials": {"kind": "event", "events": "trial"},
        "classes": list(ACTIVITIES),
    },
    licence="CC BY 4.0",
    citation=(
        "Anguita D, Ghio A, Oneto L, Parra X, Reyes-Ortiz JL. A public domain dataset for human activity recognition "
        "using smartphones. ESANN 2013, 437-442"
    ),
    homepage="https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones",
    notes="Neighbouring windows share half their samples: split by patient, never by window.",
    download=partial(download_files, (uci(240, "human+activity+recognition+using+smartphones"),)),
)
