"""Data sets by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from biocl.datasets.registry import dataset_names, find_dataset
from biocl.errors import UsageError


def test_every_name_finds_its_data_set() -> None:
    for name in dataset_names():
        found = find_dataset(name)
        assert found.name == name
        assert found.classes or found.modality == "series"
        assert {"windows", "trials", "classes"} <= set(found.defaults)


def test_a_near_name_is_guessed() -> None:
    with pytest.raises(UsageError, match="Did you mean 'mitdb'"):
        find_dataset("mitbd")
    with pytest.raises(UsageError, match="synthetic-imu"):
        find_dataset("unheard of")


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from biocl.datasets.registry import dataset_names, find_dataset;"
        "[find_dataset(name) for name in dataset_names()];"
        "assert not {'torch', 'wfdb', 'mne', 'sklearn', 'scipy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
