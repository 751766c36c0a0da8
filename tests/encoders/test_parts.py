"""Parts of single encoders against slow references and known answers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from biocl.encoders.channel_transformer import ChannelTransformer
from biocl.encoders.eegnet import EEGNet
from biocl.encoders.electrodes import electrode_positions
from biocl.encoders.encoder import odd_samples_of, samples_of, seen_by_a_step, valid_length
from biocl.encoders.ifnet import IFNet, band_filters
from biocl.encoders.patch_transformer import PatchTransformer
from biocl.encoders.scattering import HIGHEST, Scattering, gauss, grid
from biocl.encoders.shallow_convnet import SpatioTemporal
from biocl.encoders.spec import PatchTransformerSpec, TPNSpec
from biocl.encoders.spec_eeg import ChannelTransformerSpec, ConformerSpec, EEGNetSpec, IFNetSpec
from biocl.encoders.transformer import Attention, Block
from biocl.errors import UsageError


@pytest.mark.parametrize("spatial_bias", [True, False])
def test_temporal_and_spatial_filters_as_one_convolution(spatial_bias: bool) -> None:
    torch.manual_seed(0)
    stem = SpatioTemporal(5, 6, 9, spatial_bias=spatial_bias).double()
    x = torch.randn(3, 5, 60, dtype=torch.float64)
    torch.testing.assert_close(stem(x), stem.norm(stem.spatial(stem.temporal(x.unsqueeze(1))).squeeze(2)))


@pytest.mark.parametrize(("low", "high"), [(4, 16), (16, 40)])
def test_a_band_filter_passes_its_band_without_delay(low: float, high: float) -> None:
    sfreq = 250.0
    (taps,) = band_filters([[low, high]], sfreq)
    assert len(taps) % 2 == 1
    np.testing.assert_allclose(taps, taps[::-1], atol=1e-7)
    times = np.arange(-500, 501) / sfreq

    def gain(hz: float) -> float:
        return float(np.sum(taps * np.cos(2 * np.pi * hz * (np.arange(len(taps)) - len(taps) // 2) / sfreq)))

    assert gain((low + high) / 2) == pytest.approx(1, abs=0.01)
    assert abs(gain(low / 4)) < 0.1
    assert abs(gain(high + 20)) < 0.1
    filtered = np.convolve(np.cos(2 * np.pi * (low + high) / 2 * times), taps, mode="same")
    assert filtered[500] == pytest.approx(1, abs=0.01)


def test_ifnets_bands_are_those_of_the_filters() -> None:
    encoder = IFNet(IFNetSpec(name="ifnet"), 2, 250.0)
    x = torch.randn(1, 2, 400)
    by_band = encoder.filtered(x).view(1, 2, 2, 400)
    for band in range(2):
        for channel in range(2):
            expected = np.convolve(x[0, channel].numpy(), encoder.band_pass[band].numpy(), mode="same")
            np.testing.assert_allclose(by_band[0, band, channel], expected, atol=1e-5)


def test_a_band_beyond_half_the_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="16 to 40 Hz reaches half the sampling rate, 40 Hz"):
        IFNet(IFNetSpec(name="ifnet"), 2, 80.0)
    assert IFNet(IFNetSpec(name="ifnet", bands=None), 2, 80.0).n_bands == 1


def test_eegnets_spatial_filters_have_at_most_norm_one() -> None:
    torch.manual_seed(0)
    encoder = EEGNet(EEGNetSpec(name="eegnet"), 4, 64.0).eval()
    x = torch.randn(2, 4, 128)
    with torch.no_grad():
        encoder.blocks[0].spatial.weight.mul_(100)
        large = encoder(x)
        encoder.blocks[0].spatial.weight.mul_(100)
    torch.testing.assert_close(encoder(x), large)


def test_attention_against_its_formula() -> None:
    torch.manual_seed(0)
    attention = Attention(6, 2, scale=0.3).double()
    x, other = torch.randn(2, 4, 6, dtype=torch.float64), torch.randn(2, 5, 6, dtype=torch.float64)
    valid = torch.tensor([[True, True, False, True, True], [False] * 5])
    query = attention.query(x)
    key, value = attention.key_value(other).chunk(2, dim=-1)
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        score = 0.3 * query[..., part] @ key[..., part].transpose(1, 2)
        score[0, :, 2] = -torch.inf
        heads.append(score.softmax(dim=-1) @ value[..., part])
    expected = attention.out(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(x, other, valid), expected)


def test_a_block_equals_torchs_encoder_layer() -> None:
    torch.manual_seed(0)
    for norm_first, activation in ((True, F.gelu), (False, F.relu)):
        ours = Block(Attention(8, 2), 8, 12, dropout=0.0, norm_first=norm_first, activation=activation).eval()
        theirs = nn.TransformerEncoderLayer(8, 2, 12, 0.0, activation, batch_first=True, norm_first=norm_first).eval()
        attention = ours.attention
        with torch.no_grad():
            theirs.self_attn.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key_value.weight]))
            theirs.self_attn.in_proj_bias.copy_(torch.cat([attention.query.bias, attention.key_value.bias]))
            theirs.self_attn.out_proj.load_state_dict(attention.out.state_dict())
            theirs.linear1.load_state_dict(ours.widen.state_dict())
            theirs.linear2.load_state_dict(ours.narrow.state_dict())
            x = torch.randn(2, 5, 8)
            torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_rotary_positions_see_distances_alone() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2, rotary=True).double()
    x = torch.randn(1, 6, 8, dtype=torch.float64)
    seen = []
    for shift in (0, 3):
        padded = F.pad(x, (0, 0, shift, 0))
        query, key = attention.split(attention.query(padded)), attention.split(attention.key_value(padded)[..., :8])
        from biocl.encoders.transformer import rotate

        seen.append((rotate(query) @ rotate(key).transpose(2, 3))[..., shift:, shift:])
    torch.testing.assert_close(*seen)
    assert not torch.allclose(attention(x), attention(x.flip(1)).flip(1))


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_the_order_of_patches_matters(positions: str) -> None:
    torch.manual_seed(0)
    spec = PatchTransformerSpec(name="patch-transformer", width=16, n_heads=2, depth=1, positions=positions)
    encoder = PatchTransformer(spec, 2, 200, 100.0).eval()
    with torch.no_grad():
        if encoder.places is not None:
            encoder.places.mul_(50)
        x = torch.randn(1, 2, 200)
        swapped = x.unflatten(2, (10, 20))[:, :, torch.arange(9, -1, -1)].flatten(2)
        assert not torch.allclose(encoder(x), encoder(swapped).flip(1), atol=1e-3)
        longer = torch.randn(1, 2, 400)
        if positions == "learned":
            with pytest.raises(UsageError, match="learned 10 positions, and this window has 20 patches"):
                encoder(longer)
        else:
            assert encoder(longer).shape == (1, 20, 16)


@pytest.mark.parametrize("order", [1, 2])
def test_scattering_against_full_resolution(order: int) -> None:
    """Bands at their own rates give what bands at the signal's rate would give."""
    torch.manual_seed(0)
    front = Scattering(4, 2, order)
    x = torch.randn(2, 3, 250)
    n_steps = -(-250 // 16)
    padded = F.pad(x, (16, (n_steps + 1) * 16 - 250), mode="replicate")
    spectrum = torch.fft.fft(padded).unsqueeze(2)

    def low(signal: torch.Tensor) -> torch.Tensor:
        smooth = torch.fft.ifft(torch.fft.fft(signal) * gauss(grid(spectrum, 0), torch.tensor(0.2 / 16))).real
        return smooth[..., ::16][..., 1 : 1 + n_steps]

    slow = []
    for octave in range(4):
        one = front.modulus(spectrum, octave, 2, 0, 0)
        slow.append(low(one))
        for above in range(octave + 1, 4) if order == 2 else ():
            slow.append(low(front.modulus(torch.fft.fft(one), above, 1, 0, 0)))
    out = front(x)
    assert out.shape == (2, 3, front.n_paths, n_steps)
    torch.testing.assert_close(out[:, :, :1], low(padded.unsqueeze(2)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(out[:, :, 1:].exp() - 1e-3, torch.cat(slow, dim=2).clamp(min=0), rtol=0.05, atol=0.01)


def test_a_tone_excites_its_own_wavelet_and_a_short_shift_changes_little() -> None:
    front = Scattering(5, 2, 1)
    for octave in range(4):
        tone = torch.cos(2 * torch.pi * HIGHEST * 2.0**-octave * torch.arange(640))[None, None]
        out = front(tone)[0, 0, 1:, 5:-5].mean(dim=1)
        assert int(out.argmax()) == 2 * octave
    noise = torch.randn(1, 1, 644, generator=torch.Generator().manual_seed(0))
    there, here = front(noise[..., 4:]), front(noise[..., :-4])
    assert (there - here).norm() < 0.25 * (there - there.mean()).norm()


def test_electrodes_sit_where_their_names_say() -> None:
    left, right, top, front, back = electrode_positions(["C3", "EEG C4-REF", "CZ", "Fp1.", "O1"])
    assert left[0] < -0.3 < 0.3 < right[0]
    np.testing.assert_allclose(left[1:], right[1:], atol=0.05)
    assert top[2] > 0.9
    assert front[1] > 0.7 > -0.7 > back[1]
    for names in ([], ["Fp1", "ECG", "chest"]):
        with pytest.raises(UsageError, match="positions: electrodes needs channels named after electrodes"):
            electrode_positions(names)


def test_a_channel_token_may_know_its_electrode() -> None:
    spec = ChannelTransformerSpec(name="channel-transformer", projector=[], hidden_dim=8, positions="electrodes")
    torch.manual_seed(0)
    encoder = ChannelTransformer(spec, 3, 20, ["C3", "Cz", "C4"]).eval()
    x = torch.randn(2, 3, 20)
    order = [2, 0, 1]
    with torch.no_grad():
        # Without positions the tokens would only change places.
        assert not torch.allclose(encoder(x[:, order]), encoder(x)[:, order], atol=1e-3)
        assert encoder.electrodes is not None
        encoder.electrodes.zero_()
        torch.testing.assert_close(encoder(x[:, order]), encoder(x)[:, order])
    with pytest.raises(UsageError, match="named after electrodes, and none is given"):
        ChannelTransformer(spec, 3, 20)


def test_lengths_in_samples() -> None:
    assert [samples_of(100, 250.0), samples_of(1, 100.0), samples_of(500, 128.0)] == [25, 1, 64]
    assert [odd_samples_of(250, 250.0), odd_samples_of(125, 250.0), odd_samples_of(250, 512.0)] == [63, 31, 129]
    assert seen_by_a_step([(25, 1), (75, 15)]) == 99
    assert valid_length(1000, [(25, 1), (75, 15)]) == 61


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TPNSpec(name="tpn", widths=[3]), "same number"),
        (lambda: IFNetSpec(name="ifnet", bands=[[16, 4]]), "from a lower to a higher"),
        (lambda: IFNetSpec(name="ifnet", kernels_ms=[250]), "one entry for each band"),
        (lambda: ConformerSpec(name="eeg-conformer", n_heads=3), "does not divide"),
        (lambda: PatchTransformerSpec(name="patch-transformer", width=12, n_heads=4), "even width"),
    ],
)
def test_specs_that_do_not_fit(make: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()  # type: ignore[operator]


def test_building_one_encoder_imports_no_other_library() -> None:
    code = (
        "import sys; from biocl.encoders.build import build_encoder; from biocl.encoders.spec_eeg import EEGNetSpec\n"
        "build_encoder(EEGNetSpec(name='eegnet'), n_chans=2, n_times=128, sfreq=64.0)\n"
        "sys.stderr.write(','.join(sorted({'tsai', 'fastai', 'braindecode', 'torchvision'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
