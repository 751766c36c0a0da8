"""Running statistics and what they reveal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.errors import DataError
from biocl.signals.checks import RunningStatistics, check_recording, refuse, statistics
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec

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
