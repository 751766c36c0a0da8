"""Windows of some devices are those of all, without the other channels: values, statistics, gaps and fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import UsageError
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.gather import valid_steps
from biocl.store.spec import SlidingWindows, StretchTrials
from biocl.store.store import Store
from biocl.store.windows import derive_windows
from biocl.training.data import Windows
from biocl.training.spec import AlignSpec

CPU = torch.device("cpu")
ACCEPT = ConditioningSpec(nan="keep", flat="keep", range="keep")
# Neighbours in the store belong to different devices.
CHANNELS = [
    Channel("left-x", "acc", "m/s2", "left"),
    Channel("right-x", "acc", "m/s2", "right"),
    Channel("left-y", "acc", "m/s2", "left"),
    Channel("chest", "ecg", "mV", "chest"),
    Channel("right-y", "acc", "m/s2", "right"),
]
RIGHT_AND_LEFT = [0, 1, 2, 4]


@pytest.fixture(scope="module", params=["whole", "gaps"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three patients; ``gaps``: the chest lacks a stretch, and the right device another."""
    found = {}
    for patient in "abc":
        rng = np.random.default_rng(ord(patient))
        values = rng.standard_normal((400, 5)) @ rng.standard_normal((5, 5)) + rng.standard_normal(5)
        if request.param == "gaps":
            values[30:34, 3] = np.nan
            values[210:215, [1, 4]] = np.nan
        found[patient] = Recording.from_array(patient, patient, 100.0, values, CHANNELS)
    dataset = Dataset(
        name="memory",
        modality="other",
        version="1",
        entries=lambda raw: [Entry(r.name, r.patient, r.session, r.source) for r in found.values()],
        read=lambda entry: found[entry.name],
        classes=(),
    )
    return build_store(dataset, None, tmp_path_factory.mktemp("devices") / "s", ACCEPT)


def windows_of(store: Store, scale: str = "none", align: AlignSpec | None = None) -> Windows:
    cut = SlidingWindows(kind="sliding", length_s=0.5, step_s=0.35)
    table = derive_windows(store, cut, StretchTrials(kind="stretch", length_s=1.4), most_missing=0.5)
    return Windows(store, table, scale, align, train=np.flatnonzero(table.patient < 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", ["none", "window", "recording", "trial", "train"])
def test_the_channels_of_some_devices_are_those_of_all(store: Store, scale: str) -> None:
    every = windows_of(store, scale)
    some = replace(every, devices=("right", "left"))
    rows = np.arange(len(every))[::-1]
    assert (some.n_chans, every.n_chans) == (4, 5)
    assert [channel.name for channel in some.channels] == [CHANNELS[i].name for i in RIGHT_AND_LEFT]
    assert some.signal.channels == some.channels
    x = some.arrays(rows)
    assert x.shape == (len(rows), 4, every.n_times)
    np.testing.assert_array_equal(some.batch(rows, CPU).x.numpy(), x)
    np.testing.assert_array_equal(x, every.arrays(rows)[:, RIGHT_AND_LEFT])
    if scale != "train":
        return
    # The fitted scaler of a device counts the steps that this device has, whatever the others have.
    for name in ("right", "left"):
        plain = replace(some, scale="none", devices=(name,))
        mine = [i for i, channel in enumerate(some.channels) if channel.device == name]
        assert some.train is not None
        valid = plain.valid_steps(some.train)
        read = plain.read(some.train).astype(np.float64)
        # Each time step once, though windows overlap.
        seen = {
            (plain.table.recording[row], plain.table.start[row] + step): read[i, step]
            for i, row in enumerate(some.train)
            for step in range(plain.n_times)
            if valid is None or valid[i, step]
        }
        values = np.stack(list(seen.values()))
        assert len(values) < read.shape[0] * read.shape[1]
        assert some.known.mean is not None
        np.testing.assert_allclose(some.known.mean[mine], values.mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(some.known.std[mine], values.std(axis=0), rtol=1e-10)
        expected = (plain.arrays(rows) - values.mean(axis=0)[:, None]) / values.std(axis=0)[:, None]
        there = np.ones((len(rows), every.n_times), bool) if valid is None else plain.valid_steps(rows)
        found = x[:, mine]
        np.testing.assert_allclose(found.transpose(0, 2, 1)[there], expected.transpose(0, 2, 1)[there], atol=1e-5)


def test_only_their_own_gaps_count(store: Store) -> None:
    every = windows_of(store)
    rows = np.arange(len(every))
    if not every.table.has_gaps:
        assert replace(every, devices=("left",)).valid(rows, CPU) is None
        return
    assert replace(every, devices=("left",)).valid(rows, CPU) is None
    right = replace(every, devices=("right",)).valid(rows, CPU)
    assert right is not None
    chest = replace(every, devices=("chest",)).valid(rows, CPU)
    assert chest is not None
    both = valid_steps(store, every.table, rows)
    np.testing.assert_array_equal((right & chest).numpy(), both)
    assert 0 < (~right).sum() < (~both).sum()


def test_padded_windows(store: Store, tmp_path: Path) -> None:
    every = windows_of(store, "recording")
    rows = every.table.rows.copy()
    rows["valid_start"][::3], rows["valid_length"][::3] = 4, 20
    table = replace(every.table, rows=rows)
    assert table.has_padding
    every = replace(every, table=table)
    some = replace(every, devices=("right",))
    index = np.arange(len(every))
    np.testing.assert_array_equal(some.arrays(index), every.arrays(index)[:, [1, 4]])


def test_alignment_is_fitted_on_their_own_channels(store: Store) -> None:
    every = windows_of(store, "train", AlignSpec(kind="euclidean"))
    some = replace(every, devices=("left", "right"))
    assert some.known.mean is not None
    if not every.table.has_gaps:
        np.testing.assert_allclose(some.known.mean, every.known.mean[RIGHT_AND_LEFT])
    block = every.known.references[:, RIGHT_AND_LEFT][:, :, RIGHT_AND_LEFT]
    assert some.known.references.shape == (2, 4, 4)
    if not every.table.has_gaps:  # a step with a gap on another device counts here
        np.testing.assert_allclose(some.known.references, block, atol=1e-6)
    patient = every.table.patient
    for number in range(2):
        own = some.arrays(np.flatnonzero(patient == number)).astype(np.float64)
        if not every.table.has_gaps:
            own -= own.mean(axis=2, keepdims=True)
            covariance = np.mean([one @ one.T / (one.shape[1] - 1) for one in own], axis=0)
            np.testing.assert_allclose(covariance, np.eye(4), atol=1e-4)


def test_an_unknown_device_is_refused_by_the_names_there_are(store: Store) -> None:
    with pytest.raises(UsageError) as refusal:
        replace(windows_of(store), devices=("left", "wrist"))
    said = refusal.value.paragraph()
    assert "no device 'wrist'" in said
    assert "left, right, chest" in said
