"""What a split lets through: patients in two parts, windows that overlap or touch, classes that go with a site."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from biocl.errors import LeakageError, UsageError
from biocl.splits.confounding import Recorded, classes_of_recordings, confounded
from biocl.splits.file import splits_from_json
from biocl.splits.findings import Finding, merged
from biocl.splits.leaks import Sides, left_out, overlaps, patients_in_two_parts, small_gaps, used
from biocl.splits.split import GivenSplit, Split
from biocl.store.table import ROW, WindowTable


def table(step: int = 10, n: int = 30, classes: tuple[str, ...] = ("a", "b")) -> WindowTable:
    """Four patients with one recording each of `n` windows of 10 steps, three windows a trial, at 10 Hz."""
    rows = np.zeros(4 * n, ROW)
    rows["recording"] = rows["patient"] = np.repeat(np.arange(4), n)
    rows["trial"] = np.arange(4 * n) // 3
    rows["start"] = np.tile(np.arange(n) * step, 4)
    rows["length"] = rows["valid_length"] = 10
    rows["label"] = np.arange(4 * n) % 2 if classes else -1
    names = {
        "recording": tuple(f"r{i}" for i in range(4)),
        "patient": tuple(f"p{i}" for i in range(4)),
        "session": ("1",),
        "label": classes,
    }
    return WindowTable(rows, names, 10.0, np.empty((4 * n, 0), np.float32))


def given(scope: str = "patient", **fold: Any) -> Split:
    keys = {"allow_shared": fold.pop("allow_shared", [])}
    return splits_from_json({"name": "s", "scope": scope, "folds": [fold], **keys}, "here", GivenSplit)[0]


def test_every_patient_on_two_sides_is_named() -> None:
    split = given(train=["p0", "p1", "p2"], validation=["p1"], test=["p2", "p3"])
    found = patients_in_two_parts(split)
    assert [(one.level, one.who) for one in found] == [("leak", ("p1",)), ("leak", ("p2",))]
    assert "train and in test" in found[1].what
    assert [one.who for one in overlaps(split, table(), used(split, table()))] == [("r2",), ("r1",)]
    with pytest.raises(LeakageError):
        Split("s", "patient", {part: split.parts[part] for part in split.parts})


def test_an_allowed_patient_is_a_leak_all_the_same() -> None:
    only = {"train": {"p0": ["r0"]}, "test": {"p0": ["r9"]}}
    found = patients_in_two_parts(given(train=["p0"], test=["p0"], only=only, allow_shared=["p0"]))
    assert found[0].level == "leak"
    assert "train (recording r0) and in test (recording r9), which the split allows" in found[0].what


def test_a_sound_split_has_nothing() -> None:
    split = given(train=["p0", "p1"], validation=["p2"], test=["p3"])
    rows = used(split, table())
    assert patients_in_two_parts(split) == []
    assert overlaps(split, table(), rows) == small_gaps(split, table(), rows) == []
    assert {part: len(mine) for part, mine in rows.items()} == {"train": 60, "validation": 30, "test": 30}


@pytest.mark.parametrize(
    ("border", "after", "kind"), [(15.0, 12.0, "overlap"), (15.0, 15.0, "gap"), (15.0, 15.5, "gap"), (15.0, 16.0, "")]
)
def test_borders_in_time_need_a_window_between_them(border: float, after: float, kind: str) -> None:
    intervals = {"train": {"r0": [[0.0, border]]}, "test": {"r0": [[after, 30.0]]}}
    split, windows = given("time", train=["p0"], test=["p0"], intervals=intervals), table(step=5, n=60)
    rows = used(split, windows)
    found = [*overlaps(split, windows, rows), *small_gaps(split, windows, rows)]
    assert any(one.level == "leak" and "share samples" in one.what for one in found) == (kind == "overlap")
    assert any(one.level == "leak" and "less than one window" in one.what for one in found) == (kind != "")
    series = table(step=5, n=60, classes=())
    notes = small_gaps(split, series, used(split, series))
    assert {one.level for one in notes} == ({"note"} if kind else set())


def test_trials_on_two_sides_and_windows_that_reach_into_the_next() -> None:
    windows = table(step=5)
    halves = {"train": {"r0": [0, 1, 2, 3, 4]}, "test": {"r0": [5, 6, 7, 8, 9]}}
    split = given("trial", train=["p0"], test=["p0"], trials=halves)
    assert overlaps(split, windows, used(split, windows)) == []
    assert left_out(split, windows) == 1
    halves["train"]["r0"].append(7)
    shared = given("trial", train=["p0"], test=["p0"], trials=halves)
    found = overlaps(shared, windows, used(shared, windows))
    assert [(one.level, one.who) for one in found] == [("leak", ("r0",))]
    assert [one.level for one in patients_in_two_parts(shared)] == ["note"]


def test_what_is_no_split_is_still_refused() -> None:
    with pytest.raises(UsageError, match="listed twice in train"):
        given(train=["p0", "p0"], test=["p1"])


def test_sides_tell_recordings_and_stretches_apart() -> None:
    windows = table()
    split = given(train=["p0", "p1"], validation=["p2"], test=["p3"])
    sides = Sides.of(split, windows, used(split, windows))
    assert sides.apart(["r0"], ["r3"]) == "train and test"
    assert sides.apart(["r2"], ["r3"]) == "validation and test"
    assert sides.apart(["r0"], ["r1"]) == ""
    assert sides.stretches_apart(windows, ("r0", 5, 25), ("r3", 50, 70)) == "train and test"
    assert sides.stretches_apart(windows, ("r0", 5, 25), ("r3", 300, 320)) == ""  # behind the last window
    encoder = Sides("encoder", {"pretraining": frozenset({"r0"}), "test": frozenset({"r3"})})
    assert encoder.apart(["r0"], ["r3"]) == "pretraining and test"
    assert encoder.apart(["r1"], ["r3"]) == ""


def test_findings_of_several_folds_are_one() -> None:
    same = [Finding("leak", ("p0",), f"split s, fold {n}: train and test", "what", "fix") for n in range(3)]
    assert [one.where for one in merged(same)] == ["split s, fold 0: train and test, and in 2 more"]
    assert len(merged([*same, Finding("note", ("p0",), "split s, fold 0", "what", "fix")])) == 2


@pytest.mark.parametrize(("places", "warned"), [("AABB", True), ("AAAB", False), ("ABAB", False), ("AAAA", False)])
def test_a_site_that_tells_the_class(places: str, warned: bool) -> None:
    classes = dict(enumerate(["ill", "ill", "well", "well"]))
    said, finding = confounded(Recorded("site", "hospital", dict(enumerate(places))), classes, "store s")
    assert "label hospital" in said
    assert (finding is not None) == warned
    if finding is not None:
        assert finding.level == "warning"
        assert "A has 2 ill; B has 2 well" in finding.what


def test_only_recordings_of_one_class_count() -> None:
    windows = table()
    assert classes_of_recordings(windows) == {}
    windows.rows["label"] = np.where(windows.rows["recording"] < 2, 0, 1)
    windows.rows["label"][0] = -1
    assert classes_of_recordings(WindowTable(windows.rows, windows.names, 10.0, windows.aux)) == {
        0: "a",
        1: "a",
        2: "b",
        3: "b",
    }
