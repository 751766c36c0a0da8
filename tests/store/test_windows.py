"""Window tables against slow loops: where windows lie, their trials and labels, and what is left out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from biocl.errors import DataError, UsageError
from biocl.signals.recording import Events
from biocl.store.intervals import RR_NAMES
from biocl.store.spec import TrialsSpec, WindowsSpec
from biocl.store.store import Store
from biocl.store.table import WindowTable, read_table, write_table
from biocl.store.windows import derive_windows

BEATS = {"kind": "event", "events": "beat", "before_s": 0.3, "after_s": 0.5}  # 8 steps at 10 Hz


def derive(store: Store, windows: dict[str, Any], trials: dict[str, Any], *args: Any, **keys: Any) -> WindowTable:
    return derive_windows(
        store,
        TypeAdapter(WindowsSpec).validate_python(windows),
        TypeAdapter(TrialsSpec).validate_python(trials),
        *args,
        **keys,
    )


def columns(table: WindowTable, *names: str) -> list[tuple[int, ...]]:
    return [tuple(int(row[name]) for name in names) for row in table.rows]


def beats_at(*steps: int, labels: str = "") -> Events:
    """Beats at time steps of a recording of 10 Hz; one letter a label, '-' for none."""
    names = [label.replace("-", "") for label in labels] or [""] * len(steps)
    return Events.of("beat", np.array(steps) / 10, 0.0, names)


def test_windows_around_beats(make_store, make_recording) -> None:
    store = make_store(
        [
            make_recording("a", 50, events=beats_at(2, 3, 10, 20, 45, 46, labels="NNVNNN")),
            make_recording("b", 30, events=beats_at(15, 5, labels="VN"), patient="x", session="2"),
        ],
        classes=("N", "V"),
    )
    table = derive(store, BEATS, {"kind": "neighbours", "n_samples": 3})
    # Three steps before, five after: the first and the last beat of recording a have no room.
    assert columns(table, "recording", "start", "label", "trial") == [
        (0, 0, 0, 0),
        (0, 7, 1, 0),
        (0, 17, 0, 0),
        (0, 42, 0, 1),
        (1, 2, 0, 2),
        (1, 12, 1, 2),
    ]
    assert table.dropped == {"crosses an end of its recording": 2}
    assert set(table.rows["length"]) == {8} == set(table.rows["valid_length"])
    assert table.n_times == 8
    assert [table.names["patient"][code] for code in table.rows["patient"]] == ["p-a"] * 4 + ["x"] * 2
    assert [table.names["session"][code] for code in table.rows["session"]] == ["1"] * 4 + ["2"] * 2
    assert table.names["recording"] == ("a", "b")


def test_classes_choose_and_order(make_store, make_recording) -> None:
    store = make_store(
        [make_recording("a", 90, events=beats_at(10, 20, 30, 40, 50, labels="NVQ-V"))],
        classes=("N", "V", "Q"),
    )
    trials = {"kind": "neighbours", "n_samples": 2}
    table = derive(store, BEATS, trials, ["V", "N"])
    assert table.classes == ("V", "N")
    assert columns(table, "start", "label", "trial") == [(7, 1, 0), (17, 0, 0), (47, 0, 1)]
    assert table.dropped == {"without a label": 1, "label is none of the classes": 1}
    everything = derive(store, {**BEATS, "keep_unlabelled": True}, trials, ["V", "N"])
    assert everything.rows["label"].tolist() == [1, 0, -1, -1, 0]
    assert everything.dropped == {}
    assert derive(store, BEATS, trials).rows["label"].tolist() == [0, 1, 2, 1]
    assert derive(store, BEATS, trials, []).rows["label"].tolist() == [-1] * 5
    with pytest.raises(UsageError, match="No label is named 'X'"):
        derive(store, BEATS, trials, ["N", "X"])
    with pytest.raises(UsageError, match="twice"):
        derive(store, BEATS, trials, ["N", "N"])


def test_trials_that_events_mark(make_store, make_recording) -> None:
    events = Events.join(
        Events.of("trial", [0.0, 3.0, 8.0], [2.0, 4.0, 9.0], ["rest", "", "move"]),
        beats_at(9, 25, 35, 60, 90),
    )
    store = make_store(
        [make_recording("a", 100, events=events, labels={"label": "other"})],
        classes=("rest", "move", "other"),
    )
    sliding = {"kind": "sliding", "length_s": 1.5, "step_s": 1.0}
    table = derive(store, sliding, {"kind": "event", "events": "trial"})
    assert columns(table, "start", "label", "trial") == [
        (0, 0, 0),
        *((start, 2, 1) for start in (30, 40, 50)),  # the second trial has the recording's label
        (80, 1, 2),  # the third is cut at the recording's end
    ]
    around = derive(store, BEATS, {"kind": "event"})
    assert columns(around, "start", "label", "trial") == [(6, 0, 0), (32, 2, 1), (57, 2, 1), (87, 1, 2)]
    assert around.dropped == {"outside every trial": 1}
    one_each = derive(store, {"kind": "trial"}, {"kind": "event"})
    assert columns(one_each, "start", "length", "valid_length") == [(0, 40, 20), (30, 40, 40), (80, 40, 20)]
    cut = derive(store, {"kind": "trial", "length_s": 2.5, "short": "drop"}, {"kind": "event"})
    assert columns(cut, "start", "length", "valid_length") == [(30, 25, 25)]
    assert cut.dropped == {"shorter than a window": 2}


def test_sliding_windows_and_what_is_too_short(make_store, make_recording) -> None:
    store = make_store([make_recording("a", 50), make_recording("b", 9), make_recording("c", 20)])
    spec = {"kind": "sliding", "length_s": 2.0, "step_s": 1.5}
    table = derive(store, spec, {"kind": "recording"})
    assert columns(table, "recording", "start", "trial") == [(0, 0, 0), (0, 15, 0), (0, 30, 0), (2, 0, 1)]
    assert table.dropped == {"shorter than a window": 1}
    padded = derive(store, {**spec, "short": "pad"}, {"kind": "recording"})
    assert columns(padded, "recording", "start", "valid_length") == [
        (0, 0, 20),
        (0, 15, 20),
        (0, 30, 20),
        (1, 0, 9),
        (2, 0, 20),
    ]
    with pytest.raises(DataError, match=r"No window remains of 3 recordings \(shorter than a window: 3\)") as caught:
        derive(store, {**spec, "length_s": 6.0}, {"kind": "recording"})
    assert "short: pad" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stretches(make_store, make_recording) -> None:
    store = make_store([make_recording("a", 47), make_recording("b", 20)])
    table = derive(store, {"kind": "sliding", "length_s": 1.0, "step_s": 0.5}, {"kind": "stretch", "length_s": 2.0})
    assert columns(table, "recording", "start", "trial") == [
        *((0, start, 0) for start in (0, 5, 10)),
        *((0, start, 1) for start in (20, 25, 30)),
        (1, 0, 2),
        (1, 5, 2),
        (1, 10, 2),
    ]
    assert table.dropped == {"shorter than a window": 1}


def test_gaps_are_left_out_and_end_pseudo_trials(make_store, make_recording) -> None:
    gaps = Events.of("gap", [2.0, 6.0], [0.5, 0.1])
    events = Events.join(gaps, beats_at(5, 14, 18, 30, 40, 50, 58, 70, 80))
    store = make_store([make_recording("a", 100, events=events), make_recording("b", 100)])
    around = derive(store, BEATS, {"kind": "neighbours", "n_samples": 3})
    assert columns(around, "start", "trial") == [(2, 0), (11, 0), (27, 1), (37, 1), (47, 1), (67, 2), (77, 2)]
    assert around.dropped == {"touches a gap": 2}
    table = derive(store, {"kind": "sliding", "length_s": 1.0, "step_s": 1.0}, {"kind": "stretch", "length_s": 5.0})
    assert columns(table, "start", "trial")[:8] == [
        *((start, 0) for start in (0, 10)),
        *((start, 1) for start in (30, 40)),
        (50, 2),
        *((start, 3) for start in (70, 80, 90)),
    ]
    whole = derive(store, {"kind": "sliding", "length_s": 1.0, "step_s": 1.0}, {"kind": "recording"})
    assert len(np.unique(whole.rows["trial"])) == 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    beat_share=st.floats(0.05, 0.6),
    n_samples=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_neighbours_equal_a_slow_loop(make_store, make_recording, lengths, beat_share, n_samples, seed) -> None:
    rng = np.random.default_rng(seed)
    recordings = []
    for i, n in enumerate(lengths):
        at = np.flatnonzero(rng.random(n) < beat_share)
        labels = rng.choice(["N", "V", "Q", ""], len(at))
        recordings.append(make_recording(f"r{i}", n, events=Events.of("beat", at / 10, 0.0, labels)))
    expected, trial = [], -1
    for i, recording in enumerate(recordings):
        in_trial = n_samples
        for onset, label in zip(recording.events.onset_s, recording.events.label, strict=True):
            start = round(onset * 10) - 3
            if start < 0 or start + 8 > recording.n_times or label not in ("N", "V"):
                continue
            if in_trial == n_samples:
                trial, in_trial = trial + 1, 0
            in_trial += 1
            expected.append((i, start, "NV".index(label), trial))
    if not any(len(r.events) for r in recordings):
        return
    store = make_store(recordings, classes=("N", "V", "Q"))
    labels = {*store.event_labels}
    if not expected:
        with pytest.raises(DataError, match="No window remains"):
            derive(store, BEATS, {"kind": "neighbours", "n_samples": n_samples}, ["N", "V"])
        return
    table = derive(store, BEATS, {"kind": "neighbours", "n_samples": n_samples}, ["N", "V"])
    assert columns(table, "recording", "start", "label", "trial") == expected
    assert len(table) + sum(table.dropped.values()) == len(store.events)
    assert labels  # names of labels that occur


# --- RR intervals -----------------------------------------------------------------------------------------


def slow_rr(onsets: list[float]) -> np.ndarray:
    """The six columns of one recording without gaps, from their description."""
    rr = np.diff(onsets)
    median = float(np.median(rr)) if len(rr) else 1.0
    rows = []
    for i in range(len(onsets)):
        before = rr[i - 1] if i > 0 else median
        after = rr[i] if i < len(rr) else median
        around = rr[max(0, i - 5) : i + 5]
        local = float(np.mean(around)) if len(around) else median
        rows.append([before, after, before / median, after / median, before / local, after / local])
    return np.log(np.array(rows))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_rr_intervals_equal_a_slow_loop(make_store, make_recording, sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    onsets = [1 + np.cumsum(rng.uniform(0.3, 2.0, n)) for n in sizes]
    if not sum(sizes):
        return
    recordings = [make_recording(f"r{i}", 1000, events=Events.of("beat", onset)) for i, onset in enumerate(onsets)]
    store = make_store(recordings)
    table = derive(store, BEATS, {"kind": "recording"}, aux="rr-intervals")
    expected = np.concatenate([slow_rr(onset.tolist()).reshape(-1, 6) for onset in onsets])
    assert table.aux_names == RR_NAMES
    assert table.aux.dtype == np.float32
    np.testing.assert_allclose(table.aux, expected, atol=1e-5)


def test_rr_intervals_of_dropped_beats_count_and_those_across_gaps_do_not(make_store, make_recording) -> None:
    events = Events.join(beats_at(2, 10, 18, 50, 58, labels="NQNNN"), Events.of("gap", [3.0], [1.0]))
    store = make_store([make_recording("a", 100, events=events)], classes=("N", "Q"))
    table = derive(store, BEATS, {"kind": "recording"}, ["N"], "rr-intervals")
    assert table.rows["start"].tolist() == [15, 47, 55]
    np.testing.assert_allclose(np.exp(table.aux[:, :2]), [[0.8, 0.8], [0.8, 0.8], [0.8, 0.8]], rtol=1e-6)
    with pytest.raises(UsageError, match="kind event"):
        derive(
            store,
            {"kind": "sliding", "length_s": 1.0, "step_s": 1.0},
            {"kind": "recording"},
            aux="rr-intervals",
        )


# --- the table itself -------------------------------------------------------------------------------------


def test_take_digest_and_files(make_store, make_recording, tmp_path) -> None:
    store = make_store([make_recording("a", 200, events=beats_at(*range(10, 190, 9)))])
    table = derive(store, BEATS, {"kind": "neighbours"}, aux="rr-intervals")
    part = table.take(np.array([4, 1]))
    assert part.rows["start"].tolist() == [table.rows["start"][4], table.rows["start"][1]]
    assert np.array_equal(part.aux, table.aux[[4, 1]])
    assert len({table.digest(), part.digest(), table.take(np.array([1, 4])).digest()}) == 3
    write_table(table, tmp_path)
    back = read_table(tmp_path)
    assert back.digest() == table.digest()
    assert back.names == table.names
    assert back.dropped == table.dropped


def test_keys_that_do_not_go_together(make_store, make_recording) -> None:
    store = make_store([make_recording("a", events=beats_at(20, 30))])
    with pytest.raises(UsageError, match=r"data\.trials"):
        derive(store, {"kind": "trial"}, {"kind": "neighbours"})
    with pytest.raises(UsageError, match="Did you mean 'beat'"):
        derive(store, {**BEATS, "events": "beats"}, {"kind": "recording"})
    with pytest.raises(UsageError, match="of kind 'trial'"):
        derive(store, BEATS, {"kind": "event"})
    for windows in (
        {**BEATS, "after": 1.0},
        {"kind": "event"},
        {"kind": "sliding", "length_s": 0.0, "step_s": 1.0},
    ):
        with pytest.raises(ValidationError):
            TypeAdapter(WindowsSpec).validate_python(windows)


def test_110_000_beats_take_well_under_a_second(make_store, make_recording) -> None:
    onset = np.arange(1, 2300) * 0.7
    labels = np.random.default_rng(0).choice(["N", "S", "V"], len(onset))
    recordings = [make_recording(f"r{i}", 18_000, 1, events=Events.of("beat", onset, 0.0, labels)) for i in range(48)]
    store = make_store(recordings, classes=("N", "S", "V"))
    start = time.perf_counter()
    table = derive(store, BEATS, {"kind": "neighbours"}, aux="rr-intervals")
    assert time.perf_counter() - start < 1.0  # about 0.1 s where nothing else runs
    assert len(table) == 48 * 2299


def test_mitdb_beats(test_data, tmp_path) -> None:
    """Counts of the whole data set are those that PhysioNet's annotations give."""
    from biocl.datasets.mitdb import MITDB
    from biocl.store.build import build_store

    raw = test_data / "ecg" / "mitdb"
    entries = [entry for entry in MITDB.entries(raw) if entry.name in ("114", "201", "202")]
    store = build_store(MITDB, entries, tmp_path / "s")
    assert store.patient_names == ("114", "201+202")
    table = store.windows
    assert set(table.classes) <= set(MITDB.classes)
    assert len(table) + sum(table.dropped.values()) == 1879 + 1963 + 2136
    beats = store.windows.rows["recording"] == 0
    assert beats.sum() >= 1875
