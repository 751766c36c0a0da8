"""Lobachevsky University Database 1.0.1: 200 ten-second 12-lead ECGs of 200 people, every wave of every lead marked."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_physionet
from biocl.datasets.listing import Row, absent_note, known, none_present, read_listing
from biocl.errors import DataError
from biocl.signals.readers.wfdb_annotations import read_marks
from biocl.signals.readers.wfdb_reader import read_wfdb
from biocl.signals.recording import Events, Recording

LISTING = "ludb.csv"
CLASSES = (
    "Sinus rhythm",
    "Sinus bradycardia",
    "Sinus tachycardia",
    "Sinus arrhythmia",
    "Irregular sinus rhythm",
    "Atrial fibrillation",
    "Atrial flutter, typical",
)
SEX = {"M": "male", "F": "female"}
# column of ludb.csv -> label of the recording
FINDINGS = {
    "Electric axis of the heart": "axis",
    "Conduction abnormalities": "conduction",
    "Extrasystolies": "extrasystoles",
    "Hypertrophies": "hypertrophy",
    "Cardiac pacing": "pacing",
    "Ischemia": "ischaemia",
    "Non-specific repolarization abnormalities": "repolarization",
    "Other states": "other",
}
# symbol of a wave's peak -> kind of event
WAVES = {"p": "p", "N": "qrs", "t": "t"}
BEAT_LEAD = "ii"


def entries(raw: Path) -> list[Entry]:
    """The records of a folder, by number; each is one person.

    Raises
    ------
    DataError
        If ``ludb.csv`` is missing or faulty, or none of its records is there. Records that are not there are
        left out, which the first entry's notes say.
    """
    rows = read_listing(raw / LISTING, ("ID", "Sex", "Age", "Rhythms", *FINDINGS), "LUDB's list of records")
    if odd := [row["ID"] for row in rows if not row["ID"].strip().isdigit()]:
        raise DataError(f"A record's ID is {odd[0]!r}", raw / LISTING, "Copy or download it again")
    rows.sort(key=lambda row: int(row["ID"]))
    names = [row["ID"].strip() for row in rows]
    absent = [name for name in names if not (raw / "data" / f"{name}.hea").is_file()]
    if len(absent) == len(rows):
        raise none_present(absent, LISTING, raw / "data")
    left_out = frozenset(absent)
    found = [
        Entry(name, patient=name, source=str(raw / "data" / name), labels=labels_of(row))
        for name, row in zip(names, rows, strict=True)
        if name not in left_out
    ]
    return [replace(found[0], notes=absent_note(absent, len(rows), LISTING)), *found[1:]]


def labels_of(row: Row) -> dict[str, str]:
    """Rhythm as ``label``; every other column with its lines joined by ``; ``, without repeating its title."""
    rhythms = lines(row["Rhythms"])
    found = {"rhythms": "; ".join(rhythms)}
    if rhythm := [name for name in rhythms if name in CLASSES]:
        found["label"] = rhythm[0]
    if known(row["Age"]):
        found["age"] = row["Age"].strip()
    if row["Sex"].strip() in SEX:
        found["sex"] = SEX[row["Sex"].strip()]
    for column, key in FINDINGS.items():
        if values := lines(row[column]):
            found[key] = "; ".join(value.removeprefix(f"{column}: ") for value in values)
    return found


def lines(text: str) -> list[str]:
    """The lines of a value, trimmed, without empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def read(entry: Entry) -> Recording:
    """One record with its waves.

    Events of the kinds ``p``, ``qrs`` and ``t`` last from a wave's onset to its end and are labelled with the
    lead (``ii``); ``p-peak``, ``qrs-peak`` and ``t-peak`` are its peaks. ``beat`` is every QRS peak of lead II,
    without a label, so that a window around a beat takes the recording's rhythm.

    Raises
    ------
    DataError
        If a lead's annotation file is missing or cut short.
    """
    recording = read_wfdb(
        entry.source, name=entry.name, patient=entry.patient, session=entry.session, labels=entry.labels
    )
    parts = [waves(Path(f"{entry.source}.{lead}"), lead, recording.sfreq) for lead in recording.channel_names]
    return replace(recording, events=Events.join(*parts))


def waves(path: Path, lead: str, sfreq: float) -> Events:
    """The marked waves of one lead: an onset ``(``, a peak ``p``, ``N`` or ``t``, and an end ``)``.

    A wave whose onset or end is not marked begins or ends at its peak.
    """
    marks = read_marks(path)
    symbol, at = np.concatenate([[""], marks.symbol, [""]]), np.concatenate([[0], marks.sample, [0]])
    peak = np.flatnonzero(np.isin(symbol, list(WAVES)))
    onset = np.where(symbol[peak - 1] == "(", at[peak - 1], at[peak])
    end = np.where(symbol[peak + 1] == ")", at[peak + 1], at[peak])
    kind = [WAVES[name] for name in symbol[peak].tolist()]
    parts = [
        Events.of(kind, onset / sfreq, (end - onset) / sfreq, lead),
        Events.of([f"{name}-peak" for name in kind], at[peak] / sfreq, 0.0, lead),
    ]
    if lead == BEAT_LEAD:
        parts.append(Events.of("beat", at[symbol == "N"] / sfreq))
    return Events.join(*(part for part in parts if len(part)))


LUDB = Dataset(
    name="ludb",
    modality="ecg",
    version="1.0.1",
    entries=entries,
    read=read,
    classes=CLASSES,
    defaults={
        "windows": {"kind": "sliding", "length_s": 10.0, "step_s": 10.0},
        "trials": {"kind": "recording"},
        "classes": list(CLASSES),
    },
    licence="ODC-By 1.0",
    citation=(
        "Kalyakulina AI, Yusipov II, Moskalenko VA, et al. LUDB: a new open-access validation tool for "
        "electrocardiogram delineation algorithms. IEEE Access 8:186181-186190, 2020; Goldberger AL et al. "
        "PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23):e215-e220, 2000"
    ),
    homepage="https://physionet.org/content/ludb/1.0.1/",
    notes="The rhythm is the label. Findings such as hypertrophy are labels of the recording.",
    download=partial(download_physionet, "ludb/1.0.1"),
)
