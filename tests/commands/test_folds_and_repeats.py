"""What a table says of several folds, of repeats of the split, and of a study within few patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biocl.commands.evaluate import evaluate
from biocl.commands.finetune import finetune
from biocl.commands.plan import make_plan
from biocl.commands.results import patient_level
from biocl.config import load_experiment
from biocl.datasets.arrays import array_dataset
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.errors import UsageError
from biocl.evaluation.metrics import classification_metrics
from biocl.files import read_json, write_json
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

SHORT = [
    "batch={kind: random, size: 16}",
    "encoder={name: dilated-cnn, depth: 2, hidden_dim: 4, embed_dim: 4}",
    "train={steps: 1}",
    "evaluate={labels: [all], draws: 1, modes: [linear], bootstrap_draws: 40, probe: {c: 0.01, max_iter: 20}}",
]


@pytest.fixture(scope="module")
def within(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people with 20 trials of two windows."""
    path = tmp_path_factory.mktemp("within") / "store"
    spec = SyntheticSpec(kind="eeg", n_patients=3, n_trials=20, n_samples=2)
    return build_store(synthetic_dataset(spec), None, path, ConditioningSpec()).path


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen people, seven of either class, with four trials of three windows."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(14), 12)
    x = rng.standard_normal((168, 2, 24)) + rng.standard_normal(14)[patient, None, None]
    x += 0.5 * (patient % 2)[:, None, None] * np.sin(np.arange(24) / 3)
    names = [f"p{p}" for p in patient]
    labels = [("well", "ill")[p % 2] for p in patient]
    dataset = array_dataset(x, labels, names, [f"t{i // 3}" for i in range(168)], sfreq=24.0)
    return build_store(dataset, None, tmp_path_factory.mktemp("between") / "store", ConditioningSpec()).path


def study(store: Path, split: str, out: Path) -> tuple[str, dict[str, Any]]:
    text = evaluate(load_experiment(Path("demo"), [f"data={{store: {store}}}", f"split={split}", *SHORT]), None, out)
    return text, read_json(out / "results.json")


def predictions(run: Path, arm: str) -> dict[int, np.ndarray]:
    """Probabilities of an arm by fold."""
    found = (run / "cells").glob(f"*_{arm}_fold*/proba.npy")
    return {int(path.parent.name.rpartition("fold")[2]): np.load(path) for path in found}


@pytest.mark.parametrize(
    ("split", "n_folds", "complete"),
    [
        ("{kind: chronological, scope: trial}", 1, 1),
        ("{kind: chronological, scope: trial, per_patient: true}", 3, 3),
        ("{kind: chronological-k-fold, scope: trial, n_folds: 2}", 2, 2),
    ],
)
def test_a_study_within_few_patients_is_over_their_trials(
    within: Path, split: str, n_folds: int, complete: int, tmp_path: Path
) -> None:
    text, results = study(within, split, tmp_path / "ev")
    assert "scope trial, NOT patient-independent" in text.splitlines()[0]
    assert "3 test patients; [95% bootstrap interval over trials of 3 patients]; metrics over windows unless" in text
    assert "paired over the same resampled trials" in text
    assert "accuracy, mean over trials" in text
    assert "over patients" not in text
    assert ("AUROC and AUPRC within" in text) == (n_folds > 1)
    row = next(row for row in results["rows"] if row["arm"] == "pretrained")
    n_trials = 60 if "k-fold" in split else 12
    assert (row["unit"], row["n_test_patients"], row["per_patient"]["n_patients"]) == ("trials", 3, n_trials)
    assert (row["n_folds"], row["n_complete_folds"], row["n_repeats"]) == (n_folds, complete, 1)
    assert row["per_patient"]["low"] is not None
    difference = next(pair for pair in results["differences"] if pair["second"].startswith("untrained"))
    assert difference["per_patient"]["n_patients"] == n_trials
    proba = np.concatenate([own for _, own in sorted(predictions(tmp_path / "ev", "pretrained").items())])
    assert row["per_patient"]["value"] == pytest.approx(row["metrics"]["accuracy"]["value"])  # trials are equally long
    assert len(proba) == 2 * n_trials


def test_a_fine_tuning_within_one_patient_is_over_trials(within: Path, tmp_path: Path) -> None:
    words = [f"data={{store: {within}}}", "split={kind: chronological, scope: trial, per_patient: true}", *SHORT]
    experiment = load_experiment(Path("demo"), [*words, "finetune.labels=all", "finetune.mode=linear"])
    text = finetune(experiment, None, tmp_path / "ft")
    assert "1 test patients, 8 windows; [bootstrap interval over trials]" in text
    assert "mean over trials" in text
    assert read_json(tmp_path / "ft" / "results.json")["per_patient"]["accuracy"]["n_patients"] == 4


def test_a_plan_says_what_is_apart(within: Path) -> None:
    words = [f"data={{store: {within}}}", "split={kind: chronological-k-fold, scope: trial, per_patient: true}", *SHORT]
    plan = make_plan(load_experiment(Path("demo"), words))
    assert plan["data"]["split"] == (
        "chronological-k-fold, per patient (scope trial, NOT patient-independent), 15 fold(s)"
    )
    assert plan["data"]["patients"] == {"train": 1, "validation": 0, "test": 1}
    assert plan["evaluate"]["seconds"] > 0


