"""Views of frequency: where peaks are, what the spectrum keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import hilbert

from biocl.views.draws import Draws
from biocl.views.signal import SignalInfo
from biocl.views.view import View

Make = Callable[..., View]


def sine(hz: float, sfreq: float, seconds: float = 4.0) -> View:
    time = torch.arange(int(seconds * sfreq), dtype=torch.float64) / sfreq
    return View((2 * math.pi * hz * time).sin().float().expand(3, 2, -1))


def peak_hz(x: torch.Tensor, sfreq: float) -> torch.Tensor:
    """Frequency of the largest bin of a spectrum that is interpolated 16 times."""
    window = torch.hann_window(x.shape[-1])
    spectrum = torch.fft.rfft(x * window, n=16 * x.shape[-1]).abs()
    return spectrum.argmax(dim=-1) * sfreq / (16 * x.shape[-1])


@pytest.mark.parametrize("sfreq", [128.0, 250.0, 512.0])
@pytest.mark.parametrize("shift", [2.0, -3.0, 0.1])
def test_a_10_hz_sine_moves_by_the_shift_at_every_sampling_rate(
    sfreq: float, shift: float, apply: Make, signal: SignalInfo
) -> None:
    view = sine(10, sfreq)
    made = apply(view, {"frequency-shift": shift}, signal=replace(signal, sfreq=sfreq))
    assert (peak_hz(made.x, sfreq) - (10 + shift)).abs().max() < 0.05
    # A shift moves power and makes none: one side band, not two.
    assert made.x[..., 100:-100].square().mean() == pytest.approx(0.5, rel=0.05)


def test_frequency_shift_equals_the_analytic_signal(batch: Make, apply: Make) -> None:
    view = batch()
    made = apply(view, {"frequency-shift": 1.7})
    for row in range(8):
        for channel in range(11):
            analytic = hilbert(np.pad(view.x[row, channel].numpy().astype(float), (0, 3)))[:125]
            slow = (analytic * np.exp(2j * np.pi * 1.7 * np.arange(125) / 250)).real
            np.testing.assert_allclose(made.x[row, channel].numpy(), slow, atol=2e-5)
    assert torch.allclose(apply(view, {"frequency-shift": 0.0}).x, view.x)


def test_a_uniform_shift_is_drawn_for_each_sample(apply: Make, signal: SignalInfo) -> None:
    view = View(sine(20, 250).x[:1].expand(300, 2, -1))
    found = peak_hz(apply(view, {"frequency-shift": 4.0, "draw": "uniform"}).x, 250.0)
    assert torch.allclose(found[:, 0], found[:, 1])
    assert found.min() >= 15.9
    assert found.max() <= 24.1
    assert found.mean() == pytest.approx(20, abs=0.4)
    assert found.std() == pytest.approx(8 / math.sqrt(12), abs=0.3)


@pytest.mark.parametrize("n_times", [124, 125])
@pytest.mark.parametrize("per", ["window", "channel"])
def test_a_surrogate_keeps_amplitudes_and_between_channels_what_is_asked(
    n_times: int, per: str, batch: Make, apply: Make
) -> None:
    view = batch(8, n_times)
    made = apply(view, {"fourier-surrogate": 1.0, "per": per})
    before, after = torch.fft.rfft(view.x), torch.fft.rfft(made.x)
    torch.testing.assert_close(after.abs(), before.abs(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(made.x.mean(dim=-1), view.x.mean(dim=-1), rtol=1e-4, atol=1e-4)
    cross = [(one[:, :1] * one[:, 1:].conj()).angle().cos() for one in (before, after)]
    close = torch.isclose(*cross, atol=1e-2).float().mean()
    assert close > 0.99 if per == "window" else close < 0.5


def test_the_share_of_a_surrogate_bounds_its_turn(batch: Make, apply: Make) -> None:
    view = batch(200, 60)
    made = apply(view, {"fourier-surrogate": 0.25})
    turn = (torch.fft.rfft(made.x) / torch.fft.rfft(view.x))[:, 0, 1:-1].angle()
    assert turn.min() > -0.01
    assert turn.max() < math.pi / 2 + 0.01
    assert turn.mean() == pytest.approx(math.pi / 4, abs=0.03)


def test_band_stop_takes_one_band_out(batch: Make, apply: Make, draws: Callable[[], Draws]) -> None:
    view = batch(100, 250)
    made = apply(view, {"band-stop": 6.0, "low_hz": 10.0, "high_hz": 40.0})
    begin = draws().uniform(100, 1, 1, low=10, high=34)[:, 0, 0].numpy()
    hz = np.fft.rfftfreq(250, 1 / 250)
    for row in range(100):
        spectrum = np.fft.rfft(view.x[row].numpy().astype(float))
        for number, frequency in enumerate(hz):
            if begin[row] <= frequency <= begin[row] + 6:
                spectrum[:, number] = 0
        np.testing.assert_allclose(made.x[row].numpy(), np.fft.irfft(spectrum, n=250), atol=1e-5)
    assert begin.min() < 11
    assert begin.max() > 33


def test_bins_are_dropped_with_their_probability(batch: Make, apply: Make) -> None:
    view = batch(100, 200)
    before, after = torch.fft.rfft(view.x), torch.fft.rfft(apply(view, {"bin-drop": 0.3}).x)
    gone = after.abs() < 1e-3
    torch.testing.assert_close(after[~gone], before[~gone], rtol=1e-3, atol=1e-3)
    assert not gone[..., 0].any()
    assert gone[..., 1:].float().mean() == pytest.approx(0.3, abs=0.01)


def test_added_bins_are_no_larger_than_stated(batch: Make, apply: Make) -> None:
    view = batch(100, 200)
    before = torch.fft.rfft(view.x)
    added = (torch.fft.rfft(apply(view, {"bin-add": 0.2, "amplitude": 0.5}).x) - before).abs()
    largest = before[..., 1:].abs().amax(dim=-1, keepdim=True)
    share = added[..., 1:-1] / largest
    assert share.max() < 0.5 + 1e-3
    chosen = share > 1e-4
    assert chosen.float().mean() == pytest.approx(0.2, abs=0.01)
    assert share[chosen].mean() == pytest.approx(0.25, abs=0.01)
    assert added[..., 0].max() < 1e-3
