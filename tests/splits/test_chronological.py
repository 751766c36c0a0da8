"""Splits inside patients: the early trials train and the late are tested, or neighbouring trials are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from biocl.errors import UsageError
from biocl.splits.chronological import chronological_splits
from biocl.splits.file import read_splits, write_splits
from biocl.splits.make import assign, assign_and_count, make_splits
from biocl.splits.spec import SplitSpec
from biocl.splits.split import PARTS
from biocl.store.names import natural_key
from biocl.store.table import ROW, WindowTable

CHRONOLOGICAL: dict[str, Any] = {"kind": "chronological", "scope": "trial"}
K_FOLD: dict[str, Any] = {"kind": "chronological-k-fold", "scope": "trial"}


def parse(keys: dict[str, Any]) -> Any:
    return TypeAdapter(SplitSpec).validate_python(keys)


def table_of(
    trials: list[tuple[str, str, str, int, list[str | None]]], classes: tuple[str, ...] = ("L", "R"), seed: int = 0
) -> WindowTable:
    """Windows of 10 steps; a trial is (patient, session, recording, start, the labels of its windows).

    Rows, trials and names stand in a random order.
    """
    rng = np.random.default_rng(seed)
    columns = {key: [trial[i] for trial in trials] for i, key in enumerate(("patient", "session", "recording"))}
    names = {key: tuple(rng.permutation(sorted(set(values))).tolist()) for key, values in columns.items()}
    ids = rng.permutation(len(trials)) * 3
    rows = []
    for number, (patient, session, recording, start, labels) in zip(ids, trials, strict=True):
        codes = (names["recording"].index(recording), names["patient"].index(patient), names["session"].index(session))
        for w, label in enumerate(labels):
            rows.append((*codes, number, start + 10 * w, 10, 0, 10, -1 if label is None else classes.index(label)))
    return WindowTable(
        np.array(rows, ROW)[rng.permutation(len(rows))],
        {**names, "label": classes},
        10.0,
        np.empty((len(rows), 0), np.float32),
    )


def one_patient(labels: str, patient: str = "p", **keys: Any) -> WindowTable:
    return table_of([(patient, "1", patient, 10 * i, [None if c == "-" else c]) for i, c in enumerate(labels)], **keys)


def both(one: str, other: str) -> WindowTable:
    """Two patients, p2 and p10, each with trials of one window."""
    people = (("p10", other), ("p2", one))
    return table_of([(p, "1", p, 10 * i, [c]) for p, labels in people for i, c in enumerate(labels)])


@st.composite
def tables(draw: st.DrawFn) -> WindowTable:
    """Up to three patients with several sessions and recordings, 5 to 14 trials of each class, some without a label."""
    trials = []
    for patient in draw(st.lists(st.sampled_from(["p1", "p2", "p10", "a"]), min_size=1, max_size=3, unique=True)):
        counts = {name: draw(st.integers(5, 14)) for name in ("L", "R")} | {None: draw(st.integers(0, 7))}
        labels = draw(st.permutations([name for name, n in counts.items() for _ in range(n)]))
        n_recordings = draw(st.integers(1, 3))
        for i, label in enumerate(labels):
            number = i % n_recordings
            session, recording = str(12 - number), f"{patient}-run-{number * 7}"
            other = {"L": "R", "R": "L", None: None}[label]
            windows = draw(st.sampled_from([[label], [label, label], [label, other, label], [None, label]]))
            trials.append((patient, session, recording, 40 * i, windows))
    return table_of(trials, seed=draw(st.integers(0, 3)))


def time_of(table: WindowTable, rows: np.ndarray) -> dict[tuple[str, int], list[tuple[Any, ...]]]:
    """Of each patient and class, when the trials among `rows` are: session, recording, start, in order; a slow loop."""
    found: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
    for trial in np.unique(table.rows["trial"][rows]):
        mine = table.rows[table.rows["trial"] == trial]
        counts = [int((mine["label"] == k).sum()) for k in range(len(table.classes))]
        label = counts.index(max(counts)) if max(counts) else -1
        place = [natural_key(table.names[key][mine[key][0]]) for key in ("session", "recording")]
        found.setdefault((table.names["patient"][mine["patient"][0]], label), []).append((*place, mine["start"].min()))
    return {key: sorted(times) for key, times in found.items()}


@settings(max_examples=60, deadline=None)
@given(
    table=tables(),
    fractions=st.sampled_from([[0.8, 0.0, 0.2], [0.6, 0.2, 0.2], [0.5, 0.0, 0.5]]),
    per_patient=st.booleans(),
)
def test_all_training_is_before_all_testing(table: WindowTable, fractions: list[float], per_patient: bool) -> None:
    splits = make_splits(parse({**CHRONOLOGICAL, "fractions": fractions, "per_patient": per_patient}), table)
    whole = time_of(table, np.arange(len(table)))
    judged: list[str] = []
    for split in splits:
        parts = assign(split, table)
        train, validation, test = (time_of(table, parts[part]) for part in PARTS)
        for key in [key for key in whole if key[0] in split.parts["train"]]:
            if key[1] >= 0 or key in test:
                assert max(train[key]) < min(test[key])
                if fractions[1]:
                    assert max(train[key]) < min(validation[key]) <= max(validation[key]) < min(test[key])
                n = len(whole[key])
                assert abs(len(test[key]) - n * fractions[2]) < 1
                assert train[key] + validation.get(key, []) + test[key] == whole[key]
            else:
                assert train[key] == whole[key]  # unlabelled and too few: they train
        judged += split.parts["test"]
        assert not split.patient_independent
        assert "scope trial, NOT patient-independent" in split.stamp
    assert sorted(judged) == sorted({patient for patient, _ in whole})
    assert len(splits) == (len(set(judged)) if per_patient else 1)


@settings(max_examples=60, deadline=None)
@given(table=tables(), n_folds=st.integers(2, 5), per_patient=st.booleans(), validation=st.sampled_from([0.0, 0.25]))
def test_folds_are_runs_of_neighbours_and_stratified_to_within_a_trial(
    table: WindowTable, n_folds: int, per_patient: bool, validation: float
) -> None:
    keys = {**K_FOLD, "n_folds": n_folds, "per_patient": per_patient, "validation": validation}
    splits = make_splits(parse(keys), table)
    whole = time_of(table, np.arange(len(table)))
    tested: dict[tuple[str, int], list[list[Any]]] = {key: [] for key in whole}
    for split in splits:
        parts = assign(split, table)
        times = {part: time_of(table, parts[part]) for part in PARTS}
        for key, found in times["test"].items():
            tested[key].append(found)
            rest = [time for time in whole[key] if time not in found]
            late = times["validation"].get(key, [])
            n_late = max(1, round(validation * len(rest) + 1e-9)) if validation else 0
            assert abs(len(late) - n_late) <= 1
            assert times["train"][key] + late == rest
            assert len(late) > 0 or not validation
        if per_patient:
            assert {patient for part in PARTS for patient in split.parts[part]} == set(split.parts["test"])
            assert len(split.parts["test"]) == 1
    for (patient, label), runs in tested.items():
        if label < 0 and not runs:
            continue
        in_order = [time for run in runs for time in run]
        assert in_order == whole[patient, label]  # each trial once, and the runs are contiguous
        sizes = [len(run) for run in runs]
        assert max(sizes) - min(sizes) <= 1
        assert len(runs) == n_folds
    assert len(splits) == n_folds * (len({patient for patient, _ in whole}) if per_patient else 1)
    assert [split.fold for split in splits] == list(range(len(splits)))


def test_the_picture_in_the_docstring_is_what_happens() -> None:
    lines = [line.split() for line in str(chronological_splits.__doc__).splitlines()]
    drawn = [[word for word in words if word in ("tr", "te", "L", "R")] for words in lines]
    order, first, *folds = [words for words in drawn if len(words) == 10]
    table = one_patient("".join(order))
    splits = [*make_splits(parse(CHRONOLOGICAL), table), *make_splits(parse(K_FOLD), table)]
    assert len(folds) == 5
    for split, expected in zip(splits, [first, *folds], strict=True):
        test = assign(split, table)["test"]
        assert sorted(table.rows["start"][test] // 10) == [i for i, part in enumerate(expected) if part == "te"]


def test_a_trial_counts_as_one_of_most_of_its_windows() -> None:
    mixed = [("p", "1", "r", 100 * i, labels) for i, labels in enumerate([["L", "R", "R"], ["R"], ["L", None, None]])]
    mixed += [("p", "1", "r", 300, ["L", "R"])]  # of equals, the first class
    table = table_of(mixed)
    (split,) = make_splits(parse({**CHRONOLOGICAL, "fractions": [0.5, 0.0, 0.5]}), table)
    starts = table.rows["start"][assign(split, table)["test"]]
    assert sorted(starts // 100) == [1, 3, 3]


def test_pooled_folds_hold_everybody_and_own_folds_one_patient() -> None:
    table = both("LRLRLRLRLR", "RLRLRLRLRL")
    (pooled,) = make_splits(parse(CHRONOLOGICAL), table)
    assert pooled.parts == {"train": ("p2", "p10"), "validation": (), "test": ("p2", "p10")}
    own = make_splits(parse({**K_FOLD, "per_patient": True}), table)
    assert [split.parts["test"] for split in own] == [("p2",)] * 5 + [("p10",)] * 5
    assert own[0].name == "chronological-k-fold, per patient"
    parts, left_out = assign_and_count(own[7], table)
    assert {table.names["patient"][code] for code in table.rows["patient"][parts["train"]]} == {"p10"}
    assert left_out["in no part"] == 10


def test_windows_of_training_that_reach_into_a_tested_trial_are_dropped() -> None:
    trials = [("p", "1", "p", 6 * i, [label]) for i, label in enumerate("LLLLLRRRRR")]  # windows of 10 steps
    parts, left_out = assign_and_count(make_splits(parse(CHRONOLOGICAL), table_of(trials))[0], table_of(trials))
    assert left_out["overlaps another part"] == 3  # both neighbours of the last L, one of the last R
    assert len(parts["test"]) == 2


@pytest.mark.parametrize(
    "keys",
    [CHRONOLOGICAL, {**CHRONOLOGICAL, "per_patient": True}, K_FOLD, {**K_FOLD, "validation": 0.3, "per_patient": True}],
)
def test_files_come_back_as_they_were(keys: dict[str, Any], tmp_path: Path) -> None:
    table = both("LRLRLRLRLRLLL", "RLRLRLRLRLRRRR")
    splits = make_splits(parse(keys), table)
    write_splits(splits, tmp_path / "split.json")
    assert read_splits(tmp_path / "split.json") == splits
    again = make_splits(parse({"file": str(tmp_path / "split.json"), "scope": "trial"}), table)
    assert [split.stamp for split in again] == [split.stamp for split in splits]
    assert all(split.to_json()["scope"] == "trial" for split in again)


@pytest.mark.parametrize("kind", ["chronological", "chronological-k-fold"])
@pytest.mark.parametrize("scope", [{}, {"scope": "patient"}, {"scope": "time"}])
def test_another_scope_is_refused_in_one_sentence(kind: str, scope: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="write scope: trial") as refused:
        parse({"kind": kind, **scope})
    assert refused.value.error_count() == 1


@pytest.mark.parametrize(
    "keys",
    [
        {**CHRONOLOGICAL, "fractions": [0.8, 0.2, 0.0]},
        {**CHRONOLOGICAL, "seed": 1},
        {**CHRONOLOGICAL, "n_folds": 5},
        {**K_FOLD, "n_folds": 1},
        {**K_FOLD, "validation": 0.5},
        {**K_FOLD, "repeats": 2},
    ],
)
def test_wrong_keys(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(keys)


@pytest.mark.parametrize(
    ("keys", "labels", "words"),
    [
        (CHRONOLOGICAL, "LLLLLR", r"Patient 'p' has 1 trial of class 'R', too few"),
        (K_FOLD, "LLLLLRRRR", r"Patient 'p' has 4 trials of class 'R', too few .* Ask for fewer folds"),
        ({**K_FOLD, "n_folds": 2, "validation": 0.2}, "LLLLRR", r"Patient 'p' has 2 trials of class 'R', too few"),
        ({**CHRONOLOGICAL, "per_patient": True}, "LLLLLL", r"Patient 'p' has trials of one class only, 'L'"),
        ({**CHRONOLOGICAL, "per_patient": True}, "------", r"Patient 'p' has trials without a label only"),
    ],
)
def test_a_class_that_would_be_left_out_is_named(keys: dict[str, Any], labels: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        make_splits(parse(keys), one_patient(labels))
    assert re.search(words, refused.value.paragraph())


def test_a_class_that_a_patient_does_not_have_is_missed_by_nobody() -> None:
    table = both("L" * 10, "R" * 10)  # a pooled model may be trained on it, one of a single patient not
    (split,) = make_splits(parse(CHRONOLOGICAL), table)
    assert len(assign(split, table)["test"]) == 4
    with pytest.raises(UsageError, match="Patient 'p2' has trials of one class only"):
        make_splits(parse({**CHRONOLOGICAL, "per_patient": True}), table)


def test_without_classes_all_trials_are_cut_along_their_time() -> None:
    table = one_patient("----------", classes=())
    (split,) = make_splits(parse({**CHRONOLOGICAL, "per_patient": True}), table)
    assert sorted(table.rows["start"][assign(split, table)["test"]] // 10) == [8, 9]
    with pytest.raises(UsageError, match="Patient 'p' has 3 trials, too few"):
        make_splits(parse(K_FOLD), one_patient("---", classes=()))
