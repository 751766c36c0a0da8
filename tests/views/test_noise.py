"""Physiological noise has the stated signal-to-noise ratio, and lies where it should in the spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from biocl.errors import UsageError
from biocl.signals.recording import Channel
from biocl.views.requirements import check_views
from biocl.views.signal import SignalInfo
from biocl.views.spec import BandStop, ChannelDropout, ChannelShuffle, FrequencyShift, LeadMix, Mains, Muscle, Step
from biocl.views.view import View

Make = Callable[..., View]
NOISES = ["baseline-wander", "mains", "muscle"]
ELECTRIC = slice(0, 5)


def added(view: View, made: View) -> torch.Tensor:
    return (made.x.double() - view.x.double())[:, ELECTRIC]


@pytest.mark.parametrize("key", NOISES)
@pytest.mark.parametrize("snr_db", [-3.0, 12.0])
@pytest.mark.parametrize("pad", [False, True])
def test_the_ratio_is_exact_for_every_channel(key: str, snr_db: float, pad: bool, batch: Make, apply: Make) -> None:
    view = batch(6, 500)
    view = replace(view, x=view.x * torch.logspace(-3, 3, 11)[:, None])
    shown = torch.ones(6, 500, dtype=torch.bool)
    if pad:
        shown = torch.arange(500) < torch.tensor([500, 300, 200, 150, 120, 100])[:, None]
        view = replace(view, x=view.x * shown[:, None], valid=shown)
    made = apply(view, {key: snr_db})
    assert torch.equal(made.x[:, 5:], view.x[:, 5:])
    for row in range(6):
        n = int(shown[row].sum())
        power = view.x[row, ELECTRIC, :n].double().var(dim=1, correction=0)
        noise = added(view, made)[row, :, :n].square().mean(dim=1)
        torch.testing.assert_close(10 * (power / noise).log10(), torch.full((5,), snr_db).double(), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("step", "low", "high"),
    [
        ({"baseline-wander": 0.0}, 0.0, 1.5),
        ({"mains": 0.0}, 48.0, 52.0),
        ({"mains": 0.0, "frequency_hz": 60.0}, 58.0, 62.0),
        ({"muscle": 0.0, "low_hz": 30.0, "high_hz": 90.0}, 29.9, 90.1),
    ],
)
def test_the_noise_lies_in_its_band(step: dict[str, float], low: float, high: float, batch: Make, apply: Make) -> None:
    view = batch(40, 1000)
    spectrum = torch.fft.rfft(added(view, apply(view, step))).abs().square().sum(dim=(0, 1))
    hz = torch.fft.rfftfreq(1000, 1 / 250)
    inside = (hz >= low) & (hz <= high)
    assert spectrum[inside].sum() / spectrum.sum() > 0.98


def test_hum_has_one_phase_a_sample_and_wander_its_own_a_channel(batch: Make, apply: Make) -> None:
    view = batch(30, 1000)
    unit = torch.nn.functional.normalize
    hum = unit(added(view, apply(view, {"mains": 0.0})), dim=2)
    assert (hum @ hum.mT).min() > 0.999
    assert (hum[:, 0] @ hum[:, 0].T).abs().fill_diagonal_(0).mean() < 0.8
    wander = unit(added(view, apply(view, {"baseline-wander": 0.0})), dim=2)
    assert ((wander @ wander.mT)[:, 0, 1:].abs() < 0.99).float().mean() > 0.9


def test_a_flat_channel_gets_no_noise(batch: Make, apply: Make) -> None:
    view = batch()
    x = view.x.clone()
    x[:, 1] = 4.0
    for key in NOISES:
        assert torch.equal(apply(replace(view, x=x), key).x[:, 1], x[:, 1])


ONE = SignalInfo(40.0, (Channel("x", "acc", "g"),))


@pytest.mark.parametrize(
    ("step", "known", "why"),
    [
        (Mains(), ONE, "no channel is one of ecg"),
        (Muscle(), ONE, "no channel is one of ecg"),
        (Mains(), SignalInfo(100.0, (Channel("I", "ecg", "mV"),)), "50 Hz is not below half the sampling rate, 50 Hz"),
        (Muscle(), SignalInfo(40.0, (Channel("I", "ecg", "mV"),)), "low_hz is not below"),
        (FrequencyShift(frequency_shift=-20.0), ONE, "-20 Hz is not below"),
        (BandStop(band_stop=21.0), ONE, "a band of 21 Hz from 0 Hz on does not fit below 20 Hz"),
        (BandStop(high_hz=30.0), ONE, "does not fit below 20 Hz"),
        (ChannelDropout(), ONE, "one channel only"),
        (ChannelShuffle(), ONE, "no device has two channels"),
        (LeadMix(), SignalInfo(100.0, (Channel("I", "ecg", "mV"),)), "fewer than two ECG leads"),
    ],
)
def test_what_does_not_fit_the_signal_is_refused(step: Step, known: SignalInfo, why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        check_views({"noisy": [step]}, known)  # type: ignore[list-item]
    assert step.key() in str(error.value)
    assert error.value.fix
