"""Say what data sets there are, and what a store holds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from biocl.commands.prepare import conditioning_for, registered_store
from biocl.datasets.registry import dataset_names, find_dataset
from biocl.errors import BioclError
from biocl.files import home
from biocl.store.describe import describe
from biocl.store.store import Store
from biocl.store.table import ROW, WindowTable


def list_datasets() -> list[dict[str, str]]:
    """Every data set with its modality and state: prepared, raw files here, embedded, or absent."""
    found = []
    for name in dataset_names():
        dataset = find_dataset(name)
        if registered_store(dataset, conditioning_for(dataset, {})).exists():
            state = "prepared"
        elif not dataset.homepage:
            state = "embedded"
        elif (home() / "raw" / name).is_dir():
            state = "raw"
        else:
            state = "absent"
        found.append({"name": name, "modality": dataset.modality, "state": state})
    return found


def print_datasets(found: list[dict[str, str]], *, as_json: bool) -> None:
    """Print the list."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for entry in found:
        print(f"{entry['name']:<20}{entry['modality']:<8}{entry['state']}")


def describe_store(store: Store) -> dict[str, Any]:
    """Counts of a store under its default windows; without such windows, a note says so."""
    try:
        return describe(store)
    except BioclError as error:
        return {**describe(store, windowless(store)), "note": error.paragraph()}


def windowless(store: Store) -> WindowTable:
    """A table without windows, for a store whose data set has none by default."""
    names = {
        "recording": store.recording_names,
        "patient": store.patient_names,
        "session": store.session_names,
        "label": store.classes,
    }
    return WindowTable(np.empty(0, ROW), names, store.sfreq, np.empty((0, 0), np.float32))


def print_store(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print the facts."""
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"{key:<14}{', '.join(map(str, shown)) if isinstance(shown, list) else shown}")
