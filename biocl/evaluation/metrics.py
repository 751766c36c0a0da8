"""Scores of class probabilities, for one set of weights on the patients or for thousands.

Everything here is a sum over patients, so that a bootstrap draw is only another vector of weights:

- accuracy, precision, recall and F1 come from one confusion matrix for each patient;
- AUROC comes from a patient × patient table that counts the pairs (a positive of one, a negative of the
  other) in the right order;
- AUPRC comes from the running counts of each patient down the sorted scores.

The plain metrics of a data set are the case of one weight vector of ones, and each patient's own metrics
are the identity matrix of weights: there is one implementation, and it equals scikit-learn's.

Conventions: a prediction is the class of highest probability (the first of equals). Macro averages go over
the classes that occur in the labels or in the predictions (scikit-learn's default), with 0 where a ratio is
undefined. AUROC and AUPRC are macro one-vs-rest over the classes that have both sides (a positive and a
negative), and NaN where no class has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

METRICS = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "auroc", "auprc")
Aggregation = Literal["mean-probability", "vote"]
AGGREGATIONS: tuple[Aggregation, ...] = ("mean-probability", "vote")

CHUNK = 2_000_000
"""Numbers held at once while AUPRC is computed for many draws (16 MB)."""


def classification_metrics(y: ArrayLike, proba: ArrayLike, classes: Sequence[str]) -> dict[str, float]:
    """Metrics over all rows, each row counting the same.

    Parameters
    ----------
    y : array-like of int, shape (n,)
        Class numbers in ``0 .. len(classes) - 1``.
    proba : array-like, shape (n, n_classes)
        Class probabilities, or any scores of which the highest is the prediction.
    classes : sequence of str
        Class names, in the order of the columns.

    Returns
    -------
    dict of str to float
        The keys of `METRICS`.

    Raises
    ------
    DataError
        If the arrays do not describe the same rows, a label is outside the classes, a score is not finite,
        or there is no row.
    """
    labels, scores = checked(y, proba, len(classes))
    everyone = np.zeros(len(labels), dtype=np.int64)
    table = weighted_metrics(labels, scores, everyone, np.ones((1, 1)))
    return {name: float(draws[0]) for name, draws in table.items()}


def macro_f1(y: ArrayLike, predicted: ArrayLike) -> float:
    """Macro-F1 of hard predictions ``(n,)`` against labels ``(n,)``."""
    labels, guesses = np.asarray(y, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    n_classes = int(max(labels.max(), guesses.max())) + 1
    tables = confusion_by_unit(labels, guesses, np.zeros(len(labels), dtype=np.int64), 1, n_classes)
    return float(metrics_from_confusion(tables.astype(np.float64))["macro_f1"][0])


def metrics_by_unit(
    y: ArrayLike, proba: ArrayLike, unit: ArrayLike, classes: Sequence[str]
) -> dict[Any, dict[str, float]]:
    """Each patient's (or trial's) own window-level metrics.

    Parameters
    ----------
    y, proba, classes
        As in `classification_metrics`.
    unit : array-like, shape (n,)
        Whose row it is: patient or trial, as numbers or names.

    Returns
    -------
    dict
        ``{unit: {metric: value, ..., "n_windows": count}}`` in sorted order. `mean_over_units`
        averages them. AUROC and AUPRC of a patient who has one class are NaN.
    """
    labels, scores = checked(y, proba, len(classes))
    names, codes = np.unique(np.asarray(unit), return_inverse=True)
    table = weighted_metrics(labels, scores, codes, np.eye(len(names)))
    counts = np.bincount(codes)
    return {
        name.item(): {metric: float(table[metric][i]) for metric in METRICS} | {"n_windows": float(counts[i])}
        for i, name in enumerate(names)
    }


def own_scores(
    y: ArrayLike, proba: ArrayLike, unit: ArrayLike, classes: Sequence[str], metric: str
) -> dict[Any, float]:
    """One of the metrics of predictions (not AUROC, AUPRC) of every unit: that of `metrics_by_unit`, at less cost."""
    labels, scores = checked(y, proba, len(classes))
    names, codes = np.unique(np.asarray(unit), return_inverse=True)
    tables = confusion_by_unit(labels, scores.argmax(axis=1), codes, len(names), len(classes))
    values = metrics_from_confusion(tables.astype(np.float64))[metric]
    return dict(zip(names.tolist(), values.tolist(), strict=True))


def mean_over_units(table: Mapping[Any, Mapping[str, float]]) -> dict[str, float]:
    """Plain mean of every metric over the units of `metrics_by_unit` for which it is defined."""
    means = {}
    for metric in METRICS:
        values = np.array([row[metric] for row in table.values()])
        means[metric] = float(values[~np.isnan(values)].mean()) if (~np.isnan(values)).any() else float("nan")
    return means


def metrics_by_level(
    y: ArrayLike, proba: ArrayLike, patient: ArrayLike, trial: ArrayLike, classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Metrics of windows, trials and patients; the key says what was aggregated, and how.

    Returns
    -------
    dict
        ``"window"``; ``"patient, mean of own metrics"``; and, where all windows of a trial (patient) carry
        one label, ``"trial, mean-probability"``, ``"trial, vote"`` (``"patient, ..."``). A level whose units
        hold several labels, such as the beats of one person, is absent.
    """
    labels, scores = checked(y, proba, len(classes))
    levels = {
        "window": classification_metrics(labels, scores, classes),
        "patient, mean of own metrics": mean_over_units(metrics_by_unit(labels, scores, patient, classes)),
    }
    for name, unit in (("trial", trial), ("patient", patient)):
        if has_one_label(labels, unit):
            for how in AGGREGATIONS:
                _, own_label, own_proba = aggregate(labels, scores, unit, how)
                levels[f"{name}, {how}"] = classification_metrics(own_label, own_proba, classes)
    return levels


