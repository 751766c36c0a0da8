"""Channel selection and streaming resampling."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.errors import DataError
from biocl.signals.conditioning import condition, resample
from biocl.signals.recording import Channel, Events, Recording
from biocl.signals.spec import ConditioningSpec


def noise(sfreq: float, n_times: int, seed: int = 0) -> Recording:
    values = np.random.default_rng(seed).standard_normal((n_times, 3))
    channels = [Channel(name, "other", "NU") for name in "abc"]
    return Recording.from_array("r", "p", sfreq, values, channels, events=Events.of("beat", [0.5]))


@pytest.mark.parametrize(
    ("sfreq", "resample_hz", "n_times"),
    [(360, 125, 5000), (360, 128, 777), (2, 3, 300), (1, 5, 33), (4, 1, 1001), (128, 125, 3), (50, 7, 1)],
)
def test_resampling_equals_scipy(sfreq: int, resample_hz: int, n_times: int) -> None:
    from scipy.signal import resample_poly

    source = noise(sfreq, n_times)
    expected = resample_poly(source.signal().astype(np.float64), resample_hz, sfreq, axis=0, padtype="edge")
    found = resample(source, resample_hz)
    assert found.n_times == len(expected)
    assert found.sfreq == resample_hz
    np.testing.assert_allclose(found.signal(), expected, atol=2e-6)
    assert found.events is source.events


@settings(max_examples=60, deadline=None)
@given(
    rates=st.sampled_from([(360.0, 125.0), (360.0, 128.0), (100.0, 250.0), (102.3, 100.0), (7.0, 3.0)]),
    n_times=st.integers(1, 900),
    cuts=st.lists(st.integers(0, 900), max_size=6),
)
def test_any_blocks_give_the_bits_of_the_whole(rates: tuple[float, float], n_times: int, cuts: list[int]) -> None:
    found = resample(noise(rates[0], n_times), rates[1])
    edges = sorted({0, found.n_times, *(cut for cut in cuts if cut < found.n_times)})
    parts = [found.read(start, stop) for start, stop in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), found.signal())


def test_a_sine_stays_a_sine_and_aliases_are_gone() -> None:
    time = np.arange(3600) / 360
    wave = np.stack([np.sin(2 * np.pi * 10 * time), np.sin(2 * np.pi * 100 * time)], axis=1)
    source = Recording.from_array("r", "p", 360, wave, [Channel(n, "other", "NU") for n in "ab"])
    found = resample(source, 125).signal()[100:-100]
    expected = np.sin(2 * np.pi * 10 * np.arange(1250) / 125)[100:-100]
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-3)
    assert np.abs(found[:, 1]).max() < 2e-3


def test_a_gap_stays_a_gap() -> None:
    values = np.zeros((3600, 1), dtype=np.float32)
    values[1800:1836] = np.nan
    source = Recording.from_array("r", "p", 360, values, [Channel("a", "other", "NU")])
    missing = np.isnan(resample(source, 125).signal()[:, 0])
    assert missing[625:637].all()
    assert not missing[:613].any()
    assert not missing[650:].any()


def test_nothing_is_read_before_it_is_asked_for() -> None:
    asked: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> np.ndarray:
        asked.append((start, stop))
        return np.zeros((stop - start, 1), dtype=np.float32)

    source = Recording("r", "p", 360.0, 360_000, (Channel("a", "ecg", "mV"),), read)
    found = condition(source, ConditioningSpec(resample_hz=125.0, channels=["a"]))
    assert asked == []
    found.read(50_000, 50_125)
    [(start, stop)] = asked
    assert stop - start < 600


def test_channels_are_chosen_by_name() -> None:
    chosen = condition(noise(10, 20), ConditioningSpec(channels=["c", "a"]))
    assert chosen.channel_names == ("c", "a")
    np.testing.assert_array_equal(chosen.signal(), noise(10, 20).signal()[:, [2, 0]])
    with pytest.raises(DataError, match=r"no channel named 'V1'; it has a, b, c.*data\.channels"):
        condition(noise(10, 20), ConditioningSpec(channels=["V1"]))


def test_an_impossible_ratio_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be resampled"):
        resample(noise(100_000.0, 10), 0.1)


def eeg(n_times: int = 500, names: tuple[str, ...] = ("Fz", "Cz", "Pz", "EOG", "M1", "M2")) -> Recording:
    values = np.random.default_rng(1).standard_normal((n_times, len(names))) * 20
    channels = [Channel(name, "eog" if name == "EOG" else "eeg", "uV") for name in names]
    return Recording.from_array("night", "p", 100.0, values, channels)


def test_average_reference_of_the_kept_eeg_channels() -> None:
    source = eeg()
    found = condition(source, ConditioningSpec(channels=["Fz", "EOG", "Cz", "Pz"], reference="average"))
    kept = source.signal()[:, [0, 3, 1, 2]].astype(np.float64)
    expected = kept.copy()
    expected[:, [0, 2, 3]] -= kept[:, [0, 2, 3]].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found.signal(), expected, atol=1e-5)
    np.testing.assert_array_equal(found.signal()[:, 1], source.signal()[:, 3])
    parts = [found.read(start, start + 1) for start in range(40)]
    np.testing.assert_array_equal(np.concatenate(parts), found.signal()[:40])


def test_linked_mastoids_need_not_be_kept() -> None:
    source = eeg()
    level = source.signal()[:, [4, 5]].astype(np.float64).mean(axis=1)
    found = condition(source, ConditioningSpec(channels=["Pz", "Fz"], reference=["M1", "M2"]))
    assert found.channel_names == ("Pz", "Fz")
    np.testing.assert_allclose(found.signal(), source.signal()[:, [2, 0]] - level[:, None], atol=1e-5)
    assert found.notes == ()
    whole = condition(source, ConditioningSpec(reference=["M1", "M2"]))
    assert whole.channel_names == source.channel_names


def test_a_single_reference_is_left_out_and_said() -> None:
    source = eeg()
    found = condition(source, ConditioningSpec(reference=["Cz"]))
    assert found.channel_names == ("Fz", "Pz", "EOG", "M1", "M2")
    assert "Cz is the reference" in found.notes[0]
    np.testing.assert_allclose(found.signal()[:, 0], source.signal()[:, 0] - source.signal()[:, 1], atol=1e-5)
    hidden = condition(source, ConditioningSpec(channels=["Fz", "Pz"], reference=["Cz"]))
    assert (hidden.channel_names, hidden.notes) == (("Fz", "Pz"), ())
    named = condition(source, ConditioningSpec(channels=["Cz", "Fz"], reference=["Cz"]))
    assert named.channel_names == ("Fz",)
    assert named.notes


def test_a_gap_in_the_reference_is_a_gap_in_every_eeg_channel() -> None:
    source = eeg()
    values = source.signal().copy()
    values[100:110, 4] = np.nan
    broken = Recording.from_array("night", "p", 100.0, values, source.channels)
    missing = np.isnan(condition(broken, ConditioningSpec(reference=["M1", "M2"])).signal())
    assert missing[100:110, [0, 1, 2, 4, 5]].all()
    assert not missing[:, 3].any()
    assert missing.sum() == 50


def test_a_wrong_reference_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.reference is for EEG, and recording r has no EEG"):
        condition(noise(10, 20), ConditioningSpec(reference="average"))
    with pytest.raises(DataError, match=r"night has no channel named 'A1'.*Fz, Cz.*data\.reference"):
        condition(eeg(), ConditioningSpec(reference=["A1"]))
    with pytest.raises(DataError, match=r"as EOG, not EEG"):
        condition(eeg(), ConditioningSpec(reference=["EOG"]))


def wander(sfreq: float = 125.0) -> tuple[np.ndarray, np.ndarray]:
    """Sharp beats, and a drift that is larger than they are."""
    time = np.arange(int(60 * sfreq)) / sfreq
    beats = np.exp(-(((time % 0.8) - 0.4) ** 2) / (2 * 0.01**2))
    return beats, 2 * np.sin(2 * np.pi * 0.15 * time)


def test_the_running_median_takes_out_wander_and_leaves_the_beats() -> None:
    from scipy.ndimage import median_filter

    beats, drift = wander()
    source = Recording.from_array("r", "p", 125.0, (beats + drift)[:, None], [Channel("a", "ecg", "mV")])
    found = condition(source, ConditioningSpec(baseline={"kind": "running-median"})).signal()[:, 0]
    assert np.abs(found - beats)[100:-100].max() < 0.12  # of a drift of 2
    row = np.pad(source.signal()[:, 0], 200, mode="edge")
    slow = median_filter(median_filter(row, size=25), size=75)  # 0.2 s and 0.6 s, rounded to odd numbers
    np.testing.assert_array_equal(found, (row - slow)[200:-200])


def test_the_running_median_keeps_a_gap_as_long_as_it_is() -> None:
    values = np.ones((1000, 1))
    values[400:420] = np.nan
    source = Recording.from_array("r", "p", 125.0, values, [Channel("a", "other", "NU")])
    found = condition(source, ConditioningSpec(baseline={"kind": "running-median"})).signal()[:, 0]
    assert np.flatnonzero(np.isnan(found)).tolist() == list(range(400, 420))
    assert not np.nan_to_num(found).any()


def test_mean_baseline_and_scale_use_the_whole_recording_in_float64() -> None:
    values = np.random.default_rng(2).standard_normal((5000, 2)) * [1, 3] + [1e4, -5]
    values[100:200, 1] = np.nan
    source = Recording.from_array("r", "p", 100.0, values, [Channel(n, "other", "NU") for n in "ab"])
    stored = source.signal().astype(np.float64)
    mean, std = np.nanmean(stored, axis=0), np.nanstd(stored, axis=0)
    found = condition(source, ConditioningSpec(baseline={"kind": "mean"}))
    np.testing.assert_allclose(found.read(300, 900), (stored - mean)[300:900], atol=1e-6)
    assert found.channels == source.channels
    for baseline in (None, {"kind": "mean"}):
        scaled = condition(source, ConditioningSpec(baseline=baseline, scale="recording"))
        np.testing.assert_allclose(scaled.signal(), (stored - mean) / std, atol=1e-6)
        assert [channel.unit for channel in scaled.channels] == ["SD", "SD"]
    assert np.isnan(scaled.signal()[100:200, 1]).all()


def test_robust_scale_is_not_moved_by_artefacts() -> None:
    rng = np.random.default_rng(3)
    values = 7 + 2 * rng.standard_normal((300_000, 1))
    values[:3000] = 1e5
    source = Recording.from_array("r", "p", 100.0, values, [Channel("a", "other", "NU")])
    found = condition(source, ConditioningSpec(scale="robust")).signal()[3000:]
    assert abs(found.mean()) < 0.03
    assert abs(found.std() - 1) < 0.03
    stuck = Recording.from_array("r", "p", 100.0, np.r_[np.zeros(900), np.ones(100)][:, None], source.channels)
    with pytest.raises(DataError, match=r"same value.*robust"):
        condition(stuck, ConditioningSpec(scale="robust")).signal()


def test_a_constant_channel_scales_to_zero_and_a_wrong_unit_is_still_seen() -> None:
    flat = Recording.from_array("r", "p", 100.0, np.full((300, 1), 4.0), [Channel("a", "other", "NU")])
    for how in ("recording", "robust"):
        assert not condition(flat, ConditioningSpec(scale=how)).signal().any()
    microvolts = np.random.default_rng(0).standard_normal((2000, 1)) * 900
    wrong = Recording.from_array("r", "p", 100.0, microvolts, [Channel("II", "ecg", "mV")])
    with pytest.raises(DataError, match="mV"):
        condition(wrong, ConditioningSpec(scale="recording")).signal()
    accepted = condition(wrong, ConditioningSpec(scale="recording", range="keep")).signal()
    assert accepted.std() == pytest.approx(1, abs=1e-5)


def test_every_step_in_its_order() -> None:
    """The whole chain equals the steps one after the other on the whole signal."""
    source = eeg(4000)
    keys = {
        "channels": ["Fz", "Cz", "Pz"],
        "reference": "average",
        "notch_hz": [45.0],
        "bandpass": {"low_hz": 1.0, "high_hz": 30.0},
        "resample_hz": 80.0,
        "baseline": {"kind": "mean"},
        "scale": "recording",
    }
    spec = ConditioningSpec.model_validate(dict(reversed(keys.items())))
    now = source
    steps = [{key: value} for key, value in keys.items() if key != "bandpass"]
    steps[2]["bandpass"] = keys["bandpass"]  # one filter with the notch
    for step in steps:
        now = condition(now, ConditioningSpec.model_validate(step))
        now = Recording.from_array("night", "p", now.sfreq, now.signal(), now.channels)
    found = condition(source, spec)
    assert found.sfreq == 80.0
    np.testing.assert_allclose(found.signal(), now.signal(), atol=5e-5)


def test_a_channel_may_be_named_with_its_device() -> None:
    channels = [Channel("x", "acc", "m/s2", device) for device in ("wrist", "ankle")]
    signal = np.arange(20, dtype=np.float32).reshape(10, 2)
    recording = Recording.from_array("r", "p", 10.0, signal, channels)
    chosen = condition(recording, ConditioningSpec(channels=["ankle/x"]))
    np.testing.assert_array_equal(chosen.signal(), signal[:, 1:])
    with pytest.raises(DataError, match=r"several channels named 'x'; it has wrist/x, ankle/x"):
        condition(recording, ConditioningSpec(channels=["x"]))
