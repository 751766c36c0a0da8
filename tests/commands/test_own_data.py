"""The README's recipes for one's own recordings, typed as they stand there; and folders that are refused."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biocl.cli import main
from biocl.store.store import Store

Cli = Callable[[str], tuple[int, str, str]]

EDF = """\
biocl data prepare eeg --files 'sub-{patient}/{trial}_{label}.edf' --modality eeg --out stores/eeg
biocl data inspect stores/eeg --json
"""
WFDB = """\
biocl data prepare ecg --files '{patient}_{label}.hea' --modality ecg --out stores/ecg
biocl data inspect stores/ecg --json
"""
LAYOUT = """\
time: {column: timestamp, unit: ms}
sfreq: 50
columns:
  acc_*: {unit: m/s2}
  gyr_*: {unit: deg/s}
"""
TABLE = """\
path,patient,recording,device,label
P1/walk/wrist.csv,P1,P1-walk,wrist,walk
P1/walk/ankle.csv,P1,P1-walk,ankle,walk
P1/sit/wrist.csv,P1,P1-sit,wrist,sit
P1/sit/ankle.csv,P1,P1-sit,ankle,sit
P2/walk/wrist.csv,P2,P2-walk,wrist,walk
P2/walk/ankle.csv,P2,P2-walk,ankle,walk
"""
IMU = """\
biocl data prepare imu/recordings.csv --layout imu/layout.yaml --modality imu --out stores/imu
biocl data inspect stores/imu --json
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def biocl(desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    def type_it(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return type_it


def recipe(biocl: Cli, lines: str) -> dict[str, Any]:
    """Type the lines of a recipe; what the last one prints."""
    for line in lines.splitlines():
        code, out, err = biocl(line)
        assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def write_edf(path: Path, seed: int, sfreq: int = 128, seconds: int = 8) -> None:
    from edfio import Edf, EdfSignal

    path.parent.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    signals = [
        EdfSignal(20 * chance.standard_normal(sfreq * seconds), sfreq, label=name, physical_dimension="uV")
        for name in ("Fz", "Cz", "Pz")
    ]
    Edf(signals).write(path)


def write_eeg(folder: Path) -> None:
    for number, patient in enumerate(("01", "02", "03")):
        for trial, label in (("1", "rest"), ("2", "task")):
            write_edf(folder / f"sub-{patient}" / f"{trial}_{label}.edf", 2 * number + int(trial))


def write_ecg(folder: Path) -> None:
    import wfdb

    folder.mkdir()
    for number, (patient, label) in enumerate((("A", "sinus"), ("B", "af"), ("C", "sinus"))):
        signal = 0.4 * np.random.default_rng(number).standard_normal((2500, 2))
        wfdb.wrsamp(
            f"{patient}_{label}", 250, ["mV", "mV"], ["II", "V1"], p_signal=signal, fmt=["16"] * 2,
            write_dir=str(folder),
        )  # fmt: skip


def write_imu(folder: Path) -> None:
    for patient, activity in (("P1", "walk"), ("P1", "sit"), ("P2", "walk")):
        here = folder / patient / activity
        here.mkdir(parents=True)
        for device, start_ms, step_ms in (("wrist", 1_700_000_000_000, 20.0), ("ankle", 1_700_000_000_240, 19.6)):
            time = start_ms + np.arange(600) * step_ms
            wave = np.sin(2 * np.pi * time[:, None] / 1000 + np.arange(6)) * 3
            lines = [",".join([f"{t:.1f}", *(f"{v:.4f}" for v in row)]) for t, row in zip(time, wave, strict=True)]
            header = "timestamp,acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z"
            (here / f"{device}.csv").write_text("\n".join([header, *lines]) + "\n")
    (folder / "layout.yaml").write_text(LAYOUT)
    (folder / "recordings.csv").write_text(TABLE)


@pytest.mark.parametrize("block", [EDF, WFDB, LAYOUT, TABLE, IMU])
def test_the_recipes_stand_in_the_readme(block: str) -> None:
    readme = Path(__file__).resolve().parents[2] / "README.md"
    assert block in readme.read_text(encoding="utf-8")


def test_a_folder_of_edf_files(desk: Path, biocl: Cli) -> None:
    write_eeg(desk / "eeg")
    found = recipe(biocl, EDF)
    assert (found["patients"], found["recordings"], found["windows"]) == (3, 6, 24)
    assert found["classes"] == {"rest": 12, "task": 12}
    store = Store.open(desk / "stores" / "eeg")
    assert [(c.name, c.kind, c.unit) for c in store.channels] == [(name, "eeg", "uV") for name in ("Fz", "Cz", "Pz")]
    assert store.sfreq == 128


def test_a_folder_of_wfdb_records(desk: Path, biocl: Cli) -> None:
    write_ecg(desk / "ecg")
    found = recipe(biocl, WFDB)
    assert (found["patients"], found["recordings"], found["windows"]) == (3, 3, 15)
    assert found["classes"] == {"af": 5, "sinus": 10}
    store = Store.open(desk / "stores" / "ecg")
    assert [(c.name, c.kind, c.unit) for c in store.channels] == [("II", "ecg", "mV"), ("V1", "ecg", "mV")]


def test_devices_with_time_stamps(desk: Path, biocl: Cli) -> None:
    write_imu(desk / "imu")
    found = recipe(biocl, IMU)
    assert (found["patients"], found["recordings"]) == (2, 3)
    assert set(found["classes"]) == {"walk", "sit"}
    store = Store.open(desk / "stores" / "imu")
    assert store.sfreq == 50
    assert len(store.channels) == 12
    assert [c.device for c in store.channels[::6]] == ["wrist", "ankle"]
    assert [c.unit for c in store.channels[::3]] == ["m/s2", "deg/s", "m/s2", "deg/s"]
    assert any("+0.240 s" in note for note in store.notes[0])
    signal = np.asarray(store.signals[: 5 * 50])
    np.testing.assert_allclose(signal[20:, :6], signal[20:, 6:], atol=0.1)  # both devices saw the same wave


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ("biocl data prepare eeg --out stores/x", 2, "--files 'sub-{patient}"),
        ("biocl data prepare eeg --files '{trial}.edf' --out stores/x", 2, "{patient} is missing"),
        ("biocl data prepare eeg --files '../{patient}.edf' --out stores/x", 2, "must stay below the folder"),
        ("biocl data prepare eeg --files '{patient}.bdf' --out stores/x", 3, "No file below this folder fits"),
        ("biocl data prepare eeg --files 'sub-{patient}/{trial}_{label}.edf'", 2, "--out STORE"),
        ("biocl data prepare eeg.zip --out stores/x", 3, "An archive is not read"),
        ("biocl data prepare eeg.zip --files '{patient}.edf' --out stores/x", 3, "An archive is not read"),
        ("biocl data prepare nowhere --files '{patient}.edf' --out stores/x", 3, "does not exist"),
        ("biocl data prepare t.csv --files '{patient}.edf' --out stores/x", 2, "goes with a folder"),
        ("biocl data prepare t.csv --layout none.yaml --out stores/x", 2, "none.yaml"),
    ],
)
def test_what_is_refused_leaves_nothing(desk: Path, biocl: Cli, line: str, code: int, part: str) -> None:
    import zipfile

    write_edf(desk / "eeg" / "sub-01" / "1_rest.edf", 0)
    (desk / "t.csv").write_text("path,patient\neeg/sub-01/1_rest.edf,P1\n")
    with zipfile.ZipFile(desk / "eeg.zip", "w") as archive:
        archive.writestr("../../outside.edf", "0       ")
    before = sorted(desk.rglob("*"))
    ended, out, err = biocl(line)
    assert (ended, out) == (code, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert part in err
    assert sorted(desk.rglob("*")) == before


def test_files_that_do_not_fit_are_counted(desk: Path, biocl: Cli) -> None:
    write_eeg(desk / "eeg")
    write_edf(desk / "eeg" / "calibration.edf", 9)
    code, out, err = biocl(EDF.splitlines()[0])
    assert code == 0
    assert err == "note: 1 readable file below eeg did not fit --files, first eeg/calibration.edf\n"
    assert "recordings" in out


def test_damaged_files_name_themselves(desk: Path, biocl: Cli) -> None:
    write_eeg(desk / "eeg")
    path = desk / "eeg" / "sub-02" / "1_rest.edf"
    whole = path.read_bytes()
    for data in (b"", whole[:100], whole[:-50], b"a,b\n1,2\n"):
        path.write_bytes(data)
        code, _, err = biocl(EDF.splitlines()[0])
        assert code == 3
        assert "sub-02/1_rest.edf" in err
        assert err.count("\n") == 1
        assert not (desk / "stores").exists()


def test_formats_are_listed(biocl: Cli) -> None:
    code, out, _ = biocl("biocl data formats")
    assert code == 0
    assert "| EDF, EDF+ | `.edf`" in out
    assert "| `time.column` |" in out


def test_a_wrong_unit_of_time_leaves_no_window_and_is_an_error(desk: Path, biocl: Cli) -> None:
    write_imu(desk / "imu")
    (desk / "imu/layout.yaml").write_text(LAYOUT.replace("unit: ms", "unit: us").replace("sfreq: 50\n", ""))
    code, _, err = biocl(IMU.splitlines()[0])
    assert code == 3, err
    assert "longest recording lasts 0.0" in err
    assert "a window is 2 s" in err
    assert "unit of time" in err
    assert err.count("\n") == 1
    assert biocl(IMU.splitlines()[0])[0] == 3  # also when the store is there


def test_a_store_of_recordings_that_are_too_short_is_an_error(desk: Path, biocl: Cli) -> None:
    write_edf(desk / "eeg/sub-01/1_rest.edf", 0, seconds=1)
    code, _, err = biocl(EDF.splitlines()[0])
    assert code == 3, err
    assert "No window remains of 1 recordings (shorter than a window: 1): the longest recording lasts 1 s" in err


def test_sample_times_are_recovered_once_for_each_file(desk: Path, biocl: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from biocl.signals import clock

    calls = []
    real = clock.recover_times
    monkeypatch.setattr(
        clock, "recover_times", lambda *args, **keys: calls.append(keys["where"]) or real(*args, **keys)
    )
    write_imu(desk / "imu")
    assert biocl(IMU.splitlines()[0])[0] == 0
    assert len(calls) == 6
    assert len(set(calls)) == 6
