"""TDBRAIN, the part that COMET uses: eyes-closed EEG of 25 people with Parkinson's disease and 25 healthy ones."""

from __future__ import annotations

import re
from pathlib import Path

from biocl.datasets.bids import participants
from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.readers.mne_reader import read_mne
from biocl.signals.recording import Recording

TABLES = ("TDBRAIN_participants_V2.tsv", "participants.tsv")
LABEL = {"PARKINSON": "parkinson", "HEALTHY": "healthy"}
COUNTS = {"PARKINSON": 25, "HEALTHY": 47}
# COMET numbers the 72 people in the table's order and leaves out healthy ones until both groups are equal.
NUMBERS = (*range(1, 26), *range(29, 54))
FILE = re.compile(r"(sub-\d+)_ses-(\d+)_task-restEC_eeg\.vhdr")


def numbered(table: Path) -> dict[str, tuple[int, str]]:
    """Participant to COMET's number and the indication, in the table's order.

    Raises
    ------
    DataError
        If the table does not hold 25 people with Parkinson's disease and 47 healthy ones: numbers made from
        another version of it would be others' numbers.
    """
    rows = participants(table, "participants_ID", ("indication",))
    kept = [(row["participants_ID"], row["indication"].upper()) for row in rows if row["indication"].upper() in LABEL]
    counts = {name: sum(indication == name for _, indication in kept) for name in COUNTS}
    if counts != COUNTS:
        raise DataError(
            f"This table names {counts['PARKINSON']} people with Parkinson's disease and {counts['HEALTHY']} healthy "
            "ones, and the version that the published numbers are made from 25 and 47",
            table,
            "Give the folder of the first release (TDBRAIN_participants_V2.tsv), or name your own split of your own "
            "folder with a CSV",
        )
    return {participant: (number, indication) for number, (participant, indication) in enumerate(kept, 1)}


def entries(raw: Path) -> list[Entry]:
    """All eyes-closed sessions of the 50 people, by number; the table says who is who.

    Raises
    ------
    DataError
        If the table is missing or another, or somebody has no recording.
    """
    table = next((raw / name for name in TABLES if (raw / name).is_file()), raw / TABLES[0])
    found, missing = [], []
    for participant, (number, indication) in numbered(table).items():
        if number not in NUMBERS:
            continue
        paths = sorted((raw / participant).glob("ses-*/eeg/*_task-restEC_eeg.vhdr"))
        matches = [(path, match) for path in paths if (match := FILE.fullmatch(path.name))]
        if not matches:
            missing.append(participant)
        for path, match in matches:
            if match[1] != participant or path.parts[-3] != f"ses-{match[2]}":
                raise DataError(f"A recording of {match[1]} lies in the folder of {participant}", path, "Move it back")
            labels = {"label": LABEL[indication], "participant": participant}
            found.append(Entry(f"{number:02d}-{match[2]}", f"{number:02d}", match[2], source=str(path), labels=labels))
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(NUMBERS)} people have no eyes-closed recording, first {missing[0]}",
            raw,
            "Give the folder of the data set (sub-…/ses-1/eeg/…_task-restEC_eeg.vhdr) with --raw",
        )
    return sorted(found, key=lambda entry: entry.name)


def read(entry: Entry) -> Recording:
    """One session."""
    return read_mne(entry.source, name=entry.name, patient=entry.patient, session=entry.session, labels=entry.labels)


TDBRAIN = Dataset(
    name="tdbrain",
    modality="eeg",
    version="V2",
    entries=entries,
    read=read,
    classes=("healthy", "parkinson"),
    splits=published_splits("tdbrain"),
    defaults={
        "resample_hz": 256.0,
        "windows": {"kind": "sliding", "length_s": 1.0, "step_s": 0.5},
        "trials": {"kind": "stretch", "length_s": 10.0},
        "classes": ["healthy", "parkinson"],
        "nan": "keep",
    },
    licence="ask Brainclinics for the terms",
    citation=(
        "van Dijk H, van Wingen G, Denys D, Olbrich S, van Ruth R, Arns M. The two decades brainclinics research "
        "archive for insights in neurophysiology (TDBRAIN) database. Scientific Data 9:333, 2022"
    ),
    homepage="https://brainclinics.com/resources/",
    notes=(
        "Patients are numbered as COMET numbers them: the order of the participants table. Numbers 26 to 28 and 54 "
        "to 72, all healthy, are left out."
    ),
    access="request",
)
