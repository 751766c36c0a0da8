"""Convolutions with ReLU and dropout, in parts and in blocks, are PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from biocl.encoders import relu_stack as stack_module
from biocl.encoders.block_conv import BlockCorrelation, blocks_for
from biocl.encoders.build import build_encoder
from biocl.encoders.dropout import Dropout
from biocl.encoders.relu_stack import Layer, relu_stack
from biocl.encoders.spec import TPNSpec


def layers() -> list[nn.Conv1d]:
    """The TPN's, with fewer channels in the first: the second and the third go in blocks, the first does not."""
    torch.manual_seed(0)
    return [layer.double() for layer in (nn.Conv1d(3, 24, 12), nn.Conv1d(24, 32, 16), nn.Conv1d(32, 20, 8))]


def slow(x: Tensor, own: list[nn.Conv1d]) -> Tensor:
    """What the stack is to be, without dropout."""
    for layer in own:
        x = layer(x).relu()
    return x


def gradients(out: Tensor, x: Tensor, own: list[nn.Conv1d]) -> tuple[Tensor, ...]:
    """Of the input and all weights."""
    inputs = [parameter for layer in own for parameter in layer.parameters()]
    return torch.autograd.grad((out * out.detach().cos()).sum(), [x, *inputs] if x.requires_grad else inputs)


@pytest.mark.parametrize("of_x", [True, False])
@pytest.mark.parametrize("pool", ["max", "none", "few", "nothing"])
@pytest.mark.parametrize("size", [1, 70])
def test_outputs_and_gradients(size: int, pool: str, of_x: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gradient at one step of each output, at all, at some that put out 0, and at none."""
    own = layers()
    ways = []
    for name in ("few", "all"):
        way = getattr(Layer, name)
        monkeypatch.setattr(Layer, name, lambda self, grad, name=name, way=way: ways.append(name) or way(self, grad))
    x = torch.randn(size, 3, 90, dtype=torch.float64).requires_grad_(of_x)
    pools = {"max": lambda y: y.amax(2), "none": lambda y: y, "few": lambda y: y[..., ::19], "nothing": lambda y: y * 0}
    pooled = pools[pool]
    fast, wanted = relu_stack(x, own, dropout=0.1, training=False), slow(x, own)
    torch.testing.assert_close(fast, wanted, atol=1e-12, rtol=1e-11)
    found = gradients(pooled(fast), x, own)
    torch.testing.assert_close(found, gradients(pooled(wanted), x, own), atol=1e-11, rtol=1e-9)
    assert ("few" in ways) == (pool != "none")
    assert ("all" in ways) == (pool != "nothing")


def test_single_precision_to_1e_6_of_the_largest() -> None:
    own = [layer.float() for layer in layers()]
    x = torch.randn(9, 3, 90)
    fast, wanted = relu_stack(x, own, dropout=0.1, training=False), slow(x, own)
    assert (fast - wanted).abs().max() <= 1e-6 * wanted.abs().max()
    pairs = zip(gradients(fast.amax(2), x, own), gradients(wanted.amax(2), x, own), strict=True)
    assert all((one - other).abs().max() <= 2e-6 * other.abs().max() for one, other in pairs)


def test_dropout_between_layers_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers as by PyTorch's layers with the same draws, through the backward pass."""
    own, x = layers(), torch.randn(70, 3, 90, dtype=torch.float64, requires_grad=True)
    keeps, drawn = Dropout.keeps, []
    monkeypatch.setattr(Dropout, "keeps", lambda self, like: drawn.append(keeps(self, like)) or drawn[-1])
    fast = relu_stack(x, own, dropout=0.1, training=True)
    masks = [torch.cat(drawn[i::2]) for i in range(2)]
    scale = Dropout(0.1).scale
    hidden = x
    for layer, mask in zip(own[:2], masks, strict=True):
        hidden = layer(hidden).relu() * mask * scale
        assert 0.88 < mask.double().mean() < 0.92
    wanted = own[2](hidden).relu()
    torch.testing.assert_close(fast, wanted, atol=1e-12, rtol=1e-11)
    inputs = [x, *(parameter for layer in own for parameter in layer.parameters())]
    grad = torch.randn_like(fast)
    pairs = [torch.autograd.grad(out, inputs, grad, retain_graph=True) for out in (fast, wanted)]
    torch.testing.assert_close(*pairs, atol=1e-11, rtol=1e-9)
    # One window alone has a gradient.
    torch.testing.assert_close(gradients(fast[3], x, own), gradients(wanted[3], x, own), atol=1e-11, rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    n_in=st.integers(1, 5),
    n_out=st.integers(1, 5),
    n_taps=st.integers(1, 20),
    n_steps=st.integers(1, 40),
    n_blocks=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_any_number_of_blocks(n_in: int, n_out: int, n_taps: int, n_steps: int, n_blocks: int, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(2, n_in, n_steps + n_taps - 1, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(n_out, n_in, n_taps, dtype=torch.float64, requires_grad=True)
    bias, grad = torch.randn(n_out, dtype=torch.float64), torch.randn(2, n_out, n_steps, dtype=torch.float64)
    wanted = F.conv1d(x, weight, bias)
    blocks = BlockCorrelation(weight.detach(), n_steps, min(n_blocks, n_steps))
    torch.testing.assert_close(blocks(x.detach(), bias), wanted, atol=1e-11, rtol=1e-10)
    of_x, of_weight = blocks.backward(grad, x.detach(), of_x=True)
    torch.testing.assert_close((of_x, of_weight), torch.autograd.grad(wanted, (x, weight), grad), atol=1e-11, rtol=1e-9)
    assert blocks.backward(grad, x.detach(), of_x=False)[0] is None


def test_blocks_are_for_wide_layers_with_several_taps() -> None:
    assert blocks_for(32, 64, 16, 112) > 0
    assert blocks_for(6, 32, 24, 127) == 0
    assert blocks_for(64, 64, 2, 112) == 0


def test_the_tpn_takes_this_way_and_keeps_its_weights_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build_encoder(TPNSpec(name="tpn"), n_chans=6, n_times=150, sfreq=50.0).eval()
    shapes = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert shapes == {
        "blocks.0.weight": (32, 6, 24), "blocks.0.bias": (32,),
        "blocks.1.weight": (64, 32, 16), "blocks.1.bias": (64,),
        "blocks.2.weight": (96, 64, 8), "blocks.2.bias": (96,),
    }  # fmt: skip
    x = torch.randn(5, 6, 150)
    fast = encoder(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder(x), fast)
    monkeypatch.setattr(stack_module, "plain", lambda x: True)
    torch.testing.assert_close(encoder(x), fast, atol=2e-6, rtol=1e-5)
