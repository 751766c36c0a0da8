"""Every data set that is in the test data is prepared, and has the counts of its card."""

from __future__ import annotations

from pathlib import Path

import pytest

from biocl.commands.cards import check_card
from biocl.commands.prepare import prepare
from biocl.datasets.card import read_card
from biocl.datasets.folder import folder_dataset
from biocl.datasets.registry import find_dataset
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.describe import describe

HERE = {
    "cinc2021": "ecg/cinc2021-sample",
    "ecgid": "ecg/ecgid",
    "eegmmidb": "eeg/eegmmidb",
    "etth1": "forecasting/ETT-small",
    "etth2": "forecasting/ETT-small",
    "exchange": "forecasting/exchange_rate",
    "illness": "forecasting/illness",
    "ludb": "ecg/ludb",
    "mitdb": "ecg/mitdb",
    "physical-therapy": "imu/physical-therapy-exercises",
    "ptbxl": "ecg/ptbxl",
    "smni_cmi": "eeg/smni_cmi",
    "sp-sw-har": "imu/sp-sw-har",
}


@pytest.mark.parametrize("name", HERE)
def test_prepare_finds_what_the_card_says(name: str, test_data: Path, tmp_path: Path) -> None:
    store = prepare(find_dataset(name), raw=test_data / HERE[name], out=tmp_path / "store")
    [said] = check_card(store)
    card = read_card(name)
    whose = "the part that the card describes" if card.sample else "the data card"
    assert said.startswith(f"The counts are those of {whose}: ")
    expected = card.sample or card.counts
    assert said.count(",") >= 2, "patients, recordings and windows are all stated"
    assert expected.patients == len(store.patient_names)
    assert expected.recordings == len(store)
    assert expected.windows == len(store.windows)
    if store.windows.classes:
        assert expected.classes is not None


def test_mitdb_has_the_beats_that_physionet_counts(test_data: Path, tmp_path: Path) -> None:
    store = prepare(find_dataset("mitdb"), raw=test_data / HERE["mitdb"], out=tmp_path / "store")
    found = describe(store)
    assert found["event_labels"]["beat"] == {"N": 90631, "S": 2781, "V": 7236, "F": 803, "Q": 8043}
    assert found["events"]["beat"] == 109494


def own_files(folder: Path) -> list[Path]:
    """What a user would list of a folder: the one file that stands for each recording."""
    return sorted(
        p for p in folder.rglob("*") if p.suffix in (".edf", ".bdf", ".vhdr", ".raw", ".data", ".fif", ".hea")
    )


@pytest.mark.parametrize(("folder", "n_files"), [("eeg/mne-testdata", 20), ("ecg/wfdb-python-sample", 6)])
def test_every_sample_file_becomes_a_store(folder: str, n_files: int, test_data: Path, tmp_path: Path) -> None:
    files = own_files(test_data / folder)
    assert len(files) >= n_files
    for number, path in enumerate(files):
        table = tmp_path / f"{number}.csv"
        table.write_text(f"path,patient\n{path},P1\n", encoding="utf-8")
        accepting = ConditioningSpec(nan="keep", flat="keep", range="keep", units="file")
        store = build_store(folder_dataset(table), None, tmp_path / f"store-{number}", accepting)
        assert store.numbers["n_times"].sum() > 0
