"""The linear probe: z-score, a linear classifier, and a regularisation chosen between patients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.errors import DataError
from biocl.evaluation.metrics import macro_f1
from biocl.evaluation.ridge import ridge_path
from biocl.randomness import stream

if TYPE_CHECKING:
    from biocl.evaluation.spec import ProbeSpec

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]
Classifier = Literal["logistic", "ridge"]

RIDGE_GRID = tuple(10.0**-exponent for exponent in range(-1, 6))
"""``C`` of a ridge, the inverse of its penalty: penalties from 0.1, where ten thousand z-scored features fit anything,
to 100,000, ten times the squared length of such a row."""
RIDGE_DEFAULT = 1e-3


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Attributes
    ----------
    model : tuple or None
        Scaler and classifier; None where there is nothing to learn from: no feature (the majority floor), or
        a single class in the training rows.
    shares : numpy.ndarray, shape (n_classes,)
        Shares of the classes among the training rows; predicted where there is no model. A class of share 0
        is never predicted.
    n_classes : int
        Number of columns of `predict_proba`.
    c : float
        The inverse regularisation of the final fit (scikit-learn's ``C``).
    chosen : str
        How `c` came about, in words for the result file.
    inner_scores : dict of float to float
        Macro-F1 of the pooled out-of-fold predictions for every candidate ``C``; empty if none was tried.
    """

    model: Any
    shares: NDArray[np.float64]
    n_classes: int
    c: float
    chosen: str
    inner_scores: dict[float, float]

    def predict_proba(self, features: Floats) -> NDArray[np.float64]:
        """Class probabilities ``(n, n_classes)`` of features ``(n, n_features)``; rows sum to 1."""
        return _predict(self.model, self.shares, features)

    def arrays(self) -> dict[str, Floats]:
        """What a file needs to predict again: ``softmax((x - mean) / scale @ coef.T + intercept)``.

        With two classes there is one row, the log odds of the second seen class; ``one-vs-rest`` has a
        sigmoid for every class, divided by their sum. A ridge always has a row for every seen class. Without a
        model only ``shares``.
        """
        if self.model is None:
            return {"shares": self.shares}
        scaler, classifier = self.model
        parts = getattr(classifier, "estimators_", [classifier])
        return {
            "shares": self.shares,
            "mean": scaler.mean_,
            "scale": scaler.scale_,
            "coef": np.vstack([part.coef_ for part in parts]),
            "intercept": np.concatenate([part.intercept_ for part in parts]),
        }


def fit_probe(
    features: Floats,
    y: ArrayLike,
    patient: ArrayLike,
    *,
    n_classes: int,
    spec: ProbeSpec,
    seed: int = 0,
    classifier: Classifier = "logistic",
) -> Probe:
    """Fit scaler and classifier on labelled training rows.

    Parameters
    ----------
    features : numpy.ndarray, shape (n, n_features)
        Training features only; the scaler is fitted on them. They are read in float64.
    y : array-like of int, shape (n,)
        Class numbers in ``0 .. n_classes - 1``.
    patient : array-like, shape (n,)
        Whose row it is (numbers or names).
    n_classes : int
        Width of the predicted probabilities, whatever classes the training rows hold.
    spec : ProbeSpec
        Kind of classifier, class weights, how ``C`` is chosen.
    seed : int
        Only used to draw rows where there are more than ``spec.max_rows`` (or, while choosing ``C``,
        more than ``spec.max_inner_rows``).
    classifier : str
        ``logistic`` is what `spec` describes. ``ridge`` (`biocl.evaluation.ridge`) has the class weights, folds and
        row limits of `spec`, and always chooses ``C``, the inverse penalty, among `RIDGE_GRID`.

    Returns
    -------
    Probe

    Raises
    ------
    DataError
        If shapes disagree, there is no row, or a feature is not finite.

    Notes
    -----
    ``c: inner-folds`` tries every value of ``spec.c_grid`` on patient-wise folds of the training rows and
    takes the one whose pooled out-of-fold predictions have the best macro-F1; ties go to the value nearest
    ``spec.default_c``. With n labelled patients there are min(``spec.n_folds``, n) folds, so 2 to 5 patients
    means leave-one-patient-out. One patient alone cannot say what generalises to another: ``default_c``
    is taken. While choosing, rows are thinned and held in float32, and ``C`` is rescaled by the ratio of
    rows, so that data and penalty stand in the same proportion as in the final fit.

    42,563 rows of 200 features in 4 classes take about 6 s on one core with the default `ProbeSpec`.
    """
    x, labels, patients = np.asarray(features), np.asarray(y, dtype=np.int64), np.asarray(patient)
    _check(x, labels, patients, n_classes)
    codes = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    keep = _thin(labels, spec.max_rows, stream(seed, "probe", "rows"))
    x, labels, codes = x[keep], labels[keep], codes[keep]
    c, chosen, scores = _choose_c(x, labels, codes, n_classes, spec, seed, classifier)
    model = _fit([c], x.astype(np.float64), labels, spec, spec.tolerance, classifier)[0]
    return Probe(model, _shares(labels, n_classes), n_classes, c, chosen, scores)


