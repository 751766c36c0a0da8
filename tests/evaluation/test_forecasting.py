"""Errors of forecasts: every window counts, and counts alike."""

from __future__ import annotations

import numpy as np
import pytest

from biocl.evaluation.forecasting import forecast_errors, over_seeds


def batches(values: np.ndarray, size: int) -> list[np.ndarray]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def test_errors_are_those_of_all_windows_at_any_batch_size() -> None:
    rng = np.random.default_rng(0)
    forecast, future = rng.normal(size=(2, 101, 3, 5)).astype(np.float32)
    future[-1] += 50  # the last batch is short, and would be missed
    error = forecast.astype(np.float64) - future
    for size in (1, 32, 101):
        pairs = zip(batches(forecast, size), batches(future, size), strict=True)
        found = forecast_errors(pairs)
        assert found.mse == pytest.approx((error**2).mean(), abs=1e-6)
        assert found.mae == pytest.approx(np.abs(error).mean(), abs=1e-6)
        np.testing.assert_allclose(found.mse_per_step, (error**2).mean(axis=(0, 1)), rtol=1e-9)
        np.testing.assert_allclose(found.mae_per_step, np.abs(error).mean(axis=(0, 1)), rtol=1e-9)
        assert found.n_windows == 101
    assert found.to_json()["mse_per_step"] == found.mse_per_step.tolist()


def test_known_values_for_each_step() -> None:
    forecast = np.array([[[1.0, 2.0]], [[3.0, 4.0]]])
    future = np.array([[[1.0, 0.0]], [[0.0, 4.0]]])
    found = forecast_errors([(forecast, future)])
    assert found.mse_per_step.tolist() == [4.5, 2.0]
    assert found.mae_per_step.tolist() == [1.5, 1.0]
    assert (found.mse, found.mae) == (3.25, 1.25)


def test_nothing_to_judge_and_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="no window"):
        forecast_errors([])
    with pytest.raises(ValueError, match="shape"):
        forecast_errors([(np.zeros((2, 1, 3)), np.zeros((2, 1, 4)))])


def test_seeds_give_a_mean_and_a_range() -> None:
    assert over_seeds([1.0, 4.0, 1.0]) == {"mean": 2.0, "low": 1.0, "high": 4.0}
