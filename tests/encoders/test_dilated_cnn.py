"""The dilated CNN against a plain convolution, and what it promises about weights and memory layout."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from biocl.encoders import residual_block as blocks
from biocl.encoders.dilated_cnn import DilatedCNN, comet_state_dict, receptive_field
from biocl.encoders.spec import DilatedCNNSpec


def small(**sizes: Any) -> DilatedCNN:
    """A float64 encoder with every parameter drawn anew."""
    torch.manual_seed(0)
    return DilatedCNN(3, **{"hidden_dim": 4, "embed_dim": 6, "depth": 10, **sizes}).double()


def plain_forward(encoder: DilatedCNN, x: Tensor, keep: Tensor | None = None) -> Tensor:
    """All taps, in the usual channels-first layout, with autograd's own backward pass."""
    hidden = encoder.inlet(x.transpose(1, 2))
    if keep is not None:
        hidden = hidden * (keep if keep.dim() == 3 else keep[..., None])
    hidden = hidden.transpose(1, 2)
    for block in encoder.blocks:
        skip = hidden if block.skip is None else block.skip(hidden)
        for conv in (block.conv1, block.conv2):
            span = (conv.kernel_size[0] - 1) * block.dilation
            padded = F.pad(F.gelu(hidden), (span, 0) if encoder.causal else (span // 2, span // 2))
            hidden = F.conv1d(padded, conv.weight, conv.bias, dilation=block.dilation)
        hidden = hidden + skip
    return hidden.transpose(1, 2)


@pytest.mark.parametrize(("n_chans", "n_parameters"), [(15, 638_144), (16, 638_208), (33, 639_296)])
def test_parameter_count(n_chans: int, n_parameters: int) -> None:
    assert sum(p.numel() for p in DilatedCNN(n_chans).parameters()) == n_parameters


@pytest.mark.parametrize("n_times", [48, 300])
def test_taps_that_only_see_padding_are_not_computed(n_times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 22 convolutions of three taps, a causal one computes those that look back less than the window."""
    computed = []
    product = blocks._add_product
    monkeypatch.setattr(blocks, "_add_product", lambda *a: computed.append(a[0].shape) or product(*a))
    with torch.no_grad():
        small(causal=True)(torch.randn(2, 3, n_times, dtype=torch.float64))
    live = sum(1 + (2**i < n_times) + (2 ** (i + 1) < n_times) for i in range(11))
    assert len(computed) == 2 * live + 1  # the skip of the last block


def test_receptive_field() -> None:
    assert receptive_field(10) == 8189
    encoder, x = small(depth=1), torch.randn(1, 3, 41, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(encoder(x)[0, 20].sum(), x)
    seen = grad[0].abs().sum(0).nonzero().flatten()
    assert seen.max() - seen.min() + 1 == receptive_field(1) == 13


@pytest.mark.parametrize("n_times", [1, 2, 64, 256, 300])
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("causal", [False, True])
def test_equals_the_full_convolution(n_times: int, kernel_size: int, causal: bool) -> None:
    encoder = small(kernel_size=kernel_size, causal=causal)
    x = torch.randn(2, 3, n_times, dtype=torch.float64)
    keep = torch.rand(2, n_times) < 0.7
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [encoder(inputs[0], keep), plain_forward(encoder, inputs[1], keep)]
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)
    direction = torch.randn_like(outputs[0])
    grads = [
        torch.autograd.grad(out, [given, *encoder.parameters()], direction)
        for out, given in zip(outputs, inputs, strict=True)
    ]
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-10)


def test_full_size_in_float32() -> None:
    torch.manual_seed(0)
    encoder, x = DilatedCNN(15), torch.randn(2, 15, 300)
    torch.testing.assert_close(encoder(x), plain_forward(encoder, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_gradcheck(causal: bool) -> None:
    encoder = small(depth=2, causal=causal)
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    names, values = zip(*encoder.named_parameters(), strict=True)

    def run(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(encoder, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *values))


@pytest.mark.parametrize("shape", [(2, 20), (2, 20, 4)])
def test_masked_steps_are_not_seen(shape: tuple[int, ...]) -> None:
    encoder, x = small(), torch.randn(2, 3, 20, dtype=torch.float64)
    keep = torch.ones(shape, dtype=torch.bool)
    keep[:, 5:9] = False
    changed = x.clone()
    changed[:, :, 5:9] = torch.nan
    assert torch.equal(encoder(x, keep), encoder(changed, keep))
    hidden: list[Tensor] = []
    encoder.blocks[0].register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    encoder(x, keep)
    assert (hidden[0][5:9] == 0).all()
    assert (hidden[0][:5] != 0).all()


def test_reads_any_layout_and_writes_nothing() -> None:
    encoder, x = small(), torch.randn(2, 20, 3, dtype=torch.float64)
    before = x.clone()
    assert torch.equal(encoder(x.transpose(1, 2)), encoder(x.transpose(1, 2).contiguous()))
    assert torch.equal(x, before)


def test_a_window_does_not_depend_on_its_batch() -> None:
    encoder, x = small(), torch.randn(5, 3, 20, dtype=torch.float64)
    order = torch.tensor([3, 0, 4])
    torch.testing.assert_close(encoder(x)[order], encoder(x[order]), rtol=1e-12, atol=1e-12)


def test_same_without_gradient_and_when_exported() -> None:
    encoder, x = small(depth=2).float().eval(), torch.randn(2, 3, 20)
    with_gradient = encoder(x)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), with_gradient)
    exported = torch.export.export(encoder, (x,)).module()
    torch.testing.assert_close(exported(x), with_gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    encoder, x = small().float(), torch.randn(2, 3, 40)
    expected = encoder(x)
    with torch.autocast("cpu", dtype=dtype):
        out = encoder(x)
    assert out.dtype == dtype
    assert (out - expected).norm() < 0.02 * expected.norm()
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_dead_taps_keep_their_weights_and_get_no_gradient() -> None:
    encoder = small()
    encoder(torch.randn(2, 3, 20, dtype=torch.float64)).sum().backward()
    taps = encoder.blocks[6].conv1.weight  # dilation 64
    assert taps.shape == (4, 4, 3)
    assert taps.grad is not None
    assert (taps.grad[..., [0, 2]] == 0).all()
    assert (taps.grad[..., 1] != 0).any()


@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_public_parameter_names(prefix: str) -> None:
    encoder = small(depth=1)
    public = {"n_averaged": torch.tensor(3)} if prefix else {}
    for ours, value in encoder.state_dict().items():
        theirs = ours.replace("inlet", "input_fc").replace("blocks", "feature_extractor.net")
        theirs = theirs.replace("conv1", "conv1.conv").replace("conv2", "conv2.conv")
        public[prefix + theirs.replace("skip", "projector")] = value
    other = DilatedCNN(3, hidden_dim=4, embed_dim=6, depth=1).double()
    other.load_state_dict(comet_state_dict(public))
    x = torch.randn(2, 3, 20, dtype=torch.float64)
    assert torch.equal(other(x), encoder(x))


def test_initialisation_is_that_of_conv1d() -> None:
    torch.manual_seed(3)
    encoder = DilatedCNN(3, depth=0)
    torch.manual_seed(3)
    nn.Linear(3, 64)
    assert torch.equal(encoder.blocks[0].conv1.weight, nn.Conv1d(64, 320, 3).weight)


def test_spec() -> None:
    assert DilatedCNNSpec().embed_dim == 320
    with pytest.raises(ValidationError, match="odd"):
        DilatedCNNSpec(kernel_size=4)
    code = "import sys, biocl.encoders.spec; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
