"""Two branches: what predicts, what contrast can reach, what trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from biocl.encoders.dual import DualEncoder, FusedLatents
from biocl.encoders.spec import DualSpec, EncoderSpec
from biocl.errors import UsageError
from biocl.evaluation.finetuning import free_parameters
from biocl.objectives.criterion_spec import NTXent
from biocl.objectives.head_spec import ClassificationTerm
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm
from biocl.training.spec import FinetuneSpec
from biocl.views.view import View

CNN: dict[str, Any] = {"name": "dilated-cnn", "depth": 2, "hidden_dim": 8, "embed_dim": 6}
TRANSFORMER: dict[str, Any] = {"name": "patch-transformer", "width": 8, "n_heads": 2, "depth": 2, "segments": 2}
FUSIONS = ["none", "concat", "gate", "cross-attention"]
every_fusion = pytest.mark.parametrize("fusion", FUSIONS)


def dual_spec(fusion: str, **more: Any) -> DualSpec:
    keys = {"dual": {"cnn": CNN, "transformer": TRANSFORMER}, "fusion": fusion, "fused_dim": 12, **more}
    spec = TypeAdapter(EncoderSpec).validate_python(keys)
    assert isinstance(spec, DualSpec)
    return spec


def make(fusion: str, **more: Any) -> Model:
    torch.manual_seed(0)
    head = ClassificationTerm(head="classification")
    return Model(dual_spec(fusion, **more), n_chans=3, n_times=200, sfreq=100.0, terms=[head], n_outputs=2)


def windows(n_times: int = 200) -> torch.Tensor:
    return torch.randn(4, 3, n_times, generator=torch.Generator().manual_seed(1))


@every_fusion
def test_widths(fusion: str) -> None:
    model = make(fusion).eval()
    x = windows()
    assert model.branch_dims == {"cnn": (6, 6), "transformer": (8, 16)}
    assert model.vec_dim == {"none": 6, "concat": 22, "gate": 12, "cross-attention": 22}[fusion]
    assert model(x).shape == (4, model.vec_dim)
    latents = model.latents(model.trunk(View(x)), View(x))
    assert latents.seq.shape == (4, 200, model.seq_dim)
    torch.testing.assert_close(latents.vec, model(x))
    for name, (seq_dim, vec_dim) in model.branch_dims.items():
        assert latents.branches[name].seq.shape[2] == seq_dim
        assert latents.branches[name].vec.shape == (4, vec_dim)


@every_fusion
def test_the_second_branch_reaches_the_prediction_unless_fusion_is_none(fusion: str) -> None:
    model, x = make(fusion).eval(), windows()
    before = model.heads["classification"](model(x))
    with torch.no_grad():
        for parameter in model.encoder.branches["transformer"].parameters():  # type: ignore[union-attr]
            parameter.add_(torch.randn_like(parameter))
    after = model.heads["classification"](model(x))
    assert torch.equal(before, after) == (fusion == "none")
    model.heads["classification"](model(x)).square().sum().backward()
    for name, branch in model.encoder.branches.items():  # type: ignore[union-attr]
        reached = any(p.grad is not None and p.grad.abs().max() > 0 for p in branch.parameters())
        assert reached == (fusion != "none" or name == "cnn")


def test_a_branch_that_does_not_predict_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("none").eval()
    assert isinstance(model.encoder, DualEncoder)
    second = model.encoder.branches["transformer"]
    monkeypatch.setattr(second, "forward", lambda *_: pytest.fail("computed for nothing"))
    assert model(windows()).shape == (4, 6)


@every_fusion
def test_branches_and_prediction_share_one_dropout_draw(fusion: str) -> None:
    model, view = make(fusion).train(), View(windows())
    latents = model.latents(model.trunk(view), view)
    assert isinstance(latents, FusedLatents)
    if fusion in ("none", "concat"):
        own = [latents.branches[name].vec for name in ("cnn", "transformer")]
        assert torch.equal(latents.vec, own[0] if fusion == "none" else torch.cat(own, dim=1))
        assert torch.equal(latents.seq, latents.branches["cnn"].seq)


@every_fusion
def test_padding_does_not_reach_the_vector(fusion: str) -> None:
    model, x = make(fusion).eval(), windows()
    valid = torch.ones(4, 200, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(model(x, valid), model(x))
        valid[:, 100:] = False
        trunks = model.trunk(View(x))
        changed = {name: trunk.clone() for name, trunk in trunks.items()}  # type: ignore[union-attr]
        changed["cnn"][:, 100:] = 7.0
        changed["transformer"][:, 5:] = 7.0
        one, other = (model.latents(trunk, View(x, valid=valid)).vec for trunk in (trunks, changed))
    torch.testing.assert_close(one, other)


@every_fusion
def test_partial_fine_tuning_frees_the_last_stage_of_both_branches_and_the_fusion(fusion: str) -> None:
    model = make(fusion)
    assert isinstance(model.encoder, DualEncoder)
    free_parameters(model, FinetuneSpec(mode="partial", n_blocks=1))
    free = {name for name, p in model.encoder.named_parameters() if p.requires_grad}
    expected = {
        name
        for name, _ in model.encoder.named_parameters()
        if name.startswith(("branches.cnn.blocks.2.", "branches.transformer.blocks.1.", "fusion."))
    }
    assert free == expected


def test_saved_weights_are_all_there_is() -> None:
    for fusion in FUSIONS:
        one = make(fusion).eval()
        torch.manual_seed(5)
        other = Model(dual_spec(fusion), n_chans=3, n_times=200, sfreq=100.0).eval()
        other.encoder.load_state_dict(one.encoder.state_dict())
        assert torch.equal(one(windows()), other(windows()))


def test_hidden_masks_need_one_width() -> None:
    spec = dual_spec("concat")
    assert spec.takes_hidden_mask
    assert make("concat").hidden_dim == 8
    wide = {"dual": {"cnn": {**CNN, "hidden_dim": 9}, "transformer": TRANSFORMER}}
    assert Model(TypeAdapter(EncoderSpec).validate_python(wide), n_chans=3, n_times=200, sfreq=100.0).hidden_dim is None
    eegnet = {"dual": {"cnn": {"name": "eegnet"}, "transformer": TRANSFORMER}}
    assert not TypeAdapter(EncoderSpec).validate_python(eegnet).takes_hidden_mask


def test_time_steps_are_refused_where_there_are_none() -> None:
    term = ContrastTerm(views=["a", "b"], relation="same-time-step", read="seq", criterion=NTXent(name="nt-xent"))
    spec = TypeAdapter(EncoderSpec).validate_python({"name": "channel-transformer", "projector": [4]})
    with pytest.raises(UsageError, match="same-time-step compares time steps"):
        Model(spec, n_chans=3, n_times=40, sfreq=100.0, terms=[term])


def test_frozen_batch_norms_keep_their_statistics() -> None:
    spec = TypeAdapter(EncoderSpec).validate_python({"name": "resnet1d", "widths": [4, 4, 4]})
    model = Model(spec, n_chans=3, n_times=50, sfreq=100.0)
    free_parameters(model, FinetuneSpec(mode="partial", n_blocks=1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    model(torch.randn(8, 3, 50))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("encoder.blocks.2.") for name in moved)