def test_repeats_are_means_and_not_more_windows(between: Path, tmp_path: Path) -> None:
    """Against a slow loop over the predictions on disk."""
    text, results = study(between, "{kind: k-fold, n_folds: 7, validation: 0, repeats: 2}", tmp_path / "ev")
    assert "14 folds" in text.splitlines()[0]
    assert "means of 2 draws of the folds; AUROC and AUPRC within the 14 of 14 folds with every class" in text
    splits = read_json(tmp_path / "ev" / "split_file.json")["folds"]
    proba = predictions(tmp_path / "ev", "pretrained")
    accuracy: dict[str, list[float]] = {}
    macro, auroc, votes = [], [], []
    for repeat in (0, 1):
        mine = [fold for fold in splits if fold.get("repeat", 0) == repeat]
        assert len(mine) == 7
        y, scores, own_y, own_votes, areas = [], [], [], [], []
        for fold in mine:
            patients = sorted(fold["test"], key=lambda name: int(name[1:]))  # windows are in the table's order
            labels = np.repeat([int(name[1:]) % 2 == 0 for name in patients], 12).astype(int)  # ill, well
            found = proba[fold["fold"]]
            areas.append(classification_metrics(labels, found, ["ill", "well"])["auroc"])
            y.append(labels)
            scores.append(found)
            for i, name in enumerate(patients):
                own = slice(12 * i, 12 * i + 12)
                accuracy.setdefault(name, []).append(float((found[own].argmax(1) == labels[own]).mean()))
                own_y.append(labels[12 * i])
                own_votes.append(found[own].mean(axis=0))
        macro.append(classification_metrics(np.concatenate(y), np.concatenate(scores), ["ill", "well"])["macro_f1"])
        votes.append(classification_metrics(own_y, own_votes, ["ill", "well"])["macro_f1"])
        auroc.append(np.mean(areas))
    row = next(row for row in results["rows"] if row["arm"] == "pretrained")
    assert (row["n_repeats"], row["n_draws"], row["n_test_patients"]) == (2, 1, 14)
    assert all(len(values) == 2 for values in accuracy.values())
    assert row["per_patient"]["value"] == pytest.approx(np.mean([np.mean(v) for v in accuracy.values()]))
    assert row["per_patient"]["n_patients"] == 14
    assert row["metrics"]["macro_f1"]["value"] == pytest.approx(np.mean(macro))
    assert row["metrics"]["auroc"]["value"] == pytest.approx(np.mean(auroc))
    assert row["patient_level"]["mean-probability"]["macro_f1"]["value"] == pytest.approx(np.mean(votes))
    again, _ = study(between, f"{{file: {tmp_path / 'ev' / 'split_file.json'}}}", tmp_path / "again")
    assert again.splitlines()[4:-1] == text.splitlines()[4:-1]


def test_without_a_fold_of_every_class_a_note_says_why(between: Path, tmp_path: Path) -> None:
    text, results = study(between, "{kind: leave-one-out, validation: 0}", tmp_path / "ev")
    note = (
        "note: AUROC needs test sets that hold every class; leave-one-pair-out: split.kind=k-fold with "
        "n_folds = patients of the smaller class"
    )
    assert note in text.splitlines()
    assert all(row["metrics"]["auroc"]["value"] is None for row in results["rows"])
    assert all(row["metrics"]["macro_f1"]["low"] is not None for row in results["rows"])
    assert "AUROC and AUPRC within" not in text


def test_repeats_of_a_hand_written_file_test_the_same_windows(between: Path, tmp_path: Path) -> None:
    names = [f"p{p}" for p in range(14)]
    folds = [{"train": names[4:], "test": names[:4]}, {"train": names[:10], "test": names[10:], "repeat": 1}]
    write_json(tmp_path / "split.json", {"name": "mine", "folds": folds})
    with pytest.raises(UsageError, match="Repeat 1 of the split tests other windows than repeat 0"):
        study(between, f"{{file: {tmp_path / 'split.json'}}}", tmp_path / "ev")
    assert not (tmp_path / "ev").exists()


def test_a_patients_verdicts_in_several_repeats_stay_apart() -> None:
    """One wrong and one right repeat are half right; their pooled windows would be all right or all wrong."""
    patients, y = np.repeat(list("abcdef"), 3), np.repeat([0, 1] * 3, 3)
    right = np.eye(2)[y] * 0.6 + 0.2
    wrong = right[:, ::-1] * 0.9 + 0.05
    fold = np.stack([np.repeat([0, 0, 1, 1, 2, 2], 3), np.repeat([3, 4, 4, 5, 5, 3], 3)])
    right += 0.5 * fold[0][:, None]  # each fold's scores on a scale of their own
    found = patient_level(y, np.stack([right, wrong]), patients, ("k0", "k1"), 20, fold)
    assert found["mean-probability"]["accuracy"]["value"] == 0.5
    assert found["mean-probability"]["auroc"]["value"] == 0.5
    assert found["vote"]["accuracy"]["n_patients"] == 6
