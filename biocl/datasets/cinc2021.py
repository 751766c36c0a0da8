"""PhysioNet/CinC Challenge 2021: 12-lead ECGs of several sources with SNOMED-CT diagnoses, without patient ids."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_physionet
from biocl.datasets.listing import header_comments, known
from biocl.errors import DataError
from biocl.signals.readers.wfdb_reader import read_wfdb
from biocl.signals.recording import Recording

# fmt: off
# The 30 scored diagnoses; codes that the challenge counts as one share a name.
SCORED = {
    "164889003": "AF", "164890007": "AFL", "6374002": "BBB", "426627000": "Brady",
    "733534002": "LBBB", "164909002": "LBBB", "713427006": "RBBB", "59118001": "RBBB",
    "270492004": "IAVB", "713426002": "IRBBB", "39732003": "LAD", "445118002": "LAnFB",
    "251146004": "LQRSV", "698252002": "NSIVCB", "426783006": "NSR", "284470004": "PAC", "63593006": "PAC",
    "10370003": "PR", "365413008": "PRWP", "427172004": "PVC", "17338001": "PVC", "164947007": "LPR",
    "111975006": "LQT", "164917005": "QAb", "47665007": "RAD", "427393009": "SA", "426177001": "SB",
    "427084000": "STach", "164934002": "TAb", "59931005": "TInv",
}
# fmt: on
NAMES = tuple(dict.fromkeys(SCORED.values()))
RHYTHMS = ("NSR", "SB", "STach", "SA", "AF", "AFL")
# What a record's name begins with -> where it comes from. Numbers of Chapman-Shaoxing end at 10646.
SOURCES = {"A": "CPSC", "Q": "CPSC-Extra", "I": "INCART", "S": "PTB", "HR": "PTB-XL", "E": "Georgia"}
LAST_CHAPMAN = 10_646


def entries(raw: Path) -> list[Entry]:
    """The records of a folder and the folders in it, by name.

    The files do not say whose they are: every record counts as a patient of its own.

    Raises
    ------
    DataError
        If there is none, two have one name, or a header gives no diagnoses (``Dx``).
    """
    headers = {path.stem: path for path in sorted(raw.rglob("*.hea"), key=lambda path: (path.stem, str(path)))}
    if not headers:
        raise DataError(
            "There are no records here (*.hea)",
            raw,
            "Give the folder of the challenge's training data with --raw, or fetch it with --download",
        )
    twice = [path for path in sorted(raw.rglob("*.hea")) if headers[path.stem] != path]
    if twice:
        raise DataError(f"Two records are named {twice[0].stem}", twice[0], "Give only one copy of the data")
    return [
        Entry(name, patient=name, source=str(path.with_suffix("")), labels=labels_of(path))
        for name, path in headers.items()
    ]


def labels_of(header: Path) -> dict[str, str]:
    """Diagnoses, age, sex and source of a record.

    ``label`` is the rhythm, where exactly one of six applies: NSR (sinus rhythm), SB and STach (sinus brady- and
    tachycardia), SA (sinus arrhythmia), AF and AFL (atrial fibrillation and flutter). Every scored diagnosis is
    also a label of its own, ``yes`` or ``no``, and ``snomed`` holds all codes, joined by ``+``.
    """
    comments = header_comments(header)
    if "dx" not in comments:
        raise DataError("This header gives no diagnoses (Dx)", header, "Copy or download the record again")
    codes = [code.strip() for code in comments["dx"].split(",") if known(code)]
    applies = {SCORED[code] for code in codes if code in SCORED}
    found = {name: "yes" if name in applies else "no" for name in NAMES}
    rhythm = [name for name in RHYTHMS if name in applies]
    if len(rhythm) == 1:
        found["label"] = rhythm[0]
    found["snomed"] = "+".join(codes)
    if known(comments.get("age")):
        found["age"] = comments["age"]
    if known(comments.get("sex")):
        found["sex"] = comments["sex"].lower()
    return found | {"source": source_of(header.stem)}


def source_of(name: str) -> str:
    """The database that a record comes from, by its name; ``unknown`` if the name says nothing."""
    prefix = name.rstrip("0123456789")
    if prefix == "JS":
        return "Chapman-Shaoxing" if int(name[2:] or 0) <= LAST_CHAPMAN else "Ningbo"
    return SOURCES.get(prefix, "unknown")


def read(entry: Entry) -> Recording:
    """One record: 12 leads. Some headers write the unit as ``mv``."""
    recording = read_wfdb(
        entry.source, name=entry.name, patient=entry.patient, session=entry.session, labels=entry.labels
    )
    channels = [
        replace(channel, unit="mV" if channel.unit.lower() == "mv" else channel.unit) for channel in recording.channels
    ]
    return recording.with_columns(range(len(channels)), channels)


CINC2021 = Dataset(
    name="cinc2021",
    modality="ecg",
    version="1.0.3",
    entries=entries,
    read=read,
    classes=RHYTHMS,
    defaults={
        "resample_hz": 500.0,
        "flat": "keep",  # leads that were not attached are in the published files
        "windows": {"kind": "sliding", "length_s": 10.0, "step_s": 10.0},
        "trials": {"kind": "recording"},
        "classes": list(RHYTHMS),
    },
    licence="CC BY 4.0",
    citation=(
        "Reyna MA, Sadr N, Perez Alday EA, et al. Will two do? Varying dimensions in electrocardiography: the "
        "PhysioNet/Computing in Cardiology Challenge 2021. Computing in Cardiology 48:1-4, 2021; Goldberger AL et "
        "al. PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101(23):e215-e220, 2000"
    ),
    homepage="https://physionet.org/content/challenge-2021/1.0.3/",
    notes=(
        "The files do not say whose they are, and some people have several records: results between records are "
        "not results between patients."
    ),
    patients="unknown",
    download=partial(download_physionet, "challenge-2021/1.0.3"),
)
