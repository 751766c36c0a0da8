"""Batches: what they hold, that they are re-drawn, and COMET's own order."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from biocl.sampling.composition import composition, epoch_batches
from biocl.sampling.hierarchical import hierarchical_batches
from biocl.sampling.plain import frozen_trial_batches, random_batches
from biocl.sampling.spec import BatchSpec, HierarchicalBatch


def cohort(trials_of_patient: list[int], windows_of_trial: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Patient and trial ids in random row order."""
    patient_of_trial = np.repeat(np.arange(len(trials_of_patient)), trials_of_patient)
    trial = np.repeat(np.arange(len(patient_of_trial)), windows_of_trial)
    order = np.random.default_rng(seed).permutation(len(trial))
    return patient_of_trial[trial][order], trial[order]


def ptb_shaped() -> tuple[np.ndarray, np.ndarray]:
    """142 patients, 5,395 pseudo-trials of ten beats, unevenly: PTB's training part in COMET."""
    rng = np.random.default_rng(0)
    return cohort((1 + rng.multinomial(5395 - 142, rng.dirichlet([3.0] * 142))).tolist(), 10)


def reference_epochs(trial: np.ndarray, batch_size: int, order_seed: int, seed: int, n_epochs: int):
    """COMET's batches, slowly, from their description."""
    from sklearn.utils import shuffle

    by_trial = np.argsort(trial)
    groups: list[list[int]] = []
    for row in by_trial:
        if groups and trial[groups[-1][-1]] == trial[row]:
            groups[-1].append(int(row))
        else:
            groups.append([int(row)])
    groups = [list(shuffle(np.array(group), random_state=order_seed)) for group in groups]
    groups = shuffle(groups, random_state=order_seed)
    order = [int(row) for group in groups for row in group]
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    generator = random.Random(seed)
    for _ in range(n_epochs):
        epoch = [list(batch) for batch in batches]  # every epoch starts from the frozen order
        for batch in epoch:
            generator.shuffle(batch)
        yield epoch


@pytest.mark.parametrize("windows_of_trial", [9, 10, None])
def test_frozen_order_equals_the_reference(windows_of_trial: int | None) -> None:
    rng = np.random.default_rng(3)
    _, trial = cohort([4, 7, 2, 9, 5], windows_of_trial or 8)
    if windows_of_trial is None:  # trials of unequal length
        trial = trial[rng.random(len(trial)) < 0.7]
    for epoch, expected in enumerate(reference_epochs(trial, 32, 42, 5, 4)):
        batches = frozen_trial_batches(trial, batch_size=32, order_seed=42, seed=5, epoch=epoch)
        assert [batch.tolist() for batch in batches] == expected


def test_frozen_order_can_be_asked_in_any_order_of_epochs() -> None:
    trial = np.repeat(np.arange(12), 7)

    def ask(epoch: int) -> list[int]:
        return np.concatenate(frozen_trial_batches(trial, batch_size=16, seed=1, epoch=epoch)).tolist()

    forward = [ask(epoch) for epoch in range(4)]
    assert [ask(epoch) for epoch in (3, 0, 2, 1)] == [forward[epoch] for epoch in (3, 0, 2, 1)]
    assert len({tuple(order) for order in forward}) == 4


def test_frozen_trials_stay_whole_but_for_batch_edges() -> None:
    _, trial = cohort([5] * 9, 10)
    epochs = [frozen_trial_batches(trial, batch_size=64, seed=0, epoch=epoch) for epoch in (0, 1)]
    assert [set(batch) for batch in epochs[0]] == [set(batch) for batch in epochs[1]]  # membership is frozen
    holders = [sum(t in set(trial[batch]) for batch in epochs[0]) for t in np.unique(trial)]
    assert max(holders) <= 2
    assert sum(n == 2 for n in holders) <= len(epochs[0]) - 1
    assert sorted(np.concatenate(epochs[0])) == list(range(len(trial)))