def has_one_label(y: ArrayLike, unit: ArrayLike) -> bool:
    """Whether all rows of every unit (trial, patient) carry the same label."""
    labels, codes = np.asarray(y), np.unique(np.asarray(unit), return_inverse=True)[1]
    first = np.empty(codes.max() + 1, dtype=labels.dtype)
    first[codes[::-1]] = labels[::-1]
    return bool((first[codes] == labels).all())


def aggregate(
    y: ArrayLike, proba: ArrayLike, unit: ArrayLike, how: Aggregation
) -> tuple[NDArray[Any], Integers, Floats]:
    """One label and one probability vector for each trial or patient.

    Parameters
    ----------
    y : array-like of int, shape (n,)
    proba : array-like, shape (n, n_classes)
    unit : array-like, shape (n,)
    how : {"mean-probability", "vote"}
        Mean of the windows' probabilities, or share of the windows that vote for the class. An equal vote is
        decided by the mean probability (added with weight 1e-6).

    Returns
    -------
    units : numpy.ndarray, shape (n_units,)
    y : numpy.ndarray of int, shape (n_units,)
    proba : numpy.ndarray, shape (n_units, n_classes)

    Raises
    ------
    DataError
        If a unit holds windows of different labels.
    """
    labels, scores = checked(y, proba, np.shape(proba)[-1])
    if not has_one_label(labels, unit):
        raise DataError(
            "A trial or patient holds windows of different labels, so it has no label of its own",
            "aggregation of predictions",
            "Report windows and each patient's own metrics instead",
        )
    names, first, codes = np.unique(np.asarray(unit), return_index=True, return_inverse=True)
    count = np.bincount(codes)[:, None]
    mean = np.zeros((len(names), scores.shape[1]))
    np.add.at(mean, codes, scores)
    mean /= count
    if how == "mean-probability":
        return names, labels[first], mean
    votes = np.zeros_like(mean)
    np.add.at(votes, (codes, scores.argmax(axis=1)), 1.0)
    return names, labels[first], (votes / count + 1e-6 * mean) / (1 + 1e-6)


def weighted_metrics(y: Integers, proba: Floats, unit: Integers, weights: ArrayLike) -> dict[str, Floats]:
    """All metrics under many weightings of the units.

    Parameters
    ----------
    y : numpy.ndarray of int, shape (n,)
    proba : numpy.ndarray, shape (n, n_classes)
    unit : numpy.ndarray of int, shape (n,)
        Unit of each row, in ``0 .. n_units - 1``.
    weights : array-like, shape (n_draws, n_units)
        How often each unit counts in each draw; not negative.

    Returns
    -------
    dict of str to numpy.ndarray, shape (n_draws,)
        The keys of `METRICS`.
    """
    w = np.asarray(weights, dtype=np.float64)
    return weighted_counts(y, proba, unit, w) | weighted_areas(y, proba, unit, w)


