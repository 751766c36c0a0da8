"""Two branches inside the encoder of each device: the table of branches and devices, and who is there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from biocl.encoders.build import build_encoder
from biocl.encoders.devices import DeviceEncoder
from biocl.encoders.dual import DualEncoder
from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError
from biocl.evaluation.finetuning import free_parameters, load_encoder
from biocl.objectives.model import Model
from biocl.signals.recording import Channel
from biocl.training.spec import FinetuneSpec
from biocl.views.view import View

CNN: dict[str, Any] = {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6, "dropout": 0.0}
TRANSFORMER: dict[str, Any] = {
    "name": "patch-transformer", "width": 8, "n_heads": 2, "depth": 1, "dropout": 0.0, "block_dropout": 0.0,
}  # fmt: skip
INSIDE = ["none", "concat", "gate", "cross-attention"]
ACROSS = ["concat", "mean", "sequential"]
N_TIMES = 40


def unit(name: str, *kinds: str) -> list[Channel]:
    return [Channel(f"{kind}_{axis}", kind, "m/s2", name) for kind in kinds for axis in "xyz"]  # type: ignore[arg-type]


CHANNELS = [*unit("u1", "acc", "gyr"), *unit("watch", "acc"), *unit("u.2", "acc", "gyr")]
DEVICES = ("u1", "watch", "u.2")


def spec(inside: str = "concat", across: str = "concat", share: bool = True, **cnn: Any) -> Any:
    each = {"dual": {"cnn": {**CNN, **cnn}, "transformer": TRANSFORMER}, "fusion": inside, "fused_dim": 12}
    keys = {"each": each, "fusion": across, "share": share, "state_dim": 5}
    return TypeAdapter(EncoderSpec).validate_python(keys)


def build(inside: str = "concat", across: str = "concat", share: bool = True) -> DeviceEncoder:
    torch.manual_seed(0)
    made = build_encoder(
        spec(inside, across, share), n_chans=len(CHANNELS), n_times=N_TIMES, sfreq=50.0, channels=CHANNELS
    )
    assert isinstance(made, DeviceEncoder)
    return made.eval()


def windows(n: int = 4) -> torch.Tensor:
    return torch.randn(n, len(CHANNELS), N_TIMES, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("share", [True, False])
def test_every_cell_of_the_table_is_that_of_the_pair_which_reads_the_devices_channels(inside: str, share: bool) -> None:
    encoder, x = build(inside, share=share), windows()
    assert set(encoder.encoders) == ({"acc3_gyr3", "acc3"} if share else {"u1", "watch", "u-2"})
    found = encoder.latents(encoder(x), training=False)
    assert list(found.devices) == list(DEVICES)
    for device in encoder.devices:
        alone = encoder.encoders[device.key(shared=share)]
        assert isinstance(alone, DualEncoder)
        wanted = alone.latents(alone(x[:, list(device.columns)]), training=False)
        torch.testing.assert_close(found.of(device=device.name).vec, wanted.vec)
        torch.testing.assert_close(found.of(device=device.name).seq, wanted.seq)
        assert wanted.vec.shape[1] == encoder.device_dims[device.name][1]
        for branch in ("cnn", "transformer"):
            torch.testing.assert_close(found.of(branch, device.name).vec, wanted.branches[branch].vec)
            assert found.of(branch, device.name).vec.shape[1] == encoder.branch_dims[branch][1]
    torch.testing.assert_close(found.of().vec, torch.cat([found.of(device=name).vec for name in DEVICES], dim=1))
    torch.testing.assert_close(found.seq, torch.stack([found.of(device=name).seq for name in DEVICES]).mean(dim=0))


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("across", ACROSS)
def test_an_absent_device_changes_nothing_and_every_branch_that_predicts_learns(inside: str, across: str) -> None:
    encoder, x = build(inside, across), windows()
    width = {"none": 6, "concat": 14, "gate": 12, "cross-attention": 14}[inside]
    assert encoder.vec_dim == {"concat": 3 * width, "mean": width, "sequential": 5}[across]
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False, False, False]])
    out = encoder.latents(encoder(x, present=present), training=False, present=present).vec
    other = x.clone()
    other[1, 6:9], other[2, :6], other[2, 9:], other[3] = 7.0, -7.0, 5.0, 3.0
    changed = encoder.latents(encoder(other, present=present), training=False, present=present).vec
    torch.testing.assert_close(changed, out)
    assert out.shape == (4, encoder.vec_dim)
    out.square().sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in encoder.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert reached == (inside != "none" or "transformer" not in name), name


def test_a_branch_that_does_not_predict_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(spec("none"), n_chans=len(CHANNELS), n_times=N_TIMES, sfreq=50.0, channels=CHANNELS).eval()
    assert isinstance(model.encoder, DeviceEncoder)
    x = windows()
    wanted = model.latents(model.trunk(View(x)), View(x)).vec
    for pair in model.encoder.encoders.values():
        monkeypatch.setattr(pair.branches["transformer"], "forward", lambda *_: pytest.fail("computed for nothing"))
    torch.testing.assert_close(model(x), wanted)


def test_padding_reaches_no_cell() -> None:
    encoder, x = build(), windows()
    valid = torch.ones(4, N_TIMES, dtype=torch.bool)
    valid[:, 20:] = False
    trunks = encoder(x)
    changed = {
        name: {"cnn": own["cnn"].clone(), "transformer": own["transformer"].clone()} for name, own in trunks.items()
    }
    for own in changed.values():
        own["cnn"][:, 20:] = 9.0
        own["transformer"][:, 2:] = 9.0
    one, other = (encoder.latents(made, training=False, valid=valid) for made in (trunks, changed))
    for name in DEVICES:
        torch.testing.assert_close(one.of(device=name).vec, other.of(device=name).vec)
    whole = encoder.latents(changed, training=False)
    assert not torch.allclose(whole.of(device="watch").vec, other.of(device="watch").vec)


def test_statistics_of_each_branch_are_those_of_what_is_there() -> None:
    keys = {"each": {"dual": {"cnn": {"name": "resnet1d", "widths": [4], "kernels": [3]}, "other": CNN}}}
    channels = [*unit("p", "acc"), *unit("q", "acc")]
    torch.manual_seed(0)
    encoder = build_encoder(
        TypeAdapter(EncoderSpec).validate_python(keys), n_chans=6, n_times=N_TIMES, sfreq=50.0, channels=channels
    )
    assert isinstance(encoder, DeviceEncoder)
    encoder.train()
    x = torch.randn(5, 6, N_TIMES)
    present = torch.ones(5, 2, dtype=torch.bool)
    present[1:, 1] = False
    out = encoder(x, present=present)
    pair = encoder.encoders["acc3"]
    there = torch.cat([x[:, :3], x[:1, 3:]])
    assert isinstance(pair, DualEncoder)
    torch.testing.assert_close(out["q"]["cnn"][0], pair.branches["cnn"](there)[5])
    assert not out["q"]["cnn"][1:].any()
    torch.testing.assert_close(out["q"]["other"], pair.branches["other"](x[:, 3:]))


def test_fine_tuning_frees_the_last_stage_of_both_branches_of_every_device() -> None:
    model = Model(spec("gate", "sequential"), n_chans=len(CHANNELS), n_times=N_TIMES, sfreq=50.0, channels=CHANNELS)
    free_parameters(model, FinetuneSpec(mode="partial", n_blocks=1))
    free = {name for name, parameter in model.encoder.named_parameters() if parameter.requires_grad}
    for key in ("acc3_gyr3", "acc3"):
        assert any(name.startswith(f"encoders.{key}.branches.cnn.blocks.1") for name in free)
        assert any(name.startswith(f"encoders.{key}.branches.transformer.blocks.0") for name in free)
        assert not any(name.startswith(f"encoders.{key}.branches.cnn.blocks.0") for name in free)
        assert any(name.startswith(f"encoders.{key}.fusion") for name in free)
    assert any(name.startswith("fusion.") for name in free)


def test_shared_weights_serve_one_device_alone() -> None:
    whole = Model(spec("gate"), n_chans=len(CHANNELS), n_times=N_TIMES, sfreq=50.0, channels=CHANNELS).eval()
    part = Model(spec("gate"), n_chans=6, n_times=N_TIMES, sfreq=50.0, channels=CHANNELS[9:]).eval()
    load_encoder(part, whole.state_dict())
    x = windows()
    torch.testing.assert_close(
        part(x[:, 9:]), whole.latents(whole.trunk(View(x)), View(x)).of(device="u.2").vec
    )  # fmt: skip


def test_keys_are_checked() -> None:
    with pytest.raises(ValidationError, match=r"or the key be dual \[type"):
        TypeAdapter(EncoderSpec).validate_python({"each": {"each": CNN}})
    with pytest.raises(ValidationError, match=r"braindecode/CLASS \[type"):
        TypeAdapter(EncoderSpec).validate_python({"dual": {"a": {"dual": {}}, "b": CNN}})
    # The second branch alone depends on the channels of the device, and the gate hides it in what both say.
    tokens = {"name": "channel-transformer", "projector": [], "pool": "flatten"}
    keys = {"each": {"dual": {"cnn": CNN, "tokens": tokens}, "fusion": "gate"}}
    with pytest.raises(UsageError, match="different width"):
        build_encoder(
            TypeAdapter(EncoderSpec).validate_python(keys), n_chans=9, n_times=N_TIMES, sfreq=50.0,
            channels=CHANNELS[:9],
        )  # fmt: skip
