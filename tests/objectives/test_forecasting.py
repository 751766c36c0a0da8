"""Forecasts: what a head reads, in which units it answers, and that the last sample and the order of samples count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from biocl.encoders.spec import NAMES, EncoderSpec
from biocl.errors import UsageError
from biocl.objectives.batch import Batch
from biocl.objectives.head_spec import ForecastingTerm
from biocl.objectives.heads.networks import error_of
from biocl.objectives.model import Model
from biocl.objectives.spec import Term
from biocl.objectives.terms import step_loss
from biocl.objectives.view_rules import view_refusal
from biocl.signals.recording import Channel
from biocl.training.loop import Task, fit
from biocl.training.spec import TrainSpec
from biocl.views.spec import ViewSpec
from biocl.views.view import View

CPU = torch.device("cpu")
HORIZON = 5
SMALL: dict[str, tuple[dict[str, Any], int]] = {  # with a length of window that the steps fill
    "dilated-cnn": ({"depth": 3, "hidden_dim": 8, "embed_dim": 12}, 260),
    "resnet1d": ({"widths": [8, 12]}, 260),
    "inception-time": ({"depth": 4, "width": 4, "kernels": [11, 5]}, 260),
    "patch-transformer": ({"width": 16, "depth": 2, "n_heads": 2}, 260),
    "tpn": ({"widths": [8, 8, 12]}, 260),
    "scattering": ({"hidden_dim": 8, "embed_dim": 12, "per_octave": 2}, 260),
    "eegnet": ({}, 260),
    "shallow-convnet": ({"n_filters": 8}, 255),
    "ifnet": ({"width": 8}, 260),
    "eeg-conformer": ({"width": 20, "depth": 2}, 255),
    "channel-transformer": ({"hidden_dim": 16, "projector": [16, 8]}, 260),
    "lstm": ({}, 120),
    "cost": ({}, 120),
}
TINY = {"name": "dilated-cnn", "depth": 2, "hidden_dim": 6, "embed_dim": 4, "dropout": 0.0}


def forecasting(**keys: Any) -> ForecastingTerm:
    return ForecastingTerm(head="forecasting", **keys)


def encoder(keys: dict[str, Any]) -> Any:
    return TypeAdapter(EncoderSpec).validate_python(keys)


def model_of(keys: dict[str, Any], term: ForecastingTerm, *, n_times: int, n_chans: int = 3, **more: Any) -> Model:
    torch.manual_seed(0)
    known: dict[str, Any] = {"horizon": HORIZON, "sfreq": 100.0, **more}
    return Model(encoder(keys), n_chans=n_chans, n_times=n_times, terms=[term], **known).eval()


def batch_of(x: torch.Tensor, future: torch.Tensor | None = None) -> Batch:
    ids = torch.arange(len(x))
    return Batch(x, ids, ids, ids, ids * 0, ids * 0 + x.shape[2], ids * 0, future=future)


def noise(n: int, n_chans: int, n_times: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, n_chans, n_times, generator=torch.Generator().manual_seed(seed))


READS = ("flatten", "last", "aligned", "vec")


def model_or_reason(keys: dict[str, Any], term: ForecastingTerm, n_times: int) -> Model | str:
    try:
        return model_of(keys, term, n_times=n_times)
    except UsageError as error:
        return error.paragraph()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("read", READS)
def test_the_first_step_sees_the_last_sample_with_every_backbone(name: str, read: Any) -> None:
    keys, n_times = SMALL[name]
    model = model_or_reason({"name": name, "dropout": 0.0, "pool": "mean", **keys}, forecasting(read=read), n_times)
    if isinstance(model, str):
        assert read in ("last", "aligned")
        assert "Use read: last or flatten" in model or "Use read: flatten or vec" in model
        return
    x = noise(2, 3, n_times).requires_grad_()
    out = model.heads["forecasting"](model.read(x))
    assert out.shape == (2, 3, HORIZON)
    (gradient,) = torch.autograd.grad((out[:, :, 0] * torch.randn(2, 3)).sum(), x)
    strength = gradient.abs().amax(dim=(0, 1))
    assert strength[-1] > 1e-5 * strength.max()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_samples_matters_to_every_backbone(name: str) -> None:
    keys, n_times = SMALL[name]
    model = model_of({"name": name, "dropout": 0.0, **keys}, forecasting(), n_times=n_times)
    x = noise(2, 3, n_times)
    order = torch.randperm(n_times, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        straight, shuffled = (model.heads["forecasting"](model.read(one)) for one in (x, x[:, :, order]))
    assert (straight - shuffled).abs().max() > 1e-3 * straight.abs().max()


def test_an_encoder_that_leaves_the_last_samples_out_is_refused() -> None:
    patches = {"name": "patch-transformer", "width": 8, "depth": 1, "n_heads": 2, "patch_ms": 200}
    with pytest.raises(UsageError, match="last 17 of the 257 samples"):
        model_of(patches, forecasting(), n_times=257)
    model_of(patches, forecasting(), n_times=240)


def read_by_hand(read: str, seq: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
    if read == "aligned":
        return torch.stack([network(seq[:, seq.shape[1] - HORIZON + h]) for h in range(HORIZON)], dim=2)
    shown = {"flatten": seq.flatten(1), "last": seq[:, -1], "vec": seq.amax(dim=1)}[read]
    return network(shown).view(len(seq), -1, HORIZON)


@pytest.mark.parametrize("read", READS)
def test_what_the_head_reads(read: Any) -> None:
    model, x = model_of(TINY, forecasting(read=read), n_times=12, n_chans=2), noise(4, 2, 12)
    wanted = read_by_hand(read, model.read(x).seq, model.heads["forecasting"].network)
    assert torch.allclose(model.heads["forecasting"](model.read(x)), wanted)


@pytest.mark.parametrize(
    ("keys", "read", "n_times", "message"),
    [
        (TINY, "aligned", 4, "which has 4"),
        ({"name": "channel-transformer", "hidden_dim": 8, "projector": [8]}, "last", 20, "are not in time"),
        ({"name": "channel-transformer", "hidden_dim": 8, "projector": [8]}, "aligned", 20, "are not in time"),
    ],
)
def test_a_read_out_that_the_encoder_does_not_have_is_refused(
    keys: dict[str, Any], read: Any, n_times: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        model_of(keys, forecasting(read=read), n_times=n_times)


def test_windows_without_a_future_are_refused() -> None:
    with pytest.raises(UsageError, match="windows have no future"):
        model_of(TINY, forecasting(), n_times=12, horizon=0)


def test_the_level_is_put_back() -> None:
    model = model_of(TINY, forecasting(), n_times=12, n_chans=2)
    head, batch = model.heads["forecasting"], batch_of(noise(4, 2, 12))
    mean, spread = noise(4, 2, 1, seed=3), 1 + noise(4, 2, 1, seed=4).abs()
    plain = head.predict(model.read(batch.x), batch)
    told = head.predict(model.read(batch.x), replace(batch, level=(mean, spread)))
    assert torch.allclose(told, plain * spread + mean)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_the_loss_is_in_the_units_of_the_input_scale(loss: Any) -> None:
    term = forecasting(loss=loss, views=["raw"])
    model = model_of(TINY, term, n_times=12, n_chans=2)
    level = noise(4, 2, 1, seed=3), 2 + noise(4, 2, 1, seed=4).abs()
    batch = replace(batch_of(noise(4, 2, 12), 3 * noise(4, 2, HORIZON, seed=5)), level=level)
    off = model.heads["forecasting"].predict(model.read(batch.x), batch) - batch.future
    size = off.abs()
    wanted = {"mse": off**2, "mae": size, "huber": torch.where(size < 1, off**2 / 2, size - 0.5)}[loss].mean()
    found = step_loss(model, batch, {"raw": View(batch.x)}, [term]).terms["forecasting"]
    assert found == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_what_does_not_count_may_be_anything() -> None:
    said, wanted = torch.tensor([1.0, 2.0, 3.0], requires_grad=True), torch.tensor([0.0, float("nan"), 5.0])
    loss = error_of(said, wanted, "mae", wanted.isfinite())
    assert float(loss) == 1.5
    loss.backward()
    assert said.grad is not None
    assert said.grad.tolist() == [0.5, 0.0, -0.5]
    assert float(error_of(said, wanted, "mse", wanted > 9)) == 0


EACH = {"each": TINY, "of": "channel"}
CHANNELS = tuple(
    Channel(name, kind, "1", device)
    for name, kind, device in (("load", "other", "a"), ("load", "other", "b"), ("oil", "acc", "b"))
)


@pytest.mark.parametrize("read", READS)
def test_each_channel_is_forecast_from_itself_alone(read: Any) -> None:
    """One encoder and one head for all: exchanged channels exchange their forecasts, and none sees another."""
    model = model_of(EACH, forecasting(read=read), n_times=12, channels=CHANNELS)
    assert len(model.encoder.encoders) == 1
    x = noise(2, 3, 12).requires_grad_()
    head = model.heads["forecasting"]
    out = head(model.read(x))
    assert out.shape == (2, 3, HORIZON)
    assert torch.allclose(head(model.read(x[:, [2, 0, 1]])), out[:, [2, 0, 1]], atol=1e-6)
    (gradient,) = torch.autograd.grad(out[:, 1].sum(), x)
    assert gradient[:, 1].abs().max() > 0
    assert not gradient[:, [0, 2]].any()


def test_all_channels_together_see_each_other() -> None:
    model = model_of(TINY, forecasting(), n_times=12)
    x = noise(2, 3, 12).requires_grad_()
    (gradient,) = torch.autograd.grad(model.heads["forecasting"](model.read(x))[:, 1].sum(), x)
    assert all(gradient[:, i].abs().max() > 0 for i in range(3))


def test_channels_without_sharing_have_encoders_of_their_own() -> None:
    model = model_of({**EACH, "share": False}, forecasting(), n_times=12, channels=CHANNELS)
    assert list(model.encoder.encoders) == ["a load", "b load", "oil"]


def test_a_channel_is_absent_with_its_device() -> None:
    keys = {**EACH, "fusion": "mean"}
    model = model_of(keys, forecasting(), n_times=12, channels=CHANNELS)
    x = noise(2, 3, 12)
    present = torch.tensor([[True, False], [True, True]])
    some, every = model(x, present=present), model(x)
    alone = model.read(x).devices["a load"].vec
    assert torch.allclose(some[0], alone[0])
    assert torch.allclose(some[1], every[1])


def refusal(term: Any, *steps: Any) -> str | None:
    return view_refusal(TypeAdapter(Term).validate_python(term), {"v": TypeAdapter(ViewSpec).validate_python(steps)})


TERM = {"head": "forecasting", "views": ["v"]}


@pytest.mark.parametrize(
    "step",
    [
        *("reverse", "permute", "crop", "crop-resize", "time-warp"),
        *("scale", "sign-flip", "frequency-shift", "fourier-surrogate"),
        *("channel-shuffle", "reflect", "rotate", "lead-mix"),
    ],
)
def test_a_view_that_the_future_does_not_follow_is_refused(step: str) -> None:
    told = refusal(TERM, {"mask": "binomial", "at": "input"}, step)
    assert told is not None
    assert f"{step} in the view v changes" in told


@pytest.mark.parametrize(
    "step", ["mask", "jitter", "band-stop", "bin-drop", "channel-dropout", "baseline-wander", "mains"]
)
def test_a_view_that_hides_or_disturbs_is_taken(step: str) -> None:
    assert refusal(TERM, step) is None


def test_an_unknown_head_is_told_of_those_there_are() -> None:
    known = "classification, multi-label, forecasting, regression, step-regression, reconstruction"
    with pytest.raises(ValidationError, match=known):
        TypeAdapter(Term).validate_python({"head": "forcasting"})


LOOK_BACK = 24


def learned(series: torch.Tensor, keys: dict[str, Any], steps: int, *, last: int) -> tuple[float, float]:
    """Test error of a trained forecast of one series, and that of the mean; the last windows are the test."""
    windows = series.unfold(0, LOOK_BACK + HORIZON, 1)[:, None]
    x, future = windows[..., :LOOK_BACK], windows[..., LOOK_BACK:]
    n_train = len(x) - last - LOOK_BACK - HORIZON
    term = forecasting(views=["raw"])
    model = model_of(keys, term, n_times=LOOK_BACK, n_chans=1)

    def plan(epoch: int) -> list[np.ndarray]:
        return np.array_split(np.random.default_rng(epoch).permutation(n_train), max(1, n_train // 32))

    task = Task([term], {"raw": []}, plan, lambda rows: batch_of(x[rows], future[rows]))
    fit(model, task, TrainSpec(steps=steps, lr=6e-3, schedule="cosine", average=None), seed=0, device=CPU)
    model.eval()
    batch = batch_of(x[-last:], future[-last:])
    with torch.no_grad():
        said = model.heads["forecasting"].predict(model.read(batch.x), batch)
    mean = future[:n_train].mean()
    return float((said - future[-last:]).square().mean()), float((mean - future[-last:]).square().mean())


LEARNERS = {
    "dilated-cnn": {"name": "dilated-cnn", "depth": 3, "hidden_dim": 8, "embed_dim": 8, "dropout": 0.0},
    "patch-transformer": {
        "name": "patch-transformer",
        **{"width": 16, "depth": 1, "n_heads": 2, "patch_ms": 40, "block_dropout": 0.0, "dropout": 0.0},
    },
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_perfect_season_is_forecast(name: str) -> None:
    steps = torch.arange(700)
    series = torch.sin(2 * torch.pi * steps / 12) + 0.5 * torch.cos(2 * torch.pi * steps / 6)
    error, _ = learned(series, LEARNERS[name], 150, last=100)
    assert error < 0.01


@pytest.mark.parametrize("name", LEARNERS)
def test_no_model_beats_the_mean_of_white_noise(name: str) -> None:
    series = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    error, of_mean = learned(series, LEARNERS[name], 120, last=1000)
    assert error > 0.995 * of_mean
