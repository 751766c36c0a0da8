"""MIT-BIH: counts, patients, leads, splits."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from biocl.datasets.mitdb import MITDB, PACED, RECORDS
from biocl.errors import DataError

# fmt: off
# The published inter-patient split (de Chazal et al. 2004).
DS1 = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122", "124", "201", "203",
    "205", "207", "208", "209", "215", "220", "223", "230",
)
DS2 = (
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210", "212", "213", "214",
    "219", "221", "222", "228", "231", "232", "233", "234",
)
# fmt: on
VALIDATION = {"114", "118", "124", "205"}


@pytest.fixture
def raw(test_data: Path) -> Path:
    return test_data / "ecg" / "mitdb"


def test_totals_are_the_published_ones(raw: Path) -> None:
    entries = MITDB.entries(raw)
    assert len(entries) == 48
    assert len({entry.patient for entry in entries}) == 47
    beats: Counter[str] = Counter()
    for entry in entries:
        recording = MITDB.read(entry)
        beats.update(recording.events.of_kind("beat").label.tolist())
        assert recording.channel_names == ("lead-1", "lead-2")
        assert (recording.labels["lead-1"] == "MLII") == (entry.name not in ("102", "104"))
        assert len(recording.events.of_kind("rhythm"))
    assert beats == {"N": 90631, "S": 2781, "V": 7236, "F": 803, "Q": 8043}


def test_mlii_comes_first_in_114(raw: Path) -> None:
    import wfdb

    entry = next(entry for entry in MITDB.entries(raw) if entry.name == "114")
    found = MITDB.read(entry)
    expected = wfdb.rdrecord(entry.source, sampto=100, channel_names=["MLII"]).p_signal[:, 0]
    assert found.read(0, 100)[:, 0] == pytest.approx(expected, abs=1e-6)
    assert found.labels["lead-2"] == "V5"


def test_splits_know_that_201_and_202_are_one_person() -> None:
    honest, published = MITDB.splits["ds1-ds2"], MITDB.splits["ds1-ds2-published"]
    for split in (honest, published):
        [fold] = split["folds"]
        assert split["scope"] == "patient"
        assert len(fold["validation"]) == 4
        assert len(fold["test"]) == 22
        assert fold["only"]["test"] == {"201+202": ["202"]}
        named = [*fold["train"], *fold["validation"], *fold["test"]]
        assert not set(PACED) & set(named)
    assert len(honest["folds"][0]["train"]) == 17
    assert "201+202" not in honest["folds"][0]["train"]
    assert honest["allow_shared"] == honest["marks"] == []
    assert len(published["folds"][0]["train"]) == 18
    assert published["allow_shared"] == ["201+202"]
    assert published["folds"][0]["only"]["train"] == {"201+202": ["201"]}
    assert len(published["marks"]) == 1
    assert sorted([*DS1, *DS2, *PACED]) == sorted(RECORDS)
    for split, left_out in ((honest, {"201"}), (published, set())):
        [fold] = split["folds"]
        assert set(fold["validation"]) == VALIDATION
        assert set(fold["train"]) == {person(record) for record in DS1 if record not in VALIDATION | left_out}
        assert set(fold["test"]) == {person(record) for record in DS2}


def person(record: str) -> str:
    return "201+202" if record in ("201", "202") else record


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"48 of the 48.*100\.hea.*--raw"):
        MITDB.entries(tmp_path)


def test_entries_and_reader_travel_to_workers(raw: Path) -> None:
    entry, read = pickle.loads(pickle.dumps((MITDB.entries(raw)[0], MITDB.read)))
    assert read(entry).n_times == 650_000
    assert pickle.loads(pickle.dumps(replace(MITDB))).name == "mitdb"
