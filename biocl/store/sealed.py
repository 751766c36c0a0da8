"""A store that gives its signals and no labels, for whoever has to choose without having seen them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from biocl.errors import LeakageError
from biocl.store.store import Store
from biocl.store.table import WindowTable

KEPT = "gap"  # where samples are missing is a property of the signal


class SealedStore(Store):
    """A store without events, labels of recordings, and the default window table; see `sealed`."""

    @property
    def windows(self) -> NoReturn:
        """The default window table has every label.

        Raises
        ------
        LeakageError
        """
        raise LeakageError("The labels of this store are sealed", self.path, "Read those of the run's window table")

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Another process would open the files with all that they hold.
        raise LeakageError("A sealed store is not sent to another process", self.path, "Seal it there")


def sealed(store: Store) -> SealedStore:
    """The same signals; of the events only gaps, and no labels."""
    kinds = store.event_kinds
    gaps = store.events["kind"] == (kinds.index(KEPT) if KEPT in kinds else -1)
    meta = {**store.meta, "recordings": {**store.meta["recordings"], "labels": {}}}
    return SealedStore(store.path, meta, store.numbers, store.events[gaps], store.signals)


def blanked(table: WindowTable, readable: NDArray[np.bool_]) -> WindowTable:
    """A window table whose labels and targets are unknown but for the `readable` rows (a mask)."""
    rows = table.rows.copy()
    rows["label"][~readable] = -1
    target = None if table.target is None else np.where(readable, table.target, np.float32(np.nan))
    labels = None if table.labels is None else np.where(readable[:, None], table.labels, np.int8(-1))
    return replace(table, rows=rows, target=target, labels=labels)
