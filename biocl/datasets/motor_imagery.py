"""The motor-imagery sets that MVCNet uses, through the moabb extra: the first session, two classes each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError, UsageError
from biocl.signals.readers.eeg_channels import describe
from biocl.signals.readers.mne_reader import read_samples
from biocl.signals.recording import Events, Recording

REFERENCE = (
    "Aristimunha B, Carrara I, Guetschel P, et al. Mother of all BCI Benchmarks (MOABB). Zenodo, "
    "doi:10.5281/zenodo.10034223"
)


@dataclass(frozen=True)
class Source:
    """Where a set is in moabb, and which part of it is used.

    Attributes
    ----------
    name, attribute, sign : str
        biocl's name, moabb's class, and the part of the environment variable that says where its files are.
    n_people, n_runs : int
        People, and runs of the first session that are used: the first ones.
    classes : tuple of str
        The two classes, in moabb's words.
    """

    name: str
    attribute: str
    sign: str
    n_people: int
    n_runs: int
    classes: tuple[str, str]


SOURCES = {
    source.name: source
    for source in (
        Source("bnci2014001", "BNCI2014_001", "BNCI", 9, 6, ("left_hand", "right_hand")),
        # Five runs of training, without the three that gave feedback.
        Source("bnci2014002", "BNCI2014_002", "BNCI", 14, 5, ("right_hand", "feet")),
        Source("bnci2015001", "BNCI2015_001", "BNCI", 12, 1, ("right_hand", "feet")),
        Source("zhou2016", "Zhou2016", "ZHOU 2016", 4, 2, ("left_hand", "right_hand")),
    )
}


def entries(name: str, raw: Path) -> list[Entry]:
    """The runs of the first session of everybody; moabb knows which files hold them.

    Raises
    ------
    DataError
        If the folder is not there or empty.
    """
    source = SOURCES[name]
    if not raw.is_dir() or not any(raw.iterdir()):
        raise DataError(
            f"There are no files of {source.attribute} here",
            raw,
            "Give the folder that moabb keeps its files in with --raw, or fetch them with --download",
        )
    return [
        Entry(
            f"subject-{person}-run-{run}",
            f"subject-{person}",
            source=str(raw),
            labels={"dataset": name, "subject": str(person), "run": str(run)},
        )
        for person in range(1, source.n_people + 1)
        for run in range(1, source.n_runs + 1)
    ]


def read(entry: Entry) -> Recording:
    """One run in uV. Imagery is an event of kind ``cue``, as long as moabb says and with its name of the class."""
    source, person, run = SOURCES[entry.labels["dataset"]], int(entry.labels["subject"]), int(entry.labels["run"])
    moabb_set, sessions = subject_data(source, person, entry.source)
    runs = list(next(iter(sessions.values())).values()) if sessions else []
    if len(runs) < run:
        raise DataError(
            f"The first session of {entry.patient} has {len(runs)} runs, and run {run} is wanted",
            entry.source,
            "Fetch the set again with --download",
        )
    raw = runs[run - 1]
    types = raw.get_channel_types()
    columns = [index for index, kind in enumerate(types) if kind in ("eeg", "eog")]
    described = [describe(raw.ch_names[index], "V", types[index]) for index in columns]
    factors = np.array([factor for _, factor in described])
    return Recording(
        name=entry.name,
        patient=entry.patient,
        sfreq=float(raw.info["sfreq"]),
        n_times=int(raw.n_times),
        channels=tuple(channel for channel, _ in described),
        read=partial(read_samples, Path(entry.source), raw, columns, factors),
        events=cues(raw, moabb_set.event_id, moabb_set.interval),
        labels=dict(entry.labels),
        source=f"{entry.source}, {entry.name}",
    )


def cues(raw: Any, event_id: dict[str, int], interval: tuple[float, float]) -> Events:
    """Imagery as events: moabb marks the beginning of a trial and says in `interval` when imagery begins and ends."""
    import mne

    name_of = {code: name for name, code in event_id.items()}
    if "stim" in raw.get_channel_types():
        found = mne.find_events(raw, shortest_event=0, verbose="ERROR")
        onset = (found[:, 0] - raw.first_samp) / float(raw.info["sfreq"])
        labels = [name_of.get(int(code), "") for code in found[:, 2]]
    else:
        onset = np.asarray(raw.annotations.onset, dtype=np.float64) - raw.first_time
        labels = [str(label) if str(label) in event_id else "" for label in raw.annotations.description]
    known = np.array([label != "" for label in labels], dtype=bool)
    seconds = float(interval[1] - interval[0])
    return Events.of("cue", np.asarray(onset)[known] + interval[0], seconds, [label for label in labels if label])


@lru_cache(maxsize=1)
def subject_data(source: Source, person: int, folder: str) -> tuple[Any, Any]:
    """moabb's object, and one person's sessions; kept until somebody else's are asked for."""
    moabb_set = moabb_dataset(source)
    with files_in(source, folder):
        try:
            return moabb_set, moabb_set.get_data(subjects=[person])[person]
        except Exception as error:
            raise DataError(
                f"moabb cannot read subject {person} of {source.attribute} ({type(error).__name__}: {error})",
                folder,
                "Fetch the set with --download, or give the folder that moabb keeps its files in with --raw",
            ) from error


