"""Convolutions by FFT are PyTorch's own convolutions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from biocl.encoders import fast_conv
from biocl.encoders.fast_conv import DepthwiseConv1d, fast_length, filtered


@settings(deadline=None, max_examples=40)
@given(n_steps=st.integers(1, 90), n_taps=st.integers(16, 70), seed=st.integers(0, 99))
def test_a_depthwise_convolution_and_its_gradients(n_steps: int, n_taps: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer = DepthwiseConv1d(3, n_taps).double()
    x = torch.randn(2, 3, n_steps, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(2, 3, n_steps, dtype=torch.float64)
    fast, slow = layer(x), nn.Conv1d.forward(layer, x)
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-10)
    found = torch.autograd.grad(fast, (x, layer.weight), grad)
    wanted = torch.autograd.grad(slow, (x, layer.weight), grad)
    torch.testing.assert_close(found, wanted, atol=1e-11, rtol=1e-9)


def test_single_precision_is_as_near_as_can_be_and_bf16_keeps_its_type() -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv1d(4, 63)
    x = torch.randn(3, 4, 250)
    slow = nn.Conv1d.forward(layer, x)
    torch.testing.assert_close(layer(x), slow, atol=3e-6, rtol=1e-5)
    half = layer.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), slow, atol=2e-2, rtol=2e-2)


def test_weights_have_the_names_and_shapes_of_a_convolution() -> None:
    other = nn.Conv1d(4, 4, 31, padding="same", groups=4, bias=False)
    layer = DepthwiseConv1d(4, 31)
    layer.load_state_dict(other.state_dict())
    assert torch.equal(layer.weight, other.weight)


def test_a_short_kernel_takes_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(fast_conv, "fast_length", fail)
    DepthwiseConv1d(2, 15)(torch.randn(1, 2, 40))
    with pytest.raises(AssertionError):
        DepthwiseConv1d(2, 16)(torch.randn(1, 2, 40))


def test_a_filter_bank() -> None:
    x, taps = torch.randn(2, 3, 50, dtype=torch.float64), torch.randn(4, 9, dtype=torch.float64)
    out = filtered(x, taps)
    assert out.shape == (2, 4, 3, 50)
    for chan in range(3):
        wanted = F.conv1d(x[:, chan : chan + 1], taps[:, None], padding="same")
        torch.testing.assert_close(out[:, :, chan], wanted)
    # A filter longer than the window.
    long = torch.randn(1, 121, dtype=torch.float64)
    torch.testing.assert_close(
        filtered(x, long)[:, 0], F.conv1d(x.flatten(0, 1)[:, None], long[:, None], padding="same").view(2, 3, 50)
    )


def test_lengths_have_small_factors_and_are_the_next_such() -> None:
    def smooth(n: int) -> bool:
        for p in (2, 3, 5):
            while n % p == 0:
                n //= p
        return n == 1

    for n in range(1, 2000):
        assert fast_length(n) == next(m for m in range(n, 2 * n + 2) if smooth(m) and m >= max(1, n))
