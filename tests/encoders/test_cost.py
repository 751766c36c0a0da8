"""CoST's trend and season against the layers they are made of."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from biocl.encoders.cost import CausalMean, CoST, FourierLayer
from biocl.encoders.latents import read_out_of
from biocl.encoders.spec_series import CoSTSpec


def small(n_times: int = 20, **keys: object) -> tuple[CoSTSpec, CoST]:
    """A float64 encoder."""
    torch.manual_seed(0)
    spec = CoSTSpec(**{"name": "cost", "depth": 1, "hidden_dim": 4, "embed_dim": 6, "kernels": [1, 2, 8], **keys})
    return spec, CoST(spec, 3, n_times).double()


def windows(n_times: int = 20, n_chans: int = 3) -> Tensor:
    """Two windows."""
    return torch.randn(2, n_chans, n_times, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("n_times", [3, 8, 20])
def test_the_trend_is_the_mean_of_causal_convolutions(n_times: int) -> None:
    torch.manual_seed(0)
    layer, steps = CausalMean(4, 3, [1, 2, 8]).double(), windows(n_times, 4)
    each = [
        F.conv1d(F.pad(steps, (len(taps) - 1, 0)), taps.permute(2, 1, 0).flip(2), bias)
        for taps, bias in zip(layer.taps, layer.biases, strict=True)
    ]
    torch.testing.assert_close(layer(steps.permute(2, 0, 1)).permute(1, 2, 0), torch.stack(each).mean(dim=0))


@pytest.mark.parametrize("n_times", [7, 8])
def test_the_season_maps_each_frequency_by_itself(n_times: int) -> None:
    torch.manual_seed(0)
    layer, steps = FourierLayer(4, 3, n_times).double(), windows(n_times, 4).permute(2, 0, 1)
    weight, bias = torch.complex(*layer.weight), torch.complex(*layer.bias)
    steps_of_time = torch.arange(n_times, dtype=torch.float64)
    turn = torch.exp(-2j * torch.pi * torch.outer(steps_of_time, steps_of_time) / n_times)
    spectrum = torch.einsum("ft,tbc->fbc", turn[: n_times // 2 + 1], steps.to(torch.complex128))
    mapped = torch.stack([spectrum[f] @ weight[f] + bias[f] for f in range(n_times // 2 + 1)])
    torch.testing.assert_close(layer(steps), torch.fft.irfft(mapped, n=n_times, dim=0))
    # A wave of one frequency stays one; what changes is its size and where it stands.
    with torch.no_grad():
        layer.bias.zero_()
        wave = torch.cos(2 * torch.pi * 2 * torch.arange(n_times, dtype=torch.float64) / n_times)
        strength = torch.fft.rfft(layer(wave[:, None, None].expand(-1, 1, 4)), dim=0).abs().amax(dim=2)[:, 0]
    assert (strength > 1e-6).nonzero().flatten().tolist() == [2]


def test_trend_and_season_are_branches_of_one_pass() -> None:
    spec, encoder = small()
    trunk = encoder.eval()(windows())
    latents = read_out_of(spec, trunk, training=False, parts=encoder.parts)
    top = encoder.blocks[-1]
    seen: list[Tensor] = []
    top.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoder(windows())
    for name, layer in (("trend", top.trend), ("season", top.season)):
        torch.testing.assert_close(latents.branches[name].seq, layer(seen[0]).transpose(0, 1))
    assert torch.equal(torch.cat([latents.branches[name].vec for name in ("trend", "season")], dim=1), latents.vec)


def test_an_odd_width_has_no_halves() -> None:
    with pytest.raises(ValidationError, match="even"):
        small(embed_dim=7)
