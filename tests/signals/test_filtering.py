"""Notch and band-pass filters: against scipy and mne, block by block, around gaps, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.errors import DataError
from biocl.signals.conditioning import condition
from biocl.signals.filtering import HELD_WEIGHT, filtered, kernel_of, transform_size
from biocl.signals.gaps import hold_nearest, read_held
from biocl.signals.recording import Channel, Events, Recording
from biocl.signals.spec import BandpassSpec, ConditioningSpec

EEG_BAND = BandpassSpec(low_hz=1.0, high_hz=40.0)


def noise(n_times: int, sfreq: float = 250.0, n_chans: int = 3, seed: int = 0) -> Recording:
    values = np.random.default_rng(seed).standard_normal((n_times, n_chans))
    return of(values, sfreq)


def of(values: np.ndarray, sfreq: float) -> Recording:
    channels = [Channel(f"c{i}", "other", "NU") for i in range(values.shape[1])]
    return Recording.from_array("r1", "p", sfreq, values, channels, events=Events.of("beat", [0.5]))


def gain(spec: ConditioningSpec, sfreq: float, frequency: float) -> float:
    """Amplitude of the filter at one frequency, from its taps."""
    kernel = kernel_of(sfreq, spec.notches, spec.notch_harmonics, spec.bandpass)
    steps = np.arange(-kernel.half, kernel.half + 1)
    return float(np.abs((kernel.taps * np.exp(-2j * np.pi * frequency / sfreq * steps)).sum()))


@pytest.mark.parametrize("n_times", [40_000, 5000, 300])
@pytest.mark.parametrize(
    "spec",
    [
        ConditioningSpec(bandpass=EEG_BAND),
        ConditioningSpec(notch_hz=50.0),
        ConditioningSpec(bandpass=BandpassSpec(high_hz=20.0), notch_hz=[50.0, 60.0]),
    ],
    ids=["band", "notch", "both"],
)
def test_equal_to_a_convolution_of_the_whole_signal(spec: ConditioningSpec, n_times: int) -> None:
    from scipy.signal import fftconvolve

    source = noise(n_times)
    kernel = kernel_of(250.0, spec.notches, False, spec.bandpass)
    padded = np.pad(source.signal().astype(np.float64), ((kernel.half, kernel.half), (0, 0)), mode="edge")
    expected = fftconvolve(padded, kernel.taps[:, None], mode="valid", axes=0)
    found = filtered(source, spec)
    assert found.n_times == n_times
    assert found.events is source.events
    np.testing.assert_allclose(found.signal(), expected, atol=1e-6)
    assert bool(found.notes) == (len(kernel.taps) > n_times)


@settings(max_examples=40, deadline=None)
@given(
    n_times=st.integers(1, 3000),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    gaps=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 700)), max_size=3),
    band=st.sampled_from([EEG_BAND, BandpassSpec(low_hz=4.0), BandpassSpec(high_hz=30.0)]),
    notch=st.sampled_from([None, [50.0]]),
    everything=st.booleans(),
)
def test_any_blocks_give_the_bits_of_the_whole(
    n_times: int,
    cuts: list[int],
    gaps: list[tuple[int, int]],
    band: BandpassSpec,
    notch: list[float] | None,
    everything: bool,
) -> None:
    values = np.random.default_rng(n_times).standard_normal((n_times, 2)).astype(np.float32) + 100
    for start, length in gaps:
        values[start : start + length, 0] = np.nan
    keys = {"bandpass": band, "notch_hz": notch}
    if everything:
        keys |= {"resample_hz": 100.0, "baseline": {"kind": "running-median"}, "scale": "robust"}
    spec = ConditioningSpec(**keys)
    whole = condition(of(values, 250.0), spec).signal()
    found = condition(of(values, 250.0), spec)
    edges = sorted({0, found.n_times, *(cut for cut in cuts if cut < found.n_times)})
    parts = [found.read(start, stop) for start, stop in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_long_recording_in_odd_pieces_and_other_channels_beside() -> None:
    spec = ConditioningSpec(bandpass=BandpassSpec(low_hz=0.5, high_hz=40.0), notch_hz=50.0)
    source = noise(60_000)
    found = filtered(source, spec)
    assert transform_size(kernel_of(250.0, (50.0,), False, spec.bandpass), 60_000) < 30_000  # several blocks
    pieces = [found.read(start, min(start + 7001, 60_000)) for start in range(0, 60_000, 7001)]
    whole = np.concatenate(pieces)
    np.testing.assert_array_equal(whole, filtered(source, spec).signal())
    alone = filtered(source.with_columns([2]), spec).signal()
    np.testing.assert_array_equal(alone[:, 0], whole[:, 2])
    again = found.read(10, 20)
    again[:] = 0  # writing into what was read changes nothing
    np.testing.assert_array_equal(found.read(10, 20), whole[10:20])
    for end in (0, 30, 60_000):
        assert found.read(end, end).shape == (0, 3)


def test_what_passes_and_what_does_not() -> None:
    band = ConditioningSpec(bandpass=BandpassSpec(low_hz=0.5, high_hz=40.0))
    for frequency in (0.5, 1.0, 10.0, 40.0):
        assert gain(band, 360.0, frequency) == pytest.approx(1, abs=0.005)
    for frequency in (0.0, 0.001, 50.1, 60.0, 170.0):
        assert gain(band, 360.0, frequency) < 0.004
    assert gain(band, 360.0, 45.0) == pytest.approx(0.5, abs=0.01)  # in the middle of the transition
    notch = ConditioningSpec(notch_hz=[50.0], notch_harmonics=True)
    for frequency in (49.6, 50.0, 50.4, 100.0, 150.0, 200.0):
        assert gain(notch, 500.0, frequency) < 0.006
    for frequency in (0.0, 10.0, 48.4, 51.6, 75.0, 98.4, 230.0):
        assert gain(notch, 500.0, frequency) == pytest.approx(1, abs=0.006)
    assert gain(ConditioningSpec(notch_hz=50.0), 500.0, 100.0) == pytest.approx(1, abs=0.005)


def test_the_band_is_that_of_mne() -> None:
    import mne

    source = noise(10_000)
    theirs = mne.filter.filter_data(
        source.signal().T.astype(np.float64), 250.0, 1.0, 40.0, pad="edge", verbose="error"
    ).T
    found = filtered(source, ConditioningSpec(bandpass=EEG_BAND)).signal()
    np.testing.assert_allclose(found, theirs, atol=0.01)


def test_nothing_moves_in_time() -> None:
    values = np.zeros((5001, 1))
    values[2500] = 1
    found = filtered(of(values, 250.0), ConditioningSpec(bandpass=EEG_BAND, notch_hz=50.0)).signal()[:, 0]
    assert np.argmax(np.abs(found)) == 2500
    np.testing.assert_allclose(found, found[::-1], atol=1e-9)


def test_a_large_offset_leaves_no_trace() -> None:
    source = noise(20_000)
    high = of(source.signal() + np.float32(100), 250.0)
    spec = ConditioningSpec(bandpass=EEG_BAND)
    np.testing.assert_allclose(filtered(high, spec).signal(), filtered(source, spec).signal(), atol=1e-5)


def test_a_gap_grows_by_the_documented_margin_and_no_further() -> None:
    sfreq = 360.0
    spec = ConditioningSpec(bandpass=BandpassSpec(low_hz=0.5, high_hz=40.0))
    kernel = kernel_of(sfreq, (), False, spec.bandpass)
    assert kernel.margin < 0.6 * sfreq < 3 * sfreq < kernel.half  # not by the seconds that a slow filter reaches
    time = np.arange(20_000) / sfreq
    true = np.stack([np.sin(2 * np.pi * 5 * time), np.sin(2 * np.pi * 5 * time)], axis=1)
    values = true.copy()
    values[9000:9100, 0] = np.nan
    values[15_000, 0] = np.inf
    found = filtered(of(values, sfreq), spec).signal()
    expected = np.zeros(20_000, bool)
    expected[9000 - kernel.margin : 9100 + kernel.margin] = True
    expected[15_000 - kernel.margin : 15_001 + kernel.margin] = True
    np.testing.assert_array_equal(np.isnan(found[:, 0]), expected)
    assert np.isfinite(found[:, 1]).all()
    # Outside the margin the sample that stands in changes little: at most its weight times what it stands for.
    difference = np.abs(found[~expected, 0] - found[~expected, 1])
    assert difference.max() < 2 * HELD_WEIGHT * 2 * np.abs(kernel.taps).sum()
    assert difference[:4000].max() < 1e-12
    weight = np.abs(kernel.taps)
    beyond = weight[kernel.half + kernel.margin + 1 :].sum() / weight.sum()
    assert beyond <= HELD_WEIGHT < beyond + weight[kernel.half + kernel.margin] / weight.sum()


def test_what_stands_in_is_the_nearest_sample() -> None:
    row = np.array([np.nan, 1.0, np.nan, np.nan, np.nan, 5.0, np.nan, np.nan, 8.0, np.inf])
    hold_nearest(row)
    assert row.tolist() == [1, 1, 1, 1, 5, 5, 5, 8, 8, 8]
    nothing = np.full(3, np.nan)
    hold_nearest(nothing)
    assert nothing.tolist() == [0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(
    missing=st.lists(st.booleans(), min_size=1, max_size=120),
    start=st.integers(-20, 119),
    length=st.integers(1, 60),
    reach=st.integers(1, 15),
)
def test_what_stands_in_depends_on_the_recording_alone(
    missing: list[bool], start: int, length: int, reach: int
) -> None:
    """Within reach of a sample that is there; further away it plays no part in a filter."""
    gone = np.repeat(missing, 7)  # gaps of 7 and more
    values = np.arange(len(gone), dtype=np.float32)[:, None]
    values[gone] = np.nan
    start = min(start, len(gone) - 1)
    stop = max(start + length, 1)
    rows, found = read_held(of(values, 100.0).read, len(gone), start, stop, reach)
    everything, _ = read_held(of(values, 100.0).read, len(gone), -100, len(gone) + 100, len(gone) + 100)
    there = np.flatnonzero(~gone)
    near = [bool(len(there)) and np.abs(there - step).min() <= reach for step in range(start, stop)]
    np.testing.assert_array_equal(rows[0][near], everything[0, 100 + start : 100 + stop][near])
    inside = [0 <= step < len(gone) and gone[step] for step in range(start, stop)]
    np.testing.assert_array_equal(found[0], inside)


def test_a_recording_without_samples_in_a_channel_stays_without() -> None:
    values = np.ones((400, 2))
    values[:, 1] = np.nan
    found = filtered(of(values, 100.0), ConditioningSpec(bandpass=BandpassSpec(high_hz=30.0))).signal()
    np.testing.assert_allclose(found[:, 0], 1, atol=1e-6)
    assert np.isnan(found[:, 1]).all()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"bandpass": BandpassSpec(low_hz=0.5, high_hz=50.0)}, r"data\.bandpass\.high_hz 50 is impossible"),
        ({"bandpass": BandpassSpec(low_hz=70.0)}, r"data\.bandpass\.low_hz 70 is impossible"),
        ({"notch_hz": 50.0}, r"data\.notch_hz 50 needs 1\.5 Hz"),
        ({"notch_hz": 1.0}, r"data\.notch_hz 1 needs 1\.5 Hz"),
        ({"bandpass": BandpassSpec(high_hz=30.0), "resample_hz": 50.0}, r"above half of data\.resample_hz"),
        ({"bandpass": BandpassSpec(low_hz=0.001)}, r"takes a filter of"),
        ({"bandpass": BandpassSpec(high_hz=49.9999)}, r"takes a filter of"),
    ],
)
def test_impossible_frequencies_are_refused(keys: dict, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        condition(noise(1000, sfreq=100.0), ConditioningSpec(**keys))
    assert "recording r1" in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"bandpass": {"low_hz": 40.0, "high_hz": 40.0}}, "not below"),
        ({"bandpass": {}}, "needs low_hz or high_hz"),
        ({"bandpass": {"low_hz": -1.0}}, "greater than 0"),
        ({"notch_hz": [50.0, 52.0]}, "would overlap"),
        ({"notch_hz": []}, "empty list"),
        ({"notch_harmonics": True}, "needs notch_hz"),
        ({"reference": []}, "at least 1"),
        ({"baseline": {"kind": "running-median", "windows_s": []}}, "at least 1"),
        ({"scale": "trial"}, "robust"),
    ],
)
def test_contradictions_are_refused_by_the_specification(keys: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ConditioningSpec.model_validate(keys)


def test_one_way_to_write_the_same_notches() -> None:
    assert ConditioningSpec(notch_hz=50).model_dump() == ConditioningSpec(notch_hz=[50.0, 50.0]).model_dump()
    assert ConditioningSpec(notch_hz=[60, 50]).notches == (50.0, 60.0)


def test_beats_of_a_real_recording_stay_where_they_are_marked(test_data: Path) -> None:
    from biocl.signals.readers.wfdb_reader import read_wfdb

    source = read_wfdb(test_data / "ecg" / "mitdb" / "100", "atr", patient="100")
    spec = ConditioningSpec(
        bandpass=BandpassSpec(low_hz=0.5, high_hz=40.0), notch_hz=60.0, baseline={"kind": "running-median"}
    )
    found = condition(source, spec)
    beats = np.rint(found.events.of_kind("beat").onset_s[5:400] * found.sfreq).astype(int)
    np.testing.assert_array_equal(found.events.onset_s, source.events.onset_s)
    before, after = (one.read(0, int(beats[-1]) + 100)[:, 0] for one in (source, found))
    shift = [np.argmax(np.abs(after[b - 15 : b + 16])) - np.argmax(before[b - 15 : b + 16]) for b in beats]
    assert np.median(shift) == 0
    assert np.mean(np.abs(shift) <= 1) > 0.95
    assert abs(after.mean()) < 0.05 < abs(before.mean())
