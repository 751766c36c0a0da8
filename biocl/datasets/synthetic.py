"""Synthetic cohorts whose truth is known: a class effect, a patient signature and a shortcut, each sized.

Every window has 32 *cues* that can be planted, by a vector that is constant over a trial::

    cues(patient, trial) = class_effect      * (y - 1/2)  * the first eight cues
                         + patient_signature              * the patient's own vector
                         + shortcut          * (2y - 1)   * the patient's own code

on top of which each window varies by one standard deviation. The class effect, the signatures and the codes
lie in subspaces orthogonal to one another, and each code is orthogonal to all other codes. Every patient has
as many trials of either class, so neither the signature nor a majority helps. Since a new patient's code is
orthogonal to all that a model has seen, the shortcut alone leaves it at chance there, while a split that puts
trials of one patient on both sides finds it.

Measured with logistic regression on the beats' millivolts (ECG) or on log band powers (EEG, IMU), 16 patients
of 20 trials of 10 windows, four folds, seeds 0-4: a shortcut of 1 alone scores .96 to .98 with folds of
trials and .45 to .53 with folds of patients; a class effect of 1 beside the signature scores .89 to .93 with
folds of patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.synthetic_signals import KINDS, MEAN_RR_S, Array, beats, rhythms
from biocl.datasets.synthetic_spec import MOST_CODES, SyntheticSpec
from biocl.files import digest
from biocl.randomness import stream
from biocl.signals.recording import Events, Recording

CLASSES = ("class-0", "class-1")
SHORTCUT_SD = 1.5
N_PLANTED, N_CLASS_CUES = 32, 8
# The class effect, eight cues at once, lies in the span of the other four rows.
FREE_ROWS = np.array([row for row in range(N_PLANTED) if row % N_CLASS_CUES])
VERSION = "1"


@dataclass(frozen=True)
class Cohort:
    """The two functions of a synthetic data set, bound to its sizes; picklable."""

    spec: SyntheticSpec

    def entries(self, raw: Path | None = None) -> list[Entry]:
        """One recording for each patient; there is no raw folder."""
        return [
            Entry(name, name, source=f"synthetic-{self.spec.kind} (seed {self.spec.seed})")
            for name in (f"P{number + 1:03d}" for number in range(self.spec.n_patients))
        ]

    def read(self, entry: Entry) -> Recording:
        """Make one patient's recording: the trials in order, as events ``trial``, and for ECG the beats."""
        spec, kind = self.spec, KINDS[self.spec.kind]
        patient = int(entry.name[1:]) - 1
        labels = trial_labels(spec, patient)
        cues = trial_cues(spec, patient, labels)
        rng = stream(spec.seed, "synthetic", spec.kind, "signal", patient)
        mean_rr_s = MEAN_RR_S * float(np.exp(0.06 * np.tanh(spec.patient_signature) * rng.standard_normal()))
        signals, onsets = [], []
        for row in cues:
            if spec.kind == "ecg":
                signal, onset = beats(np.tile(row, (spec.n_samples, 1)), rng, mean_rr_s)
            else:
                signal, onset = rhythms(kind, row, spec.n_samples, rng), np.empty(0)
            signals.append(signal)
            onsets.append(onset)
        names = np.array(CLASSES)[labels]
        starts = np.cumsum([0, *(len(signal) for signal in signals)]) / kind.sfreq
        events = [Events.of("trial", starts[:-1], np.diff(starts), names)]
        if spec.kind == "ecg":
            beat = np.concatenate([onset + start for onset, start in zip(onsets, starts[:-1], strict=True)])
            events.append(Events.of("beat", beat, 0.0, np.repeat(names, spec.n_samples)))
        return Recording.from_array(
            entry.name,
            entry.patient,
            kind.sfreq,
            np.concatenate(signals),
            kind.channels,
            events=Events.join(*events),
            labels=entry.labels,
            source=entry.source,
        )


