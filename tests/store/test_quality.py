"""Quality of a table's windows: pieces, memory on disk, thresholds, and windows that touch gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from biocl.errors import DataError, UsageError
from biocl.signals.quality import INDICES, Context, quality_indices
from biocl.signals.recording import Channel, Events, Recording
from biocl.store import quality
from biocl.store.gather import gather, valid_steps
from biocl.store.quality import (
    median_beat,
    remembered_quality,
    sampled,
    summarise,
    window_quality,
    within_thresholds,
)
from biocl.store.spec import EventWindows, NeighbourTrials, QualitySpec, RecordingTrials, SlidingWindows, TrialWindows
from biocl.store.store import Store
from biocl.store.table import WindowTable
from biocl.store.windows import derive_windows

SFREQ = 100.0
CHANNELS = [Channel("II", "ecg", "mV"), Channel("V1", "ecg", "mV")]
NEIGHBOURS = NeighbourTrials(kind="neighbours", n_samples=4)


def heart(name: str, seed: int, faults: bool = True) -> Recording:
    """A minute of beats in two leads; with a flat stretch and a clipped one in the second lead."""
    chance = np.random.default_rng(seed)
    at = np.arange(0.7, 59.0, 0.8)
    time = np.arange(6000) / SFREQ
    lead = sum(np.exp(-(((time - t) / 0.02) ** 2) / 2) for t in at)
    signal = np.stack([lead, -0.7 * lead], axis=1) + 0.02 * chance.standard_normal((6000, 2))
    if faults:
        signal[1000:1200, 1] = signal[1000, 1]
        signal[3000:3100, 1] = 1.0
        signal[3000:3100:2, 1] = 0.995  # near the rail, but it moves
    labels = np.where(np.arange(len(at)) % 3 == 0, "V", "N")
    return Recording.from_array(
        name, f"p-{name}", SFREQ, signal, CHANNELS, events=Events.of("beat", at, 0.0, labels), labels={"label": "a"}
    )


@pytest.fixture
def store(make_store) -> Store:
    return make_store([heart(name, i) for i, name in enumerate("abc")], classes=("N", "V"))


@pytest.fixture
def beats(store: Store) -> WindowTable:
    return derive_windows(store, EventWindows(kind="event", before_s=0.3, after_s=0.5), NEIGHBOURS)


def slide(store: Store, length_s: float = 2.0, **keys: object) -> WindowTable:
    windows = SlidingWindows(kind="sliding", length_s=length_s, step_s=length_s, keep_unlabelled=True)
    return derive_windows(store, windows, RecordingTrials(kind="recording"), classes=(), **keys)  # type: ignore[arg-type]


def slow(store: Store, table: WindowTable, row: int, aligned: bool) -> dict[str, np.ndarray]:
    """One window by itself, with its recording's statistics read anew."""
    number = int(table.recording[row])
    signal = np.array(store.signal(number))
    x = gather(store, table, np.array([row]))
    template = None
    if aligned:
        mine = np.flatnonzero(table.recording == number)
        template = np.nanmedian(gather(store, table, mine), axis=0)[None]
    context = Context(
        1e-3 * store.numbers["std"][number], np.nanmin(signal, axis=0), np.nanmax(signal, axis=0), template
    )
    found = quality_indices(x, store.sfreq, [c.kind for c in store.channels], context=context)
    return {name: values[0] for name, values in found.items()}


