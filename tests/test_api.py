"""The functions say what the command line says, and a run folder opens again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import biocl
from biocl.cli import app
from biocl.commands.prepare import open_store, prepare
from biocl.config import load_experiment, variants_of
from biocl.datasets.registry import find_dataset
from biocl.errors import DataError, UsageError
from biocl.store.store import Store
from biocl.training.checkpoint import load_checkpoint
from biocl.training.run import read_metrics

SHORT = {"train.steps": 4, "train.log_every": 1, "batch.n_samples": 4, "evaluate.bootstrap_draws": 50}
STUDY = {"evaluate.labels": ["2 patients", "all"], "evaluate.draws": 1, "finetune.max_steps": 2}
WORDS = [f"{key}={value}".replace("'", "") for key, value in SHORT.items()]
STUDY_WORDS = [*WORDS, *(f"{key}={value}".replace("'", "") for key, value in STUDY.items())]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("module-home")


@pytest.fixture(autouse=True)
def _module_home(home: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCL_HOME", str(home))


@pytest.fixture(scope="module")
def run(home: Path, tmp_path_factory: pytest.TempPathFactory) -> biocl.Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        return biocl.pretrain("demo", SHORT, out=tmp_path_factory.mktemp("runs") / "function")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command line prints."""

    def spoken(*words: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([str(word) for word in words])
        assert ended.value.code == 0
        return capsys.readouterr().out.strip()

    return spoken


def test_importing_biocl_imports_nothing_heavy() -> None:
    code = (
        "import sys, biocl; before = set(sys.modules)\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'pandas', 'pydantic', 'mne', 'biocl.config'} & before\n"
        "assert 'pretrain' in dir(biocl) and 'BiosignalEncoder' in dir(biocl)\n"
        "assert not hasattr(biocl, 'pretain')\n"
        "print(','.join(sorted(heavy)), callable(biocl.pretrain), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_pretrain_is_the_command_line(run: biocl.Run, say: Callable[..., str], tmp_path: Path) -> None:
    said = say("pretrain", "demo", *WORDS, "--out", tmp_path / "spoken")
    assert biocl.Run(tmp_path / "spoken").text == said
    assert run.text == said.replace(str(tmp_path / "spoken"), str(run.path))
    assert read_metrics(run.path / "metrics.jsonl") == read_metrics(tmp_path / "spoken" / "metrics.jsonl")
    assert (run.path / "config.yaml").read_text() == (tmp_path / "spoken" / "config.yaml").read_text()
    one, other = (load_checkpoint(folder / "checkpoints").weights for folder in (run.path, tmp_path / "spoken"))
    for name, value in one.items():
        assert bool((value == other[name]).all()), name


def test_finetune_and_evaluate_are_the_command_line(run: biocl.Run, say: Callable[..., str], tmp_path: Path) -> None:
    said = say("evaluate", "demo", *STUDY_WORDS, "--from", run.path, "--out", tmp_path / "spoken")
    study = biocl.evaluate("demo", {**SHORT, **STUDY}, from_run=run, out=tmp_path / "called")
    assert study.text == said.replace("spoken", "called")
    assert (study.path / "results.json").read_bytes() == (tmp_path / "spoken" / "results.json").read_bytes()
    tuning = ["--labels", "2 patients", "--mode", "partial", "--from", run.path]
    said = say("finetune", "demo", *STUDY_WORDS, *tuning, "--out", tmp_path / "said")
    tuned = biocl.finetune(
        "demo", {**SHORT, **STUDY}, from_run=run.path, labels="2 patients", mode="partial", out=tmp_path / "done"
    )
    assert tuned.text == said.replace("/said", "/done")
    assert (tuned.path / "predictions.csv").read_bytes() == (tmp_path / "said" / "predictions.csv").read_bytes()
    assert tuned.kind == "finetune"
    assert list(tuned.metrics["step"]) == sorted(tuned.metrics["step"])

    assert len(study.table) == len(study.rows) > 4
    line = study.table[(study.table["arm"] == "pretrained") & (study.table["labels"] == "all")].iloc[0]
    assert line["metrics.macro_f1.low"] <= line["metrics.macro_f1.value"] <= line["metrics.macro_f1.high"]
    assert {"first", "second", "macro_f1"} <= set(study.differences[0])
    html = study._repr_html_()
    assert html.count("<table>") == 2
    assert "<td" in html
    assert study.text.splitlines()[0] in html


def test_prepare_is_the_command_line(say: Callable[..., str], tmp_path: Path) -> None:
    store = biocl.prepare("synthetic-ecg", out=tmp_path / "called")
    say("data", "prepare", "synthetic-ecg", "--out", tmp_path / "spoken")
    assert store.content_hash == Store.open(tmp_path / "spoken").content_hash
    (tmp_path / "a.csv").write_text("time,lead\n" + "".join(f"{i / 50},{np.sin(i)}\n" for i in range(200)))
    (tmp_path / "mine.csv").write_text("path,patient,label\na.csv,P1,rest\n")
    own = biocl.prepare(tmp_path / "mine.csv", sfreq=50, out=tmp_path / "own")
    assert own.patient_names == ("P1",)
    with pytest.raises(UsageError, match="needs a place"):
        biocl.prepare(tmp_path / "mine.csv", sfreq=50)


def test_a_store_that_is_there_opens_without_its_native_files(tmp_path: Path) -> None:
    recordings = replace(find_dataset("synthetic-ecg"), name="filed", access="open", homepage="https://example.org")
    raw = tmp_path / "raw"
    with pytest.raises(DataError, match="native files of filed are not here"):
        prepare(recordings)
    raw.mkdir()
    there = prepare(recordings, raw=raw)
    raw.rmdir()
    gone = replace(recordings, entries=lambda raw: pytest.fail("looked for native files"))
    assert prepare(gone).path == there.path
    with pytest.raises(DataError, match="native files"):
        prepare(gone, out=tmp_path / "elsewhere")


def test_a_run_finds_the_store_that_its_data_set_conditions(tmp_path: Path) -> None:
    named = find_dataset("synthetic-ecg")
    store = prepare(replace(named, defaults={**named.defaults, "resample_hz": 100.0}), out=tmp_path / "store")
    assert store.sfreq == 100
    run = biocl.pretrain("demo", SHORT, **{"data": {"store": store}, "train.steps": 1}, out=tmp_path / "run")
    assert open_store(run.config.data).path == store.path
    few = load_experiment(run.config, {"variants": {"few": {"train.steps": 1}}})
    assert open_store(variants_of(few)["few"].data).path == store.path
    given = biocl.pretrain("demo", SHORT, **{"data.resample_hz": 100, "train.steps": 1}, out=tmp_path / "given")
    assert given.config.data.resample_hz == 100


def test_a_run_opens_with_its_configuration_and_its_log(run: biocl.Run) -> None:
    again = biocl.Run(str(run.path))
    assert again == run
    assert again.config == load_experiment("demo", SHORT)
    assert again.results["steps"] == 4
    assert {part: len(who) for part, who in again.split["patients"].items()} == {
        "train": 10,
        "validation": 4,
        "test": 6,
    }
    assert list(again.metrics["step"]) == [1, 2, 3, 4]
    assert again.metrics["validation/same-trial/positive"].notna().tolist() == [False, False, False, True]
    assert str(run.path) in again._repr_html_()
    with pytest.raises(UsageError, match="not a biocl run"):
        biocl.Run(run.path.parent)
    with pytest.raises(AttributeError):
        again.path = Path("elsewhere")  # type: ignore[misc]


def test_without_pandas_tables_are_lists(run: biocl.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert [row["step"] for row in run.metrics] == [1, 2, 3, 4]


CONTENT = {
    "name": "mine",
    "data": {"dataset": "synthetic-ecg"},
    "split": {"kind": "random"},
    "encoder": {"depth": 2},
    "train": {"steps": 1000},
    "terms": [{"views": ["clean", "clean"], "redraw_dropout": True, "relation": "same-trial"}],
}
CONTENT["terms"][0]["criterion"] = {"name": "sup-con"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("source", "overrides"),
    [
        (CONTENT, {"train.lr": 0.5, "data.classes": ("class-0", "class-1"), "seed": np.int64(3)}),
        (CONTENT, ["train.lr=0.5", "data.classes=[class-0, class-1]", "seed=3"]),
        (CONTENT, ["train.lr=0.5", {"data.classes": np.array(["class-0", "class-1"])}, {"seed": 3}]),
        (
            load_experiment(CONTENT),
            {"train": {"lr": 0.5, "steps": 1000}, "data.classes": ["class-0", "class-1"], "seed": 3},
        ),
    ],
    ids=["mapping", "text", "both", "experiment"],
)
def test_a_configuration_may_be_a_value(source: object, overrides: object) -> None:
    experiment = load_experiment(source, overrides)  # type: ignore[arg-type]
    assert (experiment.name, experiment.train.lr, experiment.seed) == ("mine", 0.5, 3)
    assert experiment.data.classes == ["class-0", "class-1"]
    # What is not said of the recordings stays unsaid, so that it is what suits the data set.
    assert experiment.data.model_fields_set == {"dataset", "classes"}
    assert CONTENT["data"] == {"dataset": "synthetic-ecg"}


def test_a_mistake_in_a_value_is_told_as_in_a_file() -> None:
    with pytest.raises(UsageError, match=r"train\.stepz is not a known key, did you mean steps\?"):
        load_experiment(CONTENT, {"train.stepz": 3})
    with pytest.raises(UsageError, match="no such configuration file"):
        biocl.pretrain("dem")


def test_a_store_and_arrays_are_embedded_as_by_the_command_line(
    run: biocl.Run, say: Callable[..., str], tmp_path: Path
) -> None:
    store = biocl.prepare("synthetic-ecg")
    say("embed", run.path, store.path, "-o", tmp_path / "e.npz")
    spoken = np.load(tmp_path / "e.npz")
    for given in (store, store.path, str(store.path)):
        vectors, windows, marks = run.embed(given)
        np.testing.assert_array_equal(vectors, spoken["embedding"])
        assert windows["patient"].tolist() == spoken["patient"].tolist()
        assert marks == ()


def test_arrays_come_back_in_their_order_and_scaled_by_patient(tmp_path: Path) -> None:
    experiment = load_experiment("demo", {**SHORT, "data.input_scale": "train"})
    run = biocl.pretrain(experiment, out=tmp_path / "run")
    store = biocl.prepare("synthetic-ecg")
    table = store.windows
    picked = np.random.default_rng(0).permutation(len(table))[:60]
    x = np.stack([store.signal(int(table.recording[i]))[table.start[i] :][: table.n_times].T for i in picked])
    whole = run.embed(store)
    there = run.embed(x, patients=np.array(table.names["patient"])[table.patient[picked]], sfreq=store.sfreq)
    np.testing.assert_allclose(there.vectors, whole.vectors[picked], atol=1e-5)
    assert there.windows["patient"].tolist() == whole.windows["patient"].to_numpy()[picked].tolist()
    alone = run.embed(x)
    np.testing.assert_allclose(alone.vectors, there.vectors, atol=1e-5)

    by_recording = biocl.pretrain("demo", SHORT, out=tmp_path / "by-recording")
    loud = x * 100
    whose = np.arange(60) % 3
    np.testing.assert_allclose(
        by_recording.embed(x, patients=whose).vectors, by_recording.embed(loud, patients=whose).vectors, atol=1e-3
    )
    assert not np.allclose(by_recording.embed(x, patients=whose).vectors, by_recording.embed(x).vectors, atol=1e-2)


def test_arrays_that_do_not_fit_are_refused(run: biocl.Run) -> None:
    state = load_checkpoint(run.path / "checkpoints").state
    n_chans, n_times = len(state["channels"]), state["n_times"]
    x = np.random.default_rng(0).standard_normal((4, n_chans, n_times))
    with pytest.raises(UsageError, match=f"windows of {n_chans} channels and {n_times} samples"):
        run.embed(x[:, :, :-1])
    with pytest.raises(UsageError, match="these arrays have 50 Hz"):
        run.embed(x, sfreq=50.0)
    with pytest.raises(DataError, match="patient has shape"):
        run.embed(x, patients=["a"])
    with pytest.raises(UsageError, match="knows its patients"):
        run.embed("store", patients=["a"])
    x[1, 0, 3] = np.nan
    with pytest.raises(DataError):
        run.embed(x)


def test_embeddings_are_normalised_as_in_training(tmp_path: Path) -> None:
    keys = {**SHORT, "data.input_scale": "none", "data.normalise": "instance"}
    run = biocl.pretrain("demo", keys, out=tmp_path / "run")
    store = biocl.prepare("synthetic-ecg")
    table = store.windows
    x = np.stack([store.signal(int(table.recording[i]))[table.start[i] :][: table.n_times].T for i in range(8)])
    np.testing.assert_allclose(run.embed(x).vectors, run.embed(store).vectors[:8], atol=1e-5)
    np.testing.assert_allclose(run.embed(3 * x + 5).vectors, run.embed(x).vectors, atol=1e-3)
