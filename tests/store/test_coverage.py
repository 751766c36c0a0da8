"""What windows show, each time step once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.store.coverage import fresh_steps

PLACE = st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 12))


@settings(deadline=None)
@given(places=st.lists(PLACE, min_size=1, max_size=25))
def test_every_step_is_shown_once(places: list[tuple[int, int, int]]) -> None:
    recording, start, length = (np.array(column) for column in zip(*places, strict=True))
    picked, fresh = fresh_steps(recording, start, length)
    shown = [
        (recording[i], step)
        for i, first in zip(picked, fresh, strict=True)
        for step in range(start[i] + first, start[i] + length[i])
    ]
    assert len(shown) == len(set(shown))
    assert set(shown) == {(r, step) for r, s, n in places for step in range(s, s + n)}


def test_windows_that_add_nothing_are_not_read() -> None:
    picked, fresh = fresh_steps(np.zeros(4, int), np.array([0, 2, 1, 8]), np.array([10, 4, 9, 3]))
    assert picked.tolist() == [0, 3]
    assert fresh.tolist() == [0, 2]
