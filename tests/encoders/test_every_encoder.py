"""One suite over every registered encoder: what the others rely on, whatever the network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from biocl.encoders.build import build_encoder
from biocl.encoders.encoder import Encoder, at_steps
from biocl.encoders.latents import read_out_of, valid_at, vec_dim
from biocl.encoders.spec import NAMES, EncoderSpec
from biocl.errors import UsageError

SFREQ = 100.0
N_CHANS, N_TIMES = 3, 260

SMALL: dict[str, dict[str, Any]] = {
    "dilated-cnn": {"depth": 3, "hidden_dim": 8, "embed_dim": 12},
    "dilated-cnn, causal": {"depth": 3, "hidden_dim": 8, "embed_dim": 12, "causal": True},
    "resnet1d": {"widths": [8, 12]},
    "resnet1d, strided": {"widths": [8, 12, 12], "stride": 2},
    "inception-time": {"depth": 4, "width": 4, "kernels": [11, 5]},
    "patch-transformer": {"width": 16, "depth": 2, "n_heads": 2},
    "patch-transformer, learned": {"width": 16, "depth": 1, "n_heads": 4, "positions": "learned"},
    "patch-transformer, overlapping": {"width": 16, "depth": 1, "n_heads": 4, "stride_ms": 100},
    "tpn": {"widths": [8, 8, 12]},
    "scattering": {"hidden_dim": 8, "embed_dim": 12, "per_octave": 2},
    "eegnet": {},
    "shallow-convnet": {"n_filters": 8},
    "ifnet": {"width": 8},
    "ifnet, one band": {"width": 8, "bands": None},
    "eeg-conformer": {"width": 20, "depth": 2},
    "channel-transformer": {"hidden_dim": 16, "projector": [16, 8]},
    "channel-transformer, tokens": {"hidden_dim": 16, "projector": [], "positions": "learned"},
    "lstm": {"width": 8},
    "cost": {"depth": 2, "hidden_dim": 8, "embed_dim": 12, "kernels": [1, 4, 32]},
}


def parsed(keys: dict[str, Any]) -> Any:
    """Keys of ``encoder:`` as the configuration reads them."""
    return TypeAdapter(EncoderSpec).validate_python(keys)


def small_spec(case: str, **more: Any) -> Any:
    """The spec of a case."""
    return parsed({"name": case.partition(",")[0], **SMALL[case], **more})


def small(case: str, *, n_chans: int = N_CHANS, n_times: int = N_TIMES) -> Encoder:
    """The encoder of a case."""
    encoder = build_encoder(small_spec(case), n_chans=n_chans, n_times=n_times, sfreq=SFREQ)
    assert isinstance(encoder, Encoder)
    return encoder


every = pytest.mark.parametrize("case", SMALL)


def noise(
    encoder: Encoder, *, n_samples: int = 2, n_times: int = N_TIMES, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Windows that do not depend on what was drawn before."""
    return torch.randn(n_samples, encoder.n_chans, n_times, generator=torch.Generator().manual_seed(1), dtype=dtype)