def moabb_dataset(source: Source) -> Any:
    """moabb's object for a set.

    Raises
    ------
    UsageError
        If the extra is not installed.
    """
    try:
        datasets = import_module("moabb.datasets")
    except ImportError as error:
        raise UsageError(
            f"The data set {source.name} is read through moabb, which is not installed",
            fix="Install it with: pip install 'biocl[moabb]'",
        ) from error
    return getattr(datasets, source.attribute)()


@contextmanager
def files_in(source: Source, folder: str) -> Iterator[None]:
    """Let moabb look for its files in a folder, and nowhere in the user's settings."""
    name = f"MNE_DATASETS_{source.sign.upper()}_PATH"
    before = os.environ.get(name)
    os.environ[name] = folder
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def download(name: str, folder: Path) -> None:
    """Let moabb fetch a set into a folder."""
    source = SOURCES[name]
    moabb_set = moabb_dataset(source)
    folder.mkdir(parents=True, exist_ok=True)
    with files_in(source, str(folder)):
        moabb_set.download(path=str(folder))


def through_moabb(name: str, seconds: float, licence: str, citation: str, notes: str) -> Dataset:
    """The data set of a source."""
    source = SOURCES[name]
    return Dataset(
        name=name,
        modality="eeg",
        version=source.attribute,
        entries=partial(entries, name),
        read=read,
        classes=source.classes,
        defaults={
            "windows": {"kind": "event", "events": "cue", "before_s": 0.0, "after_s": seconds},
            "trials": {"kind": "event", "events": "cue"},
            "classes": list(source.classes),
        },
        licence=licence,
        citation=f"{citation}; {REFERENCE}",
        homepage=f"https://neurotechx.github.io/moabb/generated/moabb.datasets.{source.attribute}.html",
        notes=notes,
        download=partial(download, name),
    )


BNCI2014001 = through_moabb(
    "bnci2014001",
    4.0,
    "CC BY-ND 4.0",
    "Tangermann M, Müller KR, Aertsen A, et al. Review of the BCI Competition IV. Frontiers in Neuroscience 6:55, 2012",
    "Left and right hand of the first session (4 s after the cue); feet and tongue are left out.",
)
BNCI2014002 = through_moabb(
    "bnci2014002",
    5.0,
    "CC BY-ND 4.0",
    "Steyrl D, Scherer R, Faller J, Müller-Putz GR. Random forests in non-invasive sensorimotor rhythm brain-computer "
    "interfaces. Biomedizinische Technik 61(1):77-86, 2016",
    "Right hand and feet, the five training runs.",
)
BNCI2015001 = through_moabb(
    "bnci2015001",
    5.0,
    "CC BY-ND 4.0",
    "Faller J, Vidaurre C, Solis-Escalante T, Neuper C, Scherer R. Autocalibration and recurrent adaptation: towards a "
    "plug and play online ERD-BCI. IEEE Trans Neural Syst Rehabil Eng 20(3):313-319, 2012",
    "Right hand and feet of the first session.",
)
ZHOU2016 = through_moabb(
    "zhou2016",
    5.0,
    "CC BY 4.0",
    "Zhou B, Wu X, Lv Z, Zhang L, Guo X. A fully automated trial selection method for optimization of motor imagery "
    "based brain-computer interface. PLoS ONE 11(9):e0162657, 2016",
    "Left and right hand of the first session; feet are left out.",
)
