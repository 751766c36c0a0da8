"""Our pieces against numbers of the public ColloSSL code (`benchmarks/collossl_reference_values.py` makes them)."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.encoders.build import build_encoder
from biocl.encoders.latents import Latents
from biocl.encoders.spec import TPNSpec
from biocl.objectives import criteria
from biocl.objectives.device_selection import choose, magnitudes, mmd_to_anchor

REPOSITORY = Path(__file__).resolve().parents[2]
MADE_BY = runpy.run_path(str(REPOSITORY / "benchmarks" / "collossl_reference_values.py"))
PAIRS = [(p, n) for p in MADE_BY["POSITIVES"] for n in MADE_BY["NEGATIVES"]]


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """The committed numbers."""
    return json.loads((REPOSITORY / "tests" / "fixtures" / "collossl_reference.json").read_text())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("n_positives", "n_negatives"), PAIRS)
def test_the_released_loss_and_its_gradients(
    reference: dict[str, Any], n_positives: int, n_negatives: int, dtype: torch.dtype
) -> None:
    """The public loss takes float64."""
    expected = reference["loss"][f"{n_positives} {n_negatives}"]
    assert expected["dtype"] == "float64"
    given = [torch.from_numpy(one).to(dtype) for one in MADE_BY["latents"](n_positives, n_negatives)]
    anchor, positives, negatives = (one.requires_grad_() for one in given)
    w_p, w_n = (torch.from_numpy(w).to(dtype) for w in MADE_BY["weights"](n_positives, n_negatives))
    settings = {"positive_weights": w_p, "negative_weights": w_n, "temperature": MADE_BY["TEMPERATURE"]}
    loss, info = criteria.collossl(anchor, positives, negatives[:, None], **settings, sign="released")
    assert info == {"anchors": MADE_BY["N_WINDOWS"], "skipped": 0}
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-6)
    loss.backward()
    rel = 1e-6 if dtype == torch.float64 else 1e-5
    for one, wanted in zip((anchor, positives, negatives), expected["gradients"], strict=True):
        assert one.grad is not None
        assert MADE_BY["fingerprint"](one.grad.numpy()) == pytest.approx(wanted, rel=rel, abs=rel * wanted[0])
    with torch.no_grad():
        paper, _ = criteria.collossl(anchor, positives, negatives[:, None], **settings)
        turned, _ = criteria.collossl(-anchor, positives, negatives[:, None], **settings, sign="released")
    assert paper.item() == pytest.approx(turned.item(), rel=1e-6)
    assert paper.item() < expected["loss"]  # positives resemble the anchor


def test_distances_and_the_published_choice(reference: dict[str, Any]) -> None:
    """The public distances are in float32."""
    expected = reference["mmd"]
    x = torch.from_numpy(MADE_BY["windows"]()).permute(1, 0, 3, 2)
    m = magnitudes(x, [(0, 1, 2)] * x.shape[1]).transpose(0, 1)
    for dtype in (torch.float64, torch.float32):
        distances = mmd_to_anchor(m.to(dtype), 0)
        np.testing.assert_allclose(distances[1:].numpy(), expected["distances"], rtol=0, atol=1e-5)
        chosen = choose("closest-positive-all-negative", distances, 0)
        assert chosen.positives.tolist() == expected["positives"]
        assert sorted(chosen.negatives.tolist()) == expected["negatives"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_encoder(reference: dict[str, Any], dtype: torch.dtype) -> None:
    """The public encoder is in float32; its weights load under our names."""
    n_times, n_chans = MADE_BY["N_TIMES"], MADE_BY["N_CHANS"]
    encoder = build_encoder(TPNSpec(name="tpn"), n_chans=n_chans, n_times=n_times, sfreq=50.0).to(dtype).eval()
    state = {}
    for i, (kernel, bias) in enumerate(MADE_BY["encoder_weights"]()):
        state |= {f"blocks.{i}.weight": torch.from_numpy(kernel), f"blocks.{i}.bias": torch.from_numpy(bias)}
    encoder.load_state_dict(state)
    with torch.no_grad():
        seq = encoder(torch.from_numpy(MADE_BY["windows"](4)[0]).mT.to(dtype))
    assert isinstance(seq, torch.Tensor)
    found = MADE_BY["fingerprint"](Latents(seq, "max").vec.numpy())
    assert found == pytest.approx(reference["encoder"], rel=1e-5, abs=1e-5 * reference["encoder"][0])
