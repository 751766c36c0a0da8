"""Devices that are missing from windows, and windows that hold one moment of every device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from biocl.encoders.spec import EncoderSpec
from biocl.objectives.model import Model
from biocl.signals.clock import TimedSignal, align
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.gather import gather
from biocl.store.presence import device_columns, device_presence, device_steps
from biocl.store.spec import NeighbourTrials, RecordingTrials, SlidingWindows, TrialWindows
from biocl.store.store import Store
from biocl.store.table import WindowTable
from biocl.store.windows import derive_windows
from biocl.training.data import Windows
from biocl.views.make import make_view
from biocl.views.spec import ViewSpec
from biocl.views.view import View

SFREQ = 10.0
DEVICES = ("wrist", "ankle")
CHANNELS = tuple(Channel(f"{device}-{axis}", "other", "NU", device) for device in DEVICES for axis in "xy")


def clocked(name: str, offset: float, patient: str, missing: tuple[float, float] | None = None) -> Recording:
    """A recording whose every value is ``offset + seconds``, so that a value tells recording and time.

    The ankle begins 0.4 s later, at a rate of its own, and has no samples from `missing` on to its end.
    """
    signals = []
    for device, rate, start in (("wrist", 10.0, 0.0), ("ankle", 10.43, 0.4)):
        time = start + np.arange(round(30 * rate)) / rate
        if device == "ankle" and missing is not None:
            time = time[(time < missing[0]) | (time > missing[1])]
        values = np.repeat(offset + time[:, None], 2, axis=1).astype(np.float32)
        signals.append(TimedSignal(device, time, values, [Channel(f"{device}-{axis}", "other", "NU") for axis in "xy"]))
    found = align(signals, SFREQ, span="union")
    return Recording.from_array(name, patient, SFREQ, found.values, found.channels)


def sliding(store: Store, most_missing: float | None = 1.0, **keys: object) -> WindowTable:
    windows = SlidingWindows.model_validate({"kind": "sliding", "length_s": 2.0, "step_s": 1.0, **keys})
    return derive_windows(store, windows, NeighbourTrials(kind="neighbours"), most_missing=most_missing)


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store(
        [
            clocked("a", 1000.0, "P1", missing=(10.0, 16.0)),
            clocked("b", 2000.0, "P1"),
            clocked("c", 3000.0, "P2", missing=(20.0, 60.0)),
        ]
    )


def slow_share(store: Store, table: WindowTable, index: int, columns: list[int]) -> float:
    """Of the window's own steps, those with a value in any of the columns, one after the other."""
    row = table.rows[index]
    first, n = int(row["start"] + row["valid_start"]), int(row["valid_length"])
    signal = store.signal(int(row["recording"]))[first : first + n]
    return sum(any(np.isfinite(float(signal[t, c])) for c in columns) for t in range(n)) / n


def test_columns_of_devices() -> None:
    assert device_columns(CHANNELS) == {"wrist": [0, 1], "ankle": [2, 3]}
    mixed = [CHANNELS[2], CHANNELS[0], CHANNELS[3]]
    assert device_columns(mixed) == {"ankle": [0, 2], "wrist": [1]}


@pytest.mark.parametrize("most_missing", [0.0, 0.25, 0.5, 1.0])
def test_presence_is_the_share_of_steps_with_a_value(store: Store, most_missing: float) -> None:
    table = sliding(store)
    indices = np.random.default_rng(0).permutation(len(table))
    found = device_presence(store, table, indices, most_missing=most_missing)
    assert found is not None
    for place, index in enumerate(indices):
        for device, columns in enumerate(device_columns(store.channels).values()):
            share = slow_share(store, table, int(index), columns)
            assert found[place, device] == (share > 0 and 1 - share <= most_missing), (index, device, share)
    assert found.any(axis=0).all()
    assert not found[:, 1].all()


def test_a_device_that_is_off_is_missing_and_the_other_is_there(store: Store) -> None:
    table = sliding(store)
    found = Windows(store, table, "none").present(np.arange(len(table)))
    inside_a = (table.recording == 0) & (table.start >= 102) & (table.start + 20 <= 158)
    after_c = (table.recording == 2) & (table.start >= 202)
    assert inside_a.sum() >= 3
    assert after_c.sum() >= 5
    assert (found[inside_a | after_c] == [True, False]).all()
    whole = (table.recording == 1) & (table.start > 5) & (table.start < 270)
    assert found[whole].all()


