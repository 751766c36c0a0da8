"""Rows at other moments: never the anchor's time, for any batch that can happen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biocl.objectives.batch import Ids
from biocl.objectives.misaligned import Within, may_meet, misaligned

SEEDS = range(1000)


def ids_of(patient: list[int], recording: list[int], start: list[int], length: int = 10) -> Ids:
    columns = [torch.tensor(column, dtype=torch.int64) for column in (recording, patient, start)]
    recordings, patients, starts = columns
    other = torch.zeros_like(recordings)
    return Ids(recordings, patients, other, starts, torch.full_like(recordings, length), other)


def drawn_batch(seed: int) -> Ids:
    """2 to 64 windows of up to 5 patients with up to 3 recordings each, many of which overlap or come twice."""
    rng = np.random.default_rng(seed)
    n_rows = 2 + seed % 63
    patient = rng.integers(0, rng.integers(1, 6), n_rows)
    recording = 3 * patient + rng.integers(0, rng.integers(1, 4), n_rows)
    start = rng.integers(0, [8, 40, 400][seed % 3], n_rows)
    return ids_of(patient.tolist(), recording.tolist(), start.tolist(), 10)


def may(ids: Ids, i: int, j: int, within: Within) -> bool:
    """Whether row j may be row i's negative, from sets of time steps."""
    steps = [{(int(ids.recording[k]), t) for t in range(int(ids.start[k]), int(ids.start[k]) + 10)} for k in (i, j)]
    same = int(ids.patient[i]) == int(ids.patient[j])
    return i != j and not steps[0] & steps[1] and {"patient": same, "other-patient": not same, "any": True}[within]


@pytest.mark.parametrize("within", ["patient", "other-patient", "any"])
def test_no_row_shares_the_anchors_time(within: Within) -> None:
    """A thousand batches of 2 to 64 windows; -1 exactly where no window of the batch could serve."""
    n_found = n_missing = 0
    for seed in SEEDS:
        ids = drawn_batch(seed)
        found = misaligned(ids, within=within, n=2, generator=torch.Generator().manual_seed(seed))
        n_rows = len(ids.start)
        assert found.shape == (2, n_rows)
        assert found.dtype == torch.int64
        first, start, patient = (x.numpy() for x in (ids.recording, ids.start, ids.patient))
        meet = (first[:, None] == first) & (np.abs(start[:, None] - start) < 10)
        same = patient[:, None] == patient
        free = ~meet & ~np.eye(n_rows, dtype=bool) & {"patient": same, "other-patient": ~same, "any": True}[within]
        for row in found.numpy():
            there = row >= 0
            assert np.array_equal(there, free.any(axis=1))
            assert free[np.flatnonzero(there), row[there]].all()
        n_found += int((found >= 0).sum())
        n_missing += int((found < 0).sum())
    assert n_found > 10_000
    assert n_missing > 100


def test_which_pairs_may_meet_against_sets_of_time_steps() -> None:
    for seed in range(0, 1000, 97):
        ids = drawn_batch(seed % 20 * 50 + seed)
        for within in ("patient", "other-patient", "any"):
            expected = [[may(ids, i, j, within) for j in range(len(ids.start))] for i in range(len(ids.start))]
            assert may_meet(ids, within).tolist() == expected


@pytest.mark.parametrize("n_rows", range(2, 65))
def test_without_overlaps_a_draw_is_a_derangement(n_rows: int) -> None:
    """Over the batch, within patients (a row alone aside), and across patients without a majority."""
    patient = [k // 3 for k in range(n_rows)]
    ids = ids_of(patient, patient, [100 * k for k in range(n_rows)])
    for seed in range(20):
        for row in misaligned(ids, within="any", n=3, generator=torch.Generator().manual_seed(seed)):
            assert sorted(row.tolist()) == list(range(n_rows))
        for row in misaligned(ids, within="patient", n=2, generator=torch.Generator().manual_seed(seed)):
            alone = n_rows - 1 if n_rows % 3 == 1 else None
            assert sorted(row.tolist()) == sorted(-1 if k == alone else k for k in range(n_rows))
        if n_rows >= 6:
            for row in misaligned(ids, within="other-patient", n=1, generator=torch.Generator().manual_seed(seed)):
                assert sorted(row.tolist()) == list(range(n_rows))


def test_draws_of_one_anchor_differ_while_they_can() -> None:
    ids = ids_of([0] * 9 + [1] * 5, [0] * 9 + [1] * 5, [100 * k for k in range(14)])
    for seed in range(30):
        found = misaligned(ids, within="patient", n=4, generator=torch.Generator().manual_seed(seed))
        assert all(len(set(column.tolist())) == 4 for column in found.T)
        found = misaligned(ids, within="any", n=13, generator=torch.Generator().manual_seed(seed))
        assert all(len(set(column.tolist())) == 13 for column in found.T)
    more = misaligned(ids, within="patient", n=40, generator=torch.Generator().manual_seed(0))
    assert (more >= 0).all()


def test_neighbouring_windows_that_overlap_still_give_derangements() -> None:
    """A hundred windows that overlap by half, as sliding windows do: some rotation avoids all neighbours."""
    ids = ids_of([0] * 100, [0] * 100, [5 * k for k in range(100)])
    for seed in range(20):
        (row,) = misaligned(ids, within="patient", n=1, generator=torch.Generator().manual_seed(seed))
        assert sorted(row.tolist()) == list(range(100))


@pytest.mark.parametrize("within", ["patient", "other-patient", "any"])
def test_every_row_that_may_be_drawn_is(within: Within) -> None:
    """About equally often, where there is no overlap; patients of equal size."""
    ids = ids_of([k // 4 for k in range(12)], [k // 4 for k in range(12)], [100 * k for k in range(12)])
    counts = torch.zeros(12, 12)
    for seed in range(1500):
        (row,) = misaligned(ids, within=within, n=1, generator=torch.Generator().manual_seed(seed))
        counts[torch.arange(12), row] += 1
    free = may_meet(ids, within)
    expected = 1500 / int(free[0].sum())
    assert (counts[~free] == 0).all()
    assert ((counts[free] - expected).abs() < 6 * expected**0.5).all()


def test_recordings_that_are_not_known_keep_a_row_from_itself_only() -> None:
    ids = ids_of([0, 0, 0], [-1, -1, -1], [0, 0, 0])
    (row,) = misaligned(ids, within="any", n=1, generator=torch.Generator().manual_seed(0))
    assert sorted(row.tolist()) == [0, 1, 2]
    assert all(int(j) != i for i, j in enumerate(row))
    alone = ids_of([0, 1, 1], [-1, -1, -1], [0, 0, 0])
    assert misaligned(alone, within="patient", n=1).tolist() == [[-1, 2, 1]]


def test_patients_who_are_not_known_are_neither_the_same_nor_others() -> None:
    ids = ids_of([-1, -1, 3, 4], [0, 1, 2, 3], [0, 0, 0, 0])
    assert misaligned(ids, within="other-patient", n=1).tolist() == [[-1, -1, 3, 2]]
    assert misaligned(ids, within="patient", n=1).tolist() == [[-1, -1, -1, -1]]


def test_small_batches_and_equal_seeds() -> None:
    for n_rows, expected in ((0, [[], []]), (1, [[-1], [-1]])):
        ids = ids_of([0] * n_rows, [0] * n_rows, [0] * n_rows)
        assert misaligned(ids, within="any", n=2).tolist() == expected
    ids = drawn_batch(50)
    one, two = (misaligned(ids, within="any", n=3, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, misaligned(ids, within="any", n=3, generator=torch.Generator().manual_seed(8)))
