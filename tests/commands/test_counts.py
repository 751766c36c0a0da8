"""Every data set that is in the test data is prepared, and has the counts of its card."""

from __future__ import annotations

from pathlib import Path

import pytest

from biocl.commands.cards import check_card
from biocl.commands.prepare import prepare
from biocl.datasets.card import read_card
from biocl.datasets.registry import find_dataset

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
