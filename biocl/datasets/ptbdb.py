"""PTB Diagnostic ECG Database 1.0.0: myocardial infarction and healthy controls, 15 leads; and COMET's beats of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.download import download_physionet
from biocl.datasets.listing import header_comments, known
from biocl.datasets.ptb_beats import BEAT_STEPS, BEATS_PER_TRIAL, RATE_HZ, comet_trials
from biocl.datasets.published import published_splits
from biocl.errors import DataError
from biocl.signals.heartbeats import r_peaks
from biocl.signals.readers.wfdb_reader import read_wfdb
from biocl.signals.recording import Channel, Events, Recording

DIAGNOSES = {"Healthy control": "HC", "Myocardial infarction": "MI"}
CLASSES = ("HC", "MI")
# Left out by COMET, since the median interval between beats was longer than 300 steps at 250 Hz; patients 273 and
# 277 have no other recording.
# fmt: off
COMET_LEFT_OUT = frozenset({
    "s0085lre", "s0103lre", "s0108lre", "s0297lre", "s0298lre",
    "s0511_re", "s0527_re", "s0532_re", "s0533_re", "s0534_re",
})
# fmt: on


def entries(raw: Path) -> list[Entry]:
    """The recordings of healthy controls and of patients with a myocardial infarction.

    The other diagnoses of the database are not listed. A folder that holds a part of the patients is taken
    as it is.

    Raises
    ------
    DataError
        If there is no recording of these two groups, or a header does not say why the patient was admitted.
    """
    found = []
    for header in sorted(raw.glob("patient*/*.hea"), key=lambda path: (path.parent.name, path.name)):
        comments = header_comments(header)
        reason = comments.get("reason for admission")
        if reason is None:
            raise DataError(
                "This header does not say the reason for admission, which is the label",
                header,
                "Copy or download the record again",
            )
        if reason in DIAGNOSES:
            labels = {"label": DIAGNOSES[reason], "diagnosis": reason}
            labels |= {key: comments[key] for key in ("age", "sex") if known(comments.get(key))}
            if known(comments.get("ecg date")):
                labels["date"] = iso_date(comments["ecg date"])
            found.append(
                Entry(
                    name=header.stem,
                    patient=header.parent.name,
                    session=labels.get("date", "1"),
                    source=str(header.with_suffix("")),
                    labels=labels,
                )
            )
    if not found:
        raise DataError(
            "There is no recording of a healthy control or of a myocardial infarction here "
            "(patientNNN/*.hea, with the reason for admission in its comments)",
            raw,
            "Give the folder that holds patient001, patient002 … with --raw, or fetch it with --download",
        )
    return found


def iso_date(text: str) -> str:
    """``01/10/1990`` (day first) as ``1990-10-01``; anything else as it is."""
    parts = text.split("/")
    return f"{parts[2]}-{parts[1]:0>2}-{parts[0]:0>2}" if len(parts) == 3 else text


def read(entry: Entry) -> Recording:
    """One recording as it is in the files, with the beats that biocl finds in all leads together.

    The database has no beat annotations. Events of kind ``beat`` come from `biocl.signals.heartbeats.r_peaks`
    and carry no label, so that a window around a beat takes the recording's. Finding them reads the signal once.
    """
    recording = opened(entry)
    peaks = r_peaks(recording.signal(), recording.sfreq)
    beats = Events.of("beat", peaks / recording.sfreq)
    return replace(recording, events=beats, notes=(*recording.notes, "Beats were found by biocl, not by the source"))


def opened(entry: Entry) -> Recording:
    """One record of a patient."""
    return read_wfdb(entry.source, name=entry.name, patient=entry.patient, session=entry.session, labels=entry.labels)


def comet_entries(raw: Path) -> list[Entry]:
    """`entries` without the ten recordings that COMET left out."""
    return [entry for entry in entries(raw) if entry.name not in COMET_LEFT_OUT]


def read_comet(entry: Entry) -> Recording:
    """One recording as COMET's padded beats, one after the other; see `biocl.datasets.ptb_beats`.

    Ten beats of 300 steps are a pseudo-trial. The values have no unit: each lead of each pseudo-trial has mean 0
    and standard deviation 1. Time runs along the beats, not along the patient's clock.

    Raises
    ------
    DataError
        If fewer than ten beats are found.
    """
    recording = opened(entry)
    trials, interval = comet_trials(recording.signal().astype("float64"), recording.sfreq)
    if not len(trials):
        raise DataError(
            f"Fewer than {BEATS_PER_TRIAL} heartbeats were found in this recording",
            recording.where,
            "Leave the recording out: move its files elsewhere",
        )
    notes = list(recording.notes)
    if interval > BEAT_STEPS:
        notes.append(
            f"The median interval between beats is {interval:g} steps: only the middle {BEAT_STEPS} are kept of each"
        )
    return Recording.from_array(
        entry.name,
        entry.patient,
        RATE_HZ,
        trials.reshape(-1, trials.shape[2]),
        [Channel(channel.name, channel.kind, "a.u.", channel.device) for channel in recording.channels],
        session=entry.session,
        labels={**recording.labels, "median_rr_steps": f"{interval:g}"},
        source=recording.source,
        notes=notes,
    )


SPLITS: Mapping[str, Mapping[str, object]] = published_splits("ptbdb")

PTBDB = Dataset(
    name="ptbdb",
    modality="ecg",
    version="1.0.0",
    entries=entries,
    read=read,
    classes=CLASSES,
    splits=SPLITS,
    defaults={
        "resample_hz": RATE_HZ,
        "windows": {"kind": "event", "events": "beat", "before_s": 0.4, "after_s": 0.6},
        "trials": {"kind": "neighbours", "n_samples": BEATS_PER_TRIAL},
        "classes": list(CLASSES),
    },
    licence="ODC-By 1.0",
    citation=(
        "Bousseljot R, Kreiseler D, Schnabel A. Nutzung der EKG-Signaldatenbank CARDIODAT der PTB über das "
        "Internet. Biomedizinische Technik 40(s1):317, 1995; Goldberger AL et al. PhysioBank, PhysioToolkit, and "
        "PhysioNet. Circulation 101(23):e215-e220, 2000"
    ),
    homepage="https://physionet.org/content/ptbdb/1.0.0/",
    notes=(
        "Only healthy controls and patients with a myocardial infarction are listed. Beats are found by biocl, "
        "since the source marks none."
    ),
    download=partial(download_physionet, "ptbdb/1.0.0"),
)

PTBDB_COMET = replace(
    PTBDB,
    name="ptbdb-comet",
    entries=comet_entries,
    read=read_comet,
    defaults={
        "windows": {"kind": "sliding", "length_s": BEAT_STEPS / RATE_HZ, "step_s": BEAT_STEPS / RATE_HZ},
        "trials": {"kind": "neighbours", "n_samples": BEATS_PER_TRIAL},
        "classes": list(CLASSES),
    },
    notes=(
        "COMET's preprocessing: padded heartbeats in pseudo-trials of ten, its 198 patients and its split. R peaks "
        "are found by biocl's own detector and may differ from neurokit2's by a few samples or a beat."
    ),
)
