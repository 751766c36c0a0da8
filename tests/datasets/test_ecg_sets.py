"""PTB-XL, LUDB, ECG-ID and the 2021 challenge: counts, labels, events, folds, listings and faults."""

from __future__ import annotations

import csv
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.card import read_card
from biocl.datasets.cinc2021 import CINC2021, SCORED, source_of
from biocl.datasets.dataset import Dataset
from biocl.datasets.ecgid import ECGID
from biocl.datasets.ludb import LUDB, waves
from biocl.datasets.ptbxl import PTBXL, PTBXL_500, fold_splits
from biocl.datasets.registry import find_dataset
from biocl.errors import DataError
from biocl.signals.spec import ConditioningSpec
from biocl.splits.file import splits_from_json
from biocl.store.build import build_store
from biocl.store.spec import RecordingTrials, SlidingWindows
from biocl.store.store import Store
from biocl.store.windows import derive_windows

FOLDER = {"ptbxl": "ptbxl", "ludb": "ludb", "ecgid": "ecgid", "cinc2021": "cinc2021-sample"}
SETS = [PTBXL, LUDB, ECGID, CINC2021]
Raw = Callable[[Dataset], Path]


@pytest.fixture
def raw(test_data: Path) -> Raw:
    """The folder of a data set's part."""
    return lambda dataset: test_data / "ecg" / FOLDER[dataset.name]


@pytest.fixture(scope="module")
def store_of(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Dataset], Store]:
    """The store of a data set's part, built once."""
    folder = tmp_path_factory.mktemp("stores")

    def build(dataset: Dataset) -> Store:
        conditioning = ConditioningSpec(flat=dataset.defaults.get("flat", "error"))
        return build_store(dataset, test_data / "ecg" / FOLDER[dataset.name], folder / dataset.name, conditioning)

    return build


@pytest.mark.parametrize("dataset", SETS, ids=lambda dataset: dataset.name)
def test_counts_are_those_of_the_card(dataset: Dataset, raw: Raw, store_of: Callable[[Dataset], Store]) -> None:
    store = store_of(dataset)
    card, sample = read_card(dataset.name), read_card(dataset.name).sample
    assert sample is not None
    found = Counter(store.windows.classes[label] for label in store.windows.label.tolist())
    assert (len(store.patient_names), len(store), len(store.windows)) == (
        sample.patients,
        sample.recordings,
        sample.windows,
    )
    assert sample.classes == {name: found[name] for name in dataset.classes}
    assert set(card.labels) == set(dataset.classes)
    assert store.channels == dataset.read(dataset.entries(raw(dataset))[0]).channels
    assert store.meta["patients_known"] == (dataset is not CINC2021)


