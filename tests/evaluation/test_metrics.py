"""Metrics equal scikit-learn's, for one weighting and for many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from biocl.errors import DataError
from biocl.evaluation.metrics import (
    METRICS,
    aggregate,
    classification_metrics,
    has_one_label,
    macro_f1,
    mean_over_units,
    metrics_by_level,
    metrics_by_unit,
    weighted_metrics,
)


def fixture(seed: int, n: int = 300, n_classes: int = 4, n_patients: int = 7, decimals: int = 2):
    """Labels, probabilities with many ties, patients."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_classes)) + 1.5 * np.eye(n_classes)[y]
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return y, np.round(proba, decimals), rng.integers(0, n_patients, n)


def by_sklearn(y, proba, weight=None):
    """The same metrics, each from scikit-learn."""
    guess, kinds = proba.argmax(axis=1), range(proba.shape[1])
    options = {"average": "macro", "zero_division": 0, "sample_weight": weight}
    present = [k for k in kinds if 0 < (y == k).sum() < len(y)]
    return {
        "accuracy": accuracy_score(y, guess, sample_weight=weight),
        "macro_precision": precision_score(y, guess, **options),
        "macro_recall": recall_score(y, guess, **options),
        "macro_f1": f1_score(y, guess, **options),
        "auroc": np.mean([roc_auc_score(y == k, proba[:, k], sample_weight=weight) for k in present]),
        "auprc": np.mean([average_precision_score(y == k, proba[:, k], sample_weight=weight) for k in present]),
    }


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_equal_to_scikit_learn(n_classes: int, seed: int) -> None:
    y, proba, _ = fixture(seed, n_classes=n_classes)
    ours = classification_metrics(y, proba, list("abcd")[:n_classes])
    assert tuple(ours) == METRICS
    assert ours == pytest.approx(by_sklearn(y, proba), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_weights_on_patients_are_sample_weights(seed: int, decimals: int) -> None:
    y, proba, patient = fixture(seed, n=120, decimals=decimals)
    weights = np.random.default_rng(seed).multinomial(7, np.full(7, 1 / 7), size=3)
    table = weighted_metrics(y, proba, patient, weights)
    for i, draw in enumerate(weights):
        rows = np.repeat(np.arange(len(y)), draw[patient])
        for name, value in by_sklearn(y[rows], proba[rows]).items():
            assert table[name][i] == pytest.approx(value, abs=1e-12), name


def test_average_precision_does_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    y, proba, patient = fixture(3)
    weights = np.random.default_rng(0).multinomial(7, np.full(7, 1 / 7), size=5)
    whole = weighted_metrics(y, proba, patient, weights)["auprc"]
    monkeypatch.setattr("biocl.evaluation.metrics.CHUNK", 20)
    np.testing.assert_allclose(weighted_metrics(y, proba, patient, weights)["auprc"], whole, rtol=1e-12)


def test_a_class_that_is_absent_is_left_out_of_the_averages() -> None:
    y, proba = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.3, 0.7, 0], [0.6, 0.4, 0]])
    ours = classification_metrics(y, proba, ["N", "S", "V"])
    assert ours["macro_f1"] == pytest.approx(f1_score(y, [0, 0, 1, 0], average="macro"))
    assert ours["auroc"] == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_a_class_that_a_test_patient_lacks(seed: int) -> None:
    """Predicted by mistake it counts as 0; neither there nor predicted it is left out: scikit-learn's default, with
    ``zero_division=0``."""
    rng = np.random.default_rng(seed)
    patient, y = np.repeat([0, 1], 60), rng.integers(0, 3, 120)
    y[patient == 1] = rng.integers(0, 2, 60)
    proba = rng.dirichlet(np.ones(3), 120)
    proba[(patient == 1) & (rng.random(120) < 0.5), 2] = 0
    own = metrics_by_unit(y, proba, patient, ["N", "S", "V"])
    guess = proba.argmax(axis=1)
    for who in (0, 1):
        mine = patient == who
        expected = f1_score(y[mine], guess[mine], average="macro", zero_division=0)
        assert own[who]["macro_f1"] == pytest.approx(expected, abs=1e-12)
    assert (guess[patient == 1] == 2).any()
    by_class = f1_score(y[patient == 1], guess[patient == 1], average=None, labels=[0, 1, 2], zero_division=0)
    assert by_class[2] == 0
    assert own[1]["macro_f1"] == pytest.approx(by_class.sum() / 3)
    never = np.where(np.arange(3) == 2, 0, proba)
    left_out = metrics_by_unit(y, never, patient, ["N", "S", "V"])[1]["macro_f1"]
    by_class = f1_score(y[patient == 1], never[patient == 1].argmax(axis=1), average=None, labels=[0, 1])
    assert left_out == pytest.approx(by_class.sum() / 2)


