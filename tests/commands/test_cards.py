"""``data list`` and ``data card``, and what ``prepare`` says of the card."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biocl.cli import app
from biocl.commands.cards import card_of, check_card
from biocl.commands.catalogue import STATES, list_datasets
from biocl.commands.prepare import prepare
from biocl.datasets.card import OWNER, parse_card
from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.registry import dataset_names, find_dataset
from biocl.errors import UsageError
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    assert ended.value.code == 0
    return capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------- list


def test_the_list_says_what_is_here(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def states() -> dict[str, str]:
        return {entry["name"]: entry["state"] for entry in list_datasets()}

    before = states()
    assert list(before) == list(dataset_names())
    assert set(before.values()) <= set(STATES)
    assert before["mitdb"] == "downloadable"
    assert before["synthetic-imu"] == "embedded"
    (own_home / "raw" / "mitdb").mkdir(parents=True)
    assert states()["mitdb"] == "downloadable"
    (own_home / "raw" / "mitdb" / "100.hea").touch()
    prepare(find_dataset("synthetic-imu"))
    after = states()
    assert {name: state for name, state in after.items() if before[name] != state} == {
        "mitdb": "here",
        "synthetic-imu": "prepared",
    }
    found = {entry["name"]: entry for entry in json.loads(run(capsys, "data", "list", "--json"))}
    assert found["mitdb"] == {
        "name": "mitdb",
        "modality": "ecg",
        "patients": 47,
        "licence": "ODC-By 1.0",
        "state": "here",
    }


def test_the_list_is_aligned_and_explains_its_states(capsys: pytest.CaptureFixture[str]) -> None:
    table, _, legend = run(capsys, "data", "list").partition("\n\n")
    header, *lines = table.splitlines()
    assert len(lines) == len(dataset_names())
    column = header.index("state")
    for line in lines:
        assert any(line[column:].startswith(state) for state in STATES)
        assert line[column - 1] == " "
    for state in {entry["state"] for entry in list_datasets()}:
        assert f"{state}: " in legend


def test_the_list_is_quick() -> None:
    list_datasets()
    start = time.perf_counter()
    list_datasets()
    assert time.perf_counter() - start < 1.0


def test_the_list_imports_nothing_heavy() -> None:
    code = (
        "import sys; from biocl.cli import app\n"
        "try: app(['data', 'list'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mne', 'wfdb', 'sklearn', 'pandas', 'scipy', 'moabb', 'pyarrow', 'h5py'}\n"
        "sys.stderr.write(','.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mitdb" in done.stdout
    assert done.stderr == ""


def test_every_set_has_a_way_to_be_had() -> None:
    """What is open and not downloaded says where it is; what is asked for says whom to ask."""
    for name in dataset_names():
        dataset = find_dataset(name)
        if dataset.access != "embedded" and not name.startswith("synthetic-"):
            assert dataset.homepage.startswith("https://"), name


# ----------------------------------------------------------------------------------------------------- prepare


def test_prepare_says_whether_the_counts_are_the_cards(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = run(capsys, "data", "prepare", "synthetic-eeg")
    assert text.splitlines()[-1].split(maxsplit=1) == [
        "card",
        "The counts are those of the data card: 16 patients, 16 recordings, 3,200 windows.",
    ]
    text = run(capsys, "data", "prepare", "synthetic-eeg", "--resample-hz", "64")
    assert text.splitlines()[-1].endswith("The counts are those of the data card: 16 patients, 16 recordings.")


def test_a_difference_is_said_and_is_no_error(tmp_path: Path) -> None:
    dataset = find_dataset("synthetic-imu")
    store = build_store(dataset, dataset.entries(Path())[:15], tmp_path / "store")
    said = check_card(store)
    assert said[0] == "patients: 15 here, 16 in the data card."
    assert said[2] == "windows: 3,000 here, 3,200 in the data card."
    assert len(said) == 5


# -------------------------------------------------------------------------------------------------------- card


def own_store(
    folder: Path, name: str = "clinic", classes: tuple[str, ...] = ("ill", "well"), channel: str = "Cz"
) -> Path:
    """A store of somebody's own data: two patients, three recordings, with notes of the reader."""

    def read(entry: Entry) -> Recording:
        rng = np.random.default_rng(len(entry.name))
        return Recording.from_array(
            entry.name,
            entry.patient,
            100.0,
            rng.standard_normal((1000, 2)) * 20,
            [Channel(channel, "eeg", "uV"), Channel(f"{channel}-2", "eeg", "uV", device="second")],
            notes=["2 time stamps stood twice"] if entry.name != "a" else [],
        )

    entries = [Entry("a", "P1"), Entry("bb", "P1"), Entry("ccc", "P2")]
    dataset = Dataset(name, "eeg", "7", lambda raw: entries, read, classes)
    return build_store(dataset, None, folder / "store", ConditioningSpec(resample_hz=50.0)).path


def test_a_card_for_ones_own_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = own_store(tmp_path)
    text = run(capsys, "data", "card", str(store))
    card, prose = parse_card(text, "printed")
    assert (card.name, card.version, card.modality) == ("clinic", "7", "eeg")
    assert (card.patients, card.recordings, card.sfreq_hz) == (2, 3, 50.0)
    assert card.channels == ["Cz", "Cz-2"]
    assert card.devices == ["main", "second"]
    assert card.labels == {"ill": OWNER, "well": OWNER}
    assert card.licence == card.consent == card.source == OWNER
    assert card.defects == ["2 time stamps stood twice (2 recordings)", f"known defects: {OWNER}"]
    assert "resample_hz: 50.0" in card.conditioning
    assert "TODO" not in text
    assert OWNER in prose
    assert run(capsys, "data", "card", str(store), "-o", str(tmp_path / "card.md")).startswith(str(tmp_path))
    assert parse_card((tmp_path / "card.md").read_text(), "file")[0] == card
    with pytest.raises(UsageError, match="left as it is"):
        app(["data", "card", str(store), "-o", str(tmp_path / "card.md")], standalone_mode=False)


def test_the_card_of_a_registered_set_has_the_stores_counts(tmp_path: Path) -> None:
    dataset = find_dataset("synthetic-imu")
    store = build_store(dataset, dataset.entries(Path())[:4], tmp_path / "store")
    card, prose = parse_card(card_of(store), "here")
    assert (card.patients, card.recordings, card.windows) == (4, 4, 800)
    assert card.licence == "CC0 1.0"
    assert "planted" in prose
    other = build_store(dataset, None, tmp_path / "other", ConditioningSpec(resample_hz=25.0))
    card, _ = parse_card(card_of(other), "here")
    assert "resample_hz: 25.0" in card.conditioning


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, label=NAMES, channel=NAMES)
def test_a_card_that_is_written_can_be_read(
    name: str, label: str, channel: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from biocl.store.store import Store

    store = Store.open(own_store(tmp_path_factory.mktemp("own"), name, (label,), channel))
    card, _ = parse_card(card_of(store), "here")
    assert card.name == name
    assert list(card.labels) == [label]
    assert card.channels == [channel, f"{channel}-2"]
