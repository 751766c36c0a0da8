"""Devices on one clock: sample times recovered from stamps, gaps left empty, offsets and rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.clock import TimedSignal, align
from biocl.signals.recording import Channel
from biocl.signals.sample_times import recover_times

RATE = 102.4
CHANNELS = (Channel("acc-x", "acc", "m/s2"), Channel("acc-y", "acc", "m/s2"))
Floats = NDArray[np.float64]


def wave(time: Floats) -> NDArray[np.float32]:
    """Two channels that tell the time: sines of 1 Hz and of 1.7 Hz."""
    return np.stack([np.sin(2 * np.pi * time), np.cos(2 * np.pi * 1.7 * time)], axis=1).astype(np.float32)


def signal(stamps: Floats, true: Floats | None = None, device: str = "phone") -> TimedSignal:
    return TimedSignal(device, stamps, wave(stamps if true is None else true), CHANNELS)


def ticks(n: int, rate: float = RATE, start: float = 0.0) -> Floats:
    return start + np.arange(n) / rate


def delivered(time: Floats, every: float, seed: int = 0) -> Floats:
    """Stamps of samples handed over in packets, about `every` seconds."""
    rng = np.random.default_rng(seed)
    moments = time[0] + np.cumsum(rng.uniform(0.6, 1.4, int(2 * (time[-1] - time[0]) / every) + 9) * every)
    return moments[np.searchsorted(moments, time)]


def stamp_styles() -> dict[str, Floats]:
    time, rng = ticks(3000), np.random.default_rng(1)
    late = time.copy()  # the phone's habit: a hold-up of 50 to 150 ms, then all that waited, 1 ms apart
    for begin in range(90, 2900, 97):
        held = int(rng.integers(5, 15))
        late[begin : begin + held] = np.maximum(time[begin : begin + held], time[begin + held] + np.arange(held) / 1000)
    return {
        "exact": time,
        "milliseconds": np.round(time, 3),
        "jitter": time + rng.normal(0, 0.002, len(time)),
        "packets": delivered(time, 0.2),
        "long packets": delivered(time, 1.0),
        "50 ms steps": np.ceil(time / 0.05) * 0.05 + 1e-3,
        "held up": np.maximum.accumulate(late),
        "whole seconds": np.floor(time + 0.3),
    }


@pytest.mark.parametrize("style", stamp_styles())
def test_sample_times_are_found_to_within_one_interval(style: str) -> None:
    time, stamps = ticks(3000), stamp_styles()[style]
    if style == "whole seconds":
        time = time + 0.3
    found = recover_times(stamps, wave(time))
    assert found.rate_hz == pytest.approx(RATE, rel=2e-3)
    assert found.duplicates == found.lost == len(found.gaps) == 0
    assert np.all(np.diff(found.time_s) > 0)
    assert np.abs(found.time_s - time[found.rows]).max() < 1 / RATE


def test_packets_follow_a_clock_that_wanders() -> None:
    """A clock that is 0.2 s off a straight line over ten minutes, read through packets."""
    steps = np.arange(60_000)
    time = steps / 100 + 0.2 * np.sin(np.pi * steps / 60_000)
    found = recover_times(delivered(time, 0.1), wave(time))
    assert np.abs(found.time_s - time).max() < 0.01
    assert found.wander_s == pytest.approx(0.2, abs=0.05)


def test_a_device_that_samples_unevenly_keeps_its_stamps() -> None:
    """Values sent when they change: intervals of one second, more or less."""
    time = np.cumsum(np.random.default_rng(4).lognormal(0.0, 0.5, 3000))
    found = recover_times(time, wave(time))
    assert not found.steady
    np.testing.assert_allclose(found.time_s, time, atol=0.3)
    assert np.median(np.abs(found.time_s - time)) < 1e-9
    assert "not sampled evenly" in align([signal(time)], 1.0).notes[0]
    assert all(recover_times(stamps, wave(stamps)).steady for stamps in stamp_styles().values())


def test_lost_samples_are_not_taken_for_late_ones() -> None:
    time, rng = ticks(2000), np.random.default_rng(2)
    keep = np.ones(2000, dtype=np.bool_)
    keep[[300, 301, 302, 900]] = False  # shorter than a gap
    keep[1200:1260] = False  # a gap
    time = time[keep]
    stamps = time + rng.uniform(0, 0.002, len(time))
    found = recover_times(stamps, wave(time))
    assert found.lost == 4
    np.testing.assert_allclose(found.gaps, [[1199 / RATE, 1260 / RATE]], atol=3e-3)
    assert np.abs(found.time_s - time).max() < 0.3 / RATE


def test_a_hold_up_as_long_as_a_gap_is_not_one() -> None:
    """Two seconds of samples arrive at once: late, none is missing."""
    time = ticks(3000)
    stamps = time.copy()
    stamps[1000:1205] = time[1205]
    found = recover_times(stamps, wave(time))
    assert len(found.gaps) == found.lost == 0
    assert found.latest_s == pytest.approx(2.0, abs=0.01)
    assert np.abs(found.time_s - time).max() < 1 / RATE
    assert found.equal_stamps == 205


def test_repeated_rows_are_dropped_and_bursts_are_kept() -> None:
    time = ticks(500)
    rows = np.repeat(np.arange(500), np.where(np.arange(500) % 50 == 7, 3, 1))
    found = recover_times(time[rows], wave(time[rows]))
    assert found.duplicates == 20
    np.testing.assert_allclose(found.time_s, time, atol=1e-6)
    assert len(np.unique(found.rows)) == 500
    again = recover_times(np.concatenate([time, time]), wave(np.concatenate([time, time])))  # sent twice
    assert again.duplicates == 500


def test_rows_out_of_order_are_sorted() -> None:
    time = ticks(500)
    rows = np.arange(500)
    rows[100:103] = [102, 100, 101]
    rows[300:302] = [301, 300]
    found = recover_times(time[rows], wave(time[rows]))
    assert found.sorted_rows == 3
    np.testing.assert_array_equal(rows[found.rows], np.arange(500))
    np.testing.assert_allclose(found.time_s, time, atol=1e-6)


def test_time_that_steps_back_names_its_row() -> None:
    stamps = ticks(500)
    stamps[321:] -= 2.0
    with pytest.raises(DataError, match=r"backwards in row 322: 1\.1\d+ s after 3\.1\d+ s.*a\.csv, device phone"):
        align([signal(stamps)], 100, where="a.csv")


@pytest.mark.parametrize(
    ("stamps", "message"),
    [
        (np.array([0.0, np.nan, 1.0]), "row 2 is not a number"),
        (np.array([0.0, np.inf, 1.0]), "row 2 is not a number"),
        (np.array([4.0]), "no sampling rate"),
        (np.zeros(9), "no sampling rate"),
        (np.empty(0), "no rows"),
    ],
)
def test_stamps_that_say_nothing_are_refused(stamps: Floats, message: str) -> None:
    with pytest.raises(DataError, match=message):
        align([TimedSignal("d", stamps, np.arange(2.0 * len(stamps)).reshape(-1, 2), CHANNELS)], 10)


def test_devices_that_never_meet_are_refused() -> None:
    with pytest.raises(DataError, match=r"No moment is covered.*phone from 0\.000 s.*watch from 50\.000 s"):
        align([signal(ticks(500)), signal(ticks(500, start=50.0), device="watch")], 100)
    with pytest.raises(DataError, match="Two devices are named 'phone'"):
        align([signal(ticks(500)), signal(ticks(500))], 100)


def lag_between(one: NDArray[np.float32], other: NDArray[np.float32]) -> int:
    from scipy.signal import correlate

    return int(np.argmax(correlate(one, other))) - (len(other) - 1)


def test_a_device_resampled_and_shifted_is_realigned_to_within_one_sample() -> None:
    """The same movement at 100 Hz, and at 104.3 Hz from 0.4 s later, with stamps in packets."""
    rng = np.random.default_rng(3)
    fine = np.convolve(rng.standard_normal(40_000), np.hanning(150), mode="same")

    def movement(time: Floats) -> NDArray[np.float32]:
        return np.interp(time, np.arange(40_000) / 1000, fine).astype(np.float32)[:, None]

    first, second = ticks(3500, 100.0), ticks(3500, 104.3, start=0.4)
    naive = lag_between(movement(first)[:, 0], movement(second)[:, 0])
    assert abs(naive) >= 20  # row by row they do not fit
    found = align(
        [
            TimedSignal("a", first, movement(first), CHANNELS[:1]),
            TimedSignal("b", delivered(second, 0.1), movement(second), CHANNELS[:1]),
        ],
        100,
    )
    assert abs(lag_between(found.values[:, 0], found.values[:, 1])) <= 1
    assert np.corrcoef(found.values.T)[0, 1] > 0.99
    assert found.clocks[1].offset_s == pytest.approx(0.4, abs=0.01)
    assert found.clocks[1].rate_ratio == pytest.approx(1.043, rel=1e-3)
    assert [channel.device for channel in found.channels] == ["a", "b"]
    assert "starts +0.4" in found.notes[1]
    assert "against a" in found.notes[1]


@pytest.mark.parametrize(
    ("rate", "sfreq", "frequency"), [(102.4, 100, 10.0), (104.3, 100, 10.0), (50, 100, 5.0), (102.4, 25, 1.0)]
)
def test_a_sine_with_exact_stamps_comes_back(rate: float, sfreq: float, frequency: float) -> None:
    time = ticks(2000, rate, start=3.21)
    found = align([TimedSignal("d", time, np.sin(2 * np.pi * frequency * time)[:, None], CHANNELS[:1])], sfreq)
    grid = found.start_s + np.arange(len(found.values)) / sfreq
    inner = slice(12, -12)
    error = found.values[inner, 0] - np.sin(2 * np.pi * frequency * grid[inner])
    assert np.abs(error).max() < 2e-3
    assert np.isfinite(found.values).all()


def test_thinning_removes_what_the_grid_cannot_hold() -> None:
    time = ticks(4000, 200.0)
    found = align([TimedSignal("d", time, np.sin(2 * np.pi * 60 * time)[:, None], CHANNELS[:1])], 50)
    assert np.abs(found.values[12:-12]).max() < 2e-3


def test_a_long_signal_in_chunks_is_the_same_spline(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = align([signal(ticks(5000))], 100)
    monkeypatch.setattr("biocl.signals.clock.CHUNK", 333)
    np.testing.assert_allclose(align([signal(ticks(5000))], 100).values, whole.values, atol=1e-6)


def test_missing_values_make_gaps_of_their_channel_only() -> None:
    time = ticks(1000)
    values = wave(time)
    values[400:500, 1] = np.nan  # longer than five intervals
    values[700:702, 1] = np.nan
    found = align([TimedSignal("d", time, values, CHANNELS)], RATE)
    assert np.isfinite(found.values[:, 0]).all()
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.values[:, 1])), np.arange(400, 500))
    np.testing.assert_allclose(found.values[700:702, 1], wave(time)[700:702, 1], atol=1e-3)


def test_union_keeps_what_one_device_has() -> None:
    found = align([signal(ticks(500, 100)), signal(ticks(500, 100, start=1.0), device="watch")], 100, span="union")
    assert found.values.shape == (600, 4)
    assert np.isnan(found.values[:100, 2:]).all()
    assert np.isnan(found.values[500:, :2]).all()
    assert np.isfinite(found.values[100:500]).all()


@st.composite
def devices(draw: st.DrawFn) -> tuple[list[TimedSignal], list[tuple[int, float, float]]]:
    """Two or three devices with offsets, rates, jitter and gaps; and the gaps as (device, start, stop)."""
    signals, gaps = [], []
    for number in range(draw(st.integers(2, 3))):
        rate = draw(st.sampled_from([25.0, 50.0, 99.7, 104.3]))
        time = ticks(int(6 * rate), rate, start=draw(st.integers(0, 900)) / 1000)
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        begin = draw(st.integers(int(2 * rate), int(3 * rate)))
        length = draw(st.integers(int(0.4 * rate), int(1.5 * rate)))
        if draw(st.booleans()):
            gaps.append((number, time[begin - 1], time[begin + length]))
            time = np.delete(time, np.arange(begin, begin + length))
        stamps = time + rng.uniform(0, draw(st.sampled_from([0.0, 0.1])) / rate, len(time))
        stamps = np.round(stamps * 1024) / 1024  # so that a shift by whole seconds is exact
        signals.append(signal(stamps, time, f"device-{number}"))
    return signals, gaps


@settings(max_examples=40, deadline=None)
@given(devices())
def test_a_gap_never_yields_values_inside_it(case: tuple[list[TimedSignal], list[tuple[int, float, float]]]) -> None:
    signals, gaps = case
    found = align(signals, 50, span="union")
    grid = found.start_s + np.arange(len(found.values)) / 50
    for number, start, stop in gaps:
        interval = 1 / found.clocks[number].rate_hz
        inside = (grid > start + 0.5 * interval) & (grid < stop - 0.5 * interval)
        assert np.isnan(found.values[inside, 2 * number : 2 * number + 2]).all()
        assert len(found.clocks[number].times.gaps) == 1
    counts = [len(clock.times.gaps) for clock in found.clocks]
    assert sum(counts) == len(gaps)


@settings(max_examples=25, deadline=None)
@given(devices(), st.randoms(use_true_random=False))
def test_permuting_devices_permutes_columns_only(
    case: tuple[list[TimedSignal], list[tuple[int, float, float]]], random: object
) -> None:
    signals, _ = case
    order = list(range(len(signals)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one, other = align(signals, 50), align([signals[number] for number in order], 50)
    columns = [2 * number + channel for number in order for channel in range(2)]
    np.testing.assert_array_equal(one.values[:, columns], other.values)
    assert one.start_s == other.start_s
    assert [one.channels[column] for column in columns] == list(other.channels)


@settings(max_examples=25, deadline=None)
@given(devices(), st.integers(-(10**9), 2 * 10**9))
def test_a_constant_added_to_all_stamps_moves_the_start_only(
    case: tuple[list[TimedSignal], list[tuple[int, float, float]]], constant: int
) -> None:
    signals, _ = case
    moved = [TimedSignal(s.device, s.time_s + constant, s.values, s.channels) for s in signals]
    one, other = align(signals, 50), align(moved, 50)
    np.testing.assert_array_equal(one.values, other.values)
    assert other.start_s == pytest.approx(one.start_s + constant, abs=1e-6)
    assert one.notes == other.notes


def test_a_wrong_unit_of_time_is_refused() -> None:
    with pytest.raises(DataError, match="unit of time"):
        align([signal(ticks(500) * 1e12)], 100)
    with pytest.raises(DataError, match="unit of time"):
        align([signal(ticks(500) * 1e-9)], 100)
    far = signal(ticks(500, start=1e7), device="watch")
    with pytest.raises(DataError, match="rows fill"):
        align([signal(ticks(500)), far], 100, span="union")


@settings(max_examples=200, deadline=None)
@given(
    start=st.floats(-1e12, 1e12),
    steps=st.one_of(
        st.lists(st.sampled_from([0.0, 1e-9, 0.001, 0.01, 0.01, 0.05, 0.3, 7.0, 300.0]), max_size=90),
        st.lists(st.sampled_from([0.0, 0.01, 0.01, 0.01, 0.01, 0.05, 0.3, -0.001, -0.02]), max_size=90),
        st.lists(st.sampled_from([0.01, 0.01, 0.01, 1e6, -5.0]), max_size=20),
    ),
    sfreq=st.sampled_from([1.0, 25.0, 100.0, 1000.0]),
    holes=st.integers(0, 5),
)
def test_any_stamps_give_an_answer_or_one_clear_error(
    start: float, steps: list[float], sfreq: float, holes: int
) -> None:
    stamps = start + np.cumsum(steps)
    values = np.random.default_rng(holes).standard_normal((len(stamps), 2)).astype(np.float32)
    values[: 7 * holes : 7, 1] = np.nan
    try:
        found = align([TimedSignal("d", stamps, values, CHANNELS)], sfreq)
    except DataError:
        return
    times = found.clocks[0].times
    assert np.all(np.diff(times.time_s) > 0)
    assert len(set(times.rows.tolist())) == len(times.rows) == len(stamps) - times.duplicates
    assert len(found.values) >= 1
    # Finite only where samples are near: within the longest step that is no gap.
    grid = found.start_s + np.arange(len(found.values)) / sfreq - found.clocks[0].start_s + times.time_s[0]
    finite = grid[np.isfinite(found.values[:, 0])]
    place = np.clip(np.searchsorted(times.time_s, finite), 1, len(times.time_s) - 1)
    nearest = np.minimum(np.abs(finite - times.time_s[place - 1]), np.abs(finite - times.time_s[place]))
    assert nearest.max(initial=0.0) <= times.max_gap_s / 2 + 1e-3
    assert not np.isinf(found.values).any()
