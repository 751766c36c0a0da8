"""Say what data sets there are, and what of each is on this machine."""

from __future__ import annotations

import json
from typing import Any

from biocl.commands.prepare import conditioning_for, registered_store
from biocl.datasets.card import card_line
from biocl.datasets.dataset import Dataset
from biocl.datasets.registry import dataset_names, find_dataset
from biocl.files import home

STATES = {
    "prepared": "a store is here",
    "here": "its files are here; `biocl data prepare NAME` makes the store",
    "embedded": "made by biocl, or by a package that it uses; `biocl data prepare NAME` makes the store",
    "downloadable": "`biocl data prepare NAME --download` fetches its files",
    "request needed": "ask its owners, then `biocl data prepare NAME --raw DIR`",
    "own copy needed": "biocl does not download it: `biocl data prepare NAME --raw DIR`",
}


def state_of(dataset: Dataset) -> str:
    """What of a data set is here, or how it comes here; a key of `STATES`."""
    folder = home() / "raw" / dataset.name
    if registered_store(dataset, conditioning_for(dataset, {})).exists():
        return "prepared"
    if dataset.access == "embedded" or not dataset.homepage:
        return "embedded"
    if folder.is_dir() and any(folder.iterdir()):
        return "here"
    if dataset.access == "request":
        return "request needed"
    return "downloadable" if dataset.download is not None else "own copy needed"


def list_datasets() -> list[dict[str, Any]]:
    """Every data set: ``name, modality, patients`` (None if nobody counted them), ``licence, state``."""
    found = []
    for name in dataset_names():
        dataset = find_dataset(name)
        patients = card_line(name, "patients")
        found.append(
            {
                "name": name,
                "modality": dataset.modality,
                "patients": int(patients) if patients.isdigit() and dataset.patients == "known" else None,
                "licence": dataset.licence,
                "state": state_of(dataset),
            }
        )
    return found


def print_datasets(found: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print the list, and what its states mean."""
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    rows = [["name", "modality", "patients", "state", "licence"]]
    for entry in found:
        patients = "–" if entry["patients"] is None else str(entry["patients"])
        rows.append([entry["name"], entry["modality"], patients, entry["state"], entry["licence"] or "not stated"])
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), row[3].ljust(widths[3])]
        print("  ".join([*cells, row[4]]).rstrip())
    print()
    shown = {entry["state"] for entry in found}
    for state, meaning in STATES.items():
        if state in shown:
            print(f"{state}: {meaning}")