def trial_labels(spec: SyntheticSpec, patient: int) -> NDArray[np.int64]:
    """The class (0 or 1) of every trial of a patient, as many of either."""
    labels = np.repeat([0, 1], spec.n_trials // 2)
    shuffled: NDArray[np.int64] = stream(spec.seed, "synthetic", spec.kind, "labels", patient).permutation(labels)
    return shuffled


def trial_cues(spec: SyntheticSpec, patient: int, labels: NDArray[np.int64]) -> Array:
    """What is planted in every trial, shape (n_trials, n_cues), in standard deviations of a window.

    Codes and signatures are built from the rows of a Hadamard matrix: orthogonal to one another, and of equal
    size in every cue, so that scaling the features does not undo the orthogonality.
    """
    rows = hadamard(N_PLANTED)[stream(spec.seed, "synthetic", spec.kind, "codes").permutation(FREE_ROWS)]
    codes, spare = rows[:MOST_CODES], rows[MOST_CODES:]
    mixture = stream(spec.seed, "synthetic", spec.kind, "signature", patient).standard_normal(len(spare))
    sign = 2.0 * labels[:, None] - 1.0
    planted = np.zeros((len(labels), N_PLANTED))
    planted[:, :N_CLASS_CUES] += spec.class_effect * sign / 2
    planted += spec.patient_signature * mixture @ spare / np.sqrt(len(spare))
    if spec.shortcut:
        planted += spec.shortcut * SHORTCUT_SD * sign * code_signs(spec, codes)[patient] * codes[patient]
    kind = KINDS[spec.kind]
    cues = np.zeros((len(labels), kind.n_cues))
    cues[:, list(kind.planted_cues)] = planted
    return cues


def code_signs(spec: SyntheticSpec, codes: Array) -> Array:
    """Signs of the patients' codes under which all cues tell the class equally badly over the cohort.

    With equal signs the first cue alone would tell it, since the matrix's first column is constant. Of many
    draws, this is the one whose column sums are the most alike in size.
    """
    rng = stream(spec.seed, "synthetic", spec.kind, "signs")
    draws = rng.choice([-1.0, 1.0], size=(4096, min(spec.n_patients, len(codes))))
    sums = np.square(draws @ codes[: draws.shape[1]])
    best: Array = draws[np.argmin(sums.std(axis=1))]
    return best


def hadamard(order: int) -> Array:
    """Sylvester's matrix: entry (i, j) is -1 to the number of ones that i and j share in binary."""
    matrix = np.ones((1, 1))
    while len(matrix) < order:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def synthetic_dataset(spec: SyntheticSpec) -> Dataset:
    """The data set of a synthetic cohort."""
    cohort = Cohort(spec)
    sample_s = KINDS[spec.kind].sample_s
    windows = (
        {"kind": "event", "events": "beat", "before_s": 0.3, "after_s": 0.5}
        if spec.kind == "ecg"
        else {"kind": "sliding", "length_s": sample_s, "step_s": sample_s}
    )
    return Dataset(
        name=f"synthetic-{spec.kind}",
        modality=spec.kind,
        # Cohorts of other sizes or effects are other data sets, so they never share a store.
        version=f"{VERSION}-{digest(spec.model_dump())[:12]}",
        entries=cohort.entries,
        read=cohort.read,
        classes=CLASSES,
        defaults={
            "resample_hz": None,
            "windows": windows,
            "trials": {"kind": "event", "events": "trial"},
            "classes": list(CLASSES),
        },
        licence="CC0 1.0",
        citation="Generated by biocl",
        notes="Made on the spot from a seed: class effect, patient signature and shortcut are known.",
    )


ECG = synthetic_dataset(SyntheticSpec(kind="ecg", n_patients=20, n_trials=16, n_samples=10))
EEG = synthetic_dataset(SyntheticSpec(kind="eeg", n_patients=16, n_trials=20))
IMU = synthetic_dataset(SyntheticSpec(kind="imu", n_patients=16, n_trials=20))
