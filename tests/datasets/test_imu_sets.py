"""The IMU sets that are here: physical-therapy and sp-sw-har, counted, aligned, and refused when damaged."""

from __future__ import annotations

import lzma
import pickle
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.dataset import Entry
from biocl.datasets.imu import read_columns
from biocl.datasets.physical_therapy import EXERCISES, PHYSICAL_THERAPY, SUBJECTS, UNITS
from biocl.datasets.sp_sw_har import CLASSES, COLUMNS, SP_SW_HAR
from biocl.errors import DataError
from biocl.signals.clock import TimedSignal, align
from biocl.signals.recording import Channel
from biocl.store.build import build_store
from biocl.store.windows import default_windows

AXES = [f"{sensor}_{axis}" for sensor in ("acc", "gyr", "mag") for axis in "xyz"]


@pytest.fixture
def therapy(test_data: Path) -> Path:
    return test_data / "imu" / "physical-therapy-exercises"


@pytest.fixture
def har(test_data: Path) -> Path:
    return test_data / "imu" / "sp-sw-har"


def entry_of(entries: list[Entry], name: str) -> Entry:
    return next(entry for entry in entries if entry.name == name)


def test_physical_therapy_is_five_people_with_five_units_each(therapy: Path) -> None:
    entries = PHYSICAL_THERAPY.entries(therapy)
    assert len(entries) == 80
    assert Counter(entry.patient for entry in entries) == dict.fromkeys(SUBJECTS, 16)
    assert Counter(entry.labels["label"] for entry in entries) == dict.fromkeys(EXERCISES, 10)
    recording = PHYSICAL_THERAPY.read(entry_of(entries, "s2-e5-template_session"))
    assert recording.devices == UNITS
    assert len(recording.channels) == 45
    assert [c.unit for c in recording.channels[:9:3]] == ["m/s2", "rad/s", "a.u."]
    assert np.isfinite(recording.signal()).all()
    executions = recording.events.of_kind("execution")
    assert executions.label.tolist() == ["correct", "fast", "low-amplitude"]
    assert (executions.onset_s + executions.duration_s).max() < recording.duration_s


def test_physical_therapy_columns_are_those_of_the_files(therapy: Path) -> None:
    import pandas as pd

    recording = PHYSICAL_THERAPY.read(entry_of(PHYSICAL_THERAPY.entries(therapy), "s4-e2-test"))
    assert not len(recording.events)
    for number, unit in enumerate(UNITS):
        expected = pd.read_csv(therapy / "s4" / "e2" / unit / "test.txt.xz", sep=";")[AXES]
        np.testing.assert_array_equal(recording.signal()[:, 9 * number : 9 * number + 9], expected.to_numpy("float32"))


def test_physical_therapy_windows_are_those_of_the_floors(therapy: Path, tmp_path: Path) -> None:
    store = build_store(PHYSICAL_THERAPY, therapy, tmp_path / "store")
    table = default_windows(store)
    assert len(table) == 3635
    session = np.array(store.session_names)[table.rows["session"]]
    assert (session == "test").sum() == 2917
    counts = Counter(np.array(table.names["label"])[table.rows["label"]].tolist())
    assert counts == {"e1": 474, "e2": 465, "e3": 462, "e4": 449, "e5": 444, "e6": 449, "e7": 448, "e8": 444}


def copied_session(therapy: Path, tmp_path: Path, n_rows: int = 40) -> Entry:
    """The first rows of one session, writable, with plain files."""
    for unit in UNITS:
        (tmp_path / unit).mkdir()
        with lzma.open(therapy / "s1" / "e1" / unit / "test.txt.xz", "rt") as file:
            lines = [next(file) for _ in range(n_rows + 1)]
        (tmp_path / unit / "test.txt").write_text("".join(lines))
    return Entry("s1-e1-test", "s1", "test", source=str(tmp_path), labels={"label": "e1"})