def test_one_class_has_no_auroc() -> None:
    ours = classification_metrics([0, 0], [[0.7, 0.3], [0.2, 0.8]], ["a", "b"])
    assert np.isnan(ours["auroc"])
    assert np.isnan(ours["auprc"])
    assert ours["accuracy"] == 0.5


def test_each_patients_own_metrics() -> None:
    y, proba, patient = fixture(5)
    names = np.array([f"p{p}" for p in patient])
    table = metrics_by_unit(y, proba, names, list("abcd"))
    assert list(table) == sorted(set(names))
    for name, row in table.items():
        own = names == name
        expected = by_sklearn(y[own], proba[own]) | {"n_windows": own.sum()}
        assert row == pytest.approx(expected, abs=1e-12)
    assert mean_over_units(table)["macro_f1"] == pytest.approx(np.mean([r["macro_f1"] for r in table.values()]))


def test_aggregation_by_mean_probability_and_by_vote() -> None:
    y = np.array([1, 1, 1, 0, 0])
    proba = np.array([[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [0.4, 0.6], [0.9, 0.1]])
    patient = np.array(["b", "b", "b", "a", "a"])
    names, labels, mean = aggregate(y, proba, patient, "mean-probability")
    assert list(names) == ["a", "b"]
    assert list(labels) == [0, 1]
    np.testing.assert_allclose(mean, [[0.65, 0.35], [0.4, 0.6]])
    _, _, votes = aggregate(y, proba, patient, "vote")
    assert votes.argmax(axis=1).tolist() == [0, 0]  # the tie of "a" goes to the higher mean
    np.testing.assert_allclose(votes.sum(axis=1), 1)


def test_levels_exist_only_where_units_have_one_label() -> None:
    y = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    trial, patient = np.arange(8) // 2, np.arange(8) // 4
    proba = np.eye(2)[y] * 0.6 + 0.2
    levels = metrics_by_level(y, proba, patient, trial, ["a", "b"])
    assert "trial, vote" in levels
    assert "trial, mean-probability" in levels
    assert not any(name.startswith("patient, v") for name in levels)
    assert not has_one_label(y, patient)
    with pytest.raises(DataError, match="different labels"):
        aggregate(y, proba, patient, "vote")


def test_macro_f1_of_hard_predictions() -> None:
    rng = np.random.default_rng(0)
    y, guess = rng.integers(0, 3, 50), rng.integers(0, 4, 50)
    assert macro_f1(y, guess) == pytest.approx(f1_score(y, guess, average="macro"))


@pytest.mark.parametrize(
    ("y", "proba", "words"),
    [
        ([0, 1], [[0.5, 0.5]], "do not fit"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "Labels run"),
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], "Labels run"),
        ([0, 1], [[0.5, np.nan], [0.5, 0.5]], "not finite"),
        ([], np.empty((0, 2)), "do not fit"),
    ],
)
def test_bad_input_is_one_paragraph(y, proba, words) -> None:
    with pytest.raises(DataError, match=words):
        classification_metrics(y, proba, ["a", "b"])
