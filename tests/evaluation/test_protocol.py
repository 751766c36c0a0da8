"""Tasks that make no sense are refused before hours are spent; every cell has a file name that fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from biocl.evaluation.protocol import Cell
from biocl.evaluation.spec import EvaluateSpec
from biocl.files import write_json


@pytest.mark.parametrize(
    "keys",
    [
        {"labels": ["all", "all"]},
        {"labels": ["2 patients", "2  Patients"]},
        {"class_sets": [["N"]]},
        {"class_sets": [["N", "N"]]},
        {"class_sets": [["N", "V"], ["N", "V"]]},
    ],
)
def test_a_study_that_makes_no_sense_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(keys))):
        EvaluateSpec(**keys)  # type: ignore[arg-type]


def test_long_class_names_fit_in_a_file_name_and_stay_apart() -> None:
    names = tuple(f"a-rather-long-class-name-{number}" for number in range(20))
    one = Cell(names, "all", 0, "linear", "pretrained").file
    other = Cell((*names[:-1], "another"), "all", 0, "linear", "pretrained").file
    assert one != other
    assert len(one.encode()) <= 200
    short = Cell(("N", "V"), "2 patients", 1, "linear", "pretrained")
    assert short.file == "N-V_2-patients_draw1_linear_pretrained_fold0"


def test_json_files_hold_no_nan(tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    write_json(tmp_path / "a.json", {"a": [float("nan"), 1.5], "b": float("inf")})
    assert json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse) == {"a": [None, 1.5], "b": None}


def test_tasks_that_only_look_alike_keep_their_own_files() -> None:
    one = Cell(("a-b", "c"), "all", 0, "linear", "pretrained").file
    other = Cell(("a", "b-c"), "all", 0, "linear", "pretrained").file
    assert one != other
