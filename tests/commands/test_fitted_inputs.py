"""What is fitted on train goes with the run: into its checkpoints, evaluations, embeddings, and onto its tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.cli import app
from biocl.commands.embed import embed_store
from biocl.commands.evaluate import evaluate
from biocl.commands.finetune import finetune
from biocl.commands.prepare import open_store, prepare
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import open_cohort
from biocl.commands.study import Fold
from biocl.config import load_experiment
from biocl.datasets.registry import find_dataset
from biocl.errors import Interrupted, UsageError
from biocl.files import read_json
from biocl.signals.spec import ConditioningSpec
from biocl.training import loop
from biocl.training.checkpoint import load_checkpoint
from biocl.training.run import read_metrics

CPU = torch.device("cpu")
FITTED = ["data.input_scale=train", "data.align={kind: euclidean}"]
SHORT = ["train.steps=3", "train.log_every=1", "train.checkpoint_every=1", "batch.n_samples=4"]
STUDY = ["evaluate.bootstrap_draws=20", "evaluate.labels=[all]", "evaluate.modes=[linear]"]
TRANSDUCTIVE = "data.align={kind: euclidean, mode: transductive}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("module-home")


@pytest.fixture(autouse=True)
def _module_home(home: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCL_HOME", str(home))


@pytest.fixture(scope="module")
def pretrained(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        return pretrain(load_experiment(Path("demo"), [*FITTED, *SHORT]), tmp_path_factory.mktemp("runs") / "pretrain")


def equal_fits(one: Path, other: Path) -> bool:
    first, second = (load_checkpoint(run / "checkpoints").fitted.arrays() for run in (one, other))
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_a_run_keeps_what_was_fitted_on_its_training_patients(pretrained: Path) -> None:
    cohort = open_cohort(load_experiment(Path("demo"), [*FITTED, *SHORT]))
    fitted = load_checkpoint(pretrained / "checkpoints").fitted
    train = cohort.parts()["train"]
    assert len(fitted.groups) == len(np.unique(cohort.windows.table.patient[train]))
    own = cohort.for_fold(0).windows.known
    for name, array in own.arrays().items():
        np.testing.assert_array_equal(array, fitted.arrays()[name])
    aligned = cohort.for_fold(0).windows.arrays(train)
    mean = np.mean([np.cov(one.astype(np.float64)) for one in aligned], axis=0)
    np.testing.assert_allclose(mean, np.eye(len(mean)), atol=1e-5)


def test_stopped_and_resumed_is_bit_equal(pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.save_checkpoint

    def stop_after_two(folder, **content):  # type: ignore[no-untyped-def]
        path = real(folder, **content)
        if content["state"]["step"] == 2:
            raise Interrupted("stopped", None, None)
        return path

    experiment = load_experiment(Path("demo"), [*FITTED, *SHORT])
    monkeypatch.setattr(loop, "save_checkpoint", stop_after_two)
    with pytest.raises(Interrupted):
        pretrain(experiment, tmp_path / "cut")
    monkeypatch.undo()
    monkeypatch.setenv("BIOCL_HOME", str(open_store(experiment.data).path.parents[1]))
    # A resume reads windows by what its checkpoint holds, and fits nothing again.
    monkeypatch.setattr("biocl.training.data.fit_windows", None)
    pretrain(experiment, tmp_path / "cut", resume=True)
    one, other = (load_checkpoint(run / "checkpoints") for run in (pretrained, tmp_path / "cut"))
    assert one.state == other.state
    for name, value in one.weights.items():
        assert torch.equal(value, other.weights[name])
    assert equal_fits(pretrained, tmp_path / "cut")
    assert read_metrics(pretrained / "metrics.jsonl") == read_metrics(tmp_path / "cut" / "metrics.jsonl")


def test_every_arm_reads_windows_as_the_run_did(pretrained: Path) -> None:
    from biocl.commands.pretrained import take_pretrained

    experiment = load_experiment(Path("demo"), [*FITTED, *SHORT])
    cohort = open_cohort(experiment)
    fold = Fold(experiment, cohort, 0, cohort.parts(), None, CPU)
    take_pretrained(fold, pretrained, pretrained.parent)
    assert fold.fitted is not None
    np.testing.assert_array_equal(fold.windows.known.references, fold.fitted.references)
    np.testing.assert_array_equal(fold.seen_by_floors.x, fold.windows.arrays(fold.used))
    assert not np.allclose(fold.windows.arrays(fold.used[:5]), fold.windows.scaled(fold.used[:5]).transpose(0, 2, 1))


def test_embed_reads_another_store_by_the_training_scaler(pretrained: Path, tmp_path: Path) -> None:
    experiment = load_experiment(Path("demo"), [*FITTED, *SHORT])
    cohort = open_cohort(experiment).for_fold(0)
    said = embed_store(pretrained, cohort.windows.store.path, tmp_path / "same.npz")
    assert "alignment" not in said
    # The same signals in another place and prepared with one step that changes nothing: the training's values hold.
    other = prepare(find_dataset("synthetic-ecg"), out=tmp_path / "other", conditioning=ConditioningSpec(flat="keep"))
    embed_store(pretrained, other.path, tmp_path / "other.npz")
    same, there = np.load(tmp_path / "same.npz"), np.load(tmp_path / "other.npz")
    assert np.array_equal(same["embedding"], there["embedding"])
    # Without the fitted values the same windows look different.
    from biocl.commands.setup import build_model
    from biocl.evaluation.finetuning import load_encoder
    from biocl.training.data import embed

    model = build_model(experiment, cohort.windows, terms=[])
    load_encoder(model, load_checkpoint(pretrained / "checkpoints").best_weights)
    rows = np.arange(20)
    assert np.allclose(embed(model, cohort.windows, rows, device=CPU), same["embedding"][:20], atol=1e-5)
    plain = open_cohort(load_experiment(Path("demo"), SHORT)).windows
    assert not np.allclose(embed(model, plain, rows, device=CPU), same["embedding"][:20], atol=1e-3)


def test_evaluating_with_the_run_and_its_mark(pretrained: Path, tmp_path: Path) -> None:
    text = evaluate(load_experiment(Path("demo"), [*FITTED, *SHORT, *STUDY]), pretrained, tmp_path / "inductive")
    assert "alignment" not in text
    words = [FITTED[0], TRANSDUCTIVE, *SHORT, *STUDY]
    text = evaluate(load_experiment(Path("demo"), words), pretrained, tmp_path / "transductive")
    assert "MARKED: transductive alignment: uses the own unlabelled windows of the patients judged" in text
    assert "transductive alignment" in text.splitlines()[0]
    assert any("transductive" in mark for mark in read_json(tmp_path / "transductive" / "results.json")["marks"])
    split = read_json(tmp_path / "transductive" / "split.json")["folds"][0]
    assert any("transductive" in mark for mark in split["marks"])
    written = read_json(tmp_path / "transductive" / "split_file.json")
    assert written["marks"] == []  # a split file says who is where, not how windows are read
    cell = next((tmp_path / "inductive" / "cells").glob("*untrained*"))
    other = tmp_path / "transductive" / "cells" / cell.name
    assert not np.array_equal(np.load(cell / "proba.npy"), np.load(other / "proba.npy"))


def test_folds_each_fit_their_own(tmp_path: Path) -> None:
    words = [*FITTED, *SHORT, *STUDY, "split={kind: k-fold, n_folds: 2}"]
    evaluate(load_experiment(Path("demo"), words), None, tmp_path / "ev")
    assert not equal_fits(tmp_path / "ev" / "pretrain-fold0", tmp_path / "ev" / "pretrain-fold1")


@pytest.mark.parametrize("mode", ["linear", "partial"])
def test_finetuning_keeps_how_windows_are_read(pretrained: Path, tmp_path: Path, mode: str) -> None:
    words = [FITTED[0], TRANSDUCTIVE, *SHORT, f"finetune.mode={mode}", "finetune.max_steps=2"]
    text = finetune(load_experiment(Path("demo"), [*words, "evaluate.bootstrap_draws=20"]), pretrained, tmp_path / "ft")
    assert "MARKED: transductive" in text
    kept = (tmp_path / "ft" / "classifier" / "fitted.safetensors").read_bytes()
    newest = sorted((pretrained / "checkpoints").glob("step-*"))[-1]
    assert kept == (newest / "fitted.safetensors").read_bytes()


def test_an_encoder_of_other_inputs_is_refused(pretrained: Path, tmp_path: Path) -> None:
    for change in (["data.input_scale=recording", FITTED[1]], [FITTED[0]]):
        with pytest.raises(UsageError, match="other signals"):
            evaluate(load_experiment(Path("demo"), [*change, *SHORT, *STUDY]), pretrained, tmp_path / "ev")
    assert not (tmp_path / "ev").exists()


def test_the_plan_says_how_windows_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["plan", "demo", *SHORT, *STUDY, "data.align={kind: euclidean, mode: online, per: recording}", "--json"])
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)["data"]["read"]
    assert "euclidean alignment, online, per recording" in said
    assert "MARKED: online" in said


def test_conditioning_keys_name_the_store(tmp_path: Path) -> None:
    """Other steps are another store, found again by the same keys; a store by path must have been made with them."""
    words = ["data.bandpass={low_hz: 1, high_hz: 30}", "data.notch_hz=40", "data.baseline={kind: mean}"]
    data = load_experiment(Path("demo"), words).data
    store = open_store(data)
    assert store.meta["conditioning"]["bandpass"] == {"low_hz": 1.0, "high_hz": 30.0}
    assert store.meta["conditioning"]["notch_hz"] == [40.0]
    assert open_store(data).path == store.path
    plain = open_store(load_experiment(Path("demo")).data)
    assert plain.path != store.path
    assert plain.content_hash != store.content_hash
    by_path = f"data.store={store.path}"
    assert open_store(load_experiment(Path("demo"), [by_path, *words]).data).path == store.path
    with pytest.raises(UsageError, match=r"conditioned otherwise: bandpass is .*high_hz.*30"):
        open_store(load_experiment(Path("demo"), [by_path, "data.bandpass={low_hz: 2, high_hz: 30}"]).data)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data.bandpass={low_hz: 40, high_hz: 1}", "low_hz 40 is not below"),
        ("data.notch_hz=[50, 51]", "overlap"),
        ("data.align={kind: euclidean, mode: inductiv}", "data.align.mode"),
        ("data.align={kind: riemannian}", "data.align.kind"),
        ("data.baseline={kind: median}", "not one of"),
        ("data.scale=zscore", "data.scale"),
        ("data.input_scale=patient", "data.input_scale"),
        ("data.reference=CAR", "data.reference"),
    ],
)
def test_wrong_keys_get_one_paragraph(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load_experiment(Path("demo"), [words])
    assert "\n" not in str(caught.value)
