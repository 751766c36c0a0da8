"""Labels of which a window may have several, such as the diagnoses of an ECG: each is there, is not, or is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from biocl.errors import DataError, UsageError
from biocl.store.names import did_you_mean
from biocl.store.store import Store
from biocl.store.table import WindowTable

YES, NO = ("yes", "true", "1"), ("no", "false", "0")


def with_labels(store: Store, table: WindowTable, names: Sequence[str]) -> WindowTable:
    """The table with the recordings' own labels of these names beside every window.

    Parameters
    ----------
    store : Store
    table : WindowTable
        Of this store.
    names : sequence of str
        Labels whose values are yes (true, 1) or no (false, 0); any other value is unknown.

    Returns
    -------
    WindowTable
        As many windows as before; `labels` is 1 where a label holds, 0 where it does not, -1 where nobody knows.

    Raises
    ------
    UsageError
        No recording has such a label.
    DataError
        A label never holds, or always, as far as is known.
    """
    own = store.meta["recordings"]["labels"]
    columns = []
    for name in names:
        if name not in own:
            fix = did_you_mean(name, own) or "The recordings have no labels at all"
            raise UsageError(f"No recording has a label called {name!r}", "data.labels", fix)
        values = [str(value).strip().lower() for value in store.recording_labels(name)]
        said = np.array([1 if value in YES else 0 if value in NO else -1 for value in values], np.int8)
        if not (said == 1).any() or not (said == 0).any():
            raise DataError(
                f"The label {name!r} is yes of {int((said == 1).sum())} recordings and no of {int((said == 0).sum())}, "
                "so there is nothing to tell apart",
                store.path,
                "Name labels in data.labels that hold of some recordings and not of others",
            )
        columns.append(said)
    return replace(table, labels=np.stack(columns, axis=1)[table.recording], label_names=tuple(names))


def describe_labels(table: WindowTable) -> str:
    """``NORM 120 yes, 240 no; MI 80 yes, 270 no, 10 unknown`` windows."""
    assert table.labels is not None
    words = []
    for name, column in zip(table.label_names, table.labels.T, strict=True):
        unknown = int((column < 0).sum())
        said = f"{name} {int((column == 1).sum())} yes, {int((column == 0).sum())} no"
        words.append(said + (f", {unknown} unknown" if unknown else ""))
    return "; ".join(words)
