"""`biocl sweep`: what is scored, by whose labels, and what is left when workers and the database are not."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import postgres
import pytest
from optuna.study import Study

from biocl.cli import app
from biocl.commands import setup
from biocl.commands import sweep as sweeping
from biocl.commands.evaluate import evaluate
from biocl.commands.pretrain import pretrain
from biocl.commands.sweep import sweep
from biocl.commands.sweep_trials import changed, validation_cohort
from biocl.config import load_experiment
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.errors import LeakageError, UsageError
from biocl.experiment import Experiment
from biocl.files import read_json, write_json
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.table import WindowTable
from biocl.sweeps.liveness import n_counted, trials_of

NAMES = [f"P{number:03d}" for number in range(1, 11)]
TRAIN, VALIDATION, TEST = NAMES[:5], NAMES[5:8], NAMES[8:]
SMALL = [
    "name=small",
    "encoder={name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}",
    "batch={kind: random, size: 16}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    "terms=[{head: classification, views: [clean]}, {views: [clean, loud], relation: same-sample, "
    "criterion: {name: nt-xent}, weight: 0.1}]",
    "train={steps: 4, lr: 1e-4, validate_every: 2}",
    "evaluate={labels: [all], draws: 1, modes: [linear], bootstrap_draws: 20, probe: {c: 0.01}}",
]
SPACE = (
    "space: {train.lr: {float: [1e-4, 1e-1], log: true}, encoder.widths: {choice: [[4, 4, 6], [4, 4, 8]]}, "
    "terms.1.weight: {float: [0, 1], label: contrast}}"
)
SWEEP = f"sweep={{trials: 3, {SPACE}, sampler: {{name: tpe, n_startup_trials: 8}}}}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = SyntheticSpec(kind="imu", n_patients=10, n_trials=6, n_samples=3)
    return build_store(synthetic_dataset(spec), None, tmp_path_factory.mktemp("s") / "store", ConditioningSpec()).path


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("split") / "split.json"
    fold = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    write_json(path, {"name": "mine", "folds": [fold]})
    return f"split={{file: {path}}}"


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of a small sweep's time."""
    monkeypatch.setattr(sweeping, "draw_plots", lambda *given: [])


def experiment_of(store: Path, split: str, *more: str) -> Experiment:
    return load_experiment(Path("demo"), [f"data={{store: {store}, input_scale: kind}}", split, *SMALL, SWEEP, *more])


def lines_of(run: Path) -> list[dict[str, str]]:
    """``trials.csv`` without what a clock says."""
    with (run / "trials.csv").open() as file:
        return [{key: value for key, value in line.items() if key != "seconds"} for line in csv.DictReader(file)]


def permuted(table: WindowTable, patients: list[str]) -> WindowTable:
    """Other labels for the windows of these patients."""
    rows = table.rows.copy()
    mine = np.isin(np.array(table.names["patient"])[rows["patient"]], patients)
    rows["label"][mine] = np.random.default_rng(0).permutation(rows["label"][mine])
    return replace(table, rows=rows)


def test_no_label_of_a_test_patient_can_be_read(store: Path, split: str) -> None:
    experiment = experiment_of(store, split)
    assert experiment.sweep is not None
    base = experiment.model_dump(mode="json", exclude={"sweep", "variants"})
    cohort = validation_cohort(changed(base, {}, experiment.sweep, "here"), experiment.sweep)
    windows = cohort.windows
    names = np.array(windows.table.names["patient"])[windows.table.patient]
    assert (windows.table.label[np.isin(names, TEST)] == -1).all()
    assert (windows.table.label[~np.isin(names, TEST)] >= 0).all()
    assert set(cohort.parts()) == {"train", "validation"}
    assert len(windows.store.events) == 0
    assert all(not recording.labels for recording in windows.store.recordings)
    with pytest.raises(LeakageError, match="sealed"):
        _ = windows.store.windows
    with pytest.raises(LeakageError, match="not sent"):
        windows.store.__reduce__()
    # The signals are all there, and those of who trains and validates are what they were.
    plain = setup.open_cohort(experiment).windows
    rows = np.concatenate(list(cohort.parts().values()))
    assert np.array_equal(plain.table.label[rows], windows.table.label[rows])
    assert np.array_equal(plain.store.signals, windows.store.signals)


