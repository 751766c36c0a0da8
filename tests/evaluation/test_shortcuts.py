"""Shortcut probes find what is planted, stay at chance where nothing is, and count patients."""

from __future__ import annotations

import numpy as np
import pytest

from biocl.evaluation.shortcuts import sampled_windows, tell_groups, tell_patients


@pytest.mark.parametrize(("size", "low", "high"), [(0.0, 0.05, 0.16), (3.0, 0.95, 1.0)])
def test_patients_are_told_by_their_signature(size: float, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(10), 40)
    x = rng.standard_normal((400, 6)) + size * rng.standard_normal((10, 6))[patient]
    told = tell_patients(x, patient)
    assert told is not None
    assert told.chance == 0.1
    assert low <= told.accuracy.value <= high
    assert told.accuracy.low is not None
    assert told.accuracy.low <= told.accuracy.value <= told.accuracy.high
    assert "chance 0.10" in told.said()


def test_devices_are_told_on_other_patients_only() -> None:
    """Patients' signatures that happen to go with a device do not tell the device of a new patient."""
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(16), 20)
    device = patient % 2
    signatures = 3 * rng.standard_normal((16, 8))[patient]
    blind = tell_groups(rng.standard_normal((320, 8)) + signatures, device, patient, "device")
    seeing = tell_groups(
        rng.standard_normal((320, 8)) + 0.3 * signatures + 4 * device[:, None], device, patient, "site"
    )
    assert blind is not None
    assert seeing is not None
    assert 0.25 <= blind.accuracy.value <= 0.75
    assert seeing.accuracy.value > 0.95
    assert (seeing.what, seeing.n_groups, seeing.chance) == ("site", 2, 0.5)


def test_too_few_to_tell() -> None:
    x = np.random.default_rng(0).standard_normal((40, 3))
    assert tell_patients(x, np.zeros(40, int)) is None
    assert tell_patients(x, np.arange(40) // 4) is None  # four windows each
    assert tell_groups(x, np.arange(40) // 20, np.arange(40) // 20, "device") is None  # one patient a device


def test_a_sample_is_even_and_bounded() -> None:
    patient = np.repeat(np.arange(300), 50)
    rows = sampled_windows(patient)
    assert len(rows) <= 2000
    counts = np.bincount(patient[rows])
    assert set(counts[counts > 0]) == {10}
    assert np.array_equal(rows, sampled_windows(patient))
    assert len(sampled_windows(np.empty(0, int))) == 0
