"""R peaks: against cardiologists' marks, and what must not change them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biocl.datasets.mitdb import MITDB
from biocl.signals.heartbeats import r_peaks

MITDB_HZ = 360
TOLERANCE_S = 0.075
TEN_MINUTES = 600 * MITDB_HZ
Floats = NDArray[np.float64]


def hits(found: NDArray[np.int64], true: NDArray[np.int64], tolerance: float) -> int:
    """Pairs of a found and a true beat that are near, no beat used twice."""
    free = sorted(found.tolist())
    n = 0
    for beat in sorted(true.tolist()):
        near = [other for other in free if abs(other - beat) <= tolerance]
        if near:
            free.remove(min(near, key=lambda other: abs(other - beat)))
            n += 1
    return n


def test_hits_counts_no_beat_twice() -> None:
    assert hits(np.array([10, 12, 50]), np.array([11, 49, 90]), 2) == 2
    assert hits(np.array([10, 12]), np.array([11]), 2) == 1


@pytest.fixture(scope="module")
def annotated(test_data: Path) -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Ten minutes of some records: clean, noisy, tall T waves, bundle branch block, premature beats, fibrillation."""
    chosen = ("100", "105", "113", "116", "200", "203", "215", "221", "228")
    found = {}
    for entry in MITDB.entries(test_data / "ecg" / "mitdb"):
        if entry.name in chosen:
            recording = MITDB.read(entry)
            beats = np.rint(recording.events.of_kind("beat").onset_s * MITDB_HZ).astype(np.int64)
            found[entry.name] = recording.read(0, TEN_MINUTES), beats[beats < TEN_MINUTES]
    assert len(found) == len(chosen)
    return found


@pytest.mark.parametrize("leads", [1, 2])
def test_beats_are_those_that_cardiologists_marked(
    annotated: dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]], leads: int
) -> None:
    for name, (signal, true) in annotated.items():
        found = r_peaks(signal[:, :leads], MITDB_HZ)
        right = hits(found, true, TOLERANCE_S * MITDB_HZ)
        assert right / len(true) > 0.95, f"sensitivity on {name}"
        assert right / len(found) > 0.95, f"precision on {name}"


def test_unit_offset_polarity_and_useless_leads_change_nothing(
    annotated: dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]],
) -> None:
    signal = annotated["100"][0][: 60 * MITDB_HZ].astype(np.float64)
    expected = r_peaks(signal, MITDB_HZ)
    assert len(expected) > 60
    assert np.array_equal(r_peaks(-signal, MITDB_HZ), expected)
    assert np.array_equal(r_peaks(signal * [1000, 0.5] + [3, -8], MITDB_HZ), expected)
    nothing = np.full((len(signal), 1), 7.0)
    gap = signal[:, :1].copy()
    gap[100] = np.nan
    assert np.array_equal(r_peaks(np.hstack([signal, nothing, gap]), MITDB_HZ), expected)


def spikes(at: NDArray[np.int64], n_times: int, sfreq: float) -> Floats:
    """A triangle of 80 ms at each place, with a slow wave under them and a T wave behind each."""
    time = np.arange(n_times) / sfreq
    signal = 0.3 * np.sin(2 * np.pi * 0.3 * time)
    for beat in at.tolist():
        signal += np.maximum(0, 1 - np.abs(time - beat / sfreq) / 0.04)
        signal += 0.3 * np.exp(-(((time - beat / sfreq - 0.28) / 0.05) ** 2))
    return signal


@settings(max_examples=25, deadline=None)
@given(
    rate=st.sampled_from([100.0, 250.0, 360.0, 1000.0]),
    rr_s=st.floats(0.45, 1.6),
    jitter=st.floats(0, 0.1),
    seed=st.integers(0, 2**16),
)
def test_every_spike_is_found_and_nothing_else(rate: float, rr_s: float, jitter: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    intervals = rr_s * (1 + jitter * rng.uniform(-1, 1, int(20 / rr_s)))
    true = np.rint((0.5 + np.cumsum(intervals)) * rate).astype(np.int64)
    found = r_peaks(spikes(true, int(true[-1] + rate), rate), rate)
    assert len(found) == len(true)
    assert np.abs(found - true).max() <= 0.02 * rate


def test_peaks_are_ascending_and_apart_in_noise() -> None:
    noise = np.random.default_rng(0).normal(size=(5000, 3))
    found = r_peaks(noise, 250.0)
    assert len(found)
    assert np.diff(found).min() >= 0.24 * 250
    assert found.dtype == np.int64


def test_nothing_is_found_where_nothing_can_be() -> None:
    assert len(r_peaks(np.zeros(1000), 250.0)) == 0
    assert len(r_peaks(np.full((1000, 2), np.nan), 250.0)) == 0
    assert len(r_peaks(np.random.default_rng(0).normal(size=200), 250.0)) == 0
    assert len(r_peaks(np.empty((0, 2)), 250.0)) == 0
    with pytest.raises(ValueError, match="more than 40"):
        r_peaks(np.zeros(1000), 40.0)
