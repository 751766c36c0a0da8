"""The motor-imagery cohort holds the lateralised rhythm that was planted, and nothing else that tells the hand."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from biocl.datasets.registry import find_dataset
from biocl.datasets.synthetic_mi import (
    CLASSES,
    NAMES,
    SFREQ,
    MotorImagery,
    MotorImagerySpec,
    level_course,
    motor_imagery_dataset,
    positions,
    predicted_accuracy,
    trial_levels,
)
from biocl.signals.checks import check_recording, statistics

C3, C4 = NAMES.index("C3"), NAMES.index("C4")
MIRRORED = "Fz FC4 FC2 FCz FC1 FC3 C6 C4 C2 Cz C1 C3 C5 CP4 CP2 CPz CP1 CP3 P2 Pz P1 POz"
MIRROR = [NAMES.index(name) for name in MIRRORED.split(" ")]
Trials = tuple[np.ndarray, np.ndarray, np.ndarray]


def trials_of(**keys: Any) -> Trials:
    """Windows (n, n_chans, n_times), whether each is of the right hand, and whose it is."""
    cohort = MotorImagery(MotorImagerySpec(**keys))
    x, y, patient = [], [], []
    for number, entry in enumerate(cohort.entries()):
        recording = cohort.read(entry)
        trials = recording.events.of_kind("trial")
        start = np.round(trials.onset_s * SFREQ).astype(int)
        x.append(recording.signal()[start[:, None] + np.arange(1000)].transpose(0, 2, 1))
        y.append(trials.label == CLASSES[1])
        patient.append(np.full(len(start), number))
    return np.concatenate(x).astype(np.float64), np.concatenate(y), np.concatenate(patient)


def band(x: np.ndarray, low: float = 8.0, high: float = 13.0) -> np.ndarray:
    """The signal between two frequencies."""
    spectrum = np.fft.rfft(x, axis=-1)
    hz = np.fft.rfftfreq(x.shape[-1], 1 / SFREQ)
    spectrum[..., (hz < low) | (hz > high)] = 0
    return np.fft.irfft(spectrum, x.shape[-1], axis=-1)


def power_db(x: np.ndarray) -> np.ndarray:
    """Mu power of every trial and channel in dB."""
    return 10 * np.log10(band(x).var(axis=-1))


def leave_one_out(features: np.ndarray, y: np.ndarray, patient: np.ndarray) -> float:
    """Accuracy of logistic regression on patients that were left out, one after the other."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_score

    folds = LeaveOneGroupOut()
    return float(cross_val_score(LogisticRegression(), features, y, groups=patient, cv=folds).mean())


def difference_rule(data: Trials) -> float:
    """Accuracy of the mu power at C3 less that at C4."""
    x, y, patient = data
    power = power_db(x)
    return leave_one_out(power[:, [C3]] - power[:, [C4]], y, patient)


def spatial_patterns(data: Trials, *, aligned: bool) -> float:
    """Accuracy of six common spatial patterns, with each patient whitened by its own windows or not."""
    from scipy.linalg import eigh
    from sklearn.linear_model import LogisticRegression

    x, y, patient = data
    part = band(x, 8, 30)
    cov = part @ part.transpose(0, 2, 1) / part.shape[-1]
    if aligned:
        for one in np.unique(patient):
            values, vectors = np.linalg.eigh(cov[patient == one].mean(axis=0))
            whitener = vectors / np.sqrt(values) @ vectors.T
            cov[patient == one] = whitener @ cov[patient == one] @ whitener
    share = cov / np.trace(cov, axis1=1, axis2=2)[:, None, None]
    right = []
    for one in np.unique(patient):
        train = patient != one
        _, filters = eigh(share[train & ~y].mean(axis=0), share[train].mean(axis=0))
        ends = filters[:, [0, 1, 2, -3, -2, -1]]
        features = np.log(np.einsum("ck,ncd,dk->nk", ends, cov, ends))
        right.append(LogisticRegression().fit(features[train], y[train]).score(features[~train], y[~train]))
    return float(np.mean(right))


@pytest.fixture(scope="module")
def default() -> Trials:
    """The cohort as it is registered."""
    return trials_of()


@pytest.mark.parametrize("lateralisation", [1.5, 3.5])
def test_the_planted_effect_predicts_the_accuracy_on_new_patients(lateralisation: float) -> None:
    """648 trials: the interval is two and a half standard errors."""
    keys = {"lateralisation": lateralisation, "background": 0.0, "mixing": 0.0, "blinks": 0.0}
    predicted = predicted_accuracy(MotorImagerySpec(**keys))
    error = np.sqrt(predicted * (1 - predicted) / 648)
    assert difference_rule(trials_of(**keys)) == pytest.approx(predicted, abs=2.5 * error)


def test_the_difference_in_power_is_what_was_planted() -> None:
    x, y, _ = trials_of(lateralisation=3.5, background=0.0, mixing=0.0, blinks=0.0)
    power = power_db(x)
    for channel, contralateral in ((C3, y), (C4, ~y)):
        weaker = power[~contralateral, channel].mean() - power[contralateral, channel].mean()
        assert weaker == pytest.approx(3.5, abs=0.6)
    difference = power[:, C3] - power[:, C4]
    assert (difference[~y].mean() - difference[y].mean()) / 2 == pytest.approx(3.5, abs=0.4)


