"""Amounts of labels name their unit; draws are nested, cover the classes, and can be repeated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.utils import shuffle

from biocl.errors import DataError, UsageError
from biocl.evaluation.labels import draw_labels, parse_labels, patient_order
from biocl.evaluation.spec import EvaluateSpec
from biocl.randomness import stream

CLASSES = ["N", "S", "V"]


def cohort(seed: int = 0, n_patients: int = 12):
    """Everybody has N, half have V, two have S."""
    rng = np.random.default_rng(seed)
    patient, y = [], []
    for p in range(n_patients):
        kinds = [0] * 20 + [2] * (5 if p % 2 else 0) + [1] * (3 if p in (4, 7) else 0)
        patient += [f"p{p:02d}"] * len(kinds)
        y += kinds
    order = rng.permutation(len(y))
    return np.array(patient)[order], np.array(y)[order]


def draw(text: str, number: int = 0, seed: int = 0, lacking="error", data=None):
    patient, y = data or cohort()
    return draw_labels(parse_labels(text), patient, y, CLASSES, seed=seed, draw=number, lacking_class=lacking)


@pytest.mark.parametrize(
    ("text", "kind", "amount", "spelling"),
    [
        ("2 patients", "patients", 2, "2 patients"),
        ("1 patient", "patients", 1, "1 patient"),
        (" 10 %  Patients", "share-patients", 0.1, "10% patients"),
        ("1% windows", "share-windows", 0.01, "1% windows"),
        ("0.5%windows", "share-windows", 0.005, "0.5% windows"),
        ("first 1% windows", "reference-windows", 0.01, "first 1% windows"),
        ("All", "all", 1, "all"),
    ],
)
def test_grammar(text: str, kind: str, amount: float, spelling: str) -> None:
    labels = parse_labels(text)
    assert (labels.kind, labels.amount, labels.text) == (kind, pytest.approx(amount), spelling)
    assert parse_labels(labels.text) == labels


@pytest.mark.parametrize("text", ["10", "10%", "0.1"])
def test_a_bare_number_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="unit is mandatory"):
        parse_labels(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "some",
        "2.5 patients",
        "5 windows",
        "0 patients",
        "120% windows",
        "first 2 patients",
        "-1 patients",
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_labels(text)


def test_config_refuses_a_number_without_unit() -> None:
    with pytest.raises(ValidationError, match="unit is mandatory"):
        EvaluateSpec.model_validate({"labels": [0.1]})
    assert EvaluateSpec(labels=["2 patients", "all"]).labels == ["2 patients", "all"]


@pytest.mark.parametrize("number", range(5))
def test_patient_draws_are_nested_and_hold_every_class(number: int) -> None:
    patient, y = cohort()
    before: set[str] = set()
    for text in ("2 patients", "4 patients", "50% patients", "12 patients"):
        found = draw(text, number)
        assert before <= set(found.patients)
        before = set(found.patients)
        assert set(patient[found.indices]) == before
        assert len(found.indices) == np.isin(patient, found.patients).sum()
        assert min(found.class_counts.values()) > 0
        assert found.lacking == ()
    assert len(found.indices) == len(y)


def test_draws_differ_and_repeat() -> None:
    assert len({draw("4 patients", i).patients for i in range(6)}) > 3
    assert draw("4 patients", 1).patients == draw("4 patients", 1).patients
    assert draw("4 patients", 1, seed=1).patients != draw("4 patients", 1, seed=0).patients


def test_all_patients_come_from_someone_who_was_shuffled() -> None:
    patient, y = cohort()
    order = np.random.default_rng(9).permutation(len(y))
    assert draw("4 patients", data=(patient[order], y[order])).patients == draw("4 patients").patients


def test_a_patient_who_holds_every_class_comes_first() -> None:
    carries = np.array([[1, 0], [1, 1], [1, 0], [1, 0]], dtype=bool)
    assert all(patient_order(carries, stream(i))[0] == 1 for i in range(10))


def test_classes_of_patients_are_balanced_like_the_whole() -> None:
    carries = np.repeat(np.eye(2, dtype=bool), [9, 3], axis=0)
    for i in range(10):
        order = patient_order(carries, stream(i))
        assert carries[order[:2]].sum(axis=0).tolist() == [1, 1]
        assert carries[order[:8]].sum(axis=0).tolist() == [6, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 14), st.integers(1, 5))
def test_order_is_a_permutation_and_covers_as_early_as_possible(seed: int, n: int, k: int) -> None:
    carries = np.random.default_rng(seed).random((n, k)) < 0.3
    carries[np.arange(n), np.arange(n) % k] = True
    order = patient_order(carries, stream(seed))
    assert sorted(order) == list(range(n))
    present = carries.any(axis=0)
    covered = [carries[order[: i + 1]].any(axis=0)[present].all() for i in range(n)]
    greedy, missing = 0, present.copy()
    while missing.any():  # greedy needs at least as many as the best cover
        missing &= ~carries[(carries & missing).sum(axis=1).argmax()]
        greedy += 1
    assert covered.index(True) + 1 <= max(2, greedy)


def test_too_few_patients_for_the_classes() -> None:
    data = np.array(["a", "b", "c"]), np.array([0, 1, 2])
    with pytest.raises(UsageError, match="lacks class"):
        draw("2 patients", data=data)
    marked = draw("2 patients", lacking="mark", data=data)
    assert len(marked.lacking) == 1
    assert marked.mark() == f"draw 0 of 2 patients lacks {marked.lacking[0]}"
    assert draw("3 patients", data=data).mark() == ""


@pytest.mark.parametrize(("text", "words"), [("1% patients", "would be empty"), ("13 patients", "has 12")])
def test_impossible_amounts(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        draw(text)


def test_windows_are_stratified_and_nested() -> None:
    small, large = draw("10% windows", 2), draw("50% windows", 2)
    assert set(small.indices) <= set(large.indices)
    assert small.class_counts == {"N": 24, "S": 1, "V": 3}
    assert draw("0.1% windows").class_counts == {"N": 1, "S": 1, "V": 1}


def test_reference_windows_are_the_first_after_scikit_learns_shuffle() -> None:
    n = 4329
    patient, y = np.array(["a"] * n), np.arange(n) % 3
    found = draw("first 1% windows", data=(patient, y))
    assert len(found.indices) == 43
    np.testing.assert_array_equal(found.indices, shuffle(np.arange(n), random_state=42)[:43])
    np.testing.assert_array_equal(draw("first 1% windows", 5, seed=3, data=(patient, y)).indices, found.indices)


def test_unlabelled_windows_are_never_drawn() -> None:
    patient, y = cohort()
    y = np.where(np.arange(len(y)) % 3 == 0, -1, y)
    for text in ("all", "6 patients", "20% windows", "first 20% windows"):
        assert (y[draw(text, data=(patient, y), lacking="mark").indices] >= 0).all()
    with pytest.raises(DataError, match="no labelled window"):
        draw("all", data=(patient, np.full(len(y), -1)))


def test_record_restores_the_indices() -> None:
    for text in ("4 patients", "10% windows", "first 10% windows", "all"):
        found = draw(text, lacking="mark")
        record = found.to_json()
        rows = np.concatenate([np.arange(start, stop) for start, stop in record["rows"]])
        np.testing.assert_array_equal(rows, np.sort(found.indices))
        assert record["n_windows"] == sum(record["class_counts"].values()) == len(rows)
