"""Convolutions with ReLU and dropout between them, on a processor: the same numbers in a part of the time.

A few windows at a time go through all layers, so that what passes between two layers stays in the cache. Wide layers
are done in blocks (`block_conv`). Where few steps get a gradient, as after a maximum over time, the backward pass reads
those steps alone. This is faster than bfloat16 is on a processor, so autocast does not change it. On a GPU, and in an
exported or compiled model, the layers are PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv1d_input, conv1d_weight

from biocl.encoders.block_conv import BlockCorrelation, blocks_for
from biocl.encoders.dropout import WINDOWS, Dropout
from biocl.encoders.fast_conv import plain

FEW = 1 / 16
"""Share of steps with a gradient up to which it is read entry by entry."""


def relu_stack(x: Tensor, layers: Sequence[nn.Conv1d], *, dropout: float, training: bool) -> Tensor:
    """``dropout(relu(conv(x)))`` for every layer but the last, which has no dropout.

    Parameters
    ----------
    x : Tensor, shape (B, C, L)
    layers : sequence of Conv1d
        Without padding, stride or dilation.
    dropout : float
    training : bool

    Returns
    -------
    Tensor, shape (B, D, L')
    """
    rate = dropout if training else 0.0
    if plain(x) or layers[0].weight.dtype not in (torch.float32, torch.float64):
        for i, layer in enumerate(layers):
            x = layer(F.dropout(x, rate, training) if i else x).relu()
        return x
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = _Stack.apply(x.to(layers[0].weight.dtype), rate, *parameters)
    return out


class _Stack(torch.autograd.Function):
    """Keeps what every layer puts out; where it is 0, neither ReLU nor dropout lets a gradient through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float, *parameters: Tensor) -> Tensor:
        weights, biases = parameters[::2], parameters[1::2]
        drop = Dropout(rate)
        inner: list[Tensor] = []
        out = x.new_empty(len(x), len(weights[-1]), x.shape[2] - sum(weight.shape[2] - 1 for weight in weights))
        for part in parts(len(x)):
            steps = x[part]
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                steps = drop(correlate(steps, weight, bias).relu_())
                inner.append(steps)
            torch.clamp_min(correlate(steps, weights[-1], biases[-1]), 0, out=out[part])
        ctx.save_for_backward(x, out, *weights, *inner)
        ctx.scale, ctx.n_layers = drop.scale, len(weights)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, out, *saved = ctx.saved_tensors
        weights, inner = saved[: ctx.n_layers], saved[ctx.n_layers :]
        of_weights = [torch.zeros_like(weight) for weight in weights]
        of_biases = [weight.new_zeros(len(weight)) for weight in weights]
        of_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        for number, part in enumerate(parts(len(x))):
            kept = [x[part], *inner[number * (ctx.n_layers - 1) :][: ctx.n_layers - 1], out[part]]
            received: Tensor | None = grad[part]
            for i in range(ctx.n_layers - 1, -1, -1):
                assert received is not None
                scale = ctx.scale if i < ctx.n_layers - 1 else 1.0
                layer = Layer(kept[i], weights[i], kept[i + 1], scale, i > 0 or of_x is not None)
                received, of_weight, of_bias = layer.few(received) if few(received) else layer.all(received)
                of_weights[i] += of_weight
                of_biases[i] += of_bias
            if of_x is not None:
                assert received is not None
                of_x[part] = received
        return of_x, None, *(each for pair in zip(of_weights, of_biases, strict=True) for each in pair)


def parts(n_windows: int) -> list[slice]:
    """Slices of a few windows."""
    return [slice(first, first + WINDOWS) for first in range(0, n_windows, WINDOWS)]


def in_blocks(x: Tensor, weight: Tensor) -> BlockCorrelation | None:
    """The way by blocks, where it is the faster one."""
    n_out, n_in, n_taps = weight.shape
    n_steps = x.shape[2] - n_taps + 1
    n_blocks = blocks_for(n_in, n_out, n_taps, n_steps)
    return BlockCorrelation(weight, n_steps, n_blocks) if n_blocks else None


