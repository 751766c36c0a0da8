"""MiniRocket: the share of positive values after ten thousand small convolutions.

Written from Dempster, Schmidt & Webb 2021 (doi:10.1145/3447548.3467231), with the channels of Dempster, Petitjean &
Webb 2020 (doi:10.1007/s10618-020-00701-z) for signals of several channels. A kernel has nine weights, three of which
are 2 and six -1: 84 kernels. Each is applied at up to 32 dilations, ``floor(2^e)`` with ``e`` evenly spaced from 0 to
``log2((n_times - 1) / 8)``; every other time with zeros around the window. Each kernel and dilation has
channels of its own, which are summed: a random set of ``floor(2^u)`` with ``u`` uniform in
``[0, log2(min(n_chans, 9) + 1))``. A feature is the share of the output above a bias; biases are quantiles of the
output for one random training window, their levels multiples of the golden ratio modulo 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.evaluation.floors_common import Features, Floats, Windows
from biocl.randomness import stream

Singles = NDArray[np.float32]

LENGTH = 9
KERNELS = tuple(combinations(range(LENGTH), 3))
"""Where each kernel has its weights of 2."""
N_FEATURES = 9996
"""The largest multiple of 84 below ten thousand."""
MOST_DILATIONS = 32
GOLDEN = (1 + np.sqrt(5)) / 2
BLOCK_VALUES = 32_768
"""Samples of one channel that are worked on at once, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Convolution:
    """One kernel at one dilation.

    Attributes
    ----------
    twos : tuple of int
        Places of the weights 2; the other six are -1.
    dilation : int
        Samples between neighbouring weights.
    channels : tuple of int
        Channels that are summed.
    padded : bool
        Whether zeros around the window keep the output as long as the window.
    levels : numpy.ndarray, shape (n_biases,)
        Quantile of each bias.
    biases : numpy.ndarray of float32, shape (n_biases,)
        Empty before the fit.
    """

    twos: tuple[int, ...]
    dilation: int
    channels: tuple[int, ...]
    padded: bool
    levels: NDArray[np.float64]
    biases: Singles


def fit_minirocket(windows: Windows, seed: int) -> Features:
    """Biases from training windows; what comes back turns windows into ``(n, 9996)`` shares."""
    convolutions = fitted(planned(windows.x.shape[1], windows.x.shape[2], seed), windows.x, seed)
    return lambda seen: transform(convolutions, seen.x)


def dilations(n_times: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Dilations for windows of `n_times`, and how many features of a kernel each has (119 together)."""
    per_kernel = N_FEATURES // len(KERNELS)
    widest = np.log2(max(n_times - 1, LENGTH - 1) / (LENGTH - 1))
    steps = np.floor(2 ** np.linspace(0, widest, MOST_DILATIONS)).astype(np.int64)
    values, times = np.unique(steps, return_counts=True)
    counts = times * per_kernel // MOST_DILATIONS
    rest = per_kernel - counts.sum()
    return values, counts + rest // len(counts) + (np.arange(len(counts)) < rest % len(counts))


def planned(n_chans: int, n_times: int, seed: int) -> list[Convolution]:
    """Every kernel at every dilation, without biases."""
    rng = stream(seed, "minirocket", "channels")
    plan: list[Convolution] = []
    done = 0
    for i, (dilation, count) in enumerate(zip(*dilations(n_times), strict=True)):
        for j, twos in enumerate(KERNELS):
            size = int(2 ** rng.uniform(0, np.log2(min(n_chans, LENGTH) + 1)))
            channels = tuple(int(c) for c in np.sort(rng.choice(n_chans, size, replace=False)))
            padded = (i + j) % 2 == 0 or n_times < LENGTH
            levels = np.arange(done + 1, done + count + 1) * GOLDEN % 1
            plan.append(Convolution(twos, int(dilation), channels, padded, levels, np.empty(0, np.float32)))
            done += int(count)
    return plan


def fitted(plan: list[Convolution], x: Floats, seed: int) -> list[Convolution]:
    """The plan with biases from one training window ``(n_chans, n_times)`` of `x` for each convolution."""
    drawn = stream(seed, "minirocket", "windows").integers(0, len(x), size=len(plan))
    out = []
    for one, number in zip(plan, drawn, strict=True):
        work = Workspace(np.asarray(x[number : number + 1], dtype=np.float32), plan[-1].dilation)
        output = work.convolve(one)[0].astype(np.float64)
        out.append(replace(one, biases=np.quantile(output, one.levels).astype(np.float32)))
    return out


def transform(convolutions: list[Convolution], x: Floats) -> Singles:
    """Shares of positive values, ``(n, n_features)``, of windows ``(n, n_chans, n_times)``."""
    n_features = sum(len(one.biases) for one in convolutions)
    out = np.empty((len(x), n_features), dtype=np.float32)
    size = max(1, BLOCK_VALUES // x.shape[-1])
    for start in range(0, len(x), size):
        work = Workspace(np.ascontiguousarray(x[start : start + size], dtype=np.float32), convolutions[-1].dilation)
        column = 0
        for one in convolutions:
            output = work.convolve(one)
            for bias in one.biases:
                positive = np.add.reduce((output > bias).view(np.uint8), axis=1, dtype=np.uint32)
                np.divide(positive, output.shape[1], out=out[start : start + size, column], casting="unsafe")
                column += 1
    return out


class Workspace:
    """Some windows, and the buffers in which they are convolved.

    Parameters
    ----------
    x : numpy.ndarray of float32, shape (n, n_chans, n_times)
    widest : int
        The largest dilation.
    """

    def __init__(self, x: Singles, widest: int) -> None:
        n, _, self.n_times = x.shape
        self.x = x
        self.margin = (LENGTH // 2) * widest
        self.series = np.zeros((n, self.n_times + 2 * self.margin), dtype=np.float32)
        self.output = np.empty(n * self.n_times, dtype=np.float32)

    def convolve(self, one: Convolution) -> NDArray[Any]:
        """The output ``(n, n_out)`` of one convolution; it lasts until the next call."""
        inner = self.series[:, self.margin : self.margin + self.n_times]
        inner[:] = self.x[:, one.channels[0]]
        for channel in one.channels[1:]:
            inner += self.x[:, channel]
        reach = (LENGTH // 2) * one.dilation
        n_out = self.n_times if one.padded else self.n_times - 2 * reach
        first = self.margin - reach if one.padded else self.margin
        shifted = [self.series[:, first + i * one.dilation : first + i * one.dilation + n_out] for i in range(LENGTH)]
        output = self.output[: len(self.x) * n_out].reshape(len(self.x), n_out)
        a, b, c = one.twos
        np.add(shifted[a], shifted[b], out=output)
        output += shifted[c]
        output *= 2
        for i in range(LENGTH):
            if i not in one.twos:
                output -= shifted[i]
        return output
