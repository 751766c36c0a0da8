"""A ridge classifier for more features than rows: one decomposition serves every penalty.

Least squares on +1 for a row's own class and -1 for the others, with weights and a squared penalty: scikit-learn's
``RidgeClassifier``, which would decompose anew for each penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Ridge:
    """A fitted classifier.

    Attributes
    ----------
    coef_ : numpy.ndarray, shape (n_classes, n_features)
    intercept_ : numpy.ndarray, shape (n_classes,)
    """

    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]

    def decision(self, x: Floats) -> NDArray[np.float64]:
        """Fitted values ``(n, n_classes)``: about +1 for a window's own class and -1 for the others."""
        return np.asarray(x @ self.coef_.T + self.intercept_, dtype=np.float64)

    def predict_proba(self, x: Floats) -> NDArray[np.float64]:
        """Softmax of the decision values.

        They are no calibrated probabilities: least squares knows of none. Their order, which is all that the
        predicted class and AUROC read, is that of the decision values.
        """
        decision = self.decision(x)
        shares = np.exp(decision - decision.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def ridge_path(x: Floats, y: NDArray[np.int64], penalties: Sequence[float], *, balanced: bool) -> list[Ridge]:
    """One classifier for every penalty on the squared coefficients.

    Parameters
    ----------
    x : numpy.ndarray, shape (n, n_features)
    y : numpy.ndarray of int, shape (n,)
        Two classes at least; the columns of the results are the sorted classes.
    penalties : sequence of float
    balanced : bool
        Weigh each row by n / (n_classes * rows of its class).
    """
    codes, counts = np.unique(y, return_inverse=True, return_counts=True)[1:]
    weight = (len(y) / (len(counts) * counts))[codes] if balanced else np.ones(len(y))
    target = np.where(codes[:, None] == np.arange(len(counts)), 1.0, -1.0)
    return [Ridge(coef, intercept) for coef, intercept in least_squares_path(x, target, penalties, weight)]


def least_squares_path(
    x: Floats, target: NDArray[np.float64], penalties: Sequence[float], weight: NDArray[np.float64] | None = None
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Coefficients (n_targets, n_features) and intercepts (n_targets,) of targets (n, n_targets) for every penalty.

    Rows count by their weight (n,); intercepts are not penalised.
    """
    weight = np.ones(len(x)) if weight is None else weight
    x_mean, y_mean = (np.average(part, axis=0, weights=weight) for part in (x, target))
    root = np.sqrt(weight)[:, None]
    a = (x - x_mean.astype(x.dtype)) * root.astype(x.dtype)
    b = (target - y_mean) * root
    wide = a.shape[1] > a.shape[0]
    values, vectors = np.linalg.eigh((a @ a.T if wide else a.T @ a).astype(np.float64))
    values = np.maximum(values, 0)
    turned = vectors.T @ (b if wide else a.T.astype(np.float64) @ b)
    fitted = []
    for penalty in penalties:
        solution = vectors @ (turned / (values + penalty)[:, None])
        coef = (a.T @ solution.astype(a.dtype) if wide else solution).T.astype(np.float64)
        fitted.append((coef, y_mean - coef @ x_mean))
    return fitted
