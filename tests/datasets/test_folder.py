"""A user's own folder with a CSV."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.folder import folder_dataset
from biocl.errors import DataError

HEADER = "path,patient,trial,label,start,end\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    np.save(tmp_path / "sub" / "walk.npy", np.arange(200.0).reshape(100, 2))
    (tmp_path / "run.csv").write_text("x (g),y (g)\n" + "1,2\n" * 50)
    return tmp_path


def table(folder: Path, text: str) -> Path:
    path = folder / "recordings.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(DataError) as caught:
        folder_dataset(table(folder, text), sfreq=10.0)
    return str(caught.value)


def test_rows_become_trials(folder: Path) -> None:
    text = HEADER + "sub/walk.npy,P1,1,rest,0,4\nsub/walk.npy,P1,2,stress,4,\nrun.csv,P2,1,rest,,\n"
    dataset = pickle.loads(pickle.dumps(folder_dataset(table(folder, text), sfreq=10.0)))
    assert dataset.classes == ("rest", "stress")
    first, second = dataset.entries(folder)
    assert (first.name, first.patient, second.patient) == ("sub/walk.npy", "P1", "P2")
    recording = dataset.read(first)
    assert recording.events.onset_s.tolist() == [0.0, 4.0]
    assert recording.events.duration_s.tolist() == [4.0, 6.0]
    assert recording.events.label.tolist() == ["rest", "stress"]
    np.testing.assert_array_equal(recording.read(3, 5), [[6, 7], [8, 9]])
    whole = dataset.read(second)
    assert whole.events.duration_s.tolist() == [5.0]
    assert [channel.kind for channel in whole.channels] == ["acc", "acc"]


def test_wfdb_records_and_rates(folder: Path, test_data: Path) -> None:
    for extension in ("hea", "dat"):
        shutil.copyfile(test_data / "ecg" / "mitdb" / f"100.{extension}", folder / f"100.{extension}")
    text = "path,patient,label,sfreq,session\n100.hea,P1,N,,2\nrun.csv,P2,N,25,\n"
    dataset = folder_dataset(table(folder, text), modality="ecg")
    record, run = (dataset.read(entry) for entry in dataset.entries(folder))
    assert (record.name, record.sfreq, record.n_times, record.session) == ("100", 360, 650_000, "2")
    assert (run.sfreq, run.session) == (25, "1")


def test_two_patients_for_one_file(folder: Path) -> None:
    text = refusal(folder, HEADER + "run.csv,P1,1,a,0,1\nsub/walk.npy,P1,1,a,,\nrun.csv,P2,2,a,1,2\n")
    for part in ("run.csv has two patients", "'P1' in line 2", "'P2' in line 4", "recordings.csv"):
        assert part in text


def test_a_missing_file(folder: Path) -> None:
    text = refusal(folder, HEADER + "run.csv,P1,1,a,,\nnowhere.npy,P1,1,a,,\n")
    assert "nowhere.npy does not exist" in text
    assert "line 3" in text
    assert "nothing.hea does not exist" in refusal(folder, HEADER + "nothing,P1,1,a,,\n")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "'path' is missing"),
        ("path,trial\nrun.csv,1\n", "'patient' is missing"),
        ("path,patient,age\nrun.csv,P1,3\n", "'age' is not known"),
        (HEADER, "no rows"),
        (HEADER + "run.csv,P1\n", "line 2"),
        (HEADER + "run.csv,P1,1,a,0,1,9\n", "line 2"),
        (HEADER + "run.csv,,1,a,,\n", "patient is empty"),
        (HEADER + "run.csv,P1,1,a,zero,1\n", "start is 'zero'"),
        (HEADER + "run.csv,P1,1,a,-1,1\n", "start is '-1'"),
        (HEADER + "run.csv,P1,1,a,2,1\n", "before it starts"),
        (HEADER + "run.xlsx,P1,1,a,,\n", "run.xlsx cannot be read"),
    ],
)
def test_a_bad_table(folder: Path, text: str, part: str) -> None:
    found = refusal(folder, text)
    assert part in found
    assert "recordings.csv" in found


def test_a_missing_table_and_rate(folder: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        folder_dataset(folder / "none.csv")
    with pytest.raises(DataError, match=r"sampling rate of run\.csv is not known.*line 2"):
        folder_dataset(table(folder, HEADER + "run.csv,P1,1,a,,\n"))


def test_a_trial_beyond_the_file(folder: Path) -> None:
    dataset = folder_dataset(table(folder, HEADER + "run.csv,P1,7,a,0,60\n"), sfreq=10.0)
    with pytest.raises(DataError, match=r"Trial '7' lasts from 0 to 60 s, the file only 5 s"):
        dataset.read(dataset.entries(folder)[0])


@pytest.mark.parametrize(("modality", "notes"), [("eeg", 1), ("ecg", 1), ("imu", 1), ("other", 0)])
def test_recordings_that_are_not_what_they_are_called_say_so(tmp_path: Path, modality: str, notes: int) -> None:
    np.save(tmp_path / "a.npy", np.zeros((100, 2), dtype=np.float32))
    (tmp_path / "recordings.csv").write_text("path,patient\na.npy,P1\n")
    dataset = folder_dataset(tmp_path / "recordings.csv", sfreq=10.0, modality=modality)
    (entry,) = dataset.entries(None)
    found = dataset.read(entry).notes
    assert len(found) == notes
    assert all(f"No channel is {modality.upper()}" in note for note in found)


def test_recordings_that_are_what_they_are_called_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Fp1 (uV),Cz (uV)\n" + "1,2\n" * 50)
    (tmp_path / "recordings.csv").write_text("path,patient\na.csv,P1\n")
    dataset = folder_dataset(tmp_path / "recordings.csv", sfreq=10.0, modality="eeg")
    assert dataset.read(dataset.entries(None)[0]).notes == ()
