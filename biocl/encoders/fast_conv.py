"""Long kernels that see one channel each, by FFT: the same numbers, weights and names, in a fraction of the time.

A processor's library does such convolutions slowly. On a GPU, and in an exported or compiled model, they are PyTorch's
own.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHORTEST = 16  # taps from which the FFT is worth it


def plain(x: Tensor) -> bool:
    """Whether `torch.nn.Conv1d` is the better choice."""
    return x.device.type != "cpu" or torch.compiler.is_compiling() or torch.compiler.is_exporting()


class DepthwiseConv1d(nn.Conv1d):
    """One kernel for each channel, no bias, output as long as the input: (B, C, L) to (B, C, L)."""

    def __init__(self, n_chans: int, kernel_size: int) -> None:
        super().__init__(n_chans, n_chans, kernel_size, padding="same", groups=n_chans, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Each channel with its kernel."""
        if plain(x) or self.kernel_size[0] < SHORTEST:
            return super().forward(x)
        out: Tensor = _ByFFT.apply(x, self.weight[:, 0])
        return out


class _ByFFT(torch.autograd.Function):
    """``y[b, c, t] = sum_j w[c, j] x[b, c, t + j - left]``, with zeros outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        n_steps, n_taps = x.shape[-1], weight.shape[-1]
        length = fast_length(n_steps + n_taps - 1)
        wide = x if x.dtype == torch.float64 else x.float()
        spectrum = torch.fft.rfft(wide, length)
        shift = delay((n_taps - 1) // 2, length, wide)
        filters = torch.fft.rfft(weight.to(wide.dtype), length).conj() * shift
        ctx.save_for_backward(spectrum, filters, shift)
        ctx.length, ctx.n_steps, ctx.n_taps, ctx.dtypes = length, n_steps, n_taps, (x.dtype, weight.dtype)
        return torch.fft.irfft(spectrum * filters, length)[..., :n_steps].to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        spectrum, filters, shift = ctx.saved_tensors
        of_x, of_weight = ctx.dtypes
        wide = grad if grad.dtype == torch.float64 else grad.float()
        received = torch.fft.rfft(wide, ctx.length)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[1]:
            meeting = torch.einsum("bcf,bcf->cf", received.conj(), spectrum)
            grad_weight = torch.fft.irfft(meeting * shift, ctx.length)[..., : ctx.n_taps].to(of_weight)
        if ctx.needs_input_grad[0]:
            grad_x = torch.fft.irfft(received * filters.conj(), ctx.length)[..., : ctx.n_steps].to(of_x)
        return grad_x, grad_weight


def filtered(x: Tensor, taps: Tensor) -> Tensor:
    """Every channel through each of several fixed filters of odd length, outputs as long as the input.

    Parameters
    ----------
    x : Tensor, shape (B, C, L)
    taps : Tensor, shape (n_filters, n_taps)

    Returns
    -------
    Tensor, shape (B, n_filters, C, L)
    """
    size, n_chans, n_steps = x.shape
    n_taps = taps.shape[1]
    if plain(x):
        each = F.conv1d(x.reshape(-1, 1, n_steps), taps[:, None].to(x.dtype), padding="same")
        return each.view(size, n_chans, len(taps), n_steps).transpose(1, 2)
    wide = x if x.dtype == torch.float64 else x.float()
    length = fast_length(n_steps + n_taps - 1)
    filters = torch.fft.rfft(taps.to(wide.dtype), length).conj() * delay(n_taps // 2, length, wide)
    spectrum = torch.fft.rfft(wide, length)[:, None]
    return torch.fft.irfft(spectrum * filters[:, None], length)[..., :n_steps].to(x.dtype)


def delay(n_steps: int, length: int, like: Tensor) -> Tensor:
    """The spectrum (length // 2 + 1,) of a delay by so many steps."""
    angle = -2 * math.pi * n_steps / length * torch.arange(length // 2 + 1, dtype=torch.float64)
    turn = torch.polar(torch.ones_like(angle), angle)
    return turn.to(torch.complex128 if like.dtype == torch.float64 else torch.complex64)


@lru_cache
def fast_length(at_least: int) -> int:
    """The smallest length with no prime factor above 5: what FFTs are fast at."""
    best = 2 ** max(1, at_least - 1).bit_length()
    for threes in range(9):
        for fives in range(7):
            odd = 3**threes * 5**fives
            if odd < best:
                best = min(best, odd * 2 ** max(0, math.ceil(math.log2(at_least / odd))))
    return best
