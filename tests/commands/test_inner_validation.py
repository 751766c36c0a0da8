"""``evaluate.part: validation``: every number is of the inner validation patients, and test patients are not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biocl.commands.evaluate import evaluate
from biocl.commands.finetune import finetune
from biocl.commands.plan import make_plan
from biocl.commands.pretrain import pretrain
from biocl.config import load_experiment
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.errors import DataError, LeakageError
from biocl.evaluation.metrics import classification_metrics
from biocl.experiment import Experiment
from biocl.files import read_json, write_json
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.store import Store
from biocl.training import data

CLASSES = ("class-0", "class-1")
NAMES = [f"P{number:03d}" for number in range(1, 10)]
TEST = NAMES[7:]
SMALL = [
    "encoder={each: {name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}, fusion: concat}",
    "batch={kind: random, size: 16}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    "terms=[{head: classification, views: [clean]}, {views: [clean, loud], relation: same-sample, "
    "criterion: {name: nt-xent}, weight: 0.1}]",
    "train={steps: 3, lr: 0.01, validate_every: 1}",
    "finetune={max_steps: 4, validate_every: 1, n_blocks: 1, head: {kind: linear}, labels: 2 patients}",
    "evaluate={labels: [2 patients, all], draws: 2, modes: [linear], bootstrap_draws: 20, probe: {c: 0.01}}",
]
CHOOSE = "evaluate.part=validation"


def cohort(folder: Path, *, strangers: Sequence[str] = ()) -> Path:
    """Nine patients with two devices; `strangers` are other people, with other labels, of the same name."""
    spec = SyntheticSpec(kind="imu", n_patients=9, n_trials=6, n_samples=3)
    plain, other = synthetic_dataset(spec), synthetic_dataset(spec.model_copy(update={"seed": 1}))
    others = {entry.name: entry for entry in other.entries(None)}  # type: ignore[arg-type]

    def read(entry: Any) -> Any:
        return other.read(others[entry.name]) if entry.name in strangers else plain.read(entry)

    return build_store(replace(plain, read=read), None, folder, ConditioningSpec()).path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cohort(tmp_path_factory.mktemp("inner") / "store")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five patients train, two validate, two test."""
    path = tmp_path_factory.mktemp("split") / "split.json"
    write_json(path, {"name": "mine", "folds": [{"train": NAMES[:5], "validation": NAMES[5:7], "test": TEST}]})
    return f"split={{file: {path}}}"


def experiment_of(store: Path, *more: str) -> Experiment:
    return load_experiment(Path("demo"), [f"data={{store: {store}, input_scale: kind}}", *SMALL, *more])


def without_paths(run: Path) -> dict[str, Any]:
    """The results, without where the weights lie."""
    results = read_json(run / "results.json")
    encoders = [{key: value for key, value in one.items() if key != "run"} for one in results["encoders"]]
    return {**results, "encoders": encoders}


