"""Intervals and paired tests over patients: windows of one patient are not independent, patients are.

A bootstrap draw takes n patients out of n with replacement, with all their windows; an interval holds the
middle of the draws (percentile method). With fewer than `FEWEST_PATIENTS` patients there are too few
different draws, and no interval is given: each patient is shown as a dot, with the exact sign-flip p. A study
within so few patients is about these people, and its unit is the trial (`units_to_resample`); what is said of
patients here then holds for trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.errors import DataError, UsageError
from biocl.evaluation.metrics import METRICS, checked, mean_of_defined
from biocl.evaluation.within_folds import metrics_over_folds
from biocl.randomness import stream

Floats = NDArray[np.float64]

FEWEST_PATIENTS = 6
EXACT_PATIENTS = 16
"""Up to so many patients all 2^n sign flips are counted (65,536); above, flips are drawn."""


@dataclass(frozen=True)
class Interval:
    """A value and its percentile bootstrap interval over patients.

    Attributes
    ----------
    value : float
        The metric of the real data set.
    low, high : float or None
        None where there are too few patients, or where the metric is undefined in half of the draws or more.
    level : float
        Coverage that is aimed at, for instance 0.95.
    n_patients, n_draws, seed : int
        Patients that were resampled; draws in which the metric is defined; seed of the draws.
    """

    value: float
    low: float | None
    high: float | None
    level: float
    n_patients: int
    n_draws: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """For ``results.json``."""
        return asdict(self)


@dataclass(frozen=True)
class PairedDifference:
    """Arm A minus arm B on the same patients.

    Attributes
    ----------
    mean : float
        The difference (positive: A is higher).
    low, high : float or None
        Percentile bootstrap interval over patients; None below `FEWEST_PATIENTS`.
    p : float or None
        Two-sided sign-flip p; None for pooled metrics, which are not means of patients.
    test : str
        How `p` was computed, in words.
    n_patients : int
        Patients with a score in both arms.
    n_better : int or None
        Patients who are better off in A; None for pooled metrics.
    level, n_draws, seed
        As in `Interval`.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    test: str
    n_patients: int
    n_better: int | None
    level: float
    n_draws: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """For ``results.json``."""
        return asdict(self)


def units_to_resample(scope: str, patient: ArrayLike, trial: ArrayLike) -> tuple[str, NDArray[Any]]:
    """What intervals are over, and the unit of every row: patients, or trials within fewer than `FEWEST_PATIENTS`.

    Parameters
    ----------
    scope : str
        Of the split. Between patients (``patient``) the patient is the unit, however few there are.
    patient, trial : array-like, shape (n,)

    Returns
    -------
    word : str
        ``"patients"`` or ``"trials"``.
    units : numpy.ndarray, shape (n,)
    """
    if scope != "patient" and len(np.unique(np.asarray(patient))) < FEWEST_PATIENTS:
        return "trials", np.asarray(trial)
    return "patients", np.asarray(patient)


def resample_patients(n_patients: int, n_draws: int, seed: int) -> NDArray[np.int64]:
    """How often each patient is in each bootstrap draw, ``(n_draws, n_patients)``; rows sum to n_patients.

    The draws depend on the arguments only, so that two arms that share patients share their resamples.
    """
    rng = stream(seed, "bootstrap", n_patients)
    return rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=n_draws)


@dataclass(frozen=True)
class Resampled:
    """The metrics of one arm on the real data set and on every bootstrap draw.

    Attributes
    ----------
    values : dict of str to ndarray, each of shape (1 + n_draws,)
        The first value is that of the real data set.
    n_patients : int
    level : float
    seed : int
    """

    values: Mapping[str, Floats]
    n_patients: int
    level: float
    seed: int

    def intervals(self) -> dict[str, Interval]:
        """Value and percentile interval of every metric."""
        n, level = self.n_patients, self.level
        return {
            metric: Interval(float(v[0]), *_middle(v[1:], level, n), level, n, _defined(v[1:]), self.seed)
            for metric, v in self.values.items()
        }


