"""EEG data sets: counts, labels and pairs on the parts that are here and on folders in the published layouts."""

from __future__ import annotations

import json
import pickle
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biocl.datasets.adftd import ADFTD, REMOTES
from biocl.datasets.apava import ALZHEIMER, APAVA
from biocl.datasets.dataset import Dataset
from biocl.datasets.eegmmidb import EEGMMIDB
from biocl.datasets.smni_cmi import SMNI_CMI
from biocl.datasets.tdbrain import NUMBERS, TDBRAIN
from biocl.errors import DataError
from biocl.signals.spec import ConditioningSpec
from biocl.splits.file import splits_from_json
from biocl.store.build import build_store
from biocl.store.store import Store
from biocl.store.table import WindowTable
from biocl.store.windows import default_windows

RNG = np.random.default_rng(0)
CONDITIONS = set(ConditioningSpec.model_fields)
# Epochs of each person, as COMET's notebook prints them.
APAVA_EPOCHS = (35, 25, 10, 33, 1, 22, 3, 32, 18, 38, 47, 37, 29, 39, 46, 28, 59, 40, 46, 37, 19, 17, 2)


def prepared(dataset: Dataset, raw: Path, out: Path) -> tuple[Store, WindowTable]:
    keys = {key: value for key, value in dataset.defaults.items() if key in CONDITIONS}
    store = build_store(dataset, raw, out, ConditioningSpec(**keys))
    return store, default_windows(store)


def class_counts(table: WindowTable) -> dict[str, int]:
    numbers = np.bincount(table.rows["label"], minlength=len(table.names["label"]))
    return dict(zip(table.names["label"], numbers.tolist(), strict=True))


def shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every listing of a folder come in another order."""
    glob = Path.glob

    def other_order(self: Path, pattern: str, **keys: Any) -> Any:
        found = list(glob(self, pattern, **keys))
        return iter([found[i] for i in np.random.default_rng(len(found)).permutation(len(found))])

    monkeypatch.setattr(Path, "glob", other_order)


def test_eegmmidb_on_the_runs_that_are_here(test_data: Path, tmp_path: Path) -> None:
    store, table = prepared(EEGMMIDB, test_data / "eeg" / "eegmmidb", tmp_path / "store")
    assert (len(store.patient_names), len(store), store.sfreq) == (1, 3, 160.0)
    assert class_counts(table) == {"imagined-left-fist": 23, "imagined-right-fist": 22}
    assert set(table.rows["length"].tolist()) == {640}
    assert len(np.unique(table.rows["trial"])) == 45
    names = [channel.name for channel in store.channels]
    assert len(names) == 64
    assert names[:3] == ["Fc5", "Fc3", "Fc1"]
    assert {(channel.kind, channel.unit) for channel in store.channels} == {("eeg", "uV")}


def write_run(path: Path, *said: str) -> None:
    import edfio

    values = RNG.standard_normal(160 * len(said)) * 20
    signal = edfio.EdfSignal(values, 160, label="Fc5.", physical_dimension="uV", physical_range=(-200, 200))
    marks = [edfio.EdfAnnotation(float(second), 1.0, word) for second, word in enumerate(said)]
    edfio.Edf([signal], annotations=marks).write(path)


def test_eegmmidb_in_the_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for person in ("S001", "S089", "S109", "S100"):
        (tmp_path / person).mkdir()
        for run in range(1, 15):
            write_run(tmp_path / person / f"{person}R{run:02d}.edf", "T0", "T1", "T2")
    (tmp_path / "S001" / "S001R04.edf.event").write_text("")
    shuffled(monkeypatch)
    entries = EEGMMIDB.entries(tmp_path)
    assert [entry.name for entry in entries] == [f"{p}R{run:02d}" for p in ("S001", "S109") for run in range(1, 15)]
    meaning = {entry.name[4:]: EEGMMIDB.read(entry).events.label.tolist() for entry in entries[:14]}
    assert meaning["R01"] == ["eyes-open"]  # T1 and T2 mean nothing there
    assert meaning["R02"] == ["eyes-closed"]
    for runs, labels in (
        ((3, 7, 11), ["rest", "moved-left-fist", "moved-right-fist"]),
        ((4, 8, 12), ["rest", "imagined-left-fist", "imagined-right-fist"]),
        ((5, 9, 13), ["rest", "moved-both-fists", "moved-both-feet"]),
        ((6, 10, 14), ["rest", "imagined-both-fists", "imagined-both-feet"]),
    ):
        assert {tuple(meaning[f"R{run:02d}"]) for run in runs} == {tuple(labels)}
    assert {label for labels in meaning.values() for label in labels} == set(EEGMMIDB.classes)
    with pytest.raises(DataError, match="None of the runs"):
        EEGMMIDB.entries(tmp_path / "S001")
    (tmp_path / "S001" / "S002R01.edf").write_bytes(b"")
    with pytest.raises(DataError, match="A run of S002 lies in the folder of S001"):
        EEGMMIDB.entries(tmp_path)


@pytest.mark.parametrize("below", ["", "SMNI_CMI_TRAIN"])
def test_smni_cmi_lists_the_part_that_is_here(test_data: Path, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled(monkeypatch)
    entries = SMNI_CMI.entries(test_data / "eeg" / "smni_cmi" / below)
    assert len(entries) == 420
    assert entries == sorted(entries, key=lambda entry: entry.name)
    people = {entry.patient: entry.labels["label"] for entry in entries}
    assert len(people) == 14
    assert all(label == {"a": "alcoholic", "c": "control"}[patient[3]] for patient, label in people.items())
    assert all(entry.name.startswith(entry.patient) and entry.patient in entry.source for entry in entries)


def test_smni_cmi_windows(test_data: Path, tmp_path: Path) -> None:
    """Thirty trials of two people."""
    raw = test_data / "eeg" / "smni_cmi"
    for person in ("co2a0000368", "co2c0000337"):
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / person).symlink_to(raw / "SMNI_CMI_TRAIN" / person)
    store, table = prepared(SMNI_CMI, tmp_path / "raw", tmp_path / "store")
    assert (len(store), len(table.rows)) == (60, 60)
    assert class_counts(table) == {"control": 30, "alcoholic": 30}
    assert set(table.rows["length"].tolist()) == {256}
    stimuli = store.recording_labels("stimulus")
    assert {name: stimuli.count(name) for name in set(stimuli)} == {"S1": 20, "S2 match": 20, "S2 no match": 20}


def test_smni_cmi_refuses_what_is_in_the_wrong_place(test_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No trial"):
        SMNI_CMI.entries(tmp_path)
    trial = test_data / "eeg/smni_cmi/SMNI_CMI_TRAIN/co2a0000364/co2a0000364.rd.000.gz"
    folder = tmp_path / "co2c0000337"
    folder.mkdir()
    (folder / "co2c0000337.rd.000.gz").write_bytes(trial.read_bytes())
    [entry] = SMNI_CMI.entries(tmp_path)
    with pytest.raises(DataError, match="This trial is of co2a0000364 and named like one of co2c0000337"):
        SMNI_CMI.read(entry)
    (folder / "co2a0000364.rd.000.gz").write_bytes(trial.read_bytes())
    with pytest.raises(DataError, match="A trial of co2a0000364 lies in the folder of co2c0000337"):
        SMNI_CMI.entries(tmp_path)


def write_apava(folder: Path, person: int, n_epochs: int, shape: tuple[int, int] = (16, 1280)) -> None:
    from scipy.io import savemat

    cells = np.empty((1, n_epochs), dtype=object)
    for number in range(n_epochs):
        cells[0, number] = np.full(shape, person, np.int16) + RNG.integers(-1, 2, shape, dtype=np.int16)
    data = np.empty((1, 1), dtype=[("label", object), ("fsample", object), ("trial", object)])
    data[0, 0] = ("", 256, cells)
    savemat(folder / f"preproctrials{person:02d}.mat", {"data": data})


def test_apava_counts_are_the_published_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COMET's check 25: 663 trials, 5,967 windows, and no listing order in them."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for person in np.random.default_rng(1).permutation(23) + 1:
        write_apava(raw, int(person), APAVA_EPOCHS[person - 1])
    shuffled(monkeypatch)
    store, table = prepared(APAVA, raw, tmp_path / "store")
    assert (len(store.patient_names), len(store)) == (23, 23)
    assert len(np.unique(table.rows["trial"])) == 663
    assert len(table.rows) == 5967
    assert class_counts(table) == {"control": 2367, "alzheimer": 3600}
    patients = [store.patient_names[code] for code in table.rows["patient"]]
    alzheimer = {name for name, label in zip(patients, table.rows["label"], strict=True) if label == 1}
    assert alzheimer == {f"{number:02d}" for number in ALZHEIMER}
    parts = {part: sum(patient in names for patient in patients) for part, names in parts_of(APAVA, "comet").items()}
    assert parts == {"train": 4329, "validation": 891, "test": 747}
    for recording in store.recordings:  # the samples of each file are its patient's
        assert abs(float(recording.mean[0]) - int(recording.patient)) < 0.2


def parts_of(dataset: Dataset, name: str) -> dict[str, tuple[str, ...]]:
    [split] = splits_from_json({"name": name, **dataset.splits[name]}, name)
    return dict(split.parts)


def test_apava_refuses_what_is_missing_or_no_epoch(tmp_path: Path) -> None:
    write_apava(tmp_path, 1, 2)
    with pytest.raises(DataError, match=r"22 of the 23 APAVA files are missing, first preproctrials02\.mat"):
        APAVA.entries(tmp_path)
    for person in range(1, 24):
        write_apava(tmp_path, person, 1, shape=(16, 1280 if person > 1 else 100))
    first, second = APAVA.entries(tmp_path)[:2]
    with pytest.raises(DataError, match=r"shapes \[\(16, 100\)\]"):
        APAVA.read(first)
    Path(second.source).write_bytes(Path(second.source).read_bytes()[:-500])
    with pytest.raises(DataError, match=r"damaged|APAVA"):
        APAVA.read(second)


@pytest.mark.parametrize(
    ("name", "split", "sizes"),
    [
        ("apava", "comet", (19, 2, 2)),
        ("apava", "medformer", (15, 4, 4)),
        ("tdbrain", "comet", (34, 8, 8)),
        ("adftd", "medformer", (51, 18, 19)),
    ],
)
def test_published_splits(name: str, split: str, sizes: tuple[int, int, int]) -> None:
    text = files("biocl.datasets").joinpath("splits", f"{name}.json").read_text(encoding="utf-8")
    [found] = splits_from_json(json.loads(text)[split], split)
    assert tuple(len(found.parts[part]) for part in ("train", "validation", "test")) == sizes
    people = [person for part in found.parts.values() for person in part]
    assert len(set(people)) == len(people)
    everybody = {
        "apava": {f"{n:02d}" for n in range(1, 24)},
        "tdbrain": {f"{n:02d}" for n in NUMBERS},
        "adftd": {f"sub-{n:03d}" for n in range(1, 89)},
    }
    assert set(people) == everybody[name]


def test_every_part_of_comets_tdbrain_is_half_healthy() -> None:
    for people in parts_of(TDBRAIN, "comet").values():
        assert sum(int(person) >= 29 for person in people) * 2 == len(people)


def write_vhdr(folder: Path, name: str, values: np.ndarray, sfreq: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    channels = "\n".join(f"Ch{number}={label},,0.1,uV" for number, label in enumerate(("Fp1", "Cz"), 1))
    (folder / f"{name}.vhdr").write_text(
        f"Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nDataFile={name}.eeg\nDataFormat=BINARY\n"
        f"DataOrientation=MULTIPLEXED\nNumberOfChannels=2\nSamplingInterval={1e6 / sfreq:g}\n[Binary Infos]\n"
        f"BinaryFormat=INT_16\n[Channel Infos]\n{channels}\n"
    )
    (folder / f"{name}.eeg").write_bytes(values.astype("<i2").tobytes())


def tdbrain_folder(raw: Path, seconds: int = 120) -> dict[int, str]:
    """72 people in the table's order, which is not that of their ids; two of those used come twice."""
    order = np.random.default_rng(3).permutation(72)
    people = {number: f"sub-{88000000 + int(order[number - 1])}" for number in range(1, 73)}
    rows = ["participants_ID\tDISC/REP\tindication"]
    rows += ["sub-1\tREPLICATION\tREPLICATION", "\tDISCOVERY\tMDD", "sub-2\tDISCOVERY\t"]
    for number, participant in people.items():
        rows.append(f"{participant}\tDISCOVERY\t{'PARKINSON' if 29 <= number <= 53 else 'Healthy '}")
    rows.append(rows[-1])
    raw.mkdir()
    (raw / "TDBRAIN_participants_V2.tsv").write_text("\n".join(rows) + "\n")
    for number, participant in people.items():
        for session in (1, 2) if number in (5, 40) else (1,):
            folder = raw / participant / f"ses-{session}" / "eeg"
            for task in ("restEC", "restEO") if number == 1 else ("restEC",):
                name = f"{participant}_ses-{session}_task-{task}_eeg"
                write_vhdr(folder, name, RNG.integers(-200, 200, (500 * seconds, 2)), 500.0)
    return people


