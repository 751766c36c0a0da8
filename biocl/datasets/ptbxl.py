"""PTB-XL 1.0.3: 21,799 ten-second 12-lead ECGs of 18,869 patients with up to five diagnostic superclasses each."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_physionet
from biocl.datasets.listing import Row, absent_note, known, none_present, read_listing
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.readers.wfdb_reader import read_wfdb
from biocl.signals.recording import Recording

CLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
N_RECORDS = 21_799
SEX = {"0": "male", "1": "female"}
COPIED = ("height", "weight", "nurse", "site", "device", "heart_axis", "pacemaker", "validated_by_human")
DATABASE, STATEMENTS = "ptbxl_database.csv", "scp_statements.csv"
NEEDED = ("ecg_id", "patient_id", "age", "sex", "recording_date", "scp_codes", "strat_fold", "filename_lr")


def entries(raw: Path, column: str = "filename_lr") -> list[Entry]:
    """The records of a folder, by number.

    Parameters
    ----------
    raw : Path
        Holds ``ptbxl_database.csv``, ``scp_statements.csv`` and ``records100`` or ``records500``.
    column : {"filename_lr", "filename_hr"}
        The files with 100 or those with 500 samples a second.

    Raises
    ------
    DataError
        If a table is missing or faulty, or none of the records it lists is there. Records that are not there
        are left out, which the first entry's notes say.
    """
    rows = read_listing(raw / DATABASE, (*NEEDED, column), "PTB-XL's list of records")
    superclass = superclasses(raw)
    rows.sort(key=lambda row: whole(row, "ecg_id", raw))
    absent = [row[column] for row in rows if not (raw / f"{row[column]}.hea").is_file()]
    if len(absent) == len(rows):
        raise none_present(absent, DATABASE, raw)
    left_out = frozenset(absent)
    found = [
        Entry(
            name=Path(row[column]).name,
            patient=str(whole(row, "patient_id", raw)),
            session=row["recording_date"],
            source=str(raw / row[column]),
            labels=labels_of(row, superclass, raw),
        )
        for row in rows
        if row[column] not in left_out
    ]
    return [replace(found[0], notes=absent_note(absent, len(rows), DATABASE)), *found[1:]]


def superclasses(raw: Path) -> dict[str, str]:
    """Diagnostic superclass of each diagnostic SCP code."""
    rows = read_listing(raw / STATEMENTS, ("", "diagnostic", "diagnostic_class"), "PTB-XL's list of SCP statements")
    return {row[""]: row["diagnostic_class"] for row in rows if row["diagnostic"] in ("1.0", "1")}


def whole(row: Row, column: str, raw: Path) -> int:
    """A whole number that the table may write as ``15709.0``."""
    try:
        return int(float(row[column]))
    except ValueError as error:
        raise DataError(
            f"Record {row['ecg_id']!r} has {column} {row[column]!r}", raw / DATABASE, "Copy or download it again"
        ) from error


def labels_of(row: Row, superclass: Mapping[str, str], raw: Path) -> dict[str, str]:
    """What is known of a record.

    ``label`` is there only where exactly one superclass applies. Every superclass is also a label of its own,
    ``yes`` or ``no``, and ``superclasses`` holds all that apply, joined by ``+``. A code counts whatever its
    likelihood, as in the data set's own example.
    """
    try:
        codes = ast.literal_eval(row["scp_codes"])
        applies = {superclass[code] for code in codes if code in superclass}
    except (ValueError, SyntaxError, TypeError) as error:
        raise DataError(
            f"Record {row['ecg_id']} has scp_codes {row['scp_codes'][:60]!r}", raw / DATABASE, "Copy it again"
        ) from error
    found = {name: "yes" if name in applies else "no" for name in CLASSES}
    if len(applies) == 1:
        found["label"] = next(iter(applies))
    found["superclasses"] = "+".join(name for name in CLASSES if name in applies)
    found["scp_codes"] = ", ".join(f"{code} {float(likelihood):g}" for code, likelihood in codes.items())
    found["fold"] = str(whole(row, "strat_fold", raw))
    if known(row["age"]):
        age = whole(row, "age", raw)
        found["age"] = ">89" if age == 300 else str(age)  # the source hides the age of the oldest
    if row["sex"] in SEX:
        found["sex"] = SEX[row["sex"]]
    return found | {key: row[key].strip() for key in COPIED if known(row.get(key))}


def read(entry: Entry) -> Recording:
    """One record: 12 leads, 10 seconds."""
    return read_wfdb(entry.source, name=entry.name, patient=entry.patient, session=entry.session, labels=entry.labels)


def fold_splits(found: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The official split ``folds-1-8-9-10`` where all ten folds are there; marked if they are not complete.

    Train is folds 1 to 8, validation fold 9, test fold 10. The source keeps all records of a patient in one fold.
    """
    patients = {fold: patients_of(found, [fold]) for fold in range(1, 11)}
    if not all(patients.values()):
        return {}
    fold = {"fold": 0, "train": patients_of(found, range(1, 9)), "validation": patients[9], "test": patients[10]}
    marks = [] if len(found) == N_RECORDS else [f"{len(found)} of PTB-XL's {N_RECORDS} records"]
    split = {"format": 1, "scope": "patient", "allow_shared": [], "marks": marks, "folds": [fold]}
    return {"folds-1-8-9-10": split}


def patients_of(found: Sequence[Entry], folds: Sequence[int]) -> list[str]:
    """Patients of some folds, by number."""
    names = {str(fold) for fold in folds}
    return sorted({entry.patient for entry in found if entry.labels["fold"] in names}, key=int)


PTBXL = Dataset(
    name="ptbxl",
    modality="ecg",
    version="1.0.3",
    entries=entries,
    read=read,
    classes=CLASSES,
    splits=published_splits("ptbxl"),
    splits_of=fold_splits,
    defaults={
        "windows": {"kind": "sliding", "length_s": 10.0, "step_s": 10.0},
        "trials": {"kind": "recording"},
        "classes": list(CLASSES),
    },
    licence="CC BY 4.0",
    citation=(
        "Wagner P, Strodthoff N, Bousseljot RD, et al. PTB-XL, a large publicly available electrocardiography "
        "dataset. Scientific Data 7:154, 2020; Goldberger AL et al. PhysioBank, PhysioToolkit, and PhysioNet. "
        "Circulation 101(23):e215-e220, 2000"
    ),
    homepage="https://physionet.org/content/ptb-xl/1.0.3/",
    notes=(
        "Records have several superclasses; the default windows keep those with exactly one. For a binary task "
        "on all records: windows: {label: MI, …} with classes: ['no', 'yes']."
    ),
    download=partial(download_physionet, "ptb-xl/1.0.3", only=(DATABASE, STATEMENTS, "records100/*")),
)

PTBXL_500 = replace(
    PTBXL,
    name="ptbxl-500",
    entries=partial(entries, column="filename_hr"),
    download=partial(download_physionet, "ptb-xl/1.0.3", only=(DATABASE, STATEMENTS, "records500/*")),
)
