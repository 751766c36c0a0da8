"""Our pieces against numbers of the public MVCNet code (`benchmarks/mvcnet_reference_values.py` makes them)."""

from __future__ import annotations

import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor, nn

from biocl.encoders.build import build_encoder
from biocl.encoders.dual import DualEncoder
from biocl.encoders.spec import EncoderSpec
from biocl.objectives import criteria
from biocl.signals.recording import Channel
from biocl.training.optimisation import make_optimiser
from biocl.training.spec import OptimSpec
from biocl.views.make import make_view
from biocl.views.signal import SignalInfo
from biocl.views.spec import ViewSpec
from biocl.views.view import View

REPOSITORY = Path(__file__).resolve().parents[2]
MADE_BY = runpy.run_path(str(REPOSITORY / "benchmarks" / "mvcnet_reference_values.py"))
draws, fingerprint = MADE_BY["draws"], MADE_BY["fingerprint"]
VIEWS: tuple[str, ...] = MADE_BY["VIEWS"]
STEPS = {"raw": [], "flip": ["sign-flip"], "freq": [{"frequency-shift": 0.1}], "reflected": ["reflect"]}
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


def cross_view(f: dict[str, Tensor], z: dict[str, Tensor]) -> list[Tensor]:
    """Every view against the raw one, with the features of both branches below one another."""
    raw = torch.cat([f["raw"], z["raw"]])
    return [nt_xent(raw, torch.cat([f[name], z[name]])) for name in VIEWS[1:]]


def cross_model(f: dict[str, Tensor], z: dict[str, Tensor]) -> Tensor:
    """One branch against the other, with all views below one another."""
    return nt_xent(torch.cat([f[name] for name in VIEWS]), torch.cat([z[name] for name in VIEWS]))


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
    expected = reference["terms"]
    f, z = MADE_BY["term_inputs"]()
    for value in (*f.values(), *z.values()):
        value.requires_grad_()
    per_view, cmc = cross_view(f, z), cross_model(f, z)
    assert [value.item() for value in per_view] == pytest.approx(expected["per_view"], rel=1e-6)
    assert torch.stack(per_view).mean().item() == pytest.approx(expected["cvc"], rel=1e-6)
    assert cmc.item() == pytest.approx(expected["cmc"], rel=1e-6)
    (0.1 * torch.stack(per_view).mean() + 0.1 * cmc).backward()
    gradients = {f"{kind} {name}": value.grad for kind, own in (("f", f), ("z", z)) for name, value in own.items()}
    close(gradients, expected["gradients_of_a_tenth"], 1e-6)


def four_views(x: Tensor, labels: Sequence[int]) -> dict[str, View]:
    """The raw windows and MVCNet's three views of them, by ours."""
    clean = View(x, target=torch.tensor(labels))
    return {
        name: make_view(
            clean,
            TypeAdapter(ViewSpec).validate_python(steps),
            hidden_dim=None,
            generator=torch.Generator(),
            signal=MOTOR,
        )
        for name, steps in STEPS.items()
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


def branches(reference: dict[str, Any]) -> tuple[DualEncoder, nn.Linear]:
    """Both branches and the classifier in float64, with the weights that the public ones had.

    The public features lie filter by filter, ours step by step: the rows of the projector's last layer and the
    columns of the classifier are put in our order.
    """
    sizes = reference["step"]["sizes"]
    keys = {
        "dual": {
            "cnn": {"name": "ifnet", "bands": None, "dropout": 0.0},
            "transformer": {
                "name": "channel-transformer",
                "hidden_dim": sizes["hidden_dim"],
                "projector": reference["step"]["projector"],
                "block_dropout": 0.0,
                "dropout": 0.0,
            },
        },
        "fusion": "none",
    }
    spec = TypeAdapter(EncoderSpec).validate_python(keys)
    encoder = build_encoder(spec, n_chans=sizes["n_chans"], n_times=sizes["n_times"], sfreq=250.0).double()
    assert isinstance(encoder, DualEncoder)
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
    assert set(ours) == {name for name, _ in encoder.named_parameters()}
    encoder.load_state_dict(ours, strict=False)
    head = nn.Linear(shapes["classifier.fc.weight"][1], 2).double()
    head.load_state_dict({"weight": theirs["classifier.fc.weight"][:, order], "bias": theirs["classifier.fc.bias"]})
    return encoder, head


def our_order(n_features: int) -> Tensor:
    """Where each of our features is among the public ones."""
    return torch.arange(n_features).view(64, -1).T.flatten()


def public_gradients(encoder: DualEncoder, head: nn.Linear) -> dict[str, Tensor]:
    """Gradients under the public names and in the public order."""
    own = {name.removeprefix("branches."): p.grad for name, p in encoder.named_parameters()}
    back = our_order(head.in_features).argsort()
    found = {f"classifier.fc.{name}": p.grad for name, p in head.named_parameters()}
    found["classifier.fc.weight"] = found["classifier.fc.weight"][:, back]
    for kind in ("weight", "bias"):
        found |= {f"{old}.{kind}": own[f"{new}.{kind}"] for old, new in NAMES.items() if f"{new}.{kind}" in own}
        found[f"projector.3.{kind}"] = found[f"projector.3.{kind}"][back]
        attention = [own[f"transformer.blocks.0.attention.{part}.{kind}"] for part in ("query", "key_value")]
        found[f"encoder.layers.0.self_attn.in_proj_{kind}"] = torch.cat(attention)
    return found


def test_two_steps_of_both_branches(reference: dict[str, Any]) -> None:
    """Forward to 1e-5, losses to 1e-6 and gradients, before an Adam step and after it."""
    expected = reference["step"]
    encoder, head = branches(reference)
    encoder.train()
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = make_optimiser(parameters, OptimSpec(lr=expected["sizes"]["lr"], weight_decay=0.0))
    x = draws(MADE_BY["SEEDS"]["step"], len(expected["labels"]), expected["sizes"]["n_chans"], 251)
    views = four_views(x, expected["labels"])
    order = our_order(head.in_features)
    for step in range(2):
        f, z, entropies = {}, {}, []
        for name, view in views.items():
            own = encoder.latents(encoder(view.x.double()), training=True).branches
            f[name], z[name] = own["cnn"].vec, own["transformer"].vec
            logits = head(f[name])
            assert view.target is not None
            entropies.append(F.cross_entropy(logits, view.target))
            if step == 0:
                outputs = expected["outputs"]
                close({"x": f[name][:, order.argsort()]}, {"x": outputs["features"][name]}, 1e-5)
                close({"x": z[name][:, order.argsort()]}, {"x": outputs["projector"][name]}, 1e-5)
                close({"x": logits}, {"x": outputs["classifier"][name]}, 1e-5)
        per_view, cmc = cross_view(f, z), cross_model(f, z)
        total = torch.stack(entropies).sum() + 0.1 * torch.stack(per_view).mean() + 0.1 * cmc
        assert [value.item() for value in entropies] == pytest.approx(expected["cross_entropies"][step], rel=1e-6)
        assert [value.item() for value in per_view] == pytest.approx(expected["per_view"][step], rel=1e-6)
        assert cmc.item() == pytest.approx(expected["cmc"][step], rel=1e-6)
        assert total.item() == pytest.approx(expected["total"][step], rel=1e-6)
        optimiser.zero_grad()
        total.backward()
        if step == 0:
            close(public_gradients(encoder, head), expected["gradients"], 1e-5)
        optimiser.step()