def test_tdbrain_counts_are_the_published_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COMET's check 25: 624 trials, 11,856 windows; labels and files are paired by id."""
    people = tdbrain_folder(tmp_path / "raw")
    shuffled(monkeypatch)
    entries = TDBRAIN.entries(tmp_path / "raw")
    assert len(entries) == 52
    for entry in entries:
        assert entry.labels["participant"] == people[int(entry.patient)]
        assert entry.labels["participant"] in entry.source
        assert entry.labels["label"] == ("parkinson" if int(entry.patient) >= 29 else "healthy")
        assert "restEC" in entry.source
    store, table = prepared(TDBRAIN, tmp_path / "raw", tmp_path / "store")
    assert (store.sfreq, len(store.patient_names)) == (256.0, 50)
    assert len(np.unique(table.rows["trial"])) == 624
    assert len(table.rows) == 11856
    assert class_counts(table) == {"healthy": 5928, "parkinson": 5928}


def test_tdbrain_refuses_another_table_and_missing_people(tmp_path: Path) -> None:
    people = tdbrain_folder(tmp_path / "raw", seconds=1)
    table = tmp_path / "raw" / "TDBRAIN_participants_V2.tsv"
    for path in (tmp_path / "raw" / people[7]).rglob("*.vhdr"):
        path.unlink()
    with pytest.raises(DataError, match=f"1 of the 50 people have no eyes-closed recording, first {people[7]}"):
        TDBRAIN.entries(tmp_path / "raw")
    table.write_text(table.read_text() + "sub-99\tDISCOVERY\tHEALTHY\n")
    with pytest.raises(DataError, match="names 25 people with Parkinson's disease and 48 healthy"):
        TDBRAIN.entries(tmp_path / "raw")
    table.write_text("participant\tgroup\n")
    with pytest.raises(DataError, match="no column 'participants_ID'"):
        TDBRAIN.entries(tmp_path / "raw")
    table.unlink()
    with pytest.raises(DataError, match="table of participants is missing"):
        TDBRAIN.entries(tmp_path / "raw")


