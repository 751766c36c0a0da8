"""Who meets whom: a plan of an epoch from its spec, and what its batches hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from biocl.sampling.hierarchical import hierarchical_batches
from biocl.sampling.plain import frozen_trial_batches, random_batches
from biocl.sampling.spec import FrozenTrialsBatch, HierarchicalBatch, RandomBatch

COMPOSITION = (
    "n_batches",
    "batch_size",
    "patients_per_batch",
    "trials_per_batch",
    "patient_positives",
    "trial_positives",
    "cross_trial_share",
    "same_trial_pair_share",
)


def epoch_batches(
    spec: HierarchicalBatch | FrozenTrialsBatch | RandomBatch,
    patient: np.ndarray,
    trial: np.ndarray,
    *,
    seed: int,
    epoch: int,
) -> list[np.ndarray]:
    """All batches of one epoch, as ``batch:`` asks.

    The state of training is ``(epoch, position)``: calling this again with the same numbers and skipping
    `position` batches resumes exactly.

    Parameters
    ----------
    spec : HierarchicalBatch, FrozenTrialsBatch or RandomBatch
    patient, trial : ndarray of int, shape (n_windows,)
        Ids of the windows to draw from (the training part).
    seed, epoch : int

    Returns
    -------
    list of ndarray of int64
        Positions in `patient` and `trial`.
    """
    match spec:
        case HierarchicalBatch():
            return hierarchical_batches(
                patient,
                trial,
                n_patients=spec.n_patients,
                n_trials=spec.n_trials,
                n_samples=spec.n_samples,
                seed=seed,
                epoch=epoch,
            )
        case FrozenTrialsBatch():
            return frozen_trial_batches(trial, batch_size=spec.size, order_seed=spec.order_seed, seed=seed, epoch=epoch)
        case RandomBatch():
            return random_batches(len(patient), spec.size, seed, epoch)


def composition(batches: Sequence[np.ndarray], patient: np.ndarray, trial: np.ndarray) -> dict[str, float]:
    """Describe batches by the positives that their windows find.

    Parameters
    ----------
    batches : sequence of ndarray of int
        Row numbers, as `epoch_batches` gives them.
    patient, trial : ndarray of int, shape (n_windows,)

    Returns
    -------
    dict of str to float
        ``n_batches``; means over batches: ``batch_size``, ``patients_per_batch``, ``trials_per_batch``;
        means over windows: ``patient_positives`` and ``trial_positives`` (other windows of the same patient
        or trial in the batch), ``cross_trial_share`` (windows that meet their patient in another trial);
        ``same_trial_pair_share`` (of all same-patient pairs; 0 where there is none).
    """
    if not len(batches):
        return dict.fromkeys(COMPOSITION, 0.0)
    rows = np.concatenate(list(batches))
    batch = np.repeat(np.arange(len(batches)), [len(b) for b in batches])
    n_patients, same_patient = group_sizes(batch, patient[rows])
    n_trials, same_trial = group_sizes(batch, patient[rows], trial[rows])
    pairs = float((same_patient - 1).sum())
    values = (
        len(batches),
        len(rows) / len(batches),
        n_patients / len(batches),
        n_trials / len(batches),
        (same_patient - 1).mean(),
        (same_trial - 1).mean(),
        (same_patient > same_trial).mean(),
        (same_trial - 1).sum() / pairs if pairs else 0.0,
    )
    return {name: float(value) for name, value in zip(COMPOSITION, values, strict=True)}


def spread(batches: Sequence[np.ndarray], values: np.ndarray) -> dict[str, float]:
    """How much of the spread of a number the batches hold.

    Parameters
    ----------
    batches : sequence of ndarray of int
        Row numbers.
    values : ndarray of float, shape (n_windows,)
        NaN where unknown.

    Returns
    -------
    dict of str to float
        ``target_known`` (share of the batches' windows) and ``target_spread``, the mean standard deviation inside a
        batch over that of all the batches' windows (0 where nothing varies): about 1 for windows drawn at random.
    """
    rows = np.concatenate(list(batches)) if len(batches) else np.zeros(0, np.int64)
    known = np.isfinite(values)
    overall = float(values[rows[known[rows]]].std()) if known[rows].any() else 0.0
    inside = [float(values[batch[known[batch]]].std()) for batch in batches if known[batch].any()]
    return {
        "target_known": float(known[rows].mean()) if len(rows) else 0.0,
        "target_spread": float(np.mean(inside)) / overall if overall else 0.0,
    }


def group_sizes(*ids: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of distinct combinations of ids, and for every row the size of its group."""
    group = np.zeros(len(ids[0]), np.int64)
    for column in ids:
        _, code = np.unique(column, return_inverse=True)
        _, group = np.unique(group * (int(code.max()) + 1) + code, return_inverse=True)
    sizes = np.bincount(group)
    return len(sizes), sizes[group]
