"""ECG-ID 1.0.0: 310 twenty-second ECGs of lead I, raw and filtered, of 90 people, for telling people apart."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_physionet
from biocl.datasets.listing import header_comments, known
from biocl.errors import DataError
from biocl.signals.readers.wfdb_reader import read_wfdb
from biocl.signals.recording import Recording

CLASSES = ("female", "male")


def entries(raw: Path) -> list[Entry]:
    """The records of every ``Person_NN`` folder, by person and number.

    A record is a header with a ``.dat`` file (``rec_1``, as published) or with a MATLAB file (``rec_1m``).

    Raises
    ------
    DataError
        If there is none, or a header's name is not ``rec_N``.
    """
    headers = list(raw.glob("Person_*/*.hea"))
    if not headers:
        raise DataError(
            "There are no records here (Person_NN/rec_N.hea)",
            raw,
            "Give the folder that holds Person_01, Person_02 … with --raw, or fetch it with --download",
        )
    return [entry_of(path) for path in sorted(headers, key=lambda path: (path.parent.name, number_of(path)))]


def number_of(header: Path) -> int:
    """7 of ``rec_7.hea`` and of ``rec_7m.hea``."""
    digits = header.stem.removeprefix("rec_").removesuffix("m")
    if not digits.isdigit():
        raise DataError("A record of ECG-ID is named rec_N, this one is not", header, "Move the file elsewhere")
    return int(digits)


def entry_of(header: Path) -> Entry:
    """One record; sex is the label, and the day of the recording the session."""
    comments = header_comments(header)
    labels = {"person": header.parent.name}
    labels |= {key: comments[key] for key in ("age", "sex") if known(comments.get(key))}
    if "sex" in labels:
        labels["label"] = labels["sex"].lower()
    if known(comments.get("ecg date")):
        labels["date"] = iso_date(comments["ecg date"])
    return Entry(
        name=f"{header.parent.name}-rec_{number_of(header)}",
        patient=header.parent.name,
        session=labels.get("date", "1"),
        source=str(header.with_suffix("")),
        labels=labels,
    )


def iso_date(text: str) -> str:
    """``07.12.2004`` (day first) as ``2004-12-07``; anything else as it is."""
    parts = text.split(".")
    return f"{parts[2]}-{parts[1]:0>2}-{parts[0]:0>2}" if len(parts) == 3 else text


def read(entry: Entry) -> Recording:
    """One record: lead I as recorded, and filtered by the source."""
    return read_wfdb(entry.source, name=entry.name, patient=entry.patient, session=entry.session, labels=entry.labels)


ECGID = Dataset(
    name="ecgid",
    modality="ecg",
    version="1.0.0",
    entries=entries,
    read=read,
    classes=CLASSES,
    defaults={
        "windows": {"kind": "sliding", "length_s": 2.0, "step_s": 2.0},
        "trials": {"kind": "recording"},
        "classes": list(CLASSES),
    },
    licence="ODC-By 1.0",
    citation=(
        "Lugovaya TS. Biometric human identification based on electrocardiogram. Master's thesis, Electrotechnical "
        "University LETI, Saint Petersburg, 2005; Goldberger AL et al. PhysioBank, PhysioToolkit, and PhysioNet. "
        "Circulation 101(23):e215-e220, 2000"
    ),
    homepage="https://physionet.org/content/ecgiddb/1.0.0/",
    notes=(
        "Sex is the label by default, since a person cannot be recognised across a split by patients. For "
        "recognising people: windows: {label: person, …}, classes: their names, and a split of scope time or trial."
    ),
    download=partial(download_physionet, "ecgiddb/1.0.0"),
)
