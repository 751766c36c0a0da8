"""Numbers rather than classes: the ridge probe and its metrics, errors and correlation.

Of windows that have a number each, ``(n,)``, or one at every time step, ``(n, n_times)``, NaN where it is unknown:
every known number counts alike.
"""

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
METRICS = ("mae", "rmse", "r")
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


def own_metrics(y: ArrayLike, predicted: ArrayLike, unit: ArrayLike) -> dict[Any, dict[str, float]]:
    """Each patient's (or trial's) own `METRICS`, over the patient's own numbers."""
    names, codes = np.unique(np.asarray(unit), return_inverse=True)
    found = metrics_of(sums_by_unit(y, predicted, codes))
    return {name: {key: float(found[key][i]) for key in METRICS} for i, name in enumerate(names.tolist())}


def own_errors(y: ArrayLike, predicted: ArrayLike, unit: ArrayLike) -> dict[Any, float]:
    """Each patient's (or trial's) own mean absolute error."""
    return {name: metrics["mae"] for name, metrics in own_metrics(y, predicted, unit).items()}


def correlation_over_units(y: ArrayLike, predicted: ArrayLike, unit: ArrayLike) -> float:
    """Pearson's r of the units' means; NaN below three of them, or where a side does not vary."""
    codes = np.unique(np.asarray(unit), return_inverse=True)[1]
    n, _, _, *sums = sums_by_unit(y, predicted, codes)[:5]
    means = [total / n for total in sums]
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
    """Mean absolute and root mean squared error and Pearson's r over all numbers, on the real and resampled patients.

    Parameters
    ----------
    y : array-like, shape (n,) or (n, n_times)
    predicted : array-like, of that shape or (n_repeats, …)
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
    truth, said = np.asarray(y), np.asarray(predicted)
    repeats = said[None] if said.ndim == truth.ndim else said
    tables = [metrics_of(sums_by_unit(truth, one, codes, share) @ weights.T) for one in repeats]
    values = {name: np.mean([table[name] for table in tables], axis=0) for name in METRICS}
    return Resampled(values, len(names), level, seed)


def sums_by_unit(
    y: ArrayLike, predicted: ArrayLike, codes: NDArray[np.int64], share: ArrayLike | None = None
) -> NDArray[np.float64]:
    """What metrics are made of, for each unit that the windows belong to by their `codes` (n,): (8, n_units).

    Over the known numbers: how many; sums of absolute and squared errors; of y, of what is predicted, of their squares
    and of their product, all around the mean of y. A window counts its `share` (n,), by default 1.
    """
    truth = np.asarray(y, np.float64).reshape(len(codes), -1)
    known = np.isfinite(truth)
    centre = truth[known].mean() if known.any() else 0.0
    a = np.where(known, truth - centre, 0)
    b = np.where(known, np.asarray(predicted, np.float64).reshape(a.shape) - centre, 0)
    counts = 1.0 if share is None else np.asarray(share, np.float64)
    parts = (known, np.abs(a - b), (a - b) ** 2, a, b, a * a, b * b, a * b)
    return np.stack([np.bincount(codes, counts * part.sum(axis=1)) for part in parts])


def metrics_of(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """`METRICS` (m,) of sums (8, m) as `sums_by_unit` gives them; r is NaN where a side does not vary."""
    n, absolute, squared, a, b, aa, bb, ab = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        var_a, var_b = aa - a**2 / n, bb - b**2 / n
        varies = (var_a > ALMOST_NONE * aa) & (var_b > ALMOST_NONE * bb)  # in any unit
        r = np.where(varies, (ab - a * b / n) / np.sqrt(np.maximum(var_a * var_b, 0)), np.nan)
        return {"mae": absolute / n, "rmse": np.sqrt(squared / n), "r": r}
