"""A folder whose paths say whose each file is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.folder import files_dataset
from biocl.datasets.folder_files import rows_from_files
from biocl.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    for patient in ("02", "01", "10"):
        for trial in ("1_rest", "2_walk"):
            path = folder / f"sub-{patient}" / "ses-a" / f"{trial}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.random.default_rng(0).standard_normal((40, 2)))
    (folder / "readme.md").write_text("x")
    (folder / ".hidden").mkdir()
    np.save(folder / ".hidden" / "1_rest.npy", np.zeros((4, 2)))
    return folder


TEMPLATE = "sub-{patient}/ses-{session}/{trial}_{label}.npy"


def test_rows_from_paths(folder: Path) -> None:
    rows, left_out = rows_from_files(folder, TEMPLATE)
    assert left_out == []
    assert [(row.patient, row.session, row.trial, row.label) for row in rows] == [
        ("01", "a", "1", "rest"),
        ("01", "a", "2", "walk"),
        ("02", "a", "1", "rest"),
        ("02", "a", "2", "walk"),
        ("10", "a", "1", "rest"),
        ("10", "a", "2", "walk"),
    ]


def test_a_data_set_of_them(folder: Path) -> None:
    np.save(folder / "calibration.npy", np.zeros((4, 2)))
    dataset, left_out = files_dataset(folder, TEMPLATE, sfreq=10.0)
    assert left_out == [folder / "calibration.npy"]
    assert dataset.name == "study"
    assert dataset.classes == ("rest", "walk")
    entries = dataset.entries(folder)
    assert [entry.patient for entry in entries] == ["01", "01", "02", "02", "10", "10"]
    found = dataset.read(entries[1])
    assert (found.name, found.session, found.n_times) == ("sub-01/ses-a/2_walk.npy", "a", 40)
    assert found.events.label.tolist() == ["walk"]


def test_devices_in_the_path_belong_to_one_recording(tmp_path: Path) -> None:
    for patient in ("A", "B"):
        for device in ("wrist", "hip"):
            np.save(tmp_path / f"{patient}_walk_{device}.npy", np.ones((30, 3)))
    dataset, _ = files_dataset(tmp_path, "{patient}_{trial}_{device}.npy", sfreq=10.0)
    entries = dataset.entries(tmp_path)
    assert [entry.name for entry in entries] == ["A/walk", "B/walk"]
    assert dataset.read(entries[0]).devices == ("hip", "wrist")


def test_a_star_and_a_name_that_comes_twice(tmp_path: Path) -> None:
    for name in ("P1/P1_day3_rest.npy", "P2/P1_day3_rest.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, np.ones((30, 3)))
    rows, left_out = rows_from_files(tmp_path, "{patient}/{patient}_*_{label}.npy")
    assert [(row.patient, row.label) for row in rows] == [("P1", "rest")]
    assert [path.name for path in left_out] == ["P1_day3_rest.npy"]


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("{trial}.npy", "{patient} is missing"),
        ("{person}/{trial}.npy", "{person} is not known"),
        ("../{patient}.npy", "must stay below the folder"),
        ("a/../../{patient}.npy", "must stay below the folder"),
        ("/data/{patient}.npy", "must stay below the folder"),
        ("", "must stay below the folder"),
    ],
)
def test_templates_that_make_no_sense(folder: Path, template: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        rows_from_files(folder, template)
    assert part in str(caught.value)


def test_nothing_fits(folder: Path) -> None:
    with pytest.raises(DataError, match=r"No file below this folder fits.*6 readable files is sub-01"):
        rows_from_files(folder, "{patient}.edf")
    with pytest.raises(DataError, match="does not exist"):
        rows_from_files(folder / "none", "{patient}.edf")


def test_links_that_leave_the_folder(folder: Path) -> None:
    outside = folder.parent / "outside.npy"
    np.save(outside, np.ones((30, 2)))
    (folder / "sub-99" / "ses-a").mkdir(parents=True)
    (folder / "sub-99" / "ses-a" / "1_rest.npy").symlink_to(outside)
    with pytest.raises(DataError, match=r"leaves its folder.*sub-99"):
        rows_from_files(folder, TEMPLATE)
    (folder / "sub-99" / "ses-a" / "1_rest.npy").unlink()
    (folder / "sub-98").symlink_to(folder / "sub-01", target_is_directory=True)
    assert len(rows_from_files(folder, TEMPLATE)[0]) == 6  # linked folders are not entered
