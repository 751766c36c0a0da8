"""Studies without a device: who lacks it, that floors and encoders see the same, and what tables say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.commands.embed import embed_store
from biocl.commands.evaluate import evaluate
from biocl.commands.plan import make_plan
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import open_cohort
from biocl.commands.study import Fold, predict_cell
from biocl.config import load_experiment
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.errors import UsageError
from biocl.evaluation.protocol import Cell
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

CPU = torch.device("cpu")
CLASSES = ("class-0", "class-1")
SMALL = [
    "split={kind: random, fractions: [0.5, 0.2, 0.3]}",
    "encoder={each: {name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}, fusion: concat}",
    "batch={kind: random, size: 16}",
    "views={clean: []}",
    "terms=[{head: classification, views: [clean], network: {kind: linear}}]",
    "train={steps: 2, lr: 0.01}",
    "evaluate={labels: [all], draws: 1, modes: [joint, linear], bootstrap_draws: 10, probe: {c: 1.0}}",
]
IN_TRAINING = {"device": "wrist", "classes": ["class-1"], "parts": ["train"]}
THE_SAME = {**IN_TRAINING, "parts": ["validation", "test"]}
THE_OTHER = {**THE_SAME, "classes": ["class-0"]}
THIRD = {"device": "ankle", "share": 0.333, "of": "trial"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients with a wrist and an ankle unit, and hardly any difference between the classes."""
    spec = SyntheticSpec(kind="imu", n_patients=10, n_trials=6, n_samples=3, class_effect=0.0)
    path = tmp_path_factory.mktemp("imu") / "store"
    return build_store(synthetic_dataset(spec), None, path, ConditioningSpec()).path


def experiment_of(store: Path, *rules: dict[str, Any], more: tuple[str, ...] = (), scale: str = "none") -> Experiment:
    data = f"data={{store: {store}, input_scale: {scale}, missing: {json.dumps(rules)}}}"
    return load_experiment(Path("demo"), [data, *SMALL, *more])


def fold_of(experiment: Experiment) -> Fold:
    cohort = open_cohort(experiment)
    return Fold(experiment, cohort, 0, cohort.parts(), None, CPU)


def accuracy(fold: Fold, floor: str) -> float:
    proba = predict_cell(fold, Cell(CLASSES, "all", 0, "floor", floor))
    return float((proba.argmax(axis=1) == fold.windows.table.label[fold.judged]).mean())


def test_who_reads_absence_as_a_label_collapses_where_it_means_the_other_one(store: Path) -> None:
    """The floor has nothing to go by but zeros: always right where absence means the same, always wrong where not."""
    assert 0.3 < accuracy(fold_of(experiment_of(store)), "statistics") < 0.7
    assert accuracy(fold_of(experiment_of(store, IN_TRAINING, THE_SAME)), "statistics") == 1
    assert accuracy(fold_of(experiment_of(store, IN_TRAINING, THE_OTHER)), "statistics") == 0


def test_floors_see_the_same_zeros_in_every_scaling(store: Path) -> None:
    fold = fold_of(experiment_of(store, THIRD, scale="kind"))
    assert fold.windows.missing is not None
    gone = fold.windows.missing[fold.used, 1]
    assert 0.3 < gone.mean() < 0.37
    for windows in (fold.seen_by_floors, fold.scaled_for_floors("window"), fold.scaled_for_floors("none")):
        silent = ~windows.x.any(axis=2)
        np.testing.assert_array_equal(silent, np.repeat([np.zeros(len(gone), bool), gone], 6, axis=0).T)


def test_rules_of_training_leave_those_who_are_judged_alone(store: Path) -> None:
    plain, fold = fold_of(experiment_of(store)), fold_of(experiment_of(store, IN_TRAINING))
    for part in ("validation", "test"):
        rows = fold.parts[part]
        np.testing.assert_array_equal(fold.windows.arrays(rows), plain.windows.arrays(rows))
        assert fold.windows.present(rows).all()
    rows = fold.parts["train"]
    np.testing.assert_array_equal(fold.windows.present(rows)[:, 0], fold.windows.table.label[rows] == 0)


