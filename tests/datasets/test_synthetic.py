"""The synthetic cohorts hold what was planted, and nothing else."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from biocl.datasets.synthetic import CLASSES, Cohort, hadamard, synthetic_dataset, trial_cues, trial_labels
from biocl.datasets.synthetic_signals import KINDS
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.signals.checks import check_recording, statistics
from biocl.signals.recording import Recording

KIND_NAMES = ("ecg", "eeg", "imu")


def windows(recording: Recording, spec: SyntheticSpec) -> np.ndarray:
    """The windows of a recording in order, shape (n_trials * n_samples, n_times, n_chans)."""
    kind = KINDS[spec.kind]
    if spec.kind == "ecg":
        onset_s = recording.events.of_kind("beat").onset_s
        start, length = np.round((onset_s - 0.304) * kind.sfreq).astype(int), 100
    else:
        length = round(kind.sample_s * kind.sfreq)
        start = np.arange(spec.n_trials * spec.n_samples) * length
    return recording.signal()[start[:, None] + np.arange(length)]


def features(cut: np.ndarray, spec: SyntheticSpec) -> np.ndarray:
    """The millivolts of a beat, or the log power of every band and channel."""
    if spec.kind == "ecg":
        return cut.reshape(len(cut), -1)
    kind = KINDS[spec.kind]
    power = np.abs(np.fft.rfft(cut - cut.mean(axis=1, keepdims=True), axis=1)) ** 2
    frequency = np.fft.rfftfreq(cut.shape[1], 1 / kind.sfreq)
    bands = [power[:, (frequency >= low) & (frequency < high)].mean(axis=1) for low, high, _ in kind.bands]
    return np.log(np.concatenate(bands, axis=1))


def scores(spec: SyntheticSpec) -> tuple[float, float]:
    """Accuracy of a logistic regression with folds of trials and with folds of patients."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    cohort = Cohort(spec)
    recordings = [cohort.read(entry) for entry in cohort.entries()]
    x = np.concatenate([features(windows(recording, spec), spec) for recording in recordings])
    labels = np.concatenate([recording.events.of_kind("trial").label for recording in recordings])
    y = np.repeat(labels, spec.n_samples)
    trial = np.repeat(np.arange(len(labels)), spec.n_samples)
    patient = trial // spec.n_trials
    # Millivolts share a unit; scaling each would blow up the samples in which nothing varies but noise.
    scaler = FunctionTransformer() if spec.kind == "ecg" else StandardScaler()
    model = make_pipeline(scaler, LogisticRegression(C=0.1, max_iter=1000))
    folds = GroupKFold(4, shuffle=True, random_state=0)
    by_trial, by_patient = (
        float(cross_val_score(model, x, y, groups=groups, cv=folds).mean()) for groups in (trial, patient)
    )
    return by_trial, by_patient


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_shortcut_serves_known_patients_only(kind: str, seed: int) -> None:
    spec = SyntheticSpec.model_validate({"kind": kind, "seed": seed, "class_effect": 0.0, "shortcut": 1.0})
    by_trial, by_patient = scores(spec)
    assert by_trial >= 0.95
    assert 0.45 <= by_patient <= 0.55


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_class_effect_serves_new_patients(kind: str, seed: int) -> None:
    _, by_patient = scores(SyntheticSpec.model_validate({"kind": kind, "seed": seed}))
    assert by_patient >= 0.80


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_without_anything_planted_all_is_chance(kind: str) -> None:
    spec = SyntheticSpec.model_validate({"kind": kind, "class_effect": 0.0})
    by_trial, by_patient = scores(spec)
    assert 0.45 <= by_patient <= 0.55
    # A patient's trials left out of one class make the other the majority, so this may fall below chance.
    assert by_trial <= 0.55


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_one_window_varies_by_the_stated_unit(kind: str) -> None:
    """The class effect d is the distance of the classes in standard deviations of a window, in a cue."""
    spec = SyntheticSpec.model_validate(
        {"kind": kind, "n_patients": 2, "n_trials": 60, "patient_signature": 0.0, "class_effect": 2.0}
    )
    recording = Cohort(spec).read(Cohort(spec).entries()[0])
    x = features(windows(recording, spec), spec)
    of_class = np.repeat(recording.events.of_kind("trial").label == CLASSES[1], spec.n_samples)
    difference = x[of_class].mean(axis=0) - x[~of_class].mean(axis=0)
    spread = np.sqrt((x[of_class].var(axis=0) + x[~of_class].var(axis=0)) / 2)
    largest = np.sort(np.abs(difference / spread))[-8:]
    assert 1.5 < largest.mean() < 2.5


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_signature_tells_patients_apart(kind: str) -> None:
    def spread(size: float) -> float:
        spec = SyntheticSpec.model_validate({"kind": kind, "patient_signature": size, "n_trials": 4})
        cohort = Cohort(spec)
        x = np.stack([features(windows(cohort.read(entry), spec), spec).mean(axis=0) for entry in cohort.entries()])
        return float(x.std(axis=0).mean())

    assert spread(2.0) > 2 * spread(0.0)


