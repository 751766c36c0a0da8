"""Tables on disk in as few bytes as their values need: narrow integers, and constants said once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

NARROW = ("<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<i8")


def narrowest(column: NDArray[Any]) -> np.dtype[Any]:
    """The smallest integer type that holds a column's values."""
    low, high = int(column.min()), int(column.max())
    return next(np.dtype(code) for code in NARROW if np.iinfo(code).min <= low and high <= np.iinfo(code).max)


def pack(rows: NDArray[Any]) -> tuple[NDArray[Any], dict[str, int]]:
    """Narrow the columns of a table of integers.

    Parameters
    ----------
    rows : structured ndarray of integers, shape (n,)

    Returns
    -------
    packed : structured ndarray, shape (n,)
        The columns that vary, each in the smallest type that holds it; one of them at least, so that the number
        of rows is kept.
    constant : dict of str to int
        The columns that do not.
    """
    assert rows.dtype.names is not None
    if not len(rows):
        return rows, {}
    constant = {name: int(rows[name][0]) for name in rows.dtype.names if (rows[name] == rows[name][0]).all()}
    if len(constant) == len(rows.dtype.names):
        del constant[rows.dtype.names[0]]
    varying = [name for name in rows.dtype.names if name not in constant]
    packed = np.empty(len(rows), np.dtype([(name, narrowest(rows[name])) for name in varying]))
    for name in varying:
        packed[name] = rows[name]
    return packed, constant


def unpack_rows(packed: NDArray[Any], constant: Mapping[str, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """What `pack` was given; columns that are in neither are 0.

    Parameters
    ----------
    packed, constant
        As from `pack`.
    dtype : dtype
        Of the rows.
    """
    assert packed.dtype.names is not None
    if packed.dtype == dtype:
        return packed
    rows = np.zeros(len(packed), dtype)
    for name in packed.dtype.names:
        rows[name] = packed[name]
    for name, value in constant.items():
        rows[name] = value
    return rows
