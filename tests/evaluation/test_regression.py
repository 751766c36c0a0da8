"""Regression: the probe sees labelled training patients alone, and metrics are those of slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from biocl.errors import DataError
from biocl.evaluation import regression
from biocl.evaluation.intervals import pooled_difference
from biocl.evaluation.regression import (
    DEFAULT_PENALTY,
    PENALTIES,
    correlation_over_units,
    fit_regressor,
    own_errors,
    resample_regression,
)
from biocl.evaluation.spec import ProbeSpec

SPEC = ProbeSpec()


def patients(n_patients: int = 6, n_each: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(n_patients), n_each)
    x = rng.normal(size=(len(patient), 4))
    return x, 3 + x @ [1.0, -2.0, 0.0, 0.5] + 0.1 * rng.normal(size=len(x)), patient


def test_the_probe_equals_scikit_learns_ridge_and_chooses_by_patients() -> None:
    from sklearn.linear_model import Ridge

    x, y, patient = patients()
    found = fit_regressor(x, y, patient, spec=SPEC)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = Ridge(alpha=found.penalty).fit(scaled, y).predict(scaled)
    np.testing.assert_allclose(found.predict(x)[:, 0], expected, atol=1e-9)
    assert found.penalty == PENALTIES[0]
    assert "5 patient-wise inner folds of 6 patients" in found.chosen


def test_a_feature_that_names_the_patient_is_not_trusted() -> None:
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(8), 30)
    level = rng.normal(size=8)
    voice = rng.normal(size=(8, 30))[patient]
    y = level[patient] + 0.01 * rng.normal(size=len(patient))
    careful = fit_regressor(voice, y, patient, spec=SPEC).penalty
    careless = fit_regressor(voice, y, rng.permutation(patient), spec=SPEC).penalty
    assert careful >= 100 * careless


def test_without_features_it_is_the_mean_and_one_patient_takes_the_default() -> None:
    x, y, patient = patients()
    mean = fit_regressor(x[:, :0], y, patient, spec=SPEC)
    np.testing.assert_allclose(mean.predict(x[:5, :0]), y.mean())
    assert fit_regressor(x[:20], y[:20], patient[:20], spec=SPEC).penalty == DEFAULT_PENALTY
    constant = np.hstack([x, np.ones((len(x), 1))])
    np.testing.assert_allclose(
        fit_regressor(constant, y, patient, spec=SPEC).predict(constant),
        fit_regressor(x, y, patient, spec=SPEC).predict(x),
    )


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("level", [0.0, 1e3])
def test_a_correlation_has_no_unit(unit: float, level: float) -> None:
    """Volts are as good as microvolts, and a level that all share is no variation."""
    _, y, patient = patients()
    said = y + np.random.default_rng(2).normal(size=len(y))
    found = resample_regression(unit * (y + level), unit * (said + level), patient, n_draws=20).values["r"]
    np.testing.assert_allclose(found, resample_regression(y, said, patient, n_draws=20).values["r"], rtol=1e-6)
    assert found[0] == pytest.approx(np.corrcoef(y, said)[0, 1])
    means = [[part[patient == one].mean() for one in range(6)] for part in (y, said)]
    over = correlation_over_units(unit * (y + level), unit * (said + level), patient)
    assert over == pytest.approx(np.corrcoef(means)[0, 1], rel=1e-6)
    constant = np.full(len(y), unit * (0.3 + level))
    assert np.isnan(resample_regression(unit * (y + level), constant, patient, n_draws=20).values["r"]).all()
    assert np.isnan(correlation_over_units(unit * (y + level), constant, patient))


def test_many_rows_are_thinned() -> None:
    x, y, patient = patients()
    y[::2] += 100 * np.arange(60)
    small = fit_regressor(x, y, patient, spec=ProbeSpec(max_rows=30))
    assert not np.allclose(small.coef, fit_regressor(x, y, patient, spec=SPEC).coef)


@pytest.mark.parametrize("where", ["x", "y", "rows"])
def test_what_is_not_finite_is_refused(where: str) -> None:
    x, y, patient = patients()
    if where == "rows":
        x, y, patient = x[:0], y[:0], patient[:0]
    else:
        (x if where == "x" else y)[0] = np.nan
    with pytest.raises(DataError, match="finite"):
        fit_regressor(x, y, patient, spec=SPEC)


def test_metrics_are_those_of_slow_loops() -> None:
    rng = np.random.default_rng(2)
    unit = np.repeat(["b", "a", "c", "d", "e", "f", "g"], [5, 3, 9, 4, 6, 8, 2])
    y = 60 + 10 * rng.normal(size=len(unit))
    predicted = np.stack([y + rng.normal(size=len(y)), y + 5 * rng.normal(size=len(y))])
    found = resample_regression(y, predicted, unit, n_draws=50)
    assert found.values["mae"][0] == pytest.approx(np.abs(predicted - y).mean())
    slowly = np.mean([np.corrcoef(one, y)[0, 1] for one in predicted])
    assert found.values["r"][0] == pytest.approx(slowly)
    from biocl.evaluation.intervals import resample_patients

    counts = resample_patients(7, 50, 0)[3]
    rows = np.concatenate(
        [np.flatnonzero(unit == name) for name, n in zip(sorted(set(unit)), counts, strict=True) for _ in range(n)]
    )
    assert found.values["mae"][4] == pytest.approx(np.abs(predicted - y)[:, rows].mean())
    assert found.values["r"][4] == pytest.approx(np.mean([np.corrcoef(one[rows], y[rows])[0, 1] for one in predicted]))
    interval = found.intervals()["mae"]
    assert interval.low is not None
    assert interval.low < interval.value
    assert own_errors(y, predicted[0], unit)["c"] == pytest.approx(np.abs(predicted[0] - y)[unit == "c"].mean())
    assert pooled_difference(found, found)["mae"].mean == 0
    assert set(pooled_difference(found, found)) == {"mae", "rmse", "r"}


def test_a_constant_has_no_correlation() -> None:
    y = np.array([50.0, 60.0, 70.0, 80.0])
    assert np.isnan(resample_regression(y, np.full(4, 65.1), [0, 1, 2, 3], n_draws=5).values["r"][0])
    assert np.isnan(correlation_over_units(y, np.full(4, 65.1), [0, 1, 2, 3]))
    assert np.isnan(correlation_over_units(y[:2], y[:2], [0, 1]))
    assert correlation_over_units(y, [2.0, 0.0, 1.0, 3.0], [0, 0, 1, 2]) == pytest.approx(
        np.corrcoef([55, 70, 80], [1, 1, 3])[0, 1]
    )


def test_a_window_that_stands_there_twice_counts_once() -> None:
    rng = np.random.default_rng(3)
    unit = np.repeat(np.arange(7), 4)
    y = rng.normal(size=28)
    predicted = y + rng.normal(size=28)
    twice = np.concatenate([np.arange(28), np.arange(8)])
    share = np.where(twice < 8, 0.5, 1.0)
    once = resample_regression(y, predicted, unit, n_draws=20).values
    again = resample_regression(y[twice], predicted[twice], unit[twice], share=share, n_draws=20).values
    for name in ("mae", "r"):
        np.testing.assert_allclose(again[name], once[name], rtol=1e-9)


def test_penalties_shrink_with_the_rows_of_an_inner_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    real = regression.fit_path

    def spy(x: np.ndarray, target: np.ndarray, penalties: list[float], chosen: str) -> list[regression.Regressor]:
        tried.append((len(x), list(penalties)))
        return real(x, target, penalties, chosen)

    monkeypatch.setattr(regression, "fit_path", spy)
    fit_regressor(*patients(), spec=ProbeSpec(max_inner_rows=30))
    *inner, (n_rows, _) = tried
    assert n_rows == 120
    assert {n for n, _ in inner} == {30}
    for _, penalties in inner:
        np.testing.assert_allclose(penalties, np.array(PENALTIES) * 30 / 120)