def test_random_batches_cover_everything_once_and_differ_between_epochs() -> None:
    first, again, second = (random_batches(103, 10, seed=4, epoch=epoch) for epoch in (0, 0, 1))
    assert [len(batch) for batch in first] == [10] * 10 + [3]
    assert sorted(np.concatenate(first)) == list(range(103))
    assert np.array_equal(np.concatenate(first), np.concatenate(again))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))


def test_hierarchical_batches_hold_what_was_asked() -> None:
    patient, trial = ptb_shaped()
    ask = {"n_patients": 8, "n_trials": 2, "n_samples": 8, "seed": 0}
    batches = hierarchical_batches(patient, trial, **ask, epoch=0)
    assert len(batches) == -(-len(patient) // 128)
    times = np.zeros(142, int)
    for batch in batches:
        assert len(np.unique(batch)) == 128
        patients, n_windows = np.unique(patient[batch], return_counts=True)
        assert len(patients) == 8
        assert set(n_windows) == {16}
        trials, n_windows = np.unique(trial[batch], return_counts=True)
        assert len(trials) == 16
        assert set(n_windows) == {8}
        times[patients] += 1
    assert times.max() - times.min() <= 1  # patients are balanced over the epoch


def test_hierarchical_batches_are_redrawn_and_repeatable() -> None:
    patient, trial = cohort([6] * 20, 10)
    ask = {"n_patients": 4, "n_trials": 2, "n_samples": 4}
    first = hierarchical_batches(patient, trial, **ask, seed=1, epoch=0)
    again = hierarchical_batches(patient, trial, **ask, seed=1, epoch=0)
    later = hierarchical_batches(patient, trial, **ask, seed=1, epoch=1)
    other = hierarchical_batches(patient, trial, **ask, seed=2, epoch=0)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    members = [{frozenset(batch.tolist()) for batch in epoch} for epoch in (first, later, other)]
    assert not members[0] & members[1]
    assert not members[0] & members[2]


def test_patients_meet_their_other_trials() -> None:
    """On PTB-shaped data the published order shows 17-24 % of windows their patient in another trial."""
    patient, trial = ptb_shaped()
    frozen = composition(frozen_trial_batches(trial, batch_size=256, seed=0, epoch=0), patient, trial)
    ours = composition(
        hierarchical_batches(patient, trial, n_patients=16, n_trials=2, n_samples=8, seed=0, epoch=0),
        patient,
        trial,
    )
    assert 0.17 <= frozen["cross_trial_share"] <= 0.24
    assert 22 <= frozen["patients_per_batch"] <= 25
    assert 10.3 <= frozen["patient_positives"] <= 11.9
    assert 0.75 <= frozen["same_trial_pair_share"] <= 0.86
    assert ours["cross_trial_share"] >= 0.9
    assert ours["patients_per_batch"] == 16
    assert ours["patient_positives"] == 15
    assert ours["trial_positives"] == 7


def slow_composition(batches: list[np.ndarray], patient: np.ndarray, trial: np.ndarray) -> dict[str, float]:
    p, t, cross = [], [], []
    for batch in batches:
        for i in batch:
            same_patient = [j for j in batch if j != i and patient[j] == patient[i]]
            same_trial = [j for j in same_patient if trial[j] == trial[i]]
            p.append(len(same_patient))
            t.append(len(same_trial))
            cross.append(len(same_patient) > len(same_trial))
    return {
        "patient_positives": float(np.mean(p)),
        "trial_positives": float(np.mean(t)),
        "cross_trial_share": float(np.mean(cross)),
        "same_trial_pair_share": sum(t) / sum(p),
    }


def test_composition_equals_counting_pairs() -> None:
    patient, trial = cohort([3, 1, 2, 5], 4)
    batches = random_batches(len(patient), 12, seed=0, epoch=0)
    found = composition(batches, patient, trial)
    for name, value in slow_composition(batches, patient, trial).items():
        assert found[name] == pytest.approx(value)
    assert composition([], patient, trial)["n_batches"] == 0


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=5), min_size=1, max_size=7),
    n_patients=st.integers(1, 8),
    n_trials=st.integers(1, 4),
    n_samples=st.integers(1, 6),
    epoch=st.integers(0, 3),
)
def test_small_patients_are_filled_up_from_themselves(
    sizes: list[list[int]], n_patients: int, n_trials: int, n_samples: int, epoch: int
) -> None:
    patient = np.concatenate([np.full(sum(trials), i) for i, trials in enumerate(sizes)])
    trial = np.concatenate([np.repeat(np.arange(len(trials)), trials) for trials in sizes])  # ids per patient
    batches = hierarchical_batches(
        patient, trial, n_patients=n_patients, n_trials=n_trials, n_samples=n_samples, seed=0, epoch=epoch
    )
    hand = min(n_patients, len(sizes))
    assert len(batches) == -(-len(patient) // (hand * n_trials * n_samples))
    for batch in batches:
        assert len(set(batch.tolist())) == len(batch)
        present = np.unique(patient[batch])
        assert len(present) == hand
        for p in present:
            mine = batch[patient[batch] == p]
            assert len(mine) == min(n_trials * n_samples, sum(sizes[p]))  # full, or all the patient has
            per_trial = np.bincount(trial[mine], minlength=len(sizes[p]))
            assert (per_trial > 0).sum() >= min(n_trials, len(sizes[p]))
            as_asked = per_trial >= np.minimum(n_samples, sizes[p])
            assert as_asked.sum() >= min(n_trials, len(sizes[p]))


def test_a_small_patient_uses_all_its_windows_evenly() -> None:
    patient = np.array([0] * 200 + [1] * 40)
    trial = np.array([0] * 200 + [1] * 40)  # one trial each: half of every draw is filled up
    batches = hierarchical_batches(patient, trial, n_patients=2, n_trials=2, n_samples=5, seed=0, epoch=0)
    used = np.bincount(np.concatenate(batches), minlength=240)
    assert used[200:].min() >= 1
    assert used[200:].max() - used[200:].min() <= 2


def test_a_plan_of_100_000_windows_takes_well_under_a_second() -> None:
    patient, trial = cohort([40] * 250, 10)
    for spec in ({"n_samples": 8}, {"n_samples": 16}, {"n_samples": 1}):
        start = time.perf_counter()
        epoch_batches(HierarchicalBatch(kind="hierarchical", **spec), patient, trial, seed=0, epoch=0)
        assert time.perf_counter() - start < 1.5


def test_no_windows_no_batches() -> None:
    empty = np.empty(0, int)
    assert hierarchical_batches(empty, empty, n_patients=2, n_trials=2, n_samples=2, seed=0, epoch=0) == []
    assert frozen_trial_batches(empty, batch_size=4, seed=0, epoch=0) == []
    assert random_batches(0, 4, seed=0, epoch=0) == []


def test_specs_choose_the_function() -> None:
    patient, trial = cohort([3] * 6, 5)
    parse = TypeAdapter(BatchSpec).validate_python
    for keys, expected in [
        (
            {"kind": "hierarchical", "n_patients": 4, "n_trials": 2, "n_samples": 3},
            hierarchical_batches(patient, trial, n_patients=4, n_trials=2, n_samples=3, seed=9, epoch=2),
        ),
        ({"kind": "frozen-trials", "size": 8}, frozen_trial_batches(trial, batch_size=8, seed=9, epoch=2)),
        ({"kind": "random", "size": 8}, random_batches(len(trial), 8, 9, 2)),
    ]:
        spec = parse(keys)
        batches = epoch_batches(spec, patient, trial, seed=9, epoch=2)
        assert all(np.array_equal(a, b) for a, b in zip(batches, expected, strict=True))
        assert max(map(len, batches)) <= spec.batch_size
    with pytest.raises(ValidationError):
        parse({"kind": "hierarchical", "patients": 3})
