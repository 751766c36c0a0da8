"""Our pieces against numbers of the public MVCNet code (`benchmarks/mvcnet_reference_values.py` makes them)."""

from __future__ import annotations

import json
import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from biocl.config import load_experiment
from biocl.encoders.dual import FusedLatents, side_by_side
from biocl.encoders.latents import Latents
from biocl.encoders.spec import EncoderSpec
from biocl.objectives import criteria
from biocl.objectives.batch import Batch
from biocl.objectives.contrast import contrast_loss
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm
from biocl.objectives.terms import step_loss
from biocl.signals.recording import Channel
from biocl.training.optimisation import make_optimiser
from biocl.views.make import make_view
from biocl.views.signal import SignalInfo
from biocl.views.view import View

REPOSITORY = Path(__file__).resolve().parents[2]
MADE_BY = runpy.run_path(str(REPOSITORY / "benchmarks" / "mvcnet_reference_values.py"))
draws, fingerprint = MADE_BY["draws"], MADE_BY["fingerprint"]
VIEWS: tuple[str, ...] = MADE_BY["VIEWS"]
SITES = [
    "Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz",
    "C2", "C4", "C6", "CP3", "CP1", "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz",
]  # fmt: skip
MOTOR = SignalInfo(250.0, tuple(Channel(name, "eeg", "uV") for name in SITES), ("left_hand", "right_hand"))
# Public parameter names of everything but the attention, in whose place ours are.
NAMES = {
    "features.stem.sconv.conv": "cnn.blocks.0.0",
    "features.stem.sconv.bn": "cnn.blocks.0.1",
    "features.stem.tconv.0.conv": "cnn.blocks.1.0.0",
    "features.stem.tconv.0.bn": "cnn.blocks.1.0.1",
    "encoder.layers.0.self_attn.out_proj": "transformer.blocks.0.attention.out",
    "encoder.layers.0.linear1": "transformer.blocks.0.widen",
    "encoder.layers.0.linear2": "transformer.blocks.0.narrow",
    "encoder.layers.0.norm1": "transformer.blocks.0.norm1",
    "encoder.layers.0.norm2": "transformer.blocks.0.norm2",
    "projector.0": "transformer.blocks.1.1",
    "projector.1": "transformer.blocks.1.2",
    "projector.3": "transformer.blocks.1.4",
}


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """The committed numbers."""
    return json.loads((REPOSITORY / "tests" / "fixtures" / "mvcnet_reference.json").read_text())


def nt_xent(first: Tensor, second: Tensor) -> Tensor:
    """MVCNet's criterion."""
    return criteria.nt_xent(first[None], second[None], similarity="cosine", temperature=0.2)


PRESET = load_experiment(Path("mvcnet-reference"))
HEAD, CROSS_VIEW, CROSS_MODEL = PRESET.terms
PUBLIC_NAMES = dict(zip(PRESET.views, VIEWS, strict=True))  # by ours


def close(tensors: dict[str, Tensor], expected: dict[str, list[float]], rel: float) -> None:
    """The fingerprints are those expected; projections within `rel` of the norm."""
    found = fingerprint(tensors)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values == pytest.approx(expected[name], rel=rel, abs=rel * expected[name][0]), name


