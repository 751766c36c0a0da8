"""Studies side by side: paired differences by hand, and what cannot be paired."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import report_runs
from typer.testing import CliRunner

from biocl.cli import app
from biocl.commands.compare import compare, format_comparison
from biocl.commands.evaluate import evaluate
from biocl.config import load_experiment
from biocl.errors import UsageError
from biocl.evaluation.several_labels import macro_auroc
from biocl.files import read_json, write_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def store(folder: Path) -> Path:
    people = tuple(f"p{n:02d}" for n in range(14))
    return report_runs.hostile_store(folder, people, ("rest", "walk"))


def study(store: Path, out: Path, *more: str) -> Path:
    keys = [f"data={{store: {store}}}", "split={kind: random, fractions: [0.4, 0.1, 0.5]}", *report_runs.SHORT, *more]
    evaluate(load_experiment(Path("demo"), keys), None, out)
    return out


@pytest.fixture(scope="module")
def pair(store: Path, folder: Path) -> tuple[Path, Path]:
    return study(store, folder / "a" / "one"), study(store, folder / "b" / "two", "encoder.depth=1", "train.steps=2")


def own_scores(run: Path, mode: str, arm: str, labels: str, metric: str = "macro_f1") -> dict[str, float]:
    """Means over draws of each patient's score, straight from the file."""
    found: dict[str, list[float]] = {}
    with (run / "predictions.csv").open() as lines:
        for line in csv.DictReader(lines):
            if (line["mode"], line["arm"], line["labels"]) == (mode, arm, labels):
                found.setdefault(line["patient"], []).append(float(line[metric]))
    return {who: sum(values) / len(values) for who, values in found.items()}


@pytest.mark.parametrize("labels", ["2 patients", "all"])
@pytest.mark.parametrize("arm", ["pretrained", "untrained"])
def test_differences_are_paired_by_hand(pair: tuple[Path, Path], labels: str, arm: str) -> None:
    found = compare(pair)
    one, two = (own_scores(run, "linear", arm, labels) for run in pair)
    assert set(one) == set(two)
    assert len(one) == found["n_patients"] == 7
    differences = np.array([two[who] - one[who] for who in one])
    [line] = [line for line in found["differences"] if (line["arm"], line["labels"]) == (arm, labels)]
    assert (line["first"], line["second"]) == ("two", "one")
    assert line["mean"] == pytest.approx(differences.mean(), abs=1e-6)
    assert line["n_better"] == (differences > 0).sum()
    signs = np.array(list(itertools.product((1, -1), repeat=7)))
    flipped = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9
    assert (line["p"], line["test"]) == (pytest.approx(flipped.mean()), "exact sign-flip")
    assert line["low"] <= line["mean"] <= line["high"]


def test_rows_stand_side_by_side_with_floors_once(pair: tuple[Path, Path]) -> None:
    found = compare(pair)
    rows = {(row["labels"], row["mode"], row["arm"]): row["estimates"] for row in found["rows"]}
    for place, run in enumerate(pair):
        for row in read_json(run / "results.json")["rows"]:
            assert rows[row["labels"], row["mode"], row["arm"]][place]["value"] == row["metrics"]["macro_f1"]["value"]
    assert not [line for line in found["differences"] if line["mode"] == "floor"]
    text = format_comparison(found)
    assert "differences (first minus second), paired over the same 7 patients" in text
    assert "| labels     | mode   | what" in text


def test_a_run_against_itself_differs_by_nothing(pair: tuple[Path, Path], folder: Path) -> None:
    shutil.copytree(pair[0], folder / "copy", dirs_exist_ok=True)
    for line in compare([pair[0], folder / "copy"])["differences"]:
        assert (line["mean"], line["low"], line["high"], line["p"], line["n_better"]) == (0, 0, 0, 1, 0)