def test_every_device_of_a_window_has_its_subject_session_and_time(store: Store) -> None:
    """A window missing on one device moves nothing: what is there is of the row's recording and moment."""
    table = sliding(store)
    batch = gather(store, table, np.arange(len(table)))
    steps = device_steps(store, table, np.arange(len(table)))
    assert steps is not None
    offset = np.array([1000.0, 2000.0, 3000.0])[table.recording]
    expected = offset[:, None] + (table.start[:, None] + np.arange(table.n_times)) / SFREQ
    for device, columns in enumerate(device_columns(store.channels).values()):
        there = steps[:, device]
        for column in columns:
            assert np.allclose(batch[:, :, column][there], expected[there], atol=2e-3)
            assert (batch[:, :, column][~there] == 0).all()
    assert (~steps[:, 1]).sum() > 100


def test_by_default_a_window_that_one_device_lacks_is_left_out_of_all(store: Store) -> None:
    strict = sliding(store, most_missing=None)
    assert 0 < len(strict) < len(sliding(store))
    assert strict.dropped["touches a gap"] > 5
    assert device_presence(store, strict, np.arange(len(strict))) is None
    assert device_steps(store, strict, np.arange(len(strict))) is None
    batch = gather(store, strict, np.arange(len(strict)))
    assert np.allclose(batch[:, :, 0], batch[:, :, 2], atol=2e-3)
    assert Windows(store, strict, "none").present(np.arange(3)).tolist() == [[True, True]] * 3


def test_a_device_with_one_channel_left_is_there(make_store: Callable[..., Store]) -> None:
    signal = np.random.default_rng(0).standard_normal((100, 4))
    signal[:, 3] = np.nan
    signal[40:60, 0] = np.nan
    signal[50:60, 1] = np.nan
    store = make_store([Recording.from_array("a", "P", SFREQ, signal, CHANNELS)])
    table = sliding(store, step_s=2.0)
    steps = device_steps(store, table, np.arange(5))
    assert steps is not None
    assert steps[:, 1].all()
    assert steps[2, 0].tolist() == [True] * 10 + [False] * 10
    assert steps[[0, 1, 3, 4], 0].all()
    one = device_presence(store, table, np.arange(5), {"c": [3], "b": [1]}, most_missing=0.5)
    assert one is not None
    assert one.tolist() == [[False, True]] * 5


def test_padding_counts_neither_as_there_nor_as_missing(make_store: Callable[..., Store]) -> None:
    signal = np.ones((60, 4)) + np.arange(60)[:, None]
    signal[5:15, 2:] = np.nan
    lone = np.ones((15, 4)) + np.arange(15)[:, None]
    store = make_store([Recording.from_array(n, n, SFREQ, s, CHANNELS) for n, s in (("a", signal), ("b", lone))])
    windows = TrialWindows.model_validate({"kind": "trial", "length_s": 3.0})
    table = derive_windows(store, windows, RecordingTrials(kind="recording"), most_missing=1.0)
    steps = device_steps(store, table, np.array([1, 0]))
    assert steps is not None
    assert steps[0].tolist() == [[True] * 15 + [False] * 15] * 2
    assert device_presence(store, table, np.array([1]), most_missing=0.0) is None
    later = table.rows.copy()  # the signal stands at the end of the window, and its gap with it
    later["valid_start"], later["valid_length"] = 10, 20
    steps = device_steps(store, replace(table, rows=later), np.array([0]))
    assert steps is not None
    assert steps[0].tolist() == [[False] * 10 + [True] * 20, [False] * 15 + [True] * 15]
    found = device_presence(store, table, np.array([0, 1]), most_missing=0.2)
    assert found is not None
    assert found.tolist() == [[True, False], [True, True]]


