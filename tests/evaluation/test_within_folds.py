"""AUROC of several folds against scikit-learn, fold by fold; what needs no scale is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from biocl.evaluation.intervals import (
    bootstrap_metrics,
    pooled_difference,
    resample_metrics,
    resample_patients,
    units_to_resample,
)
from biocl.evaluation.metrics import METRICS, metrics_by_unit, own_scores, weighted_metrics
from biocl.evaluation.within_folds import complete_folds, fold_of_units, metrics_over_folds


def cohort(n_classes: int, seed: int = 0, n_patients: int = 9, n_folds: int = 4):
    """Labels, scores with ties, patients of one or two classes, and folds of which the last lacks a class."""
    rng = np.random.default_rng(seed)
    n = 40 * n_patients
    patient = np.arange(n) % n_patients
    y = (patient + rng.integers(0, 2, n)) % n_classes
    fold = patient % n_folds
    proba = np.round(rng.dirichlet(np.ones(n_classes), n) + 0.5 * np.eye(n_classes)[y] + 0.3 * fold[:, None], 1)
    keep = ~((fold == n_folds - 1) & (y == 0))
    return y[keep], proba[keep], patient[keep], fold[keep]


def slow(y, proba, fold, n_classes):
    """AUROC and AUPRC by scikit-learn in each fold that holds every class, then their means."""
    areas = []
    for one in np.unique(fold):
        own = fold == one
        if len(set(y[own])) < n_classes:
            continue
        sides = [(y[own] == k, proba[own, k]) for k in range(n_classes)]
        areas.append([np.mean([score(*side) for side in sides]) for score in (roc_auc_score, average_precision_score)])
    return np.mean(areas, axis=0) if areas else np.full(2, np.nan)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_a_loop_over_resampled_patients_and_folds(n_classes: int, seed: int) -> None:
    y, proba, patient, fold = cohort(n_classes, seed)
    found = resample_metrics(y, proba, patient, list("abc")[:n_classes], fold=fold, n_draws=40, seed=seed)
    expected = [slow(y, proba, fold, n_classes)]
    for draw in resample_patients(9, 40, seed):
        rows = np.concatenate([np.flatnonzero(patient == p) for p in np.repeat(np.arange(9), draw)])
        expected.append(slow(y[rows], proba[rows], fold[rows], n_classes))
    np.testing.assert_allclose(found.values["auroc"], np.array(expected)[:, 0], atol=1e-12)
    np.testing.assert_allclose(found.values["auprc"], np.array(expected)[:, 1], atol=1e-12)
    assert len(complete_folds(y, fold, n_classes)) < 4
    pooled = resample_metrics(y, proba, patient, list("abc")[:n_classes], n_draws=40, seed=seed)
    assert abs(pooled.values["auroc"][0] - found.values["auroc"][0]) > 0.01  # folds differ in level
    for name in METRICS[:4]:
        np.testing.assert_array_equal(found.values[name], pooled.values[name])


def test_a_fold_that_loses_a_class_is_left_out_of_that_draw() -> None:
    y, patient = np.repeat([0, 1, 0, 1], 3), np.repeat([0, 1, 2, 3], 3)
    proba = np.array([0.1, 0.2, 0.6, 0.5, 0.7, 0.9, 0.4, 0.5, 0.6, 0.1, 0.2, 0.3])
    proba = np.stack([1 - proba, proba], axis=1)
    weights = np.array([[1, 1, 1, 1], [2, 2, 0, 0], [1, 0, 3, 0], [0, 1, 1, 2]])
    found = metrics_over_folds(y, proba, patient, weights, patient // 2)["auroc"]
    first, second = (roc_auc_score(y[own], proba[own, 1]) for own in (slice(0, 6), slice(6, 12)))
    np.testing.assert_allclose(found, [(first + second) / 2, first, np.nan, second])


def test_one_fold_changes_no_bit() -> None:
    y, proba, patient, _ = cohort(3)
    weights = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), size=20)
    plain = weighted_metrics(y, proba, patient, weights)
    for fold in (None, np.full(len(y), 5)):
        found = metrics_over_folds(y, proba, patient, weights, fold)
        assert all(np.array_equal(found[name], plain[name], equal_nan=True) for name in METRICS)


def test_without_a_complete_fold_there_is_no_area() -> None:
    y, proba, patient, _ = cohort(2, n_patients=8)
    y = patient % 2
    found = bootstrap_metrics(y, proba, patient, ["a", "b"], fold=patient, n_draws=20)
    assert np.isnan(found["auroc"].value)
    assert (found["auroc"].low, found["auprc"].low) == (None, None)
    assert found["accuracy"].low is not None


def test_every_repeat_has_its_own_folds() -> None:
    """A mean over repeats, each within its folds, also where a draw leaves one repeat without a complete fold."""
    _, proba, patient, _ = cohort(2, n_patients=6, n_folds=1)
    patient, y = np.arange(len(proba)) % 6, np.arange(len(proba)) % 2
    fold, other = patient // 2, patient // 3
    both = np.stack([proba, proba[:, ::-1]])
    found = resample_metrics(y, both, patient, ["a", "b"], fold=np.stack([fold, other]), n_draws=200)
    one = resample_metrics(y, both[0], patient, ["a", "b"], fold=fold, n_draws=200)
    two = resample_metrics(y, both[1], patient, ["a", "b"], fold=other, n_draws=200)
    lacking = np.isnan(one.values["auroc"])
    assert 0 < (lacking & ~np.isnan(two.values["auroc"])).sum() < 100
    for name in METRICS:
        table = np.ma.masked_invalid([one.values[name], two.values[name]])
        np.testing.assert_allclose(found.values[name], table.mean(axis=0).filled(np.nan))
    assert pooled_difference(found, found)["auroc"].mean == 0


def test_the_fold_of_a_unit() -> None:
    patient, fold = np.array(["b", "b", "a", "c"]), np.array([4, 4, 2, 4])
    assert fold_of_units(fold, patient).tolist() == [2, 4, 4]
    assert len(set(fold_of_units(np.array([4, 2, 2, 4]), patient))) == 3  # b is tested by two classifiers


def test_own_scores_are_those_of_metrics_by_unit() -> None:
    y, proba, patient, _ = cohort(3)
    table = metrics_by_unit(y, proba, patient, list("abc"))
    for metric in ("accuracy", "macro_f1"):
        assert own_scores(y, proba, patient, list("abc"), metric) == {p: row[metric] for p, row in table.items()}


@pytest.mark.parametrize(
    ("scope", "n_patients", "word"),
    [("trial", 1, "trials"), ("time", 5, "trials"), ("trial", 6, "patients"), ("patient", 1, "patients")],
)
def test_few_patients_of_a_study_within_them_give_way_to_their_trials(scope: str, n_patients: int, word: str) -> None:
    patient, trial = np.arange(60) % n_patients, np.arange(60) // 2
    found, units = units_to_resample(scope, patient, trial)
    assert found == word
    np.testing.assert_array_equal(units, trial if word == "trials" else patient)
