"""The IMU sets that are not here, on small files in their published layouts."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from biocl.datasets import dsads, mhealth, opportunity, pamap2, realworld, uci_har
from biocl.datasets.dataset import Dataset
from biocl.errors import DataError
from biocl.signals.recording import Recording
from biocl.splits.file import splits_from_json
from biocl.store.build import build_store
from biocl.store.windows import default_windows

Floats = NDArray[np.float64]


def save(path: Path, rows: Floats, delimiter: str = " ", end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(delimiter.join(f"{value:.7g}" for value in row) + end for row in rows).replace("nan", "NaN")
    )


def noise(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape)


def read_all(dataset: Dataset, raw: Path) -> list[Recording]:
    return [dataset.read(pickle.loads(pickle.dumps(entry))) for entry in dataset.entries(raw)]


# --- UCI HAR -------------------------------------------------------------------------------------------------


@pytest.fixture
def uci(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Floats]]]:
    """Two people walk, sit and walk again, cut into half-overlapping windows as the source does it."""
    walks = {}
    for part, people in (("train", (1, 3)), ("test", (2,))):
        windows, who, what = [], [], []
        for person in people:
            for number, (label, k) in enumerate(((1, 4), (4, 2), (1, 1))):
                signal = noise(64 * (k + 1), 6, seed=10 * person + number)
                walks[f"{person}-{number}"] = signal
                windows += [signal[64 * i : 64 * i + 128] for i in range(k)]
                who += [person] * k
                what += [label] * k
        for number, name in enumerate(uci_har.SIGNALS):
            save(
                tmp_path / "UCI HAR Dataset" / part / "Inertial Signals" / f"{name}_{part}.txt",
                np.array(windows)[..., number],
            )
        save(tmp_path / "UCI HAR Dataset" / part / f"subject_{part}.txt", np.array(who)[:, None])
        save(tmp_path / "UCI HAR Dataset" / part / f"y_{part}.txt", np.array(what)[:, None])
    uci_har.load.cache_clear()
    yield tmp_path, walks
    uci_har.load.cache_clear()


def test_uci_har_windows_are_joined_and_cut_again(uci: tuple[Path, dict[str, Floats]], tmp_path: Path) -> None:
    raw, walks = uci
    recordings = read_all(uci_har.UCI_HAR, raw)
    assert [recording.patient for recording in recordings] == ["subject1", "subject2", "subject3"]
    first = recordings[0]
    assert first.n_times == 64 * (5 + 3 + 2) + 2
    assert np.isnan(first.signal()).all(axis=1).nonzero()[0].tolist() == [320, 513]
    np.testing.assert_allclose(first.read(321, 513), walks["1-1"], rtol=1e-5, atol=1e-6)
    assert first.events.label.tolist() == ["WALKING", "SITTING", "WALKING"]
    assert [c.unit for c in first.channels] == ["g"] * 3 + ["rad/s"] * 3
    assert first.labels["part"] == "train"
    store = build_store(uci_har.UCI_HAR, raw, tmp_path / "store", uci_conditioning())
    table = default_windows(store)
    assert len(table) == 3 * 7  # as many windows as the files hold
    assert table.rows["length"].tolist() == [128] * 21


def uci_conditioning() -> object:
    from biocl.signals.spec import ConditioningSpec

    return ConditioningSpec(nan="keep")


def test_uci_har_subjects_are_those_that_are_published() -> None:
    for name, split in uci_har.UCI_HAR.splits.items():
        [fold] = splits_from_json({"name": name, **split}, name)
        assert fold.patient_independent
        assert len(fold.parts["train"]) + len(fold.parts["validation"]) == 21
        assert len(fold.parts["test"]) == 9
        assert {name for part in fold.parts.values() for name in part} == {f"subject{n}" for n in range(1, 31)}


def test_uci_har_files_of_unequal_length_are_refused(uci: tuple[Path, dict[str, Floats]]) -> None:
    raw, _ = uci
    path = raw / "UCI HAR Dataset" / "train" / "Inertial Signals" / "body_gyro_y_train.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"13 windows.*14.*body_gyro_y_train"):
        read_all(uci_har.UCI_HAR, raw)
    path.unlink()
    with pytest.raises(DataError, match=r"1 of the 16 files are missing, first train/Inertial Signals/body_gyro_y"):
        uci_har.UCI_HAR.entries(raw)


# --- DSADS ---------------------------------------------------------------------------------------------------


def test_dsads_segments_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsads, "N_SUBJECTS", 2)
    monkeypatch.setattr(dsads, "N_SEGMENTS", 3)
    monkeypatch.setattr(dsads, "ACTIVITIES", dsads.ACTIVITIES[:2])
    signals = {}
    for activity in (1, 2):
        for person in (1, 2):
            signal = signals[activity, person] = noise(375, 45, seed=activity + 10 * person)
            for segment in range(3):
                path = tmp_path / "data" / f"a{activity:02d}" / f"p{person}" / f"s{segment + 1:02d}.txt"
                save(path, signal[125 * segment : 125 * segment + 125], ",")
    recordings = read_all(dsads.DSADS, tmp_path)
    assert [(r.name, r.labels["label"]) for r in recordings] == [
        ("p1-sitting", "sitting"),
        ("p2-sitting", "sitting"),
        ("p1-standing", "standing"),
        ("p2-standing", "standing"),
    ]
    np.testing.assert_allclose(recordings[3].signal(), signals[2, 2], rtol=1e-5, atol=1e-6)
    assert recordings[0].devices == dsads.DEVICES
    assert recordings[0].channels[9].name == "right-arm-acc-x"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"124 rows instead of 125.*s03\.txt"):
        read_all(dsads.DSADS, tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"1 of the 12 files are missing, first a02/p2/s03\.txt"):
        dsads.DSADS.entries(tmp_path)


def test_dsads_has_the_published_size() -> None:
    assert len(dsads.ACTIVITIES) * dsads.N_SUBJECTS * dsads.N_SEGMENTS == 9120


# --- MHEALTH -------------------------------------------------------------------------------------------------


def mhealth_files(folder: Path) -> Floats:
    rows = noise(300, 24)
    rows[:, -1] = 0
    rows[50:120, -1], rows[120:200, -1] = 4, 12
    for number in range(1, 11):
        save(folder / f"mHealth_subject{number}.log", rows, "\t")
    return rows


def test_mhealth_labels_become_activities(tmp_path: Path) -> None:
    rows = mhealth_files(tmp_path)
    recordings = read_all(mhealth.MHEALTH, tmp_path)
    assert [recording.patient for recording in recordings] == [f"subject{n}" for n in range(1, 11)]
    found = recordings[0]
    np.testing.assert_allclose(found.signal(), rows[:, :23], rtol=1e-5, atol=1e-6)
    assert found.devices == ("chest", "ankle", "forearm")
    assert [c.kind for c in found.channels[3:5]] == ["ecg", "ecg"]
    assert found.events.label.tolist() == ["walking", "jump-front-back"]
    np.testing.assert_allclose(found.events.onset_s, [1.0, 2.4])
    np.testing.assert_allclose(found.events.duration_s, [1.4, 1.6])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("\t".join(["1"] * 23 + ["13"]) + "\n", "Row 301 has the unknown label 13"),
        ("\t".join(["1"] * 20) + "\n", "Row 301"),
        ("\t".join(["1"] * 25) + "\n", "cannot be read to its end"),
        ("\t".join(["1"] * 22 + ["x", "0"]) + "\n", r"Row 301, column 23 holds 'x'"),
        ("\t".join(["1"] * 22 + ["NaN", "0"]) + "\n", "Row 301, column 23 holds 'nan'"),
    ],
)
def test_mhealth_damage_is_named(tmp_path: Path, line: str, message: str) -> None:
    mhealth_files(tmp_path)
    with (tmp_path / "mHealth_subject1.log").open("a") as file:
        file.write(line)
    with pytest.raises(DataError, match=message):
        mhealth.MHEALTH.read(mhealth.MHEALTH.entries(tmp_path)[0])
    (tmp_path / "mHealth_subject7.log").unlink()
    with pytest.raises(DataError, match=r"1 of the 10 files are missing, first mHealth_subject7\.log"):
        mhealth.MHEALTH.entries(tmp_path)


# --- PAMAP2 --------------------------------------------------------------------------------------------------


def pamap2_files(folder: Path) -> Floats:
    rows = noise(500, 54)
    rows[:, 0] = 8.38 + np.arange(500) / 100
    rows[:, 1] = np.repeat([0, 1, 24, 0], [100, 150, 200, 50])
    rows[np.arange(500) % 11 != 0, 2] = np.nan  # the heart rate comes at 9 Hz
    rows[200:210, 20:37] = np.nan  # the chest unit's radio is lost
    rows = np.delete(rows, np.arange(300, 305), axis=0)
    for subject in pamap2.SUBJECTS:
        save(folder / "Protocol" / f"{subject}.dat", rows)
    save(folder / "Optional" / "subject106.dat", rows)
    return rows


def test_pamap2_gaps_stay_gaps(tmp_path: Path) -> None:
    rows = pamap2_files(tmp_path / "PAMAP2_Dataset")
    entries = pamap2.PAMAP2.entries(tmp_path)
    assert len(entries) == 10
    assert (entries[-1].name, entries[-1].patient, entries[-1].session) == (
        "subject106-optional",
        "subject106",
        "optional",
    )
    found = pamap2.PAMAP2.read(entries[0])
    signal = found.signal()
    assert signal.shape == (500, 27)
    missing = np.isnan(signal)
    assert missing[300:305].all()
    assert missing[200:210, 9:18].all()
    assert missing.sum() == 5 * 27 + 10 * 9
    # hand: acceleration at 16 g in columns 5-7 of the file (counted from 1), gyroscope 11-13, magnetometer 14-16
    np.testing.assert_allclose(signal[:200, :9], rows[:200, [4, 5, 6, 10, 11, 12, 13, 14, 15]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(signal[305:, 18:21], rows[300:, [38, 39, 40]], rtol=1e-5, atol=1e-6)
    assert found.events.label.tolist() == ["lying", "rope-jumping", "rope-jumping"]
    assert found.notes == ("5 time steps without a row are gaps.",)
    assert found.devices == ("hand", "chest", "ankle")


def test_pamap2_damage_is_named(tmp_path: Path) -> None:
    rows = pamap2_files(tmp_path)
    entry = pamap2.PAMAP2.entries(tmp_path)[0]
    path = tmp_path / "Protocol" / "subject101.dat"
    for change, message in (
        ({(7, 0): 1.0}, "goes backwards in row 8"),
        ({(494, 0): 1e7}, "The 495 rows span"),
        ({(7, 1): 8.0}, "Row 8 has no time or the unknown activity 8"),
        ({(7, 0): np.nan}, "Row 8 has no time"),
    ):
        damaged = rows.copy()
        for place, value in change.items():
            damaged[place] = value
        save(path, damaged)
        with pytest.raises(DataError, match=message):
            pamap2.PAMAP2.read(entry)
    save(path, rows)
    text = path.read_text()
    path.write_text(text[: -len(text.splitlines()[-1]) // 2])
    with pytest.raises(DataError, match="Row 495"):
        pamap2.PAMAP2.read(entry)
    [fold] = splits_from_json({"name": "hammerla", **pamap2.PAMAP2.splits["hammerla"]}, "hammerla")
    assert {name for part in fold.parts.values() for name in part} == set(pamap2.SUBJECTS)
    assert (fold.parts["validation"], fold.parts["test"]) == (("subject105",), ("subject106",))


# --- OPPORTUNITY ---------------------------------------------------------------------------------------------


def opportunity_files(folder: Path) -> Floats:
    rows = np.round(1000 * noise(300, 250))
    rows[:, 0] = np.round(np.arange(300) * 1000 / 30)
    rows[:, 243] = np.repeat([0, 1, 2, 5], [50, 100, 100, 50])
    rows[:, 249] = np.repeat([0, 406516, 0], [100, 60, 140])
    rows[150:160, 37:50] = np.nan
    for subject in opportunity.SUBJECTS:
        for run in opportunity.RUNS:
            save(folder / "dataset" / f"{subject}-{run}.dat", rows)
    return rows


def test_opportunity_units_and_labels(tmp_path: Path) -> None:
    rows = opportunity_files(tmp_path)
    entries = opportunity.OPPORTUNITY.entries(tmp_path)
    assert len(entries) == 24
    assert (entries[7].name, entries[7].patient, entries[7].session) == ("S2-ADL2", "S2", "ADL2")
    found = opportunity.OPPORTUNITY.read(entries[0])
    assert found.devices == tuple(opportunity.DEVICES)
    # Columns 51-59 and 90-98 of the source's list, which counts from 1.
    np.testing.assert_allclose(found.signal()[:, 9:18], rows[:, 50:59], rtol=1e-6)
    np.testing.assert_allclose(found.signal()[:, 36:45], rows[:, 89:98], rtol=1e-6)
    assert np.isnan(found.signal()).sum() == 90
    assert found.events.of_kind("locomotion").label.tolist() == ["stand", "walk", "lie"]
    assert found.events.of_kind("gesture").label.tolist() == ["open-door-1"]
    assert not found.notes
    path = tmp_path / "dataset" / "S1-ADL1.dat"
    rows[250:, 0] += 1000
    save(path, rows)
    assert "1 steps in time are longer than 0.2 s" in opportunity.OPPORTUNITY.read(entries[0]).notes[0]
    rows[9, 0] = 0
    save(path, rows)
    with pytest.raises(DataError, match="goes backwards in row 10"):
        opportunity.OPPORTUNITY.read(entries[0])
    path.unlink()
    with pytest.raises(DataError, match=r"1 of the 24 files are missing, first S1-ADL1\.dat"):
        opportunity.OPPORTUNITY.entries(tmp_path)


def test_opportunity_challenge_split_says_who_is_on_both_sides() -> None:
    split = opportunity.OPPORTUNITY.splits["challenge"]
    [fold] = splits_from_json({"name": "challenge", **split}, "challenge")
    assert split["marks"]
    runs = [run for part in split["folds"][0]["only"].values() for one in part.values() for run in one]
    assert sorted(runs) == sorted(f"{subject}-{run}" for subject in ("S2", "S3") for run in opportunity.RUNS)
    assert set(fold.parts["test"]) == {"S2", "S3"}
    assert not fold.patient_independent


# --- RealWorld -----------------------------------------------------------------------------------------------


def archive(files: dict[str, str | bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return memory.getvalue()


def sensor_files(prefix: str, piece: str, positions: tuple[str, ...], shift: float) -> dict[str, str | bytes]:
    """Sines of 1 Hz at 50 Hz, each position with a start and a jitter of its own."""
    files: dict[str, str | bytes] = {"readMe": "frequency: 50Hz"}
    for number, position in enumerate(positions):
        rng = np.random.default_rng(number)
        time = shift + 0.07 * number + np.arange(400) / 50
        stamps = 1_435_000_000_000 + np.round(1000 * time + rng.uniform(0, 3, 400)).astype(np.int64)
        wave = np.sin(2 * np.pi * time)
        lines = [f"{i + 1},{t},{v:.6f},{-v:.6f},9.81" for i, (t, v) in enumerate(zip(stamps, wave, strict=True))]
        files[f"{prefix}_{piece}_{position}.csv"] = "id,attr_time,attr_x,attr_y,attr_z\n" + "\n".join(lines) + "\n"
    return files


@pytest.fixture
def probands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two people: one walks in two pieces, an archive each, and runs; the other's watch fails while running."""
    monkeypatch.setattr(realworld, "N_SUBJECTS", 2)
    monkeypatch.setattr(realworld, "ACTIVITIES", ("running", "walking"))
    positions = (*realworld.POSITIONS, "forearm")
    for person in (1, 2):
        data = tmp_path / f"proband{person}" / "data"
        data.mkdir(parents=True)
        for sensor, prefix, shift in (("acc", "acc", 0.0), ("gyr", "Gyroscope", 0.013)):
            some = positions[1:] if (person, sensor) == (2, "gyr") else positions
            (data / f"{sensor}_running_csv.zip").write_bytes(archive(sensor_files(prefix, "running", some, shift)))
            whole = sensor_files(prefix, "walking", positions, shift)
            if person == 1:
                whole = {
                    f"{sensor}_walking_{n}_csv.zip": archive(sensor_files(prefix, f"walking_{n}", positions, shift))
                    for n in (1, 2)
                }
            (data / f"{sensor}_walking_csv.zip").write_bytes(archive(whole))
    return tmp_path