def test_adftd_in_the_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mne

    groups = {"sub-001": "A", "sub-002": "F", "sub-003": "C"}
    rows = [f"{person}\tF\t70\t{group}\t20" for person, group in reversed(groups.items())]
    (tmp_path / "participants.tsv").write_text("\n".join(["participant_id\tGender\tAge\tGroup\tMMSE", *rows]) + "\n")
    for person in groups:
        folder = tmp_path / person / "eeg"
        folder.mkdir(parents=True)
        values = RNG.standard_normal((2, 10000)) * 2e-5
        raw = mne.io.RawArray(values, mne.create_info(["Fp1", "Cz"], 500.0, "eeg"), verbose="ERROR")
        raw.export(folder / f"{person}_task-eyesclosed_eeg.set", verbose="ERROR")
    shuffled(monkeypatch)
    store, table = prepared(ADFTD, tmp_path, tmp_path / "store")
    assert store.recording_names == ("sub-001", "sub-002", "sub-003")
    assert class_counts(table) == {"control": 38, "frontotemporal": 38, "alzheimer": 38}
    assert store.recording_labels("label") == ["alzheimer", "frontotemporal", "control"]
    assert store.recording_labels("mmse") == ["20"] * 3
    (tmp_path / "derivatives" / "sub-001").mkdir(parents=True)
    with pytest.raises(DataError, match=r"3 of the 3 recordings .* first sub-003_task-eyesclosed_eeg\.set"):
        ADFTD.entries(tmp_path / "derivatives")
    assert len(REMOTES) == 89


@pytest.mark.parametrize("dataset", [EEGMMIDB, SMNI_CMI, APAVA, TDBRAIN, ADFTD])
def test_readers_travel_to_workers(dataset: Dataset) -> None:
    assert pickle.loads(pickle.dumps(dataset)).name == dataset.name
