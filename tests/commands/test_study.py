"""The arms of a study: whose weights, whose medians, whose labels, and marks that no table lacks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.commands import study
from biocl.commands.evaluate import evaluate
from biocl.commands.finetune import finetune
from biocl.commands.joint import class_weights
from biocl.commands.pretrain import pretrain, validation
from biocl.commands.pretrained import joined_marks, load_pretrained
from biocl.commands.setup import Cohort, build_model, epoch_plan
from biocl.commands.study import Fold, draw_for, encoder_of, linear_probe, predict_cell, tuned_model
from biocl.config import load_experiment
from biocl.evaluation.finetuning import Labelled, load_encoder, predict
from biocl.evaluation.floors import FLOORS
from biocl.evaluation.protocol import PRETRAINED, UNTRAINED, Cell
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.training.checkpoint import load_checkpoint
from biocl.training.data import embed

CPU = torch.device("cpu")
CLASSES = ("k0", "k1", "k2")
SMALL = [
    "encoder={name: dilated-cnn, depth: 2, hidden_dim: 4, embed_dim: 6, pool: mean}",
    "batch={kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}",
    "train={steps: 3, lr: 0.01, log_every: 1}",
    "evaluate={labels: [2 patients], draws: 1, modes: [linear], bootstrap_draws: 20}",
    "finetune={mode: partial, max_steps: 2, labels: 2 patients, head: {kind: linear}}",
]
HEAD = "terms=[{head: classification, views: [clean], network: {kind: linear, class_weights: %s}}]"


def experiment_of(cohort: Cohort, *more: str) -> Experiment:
    return load_experiment(Path("demo"), [f"data={{store: {cohort.windows.store.path}}}", *SMALL, *more])


def fold_of(cohort: Cohort, *more: str) -> Fold:
    """A fold with weights that no seed of the configuration gives."""
    experiment = experiment_of(cohort, *more)
    other = build_model(experiment.model_copy(update={"seed": 77}), cohort.windows, terms=[])
    return Fold(experiment, cohort, 0, cohort.parts(), other.state_dict(), CPU)


def all_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def initial(fold: Fold) -> dict[str, torch.Tensor]:
    return build_model(fold.experiment, fold.windows, terms=[]).state_dict()


def embedding_of(fold: Fold, weights: dict[str, torch.Tensor]) -> np.ndarray:
    model = build_model(fold.experiment, fold.windows, terms=[])
    load_encoder(model, weights)
    return np.hstack([embed(model, fold.windows, fold.used, device=CPU), fold.windows.table.aux[fold.used]])


def test_each_arm_has_its_own_encoder(small_cohort: Cohort) -> None:
    fold = fold_of(small_cohort)
    assert all_equal(encoder_of(fold, PRETRAINED).state_dict(), fold.pretrained)
    assert all_equal(encoder_of(fold, UNTRAINED).state_dict(), initial(fold))
    assert not all_equal(fold.pretrained, initial(fold))
    for arm, weights in ((PRETRAINED, fold.pretrained), (UNTRAINED, initial(fold))):
        features = fold.features(arm)
        np.testing.assert_array_equal(features[fold.used], embedding_of(fold, weights).astype(np.float32))
        assert np.isnan(features[fold.parts["validation"]]).all()


@pytest.mark.parametrize("mode", ["partial", "full"])
def test_each_arm_is_tuned_from_its_own_encoder(small_cohort: Cohort, mode: str) -> None:
    fold = fold_of(small_cohort, "finetune.lr=1e-30", "finetune.weight_decay=0", "finetune.max_steps=1")
    data = Labelled.make(fold.windows, list(CLASSES))
    for arm, weights in ((PRETRAINED, fold.pretrained), (UNTRAINED, initial(fold))):
        model = tuned_model(fold, data, fold.parts["train"], Cell(CLASSES, "all", 0, mode, arm))
        encoder = {name: value for name, value in model.state_dict().items() if name.startswith("encoder.")}
        assert all_equal(encoder, weights)


@pytest.mark.parametrize("mode", ["linear", "partial"])
def test_a_cell_predicts_with_its_arm(small_cohort: Cohort, mode: str) -> None:
    fold = fold_of(small_cohort)
    data = Labelled.make(fold.windows, list(CLASSES))
    test = fold.parts["test"]
    for arm, weights in ((PRETRAINED, fold.pretrained), (UNTRAINED, initial(fold))):
        cell = Cell(CLASSES, "2 patients", 0, mode, arm)
        rows, _ = draw_for(fold, data, cell.labels, cell.draw)
        if mode == "linear":
            features = np.full((len(fold.windows), 8), np.nan, np.float32)
            features[fold.used] = embedding_of(fold, weights)
            expected = linear_probe(fold, data, rows, features, 0).predict_proba(features[test])
        else:
            expected = predict(tuned_model(fold, data, rows, cell), data, test, device=CPU)
        np.testing.assert_array_equal(predict_cell(fold, cell), expected)


def test_the_weights_of_a_run_are_its_average(small_cohort: Cohort, tmp_path: Path) -> None:
    cohort = small_cohort
    experiment = experiment_of(cohort, "train.average={kind: uniform}")
    run = pretrain(experiment, tmp_path / "run", cohort=cohort)
    fold = Fold(experiment, cohort, 0, cohort.parts(), None, CPU)
    load_pretrained(fold, run)
    checkpoint = load_checkpoint(run / "checkpoints")
    assert all_equal(fold.pretrained, checkpoint.average)
    assert not all_equal(fold.pretrained, checkpoint.weights)
    encoder = {name: value for name, value in checkpoint.average.items() if name.startswith("encoder.")}
    assert all_equal(encoder_of(fold, PRETRAINED).state_dict(), encoder)


@pytest.mark.parametrize("how", ["centre", "deviation"])
def test_features_are_relative_to_their_own_recordings_median(small_cohort: Cohort, how: str) -> None:
    fold = fold_of(small_cohort, f"evaluate.per_recording={how}")
    plain = embedding_of(fold, fold.pretrained)
    recording = fold.windows.table.rows["recording"][fold.used]
    expected = relative_slowly(plain, recording, how)
    np.testing.assert_allclose(fold.features(PRETRAINED)[fold.used], expected, rtol=1e-5, atol=1e-4)
    # A floor is shown as it is, and scaled alike under a name of its own.
    plain = FLOORS["log-variance"].features(fold.seen_by_floors)
    np.testing.assert_allclose(fold.features("log-variance")[fold.used], plain, rtol=1e-6)
    expected = relative_slowly(plain, recording, how)
    np.testing.assert_allclose(fold.features("log-variance, per recording")[fold.used], expected, atol=1e-5)


def relative_slowly(values: np.ndarray, recording: np.ndarray, how: str) -> np.ndarray:
    """Window by window, in float64."""
    medians = [np.median(values[recording == number], axis=0) for number in recording]
    difference = values.astype(np.float64) - np.stack(medians)
    return np.hstack([difference, np.abs(difference)]) if how == "deviation" else difference


def test_the_probe_knows_only_labelled_training_rows(small_cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    fold = fold_of(small_cohort)
    data = Labelled.make(fold.windows, list(CLASSES))
    features = np.random.default_rng(0).normal(size=(len(fold.windows), 5)).astype(np.float32)
    features += fold.windows.table.patient[:, None]
    rows, drawn = draw_for(fold, data, "3 patients", 1)
    assert set(rows) < set(fold.parts["train"])
    assert len(drawn.patients) == 3
    fitted: list[Any] = []
    real = study.fit_probe
    monkeypatch.setattr(study, "fit_probe", lambda *given, **keys: fitted.append(given) or real(*given, **keys))
    probe = linear_probe(fold, data, rows, features, 1)
    x, y, patient = fitted[0]
    np.testing.assert_array_equal(x, features[rows])
    np.testing.assert_array_equal(y, data.labels(rows))
    np.testing.assert_array_equal(patient, fold.windows.table.patient[rows])
    mean, scale = features[rows].mean(axis=0, dtype=np.float64), features[rows].std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(probe.arrays()["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(probe.arrays()["scale"], scale, rtol=1e-5)
    assert "3 patient-wise inner folds of 3 patients" in probe.chosen


@pytest.mark.parametrize("mode", ["linear", "partial", "full"])
def test_no_classifier_reads_test_labels_and_no_tuning_reads_test_windows(small_cohort: Cohort, mode: str) -> None:
    cohort = small_cohort
    table, test = cohort.windows.table, cohort.parts()["test"]
    rows, aux = table.rows.copy(), table.aux.copy()
    rows["label"][test] = (rows["label"][test] + 1) % 3
    changed = replace(cohort, windows=replace(cohort.windows, table=replace(table, rows=rows, aux=aux)))
    cell = Cell(CLASSES, "2 patients", 0, mode, PRETRAINED)
    np.testing.assert_array_equal(predict_cell(fold_of(cohort), cell), predict_cell(fold_of(changed), cell))
    if mode == "linear":
        return
    # All but labelled and validation windows made unreadable, the same classifier comes out.
    labelled, _ = draw_for(fold_of(cohort), Labelled.make(cohort.windows, list(CLASSES)), cell.labels, 0)
    unread = np.setdiff1d(np.arange(len(rows)), [*labelled, *cohort.parts()["validation"]])
    aux[unread], rows["start"][unread], rows["recording"][unread] = np.nan, 10**9, 0
    weights = []
    for one in (cohort, changed):
        fold = fold_of(one)
        data = Labelled.make(fold.windows, list(CLASSES))
        weights.append(tuned_model(fold, data, labelled, cell).state_dict())
    assert all_equal(*weights)


def test_validation_looks_at_the_weights_it_is_given(small_cohort: Cohort) -> None:
    experiment, cohort = experiment_of(small_cohort), small_cohort
    parts = cohort.parts()
    model, other = (build_model(experiment.model_copy(update={"seed": s}), cohort.windows) for s in (0, 77))
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    look = validation(experiment, cohort, parts, CPU, model)
    of_other = look(other.state_dict(), 1)
    assert all_equal(model.state_dict(), trained)
    assert model.training
    assert of_other == validation(experiment, cohort, parts, CPU, other)(other.state_dict(), 1)
    assert of_other != look(model.state_dict(), 1)
    # Only validation patients are looked at.
    fewer = {**parts, "train": parts["train"][:1], "test": parts["test"][:1]}
    assert of_other == validation(experiment, cohort, fewer, CPU, other)(other.state_dict(), 1)


def test_what_a_supervised_pretraining_fits_is_of_training_windows(small_cohort: Cohort, tmp_path: Path) -> None:
    cohort = small_cohort
    parts = cohort.parts()
    experiment = experiment_of(cohort, HEAD % "balanced")
    weights = pretrain(experiment, tmp_path / "run", cohort=cohort)
    kept = load_checkpoint(weights / "checkpoints").weights
    aux = cohort.windows.table.aux[parts["train"]].astype(np.float64)
    np.testing.assert_allclose(kept["heads.classification.aux_mean"], aux.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(kept["heads.classification.aux_std"], aux.std(axis=0, ddof=1), rtol=1e-5)
    labels = cohort.windows.table.label[parts["train"]]
    counts = np.bincount(labels, minlength=3)
    found = class_weights(experiment, labels, 3, CPU)
    np.testing.assert_allclose(found, counts.sum() / (3 * counts), rtol=1e-6)
    assert class_weights(experiment_of(cohort, HEAD % "none"), labels, 3, CPU) is None


def test_batches_hold_what_was_asked_of_training_rows_and_change_between_epochs(small_cohort: Cohort) -> None:
    """Patients × trials × samples, through the configuration; 9 windows a trial, so that no trial is short."""
    windows, train = small_cohort.windows, small_cohort.parts()["train"]
    rows = windows.table.rows.copy()
    rows["trial"] = 100 * rows["patient"] + (rows["start"] // 24) // 9
    windows = replace(windows, table=replace(windows.table, rows=rows))
    whole = train[(rows["start"][train] // 24) < 18]
    spec = experiment_of(small_cohort, "batch.n_patients=3", "batch.n_trials=2", "batch.n_samples=4").batch
    plan = epoch_plan(spec, windows, whole, seed=3)
    epochs = [plan(epoch) for epoch in range(2)]
    for batch in epochs[0] + epochs[1]:
        assert set(batch) <= set(whole)
        assert len(set(batch)) == len(batch) == 24
        patients, n_windows = np.unique(rows["patient"][batch], return_counts=True)
        assert (len(patients), set(n_windows)) == (3, {8})
        trials, n_windows = np.unique(rows["trial"][batch], return_counts=True)
        assert (len(trials), set(n_windows)) == (6, {4})
    members = [{frozenset(batch.tolist()) for batch in epoch} for epoch in epochs]
    assert not members[0] & members[1]
    assert all(np.array_equal(one, other) for one, other in zip(epochs[1], plan(1), strict=True))


def test_label_sizes_of_a_draw_are_nested_and_draws_and_seeds_differ(small_cohort: Cohort) -> None:
    fold = fold_of(small_cohort)
    data = Labelled.make(fold.windows, list(CLASSES))
    patients = fold.windows.table.patient
    for draw in range(3):
        before: set[int] = set()
        for labels in ("1 patient", "2 patients", "3 patients", "all"):
            rows, _ = draw_for(fold, data, labels, draw)
            whose = set(patients[rows].tolist())
            assert before < whose or not before
            assert set(rows) == {row for row in fold.parts["train"] if patients[row] in whose}
            before = whose
    draws = {draw_for(fold, data, "2 patients", draw)[1].patients for draw in range(6)}
    assert len(draws) > 2
    other = fold_of(small_cohort, "seed=5")
    assert draws != {draw_for(other, data, "2 patients", draw)[1].patients for draw in range(6)}
    small, large = (draw_for(fold, data, labels, 1)[0] for labels in ("20% windows", "50% windows"))
    assert set(small) < set(large) < set(fold.parts["train"])
    for k in range(3):
        of_class = (data.labels(fold.parts["train"]) == k).sum()
        assert (data.labels(small) == k).sum() == max(1, round(0.2 * of_class))


# Marks


def write_split(path: Path, train: str, test: str, marks: list[str]) -> str:
    fold = {"train": train.split(), "validation": [], "test": test.split()}
    content = {"format": 1, "name": "mine", "scope": "patient", "folds": [fold], "allow_shared": [], "marks": marks}
    path.write_text(json.dumps(content))
    return f"split={{file: {path}}}"


def tables_of(run: Path, said: str) -> list[str]:
    """All that a run shows of its results: what it printed, what it keeps as text, and the JSON beside the numbers."""
    kept = [path.read_text() for path in (run / "tables.md",) if path.is_file()]
    return [said, *kept, "\n".join(f"MARKED: {mark}" for mark in read_json(run / "results.json")["marks"])]


def test_marks_reach_every_table(small_cohort: Cohort, tmp_path: Path) -> None:
    """What a split says of itself, and an encoder that saw test patients."""
    one_person = "one person (p7+p8) on both sides, as published"
    ours = experiment_of(small_cohort, write_split(tmp_path / "a.json", "p0 p1 p2 p3", "p5 p6 p7", [one_person]))
    seen = experiment_of(
        small_cohort,
        write_split(tmp_path / "b.json", "p4 p5 p6", "p2 p3 p7", []),
        "evaluate.allow_seen=true",
    )
    run = pretrain(ours, tmp_path / "pretrain")
    assert one_person in read_json(run / "split.json")["marks"]
    for verb in (evaluate, finetune):
        name = verb.__name__
        for table in tables_of(tmp_path / f"{name}-ours", verb(ours, run, tmp_path / f"{name}-ours")):
            assert f"MARKED: {one_person}" in table
            assert "pretrained on test patients" not in table
        for table in tables_of(tmp_path / f"{name}-seen", verb(seen, run, tmp_path / f"{name}-seen")):
            assert "MARKED: NOT patient-independent: pretrained on test patients p2, p3" in table
            assert one_person not in table
    folds = read_json(tmp_path / "evaluate-ours" / "split.json")["folds"]
    assert folds[0]["marks"] == [one_person]
    assert read_json(tmp_path / "finetune-ours" / "split.json")["marks"] == [one_person]
    assert read_json(tmp_path / "evaluate-ours" / "split_file.json")["marks"] == [one_person]


def test_test_patients_of_several_folds_are_one_mark() -> None:
    said = "NOT patient-independent: pretrained on test patients "
    marks = ["one", said + "p1", said + "p2, p3", "one", said + "p1"]
    assert joined_marks(marks) == ["one", said + "p1, p2, p3"]
    assert joined_marks(["one"]) == ["one"]