@pytest.mark.parametrize("dataset", SETS, ids=lambda dataset: dataset.name)
def test_the_order_of_the_listing_changes_nothing(dataset: Dataset, raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = dataset.entries(raw(dataset))
    for name in ("glob", "rglob", "iterdir"):
        original = getattr(Path, name)
        monkeypatch.setattr(
            Path, name, lambda self, *pattern, listed=original: sorted(listed(self, *pattern), reverse=True)
        )
    assert dataset.entries(raw(dataset)) == expected
    assert pickle.loads(pickle.dumps(expected)) == expected


@pytest.mark.parametrize("dataset", SETS, ids=lambda dataset: dataset.name)
def test_signals_are_those_that_wfdb_reads(dataset: Dataset, raw: Raw) -> None:
    import wfdb

    for entry in dataset.entries(raw(dataset))[::47]:
        recording = dataset.read(entry)
        expected = wfdb.rdrecord(entry.source)
        assert recording.sfreq == expected.fs
        assert recording.channel_names == tuple(expected.sig_name)
        assert {(channel.kind, channel.unit) for channel in recording.channels} == {("ecg", "mV")}
        assert recording.signal() == pytest.approx(expected.p_signal, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("dataset", [*SETS, PTBXL_500], ids=lambda dataset: dataset.name)
def test_an_empty_folder_is_one_error(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--raw"):
        dataset.entries(tmp_path)
    assert find_dataset(dataset.name).download is not None


# PTB-XL


def part_of_ptbxl(whole: Path, part: Path, n_rows: int, without: int = 0) -> Path:
    """The first rows of the table with their files, but without the files of the last ones."""
    (part / "records100" / "00000").mkdir(parents=True)
    shutil.copy(whole / "scp_statements.csv", part)
    with (whole / "ptbxl_database.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:n_rows]
    write_rows(part / "ptbxl_database.csv", rows)
    for row in rows[: n_rows - without]:
        for suffix in (".hea", ".dat"):
            target = part / f"{row['filename_lr']}{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(whole / f"{row['filename_lr']}{suffix}")
    return part


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """A CSV of rows with equal keys."""
    path.unlink(missing_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_ptbxl_labels(raw: Raw) -> None:
    by_name = {entry.name: entry for entry in PTBXL.entries(raw(PTBXL))}
    first = by_name["00001_lr"].labels
    assert (first["label"], first["superclasses"], first["age"], first["sex"]) == ("NORM", "NORM", "56", "female")
    assert first["scp_codes"] == "NORM 100, LVOLT 0, SR 0"
    for entry in by_name.values():
        applies = [name for name in PTBXL.classes if entry.labels[name] == "yes"]
        assert "+".join(applies) == entry.labels["superclasses"]
        assert entry.labels.get("label") == (applies[0] if len(applies) == 1 else None)
    assert Counter(entry.labels["MI"] for entry in by_name.values()) == {"no": 304, "yes": 49}


def test_ptbxl_superclasses_make_binary_tasks_of_all_records(store_of: Callable[[Dataset], Store]) -> None:
    windows = SlidingWindows(kind="sliding", length_s=10, step_s=10, label="MI")
    table = derive_windows(store_of(PTBXL), windows, RecordingTrials(kind="recording"), ["no", "yes"])
    assert np.bincount(table.label).tolist() == [304, 49]


def test_ptbxl_sample_split_is_that_of_the_folds(raw: Raw) -> None:
    found = PTBXL.entries(raw(PTBXL))
    folds: dict[str, set[str]] = {}
    for entry in found:
        folds.setdefault(entry.patient, set()).add(entry.labels["fold"])
    assert all(len(names) == 1 for names in folds.values()), "a patient in two folds"
    [split] = splits_from_json({"name": "sample", **PTBXL.splits["folds-1-8-sample"]}, "sample")
    assert split.patient_independent
    for part, numbers in {"train": "123456", "validation": "7", "test": "8"}.items():
        assert set(split.parts[part]) == {patient for patient, fold in folds.items() if fold <= set(numbers)}
    assert sum(map(len, split.parts.values())) == 339


def test_ptbxl_official_folds_appear_once_all_are_there(raw: Raw, tmp_path: Path) -> None:
    part = part_of_ptbxl(raw(PTBXL), tmp_path / "part", 20)
    assert fold_splits(PTBXL.entries(part)) == {}
    with (part / "ptbxl_database.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    number = {patient: index for index, patient in enumerate(dict.fromkeys(row["patient_id"] for row in rows))}
    rows = [{**row, "strat_fold": str(1 + number[row["patient_id"]] % 10)} for row in rows]
    write_rows(part / "ptbxl_database.csv", rows)
    store = build_store(PTBXL, part, tmp_path / "store")
    assert set(store.splits) == {"folds-1-8-9-10", "folds-1-8-sample"}
    [split] = splits_from_json({"name": "official", **store.splits["folds-1-8-9-10"]}, "official")
    assert split.patient_independent
    fold_of = {entry.patient: entry.labels["fold"] for entry in PTBXL.entries(part)}
    assert {fold_of[patient] for patient in split.parts["train"]} == set("12345678")
    assert {fold_of[patient] for patient in split.parts["validation"]} == {"9"}
    assert {fold_of[patient] for patient in split.parts["test"]} == {"10"}
    assert split.marks == ("20 of PTB-XL's 21799 records",)


def test_records_that_are_not_there_are_left_out_and_said(raw: Raw, tmp_path: Path) -> None:
    part = part_of_ptbxl(raw(PTBXL), tmp_path / "part", 6, without=2)
    store = build_store(PTBXL, part, tmp_path / "store")
    assert len(store) == 4
    [note] = [note for notes in store.notes for note in notes]
    assert note.startswith("2 of the 6 records that ptbxl_database.csv lists are not in the folder")
    with pytest.raises(DataError, match=r"None of the 6 records.*records500/"):
        PTBXL_500.entries(part)


def test_ptbxl_tables_that_are_damaged_are_named(raw: Raw, tmp_path: Path) -> None:
    part = part_of_ptbxl(raw(PTBXL), tmp_path / "part", 3)
    table = part / "ptbxl_database.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for change, message in (
        ({"patient_id": ""}, "Record '2' has patient_id ''"),
        ({"scp_codes": "{'NORM': 100.0, "}, "Record 2 has scp_codes"),
        ({"strat_fold": "x"}, "Record '2' has strat_fold 'x'"),
    ):
        write_rows(table, [rows[0], {**rows[1], **change}, rows[2]])
        with pytest.raises(DataError, match=message):
            PTBXL.entries(part)
    write_rows(table, [{k: v for k, v in row.items() if k != "strat_fold"} for row in rows])
    with pytest.raises(DataError, match="no column 'strat_fold'"):
        PTBXL.entries(part)
    write_rows(table, rows)
    table.write_text(table.read_text().rstrip("\n") + ",surplus\n")
    with pytest.raises(DataError, match=r"Row 3.*another number of values"):
        PTBXL.entries(part)
    table.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="cannot be read"):
        PTBXL.entries(part)
    (part / "scp_statements.csv").unlink()
    write_rows(table, rows)
    with pytest.raises(DataError, match="SCP statements is missing"):
        PTBXL.entries(part)


# LUDB


def test_ludb_values_with_line_breaks(raw: Raw) -> None:
    by_name = {entry.name: entry.labels for entry in LUDB.entries(raw(LUDB))}
    assert by_name["2"] == {
        "label": "Sinus rhythm",
        "rhythms": "Sinus rhythm",
        "age": "64",
        "sex": "male",
        "axis": "normal",
        "hypertrophy": "Left atrial hypertrophy; Left ventricular hypertrophy",
        "repolarization": "posterior wall",
    }
    assert all(labels["label"] in LUDB.classes for labels in by_name.values())
    wandering = [labels for labels in by_name.values() if "Wandering" in labels["rhythms"]]
    assert sorted(labels["label"] for labels in wandering) == ["Sinus arrhythmia", "Sinus bradycardia"]


def test_ludb_rhythms_are_those_of_the_headers(raw: Raw) -> None:
    for entry in LUDB.entries(raw(LUDB)):
        header = Path(f"{entry.source}.hea").read_text()
        assert f"#Rhythm: {entry.labels['label']}." in header


def test_ludb_waves_are_those_that_wfdb_reads(raw: Raw) -> None:
    import wfdb

    kinds = {"p": "p", "N": "qrs", "t": "t"}
    for entry in LUDB.entries(raw(LUDB))[::35]:
        events = LUDB.read(entry).events
        for lead in ("i", "avf", "v6"):
            marks = wfdb.rdann(entry.source, lead)
            expected = []
            for k, symbol in enumerate(marks.symbol):
                if symbol in kinds:
                    onset = k - 1 if k > 0 and marks.symbol[k - 1] == "(" else k
                    end = k + 1 if marks.symbol[k + 1 : k + 2] == [")"] else k
                    expected.append((marks.sample[onset], marks.sample[k], marks.sample[end], kinds[symbol]))
            mine = events.where(events.label == lead)
            spans = mine.where(np.isin(mine.kind, ["p", "qrs", "t"]))
            found = zip(spans.onset_s * 500, (spans.onset_s + spans.duration_s) * 500, spans.kind, strict=True)
            assert [(round(a), round(b), str(kind)) for a, b, kind in found] == [(a, b, k) for a, _, b, k in expected]
            peaks = mine.of_kind("qrs-peak").onset_s * 500
            assert np.rint(peaks).tolist() == [peak for _, peak, _, kind in expected if kind == "qrs"]
        beats = events.of_kind("beat")
        assert np.array_equal(beats.onset_s, events.where(events.label == "ii").of_kind("qrs-peak").onset_s)
        assert set(beats.label.tolist()) == {""}


def test_ludb_wave_without_onset_or_end(tmp_path: Path) -> None:
    import wfdb

    samples, symbols = np.array([10, 20, 30, 40, 60, 70]), ["N", ")", "(", "t", "(", "p"]
    wfdb.wrann("1", "ii", samples, symbols, write_dir=str(tmp_path))
    found = waves(tmp_path / "1.ii", "ii", 100.0)
    spans = found.where(np.isin(found.kind, ["p", "qrs", "t"]))
    assert spans.kind.tolist() == ["qrs", "t", "p"]
    assert spans.onset_s == pytest.approx([0.1, 0.3, 0.6])
    assert spans.duration_s == pytest.approx([0.1, 0.1, 0.1])


def test_ludb_missing_annotation_and_bad_number(raw: Raw, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(raw(LUDB) / "ludb.csv", tmp_path / "ludb.csv")
    for suffix in ("hea", "dat"):
        (tmp_path / "data" / f"2.{suffix}").symlink_to(raw(LUDB) / "data" / f"2.{suffix}")
    [entry] = LUDB.entries(tmp_path)
    assert entry.notes[0].startswith("139 of the 140 records that ludb.csv lists")
    with pytest.raises(DataError, match=r"annotation file is missing.*2\.i\b"):
        LUDB.read(entry)
    table = (tmp_path / "ludb.csv").read_text()
    (tmp_path / "ludb.csv").unlink()
    (tmp_path / "ludb.csv").write_text(table.replace("\n5,", "\nfive,", 1))
    with pytest.raises(DataError, match="ID is 'five'"):
        LUDB.entries(tmp_path)


# ECG-ID and the challenge


def test_ecgid_people_days_and_the_published_files(raw: Raw, tmp_path: Path) -> None:
    import wfdb

    first = ECGID.entries(raw(ECGID))[0]
    assert (first.name, first.patient, first.session) == ("Person_01-rec_1", "Person_01", "2004-12-07")
    assert first.labels == {
        "person": "Person_01",
        "age": "25",
        "sex": "male",
        "label": "male",
        "date": "2004-12-07",
    }
    for number in (10, 2):
        (tmp_path / "Person_90").mkdir(exist_ok=True)
        wfdb.wrsamp(
            f"rec_{number}",
            500,
            ["mV"] * 2,
            ["ECG I", "ECG I filtered"],
            np.random.default_rng(number).normal(size=(2000, 2)),
            fmt=["16"] * 2,
            comments=["Age: 30", "Sex: female", "ECG date: 1.2.2005"],
            write_dir=str(tmp_path / "Person_90"),
        )
    found = ECGID.entries(tmp_path)
    assert [(e.name, e.session) for e in found] == [
        ("Person_90-rec_2", "2005-02-01"),
        ("Person_90-rec_10", "2005-02-01"),
    ]
    assert ECGID.read(found[0]).n_times == 2000
    (tmp_path / "Person_90" / "other.hea").write_text("other 1 500 10\n")
    with pytest.raises(DataError, match=r"rec_N.*other\.hea"):
        ECGID.entries(tmp_path)


def test_cinc2021_diagnoses_sources_and_faults(raw: Raw, tmp_path: Path) -> None:
    by_name = {entry.name: entry for entry in CINC2021.entries(raw(CINC2021))}
    assert all(entry.patient == name for name, entry in by_name.items())
    found = by_name["JS20000"].labels
    yes = {name for name in SCORED.values() if found[name] == "yes"}
    assert yes == {"PAC", "STach", "NSIVCB"}
    assert (found["label"], found["age"], found["sex"], found["source"]) == ("STach", "84", "female", "Ningbo")
    assert found["snomed"] == "284470004+427084000+698252002+55930002"
    assert Counter(entry.labels["source"] for entry in by_name.values()) == {"Georgia": 20, "Ningbo": 20, "PTB-XL": 10}
    assert [source_of(name) for name in ("JS00001", "JS10647", "A0001", "I0001", "x")] == [
        "Chapman-Shaoxing",
        "Ningbo",
        "CPSC",
        "INCART",
        "unknown",
    ]
    assert {c.unit for c in CINC2021.read(by_name["HR06000"]).channels} == {"mV"}
    for folder in ("g1", "g2"):
        (tmp_path / folder).mkdir()
        shutil.copy(raw(CINC2021) / "E07500.hea", tmp_path / folder)
    with pytest.raises(DataError, match="Two records are named E07500"):
        CINC2021.entries(tmp_path)
    (tmp_path / "g2" / "E07500.hea").unlink()
    text = (tmp_path / "g1" / "E07500.hea").read_text()
    (tmp_path / "g1" / "E07501.hea").write_text(text.replace("# Dx", "# Diagnosis"))
    with pytest.raises(DataError, match=r"no diagnoses.*E07501"):
        CINC2021.entries(tmp_path)
