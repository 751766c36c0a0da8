"""Encoder and head trained together, and the same experiment under other keys, in one table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.commands import study
from biocl.commands.evaluate import evaluate
from biocl.commands.plan import make_plan
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import Cohort, build_model, open_cohort
from biocl.commands.study import Fold, draw_for, predict_cell
from biocl.config import load_experiment, variants_of
from biocl.errors import UsageError
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.protocol import PRETRAINED, Cell
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.training.checkpoint import load_checkpoint
from biocl.training.data import embed

CPU = torch.device("cpu")
TERMS = [
    {"head": "classification", "views": ["clean"], "network": {"kind": "linear"}},
    {"views": ["clean", "loud"], "relation": "same-sample", "criterion": {"name": "nt-xent"}, "weight": 0.1},
]
VARIANTS = {
    "CE only": {"terms.1.weight": 0},
    "more contrast": {"terms.1.weight": 0.5},
    "no head": {"terms.0.weight": 0},
}
SMALL = [
    "data={dataset: synthetic-ecg}",
    "encoder={name: dilated-cnn, depth: 2, hidden_dim: 4, embed_dim: 6, pool: mean}",
    "batch={kind: hierarchical, n_patients: 4, n_trials: 2, n_samples: 4}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    f"terms={json.dumps(TERMS)}",
    "train={steps: 4, lr: 0.01}",
    "evaluate={labels: [all], draws: 1, modes: [joint, linear], bootstrap_draws: 20, probe: {c: 0.01}}",
]


def experiment_of(*more: str) -> Experiment:
    return load_experiment(Path("demo"), [*SMALL, *more])


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return open_cohort(experiment_of())


def fold_of(experiment: Experiment, cohort: Cohort, run: Path) -> Fold:
    weights = load_checkpoint(run / "checkpoints", CPU).best_weights
    return Fold(experiment, cohort, 0, cohort.parts(), weights, CPU)


def joint(cohort: Cohort, labels: str = "all", draw: int = 0) -> Cell:
    return Cell(tuple(cohort.windows.table.classes), labels, draw, "joint", PRETRAINED)


def test_the_head_that_is_trained_with_the_encoder_is_judged(cohort: Cohort, tmp_path: Path) -> None:
    experiment = experiment_of("train.average=null")
    run = pretrain(experiment, tmp_path / "run", cohort=cohort)
    fold = fold_of(experiment, cohort, run)
    proba = predict_cell(fold, joint(cohort))
    weights = load_checkpoint(run / "checkpoints", CPU).weights
    model = build_model(experiment, cohort.windows)
    model.load_state_dict(weights)
    data = Labelled.make(cohort.windows, list(cohort.windows.table.classes))
    test = data.among(fold.parts["test"])
    vec = torch.from_numpy(embed(model, cohort.windows, test, device=CPU))
    with torch.no_grad():
        expected = model.heads["classification"](vec).softmax(dim=1).numpy()
    np.testing.assert_allclose(proba, expected, atol=1e-6)


def test_training_by_all_labels_is_what_pretraining_did_and_by_few_reads_no_other(
    cohort: Cohort, tmp_path: Path
) -> None:
    experiment = experiment_of()
    run = pretrain(experiment, tmp_path / "run", cohort=cohort)
    fold = fold_of(experiment, cohort, run)
    # All training patients by number: the same labels, so the same training, run again.
    n_train = len(np.unique(cohort.windows.table.rows["patient"][fold.parts["train"]]))
    again = predict_cell(fold, joint(cohort, f"{n_train} patients"))
    np.testing.assert_allclose(again, predict_cell(fold, joint(cohort)), atol=1e-6)
    few = predict_cell(fold, joint(cohort, "2 patients"))
    assert not np.allclose(few, again, atol=1e-4)
    # Other labels on windows that are not labelled, nor tested, change nothing.
    data = Labelled.make(cohort.windows, list(cohort.windows.table.classes))
    rows, _ = draw_for(fold, data, "2 patients", 0)
    table = cohort.windows.table
    spoilt = table.rows.copy()
    others = np.setdiff1d(np.arange(len(spoilt)), rows)
    spoilt["label"][others] = 1 - spoilt["label"][others]
    keeps_patients = replace(cohort, windows=replace(cohort.windows, table=replace(table, rows=spoilt)))
    spoilt_fold = Fold(experiment, keeps_patients, 0, fold.parts, fold.pretrained, CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "draw_for", lambda *_: (rows, None))
        np.testing.assert_array_equal(predict_cell(spoilt_fold, joint(cohort, "2 patients")), few)


def test_the_planned_last_step_is_reported_whatever_the_test_labels_say(tmp_path: Path, cohort: Cohort) -> None:
    """Permuted test labels leave every weight, so the chosen step too, as it was."""
    experiment = experiment_of("train.average=null", "train.validate_every=2")
    test = cohort.parts()["test"]
    table = cohort.windows.table
    spoilt = table.rows.copy()
    spoilt["label"][test] = np.random.default_rng(0).permutation(spoilt["label"][test])
    assert (spoilt["label"] != table.rows["label"]).any()
    other = replace(cohort, windows=replace(cohort.windows, table=replace(table, rows=spoilt)))
    runs = [pretrain(experiment, tmp_path / str(i), cohort=one) for i, one in enumerate((cohort, other))]
    first, second = (load_checkpoint(run / "checkpoints", CPU) for run in runs)
    assert first.state["step"] == second.state["step"] == 4
    assert all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())


def test_variants_are_rows_of_one_table_with_paired_differences(tmp_path: Path) -> None:
    experiment = experiment_of(f"variants={json.dumps(VARIANTS)}")
    text = evaluate(experiment, None, tmp_path / "study")
    results = read_json(tmp_path / "study" / "results.json")
    names = list(VARIANTS)
    rows = {(row["mode"], row["arm"]) for row in results["rows"] if row["mode"] != "floor"}
    assert rows == {
        *(("joint", name) for name in (PRETRAINED, *names[:2])),  # no head, no joint row
        *(("linear", name) for name in (PRETRAINED, *names, "untrained")),
    }
    differences = {(pair["first"], pair["second"]) for pair in results["differences"]}
    assert ("trained together (joint)", "CE only (joint)") in differences
    assert ("pretrained (linear)", "no head (linear)") in differences
    assert "CE only" in text
    # Each is its own training: other weights, in a folder of its own, remembered.
    kept = read_json(tmp_path / "study" / "encoders.json")
    assert [one["variant"] for one in kept] == ["", *names]
    assert len({one["weights"] for one in kept}) == 4
    assert len({one["run"] for one in kept}) == 4
    # A variant is the run that its own configuration would be.
    alone = pretrain(experiment_of("terms.1.weight=0"), tmp_path / "alone")
    weights = load_checkpoint(alone / "checkpoints", CPU).best_weights
    inside = load_checkpoint(Path(kept[1]["run"]) / "checkpoints", CPU).best_weights
    assert all(torch.equal(value, inside[name]) for name, value in weights.items())
    # Finished trainings are found again, by configuration.
    evaluate(experiment, None, tmp_path / "again")
    found = read_json(tmp_path / "again" / "encoders.json")
    assert found[1]["run"] == str(tmp_path / "alone")


def test_the_plan_counts_the_trainings_of_variants(tmp_path: Path) -> None:
    plain = make_plan(experiment_of())["evaluate"]
    assert plain["pretraining_s"] == 0  # one fold, which `pretrain` does
    planned = make_plan(experiment_of(f"variants={json.dumps(VARIANTS)}"))["evaluate"]
    assert planned["pretraining_s"] > 0
    assert planned["cells"] == plain["cells"] + 5


@pytest.mark.parametrize(
    ("variants", "says"),
    [
        ({"other patients": {"split.seed": 3}}, "split.seed cannot differ"),
        ({"other windows": {"data.resample_hz": 50}}, "data.resample_hz cannot differ"),
        ({"nothing": {}}, "changes nothing"),
        ({"typo": {"terms.1.wieght": 0}}, "did you mean weight"),
        ({"too far": {"terms.7.weight": 0}}, "is a list of 2"),
        ({"empty": {"terms.0.weight": 0, "terms.1.weight": 0}}, "every term has weight 0"),
        ({"pretrained": {"terms.1.weight": 0}}, "is the name of another row"),
    ],
)
def test_variants_that_compare_nothing_are_refused(variants: dict[str, dict[str, float]], says: str) -> None:
    with pytest.raises(UsageError) as refusal:
        experiment_of(f"variants={json.dumps(variants)}")
    assert says in refusal.value.paragraph()


def test_joint_needs_a_head() -> None:
    with pytest.raises(UsageError, match="joint judges the classification head"):
        experiment_of("terms.0.weight=0")
    # In a variant it is left out rather than refused.
    made = variants_of(experiment_of('variants={"no head": {terms.0.weight: 0}}'))
    assert not made["no head"].has_head
    assert made["no head"].evaluate.modes == ["joint", "linear"]


def test_a_head_of_other_classes_is_refused(tmp_path: Path) -> None:
    run = pretrain(experiment_of(), tmp_path / "run")
    turned = experiment_of("data.classes=[class-1, class-0]")
    with pytest.raises(UsageError, match="tells class-0, class-1 apart"):
        evaluate(turned, run, tmp_path / "study")
    headless = pretrain(experiment_of("terms.0.weight=0", "evaluate.modes=[linear]"), tmp_path / "headless")
    with pytest.raises(UsageError, match="trained none"):
        evaluate(experiment_of(), headless, tmp_path / "study")
    assert not (tmp_path / "study").exists()
