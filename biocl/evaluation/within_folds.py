"""Metrics of several folds: each fold has a classifier of its own, and their scores are not on one scale.

A prediction is a prediction, so accuracy, precision, recall and F1 go over the windows of all folds. AUROC and
AUPRC compare scores with one another: a patient whom one fold's classifier gives .6 need not be more likely ill
than one whom another's gives .5. They are therefore computed within each fold that holds every class, and averaged
with equal weights of the folds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.evaluation.metrics import (
    Floats,
    Integers,
    has_one_label,
    mean_of_defined,
    weighted_areas,
    weighted_counts,
    weighted_metrics,
)


def metrics_over_folds(
    y: Integers,
    proba: Floats,
    unit: Integers,
    weights: ArrayLike,
    fold: NDArray[Any] | None,
    share: Floats | None = None,
) -> dict[str, Floats]:
    """`biocl.evaluation.metrics.weighted_metrics`, with AUROC and AUPRC within folds if there are several.

    Parameters
    ----------
    y, proba, unit, weights
        As in `weighted_metrics`.
    fold : numpy.ndarray, shape (n,), or None
        Which fold's classifier scored each row.
    share : numpy.ndarray, shape (n,), optional
        How much each row counts where several folds score the same windows: one by the number of those that do. Within
        a fold a window stands once, so that AUROC and AUPRC need none.
    """
    w = np.asarray(weights, dtype=np.float64)
    if fold is None or len(np.unique(fold)) < 2:
        return weighted_metrics(y, proba, unit, w)
    return weighted_counts(y, proba, unit, w, share) | areas_within_folds(y, proba, unit, w, fold)


def areas_within_folds(
    y: Integers, proba: Floats, unit: Integers, weights: Floats, fold: NDArray[Any]
) -> dict[str, Floats]:
    """AUROC and AUPRC of every fold that holds every class, averaged over these folds.

    Returns
    -------
    dict of str to numpy.ndarray, shape (n_draws,)
        A fold that loses a class under a draw is left out of that draw; NaN where no fold is left.
    """
    n_classes = proba.shape[1]
    found: dict[str, list[Floats]] = {"auroc": [], "auprc": []}
    for one in complete_folds(y, fold, n_classes):
        rows = fold == one
        units, codes = np.unique(unit[rows], return_inverse=True)
        counts = np.zeros((len(units), n_classes))
        np.add.at(counts, (codes, y[rows]), 1)
        w = weights[:, units]
        holds_all = (w @ counts > 0).all(axis=1)
        for name, area in weighted_areas(y[rows], proba[rows], codes, w).items():
            found[name].append(np.where(holds_all, area, np.nan))
    nothing = [np.full(len(weights), np.nan)]
    return {name: mean_of_defined(areas or nothing) for name, areas in found.items()}


def complete_folds(y: ArrayLike, fold: ArrayLike, n_classes: int) -> list[Any]:
    """The folds whose rows hold every class."""
    labels, folds = np.asarray(y), np.asarray(fold)
    return [one for one in np.unique(folds) if len(np.unique(labels[folds == one])) == n_classes]


def fold_of_units(fold: ArrayLike, unit: ArrayLike) -> NDArray[Any]:
    """The fold that tested each patient or trial, in sorted order of the units, shape (n_units,).

    Units whose rows are spread over folds mix classifiers and have no fold in common with another unit.
    """
    folds = np.asarray(fold)
    names, first = np.unique(np.asarray(unit), return_index=True)
    return folds[first] if has_one_label(folds, unit) else np.arange(len(names))