def weighted_counts(
    y: Integers, proba: Floats, unit: Integers, weights: Floats, share: Floats | None = None
) -> dict[str, Floats]:
    """The metrics that look at predictions only: accuracy and macro precision, recall and F1.

    `share` (n,) is how much each row counts beside its unit's weight, as of a window that stands there several times.
    """
    tables = confusion_by_unit(y, proba.argmax(axis=1), unit, weights.shape[1], proba.shape[1], share)
    return metrics_from_confusion(np.tensordot(weights, tables.astype(np.float64), axes=1))


def weighted_areas(y: Integers, proba: Floats, unit: Integers, weights: Floats) -> dict[str, Floats]:
    """The metrics that compare scores: macro AUROC and AUPRC."""
    kinds = range(proba.shape[1])
    auroc = [weighted_auroc(y == k, proba[:, k], unit, weights) for k in kinds]
    auprc = [weighted_average_precision(y == k, proba[:, k], unit, weights) for k in kinds]
    return {"auroc": mean_of_defined(auroc), "auprc": mean_of_defined(auprc)}


def confusion_by_unit(
    y: Integers, predicted: Integers, unit: Integers, n_units: int, n_classes: int, share: Floats | None = None
) -> NDArray[Any]:
    """Confusion matrices ``(n_units, n_classes, n_classes)``: rows true, columns predicted; each row counts `share`."""
    cell = (unit * n_classes + y) * n_classes + predicted
    counts = np.bincount(cell, share, n_units * n_classes**2)
    return counts.reshape(n_units, n_classes, n_classes)


def metrics_from_confusion(tables: Floats) -> dict[str, Floats]:
    """Accuracy and macro scores of confusion matrices ``(n_draws, n_classes, n_classes)``."""
    hits = np.diagonal(tables, axis1=1, axis2=2)
    true, predicted = tables.sum(axis=2), tables.sum(axis=1)
    occurs = (true + predicted) > 0
    n_occur = np.maximum(occurs.sum(axis=1), 1)

    def macro(numerator: Floats, denominator: Floats) -> Floats:
        return (_ratio(numerator, denominator) * occurs).sum(axis=1) / n_occur

    return {
        "accuracy": _ratio(hits.sum(axis=1), tables.sum(axis=(1, 2))),
        "macro_precision": macro(hits, predicted),
        "macro_recall": macro(hits, true),
        "macro_f1": macro(2 * hits, true + predicted),
    }


def weighted_auroc(positive: NDArray[np.bool_], score: Floats, unit: Integers, weights: Floats) -> Floats:
    """Area under the ROC curve of one class under many weightings of the units.

    With ``A[p, q]`` = pairs (positive of p, negative of q) ordered rightly, ties counting one half, the area
    is ``w' A w / (w' n_positive · w' n_negative)``: exact, and a matrix product for all draws together.

    Parameters
    ----------
    positive : numpy.ndarray of bool, shape (n,)
    score : numpy.ndarray, shape (n,)
    unit : numpy.ndarray of int, shape (n,)
    weights : numpy.ndarray, shape (n_draws, n_units)

    Returns
    -------
    numpy.ndarray, shape (n_draws,)
        NaN where a draw lacks positives or negatives.
    """
    n_units = weights.shape[1]
    n_positive = np.bincount(unit[positive], minlength=n_units).astype(np.float64)
    n_negative = np.bincount(unit[~positive], minlength=n_units).astype(np.float64)
    order = np.argsort(score[positive], kind="stable")
    owner, sorted_scores = unit[positive][order], score[positive][order]
    pairs = np.zeros((n_units, n_units))
    negatives, negative_owner = score[~positive], unit[~positive]
    by_owner = np.argsort(negative_owner, kind="stable")
    for q, own in enumerate(np.split(negatives[by_owner], np.cumsum(n_negative.astype(np.int64))[:-1])):
        if len(own) and len(owner):
            own = np.sort(own)
            below = np.searchsorted(own, sorted_scores, "left") + np.searchsorted(own, sorted_scores, "right")
            pairs[:, q] = np.bincount(owner, weights=below / 2, minlength=n_units)
    right = np.einsum("dp,pq,dq->d", weights, pairs, weights, optimize=True)
    total = (weights @ n_positive) * (weights @ n_negative)
    return _ratio(right, total, otherwise=np.nan)


