"""A store in pieces of some recordings each, so that what is derived for the whole does not need its memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from biocl.store.store import Store
from biocl.store.table import ROW, WindowTable

PART = 32


def in_parts(store: Store) -> Iterator[Store]:
    """The pieces, in order: stores of `PART` recordings, and of what is left over."""
    bounds = np.searchsorted(store.events["recording"], np.arange(len(store) + 1))
    columns = store.meta["recordings"]
    for begin in range(0, len(store), PART):
        end = min(begin + PART, len(store))
        events = store.events[bounds[begin] : bounds[end]].copy()
        events["recording"] -= begin
        recordings = {name: values[begin:end] for name, values in columns.items() if name != "labels"}
        recordings["labels"] = {key: values[begin:end] for key, values in columns["labels"].items()}
        yield Store(
            store.path, {**store.meta, "recordings": recordings}, store.numbers[begin:end], events, store.signals
        )


def joined(tables: Iterable[WindowTable], store: Store) -> WindowTable:
    """The tables of consecutive parts of a store as one; numbers go on from part to part.

    Each table is let go of once it is copied, so that there are never two of the whole.
    """
    parts = deque(tables)
    first, has_gaps = parts[0], any(part.has_gaps for part in parts)
    aux = np.concatenate([part.aux for part in parts])
    rows = np.empty(sum(len(part) for part in parts), ROW)
    dropped: dict[str, int] = {}
    begin, number, trial = 0, 0, 0
    first = replace(first, rows=first.rows[:0])
    while parts:
        part = parts.popleft()
        mine = rows[begin : begin + len(part)]
        mine[:] = part.rows
        mine["recording"] += number
        number += PART
        mine["trial"] += trial
        trial = int(mine["trial"][-1]) + 1 if len(mine) else trial
        begin += len(part)
        for reason, n in part.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + n
    names = {**first.names, "recording": store.recording_names}
    return replace(first, rows=rows, names=names, aux=aux, dropped=dropped, has_gaps=has_gaps)
