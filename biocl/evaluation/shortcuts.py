"""Shortcut probes: can features tell whose a window is, on which device and at which site it was recorded?

That they can is no leak: people differ. It says how much a split within patients, or between sites, would flatter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.evaluation.intervals import Interval, bootstrap_mean
from biocl.evaluation.probe import patient_folds

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

MOST_WINDOWS, MOST_PATIENTS, FEWEST_WINDOWS = 2000, 200, 8
N_FOLDS, SHRINKAGE = 5, 0.1


@dataclass(frozen=True)
class ToldApart:
    """How well something is told from features.

    Attributes
    ----------
    what : str
        ``patient``, ``device`` or ``site``.
    n_groups, n_windows : int
    chance : float
        One in so many.
    accuracy : Interval
        Balanced: every group counts the same; interval over patients.
    how : str
        The folds, in words.
    """

    what: str
    n_groups: int
    n_windows: int
    chance: float
    accuracy: Interval
    how: str

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def said(self) -> str:
        """One line."""
        found = self.accuracy
        interval = "" if found.low is None else f" [{found.low:.2f}, {found.high:.2f}]"
        return (
            f"{self.what}: {found.value:.2f}{interval} of windows right among {self.n_groups} (chance "
            f"{self.chance:.2f}; {self.how})"
        )


def sampled_windows(patient: NDArray[np.integer[Any]], seed: int = 0) -> Integers:
    """Numbers of at most `MOST_WINDOWS` windows, ascending, equally many of each of at most `MOST_PATIENTS` patients.

    Of a patient they are evenly spaced, so that early and late ones are there.
    """
    people = np.unique(patient)
    if len(people) > MOST_PATIENTS:
        people = np.sort(np.random.default_rng(seed).choice(people, MOST_PATIENTS, replace=False))
    each = max(FEWEST_WINDOWS, MOST_WINDOWS // max(1, len(people)))
    chosen = []
    for one in people:
        mine = np.flatnonzero(patient == one)
        chosen.append(mine[np.unique(np.linspace(0, len(mine) - 1, min(each, len(mine))).round().astype(int))])
    return np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else np.empty(0, np.int64)


def tell_patients(features: Floats, patient: NDArray[np.integer[Any]]) -> ToldApart | None:
    """Whose windows these are, each half of a patient's windows in time by the other half.

    Patients with fewer than `FEWEST_WINDOWS` windows are left out; None where fewer than two are left.

    Parameters
    ----------
    features : ndarray, shape (n, n_features)
    patient : ndarray of int, shape (n,)
        Rows in order of time within each patient.
    """
    people, counts = np.unique(patient, return_counts=True)
    enough = np.isin(patient, people[counts >= FEWEST_WINDOWS])
    features, (people, code) = features[enough], np.unique(patient[enough], return_inverse=True)
    if len(people) < 2:
        return None
    late = np.zeros(len(code), np.int64)
    for one in range(len(people)):
        mine = np.flatnonzero(code == one)
        late[mine[len(mine) // 2 :]] = 1
    right = predicted(features, code, late) == code
    scores = np.bincount(code, right) / np.bincount(code)
    return ToldApart(
        "patient",
        len(people),
        len(code),
        1 / len(people),
        bootstrap_mean(scores),
        "each half of a patient's windows by the other",
    )


def tell_groups(
    features: Floats, group: NDArray[np.integer[Any]], patient: NDArray[np.integer[Any]], what: str
) -> ToldApart | None:
    """On which device, or at which site, windows of other patients were recorded.

    Parameters
    ----------
    features : ndarray, shape (n, n_features)
    group, patient : ndarray of int, shape (n,)
    what : str
        ``device`` or ``site``.

    Returns
    -------
    ToldApart or None
        None where fewer than two groups have two patients each.
    """
    pairs = np.unique(np.column_stack([group, patient]), axis=0)
    there, n_people = np.unique(pairs[:, 0], return_counts=True)
    kept = np.isin(group, there[n_people >= 2])
    if len(np.unique(group[kept])) < 2:
        return None
    features, patient = features[kept], patient[kept]
    code = np.unique(group[kept], return_inverse=True)[1]
    right = predicted(features, code, patient_folds(code, patient, N_FOLDS)) == code
    # Every pair of patient and group has a score; weighted so that their mean is the mean over groups.
    pairs, number = np.unique(np.column_stack([code, patient]), axis=0, return_inverse=True)
    scores = np.bincount(number.ravel(), right) / np.bincount(number.ravel())
    n_pairs = np.bincount(pairs[:, 0])
    weights = len(pairs) / (len(n_pairs) * n_pairs[pairs[:, 0]])
    interval = bootstrap_mean(scores * weights)
    return ToldApart(what, len(n_pairs), len(code), 1 / len(n_pairs), interval, "patients apart")


def predicted(features: Floats, code: Integers, fold: Integers) -> Integers:
    """Class numbers of every row, by a linear discriminant of the other folds."""
    out = np.full(len(code), -1, np.int64)
    for held in np.unique(fold):
        train, test = fold != held, fold == held
        if train.any():
            out[test] = discriminant(features[train], code[train], features[test])
    return out


def discriminant(x: Floats, code: Integers, new: Floats) -> Integers:
    """Class numbers of `new` (m, n_features) by Fisher's discriminant of `x` (n, n_features), all classes as likely.

    Features are z-scored; the covariance within classes is shrunk by `SHRINKAGE` towards its mean variance.
    """
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > 0, std, 1)
    scaled, asked = (x - mean) / std, (new - mean) / std
    seen, own = np.unique(code, return_inverse=True)
    means = np.zeros((len(seen), x.shape[1]))
    np.add.at(means, own, scaled)
    means /= np.bincount(own)[:, None]
    rest = scaled - means[own]
    within = rest.T @ rest / len(rest)
    level = max(float(np.trace(within)) / len(within), np.finfo(np.float64).tiny)
    within = (1 - SHRINKAGE) * within + SHRINKAGE * level * np.eye(len(within))
    weights = np.linalg.solve(within, means.T)
    scores = asked @ weights - 0.5 * (means.T * weights).sum(axis=0)
    found: Integers = seen[scores.argmax(axis=1)]
    return found
