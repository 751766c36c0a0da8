"""Pretraining by each criterion over devices, some of them taken away, on a cohort with a wrist and an ankle unit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from biocl.commands.plan import make_plan
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import build_model, open_cohort
from biocl.config import load_experiment
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.experiment import Experiment
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.training.checkpoint import load_checkpoint
from biocl.training.run import read_metrics

CPU = torch.device("cpu")
SMALL = [
    "split={kind: random, fractions: [0.5, 0.25, 0.25]}",
    "encoder={each: {name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}, fusion: concat}",
    "batch={kind: hierarchical, n_patients: 4, n_trials: 2, n_samples: 3}",
    "views={one: [{jitter: 0.05}, {device-dropout: 0.2}], other: [{jitter: 0.05}, {device-dropout: 0.2}]}",
    "projectors={join: {hidden_dim: 5, out_dim: 4}}",
    "train={steps: 3, lr: 0.01, validate_every: 3}",
]
ACROSS: dict[str, dict[str, Any]] = {
    "gram": {"views": ["one"]},
    "gram of an anchor": {"views": ["one"], "anchor": "wrist"},
    "focal": {"views": ["one", "other"]},
    "crossl": {"views": ["one"], "project": "join"},
    "vicreg": {"views": ["one"], "project": "join"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients."""
    spec = SyntheticSpec(kind="imu", n_patients=8, n_trials=4, n_samples=4)
    path = tmp_path_factory.mktemp("imu") / "store"
    return build_store(synthetic_dataset(spec), None, path, ConditioningSpec()).path


def experiment_of(store: Path, name: str) -> Experiment:
    term = {"across": "device", "relation": "same-sample", "criterion": {"name": name.split()[0]}, **ACROSS[name]}
    return load_experiment(Path("demo"), [f"data={{store: {store}}}", *SMALL, f"terms={json.dumps([term])}"])


@pytest.mark.parametrize("name", ACROSS)
def test_a_line_pretrains_and_says_what_it_brings_together(name: str, store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store, name)
    run = pretrain(experiment, tmp_path / "run")
    log = read_metrics(run / "metrics.jsonl")
    losses = [line["loss"] for line in log if "loss" in line]
    assert losses
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    looked = [line for line in log if "validation/same-sample/positive" in line]
    assert all(-1 <= looked[-1][f"validation/same-sample/{sign}"] <= 1 for sign in ("positive", "negative"))
    weights = load_checkpoint(run / "checkpoints", CPU).weights
    fresh = build_model(experiment, open_cohort(experiment).windows).state_dict()
    moved = {key for key, value in weights.items() if not torch.equal(value, fresh[key])}
    assert {key for key in fresh if key.endswith("weight") and moves(key, name)} <= moved


def moves(key: str, name: str) -> bool:
    """Whether a weight is trained: the encoder's always, the projector's where the term names it."""
    return key.startswith("encoder") or (key.startswith("projectors") and "project" in ACROSS[name])


@pytest.mark.parametrize(("name", "positives"), [("gram", 1), ("focal", 2), ("crossl", 1), ("vicreg", 1)])
def test_the_plan_counts_its_pairs(name: str, positives: int, store: Path) -> None:
    (term,) = make_plan(experiment_of(store, name))["terms"]
    assert term["positives"] == positives
    assert (term["negatives"] > 0) == (name in ("gram", "focal"))