def correlate(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The convolution."""
    blocks = in_blocks(x, weight)
    return F.conv1d(x, weight, bias) if blocks is None else blocks(x, bias)


def few(grad: Tensor) -> bool:
    """Whether nearly all entries are 0, as some windows show; this chooses the way, not the numbers."""
    sample = grad[:: max(1, len(grad) // 4)]
    return int(torch.count_nonzero(sample)) <= FEW * sample.numel()


@dataclass(frozen=True)
class Layer:
    """The backward pass of ``scale · dropped(relu(correlate(x, weight) + bias))``.

    Attributes
    ----------
    x : Tensor, shape (B, C, L)
    weight : Tensor, shape (D, C, K)
    out : Tensor, shape (B, D, L')
        What the layer put out.
    scale : float
    of_x : bool
        Whether the gradient of `x` is asked for; None stands in its place if not.
    """

    x: Tensor
    weight: Tensor
    out: Tensor
    scale: float
    of_x: bool

    def all(self, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """Gradients of `x`, of the weight and of the bias."""
        x, weight = self.x, self.weight
        grad = torch.ops.aten.threshold_backward(grad, self.out, 0)
        if self.scale != 1:
            grad = grad.mul_(self.scale)
        of_bias, blocks = grad.sum(2).sum(0), in_blocks(x, weight)
        if blocks is not None:
            of_x, of_weight = blocks.backward(grad, x, self.of_x)
            return of_x, of_weight, of_bias
        of_x = conv1d_input(x.shape, weight, grad) if self.of_x else None
        return of_x, conv1d_weight(x, weight.shape, grad), of_bias

    def few(self, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """The same for a gradient that is 0 nearly everywhere: each entry meets the steps that it came from."""
        x, weight = self.x, self.weight
        n_out, n_in, n_taps = weight.shape
        size, _, n_steps = x.shape
        # Entries in the order of their outputs. NumPy's search and `index_select` take a quarter of the time of
        # `nonzero` and of indexing.
        entry = torch.from_numpy(np.flatnonzero(grad.numpy() != 0))
        passed = self.out.reshape(-1).index_select(0, entry) > 0
        value = grad.reshape(-1).index_select(0, entry) * passed * self.scale
        out, by_out = (entry // grad.shape[2] % n_out).sort(stable=True)
        entry, value = entry.index_select(0, by_out), value.index_select(0, by_out)
        begin = entry // grad[0].numel() * n_steps + entry % grad.shape[2]
        # One bag for each tap and output: the rows of the signal that it met there.
        taps = torch.arange(n_taps)[:, None]
        rows, values = (begin + taps).flatten(), value.repeat(n_taps)
        per_out = torch.bincount(out, minlength=n_out)
        of_weight = F.embedding_bag(
            rows,
            x.transpose(1, 2).reshape(-1, n_in),
            ((per_out.cumsum(0) - per_out) + len(out) * taps).flatten(),
            mode="sum",
            per_sample_weights=values,
        )
        of_weight = of_weight.view(n_taps, n_out, n_in).permute(1, 2, 0)
        of_bias = value.new_zeros(n_out).index_add_(0, out, value)
        if not self.of_x:
            return None, of_weight, of_bias
        # One bag for each step of the signal: the taps of outputs that met it.
        by_row = rows.int().sort()[1]
        per_row = torch.bincount(rows, minlength=size * n_steps)
        given = F.embedding_bag(
            (taps * n_out + out).flatten().index_select(0, by_row),
            weight.permute(2, 0, 1).reshape(-1, n_in),
            per_row.cumsum(0) - per_row,
            mode="sum",
            per_sample_weights=values.index_select(0, by_row),
        )
        return given.view(size, n_steps, n_in).transpose(1, 2), of_weight, of_bias