def test_a_patient_depends_on_seed_and_number_only() -> None:
    one, two = (Cohort(SyntheticSpec(n_patients=n, n_trials=4)) for n in (3, 9))
    first, again = (cohort.read(cohort.entries()[2]) for cohort in (one, two))
    np.testing.assert_array_equal(first.signal(), again.signal())
    other = Cohort(SyntheticSpec(n_patients=3, n_trials=4, seed=1))
    changed = other.read(other.entries()[2])
    assert changed.n_times != first.n_times or not np.array_equal(changed.signal(), first.signal())


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_recordings_are_plausible_and_whole(kind: str) -> None:
    spec = SyntheticSpec.model_validate({"kind": kind, "n_patients": 3, "n_trials": 6, "n_samples": 4})
    dataset = synthetic_dataset(spec)
    read = pickle.loads(pickle.dumps(dataset.read))
    for entry in dataset.entries(None):  # type: ignore[arg-type]
        recording = read(entry)
        assert check_recording(recording, statistics(recording)) == []
        trials = recording.events.of_kind("trial")
        assert sorted(trials.label.tolist()) == [CLASSES[0]] * 3 + [CLASSES[1]] * 3
        np.testing.assert_allclose(trials.onset_s[1:], (trials.onset_s + trials.duration_s)[:-1])
        assert trials.onset_s[-1] + trials.duration_s[-1] == pytest.approx(recording.duration_s)
        if kind == "ecg":
            beats = recording.events.of_kind("beat")
            inside = np.searchsorted(trials.onset_s, beats.onset_s, side="right") - 1
            assert np.bincount(inside).tolist() == [4] * 6
            np.testing.assert_array_equal(beats.label, trials.label[inside])
            peaks = recording.signal()[np.round(beats.onset_s * recording.sfreq).astype(int), 0]
            assert peaks.min() > 0.6
            rate = 60 / np.diff(beats.onset_s[:4])
            assert rate.min() > 45
            assert rate.max() < 90
            assert np.ptp(rate) > 0


def test_devices_of_the_imu_cohort() -> None:
    cohort = Cohort(SyntheticSpec(kind="imu", n_patients=2, n_trials=2))
    recording = cohort.read(cohort.entries()[0])
    assert recording.devices == ("wrist", "ankle")
    assert [channel.kind for channel in recording.channels] == (["acc"] * 3 + ["gyr"] * 3) * 2


def test_codes_are_orthogonal() -> None:
    spec = SyntheticSpec(n_patients=24, class_effect=0.0, patient_signature=0.0, shortcut=1.0)
    cues = []
    for patient in range(spec.n_patients):
        labels = trial_labels(spec, patient)
        assert labels.sum() == spec.n_trials // 2
        cues.append(trial_cues(spec, patient, labels)[labels == 1][0])
    gram = np.array(cues) @ np.array(cues).T
    np.testing.assert_allclose(gram, np.eye(24) * gram[0, 0], atol=1e-9)
    np.testing.assert_array_equal(hadamard(32) @ hadamard(32).T, 32 * np.eye(32))


def test_more_shortcuts_than_codes_are_refused() -> None:
    SyntheticSpec(n_patients=100)
    with pytest.raises(ValidationError, match="at most 24"):
        SyntheticSpec(n_patients=25, shortcut=1.0)
    with pytest.raises(ValidationError):
        SyntheticSpec(n_trials=3)