def test_the_default_cohort_leaves_room_between_methods(default: Trials) -> None:
    """Chance < raw power < aligned patterns < 1, and alignment helps patterns from one patient to another."""
    rule = difference_rule(default)
    raw, aligned = (spatial_patterns(default, aligned=aligned) for aligned in (False, True))
    assert 0.78 < rule < 0.88
    assert 0.84 < aligned < 0.93
    assert aligned > raw + 0.05


def test_without_mixing_alignment_has_nothing_to_gain() -> None:
    data = trials_of(mixing=0.0, signature=0.0)
    assert abs(spatial_patterns(data, aligned=True) - spatial_patterns(data, aligned=False)) < 0.04


def test_without_lateralisation_every_probe_is_at_chance() -> None:
    data = trials_of(lateralisation=0.0, n_trials=100)
    assert predicted_accuracy(MotorImagerySpec(lateralisation=0.0)) == 0.5
    assert 0.44 < difference_rule(data) < 0.56
    for aligned in (False, True):
        assert 0.44 < spatial_patterns(data, aligned=aligned) < 0.56


def test_electrodes_that_change_sides_make_the_other_hand() -> None:
    """Reflected left-hand trials have the band powers of right-hand trials, and not those of left-hand trials."""
    x, y, _ = trials_of(mixing=0.0, n_patients=3, n_trials=120)
    power = power_db(x)
    reflected = power[~y][:, MIRROR]
    error = np.sqrt(power[y].var(axis=0) / y.sum() + reflected.var(axis=0) / (~y).sum())
    gap = np.abs(reflected.mean(axis=0) - power[y].mean(axis=0)) / error
    assert gap.max() < 3.5
    assert np.abs(reflected.mean(axis=0) - power[~y].mean(axis=0))[[C3, C4]].min() > 5 * error[[C3, C4]].max()


def test_reflection_knows_the_cohort() -> None:
    """The view finds the partner of every electrode and class by name."""
    from biocl.signals.recording import Channel
    from biocl.views.signal import SignalInfo, mirror, mirror_classes

    signal = SignalInfo(SFREQ, tuple(Channel(name, "eeg", "uV") for name in NAMES), CLASSES)
    assert list(mirror(signal)) == MIRROR
    assert mirror_classes(CLASSES) == (1, 0)
    np.testing.assert_array_equal(positions()[MIRROR], positions() * [-1, 1])


def test_recordings_are_plausible_and_whole() -> None:
    dataset = find_dataset("synthetic-mi")
    entries = dataset.entries(None)  # type: ignore[arg-type]
    assert [entry.patient for entry in entries] == [f"P00{number}" for number in range(1, 10)]
    recording = pickle.loads(pickle.dumps(dataset.read))(entries[0])
    assert check_recording(recording, statistics(recording)) == []
    assert recording.sfreq == 250
    assert {channel.unit for channel in recording.channels} == {"uV"}
    trials = recording.events.of_kind("trial")
    assert np.unique(trials.label, return_counts=True)[1].tolist() == [36, 36]
    assert (trials.duration_s == 4).all()
    np.testing.assert_array_equal(trials.onset_s * SFREQ, np.round(trials.onset_s * SFREQ))
    rests = [after - before - 4 for before, after in pairwise(trials.onset_s)]
    assert 1.5 <= min(rests) < max(rests) <= 2.5
    assert trials.onset_s[-1] + 4 < recording.duration_s


def test_a_trial_lasts_at_its_level_and_rest_is_at_zero() -> None:
    spec = MotorImagerySpec(lateralisation=3.0, variation=0.0, common=0.0)
    level = trial_levels(spec, np.array([0, 1]), np.random.default_rng(0))
    np.testing.assert_array_equal(level, [[0, -3], [-3, 0]])  # columns: left and right source
    course = level_course(level, np.array([500, 2000]), 3500)
    assert (course[1, 500:1500] == -3).all()
    assert (course[0, 2000:3000] == -3).all()
    assert (course[0, :1500] == 0).all()
    assert (course[:, 1700:1800] == 0).all()
    assert -3 < course[1, 450] < 0


def test_blinks_are_largest_at_the_front(default: Trials) -> None:
    quiet = trials_of(blinks=0.0, n_patients=2)[0]
    change = (default[0][: len(quiet)] - quiet).std(axis=(0, 2))
    assert change[NAMES.index("Fz")] > 3
    assert change[NAMES.index("Fz")] > 4 * change[NAMES.index("POz")]
    gap = power_db(default[0][: len(quiet)]) - power_db(quiet)
    assert np.abs(gap).max() < 3.0


def test_a_patient_depends_on_seed_and_number_only() -> None:
    def signal(**keys: Any) -> np.ndarray:
        cohort = MotorImagery(MotorImagerySpec(n_trials=4, **keys))
        return cohort.read(cohort.entries()[1]).signal()

    first = signal(n_patients=2)
    np.testing.assert_array_equal(first, signal(n_patients=9))
    other = signal(n_patients=2, seed=1)
    assert other.shape != first.shape or not np.array_equal(other, first)
    names = [entry.name for entry in MotorImagery(MotorImagerySpec(n_patients=3)).entries()]
    assert names == ["P001", "P002", "P003"]


def test_other_sizes_are_another_data_set() -> None:
    one, two = (motor_imagery_dataset(MotorImagerySpec(seed=seed)) for seed in (0, 1))
    assert one.version != two.version
    with pytest.raises(ValidationError):
        MotorImagerySpec(n_trials=3)
    with pytest.raises(ValidationError):
        MotorImagerySpec(lateralisation=-1)
