"""Devices that were recorded more slowly than the common clock: what they say, of how many steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from biocl.encoders.build import build_encoder, steps_between
from biocl.encoders.devices import DeviceEncoder
from biocl.encoders.spec import EncoderSpec
from biocl.errors import UsageError
from biocl.objectives.model import Model
from biocl.objectives.spec import ContrastTerm
from biocl.signals.devices import devices_of
from biocl.signals.recording import Channel
from biocl.views.view import View

PATCHES: dict[str, Any] = {"name": "patch-transformer", "patch_ms": 100, "width": 8, "n_heads": 2, "depth": 1}
CNN: dict[str, Any] = {"name": "dilated-cnn", "depth": 1, "hidden_dim": 4, "embed_dim": 6}
TOKENS: dict[str, Any] = {**PATCHES, "pool": "flatten"}
CHANNELS = [Channel(f"acc_{axis}", "acc", "m/s2", name) for name in ("arm", "leg", "watch") for axis in "xyz"]
N_TIMES = 102


def build(each: dict[str, Any] = PATCHES, n_times: int = N_TIMES, sfreq: float = 100.0, **keys: Any) -> DeviceEncoder:
    spec = TypeAdapter(EncoderSpec).validate_python({"each": each, "rates": {"watch": 25, "leg": 100}, **keys})
    torch.manual_seed(0)
    made = build_encoder(spec, n_chans=9, n_times=n_times, sfreq=sfreq, channels=CHANNELS)
    assert isinstance(made, DeviceEncoder)
    return made.eval()


def test_a_slow_device_is_a_device_of_its_own_kind() -> None:
    every = devices_of(CHANNELS, {"watch": 4, "leg": 1})
    assert [device.every for device in every] == [1, 1, 4]
    assert [device.key(shared=True) for device in every] == ["acc3", "acc3", "acc3_every4"]
    assert [device.key(shared=False) for device in every] == ["arm", "leg", "watch_every4"]
    assert [device.n_times(102) for device in every] == [102, 102, 26]
    assert devices_of(CHANNELS) == devices_of(CHANNELS, {"leg": 1})


@pytest.mark.parametrize(
    "each", [PATCHES, CNN, {"dual": {"cnn": CNN, "transformer": PATCHES}, "fusion": "gate", "fused_dim": 4}]
)
@pytest.mark.parametrize("share", [True, False])
def test_it_says_what_its_own_samples_say(each: dict[str, Any], share: bool) -> None:
    encoder = build(each, share=share)
    x = torch.randn(3, 9, N_TIMES)
    present = torch.tensor([[True, True, True], [True, True, False], [True, False, True]])
    found = encoder.latents(encoder(x, present=present), training=False, present=present)
    # The same weights, in an encoder for windows of 26 samples at 25 Hz of that device alone.
    spec = TypeAdapter(EncoderSpec).validate_python({"each": each, "share": share})
    slow = build_encoder(spec, n_chans=3, n_times=26, sfreq=25.0, channels=CHANNELS[6:])
    assert isinstance(slow, DeviceEncoder)
    weights = encoder.encoders["acc3_every4" if share else "watch_every4"].state_dict()
    slow.encoders["acc3" if share else "watch"].load_state_dict(weights)
    wanted = slow.eval().latents(slow(x[:, 6:, ::4]), training=False)
    torch.testing.assert_close(found.of(device="watch").vec, wanted.of(device="watch").vec)
    torch.testing.assert_close(found.of(device="watch").seq, wanted.of(device="watch").seq)
    # What lies between its samples is not read, and the other devices are read at every step.
    other = x.clone()
    other[:, 6:, 1::4] += 9
    torch.testing.assert_close(encoder.latents(encoder(other), training=False).vec,
                               encoder.latents(encoder(x), training=False).vec)  # fmt: skip
    other[:, 0, 1::4] += 9
    moved = encoder.latents(encoder(other), training=False)
    assert not torch.allclose(moved.of(device="arm").vec, found.of(device="arm").vec)
    assert encoder.least_times == (10 if "dual" in each or each is PATCHES else 1)


def test_milliseconds_are_its_own_and_steps_are_fewer() -> None:
    encoder = build({**PATCHES, "patch_ms": 200})
    trunks = encoder(torch.randn(2, 9, N_TIMES))
    assert [own["main"].shape[1] for own in trunks.values()] == [5, 5, 5]
    assert encoder.encoders["acc3_every4"].n_steps(26) == 5  # type: ignore[operator]
    assert encoder.steps_alike
    steps = build(CNN)(torch.randn(2, 9, N_TIMES))
    assert [own["main"].shape[1] for own in steps.values()] == [102, 102, 26]
    assert build(CNN).receptive_field == 1 + (build(CNN, rates={}).receptive_field - 1) * 4


def test_padding_is_read_at_its_rate() -> None:
    encoder, x = build(CNN), torch.randn(2, 9, N_TIMES)
    valid = torch.ones(2, N_TIMES, dtype=torch.bool)
    valid[:, 52:] = False
    found = encoder.latents(encoder(x), training=False, valid=valid).of(device="watch")
    assert found.valid is not None
    assert found.valid.sum(dim=1).tolist() == [13, 13]
    torch.testing.assert_close(found.vec, found.seq[:, :13].amax(dim=1))


def test_rates_that_do_not_divide_are_refused() -> None:
    assert steps_between({"a": 25, "b": 100, "c": 12.5, "d": 33.3333333333}, 100.0) == {"a": 4, "b": 1, "c": 8, "d": 3}
    for rate in (30, 200, 99, 40):
        with pytest.raises(UsageError, match=f"'watch' is said to have {rate} samples a second, and the windows' 100"):
            build(rates={"watch": rate})
    with pytest.raises(ValidationError, match=r"rates\.watch"):
        build(rates={"watch": 0})


def test_widths_that_depend_on_the_rate_are_refused() -> None:
    assert build({**TOKENS, "patch_ms": 200}).steps_alike
    with pytest.raises(UsageError, match=r"channels or rates get vectors of different width \(156, 612\)"):
        build({**CNN, "pool": "flatten"})


def test_terms_over_steps_need_devices_of_one_rate() -> None:
    keys: dict[str, Any] = {"views": ["a", "b"], "relation": "same-time-step", "criterion": {"name": "nt-xent"}}
    one = ContrastTerm(**keys, read="seq")
    spec = TypeAdapter(EncoderSpec).validate_python({"each": CNN, "rates": {"watch": 25}, "fusion": "mean"})
    model_keys: dict[str, Any] = {"n_chans": 9, "n_times": N_TIMES, "sfreq": 100.0, "channels": CHANNELS}
    with pytest.raises(UsageError, match="the devices have different numbers of them"):
        Model(spec, **model_keys, terms=[one])
    Model(spec.model_copy(update={"rates": {}}), **model_keys, terms=[one])
    model = Model(spec, **model_keys).eval()
    x = torch.randn(2, 9, N_TIMES)
    own = model.latents(model.trunk(View(x)), View(x))
    torch.testing.assert_close(model(x), torch.stack([one.vec for one in own.devices.values()]).mean(dim=0))
