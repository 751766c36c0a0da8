"""`biocl audit` finds a planted leak of each kind and nothing in a clean cohort."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from biocl.cli import app
from biocl.commands.audit import audit
from biocl.commands.evaluate import evaluate
from biocl.commands.finetune import finetune
from biocl.commands.prepare import prepare
from biocl.commands.pretrain import pretrain
from biocl.config import load_experiment
from biocl.datasets.arrays import array_dataset
from biocl.datasets.dataset import Dataset
from biocl.datasets.registry import find_dataset
from biocl.errors import DataError, LeakageError, UsageError
from biocl.files import read_json, write_json
from biocl.signals.recording import Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.store import Store

SHORT = ["train.steps=2", "train.log_every=1", "batch.n_samples=4", "evaluate.bootstrap_draws=20"]
FITTED = ["data.input_scale=train", "data.align={kind: euclidean}"]
STUDY = ["evaluate.labels=[all]", "evaluate.modes=[linear]", "evaluate.draws=1"]
CHECKS = [
    "patients in two parts",
    "one person under two ids",
    "the same signal twice",
    "windows overlapping across parts",
    "classes that coincide with device or site",
]
OF_A_RUN = ["what the run recorded", "pretraining on those who are judged", "inputs fitted outside train"]
LAST = "what features tell of patient and device"


def ended(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str, int]:
    """Output, the error's paragraph and the exit code that the command line would give."""
    try:
        app(["audit", *words], standalone_mode=False)
    except (DataError, LeakageError, UsageError) as error:
        return capsys.readouterr().out, error.paragraph(), error.exit_code
    return capsys.readouterr().out, "", 0


def split_file(folder: Path, **keys: Any) -> str:
    scope = keys.pop("scope", "patient")
    write_json(folder / "split.json", {"name": "planted", "scope": scope, "folds": [keys]})
    return str(folder / "split.json")


def people(*numbers: int) -> list[str]:
    return [f"P{number:03d}" for number in numbers]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("module-home")