def test_test_patients_may_be_anybody(store: Path, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other people with other labels in their place change no number of any arm, mode or floor."""
    other = cohort(tmp_path / "other", strangers=TEST)
    tables = [Store.open(path).windows for path in (store, other)]
    mine = np.isin(np.array(tables[0].names["patient"])[tables[0].patient], TEST)
    assert (tables[0].label[mine] != tables[1].label[mine]).any()
    gathered: set[str] = set()
    real = data.gather

    def watched(store: Any, table: Any, indices: Any, *given: Any, **keys: Any) -> Any:
        gathered.update(table.names["patient"][number] for number in np.unique(table.patient[indices]))
        return real(store, table, indices, *given, **keys)

    monkeypatch.setattr(data, "gather", watched)
    keys = (split, CHOOSE, "evaluate.modes=[joint, linear, partial]", "evaluate.devices=[[wrist], all]")
    for path, name in ((store, "one"), (other, "two")):
        evaluate(experiment_of(path, *keys, "variants={CE only: {terms.1.weight: 0}}"), None, tmp_path / name)
    one, two = (without_paths(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert (tmp_path / "one" / "predictions.csv").read_text() == (tmp_path / "two" / "predictions.csv").read_text()
    assert gathered == set(NAMES[:7])
    assert {row["arm"] for row in one["rows"]} >= {"pretrained", "CE only", "untrained", "statistics", "minirocket"}
    assert len(one["agreement"]) == 3
    # Judged on themselves they do: the same check can fail.
    judged = [evaluate(experiment_of(path, split), None, tmp_path / f"test-{path.name}") for path in (store, other)]
    assert judged[0] != judged[1]


def test_values_are_those_of_the_validation_patients(store: Path, split: str, tmp_path: Path) -> None:
    run = tmp_path / "study"
    text = evaluate(experiment_of(store, split, CHOOSE, "evaluate.labels=[all]"), None, run)
    table = Store.open(store).windows
    names = np.array(table.names["patient"])[table.patient]
    rows = np.flatnonzero(np.isin(names, NAMES[5:7]))
    results = read_json(run / "results.json")
    assert results["part"] == "validation"
    for row in results["rows"]:
        [path] = (run / "cells").glob(f"*_{row['mode']}_{row['arm']}_fold0")
        proba = np.load(path / "proba.npy")
        expected = classification_metrics(table.label[rows], proba, CLASSES)
        assert {name: one["value"] for name, one in row["metrics"].items()} == pytest.approx(expected, nan_ok=True)
        own = {
            name: classification_metrics(table.label[rows][mine], proba[mine], CLASSES)["macro_f1"]
            for name in NAMES[5:7]
            for mine in [names[rows] == name]
        }
        assert row["patients"] == pytest.approx(own)
        assert (row["part"], row["n_times"], row["n_test_patients"]) == ("validation", [1, 1], 2)
    # Every printed table says so.
    inner = "inner validation patients: for choosing, not for reporting"
    assert inner in results["protocol"]
    assert inner in results["marks"]
    assert f"MARKED: {inner}" in text
    assert "2 inner validation patients (for choosing, not for reporting)" in text
    assert "test patient" not in text
    assert "of one validation window" in text
    assert "test" not in read_json(run / "split.json")["folds"][0]["patients"]
    assert (run / "tables.md").read_text() == text.rpartition("\n\nrun folder")[0]


@pytest.mark.parametrize("draws", ["{kind: leave-one-out, validation: 0.25}", "{kind: k-fold, n_folds: 3, repeats: 2}"])
def test_a_patient_in_several_folds_counts_once(store: Path, draws: str, tmp_path: Path) -> None:
    """Against a slow loop over the predictions on disk: each is the mean over the folds that held the patient out."""
    run = tmp_path / "study"
    keys = ("evaluate.labels=[2 patients]", "evaluate.bootstrap_draws=40")
    text = evaluate(experiment_of(store, f"split={draws}", CHOOSE, *keys), None, run)
    folds = read_json(run / "split_file.json")["folds"]
    table = Store.open(store).windows
    names = np.array(table.names["patient"])[table.patient]
    held = [name for fold in folds for name in fold["validation"]]
    times = {name: held.count(name) for name in sorted(set(held))}
    assert len(set(times.values())) > 1
    results = read_json(run / "results.json")
    row = next(row for row in results["rows"] if row["arm"] == "pretrained")
    assert (row["n_test_patients"], row["n_repeats"], row["n_draws"]) == (len(times), 1, 2)
    assert row["n_times"] == [min(times.values()), max(times.values())]
    assert f"each judged in {min(times.values())} to {max(times.values())} folds, whose mean counts" in text
    scores: dict[str, list[float]] = {}
    pooled, areas = [], []
    for draw in range(2):
        tables = np.zeros((2, 2))
        for fold in folds:
            [path] = (run / "cells").glob(f"*_draw{draw}_linear_pretrained_fold{fold['fold']}")
            proba = np.load(path / "proba.npy")
            rows = np.flatnonzero(np.isin(names, fold["validation"]))
            y = table.label[rows]
            for name in fold["validation"]:
                mine = names[rows] == name
                found = classification_metrics(y[mine], proba[mine], CLASSES)
                scores.setdefault(name, []).append(found["macro_f1"])
                np.add.at(tables, (y[mine], proba[mine].argmax(axis=1)), 1 / times[name])
            areas.append(classification_metrics(y, proba, CLASSES)["auroc"])
        hits = np.diag(tables)
        pooled.append(np.mean(2 * hits / (tables.sum(axis=0) + tables.sum(axis=1))))
    assert row["metrics"]["macro_f1"]["value"] == pytest.approx(np.mean(pooled))
    assert row["metrics"]["auroc"]["value"] == pytest.approx(np.mean(areas))
    own = {name: np.mean(values) for name, values in scores.items()}
    assert row["per_patient"]["value"] == pytest.approx(np.mean(list(own.values())))
    assert row["per_patient"]["n_patients"] == len(times)
    pair = next(pair for pair in results["differences"] if pair["second"] == "untrained (linear)")
    assert pair["per_patient"]["n_patients"] == len(times)


def test_a_split_without_validation_is_refused(store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store, "split={kind: k-fold, n_folds: 3, validation: 0}", CHOOSE)
    for verb in (evaluate, finetune):
        with pytest.raises(DataError, match="has no validation patients") as refusal:
            verb(experiment, None, tmp_path / "run")
        assert "\n" not in refusal.value.paragraph()
        assert "split.validation" in refusal.value.paragraph()
    assert not (tmp_path / "run").exists()
    assert "has no validation patients" in make_plan(experiment)["evaluate"]["not possible"]


def test_an_encoder_may_have_seen_test_patients_but_not_those_who_are_judged(
    store: Path, split: str, tmp_path: Path
) -> None:
    def pretrained(name: str, train: list[str], validation: list[str]) -> Path:
        write_json(tmp_path / f"{name}.json", {"name": name, "folds": [{"train": train, "validation": validation}]})
        return pretrain(experiment_of(store, f"split={{file: {tmp_path / f'{name}.json'}}}"), tmp_path / name)

    chosen = experiment_of(store, split, CHOOSE)
    # Trained on nobody of them, as validation patients of that training, and on test patients: all may be judged here.
    for name, train, validation in (
        ("plain", NAMES[:5], NAMES[5:7]),
        ("other", NAMES[:5], NAMES[7:]),
        ("wide", NAMES[:5] + TEST, []),
    ):
        run = pretrained(name, train, validation)
        assert "pretrained on" not in evaluate(chosen, run, tmp_path / f"study-{name}")
    seen = pretrained("seen", NAMES[:6], NAMES[6:7])
    with pytest.raises(LeakageError, match="1 of 2 validation patients: P006"):
        evaluate(chosen, seen, tmp_path / "refused")
    forced = experiment_of(store, split, CHOOSE, "evaluate.allow_seen=true")
    said = "MARKED: NOT patient-independent: pretrained on validation patients P006"
    assert said in evaluate(forced, seen, tmp_path / "forced")
    with pytest.raises(LeakageError, match="2 of 2 test patients"):
        evaluate(experiment_of(store, split), tmp_path / "wide", tmp_path / "test")


def test_who_chose_the_step_is_said(store: Path, split: str, tmp_path: Path) -> None:
    said = "MARKED: mode partial: the step that is kept was chosen on the patients judged, so scores are high"
    keys = ("evaluate.modes=[linear, partial]", "evaluate.labels=[all]")
    assert said in evaluate(experiment_of(store, split, CHOOSE, *keys), None, tmp_path / "inner")
    assert "was chosen on" not in evaluate(experiment_of(store, split, *keys), None, tmp_path / "test")
    assert "was chosen on" not in evaluate(experiment_of(store, split, CHOOSE), None, tmp_path / "linear")


def test_fine_tuning_and_plan_know_the_part(store: Path, split: str, tmp_path: Path) -> None:
    experiment = experiment_of(store, split, CHOOSE, "finetune.mode=linear")
    text = finetune(experiment, None, tmp_path / "tuned")
    assert "2 validation patients, 36 windows" in text
    assert "MARKED: inner validation patients: for choosing, not for reporting" in text
    assert read_json(tmp_path / "tuned" / "results.json")["part"] == "validation"
    lines = (tmp_path / "tuned" / "predictions.csv").read_text().splitlines()[1:]
    assert {line.split(",")[1] for line in lines} == set(NAMES[5:7])
    plan = make_plan(experiment)
    assert plan["data"]["patients"] == {"train": 5, "validation": 2}
    assert "for choosing, not for reporting" in plan["data"]["read"]
    assert plan["evaluate"]["seconds"] > 0
