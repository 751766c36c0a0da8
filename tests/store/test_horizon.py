"""Windows with a future: which there are, what it holds, and in which part of a split they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from biocl.config import load_experiment
from biocl.errors import DataError, UsageError
from biocl.signals.recording import Events, Recording
from biocl.splits.make import assign
from biocl.splits.split import Split
from biocl.store.spec import EventWindows, RecordingTrials, SlidingWindows, StretchTrials
from biocl.store.store import Store
from biocl.store.table import read_table, write_table
from biocl.store.windows import derive_windows
from biocl.training.data import Windows
from biocl.training.spec import AlignSpec
from tests.store.conftest import recording_of

CPU = torch.device("cpu")
WHOLE = RecordingTrials(kind="recording")


def sliding(length_s: float, horizon_s: float | None, step_s: float = 0.1) -> SlidingWindows:
    return SlidingWindows(kind="sliding", length_s=length_s, step_s=step_s, horizon_s=horizon_s)


@pytest.fixture
def store(make_store: Callable[..., Store]) -> Store:
    return make_store([recording_of("a", 100), recording_of("b", 37)])


def test_a_window_is_there_where_its_future_is(store: Store) -> None:
    table = derive_windows(store, sliding(1.0, 0.5), WHOLE)
    assert (table.n_times, table.horizon) == (10, 5)
    assert np.bincount(table.recording).tolist() == [100 - 15 + 1, 37 - 15 + 1]
    for row in (0, 85, 86, 108):
        signal = store.signals[store.offsets[table.recording[row]] :]
        at = table.start[row]
        windows = Windows(store, table, "none")
        np.testing.assert_array_equal(windows.future(np.array([row]))[0].T, signal[at + 10 : at + 15])
        np.testing.assert_array_equal(windows.read(np.array([row]))[0], signal[at : at + 10])


def test_the_future_stays_in_the_trial_and_off_gaps(make_store: Callable[..., Store]) -> None:
    base = recording_of("a", 100)
    values = base.read(0, 100).copy()
    values[50:52] = np.nan
    store = make_store([Recording.from_array("a", "p", 10.0, values, base.channels)])
    table = derive_windows(store, sliding(1.0, 0.5), StretchTrials(kind="stretch", length_s=4.0))
    ends = table.start + 15
    assert (table.start // 40 == (ends - 1) // 40).all()
    assert not ((table.start < 52) & (ends > 50)).any()
    assert table.dropped["its future touches a gap"] > 0
    kept = derive_windows(store, sliding(1.0, 0.5), StretchTrials(kind="stretch", length_s=4.0), most_missing=0.5)
    assert len(kept) > len(table)
    assert np.isfinite(Windows(store, kept, "none").future(np.arange(len(kept)))).all()


def test_an_event_has_a_window_where_its_future_is(make_store: Callable[..., Store]) -> None:
    base = recording_of("a", 100)
    values = base.read(0, 100).copy()
    values[50:52] = np.nan
    onsets = np.array([0.2, 1.0, 3.0, 4.0, 6.0, 8.7, 9.2, 9.6])  # 4.0 looks ahead into the gap, as far as 5.0
    events = Events.of("beat", onsets, label="n")
    store = make_store([Recording.from_array("a", "p", 10.0, values, base.channels, events=events)])
    around = EventWindows(kind="event", events="beat", before_s=0.3, after_s=0.5, horizon_s=0.6)
    table = derive_windows(store, around, WHOLE)
    assert (table.n_times, table.horizon) == (8, 6)
    assert table.start.tolist() == [7, 27, 57, 84]
    assert table.dropped == {
        "crosses an end of its recording": 2,
        "its future crosses an end of its recording": 1,
        "its future touches a gap": 1,
    }
    np.testing.assert_array_equal(Windows(store, table, "none").future(np.array([1]))[0].T, store.signals[35:41])
    without = derive_windows(store, around.model_copy(update={"horizon_s": None}), WHOLE)
    assert without.start.tolist() == [7, 27, 37, 57, 84, 89]


@pytest.mark.parametrize("scale", ["none", "window", "recording", "trial", "train", "kind"])
@pytest.mark.parametrize("align", [None, AlignSpec(kind="euclidean")])
def test_a_future_is_scaled_as_its_window_and_never_enters_it(
    store: Store, make_store: Callable[..., Store], scale: str, align: AlignSpec | None
) -> None:
    table = derive_windows(store, sliding(1.0, 0.5), StretchTrials(kind="stretch", length_s=2.5))
    train = np.flatnonzero(table.recording == 0)
    windows = Windows(store, table, scale, align, train=train)  # type: ignore[arg-type]
    rows = np.array([0, 7, len(table) - 1])
    x, future = windows.read(rows), windows.future(rows).transpose(0, 2, 1)
    raw = Windows(store, table, "none")
    both = np.concatenate([raw.read(rows), raw.future(rows).transpose(0, 2, 1)], axis=1)
    for i in range(len(rows)):
        # One affine map takes a window and its future to what is read.
        inputs = np.hstack([both[i, :10], np.ones((10, 1))])
        map_, *_ = np.linalg.lstsq(inputs.astype(np.float64), x[i].astype(np.float64), rcond=None)
        np.testing.assert_allclose(both[i, 10:] @ map_[:-1] + map_[-1], future[i], atol=2e-4)
    batch = windows.batch(rows, CPU)
    assert batch.future is not None
    np.testing.assert_array_equal(batch.future.numpy().transpose(0, 2, 1), future)
    assert batch.level is None


@pytest.mark.parametrize("how", ["instance", "last"])
def test_what_normalise_takes_out_can_be_put_back(store: Store, how: str) -> None:
    table = derive_windows(store, sliding(1.0, 0.5), WHOLE)
    rows = np.arange(len(table))[::7]
    plain = Windows(store, table, "none").batch(rows, CPU)
    batch = Windows(store, table, "none", normalise=how).batch(rows, CPU)  # type: ignore[arg-type]
    assert batch.level is not None
    mean, spread = batch.level
    assert torch.equal(batch.future, plain.future)  # type: ignore[arg-type]
    torch.testing.assert_close(batch.x * spread + mean, plain.x)
    if how == "last":
        assert (batch.x[:, :, -1] == 0).all()
    else:
        torch.testing.assert_close(batch.x.mean(dim=2), torch.zeros_like(mean[..., 0]), atol=1e-6, rtol=0)
        torch.testing.assert_close(batch.x.std(dim=2, correction=0), torch.ones_like(mean[..., 0]), atol=1e-4, rtol=0)


def test_padding_has_no_level(make_store: Callable[..., Store]) -> None:
    store = make_store([recording_of("a", 14)])
    cut = SlidingWindows(kind="sliding", length_s=2.0, step_s=1.0, short="pad")
    table = derive_windows(store, cut, WHOLE)
    for how in ("instance", "last"):
        batch = Windows(store, table, "none", normalise=how).batch(np.array([0]), CPU)  # type: ignore[arg-type]
        assert batch.level is not None
        signal = torch.from_numpy(np.array(store.signals[:14])).T
        wanted = signal.mean(dim=1) if how == "instance" else signal[:, -1]
        torch.testing.assert_close(batch.level[0][0, :, 0], wanted)
        assert (batch.x[:, :, 14:] == 0).all()


@pytest.mark.parametrize(("length", "horizon"), [(48, 24), (96, 48), (5, 30)])
def test_a_window_belongs_to_the_part_of_its_future(
    make_store: Callable[..., Store], length: int, horizon: int
) -> None:
    store = make_store([recording_of("a", 1742, sfreq=1.0)])
    table = derive_windows(store, sliding(length, horizon, 1), WHOLE)
    cuts = {"train": ((0.0, 864.0),), "validation": ((864.0, 1152.0),), "test": ((1152.0, 1440.0),)}
    split = Split("months", "time", dict.fromkeys(cuts, ("p-a",)), intervals={p: {"a": c} for p, c in cuts.items()})
    rows = assign(split, table)
    assert {part: len(found) for part, found in rows.items()} == {
        "train": 864 - length - horizon + 1,
        "validation": 288 - horizon + 1,
        "test": 288 - horizon + 1,
    }
    first = {part: int(table.start[found[0]]) for part, found in rows.items()}
    assert first == {"train": 0, "validation": 864 - length, "test": 1152 - length}
    assert int(table.start[rows["train"][-1]]) + length + horizon == 864
    scaled = Windows(store, table, "train", train=rows["train"])
    np.testing.assert_allclose(scaled.known.mean, store.signals[:864].mean(axis=0, dtype=np.float64), rtol=1e-10)
    np.testing.assert_allclose(scaled.known.std, store.signals[:864].astype(np.float64).std(axis=0), rtol=1e-10)


def test_a_future_that_no_recording_holds_is_named(store: Store) -> None:
    with pytest.raises(DataError, match="a window is 1 s with 1000 s behind it"):
        derive_windows(store, sliding(1.0, 1000.0), WHOLE)


def test_a_table_on_disk_keeps_its_horizon(store: Store, tmp_path: Path) -> None:
    table = derive_windows(store, sliding(1.0, 0.5), WHOLE)
    write_table(table, tmp_path)
    assert read_table(tmp_path).horizon == 5
    other = derive_windows(store, sliding(1.0, 0.4), WHOLE)
    assert other.take(np.arange(10)).digest() != table.take(np.arange(10)).digest()


def test_refusals() -> None:
    with pytest.raises(ValidationError, match="short: drop"):
        SlidingWindows(kind="sliding", length_s=1, step_s=1, horizon_s=1, short="pad")
    keys = [
        "data.windows={kind: sliding, length_s: 1, step_s: 1, horizon_s: 1}",
        "split={kind: random, scope: time}",
        "batch={kind: random, size: 8}",
    ]
    with pytest.raises(UsageError, match="puts a mean over the test part into every training window: use train"):
        load_experiment(Path("comet"), keys)
