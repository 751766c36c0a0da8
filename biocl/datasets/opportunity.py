"""OPPORTUNITY (UCI 226): four people's morning in a kitchen, five sensor units on the body, 30 Hz."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_files, uci
from biocl.datasets.imu import COPY, axes, bouts, missing_files, present, read_columns
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.recording import Events, Recording

SUBJECTS = ("S1", "S2", "S3", "S4")
RUNS = ("ADL1", "ADL2", "ADL3", "ADL4", "ADL5", "Drill")
LOCOMOTION = {1: "stand", 2: "walk", 4: "sit", 5: "lie"}
GESTURES = {
    406516: "open-door-1", 406517: "open-door-2", 404516: "close-door-1", 404517: "close-door-2",
    406520: "open-fridge", 404520: "close-fridge", 406505: "open-dishwasher", 404505: "close-dishwasher",
    406519: "open-drawer-1", 404519: "close-drawer-1", 406511: "open-drawer-2", 404511: "close-drawer-2",
    406508: "open-drawer-3", 404508: "close-drawer-3", 408512: "clean-table", 407521: "drink-from-cup",
    405506: "toggle-switch",
}  # fmt: skip
# Columns are counted from 0; each unit has acceleration, gyroscope, magnetometer, and a quaternion, left out.
DEVICES = {"back": 37, "right-upper-arm": 50, "right-lower-arm": 63, "left-upper-arm": 76, "left-lower-arm": 89}
COLUMNS = [first + offset for first in DEVICES.values() for offset in range(9)]
MILLISECONDS, LOCOMOTION_COLUMN, GESTURE_COLUMN, N_COLUMNS = 0, 243, 249, 250
SFREQ = 30.0
JUMP_S = 0.2
# The source gives the acceleration in thousandths of g, and no unit for the others.
CHANNELS = tuple(c for device in DEVICES for c in axes(device, ("acc", "mg"), ("gyr", "a.u."), ("mag", "a.u.")))


def entries(raw: Path) -> list[Entry]:
    """The 24 runs: five mornings and a drill of each subject.

    Raises
    ------
    DataError
        If a file is not there.
    """
    folder = raw / "dataset" if (raw / "dataset").is_dir() else raw
    runs = [(subject, run, folder / f"{subject}-{run}.dat") for subject in SUBJECTS for run in RUNS]
    missing = [path.name for *_, path in runs if present(path) is None]
    if missing:
        raise missing_files(missing, len(runs), folder)
    return [Entry(path.stem, subject, run, source=str(path)) for subject, run, path in runs]


def read(entry: Entry) -> Recording:
    """One run: five units, 45 channels, events ``locomotion`` and ``gesture``.

    Raises
    ------
    DataError
        If the file is missing or unreadable, or time goes backwards.
    """
    path = present(Path(entry.source))
    if path is None:
        raise DataError("The file is missing", entry.source, COPY)
    wanted = [MILLISECONDS, LOCOMOTION_COLUMN, GESTURE_COLUMN, *COLUMNS]
    table = read_columns(path, wanted, delimiter=" ", n_columns=N_COLUMNS, gaps=True).numbers
    unknown = np.isnan(table[:, :3]).any(axis=1)
    if unknown.any():
        raise DataError(f"Row {int(np.argmax(unknown)) + 1} has no time or no label", path, COPY)
    step = np.diff(table[:, 0]) / 1000
    if (step < 0).any():
        raise DataError(f"Time goes backwards in row {int(np.argmax(step < 0)) + 2}", path, COPY)
    jumps = int((step > JUMP_S).sum())
    locomotion, gesture = table[:, 1:3].astype(np.int64).T
    return Recording.from_array(
        entry.name,
        entry.patient,
        SFREQ,
        table[:, 3:],
        CHANNELS,
        session=entry.session,
        events=Events.join(
            bouts(locomotion, LOCOMOTION, SFREQ, "locomotion"), bouts(gesture, GESTURES, SFREQ, "gesture")
        ),
        labels=entry.labels,
        source=str(path),
        notes=[f"{jumps} steps in time are longer than {JUMP_S} s; rows are taken as even."] if jumps else [],
    )


OPPORTUNITY = Dataset(
    name="opportunity",
    modality="imu",
    version="2012-06-06",
    entries=entries,
    read=read,
    classes=(*LOCOMOTION.values(), *GESTURES.values()),
    splits=published_splits("opportunity"),
    defaults={
        "nan": "keep",
        "flat": "keep",
        "windows": {"kind": "sliding", "length_s": 2.0, "step_s": 1.0},
        "trials": {"kind": "event", "events": "locomotion"},
        "classes": list(LOCOMOTION.values()),
    },
    licence="CC BY 4.0",
    citation=(
        "Roggen D, Calatroni A, Rossi M, et al. Collecting complex activity datasets in highly rich networked sensor "
        "environments. INSS 2010, 233-240; Chavarriaga R, Sagha H, Calatroni A, et al. The Opportunity challenge: a "
        "benchmark database for on-body sensor-based activity recognition. Pattern Recognition Letters "
        "34(15):2033-2042, 2013"
    ),
    homepage="https://archive.ics.uci.edu/dataset/226/opportunity+activity+recognition",
    notes="Only the five units on the trunk and arms are read; for gestures set data.trials.events and data.classes.",
    download=partial(download_files, (uci(226, "opportunity+activity+recognition", inside="OpportunityUCIDataset"),)),
)
