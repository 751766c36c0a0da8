"""Motor imagery: the sets behind moabb, with a stand-in for it, and the competition's own files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import mne
import numpy as np
import pytest

from biocl.datasets import motor_imagery
from biocl.datasets.blankertz2007 import BLANKERTZ2007
from biocl.datasets.dataset import Dataset
from biocl.datasets.motor_imagery import BNCI2014001, BNCI2014002, BNCI2015001, SOURCES, ZHOU2016
from biocl.errors import BioclError, DataError, UsageError
from biocl.store.build import build_store
from biocl.store.windows import default_windows

RNG = np.random.default_rng(0)
SFREQ = 100.0
EVENT_ID = {"left_hand": 1, "right_hand": 2, "feet": 3, "tongue": 4}


def run_of(person: int, run: int, codes: list[int], interval: tuple[float, float], with_stim: bool) -> Any:
    """A run as moabb gives it: volts, and the beginning of each trial marked."""
    n_times = round(SFREQ * (8 * len(codes) + 4))
    starts = [4.0 + 8 * i - interval[0] for i in range(len(codes))]
    values = RNG.standard_normal((4, n_times)) * 1e-5 + np.array([[person], [run], [0], [0]]) * 1e-3
    values[3] = 0
    raw = mne.io.RawArray(
        values, mne.create_info(["Cz", "C3", "EOG1", "stim"], SFREQ, ["eeg", "eeg", "eog", "stim"]), verbose="ERROR"
    )
    if with_stim:
        for start, code in zip(starts, codes, strict=True):
            raw._data[3, round(start * SFREQ)] = code
        return raw
    names = {code: name for name, code in EVENT_ID.items()}
    raw.set_annotations(mne.Annotations(starts, [0.0] * len(codes), [names[code] for code in codes]))
    return raw.drop_channels(["stim"])


def stand_in(monkeypatch: pytest.MonkeyPatch, interval: tuple[float, float], with_stim: bool) -> list[str]:
    """A module that looks like moabb, with sets of two sessions; returns where it was told to look."""
    places: list[str] = []

    class FakeSet:
        event_id = EVENT_ID

        def __init__(self, source: Any) -> None:
            self.source, self.interval = source, interval

        def get_data(self, subjects: list[int]) -> Any:
            places.append(os.environ[f"MNE_DATASETS_{self.source.sign.upper()}_PATH"])
            [person] = subjects
            codes = [EVENT_ID[name] for name in self.source.classes] * 2 + [4]
            sessions = {
                session: {
                    str(run): run_of(person, run + shift, codes, interval, with_stim)
                    for run in range(self.source.n_runs + 2)
                }
                for session, shift in (("0", 0), ("1", 50))
            }
            return {person: sessions}

        def download(self, path: str) -> None:
            (Path(path) / "fetched").write_text("")

    datasets = ModuleType("moabb.datasets")
    for source in SOURCES.values():
        setattr(datasets, source.attribute, lambda source=source: FakeSet(source))
    monkeypatch.setitem(sys.modules, "moabb", ModuleType("moabb"))
    monkeypatch.setitem(sys.modules, "moabb.datasets", datasets)
    motor_imagery.subject_data.cache_clear()
    return places


@pytest.mark.parametrize("with_stim", [True, False])
@pytest.mark.parametrize("dataset", [BNCI2014001, BNCI2014002, BNCI2015001, ZHOU2016])
def test_the_first_session_is_read_run_by_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Dataset, with_stim: bool
) -> None:
    places = stand_in(monkeypatch, (2.0, 6.0), with_stim)
    source = SOURCES[dataset.name]
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(DataError, match=f"no files of {source.attribute}"):
        dataset.entries(raw)
    assert dataset.download is not None
    dataset.download(raw)
    entries = dataset.entries(raw)
    assert len(entries) == source.n_people * source.n_runs
    assert len({entry.patient for entry in entries}) == source.n_people
    entry = entries[source.n_runs]  # the first run of the second person
    recording = dataset.read(entry)
    assert (recording.name, recording.patient) == ("subject-2-run-1", "subject-2")
    assert [(c.name, c.kind, c.unit) for c in recording.channels] == [
        ("Cz", "eeg", "uV"),
        ("C3", "eeg", "uV"),
        ("EOG1", "eog", "uV"),
    ]
    assert recording.signal().mean(axis=0) == pytest.approx([2000, 0, 0], abs=5)
    assert recording.events.onset_s.tolist() == [4.0, 12.0, 20.0, 28.0, 36.0]
    assert set(recording.events.duration_s.tolist()) == {4.0}
    assert recording.events.label.tolist() == [*source.classes, *source.classes, "tongue"]
    if source.n_runs > 1:
        assert dataset.read(entries[1]).signal()[:, 1].mean() == pytest.approx(1000, abs=5)
    assert set(places) == {str(raw)}
    assert not [name for name in os.environ if name.startswith("MNE_DATASETS_") and os.environ[name] == str(raw)]
    motor_imagery.subject_data.cache_clear()


def test_windows_are_the_two_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, (0.0, 5.0), True)
    (tmp_path / "x").write_text("")
    entries = ZHOU2016.entries(tmp_path)[:2]
    table = default_windows(build_store(ZHOU2016, entries, tmp_path / "store"))
    assert np.bincount(table.rows["label"]).tolist() == [4, 4]
    assert table.dropped == {"label is none of the classes": 2}
    assert set(table.rows["length"].tolist()) == {500}
    motor_imagery.subject_data.cache_clear()


def test_without_moabb_one_paragraph_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moabb", None)
    monkeypatch.delitem(sys.modules, "moabb.datasets", raising=False)
    motor_imagery.subject_data.cache_clear()
    (tmp_path / "x").write_text("")
    entry = BNCI2014001.entries(tmp_path)[0]
    assert BNCI2014001.download is not None
    for call in (lambda: BNCI2014001.read(entry), lambda: BNCI2014001.download(tmp_path / "new")):  # type: ignore[misc]
        with pytest.raises(UsageError, match=r"moabb, which is not installed.*biocl\[moabb\]"):
            call()
    assert not (tmp_path / "new").exists()


def test_what_moabb_stumbles_over_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, (2.0, 6.0), True)
    broken = SimpleNamespace(get_data=lambda subjects: {}[subjects[0]])
    monkeypatch.setattr(motor_imagery, "moabb_dataset", lambda source: broken)
    (tmp_path / "x").write_text("")
    with pytest.raises(BioclError, match="moabb cannot read subject 1"):
        BNCI2015001.read(BNCI2015001.entries(tmp_path)[0])
    motor_imagery.subject_data.cache_clear()


def write_calibration(folder: Path, person: str, sfreq: int, suffix: str = "", **changes: Any) -> None:
    from scipy.io import savemat

    n_times = 30 * sfreq
    names = np.array(["AF3", "C3", "Cz"], dtype=object)
    content = {
        "cnt": RNG.integers(-300, 300, (n_times, 3)).astype(np.int16),
        "mrk": {"pos": np.array([[2, 10, 18, 28]]) * sfreq + 1, "y": np.array([[-1, 1, 1, -1]])},
        "nfo": {"fs": sfreq, "clab": names, "classes": np.array(["left", "foot"], dtype=object)},
        **changes,
    }
    savemat(folder / f"BCICIV_calib_ds1{person}{suffix}.mat", content)


def test_blankertz2007_in_the_published_layout(tmp_path: Path) -> None:
    from scipy.io import loadmat

    for person in "abcdef":
        write_calibration(tmp_path, person, 100)
    with pytest.raises(DataError, match=r"1 of the 7 calibration files are missing, first BCICIV_calib_ds1g\.mat"):
        BLANKERTZ2007.entries(tmp_path)
    write_calibration(tmp_path, "g", 100)
    write_calibration(tmp_path, "a", 1000, "_1000Hz")
    entries = BLANKERTZ2007.entries(tmp_path)
    assert [entry.patient for entry in entries] == list("abcdefg")
    assert [entry.patient for entry in entries if entry.labels["origin"] == "artificial"] == ["c", "d", "e"]
    recording = BLANKERTZ2007.read(entries[0])
    assert (recording.sfreq, recording.channel_names) == (100.0, ("AF3", "C3", "Cz"))
    expected = loadmat(entries[0].source)["cnt"] * 0.1
    np.testing.assert_allclose(recording.signal(), expected, rtol=1e-6)
    assert recording.events.onset_s.tolist() == [2.0, 10.0, 18.0, 28.0]
    assert recording.events.duration_s.tolist() == [4.0, 4.0, 4.0, 2.0]
    assert recording.events.label.tolist() == ["left", "foot", "foot", "left"]
    table = default_windows(build_store(BLANKERTZ2007, entries, tmp_path / "store"))
    assert len(table.rows) == 7 * 3
    for person in "bcdefg":
        write_calibration(tmp_path, person, 1000, "_1000Hz")
    assert BLANKERTZ2007.read(BLANKERTZ2007.entries(tmp_path)[0]).sfreq == 1000.0


@pytest.mark.parametrize(
    "changes",
    [
        {"cnt": np.zeros((100, 2), np.int16)},
        {"nfo": {"fs": 0, "clab": np.array(["a", "b", "c"], dtype=object), "classes": np.array(["left", "foot"])}},
        {"mrk": {"pos": np.array([[9999999]]), "y": np.array([[1]])}},
        {"mrk": np.zeros(3)},
    ],
)
def test_blankertz2007_refuses_what_does_not_fit(tmp_path: Path, changes: dict[str, Any]) -> None:
    for person in "abcdefg":
        write_calibration(tmp_path, person, 100, **(changes if person == "a" else {}))
    with pytest.raises(DataError, match="not a calibration file"):
        BLANKERTZ2007.read(BLANKERTZ2007.entries(tmp_path)[0])