@pytest.mark.parametrize("aligned", [True, False])
def test_every_window_equals_a_slow_loop_whatever_the_pieces(
    store: Store, beats: WindowTable, aligned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = beats if aligned else slide(store, 4.0)
    whole = window_quality(store, table, aligned=aligned)
    assert list(whole) == list(INDICES)
    rows = np.arange(0, len(table), 7)
    for place, row in enumerate(rows):
        for name, values in slow(store, table, int(row), aligned).items():
            np.testing.assert_allclose(whole[name][row], values, rtol=1e-4, atol=1e-5, err_msg=f"{name} {place}")
    some = window_quality(store, table, rows, aligned=aligned)
    monkeypatch.setattr(quality, "PIECE_VALUES", 3 * table.n_times * 2)
    pieces = window_quality(store, table, aligned=aligned)
    for name in INDICES:
        np.testing.assert_array_equal(pieces[name], whole[name], err_msg=name)
        np.testing.assert_array_equal(some[name], whole[name][rows], err_msg=name)


def test_planted_faults_are_found_where_they_are(store: Store) -> None:
    table = slide(store)
    values = window_quality(store, table, aligned=False, names=["flat", "saturation"])
    flat = np.flatnonzero(values["flat"][:, 1] > 0.5)
    assert sorted(set(table.start[flat].tolist())) == [1000]
    assert len(flat) == 3
    assert not values["flat"][:, 0].any()
    assert not values["saturation"][:, 0].any()


def test_the_median_beat_is_that_of_at_most_a_hundred_windows(store: Store, beats: WindowTable) -> None:
    mine = np.flatnonzero(beats.recording == 1)
    assert len(mine) < quality.TEMPLATE_WINDOWS
    np.testing.assert_array_equal(median_beat(store, beats, 1), np.median(gather(store, beats, mine), axis=0))


def test_a_sample_is_drawn_by_its_seed(store: Store, beats: WindowTable, monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(sampled(beats, 2), np.arange(len(beats)))
    monkeypatch.setattr(quality, "SAMPLE_WINDOWS", 50)
    rows = sampled(beats, 2)
    assert len(np.unique(rows)) == 50
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, sampled(beats, 2))
    assert (sampled(beats, 2, seed=1) != rows).any()


# ------------------------------------------------------------------------------------------------ memory on disk


def test_quality_is_computed_once_and_read_again(
    store: Store, beats: WindowTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = remembered_quality(store, beats, aligned=True, names=["flat", "kurtosis"])
    places = sorted((store.path / "quality").iterdir())
    assert [place.name.rpartition("-")[2] for place in places] == ["flat.npy", "kurtosis.npy"]
    asked: list[list[str]] = []
    real = quality.window_quality

    def counted(*arguments: object, names: list[str], **keys: object) -> object:
        asked.append(names)
        return real(*arguments, names=names, **keys)  # type: ignore[arg-type]

    monkeypatch.setattr(quality, "window_quality", counted)
    again = remembered_quality(Store.open(store.path), beats, aligned=True, names=["flat", "kurtosis", "nan"])
    assert asked == [["nan"]]
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)
    places[0].write_bytes(places[0].read_bytes()[:-9])  # cut short: not believed
    np.testing.assert_array_equal(remembered_quality(store, beats, aligned=True, names=["flat"])["flat"], first["flat"])
    assert asked == [["nan"], ["flat"]]
    remembered_quality(store, beats.take(np.arange(10)), aligned=True, names=["flat"])  # another table
    assert asked[2:] == [["flat"]]


def test_a_store_that_cannot_be_written_to_is_read(
    store: Store, beats: WindowTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DataError("This place cannot be written to", store.path, "Choose another")

    monkeypatch.setattr(quality, "write_bytes", refuse)
    found = remembered_quality(store, beats, aligned=True, names=["flat"])
    assert found["flat"].shape == (len(beats), 2)
    assert not (store.path / "quality").exists()


# ------------------------------------------------------------------------------------------------------ thresholds


def test_no_threshold_leaves_the_table_alone(store: Store, beats: WindowTable) -> None:
    assert within_thresholds(store, beats, QualitySpec(), aligned=True) is beats
    assert within_thresholds(store, beats, QualitySpec(flat=1.0), aligned=True) is beats


def test_windows_beyond_are_left_out_and_counted_by_the_first_reason(store: Store, beats: WindowTable) -> None:
    values = window_quality(store, beats, aligned=True)
    spec = QualitySpec(flat=0.3, kurtosis=[6.0, None], template=0.9)
    kept = within_thresholds(store, beats, spec, aligned=True)
    flat = (values["flat"] > 0.3).any(axis=1)
    kurtosis = (values["kurtosis"] < 6).any(axis=1) & ~flat
    template = (values["template"] < 0.9).any(axis=1) & ~flat & ~kurtosis
    assert flat.sum() > 0
    assert kurtosis.sum() > 0
    expected = {"flat above 0.3": flat.sum(), "kurtosis below 6": kurtosis.sum(), "template below 0.9": template.sum()}
    assert kept.dropped == {**beats.dropped, **{reason: n for reason, n in expected.items() if n}}
    left = ~(flat | kurtosis | template)
    for name in ("recording", "start", "label", "patient"):
        np.testing.assert_array_equal(kept.rows[name], beats.rows[name][left])
    # Trials are numbered anew without holes; which windows share one does not change.
    old, new = beats.rows["trial"][left], kept.rows["trial"]
    np.testing.assert_array_equal(np.unique(new), np.arange(len(np.unique(old))))
    np.testing.assert_array_equal(np.unique(old, return_inverse=True)[1], new)
    assert len(beats) == left.sum() + sum(expected.values())


def test_when_nothing_remains_the_reasons_are_said(store: Store, beats: WindowTable) -> None:
    with pytest.raises(DataError, match=r"No window of .* is within data\.quality \(kurtosis below 1e\+06"):
        within_thresholds(store, beats, QualitySpec(kurtosis=[1e6, None]), aligned=True)


def test_a_threshold_that_would_do_nothing_is_refused(store: Store, beats: WindowTable) -> None:
    with pytest.raises(UsageError, match="applies to no window") as caught:
        within_thresholds(store, beats, QualitySpec(baseline=0.1), aligned=True)  # windows of 0.8 s
    assert "data.quality.baseline" in str(caught.value)


@pytest.mark.parametrize("keys", [{"flat": 1.2}, {"kurtosis": [5.0]}, {"kurtosis": [9.0, 5.0]}, {"line_noise": 0.0}])
def test_thresholds_have_their_ranges(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        QualitySpec.model_validate(keys)


def test_a_summary_says_what_is_usual(store: Store, beats: WindowTable) -> None:
    values = window_quality(store, beats, aligned=True)
    found = summarise(values, ["ecg", "ecg"])
    assert found["baseline"] == {"applicable": False}
    assert found["template"]["threshold"] == "at least 0.66"
    assert found["template"]["beyond"] == int((values["template"] < 0.66).any(axis=1).sum())
    present = values["kurtosis"][np.isfinite(values["kurtosis"])]
    np.testing.assert_allclose(
        [found["kurtosis"][key] for key in ("low", "median", "high")], np.percentile(present, [5, 50, 95]), rtol=1e-4
    )
    assert "threshold" not in summarise(values, ["eeg", "eeg"])["kurtosis"]


# ------------------------------------------------------------------------------------------------------------- gaps


@pytest.fixture
def holed(make_store) -> Store:
    """Gaps of 0.1 s in one channel from 3.0 s, of 1 s in both from 11.5 s, and to the end from 59.9 s."""
    recordings = []
    for number, name in enumerate("ab"):
        whole = heart(name, number, faults=False)
        signal = whole.signal().copy()
        signal[300:310, 0] = np.nan
        signal[1150:1250] = np.nan
        signal[5990:, 1] = np.nan
        recordings.append(Recording.from_array(name, whole.patient, SFREQ, signal, CHANNELS, events=whole.events))
    return make_store(recordings, classes=("N", "V"))


def test_windows_that_touch_a_gap_are_kept_by_their_share(holed: Store) -> None:
    none = slide(holed)
    assert none.dropped["touches a gap"] == 2 * 4
    assert not none.has_gaps
    few = slide(holed, most_missing=0.1)
    assert few.dropped["more than 0.1 of it in gaps"] == 2 * 2
    assert few.has_gaps
    share = np.array(
        [np.isnan(holed.signal(r)[s : s + 200]).any(axis=1).mean() for r, s in few.rows[["recording", "start"]]]
    )
    assert share.max() == 0.05
    assert len(slide(holed, most_missing=1.0)) == 60
    assert len(slide(holed, most_missing=0.0)) == len(none)
    assert not slide(holed, most_missing=0.0).has_gaps
    assert slide(holed, most_missing=0.0).digest() == none.digest()


@pytest.mark.parametrize("length_s", [0.37, 1.0, 5.3])
def test_the_share_in_gaps_equals_counting(holed: Store, length_s: float) -> None:
    every = slide(holed, length_s, most_missing=1.0)
    counted = np.array(
        [
            np.isnan(holed.signal(int(row["recording"]))[row["start"] : row["start"] + row["length"]])
            .any(axis=1)
            .mean()
            for row in every.rows
        ]
    )
    for most in (0.0, 0.01, 0.2, 0.5):
        kept = slide(holed, length_s, most_missing=most)
        assert len(kept) == (counted <= most).sum()


def test_trials_of_neighbours_still_end_at_a_gap(holed: Store) -> None:
    windows = SlidingWindows(kind="sliding", length_s=2.0, step_s=2.0, keep_unlabelled=True)
    table = derive_windows(holed, windows, NEIGHBOURS, classes=(), most_missing=1.0)
    trial = dict(
        zip(table.start[table.recording == 0].tolist(), table.trial[table.recording == 0].tolist(), strict=True)
    )
    assert trial[0] == trial[200]
    assert trial[200] != trial[400]  # the gap at 3 s lies between their beginnings
    assert trial[1000] != trial[1400]


@pytest.mark.parametrize("scale", ["none", "window", "recording"])
def test_missing_samples_are_gathered_as_zero_after_scaling(holed: Store, scale: str) -> None:
    table = slide(holed, most_missing=0.6)
    batch = gather(holed, table, np.arange(len(table)), scale)  # type: ignore[arg-type]
    for row, got in zip(table.rows, batch, strict=True):
        recording = holed.recordings[row["recording"]]
        x = holed.signal(int(row["recording"]))[row["start"] : row["start"] + 200].astype(np.float64)
        if scale != "none":
            mean, std = (
                (recording.mean, recording.std)
                if scale == "recording"
                else (np.nanmean(x, axis=0), np.nanstd(x, axis=0))
            )
            x = (x - mean) / std
        np.testing.assert_allclose(got, np.nan_to_num(x), atol=2e-5)


def test_missing_steps_are_masked_and_padding_too(holed: Store) -> None:
    table = slide(holed, most_missing=0.6)
    steps = valid_steps(holed, table, np.arange(len(table)))
    assert steps is not None
    for row, got in zip(table.rows, steps, strict=True):
        x = holed.signal(int(row["recording"]))[row["start"] : row["start"] + 200]
        np.testing.assert_array_equal(got, ~np.isnan(x).any(axis=1))
    whole = np.flatnonzero(steps.all(axis=1))
    assert valid_steps(holed, table, whole) is None
    long = TrialWindows(kind="trial", length_s=70.0, keep_unlabelled=True)
    padded = derive_windows(holed, long, RecordingTrials(kind="recording"), classes=(), most_missing=0.5)
    steps = valid_steps(holed, padded, np.array([1]))
    assert steps is not None
    np.testing.assert_array_equal(steps[0, :6000], ~np.isnan(holed.signal(1)).any(axis=1))
    assert not steps[0, 6000:].any()
    batch = gather(holed, padded, np.array([1]), "window")
    assert np.isfinite(batch).all()
    assert not batch[0, 6000:].any()
    assert abs(batch[0].sum(axis=0)).max() < 0.1
    assert valid_steps(holed, slide(holed), np.arange(3)) is None


def test_quality_of_windows_with_gaps(holed: Store) -> None:
    table = slide(holed, most_missing=0.6)
    missing = window_quality(holed, table, aligned=False, names=["nan"])["nan"]
    for row, got in zip(table.rows, missing, strict=True):
        x = holed.signal(int(row["recording"]))[row["start"] : row["start"] + 200]
        np.testing.assert_allclose(got, np.isnan(x).mean(axis=0), atol=1e-6)
    assert missing.max() == 0.25


def test_batches_carry_the_mask(holed: Store) -> None:
    import torch

    from biocl.training.data import Windows

    table = slide(holed, most_missing=0.6)
    windows = Windows(holed, table, "recording")
    batch = windows.batch(np.arange(len(table)), torch.device("cpu"))
    assert torch.isfinite(batch.x).all()
    assert batch.valid is not None
    np.testing.assert_array_equal(batch.valid.numpy(), valid_steps(holed, table, np.arange(len(table))))
    plain = Windows(holed, slide(holed), "recording")
    assert plain.batch(np.arange(3), torch.device("cpu")).valid is None


def test_the_configuration_leaves_windows_out(store: Store, tmp_path: Path) -> None:
    from biocl.commands.prepare import window_table
    from biocl.experiment import DataSpec

    keys = {
        "store": str(store.path),
        "windows": {"kind": "event", "before_s": 0.3, "after_s": 0.5},
        "trials": {"kind": "neighbours", "n_samples": 4},
    }
    every = window_table(store, DataSpec.model_validate(keys))
    fewer = window_table(store, DataSpec.model_validate({**keys, "quality": {"flat": 0.3, "nan": 0.0}}))
    assert fewer.dropped["flat above 0.3"] == len(every) - len(fewer) > 0
