"""A device that is taken away is read as one that was switched off: zeros, and everybody is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from biocl.datasets.dataset import Dataset, Entry
from biocl.encoders.spec import EncoderSpec
from biocl.objectives.model import Model
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.missing import taken_away
from biocl.store.spec import MissingSpec, RecordingTrials, SlidingWindows
from biocl.store.store import Store
from biocl.store.windows import derive_windows
from biocl.training.data import Windows, embed

CPU = torch.device("cpu")
ACCEPT = ConditioningSpec(nan="keep", flat="keep", range="keep")
CHANNELS = [Channel(f"{device}-{axis}", "acc", "m/s2", device) for axis in "xy" for device in ("left", "right", "hip")]
RIGHT = [1, 4]
SCALES = ("none", "window", "recording", "trial", "train", "kind")


def store_of(folder: Path, *, off: tuple[str, ...] = (), gap: bool = False) -> Store:
    """Six recordings of three patients; in those that are `off`, the right device records nothing."""
    found = {}
    for number, name in enumerate("abcdef"):
        rng = np.random.default_rng(number)
        values = rng.standard_normal((400, 6)) @ rng.standard_normal((6, 6)) + 3 * rng.standard_normal(6)
        if gap:
            values[40:75, [0, 3]] = np.nan
        if name in off:
            values[:, RIGHT] = np.nan
        found[name] = Recording.from_array(name, f"p{number // 2}", 100.0, values, CHANNELS)
    dataset = Dataset(
        name="memory",
        modality="other",
        version="1",
        entries=lambda raw: [Entry(r.name, r.patient, r.session, r.source) for r in found.values()],
        read=lambda entry: found[entry.name],
        classes=(),
    )
    return build_store(dataset, None, folder, ACCEPT)


def windows_of(store: Store, scale: str = "none") -> Windows:
    cut = SlidingWindows(kind="sliding", length_s=0.5, step_s=0.5)
    table = derive_windows(store, cut, RecordingTrials(kind="recording"), most_missing=1.0)
    return Windows(store, table, scale, train=np.flatnonzero(table.patient < 2))  # type: ignore[arg-type]


def lacking(windows: Windows, *rules: MissingSpec) -> Windows:
    every = {"train": np.arange(len(windows))}
    return replace(windows, missing=taken_away(rules, windows.table, windows.store.channels, every, 0))


HALF = MissingSpec(device="right", share=0.5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("gap", [False, True])
def test_it_is_read_as_a_device_that_recorded_nothing(scale: str, gap: bool, tmp_path: Path) -> None:
    """Against a store whose recordings have a gap in place of the device: values, presence, scaler and embedding."""
    whole = lacking(windows_of(store_of(tmp_path / "whole", gap=gap), scale), HALF)
    off = tuple(np.array(list("abcdef"))[np.unique(whole.table.recording[whole.missing[:, 1]])])
    assert len(off) == 3
    other = windows_of(store_of(tmp_path / "off", off=off, gap=gap), scale)
    rows = np.random.default_rng(0).permutation(len(whole))
    np.testing.assert_array_equal(whole.table.rows, other.table.rows)
    x, expected = whole.batch(rows, CPU), other.batch(rows, CPU)
    np.testing.assert_allclose(x.x, expected.x, atol=1e-5)
    np.testing.assert_array_equal(x.present, expected.present)
    np.testing.assert_array_equal(whole.present(rows), other.present(rows))
    np.testing.assert_array_equal(whole.present(rows)[:, 1], ~whole.missing[rows, 1])
    assert (x.valid is None) == (expected.valid is None)
    if x.valid is not None:
        np.testing.assert_array_equal(x.valid, expected.valid)
    if scale in ("train", "kind"):
        np.testing.assert_allclose(whole.known.mean, other.known.mean, rtol=1e-6)
        np.testing.assert_allclose(whole.known.std, other.known.std, rtol=1e-6)
    spec = TypeAdapter(EncoderSpec).validate_python({"each": {"name": "tpn", "widths": [4, 4, 6]}, "fusion": "mean"})
    torch.manual_seed(0)
    model = Model(spec, n_chans=6, n_times=whole.n_times, sfreq=100.0, channels=whole.channels)
    one, two = (embed(model, windows, rows, device=CPU) for windows in (whole, other))
    np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_other_devices_and_other_windows_stay_as_they_are(scale: str, tmp_path: Path) -> None:
    plain = windows_of(store_of(tmp_path / "s"), scale)
    some = lacking(plain, MissingSpec(device="right", share=0.5, of="window"))
    rows = np.arange(len(plain))
    there = ~some.missing[:, 1]
    x, y = plain.arrays(rows), some.arrays(rows)
    assert not y[~there][:, RIGHT].any()
    assert x[~there][:, RIGHT].any()
    if scale == "kind":  # one number for all devices of a kind
        y = y * (some.known.std / plain.known.std)[:, None].astype(np.float32)
    others = [0, 2, 3, 5]
    np.testing.assert_allclose(x[:, others], y[:, others], rtol=1e-5, atol=1e-6)
    if scale != "train":  # the scaler of the device counts the windows that have it
        np.testing.assert_allclose(x[there], y[there], rtol=1e-5, atol=1e-6)
        return
    trained = np.intersect1d(some.train, np.flatnonzero(there))
    values = replace(plain, scale="none").read(trained)[..., RIGHT].reshape(-1, 2).astype(np.float64)
    np.testing.assert_allclose(some.known.mean[RIGHT], values.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(some.known.std[RIGHT], values.std(axis=0), rtol=1e-9)


def test_a_restriction_to_devices_keeps_what_each_lacks(tmp_path: Path) -> None:
    windows = lacking(windows_of(store_of(tmp_path / "s")), HALF, MissingSpec(device="left", share=0.5, of="window"))
    rows = np.arange(len(windows))
    for devices, numbers in ((("hip", "right"), [1, 2]), (("left",), [0]), (("hip",), [2])):
        some = replace(windows, devices=devices)
        np.testing.assert_array_equal(some.present(rows), ~windows.missing[:, numbers])
        mine = [i for i, channel in enumerate(windows.channels) if channel.device in devices]
        np.testing.assert_array_equal(some.arrays(rows), windows.arrays(rows)[:, mine])
        batch = some.batch(rows, CPU)
        none = windows.missing[:, numbers].all(axis=1)
        assert (batch.valid is None) == (not none.any())
        if batch.valid is not None:
            np.testing.assert_array_equal(batch.valid, np.repeat(~none[:, None], some.n_times, axis=1))
        assert (batch.present is None) == (not windows.missing[:, numbers].any())
    assert windows.lacking(np.flatnonzero(~windows.missing.any(axis=1))) is None


@pytest.mark.parametrize("scale", ["train", "kind"])
def test_a_device_that_no_training_window_has_is_not_fitted(scale: str, tmp_path: Path) -> None:
    whole = windows_of(store_of(tmp_path / "s"), scale)
    windows = replace(whole, devices=("right",), missing=np.zeros((len(whole), 3), np.bool_))
    windows.missing[windows.train, 1] = True
    assert windows.known.mean is not None
    np.testing.assert_array_equal(windows.known.mean, [0, 0])
    assert np.isfinite(windows.arrays(np.arange(len(windows)))).all()
