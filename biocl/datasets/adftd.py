"""ADFTD (OpenNeuro ds004504): resting EEG of 36 people with Alzheimer's disease, 23 with FTD and 29 without either."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from biocl.datasets.bids import participants
from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import Remote, download_files
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.readers.mne_reader import read_mne
from biocl.signals.recording import Recording

GROUP = {"A": "alzheimer", "F": "frontotemporal", "C": "control"}
KNOWN = {"age": "Age", "sex": "Gender", "mmse": "MMSE"}
N_PEOPLE = 88
SOURCE = "https://s3.amazonaws.com/openneuro.org/ds004504/"


def file_of(participant: str) -> str:
    """A participant's signals, as a path below the set's folder."""
    return f"{participant}/eeg/{participant}_task-eyesclosed_eeg.set"


def entries(raw: Path) -> list[Entry]:
    """Every participant of ``participants.tsv``; the table also counts where it lies above `raw` (``derivatives``).

    Raises
    ------
    DataError
        If the table or a file is missing, or a group is none of A, F and C.
    """
    table = raw / "participants.tsv"
    if raw.name == "derivatives" and not table.is_file():
        table = raw.parent / "participants.tsv"
    found = []
    for row in participants(table, "participant_id", ("Group",)):
        participant, group = row["participant_id"], row["Group"]
        if group not in GROUP:
            raise DataError(f"Participant {participant} is of group {group!r}", table, "The groups are A, F and C")
        known = {key: row[column] for key, column in KNOWN.items() if row.get(column)}
        path = raw / file_of(participant)
        found.append(Entry(participant, participant, source=str(path), labels={"label": GROUP[group], **known}))
    missing = [entry.source for entry in found if not Path(entry.source).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(found)} recordings of {table.name} are missing, first {Path(missing[0]).name}",
            raw,
            "Give the folder of the data set with --raw, or fetch it with --download",
        )
    return sorted(found, key=lambda entry: entry.name)


def read(entry: Entry) -> Recording:
    """One person's recording."""
    return read_mne(entry.source, name=entry.name, patient=entry.patient, labels=entry.labels)


REMOTES = (
    Remote(f"{SOURCE}participants.tsv"),
    *(
        Remote(SOURCE + file_of(f"sub-{number:03d}"), name=file_of(f"sub-{number:03d}"))
        for number in range(1, N_PEOPLE + 1)
    ),
)

ADFTD = Dataset(
    name="adftd",
    modality="eeg",
    version="ds004504",
    entries=entries,
    read=read,
    classes=("control", "frontotemporal", "alzheimer"),
    splits=published_splits("adftd"),
    defaults={
        "resample_hz": 256.0,
        "windows": {"kind": "sliding", "length_s": 1.0, "step_s": 0.5},
        "trials": {"kind": "stretch", "length_s": 10.0},
        "classes": ["control", "frontotemporal", "alzheimer"],
        "nan": "keep",
    },
    licence="CC0 1.0",
    citation=(
        "Miltiadous A, Tzimourta KD, Afrantou T, et al. A dataset of scalp EEG recordings of Alzheimer's disease, "
        "frontotemporal dementia and healthy subjects from routine EEG. Data 8(6):95, 2023"
    ),
    homepage="https://openneuro.org/datasets/ds004504",
    notes="Give RAW/derivatives as the folder for the signals that the authors filtered and cleaned (ASR, ICA).",
    download=partial(download_files, REMOTES),
)
