"""An encoder of each device: whose channels, whose weights, and what an absent device changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from biocl.encoders.build import build_encoder
from biocl.encoders.devices import DeviceEncoder, SequentialFusion, weighted_mean
from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError
from biocl.evaluation.finetuning import load_encoder
from biocl.objectives.model import Model
from biocl.signals.devices import devices_of
from biocl.signals.recording import Channel
from biocl.views.view import View

FUSIONS = ["concat", "mean", "sequential"]
EACH: dict[str, Any] = {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6, "dropout": 0.0}


def unit(name: str, *kinds: str) -> list[Channel]:
    return [Channel(f"{kind}_{axis}", kind, "m/s2", name) for kind in kinds for axis in "xyz"]  # type: ignore[arg-type]


# Two equal units, whose channels stand apart, and a watch with fewer.
CHANNELS = [*unit("u1", "acc", "gyr"), *unit("watch", "acc"), *unit("u.2", "acc", "gyr")]


def build(fusion: str = "concat", share: bool = True, channels: list[Channel] = CHANNELS, **each: Any) -> DeviceEncoder:
    keys = {"each": {**EACH, **each}, "share": share, "fusion": fusion, "state_dim": 5}
    spec = TypeAdapter(EncoderSpec).validate_python(keys)
    torch.manual_seed(0)
    made = build_encoder(spec, n_chans=len(channels), n_times=20, sfreq=50.0, channels=channels)
    assert isinstance(made, DeviceEncoder)
    return made.eval()


def vec(encoder: DeviceEncoder, x: torch.Tensor, present: torch.Tensor | None = None) -> torch.Tensor:
    return encoder.latents(encoder(x), training=False, present=present).vec


def test_devices_are_told_from_channels() -> None:
    found = devices_of(CHANNELS)
    assert [device.name for device in found] == ["u1", "watch", "u.2"]
    assert found[1].columns == (6, 7, 8)
    assert found[2].kinds == found[0].kinds == ("acc",) * 3 + ("gyr",) * 3
    assert [device.key(shared=True) for device in found] == ["acc3_gyr3", "acc3", "acc3_gyr3"]
    assert [device.key(shared=False) for device in found] == ["u1", "watch", "u-2"]


def test_each_device_is_encoded_from_its_own_channels_by_the_weights_of_its_kind() -> None:
    x = torch.randn(3, len(CHANNELS), 20)
    encoder = build()
    assert set(encoder.encoders) == {"acc3_gyr3", "acc3"}
    trunks = encoder(x)
    assert list(trunks) == ["u1", "watch", "u.2"]
    units = encoder.encoders["acc3_gyr3"]
    torch.testing.assert_close(trunks["u1"]["main"], units(x[:, :6]))
    torch.testing.assert_close(trunks["u.2"]["main"], units(x[:, 9:]))
    torch.testing.assert_close(trunks["watch"]["main"], encoder.encoders["acc3"](x[:, 6:9]))
    own = build(share=False)
    assert set(own.encoders) == {"u1", "watch", "u-2"}
    torch.testing.assert_close(own(x)["u.2"]["main"], own.encoders["u-2"](x[:, 9:]))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_widths_and_gradients(fusion: str) -> None:
    encoder = build(fusion)
    assert encoder.vec_dim == {"concat": 18, "mean": 6, "sequential": 5}[fusion]
    out = vec(encoder, torch.randn(4, len(CHANNELS), 20))
    assert out.shape == (4, encoder.vec_dim)
    out.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in encoder.parameters())
    assert encoder.device_dims == dict.fromkeys(("u1", "watch", "u.2"), (6, 6))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_absent_device_changes_nothing_whatever_its_channels_hold(fusion: str) -> None:
    encoder = build(fusion)
    x = torch.randn(4, len(CHANNELS), 20)
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False, False, False]])
    out = vec(encoder, x, present)
    other = x.clone()
    other[1, 6:9], other[2, :6], other[2, 9:], other[3] = 7.0, -7.0, 5.0, 3.0
    torch.testing.assert_close(vec(encoder, other, present), out)
    torch.testing.assert_close(out[:1], vec(encoder, x[:1]))
    assert not torch.allclose(out[1], vec(encoder, x)[1])
    assert torch.isfinite(out).all()
    if fusion == "mean":
        single = encoder.latents(encoder(x[2:3]), training=False).devices["watch"].vec
        torch.testing.assert_close(out[2:3], single)


@pytest.mark.parametrize("fusion", ["mean", "concat"])
def test_shared_weights_serve_any_of_the_devices(fusion: str) -> None:
    """Weights that were trained on all devices are loaded where one alone is left."""
    spec = TypeAdapter(EncoderSpec).validate_python({"each": EACH, "fusion": fusion})
    whole = Model(spec, n_chans=len(CHANNELS), n_times=20, sfreq=50.0, channels=CHANNELS)
    part = Model(spec, n_chans=6, n_times=20, sfreq=50.0, channels=CHANNELS[9:])
    load_encoder(part, whole.state_dict())
    x = torch.randn(2, len(CHANNELS), 20)
    whole.eval()
    part.eval()
    wanted = whole.latents(whole.trunk(View(x)), View(x)).devices["u.2"].vec
    torch.testing.assert_close(part(x[:, 9:]), wanted)
    smaller = Model(
        TypeAdapter(EncoderSpec).validate_python({"each": {**EACH, "embed_dim": 7}, "fusion": fusion}),
        n_chans=6, n_times=20, sfreq=50.0, channels=CHANNELS[9:],
    )  # fmt: skip
    with pytest.raises(UsageError, match="does not fit"):
        load_encoder(smaller, whole.state_dict())


def test_a_state_does_not_depend_on_later_devices_nor_on_absent_ones() -> None:
    torch.manual_seed(0)
    fusion = SequentialFusion(["a", "b", "c"], 4, 3)
    vectors = torch.randn(3, 5, 4)
    present = torch.ones(5, 3, dtype=torch.bool)
    present[0] = False
    present[1, 1] = False
    states = fusion.states(vectors, present)
    assert states.shape == (4, 5, 3)
    torch.testing.assert_close(states[-1, 0], fusion.begin)  # nothing there: the beginning alone
    torch.testing.assert_close(states[2, 1], states[1, 1])  # skipped sample by sample
    later = vectors.clone()
    later[2] += 1
    torch.testing.assert_close(fusion.states(later, present)[:3], states[:3])
    fewer = present.clone()
    fewer[:, 2] = False
    torch.testing.assert_close(fusion.states(vectors, fewer)[:3], states[:3])
    torch.testing.assert_close(fusion(vectors), fusion.states(vectors)[-1])


def test_weighted_mean() -> None:
    values = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    assert weighted_mean(values, None).flatten().tolist() == [2.0, 3.0]
    present = torch.tensor([[True, False], [False, False]])
    assert weighted_mean(values, present).flatten().tolist() == [1.0, 0.0]


def test_every_stage_is_a_block() -> None:
    encoder = build("sequential")
    named = {id(p) for block in encoder.blocks for p in block.parameters()}
    assert {id(p) for p in encoder.fusion.parameters()} <= {id(p) for p in encoder.blocks[-1].parameters()}  # type: ignore[union-attr]
    assert len(named) > 0


def test_keys_are_checked() -> None:
    with pytest.raises(ValidationError, match="tsai/CLASS"):
        TypeAdapter(EncoderSpec).validate_python({"each": {"name": "nothing"}})
    with pytest.raises(ValidationError, match="fusion"):
        TypeAdapter(EncoderSpec).validate_python({"each": EACH, "fusion": "gate"})
    tokens = {"each": {"name": "channel-transformer", "projector": [], "pool": "flatten"}}
    spec = TypeAdapter(EncoderSpec).validate_python(tokens)
    with pytest.raises(UsageError, match="different width"):
        build_encoder(spec, n_chans=9, n_times=20, sfreq=50.0, channels=CHANNELS[:9])


def test_statistics_of_a_batch_are_those_of_what_is_there() -> None:
    torch.manual_seed(0)
    spec = TypeAdapter(EncoderSpec).validate_python({"each": {"name": "resnet1d", "widths": [4], "kernels": [3]}})
    channels = [*unit("p", "acc"), *unit("q", "acc")]
    encoder = build_encoder(spec, n_chans=6, n_times=20, sfreq=50.0, channels=channels)
    assert isinstance(encoder, DeviceEncoder)
    encoder.train()
    x = torch.randn(5, 6, 20)
    present = torch.ones(5, 2, dtype=torch.bool)
    present[:, 1] = False
    out = encoder(x, present=present)
    torch.testing.assert_close(out["p"]["main"], encoder.encoders["acc3"](x[:, :3]))
    assert not out["q"]["main"].any()
    present[2, 1] = True
    both = encoder(x, present=present)
    there = torch.cat([x[:, :3], x[2:3, 3:]])
    torch.testing.assert_close(both["q"]["main"][2], encoder.encoders["acc3"](there)[5])
    nobody = encoder(x, present=torch.zeros(5, 2, dtype=torch.bool))
    assert not nobody["p"]["main"].any()


def test_a_device_without_weights_is_named() -> None:
    spec = TypeAdapter(EncoderSpec).validate_python({"each": EACH, "share": False})
    one = Model(spec, n_chans=6, n_times=20, sfreq=50.0, channels=CHANNELS[:6])
    other = Model(spec, n_chans=3, n_times=20, sfreq=50.0, channels=CHANNELS[6:9])
    with pytest.raises(UsageError, match=r"no weights for encoders\.watch"):
        load_encoder(other, one.state_dict())
