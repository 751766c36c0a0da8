"""A channel that is predicted: no input knows of it, and it is read in its own unit, where it was recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import UsageError
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.spec import ChannelTarget, SlidingWindows, StretchTrials
from biocl.store.store import Store
from biocl.store.targets import target_column
from biocl.store.windows import derive_windows
from biocl.training.data import Windows
from biocl.training.spec import AlignSpec

CPU = torch.device("cpu")
SFREQ = 20.0
CHANNELS = (
    Channel("acc-x", "acc", "m/s2", "wrist"),
    Channel("angle", "acc", "m/s2", "wrist"),
    Channel("acc-y", "acc", "m/s2", "wrist"),
    Channel("gyr", "gyr", "deg/s", "ankle"),
    Channel("angle", "other", "deg", "knee"),
)
ACCEPT = ConditioningSpec(nan="keep", flat="keep", range="keep", units="file")


def recordings(target: np.random.Generator | None, column: int, gaps: bool) -> dict[str, Recording]:
    """Three patients; the predicted channel is another signal where a generator is given, with the same gaps."""
    rng = np.random.default_rng(0)
    found = {}
    for number, n_times in enumerate((190, 160, 200)):
        x = rng.normal(size=(n_times, len(CHANNELS))) * (1 + number) + np.arange(len(CHANNELS))
        if target is not None:
            x[:, column] = 50 + 9 * target.normal(size=n_times)
        if gaps:
            x[40:60] = np.nan
            x[100:108, column] = np.nan
            x[130:135, 0] = np.nan
        name = f"p{number}"
        found[name] = Recording.from_array(name, name, SFREQ, x.astype(np.float32), CHANNELS)
    return found


def store_of(folder: Path, found: dict[str, Recording], conditioning: ConditioningSpec = ACCEPT) -> Store:
    dataset = Dataset(
        name="traces",
        modality="imu",
        version="1",
        entries=lambda raw: [Entry(r.name, r.patient, r.session, r.source) for r in found.values()],
        read=lambda entry: found[entry.name],
        classes=(),
    )
    return build_store(dataset, None, folder, conditioning)


def windows_of(store: Store, column: int, *, gaps: bool, pad: bool = False, **keys: Any) -> Windows:
    cut = SlidingWindows(kind="sliding", length_s=0.8, step_s=0.5, short="pad" if pad else "drop")
    stretch = StretchTrials(kind="stretch", length_s=0.6 if pad else 2.4)
    table = derive_windows(store, cut, stretch, most_missing=0.6 if gaps else None)
    keys = {"scale": "none", "align": None, "train": np.flatnonzero(table.patient < 2), **keys}
    return Windows(store, table, target_column=column, **keys)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, bool], tuple[Store, Store]]:
    """Stores that differ in the signal of the predicted channel alone, by its column, with gaps and without."""
    folder = tmp_path_factory.mktemp("traces")
    return {
        (column, gaps): tuple(  # type: ignore[misc]
            store_of(folder / f"{column}-{gaps}-{i}", recordings(rng, column, gaps))
            for i, rng in enumerate((None, np.random.default_rng(7)))
        )
        for column in (1, 4)
        for gaps in (False, True)
    }


ALIGNS = [None, *(AlignSpec(kind="euclidean", mode=mode) for mode in ("inductive", "online", "transductive"))]  # type: ignore[arg-type]


@pytest.mark.parametrize(("column", "gaps"), [(1, False), (1, True), (4, True)])
@pytest.mark.parametrize("align", ALIGNS)
@pytest.mark.parametrize("scale", ["none", "window", "recording", "trial", "train", "kind"])
def test_no_input_changes_when_the_predicted_channel_does(
    pairs: dict[tuple[int, bool], tuple[Store, Store]], scale: str, align: AlignSpec | None, column: int, gaps: bool
) -> None:
    one, other = (
        windows_of(store, column, gaps=gaps, scale=scale, align=align, normalise="instance")
        for store in pairs[column, gaps]
    )
    rows = np.arange(len(one))
    a, b = one.batch(rows, CPU), other.batch(rows, CPU)
    assert a.trace is not None
    assert b.trace is not None
    assert not torch.allclose(a.trace, b.trace, equal_nan=True)
    for name, value in vars(a).items():
        if name == "trace" or value is None:
            assert name == "trace" or getattr(b, name) is None
            continue
        for first, second in zip(
            *(v if isinstance(v, tuple) else (v,) for v in (value, getattr(b, name))), strict=True
        ):
            assert torch.equal(first, second), name
    np.testing.assert_array_equal(one.present(rows), other.present(rows))
    for key, value in vars(one.known).items():
        np.testing.assert_array_equal(value, getattr(other.known, key))
    names = [channel.name for i, channel in enumerate(CHANNELS) if i != column]
    assert [channel.name for channel in one.channels] == names
    assert one.signal.channels == one.channels
    assert a.x.shape == (len(rows), 4, one.n_times)


def test_the_other_channels_are_read_as_without_a_target(pairs: dict[tuple[int, bool], tuple[Store, Store]]) -> None:
    for (column, gaps), (store, _) in pairs.items():
        windows = windows_of(store, column, gaps=gaps, scale="recording")
        rows = np.arange(len(windows))
        every = replace(windows, target_column=None).arrays(rows)
        np.testing.assert_array_equal(windows.arrays(rows), np.delete(every, column, axis=1))


def test_a_trace_is_in_its_own_unit_and_unknown_in_its_own_gaps(
    pairs: dict[tuple[int, bool], tuple[Store, Store]],
) -> None:
    for (column, gaps), (store, _) in pairs.items():
        windows = windows_of(store, column, gaps=gaps, scale="window", devices=("wrist",))
        begin = store.offsets[windows.table.recording] + windows.table.start
        expected = np.stack([store.signals[at : at + windows.n_times, column] for at in begin])
        rows = np.arange(len(windows))[::-1]
        np.testing.assert_array_equal(windows.trace(rows), expected[rows])
        assert np.isnan(expected).any() == gaps
        assert windows.target_name == ("angle [m/s2]" if column == 1 else "angle [deg]")
        assert windows.batch(rows, CPU, ahead=False).trace is None


def test_a_trace_is_unknown_on_padding(pairs: dict[tuple[int, bool], tuple[Store, Store]]) -> None:
    windows = windows_of(pairs[4, False][0], 4, gaps=False, pad=True)
    rows = np.arange(len(windows))
    valid = windows.valid_steps(rows)
    assert valid is not None
    assert not valid.all()
    np.testing.assert_array_equal(np.isfinite(windows.trace(rows)), valid)


def test_a_device_of_the_predicted_channel_alone_is_none_that_is_read(
    pairs: dict[tuple[int, bool], tuple[Store, Store]],
) -> None:
    store, _ = pairs[4, True]
    assert list(windows_of(store, 4, gaps=True).device_columns) == ["wrist", "ankle"]
    assert list(windows_of(store, 1, gaps=True).device_columns) == ["wrist", "ankle", "knee"]
    with pytest.raises(UsageError, match="only channel of knee"):
        windows_of(store, 4, gaps=True, devices=("knee",))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("angel", "no channel called 'angel'.*data.target.name.*Did you mean 'angle'"),
        ("angle", "several channels called 'angle'.*wrist/angle, knee/angle"),
    ],
)
def test_a_name_that_means_no_channel_or_several_is_refused(
    pairs: dict[tuple[int, bool], tuple[Store, Store]], name: str, said: str
) -> None:
    store, _ = pairs[1, False]
    with pytest.raises(UsageError, match=said):
        target_column(store, ChannelTarget(kind="channel", name=name))
    assert target_column(store, ChannelTarget(kind="channel", name="knee/angle")) == 4


def test_the_only_channel_cannot_be_predicted(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(100, 1)).astype(np.float32)
    found = {"a": Recording.from_array("a", "a", SFREQ, x, CHANNELS[:1])}
    with pytest.raises(UsageError, match="only channel, so there is nothing to predict it from"):
        target_column(store_of(tmp_path / "one", found), ChannelTarget(kind="channel", name="acc-x"))


@pytest.mark.parametrize(("reference", "refused"), [("average", True), (["Cz"], False), (["Pz", "Oz"], True)])
def test_a_channel_that_the_reference_put_into_all_others_is_refused(
    tmp_path: Path, reference: Any, refused: bool
) -> None:
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    channels = [*(Channel(name, "eeg", "uV") for name in ("Cz", "Pz", "Oz")), Channel("EOG", "eog", "uV")]
    found = {"a": Recording.from_array("a", "a", SFREQ, x, channels)}
    store = store_of(tmp_path / "eeg", found, ConditioningSpec(reference=reference, range="keep"))
    target = ChannelTarget(kind="channel", name="Pz")
    if refused:
        with pytest.raises(UsageError, match="part of the reference"):
            target_column(store, target)
    else:
        target_column(store, target)
    assert store.channels[target_column(store, ChannelTarget(kind="channel", name="EOG"))].name == "EOG"
