"""IFNet, with bands or, as MVCNet's CNN branch, without."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biocl.encoders.encoder import Encoder, odd_samples_of, samples_of, seen_by_a_step
from biocl.encoders.fast_conv import DepthwiseConv1d, filtered
from biocl.encoders.spec_eeg import IFNetSpec
from biocl.errors import UsageError


class IFNet(Encoder):
    """Spatial filters and one temporal kernel for each frequency band; the bands are summed before the average.

    With ``bands: null`` it is the one-band form: at 250 Hz with 22 channels 5,696 parameters; a linear layer
    from eight steps to two classes makes them 6,722.

    Parameters
    ----------
    spec : IFNetSpec
    n_chans : int
    sfreq : float

    Raises
    ------
    UsageError
        A band reaches half the sampling rate.

    References
    ----------
    Wang et al. 2023, "IFNet: an interactive frequency convolutional neural network for motor imagery decoding";
    MVCNet, Knowledge-Based Systems 328:114205 (2025).
    """

    band_pass: Tensor

    def __init__(self, spec: IFNetSpec, n_chans: int, sfreq: float) -> None:
        n_bands = len(spec.bands or [[]])
        kernels = [odd_samples_of(length, sfreq) for length in spec.kernels_ms[:n_bands]]
        pool = samples_of(spec.pool_ms, sfreq)
        filters = band_filters(spec.bands, sfreq) if spec.bands else np.ones((1, 1), dtype=np.float32)
        super().__init__(
            spec.name,
            n_chans,
            out_dim=spec.width,
            receptive_field=seen_by_a_step([(filters.shape[1], 1), (max(kernels), 1), (pool, pool)]),
            least_times=pool,
        )
        self.n_bands, self.pool = n_bands, pool
        # Follows from the spec and the sampling rate, so it is not saved.
        self.register_buffer("band_pass", torch.from_numpy(filters), persistent=False)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv1d(n_bands * n_chans, n_bands * spec.width, 1, groups=n_bands, bias=False),
                    nn.BatchNorm1d(n_bands * spec.width),
                ),
                nn.ModuleList(
                    nn.Sequential(
                        DepthwiseConv1d(spec.width, kernel),
                        nn.BatchNorm1d(spec.width),
                    )
                    for kernel in kernels
                ),
            ]
        )

    def n_steps(self, n_times: int) -> int:
        """Averages that fit."""
        return n_times // self.pool

    def encode(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, L, width)."""
        spatial, temporal = self.blocks
        filtered = spatial(self.filtered(x)).chunk(self.n_bands, dim=1)
        assert isinstance(temporal, nn.ModuleList)
        summed = torch.stack([one(band) for one, band in zip(temporal, filtered, strict=True)]).sum(dim=0)
        return F.avg_pool1d(F.gelu(summed), self.pool).transpose(1, 2)

    def filtered(self, x: Tensor) -> Tensor:
        """Windows (B, n_chans, n_times) to (B, n_bands * n_chans, n_times), band by band."""
        if self.band_pass.shape[1] == 1:
            return x
        return filtered(x, self.band_pass).flatten(1, 2)


def band_filters(bands: list[list[float]], sfreq: float) -> np.ndarray:
    """Band-pass filters of one odd length (n_bands, n_taps), without phase: one and a half periods of the lowest limit
    to each side, under a Hamming window."""
    for low, high in bands:
        if high >= sfreq / 2:
            raise UsageError(
                f"The band {low:g} to {high:g} Hz reaches half the sampling rate, {sfreq / 2:g} Hz",
                "encoder.bands",
                "Lower the band, resample higher (data.resample_hz), or give bands: null",
            )
    half = max(1, round(1.5 * sfreq / min(low for low, _ in bands)))
    times = np.arange(-half, half + 1) / sfreq
    window = np.hamming(2 * half + 1)
    taps = []
    for low, high in bands:
        ideal = 2 * high * np.sinc(2 * high * times) - 2 * low * np.sinc(2 * low * times)
        shaped = window * ideal
        centre = np.abs(np.sum(shaped * np.exp(-2j * np.pi * times * (low + high) / 2)))
        taps.append(shaped / centre)
    return np.array(taps, dtype=np.float32)
