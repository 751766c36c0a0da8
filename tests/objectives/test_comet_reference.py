"""Our pieces against numbers of the public COMET code (`benchmarks/reference_values.py` makes them)."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from biocl.config import load_experiment
from biocl.encoders.dilated_cnn import DilatedCNN
from biocl.objectives import criteria
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import HeadSpec
from biocl.objectives.heads import ClassificationHead
from biocl.objectives.model import Model
from biocl.objectives.terms import step_loss
from biocl.sampling.plain import frozen_trial_batches
from biocl.views.view import View

REPOSITORY = Path(__file__).resolve().parents[2]
MADE_BY = runpy.run_path(str(REPOSITORY / "benchmarks" / "reference_values.py"))
draws, fingerprint = MADE_BY["draws"], MADE_BY["fingerprint"]
PATIENT, TRIAL = torch.tensor(MADE_BY["PATIENT"]), torch.tensor(MADE_BY["TRIAL"])


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """The committed numbers."""
    return json.loads((REPOSITORY / "tests" / "fixtures" / "comet_reference.json").read_text())


def with_example_weights(encoder: DilatedCNN) -> DilatedCNN:
    """The encoder with the weights that the public one had."""
    encoder.load_state_dict(
        MADE_BY["example_weights"]({name: value.shape for name, value in encoder.named_parameters()})
    )
    return encoder


def level_losses(z1: Tensor, z2: Tensor, patient: Tensor, trial: Tensor) -> dict[str, Tensor]:
    """The four levels at COMET's factors of a quarter, which reach only the last two."""

    def sample(z1: Tensor, z2: Tensor) -> Tensor:
        return criteria.nt_xent(z1.transpose(0, 1), z2.transpose(0, 1), similarity="dot")

    def observation(z1: Tensor, z2: Tensor) -> Tensor:
        return criteria.nt_xent(z1, z2, similarity="dot")

    return {
        "patient": criteria.comet_id(z1, z2, patient),
        "trial": criteria.comet_id(z1, z2, trial),
        "sample": 0.25 * criteria.hierarchical_max(sample, z1, z2),
        "observation": 0.25 * criteria.hierarchical_max(observation, z1, z2),
    }


