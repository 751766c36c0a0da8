"""Numbers rather than classes: the ridge probe and its metrics, mean absolute error and correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.errors import DataError
from biocl.evaluation.intervals import Resampled, resample_patients
from biocl.evaluation.probe import patient_folds
from biocl.evaluation.ridge import least_squares_path
from biocl.randomness import stream

if TYPE_CHECKING:
    from biocl.evaluation.spec import ProbeSpec

Floats = NDArray[np.floating[Any]]
PENALTIES = tuple(10.0**exponent for exponent in range(-1, 7))
DEFAULT_PENALTY = 1e3
METRICS = ("mae", "r")
ALMOST_NONE = 1e-12
"""Share of a sum of squares that rounding leaves of what does not vary."""


@dataclass(frozen=True)
class Regressor:
    """A ridge on z-scored features; without features the training mean.

    Attributes
    ----------
    mean, scale : numpy.ndarray, shape (n_features,)
        Of the training features.
    coef : numpy.ndarray, shape (n_targets, n_features)
    intercept : numpy.ndarray, shape (n_targets,)
    penalty : float
        On the squared coefficients.
    chosen : str
        How `penalty` came about, in words.
    """

    mean: Floats
    scale: Floats
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    penalty: float
    chosen: str

    def predict(self, features: Floats) -> NDArray[np.float64]:
        """Features (n, n_features) to numbers (n, n_targets)."""
        scaled = (features.astype(np.float64) - self.mean) / self.scale
        return np.asarray(scaled @ self.coef.T + self.intercept)


def fit_regressor(features: Floats, y: ArrayLike, patient: ArrayLike, *, spec: ProbeSpec, seed: int = 0) -> Regressor:
    """A ridge on labelled training rows whose penalty comes from inner folds of their patients.

    Parameters
    ----------
    features : numpy.ndarray, shape (n, n_features)
        No feature at all gives the mean of `y`.
    y : array-like, shape (n,)
    patient : array-like, shape (n,)
        Whose row it is.
    spec : ProbeSpec
        ``n_folds``, ``max_rows`` and ``max_inner_rows``; the rest is about classes.
    seed : int
        Of the rows that are drawn where there are more.

    Raises
    ------
    DataError
        There is no row, or a feature or number is not finite.

    Notes
    -----
    Every penalty of `PENALTIES` is tried on patient-wise folds, and the one with the least absolute error, mean over
    patients, is taken. While choosing, it is scaled by the share of rows.
    """
    x, target = np.asarray(features), np.asarray(y, dtype=np.float64)
    codes = np.unique(np.asarray(patient), return_inverse=True)[1]
    if not len(target) or not np.isfinite(x).all() or not np.isfinite(target).all():
        raise DataError(
            f"The regression probe needs rows of finite features and targets ({len(target)} rows)",
            "linear probe",
            "Check the recordings for gaps, the targets, or the encoder for a loss that diverged",
        )
    keep = thinned(len(target), spec.max_rows, stream(seed, "regression", "rows"))
    x, target, codes = x[keep], target[keep], codes[keep]
    n_patients = len(np.unique(codes))
    if x.shape[1] == 0:
        return fit_path(x, target[:, None], [DEFAULT_PENALTY], "unused: no feature, so the mean is predicted")[0]
    if n_patients < 2:
        return fit_path(x, target[:, None], [DEFAULT_PENALTY], "default: one labelled patient has no inner folds")[0]
    fold = patient_folds(np.zeros(len(target), np.int64), codes, spec.n_folds)
    predicted = np.empty((len(PENALTIES), len(target)))
    for k in range(int(fold.max()) + 1):
        train = np.flatnonzero(fold != k)
        rows = train[thinned(len(train), spec.max_inner_rows, stream(seed, "regression", "inner", k))]
        scaled = [penalty * len(rows) / len(target) for penalty in PENALTIES]
        for i, model in enumerate(fit_path(x[rows], target[rows, None], scaled, "")):
            predicted[i, fold == k] = model.predict(x[fold == k])[:, 0]
    errors = [np.mean(list(own_errors(target, one, codes).values())) for one in predicted]
    best = PENALTIES[int(np.argmin(errors))]
    why = f"absolute error on {int(fold.max()) + 1} patient-wise inner folds of {n_patients} patients"
    return fit_path(x, target[:, None], [best], why)[0]


def fit_path(x: Floats, target: Floats, penalties: Sequence[float], chosen: str) -> list[Regressor]:
    """A ridge of targets (n, n_targets) on z-scored features for every penalty."""
    wide = x.astype(np.float64)
    mean, scale = wide.mean(axis=0), wide.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    path = least_squares_path((wide - mean) / scale, target.astype(np.float64), penalties)
    return [
        Regressor(mean, scale, coef, intercept, penalty, chosen)
        for penalty, (coef, intercept) in zip(penalties, path, strict=True)
    ]


def thinned(n: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most so many row numbers of `n`, in rising order."""
    return np.arange(n) if n <= most else np.sort(rng.permutation(n)[:most])


