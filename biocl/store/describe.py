"""What a store holds, as numbers that can be printed or read by a program."""

from __future__ import annotations

from typing import Any

import numpy as np

from biocl.store.store import Store
from biocl.store.table import WindowTable

MOST_LABELS = 20


def describe(store: Store, table: WindowTable | None = None) -> dict[str, Any]:
    """Describe a store and a window table as a JSON object.

    Parameters
    ----------
    store : Store
    table : WindowTable, optional
        Default: the store's default windows.

    Returns
    -------
    dict
        ``dataset, version, modality, key, content_hash, sfreq, channels, patients, recordings, duration_s,
        windows, window_s, trials, classes`` (windows of each), ``unlabelled, dropped`` (windows left out, by
        reason), ``events`` (of each kind), ``event_labels`` (of each kind with few labels, events of each label).
    """
    table = store.windows if table is None else table
    label = table.rows["label"]
    kinds = np.bincount(store.events["kind"], minlength=len(store.event_kinds))
    return {
        **{key: store.meta[key] for key in ("dataset", "version", "modality", "key", "content_hash")},
        "sfreq": store.sfreq,
        "channels": [channel.name for channel in store.channels],
        "patients": len(store.patient_names),
        "recordings": len(store),
        "duration_s": round(float(store.numbers["n_times"].sum()) / store.sfreq, 3),
        "windows": len(table),
        "window_s": table.n_times / table.sfreq,
        "trials": len(np.unique(table.rows["trial"])),
        "classes": {name: int((label == number).sum()) for number, name in enumerate(table.classes)},
        "unlabelled": int((label < 0).sum()),
        "dropped": dict(table.dropped),
        "events": {name: int(n) for name, n in zip(store.event_kinds, kinds, strict=True)},
        "event_labels": labels_of_events(store),
    }


def labels_of_events(store: Store) -> dict[str, dict[str, int]]:
    """Of each kind of events with at most `MOST_LABELS` labels, how many events carry each."""
    found = {}
    for number, kind in enumerate(store.event_kinds):
        counts = np.bincount(store.events["label"][store.events["kind"] == number], minlength=len(store.event_labels))
        labels = {name: int(n) for name, n in zip(store.event_labels, counts, strict=True) if n and name}
        if 0 < len(labels) <= MOST_LABELS:
            found[kind] = labels
    return found
