"""Units: spellings, factors against their definitions, and what an unknown one says."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.datasets.dataset import Dataset, Entry
from biocl.datasets.registry import find_dataset
from biocl.errors import DataError
from biocl.signals.channels import infer_kind
from biocl.signals.conditioning import condition
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.signals.units import STANDARD_UNIT, UNITS, check_units, factor, to_standard
from biocl.store.build import build_store
from biocl.store.store import Store


def recording_of(values: np.ndarray, *channels: Channel) -> Recording:
    return Recording.from_array("r1", "p", 100.0, values, channels, source="folder/r1")


@pytest.mark.parametrize(
    ("kind", "unit", "by"),
    [
        *(("ecg", unit, 1.0) for unit in ("mV", "mv", " MV ", "millivolts")),
        *(("ecg", unit, 1e-3) for unit in ("uV", "µV", "μV", "uv", "microvolt")),
        *(("ecg", unit, by) for unit, by in (("V", 1e3), ("Volts", 1e3), ("nV", 1e-6))),
        *(("eeg", unit, by) for unit, by in (("V", 1e6), ("mV", 1e3), ("µV", 1.0), ("nV", 1e-3))),
        *((kind, "V", 1e6) for kind in ("eog", "emg")),
        *(("acc", unit, 1.0) for unit in ("m/s2", "m/s^2", "m/s²", "m/s/s", "m s^-2", "m·s⁻²", "ms-2", "m/s**2")),
        *(("acc", unit, 9.80665) for unit in ("g", "G", "[g]")),
        *(("acc", unit, by) for unit, by in (("mg", 9.80665e-3), ("mm/s2", 1e-3), ("cm/s2", 1e-2), ("Gal", 1e-2))),
        *(("gyr", unit, 1.0) for unit in ("deg/s", "°/s", "º/s", "dps", "degrees/s", "deg s^-1")),
        *(("gyr", unit, 1e-3) for unit in ("mdeg/s", "mdps")),
        *(("gyr", unit, 180 / math.pi) for unit in ("rad/s", "rad s-1", "rad·s⁻¹")),
        *(("mag", unit, by) for unit, by in (("uT", 1.0), ("µT", 1.0), ("T", 1e6), ("mT", 1e3), ("nT", 1e-3))),
        *(("mag", unit, 100.0) for unit in ("gauss", "G", "Gauss")),
        *(("mag", unit, 0.1) for unit in ("mgauss", "mG", "milligauss")),
    ],
)
def test_factors_to_the_standard_unit(kind: str, unit: str, by: float) -> None:
    assert factor(kind, unit) == by


def test_factors_there_and_back_cancel() -> None:
    for kind, standard in STANDARD_UNIT.items():
        assert factor(kind, standard) == 1.0
        quantity = {"acc": "acceleration", "gyr": "turning", "mag": "field"}.get(kind, "voltage")
        for unit in UNITS[quantity]:
            assert factor(kind, unit) * factor(kind, standard, unit) == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize(("kind", "unit"), [("ecg", "g"), ("acc", "mV"), ("gyr", "deg"), ("resp", "mV")])
def test_a_unit_of_something_else_has_no_factor(kind: str, unit: str) -> None:
    assert factor(kind, unit) is None


def test_values_are_multiplied_once_in_float64_and_the_rest_keeps_its_bits() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 4)).astype(np.float32)
    source = recording_of(
        values,
        Channel("II", "ecg", "mV"),
        Channel("Cz", "eeg", "nV"),
        Channel("x", "acc", "g", "wrist"),
        Channel("belt", "resp", "NU"),
    )
    got = to_standard(source)
    assert [channel.unit for channel in got.channels] == ["mV", "uV", "m/s2", "NU"]
    assert got.devices == ("main", "wrist")
    read = got.read(10, 40)
    assert read.dtype == np.float32
    exact = values[10:40].astype(np.float64) * [1.0, 1e-3, 9.80665, 1.0]
    np.testing.assert_array_equal(read, exact.astype(np.float32))
    np.testing.assert_array_equal(source.read(0, 50), values)  # the source's own array is left alone


def test_standard_units_cost_nothing() -> None:
    source = recording_of(np.ones((5, 2)), Channel("II", "ecg", "mV"), Channel("a", "other", "furlong"))
    assert to_standard(source) is source
    other = replace(source, channels=(Channel("II", "ecg", "mv"), source.channels[1]))
    assert to_standard(other).read is source.read
    assert to_standard(other).channels[0].unit == "mV"


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 99), max_size=4))
def test_any_partition_gives_the_same_bits(cuts: list[int]) -> None:
    values = np.random.default_rng(1).standard_normal((100, 2)).astype(np.float32)
    values[20:30, 1] = np.nan
    got = to_standard(recording_of(values, Channel("II", "ecg", "uV"), Channel("x", "acc", "mg")))
    parts = [got.read(start, stop) for start, stop in pairwise([0, *sorted(set(cuts)), 100])]
    np.testing.assert_array_equal(np.concatenate(parts), got.read(0, 100))
    assert np.isnan(got.read(20, 30)[:, 1]).all()


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        (Channel("II", "ecg", "foo"), ["'foo'", "channel II", "ecg", "V, mV, uV, nV", "II [mV]", "unit: mV"]),
        (Channel("x", "acc", "V"), ["'V'", "channel x", "m/s2, g, mg"]),
        (Channel("II", "ecg", "NU"), ["states no unit", "channel II"]),
        (Channel("gx", "gyr", ""), ["states no unit", "deg/s"]),
    ],
)
def test_an_unknown_unit_stops_with_what_is_known(channel: Channel, said: list[str]) -> None:
    source = recording_of(np.ones((5, 1)), channel)
    for keys in ({}, {"range": "keep"}):
        with pytest.raises(DataError) as caught:
            condition(source, ConditioningSpec.model_validate(keys))
        for part in [*said, "r1", "folder/r1", "data.units: file"]:
            assert part in str(caught.value)
    kept = condition(source, ConditioningSpec(units="file"))
    assert kept.channels == source.channels


@pytest.mark.parametrize(
    "channel", [Channel("a", "other", "NU"), Channel("belt", "resp", "NU"), Channel("mag x", "mag", "a.u.")]
)
def test_no_unit_and_arbitrary_units_where_they_may_be(channel: Channel) -> None:
    source = recording_of(np.ones((5, 1)), channel)
    check_units(source)
    assert to_standard(source) is source


def test_a_channel_that_is_not_kept_may_have_any_unit() -> None:
    source = recording_of(np.full((5, 2), 2.0), Channel("II", "ecg", "foo"), Channel("V1", "ecg", "uV"))
    kept = condition(source, ConditioningSpec(channels=["V1"]))
    assert kept.channels == (Channel("V1", "ecg", "mV"),)
    np.testing.assert_array_equal(kept.signal(), np.full((5, 1), np.float32(2e-3)))


def test_a_lead_in_an_unknown_unit_is_still_a_lead() -> None:
    assert infer_kind("MLII", "foo") == "ecg"
    assert infer_kind("ECG", "NU") == "ecg"
    assert infer_kind("acc x", "NU") == "acc"
    assert infer_kind("O2", "%") == "other"
    assert infer_kind("wrist x", "m s^-2") == "acc"
    assert infer_kind("x", "rad/s") == "gyr"


@pytest.mark.parametrize("name", ["synthetic-ecg", "synthetic-eeg", "synthetic-imu", "synthetic-mi"])
def test_a_store_in_standard_units_is_bit_equal_to_the_files(name: str, tmp_path: Path) -> None:
    dataset = find_dataset(name)
    few = replace(dataset, entries=lambda raw: dataset.entries(raw)[:2])
    hashes = [
        build_store(few, None, tmp_path / units, ConditioningSpec(units=units)).content_hash  # type: ignore[arg-type]
        for units in ("standard", "file")
    ]
    assert hashes[0] == hashes[1]


def test_mitdb_is_bit_equal_in_either_units(test_data: Path, tmp_path: Path) -> None:
    dataset = find_dataset("mitdb")
    few = replace(dataset, entries=lambda raw: dataset.entries(raw)[:1])
    raw = test_data / "ecg" / "mitdb"
    hashes = [
        build_store(few, raw, tmp_path / units, ConditioningSpec(units=units)).content_hash  # type: ignore[arg-type]
        for units in ("standard", "file")
    ]
    assert hashes[0] == hashes[1]


def test_the_build_stops_at_a_wrong_unit_and_says_the_files_name_of_it(tmp_path: Path) -> None:
    wave = 0.3 * np.random.default_rng(0).standard_normal((500, 1))

    def store_of(unit: str, **keys: str) -> Store:
        recording = recording_of(wave, Channel("II", "ecg", unit))
        dataset = Dataset("own", "ecg", "1", lambda raw: [Entry("r1", "p")], lambda entry: recording, ())
        return build_store(dataset, None, tmp_path / f"{unit}-{len(keys)}", ConditioningSpec.model_validate(keys))

    with pytest.raises(DataError, match=r"varies by 0\.\d+ uV .* its unit is probably not uV but mV"):
        store_of("uV")
    assert not (tmp_path / "uV-0").exists()
    kept = store_of("uV", range="keep")
    assert kept.channels == (Channel("II", "ecg", "mV"),)
    np.testing.assert_allclose(kept.signals, wave * 1e-3, rtol=1e-6)
    with pytest.raises(DataError, match="'foo'"):
        store_of("foo", range="keep")
