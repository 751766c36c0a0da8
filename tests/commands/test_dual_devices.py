"""An encoder of each device with two branches and devices of different rate, from plan to a study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from biocl.cli import app
from biocl.commands.configs import explain_key
from biocl.commands.evaluate import evaluate
from biocl.commands.plan import make_plan
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import build_model, open_cohort
from biocl.config import load_experiment
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.encoders.devices import DeviceEncoder
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

BRANCHES = {
    "cnn": {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6},
    "transformer": {"name": "patch-transformer", "width": 8, "n_heads": 2, "depth": 1, "patch_ms": 200},
}
ENCODER = {"each": {"dual": BRANCHES, "fusion": "gate", "fused_dim": 4}, "fusion": "mean"}
CRITERION = {"name": "nt-xent"}
TERMS = [
    {"label": "moments", "across": "device", "views": ["clean"], "relation": "same-sample",
     "criterion": {"name": "mv-dhel"}},
    {"label": "branches", "across": "branch", "views": ["clean"], "stack": ["device"], "relation": "same-sample",
     "project": {"cnn": "p", "transformer": "q"}, "criterion": CRITERION},
    {"label": "views", "views": ["clean", "loud"], "relation": "same-sample", "criterion": CRITERION},
]  # fmt: skip
SMALL = [
    "split={kind: random, fractions: [0.5, 0.2, 0.3]}",
    f"encoder={json.dumps(ENCODER)}",
    "batch={kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}",
    "views={clean: [], loud: [{jitter: 0.1}, {device-dropout: 0.5}]}",
    "projectors={p: {hidden_dim: 4, out_dim: 4}, q: {hidden_dim: 4, out_dim: 4}}",
    f"terms={json.dumps(TERMS)}",
    "train={steps: 2, lr: 0.01}",
    "finetune={max_steps: 2, n_blocks: 1, head: {kind: linear}}",
    "evaluate={labels: [all], draws: 1, modes: [linear, partial], bootstrap_draws: 10, probe: {c: 0.01}}",
]
RATES = "encoder.rates={ankle: 25}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients with a wrist and an ankle unit."""
    spec = SyntheticSpec(kind="imu", n_patients=10, n_trials=4, n_samples=3)
    path = tmp_path_factory.mktemp("imu") / "store"
    return build_store(synthetic_dataset(spec), None, path, ConditioningSpec()).path


def experiment_of(store: Path, *more: str) -> Experiment:
    return load_experiment(Path("demo"), [f"data={{store: {store}}}", *SMALL, *more])


def test_a_study_with_two_branches_in_each_device_and_a_slow_one(store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store, RATES, "evaluate.devices=[each, all]")
    run = pretrain(experiment, tmp_path / "run")
    text = evaluate(experiment, run, tmp_path / "evaluate")
    assert "patient-independent" in text
    rows = read_json(tmp_path / "evaluate" / "results.json")["rows"]
    assert {(" ".join(row["devices"] or ["all"]), row["mode"]) for row in rows if row["arm"] == "pretrained"} == {
        (devices, mode) for devices in ("wrist", "ankle", "all") for mode in ("linear", "partial")
    }


def test_the_plan_says_how_devices_are_read_and_what_each_term_compares(
    store: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    experiment = experiment_of(store, RATES)
    cohort = open_cohort(experiment)
    sfreq, n_times = cohort.windows.table.sfreq, cohort.windows.n_times
    assert sfreq == 50
    plan = make_plan(experiment)
    assert plan["data"]["devices"] == f"wrist 50 Hz x {n_times}, ankle 25 Hz x {n_times // 2}"
    terms = {term["term"]: term for term in plan["terms"]}
    assert terms["moments"]["positives"] == 1
    # 12 windows, less the two of the trial; on two devices and in two branches.
    assert terms["moments"]["negatives"] == 10
    assert terms["branches"]["negatives"] == 2 * 2 * 10
    assert "devices" not in make_plan(experiment_of(store, "encoder={name: tpn, widths: [4], kernels: [5]}", "terms=["
                                                    + json.dumps(TERMS[2]) + "]"))["data"]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        app(["config", "explain", "encoder.rates"])
    assert ended.value.code == 0
    assert "recorded more slowly" in capsys.readouterr().out
    assert "two branches under dual" in explain_key("encoder.each")


def test_the_slow_device_has_fewer_steps_and_weights_of_its_own(store: Path) -> None:
    cohort = open_cohort(experiment_of(store))
    kinds = [set(build_model(experiment_of(store, *more), cohort.windows).encoder.encoders) for more in ([], [RATES])]  # type: ignore[arg-type]
    assert len(kinds[0]) == 1
    assert kinds[1] == kinds[0] | {f"{next(iter(kinds[0]))}_every2"}
    model = build_model(experiment_of(store, RATES), cohort.windows)
    assert isinstance(model.encoder, DeviceEncoder)
    trunks = model.encoder(torch.randn(2, cohort.windows.n_chans, cohort.windows.n_times))
    steps = {name: own["cnn"].shape[1] for name, own in trunks.items()}
    assert steps == {"wrist": cohort.windows.n_times, "ankle": cohort.windows.n_times // 2}


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ("{nose: 25}", "no device 'nose' among the store's channels"),
        ("{ankle: 30}", "'ankle' is said to have 30 samples a second, and the windows' 50"),
    ],
)
def test_rates_that_cannot_be_are_refused_before_anything_runs(
    store: Path, tmp_path: Path, rates: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says) as error:
        pretrain(experiment_of(store, f"encoder.rates={rates}"), tmp_path / "run")
    assert "encoder.rates" in str(error.value.where)
    assert not (tmp_path / "run").exists()
    # A device that there is, and that this run does not read, has its rate all the same.
    open_cohort(experiment_of(store, RATES, "data.devices=[wrist]", "views.loud=[{jitter: 0.1}]"))