def patient_folds(y: ArrayLike, patient: ArrayLike, n_folds: int) -> Integers:
    """Fold number of every row, such that a patient is in one fold and folds resemble each other.

    Patients are placed one by one, those with the largest shares of any class first, each in the fold
    that leaves the class shares of the folds most equal. There is no randomness.

    Parameters
    ----------
    y : array-like of int, shape (n,)
    patient : array-like, shape (n,)
    n_folds : int
        At most the number of patients is used.

    Returns
    -------
    numpy.ndarray of int, shape (n,)
    """
    labels = np.unique(np.asarray(y), return_inverse=True)[1]
    names, codes = np.unique(np.asarray(patient), return_inverse=True)
    share = np.zeros((len(names), labels.max() + 1))
    np.add.at(share, (codes, labels), 1.0)
    share /= share.sum(axis=0)
    n_folds = min(n_folds, len(names))
    held = np.zeros((n_folds, share.shape[1]))
    fold_of, n_in = np.zeros(len(names), dtype=np.int64), np.zeros(n_folds, dtype=np.int64)
    for person in np.lexsort((np.arange(len(names)), -share.max(axis=1))):
        growth = ((held + share[person]) ** 2 - held**2).sum(axis=1)
        fold = int(np.lexsort((n_in, np.round(growth, 12)))[0])
        if n_folds == len(names):  # leave-one-patient-out: every fold gets exactly one
            fold = int(np.argmin(n_in))
        held[fold] += share[person]
        fold_of[person], n_in[fold] = fold, n_in[fold] + 1
    return fold_of[codes]


def _choose_c(
    x: Floats,
    y: Integers,
    patient: Integers,
    n_classes: int,
    spec: ProbeSpec,
    seed: int,
    classifier: Classifier,
) -> tuple[float, str, dict[float, float]]:
    """``C``, how it was chosen, and the score of every candidate."""
    default_c, grid = spec.default_c, sorted(spec.c_grid)
    if classifier == "ridge":
        default_c, grid = RIDGE_DEFAULT, sorted(RIDGE_GRID)
    elif spec.c != "inner-folds":
        return spec.c, "fixed", {}
    n_patients = len(np.unique(patient))
    if x.shape[1] == 0 or len(np.unique(y)) < 2:
        return default_c, "unused: no feature or a single class, so the class shares are predicted", {}
    if n_patients < 2:
        return default_c, "default: one labelled patient has no inner folds", {}
    fold = patient_folds(y, patient, spec.n_folds)
    predicted = np.empty((len(grid), len(y)), dtype=np.int64)
    for k in range(int(fold.max()) + 1):
        train = np.flatnonzero(fold != k)
        rows = train[_thin(y[train], spec.max_inner_rows, stream(seed, "probe", "inner", k))]
        ratio = len(y) / len(rows)
        scaled_grid = [c * ratio for c in grid]
        inner = x[rows].astype(np.float32)
        models = _fit(scaled_grid, inner, y[rows], spec, spec.inner_tolerance, classifier)
        held_out = x[fold == k].astype(np.float32)
        for i, model in enumerate(models):
            proba = _predict(model, _shares(y[rows], n_classes), held_out)
            predicted[i, fold == k] = proba.argmax(axis=1)
    scores = {c: macro_f1(y, predicted[i]) for i, c in enumerate(grid)}
    best = max(scores.values())
    tied = [c for c in grid if scores[c] >= best - 1e-12]
    c = min(tied, key=lambda value: abs(np.log(value / default_c)))
    return c, f"macro-F1 on {int(fold.max()) + 1} patient-wise inner folds of {n_patients} patients", scores


