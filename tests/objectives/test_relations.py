"""Masks of pairs against loops over pairs."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.objectives.relations import overlap, same_id


def test_same_id() -> None:
    expected = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=torch.bool)
    assert torch.equal(same_id(torch.tensor([4, 2, 4])), expected)
    rectangle = torch.tensor([[0, 0, 1], [1, 1, 0]], dtype=torch.bool)
    assert torch.equal(same_id(torch.tensor([4, 2]), torch.tensor([2, 2, 4])), rectangle)


def test_an_unknown_id_matches_nothing() -> None:
    assert not same_id(torch.tensor([-1, -1])).any()


windows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12), st.integers(1, 6)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(windows)
def test_overlap_is_a_shared_step(rows: list[tuple[int, int, int]]) -> None:
    recording, start, length = torch.tensor(rows).T
    steps = [{(r, t) for t in range(s, s + n)} for r, s, n in rows]
    expected = torch.tensor([[bool(a & b) for b in steps] for a in steps])
    assert torch.equal(overlap(recording, start, length), expected)
