"""A scattering front-end: fixed wavelets, modulus and average, then a small trained network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder
from biocl.encoders.resnet1d import ResidualBlock
from biocl.encoders.spec import ScatteringSpec

HIGHEST = 0.4  # centre of the first wavelet, in cycles a sample
CROSSING = math.sqrt(math.log(2))  # neighbouring wavelets cross at half their peak power
QUIET = 1e-3  # in units of the scaled input: keeps the logarithm of silence finite


class ScatteringEncoder(Encoder):
    """Scattering coefficients, batch-normalised, mixed by a linear layer and residual blocks.

    The wavelets are not trained.

    Parameters
    ----------
    spec : ScatteringSpec
    n_chans, n_times : int
    sfreq : float

    References
    ----------
    Andén & Mallat 2014, "Deep scattering spectrum"; ScatSimCLR (Kinakh et al. 2021) puts scattering before contrast.
    """

    def __init__(self, spec: ScatteringSpec, n_chans: int, n_times: int, sfreq: float) -> None:
        octaves = max(1, round(math.log2(max(2.0, spec.scale_ms / 1000 * sfreq))))
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.embed_dim,
            receptive_field=n_times,
            least_times=2**octaves,
        )
        self.front = Scattering(octaves, spec.per_octave, spec.order)
        n_features = n_chans * self.front.n_paths
        self.norm = nn.BatchNorm1d(n_features)
        self.inlet = nn.Linear(n_features, spec.hidden_dim)
        widths = [spec.hidden_dim] * spec.depth + [spec.embed_dim]
        self.blocks = nn.ModuleList(ResidualBlock(widths[i], widths[i + 1], [3, 3], 1) for i in range(spec.depth))

    def n_steps(self, n_times: int) -> int:
        """One step for each length of the average, rounded up."""
        return -(-n_times // self.front.stride)

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, embed_dim)."""
        coefficients = self.norm(self.front(x).flatten(1, 2).to(self.norm.weight.dtype))
        steps = self.inlet(coefficients.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            steps = block(steps)
        return steps.transpose(1, 2)


class Scattering(nn.Module):
    """Averages over ``2**octaves`` samples of the signal, of ``|x * psi|`` and of ``||x * psi| * psi'|``.

    The averages of moduli are given as logarithms. Products are taken in the Fourier domain; a band is sampled no
    finer than its octave needs, so that all bands of an octave cost half of those of the one above.

    Parameters
    ----------
    octaves : int
        Octaves of wavelets below 0.4 cycles a sample.
    per_octave : int
        Wavelets of the first order in each octave; those of the second order are one an octave.
    order : int
        1 or 2.
    """

    def __init__(self, octaves: int, per_octave: int, order: int) -> None:
        super().__init__()
        self.octaves, self.per_octave, self.order = octaves, per_octave, order
        self.stride = 2**octaves

    @property
    def n_paths(self) -> int:
        """Coefficients of a channel at a step."""
        pairs = self.octaves * (self.octaves - 1) // 2 if self.order == 2 else 0
        return 1 + self.per_octave * (self.octaves + pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, n_chans, n_times) to float32 (B, n_chans, n_paths, L)."""
        n_steps = -(-x.shape[2] // self.stride)
        # One stride on each side, so that the ends are not joined by the transform's period.
        behind = (n_steps + 1) * self.stride - x.shape[2]
        padded = F.pad(x.float(), (self.stride, behind), mode="replicate")
        spectrum = torch.fft.fft(padded).unsqueeze(2)
        moduli = []
        for octave in range(self.octaves):
            at = resolution(octave)
            one = torch.fft.fft(self.modulus(spectrum, octave, self.per_octave, 0, at))
            moduli.append(self.average(one, at, n_steps))
            for above in range(octave + 1, self.octaves) if self.order == 2 else ():
                two = torch.fft.fft(self.modulus(one, above, 1, at, resolution(above)))
                moduli.append(self.average(two, resolution(above), n_steps))
        bands = (torch.cat(moduli, dim=2).clamp(min=0) + QUIET).log()
        return torch.cat([self.average(spectrum, 0, n_steps), bands], dim=2)

    def modulus(self, spectrum: Tensor, octave: int, per_octave: int, given: int, wanted: int) -> Tensor:
        """Modulus of the bands of an octave of ``spectrum (B, C, P, N)``: (B, C, P * per_octave, N / 2**…), where
        either P or `per_octave` is 1. `given` and `wanted` say that every ``2**k``-th sample is kept."""
        frequency = grid(spectrum, given)
        octaves = octave + torch.arange(per_octave, device=frequency.device)[:, None] / per_octave
        centre = HIGHEST * 2.0**-octaves
        ratio = 2.0 ** (-1 / per_octave)
        width = (centre * (1 - ratio) / (1 + ratio) / CROSSING).clamp(min=0.1 / self.stride)
        # What is taken off makes the wavelet's mean zero.
        bump, base = gauss(frequency - centre, width), gauss(frequency, width)
        wavelets = bump - gauss(centre, width) * base
        return torch.fft.ifft(fold(spectrum * wavelets, wanted - given)).abs()

    def average(self, spectrum: Tensor, given: int, n_steps: int) -> Tensor:
        """Averages (B, C, P, n_steps), one every ``2**octaves`` samples."""
        low = spectrum * gauss(grid(spectrum, given), torch.tensor(0.2 / self.stride, device=spectrum.device))
        return torch.fft.ifft(fold(low, self.octaves - given)).real[..., 1 : 1 + n_steps]


def resolution(octave: int) -> int:
    """How often an octave's bands may be halved in rate: twice what their centre needs is kept."""
    return max(0, octave - 1)


def grid(spectrum: Tensor, given: int) -> Tensor:
    """Frequencies of a spectrum in cycles a sample of the signal, when every ``2**given``-th sample was kept."""
    return torch.fft.fftfreq(spectrum.shape[-1], d=2.0**given, device=spectrum.device)


def gauss(x: Tensor, width: Tensor) -> Tensor:
    """A bell of height 1."""
    return torch.exp(-0.5 * (x / width) ** 2)


def fold(spectrum: Tensor, halvings: int) -> Tensor:
    """The spectrum of every ``2**halvings``-th sample."""
    return spectrum.unflatten(-1, (2**halvings, -1)).mean(dim=-2)
