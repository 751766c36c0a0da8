"""Bootstrap over patients against a slow loop; sign flips against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score

from biocl.errors import UsageError
from biocl.evaluation.intervals import (
    bootstrap_mean,
    bootstrap_metrics,
    paired_difference,
    pooled_difference,
    resample_metrics,
    resample_patients,
    sign_flip,
)


def cohort(n_patients: int = 8, n: int = 240, seed: int = 0):
    rng = np.random.default_rng(seed)
    y, patient = rng.integers(0, 3, n), np.arange(n) % n_patients
    good = rng.dirichlet(np.ones(3), n) + 1.2 * np.eye(3)[y]
    poor = rng.dirichlet(np.ones(3), n) + 0.3 * np.eye(3)[y]
    return y, good / good.sum(1, keepdims=True), poor / poor.sum(1, keepdims=True), patient


def test_interval_equals_a_loop_over_resampled_patients() -> None:
    y, proba, _, patient = cohort()
    found = bootstrap_metrics(y, proba, patient, list("abc"), n_draws=60, seed=3)["macro_f1"]
    slow = []
    for draw in resample_patients(8, 60, 3):
        rows = np.concatenate([np.flatnonzero(patient == p) for p in np.repeat(np.arange(8), draw)])
        slow.append(f1_score(y[rows], proba[rows].argmax(1), average="macro"))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=1e-12)
    assert found.value == pytest.approx(f1_score(y, proba.argmax(1), average="macro"))
    assert (found.n_patients, found.n_draws, found.seed, found.level) == (8, 60, 3, 0.95)


def test_draws_are_reproducible_and_keep_the_number_of_patients() -> None:
    draws = resample_patients(22, 100, 1)
    assert (draws.sum(axis=1) == 22).all()
    np.testing.assert_array_equal(draws, resample_patients(22, 100, 1))
    assert (draws != resample_patients(22, 100, 2)).any()


def test_repeats_are_averaged_within_each_resample() -> None:
    y, good, poor, patient = cohort()
    both = bootstrap_metrics(y, np.stack([good, poor]), patient, list("abc"), n_draws=30)
    one, two = (bootstrap_metrics(y, p, patient, list("abc"), n_draws=30) for p in (good, poor))
    for name in both:
        assert both[name].value == pytest.approx((one[name].value + two[name].value) / 2)


def test_five_patients_get_no_interval() -> None:
    y, proba, _, patient = cohort(n_patients=5)
    found = bootstrap_metrics(y, proba, patient, list("abc"), n_draws=20)["accuracy"]
    assert (found.low, found.high) == (None, None)
    five = paired_difference(dict(enumerate([0.5] * 5)), dict(enumerate([0.4] * 5)))
    assert (five.low, five.p, five.test) == (None, 2 / 32, "exact sign-flip")
    arm = resample_metrics(y, proba, patient, list("abc"), n_draws=20)
    assert pooled_difference(arm, arm)["accuracy"].low is None


def test_mean_leaves_out_patients_without_a_score() -> None:
    found = bootstrap_mean([0.2, np.nan, 0.4, 0.6, 0.3, 0.5, 0.4], n_draws=500)
    assert found.value == pytest.approx(0.4)
    assert found.n_patients == 6
    assert found.low < 0.4 < found.high
    assert np.isnan(bootstrap_mean([np.nan]).value)


@pytest.mark.parametrize("n", [1, 4, 9])
def test_sign_flip_equals_enumeration(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1, n)
    sums = [abs(np.dot(signs, values)) for signs in itertools.product([1, -1], repeat=n)]
    expected = np.mean(np.array(sums) >= abs(values.sum()) - 1e-12)
    assert sign_flip(values) == (pytest.approx(expected), "exact sign-flip")


def test_sign_flip_with_many_patients_is_drawn_and_never_zero() -> None:
    p, test = sign_flip(np.ones(20), n_flips=5000)
    assert 0 < p < 0.001
    assert test == "Monte-Carlo sign-flip, 5,000 flips"
    values = np.random.default_rng(0).normal(0.3, 1, 16)
    exact = sign_flip(values)[0]
    drawn = sign_flip(np.append(values, [0.0]), n_flips=40_000)[0]  # a zero changes no sum
    assert drawn == pytest.approx(exact, abs=0.01)


def test_no_difference_has_p_one() -> None:
    assert sign_flip(np.zeros(8))[0] == 1.0
    assert sign_flip([])[0] is None


def test_paired_difference_by_patient() -> None:
    a = {f"p{i}": 0.5 + 0.01 * i for i in range(8)}
    b = {name: value - 0.1 for name, value in a.items()}
    found = paired_difference(a, b | {"p3": float("nan")})
    assert found.mean == pytest.approx(0.1)
    assert found.n_patients == found.n_better == 7
    assert found.p == 2 / 2**7
    with pytest.raises(UsageError, match="different patients"):
        paired_difference(a, {"p0": 0.1})


def test_pooled_difference_shares_its_resamples() -> None:
    y, good, poor, patient = cohort()
    arms = [resample_metrics(y, proba, patient, list("abc"), n_draws=200) for proba in (good, good, poor)]
    same = pooled_difference(arms[0], arms[1])["macro_f1"]
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    better = pooled_difference(arms[0], arms[2])["macro_f1"]
    assert better.low > 0
    assert better.p is None


def test_rows_of_one_window_count_their_share() -> None:
    """A window that three classifiers scored alike, each row a third, is that window; otherwise their mean matrix."""
    rng = np.random.default_rng(0)
    y, proba, patient = rng.integers(0, 2, 80), rng.dirichlet([1, 1], 80), np.repeat(np.arange(8), 10)
    again = np.r_[np.arange(80), np.arange(20), np.arange(10)]
    share = 1 / np.bincount(again)[again]
    counted = ("accuracy", "macro_f1", "macro_recall")
    once = bootstrap_metrics(y, proba, patient, ["a", "b"], n_draws=50)
    fold = np.r_[np.zeros(80), np.ones(20), np.full(10, 2)]
    keys = {"fold": fold, "n_draws": 50}
    several = bootstrap_metrics(y[again], proba[again], patient[again], ["a", "b"], share=share, **keys)
    plain = bootstrap_metrics(y[again], proba[again], patient[again], ["a", "b"], **keys)
    for name in counted:
        assert several[name].value == pytest.approx(once[name].value)
        assert (several[name].low, several[name].high) == pytest.approx((once[name].low, once[name].high))
        assert plain[name].value != pytest.approx(once[name].value)
