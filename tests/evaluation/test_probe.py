"""The probe is scikit-learn's; its regularisation is chosen between patients."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from biocl.errors import DataError
from biocl.evaluation.probe import fit_probe, patient_folds
from biocl.evaluation.spec import ProbeSpec


def cohort(n: int = 400, n_features: int = 6, n_classes: int = 3, n_patients: int = 8, seed: int = 0):
    rng = np.random.default_rng(seed)
    y, patient = rng.integers(0, n_classes, n), rng.integers(0, n_patients, n)
    centres = rng.normal(size=(n_classes, n_features))
    x = centres[y] + rng.normal(size=(n, n_features)) + 0.5 * rng.normal(size=(n_patients, n_features))[patient]
    return 3 * x + 5, y, patient


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("weight", ["balanced", "none"])
def test_equal_to_scikit_learn(n_classes: int, weight: str) -> None:
    x, y, patient = cohort(n_classes=n_classes)
    spec = ProbeSpec(c=0.3, class_weight=weight, tolerance=1e-8)
    probe = fit_probe(x[:300], y[:300], patient[:300], n_classes=n_classes, spec=spec)
    single = LogisticRegression(C=0.3, class_weight=None if weight == "none" else weight, tol=1e-8, max_iter=1000)
    expected = make_pipeline(StandardScaler(), single).fit(x[:300], y[:300]).predict_proba(x[300:])
    np.testing.assert_allclose(probe.predict_proba(x[300:]), expected, atol=1e-6)


def test_reference_probe_is_one_vs_rest() -> None:
    x, y, patient = cohort()
    spec = ProbeSpec(kind="one-vs-rest", class_weight="none", c=1.0, tolerance=1e-8)
    probe = fit_probe(x[:300], y[:300], patient[:300], n_classes=3, spec=spec)
    model = OneVsRestClassifier(LogisticRegression(C=1.0, tol=1e-8, max_iter=1000))
    expected = make_pipeline(StandardScaler(), model).fit(x[:300], y[:300]).predict_proba(x[300:])
    np.testing.assert_allclose(probe.predict_proba(x[300:]), expected, atol=1e-6)
    assert probe.arrays()["coef"].shape == (3, 6)


def test_arrays_are_enough_to_predict() -> None:
    x, y, patient = cohort()
    probe = fit_probe(x, y, patient, n_classes=3, spec=ProbeSpec())
    arrays = probe.arrays()
    logits = (x - arrays["mean"]) / arrays["scale"] @ arrays["coef"].T + arrays["intercept"]
    proba = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(proba / proba.sum(1, keepdims=True), probe.predict_proba(x), atol=1e-12)


def test_deterministic_and_every_candidate_scored() -> None:
    x, y, patient = cohort()
    first, second = (fit_probe(x, y, patient, n_classes=3, spec=ProbeSpec(), seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(x), second.predict_proba(x))
    assert list(first.inner_scores) == ProbeSpec().c_grid
    assert first.c in first.inner_scores
    assert "5 patient-wise inner folds of 8 patients" in first.chosen


def test_a_patient_signature_is_regularised_away() -> None:
    """60 features that name the patient fit the training patients perfectly and help nobody else."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(12), 40)
    y = patient % 2
    signature = rng.normal(size=(12, 60))[patient] + 0.05 * rng.normal(size=(480, 60))
    effect = (2 * y - 1)[:, None] * 0.6 + rng.normal(size=(480, 1))
    probe = fit_probe(np.hstack([effect, signature]), y, patient, n_classes=2, spec=ProbeSpec())
    # Judged within patients, the weakest penalty would win.
    assert max(probe.inner_scores.values()) < 0.95
    assert probe.c < 1.0


def test_thinned_choice_stays_near_the_full_one() -> None:
    x, y, patient = cohort(n=3000)
    full = fit_probe(x, y, patient, n_classes=3, spec=ProbeSpec())
    thin = fit_probe(x, y, patient, n_classes=3, spec=ProbeSpec(max_inner_rows=300))
    for c, score in full.inner_scores.items():
        assert thin.inner_scores[c] == pytest.approx(score, abs=0.05)


@pytest.mark.parametrize("n_patients", [2, 3])
def test_few_patients_are_left_out_one_by_one(n_patients: int) -> None:
    x, y, patient = cohort(n_patients=n_patients)
    probe = fit_probe(x, y, patient, n_classes=3, spec=ProbeSpec())
    assert f"{n_patients} patient-wise inner folds of {n_patients} patients" in probe.chosen


def test_one_patient_takes_the_default() -> None:
    x, y, _ = cohort()
    probe = fit_probe(x, y, np.zeros(len(y)), n_classes=3, spec=ProbeSpec(default_c=0.05))
    assert (probe.c, probe.inner_scores) == (0.05, {})
    assert "one labelled patient" in probe.chosen


def test_classes_that_were_not_seen_have_probability_zero() -> None:
    x, y, patient = cohort(n_classes=2)
    proba = fit_probe(x, 2 * y, patient, n_classes=4, spec=ProbeSpec()).predict_proba(x)
    assert proba.shape == (len(x), 4)
    assert (proba[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_a_single_class_is_predicted_for_sure() -> None:
    x, _, patient = cohort()
    probe = fit_probe(x, np.ones(len(x)), patient, n_classes=3, spec=ProbeSpec())
    np.testing.assert_array_equal(probe.predict_proba(x[:2]), [[0, 1, 0]] * 2)
    assert list(probe.arrays()) == ["shares"]


def test_folds_keep_patients_together_and_spread_rare_classes() -> None:
    patient = np.repeat(np.arange(10), 30)
    y = np.zeros(300, dtype=int)
    for rare in (1, 4, 8, 9):
        y[np.flatnonzero(patient == rare)[:5]] = 1
    fold = patient_folds(y, patient, 4)
    assert all(len(set(fold[patient == p])) == 1 for p in range(10))
    assert all((y[fold == k] == 1).sum() == 5 for k in range(4))
    assert sorted(np.unique(patient_folds(y, patient, 20))) == list(range(10))
    assert len(np.unique(patient_folds(y[patient < 3], patient[patient < 3], 3))) == 3


def test_bad_input_is_one_paragraph() -> None:
    x, y, patient = cohort()
    with pytest.raises(DataError, match="same rows"):
        fit_probe(x, y[:-1], patient, n_classes=3, spec=ProbeSpec())
    with pytest.raises(DataError, match="class numbers"):
        fit_probe(x, y - 1, patient, n_classes=3, spec=ProbeSpec())
    x[3, 2] = np.nan
    with pytest.raises(DataError, match=r"columns \[2\]"):
        fit_probe(x, y, patient, n_classes=3, spec=ProbeSpec())
