"""A momentum copy and a queue from one YAML: whose keys it holds, what plan says, that it resumes and is fine-tuned."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from biocl.commands.configs import explain_key
from biocl.commands.embed import embed_store
from biocl.commands.finetune import finetune
from biocl.commands.plan import make_plan
from biocl.commands.prepare import open_store
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import open_cohort
from biocl.config import load_experiment
from biocl.objectives.memories import COLUMNS
from biocl.training.checkpoint import checkpoints, load_checkpoint

CONFIG = """
name: moco
data: {dataset: synthetic-ecg}
split: {kind: random, fractions: [0.5, 0.2, 0.3]}
batch: {kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}
views:
  one: [{mask: continuous, at: input}]
  two: [{mask: continuous, at: input}]
encoder: {name: dilated-cnn, depth: 1, hidden_dim: 4, embed_dim: 6, causal: true}
projectors: {small: {hidden_dim: 8, out_dim: 4}}
terms:
  - {views: [one, two], relation: same-sample, project: small, criterion: {name: info-nce}, keys: momentum,
     queue: {size: 30}}
train: {steps: 4, checkpoint_every: 2, validate_every: 1}
finetune: {mode: partial, labels: 4 patients, max_steps: 2, validation_windows: 20, batch_size: 16}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "moco.yaml"
    path.write_text(CONFIG)
    return path


def test_the_whole_way(config: Path, tmp_path: Path, own_home: Path) -> None:
    experiment = load_experiment(config)
    run = pretrain(experiment, tmp_path / "run")
    weights = load_checkpoint(run / "checkpoints").best_weights
    cohort = open_cohort(experiment)
    train = set(cohort.windows.table.rows["patient"][cohort.parts()["train"]].tolist())
    held = weights["queues.same-sample.ids"][:, COLUMNS.index("patient")].tolist()
    assert set(held) <= train
    torch.testing.assert_close(weights["queues.same-sample.rows"].norm(dim=1), torch.ones(30))
    # Stopped half way, it ends in the same state.
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    (broken / "results.json").unlink()
    shutil.rmtree(checkpoints(broken / "checkpoints")[-1])
    pretrain(experiment, broken, resume=True)
    again = load_checkpoint(broken / "checkpoints").best_weights
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    assert (broken / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()
    assert "patient-independent" in finetune(experiment, run, tmp_path / "finetune")
    embed_store(run, open_store(experiment.data).path, tmp_path / "out.npz")


def test_plan_and_explain(config: Path, own_home: Path) -> None:
    plan = make_plan(load_experiment(config))
    assert plan["passes"] == {"views encoded a step": ["one"], "by the momentum copy": ["two"]}
    (term,) = plan["terms"]
    # 12 windows, of which the two of a trial are no negatives: 10 of 11 others, and as large a share of the queue.
    assert term["negatives"] == pytest.approx(10 * (1 + 30 / 11), rel=0.05)
    assert "momentum" in explain_key("terms.keys")
    assert "lstm" in explain_key("encoder.name")
