"""Covariance matrices as points of a curved space: their mean, and the flat space that touches it there.

Positive definite matrices with the affine-invariant distance ``d(A, B) = |log(A^-1/2 B A^-1/2)|``, which no
invertible mixing of the channels changes. The mean is the point that minimises the sum of squared distances; there
the logarithms of all matrices sum to zero. The log-map at the mean gives vectors whose length is the distance to it
(Barachant et al. 2012, doi:10.1109/TBME.2011.2172210). Everything is float64 and computed by one thread, so it is
the same to the last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.training.euclidean import one_thread, symmetric

Matrices = NDArray[np.float64]

TOLERANCE = 1e-6
"""The mean has converged when the logarithms' mean is shorter than this, for each channel."""
MOST_STEPS = 200
FIRST_STEP, STEPS = 0.5, (0.05, 1.0)


def riemannian_mean(matrices: Matrices) -> Matrices:
    """Mean of positive definite matrices ``(n, n_chans, n_chans)`` in the affine-invariant metric.

    Starts from the arithmetic mean and follows the logarithms' mean, the gradient. How much that changed over one
    step says how far the next one may go (Barzilai & Borwein 1988): the curvature is 1 where the matrices are alike
    and grows with their distances, so steps of 1 may swing to and fro for long.

    Returns
    -------
    numpy.ndarray, shape (n_chans, n_chans)

    Raises
    ------
    DataError
        If a matrix is not positive definite, or the mean does not converge.
    """
    limit = TOLERANCE * np.sqrt(matrices.shape[-1])
    mean, step = symmetric(matrices.mean(axis=0)), FIRST_STEP
    root, inverse = roots(mean)
    uphill = _logarithms(matrices, inverse).mean(axis=0)
    for _ in range(MOST_STEPS):
        if np.linalg.norm(uphill) < limit:
            return mean
        mean = symmetric(root @ _function(step * uphill, np.exp) @ root)
        root, inverse = roots(mean)
        before, uphill = uphill, _logarithms(matrices, inverse).mean(axis=0)
        change = before - uphill
        step = float(np.clip(step * (before * change).sum() / (change**2).sum(), *STEPS))
    raise DataError(
        f"The mean of {len(matrices)} covariance matrices did not converge in {MOST_STEPS} steps",
        "floor 'tangent-space'",
        "Check the recordings for windows or channels without a signal",
    )


def tangent_vectors(matrices: Matrices, at: Matrices) -> Matrices:
    """Log-map at a point: upper triangles of ``log(at^-1/2 C at^-1/2)``, off the diagonal times the root of 2.

    Parameters
    ----------
    matrices : numpy.ndarray, shape (n, n_chans, n_chans)
    at : numpy.ndarray, shape (n_chans, n_chans)

    Returns
    -------
    numpy.ndarray, shape (n, n_chans * (n_chans + 1) / 2)
        A row's length is the distance of its matrix from `at`.
    """
    rows, columns = np.triu_indices(at.shape[0])
    weight = np.where(rows == columns, 1.0, np.sqrt(2.0))
    return _logarithms(matrices, roots(at)[1])[:, rows, columns] * weight


def roots(matrix: Matrices) -> tuple[Matrices, Matrices]:
    """The symmetric square root of a positive definite matrix, and its inverse."""
    with one_thread():
        values, vectors = np.linalg.eigh(matrix)
        _check(values)
        root = np.sqrt(values)
        return symmetric((vectors * root) @ vectors.T), symmetric((vectors / root) @ vectors.T)


def _logarithms(matrices: Matrices, inverse: Matrices) -> Matrices:
    """``log(inverse C inverse)`` of every matrix."""
    with one_thread():
        values, vectors = np.linalg.eigh(symmetric(inverse @ matrices @ inverse))
        _check(values)
        return symmetric((vectors * np.log(values)[:, None, :]) @ np.swapaxes(vectors, -1, -2))


def _function(matrix: Matrices, function: np.ufunc) -> Matrices:
    """A function of the eigenvalues of a symmetric matrix."""
    with one_thread():
        values, vectors = np.linalg.eigh(symmetric(matrix))
        return np.asarray((vectors * function(values)) @ vectors.T)


def _check(values: Matrices) -> None:
    if not (values > 0).all():
        raise DataError(
            "A covariance matrix is not positive definite",
            "floor 'tangent-space'",
            "Check the recordings for windows or channels without a signal",
        )