@pytest.mark.parametrize("n_pairs", MADE_BY["PAIRS"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_nt_xent_and_its_gradient(reference: dict[str, Any], n_pairs: int, dtype: torch.dtype) -> None:
    expected = reference["nt_xent"][str(n_pairs)]
    first, second = (z.to(dtype).requires_grad_() for z in MADE_BY["pair_of"](n_pairs))
    loss = nt_xent(first, second)
    loss.backward()
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-6)
    assert first.grad is not None
    assert second.grad is not None
    close({"first": first.grad, "second": second.grad}, expected["gradients"], 1e-6 if dtype == torch.float64 else 1e-5)


def test_both_terms_on_drawn_features(reference: dict[str, Any]) -> None:
    """The preset's two contrastive terms, across views and across branches."""
    expected = reference["terms"]
    f, z = MADE_BY["term_inputs"]()
    for value in (*f.values(), *z.values()):
        value.requires_grad_()
    latents = []
    for name in VIEWS:
        own = {"cnn": Latents(f[name][:, None], "mean"), "transformer": Latents(z[name][:, None], "mean")}
        latents.append(FusedLatents(own["cnn"].seq, "mean", of_branch=own, fuse=side_by_side))
    ids = torch.arange(len(f["raw"]))
    batch = Batch(ids[:, None, None], ids * 0, ids * 0, ids * 0, ids, ids * 0 + 1, ids % 2)
    assert isinstance(CROSS_VIEW, ContrastTerm)
    assert isinstance(CROSS_MODEL, ContrastTerm)
    cvc, _ = contrast_loss(CROSS_VIEW, latents, batch)
    cmc, _ = contrast_loss(CROSS_MODEL, latents, batch)
    assert cvc.item() == pytest.approx(expected["cvc"], rel=1e-6)
    assert cmc.item() == pytest.approx(expected["cmc"], rel=1e-6)
    (CROSS_VIEW.weight * cvc + CROSS_MODEL.weight * cmc).backward()
    gradients = {f"{kind} {name}": value.grad for kind, own in (("f", f), ("z", z)) for name, value in own.items()}
    close(gradients, expected["gradients_of_a_tenth"], 1e-6)


def four_views(x: Tensor, labels: Sequence[int]) -> dict[str, View]:
    """The raw windows and MVCNet's three views of them, by ours."""
    clean = View(x, target=torch.tensor(labels))
    return {
        PUBLIC_NAMES[name]: make_view(clean, steps, hidden_dim=None, generator=torch.Generator(), signal=MOTOR)
        for name, steps in PRESET.views.items()
    }


@pytest.mark.parametrize("n_times", [251, 1001])
def test_views(reference: dict[str, Any], n_times: int) -> None:
    """The shift is computed in float32."""
    expected = reference["views"][str(n_times)]
    made = four_views(MADE_BY["windows"](n_times), MADE_BY["LABELS"])
    for name, theirs in expected.items():
        close({"x": made[name].x}, {"x": theirs["x"]}, 2e-6 if name == "freq" else 1e-12)
        target = made[name].target
        assert target is not None
        assert target.tolist() == theirs["labels"]


def preset_model(reference: dict[str, Any]) -> Model:
    """The preset's model in float64, no dropout, with the weights that the public one had.

    The public features lie filter by filter, ours step by step: the rows of the projector's last layer and the
    columns of the classifier are put in our order.
    """
    sizes = reference["step"]["sizes"]
    keys = PRESET.encoder.model_dump(mode="json")
    keys["dual"]["cnn"] |= {"dropout": 0.0}
    smaller = {"hidden_dim": sizes["hidden_dim"], "projector": reference["step"]["projector"], "block_dropout": 0.0}
    keys["dual"]["transformer"] |= smaller
    spec = TypeAdapter(EncoderSpec).validate_python(keys)
    model = Model(
        spec, n_chans=sizes["n_chans"], n_times=sizes["n_times"], sfreq=250.0, terms=PRESET.terms, n_outputs=2
    ).double()
    theirs: dict[str, Tensor] = {}
    shapes = reference["step"]["shapes"]
    for network in ("features", "classifier", "encoder", "projector"):
        own = {name: shape for name, shape in shapes.items() if name.split(".")[0] == network}
        theirs |= MADE_BY["drawn_weights"](own)
    order = our_order(shapes["classifier.fc.weight"][1])
    for name in ("projector.3.weight", "projector.3.bias"):
        theirs[name] = theirs[name][order]
    ours = {}
    for public, name in NAMES.items():
        for kind in ("weight", "bias"):
            if f"{public}.{kind}" in theirs:
                ours[f"branches.{name}.{kind}"] = theirs[f"{public}.{kind}"]
    width = sizes["n_times"] - 1
    for kind in ("weight", "bias"):
        joint = theirs[f"encoder.layers.0.self_attn.in_proj_{kind}"]
        ours[f"branches.transformer.blocks.0.attention.query.{kind}"] = joint[:width]
        ours[f"branches.transformer.blocks.0.attention.key_value.{kind}"] = joint[width:]
    ours = {f"encoder.{name}": value for name, value in ours.items()}
    ours["heads.classification.network.weight"] = theirs["classifier.fc.weight"][:, order]
    ours["heads.classification.network.bias"] = theirs["classifier.fc.bias"]
    assert set(ours) == {name for name, _ in model.named_parameters()}
    model.load_state_dict(ours, strict=False)
    return model


def our_order(n_features: int) -> Tensor:
    """Where each of our features is among the public ones."""
    return torch.arange(n_features).view(64, -1).T.flatten()


def public_gradients(model: Model) -> dict[str, Tensor]:
    """Gradients under the public names and in the public order."""
    own = {name.removeprefix("encoder.branches."): p.grad for name, p in model.named_parameters()}
    back = our_order(own["heads.classification.network.weight"].shape[1]).argsort()
    found = {f"classifier.fc.{kind}": own[f"heads.classification.network.{kind}"] for kind in ("weight", "bias")}
    found["classifier.fc.weight"] = found["classifier.fc.weight"][:, back]
    for kind in ("weight", "bias"):
        found |= {f"{old}.{kind}": own[f"{new}.{kind}"] for old, new in NAMES.items() if f"{new}.{kind}" in own}
        found[f"projector.3.{kind}"] = found[f"projector.3.{kind}"][back]
        attention = [own[f"transformer.blocks.0.attention.{part}.{kind}"] for part in ("query", "key_value")]
        found[f"encoder.layers.0.self_attn.in_proj_{kind}"] = torch.cat(attention)
    return found


def test_two_steps_of_the_preset(reference: dict[str, Any]) -> None:
    """Forward to 1e-5, every loss and their sum to 1e-6 and gradients, before an Adam step and after it."""
    expected = reference["step"]
    model = preset_model(reference).train()
    assert PRESET.train.weight_decay == 0  # which makes AdamW Adam
    assert PRESET.train.lr == expected["sizes"]["lr"]
    optimiser = make_optimiser(model.parameters(), PRESET.train)
    x = draws(MADE_BY["SEEDS"]["step"], len(expected["labels"]), expected["sizes"]["n_chans"], 251)
    of_public = four_views(x, expected["labels"])
    views = {name: replace(of_public[theirs], x=of_public[theirs].x.double()) for name, theirs in PUBLIC_NAMES.items()}
    ids = torch.arange(len(x))
    batch = Batch(x.double(), ids * 0, ids * 0, ids * 0, ids, ids * 0 + 1, torch.tensor(expected["labels"]))
    order = our_order(model.branch_dims["cnn"][1]).argsort()
    for step in range(2):
        if step == 0:
            outputs = expected["outputs"]
            for name, view in views.items():
                own = model.latents(model.trunk(view), view).branches
                theirs = PUBLIC_NAMES[name]
                close({"x": own["cnn"].vec[:, order]}, {"x": outputs["features"][theirs]}, 1e-5)
                close({"x": own["transformer"].vec[:, order]}, {"x": outputs["projector"][theirs]}, 1e-5)
                logits = model.heads["classification"](own["cnn"].vec)
                close({"x": logits}, {"x": outputs["classifier"][theirs]}, 1e-5)
        out = step_loss(model, batch, views, PRESET.terms)
        assert 4 * out.terms["classification"] == pytest.approx(sum(expected["cross_entropies"][step]), rel=1e-6)
        assert out.terms["cross-view"] == pytest.approx(sum(expected["per_view"][step]) / 3, rel=1e-6)
        assert out.terms["cross-model"] == pytest.approx(expected["cmc"][step], rel=1e-6)
        assert out.total.item() == pytest.approx(expected["total"][step], rel=1e-6)
        optimiser.zero_grad()
        out.total.backward()
        if step == 0:
            close(public_gradients(model), expected["gradients"], 1e-5)
        optimiser.step()
