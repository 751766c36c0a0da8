"""Which past a forecast looks at: the mean size of its derivative by every step of the look-back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

MOST_CHANNELS = 8


def shown_steps(horizon: int) -> list[int]:
    """The first step ahead, a quarter of the horizon, half of it and all of it, each counted from 1."""
    return sorted({1, max(1, horizon // 4), max(1, horizon // 2), horizon})


def receptive_field(
    forecast: Callable[[torch.Tensor], torch.Tensor],
    windows: Iterable[torch.Tensor],
    steps: Sequence[int],
) -> NDArray[np.float64]:
    """Mean of |d forecast(h) / d x(t)| over windows.

    Parameters
    ----------
    forecast : callable
        Look-backs (B, n_chans, L) to forecasts (B, n_chans, H), in the same units; each window for itself.
    windows : iterable of Tensor, each of shape (B, n_chans, L)
    steps : sequence of int
        Steps ahead, counted from 1.

    Returns
    -------
    numpy.ndarray, shape (len(steps), L)
        Summed over the channels that are read, and averaged over those that are forecast (over `MOST_CHANNELS` of
        them, evenly chosen, where there are more): a map that reads each channel alone gives the size of its weights.

    Raises
    ------
    ValueError
        There is no window.
    """
    total: NDArray[np.float64] | None = None
    count = 0
    for x in windows:
        x = x.detach().requires_grad_(True)
        # Recurrent layers of cuDNN have no gradient in evaluation mode; PyTorch's own have one.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            ahead = forecast(x)
            n_chans = ahead.shape[1]
            channels = np.unique(np.linspace(0, n_chans - 1, min(n_chans, MOST_CHANNELS)).round().astype(int)).tolist()
            found = np.zeros((len(steps), x.shape[2]))
            for row, step in enumerate(steps):
                for channel in channels:
                    [slope] = torch.autograd.grad(ahead[:, channel, step - 1].sum(), x, retain_graph=True)
                    found[row] += slope.abs().double().sum(dim=(0, 1)).cpu().numpy() / len(channels)
        total = found if total is None else total + found
        count += len(x)
    if total is None:
        raise ValueError("there is no window to look at")
    return total / count
