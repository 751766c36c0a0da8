"""Each way of fine-tuning leaves what it does not name bit by bit as it was: weights and batch-norm statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.commands.setup import Cohort, build_model
from biocl.commands.study import Fold, encoder_of, tuned_model
from biocl.config import load_experiment
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.protocol import PRETRAINED, Cell
from biocl.training.data import embed

CPU = torch.device("cpu")
CLASSES = ("k0", "k1", "k2")
TPN = "{name: tpn, widths: [4, 5, 6], kernels: [5, 4, 3]}"
WITH_NORMS = {
    "resnet1d": "{name: resnet1d, widths: [4, 4, 6]}",
    "inception-time": "{name: inception-time, depth: 6, width: 2, kernels: [9, 5, 3]}",
    "ifnet": "{name: ifnet, bands: [[2, 5], [5, 10]], width: 4}",
    "eegnet": "{name: eegnet, n_temporal: 2, n_pointwise: 4, pools: [2, 2]}",
}
Weights = dict[str, torch.Tensor]


def fold_of(cohort: Cohort, encoder: str, mode: str) -> Fold:
    """One epoch of fine-tuning from weights whose statistics are not those of a new encoder."""
    experiment = load_experiment(
        Path("demo"),
        [
            f"data={{store: {cohort.windows.store.path}}}",
            f"encoder={encoder}",
            "views={clean: []}",
            "terms=[{views: [clean, clean], redraw_dropout: true, relation: same-trial, criterion: {name: sup-con}}]",
            f"finetune={{mode: {mode}, n_blocks: 1, batch_size: 32, max_steps: 5, lr: 0.01, head: {{kind: linear}}}}",
        ],
    )
    torch.manual_seed(0)
    weights = build_model(experiment.model_copy(update={"seed": 77}), cohort.windows, terms=[]).state_dict()
    weights = {
        name: value + 0.1 * torch.rand(value.shape) if name.endswith(("running_mean", "running_var")) else value
        for name, value in weights.items()
    }
    # Without validation windows the last weights are kept.
    parts = {**cohort.parts(), "validation": np.empty(0, np.int64)}
    assert len(parts["train"]) > 4 * 32
    return Fold(experiment, cohort, 0, parts, weights, CPU)


def changed(fold: Fold, mode: str) -> set[str]:
    """Names of what is not as it was pretrained, the head's with its name alone."""
    data = Labelled.make(fold.windows, list(CLASSES))
    after = tuned_model(fold, data, fold.parts["train"], Cell(CLASSES, "all", 0, mode, PRETRAINED)).state_dict()
    encoder = {name for name in after if name.startswith("encoder.")}
    assert encoder == set(fold.pretrained)
    return {name for name in encoder if not torch.equal(after[name], fold.pretrained[name])}


def test_the_last_block_of_tpn_is_its_third_convolution(small_cohort: Cohort) -> None:
    """As published for ColloSSL: the third convolution and the head are trained."""
    assert changed(fold_of(small_cohort, TPN, "partial"), "partial") == {
        "encoder.blocks.2.weight",
        "encoder.blocks.2.bias",
    }


@pytest.mark.parametrize("name", sorted(WITH_NORMS))
def test_partial_leaves_the_statistics_of_frozen_norms(small_cohort: Cohort, name: str) -> None:
    fold = fold_of(small_cohort, WITH_NORMS[name], "partial")
    model = encoder_of(fold, PRETRAINED)
    n_blocks = len(model.encoder.blocks)
    last = f"encoder.blocks.{n_blocks - 1}."
    assert any("running_mean" in one and not one.startswith(last) for one in fold.pretrained)
    found = changed(fold, "partial")
    assert all(one.startswith(last) for one in found)
    assert found >= {
        f"encoder.{one}" for one, _ in model.encoder.named_parameters() if f"encoder.{one}".startswith(last)
    }


@pytest.mark.parametrize("name", sorted(WITH_NORMS))
def test_full_trains_everything_and_moves_every_statistic(small_cohort: Cohort, name: str) -> None:
    fold = fold_of(small_cohort, WITH_NORMS[name], "full")
    found = changed(fold, "full")
    assert {one for one in fold.pretrained if "running_" in one} <= found
    parameters = {f"encoder.{one}" for one, _ in encoder_of(fold, PRETRAINED).encoder.named_parameters()}
    assert len(parameters & found) > 0.9 * len(parameters)


@pytest.mark.parametrize("encoder", [TPN, *WITH_NORMS.values()])
def test_linear_leaves_the_encoder(small_cohort: Cohort, encoder: str) -> None:
    fold = fold_of(small_cohort, encoder, "linear")
    before = {name: value.clone() for name, value in fold.pretrained.items()}
    model = encoder_of(fold, PRETRAINED)
    embed(model, fold.windows, fold.used, device=CPU)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert all(torch.equal(value, before[name]) for name, value in fold.pretrained.items())
