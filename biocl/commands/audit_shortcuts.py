"""Shortcut probes of an audit: on simple features of a store's windows, or on a run's frozen embedding."""

from __future__ import annotations

import numpy as np

from biocl.errors import BioclError
from biocl.evaluation.floors import FLOORS, floors_for
from biocl.evaluation.floors import Windows as FloorWindows
from biocl.evaluation.shortcuts import ToldApart, sampled_windows, tell_groups, tell_patients
from biocl.splits.confounding import recorded
from biocl.splits.findings import Check
from biocl.store.gather import gather
from biocl.store.store import Store
from biocl.store.table import WindowTable

NAME = "what features tell of patient and device"
SIMPLE = ("band-power", "statistics", "log-variance", "means")


def store_shortcuts(store: Store, table: WindowTable) -> tuple[Check, list[ToldApart]]:
    """What simple features of the windows tell."""
    rows = rows_looked_at(table)
    if not len(rows):
        return Check(NAME, "windows", skipped="there are no windows"), []
    windows = FloorWindows(
        x=gather(store, table, rows).transpose(0, 2, 1), sfreq=table.sfreq, recording=table.recording[rows]
    )
    offered = {floor.name for floor in floors_for(store.meta["modality"], windows)} & set(SIMPLE)
    name = next((name for name in SIMPLE if name in offered), "log-variance")
    try:
        features = FLOORS[name].compute(windows, np.ones(len(rows), np.bool_), 0)
    except BioclError:  # such as windows too short for any band
        features, name = FLOORS["log-variance"].compute(windows, np.ones(len(rows), np.bool_), 0), "log-variance"
    return shortcuts(store, table, rows, features, f"{name} of raw windows")


def rows_looked_at(table: WindowTable) -> np.ndarray:
    """Table rows in order of time, a bounded number."""
    order = np.lexsort((table.start, table.recording))
    return order[sampled_windows(table.patient[order])]


def shortcuts(
    store: Store, table: WindowTable, rows: np.ndarray, features: np.ndarray, what: str
) -> tuple[Check, list[ToldApart]]:
    """What features (n, n_features) of table rows tell of patient, device and site: printed beside, never a leak."""
    features = np.nan_to_num(np.asarray(features, np.float64))
    patient, recording = table.patient[rows], table.recording[rows]
    told = [tell_patients(features, patient)]
    for known in recorded(store):
        values = sorted(set(known.place.values()))
        group = np.array([values.index(known.place[n]) if n in known.place else -1 for n in recording.tolist()])
        has = group >= 0
        if has.any():
            told.append(tell_groups(features[has], group[has], patient[has], known.kind))
    found = [one for one in told if one is not None]
    looked_at = f"{what}, {len(rows)} windows of {len(np.unique(patient))} patients"
    if not found:
        return Check(
            NAME, looked_at, skipped="there are not two patients, devices or sites with windows enough to be told apart"
        ), []
    return Check(NAME, f"{looked_at}: {'; '.join(one.said() for one in found)}"), found
