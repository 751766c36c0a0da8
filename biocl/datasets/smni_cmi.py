"""UCI EEG Database, "large" set, training half: one-second trials of people with and without alcoholism."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import Remote, download_files
from biocl.errors import DataError
from biocl.signals.readers.smni_text import read_smni
from biocl.signals.recording import Recording

HALF = "SMNI_CMI_TRAIN"
FILE = re.compile(r"(co\d([ac])\d{7})\.rd\.(\d{3})(\.gz)?")
GROUP = {"a": "alcoholic", "c": "control"}
ARCHIVE = Remote("https://archive.ics.uci.edu/static/public/121/eeg+database.zip", unpack=(f"*{HALF}*",))


def entries(raw: Path) -> list[Entry]:
    """The trials of the people who are there; the fourth letter of a name tells the group.

    Raises
    ------
    DataError
        If there is no trial at all, or a file lies in another person's folder.
    """
    folder = raw / HALF if (raw / HALF).is_dir() else raw
    found: dict[str, Entry] = {}
    for path in folder.glob("co*/co*.rd.*"):
        match = FILE.fullmatch(path.name)
        if match is None:
            continue
        if match[1] != path.parent.name:
            raise DataError(f"A trial of {match[1]} lies in the folder of {path.parent.name}", path, "Move it back")
        name = f"{match[1]}.rd.{match[3]}"
        if name in found:
            raise DataError(f"Trial {name} is here twice, packed and unpacked", path, "Delete one of the two")
        found[name] = Entry(name, match[1], source=str(path), labels={"label": GROUP[match[2]]})
    if not found:
        raise DataError(
            "No trial co2a0000364/co2a0000364.rd.000.gz or the like is here",
            folder,
            f"Give {HALF}, or the folder that holds it, with --raw",
        )
    return [found[name] for name in sorted(found)]


def read(entry: Entry) -> Recording:
    """One trial, which must be of the person whose folder it lies in."""
    recording = read_smni(entry.source, name=entry.name, patient=entry.patient, labels=entry.labels)
    if recording.labels["subject"] != entry.patient:
        raise DataError(
            f"This trial is of {recording.labels['subject']} and named like one of {entry.patient}",
            entry.source,
            "Download the set again",
        )
    return recording


SMNI_CMI = Dataset(
    name="smni_cmi",
    modality="eeg",
    version="1999-10-13",
    entries=entries,
    read=read,
    classes=("control", "alcoholic"),
    defaults={
        "windows": {"kind": "trial", "length_s": 1.0},
        "trials": {"kind": "recording"},
        "classes": ["control", "alcoholic"],
        "flat": "keep",
    },
    licence="CC BY 4.0",
    citation=(
        "Begleiter H. EEG Database. UCI Machine Learning Repository, 1999. doi:10.24432/C5TS3D; Zhang XL, Begleiter H, "
        "Porjesz B, Wang W, Litke A. Event related potentials during object recognition tasks. Brain Research "
        "Bulletin 38(6):531-538, 1995"
    ),
    homepage="https://archive.ics.uci.edu/dataset/121/eeg+database",
    notes=(
        "Each trial is a recording and one window. Of the 64 channels 61 are EEG, X and Y are EOG and nd is the "
        "reference. Electrodes that gave nothing in a trial are flat there, and kept. The stimulus (S1, S2 match, "
        "S2 no match) is a label of its own, and an event."
    ),
    download=partial(download_files, (ARCHIVE,)),
)
