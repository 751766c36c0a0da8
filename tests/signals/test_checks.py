"""Running statistics and what they reveal."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.errors import DataError
from biocl.signals.checks import RunningStatistics, check_recording, refuse, statistics, unit_doubts
from biocl.signals.ranges import triads
from biocl.signals.readers.wfdb_reader import read_wfdb
from biocl.signals.recording import Channel, ChannelKind, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.signals.units import to_standard

LEAD = Channel("II", "ecg", "mV")


def lead(values: np.ndarray, channel: Channel = LEAD) -> Recording:
    return Recording.from_array("r1", "p", 100.0, values[:, None], [channel], source="folder/r1")


def refusal(recording: Recording, **keys: str) -> str:
    spec = ConditioningSpec.model_validate(keys)
    with pytest.raises(DataError) as caught:
        refuse(recording, check_recording(recording, statistics(recording, 0.7)), spec)
    return str(caught.value)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(1, 399), max_size=5), offset=st.floats(-1e3, 1e3))
def test_statistics_equal_numpy_for_any_blocks(seed: int, cuts: list[int], offset: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal((400, 2)) * [1, 50] + offset).astype(np.float32)
    values[rng.random((400, 2)) < 0.1] = np.nan
    running = RunningStatistics(2)
    for block in np.split(values, sorted(cuts)):
        running.update(block)
    exact = values.astype(np.float64)
    np.testing.assert_allclose(running.mean, np.nanmean(exact, axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(running.std, np.nanstd(exact, axis=0), rtol=1e-4)
    np.testing.assert_array_equal(running.minimum, np.nanmin(exact, axis=0))
    np.testing.assert_array_equal(running.maximum, np.nanmax(exact, axis=0))
    np.testing.assert_array_equal(running.count, (~np.isnan(values)).sum(axis=0))
    marked = np.zeros((400, 2), dtype=bool)
    for channel, start, stop in running.gaps:
        marked[start:stop, channel] = True
    np.testing.assert_array_equal(marked, np.isnan(values))


def test_a_good_lead_has_no_findings() -> None:
    good = lead(np.random.default_rng(0).standard_normal(1000) * 0.3)
    assert check_recording(good, statistics(good)) == []


def test_a_gap_is_refused_with_its_times() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    values[250:300] = np.nan
    text = refusal(lead(values))
    for part in ("r1", "II", "2.500 s to 3.000 s", "folder/r1", "data.nan: keep"):
        assert part in text
    refuse(lead(values), check_recording(lead(values), statistics(lead(values))), ConditioningSpec(nan="keep"))


def test_a_flat_lead_is_refused() -> None:
    text = refusal(lead(np.full(1000, 0.25)))
    for part in ("II is flat", "0.25 mV", "0 s to 10.000 s", "data.flat: keep"):
        assert part in text
    refuse(
        lead(np.zeros(1000)),
        check_recording(lead(np.zeros(1000)), statistics(lead(np.zeros(1000)))),
        ConditioningSpec(flat="keep"),
    )


def test_a_flat_stretch_is_not_a_flat_lead() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    values[:900] = 0
    assert check_recording(lead(values), statistics(lead(values))) == []


@pytest.mark.parametrize(
    ("channel", "spread"),
    [
        (LEAD, 300.0),  # microvolts labelled mV
        (Channel("II", "ecg", "uV"), 0.3),  # millivolts labelled uV
        (Channel("Cz", "eeg", "uV"), 2e-5),  # volts labelled uV
        (Channel("Cz", "eeg", "V"), 20.0),
    ],
)
def test_an_implausible_unit_is_refused(channel: Channel, spread: float) -> None:
    values = np.random.default_rng(0).standard_normal(1000) * spread
    text = refusal(lead(values, channel))
    assert f"its unit is probably not {channel.unit}" in text
    assert "data.range: keep" in text


def test_a_lead_of_gaps_only_is_a_gap() -> None:
    assert "10 s without values" in refusal(lead(np.full(1000, np.nan)))


# ------------------------------------------------------------------------------------------ units and ranges


def ranges(recording: Recording, stated: dict[str, str] | None = None) -> list[str]:
    findings = check_recording(recording, statistics(recording), stated)
    return [finding.message for finding in findings if finding.problem == "range"]


def times(recording: Recording, by: float) -> Recording:
    """The same recording with values that are `by` times as large, as if its unit were mislabelled."""
    return replace(recording, read=lambda start, stop: recording.read(start, stop) * np.float32(by))


def triad(values: np.ndarray, unit: str = "m/s2", kind: ChannelKind = "acc") -> Recording:
    channels = [Channel(f"{kind}_{axis}", kind, unit, "wrist") for axis in "xyz"]
    return Recording.from_array("walk", "p", 50.0, values, channels, source="folder/walk")


def moving(spread: float = 2.0, gravity: float = 9.81) -> np.ndarray:
    rng = np.random.default_rng(0)
    return gravity * np.array([0.6, 0.0, 0.8]) + spread * rng.standard_normal((1000, 3)) / np.sqrt(3)


@pytest.mark.parametrize(
    ("channel", "spread", "likely"),
    [
        (LEAD, 300.0, "but uV"),
        (Channel("II", "ecg", "uV"), 0.3, "but mV"),
        (LEAD, 3e-4, "but V"),
        (Channel("Cz", "eeg", "uV"), 2e-5, "but V"),
        (Channel("Cz", "eeg", "mV"), 20.0, "but uV"),
        (Channel("Cz", "eeg", "V"), 20.0, "but uV"),
    ],
)
def test_the_likely_unit_is_named(channel: Channel, spread: float, likely: str) -> None:
    noise = np.random.default_rng(0).standard_normal(1000) * spread
    assert likely in refusal(lead(noise, channel))


def test_whole_numbers_are_called_raw_counts() -> None:
    counts = np.rint(np.random.default_rng(0).standard_normal(1000) * 200)
    assert "raw counts" in refusal(lead(counts))
    assert "raw counts" not in refusal(lead(counts + 0.37))


def test_the_sentence_names_the_files_unit_after_conversion() -> None:
    """Volts in truth, called millivolts in the file: what is checked is in uV, and what is said in mV."""
    source = lead(np.random.default_rng(0).standard_normal(1000) * 2e-5, Channel("Cz", "eeg", "mV"))
    (text,) = ranges(to_standard(source), {"Cz": "mV"})
    assert "2" in text
    assert "its unit is probably not mV but V" in text


def test_dc_offsets_are_no_error() -> None:
    wave = 20 * np.random.default_rng(0).standard_normal(1000)
    assert ranges(lead(wave - 250_000, Channel("Cz", "eeg", "uV"))) == []


def test_one_wild_electrode_is_named_alone() -> None:
    rng = np.random.default_rng(0)
    values = 20 * rng.standard_normal((1000, 5))
    values[:, 3] *= 2000
    channels = [Channel(name, "eeg", "uV") for name in ("Fz", "Cz", "Pz", "T7", "Oz")]
    (text,) = ranges(Recording.from_array("r", "p", 100.0, values, channels))
    assert "Channel T7" in text


@pytest.mark.parametrize(
    ("by", "likely"),
    [
        (1 / 9.80665, "not m/s2 but g"),
        (1000 / 9.80665, "not m/s2 but mg"),
        (1000.0, "not m/s2 but mm/s2"),
    ],
)
def test_gravity_tells_the_unit_of_an_accelerometer(by: float, likely: str) -> None:
    assert ranges(triad(moving())) == []
    assert any(likely in text for text in ranges(triad(moving() * by)))


def test_g_is_g_in_any_label() -> None:
    assert ranges(triad(moving() / 9.80665, "g")) == []
    (text,) = ranges(triad(moving(), "g"))
    assert "not g but m/s2" in text


def test_linear_acceleration_is_no_error_and_says_how_to_accept_it_where_it_looks_like_g() -> None:
    still = moving(gravity=0.0, spread=0.05)
    walking = moving(gravity=0.0, spread=3.0)
    assert ranges(triad(still)) == ranges(triad(walking)) == []
    like_g = triad(moving(gravity=0.0, spread=1.0))
    (text,) = ranges(like_g)
    assert "linear acceleration" in text
    finding = check_recording(like_g, statistics(like_g))
    refuse(like_g, finding, ConditioningSpec(range="keep"))
    with pytest.raises(DataError, match=r"data\.range: keep"):
        refuse(like_g, finding, ConditioningSpec())


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["acc_x", "acc_y", "acc_z"], 1),
        (["accX", "accY", "accZ"], 1),
        (["x", "y", "z"], 1),
        (["a1", "a2", "a3"], 1),  # the device's only three
        (["x acc", "y acc", "z acc", "x lin", "y lin", "z lin"], 2),
        (["acc_x", "acc_y"], 0),
    ],
)
def test_triads_are_recognised(names: list[str], found: int) -> None:
    channels = [Channel(name, "acc", "m/s2", "wrist") for name in names]
    assert len(triads(channels)) == found
    assert triads([replace(channel, unit="a.u.") for channel in channels]) == []


def test_two_devices_do_not_make_one_triad() -> None:
    channels = [Channel(f"acc_{a}", "acc", "m/s2", d) for a, d in (("x", "one"), ("y", "two"), ("z", "one"))]
    assert triads(channels) == []


@pytest.mark.parametrize(
    ("scale", "unit", "likely"), [(1.0, "uT", None), (0.01, "uT", "gauss"), (1e-3, "mT", None), (1000.0, "uT", "nT")]
)
def test_the_earths_field_tells_the_unit_of_a_magnetometer(scale: float, unit: str, likely: str | None) -> None:
    field = scale * (np.array([20.0, -10.0, 40.0]) + np.random.default_rng(0).standard_normal((500, 3)))
    found = ranges(triad(field, unit, "mag"))
    assert found == [] if likely is None else likely in found[0]


def test_turning_beyond_every_sensor_is_refused_and_slow_turning_is_noted() -> None:
    rng = np.random.default_rng(0)
    turning = 60 * rng.standard_normal((1000, 3))  # deg/s
    (text, *_) = ranges(triad(turning, "rad/s", "gyr"))
    assert "not rad/s but perhaps deg/s" in text
    assert ranges(triad(turning, "deg/s", "gyr")) == []
    channels = [Channel(f"{kind}_{a}", kind, unit) for kind, unit in (("acc", "m/s2"), ("gyr", "deg/s")) for a in "xyz"]
    slow = Recording.from_array("r", "p", 50.0, np.hstack([moving(), turning / 57.3]), channels)
    assert ranges(slow) == []
    (note,) = unit_doubts(slow, statistics(slow))
    assert "rad/s" in note
    assert unit_doubts(times(slow, 57.3), statistics(times(slow, 57.3))) == ()
    assert unit_doubts(slow, statistics(slow), {f"gyr_{a}": "rad/s" for a in "xyz"}) == ()


def ecg_files(test_data: Path) -> list[Recording]:
    found = []
    for pattern in ("mitdb/1*.hea", "ptbxl/**/*.hea", "ludb/**/*.hea", "ecgid/**/*.hea"):
        paths = sorted((test_data / "ecg").glob(pattern))
        assert len(paths) > 4
        for path in paths[:: len(paths) // 4][:5]:
            recording = read_wfdb(str(path.with_suffix("")), name=path.stem, patient="p")
            signal = recording.read(0, min(recording.n_times, 60_000))
            channels = [replace(channel, kind="ecg") for channel in recording.channels]
            found.append(Recording.from_array(str(path), "p", recording.sfreq, signal, channels))
    return found


def eeg_files(test_data: Path) -> list[Recording]:
    import mne

    found = []
    for path in sorted((test_data / "eeg" / "eegmmidb").rglob("*.edf")):
        raw = mne.io.read_raw_edf(path, verbose="error")
        channels = [Channel(name, "eeg", "uV") for name in raw.ch_names]
        found.append(Recording.from_array(str(path), "p", 160.0, raw.get_data().T * 1e6, channels))
    paths = sorted((test_data / "eeg" / "smni_cmi").rglob("*.gz"))
    for path in paths[:: len(paths) // 10]:
        with gzip.open(path, "rt") as file:
            cells = [line.split() for line in file if not line.startswith("#")]
        names = list(dict.fromkeys(cell[1] for cell in cells))
        values = np.array([float(cell[3]) for cell in cells]).reshape(len(names), -1).T
        channels = [Channel(name, "eeg", "uV") for name in names]
        found.append(Recording.from_array(str(path), "p", 256.0, values, channels))
    return found


def imu_files(test_data: Path) -> list[Recording]:
    found = []
    for pattern, delimiter, first in (
        ("physical-therapy-exercises/s1/**/test.txt.xz", ";", 1),
        ("sp-sw-har/**/s0[1-4]_0[12]_*.csv.xz", ",", 0),
    ):
        paths = sorted((test_data / "imu").glob(pattern))
        assert len(paths) > 10
        for path in paths[:20]:
            with lzma.open(path, "rt") as file:
                table = np.loadtxt(file, delimiter=delimiter, skiprows=1, usecols=range(first, first + 6))
            channels = [Channel(f"acc_{a}", "acc", "m/s2") for a in "xyz"]
            channels += [Channel(f"gyr_{a}", "gyr", "rad/s") for a in "xyz"]
            found.append(to_standard(Recording.from_array(str(path), "p", 25.0, table, channels)))
    return found


@pytest.mark.parametrize(
    ("files", "factors"),
    [
        (ecg_files, (1000.0, 1e-3, 1e-6)),
        (eeg_files, (1000.0, 1e-3, 1e-6)),
        (imu_files, (1000.0, 1e-3, 9.80665, 1 / 9.80665, 1000 / 9.80665)),
    ],
)
def test_real_recordings_raise_no_alarm_and_every_scaled_copy_does(
    test_data: Path, files: Callable[[Path], list[Recording]], factors: tuple[float, ...]
) -> None:
    recordings = files(test_data)
    assert len(recordings) > 12
    for recording in recordings:
        assert ranges(recording) == [], recording.name
        assert unit_doubts(recording, statistics(recording), {f"gyr_{a}": "rad/s" for a in "xyz"}) == ()
        for by in factors:
            assert ranges(times(recording, by)), f"{recording.name} times {by}"