def edit(line: int, change: Callable[[str], str]) -> Callable[[str], str]:
    """Change one line of a text, counted from 0."""

    def apply(text: str) -> str:
        lines = text.splitlines(keepends=True)
        lines[line] = change(lines[line])
        return "".join(lines)

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit(9, lambda line: line.replace(line.split(";")[2], "n/a", 1)), r"Row 9, column 'acc_y' holds 'n/a'"),
        (edit(9, lambda line: line.replace(line.split(";")[2], "", 1)), r"Row 9, column 'acc_y' holds ''"),
        (edit(9, lambda line: line.replace(line.split(";")[2], "NaN", 1)), r"Row 9, column 'acc_y' holds 'nan'"),
        (edit(9, lambda line: line.replace(line.split(";")[2], "inf", 1)), r"Row 9, column 'acc_y' holds 'inf'"),
        (edit(9, lambda line: line.replace("9;", "3;", 1)), "time index of row 9 is 3: it goes back"),
        (edit(40, lambda line: line[:30]), "Row 40"),
        (edit(40, lambda line: line.rstrip() + ";7;8\n"), "cannot be read to its end"),
        (edit(40, lambda line: ""), r"Unit u2 has 39 rows and u1 has 40"),
        (edit(0, lambda line: line.replace("gyr_x", "gyro_x")), "no column 'gyr_x'"),
        (edit(0, lambda line: line.replace(";mag_z", "")), "Length of header"),
        (lambda text: "", "empty"),
        (lambda text: text.splitlines()[0] + "\n", "no rows|empty"),
        (lambda text: "\0\1\2" * 50, "."),
    ],
)
def test_a_damaged_unit_is_refused_in_one_sentence(
    therapy: Path, tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    entry = copied_session(therapy, tmp_path)
    path = tmp_path / "u2" / "test.txt"
    assert PHYSICAL_THERAPY.read(entry).n_times == 40
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        PHYSICAL_THERAPY.read(entry)
    assert str(path) in str(caught.value)


def test_a_truncated_archive_and_a_missing_unit_are_refused(therapy: Path, tmp_path: Path) -> None:
    entry = copied_session(therapy, tmp_path)
    (tmp_path / "u3" / "test.txt").unlink()
    with pytest.raises(DataError, match=re.escape("test.txt is missing")):
        PHYSICAL_THERAPY.read(entry)
    whole = (therapy / "s1" / "e1" / "u3" / "test.txt.xz").read_bytes()
    (tmp_path / "u3" / "test.txt.xz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read to its end"):
        PHYSICAL_THERAPY.read(entry)


def test_missing_files_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"440 of the 440 files are missing, first s1/e1/u1/test\.txt.*--raw"):
        PHYSICAL_THERAPY.entries(tmp_path)


def test_sp_sw_har_is_the_part_that_is_here(har: Path) -> None:
    entries = SP_SW_HAR.entries(har)
    assert len(entries) == 155
    assert len({entry.patient for entry in entries}) == 16
    assert "68 of the 223" in entries[0].notes[0]
    assert SP_SW_HAR.entries(har / "DATA") == entries
    assert entries[0].labels["age"] == "54"
    assert entries[0].labels["orientation"] == "back_inv"


def test_sp_sw_har_devices_are_on_one_clock(har: Path) -> None:
    """Rates and offsets of the source's description, in the notes; no gap; five activities in every execution."""
    offsets, trials = [], Counter[str]()
    for entry in SP_SW_HAR.entries(har):
        recording = SP_SW_HAR.read(entry)
        assert recording.devices == ("phone", "watch")
        assert len(recording.channels) == 12
        phone, watch = recording.notes
        assert float(re.search(r"([\d.]+) Hz", phone)[1]) == pytest.approx(102.44, abs=0.1)  # type: ignore[index]
        assert float(re.search(r"([\d.]+) Hz", watch)[1]) == pytest.approx(104.28, abs=0.06)  # type: ignore[index]
        assert "bursts" in phone
        assert "gaps" not in phone + watch
        assert np.isfinite(recording.signal()).all()
        offsets.append(float(re.search(r"starts ([+-][\d.]+) s", watch)[1]))  # type: ignore[index]
        activities = recording.events.of_kind("activity")
        assert set(activities.label) == set(CLASSES)
        assert activities.duration_s.sum() == pytest.approx(recording.duration_s)
        assert activities.duration_s.min() > 0.05
        trials.update(activities.label.tolist())
    assert 0.1 < np.abs(offsets).max() < 1.07
    assert np.median(np.abs(offsets)) < 0.01
    # Three of the phone's 283 stretches of sitting begin after the watch's last sample.
    assert trials == {"SEATED": 280, "STANDING_UP": 155, "WALKING": 310, "TURNING": 310, "SITTING_DOWN": 155}


def test_one_movement_is_seen_by_phone_and_watch_at_one_time(har: Path, tmp_path: Path) -> None:
    """A watch file delayed by 0.4 s, stamps and all, moves its columns by 40 steps; the recording begins later."""
    entry = entry_of(SP_SW_HAR.entries(har), "s15_07")
    for short in ("sp", "sw"):
        shutil.copy(f"{entry.source}_{short}.csv.xz", tmp_path / f"s15_07_{short}.csv.xz")
    with lzma.open(tmp_path / "s15_07_sw.csv.xz", "rt") as file:
        header, *lines = file.read().splitlines()
    rows = [line.split(",") for line in lines]
    late = [",".join([*row[:6], str(int(row[6]) + 400), row[7]]) for row in rows]
    (tmp_path / "s15_07_sw.csv.xz").unlink()
    (tmp_path / "s15_07_sw.csv").write_text("\n".join([header, *late]) + "\n")
    before = SP_SW_HAR.read(entry)
    after = SP_SW_HAR.read(replace(entry, source=str(tmp_path / "s15_07")))
    x, y = (recording.signal()[:, 6] for recording in (before, after))
    n = 500
    lag = min(range(30), key=lambda k: float(np.abs(x[k : k + n] - y[:n]).sum()))
    assert lag == 0  # the watch's own first samples: its start is the later one
    start = round((before.n_times - after.n_times) / 2)
    assert start > 0
    phone_lag = min(range(60), key=lambda k: float(np.abs(before.signal()[k : k + n, 0] - after.signal()[:n, 0]).sum()))
    assert abs(phone_lag - 40) <= 1


