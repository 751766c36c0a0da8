"""MIT-BIH Arrhythmia Database 1.0.0: 48 half-hour ECG records of 47 patients, every beat labelled."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_physionet
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.readers.wfdb_reader import read_wfdb
from biocl.signals.recording import Events, Recording

# fmt: off
RECORDS = (
    "100", "101", "102", "103", "104", "105", "106", "107", "108", "109", "111", "112", "113", "114",
    "115", "116", "117", "118", "119", "121", "122", "123", "124", "200", "201", "202", "203", "205",
    "207", "208", "209", "210", "212", "213", "214", "215", "217", "219", "220", "221", "222", "223",
    "228", "230", "231", "232", "233", "234",
)
# fmt: on
ONE_PERSON = "201+202"
PACED = ("102", "104", "107", "217")
WANTED = tuple(f"{record}.{suffix}" for record in RECORDS for suffix in ("hea", "dat", "atr"))

CLASSES = ("N", "S", "V", "F", "Q")
AAMI = {
    symbol: label
    for label, symbols in {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}.items()
    for symbol in symbols
}


def patient_of(record: str) -> str:
    """The person behind a record: 201 and 202 are one."""
    return ONE_PERSON if record in ("201", "202") else record


def entries(raw: Path) -> list[Entry]:
    """The 48 records of a folder.

    Raises
    ------
    DataError
        If a header is not there.
    """
    missing = [record for record in RECORDS if not (raw / f"{record}.hea").is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(RECORDS)} MIT-BIH records are missing, first {missing[0]}.hea",
            raw,
            "Give the folder of the record files with --raw, or fetch them with --download",
        )
    return [Entry(record, patient_of(record), source=str(raw / record)) for record in RECORDS]


def read(entry: Entry) -> Recording:
    """One record, with beats labelled by AAMI class.

    Leads differ between records, so the two channels are called ``lead-1`` and ``lead-2``: MLII comes first
    wherever it was recorded (46 records; 114 has it second in the file), V5 in 102 and 104. Which electrode
    each one is stands in the recording's labels.
    """
    recording = read_wfdb(entry.source, "atr", name=entry.name, patient=entry.patient, labels=entry.labels)
    names = recording.channel_names
    order = sorted(range(len(names)), key=lambda column: names[column] != "MLII")
    channels = [
        replace(recording.channels[column], name=f"lead-{number}", kind="ecg") for number, column in enumerate(order, 1)
    ]
    leads = {channel.name: names[column] for channel, column in zip(channels, order, strict=True)}
    recording = recording.with_columns(order, channels)
    return replace(recording, labels={**recording.labels, **leads}, events=aami(recording.events))


def aami(events: Events) -> Events:
    """Beat symbols to AAMI classes; a beat outside the map keeps no label."""
    symbols, inverse = np.unique(events.label, return_inverse=True)
    classes = np.array([AAMI.get(symbol, "") for symbol in symbols], dtype=np.str_)
    return replace(events, label=np.where(events.kind == "beat", classes[inverse], events.label))


MITDB = Dataset(
    name="mitdb",
    modality="ecg",
    version="1.0.0",
    entries=entries,
    read=read,
    classes=CLASSES,
    # De Chazal et al. 2004; the paced records are in no part, and 201 and 202 are one person.
    splits=published_splits("mitdb"),
    defaults={
        "resample_hz": 125.0,
        "windows": {"kind": "event", "events": "beat", "before_s": 0.3, "after_s": 0.5},
        "trials": {"kind": "neighbours", "n_samples": 10},
        "classes": ["N", "S", "V", "F"],
    },
    licence="ODC-By 1.0",
    citation=(
        "Moody GB, Mark RG. The impact of the MIT-BIH Arrhythmia Database. IEEE Eng in Med and Biol "
        "20(3):45-50, 2001; Goldberger AL et al. PhysioBank, PhysioToolkit, and PhysioNet. "
        "Circulation 101(23):e215-e220, 2000"
    ),
    homepage="https://physionet.org/content/mitdb/1.0.0/",
    notes=(
        "Records 201 and 202 are one person. 102, 104, 107 and 217 are paced and in no part of the published "
        "splits. Q (paced and unclassifiable beats) is left out of the default window table."
    ),
    download=partial(download_physionet, "mitdb/1.0.0", only=WANTED),
)