def lived_in(encoder: Encoder) -> Encoder:
    """The encoder in evaluation mode with batch norms and biases that are not at their start."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(std=0.1, generator=generator)
                module.running_var.uniform_(0.8, 1.2, generator=generator)
        for name, parameter in encoder.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return encoder.eval()


def test_every_registered_encoder_is_here() -> None:
    assert {case.partition(",")[0] for case in SMALL} == set(NAMES)


@every
@pytest.mark.parametrize(("n_chans", "n_times"), [(1, 200), (3, 260), (7, 331)])
def test_shapes(case: str, n_chans: int, n_times: int) -> None:
    encoder = small(case, n_chans=n_chans, n_times=n_times).eval()
    with torch.no_grad():
        out = encoder(noise(encoder, n_times=n_times))
    assert out.shape == (2, encoder.n_steps(n_times), encoder.out_dim)
    assert out.isfinite().all()


@every
def test_the_shortest_window_is_taken_and_a_shorter_one_refused(case: str) -> None:
    if case == "cost":
        with pytest.raises(UsageError, match="windows of 260 samples, and these have 261"):
            small(case)(torch.zeros(1, N_CHANS, N_TIMES + 1))
    elif case.startswith("channel-transformer"):
        with pytest.raises(UsageError, match="at least 2 samples"):
            small(case, n_times=1)
        with pytest.raises(UsageError, match="windows of 260 samples, and these have 261"):
            small(case)(torch.zeros(1, N_CHANS, N_TIMES + 1))
        return
    least = small(case).least_times
    encoder = small(case, n_times=least).eval()
    assert encoder(noise(encoder, n_times=least)).shape == (2, encoder.n_steps(least), encoder.out_dim)
    assert encoder.n_steps(least) >= 1
    if least > 1:
        with pytest.raises(UsageError, match=f"at least {least} samples, and these have {least - 1}"):
            small(case, n_times=least - 1)
        with pytest.raises(UsageError, match=f"at least {least} samples"):
            encoder(torch.zeros(1, N_CHANS, least - 1))


@every
def test_every_parameter_gets_a_gradient(case: str) -> None:
    torch.manual_seed(0)
    encoder = lived_in(small(case))
    out = encoder(noise(encoder))
    (out * torch.randn_like(out)).sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not without


@every
def test_a_window_does_not_depend_on_its_batch(case: str) -> None:
    encoder = lived_in(small(case).double())
    x = noise(encoder, n_samples=3, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x)[[2, 0]], encoder(x[[2, 0]]), rtol=1e-6, atol=1e-6)


@every
@pytest.mark.parametrize("training", [False, True])
def test_reads_any_layout_and_writes_nothing(case: str, training: bool) -> None:
    encoder = small(case).train(training)
    x = noise(encoder).transpose(1, 2).contiguous().transpose(1, 2)
    before = x.clone()
    torch.manual_seed(0)
    strided = encoder(x)
    torch.manual_seed(0)
    if not training:
        torch.testing.assert_close(strided, encoder(x.contiguous()), rtol=1e-4, atol=1e-4)
    assert torch.equal(x, before)


@every
def test_autocast_to_bf16(case: str) -> None:
    torch.manual_seed(0)
    encoder = lived_in(small(case))
    x = noise(encoder)
    expected = encoder(x).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = encoder(x)
    assert out.isfinite().all()
    assert (out.float() - expected).norm() < 0.06 * expected.norm()
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@every
def test_export(case: str) -> None:
    encoder = lived_in(small(case))
    x = noise(encoder)
    with torch.no_grad():
        exported = torch.export.export(encoder, (x,)).module()
        torch.testing.assert_close(exported(x), encoder(x), rtol=1e-4, atol=1e-4)


@every
def test_saved_weights_are_all_there_is(case: str) -> None:
    torch.manual_seed(0)
    one = lived_in(small(case))
    torch.manual_seed(1)
    other = small(case).eval()
    x = noise(one)
    with torch.no_grad():
        assert not torch.equal(one(x), other(x))
        other.load_state_dict(one.state_dict())
        assert torch.equal(one(x), other(x))


@every
def test_the_seed_decides(case: str) -> None:
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        encoder = small(case).train()
        outputs.append(encoder(noise(encoder)).detach())
    assert torch.equal(*outputs)


@every
def test_receptive_field(case: str) -> None:
    n_times = max(N_TIMES, 2 * small(case).receptive_field)
    torch.manual_seed(0)
    encoder = lived_in(small(case, n_times=min(n_times, 600)).double())
    x = noise(encoder, n_samples=4, n_times=min(n_times, 600), dtype=torch.float64).requires_grad_()
    out = encoder(x)
    (grad,) = torch.autograd.grad(out[:, -1 if encoder.causal else out.shape[1] // 2].sum(), x)
    strength = grad.abs().amax(dim=(0, 1))
    # An FFT leaves rounding errors everywhere; a recurrent network forgets all but something.
    seen = (strength > (0 if case == "lstm" else 1e-9 * strength.max())).nonzero().flatten()
    span = int(seen.max() - seen.min()) + 1
    assert span <= encoder.receptive_field
    # It is reported, not guessed from above: nearly all of it is seen.
    assert span >= 0.8 * min(encoder.receptive_field, x.shape[2])


@every
def test_a_causal_encoder_sees_nothing_ahead_and_the_others_do(case: str) -> None:
    torch.manual_seed(0)
    encoder = lived_in(small(case).double())
    x = noise(encoder, dtype=torch.float64)
    ahead = x.clone()
    ahead[..., 130:] = noise(encoder, dtype=torch.float64)[..., :130]
    with torch.no_grad():
        before, after = encoder(x), encoder(ahead)
    middle = max(1, encoder.n_steps(N_TIMES) // 2)
    assert encoder.causal == torch.equal(before[:, :middle], after[:, :middle])
    assert encoder.causal == (case in ("dilated-cnn, causal", "lstm"))
    assert not torch.allclose(before[:, -1], after[:, -1])


@every
def test_hidden_masks(case: str) -> None:
    encoder, spec = lived_in(small(case)), small_spec(case)
    x = noise(encoder)
    keep = torch.ones(2, N_TIMES, dtype=torch.bool)
    assert spec.takes_hidden_mask == (encoder.hidden_dim is not None)
    if encoder.hidden_dim is None:
        with pytest.raises(UsageError, match=f"{encoder.name} has no hidden sequence"):
            encoder(x, keep)
        return
    # One second is hidden, whole patches of it.
    keep[:, 100:200] = False
    changed = x.masked_fill(~keep[:, None], torch.nan)
    masks = [keep, keep[..., None].expand(-1, -1, encoder.hidden_dim)]
    with torch.no_grad():
        for mask in masks if "overlapping" not in case else ():
            torch.testing.assert_close(encoder(x, mask), encoder(changed, mask))
            torch.testing.assert_close(encoder(x, mask), encoder(x, masks[0]))
        torch.testing.assert_close(encoder(x, torch.ones_like(keep)), encoder(x))
        assert not torch.allclose(encoder(x, keep), encoder(x), atol=1e-3)


@every
@pytest.mark.parametrize("read_out", [{"pool": "max"}, {"pool": "mean", "segments": 2}, {"pool": "flatten"}])
def test_latents(case: str, read_out: dict[str, Any]) -> None:
    spec, encoder = small_spec(case, **read_out), small(case).eval()
    if encoder.n_steps(N_TIMES) < spec.segments:
        with pytest.raises(UsageError, match="segments"):
            vec_dim(spec, encoder, N_TIMES)
        return
    with torch.no_grad():
        trunk = encoder(noise(encoder))
    latents = read_out_of(spec, trunk, training=False)
    assert torch.equal(latents.seq, trunk)
    assert latents.vec.shape == (2, vec_dim(spec, encoder, N_TIMES))
    assert latents.branches == {"main": latents}
    valid = torch.ones(2, N_TIMES, dtype=torch.bool)
    torch.testing.assert_close(read_out_of(spec, trunk, training=False, valid=valid).vec, latents.vec)


@every
def test_blocks_are_the_stages(case: str) -> None:
    encoder = small(case)
    blocks = list(encoder.blocks)
    own = {id(p) for p in encoder.parameters()}
    staged = [{id(p) for p in block.parameters()} for block in blocks]
    assert all(staged)
    assert set().union(*staged) <= own
    assert sum(len(one) for one in staged) == len(set().union(*staged))
    # The last block is the last: what stands before it still reaches it, and nothing trained stands behind it.
    hooked: list[int] = []
    for i, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, i=i: hooked.append(i))
    encoder.eval()(noise(encoder))
    called = [i for i in hooked if i in range(len(blocks))]
    assert called == sorted(called)


PUBLISHED = [
    ("tpn", {}, 6, 150, 50.0, 86_720, 0),
    ("eegnet", {}, 22, 560, 128.0, 1_456, 4),
    ("shallow-convnet", {}, 22, 1125, 250.0, 36_320, 4),
    ("ifnet", {"bands": None}, 22, 1001, 250.0, 5_696, 2),
    ("channel-transformer", {}, 22, 1001, 250.0, 54_122_232, 0),
]
WITH_CLASSIFIER = {"eegnet": 2_548, "shallow-convnet": 47_364, "ifnet": 6_722}


@pytest.mark.parametrize(("name", "keys", "n_chans", "n_times", "sfreq", "n_parameters", "n_classes"), PUBLISHED)
def test_published_parameter_counts(
    name: str, keys: dict[str, Any], n_chans: int, n_times: int, sfreq: float, n_parameters: int, n_classes: int
) -> None:
    spec = parsed({"name": name, **keys})
    with torch.device("meta"):
        encoder = build_encoder(spec, n_chans=n_chans, n_times=n_times, sfreq=sfreq)
    count = sum(p.numel() for p in encoder.parameters())
    assert count == n_parameters
    if n_classes:
        assert isinstance(encoder, Encoder)
        head = nn.Linear(vec_dim(spec, encoder, n_times), n_classes)
        assert count + sum(p.numel() for p in head.parameters()) == WITH_CLASSIFIER[name]


def test_the_parts_of_mvcnets_transformer() -> None:
    spec = parsed({"name": "channel-transformer"})
    with torch.device("meta"):
        encoder = build_encoder(spec, n_chans=22, n_times=1000, sfreq=250.0)
    counts = [sum(p.numel() for p in block.parameters()) for block in encoder.blocks]
    assert counts == [8_011_000, 46_111_232]


def test_steps_of_the_conformer() -> None:
    spec = parsed({"name": "eeg-conformer"})
    with torch.device("meta"):
        encoder = build_encoder(spec, n_chans=22, n_times=1000, sfreq=250.0)
    assert isinstance(encoder, Encoder)
    assert (encoder.n_steps(1000), vec_dim(spec, encoder, 1000)) == (61, 2440)


@pytest.mark.parametrize(("n_times", "n_steps"), [(10, 10), (10, 5), (10, 3), (100, 7)])
def test_a_mask_is_read_at_the_middle_of_each_share(n_times: int, n_steps: int) -> None:
    steps = torch.arange(n_times)[None]
    share = n_times / n_steps
    expected = [int((i + 0.5) * share) for i in range(n_steps)]
    assert at_steps(steps, n_steps)[0].tolist() == expected


def test_a_step_is_padding_only_where_its_whole_share_is() -> None:
    valid = torch.tensor([[True] * 5 + [False] * 7])
    assert valid_at(valid, 4)[0].tolist() == [True, True, False, False]
    assert valid_at(valid, 12) is valid
