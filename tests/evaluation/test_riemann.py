"""The mean of covariance matrices and the space that touches it there, held against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigvalsh, expm
from sklearn.covariance import oas

from biocl.errors import DataError
from biocl.evaluation.floors import FLOORS, Windows
from biocl.evaluation.floors_eeg import shrunk_covariances
from biocl.evaluation.riemann import riemannian_mean, roots, tangent_vectors


def matrices(n: int = 30, n_chans: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(n, n_chans, n_chans)) + np.eye(n_chans)
    return mixing @ np.swapaxes(mixing, 1, 2) + 0.05 * np.eye(n_chans)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt((np.log(eigvalsh(a, b)) ** 2).sum()))


def test_mean_of_two_is_the_midpoint_of_their_geodesic() -> None:
    a, b = matrices(2)
    root, inverse = roots(a)
    middle = root @ roots(inverse @ b @ inverse)[0] @ root
    np.testing.assert_allclose(riemannian_mean(np.stack([a, b])), middle, rtol=1e-5, atol=1e-5)


def test_mean_of_matrices_that_commute_is_the_geometric_one() -> None:
    rng = np.random.default_rng(0)
    values = np.exp(2 * rng.normal(size=(20, 5)))
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    found = riemannian_mean((basis * values[:, None, :]) @ basis.T)
    np.testing.assert_allclose(found, (basis * np.exp(np.log(values).mean(axis=0))) @ basis.T, rtol=1e-5, atol=1e-5)


def test_mean_moves_with_any_mixing_of_the_channels_and_is_the_nearest_point() -> None:
    these, mixing = matrices(), np.random.default_rng(9).normal(size=(6, 6))
    mean = riemannian_mean(these)
    assert np.array_equal(mean, riemannian_mean(these))
    np.testing.assert_allclose(
        riemannian_mean(mixing @ these @ mixing.T), mixing @ mean @ mixing.T, rtol=1e-4, atol=1e-4
    )
    root = roots(mean)[0]

    def spread(at: np.ndarray) -> float:
        return sum(distance(one, at) ** 2 for one in these)

    rng = np.random.default_rng(1)
    for _ in range(10):
        away = rng.normal(size=(6, 6)) * 0.02
        assert spread(root @ expm(away + away.T) @ root) > spread(mean)


def test_tangent_vectors_are_as_long_as_the_distance_and_sum_to_nothing_at_the_mean() -> None:
    these = matrices()
    mean = riemannian_mean(these)
    vectors = tangent_vectors(these, mean)
    assert vectors.shape == (30, 21)
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(lengths, [distance(one, mean) for one in these], rtol=1e-9)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(tangent_vectors(mean[None], mean), 0, atol=1e-12)
    # A step along one off-diagonal direction comes back in its place, times the root of 2.
    step = np.zeros((6, 6))
    step[1, 2] = step[2, 1] = 0.3
    root = roots(mean)[0]
    [vector] = tangent_vectors((root @ expm(step) @ root)[None], mean)
    expected = np.zeros(21)
    expected[7] = 0.3 * np.sqrt(2)
    np.testing.assert_allclose(vector, expected, atol=1e-9)


def test_matrices_without_full_rank_are_refused() -> None:
    flat = matrices()
    flat[3, 0], flat[3, :, 0] = 0, 0
    with pytest.raises(DataError, match="not positive definite"):
        riemannian_mean(flat)


def test_shrinkage_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 8, 40)) * np.exp(rng.normal(size=(6, 8, 1))) + 3
    x[1, 2] = 0
    expected = [oas(window.T)[0] for window in x]
    np.testing.assert_allclose(shrunk_covariances(x) - 1e-6 * np.eye(8), expected, atol=1e-12)
    np.testing.assert_allclose(shrunk_covariances(np.zeros((1, 3, 9)))[0], 1e-6 * np.eye(3))


@pytest.mark.parametrize("reference", ["none", "average"])
def test_tangent_space_of_windows_that_were_and_were_not_seen(reference: str) -> None:
    """64 channels, with the average reference one rank fewer; the fit reads training windows alone."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(64, 64)) @ rng.normal(size=(40, 64, 256))).astype(np.float32)
    if reference == "average":
        x -= x.mean(axis=1, keepdims=True)
    train = np.arange(40) < 25
    windows = Windows(x, 256.0, np.arange(40))
    table = FLOORS["tangent-space"].compute(windows, train, 0)
    assert table.shape == (40, 64 * 65 // 2)
    assert np.isfinite(table).all()
    np.testing.assert_allclose(table[train].mean(axis=0), 0, atol=1e-4)
    changed = Windows(np.where(train[:, None, None], x, 3 * x), 256.0, np.arange(40))
    again = FLOORS["tangent-space"].compute(changed, train, 0)
    np.testing.assert_array_equal(again[train], table[train])
    assert not np.allclose(again[~train], table[~train])
