"""Narrow tables: nothing is lost, little is kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.store.packing import pack, unpack_rows
from biocl.store.table import ROW

COLUMNS = list(ROW.names or ())
LIMITS = {name: np.iinfo(ROW[name]) for name in COLUMNS}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rows_come_back(data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 20))
    rows = np.zeros(n, ROW)
    for name in COLUMNS:
        low, high = (int(limit) for limit in (LIMITS[name].min, LIMITS[name].max))
        span = data.draw(st.sampled_from([(0, 0), (-1, 3), (0, 255), (0, 256), (-129, 5), (0, 65_536), (low, high)]))
        rows[name] = data.draw(st.lists(st.integers(*span), min_size=n, max_size=n))
    packed, constant = pack(rows)
    assert len(packed) == n
    found = unpack_rows(packed, constant, ROW)
    assert found.dtype == ROW
    assert np.array_equal(found, rows)
    assert packed.nbytes <= rows.nbytes


def test_sliding_windows_take_a_quarter() -> None:
    rows = np.zeros(69_360, ROW)
    number = np.arange(len(rows))
    rows["recording"] = rows["patient"] = number // 1445
    rows["trial"], rows["start"] = number // 10, number % 1445 * 156
    rows["length"] = rows["valid_length"] = 312
    rows["label"] = -1
    packed, constant = pack(rows)
    assert constant == {"session": 0, "length": 312, "valid_start": 0, "valid_length": 312, "label": -1}
    assert packed.itemsize == 1 + 1 + 2 + 4
    assert packed.itemsize * 4 < ROW.itemsize
    assert np.array_equal(unpack_rows(packed, constant, ROW), rows)


def test_rows_that_were_not_packed_are_left_alone() -> None:
    rows = np.ones(3, ROW)
    assert unpack_rows(rows, {}, ROW) is rows
    packed, constant = pack(np.zeros(4, ROW))
    assert len(packed) == 4
    assert len(constant) == len(COLUMNS) - 1
