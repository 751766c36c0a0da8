"""A study of several labels at once: heads and probes of each label, areas under curves, intervals over patients."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from biocl.commands.evaluate import evaluate
from biocl.commands.plan import make_plan
from biocl.commands.setup import build_model, open_cohort
from biocl.commands.several_labels import LABELS, SHARES, known_among, predict_labels, shares
from biocl.commands.study import Fold, load_prediction
from biocl.config import load_experiment
from biocl.datasets.dataset import Entry
from biocl.datasets.series import ETTH1
from biocl.errors import DataError, UsageError
from biocl.evaluation.protocol import FLOOR_MODE, PRETRAINED, Cell
from biocl.evaluation.several_labels import macro_auroc, resample_labels
from biocl.evaluation.values import predict_values
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.objectives.heads.multi_label import asymmetric_loss, decoupled_softmax_loss, softmax_loss
from biocl.objectives.terms import make_views, step_loss
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.table import read_table, write_table

N_PATIENTS, SECONDS, SFREQ = 16, 8, 20
NAMES = ("loud", "fast")
CPU = torch.device("cpu")
SMALL = [
    "split={kind: random, fractions: [0.5, 0.2, 0.3]}",
    "encoder={name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}",
    "batch={kind: random, size: 16}",
    "views={clean: [], more: [{jitter: 0.1}]}",
    "terms=[{head: multi-label, views: [clean]}, {views: [clean, more], relation: same-sample, "
    "criterion: {name: nt-xent}, weight: 0.1}]",
    "train={steps: 3, lr: 0.01}",
    "finetune={max_steps: 2, validate_every: 1}",
    "evaluate={labels: [3 patients, all], draws: 2, modes: [joint, linear, full], bootstrap_draws: 30}",
    "variants={no contrast: {terms.1.weight: 0}, no head: {terms.0.weight: 0}}",
]


def holds(patient: int) -> dict[str, bool]:
    return {"loud": patient % 2 == 0, "fast": patient % 4 < 2}


def make_store(folder: Path, other: tuple[int, ...] = (), unknown: tuple[int, ...] = ()) -> Path:
    """Patients who are loud or not and fast or not; of `other` ones the labels are turned around."""
    time = np.arange(SECONDS * SFREQ) / SFREQ

    def read(entry: Entry) -> Recording:
        number = int(entry.patient[1:])
        own = holds(number)
        rng = np.random.default_rng(number)
        wave = np.sin(2 * np.pi * (4.0 if own["fast"] else 1.0) * time)[:, None] + 0.2 * rng.normal(size=(len(time), 2))
        values = (wave * (3.0 if own["loud"] else 1.0)).astype(np.float32)
        said = {name: "yes" if value != (number in other) else "no" for name, value in own.items()}
        if number in unknown:
            said["fast"] = "not said"
        channels = [Channel(name, "other", "NU") for name in "ab"]
        return Recording.from_array(entry.name, entry.patient, SFREQ, values, channels, labels={**said, "never": "no"})

    names = [f"p{number:02d}" for number in range(N_PATIENTS)]
    dataset = replace(
        ETTH1,
        name="labelled",
        entries=lambda raw: [Entry(name, patient=name, source="made") for name in names],
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
    return make_store(tmp_path_factory.mktemp("labelled") / "s")


def experiment_of(store: Path, *keys: str) -> Experiment:
    return load_experiment(
        Path("demo"), [f"data={{store: {store}, labels: [loud, fast], input_scale: none}}", *SMALL, *keys]
    )


@pytest.fixture(scope="module")
def judged(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("judged") / "study"
    evaluate(experiment_of(store), None, run)
    return run


def fold_of(experiment: Experiment) -> Fold:
    cohort = open_cohort(experiment)
    return Fold(experiment, cohort, 0, cohort.parts(0), None, CPU)


def test_the_table_says_which_labels_hold(store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store)
    table = open_cohort(experiment).windows.table
    patient = np.array([int(name[1:]) for name in table.names["patient"]])[table.patient]
    assert table.label_names == NAMES
    for name, column in zip(NAMES, table.labels.T, strict=True):
        assert [bool(said) for said in column] == [holds(number)[name] for number in patient]
    write_table(table, tmp_path)
    again = read_table(tmp_path)
    np.testing.assert_array_equal(again.labels, table.labels)
    assert again.label_names == NAMES
    assert again.digest() == table.digest() != replace(table, labels=1 - table.labels).digest()
    np.testing.assert_array_equal(table.take(np.array([5, 2])).labels, table.labels[[5, 2]])
    assert make_plan(experiment)["data"]["labels"].startswith("loud 56 yes, 56 no; fast 56 yes, 56 no")


@pytest.mark.parametrize(
    ("name", "function"),
    [("softmax", softmax_loss), ("decoupled-softmax", decoupled_softmax_loss), ("asymmetric", asymmetric_loss)],
)
def test_the_loss_of_a_term_is_that_function(store: Path, name: str, function: Any) -> None:
    experiment = experiment_of(store, f"terms=[{{head: multi-label, views: [clean], loss: {name}}}]", "variants={}")
    cohort = open_cohort(experiment)
    model = build_model(experiment, cohort.windows).eval()
    batch = cohort.windows.batch(np.arange(0, 100, 7), CPU)
    keys: dict[str, Any] = {"hidden_dim": None, "generator": torch.Generator(), "seed_of": lambda name: 0}
    views = make_views(batch, experiment.views, experiment.terms, **keys)
    logits = model.heads["multi-label"].logits(model.read(batch.x), batch)
    total = step_loss(model, batch, views, experiment.terms).total
    assert float(total) == pytest.approx(float(function(logits, batch.labels)), rel=1e-6)
    total.backward()
    assert all(weight.grad is not None for weight in model.heads.parameters())


def test_binary_is_the_cross_entropy_of_what_is_known(tmp_path: Path) -> None:
    experiment = experiment_of(
        make_store(tmp_path / "s", unknown=(0, 3)), "terms=[{head: multi-label, views: [clean]}]", "variants={}"
    )
    cohort = open_cohort(experiment)
    model = build_model(experiment, cohort.windows).eval()
    batch = cohort.windows.batch(np.arange(0, 60, 3), CPU)
    assert batch.labels is not None
    known = batch.labels >= 0
    assert 0 < int((~known).sum()) < known.numel()
    head = model.heads["multi-label"]
    latents = model.read(batch.x)
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(
        head.logits(latents, batch)[known], batch.labels[known].float()
    )
    assert float(head.loss(latents, batch)) == pytest.approx(float(wanted), rel=1e-6)


def test_areas_are_those_of_scikit_learn_over_what_is_known() -> None:
    rng = np.random.default_rng(0)
    labels, score = rng.integers(-1, 2, (60, 3)).astype(np.int8), rng.random((60, 3))
    labels[:, 2] = 1  # has one side only, and no area
    unit = rng.integers(0, 9, 60)
    known = [labels[:, i] >= 0 for i in (0, 1)]
    roc = [roc_auc_score(labels[mine, i], score[mine, i]) for i, mine in enumerate(known)]
    pr = [average_precision_score(labels[mine, i], score[mine, i]) for i, mine in enumerate(known)]
    found = {name: one.value for name, one in resample_labels(labels, score, unit, n_draws=20).intervals().items()}
    assert found["auroc 0"] == pytest.approx(roc[0])
    assert found["auroc 1"] == pytest.approx(roc[1])
    assert np.isnan(found["auroc 2"])
    assert found["macro_auroc"] == pytest.approx(np.mean(roc)) == pytest.approx(macro_auroc(labels, score))
    assert found["macro_auprc"] == pytest.approx(np.mean(pr))
    two = resample_labels(labels, np.stack([score, 1 - score]), unit, n_draws=20).intervals()
    assert two["macro_auroc"].value == pytest.approx(0.5)


def test_a_study_has_a_row_of_every_arm(judged: Path) -> None:
    results = read_json(judged / "results.json")
    rows = {(row["labels"], row["mode"], row["arm"]): row for row in results["rows"]}
    for labels in ("3 patients", "all"):
        arms = {(mode, arm) for size, mode, arm in rows if size == labels}
        assert {("joint", "pretrained"), ("joint", "no contrast"), ("linear", "no head"), ("full", "untrained")} <= arms
        assert ("joint", "no head") not in arms
        assert rows[labels, "floor", SHARES]["metrics"]["macro_auroc"]["value"] == pytest.approx(0.5)
    # Loudness is what amplitude says.
    assert rows["all", "floor", "amplitude"]["metrics"]["auroc loud"]["value"] > 0.9
    assert results["differences"][0]["macro_auroc"]["mean"] == pytest.approx(
        rows["3 patients", "joint", "pretrained"]["metrics"]["macro_auroc"]["value"]
        - rows["3 patients", "joint", "no contrast"]["metrics"]["macro_auroc"]["value"]
    )
    text = (judged / "tables.md").read_text()
    assert "labels loud, fast" in text
    assert "AUROC fast" in text
    with (judged / "predictions.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["loud"] for line in lines} == {"0", "1"}
    assert all(0 <= float(line["fast predicted"]) <= 1 for line in lines)


def test_joint_predictions_are_those_of_the_pretrained_model(judged: Path, store: Path) -> None:
    fold = fold_of(experiment_of(store))
    from biocl.training.checkpoint import load_checkpoint

    model = build_model(fold.experiment, fold.windows)
    model.load_state_dict(load_checkpoint(judged / "pretrain-fold0" / "checkpoints", CPU).best_weights)
    cell = Cell(NAMES, "all", 0, "joint", PRETRAINED)
    wanted = predict_values(model, fold.windows, known_among(fold, fold.judged), device=CPU)
    np.testing.assert_allclose(load_prediction(judged / "cells", cell, LABELS), wanted, rtol=1e-5)


def test_labels_of_those_who_are_judged_change_no_prediction(judged: Path, store: Path, tmp_path: Path) -> None:
    fold = fold_of(experiment_of(store))
    table = fold.windows.table
    test = tuple(int(table.names["patient"][code][1:]) for code in np.unique(table.patient[fold.judged]))
    other = evaluate(experiment_of(make_store(tmp_path / "s", other=test)), None, tmp_path / "run")
    assert other != (judged / "tables.md").read_text()
    for mode, arm in (("joint", PRETRAINED), ("linear", PRETRAINED), ("full", "untrained"), (FLOOR_MODE, "raw")):
        cell = Cell(NAMES, "3 patients", 1, mode, arm)
        first, second = (load_prediction(run / "cells", cell, LABELS) for run in (judged, tmp_path / "run"))
        np.testing.assert_array_equal(first, second)


def test_shares_rank_nobody_over_folds_that_leave_out_others(store: Path, tmp_path: Path) -> None:
    """Who has a label lowers its share among all others: put side by side, shares would rank by what is to be told."""
    keys = ["split={kind: leave-one-out, validation: 0.2}", "evaluate.labels=[all]", "evaluate.modes=[linear]"]
    text = evaluate(experiment_of(store, *keys, "variants={}"), None, tmp_path / "run")
    rows = {row["arm"]: row["metrics"] for row in read_json(tmp_path / "run" / "results.json")["rows"]}
    for name in ("macro_auroc", "auroc loud", "auroc fast"):
        assert rows[SHARES][name]["value"] == 0.5
    assert rows[SHARES]["macro_auprc"]["value"] == 0.5  # half of the patients have either label
    assert "scores of different models are put side by side" in text


def test_a_label_of_one_side_has_its_share(tmp_path: Path) -> None:
    fold = fold_of(experiment_of(make_store(tmp_path / "s")))
    labels = fold.windows.table.labels
    assert labels is not None
    rows = fold.parts["train"]
    labels[rows, 0] = 1
    said = predict_labels(fold, Cell(NAMES, "all", 0, FLOOR_MODE, "raw"))
    assert (said[:, 0] == 1).all()
    assert len(np.unique(said[:, 1])) > 1
    np.testing.assert_allclose(shares(np.array([[1, -1], [0, -1], [-1, -1]])), [0.5, 0.5])


def test_a_resume_computes_nothing_again(judged: Path, store: Path, tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (judged / "cells").rglob("*") if path.is_file()}
    text = evaluate(experiment_of(store), None, judged, resume=True)
    assert {path.name: path.stat().st_mtime_ns for path in (judged / "cells").rglob("*") if path.is_file()} == before
    assert text.startswith((judged / "tables.md").read_text())


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        (["data.labels=[loud, quiet]"], UsageError, "No recording has a label called 'quiet'"),
        (["data.labels=[loud, never]"], DataError, "yes of 0 recordings and no of 16"),
        (["data.labels=[loud, loud]"], UsageError, "names a label twice"),
        (["data.labels=null", "evaluate.task=multi-label"], UsageError, "the windows have none"),
        (["evaluate.class_sets=[[a, b]]"], UsageError, "are no classes"),
        (
            ["split={kind: leave-one-out, validation: 0.3}", "evaluate.part=validation"],
            UsageError,
            "Several folds have the same validation windows",
        ),
    ],
)
def test_refusals(store: Path, tmp_path: Path, keys: list[str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        evaluate(experiment_of(store, *keys), None, tmp_path / "run")
    assert not (tmp_path / "run").exists()
