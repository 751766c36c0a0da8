"""Numbers beside windows: against loops over beats, labels that are none, and where in its trial a window lies."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from biocl.datasets.dataset import Entry
from biocl.errors import DataError, UsageError
from biocl.signals.recording import Events
from biocl.store.spec import TargetSpec, TrialsSpec, WindowsSpec
from biocl.store.store import Store
from biocl.store.table import WindowTable, read_table, write_table
from biocl.store.targets import describe_target, number_in, numeric_labels, with_target
from biocl.store.windows import derive_windows

RECORDINGS = {"kind": "recording"}
FIVE_S = {"kind": "sliding", "length_s": 5.0, "step_s": 2.5, "keep_unlabelled": True}
HEART_RATE = {"kind": "heart-rate"}


def derived(
    store: Store,
    target: dict[str, Any],
    windows: dict[str, Any] = FIVE_S,
    trials: dict[str, Any] = RECORDINGS,
    **keys: Any,
) -> WindowTable:
    cut, stretches = TypeAdapter(WindowsSpec).validate_python(windows), TypeAdapter(TrialsSpec).validate_python(trials)
    table = derive_windows(store, cut, stretches, **keys)
    return with_target(store, table, TypeAdapter(TargetSpec).validate_python(target), stretches)


def beats(*onset_s: float) -> Events:
    return Events.of("beat", np.array(onset_s), 0.0, ["N"] * len(onset_s))


def loop_over_beats(store: Store, table: WindowTable) -> list[float]:
    """Sixty over the mean of the intervals between neighbouring beats of which neither lies outside the window."""
    found = []
    for row in table.rows:
        mine = store.events[store.events["recording"] == row["recording"]]
        kind = np.array(store.event_kinds)[mine["kind"]]
        low, high = row["start"], row["start"] + row["valid_length"]
        onsets = [t for t in sorted(mine["onset_s"][kind == "beat"]) if low <= round(t * store.sfreq) < high]
        gaps = mine["onset_s"][kind == "gap"]
        apart = [b - a for a, b in pairwise(onsets) if not any(a <= gap < b for gap in gaps)]
        found.append(60 / (sum(apart) / len(apart)) if len(apart) >= 2 else math.nan)
    return found


def test_heart_rate_of_known_beats(make_store, make_recording) -> None:
    regular = beats(*np.arange(0.5, 10, 0.8))
    store = make_store(
        [
            make_recording("a", 100, events=regular),
            make_recording("b", 100, events=beats(0.0, 1.0, 3.0, 6.0, 7.0)),
            make_recording("c", 50),
        ]
    )
    table = derived(store, HEART_RATE)
    assert table.target is not None
    assert table.target.dtype == np.float32
    assert table.target_name == "heart rate [1/min]"
    # b: beats at 0, 1, 3 s in the first window, at 3, 6, 7 s in the second, at 6, 7 s in the third; c has none.
    np.testing.assert_allclose(table.target, [75, 75, 75, 40, 30, math.nan, math.nan], rtol=1e-6)


def test_beats_of_other_recordings_and_behind_the_end_do_not_count(make_store, make_recording) -> None:
    late = beats(0.1, 0.2, 6.0, 7.0, 8.0)  # the last three behind the end, in the place of recording b
    store = make_store([make_recording("a", 50, events=late), make_recording("b", 50, events=beats(1, 2, 3))])
    table = derived(store, HEART_RATE)
    np.testing.assert_allclose(table.target, [math.nan, 60], rtol=1e-6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.integers(0, 199), min_size=0, max_size=60, unique=True), min_size=1, max_size=3),
    st.lists(st.integers(0, 199), max_size=3),
)
def test_heart_rate_is_the_loop(make_store, make_recording, steps: list[list[int]], missing: list[int]) -> None:
    recordings = []
    for number, at in enumerate(steps):
        one = make_recording(str(number), 200, events=beats(*(np.array(sorted(at)) / 10)))
        signal = np.array(one.read(0, 200))
        signal[[step for step in missing if number == 0]] = np.nan
        recordings.append(replace(one, read=lambda start, stop, signal=signal: signal[start:stop]))
    store = make_store(recordings)
    windows = {**FIVE_S, "length_s": 6.0, "step_s": 0.7, "short": "pad"}
    cut, trials = TypeAdapter(WindowsSpec).validate_python(windows), TypeAdapter(TrialsSpec).validate_python(RECORDINGS)
    table = derive_windows(store, cut, trials, most_missing=1.0)
    expected = np.array(loop_over_beats(store, table))
    target = TypeAdapter(TargetSpec).validate_python(HEART_RATE)
    if "beat" not in store.event_kinds or not np.isfinite(expected).any():
        with pytest.raises((DataError, UsageError)):
            with_target(store, table, target, trials)
        return
    np.testing.assert_allclose(with_target(store, table, target, trials).target, expected, rtol=1e-5)


def aged(make_store, make_recording, ages: list[str | None], **keys: Any) -> Store:
    recordings = [make_recording(f"r{i}", 60, patient=f"p{i}") for i in range(len(ages))]
    labels = [{} if age is None else {"age": age, "site": "x"} for age in ages]
    entries = [Entry(r.name, r.patient, r.session, r.source, one) for r, one in zip(recordings, labels, strict=True)]
    return make_store(recordings, entries=lambda raw: entries, **keys)


def test_a_label_that_is_a_number(make_store, make_recording) -> None:
    store = aged(make_store, make_recording, ["40", " 61.5", ">89", None, "nan", "300"])
    table = derived(store, {"kind": "label", "name": "age"}, {**FIVE_S, "step_s": 5.0})
    np.testing.assert_array_equal(table.target, [40, 61.5, np.nan, np.nan, np.nan, 300])
    assert table.target_name == "age"
    bounded = derived(store, {"kind": "label", "name": "age", "range": [0, 120]}, {**FIVE_S, "step_s": 5.0})
    np.testing.assert_array_equal(bounded.target, [40, 61.5, np.nan, np.nan, np.nan, np.nan])
    spec = TypeAdapter(TargetSpec).validate_python({"kind": "label", "name": "age", "range": [0, 120]})
    assert describe_target(store, bounded, spec) == {
        "name": "age",
        "mean": 50.75,
        "std": 10.75,
        "least": 40.0,
        "largest": 61.5,
        "known": 2,
        "unknown": 4,
        "no_numbers": {">89": 1, "nan": 1},
    }
    assert list(numeric_labels(store)) == ["age"]
    assert numeric_labels(store)["age"]["known"] == 3


@pytest.mark.parametrize(
    ("text", "value"), [("63", 63.0), ("-1e2", -100.0), (">89", math.nan), ("inf", math.nan), ("", math.nan)]
)
def test_what_is_a_number(text: str, value: float) -> None:
    assert number_in(text) == value or (math.isnan(value) and math.isnan(number_in(text)))
    assert math.isnan(number_in(None))


def test_share_of_a_trial_elapsed(make_store, make_recording) -> None:
    moves = Events.of("execution", np.array([1.0, 4.0]), np.array([2.0, 4.0]), ["correct", "fast"])
    store = make_store([make_recording("z", 50), make_recording("a", 100, events=moves)])
    windows = {"kind": "sliding", "length_s": 1.0, "step_s": 1.0, "keep_unlabelled": True}
    table = derived(store, {"kind": "elapsed"}, windows, {"kind": "event", "events": "execution"})
    np.testing.assert_allclose(table.target, [0.25, 0.75, 0.125, 0.375, 0.625, 0.875])
    whole = derived(store, {"kind": "elapsed"}, {**windows, "length_s": 5.0, "step_s": 5.0})
    np.testing.assert_allclose(whole.target, [0.25, 0.75, 0.5])
    stretches = derived(store, {"kind": "elapsed"}, windows, {"kind": "stretch", "length_s": 2.0})
    np.testing.assert_allclose(stretches.target, [0.25, 0.75] * 7 + [0.5])


def test_elapsed_in_trials_that_overlap(make_store, make_recording) -> None:
    moves = Events.of("execution", np.array([0.0, 2.0]), np.array([10.0, 2.0]), ["long", "short"])
    store = make_store([make_recording("a", 100, events=moves)])
    windows = {"kind": "trial", "length_s": 2.0, "keep_unlabelled": True}
    table = derived(store, {"kind": "elapsed"}, windows, {"kind": "event", "events": "execution"})
    np.testing.assert_allclose(table.target, [0.1, 0.5])
    late = derived(
        store,
        {"kind": "elapsed"},
        {"kind": "sliding", "length_s": 2.0, "step_s": 8.0, "keep_unlabelled": True},
        {"kind": "event", "events": "execution"},
    )
    np.testing.assert_allclose(late.target, [0.1, 0.5, 0.9])  # the last one began in no other


def test_the_target_goes_with_its_windows(make_store, make_recording, tmp_path) -> None:
    store = aged(make_store, make_recording, ["40", "61.5", ">89"])
    plain = derive_windows(
        store, TypeAdapter(WindowsSpec).validate_python(FIVE_S), TypeAdapter(TrialsSpec).validate_python(RECORDINGS)
    )
    table = derived(store, {"kind": "label"})
    assert plain.target is None
    assert plain.digest() == replace(table, target=None, target_name="").digest()
    assert len({plain.digest(), table.digest(), replace(table, target=table.target + 1).digest()}) == 3
    assert replace(table, target_name="years").digest() != table.digest()
    some = table.take(np.array([2, 0]))
    np.testing.assert_array_equal(some.target, [np.nan, 40])
    assert plain.take(np.array([0])).target is None
    for number, one in enumerate((table, plain)):
        (folder := tmp_path / f"table-{number}").mkdir()
        write_table(one, folder)
        again = read_table(folder)
        assert again.digest() == one.digest()
        assert again.target_name == one.target_name
        assert (again.target is None) == (one.target is None)


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ({"kind": "label", "name": "agee"}, UsageError, "Did you mean 'age'"),
        ({"kind": "label", "name": "site"}, DataError, "unknown of all 3 windows"),
        ({"kind": "label", "name": "age", "range": [0, 1]}, DataError, "data.target.range"),
        ({"kind": "heart-rate"}, UsageError, "no events of kind 'beat'"),
    ],
)
def test_what_cannot_be_a_target(make_store, make_recording, target: dict[str, Any], error: type, words: str) -> None:
    store = aged(make_store, make_recording, ["40", "61.5", ">89"])
    with pytest.raises(error, match=words) as raised:
        derived(store, target)
    assert raised.value.fix


def test_windows_too_short_for_three_beats(make_store, make_recording) -> None:
    store = make_store([make_recording("a", 100, events=beats(*np.arange(0.5, 9, 0.8)))])
    with pytest.raises(DataError, match="three beats"):
        derived(store, HEART_RATE, {**FIVE_S, "length_s": 1.0})


def test_neighbours_have_no_length_of_their_own(make_store, make_recording) -> None:
    store = make_store([make_recording("a", 100)])
    with pytest.raises(UsageError, match="trials that exist before"):
        derived(store, {"kind": "elapsed"}, FIVE_S, {"kind": "neighbours", "n_samples": 2})


def test_the_range_of_a_label_is_ordered() -> None:
    with pytest.raises(ValidationError, match="least, largest"):
        TypeAdapter(TargetSpec).validate_python({"kind": "label", "name": "age", "range": [90, 18]})
