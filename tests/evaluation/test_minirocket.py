"""MiniRocket's fast code equals its definition, loop by loop; the ridge equals scikit-learn's."""

from __future__ import annotations

from math import floor, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier

from biocl.evaluation import minirocket
from biocl.evaluation.floors import FLOORS, Windows
from biocl.evaluation.minirocket import KERNELS, Convolution, dilations, fitted, planned, transform
from biocl.evaluation.probe import RIDGE_DEFAULT, RIDGE_GRID, fit_probe
from biocl.evaluation.ridge import ridge_path
from biocl.evaluation.spec import ProbeSpec


def whole_numbers(n: int, n_chans: int, n_times: int, seed: int = 0) -> np.ndarray:
    """Windows of small integers: every sum is exact in float32 and in float64."""
    return np.random.default_rng(seed).integers(-9, 10, size=(n, n_chans, n_times)).astype(np.float32)


def output_by_definition(window: np.ndarray, one: Convolution) -> list[float]:
    """Convolution of one window ``(n_chans, n_times)``, sample by sample."""
    n_times = window.shape[1]
    weights = [2 if place in one.twos else -1 for place in range(9)]
    out = []
    for time in range(n_times):
        reached = [time + (place - 4) * one.dilation for place in range(9)]
        if not one.padded and (reached[0] < 0 or reached[-1] >= n_times):
            continue
        inside = [(weight, at) for weight, at in zip(weights, reached, strict=True) if 0 <= at < n_times]
        out.append(sum(weight * float(window[channel, at]) for channel in one.channels for weight, at in inside))
    return out


@pytest.mark.parametrize(("n_chans", "n_times"), [(1, 40), (3, 75), (12, 9), (2, 5)])
def test_shares_are_those_of_the_definition(n_chans: int, n_times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = whole_numbers(5, n_chans, n_times)
    convolutions = fitted(planned(n_chans, n_times, seed=3), x, seed=3)
    table = transform(convolutions, x)
    assert table.shape == (5, 9996)
    column = 0
    for number, one in enumerate(convolutions):
        if number % 7 == 0:
            for row, window in enumerate(x):
                output = output_by_definition(window, one)
                expected = [sum(value > bias for value in output) / len(output) for bias in one.biases]
                np.testing.assert_allclose(table[row, column : column + len(expected)], expected, rtol=1e-6)
        column += len(one.biases)
    assert column == 9996
    monkeypatch.setattr(minirocket, "BLOCK_VALUES", 2 * n_times)
    np.testing.assert_array_equal(transform(convolutions, x), table)
    np.testing.assert_array_equal(transform(convolutions, x[[3]]), table[[3]])


def test_kernels_and_dilations_are_those_of_the_paper() -> None:
    assert len(KERNELS) == len(set(KERNELS)) == 84
    values, counts = dilations(513)
    assert values[0] == 1
    assert values[-1] == floor(2 ** log2(512 / 8)) == 64
    assert counts.sum() == 119
    assert (np.diff(values) > 0).all()
    plan = planned(20, 513, seed=0)
    assert {one.twos for one in plan} == set(KERNELS)
    assert np.mean([one.padded for one in plan]) == pytest.approx(0.5, abs=0.01)
    assert all(len(set(one.channels)) == len(one.channels) <= 9 for one in plan)
    assert {len(one.channels) for one in plan} == set(range(1, 10))
    levels = np.concatenate([one.levels for one in plan])
    assert len(levels) == 9996
    # A low-discrepancy sequence: as many in each hundredth, give or take two.
    assert np.ptp(np.histogram(levels, bins=100, range=(0, 1))[0]) <= 4


@given(st.integers(1, 3000))
@settings(max_examples=60, deadline=None)
def test_no_kernel_reaches_beyond_the_window(n_times: int) -> None:
    values, counts = dilations(n_times)
    assert counts.sum() == 119
    assert counts.min() > 0
    assert 8 * values[-1] <= max(n_times - 1, 8)


def test_biases_are_quantiles_of_training_windows_and_know_no_other() -> None:
    x = whole_numbers(6, 2, 60)
    train = np.arange(6) < 2
    convolutions = fitted(planned(2, 60, seed=0), x[train], seed=0)
    used = set()
    for one in convolutions[::50]:
        quantiles = [np.quantile(output_by_definition(window, one), one.levels) for window in x[train]]
        near = [np.allclose(one.biases, biases, atol=1e-4) for biases in quantiles]
        assert any(near)
        used.add(near.index(True))
    assert used == {0, 1}
    windows = Windows(x, 60.0, np.arange(6))
    other = Windows(np.where(train[:, None, None], x, x + 5), 60.0, np.arange(6))
    one, two = (FLOORS["minirocket"].compute(seen, train, 0) for seen in (windows, other))
    np.testing.assert_array_equal(one[train], two[train])
    assert not np.array_equal(FLOORS["minirocket"].compute(windows, train, 1)[train], one[train])
    assert not np.array_equal(FLOORS["minirocket"].compute(windows, ~train, 0)[train], one[train])


@pytest.mark.parametrize(("n", "n_features"), [(60, 200), (90, 12)])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("balanced", [True, False])
def test_ridge_equals_scikit_learn(n: int, n_features: int, n_classes: int, balanced: bool) -> None:
    rng = np.random.default_rng(0)
    y = np.minimum(rng.integers(0, n_classes + 2, n), n_classes - 1)
    x = rng.normal(size=(n, n_features)) + y[:, None] * rng.normal(size=n_features)
    for penalty, found in zip((0.5, 20.0), ridge_path(x, y, [0.5, 20.0], balanced=balanced), strict=True):
        known = RidgeClassifier(alpha=penalty, class_weight="balanced" if balanced else None).fit(x, y)
        decision = known.decision_function(x)
        mine = found.decision(x)
        np.testing.assert_allclose(mine[:, 1] if n_classes == 2 else mine, decision, atol=1e-8)
        np.testing.assert_array_equal(found.predict_proba(x).argmax(axis=1), known.predict(x))
        np.testing.assert_allclose(found.predict_proba(x).sum(axis=1), 1)


def test_the_penalty_of_a_ridge_is_chosen_between_patients() -> None:
    """Features that name the patient are shrunk away; ``probe.c`` is not for the ridge."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(12), 20)
    y = patient % 2
    signature = rng.normal(size=(12, 300))[patient] + 0.05 * rng.normal(size=(240, 300))
    effect = (2 * y - 1)[:, None] + rng.normal(size=(240, 30))
    x = np.hstack([effect, signature])
    probe = fit_probe(x, y, patient, n_classes=3, spec=ProbeSpec(c=1.0), classifier="ridge")
    assert tuple(probe.inner_scores) == tuple(sorted(RIDGE_GRID))
    assert "5 patient-wise inner folds of 12 patients" in probe.chosen
    assert max(probe.inner_scores.values()) < 1.0  # judged within patients it would be 1
    proba = probe.predict_proba(x)
    assert proba.shape == (240, 3)
    assert (proba[:, 2] == 0).all()
    arrays = probe.arrays()
    logits = (x - arrays["mean"]) / arrays["scale"] @ arrays["coef"].T + arrays["intercept"]
    by_hand = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(by_hand, proba[:, :2], atol=1e-12)
    alone = fit_probe(x, y, np.zeros(240), n_classes=2, spec=ProbeSpec(), classifier="ridge")
    assert alone.c == RIDGE_DEFAULT
