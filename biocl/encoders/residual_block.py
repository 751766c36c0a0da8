"""A dilated residual block as matrix products, with a backward pass that recomputes the activations.

With time as the first axis, the steps ``t + shift`` of all windows are one contiguous matrix, so each
tap of a dilated convolution is one product that accumulates in place: no padding, no unfolding, and the
part of a tap that only sees padding is never computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

gelu_backward = torch.ops.aten.gelu_backward


def residual_block(x: Tensor, weights: Sequence[Tensor], dilation: int, causal: bool = False) -> Tensor:
    """``skip(x) + conv2(gelu(conv1(gelu(x))))``.

    Parameters
    ----------
    x : Tensor, shape (n_times, B, width_in)
    weights : sequence of Tensor
        Taps ``(kernel, width_in, width_out)`` and bias ``(width_out,)`` of the first convolution, the
        same of the second, then of the skip's 1x1 convolution; without those two the skip is ``x``.
    dilation : int
        Steps between taps.
    causal : bool
        The last tap, not the middle one, reads the step itself, so that all padding is in front.

    Returns
    -------
    Tensor, shape (n_times, B, width_out)
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _ResidualBlock.apply(x, dilation, causal, *weights)
    return _forward(x, weights, dilation, causal)[0]


def _forward(x: Tensor, weights: Sequence[Tensor], dilation: int, causal: bool) -> tuple[Tensor, Tensor]:
    """Output of the block and of its first convolution."""
    taps1, bias1, taps2, bias2, *skip = weights
    middle = _convolve(gelu(x), taps1, bias1, dilation, causal)
    out = _convolve(gelu(middle), taps2, bias2, dilation, causal)
    if skip:
        return _add_product(out, x, skip[0][0]).add_(skip[1]), middle
    return out.add_(x), middle


class _ResidualBlock(torch.autograd.Function):
    """The block with its backward pass: keeps its input and the first convolution, half of autograd's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dilation: int, causal: bool, *weights: Tensor) -> Tensor:
        out, middle = _forward(x, weights, dilation, causal)
        ctx.layout = dilation, causal
        ctx.save_for_backward(x, middle, *weights)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, middle, taps1, _, taps2, _, *skip = ctx.saved_tensors
        grad = grad.contiguous()
        grad_middle, *grads2 = _convolve_backward(grad, gelu(middle), taps2, *ctx.layout)
        grad_middle = gelu_backward(grad_middle, middle)
        grad_x, *grads1 = _convolve_backward(grad_middle, gelu(x), taps1, *ctx.layout)
        grad_x = gelu_backward(grad_x, x)
        if not skip:
            return grad_x.add_(grad), None, None, *grads1, *grads2
        grad_skip = (x.flatten(0, 1).T @ grad.flatten(0, 1)).unsqueeze(0)
        return _add_product(grad_x, grad, skip[0][0].T), None, None, *grads1, *grads2, grad_skip, grads2[1]


def _live_taps(n_taps: int, dilation: int, causal: bool, n_times: int) -> Iterator[tuple[int, slice, slice]]:
    """Taps that see the window, and for each the output steps it serves and the input steps it reads."""
    own = n_taps - 1 if causal else n_taps // 2
    for tap in range(n_taps):
        shift = (tap - own) * dilation
        if abs(shift) < n_times:
            before, after = max(-shift, 0), max(shift, 0)
            yield tap, slice(before, n_times - after), slice(after, n_times - before)


def _convolve(x: Tensor, taps: Tensor, bias: Tensor, dilation: int, causal: bool) -> Tensor:
    """Convolve ``(n_times, B, width_in)`` along time with zero padding that keeps the length."""
    out = bias.expand(x.shape[0], x.shape[1], -1).clone()
    for tap, to, of in _live_taps(len(taps), dilation, causal, len(x)):
        _add_product(out[to], x[of], taps[tap])
    return out


def _convolve_backward(
    grad: Tensor, x: Tensor, taps: Tensor, dilation: int, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `_convolve` with respect to its input, taps and bias."""
    grad_x, grad_taps = torch.zeros_like(x), torch.zeros_like(taps)
    for tap, to, of in _live_taps(len(taps), dilation, causal, len(x)):
        _add_product(grad_x[of], grad[to], taps[tap].T)
        torch.mm(x[of].flatten(0, 1).T, grad[to].flatten(0, 1), out=grad_taps[tap])
    return grad_x, grad_taps, grad.sum((0, 1))


def _add_product(out: Tensor, x: Tensor, matrix: Tensor) -> Tensor:
    """``out += x @ matrix`` in place, for ``(n_times, B, width)`` whose first two axes are contiguous."""
    out.flatten(0, 1).addmm_(x.flatten(0, 1), matrix)
    return out
