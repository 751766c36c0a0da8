"""Floors in a study: which windows they read, on which they are fitted, and what they are compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from biocl.commands import study
from biocl.commands.evaluate import evaluate
from biocl.commands.results import compared
from biocl.commands.setup import Cohort
from biocl.commands.study import Fold, floor_arms, predict_cell
from biocl.config import Experiment, load_experiment
from biocl.evaluation.floors import FLOORS
from biocl.evaluation.protocol import Cell
from biocl.evaluation.spec import EvaluateSpec
from biocl.files import read_json
from biocl.training.spec import AlignSpec

CLASSES = ("k0", "k1", "k2")
SMALL = [
    "encoder={name: dilated-cnn, depth: 2, hidden_dim: 4, embed_dim: 6, pool: mean}",
    "batch={kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}",
    "train={steps: 3, lr: 0.01, log_every: 1}",
    "finetune={max_steps: 2, head: {kind: linear}}",
]
EVALUATE = "evaluate={labels: [all], bootstrap_draws: 20, floor_scales: [none, window], modes: [%s]}"


def experiment_of(cohort: Cohort, *more: str) -> Experiment:
    data = f"data={{store: {cohort.windows.store.path}}}"
    return load_experiment(Path("demo"), [data, *SMALL, EVALUATE % "linear", *more])


def fold_of(cohort: Cohort, *more: str) -> Fold:
    return Fold(experiment_of(cohort, *more), cohort, 0, cohort.parts(), None, torch.device("cpu"))


def test_each_floor_stands_there_once_for_each_scale(small_cohort: Cohort) -> None:
    both = ["majority", "amplitude (raw input)", "raw (raw input)", "raw (z-scored windows)"]
    assert floor_arms(fold_of(small_cohort)) == both
    assert floor_arms(fold_of(small_cohort, "evaluate.floor_scales=null")) == ["majority", "amplitude", "raw"]


@pytest.mark.parametrize("align", [None, AlignSpec(kind="euclidean")])
def test_floors_read_windows_in_the_scale_they_name(small_cohort: Cohort, align: AlignSpec | None) -> None:
    plain = small_cohort.windows
    cohort = replace(small_cohort, windows=replace(plain, scale="recording", align=align))
    fold = fold_of(cohort)
    for words, scale in (("raw input", "none"), ("z-scored windows", "window"), ("z-scored recordings", "recording")):
        x = replace(plain, scale=scale).arrays(fold.used)
        np.testing.assert_allclose(
            fold.features(f"raw ({words})")[fold.used], x.reshape(len(x), -1), rtol=1e-6, err_msg=words
        )
    x = fold.windows.arrays(fold.used)
    np.testing.assert_allclose(fold.features("raw")[fold.used], x.reshape(len(x), -1), rtol=1e-6)
    x = replace(plain, scale="train", train=cohort.parts()["train"]).arrays(fold.used)
    by_training = fold.features("raw (z-scored by the training part)")[fold.used]
    np.testing.assert_allclose(by_training, x.reshape(len(x), -1), rtol=1e-6)


@pytest.mark.parametrize("name", ["tangent-space", "minirocket"])
def test_a_floor_is_fitted_on_the_training_part_alone(
    small_cohort: Cohort, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = fold_of(small_cohort, "seed=5")
    given: list[Any] = []
    fit = FLOORS[name].fit
    assert fit is not None

    def spy(windows: Any, seed: int) -> Any:
        given.append((windows, seed))
        return fit(windows, seed)

    monkeypatch.setitem(FLOORS, name, replace(FLOORS[name], fit=spy))
    table = fold.features(f"{name} (z-scored windows)")
    assert fold.features(f"{name} (z-scored windows)") is table
    [(windows, seed)] = given
    x = replace(small_cohort.windows, scale="window").arrays(fold.parts["train"])
    np.testing.assert_array_equal(windows.x, x)
    assert seed == 5
    assert np.isfinite(table[fold.used]).all()
    assert np.isnan(table[fold.parts["validation"]]).all()


def test_minirocket_is_read_by_a_ridge(small_cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    real = study.fit_probe

    def spy(*given: Any, **keys: Any) -> Any:
        used.append(keys["classifier"])
        return real(*given, **keys)

    monkeypatch.setattr(study, "fit_probe", spy)
    fold = fold_of(small_cohort)
    for arm in ("minirocket (raw input)", "amplitude (raw input)"):
        proba = predict_cell(fold, Cell(CLASSES, "all", 0, "floor", arm))
        np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert used == ["ridge", "logistic"]


def test_every_mode_is_compared_with_every_floor_of_features() -> None:
    floors = ["majority", "amplitude (raw input)", "raw (raw input)", "raw (z-scored windows)"]
    rows = [(CLASSES, labels, "floor", name) for labels in ("all", "2 patients") for name in floors]
    modes = ("linear", "full")
    rows += [(CLASSES, "all", mode, arm) for mode in modes for arm in ("pretrained", "untrained")]
    expected = {
        ((CLASSES, "all", mode, "pretrained"), other)
        for mode in modes
        for other in ((CLASSES, "all", mode, "untrained"), *rows[2:4])
    }
    pairs = compared(rows)
    assert set(pairs) == expected
    assert len(pairs) == len(expected)


def test_scales_flow_into_tables(small_cohort: Cohort, tmp_path: Path) -> None:
    experiment = load_experiment(
        Path("demo"),
        [*SMALL, EVALUATE % "linear, full", "evaluate.per_recording=centre", "evaluate.probe.c=0.01"],
    )
    text = evaluate(experiment, None, tmp_path / "ev")
    results = read_json(tmp_path / "ev" / "results.json")
    shown = [row["title"] for row in results["rows"] if row["mode"] == "floor"]
    expected = {"shape (raw input)", "shape (z-scored windows)", "shape (z-scored windows), per recording", "majority"}
    assert expected <= set(shown)
    assert len(set(shown)) == len(shown)
    assert "amplitude (z-scored windows)" not in shown
    for mode in ("linear", "full"):
        seconds = {pair["second"] for pair in results["differences"] if pair["first"] == f"pretrained ({mode})"}
        assert {"shape (raw input) (floor)", "shape (z-scored windows), per recording (floor)"} <= seconds
        assert not any(second.startswith(("majority", "amplitude")) for second in seconds)
    assert "shape (z-scored windows)" in text


@pytest.mark.parametrize("scales", [[], ["none", "none"], ["volts"]])
def test_scales_that_make_no_sense_are_refused(scales: list[str]) -> None:
    with pytest.raises(ValidationError, match="floor_scales"):
        EvaluateSpec(floor_scales=scales)  # type: ignore[arg-type]