def turning_lag(phone: np.ndarray, watch: np.ndarray, sfreq: float = 100.0) -> int:
    """Steps by which the watch's turning rate follows the phone's, both as norms below 5 Hz."""
    from scipy.signal import butter, correlate, sosfiltfilt

    low = butter(2, 5, fs=sfreq, output="sos")
    one, other = (sosfiltfilt(low, np.linalg.norm(rates, axis=1)) for rates in (phone, watch))
    found = correlate(one - one.mean(), other - other.mean())
    lags = np.arange(len(found)) - (len(other) - 1)
    near = np.abs(lags) < 150
    return int(lags[near][np.argmax(found[near])])


def test_time_stamps_bring_phone_and_watch_together_where_row_numbers_do_not(har: Path) -> None:
    """Over a third of all executions the two devices turn together when aligned on time; row by row they scatter."""
    on_time, on_row = [], []
    for entry in SP_SW_HAR.entries(har)[::3]:
        signal = SP_SW_HAR.read(entry).signal()
        on_time.append(turning_lag(signal[:, 3:6], signal[:, 9:12]))
        rates = [
            read_columns(Path(f"{entry.source}_{short}.csv.xz"), COLUMNS[3:], delimiter=",", n_columns=8).numbers
            for short in ("sp", "sw")
        ]
        n = min(map(len, rates))
        on_row.append(turning_lag(rates[0][:n], rates[1][:n]))
    spread_on_time, spread_on_row = (np.median(np.abs(lags - np.median(lags))) for lags in (on_time, on_row))
    assert abs(np.median(on_time)) <= 3
    assert abs(np.median(on_row)) >= 8
    assert spread_on_time <= 4 < 6 <= spread_on_row


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit(300, lambda line: line.replace(",16576", ",16575", 1)), "Time goes backwards in row 300"),
        (edit(300, lambda line: ",".join([*line.split(",")[:7], "FLYING\n"])), "Row 300 has the label 'FLYING'"),
        (edit(300, lambda line: "x" + line), "Row 300, column 'x_acc'"),
        (edit(0, lambda line: line.replace("timestamp", "time")), "no column 'timestamp'"),
        (lambda text: text[: len(text) // 2].rsplit(",", 3)[0], "Row"),
    ],
)
def test_a_damaged_execution_is_refused(har: Path, tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    entry = entry_of(SP_SW_HAR.entries(har), "s15_07")
    shutil.copy(f"{entry.source}_sw.csv.xz", tmp_path / "s15_07_sw.csv.xz")
    with lzma.open(f"{entry.source}_sp.csv.xz", "rt") as file:
        (tmp_path / "s15_07_sp.csv").write_text(damage(file.read()))
    with pytest.raises(DataError, match=message):
        SP_SW_HAR.read(replace(entry, source=str(tmp_path / "s15_07")))


def test_entries_and_readers_travel_to_workers(therapy: Path, har: Path) -> None:
    for dataset, raw in ((PHYSICAL_THERAPY, therapy), (SP_SW_HAR, har)):
        entry, read = pickle.loads(pickle.dumps((dataset.entries(raw)[0], dataset.read)))
        assert read(entry).name == entry.name


def test_a_gap_cut_into_a_real_file_stays_a_gap(har: Path) -> None:
    """Rows taken out of a phone file in bursts: that stretch is empty, what is around it does not move."""
    import pandas as pd

    entry = entry_of(SP_SW_HAR.entries(har), "s01_01")
    table = pd.read_csv(f"{entry.source}_sp.csv.xz")
    channels = [Channel(name, "other", "NU") for name in table.columns[:6]]

    def aligned(rows: np.ndarray) -> np.ndarray:
        part = table.iloc[rows]
        signal = TimedSignal("phone", part.timestamp.to_numpy() / 1e3, part.iloc[:, :6].to_numpy("float32"), channels)
        found = align([signal], 100)
        return found.values

    whole, holed = aligned(np.arange(len(table))), aligned(np.delete(np.arange(len(table)), np.arange(500, 600)))
    empty = np.flatnonzero(np.isnan(holed).any(axis=1))
    assert len(empty) == pytest.approx(100 / 102.45 * 100, abs=4)
    assert np.all(np.diff(empty) == 1)
    n = min(len(whole), len(holed))
    around = np.setdiff1d(np.arange(n), np.arange(empty[0] - 20, empty[-1] + 21))
    assert np.corrcoef(whole[around, 0], holed[around, 0])[0, 1] > 0.99