@pytest.fixture(autouse=True)
def _module_home(home: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCL_HOME", str(home))


@pytest.fixture(scope="module")
def in_home(home: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        yield home


@pytest.fixture(scope="module")
def cohort(in_home: Path) -> Path:
    return prepare(find_dataset("synthetic-ecg")).path


@pytest.fixture(scope="module")
def pretrained(in_home: Path, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(load_experiment(Path("demo"), [*FITTED, *SHORT]), tmp_path_factory.mktemp("runs") / "pretrain")


@pytest.mark.parametrize("kind", ["ecg", "eeg", "imu"])
def test_a_clean_cohort_has_no_leak(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = prepare(find_dataset(f"synthetic-{kind}")).path
    sound = split_file(tmp_path, train=people(*range(1, 9)), validation=people(9, 10), test=people(11, 12, 13))
    text, error, code = ended(capsys, str(store), "--split", sound)
    assert (error, code) == ("", 0)
    assert "no leak found" in text
    assert [line for line in text.splitlines() if line in CHECKS] == CHECKS
    assert text.count("looked at:") == len(CHECKS) + 1
    assert "WARNING" not in text
    assert f"{LAST}\n  looked at: " in text
    assert "(chance 0." in text


def test_json_has_the_same_keys_for_a_store_and_a_run(
    cohort: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ["format", "path", "kind", "dataset", "version", "store", "splits", "found", "checks", "shortcuts"]
    for path, kind, names in (
        (cohort, "store", [*CHECKS, LAST]),
        (pretrained, "pretrain", [*CHECKS, *OF_A_RUN, LAST]),
    ):
        text, error, code = ended(capsys, str(path), "--json")
        assert (error, code) == ("", 0)
        said = json.loads(text)
        assert list(said) == keys
        assert (said["format"], said["kind"]) == (1, kind)
        assert said["found"] == {"leak": 0, "warning": 0, "note": 0}
        assert [check["name"] for check in said["checks"]] == names
        assert {tuple(check) for check in said["checks"]} == {("name", "looked_at", "skipped", "findings")}
        assert [one["what"] for one in said["shortcuts"]] == ["patient"]
        assert set(said["shortcuts"][0]) == {"what", "n_groups", "n_windows", "chance", "accuracy", "how"}


def test_a_patient_in_two_parts(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leaking = split_file(tmp_path, train=people(1, 2, 3, 4), test=people(4, 5, 6))
    text, error, code = ended(capsys, str(cohort), "--split", leaking, "--json")
    assert code == 4
    assert "Patient P004 is in train and in test" in error
    assert "fold 0: train and test" in error
    assert "Leave P004 in one part" in error
    said = json.loads(text)
    first = said["checks"][0]["findings"]
    assert [(one["level"], one["who"]) for one in first] == [("leak", ["P004"])]
    assert set(first[0]) == {"level", "who", "where", "what", "fix"}


@pytest.mark.parametrize(
    ("scope", "key", "value"),
    [
        ("time", "intervals", {"train": {"P001": [[0, 60]]}, "test": {"P001": [[50, 120]]}}),
        ("time", "intervals", {"train": {"P001": [[0, 57.6]]}, "test": {"P001": [[57.6, 120]]}}),
        ("trial", "trials", {"train": {"P001": [0, 1, 2, 3]}, "test": {"P001": [3, 4, 5]}}),
    ],
    ids=["overlap", "no-gap", "trial"],
)
def test_windows_that_overlap_or_touch_across_parts(
    scope: str, key: str, value: Any, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leaking = split_file(tmp_path, scope=scope, train=people(1), test=people(1), **{key: value})
    _, error, code = ended(capsys, str(cohort), "--split", leaking)
    assert code == 4
    assert "recordings P001" in error
    assert "split planted, fold 0: train and test" in error


def copied(n: int = 600, *, sick: str = "", place: Callable[[int], str] | None = None) -> Dataset:
    """Ten people of noise, the tenth of whom has a stretch of the first one's; a class and perhaps a place each."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 30, 2, 100)).astype(np.float32)
    x[9, 12 : 12 + n // 100] = x[0, 3 : 3 + n // 100] if n else x[9, 12:12]
    plain = array_dataset(
        x.reshape(300, 2, 100),
        np.repeat([("ill" if p % 2 else "well") for p in range(10)], 30),
        np.repeat([f"p{p}" for p in range(10)], 30),
        sfreq=100.0,
    )
    if place is None:
        return plain

    def read(entry: Any) -> Recording:
        recording = plain.read(entry)
        return replace(recording, labels={**recording.labels, "site": place(int(entry.patient[1:]))})

    return replace(plain, read=read)


def test_a_stretch_of_signal_on_two_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = build_store(copied(), None, tmp_path / "store", ConditioningSpec()).path
    apart = split_file(tmp_path, train=["p0", "p1", "p2"], test=["p8", "p9"])
    _, error, code = ended(capsys, str(store), "--split", apart)
    assert code == 4
    assert "under two ids (p0, p9)" in error
    together = split_file(tmp_path, train=["p0", "p1", "p9"], test=["p7", "p8"])
    text, error, code = ended(capsys, str(store), "--split", together)
    assert (error, code) == ("", 0)
    assert "note: " in text
    assert "under two ids (p0, p9)" in text


@pytest.mark.parametrize("coincides", [True, False])
def test_a_class_that_coincides_with_a_site(
    coincides: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = copied(0, place=(lambda p: "north" if p % 2 else "south") if coincides else (lambda p: "ab"[p // 5]))
    store = build_store(dataset, None, tmp_path / "store", ConditioningSpec()).path
    text, _, code = ended(capsys, str(store))
    assert code == 0  # no split mends it, and it is no leak
    assert ("WARNING: The site tells the class of all 10 recordings" in text) == coincides
    assert "site: 0." in text


def test_the_shipped_split_with_one_person_on_both_sides(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mitdb = find_dataset("mitdb")

    def read(entry: Any) -> Recording:
        recording = mitdb.read(entry)
        kept = recording.events.where(recording.events.onset_s < 119)
        return replace(recording, n_times=round(120 * recording.sfreq), events=kept)

    short = replace(mitdb, read=read)
    store = build_store(short, test_data / "ecg" / "mitdb", tmp_path / "s", ConditioningSpec(resample_hz=125.0)).path
    text, error, code = ended(capsys, str(store))
    assert code == 4
    assert text.count("LEAK") == 1
    assert "Patient 201+202 is in train (recording 201) and in test (recording 202)" in error
    assert "split ds1-ds2-published, fold 0" in error
    text, error, code = ended(capsys, str(store), "--split", "ds1-ds2")
    assert (error, code) == ("", 0)
    assert "no leak found" in text


def test_a_run_on_a_clean_cohort_has_no_leak(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*FITTED, *SHORT, "finetune.mode=linear"]
    finetune(load_experiment(Path("demo"), words), pretrained, tmp_path / "ft")
    text, error, code = ended(capsys, str(tmp_path / "ft"))
    assert (error, code) == ("", 0)
    assert "mean, std, references, overall, groups of encoder pretrain, fold 0, fitted again" in text
    assert "the scaler of the classifier of run ft, fitted again" in text
    assert "frozen embedding of encoder pretrain" in text


def tampered(run: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change one tensor file or JSON file of a run."""
    if name.endswith(".safetensors"):
        tensors = load_file(run / name)
        change(tensors)
        save_file({key: value.contiguous() for key, value in tensors.items()}, run / name)
        return
    content = read_json(run / name)
    change(content)
    write_json(run / name, content)


@pytest.fixture
def own_run(pretrained: Path, tmp_path: Path) -> Path:
    """A copy of the pretraining that may be spoilt."""
    import shutil

    return Path(shutil.copytree(pretrained, tmp_path / "run"))


def newest(run: Path) -> str:
    return f"checkpoints/{sorted((run / 'checkpoints').glob('step-*'))[-1].name}"


def test_a_scaler_fitted_on_everybody(own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from biocl.commands.setup import open_cohort

    cohort = open_cohort(load_experiment(own_run / "config.yaml"))
    everybody = replace(cohort.windows, train=np.arange(len(cohort.windows))).known

    def leak(tensors: dict[str, torch.Tensor]) -> None:
        tensors.clear()
        tensors.update({name: torch.from_numpy(np.asarray(a).copy()) for name, a in everybody.arrays().items()})

    tampered(own_run, f"{newest(own_run)}/fitted.safetensors", leak)
    _, error, code = ended(capsys, str(own_run))
    assert code == 4
    assert "is not what the training windows give, but what all windows, those of test patients too give" in error
    assert "encoder run, fold 0" in error


def test_pretraining_on_test_patients(pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = [*FITTED, *SHORT, *STUDY, "split.seed=1", "evaluate.allow_seen=true"]
    evaluate(load_experiment(Path("demo"), other), pretrained, tmp_path / "seen")
    _, error, code = ended(capsys, str(tmp_path / "seen"))
    assert code == 4
    assert "The encoder was pretrained on" in error
    assert "which evaluate.allow_seen allowed" in error
    assert "encoder pretrain, fold 0: pretraining and test" in error
    lost = read_json(tmp_path / "seen" / "encoders.json")
    lost[0]["run"] = "nowhere/at-all"
    write_json(tmp_path / "seen" / "encoders.json", lost)
    text, _, code = ended(capsys, str(tmp_path / "seen"))
    assert code == 0
    assert "WARNING: The run of this encoder is not at nowhere/at-all" in text


def test_a_checkpoint_that_knows_the_test_patients(own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from biocl.training.checkpoint import patient_hashes

    store = Store.open(audit(own_run).looked.store.path)
    who = read_json(own_run / "split.json")["patients"]["test"][0]
    code_of = patient_hashes(store.meta["dataset"], store.meta["version"], [who])[0]
    tampered(own_run, f"{newest(own_run)}/state.json", lambda state: state["patients"].append(code_of))
    _, error, code = ended(capsys, str(own_run))
    assert code == 4
    assert f"test patients: {who}" in error
    assert "pretrained on 1 of" in error


def test_a_record_with_a_patient_in_two_parts(own_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def leak(record: dict[str, Any]) -> None:
        record["patients"]["test"].append(record["patients"]["train"][0])
        record["n_windows"]["train"] += 5

    tampered(own_run, "split.json", leak)
    text, _, code = ended(capsys, str(own_run), "--json")
    assert code == 4
    said = {check["name"]: check["findings"] for check in json.loads(text)["checks"]}
    assert any("in train and in test" in one["what"] for one in said["what the run recorded"])
    assert any("train windows, and its split gives" in one["what"] for one in said["what the run recorded"])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "run.json").unlink(), "no run.json"),
        (lambda run: (run / "split.json").write_text("{"), "not valid JSON"),
        (lambda run: (run / "split.json").write_text("{}"), "not whole"),
        (lambda run: (run / "split.json").write_text('{"folds": []}'), "not whole"),
        (lambda run: write_json(run / "run.json", {"kind": "sweep"}), "of kind 'sweep'"),
        (lambda run: (run / "config.yaml").write_text("data: ["), "config.yaml"),
        (lambda run: next((run / "checkpoints").glob("step-*2/model.*")).write_bytes(b"x"), "cannot be read"),
        (lambda run: tampered(run, "split.json", lambda one: one.update(store_hash="other")), "not the one this run"),
    ],
)
def test_a_spoilt_folder_gets_a_paragraph(
    spoil: Callable[[Path], Any], said: str, own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(own_run)
    _, error, code = ended(capsys, str(own_run))
    assert code in (2, 3)
    assert said in error
    assert "\n" not in error


def test_what_is_neither_store_nor_run(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ([str(tmp_path.parent)], "neither a store"),
        ([str(tmp_path / "nowhere")], "no store and no run folder"),
        ([str(cohort), "--split", "ds1"], "ds1"),
        ([str(cohort), "--split", split_file(tmp_path, train=["P001"], test=["X"])], "no patient 'X'"),
    ):
        _, error, code = ended(capsys, *words)
        assert code in (2, 3)
        assert said in error


def test_a_configuration_names_split_and_windows(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, error, code = ended(capsys, str(cohort), "--split", "demo")
    assert (error, code) == ("", 0)
    assert "split random" in text
