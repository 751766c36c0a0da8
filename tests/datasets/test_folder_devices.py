"""Recordings of several files, layouts and labels in a user's own table."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.folder import folder_dataset
from biocl.errors import DataError, UsageError
from biocl.signals.recording import Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

LAYOUT = "time: {column: t, unit: ms}\nsfreq: 50\ncolumns: {acc_*: {unit: m/s2}}\n"
HEADER = "path,patient,recording,device,layout,trial,label\n"


def imu(path: Path, *, start_ms: int = 0, step_ms: float = 20.0, seconds: float = 10.0, phase: float = 0.0) -> None:
    """A one-hertz wave on two axes, stamped by a clock that starts at `start_ms`."""
    time = start_ms + np.arange(round(seconds * 1000 / step_ms)) * step_ms
    wave = 5 * np.sin(2 * np.pi * time / 1000 + phase)
    lines = [f"{t:.1f},{a:.6f},{a / 2:.6f},7\n" for t, a in zip(time, wave, strict=True)]
    path.write_text("t,acc_x,acc_y,battery\n" + "".join(lines))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "imu.yaml").write_text(LAYOUT)
    imu(tmp_path / "wrist.csv")
    imu(tmp_path / "ankle.csv", start_ms=300, step_ms=19.0)
    return tmp_path


def recordings(folder: Path, text: str, **keys: float) -> list[Recording]:
    path = folder / "recordings.csv"
    path.write_text(text)
    dataset = pickle.loads(pickle.dumps(folder_dataset(path, **keys)))  # type: ignore[arg-type]
    return [dataset.read(entry) for entry in dataset.entries(folder)]


def refusal(folder: Path, text: str, **keys: float) -> str:
    with pytest.raises(DataError) as caught:
        recordings(folder, text, **keys)
    return str(caught.value)


TWO = HEADER + "wrist.csv,P1,walk,wrist,imu.yaml,1,a\nankle.csv,P1,walk,ankle,imu.yaml,1,a\n"


def test_devices_are_aligned_on_their_time_stamps(folder: Path) -> None:
    (found,) = recordings(folder, TWO)
    assert [(c.name, c.kind, c.unit, c.device) for c in found.channels] == [
        ("acc_x", "acc", "m/s2", "wrist"),
        ("acc_y", "acc", "m/s2", "wrist"),
        ("acc_x", "acc", "m/s2", "ankle"),
        ("acc_y", "acc", "m/s2", "ankle"),
    ]
    assert (found.name, found.sfreq) == ("walk", 50)
    signal = found.signal()
    wave = 5 * np.sin(2 * np.pi * (0.3 + np.arange(len(signal)) / 50))
    np.testing.assert_allclose(signal[5:-5, 0], wave[5:-5], atol=0.1)
    np.testing.assert_allclose(signal[5:-5, 2], wave[5:-5], atol=0.1)
    assert found.events.onset_s.tolist() == [0.0]  # the same trial in two rows is one
    assert found.events.label.tolist() == ["a"]
    assert len(found.notes) == 2
    assert "+0.300 s" in found.notes[1]


def test_without_time_stamps_files_stand_side_by_side(folder: Path) -> None:
    values = np.random.default_rng(0).standard_normal((100, 2)).astype(np.float32)
    np.save(folder / "left.npy", values)
    np.save(folder / "right.npy", values[:, :1] * 2)
    text = "path,patient,recording,device\nleft.npy,P1,r,left\nright.npy,P1,r,right\n"
    (found,) = recordings(folder, text, sfreq=10.0)
    np.testing.assert_array_equal(found.read(3, 9), np.hstack([values, values[:, :1] * 2])[3:9])
    assert [channel.device for channel in found.channels] == ["left", "left", "right"]
    np.save(folder / "right.npy", values[:90])
    text_of = refusal(folder, text, sfreq=10.0)
    assert "not synchronous: 100 time steps at 10 Hz" in text_of
    assert "90 at 10 Hz" in text_of
    np.save(folder / "right.npy", values)
    rates = "path,patient,recording,device,sfreq\nleft.npy,P1,r,left,10\nright.npy,P1,r,right,20\n"
    assert "100 at 20 Hz" in refusal(folder, rates)


def test_a_gap_between_time_stamps_is_kept_as_a_gap(folder: Path) -> None:
    lines = (folder / "wrist.csv").read_text().splitlines(keepends=True)
    (folder / "wrist.csv").write_text("".join(lines[:151] + lines[301:]))  # 3 s are missing from 3 s on
    (folder / "recordings.csv").write_text(TWO)
    dataset = folder_dataset(folder / "recordings.csv")
    store = build_store(dataset, folder, folder / "store", ConditioningSpec(nan=dataset.defaults["nan"]))
    missing = np.isnan(store.signals).any(axis=1)
    assert abs(int(missing.sum()) - 150) <= 2
    assert store.windows.start.tolist() == [0, 300]
    assert store.windows.dropped == {"touches a gap": 2}
    for start in store.windows.start:
        assert not missing[start : start + 100].any()
    assert any("1 gaps left empty" in note for notes in store.notes for note in notes)


def test_files_with_and_without_time_stamps(folder: Path) -> None:
    text = "path,patient,recording,device,layout\nwrist.csv,P1,r,wrist,imu.yaml\nankle.csv,P1,r,ankle,\n"
    assert "with time stamps and files without" in refusal(folder, text, sfreq=50.0)


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ("wrist.csv,P1,walk,,imu.yaml,1,a\nankle.csv,P1,walk,,imu.yaml,1,a\n", ["two channels 'acc_x'"]),
        ("wrist.csv,P1,walk,w,imu.yaml,1,a\nankle.csv,P2,walk,x,imu.yaml,1,a\n", ["recording walk has two patients"]),
        ("wrist.csv,P1,walk,w,imu.yaml,1,a\nwrist.csv,P1,run,w,imu.yaml,2,a\n", ["is in two recordings, walk and run"]),
        ("wrist.csv,P1,walk,w,imu.yaml,1,a\nwrist.csv,P1,walk,x,imu.yaml,2,a\n", ["two values of device"]),
        ("wrist.csv,P1,ankle.csv,w,imu.yaml,1,a\nankle.csv,P1,,x,imu.yaml,1,a\n", ["are named 'ankle.csv'"]),
    ],
)  # fmt: skip
def test_rows_that_contradict_each_other(folder: Path, rows: str, parts: list[str]) -> None:
    found = refusal(folder, HEADER + rows)
    for part in parts:
        assert part in found


def test_a_clock_that_is_set_back(folder: Path) -> None:
    text = (folder / "wrist.csv").read_text()
    (folder / "wrist.csv").write_text(text + "".join(text.replace(",7", ",8").replace(",1", ",2").splitlines(True)[1:]))
    found = refusal(folder, TWO)
    assert "backwards" in found
    assert "wrist.csv" in found


def test_devices_that_never_ran_together(folder: Path) -> None:
    imu(folder / "ankle.csv", start_ms=60_000)
    assert "No moment is covered" in refusal(folder, TWO)


def test_layout_mistakes_name_the_layout(folder: Path) -> None:
    (folder / "imu.yaml").write_text("tiem: {column: t}\n")
    with pytest.raises(UsageError, match=r"tiem \(line 1\).*did you mean time.*imu\.yaml"):
        recordings(folder, TWO)
    (folder / "imu.yaml").unlink()
    with pytest.raises(UsageError, match=r"imu\.yaml"):
        recordings(folder, TWO)


def test_a_layout_for_a_file_that_knows_itself(folder: Path) -> None:
    (folder / "a.edf").write_bytes(b"0       ")
    assert "no layout describes it" in refusal(folder, "path,patient,layout\na.edf,P1,imu.yaml\n")


def test_labels_of_a_recording(folder: Path) -> None:
    header = "path,patient,label:age,label:sex,layout\n"
    (found,) = recordings(folder, header + "wrist.csv,P1,71,f,imu.yaml\nwrist.csv,P1,71,f,imu.yaml\n")
    assert found.labels == {"age": "71", "sex": "f"}
    text = refusal(folder, header + "wrist.csv,P1,71,f,imu.yaml\nwrist.csv,P1,17,f,imu.yaml\n")
    assert "two values of label:age: '71' in line 2 and '17' in line 3" in text
    assert "'label:' is not known" in refusal(folder, "path,patient,label:\nwrist.csv,P1,3\n")
    assert "'path' stands there twice" in refusal(folder, "path,path,patient\na,b,P1\n")


def test_another_layout_is_another_store(folder: Path) -> None:
    path = folder / "recordings.csv"
    path.write_text(TWO)
    first = build_store(folder_dataset(path), None, folder / "store", ConditioningSpec())
    assert first.sfreq == 50
    (folder / "imu.yaml").write_text(LAYOUT.replace("sfreq: 50", "sfreq: 25"))
    with pytest.raises(DataError, match="another store"):
        build_store(folder_dataset(path), None, folder / "store", ConditioningSpec())


def test_mixed_rates_within_a_patient(folder: Path) -> None:
    path = folder / "recordings.csv"
    np.save(folder / "a.npy", np.random.default_rng(0).standard_normal((90, 2)))
    np.save(folder / "b.npy", np.random.default_rng(1).standard_normal((90, 2)))
    path.write_text("path,patient,sfreq\na.npy,P1,50\nb.npy,P1,25\n")
    with pytest.raises(DataError, match=r"50 samples a second, and b\.npy 25.*b\.npy") as caught:
        build_store(folder_dataset(path), None, folder / "store", ConditioningSpec())
    assert "{" not in str(caught.value)
    assert not (folder / "store").exists()


def test_a_unit_that_nobody_knows(folder: Path) -> None:
    (folder / "imu.yaml").write_text(LAYOUT.replace("m/s2", "bananas"))
    path = folder / "recordings.csv"
    path.write_text(TWO)
    with pytest.raises(DataError, match=r"bananas.*wrist\.csv"):
        build_store(folder_dataset(path), None, folder / "store", ConditioningSpec())
    assert not (folder / "store").exists()
