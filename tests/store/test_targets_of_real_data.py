"""Heart rates of MIT-BIH against its annotations, ages of PTB-XL against its table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biocl.commands.prepare import window_table
from biocl.datasets.dataset import Dataset
from biocl.datasets.mitdb import MITDB
from biocl.datasets.ptbxl import PTBXL, labels_of, superclasses
from biocl.experiment import DataSpec
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.store import Store
from biocl.store.table import WindowTable

RECORDS = ("100", "105", "203", "232")
BEAT_SYMBOLS = set("NLRBAaJSVrFejnE/fQ?")


@pytest.fixture
def table_of(tmp_path: Path) -> Callable[..., tuple[Store, WindowTable]]:
    def make(dataset: Dataset, raw: Path, keep: Callable[[str], bool], **data: object) -> tuple[Store, WindowTable]:
        listed = dataset.entries
        some = Dataset(**{**vars(dataset), "entries": lambda raw: [e for e in listed(raw) if keep(e.name)]})
        store = build_store(some, raw, tmp_path / "store", ConditioningSpec(range="keep", flat="keep"))
        return store, window_table(store, DataSpec(store=str(store.path), **data))

    return make


def test_heart_rates_of_mitdb_are_those_of_its_annotations(test_data: Path, table_of) -> None:
    import wfdb

    raw = test_data / "ecg" / "mitdb"
    store, table = table_of(
        MITDB,
        raw,
        RECORDS.__contains__,
        windows={"kind": "sliding", "length_s": 10.0, "step_s": 10.0, "keep_unlabelled": True},
        trials={"kind": "recording"},
        target={"kind": "heart-rate"},
    )
    assert len(table) == 180 * len(RECORDS)
    assert store.sfreq == 360
    for number, record in enumerate(store.recording_names):
        marks = wfdb.rdann(str(raw / record), "atr")
        beats = np.array([s for s, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol in BEAT_SYMBOLS])
        mine = table.recording == number
        for start, value in zip(table.start[mine].tolist(), table.target[mine].tolist(), strict=True):
            inside = beats[(beats >= start) & (beats < start + 3600)]
            expected = 60 / (np.diff(inside).mean() / 360) if len(inside) >= 3 else np.nan
            assert value == pytest.approx(expected, rel=1e-5, nan_ok=True)
    rates = table.target[table.recording == store.recording_names.index("100")]
    assert 70 < np.nanmean(rates) < 80  # 2,273 beats in 30 minutes are 76 a minute


def test_ages_of_ptbxl_are_those_of_its_table(test_data: Path, table_of) -> None:
    raw = test_data / "ecg" / "ptbxl"
    with (raw / "ptbxl_database.csv").open(newline="") as file:
        ages = {Path(row["filename_lr"]).name: float(row["age"] or "nan") for row in csv.DictReader(file)}
    some = set(sorted(ages)[::12])
    store, table = table_of(
        PTBXL,
        raw,
        some.__contains__,
        windows={"kind": "sliding", "length_s": 10.0, "step_s": 10.0, "keep_unlabelled": True},
        target={"kind": "label", "name": "age"},
    )
    expected = [ages[store.recording_names[number]] for number in table.recording.tolist()]
    expected = [value if value < 300 else np.nan for value in expected]
    assert len(expected) == len(some)
    np.testing.assert_array_equal(table.target, np.float32(expected))


def test_the_age_that_ptbxl_hides_is_unknown(test_data: Path) -> None:
    raw = test_data / "ecg" / "ptbxl"
    with (raw / "ptbxl_database.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert labels_of({**row, "age": "300.0"}, superclasses(raw), raw)["age"] == ">89"
    assert labels_of({**row, "age": "89.0"}, superclasses(raw), raw)["age"] == "89"
    assert "age" not in labels_of({**row, "age": ""}, superclasses(raw), raw)
