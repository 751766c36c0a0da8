"""Splits: disjoint, complete, repeatable, readable as files, and strict about shared patients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import biocl
from biocl.errors import BioclError, DataError, LeakageError, UsageError
from biocl.files import write_json
from biocl.splits.file import read_splits, splits_from_json, write_splits
from biocl.splits.make import assign, assign_and_count, make_splits
from biocl.splits.spec import SplitSpec
from biocl.splits.split import PARTS, Split
from biocl.splits.stratify import deal_units, seats
from biocl.store.table import ROW, WindowTable

SFREQ = 10.0


def table_of(
    recordings: list[tuple[str, str, int]],
    length: int = 20,
    step: int = 10,
    n_per_trial: int = 3,
    labels: Any = None,
) -> WindowTable:
    """Sliding windows: (recording, patient, n_windows) each; labels as {patient: class}."""
    names = list(dict.fromkeys(patient for _, patient, _ in recordings))
    classes = sorted(set((labels or {}).values()))
    rows = []
    trial = 0
    for number, (_, patient, n_windows) in enumerate(recordings):
        for w in range(n_windows):
            trial += w % n_per_trial == 0
            label = classes.index(labels[patient]) if labels else -1
            rows.append((number, names.index(patient), 0, trial, w * step, length, 0, length, label))
    return WindowTable(
        np.array(rows, ROW),
        {
            "recording": tuple(r for r, _, _ in recordings),
            "patient": tuple(names),
            "session": ("1",),
            "label": tuple(classes),
        },
        SFREQ,
        np.empty((len(rows), 0), np.float32),
    )


def cohort(n_patients: int, n_windows: int = 12) -> WindowTable:
    """One recording a patient, two classes in the ratio 3:1."""
    return table_of(
        [(f"r{i}", f"p{i}", n_windows) for i in range(n_patients)],
        labels={f"p{i}": "ill" if i % 4 else "well" for i in range(n_patients)},
    )


def parse(keys: dict[str, Any]) -> Any:
    return TypeAdapter(SplitSpec).validate_python(keys)


def patients_in(table: WindowTable, rows: np.ndarray) -> set[str]:
    return {table.names["patient"][code] for code in np.unique(table.rows["patient"][rows])}


# --- drawn by patient -------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    n_patients=st.integers(5, 40),
    kind=st.sampled_from(["random", "k-fold", "leave-one-out"]),
    seed=st.integers(0, 5),
    stratify=st.booleans(),
)
def test_patient_splits_are_disjoint_and_complete(n_patients: int, kind: str, seed: int, stratify: bool) -> None:
    table = cohort(n_patients, 3)
    splits = make_splits(parse({"kind": kind, "seed": seed, "stratify": stratify}), table)
    tested: list[str] = []
    for fold, split in enumerate(splits):
        assert split.fold == fold
        parts = assign(split, table)
        seen = [patients_in(table, parts[part]) for part in PARTS]
        assert all(seen)
        assert not seen[0] & seen[1]
        assert not seen[0] & seen[2]
        assert not seen[1] & seen[2]
        assert sorted(np.concatenate([parts[part] for part in PARTS])) == list(range(len(table)))
        assert split.patient_independent
        assert "patient-independent" in split.stamp
        tested += split.parts["test"]
    if kind != "random":
        assert sorted(tested) == sorted(table.names["patient"])
    assert len(splits) == {"random": 1, "k-fold": 5, "leave-one-out": n_patients}[kind]


def test_stratified_draws_keep_the_classes_in_ratio() -> None:
    table = cohort(40)
    (split,) = make_splits(parse({"kind": "random", "seed": 3}), table)
    sick = {part: sum(int(name[1:]) % 4 > 0 for name in split.parts[part]) for part in PARTS}
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 24, "validation": 8, "test": 8}
    assert sick == {"train": 18, "validation": 6, "test": 6}
    for fold in make_splits(parse({"kind": "k-fold", "n_folds": 10}), table):
        assert sum(int(name[1:]) % 4 == 0 for name in fold.parts["test"]) == 1


def test_rare_classes_reach_every_part() -> None:
    """Several classes a patient: the rare ones are spread although nearly everybody holds the common one."""
    rng = np.random.default_rng(0)
    presence = np.zeros((30, 3), bool)
    presence[:, 0] = True
    presence[rng.permutation(30)[:12], 1] = True
    presence[rng.permutation(30)[:5], 2] = True
    for seed in range(5):
        fold = deal_units(presence, seats([1] * 5, 30), np.random.default_rng(seed))
        assert np.bincount(fold).tolist() == [6] * 5
        assert np.bincount(fold[presence[:, 2]], minlength=5).tolist() == [1] * 5
        assert np.bincount(fold[presence[:, 1]], minlength=5).min() >= 1


def test_seats() -> None:
    assert seats([0.6, 0.2, 0.2], 10).tolist() == [6, 2, 2]
    assert seats([0.6, 0.2, 0.2], 3).tolist() == [1, 1, 1]
    assert seats([0.8, 0.0, 0.2], 4).tolist() == [3, 0, 1]
    assert seats([1, 1, 1], 11).tolist() == [4, 4, 3]
    with pytest.raises(ValueError, match="2 units"):
        seats([0.6, 0.2, 0.2], 2)


def shuffled(table: WindowTable) -> WindowTable:
    """The same windows in another order, with patients and recordings numbered otherwise."""
    rng = np.random.default_rng(5)
    rows = table.rows[rng.permutation(len(table))].copy()
    names = dict(table.names)
    for key in ("patient", "recording"):
        order = rng.permutation(len(table.names[key]))
        rows[key] = np.argsort(order)[rows[key]]
        names[key] = tuple(table.names[key][i] for i in order)
    return WindowTable(rows, names, table.sfreq, table.aux)


@pytest.mark.parametrize("keys", [{"kind": "random"}, {"kind": "k-fold"}, {"kind": "leave-one-out"}])
def test_draws_do_not_depend_on_the_order_of_the_input(keys: dict[str, Any]) -> None:
    table = cohort(23)
    assert [s.digest() for s in make_splits(parse(keys), table)] == [
        s.digest() for s in make_splits(parse(keys), shuffled(table))
    ]


def test_draws_do_not_depend_on_the_hash_seed() -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from test_splits import cohort, make_splits, parse
scopes = [{"kind": "random", "scope": scope} for scope in ("patient", "trial", "time")]
for keys in [*scopes, {"kind": "k-fold"}]:
    print([split.digest() for split in make_splits(parse(keys), cohort(17, 40))])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(biocl.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(next(iter(outputs)).splitlines()) == 4


def test_another_seed_is_another_draw() -> None:
    table = cohort(23)
    drawn = {make_splits(parse({"kind": "random", "seed": seed}), table)[0].parts["test"] for seed in range(6)}
    assert len(drawn) > 3


def test_too_few_patients_is_a_usage_error() -> None:
    for keys in (
        {"kind": "k-fold", "n_folds": 9},
        {"kind": "random"},
        {"kind": "leave-one-out", "validation": 0.4},
    ):
        with pytest.raises(UsageError):
            make_splits(parse(keys), cohort(2))
    assert len(make_splits(parse({"kind": "leave-one-out", "validation": 0.0}), cohort(2))) == 2


# --- scopes time and trial --------------------------------------------------------------------------------


def shares_time(table: WindowTable, one: np.ndarray, other: np.ndarray, gap: float = 0.0) -> bool:
    """Every pair: whether two sets of windows come closer than `gap` samples in one recording."""
    a, b = table.rows[one][:, None], table.rows[other][None]
    latest_start = np.maximum(a["start"], b["start"])
    distance = latest_start - np.minimum(a["start"] + a["length"], b["start"] + b["length"])
    return bool(((a["recording"] == b["recording"]) & (distance < gap)).any())


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    kind=st.sampled_from(["random", "k-fold"]),
    gap_s=st.sampled_from([None, 2.0, 3.3]),
    step=st.integers(3, 25),
)
def test_time_scope_keeps_the_gap(sizes: list[int], kind: str, gap_s: float | None, step: int) -> None:
    table = table_of([(f"r{i}", f"p{i}", n) for i, n in enumerate([*sizes, 150])], step=step)
    keys = {"kind": kind, "scope": "time", "gap_s": gap_s, **({"n_folds": 3} if kind == "k-fold" else {})}
    for split in make_splits(parse(keys), table):
        assert any(recording in split.intervals["test"] for recording in split.intervals["train"])
        try:
            parts, left_out = assign_and_count(split, table)
        except DataError:  # a stretch can be too short for a window of this grid
            continue
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            assert not shares_time(table, parts[one], parts[other], gap=(gap_s or 2.0) * SFREQ - 1e-6)
        assert sum(map(len, parts.values())) + sum(left_out.values()) == len(table)
        assert left_out["overlaps another part"] == 0
        assert not split.patient_independent
        assert "NOT patient-independent" in split.stamp


def test_time_scope_is_in_time_order_and_in_ratio() -> None:
    table = table_of([("r", "p", 1000)])
    (split,) = make_splits(parse({"kind": "random", "scope": "time"}), table)
    parts = assign(split, table)
    assert parts["train"].max() < parts["validation"].min() < parts["test"].min()
    assert len(parts["train"]) / len(table) == pytest.approx(0.6, abs=0.01)
    folds = make_splits(parse({"kind": "k-fold", "scope": "time", "n_folds": 4}), table)
    tested = np.concatenate([assign(fold, table)["test"] for fold in folds])
    assert len(set(tested)) == len(tested) > 0.98 * len(table)


def test_a_gap_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(UsageError, match="shorter than a window"):
        make_splits(parse({"kind": "random", "scope": "time", "gap_s": 1.0}), cohort(3))
    with pytest.raises(UsageError, match="long enough"):
        make_splits(parse({"kind": "random", "scope": "time"}), cohort(3, 2))


@settings(max_examples=25, deadline=None)
@given(step=st.sampled_from([10, 20, 25]), seed=st.integers(0, 3), kind=st.sampled_from(["random", "k-fold"]))
def test_trial_scope_shares_no_trial_and_no_time(step: int, seed: int, kind: str) -> None:
    table = table_of([(f"r{i}", f"p{i % 2}", 21) for i in range(4)], step=step)
    for split in make_splits(parse({"kind": kind, "scope": "trial", "seed": seed}), table):
        parts, left_out = assign_and_count(split, table)
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            assert not set(table.rows["trial"][parts[one]]) & set(table.rows["trial"][parts[other]])
            assert not shares_time(table, parts[one], parts[other])
        assert (left_out["overlaps another part"] > 0) == (step < 20)  # windows of 20 steps
        assert left_out["in no part"] == 0
        assert sum(map(len, parts.values())) + left_out["overlaps another part"] == len(table)


# --- fixed lists and files --------------------------------------------------------------------------------


TWO_RECORDS = [("a1", "A", 4), ("b1", "B", 4), ("201", "X", 5), ("202", "X", 6)]


def content(**keys: Any) -> dict[str, Any]:
    fold = {"train": ["A"], "test": ["B", "X"], "only": {"test": {"X": ["202"]}}, **keys.pop("fold", {})}
    return {"format": 1, "name": "mine", "scope": "patient", "folds": [fold], **keys}


def test_a_patient_can_be_narrowed_to_some_recordings() -> None:
    table = table_of(TWO_RECORDS)
    (split,) = make_splits(parse({"name": "mine"}), table, {"mine": content()})
    parts, left_out = assign_and_count(split, table)
    assert parts["train"].tolist() == [0, 1, 2, 3]
    assert parts["test"].tolist() == [4, 5, 6, 7, *range(13, 19)]
    assert len(parts["validation"]) == 0
    assert left_out["in no part"] == 5


def test_a_shared_patient_stops_with_code_4_unless_allowed_and_marked() -> None:
    table = table_of(TWO_RECORDS)
    fold = {"train": ["A", "X"], "only": {"train": {"X": ["201"]}, "test": {"X": ["202"]}}}
    with pytest.raises(LeakageError, match="'X' is in train and in test") as caught:
        make_splits(parse({"name": "mine"}), table, {"mine": content(fold=fold)})
    assert caught.value.exit_code == 4
    (split,) = make_splits(parse({"name": "mine"}), table, {"mine": content(fold=fold, allow_shared=["X"])})
    assert split.marks == ("shared between parts: X",)
    assert not split.patient_independent
    marked = content(fold=fold, allow_shared=["X"], marks=["one person on both sides"])
    assert "one person on both sides" in splits_from_json(marked, "here")[0].stamp
    same = {"train": ["A", "X"], "only": {"train": {"X": ["202"]}, "test": {"X": ["202"]}}}
    with pytest.raises(LeakageError, match="same recordings"):
        splits_from_json(content(fold=same, allow_shared=["X"]), "here")


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    table = cohort(12, 40)
    for keys in (
        {"kind": "k-fold"},
        {"kind": "random", "scope": "time"},
        {"kind": "random", "scope": "trial"},
    ):
        splits = make_splits(parse(keys), table)
        write_splits(splits, tmp_path / "split.json")
        back = read_splits(tmp_path / "split.json")
        assert back == splits
        assert [s.digest() for s in back] == [s.digest() for s in splits]
        from_file = {"file": str(tmp_path / "split.json"), "scope": splits[0].scope}
        assert make_splits(parse(from_file), table) == splits


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"fold": {"train": ["a"]}}, UsageError, "no patient 'a'"),
        ({"fold": {"train": ["AA"]}}, UsageError, "Did you mean 'A'?"),
        ({"fold": {"train": ["A", "A"]}}, UsageError, "listed twice in train"),
        ({"fold": {"validation": ["A"]}}, LeakageError, "'A' is in train and in validation"),
        ({"fold": {"train": "A"}}, UsageError, "folds.0.train"),
        ({"fold": {"trian": ["A"]}}, UsageError, "folds.0.trian"),
        ({"fold": {"train": [1]}}, UsageError, "folds.0.train.0"),
        ({"fold": {"only": {"test": {"X": ["203"]}}}}, UsageError, "Did you mean '202'?"),
        ({"fold": {"only": {"test": {"A": ["a1"]}}}}, UsageError, "does not list this patient"),
        ({"fold": {"intervals": {"train": {"a1": [[0, 1]]}}}}, UsageError, "belongs to scope time"),
        ({"scope": "time"}, UsageError, "belongs to scope time"),
        ({"format": 2}, UsageError, "format"),
        ({"folds": []}, UsageError, "folds"),
        ({"marcs": []}, UsageError, "marcs"),
    ],
)
def test_mistakes_in_a_file_are_one_paragraph(
    tmp_path: Path, change: dict[str, Any], error: type[BioclError], words: str
) -> None:
    path = tmp_path / "edited.json"
    value = content(**{k: v for k, v in change.items() if k != "folds"})
    write_json(path, {**value, **({"folds": change["folds"]} if "folds" in change else {})})
    with pytest.raises(error) as caught:
        make_splits(parse({"file": str(path)}), table_of(TWO_RECORDS))
    text = str(caught.value)
    assert words in text
    assert "\n" not in text


def test_broken_or_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        make_splits(parse({"file": str(tmp_path / "none.json")}), cohort(4))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        make_splits(parse({"file": str(tmp_path / "broken.json")}), cohort(4))
    (tmp_path / "list.json").write_text(json.dumps([1]))
    with pytest.raises(UsageError, match="not a split"):
        make_splits(parse({"file": str(tmp_path / "list.json")}), cohort(4))


def test_hand_written_intervals_and_trials() -> None:
    table = table_of([("r", "p", 30), ("s", "p", 30)])
    time = {
        "name": "t",
        "scope": "time",
        "gap_s": 2,
        "folds": [
            {
                "train": ["p"],
                "test": ["p"],
                "intervals": {"train": {"r": [[0, 10]], "s": [[0, 31]]}, "test": {"r": [[12, 20]]}},
            }
        ],
    }
    parts = assign(splits_from_json(time, "here")[0], table)
    assert parts["train"].tolist() == [*range(9), *range(30, 60)]
    assert parts["test"].tolist() == list(range(12, 19))
    time["folds"][0]["intervals"]["test"]["r"] = [[11, 20]]
    with pytest.raises(LeakageError, match="gap is 2 s"):
        splits_from_json(time, "here")
    time["folds"][0]["intervals"]["test"]["r"] = [[20, 12]]
    with pytest.raises(UsageError, match="no length"):
        splits_from_json(time, "here")

    trial = {
        "name": "t",
        "scope": "trial",
        "folds": [{"train": ["p"], "test": ["p"], "trials": {"train": {"r": [0]}, "test": {"s": [9]}}}],
    }
    parts = assign(splits_from_json(trial, "here")[0], table)
    assert parts["train"].tolist() == [0, 1, 2]
    assert parts["test"].tolist() == [57, 58, 59]
    trial["folds"][0]["trials"]["test"] = {"s": [10]}
    with pytest.raises(UsageError, match="numbered 0 to 9"):
        make_splits(parse({"name": "t", "scope": "trial"}), table, {"t": trial})
    trial["folds"][0]["trials"] = {"train": {"s": [4]}, "test": {"s": [4]}}
    with pytest.raises(LeakageError, match="Trial 4"):
        splits_from_json(trial, "here")


def test_the_scope_must_be_said_in_the_configuration() -> None:
    table = cohort(6, 40)
    time = make_splits(parse({"kind": "random", "scope": "time"}), table)[0].to_json()
    with pytest.raises(UsageError, match="Write 'scope: time'"):
        make_splits(parse({"name": "t"}), table, {"t": time})


def test_unknown_names_and_empty_parts() -> None:
    table = table_of(TWO_RECORDS)
    with pytest.raises(UsageError, match="Did you mean 'mine'"):
        make_splits(parse({"name": "mien"}), table, {"mine": content()})
    with pytest.raises(DataError, match="none of them has a window"):
        assign(splits_from_json(content(), "here")[0], table.take(table.rows["patient"] > 0))


@pytest.mark.parametrize(
    "keys",
    [
        {"kind": "random", "fractions": [0.6, 0.2, 0.3]},
        {"kind": "random", "fractions": [0.8, 0.2, 0.0]},
        {"kind": "random", "gap_s": 3.0},
        {"kind": "leave-one-out", "scope": "trial"},
        {"kind": "k-fold", "n_folds": 1},
        {"kind": "bootstrap"},
        {"name": "x", "seed": 3},
        {},
    ],
)
def test_wrong_keys(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(keys)


def test_a_split_needs_its_three_parts() -> None:
    with pytest.raises(UsageError, match="train, validation, test"):
        Split("x", "patient", {"train": ("A",)})


def test_mitdb_lists() -> None:
    from biocl.datasets.mitdb import MITDB as mitdb

    people = [(r, "201+202" if r in ("201", "202") else r, 3) for r in mitdb_records()]
    table = table_of(people)
    (ours,) = make_splits(parse({"name": "ds1-ds2"}), table, mitdb.splits)
    (published,) = make_splits(parse({"name": "ds1-ds2-published"}), table, mitdb.splits)
    held = {}
    for split in (ours, published):
        parts = assign(split, table)
        held[split.name] = {
            part: {table.names["recording"][code] for code in table.rows["recording"][parts[part]]} for part in PARTS
        }
    assert ours.patient_independent
    assert not published.patient_independent
    assert ours.marks == ()
    for said in (*published.marks, published.stamp):
        assert "one person (201+202) on both sides" in said
    assert held["ds1-ds2-published"]["train"] - held["ds1-ds2"]["train"] == {"201"}
    for name in held:
        assert "202" in held[name]["test"]
        assert "201" not in held[name]["test"]
        assert not {"102", "104", "107", "217"} & set().union(*held[name].values())
        assert len(held[name]["test"]) == 22
        assert len(held[name]["validation"]) == 4


def mitdb_records() -> list[str]:
    ranges = [*range(100, 110), *range(111, 120), *range(121, 125), *range(200, 204), 205, *range(207, 211)]
    ranges += [*range(212, 216), 217, *range(219, 224), 228, *range(230, 235)]
    return [str(number) for number in ranges if number not in (110, 120)]


# --- unknown patients --------------------------------------------------------------------------------------


FORMS: list[dict[str, Any]] = [
    {"kind": "random"},
    {"kind": "k-fold", "n_folds": 3},
    {"kind": "leave-one-out"},
    {"name": "mine"},
    {"file": "split.json"},
]


def records_as_patients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[WindowTable, dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    fold = {"train": ["p0", "p1", "p2"], "validation": ["p3"], "test": ["p4", "p5"]}
    lists = {"mine": {"format": 1, "scope": "patient", "folds": [fold]}}
    write_json(tmp_path / "split.json", {**lists["mine"], "name": "filed"})
    return cohort(9), lists


@pytest.mark.parametrize("form", FORMS, ids=lambda form: next(iter(form.values())))
def test_unknown_patients_are_refused_or_marked(
    form: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, lists = records_as_patients(tmp_path, monkeypatch)
    with pytest.raises(LeakageError, match=r"one person may be in training and in test.*'patient: record'") as refused:
        make_splits(parse(form), table, lists, patients_known=False)
    assert refused.value.exit_code == 4
    known = make_splits(parse(form), table, lists)
    marked = make_splits(parse({**form, "patient": "record"}), table, lists, patients_known=False)
    for split, same in zip(marked, known, strict=True):
        assert split.parts == same.parts
        assert same.patient_independent
        assert not split.patient_independent
        assert split.marks == ("patients unknown: each record counts as one",)
        assert "(scope record, NOT patient-independent); patients unknown: each record counts as one" in split.stamp
        assert split.digest() != same.digest()


@pytest.mark.parametrize("scope", ["time", "trial"])
def test_other_scopes_go_on_with_unknown_patients_and_are_marked(scope: str) -> None:
    [split] = make_splits(parse({"kind": "random", "scope": scope}), cohort(6, 40), patients_known=False)
    assert split.marks == ("patients unknown: each record counts as one",)
    assert f"scope {scope}, NOT patient-independent" in split.stamp


def test_a_record_cannot_stand_for_a_known_patient(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="are known"):
        make_splits(parse({"kind": "random", "patient": "record"}), cohort(9))
    splits = make_splits(parse({"kind": "k-fold", "patient": "record"}), cohort(9), patients_known=False)
    write_splits(splits, tmp_path / "split.json")
    assert read_splits(tmp_path / "split.json") == splits
    with pytest.raises(UsageError, match="are known"):
        make_splits(parse({"file": str(tmp_path / "split.json")}), cohort(9))


def test_a_fold_that_stands_twice_is_refused() -> None:
    fold = {"train": ["a"], "validation": [], "test": ["b"]}
    with pytest.raises(UsageError, match="Two folds are the same"):
        splits_from_json({"name": "x", "folds": [fold, {**fold, "fold": 1}]}, "file")


def test_a_fold_keeps_the_number_that_its_file_gives() -> None:
    one, other = ({"train": [a], "test": [b]} for a, b in (("a", "b"), ("b", "a")))
    numbers = [
        split.fold
        for split in splits_from_json({"name": "x", "folds": [{**one, "fold": 1}, {**other, "fold": 0}]}, "f")
    ]
    assert numbers == [1, 0]
    assert [split.fold for split in splits_from_json({"name": "x", "folds": [one, other]}, "f")] == [0, 1]
