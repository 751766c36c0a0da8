"""Every shipped configuration is executed, in a short form; the documentation's keys exist."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.cli import app
from biocl.commands.evaluate import evaluate
from biocl.commands.forecasts import open_span, spans_of
from biocl.commands.prepare import prepare
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import build_model
from biocl.commands.sweep import sweep
from biocl.config import find_config, load_data, load_experiment, shipped_configs, walk_keys
from biocl.datasets.registry import dataset_names, find_dataset
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.signals.readers.formats import formats_markdown
from biocl.signals.recording import Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.spec import SlidingWindows

MINUTES = 2
REPOSITORY = Path(__file__).resolve().parents[1]
SHORT = [
    "train={steps: 1}",
    "finetune.max_steps=1",
    "evaluate.labels=[all]",
    "evaluate.draws=1",
    "evaluate.bootstrap_draws=20",
    "evaluate.probe={c: 0.01, max_iter: 20}",
]
ENCODERS = {
    "resnet1d": ["widths=[4]", "kernels=[7]"],
    "dilated-cnn": ["depth=2", "hidden_dim=4", "embed_dim=4"],
    "patch-transformer": ["dual.transformer.width=8"],
    "channel-transformer": ["dual.transformer.projector=[8, 128]"],
}
FEWER_WINDOWS = {
    "physical-therapy": "{kind: sliding, length_s: 3.0, step_s: 30.0}",
    "sp-sw-har": "{kind: sliding, length_s: 1.0, step_s: 3.0}",
}
SHRUNK = {
    "random": "batch={kind: random, size: 16}",
    "hierarchical": "batch={kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}",
    "frozen-trials": "batch={kind: frozen-trials, size: 16}",
}


@pytest.fixture(scope="session")
def mitdb_home(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the first minutes of every record of mitdb are prepared under the name of the whole."""
    home = tmp_path_factory.mktemp("mitdb-home")
    mitdb = find_dataset("mitdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        prepare(replace(mitdb, read=lambda entry: beginning(mitdb.read(entry))), raw=test_data / "ecg" / "mitdb")
    return home


def beginning(recording: Recording) -> Recording:
    """The first two minutes, in which DS1 and DS2 both have beats of all four classes."""
    return replace(
        recording,
        n_times=round(MINUTES * 60 * recording.sfreq),
        events=recording.events.where(recording.events.onset_s < MINUTES * 60 - 1),
    )


def own_data(folder: Path) -> Path:
    """Six patients with two files each, as a user would bring them."""
    rng = np.random.default_rng(0)
    lines = ["path,patient,trial,label,start,end"]
    for patient in range(10):
        for part in range(2):
            name = f"p{patient}-{part}.npy"
            np.save(folder / name, rng.standard_normal((1200, 2)).astype(np.float32) * (1 + part))
            lines += [
                f"{name},p{patient},1,{'ill' if part else 'well'},0,6",
                f"{name},p{patient},2,{'ill' if part else 'well'},6,12",
            ]
    (folder / "recordings.csv").write_text("\n".join(lines) + "\n")
    return folder / "recordings.csv"


@pytest.fixture(scope="session")
def eeg_home(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the real EEG sets are prepared."""
    home = tmp_path_factory.mktemp("eeg-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        for dataset in ("eegmmidb", "smni_cmi"):
            prepare(find_dataset(dataset), raw=test_data / "eeg" / dataset)
    return home


@pytest.fixture(scope="session")
def imu_home(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the real sets of several devices are prepared."""
    home = tmp_path_factory.mktemp("imu-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        for dataset, folder in (("physical-therapy", "physical-therapy-exercises"), ("sp-sw-har", "sp-sw-har")):
            prepare(find_dataset(dataset), raw=test_data / "imu" / folder)
    return home


@pytest.fixture(scope="session")
def ptbxl_home(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the records of ptbxl that are here are prepared."""
    home = tmp_path_factory.mktemp("ptbxl-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        prepare(find_dataset("ptbxl"), raw=test_data / "ecg" / "ptbxl")
    return home


@pytest.fixture(scope="session")
def series_home(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the real series are prepared."""
    home = tmp_path_factory.mktemp("series-home")
    folders = {"etth1": "ETT-small", "etth2": "ETT-small", "exchange": "exchange_rate", "illness": "illness"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(home))
        for dataset, folder in folders.items():
            prepare(find_dataset(dataset), raw=test_data / "forecasting" / folder)
    return home


def few_forecasts(whole: Experiment) -> list[str]:
    """Overrides that leave the first span, one seed, and one window in seven; a variant's steps are those of all."""
    assert whole.evaluate.spans is not None
    first = whole.evaluate.spans[0]
    variants = {
        name: {key: value for key, value in changes.items() if not key.startswith("train.")}
        for name, changes in whole.variants.items()
    }
    assert isinstance(whole.data.windows, SlidingWindows)
    return [
        f"evaluate.spans=[{{length_s: {first.length_s}, horizon_s: {first.horizon_s}}}]",
        f"data.windows.step_s={7 * whole.data.windows.step_s}",
        f"variants={json.dumps(variants)}",
        "evaluate.seeds=1",
        "encoder.each.width=8",
    ]


def shrunk(whole: Experiment) -> list[str]:
    """Overrides that make a configuration small, whatever its encoder and its folds."""
    if whole.judged == "forecasting":
        return [*SHORT, SHRUNK[whole.batch.kind], *few_forecasts(whole)]
    prefix = "encoder.each." if hasattr(whole.encoder, "each") else "encoder."
    encoder = getattr(whole.encoder, "each", whole.encoder)
    names = {one.name for one in getattr(encoder, "dual", {"": encoder}).values()}
    modes = "[joint, linear]" if whole.has_head or whole.judged in ("regression", "multi-label") else "[linear]"
    many = getattr(whole.split, "kind", "") in ("leave-one-out", "k-fold")
    few = ["split={kind: k-fold, n_folds: 2, validation: 0}"] if many else []
    if whole.data.dataset in FEWER_WINDOWS:
        few += [f"data.windows={FEWER_WINDOWS[whole.data.dataset]}", "evaluate.devices=[all]"]
        if whole.data.horizon_s is not None:
            few += [f"data.windows.horizon_s={whole.data.horizon_s}"]
        if whole.data.windows is not None and whole.data.windows.keep_unlabelled:
            few += ["data.windows.keep_unlabelled=true"]
    if whole.data.dataset == "mitdb" and whole.data.resample_hz is not None:
        few += ["data.resample_hz=125"]  # of the prepared minutes
    if whole.data.dataset == "synthetic-mi":
        few += ["data.resample_hz=100", "data.windows={kind: event, events: trial, before_s: 0, after_s: 1}"]
    return [
        *SHORT,
        *(prefix + override for name, overrides in ENCODERS.items() if name in names for override in overrides),
        SHRUNK[whole.batch.kind],
        f"evaluate.modes={modes}",
        *few,
    ]


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_a_shipped_configuration_runs_in_short_form(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = []
    if "mitdb" in name:
        monkeypatch.setenv("BIOCL_HOME", str(request.getfixturevalue("mitdb_home")))
    elif name in ("age-ptbxl", "ptbxl-superclasses"):
        monkeypatch.setenv("BIOCL_HOME", str(request.getfixturevalue("ptbxl_home")))
    elif name in ("mvcnet-eegmmidb", "mvcnet-smni"):
        monkeypatch.setenv("BIOCL_HOME", str(request.getfixturevalue("eeg_home")))
    elif "collossl" in name or "physical-therapy" in name or "sp-sw-har" in name:
        monkeypatch.setenv("BIOCL_HOME", str(request.getfixturevalue("imu_home")))
    elif name.startswith("forecast-"):
        monkeypatch.setenv("BIOCL_HOME", str(request.getfixturevalue("series_home")))
    elif name == "own-data":
        with pytest.raises(SystemExit) as ended:
            app(["data", "prepare", str(own_data(tmp_path)), "--sfreq", "100", "--out", str(tmp_path / "store")])
        assert ended.value.code == 0
        extra = [f"data.store={tmp_path / 'store'}", "evaluate.labels=[2 patients]"]
    whole = load_experiment(Path(name))
    experiment = load_experiment(Path(name), [*shrunk(whole), *extra])
    if whole.train.average is not None:
        experiment = experiment.model_copy(
            update={"train": experiment.train.model_copy(update={"average": whole.train.average})}
        )
    run = pretrain(experiment, tmp_path / "pretrain")
    n_folds = len(read_json(run / "split_file.json")["folds"])
    text = evaluate(experiment, run if n_folds == 1 else None, tmp_path / "evaluate")
    assert "patient-independent" in text
    rows = {(row["mode"], row["arm"]) for row in read_json(tmp_path / "evaluate" / "results.json")["rows"]}
    if whole.judged == "forecasting":
        arms = {("joint", "pretrained"), ("joint", "supervised"), ("linear", "two-step"), ("full", "two-step")}
        assert rows >= {*arms, ("linear", "untrained"), ("floor", "ridge, one map"), ("floor", "seasonal copy")}
        return
    assert rows >= {("linear", "pretrained"), ("linear", "untrained"), *(("linear", name) for name in whole.variants)}
    assert (("joint", "pretrained") in rows) == whole.has_head


@pytest.mark.parametrize("name", [name for name in sorted(shipped_configs()) if name.startswith("sweep-")])
def test_a_shipped_sweep_runs_in_short_form(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "mitdb" in name:
        monkeypatch.setenv("BIOCL_HOME", str(request.getfixturevalue("mitdb_home")))
    experiment = load_experiment(Path(name), [*shrunk(load_experiment(Path(name))), "train.steps=3"])
    assert experiment.sweep is not None
    sweep(experiment, tmp_path / "sweep", trials=3)
    results = read_json(tmp_path / "sweep" / "results.json")
    assert results["counted"] == 3
    assert all(set(trial["parameters"]) <= set(experiment.sweep.space) for trial in results["trials"])
    assert set(results["trials"][1]["parameters"]) == set(experiment.sweep.space)
    pretrain(load_experiment(tmp_path / "sweep" / "best.yaml"), tmp_path / "best")


@pytest.mark.parametrize("name", [name for name in sorted(shipped_configs()) if name.startswith("forecast-")])
def test_every_span_of_a_shipped_configuration_can_be_built(
    name: str, series_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that the short form leaves out."""
    monkeypatch.setenv("BIOCL_HOME", str(series_home))
    experiment = load_experiment(Path(name))
    for spec in spans_of(experiment):
        span = open_span(experiment, spec, torch.device("cpu"))
        for arms in span.arms.values():
            for [fold] in arms.values():
                build_model(fold.experiment, fold.windows)


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_the_header_says_what_it_is_and_how_to_run_it(name: str) -> None:
    lines = shipped_configs()[name].read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[0].startswith("# ")
    commands = [f"biocl {verb} configs/{name}.yaml" for verb in ("pretrain", "evaluate")]
    assert any(command in line for line in header for command in commands) or name == "own-data"


def test_mitdb_split_marks_the_shared_person(mitdb_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BIOCL_HOME", str(mitdb_home))
    published = ["split.name=ds1-ds2-published"]
    one_task = ["evaluate.class_sets=[[N, V]]", "evaluate.per_recording=none"]
    short = [*SHORT, SHRUNK["hierarchical"], *one_task]
    text = evaluate(load_experiment(Path("comet-mitdb"), [*short, *published]), None, tmp_path / "published")
    assert "MARKED: one person (201+202) on both sides" in text
    assert "NOT patient-independent" in text
    split = read_json(tmp_path / "published" / "split.json")["folds"][0]["patients"]
    assert "201+202" in split["train"]
    assert "201+202" in split["test"]
    text = evaluate(load_experiment(Path("comet-mitdb"), short), None, tmp_path / "ours")
    assert "MARKED" not in text
    split = read_json(tmp_path / "ours" / "split.json")["folds"][0]["patients"]
    assert "201+202" not in split["train"]
    assert len(split["train"]) == 17
    assert len(split["test"]) == 22
    assert not {"102", "104", "107", "217"} & set(split["train"] + split["validation"] + split["test"])


def test_a_store_elsewhere_is_found_by_name_and_an_edited_list_is_another_store(tmp_path: Path, own_home: Path) -> None:
    store = prepare(find_dataset("synthetic-imu"), out=tmp_path / "imu")
    link = next((own_home / "stores").iterdir())
    assert link.resolve() == store.path.resolve()
    table = own_data(tmp_path)
    from biocl.datasets.folder import folder_dataset
    from biocl.errors import DataError

    first = build_store(folder_dataset(table, sfreq=100), None, tmp_path / "own", ConditioningSpec())
    again = build_store(folder_dataset(table, sfreq=100), None, tmp_path / "own", ConditioningSpec())
    assert first.content_hash == again.content_hash
    table.write_text(table.read_text().replace("well", "healthy"))
    with pytest.raises(DataError, match="another store"):
        build_store(folder_dataset(table, sfreq=100), None, tmp_path / "own", ConditioningSpec())


def test_config_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            app(list(words))
        assert ended.value.code == 0
        return capsys.readouterr().out

    names = [entry["name"] for entry in json.loads(run("config", "list", "--json"))]
    assert {"demo", "comet", "comet-reference", "comet-mitdb", "comet-mitdb-reference", "comet-mitdb-full"} <= set(
        names
    )
    run("config", "copy", "demo", str(tmp_path / "mine.yaml"))
    assert "valid" in run("config", "validate", str(tmp_path / "mine.yaml"))
    with pytest.raises(UsageError, match="exists"):
        app(["config", "copy", "demo", str(tmp_path / "mine.yaml")], standalone_mode=False)
    assert "Learning rate" in run("config", "explain", "train.lr")
    assert "terms[].weight" in run("config", "explain", "weight")
    found = {entry["name"]: entry for entry in json.loads(run("data", "list", "--json"))}
    assert set(found["mitdb"]) == {"name", "modality", "patients", "licence", "state"}
    assert found["mitdb"]["state"] == "downloadable"


def test_every_key_can_be_explained() -> None:
    from biocl.commands.configs import explain_key

    for key, _, _ in walk_keys(Experiment):
        assert key in explain_key(key)
    for written in ("terms[].weight", "terms.0.weight", "terms.weight", "views.NAME[].mask", "views.mask"):
        assert "(" in explain_key(written)
    assert "Inverse regularisation" in explain_key("evaluate.probe.c")
    assert "Patients in a batch" in explain_key("batch.n_patients")
    assert "focal | vicreg | crossl | supremix | rnc | cwcl (required)" in explain_key("terms.criterion")
    named = explain_key("terms.criterion.name")
    assert all(f"[{name}]" in named for name in ("gram", "focal", "vicreg", "crossl"))
    keys = [key for key, _, _ in walk_keys(Experiment)]
    assert len(keys) > 80
    assert {"train.lr", "terms[].weight", "views.NAME[].mask", "data.windows.before_s"} <= set(keys)


@pytest.mark.parametrize(
    "key", ["views.masked_1.0.share", "views.masked_1[0].share", "terms[0].weight", "terms.0.weight"]
)
def test_a_key_is_explained_as_an_error_spells_it(key: str) -> None:
    from biocl.commands.configs import explain_key

    assert explain_key(key).startswith(("views.NAME[].share", "terms[].weight"))


@pytest.mark.parametrize("line", ["name: ../../evil", "name: ''", "data.classes: []", "train.lr: .inf"])
def test_a_value_that_makes_no_sense_is_refused(line: str) -> None:
    key, value = line.split(": ")
    with pytest.raises(UsageError, match=key):
        load_experiment(Path("demo"), [f"{key}={value}"])


def test_the_readme_names_only_what_exists() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for config in re.findall(r"configs/([\w-]+)\.yaml", text):
        find_config(Path(config))
    for path in re.findall(r"`(benchmarks/\w+\.py)", text):
        assert (REPOSITORY / path).is_file()
    for name in dataset_names():
        assert f"`{name}`" in text
    assert formats_markdown() in text


def test_conditioning_can_be_read_from_a_file_with_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "steps.yaml"
    path.write_text("data:\n  resample_hz: 50\n  nan: keep\n", encoding="utf-8")
    assert (load_data(path).resample_hz, load_data(path).nan) == (50, "keep")
    path.write_text("data:\n  resample_hz: 50\n  nann: keep\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"data\.nann \(line 3\) is not a known key, did you mean nan"):
        load_data(path)
    path.write_text("data: {resample_hz: 50}\ntrain: {stepz: 4}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="did you mean steps"):
        load_data(path)