def test_the_command_prints_json(pair: tuple[Path, Path]) -> None:
    answer = CliRunner().invoke(app, ["compare", *map(str, pair), "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.output) == json.loads(json.dumps(compare(pair)))


def test_other_patients_windows_data_and_kinds_are_refused(pair: tuple[Path, Path], store: Path, folder: Path) -> None:
    other = study(store, folder / "other", "split.seed=1", "evaluate.labels=[all]")
    only = sorted(
        set(own_scores(other, "linear", "pretrained", "all")) - set(own_scores(pair[0], "linear", "pretrained", "all"))
    )
    assert only
    with pytest.raises(UsageError, match=f"only other judges {', '.join(only)}"):
        compare([pair[0], other])
    for name, change, said in (
        ("set", lambda results: results.update(protocol="elsewhere, split, seed 0"), "the data set elsewhere"),
        ("part", None, "judges the part"),
    ):
        run = folder / name
        shutil.copytree(pair[1], run)
        if change is not None:
            results = read_json(run / "results.json")
            change(results)
            write_json(run / "results.json", results)
        else:
            config = run / "config.yaml"
            config.write_text(config.read_text().replace("part: test", "part: validation"))
        with pytest.raises(UsageError, match=said):
            compare([pair[0], run])
    shutil.copytree(pair[1], folder / "fewer")
    path = folder / "fewer" / "predictions.csv"
    path.write_text(path.read_text().replace(",12,", ",11,", 200))
    with pytest.raises(UsageError, match="other windows of"):
        compare([pair[0], folder / "fewer"])
    with pytest.raises(UsageError, match="is a pretrain run"):
        compare([pair[0], next(pair[0].glob("pretrain-fold0*"))])
    with pytest.raises(UsageError, match="nothing to be compared"):
        compare([pair[0]])


def test_what_differs_but_can_be_paired_is_noted(pair: tuple[Path, Path], folder: Path) -> None:
    run = folder / "marked"
    shutil.copytree(pair[1], run)
    results = read_json(run / "results.json")
    results["marks"] = ["patients unknown"]
    results["draws"][0]["patients"] = ["p99", "p98"]
    write_json(run / "results.json", results)
    notes = compare([pair[0], run])["notes"]
    assert "marked is marked: patients unknown" in notes
    assert any(note.startswith("marked was labelled on other patients than one (2 patients)") for note in notes)


def test_numbers_labels_and_forecasts(folder: Path) -> None:
    numbered = report_runs.numbered_store(folder)
    run = report_runs.regression_run(folder, numbered)
    shutil.copytree(run, folder / "worse")
    path = folder / "worse" / "predictions.csv"
    lines = list(csv.DictReader(path.open()))
    for line in lines:
        line["mae"] = str(float(line["mae"]) + 1)
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)
    found = compare([run, folder / "worse"])
    assert found["metric"] == "mean absolute error, mean over patients"
    assert [line["mean"] for line in found["differences"]] == pytest.approx([1.0] * len(found["differences"]))
    assert found["differences"]

    labels = (
        report_runs.labels_run(folder, numbered),
        report_runs.labels_run(folder, numbered, "l2", "seed=1", "split.seed=0"),
    )
    found = compare(labels)
    [line] = [
        line
        for line in found["differences"]
        if (line["mode"], line["arm"], line["labels"]) == ("linear", "pretrained", "all")
    ]
    areas = []
    for run in labels:
        with (run / "predictions.csv").open() as file:
            own = [
                row
                for row in csv.DictReader(file)
                if (row["mode"], row["arm"], row["labels"]) == ("linear", "pretrained", "all")
            ]
        names = ["loud", "<u>fast</u>"]
        y = np.array([[int(row[name]) for name in names] for row in own])
        said = np.array([[float(row[f"{name} predicted"]) for name in names] for row in own])
        areas.append(macro_auroc(y, said))
    assert line["mean"] == pytest.approx(areas[1] - areas[0], abs=1e-6)
    assert line["p"] is None

    run = report_runs.forecast_run(folder, report_runs.series_store(folder))
    shutil.copytree(run, folder / "again")
    found = compare([run, folder / "again"])
    assert found["differences"] == []
    assert found["rows"]
    assert "one series has no patients to pair" in format_comparison(found)