def test_conditions_are_variants_of_one_table(store: Path, tmp_path: Path) -> None:
    variants = {
        "complete": {"data.missing": []},
        "a third": {"data.missing": [THIRD]},
        "reversed, mean": {"data.missing": [IN_TRAINING, THE_OTHER], "encoder.fusion": "mean"},
    }
    experiment = experiment_of(store, IN_TRAINING, more=(f"variants={json.dumps(variants)}",))
    text = evaluate(experiment, None, tmp_path / "study")
    results = read_json(tmp_path / "study" / "results.json")
    said = "wrist is taken away from all of the recordings of class class-1 (train)"
    assert f"MARKED: {said}" in text
    assert said in results["protocol"]

    def metrics(run: str, mode: str, arm: str) -> Any:
        rows = read_json(tmp_path / run / "results.json")["rows"]
        return next(row["metrics"] for row in rows if (row["mode"], row["arm"]) == (mode, arm))

    # Each is the study that its own configuration would be.
    alone = {
        "complete": experiment_of(store),
        "a third": experiment_of(store, THIRD),
        "reversed, mean": experiment_of(store, IN_TRAINING, THE_OTHER, more=("encoder.fusion=mean",)),
    }
    for name, one in alone.items():
        evaluate(one, None, tmp_path / name.replace(",", ""))
        for mode in ("joint", "linear"):
            assert metrics("study", mode, name) == metrics(name.replace(",", ""), mode, "pretrained")
    assert len({json.dumps(metrics("study", "joint", name)) for name in ("pretrained", *variants)}) > 2
    # How much was taken away, and from which classes, is said.
    counted = {(row["arm"], row["device"]): row for row in results["missing"]}
    assert set(counted) == {("pretrained", "wrist"), ("a third", "ankle"), ("reversed, mean", "wrist")}
    assert counted["pretrained", "wrist"]["train"] == {"share": 0.5, "classes": ["class-1"]}
    assert counted["pretrained", "wrist"]["test"] == {"share": 0.0, "classes": []}
    assert counted["reversed, mean", "wrist"]["test"] == {"share": 0.5, "classes": ["class-0"]}
    assert counted["a third", "ankle"]["train"]["classes"] == []
    assert counted["a third", "ankle"]["test"]["share"] == pytest.approx(1 / 3)
    [line] = [line for line in text.splitlines() if line.startswith("| reversed, mean") and "| wrist" in line]
    assert [cell.strip() for cell in line.split("|")[3:5]] == [
        "50%, those of class-1 alone",
        "50%, those of class-0 alone",
    ]
    assert "data.missing" not in evaluate(alone["complete"], None, tmp_path / "again")


def test_judged_on_validation_patients_their_rules_count(store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store, IN_TRAINING, THE_OTHER, more=("evaluate.part=validation",))
    fold = fold_of(experiment)
    assert accuracy(fold, "statistics") == 0
    text = evaluate(experiment, None, tmp_path / "study")
    header = next(line for line in text.splitlines() if line.startswith("| what"))
    [row] = read_json(tmp_path / "study" / "results.json")["missing"]
    assert row["validation"] == {"share": 0.5, "classes": ["class-0"]}
    assert [cell.strip() for cell in header.split("|")[1:-1]] == ["what", "device", "training", "validation"]
    assert "is taken away from" in make_plan(experiment)["data"]["read"]


def test_subsets_of_devices_lack_what_is_theirs(store: Path, tmp_path: Path) -> None:
    """Windows without the only device that is read are judged all the same, from nothing."""
    experiment = experiment_of(store, IN_TRAINING, THE_OTHER, more=("evaluate.devices=[each, all]",))
    evaluate(experiment, None, tmp_path / "study")
    rows = {
        (*row["devices"], row["mode"], row["arm"]): row["metrics"]["accuracy"]["value"]
        for row in read_json(tmp_path / "study" / "results.json")["rows"]
    }
    assert rows["wrist", "floor", "statistics"] == 0
    assert rows["all", "floor", "statistics"] == 0
    assert 0.3 < rows["ankle", "floor", "statistics"] < 0.7
    assert all(np.isfinite(value) for value in rows.values())


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("data.missing=[{device: hip}]", "no device 'hip'"),
        ("data.missing=[{device: wrist, classes: [class-7]}]", "no class 'class-7'"),
        ("variants={v: {data.missing: [{device: hip}]}}", "no device 'hip'"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_written(
    store: Path, keys: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        evaluate(experiment_of(store, more=(keys,)), None, tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("data.missing=[{device: wrist, share: 0}]", "greater than 0"),
        ("data.missing=[{device: wrist, parts: [training]}]", "'train', 'validation' or 'test'"),
        ("data.missing=[{device: wrist, of: patient}]", "'recording', 'trial' or 'window'"),
        ("data.align={kind: euclidean}", "data.align mixes the channels of all devices"),
        (
            "data.windows={kind: sliding, length_s: 1.0, step_s: 1.0, horizon_s: 1.0}",
            "data.missing takes away what data.windows.horizon_s would forecast",
        ),
    ],
)
def test_rules_that_make_no_sense_are_refused(store: Path, key: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        experiment_of(store, THIRD, more=(key,))


def test_embeddings_are_of_every_device(store: Path, tmp_path: Path) -> None:
    whole = {**THIRD, "share": 1.0}
    run = pretrain(experiment_of(store, whole), tmp_path / "run")
    assert "data.missing is not applied" in embed_store(run, store, tmp_path / "e.npz")
    plain = pretrain(experiment_of(store), tmp_path / "plain")
    assert "not applied" not in embed_store(plain, store, tmp_path / "p.npz")
    assert np.load(tmp_path / "e.npz")["embedding"][:, 6:].any(axis=1).all()
