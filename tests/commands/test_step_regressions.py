"""A study of a number of every time step: floors, probes and heads, judged patient by patient; and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.cli import app
from biocl.commands.evaluate import evaluate
from biocl.commands.regressions import NUMBER, drawn_rows, known_among
from biocl.commands.setup import build_model, open_cohort
from biocl.commands.step_regressions import AROUND, FLOORS, MEAN, SAME, mean_of_steps, predict_steps
from biocl.commands.study import Fold, load_prediction
from biocl.config import load_experiment
from biocl.datasets.dataset import Entry
from biocl.datasets.series import ETTH1
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.errors import BioclError, DataError, UsageError
from biocl.evaluation.protocol import FLOOR_MODE, PRETRAINED, UNTRAINED, Cell
from biocl.evaluation.regression import own_metrics
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

N_PATIENTS, SFREQ, N_TIMES = 14, 20, 240
CHANNELS = [Channel("a", "other", "NU"), Channel("b", "other", "NU"), Channel("effort", "other", "cmH2O")]
SMALL = [
    "split={kind: random, fractions: [0.4, 0.15, 0.45]}",
    "encoder={name: dilated-cnn, depth: 2, hidden_dim: 8, embed_dim: 8, dropout: 0.0}",
    "batch={kind: random, size: 16}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    "terms=[{head: step-regression, views: [clean]}, {views: [clean, loud], relation: same-sample, "
    "criterion: {name: nt-xent}, weight: 0.1}]",
    "train={steps: 3, lr: 0.01}",
    "finetune={max_steps: 2, validate_every: 1}",
    "evaluate={labels: [3 patients, all], draws: 2, modes: [joint, linear, full], bootstrap_draws: 30}",
    "variants={no contrast: {terms.1.weight: 0}, no head: {terms.0.weight: 0}}",
]
WITHOUT_STEPS = [
    "encoder={name: channel-transformer, hidden_dim: 8, projector: [8]}",
    "terms=[{views: [clean, loud], relation: same-sample, criterion: {name: nt-xent}}]",
    "variants={}",
]
TARGET = ("effort [cmH2O]",)


def make_store(folder: Path, *, shifted: Sequence[int] = (), gaps: Sequence[int] = ()) -> Path:
    """Patients whose effort is how strong channel ``a`` was in the last half second, in a unit of its own."""
    rng = np.random.default_rng(0)
    signals = {}
    for number in range(N_PATIENTS):
        size = 1 + np.sin(np.arange(N_TIMES) / 9 + rng.random() * 6)
        inputs = rng.normal(size=(N_TIMES, 2)) * np.stack([size, np.ones(N_TIMES)], axis=1) * rng.uniform(0.8, 1.2)
        strength = np.convolve(np.abs(inputs[:, 0]), np.ones(8) / 8)[:N_TIMES]
        effort = 300 + 10 * strength + 900 * (number in shifted)
        effort[: 120 if number in gaps else 0] = np.nan
        signals[f"p{number:02d}"] = np.column_stack([inputs, effort]).astype(np.float32)

    dataset = replace(
        ETTH1,
        name="efforts",
        entries=lambda raw: [Entry(name, patient=name, source="made") for name in signals],
        read=lambda entry: Recording.from_array(entry.name, entry.patient, SFREQ, signals[entry.patient], CHANNELS),
        splits={},
        defaults={
            "windows": {"kind": "sliding", "length_s": 2.0, "step_s": 1.0},
            "trials": {"kind": "recording"},
            "classes": [],
        },
    )
    return build_store(dataset, None, folder, ConditioningSpec(nan="keep", range="keep")).path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("efforts") / "store")


def data_of(store: Path, more: str = "") -> str:
    return f"data={{store: {store}, target: {{kind: channel, name: effort}}, input_scale: none{more}}}"


def experiment_of(store: Path, *more: str, data: str = "") -> Experiment:
    return load_experiment(Path("demo"), [data_of(store, data), *SMALL, *more])


def fold_of(experiment: Experiment) -> Fold:
    cohort = open_cohort(experiment)
    fold = Fold(experiment, cohort, 0, cohort.parts(), None, torch.device("cpu"))
    fold.pretrained = build_model(experiment, fold.windows).state_dict()
    return fold


def test_every_row_stands_beside_its_floors(store: Path, tmp_path: Path) -> None:
    text = evaluate(experiment_of(store, "evaluate.draws=1"), None, tmp_path / "run")
    results = read_json(tmp_path / "run" / "results.json")
    rows = {(row["labels"], row["mode"], row["arm"]): row for row in results["rows"]}
    found = {key[1:] for key in rows if key[0] == "all"}
    assert found == {
        *((FLOOR_MODE, name) for name in (MEAN, *FLOORS)),
        *(("joint", arm) for arm in (PRETRAINED, "no contrast")),
        *((mode, arm) for mode in ("linear", "full") for arm in (PRETRAINED, "no contrast", "no head", UNTRAINED)),
    }
    assert {key[1:] for key in rows if key[0] == "3 patients"} == found
    assert "target effort [cmH2O], 6 test patients, 66 windows; [95% bootstrap interval over patients]" in text
    assert "MAE and r over time steps unless patients are named" in text
    assert "| RMSE, mean over patients" in text
    row = rows["all", "linear", PRETRAINED]
    for metric in ("mae", "rmse", "r"):
        assert row["own_metrics"][metric]["low"] <= row["own_metrics"][metric]["value"]
    pairs = {(pair["labels"], pair["first"], pair["second"]) for pair in results["differences"]}
    assert ("all", "trained together (joint)", f"{AROUND} (floor)") in pairs
    assert ("all", "trained together (joint)", "no contrast (joint)") in pairs


def test_a_filtered_copy_of_an_input_is_learned_better_than_every_floor(store: Path, tmp_path: Path) -> None:
    """Known answer: a linear map of the samples cannot tell the size of a sign-less noise, a small network can."""
    more = [
        "terms=[{head: step-regression}]", "variants={}", "views={clean: []}",
        "encoder={name: dilated-cnn, depth: 3, hidden_dim: 16, embed_dim: 16, dropout: 0.0}",
        "train={steps: 150, lr: 0.01, schedule: cosine, average: null}",
        "evaluate={labels: [all], modes: [joint, linear], bootstrap_draws: 30}",
    ]  # fmt: skip
    evaluate(experiment_of(store, *more), None, tmp_path / "run")
    rows = {(row["mode"], row["arm"]): row for row in read_json(tmp_path / "run" / "results.json")["rows"]}
    mae = {key: row["own_metrics"]["mae"]["value"] for key, row in rows.items()}
    floors = [mae[FLOOR_MODE, name] for name in (MEAN, *FLOORS)]
    assert mae["joint", PRETRAINED] < 0.5 * min(floors)
    assert mae["linear", PRETRAINED] < 0.8 * min(floors)
    assert mae["linear", PRETRAINED] < mae["linear", UNTRAINED]
    assert rows["joint", PRETRAINED]["own_metrics"]["r"]["value"] > 0.9
    assert abs(rows[FLOOR_MODE, SAME]["own_metrics"]["r"]["value"]) < 0.4


def test_scores_are_those_of_the_saved_numbers(store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store, "evaluate.modes=[linear]", "variants={}", "evaluate.labels=[all]")
    evaluate(experiment, None, tmp_path / "run")
    [row] = [
        row
        for row in read_json(tmp_path / "run" / "results.json")["rows"]
        if (row["mode"], row["arm"]) == ("linear", PRETRAINED)
    ]
    predicted = load_prediction(tmp_path / "run" / "cells", Cell(TARGET, "all", 0, "linear", PRETRAINED), NUMBER)
    assert predicted is not None
    fold = fold_of(experiment)
    y = fold.windows.trace(fold.judged).astype(np.float64)
    assert predicted.shape == y.shape == (66, 40)
    assert row["metrics"]["mae"]["value"] == pytest.approx(np.abs(predicted - y).mean(), rel=1e-5)
    assert row["metrics"]["rmse"]["value"] == pytest.approx(np.sqrt(((predicted - y) ** 2).mean()), rel=1e-5)
    assert row["metrics"]["r"]["value"] == pytest.approx(np.corrcoef(predicted.ravel(), y.ravel())[0, 1], rel=1e-4)
    patient = fold.windows.table.patient[fold.judged]
    slowly = {}
    for one in np.unique(patient):
        a, b = predicted[patient == one].ravel(), y[patient == one].ravel()
        slowly[one] = {
            "mae": np.abs(a - b).mean(),
            "rmse": np.sqrt(((a - b) ** 2).mean()),
            "r": np.corrcoef(a, b)[0, 1],
        }
    own = own_metrics(y, predicted, patient)
    for one, metrics in slowly.items():
        assert own[one] == pytest.approx(metrics, rel=1e-4)
    for metric, found in row["own_metrics"].items():
        assert found["value"] == pytest.approx(np.mean([one[metric] for one in slowly.values()]), rel=1e-4)
    with (tmp_path / "run" / "predictions.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["arm"] == PRETRAINED]
    for metric in ("mae", "rmse", "r"):
        assert [float(line[metric]) for line in lines] == pytest.approx(
            [one[metric] for one in slowly.values()], rel=1e-3
        )


def test_metrics_leave_unknown_steps_out() -> None:
    rng = np.random.default_rng(0)
    y, said = rng.normal(size=(9, 5)), rng.normal(size=(9, 5))
    unit = np.repeat([2, 0, 1], 3)
    y[:, 3:][rng.random((9, 2)) < 0.5] = np.nan
    own = own_metrics(y, said, unit)
    for one in range(3):
        known = np.isfinite(y) & (unit == one)[:, None]
        assert own[one]["mae"] == pytest.approx(np.abs(y - said)[known].mean())
        assert own[one]["r"] == pytest.approx(np.corrcoef(y[known], said[known])[0, 1])


@pytest.mark.parametrize("arm", [MEAN, SAME, AROUND])
@pytest.mark.parametrize("labels", ["3 patients", "all"])
def test_floors_know_labelled_rows_alone(store: Path, tmp_path: Path, arm: str, labels: str) -> None:
    fold = fold_of(experiment_of(store))
    rows, _ = drawn_rows(fold, labels, 1 if labels != "all" else 0)
    drawn = set(fold.windows.table.patient[rows].tolist())
    other = fold_of(experiment_of(make_store(tmp_path / "other", shifted=sorted(set(range(N_PATIENTS)) - drawn))))
    cell = Cell(TARGET, labels, 1 if labels != "all" else 0, FLOOR_MODE, arm)
    found = predict_steps(fold, cell)
    assert found.shape == (len(fold.judged), 40)
    np.testing.assert_array_equal(found, predict_steps(other, cell))
    if arm == MEAN:
        np.testing.assert_allclose(found[0], fold.windows.trace(rows).mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("mode", ["joint", "full", "linear"])
def test_other_efforts_of_test_patients_change_no_prediction(store: Path, tmp_path: Path, mode: str) -> None:
    fold = fold_of(experiment_of(store))
    tested = np.unique(fold.windows.table.patient[fold.parts["test"]])
    other = fold_of(experiment_of(make_store(tmp_path / "other", shifted=tested.tolist())))
    cell = Cell(TARGET, "3 patients", 0, mode, PRETRAINED)
    assert (other.windows.trace(other.judged) > 1000).all()
    np.testing.assert_array_equal(predict_steps(fold, cell), predict_steps(other, cell))


def test_joint_training_reads_the_effort_of_labelled_windows_alone(store: Path, tmp_path: Path) -> None:
    fold = fold_of(experiment_of(store))
    rows, _ = drawn_rows(fold, "3 patients", 0)
    drawn = set(fold.windows.table.patient[rows].tolist())
    rest = sorted(set(fold.windows.table.patient[fold.parts["train"]].tolist()) - drawn)
    other = fold_of(experiment_of(make_store(tmp_path / "other", shifted=rest)))
    cell = Cell(TARGET, "3 patients", 0, "joint", PRETRAINED)
    np.testing.assert_array_equal(predict_steps(fold, cell), predict_steps(other, cell))


def test_windows_without_any_effort_are_not_judged_nor_learned_from(tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", gaps=[0, 1, 2, 3, 4, 5])
    fold = fold_of(experiment_of(path, data=", quality: {nan: 1.0}"))
    assert fold.windows.table.has_gaps
    known = np.isfinite(fold.windows.trace(np.arange(len(fold.windows)))).any(axis=1)
    assert known_among(fold, fold.judged).tolist() == [row for row in fold.judged if known[row]]
    assert 0 < known[fold.judged].sum() < len(fold.judged)
    for mode, arm in ((FLOOR_MODE, AROUND), (FLOOR_MODE, MEAN), ("linear", PRETRAINED), ("full", PRETRAINED)):
        said = predict_steps(fold, Cell(TARGET, "all", 0, mode, arm))
        assert len(said) == known[fold.judged].sum()
        assert np.isfinite(said).all()


def test_the_mean_of_a_step_that_nobody_knows_is_that_of_all_steps() -> None:
    traces = np.array([[1.0, np.nan, np.nan], [3.0, 8.0, np.nan]])
    assert mean_of_steps(traces).tolist() == [2.0, 8.0, 4.0]


def test_the_command_line_in_short_form(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, run = tmp_path / "effort.yaml", tmp_path / "run"
    lines = [data_of(store), *SMALL[:-2], "evaluate={labels: [all], modes: [joint, linear], bootstrap_draws: 30}"]
    config.write_text("\n".join(line.replace("=", ": ", 1) for line in lines))
    for words in (
        ["plan", str(config)],
        ["pretrain", str(config), "--out", str(run)],
        ["evaluate", str(config), "--from", str(run), "--out", str(tmp_path / "study")],
        ["embed", str(run), str(store), "-o", str(tmp_path / "e.npz")],
    ):
        with pytest.raises(SystemExit) as ended:
            app(words)
        assert ended.value.code in (0, None), capsys.readouterr().err
    said = capsys.readouterr().out
    assert "target: effort [cmH2O], a number of every time step; it is no input" in said
    assert "40 samples x 2 channels" in said
    assert f"| floor  | {AROUND} " in said
    assert "| joint  | trained together " in said
    assert np.load(tmp_path / "e.npz")["embedding"].shape == (14 * 11, 8)


@pytest.mark.parametrize(
    ("more", "data", "said"),
    [
        (["evaluate.class_sets=[[a, b]]"], "", "no classes"),
        (["evaluate.per_recording=centre"], "", r"features of whole windows.*evaluate\.per_recording"),
        (["evaluate.floor_scales=[none]"], "", r"features of whole windows.*evaluate\.floor_scales"),
        (["evaluate.task=regression", "evaluate.modes=[linear]", "variants={}"], "",
         r"evaluate\.task is regression, and data\.target gives a number at every time step"),
        ([*WITHOUT_STEPS, "evaluate.modes=[linear]"], "", "encoder does not give several"),
        ([], ", devices: [knee]", "There is no device 'knee'"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused(store: Path, tmp_path: Path, more: list[str], data: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluate(experiment_of(store, *more, data=data), None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_encoder_without_steps_in_time_is_judged_by_its_vector(store: Path) -> None:
    fold = fold_of(experiment_of(store, *WITHOUT_STEPS, "evaluate.modes=[full]"))
    said = predict_steps(fold, Cell(TARGET, "all", 0, "full", PRETRAINED))
    assert said.shape == (66, 40)


def test_a_data_set_without_the_channel_is_refused(tmp_path: Path) -> None:
    experiment = load_experiment(
        Path("demo"), ["data={dataset: synthetic-ecg, target: {kind: channel, name: resp}}", *SMALL]
    )
    with pytest.raises(UsageError, match=r"no channel called 'resp'.*Known: lead-1, lead-2"):
        open_cohort(experiment)


def test_no_known_step_to_be_judged_is_an_error(tmp_path: Path) -> None:
    experiment: Any = experiment_of(make_store(tmp_path / "gone", gaps=range(N_PATIENTS)), data=", quality: {nan: 1.0}")
    windows = open_cohort(experiment).windows
    early = windows.table.take(windows.table.start + windows.n_times <= 120)
    from biocl.commands.regressions import regression_tasks

    cohort = open_cohort(experiment)
    cohort = replace(cohort, windows=replace(windows, table=early))
    with pytest.raises(DataError, match=r"No train window has a known effort \[cmH2O\]"):
        regression_tasks(experiment, cohort, [cohort.parts()])
    assert issubclass(DataError, BioclError)


@pytest.mark.parametrize(
    "encoder", ["{each: {name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}, fusion: concat}", None]
)
def test_the_channel_of_one_device_is_told_from_each_and_from_all(tmp_path: Path, encoder: str | None) -> None:
    cohort = synthetic_dataset(SyntheticSpec(kind="imu", n_patients=9, n_trials=2, n_samples=2))
    path = build_store(cohort, None, tmp_path / "store", ConditioningSpec()).path
    more = [
        f"data={{store: {path}, target: {{kind: channel, name: wrist-gyr-z}}, input_scale: kind}}",
        *SMALL[:-2], "terms=[{head: step-regression}]", "views={clean: []}",
        "evaluate={labels: [all], modes: [joint, linear], devices: [each, all], bootstrap_draws: 20}",
        *([] if encoder is None else [f"encoder={encoder}"]),
    ]  # fmt: skip
    evaluate(load_experiment(Path("demo"), more), None, tmp_path / "run")
    rows = read_json(tmp_path / "run" / "results.json")["rows"]
    assert {tuple(row["devices"]) for row in rows} == {("wrist",), ("ankle",), ("all",)}
    assert {row["classes"][0] for row in rows} == {"wrist-gyr-z [deg/s]"}
    assert all(np.isfinite(row["own_metrics"]["mae"]["value"]) for row in rows)
