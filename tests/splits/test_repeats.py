"""Several draws of the folds: each complete, the first as ever; and folds of one patient of either class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from biocl.errors import UsageError
from biocl.splits.file import read_splits, splits_from_json, write_splits
from biocl.splits.make import make_splits
from biocl.splits.spec import SplitSpec
from biocl.store.table import ROW, WindowTable


def parse(**keys: Any) -> Any:
    return TypeAdapter(SplitSpec).validate_python({"kind": "k-fold", **keys})


def cohort(n_ill: int, n_well: int) -> WindowTable:
    """One recording a patient with six windows in two trials; the first patients are ill, each has one class."""
    n = n_ill + n_well
    rows = [(p, p, 0, 2 * p + w // 3, 10 * w, 10, 0, 10, int(p >= n_ill)) for p in range(n) for w in range(6)]
    names = tuple(f"p{p}" for p in range(n))
    return WindowTable(
        np.array(rows, ROW),
        {"recording": names, "patient": names, "session": ("1",), "label": ("ill", "well")},
        10.0,
        np.empty((len(rows), 0), np.float32),
    )


def test_draws_follow_one_another_and_the_first_is_that_of_one_draw() -> None:
    table = cohort(9, 6)
    once = make_splits(parse(n_folds=3, seed=4), table)
    splits = make_splits(parse(n_folds=3, seed=4, repeats=4), table)
    assert splits[:3] == once
    assert [split.fold for split in splits] == list(range(12))
    assert [split.repeat for split in splits] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    for repeat in range(4):
        tested = [name for split in splits if split.repeat == repeat for name in split.parts["test"]]
        assert sorted(tested) == sorted(table.names["patient"])
    drawn = {tuple(split.parts["test"] for split in splits if split.repeat == r) for r in range(4)}
    assert len(drawn) == 4
    assert len({split.parts["validation"] for split in splits}) > 3


@pytest.mark.parametrize("seed", range(20))
def test_as_many_folds_as_patients_of_a_class_leave_one_pair_out(seed: int) -> None:
    for split in make_splits(parse(n_folds=7, seed=seed, repeats=2, validation=0.0), cohort(7, 7)):
        assert sorted(int(name[1:]) < 7 for name in split.parts["test"]) == [False, True]
        assert len(split.parts["train"]) == 12
    for split in make_splits(parse(n_folds=7, seed=seed, validation=0.0), cohort(7, 12)):
        assert sum(int(name[1:]) < 7 for name in split.parts["test"]) == 1
        assert 1 <= sum(int(name[1:]) >= 7 for name in split.parts["test"]) <= 2


@pytest.mark.parametrize("scope", ["patient", "trial"])
def test_files_keep_the_draws_though_folds_repeat(scope: str, tmp_path: Path) -> None:
    """Four patients in two pairs: draws often share folds, which a file may otherwise not say twice."""
    splits = make_splits(parse(n_folds=2, repeats=9, validation=0.0, scope=scope), cohort(2, 2))
    write_splits(splits, tmp_path / "split.json")
    assert read_splits(tmp_path / "split.json") == splits
    if scope == "patient":
        assert len({split.parts["test"] for split in splits}) < len(splits)
    content = splits[0].to_json()
    assert "repeat" not in content["folds"][0]  # files of one draw are as they were
    twice = {**content, "folds": content["folds"] * 2}
    with pytest.raises(UsageError, match="would count twice"):
        splits_from_json(twice, "here")


def test_time_has_nothing_to_repeat() -> None:
    with pytest.raises(ValidationError, match="draws nothing"):
        parse(scope="time", repeats=2)
    with pytest.raises(ValidationError):
        parse(repeats=0)