def weighted_average_precision(positive: NDArray[np.bool_], score: Floats, unit: Integers, weights: Floats) -> Floats:
    """Average precision of one class under many weightings of the units.

    The sum over the distinct scores, from the highest, of precision times the gain in recall.

    Parameters
    ----------
    positive : numpy.ndarray of bool, shape (n,)
    score : numpy.ndarray, shape (n,)
    unit : numpy.ndarray of int, shape (n,)
    weights : numpy.ndarray, shape (n_draws, n_units)

    Returns
    -------
    numpy.ndarray, shape (n_draws,)
        NaN where a draw lacks positives or negatives.
    """
    n_draws, n_units = weights.shape
    order = np.argsort(-score, kind="stable")
    score, unit, positive = score[order], unit[order], positive[order]
    # Only thresholds at which some positive enters change the sum.
    last = np.flatnonzero(np.append(np.diff(score) != 0, True))
    entered = np.diff(np.concatenate([[0], np.cumsum(positive)[last]]))
    ends = last[entered > 0] + 1
    area = np.zeros(n_draws)
    seen, seen_positive, start = np.zeros(n_units), np.zeros(n_units), 0
    hits_before = np.zeros((n_draws, 1))
    step = max(1, CHUNK // max(n_draws, n_units))
    for stops in (ends[i : i + step] for i in range(0, len(ends), step)):
        rows = slice(start, int(stops[-1]))
        group = np.searchsorted(stops, np.arange(start, stops[-1]), side="right")
        everyone = _running_counts(group, unit[rows], None, len(stops), seen)
        hits = _running_counts(group, unit[rows], positive[rows], len(stops), seen_positive)
        weighted_hits = weights @ hits.T
        precision = _ratio(weighted_hits, weights @ everyone.T)
        gain = np.diff(np.hstack([hits_before, weighted_hits]), axis=1)
        area += (precision * gain).sum(axis=1)
        seen, seen_positive, start = everyone[-1], hits[-1], int(stops[-1])
        hits_before = weighted_hits[:, -1:]
    n_positive = weights @ np.bincount(unit[positive], minlength=n_units)
    n_negative = weights @ np.bincount(unit[~positive], minlength=n_units)
    return np.where(n_negative > 0, _ratio(area, n_positive, otherwise=np.nan), np.nan)


def checked(y: ArrayLike, proba: ArrayLike, n_classes: int) -> tuple[Integers, Floats]:
    """Labels and scores as arrays, or one paragraph that says what is wrong with them."""
    labels, scores = np.asarray(y), np.asarray(proba, dtype=np.float64)
    where = "class probabilities"
    if scores.ndim != 2 or scores.shape != (len(labels), n_classes) or len(labels) == 0:
        raise DataError(
            f"Probabilities of shape {scores.shape} do not fit {len(labels)} labels of {n_classes} classes",
            where,
            "Give one row for each label and one column for each class",
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise DataError(
            f"Labels run from {labels.min()} to {labels.max()}, but there are {n_classes} classes",
            where,
            "Leave out windows without a label before scoring",
        )
    if not np.isfinite(scores).all():
        raise DataError(
            "Probabilities hold values that are not finite",
            where,
            "Check the training log for a loss that diverged",
        )
    return labels.astype(np.int64), scores


def _running_counts(
    group: Integers, unit: Integers, counted: NDArray[np.bool_] | None, n_groups: int, before: Floats
) -> Floats:
    """Counts by unit up to and including each group of rows, ``(n_groups, n_units)``."""
    cell = group * len(before) + unit
    counts = np.bincount(cell, weights=counted, minlength=n_groups * len(before)).astype(np.float64)
    return before + counts.reshape(n_groups, len(before)).cumsum(axis=0)


def _ratio(numerator: Floats, denominator: Floats, otherwise: float = 0.0) -> Floats:
    out = np.full(np.shape(numerator), otherwise)
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) > 0)


def mean_of_defined(columns: list[Floats]) -> Floats:
    """Mean over classes (folds, repeats) for each draw, leaving out NaN; NaN where none is left."""
    table = np.stack(columns)
    defined = ~np.isnan(table)
    return _ratio(np.where(defined, table, 0.0).sum(axis=0), defined.sum(axis=0).astype(float), otherwise=np.nan)
