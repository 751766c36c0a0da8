"""Data sets by name; each module is imported only when its data set is asked for."""

from __future__ import annotations

import difflib
from importlib import import_module

from biocl.datasets.dataset import Dataset
from biocl.errors import UsageError

# name -> "module:attribute"
DATASETS = {
    "mitdb": "biocl.datasets.mitdb:MITDB",
    "synthetic-ecg": "biocl.datasets.synthetic:ECG",
    "synthetic-eeg": "biocl.datasets.synthetic:EEG",
    "synthetic-imu": "biocl.datasets.synthetic:IMU",
}


def dataset_names() -> tuple[str, ...]:
    """Names of all registered data sets, sorted."""
    return tuple(sorted(DATASETS))


def find_dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises
    ------
    UsageError
        If there is none; the message holds the nearest name and the whole list.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.5)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"There is no data set named {name!r}",
            fix=f"{guess}The known ones are {', '.join(dataset_names())}",
        )
    module, attribute = DATASETS[name].split(":")
    dataset: Dataset = getattr(import_module(module), attribute)
    return dataset