def own_errors(y: ArrayLike, predicted: ArrayLike, unit: ArrayLike) -> dict[Any, float]:
    """Each patient's (or trial's) own mean absolute error."""
    names, codes = np.unique(np.asarray(unit), return_inverse=True)
    error = np.abs(np.asarray(predicted, np.float64) - np.asarray(y, np.float64))
    return dict(zip(names.tolist(), (np.bincount(codes, error) / np.bincount(codes)).tolist(), strict=True))


def correlation_over_units(y: ArrayLike, predicted: ArrayLike, unit: ArrayLike) -> float:
    """Pearson's r of the units' means; NaN below three of them, or where a side does not vary."""
    codes = np.unique(np.asarray(unit), return_inverse=True)[1]
    means = [np.bincount(codes, np.asarray(part, np.float64)) / np.bincount(codes) for part in (y, predicted)]
    if len(means[0]) < 3 or any(part.var() <= ALMOST_NONE * np.square(part).mean() for part in means):
        return float("nan")
    return float(np.corrcoef(means[0], means[1])[0, 1])


def resample_regression(
    y: ArrayLike,
    predicted: ArrayLike,
    unit: ArrayLike,
    *,
    share: ArrayLike | None = None,
    n_draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Resampled:
    """Mean absolute error and Pearson's r over all windows, on the real patients and on resamples of them.

    Parameters
    ----------
    y : array-like, shape (n,)
    predicted : array-like, shape (n,) or (n_repeats, n)
        Each metric is averaged over the repeats within every resample.
    unit : array-like, shape (n,)
        Patients, or trials; the same ones as in any other arm, so that differences are paired.
    share : array-like, shape (n,), optional
        How much each row counts, where a window stands there several times.
    n_draws : int
    level : float
    seed : int
    """
    names, codes = np.unique(np.asarray(unit), return_inverse=True)
    weights = np.vstack([np.ones((1, len(names))), resample_patients(len(names), n_draws, seed)])
    repeats = np.atleast_2d(np.asarray(predicted, np.float64))
    truth = np.asarray(y, np.float64)
    counts = np.ones(len(truth)) if share is None else np.asarray(share, np.float64)
    tables = [weighted_metrics(truth, one, counts, codes, weights) for one in repeats]
    values = {name: np.mean([table[name] for table in tables], axis=0) for name in METRICS}
    return Resampled(values, len(names), level, seed)


def weighted_metrics(
    y: Floats, predicted: Floats, share: Floats, codes: NDArray[np.int64], weights: Floats
) -> dict[str, NDArray[np.float64]]:
    """Metrics under weightings (n_weightings, n_units) of the units that the rows belong to, from each unit's sums."""
    centre = y.mean()
    a, b = y - centre, predicted - centre
    n, error, sum_a, sum_b, aa, bb, ab = (
        weights @ np.bincount(codes, share * part, weights.shape[1])
        for part in (np.ones_like(a), np.abs(a - b), a, b, a * a, b * b, a * b)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        var_a, var_b = aa - sum_a**2 / n, bb - sum_b**2 / n
        varies = (var_a > ALMOST_NONE * aa) & (var_b > ALMOST_NONE * bb)  # in any unit
        r = np.where(varies, (ab - sum_a * sum_b / n) / np.sqrt(np.maximum(var_a * var_b, 0)), np.nan)
    return {"mae": error / n, "r": r}
