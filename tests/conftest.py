"""Shared fixtures: where the real recordings are, and a home that no test shares with the user."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from biocl.commands.setup import Cohort

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real recordings, or a skip that says how to give it."""
    folder = Path(os.environ.get("BIOCL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real recordings not found at {folder}: set BIOCL_TEST_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a `BIOCL_HOME` of its own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BIOCL_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Nine patients with 20 to 44 windows each in three unequal classes, and two numbers beside each window.

    Levels, and the numbers, differ between patients, so what is fitted on the wrong ones is another value.
    Patients p0 to p4 train, p5 and p6 validate, p7 and p8 test.
    """
    from biocl.commands.prepare import window_table
    from biocl.commands.setup import Cohort
    from biocl.datasets.arrays import array_dataset
    from biocl.experiment import DataSpec
    from biocl.signals.spec import ConditioningSpec
    from biocl.splits.split import Split
    from biocl.store.build import build_store
    from biocl.training.data import Windows

    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(9), 20 + 3 * np.arange(9))
    y = np.array([0, 0, 1, 0, 2, 0, 0, 1])[np.arange(len(patient)) % 8]
    wave = np.sin(2 * np.pi * (y[:, None] + 1) * np.arange(24) / 24)
    x = 0.7 * rng.standard_normal((len(y), 2, 24)) + wave[:, None] + 0.4 * patient[:, None, None]
    dataset = array_dataset(x, [f"k{k}" for k in y], [f"p{p}" for p in patient], sfreq=24.0)
    store = build_store(dataset, None, tmp_path_factory.mktemp("small") / "store", ConditioningSpec())
    table = window_table(store, DataSpec(store=str(store.path)))
    aux = np.stack([table.patient + rng.standard_normal(len(table)), 10.0 * table.patient**2], axis=1)
    table = replace(table, aux=aux.astype(np.float32), aux_names=("first", "second"))
    parts = {"train": range(5), "validation": range(5, 7), "test": range(7, 9)}
    split = Split("small", "patient", {part: tuple(f"p{i}" for i in who) for part, who in parts.items()})
    return Cohort(Windows(store, table, "none"), [split], 0.0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where everything must be present (``BIOCL_FAIL_ON_SKIP``), a skip is a failure."""
    report = yield
    if report.skipped and os.environ.get("BIOCL_FAIL_ON_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be absent: {report.longrepr}"
    return report
