"""Views that change the spectrum of each window. A window's mean is kept, but by the frequency shift."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from biocl.views.draws import Draws
from biocl.views.spec import Together


def frequency_shift(x: Tensor, *, hz: float, sfreq: float, draw: Literal["fixed", "uniform"], draws: Draws) -> Tensor:
    """Move every frequency by `hz`, ``(B, C, T)``, or by a draw within ± `hz` for each sample.

    The real part of the analytic signal times ``exp(2πi · hz · t)``, which is ``x cos − H(x) sin`` with the Hilbert
    transform H, taken over the window padded with zeros to a power of two so that its ends do not meet. What would
    pass 0 Hz or half the sampling rate folds back.
    """
    n_times = x.shape[-1]
    n_padded = 1 << math.ceil(math.log2(max(n_times, 1)))
    spectrum = torch.fft.rfft(x.float(), n=n_padded)
    # The Hilbert transform turns every frequency by -90 degrees; a constant and the Nyquist frequency have none.
    inner = torch.full((spectrum.shape[-1],), -1j, dtype=spectrum.dtype, device=x.device)
    inner[0] = 0
    if n_padded % 2 == 0:
        inner[-1] = 0
    hilbert = torch.fft.irfft(spectrum * inner, n=n_padded)[..., :n_times]
    amount = draws.uniform(len(x), 1, 1, low=-hz, high=hz).double() if draw == "uniform" else hz
    step = torch.arange(n_times, device=x.device, dtype=torch.float64)
    angle = 2 * math.pi * amount * step / sfreq
    return (x * angle.cos().float() - hilbert * angle.sin().float()).to(x.dtype)


def fourier_surrogate(x: Tensor, *, share: float, per: Together, draws: Draws) -> Tensor:
    """Turn the phase of every frequency by a uniform share (up to `share`) of a full turn; amplitudes stay."""
    n_times = x.shape[-1]
    spectrum = torch.fft.rfft(x.float())
    n_rows = x.shape[1] if per == "channel" else 1
    angle = draws.uniform(len(x), n_rows, spectrum.shape[-1], high=2 * math.pi * share)
    return torch.fft.irfft(spectrum * torch.polar(torch.ones_like(angle), free(angle, n_times)), n=n_times).to(x.dtype)


def band_stop(x: Tensor, *, width_hz: float, low_hz: float, high_hz: float, sfreq: float, draws: Draws) -> Tensor:
    """Take out the frequencies within a band of `width_hz`, whose place is uniform between `low_hz` and `high_hz`."""
    n_times = x.shape[-1]
    spectrum = torch.fft.rfft(x.float())
    hz = torch.fft.rfftfreq(n_times, 1 / sfreq, device=x.device)
    begin = draws.uniform(len(x), 1, 1, low=low_hz, high=high_hz - width_hz)
    stopped = (hz >= begin) & (hz <= begin + width_hz) & (hz > 0)
    return torch.fft.irfft(spectrum.masked_fill(stopped, 0), n=n_times).to(x.dtype)


def bin_drop(x: Tensor, *, share: float, draws: Draws) -> Tensor:
    """Take out each bin of each channel's spectrum with probability `share`, the constant aside."""
    n_times = x.shape[-1]
    spectrum = torch.fft.rfft(x.float())
    dropped = draws.happens(*spectrum.shape, p=share)
    dropped[..., :1] = False
    return torch.fft.irfft(spectrum.masked_fill(dropped, 0), n=n_times).to(x.dtype)


def bin_add(x: Tensor, *, share: float, amplitude: float, draws: Draws) -> Tensor:
    """Add to each bin of each channel's spectrum, with probability `share`, a sinusoid of random phase.

    Its amplitude is uniform up to `amplitude` times the largest of the channel's bins, the constant aside.
    """
    n_times = x.shape[-1]
    spectrum = torch.fft.rfft(x.float())
    if spectrum.shape[-1] < 2:
        return x.clone()
    largest = spectrum[..., 1:].abs().amax(dim=-1, keepdim=True)
    chosen = draws.happens(*spectrum.shape, p=share)
    size = draws.uniform(*spectrum.shape, high=amplitude) * largest * chosen
    added = torch.polar(size, draws.uniform(*spectrum.shape, high=2 * math.pi))
    added[..., 0] = 0
    return (x + torch.fft.irfft(added, n=n_times)).to(x.dtype)


def free(angle: Tensor, n_times: int) -> Tensor:
    """The angles with those set to zero that a real signal cannot turn: of the constant and the Nyquist frequency."""
    angle[..., 0] = 0
    if n_times % 2 == 0:
        angle[..., -1] = 0
    return angle