def _fit(
    cs: Sequence[float], x: Floats, y: Integers, spec: ProbeSpec, tolerance: float, classifier: Classifier
) -> list[Any]:
    """Scaler and classifier for every ``C`` (ascending)."""
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(y)) < 2 or x.shape[1] == 0:
        return [None] * len(cs)
    scaler = StandardScaler().fit(x)
    scaled = scaler.transform(x)
    if classifier == "ridge":
        models: list[Any] = list(ridge_path(scaled, y, [1 / c for c in cs], balanced=spec.class_weight == "balanced"))
    else:
        models = _logistic(cs, scaled, y, spec, tolerance)
    return [(scaler, model) for model in models]


def _logistic(cs: Sequence[float], scaled: Floats, y: Integers, spec: ProbeSpec, tolerance: float) -> list[Any]:
    """One model for every ``C`` (ascending), each started where the one before ended."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    weight = None if spec.class_weight == "none" else spec.class_weight
    fitted: list[Any] = []
    coefficients: tuple[Floats, Floats] | None = None
    for c in cs:
        single = LogisticRegression(C=c, class_weight=weight, max_iter=spec.max_iter, tol=tolerance)
        if spec.kind == "one-vs-rest":
            model = OneVsRestClassifier(single)
        else:
            model = single.set_params(warm_start=True)
            if coefficients is not None:
                model.coef_, model.intercept_ = (part.copy() for part in coefficients)
        with warnings.catch_warnings():
            # A probe that stops at max_iter is still a probe; the inner folds judge what it predicts.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled, y)
        if spec.kind == "softmax":
            coefficients = (model.coef_, model.intercept_)
        fitted.append(model)
    return fitted


def _predict(model: Any, shares: NDArray[np.float64], features: Floats) -> NDArray[np.float64]:
    """Probabilities in one column per class, 0 where a class was not seen in training."""
    if model is None:
        return np.tile(shares, (len(features), 1))
    proba = np.zeros((len(features), len(shares)))
    scaler, classifier = model
    proba[:, shares > 0] = classifier.predict_proba(scaler.transform(features))
    return proba


def _shares(y: Integers, n_classes: int) -> NDArray[np.float64]:
    return np.bincount(y, minlength=n_classes) / len(y)


def _thin(y: Integers, max_rows: int, rng: np.random.Generator) -> Integers:
    """At most `max_rows` row numbers in rising order; large classes are thinned before small ones."""
    counts = np.unique(y, return_counts=True)[1]
    if len(y) <= max_rows:
        return np.arange(len(y))
    cap, left = 0, max_rows
    for i, count in enumerate(np.sort(counts)):  # the largest cap whose sum over classes fits
        cap = left // (len(counts) - i)
        if count >= cap:
            break
        left -= int(count)
    rows = [rng.permutation(np.flatnonzero(y == label))[:cap] for label in np.unique(y)]
    return np.sort(np.concatenate(rows))


def _check(x: Floats, y: Integers, patient: NDArray[Any], n_classes: int) -> None:
    if x.ndim != 2 or not len(x) == len(y) == len(patient):
        raise DataError(
            f"Features {x.shape}, labels {y.shape}, patients {patient.shape} do not describe the same rows",
            "linear probe",
            "Give features (n, n_features) with one label and one patient for each row",
        )
    if len(y) == 0 or y.min() < 0 or y.max() >= n_classes:
        raise DataError(
            f"The probe needs labelled rows with class numbers from 0 to {n_classes - 1}",
            "linear probe",
            "Leave out windows without a label before fitting",
        )
    if not np.isfinite(x).all():
        columns = np.flatnonzero(~np.isfinite(x).all(axis=0))
        raise DataError(
            f"Features hold values that are not finite, in columns {columns[:5].tolist()} (of {x.shape[1]})",
            "linear probe",
            "Check the recordings for gaps, or the encoder for a loss that diverged",
        )
