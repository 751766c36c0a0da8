"""CoST: trend by causal averages, season by a learned Fourier layer, on top of the dilated CNN."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from biocl.encoders.dilated_cnn import DilatedCNN
from biocl.encoders.fast_conv import fast_length
from biocl.encoders.spec_series import CoSTSpec
from biocl.errors import UsageError

TREND, SEASON = "trend", "season"


class CoST(DilatedCNN):
    """Each step is the trend (first half) beside the season (second half); see `parts`.

    Parameters
    ----------
    spec : CoSTSpec
    n_chans, n_times : int
        Windows of another length are refused: each frequency of a window has weights of its own.

    References
    ----------
    Woo et al. 2022, "CoST: contrastive learning of disentangled seasonal-trend representations".
    """

    def __init__(self, spec: CoSTSpec, n_chans: int, n_times: int) -> None:
        super().__init__(n_chans, hidden_dim=spec.hidden_dim, embed_dim=spec.embed_dim, depth=spec.depth)
        self.name, self.n_times, self.receptive_field = spec.name, n_times, n_times
        half = spec.embed_dim // 2
        self.blocks.append(TrendAndSeason(spec.embed_dim, half, spec.kernels, n_times))
        self.parts = {TREND: slice(0, half), SEASON: slice(half, spec.embed_dim)}

    def check_length(self, n_times: int) -> None:
        """Refuse windows of another length."""
        if n_times != self.n_times:
            raise UsageError(
                f"The encoder {self.name} was made for windows of {self.n_times} samples, and these have {n_times}",
                "encoder",
                "Use windows of that length, or another encoder",
            )


class TrendAndSeason(nn.Module):
    """Both of the same steps, side by side.

    Parameters
    ----------
    n_in, n_out : int
    kernels : list of int
    n_times : int
    """

    def __init__(self, n_in: int, n_out: int, kernels: list[int], n_times: int) -> None:
        super().__init__()
        self.trend = CausalMean(n_in, n_out, kernels)
        self.season = FourierLayer(n_in, n_out, n_times)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n_times, B, n_in)`` to ``(n_times, B, 2 n_out)``, with spectra in float32 at least."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            return torch.cat([self.trend(wide), self.season(wide)], dim=2).to(x.dtype)


class CausalMean(nn.Module):
    """The mean of causal convolutions of several widths, computed as one of the longest by Fourier transforms.

    Parameters
    ----------
    n_in, n_out : int
    kernels : list of int
        Widths in samples.
    """

    def __init__(self, n_in: int, n_out: int, kernels: list[int]) -> None:
        super().__init__()
        bounds = [(n_in * width) ** -0.5 for width in kernels]  # as nn.Conv1d
        self.taps = nn.ParameterList(
            torch.empty(width, n_in, n_out).uniform_(-bound, bound)
            for width, bound in zip(kernels, bounds, strict=True)
        )
        self.biases = nn.ParameterList(torch.empty(n_out).uniform_(-bound, bound) for bound in bounds)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n_times, B, n_in)`` to ``(n_times, B, n_out)``; tap j reads j steps back.

        Taps that only see padding are not computed.
        """
        n_taps = min(len(x), max(len(taps) for taps in self.taps))
        kernel = x.new_zeros(n_taps, *self.taps[0].shape[1:])
        for taps in self.taps:
            kernel[: len(taps)] += taps[:n_taps]
        length = fast_length(len(x) + n_taps - 1)
        # Two products are faster than so many transforms, and leave the frequencies in front.
        spectra = [part @ kernel.flatten(1) for part in spectral_basis(n_taps, length, x.dtype, x.device)]
        weight = torch.stack([part.view(-1, *kernel.shape[1:]) for part in spectra])
        return by_frequency(x, weight / len(self.taps), length) + sum(self.biases) / len(self.taps)


class FourierLayer(nn.Module):
    """A linear map of each frequency of the window by itself: complex weights and a complex bias.

    Parameters
    ----------
    n_in, n_out, n_times : int
    """

    def __init__(self, n_in: int, n_out: int, n_times: int) -> None:
        super().__init__()
        n_freqs = n_times // 2 + 1
        bound = n_in**-0.5
        # The first axis holds real and imaginary parts.
        self.weight = nn.Parameter(torch.empty(2, n_freqs, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(2, n_freqs, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n_times, B, n_in)`` to ``(n_times, B, n_out)``."""
        return by_frequency(x, self.weight, len(x), self.bias)


def by_frequency(x: Tensor, weight: Tensor, length: int, bias: Tensor | None = None) -> Tensor:
    """Steps (n_times, B, n_in) to (n_times, B, n_out), each frequency of so many steps by a matrix of its own.

    `weight` (2, F, n_in, n_out) and `bias` (2, F, n_out) are real and imaginary parts.
    """
    spectrum = torch.fft.rfft(x, length, dim=0)
    u, v = spectrum.real.contiguous(), spectrum.imag.contiguous()
    real = torch.bmm(u, weight[0]) - torch.bmm(v, weight[1])
    imaginary = torch.bmm(u, weight[1]) + torch.bmm(v, weight[0])
    if bias is not None:
        real, imaginary = real + bias[0, :, None], imaginary + bias[1, :, None]
    return torch.fft.irfft(torch.complex(real, imaginary), length, dim=0)[: len(x)]


def spectral_basis(n_steps: int, length: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """What makes the real and the imaginary part of the spectrum, (length // 2 + 1, n_steps) each."""
    freqs = torch.arange(length // 2 + 1, device=device)
    # Whole turns are taken off before the numbers become floating ones.
    angle = -2 * math.pi / length * (freqs[:, None] * torch.arange(n_steps, device=device) % length).double()
    return angle.cos().to(dtype), angle.sin().to(dtype)
