"""The whole way in small: prepare, plan, pretrain, fine-tune, evaluate, embed; kill and go on; what is refused."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from biocl.cli import app
from biocl.commands.evaluate import evaluate
from biocl.commands.finetune import finetune
from biocl.commands.pretrain import pretrain
from biocl.config import load_experiment
from biocl.errors import DataError, LeakageError, UsageError
from biocl.files import read_json
from biocl.training.checkpoint import load_checkpoint
from biocl.training.run import read_metrics

SHORT = ["train.steps=4", "train.log_every=1", "batch.n_samples=4", "evaluate.bootstrap_draws=50"]


def short(*more: str) -> list[str]:
    return [*SHORT, *more]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for the module, so that the synthetic store is built once."""
    return tmp_path_factory.mktemp("module-home")


@pytest.fixture(autouse=True)
def _module_home(home: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCL_HOME", str(home))


@pytest.fixture(scope="module")
def pretrained(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        out = tmp_path_factory.mktemp("runs") / "pretrain"
        return pretrain(load_experiment(Path("demo"), short()), out)


def test_a_run_folder_holds_everything(pretrained: Path) -> None:
    names = {path.name for path in pretrained.iterdir()}
    assert names >= {
        "config.yaml",
        "command.txt",
        "environment.json",
        "split.json",
        "metrics.jsonl",
        "checkpoints",
        "results.json",
    }
    split = read_json(pretrained / "split.json")
    parts = [set(split["patients"][part]) for part in ("train", "validation", "test")]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    again = load_experiment(pretrained / "config.yaml")
    assert again == load_experiment(Path("demo"), short())
    log = read_metrics(pretrained / "metrics.jsonl")
    assert [line["step"] for line in log if "loss" in line] == [1, 2, 3, 4]
    assert any("validation/same-trial/positive" in line for line in log)


@pytest.mark.parametrize("mode", ["linear", "partial", "full"])
def test_finetune_leaves_predictions_per_window_and_per_patient(pretrained: Path, tmp_path: Path, mode: str) -> None:
    experiment = load_experiment(
        Path("demo"), short(f"finetune.mode={mode}", "finetune.labels=4 patients", "finetune.max_steps=4")
    )
    text = finetune(experiment, pretrained, tmp_path / "ft")
    assert "patient-independent" in text
    with (tmp_path / "ft" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    windows = [row for row in rows if row["level"] == "window"]
    patients = [row for row in rows if row["level"] == "patient"]
    split = read_json(tmp_path / "ft" / "split.json")
    assert len(windows) == split["n_windows"]["test"]
    assert sorted(row["patient"] for row in patients) == split["patients"]["test"]
    assert sum(float(windows[0][f"p_{name}"]) for name in ("class-0", "class-1")) == pytest.approx(1, abs=1e-5)
    labels = read_json(tmp_path / "ft" / "labels.json")
    assert len(labels["patients"]) == 4
    assert set(labels["patients"]) <= set(split["patients"]["train"])
    assert (tmp_path / "ft" / "classifier").is_dir()


def test_evaluate_shows_floors_and_untrained_and_resumes_without_a_change(pretrained: Path, tmp_path: Path) -> None:
    experiment = load_experiment(
        Path("demo"),
        short("evaluate.labels=[2 patients, all]", "evaluate.draws=2", "evaluate.modes=[linear]"),
    )
    text = evaluate(experiment, pretrained, tmp_path / "ev")
    results = read_json(tmp_path / "ev" / "results.json")
    arms = {(row["mode"], row["arm"]) for row in results["rows"]}
    assert arms >= {
        ("linear", "pretrained"),
        ("linear", "untrained"),
        ("floor", "majority"),
        ("floor", "amplitude"),
    }
    assert {row["labels"] for row in results["rows"]} == {"2 patients", "all"}
    assert results["differences"]
    cell = next((tmp_path / "ev" / "cells").glob("*pretrained*"))
    (cell / "proba.npy").unlink()
    cell.rmdir()
    (tmp_path / "ev" / "results.json").unlink()
    assert evaluate(experiment, pretrained, tmp_path / "ev", resume=True) == text
    assert read_json(tmp_path / "ev" / "results.json") == results


def test_evaluate_finds_the_pretraining_of_the_same_configuration(pretrained: Path) -> None:
    experiment = load_experiment(
        Path("demo"), short("evaluate.labels=[all]", "evaluate.modes=[linear]", "evaluate.draws=1")
    )
    evaluate(experiment, None, pretrained.parent / "found")
    assert not (pretrained.parent / "found" / "pretrain-fold0").exists()


def test_an_encoder_that_saw_test_patients_is_refused_or_marked(pretrained: Path, tmp_path: Path) -> None:
    other = short("split.seed=1", "evaluate.labels=[all]", "evaluate.modes=[linear]", "evaluate.draws=1")
    with pytest.raises(LeakageError, match="pretrained on"):
        evaluate(load_experiment(Path("demo"), other), pretrained, tmp_path / "refused")
    marked = evaluate(
        load_experiment(Path("demo"), [*other, "evaluate.allow_seen=true"]), pretrained, tmp_path / "marked"
    )
    assert "pretrained on test patients" in marked
    assert "MARKED: NOT patient-independent" in marked


@pytest.mark.parametrize("scope", ["time", "trial"])
def test_a_split_within_patients_is_judged_and_marked(scope: str, tmp_path: Path) -> None:
    words = short("evaluate.labels=[all]", "evaluate.modes=[linear]", "evaluate.draws=1")
    within = [*words, f"split={{kind: random, scope: {scope}}}"]
    run = pretrain(load_experiment(Path("demo"), within), tmp_path / "run")
    text = evaluate(load_experiment(Path("demo"), within), run, tmp_path / "ev")
    assert f"scope {scope}, NOT patient-independent" in text
    assert "MARKED: NOT patient-independent: pretrained on test patients" in text
    other = [*words, f"split={{kind: random, scope: {scope}, fractions: [0.2, 0.2, 0.6]}}"]
    with pytest.raises(LeakageError, match="pretrained on"):
        evaluate(load_experiment(Path("demo"), other), run, tmp_path / "other")
    with pytest.raises(LeakageError, match="pretrained on"):
        evaluate(load_experiment(Path("demo"), words), run, tmp_path / "patients")


def test_test_labels_are_not_read_before_all_predictions_are_saved(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permuting the test labels changes no saved probability."""
    from biocl.commands import setup

    experiment = load_experiment(
        Path("demo"),
        short(
            "evaluate.labels=[2 patients]",
            "evaluate.draws=1",
            "evaluate.modes=[linear, partial]",
            "finetune.max_steps=3",
        ),
    )
    evaluate(experiment, pretrained, tmp_path / "true")
    real = setup.window_table

    def shuffled(store, data):  # type: ignore[no-untyped-def]
        table = real(store, data)
        split = read_json(pretrained / "split.json")
        test = np.isin(np.array(table.names["patient"])[table.rows["patient"]], split["patients"]["test"])
        table.rows["label"][test] = 1 - table.rows["label"][test]
        return table

    # The draw of patients into parts is stratified, so it must be the written one.
    first = read_json(tmp_path / "true" / "split.json")["folds"][0]["patients"]
    file = tmp_path / "split.json"
    file.write_text(
        json.dumps(
            {
                "format": 1,
                "name": "same",
                "scope": "patient",
                "folds": [first],
                "allow_shared": [],
                "marks": [],
            }
        )
    )
    monkeypatch.setattr(setup, "window_table", shuffled)
    tree = experiment.model_dump(mode="json")
    tree["split"] = {"file": str(file), "scope": "patient"}
    evaluate(type(experiment).model_validate(tree), pretrained, tmp_path / "false")
    for path in sorted((tmp_path / "true" / "cells").glob("*/proba.npy")):
        assert np.array_equal(np.load(path), np.load(tmp_path / "false" / "cells" / path.parent.name / "proba.npy"))


def test_resuming_a_study_with_another_encoder_is_refused(pretrained: Path, tmp_path: Path) -> None:
    words = short("evaluate.labels=[all]", "evaluate.modes=[linear]", "evaluate.draws=1")
    evaluate(load_experiment(Path("demo"), words), pretrained, tmp_path / "ev")
    other = pretrain(load_experiment(Path("demo"), short("train.lr=0.01")), tmp_path / "other")
    with pytest.raises(UsageError, match="these weights are others"):
        evaluate(load_experiment(Path("demo"), words), other, tmp_path / "ev", resume=True)


def test_one_pretraining_does_not_serve_several_folds(pretrained: Path, tmp_path: Path) -> None:
    words = short("split={kind: k-fold, n_folds: 2}", "evaluate.labels=[all]", "evaluate.modes=[linear]")
    with pytest.raises(UsageError, match="2 folds"):
        evaluate(load_experiment(Path("demo"), words), pretrained, tmp_path / "ev")
    assert not (tmp_path / "ev").exists()
    text = evaluate(load_experiment(Path("demo"), words), None, tmp_path / "ev")
    assert "2 folds" in text
    assert len(read_json(tmp_path / "ev" / "encoders.json")) == 2


def test_finetuning_judges_one_fold_and_says_so(tmp_path: Path) -> None:
    experiment = load_experiment(Path("demo"), short("split={kind: k-fold, n_folds: 2}"))
    run = pretrain(experiment, tmp_path / "run")
    assert "fold 0 of 2 alone" in finetune(experiment, run, tmp_path / "ft")


def test_an_encoder_of_other_signals_is_refused(pretrained: Path, tmp_path: Path) -> None:
    words = short("data.input_scale=window", "evaluate.labels=[all]", "evaluate.modes=[linear]")
    with pytest.raises(UsageError, match="other signals"):
        evaluate(load_experiment(Path("demo"), words), pretrained, tmp_path / "ev")


def test_the_written_split_file_gives_the_same_split_again(pretrained: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text((pretrained / "split_file.json").read_text())
    again = pretrain(load_experiment(Path("demo"), short(f"split={{file: {file}}}")), tmp_path / "again")
    assert read_json(again / "split.json")["patients"] == read_json(pretrained / "split.json")["patients"]


def test_an_empty_test_part_is_refused_before_anything_is_written(pretrained: Path, tmp_path: Path) -> None:
    content = read_json(pretrained / "split_file.json")
    content["folds"][0]["test"] = []
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(content))
    words = short(f"split={{file: {file}}}", "evaluate.labels=[all]", "evaluate.modes=[linear]")
    for verb in (evaluate, finetune):
        with pytest.raises(DataError, match="nothing can be judged"):
            verb(load_experiment(Path("demo"), words), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_plan_says_why_there_is_no_study_and_goes_on() -> None:
    from biocl.commands.plan import make_plan

    plan = make_plan(load_experiment(Path("demo"), short("evaluate.labels=[99 patients]")))
    assert plan["pretrain"]["seconds"] > 0
    assert "99 patients" in plan["evaluate"]["not possible"]


def test_too_few_labels_to_train_on_end_instead_of_hanging(pretrained: Path, tmp_path: Path) -> None:
    words = short("finetune.mode=full", "finetune.labels=first 0.1% windows", "evaluate.lacking_class=mark")
    with pytest.raises(DataError, match="no batch"):
        finetune(load_experiment(Path("demo"), words), pretrained, tmp_path / "ft")


def test_patients_with_one_label_each_are_judged_as_patients(tmp_path: Path) -> None:
    from biocl.commands.results import own_metric, patient_level, patient_scores

    patients = np.repeat(["a", "b", "c", "d", "e", "f"], 20)
    y = np.repeat([0, 0, 0, 1, 1, 1], 20)
    proba = np.stack([np.eye(2)[y]])
    proba[0, 0] = [0.2, 0.8]  # one wrong window of patient a
    assert own_metric(y, patients) == "accuracy"
    assert patient_scores(y, proba, patients, ("well", "ill"))["a"] == pytest.approx(0.95)
    levels = patient_level(y, proba, patients, ("well", "ill"), 50)
    assert levels["vote"]["macro_f1"]["value"] == 1.0
    assert levels["mean-probability"]["macro_f1"]["n_patients"] == 6
    y[0] = 1
    assert own_metric(y, patients) == "macro_f1"
    assert patient_level(y, proba, patients, ("well", "ill"), 50) == {}


def test_a_stop_request_between_cells_is_resumable(pretrained: Path, tmp_path: Path) -> None:
    words = ["demo", "evaluate.modes=[linear]", "evaluate.bootstrap_draws=20", *SHORT[:3]]
    arguments = command("evaluate", *words, "--from", str(pretrained), "--out", str(tmp_path / "ev"))
    process = subprocess.Popen(arguments, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list((tmp_path / "ev" / "cells").glob("*/proba.npy")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 5, errors
    assert "--resume" in errors
    assert "Traceback" not in errors


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "biocl.cli", *arguments]


def test_killed_at_random_and_started_again_changes_no_number(home: Path, tmp_path: Path) -> None:
    words = ["demo", "train.steps=30", "train.checkpoint_every=3", "train.log_every=1", "batch.n_samples=4"]
    pretrain(load_experiment(Path("demo"), words[1:]), tmp_path / "whole")
    chance = random.Random(0)
    resumed = command("pretrain", *words, "--out", str(tmp_path / "cut"), "--resume")
    for _ in range(3):
        process = subprocess.Popen(resumed, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        before = len(list((tmp_path / "cut" / "checkpoints").glob("step-*/state.json")))
        # Let it get past a checkpoint, so that a slow machine kills in the middle of work as well.
        while time.monotonic() < deadline and process.poll() is None:
            if len(list((tmp_path / "cut" / "checkpoints").glob("step-*/state.json"))) > before or before == 2:
                break
            time.sleep(0.02)
        time.sleep(chance.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(resumed, env=os.environ, capture_output=True, check=False).returncode == 0
    one, other = (load_checkpoint(tmp_path / name / "checkpoints") for name in ("whole", "cut"))
    assert one.state == other.state
    for name, value in one.weights.items():
        assert bool((value == other.weights[name]).all())
    for name, value in one.average.items():
        assert bool((value == other.average[name]).all())
    assert read_metrics(tmp_path / "whole" / "metrics.jsonl") == read_metrics(tmp_path / "cut" / "metrics.jsonl")


def test_embed_writes_one_row_a_window(pretrained: Path, home: Path, tmp_path: Path) -> None:
    from biocl.commands.embed import embed_store

    store = next((home / "stores").glob("synthetic-ecg-*"))
    embed_store(pretrained, store, tmp_path / "e.npz")
    found = np.load(tmp_path / "e.npz")
    assert found["embedding"].shape == (3200, 48)
    assert len(set(found["patient"])) == 20
    assert set(found["label"]) == {"class-0", "class-1"}


def test_plan_predicts_and_names_contradictions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["plan", "demo", "evaluate.labels=[2 patients]", "--json"])
    assert ended.value.code == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["batch"]["patients_per_batch"] == 4
    assert plan["pretrain"]["seconds"] > 0
    assert plan["evaluate"]["seconds"] > plan["evaluate"]["tables_s"] > 0
    assert any("same-patient pulls together, same-trial pushes apart" in line for line in plan["contradictions"])


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["pretrain", "demo", "train.stepz=3"], 2, "did you mean steps"),
        (["pretrain", "demo", "train.lr=fast"], 2, "train.lr"),
        (["pretrain", "nothing"], 2, "no such configuration"),
        (["pretrain", "demo", "terms.0.views=[clean, nowhere]"], 2, "nowhere"),
        (["pretrain", "demo", "data.dataset=mitbd"], 2, "mitdb"),
        (["pretrain", "comet-mitdb"], 3, "data prepare mitdb"),
        (["finetune", "demo", "--labels", "4", "--from", "RUN"], 2, "unit"),
        (["finetune", "demo", "--labels", "", "--from", "RUN"], 2, "not an amount of labels"),
        (["finetune", "demo", "--labels", "it's", "--from", "RUN"], 2, "not an amount of labels"),
        (["pretrain", "demo", "--device", "meta"], 2, "no device"),
        (["data", "prepare", "synthetic-ecg", "--resample-hz", "-5"], 2, "--resample-hz"),
        (["data", "prepare", "synthetic-ecg", "--resample-hz", "nan"], 2, "--resample-hz"),
        (["data", "prepare", "mine.csv", "--sfreq", "0"], 2, "--sfreq"),
        (["data", "prepare", "mine.csv", "--modality", "egc"], 2, "--modality"),
        (["data", "inspect", "nowhere"], 3, "no prepared store"),
        (["config", "explain", "lrr"], 2, "Did you mean"),
    ],
)
def test_bad_input_gets_one_paragraph_and_its_exit_code(
    words: list[str], code: int, part: str, pretrained: Path, tmp_path: Path
) -> None:
    words = [str(pretrained) if word == "RUN" else word for word in words]
    if words[0] in ("pretrain", "finetune"):
        words += ["--out", str(tmp_path / "out")]
    done = subprocess.run(command(*words), capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == code, done.stderr
    assert part.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n\n") == 0
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_an_existing_run_folder_is_refused_and_untouched(pretrained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in pretrained.rglob("*")}
    with pytest.raises(UsageError, match="never overwrites"):
        pretrain(load_experiment(Path("demo"), short()), pretrained)
    with pytest.raises(UsageError, match="configuration differs"):
        pretrain(load_experiment(Path("demo"), short("train.lr=0.5")), pretrained, resume=True)
    assert before == {path: path.stat().st_mtime_ns for path in pretrained.rglob("*")}


def test_a_shared_patient_is_refused_with_exit_code_4(tmp_path: Path) -> None:
    names = [f"P{number:03d}" for number in range(1, 21)]
    fold = {"train": names[:10], "validation": names[9:14], "test": names[14:]}
    (tmp_path / "split.json").write_text(
        json.dumps(
            {
                "format": 1,
                "name": "mine",
                "scope": "patient",
                "folds": [fold],
                "allow_shared": [],
                "marks": [],
            }
        )
    )
    config = tmp_path / "c.yaml"
    text = (Path(__file__).parents[2] / "configs" / "demo.yaml").read_text()
    config.write_text(
        text.replace("{kind: random, fractions: [0.5, 0.2, 0.3]}", "{file: " + str(tmp_path / "split.json") + "}")
    )
    done = subprocess.run(
        command("pretrain", str(config), "--out", str(tmp_path / "out")),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 4, done.stderr
    assert "P010" in done.stderr
    assert not (tmp_path / "out").exists()
