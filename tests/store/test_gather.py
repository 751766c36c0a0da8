"""Gathering against slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from biocl.signals.recording import Events
from biocl.store.gather import gather, valid_steps
from biocl.store.spec import EventTrials, NeighbourTrials, RecordingTrials, SlidingWindows, TrialWindows
from biocl.store.store import Store
from biocl.store.table import WindowTable
from biocl.store.windows import derive_windows


def slow(store: Store, table: WindowTable, indices: np.ndarray, scale: str) -> np.ndarray:
    """One window after the other, in float64."""
    batch = []
    for row in table.rows[indices]:
        recording = store.recordings[row["recording"]]
        first, n = int(row["valid_start"]), int(row["valid_length"])
        begin = int(row["start"]) + first
        signal = store.signal(recording.name)[begin : begin + n].astype(np.float64)
        if scale != "none":
            mean, std = (recording.mean, recording.std) if scale == "recording" else (signal.mean(0), signal.std(0))
            signal = np.where(std > 0, (signal - mean) / np.where(std > 0, std, 1), 0)
        window = np.zeros((row["length"], signal.shape[1]))
        window[first : first + n] = signal
        batch.append(window)
    return np.array(batch)


@pytest.fixture
def store(make_store, make_recording) -> Store:
    trials = Events.of("trial", [0.0, 3.0, 9.0], [2.0, 5.0, 1.0])
    return make_store([make_recording(name, 150, 3, events=trials) for name in ("a", "b", "c")])


@pytest.mark.parametrize("scale", ["none", "window", "recording"])
def test_whole_windows(store: Store, scale: str) -> None:
    table = derive_windows(
        store, SlidingWindows(kind="sliding", length_s=2.0, step_s=0.7), NeighbourTrials(kind="neighbours")
    )
    indices = np.random.default_rng(0).integers(0, len(table), 50)
    batch = gather(store, table, indices, scale)
    assert batch.shape == (50, 20, 3)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert batch.flags.owndata or batch.base is None or batch.base.flags.owndata
    assert type(batch) is np.ndarray
    np.testing.assert_allclose(batch, slow(store, table, indices, scale), atol=2e-6)
    if scale == "none":
        assert np.array_equal(batch, slow(store, table, indices, scale).astype(np.float32))
    batch[:] = 0  # writing into it leaves the store alone
    assert gather(store, table, indices).any()


@pytest.mark.parametrize("scale", ["none", "window", "recording"])
def test_padded_windows(store: Store, scale: str) -> None:
    table = derive_windows(store, TrialWindows(kind="trial"), EventTrials(kind="event"))
    assert table.rows["valid_length"].tolist() == [20, 50, 10] * 3
    rows = table.rows.copy()
    rows["valid_start"][2] = 7  # padding on both sides
    table = WindowTable(rows, table.names, table.sfreq, table.aux)
    indices = np.array([2, 0, 1, 8, 5])
    batch = gather(store, table, indices, scale)
    np.testing.assert_allclose(batch, slow(store, table, indices, scale), atol=2e-6)
    assert not batch[0, :7].any()
    assert not batch[0, 17:].any()


def test_the_last_window_of_the_store_and_no_window(store: Store) -> None:
    table = derive_windows(
        store, SlidingWindows(kind="sliding", length_s=15.0, step_s=1.0), RecordingTrials(kind="recording")
    )
    assert np.array_equal(gather(store, table, np.array([2]))[0], store.signal("c"))
    assert gather(store, table, np.array([], int)).shape == (0, 150, 3)


def test_a_flat_channel_becomes_zero(make_store, make_recording) -> None:
    from dataclasses import replace

    recording = make_recording("a", 40)
    samples = recording.signal().copy()
    samples[:, 1] = 7.25
    store = make_store([replace(recording, read=lambda start, stop: samples[start:stop])])
    table = derive_windows(
        store, SlidingWindows(kind="sliding", length_s=1.0, step_s=1.0), RecordingTrials(kind="recording")
    )
    for scale in ("window", "recording"):
        batch = gather(store, table, np.arange(4), scale)
        assert not batch[..., 1].any()
        assert np.isfinite(batch).all()


def slow_with_gaps(store: Store, table: WindowTable, indices: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """Channel by channel, by what is present; and which steps hold a value in every channel."""
    n_chans = store.signals.shape[1]
    batch = np.zeros((len(indices), table.n_times, n_chans))
    present = np.zeros(batch.shape, bool)
    for i, row in enumerate(table.rows[indices]):
        recording = store.recordings[row["recording"]]
        signal = store.signal(recording.name).astype(np.float64)
        for step in range(int(row["valid_start"]), int(row["valid_start"] + row["valid_length"])):
            present[i, step] = np.isfinite(signal[row["start"] + step])
            batch[i, step] = signal[row["start"] + step]
        for c in range(n_chans):
            own = batch[i, present[i, :, c], c]
            if scale == "recording":
                own = (own - recording.mean[c]) / recording.std[c]
            elif scale == "window":
                own = (own - own.mean()) / own.std()
            batch[i, :, c] = 0
            batch[i, present[i, :, c], c] = own
    return batch, present.all(axis=2)


@pytest.mark.parametrize("scale", ["none", "window", "recording"])
@pytest.mark.parametrize("padding", [False, True])
def test_missing_samples_are_zero_and_count_in_no_statistic(
    make_store, make_recording, scale: str, padding: bool
) -> None:
    from dataclasses import replace

    def with_gaps(name: str):  # type: ignore[no-untyped-def]
        recording = make_recording(name, 120, 3)
        samples = recording.signal().copy() + 5
        samples[33:37, 1] = np.nan
        samples[70:73] = np.nan
        return replace(recording, read=lambda start, stop: samples[start:stop])

    store = make_store([with_gaps("a"), with_gaps("bb")])
    windows = SlidingWindows(kind="sliding", length_s=2.0, step_s=0.5)
    table = derive_windows(store, windows, RecordingTrials(kind="recording"), most_missing=0.9)
    assert table.has_gaps
    if padding:
        rows = table.rows.copy()
        rows["valid_start"][::2], rows["valid_length"][::2] = 3, 14
        table = replace(table, rows=rows)
    indices = np.random.default_rng(0).permutation(len(table))
    expected, steps = slow_with_gaps(store, table, indices, scale)
    np.testing.assert_allclose(gather(store, table, indices, scale), expected, atol=5e-6)
    np.testing.assert_array_equal(valid_steps(store, table, indices), steps)
    assert 0.5 < steps.mean() < 0.95
    whole = np.flatnonzero((table.start + 20 <= 33) & (table.rows["valid_length"] == 20))
    assert valid_steps(store, table, whole[:1]) is None
