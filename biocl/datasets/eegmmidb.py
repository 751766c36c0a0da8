"""EEG Motor Movement/Imagery 1.0.0: 109 people move or imagine moving fists and feet, 64 electrodes, 14 runs each."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_physionet
from biocl.errors import DataError
from biocl.signals.readers.mne_reader import read_mne
from biocl.signals.recording import Events, Recording

FILE = re.compile(r"(S\d{3})R(\d{2})\.edf")
PEOPLE = tuple(f"S{number:03d}" for number in range(1, 110))
# Recorded at 128 Hz (088, 092, 100), or with annotations that do not fit the protocol (089).
LEFT_OUT = ("S088", "S089", "S092", "S100")
# What T1 and T2 mean depends on the run; T0 is rest, and in runs 1 and 2 the whole run.
BASELINE = {1: "eyes-open", 2: "eyes-closed"}
TASKS = {
    **dict.fromkeys((3, 7, 11), ("moved-left-fist", "moved-right-fist")),
    **dict.fromkeys((4, 8, 12), ("imagined-left-fist", "imagined-right-fist")),
    **dict.fromkeys((5, 9, 13), ("moved-both-fists", "moved-both-feet")),
    **dict.fromkeys((6, 10, 14), ("imagined-both-fists", "imagined-both-feet")),
}
CLASSES = (
    *("imagined-left-fist", "imagined-right-fist", "imagined-both-fists", "imagined-both-feet"),
    *("moved-left-fist", "moved-right-fist", "moved-both-fists", "moved-both-feet"),
    *("rest", "eyes-open", "eyes-closed"),
)


def entries(raw: Path) -> list[Entry]:
    """The runs that are there, of 105 people; see `LEFT_OUT`. A part of the set is enough.

    Raises
    ------
    DataError
        If there is no run at all, or a file lies in another person's folder.
    """
    found = []
    for path in raw.glob("S[0-9][0-9][0-9]/*.edf"):
        match = FILE.fullmatch(path.name)
        if match is None or match[1] not in PEOPLE or not 1 <= int(match[2]) <= 14:
            continue
        if match[1] != path.parent.name:
            raise DataError(f"A run of {match[1]} lies in the folder of {path.parent.name}", path, "Move it back")
        if match[1] not in LEFT_OUT:
            found.append(Entry(path.stem, match[1], source=str(path), labels={"run": str(int(match[2]))}))
    if not found:
        raise DataError(
            "None of the runs S001/S001R01.edf to S109/S109R14.edf is here",
            raw,
            "Give the folder that holds S001, S002 … with --raw, or fetch them with --download",
        )
    return sorted(found, key=lambda entry: entry.name)


def read(entry: Entry) -> Recording:
    """One run; what is shown to the person is an event of kind ``cue`` with the meaning of T0, T1 and T2."""
    recording = read_mne(entry.source, name=entry.name, patient=entry.patient, labels=entry.labels)
    channels = [replace(channel, name=channel.name.rstrip(".")) for channel in recording.channels]
    recording = recording.with_columns(range(len(channels)), channels)
    return replace(recording, events=cues(recording.events, int(entry.labels["run"])))


def cues(events: Events, run: int) -> Events:
    """Annotations T0, T1 and T2 as what they mean in a run."""
    first, second = TASKS.get(run, ("", ""))
    meaning = {"T0": BASELINE.get(run, "rest"), "T1": first, "T2": second}
    labels = np.array([meaning.get(label, "") for label in events.label], dtype=np.str_)
    known = labels != ""
    return Events.of("cue", events.onset_s[known], events.duration_s[known], labels[known])


EEGMMIDB = Dataset(
    name="eegmmidb",
    modality="eeg",
    version="1.0.0",
    entries=entries,
    read=read,
    classes=CLASSES,
    defaults={
        "windows": {"kind": "event", "events": "cue", "before_s": 0.0, "after_s": 4.0},
        "trials": {"kind": "event", "events": "cue"},
        "classes": ["imagined-left-fist", "imagined-right-fist"],
    },
    licence="ODC-By 1.0",
    citation=(
        "Schalk G, McFarland DJ, Hinterberger T, Birbaumer N, Wolpaw JR. BCI2000: a general-purpose brain-computer "
        "interface (BCI) system. IEEE Trans Biomed Eng 51(6):1034-1043, 2004; Goldberger AL et al. PhysioBank, "
        "PhysioToolkit, and PhysioNet. Circulation 101(23):e215-e220, 2000"
    ),
    homepage="https://physionet.org/content/eegmmidb/1.0.0/",
    notes=(
        "S088, S092 and S100 (128 Hz) and S089 (annotations) are left out. The default windows are the 4 s after "
        "the cue of imagined left and right fist (runs 4, 8 and 12)."
    ),
    download=partial(download_physionet, "eegmmidb/1.0.0", only=("S*/S*R*.edf",)),
)
