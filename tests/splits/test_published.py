"""Every list of patients in ``biocl/datasets/splits`` is a split, and every data set has the lists it names."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from biocl.datasets.published import published_splits
from biocl.datasets.registry import dataset_names, find_dataset
from biocl.splits.file import splits_from_json
from biocl.splits.split import PARTS, shared_patients

FILES = sorted(path.name.removesuffix(".json") for path in files("biocl.datasets").joinpath("splits").iterdir())
LISTS = [(dataset, name) for dataset in FILES for name in published_splits(dataset)]


def content_of(dataset: str, name: str) -> dict[str, Any]:
    return {"name": name, **published_splits(dataset)[name]}


def test_the_files_belong_to_data_sets() -> None:
    assert "mitdb" in FILES
    assert set(FILES) <= set(dataset_names())
    for dataset in FILES:
        held = find_dataset(dataset).splits
        assert {name: json.loads(json.dumps(held[name])) for name in published_splits(dataset)} == published_splits(
            dataset
        )


@pytest.mark.parametrize(("dataset", "name"), LISTS)
def test_a_published_list_is_a_split(dataset: str, name: str) -> None:
    folds = splits_from_json(content_of(dataset, name), f"{dataset}.json")
    assert [split.fold for split in folds] == list(range(len(folds)))
    for split in folds:
        assert split.name == name
        assert split.parts["train"]
        assert split.parts["test"]
        for part in PARTS:
            assert all(count == 1 for count in Counter(split.parts[part]).values())
        if split.scope == "patient" and shared_patients(split):
            assert set(shared_patients(split)) == set(split.allow_shared)
            assert split.marks, "a shared patient has to be marked"
            assert "NOT patient-independent" in split.stamp
        elif split.scope != "patient":
            assert "NOT patient-independent" in split.stamp


@pytest.mark.parametrize("dataset", sorted({dataset for dataset, _ in LISTS}))
def test_folds_that_test_everybody_once_do(dataset: str) -> None:
    """In a list of several folds by patient, nobody is tested twice."""
    for name in published_splits(dataset):
        folds = splits_from_json(content_of(dataset, name), f"{dataset}.json")
        if len(folds) > 1 and folds[0].scope == "patient":
            tested = Counter(patient for split in folds for patient in split.parts["test"])
            assert max(tested.values()) == 1


def test_splits_that_data_sets_compute_are_splits_too() -> None:
    for dataset in dataset_names():
        for name, content in find_dataset(dataset).splits.items():
            assert splits_from_json({"name": name, **content}, dataset)