def test_realworld_is_read_inside_its_archives(probands: Path) -> None:
    entries = realworld.REALWORLD.entries(probands)
    names = ["proband1-running", "proband1-walking-1", "proband1-walking-2", "proband2-walking"]
    assert [entry.name for entry in entries] == names
    assert "proband2-running" in entries[0].notes[0]
    recordings = read_all(realworld.REALWORLD, probands)
    assert [recording.labels["label"] for recording in recordings] == ["running", "walking", "walking", "walking"]
    found = recordings[1]
    assert found.devices == realworld.POSITIONS
    assert len(found.channels) == 36
    assert found.channels[3].name == "chest-gyr-x"
    assert len(found.notes) == 12
    # All positions see one sine, whatever their start: aligned to within a sample (0.02 s, 0.13 of the sine).
    x = found.signal()[:, ::3]
    assert np.isfinite(x).all()
    assert np.abs(x - x[:, :1]).max() < 0.13
    assert found.n_times == pytest.approx(50 * (8 - 0.07 * 5), abs=3)


def test_realworld_damage_is_named(probands: Path) -> None:
    path = probands / "proband1" / "data" / "acc_running_csv.zip"
    whole = path.read_bytes()
    entry = realworld.REALWORLD.entries(probands)[0]
    damaged = bytearray(whole)
    damaged[200:260] = bytes(60)
    for content in (bytes(damaged), whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"acc_running_csv\.zip"):
            realworld.REALWORLD.read(entry)
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match="archive cannot be read"):
        realworld.REALWORLD.entries(probands)
    path.unlink()
    with pytest.raises(DataError, match=r"1 of the 8 files are missing, first proband1/data/acc_running_csv\.zip"):
        realworld.REALWORLD.entries(probands)