@pytest.mark.parametrize("mask", ["all_true", "mask_last"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_loss_and_gradients_of_a_step(reference: dict[str, Any], mask: str, dtype: torch.dtype) -> None:
    expected = reference["step"][mask]
    encoder = with_example_weights(DilatedCNN(15).to(dtype))
    x = draws(2000, 8, 300, 15).to(dtype).transpose(1, 2)
    keep = torch.ones(8, 300, dtype=torch.bool)
    keep[:, -1] = mask != "mask_last"
    z1, z2 = encoder(x), encoder(x, keep)
    losses = level_losses(z1, z2, PATIENT, TRIAL)
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    for name, value in losses.items():
        assert value.item() == pytest.approx(expected["losses"][name], rel=1e-5)
    assert total.item() == pytest.approx(expected["total"], rel=1e-5)
    assert fingerprint({"seq": z2})["seq"] == pytest.approx(expected["output"], rel=1e-5)
    gradients = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected["gradients"].keys()
    for name, values in fingerprint(gradients).items():
        theirs = expected["gradients"][name]
        assert values == pytest.approx(theirs, rel=1e-5, abs=1e-5 * theirs[0]), name


def test_public_patient_and_trial_factors_do_nothing(reference: dict[str, Any]) -> None:
    first, second = reference["factors"]
    assert first["factors"] != second["factors"]
    assert first["total"] == second["total"]
    losses = level_losses(draws(2001, 8, 12, 5), draws(2002, 8, 12, 5), PATIENT, TRIAL)
    assert sum(value.item() for value in losses.values()) == pytest.approx(first["total"], rel=1e-6)


def test_short_fit(reference: dict[str, Any]) -> None:
    """Three AdamW steps give the public losses, weights and average; its logged epoch losses are halved."""
    expected = reference["fit"]
    encoder = with_example_weights(DilatedCNN(**expected["sizes"]))
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=expected["lr"])
    x = draws(2004, 8, 16, 2).float().transpose(1, 2)
    iterates = [{name: value.clone() for name, value in encoder.state_dict().items()}]
    losses = []
    for order in expected["orders"]:
        z = encoder(x[order])
        loss = torch.stack(list(level_losses(z, z, PATIENT[order], TRIAL[order]).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        iterates.append({name: value.clone() for name, value in encoder.state_dict().items()})
    assert len(losses) == expected["n_epochs_asked"] - 1
    assert losses == pytest.approx(expected["step_losses"], rel=1e-5)
    assert [2 * epoch for epoch in expected["epoch_losses"]] == pytest.approx(losses, rel=1e-5)
    assert expected["n_averaged"] == len(iterates)
    for name, last in iterates[-1].items():
        average = torch.stack([weights[name] for weights in iterates]).mean(0)
        torch.testing.assert_close(last, torch.tensor(expected["last"][name]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(average, torch.tensor(expected["average"][name]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_outputs", [2, 3])
def test_fine_tuning_head(reference: dict[str, Any], n_outputs: int) -> None:
    """Equal in both modes; with two classes outputs lie in (.5, .732) and the loss stays above .584."""
    expected = reference["head"][str(n_outputs)]
    in_dim, hidden_dim, _ = expected["dims"]
    spec = HeadSpec(kind="comet-released", hidden_dim=hidden_dim, dropout=0.0)
    head = ClassificationHead(spec, in_dim=in_dim, n_outputs=n_outputs).double()
    layers = head.network.network
    shapes = {name: p.shape for name, p in layers.named_parameters()}
    layers.load_state_dict(MADE_BY["example_weights"](shapes), strict=False)
    for mode in ("train", "eval"):
        out = head.train(mode == "train")(draws(2003, 7, in_dim))
        torch.testing.assert_close(out, torch.tensor(expected[mode]["outputs"], dtype=torch.float64))
        loss = F.cross_entropy(out, torch.tensor(expected["target"]))
        assert loss.item() == pytest.approx(expected[mode]["loss"])
        if n_outputs == 2:
            assert 0.5 < out.min() <= out.max() < 0.732
            assert loss > 0.584


def test_frozen_trial_batches(reference: dict[str, Any]) -> None:
    """The public order of windows, and its batches in two epochs."""
    expected = reference["trial_order"]
    assert expected["sort_was_stable"]
    trial, size = np.array(expected["trial"]), expected["batch_size"]
    for epoch, theirs in enumerate(expected["epochs"]):
        ours = frozen_trial_batches(trial, batch_size=size, seed=expected["random_seed"], epoch=epoch)
        assert [batch.tolist() for batch in ours] == theirs
        for start, batch in zip(range(0, len(trial), size), ours, strict=True):
            assert set(batch.tolist()) == set(expected["order"][start : start + size])


@pytest.mark.parametrize("name", ["comet-reference", "comet-mitdb-reference"])
def test_the_preset_itself_gives_the_public_loss_and_gradients(reference: dict[str, Any], name: str) -> None:
    """The shipped file, not a copy of its terms: its weights, temperatures, relations and read-outs act."""
    experiment = load_experiment(Path(name))
    expected = reference["step"]["all_true"]
    model = Model(experiment.encoder, n_chans=15, terms=experiment.terms).double().eval()  # eval: no dropout
    with_example_weights(model.encoder)
    x = draws(2000, 8, 300, 15).double().transpose(1, 2)
    ids = torch.arange(8)
    batch = Batch(x, ids * 0, PATIENT, TRIAL, ids * 300, torch.full((8,), 300), ids * 0)
    views = {view: View(x) for view in experiment.views}
    loss = step_loss(model, batch, views, experiment.terms)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(expected["total"], rel=1e-5)
    weights = {term.title: term.weight for term in experiment.terms}
    names = {"same-patient": "patient", "same-trial": "trial", "same-sample": "sample", "same-time-step": "observation"}
    for title, level in names.items():
        assert weights[title] * loss.terms[title] == pytest.approx(expected["losses"][level], rel=1e-5)
    gradients = {key: p.grad for key, p in model.encoder.named_parameters() if p.grad is not None}
    for key, values in fingerprint(gradients).items():
        theirs = expected["gradients"][key]
        assert values == pytest.approx(theirs, rel=1e-5, abs=1e-5 * theirs[0]), key


def test_the_preset_counts_epochs_batches_and_the_average_as_published() -> None:
    experiment = load_experiment(Path("comet-reference"))
    assert experiment.train.epochs == 99
    assert experiment.batch.kind == "frozen-trials"
    assert experiment.train.average is not None
    assert experiment.train.average.model_dump() == {"kind": "uniform", "burn_in_steps": 0, "include_init": True}
    assert (experiment.train.lr, experiment.train.weight_decay, experiment.train.clip_norm) == (1e-4, 0.01, None)
    parameters = Model(experiment.encoder, n_chans=15).encoder.parameters()
    assert sum(p.numel() for p in parameters) == 638_144
    for view in ("sample_1", "sample_2", "observation_1", "observation_2"):
        (step,) = experiment.views[view]
        assert (step.mask, step.n_segments, step.share, step.at) == ("continuous", 5, 0.1, "hidden")
