"""Physiological noise at a stated signal-to-noise ratio.

The ratio holds exactly for each channel of each window: variance of the signal over mean square of the noise, both
over valid steps. A flat channel gets none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from biocl.views.amplitude import variance
from biocl.views.draws import Draws

N_WAVES = 3


def baseline_wander(
    shape: tuple[int, int, int], *, low_hz: float, high_hz: float, sfreq: float, draws: Draws
) -> Tensor:
    """Three slow sinusoids a sample, of `shape` (B, C, T); each channel has its own amplitudes and phases of them."""
    n_samples, n_chans, n_times = shape
    hz = draws.uniform(n_samples, N_WAVES, 1, low=low_hz, high=high_hz)
    angle = 2 * math.pi * hz * torch.arange(n_times, device=draws.device) / sfreq
    return draws.normal(n_samples, n_chans, 2 * N_WAVES) @ torch.cat([angle.sin(), angle.cos()], dim=1)


def mains(shape: tuple[int, int], *, frequency_hz: float, sfreq: float, draws: Draws) -> Tensor:
    """A sinusoid of random phase for each sample, ``(B, 1, T)`` from `shape` (B, T)."""
    n_samples, n_times = shape
    phase = draws.uniform(n_samples, 1, 1, high=2 * math.pi)
    turns = (torch.arange(n_times, device=draws.device, dtype=torch.float64) * (frequency_hz / sfreq)) % 1
    return (2 * math.pi * turns.float() + phase).sin()


def muscle(shape: tuple[int, int, int], *, low_hz: float, high_hz: float, sfreq: float, draws: Draws) -> Tensor:
    """White noise of each channel limited to a band, of `shape` (B, C, T)."""
    n_times = shape[2]
    spectrum = torch.fft.rfft(draws.normal(*shape))
    hz = torch.fft.rfftfreq(n_times, 1 / sfreq, device=draws.device)
    return torch.fft.irfft(spectrum.masked_fill((hz < low_hz) | (hz > high_hz), 0), n=n_times)


def add_at_snr(x: Tensor, noise: Tensor, valid: Tensor | None, columns: Sequence[int], snr_db: float) -> Tensor:
    """Add `noise` (broadcast over channels) to the given columns of `x`, scaled to the ratio."""
    chosen = list(columns)
    signal = x[:, chosen]
    if valid is None:
        power = noise.square().mean(dim=-1, keepdim=True)
    else:
        shown = valid[:, None].float()
        power = (noise.square() * shown).sum(dim=-1, keepdim=True) / shown.sum(dim=-1, keepdim=True).clamp(min=1)
    wanted = variance(signal, valid) / 10 ** (snr_db / 10)
    # A noise without power over these steps cannot be scaled to any.
    gain = torch.where(power > 0, (wanted / power.clamp(min=1e-30)).sqrt(), 0.0)
    if len(chosen) == x.shape[1]:
        return x + (noise * gain).to(x.dtype)
    out = x.clone()
    out[:, chosen] = signal + (noise * gain).to(x.dtype)
    return out
