"""Several labels at once: areas under curves of each label, with intervals over patients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.evaluation.intervals import Resampled, resample_patients
from biocl.evaluation.metrics import mean_of_defined, weighted_auroc, weighted_average_precision

Floats = NDArray[np.float64]


def macro_auroc(labels: NDArray[np.integer[Any]], score: ArrayLike) -> float:
    """Mean area under the ROC curve over the labels of which both sides are there; NaN where there is none.

    Parameters
    ----------
    labels : numpy.ndarray of int, shape (n, n_labels)
        1 where a label holds, 0 where it does not, -1 where it is unknown and left out.
    score : array-like, shape (n, n_labels)
    """
    together = np.zeros(len(labels), np.int64)
    return float(areas(labels, np.asarray(score, np.float64), together, np.ones((1, 1)))["macro_auroc"][0])


def resample_labels(
    labels: NDArray[np.integer[Any]],
    score: ArrayLike,
    unit: ArrayLike,
    *,
    n_draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Resampled:
    """Areas under the ROC curve and under precision and recall, on the real patients and on resamples of them.

    Parameters
    ----------
    labels : numpy.ndarray of int, shape (n, n_labels)
        See `macro_auroc`.
    score : array-like, shape (n, n_labels) or (n_repeats, n, n_labels)
        Each area is averaged over the repeats within every resample.
    unit : array-like, shape (n,)
        Patients, or trials; the same ones as in any other arm, so that differences are paired.
    n_draws : int
    level : float
    seed : int

    Returns
    -------
    Resampled
        ``macro_auroc`` and ``macro_auprc``, means over the labels that have both sides in a resample, and ``auroc 0``,
        ``auroc 1`` … of each label.
    """
    names, codes = np.unique(np.asarray(unit), return_inverse=True)
    weights = np.vstack([np.ones((1, len(names))), resample_patients(len(names), n_draws, seed)]).astype(np.float64)
    repeats = np.asarray(score, np.float64)
    repeats = repeats[None] if repeats.ndim == 2 else repeats
    tables = [areas(labels, one, codes, weights) for one in repeats]
    return Resampled(
        {name: np.mean([table[name] for table in tables], axis=0) for name in tables[0]}, len(names), level, seed
    )


def areas(
    labels: NDArray[np.integer[Any]], score: Floats, codes: NDArray[np.integer[Any]], weights: Floats
) -> dict[str, Floats]:
    """The areas under weightings (n_weightings, n_units) of the units that the rows belong to."""
    roc, pr = [], []
    for column, said in zip(labels.T, score.T, strict=True):
        known = column >= 0
        roc.append(weighted_auroc(column[known] == 1, said[known], codes[known], weights))
        pr.append(weighted_average_precision(column[known] == 1, said[known], codes[known], weights))
    found = {"macro_auroc": mean_of_defined(roc), "macro_auprc": mean_of_defined(pr)}
    return found | {f"auroc {number}": one for number, one in enumerate(roc)}
