"""Floors of forecasts: known values, a slow reference, and what they reach on the real ETTh1."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from biocl.evaluation.floors_series import (
    ALPHAS,
    DEFAULT_ALPHA,
    Blocks,
    day_steps,
    find_period,
    fit_ridge,
    last_value,
    seasonal_copy,
)
from biocl.evaluation.forecasting import forecast_errors


def windows_of(series: np.ndarray, length: int, horizon: int, block: int = 512) -> Blocks:
    """All windows of a series (n_times, n_chans)."""
    every = sliding_window_view(series, length + horizon, axis=0)

    def blocks() -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(every), block):
            piece = every[start : start + block]
            yield piece[..., :length], piece[..., length:]

    return blocks


@pytest.fixture(scope="module")
def etth1(test_data: Path) -> np.ndarray:
    import pandas as pd

    [path] = (test_data / "forecasting" / "ETT-small").glob("ETTh1.csv*")
    values = pd.read_csv(path).drop(columns="date").to_numpy(np.float32)
    return ((values - values[:8640].mean(axis=0)) / values[:8640].std(axis=0)).astype(np.float32)


KNOWN = {
    (48, 24): [(1.222, 0.671), (0.424, 0.389), (0.318, 0.353)],
    (96, 48): [(1.267, 0.695), (0.465, 0.407), (0.342, 0.369)],
    (168, 168): [(1.325, 0.730), (0.571, 0.462), (0.414, 0.412)],
}


@pytest.mark.parametrize("span", list(KNOWN))
def test_floors_reach_what_was_measured_on_etth1(etth1: np.ndarray, span: tuple[int, int]) -> None:
    length, horizon = span
    parts = [windows_of(etth1[max(0, a - length) : b], *span) for a, b in ((0, 8640), (8640, 11520), (11520, 14400))]
    train, validation, test = parts
    assert [sum(len(x) for x, _ in part()) for part in parts] == [8641 - sum(span), 2881 - horizon, 2881 - horizon]
    ridge = fit_ridge(train, validation, 7)
    floors = [lambda x: last_value(x, horizon), lambda x: seasonal_copy(x, horizon, 24), ridge]
    for floor, known in zip(floors, KNOWN[span], strict=True):
        errors = forecast_errors((floor(x), y) for x, y in test())
        assert (errors.mse, errors.mae) == pytest.approx(known, abs=0.001)
        assert errors.n_windows == 2881 - horizon


def test_the_season_of_etth1_is_a_day(etth1: np.ndarray) -> None:
    assert find_period(windows_of(etth1[:8640], 168, 24)) == 24
    assert day_steps(1 / 3600, 48) == 24
    assert day_steps(1 / 3600, 23) is None
    assert day_steps(1 / 86_400, 96) is None
    assert day_steps(1 / 900, 96) == 96
    assert day_steps(1 / 7000, 96) is None


def test_what_has_no_season_has_none() -> None:
    line = np.linspace(0, 1, 300)[:, None]
    assert find_period(windows_of(line, 20, 5)) is None
    assert find_period(windows_of(np.ones((60, 2)), 20, 5)) is None
    walk = np.random.default_rng(0).normal(size=(3000, 4)).cumsum(axis=0)
    assert find_period(windows_of(walk, 96, 24)) is None
    assert find_period(lambda: iter(())) is None


@pytest.mark.parametrize("period", [3, 7, 16])
def test_a_season_is_found_under_a_trend_and_copied_without_error(period: int) -> None:
    pattern = np.random.default_rng(period).normal(size=(period, 2))
    series = np.tile(pattern, (40, 1))
    tilted = series + 0.5 * np.arange(len(series))[:, None]
    assert find_period(windows_of(tilted, 40, 8)) == period
    for x, y in windows_of(series, 40, 20)():
        np.testing.assert_array_equal(seasonal_copy(x, 20, period), y)


def test_a_copy_and_the_last_value_step_by_step() -> None:
    x = np.arange(10.0).reshape(1, 1, 10)
    np.testing.assert_array_equal(seasonal_copy(x, 5, 3)[0, 0], [7, 8, 9, 7, 8])
    np.testing.assert_array_equal(seasonal_copy(x, 2, 10)[0, 0], [0, 1])
    np.testing.assert_array_equal(last_value(x, 3)[0, 0], [9, 9, 9])
    for period in (0, 11):
        with pytest.raises(ValueError, match="does not fit"):
            seasonal_copy(x, 5, period)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_the_ridge_is_that_of_least_squares_window_by_window(shared: bool, block: int) -> None:
    rng = np.random.default_rng(0)
    series, held = rng.normal(size=(90, 3)).cumsum(axis=0), rng.normal(size=(70, 3)).cumsum(axis=0)
    length, horizon = 6, 4
    ridge = fit_ridge(
        windows_of(series, length, horizon, block), windows_of(held, length, horizon, block), 3, shared=shared
    )
    assert ridge.coef.shape == (1 if shared else 3, length, horizon)

    def rows(values: np.ndarray, channel: int) -> tuple[np.ndarray, np.ndarray]:
        every = sliding_window_view(values[:, channel], length + horizon)
        every = every - every[:, length - 1 : length]
        return every[:, :length], every[:, length:]

    def slow(channels: list[int]) -> tuple[np.ndarray, float]:
        x, y = (np.concatenate(part) for part in zip(*(rows(series, c) for c in channels), strict=True))
        x_held, y_held = (np.concatenate(part) for part in zip(*(rows(held, c) for c in channels), strict=True))
        maps = {a: np.linalg.solve(x.T @ x + a * np.eye(length), x.T @ y) for a in ALPHAS}
        best = min(ALPHAS, key=lambda a: float(((x_held @ maps[a] - y_held) ** 2).sum()))
        return maps[best], best

    for number, channels in enumerate([[0, 1, 2]] if shared else [[0], [1], [2]]):
        coef, alpha = slow(channels)
        np.testing.assert_allclose(ridge.coef[number], coef, atol=1e-9)
        assert ridge.alpha[number] == alpha
    x = rng.normal(size=(2, 3, length))
    slowly = [
        [x[i, c, -1] + (x[i, c] - x[i, c, -1]) @ ridge.coef[0 if shared else c] for c in range(3)] for i in (0, 1)
    ]
    np.testing.assert_allclose(ridge(x), np.array(slowly))


def test_channels_in_groups_give_the_same_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    series = np.random.default_rng(1).normal(size=(80, 5)).cumsum(axis=0)
    blocks = windows_of(series, 6, 4)
    whole = fit_ridge(blocks, blocks, 5, shared=False)
    monkeypatch.setattr("biocl.evaluation.floors_series.MOST_BYTES", 2 * 16 * 6 * 10)
    np.testing.assert_allclose(fit_ridge(blocks, blocks, 5, shared=False).coef, whole.coef, rtol=1e-10)


def test_without_validation_the_penalty_is_the_default_and_without_train_there_is_no_map() -> None:
    blocks = windows_of(np.random.default_rng(1).normal(size=(80, 2)), 6, 4)
    assert fit_ridge(blocks, lambda: iter(()), 2).alpha == (DEFAULT_ALPHA,)
    for shared in (True, False):
        with pytest.raises(ValueError, match="no train windows"):
            fit_ridge(lambda: iter(()), blocks, 2, shared=shared)


def test_the_ridge_ignores_level() -> None:
    series = np.random.default_rng(2).normal(size=(80, 2)).cumsum(axis=0)
    ridge = fit_ridge(windows_of(series, 8, 4), windows_of(series, 8, 4), 2)
    x = series[None, :8].transpose(0, 2, 1)
    np.testing.assert_allclose(ridge(x + 1000), ridge(x) + 1000)


def test_memory_stays_bounded() -> None:
    series = np.random.default_rng(3).normal(size=(3000, 4)).astype(np.float32)
    blocks = windows_of(series, 200, 200, block=64)
    tracemalloc.start()
    fit_ridge(blocks, blocks, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6  # all windows together are 33 MB in float32
