"""What a number of every time step may be told from by a ridge: the samples of that step, or those around it too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

SINGLE_STEPS = 4
"""Up to so many steps away every sample is a feature of its own; beyond, means over stretches that grow."""


def same_step(x: Floats) -> Floats:
    """The samples of each step: windows (n, n_chans, n_times) to features (n, n_times, n_chans)."""
    return np.ascontiguousarray(x.transpose(0, 2, 1))


def steps_around(x: Floats) -> Floats:
    """What each channel does around each step, coarser the further away: a linear filter of many scales.

    ::

        stretches   … [      ) [    ) [  ) | | | | t | | | | (  ] (    ] (      ] …
        steps away       7-9     5-6     4 3 2 1 0 1 2 3 4    5-6    7-9

    Beyond the window's ends the signal counts as 0.

    Parameters
    ----------
    x : numpy.ndarray, shape (n, n_chans, n_times)

    Returns
    -------
    numpy.ndarray of float32, shape (n, n_times, n_stretches * n_chans)
    """
    n, n_chans, n_times = x.shape
    sums = np.zeros((n, n_chans, n_times + 1))
    np.cumsum(x, axis=2, dtype=np.float64, out=sums[..., 1:])
    step = np.arange(n_times)
    out = []
    for first, last in stretches(n_times):
        begin, end = np.clip(step + first, 0, n_times), np.clip(step + last + 1, 0, n_times)
        out.append((sums[..., end] - sums[..., begin]) / (last + 1 - first))
    return np.concatenate(out, axis=1).transpose(0, 2, 1).astype(np.float32)


def stretches(n_times: int) -> list[tuple[int, int]]:
    """First and last step of every stretch, relative to the step that is told; half as wide as they are far away."""
    ahead, at = [], 1
    while at < n_times:
        width = 1 if at <= SINGLE_STEPS else max(2, at // 2)
        ahead.append((at, min(at + width, n_times) - 1))
        at += width
    return [*((-last, -first) for first, last in reversed(ahead)), (0, 0), *ahead]