@pytest.mark.usefixtures("no_plots")
def test_labels_of_test_patients_change_no_trial_and_those_of_the_others_do(
    store: Path, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = experiment_of(store, split, "sweep.trials=2")
    sweep(experiment, tmp_path / "true")
    real = setup.window_table
    for part, patients in (("test", TEST), ("validation", VALIDATION), ("train", TRAIN)):
        monkeypatch.setattr(setup, "window_table", lambda s, d, who=patients: permuted(real(s, d), who))
        sweep(experiment, tmp_path / part)
    assert lines_of(tmp_path / "test") == lines_of(tmp_path / "true")
    assert lines_of(tmp_path / "validation") != lines_of(tmp_path / "true")
    assert lines_of(tmp_path / "train") != lines_of(tmp_path / "true")


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("mode", ["linear", "joint"])
def test_the_score_is_what_evaluate_says_of_validation_patients(
    mode: str, store: Path, split: str, tmp_path: Path
) -> None:
    experiment = experiment_of(store, split, f"sweep.mode={mode}", "sweep.trials=2")
    sweep(experiment, tmp_path / "sweep")
    results = read_json(tmp_path / "sweep" / "results.json")
    part = ["evaluate.part=validation", f"evaluate.modes=[{mode}]"]
    for name, config in (("default", experiment_of(store, split, *part)), ("best", None)):
        chosen = config or load_experiment(tmp_path / "sweep" / "best.yaml", part)
        evaluate(chosen, None, tmp_path / name)
        [row] = [
            row
            for row in read_json(tmp_path / name / "results.json")["rows"]
            if (row["mode"], row["arm"]) == (mode, "pretrained")
        ]
        assert results[name]["values"] == [pytest.approx(row["per_patient"]["value"], abs=1e-9)]
        assert results[name]["patients"] == pytest.approx(row["patients"], abs=1e-9)
        assert set(row["patients"]) == set(VALIDATION)


def test_what_a_run_folder_holds(store: Path, split: str, tmp_path: Path) -> None:
    experiment = experiment_of(store, split, "sweep.trials=5")
    text = sweep(experiment, tmp_path / "run")
    assert load_experiment(tmp_path / "run" / "config.yaml") == experiment
    results = read_json(tmp_path / "run" / "results.json")
    assert (results["counted"], results["wanted"], results["storage"]) == (5, 5, "journal")
    assert results["best"]["values"][0] >= results["default"]["values"][0]
    assert results["default"]["number"] == 0
    assert results["default"]["parameters"] == {"train.lr": 1e-4, "encoder.widths": "[4,4,6]", "terms.1.weight": 0.1}
    assert sum(results["importances"].values()) == pytest.approx(1)
    for name in ("history", "importance", "slice"):
        assert (tmp_path / "run" / "plots" / f"{name}.svg").read_text(encoding="utf-8").count("<svg") == 1
    assert "contrast" in (tmp_path / "run" / "plots" / "importance.svg").read_text(encoding="utf-8")
    assert "| default" in text
    assert "inner validation patients: for choosing, not for reporting" in text
    assert "the best of 5 is high by choice" in text
    # The same sweep gives the same trials, and the best configuration can be pretrained.
    sweep(experiment, tmp_path / "again")
    assert lines_of(tmp_path / "again") == lines_of(tmp_path / "run")
    best = load_experiment(tmp_path / "run" / "best.yaml")
    assert best.sweep is None
    assert best.train.lr == results["best"]["parameters"]["train.lr"]
    assert best.evaluate == experiment.evaluate
    assert (tmp_path / "run" / "best.yaml").read_text().startswith(f"# Trial {results['best']['number']} of the sweep")
    pretrain(best, tmp_path / "best")
    # A finished sweep that goes on only prints, and may be asked for more.
    assert sweep(experiment, tmp_path / "run", resume=True) == text
    assert "6 trials count" in sweep(experiment, tmp_path / "run", resume=True, trials=6)
    with pytest.raises(UsageError, match="run never overwrites"):
        sweep(experiment, tmp_path / "run")
    with pytest.raises(UsageError, match="configuration differs"):
        sweep(experiment_of(store, split, "train.steps=5"), tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="keeps its study in a journal in the run folder"):
        sweep(experiment, tmp_path / "run", resume=True, storage=str(tmp_path / "other.journal"))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("{train.lrr: {float: [1e-4, 1e-1]}}", "lrr is not a known key, did you mean lr"),
        ("{views.luod: {choice: [[], [{jitter: 0.2}]]}}", "views.luod is not a key of this configuration"),
        ("{train.lr: {float: [1e-4, 1e-1], also: [views.luod]}}", "views.luod"),
        ("{terms.7.weight: {float: [0, 1]}}", "terms is a list of 2"),
        ("{train.lr: {float: [0, 1e-1]}}", "train.lr: should be greater than 0"),
        ("{encoder: {choice: [{name: tpn}, {name: tcnn}]}}", "tcnn"),
        ("{encoder.widths: {choice: [[4, 4, 6], [0, 4, 6]]}}", "encoder.widths"),
        ("{views.loud: {choice: [[{jitter: 0.1}], [{mask: continuous, at: hidden}]]}}", "masks the encoder's hidden"),
        ("{split.seed: {int: [0, 3]}}", "split.seed cannot be swept"),
        ("{data.classes: {choice: [[class-0], [class-1]]}}", "data.classes cannot be swept"),
        ("{evaluate.part: {choice: [test, validation]}}", "evaluate.part cannot be swept"),
        ("{evaluate.probe: {choice: [{c: 0.1}, {d: 1}]}}", "d is not a known key"),
        ("{train.lr: {float: [1e-4, 1e-1], when: {train.steps: 4}}}", "which the space does not vary"),
    ],
)
def test_a_space_that_holds_no_experiment_is_refused_before_anything_starts(
    space: str, said: str, store: Path, split: str, tmp_path: Path
) -> None:
    experiment = experiment_of(store, split, f"sweep.space={space}")
    with pytest.raises(UsageError, match=said) as refusal:
        sweep(experiment, tmp_path / "run")
    assert "\n" not in refusal.value.paragraph()
    assert "sweep.space" in str(refusal.value.where)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["sweep=null"], "has no sweep: key"),
        (["sweep.fold=1"], "counted from 0, and no fold 1"),
        (["sweep.pruner={name: median}", "train.validate_every=null"], "there is only one, after the last step"),
        (["sweep.inner_folds=20"], "cannot be redrawn in 20 folds"),
        (["evaluate.task=multi-label"], "is judged on multi-label"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(more: list[str], said: str, store: Path, split: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        sweep(experiment_of(store, split, *more), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_plots")
def test_a_pruner_compares_looks_during_training(store: Path, split: str, tmp_path: Path) -> None:
    more = ("sweep.pruner={name: hyperband, max_resource: 9}", "train={steps: 9, lr: 1e-4, validate_every: 1}")
    sweep(experiment_of(store, split, *more, "sweep.trials=8"), tmp_path / "run")
    results = read_json(tmp_path / "run" / "results.json")
    assert results["counted"] == 8
    assert results["states"]["pruned"] > 0
    for trial in results["trials"]:
        steps = [int(step) for step in trial["steps"]]
        assert steps == list(range(1, len(steps) + 1))
        if trial["state"] == "complete":
            assert len(steps) == 9
            assert trial["values"] == [pytest.approx(trial["steps"]["9"])]
        else:
            assert len(steps) < 9
            assert "hyperband" in trial["reason"]


@pytest.mark.usefixtures("no_plots")
def test_inner_folds_validate_each_patient_once_and_wilcoxon_stops_between_them(
    store: Path, split: str, tmp_path: Path
) -> None:
    more = ("sweep.inner_folds=4", "sweep.pruner={name: wilcoxon}", "sweep.trials=3")
    sweep(experiment_of(store, split, *more), tmp_path / "run")
    results = read_json(tmp_path / "run" / "results.json")
    for trial in results["trials"]:
        if trial["state"] == "complete":
            assert set(trial["patients"]) == {*TRAIN, *VALIDATION}
            assert len(trial["steps"]) == 8
            assert trial["values"] == [pytest.approx(np.mean(list(trial["patients"].values())))]
        else:
            assert 2 <= len(trial["steps"]) < 8
    folds = read_json(tmp_path / "run" / "split.json")["folds"]
    assert sorted(name for fold in folds for name in fold["patients"]["validation"]) == [*TRAIN, *VALIDATION]
    for fold in folds:
        assert not set(fold["patients"]["validation"]) & set(fold["patients"]["train"])
        assert "test" not in fold["patients"]


def test_a_second_objective_makes_a_front(store: Path, split: str, tmp_path: Path) -> None:
    more = ("sweep.objectives=[score, parameters]", "sweep.sampler={name: nsga2, population_size: 4}")
    text = sweep(experiment_of(store, split, *more, "sweep.trials=6"), tmp_path / "run")
    results = read_json(tmp_path / "run" / "results.json")
    front = [trial["values"] for trial in results["front"]]
    assert front == sorted(front, reverse=True)
    assert [cost for _, cost in front] == sorted((cost for _, cost in front), reverse=True)
    for trial in results["trials"]:
        score, cost = trial["values"]
        assert not any(score > one and cost < other for one, other in front)
    assert results["best"] == results["front"][0]
    assert len(list((tmp_path / "run" / "front").glob("*.yaml"))) == len(front) - 1
    for path in (tmp_path / "run" / "front").glob("*.yaml"):
        load_experiment(path)
    assert (tmp_path / "run" / "plots" / "pareto.svg").is_file()
    assert "parameters" in text


@pytest.mark.usefixtures("no_plots")
def test_of_several_folds_the_best_configuration_keeps_the_sweeps_own(store: Path, tmp_path: Path) -> None:
    """The test patients of the other folds trained and validated in the sweep."""
    experiment = experiment_of(store, "split={kind: k-fold, n_folds: 3, validation: 0.3}", "sweep.fold=1")
    folds = [split.parts for split in setup.open_cohort(experiment).splits]
    sweep(experiment, tmp_path / "run")
    best = load_experiment(tmp_path / "run" / "best.yaml")
    assert [split.parts for split in setup.open_cohort(best).splits] == [folds[1]]
    assert set(read_json(tmp_path / "run" / "results.json")["best"]["patients"]) == set(folds[1]["validation"])


@pytest.fixture
def server() -> Any:
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.server() as one:
        yield one


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("where", ["journal", "postgresql"])
def test_24_trials_of_two_workers_survive_a_kill_and_a_restart(
    where: str,
    store: Path,
    split: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    trouble: dict[int, Callable[[], Any]] = {4: kill_one}
    url = None
    if where == "postgresql":
        one = request.getfixturevalue("server")
        url, trouble = one.url, {4: kill_one, 10: one.restart}
    real = sweeping.shower

    def sabotaged(advance: Any) -> Callable[[Study], None]:
        show = real(advance)

        def look(study: Study) -> None:
            for number in [number for number in trouble if n_counted(trials_of(study)) >= number]:
                trouble.pop(number)()
            show(study)

        return look

    monkeypatch.setattr(sweeping, "shower", sabotaged)
    experiment = experiment_of(store, split, "sweep.trials=24")
    sweep(experiment, tmp_path / "run", storage=url, workers=2)
    assert not trouble
    results = read_json(tmp_path / "run" / "results.json")
    assert results["counted"] == 24
    assert results["states"]["complete"] + results["states"]["pruned"] == 24
    assert (results["states"]["running"], results["states"]["waiting"]) == (0, 0)
    assert results["best"]["values"][0] > results["default"]["values"][0]
    assert results["storage"] == where
    chosen = load_experiment(tmp_path / "run" / "best.yaml", ["evaluate.part=validation"])
    evaluate(chosen, None, tmp_path / "best")
    rows = read_json(tmp_path / "best" / "results.json")["rows"]
    score = next(row["per_patient"]["value"] for row in rows if row["arm"] == "pretrained")
    assert score == pytest.approx(results["best"]["values"][0], abs=1e-6)
    if where == "postgresql":
        with pytest.raises(UsageError, match="Join it with --resume"):
            sweep(experiment, tmp_path / "other", storage=url)
        assert not (tmp_path / "other").exists()
        # Another machine, with a folder of its own, finds the same study.
        sweep(experiment, tmp_path / "other", storage=url, resume=True)
        assert read_json(tmp_path / "other" / "results.json")["best"] == results["best"]


def kill_one() -> None:
    victim = multiprocessing.active_children()[0]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)


def test_a_stop_request_is_resumable(store: Path, split: str, tmp_path: Path) -> None:
    words = [f"data={{store: {store}, input_scale: kind}}", split, *SMALL, SWEEP, "sweep.trials=30"]
    command = [sys.executable, "-m", "biocl.cli", "sweep", "demo", *words, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "run" / "study.journal"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (journal.is_file() and journal.read_text().count('"state":1') > 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 5, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    resumed = subprocess.run([*command, "--resume", "--trials", "6"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    results = read_json(tmp_path / "run" / "results.json")
    assert results["counted"] >= 6
    assert results["states"]["running"] == 0
    assert results["states"]["fail"] <= 1


@pytest.mark.usefixtures("no_plots")
def test_no_password_stays_in_the_run_folder_or_in_an_error(
    store: Path, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from biocl.sweeps import storage

    secret = f"sqlite://{tmp_path}/study.db"
    monkeypatch.setattr(storage, "with_driver", lambda url: secret.replace("sqlite://", "sqlite:///"))
    url = "postgresql://me:secret@host/name"
    words = [f"data={{store: {store}, input_scale: kind}}", split, *SMALL, SWEEP, "sweep.trials=1"]
    monkeypatch.setattr(storage, "engine_arguments", lambda url: {})
    arguments = ["sweep", "demo", *words, "--out", str(tmp_path / "run"), "--storage", url]
    monkeypatch.setattr(sys, "argv", ["biocl", *arguments])
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 0
    assert "1 trials count" in capsys.readouterr().out
    assert read_json(tmp_path / "run" / "storage.json") == {"storage": "postgresql://me:***@host/name"}
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or b"secret" not in path.read_bytes(), path