def resample_metrics(
    y: ArrayLike,
    proba: ArrayLike,
    patient: ArrayLike,
    classes: Sequence[str],
    *,
    fold: ArrayLike | None = None,
    share: ArrayLike | None = None,
    n_draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Resampled:
    """Metrics over all windows under resampled patients; arms that share patients and seed share their resamples.

    Parameters
    ----------
    y : array-like of int, shape (n,)
    proba : array-like, shape (n, n_classes) or (n_repeats, n, n_classes)
        Repeats (label draws, seeds) are predictions for the same windows: each metric is averaged over the
        repeats within every resample, so the interval is one for the average that a table shows.
    patient : array-like, shape (n,)
    classes : sequence of str
    fold : array-like, shape (n,) or (n_repeats, n), optional
        Which fold's classifier scored each window, in every repeat; see `biocl.evaluation.within_folds`.
    share : array-like, shape (n,), optional
        How much each row counts, where several folds scored the same windows.
    n_draws : int
    level : float
    seed : int
    """
    weights, codes = _weights(patient, n_draws, seed)
    return Resampled(_repeated(y, proba, codes, weights, classes, fold, share), weights.shape[1], level, seed)


def bootstrap_metrics(
    y: ArrayLike,
    proba: ArrayLike,
    patient: ArrayLike,
    classes: Sequence[str],
    *,
    fold: ArrayLike | None = None,
    share: ArrayLike | None = None,
    n_draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Metrics over all windows, with intervals over patients; parameters as in `resample_metrics`.

    Returns
    -------
    dict of str to Interval
        The keys of `biocl.evaluation.metrics.METRICS`.
    """
    keys: dict[str, Any] = {"fold": fold, "share": share, "n_draws": n_draws, "level": level, "seed": seed}
    return resample_metrics(y, proba, patient, classes, **keys).intervals()


def pooled_difference(a: Resampled, b: Resampled) -> dict[str, PairedDifference]:
    """Difference of two arms in metrics over all windows, under the same resampled patients."""
    result = {}
    for metric in a.values:
        difference = a.values[metric] - b.values[metric]
        low, high = _middle(difference[1:], a.level, a.n_patients)
        result[metric] = PairedDifference(
            float(difference[0]),
            low,
            high,
            None,
            "none",
            a.n_patients,
            None,
            a.level,
            _defined(difference[1:]),
            a.seed,
        )
    return result


def bootstrap_mean(scores: ArrayLike, *, n_draws: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean over patients of per-patient scores ``(n_patients,)``, NaN left out, with its interval."""
    values = np.asarray(scores, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Interval(float("nan"), None, None, level, 0, 0, seed)
    draws = resample_patients(len(values), n_draws, seed) @ values / len(values)
    return Interval(float(values.mean()), *_middle(draws, level, len(values)), level, len(values), n_draws, seed)


def paired_difference(
    a: Mapping[Any, float],
    b: Mapping[Any, float],
    *,
    n_draws: int = 1000,
    n_flips: int = 100_000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Difference of two arms, patient by patient.

    Parameters
    ----------
    a, b : mapping of patient to float
        Each patient's own score (say macro-F1) in either arm. Patients whose score is NaN in an arm are left
        out; the patients of both arms have to be the same.
    n_draws : int
        Bootstrap draws of the interval.
    n_flips : int
        Drawn sign flips where there are more than `EXACT_PATIENTS` patients.
    level, seed
        As in `bootstrap_metrics`.

    Returns
    -------
    PairedDifference
        `mean` is the mean over patients of a - b.

    Raises
    ------
    UsageError
        If the arms were scored on different patients.
    """
    if set(a) != set(b):
        only = sorted(str(name) for name in set(a) ^ set(b))
        raise UsageError(
            f"The two arms were scored on different patients ({', '.join(only[:5])} in one arm only)",
            "paired difference",
            "Compare runs that share their split",
        )
    values = np.array([a[name] - b[name] for name in sorted(a, key=str)], dtype=np.float64)
    values = values[~np.isnan(values)]
    p, test = sign_flip(values, n_flips=n_flips, seed=seed)
    mean = bootstrap_mean(values, n_draws=n_draws, level=level, seed=seed)
    return PairedDifference(
        mean.value, mean.low, mean.high, p, test, len(values), int((values > 0).sum()), level, n_draws, seed
    )


def sign_flip(differences: ArrayLike, *, n_flips: int = 100_000, seed: int = 0) -> tuple[float | None, str]:
    """Two-sided p of a mean difference if each patient's sign were a coin toss.

    Parameters
    ----------
    differences : array-like, shape (n_patients,)
    n_flips : int
        Flips drawn above `EXACT_PATIENTS` patients; the observed one is counted among them, so p is never 0.
    seed : int

    Returns
    -------
    p : float or None
        None without patients. The smallest possible p of n patients is 2 / 2^n.
    test : str
        ``"exact sign-flip"`` or ``"Monte-Carlo sign-flip, N flips"``.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) == 0:
        return None, "none: no patient has a score in both arms"
    limit = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    if len(values) <= EXACT_PATIENTS:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= limit).mean()), "exact sign-flip"
    rng = stream(seed, "sign-flip", len(values))
    extreme = 0
    for start in range(0, n_flips, 10_000):
        signs = rng.integers(0, 2, size=(min(10_000, n_flips - start), len(values))) * 2 - 1
        extreme += int((np.abs(signs @ values) >= limit).sum())
    return (extreme + 1) / (n_flips + 1), f"Monte-Carlo sign-flip, {n_flips:,} flips"


def _weights(patient: ArrayLike, n_draws: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Weights whose first row is the real data set, and the column of every row's patient."""
    names, codes = np.unique(np.asarray(patient), return_inverse=True)
    draws = resample_patients(len(names), n_draws, seed)
    return np.vstack([np.ones((1, len(names))), draws]), codes.astype(np.int64)


def _repeated(
    y: ArrayLike,
    proba: ArrayLike,
    codes: NDArray[np.int64],
    weights: Floats,
    classes: Sequence[str],
    fold: ArrayLike | None = None,
    share: ArrayLike | None = None,
) -> dict[str, Floats]:
    """Metrics under every weighting, averaged over the repeats in which they are defined."""
    repeats = np.asarray(proba, dtype=np.float64)
    repeats = repeats[None] if repeats.ndim == 2 else repeats
    if repeats.ndim != 3 or len(repeats) == 0 or len(codes) != repeats.shape[1]:
        raise DataError(
            f"Probabilities of shape {repeats.shape} do not fit {len(codes)} windows",
            "bootstrap over patients",
            "Give (n, n_classes), or (n_repeats, n, n_classes) for repeats on the same windows",
        )
    folds = [None] * len(repeats) if fold is None else np.broadcast_to(np.asarray(fold), repeats.shape[:2])
    counts = None if share is None else np.asarray(share, dtype=np.float64)
    tables = [
        metrics_over_folds(*checked(y, one, len(classes)), codes, weights, own, counts)
        for one, own in zip(repeats, folds, strict=True)
    ]
    return {metric: mean_of_defined([table[metric] for table in tables]) for metric in METRICS}


def _middle(draws: Floats, level: float, n_patients: int) -> tuple[float | None, float | None]:
    """The percentile interval, or nothing where it would pretend."""
    defined = draws[~np.isnan(draws)]
    if n_patients < FEWEST_PATIENTS or len(defined) <= len(draws) / 2:
        return None, None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _defined(draws: Floats) -> int:
    return int((~np.isnan(draws)).sum())