def test_a_gap_of_one_device_stays_its_own_through_conditioning(make_store: Callable[..., Store]) -> None:
    """Filtering and resampling spread a gap over a few samples of its device, never to the other."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((1200, 4))
    signal[300:700, 2:] = np.nan
    conditioning = ConditioningSpec.model_validate(
        {"resample_hz": 20, "bandpass": {"high_hz": 8}, "nan": "keep", "flat": "keep", "range": "keep"}
    )
    store = make_store([Recording.from_array("a", "P", 40.0, signal, CHANNELS)], conditioning)
    table = sliding(store)
    found = device_presence(store, table, np.arange(len(table)))
    assert found is not None
    assert found[:, 0].all()
    missing = ~found[:, 1]
    start_s, stop_s = table.start / 20, (table.start + table.n_times) / 20
    assert missing[(start_s >= 7.5) & (stop_s <= 17.5)].all()
    assert not missing[(stop_s <= 6) | (start_s >= 19)].any()


def test_only_windows_that_touch_a_gap_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    table = sliding(store)
    read: list[int] = []

    class Counting(np.ndarray):
        def __getitem__(self, item: object) -> np.ndarray:  # type: ignore[override]
            found = np.asarray(super().__getitem__(item))  # type: ignore[index]
            read.append(len(found))
            return found

    object.__setattr__(store, "signals", np.asarray(store.signals).view(Counting))
    whole = np.flatnonzero((table.recording == 1) & (table.start > 5) & (table.start < 270))
    assert device_presence(store, table, whole) is None
    assert read == []
    device_presence(store, table, np.arange(len(table)))
    assert 0 < len(read) < len(table)


def test_presence_goes_with_the_batch(store: Store, tmp_path: Path) -> None:
    windows = Windows(store, sliding(store), "none")
    rows = np.array([40, 3, 12, 12])
    assert list(windows.device_columns) == ["wrist", "ankle"]
    batch = windows.batch(rows, torch.device("cpu"))
    present = torch.from_numpy(windows.present(rows))
    assert present.shape == (4, 2)
    absent = ~present[:, 1]
    assert absent.any()
    assert not batch.x[absent][:, 2:].any()
    assert batch.x[:, :2].flatten(1).any(dim=1).all()


def lacking(windows: Windows) -> np.ndarray:
    """Windows that the ankle lacks and the wrist has."""
    present = windows.present(np.arange(len(windows)))
    return np.flatnonzero(present[:, 0] & ~present[:, 1])


def test_a_missing_device_leaves_the_others_as_they_are(store: Store) -> None:
    """What the wrist says, how a view changes it and how it is scaled do not depend on whether the ankle is there."""
    windows = Windows(store, sliding(store), "recording")
    rows = lacking(windows)
    assert len(rows) > 3
    batch = windows.batch(rows, torch.device("cpu"))
    assert batch.valid is None or bool(batch.valid.all(dim=1).any())
    keys = {"each": {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6, "dropout": 0.0}}
    spec = TypeAdapter(EncoderSpec).validate_python(keys)
    model = Model(spec, n_chans=4, n_times=windows.n_times, sfreq=50.0, channels=windows.channels).eval()
    view = View(batch.x, valid=batch.valid, present=batch.present)
    wrist = model.latents(model.trunk(view), view).devices["wrist"].vec
    assert bool((wrist != 0).any(dim=1).all())
    for steps in ([{"jitter": 0.1}], [{"scale": 0.2}], ["device-dropout"]):
        chain = TypeAdapter(ViewSpec).validate_python(steps)
        out = make_view(view, chain, hidden_dim=None, generator=torch.Generator().manual_seed(0), signal=windows.signal)
        assert out.x[:, :2].square().sum() > 0.5 * batch.x[:, :2].square().sum()
        assert not out.x[:, 2:].any()
    every = np.arange(len(windows))
    for scale in ("train", "kind"):
        both = Windows(store, windows.table, scale, train=every).known
        alone = Windows(store, windows.table, scale, train=every, devices=("wrist",)).known
        assert both.mean is not None
        assert alone.mean is not None
        if scale == "train":
            np.testing.assert_allclose(both.mean[:2], alone.mean, rtol=1e-9)
            np.testing.assert_allclose(both.std[:2], alone.std, rtol=1e-9)


def test_a_device_alone_knows_that_it_is_missing(store: Store) -> None:
    windows = Windows(store, sliding(store), "recording", devices=("ankle",))
    rows = lacking(Windows(store, windows.table, "recording"))
    batch = windows.batch(rows, torch.device("cpu"))
    assert batch.present is not None
    assert batch.present.shape == (len(rows), 1)
    assert not batch.present.any()
    spec = TypeAdapter(EncoderSpec).validate_python({"each": {"name": "tpn"}, "fusion": "mean"})
    model = Model(spec, n_chans=2, n_times=100, sfreq=50.0, channels=windows.channels).eval()
    assert not model(torch.randn(len(rows), 2, 100), None, batch.present).any()
