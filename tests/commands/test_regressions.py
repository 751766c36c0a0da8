"""A regression study: floors, probes and heads on the same labelled patients, judged patient by patient."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.commands.evaluate import evaluate
from biocl.commands.regressions import MEAN, NUMBER, drawn_rows, known_among, predict_number, regression_floors
from biocl.commands.setup import build_model, open_cohort
from biocl.commands.study import Fold, load_prediction
from biocl.config import load_experiment
from biocl.datasets.dataset import Entry
from biocl.datasets.series import ETTH1
from biocl.errors import DataError, UsageError
from biocl.evaluation.protocol import FLOOR_MODE, PRETRAINED, Cell
from biocl.evaluation.regression import fit_regressor, own_errors
from biocl.evaluation.values import targets
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

N_PATIENTS, SECONDS, SFREQ = 14, 12, 20
SMALL = [
    "split={kind: random, fractions: [0.4, 0.15, 0.45]}",
    "encoder={name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}",
    "batch={kind: random, size: 16}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    "terms=[{head: regression, views: [clean]}, {views: [clean, loud], relation: same-sample, "
    "criterion: {name: nt-xent}, weight: 0.1}]",
    "train={steps: 3, lr: 0.01}",
    "finetune={max_steps: 2, validate_every: 1}",
    "evaluate={labels: [3 patients, all], draws: 2, modes: [joint, linear, full], bootstrap_draws: 30}",
    "variants={no contrast: {terms.1.weight: 0}, no head: {terms.0.weight: 0}}",
]
AGE = ("age of all",)


def age_of(patient: int) -> float:
    return 20.0 + 5 * patient


def make_store(folder: Path, unknown: Sequence[int] = (), shifted: Sequence[int] = ()) -> Path:
    """Patients whose signal is louder, the older they are."""
    rng = np.random.default_rng(0)
    signals = {f"p{i:02d}": rng.normal(size=(SECONDS * SFREQ, 2)) * age_of(i) / 50 for i in range(N_PATIENTS)}

    def read(entry: Entry) -> Recording:
        number = int(entry.patient[1:])
        age = "unknown" if number in unknown else str(age_of(number) + 1000 * (number in shifted))
        channels = [Channel(name, "other", "NU") for name in "ab"]
        values = signals[entry.patient].astype(np.float32)
        return Recording.from_array(entry.name, entry.patient, SFREQ, values, channels, labels={"age": age})

    dataset = replace(
        ETTH1,
        name="aged",
        entries=lambda raw: [Entry(name, patient=name, source="made") for name in signals],
        read=read,
        splits={},
        defaults={
            "windows": {"kind": "sliding", "length_s": 2.0, "step_s": 1.0},
            "trials": {"kind": "recording"},
            "classes": [],
        },
    )
    return build_store(dataset, None, folder, ConditioningSpec()).path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("aged") / "store")


def experiment_of(store: Path, *more: str) -> Experiment:
    return load_experiment(
        Path("demo"), [f"data={{store: {store}, target: {{kind: label, name: age}}, input_scale: none}}", *SMALL, *more]
    )


def fold_of(experiment: Experiment) -> Fold:
    cohort = open_cohort(experiment)
    fold = Fold(experiment, cohort, 0, cohort.parts(), None, torch.device("cpu"))
    fold.pretrained = build_model(experiment, fold.windows).state_dict()
    return fold


def test_every_row_stands_beside_its_floors(store: Path, tmp_path: Path) -> None:
    text = evaluate(experiment_of(store), None, tmp_path / "run")
    results = read_json(tmp_path / "run" / "results.json")
    rows = {(row["labels"], row["mode"], row["arm"]): row for row in results["rows"]}
    found = {key[1:] for key in rows if key[0] == "all"}
    assert found == {
        *((FLOOR_MODE, name) for name in (MEAN, "amplitude", "raw")),
        *(("joint", arm) for arm in (PRETRAINED, "no contrast")),
        *((mode, arm) for mode in ("linear", "full") for arm in (PRETRAINED, "no contrast", "no head", "untrained")),
    }
    assert {key[1:] for key in rows if key[0] == "3 patients"} == found
    amplitude, mean = (rows["all", FLOOR_MODE, name]["metrics"]["mae"]["value"] for name in ("amplitude", MEAN))
    assert amplitude < mean / 2
    assert rows["all", FLOOR_MODE, "amplitude"]["r_over_patients"] > 0.9
    assert rows["all", FLOOR_MODE, MEAN]["r_over_patients"] is None
    assert rows["3 patients", FLOOR_MODE, MEAN]["n_draws"] == 2
    assert "target age, 6 test patients, 66 windows; [95% bootstrap interval over patients]" in text
    pairs = {(pair["labels"], pair["first"], pair["second"]): pair for pair in results["differences"]}
    pair = pairs["all", "trained together (joint)", f"{MEAN} (floor)"]
    values = [rows["all", *key]["metrics"]["mae"]["value"] for key in (("joint", PRETRAINED), (FLOOR_MODE, MEAN))]
    assert pair["mae"]["mean"] == pytest.approx(values[0] - values[1])
    assert pair["per_patient"]["p"] is not None
    assert ("all", "trained together (joint)", "no contrast (joint)") in pairs


def test_few_labels_are_marked_where_the_encoder_was_told_them_all(store: Path, tmp_path: Path) -> None:
    """A probe of three patients' ages on an encoder that was trained with everybody's is no study of few labels."""
    short = ["evaluate.modes=[linear]", "evaluate.draws=1"]
    text = evaluate(experiment_of(store, *short), None, tmp_path / "told")
    assert "MARKED: labels 3 patients in mode linear: the encoder of pretrained, no contrast was trained with" in text
    for name, more in (("untold", ["terms.0.weight=0", "variants={}"]), ("all", ["evaluate.labels=[all]"])):
        assert "MARKED" not in evaluate(experiment_of(store, *short, *more), None, tmp_path / name)
    near = "terms=[{views: [clean, loud], relation: near-target, near: 5, criterion: {name: supremix}}]"
    assert experiment_of(store, *short, near, "variants={}").reads_judged


def test_finetune_says_that_it_makes_classifiers(store: Path, tmp_path: Path) -> None:
    from biocl.commands.finetune import finetune

    with pytest.raises(UsageError, match="judged by regression"):
        finetune(experiment_of(store), None, tmp_path / "run")


def test_scores_are_those_of_the_saved_numbers(store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store, "evaluate.modes=[linear]", "variants={}", "evaluate.labels=[all]")
    evaluate(experiment, None, tmp_path / "run")
    [row] = [
        row
        for row in read_json(tmp_path / "run" / "results.json")["rows"]
        if (row["mode"], row["arm"]) == ("linear", PRETRAINED)
    ]
    predicted = load_prediction(tmp_path / "run" / "cells", Cell(("age",), "all", 0, "linear", PRETRAINED), NUMBER)
    assert predicted is not None
    fold = fold_of(experiment)
    y = targets(fold.windows)[fold.judged]
    patient = fold.windows.table.patient[fold.judged]
    assert row["metrics"]["mae"]["value"] == pytest.approx(np.abs(predicted - y).mean(), rel=1e-5)
    assert row["metrics"]["r"]["value"] == pytest.approx(np.corrcoef(predicted, y)[0, 1], rel=1e-4)
    own = own_errors(y, predicted, patient)
    assert row["per_patient"]["value"] == pytest.approx(np.mean(list(own.values())), rel=1e-5)
    with (tmp_path / "run" / "predictions.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["arm"] == PRETRAINED]
    assert [float(line["mae"]) for line in lines] == pytest.approx([own[one] for one in np.unique(patient)], rel=1e-4)
    assert [float(line["mean"]) for line in lines] == pytest.approx(sorted(set(y.tolist())), rel=1e-4)


def test_the_probe_and_the_mean_know_labelled_rows_alone(store: Path) -> None:
    fold = fold_of(experiment_of(store))
    rows, drawn = drawn_rows(fold, "3 patients", 1)
    assert len(drawn.patients) == 3
    assert set(rows) < set(fold.parts["train"])
    y = targets(fold.windows)
    mean = predict_number(fold, Cell(AGE, "3 patients", 1, FLOOR_MODE, MEAN))
    np.testing.assert_allclose(mean, y[rows].mean())
    features = fold.features("raw")
    patient = fold.windows.table.patient
    spec = fold.experiment.evaluate.probe
    expected = fit_regressor(features[rows], y[rows], patient[rows], spec=spec, seed=1).predict(features[fold.judged])
    found = predict_number(fold, Cell(AGE, "3 patients", 1, FLOOR_MODE, "raw"))
    np.testing.assert_allclose(found, expected[:, 0], rtol=1e-5)


@pytest.mark.parametrize("mode", ["joint", "full", "linear"])
def test_other_test_ages_change_no_prediction(store: Path, tmp_path: Path, mode: str) -> None:
    fold = fold_of(experiment_of(store))
    tested = np.unique(fold.windows.table.patient[fold.parts["test"]])
    other = fold_of(experiment_of(make_store(tmp_path / "other", shifted=tested.tolist())))
    cell = Cell(AGE, "3 patients", 0, mode, PRETRAINED)
    assert (targets(other.windows)[other.judged] > 900).all()
    np.testing.assert_array_equal(predict_number(fold, cell), predict_number(other, cell))


def test_windows_of_unknown_age_are_not_judged_nor_learned_from(tmp_path: Path) -> None:
    fold = fold_of(experiment_of(make_store(tmp_path / "store", unknown=[0, 1, 2, 3, 4, 5])))
    known = np.isfinite(targets(fold.windows))
    assert known_among(fold, fold.judged).tolist() == [row for row in fold.judged if known[row]]
    assert 0 < known[fold.judged].sum() < len(fold.judged)
    rows, _ = drawn_rows(fold, "all", 0)
    assert rows.tolist() == [row for row in fold.parts["train"] if known[row]]
    assert len(predict_number(fold, Cell(AGE, "all", 0, "full", PRETRAINED))) == known[fold.judged].sum()


def test_choosing_looks_at_validation_alone(store: Path, tmp_path: Path) -> None:
    few = ["evaluate.part=validation", "evaluate.modes=[linear]", "variants={}", "evaluate.labels=[all]"]
    text = evaluate(experiment_of(store, *few), None, tmp_path / "run")
    assert "2 inner validation patients" in text
    assert "for choosing, not for reporting" in text


def test_what_cannot_be_judged_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no classes"):
        evaluate(experiment_of(store, "evaluate.class_sets=[[a, b]]"), None, tmp_path / "a")
    fold = fold_of(experiment_of(store))
    tested: Any = np.unique(fold.windows.table.patient[fold.parts["test"]]).tolist()
    none = make_store(tmp_path / "none", unknown=tested)
    with pytest.raises(DataError, match="No test window has a known age"):
        evaluate(experiment_of(none), None, tmp_path / "b")
    plain = load_experiment(Path("demo"), [f"data={{store: {store}}}", *SMALL[:-2], "evaluate.task=regression"])
    with pytest.raises(UsageError, match=r"data\.target"):
        evaluate(plain, None, tmp_path / "c")
    assert regression_floors(fold) == [MEAN, "amplitude", "raw"]
