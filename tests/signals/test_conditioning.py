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
