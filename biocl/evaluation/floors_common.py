"""What every floor looks at, and the features that need nothing but windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Features = Callable[["Windows"], Floats]

BLOCK = 8192
"""Windows that are turned into features at once; bounds memory, changes no number."""

MOST_RAW_FEATURES = 1024
TINY = 1e-6


@dataclass(frozen=True)
class Windows:
    """What the floors look at: all windows of the recordings, labelled or not.

    Attributes
    ----------
    x : numpy.ndarray, shape (n, n_chans, n_times)
        As the encoder sees them (the same scaling).
    sfreq : float
        In Hz.
    recording : numpy.ndarray, shape (n,)
        Recording of each window, as numbers or names. ``shape`` compares each beat with its recording's
        median beat, so no recording may be given in parts; every other floor looks at single windows.
    event_s : float or None
        Time of the event (the R mark) from the window's start, for windows around events.
    rr : numpy.ndarray, shape (n, n_aux), or None
        The window table's ``rr-intervals``.
    """

    x: Floats
    sfreq: float
    recording: NDArray[Any]
    event_s: float | None = None
    rr: Floats | None = None

    def take(self, rows: NDArray[np.integer[Any] | np.bool_]) -> Windows:
        """Some of the windows."""
        rr = None if self.rr is None else self.rr[rows]
        return replace(self, x=self.x[rows], recording=self.recording[rows], rr=rr)


def amplitude(windows: Windows) -> Floats:
    """One number a window: mean over channels of the log variance over time, ``(n, 1)``."""
    return log_variance(windows).mean(axis=1, keepdims=True)


def log_variance(windows: Windows) -> Floats:
    """Log variance over time of every channel, ``(n, n_chans)``."""
    return by_block(windows.x, lambda x: np.log(x.var(axis=-1) + TINY))


def raw(windows: Windows) -> Floats:
    """The window itself, ``(n, n_chans * n_times)``.

    Above `MOST_RAW_FEATURES` numbers, as many neighbouring samples are averaged as it takes (the rest of the
    division, at the window's end, is left out).
    """
    n_chans, n_times = windows.x.shape[1:]
    merged = -(-n_chans * n_times // MOST_RAW_FEATURES)
    kept = max(1, n_times // merged)
    merged = min(merged, n_times)

    def flatten(x: Floats) -> Floats:
        return x[..., : kept * merged].reshape(len(x), n_chans * kept, merged).mean(axis=-1)

    return by_block(windows.x, flatten)


def by_block(x: Floats, features: Callable[[Floats], Floats]) -> Floats:
    """`features` of float64 blocks of windows, stacked."""
    starts = range(0, max(len(x), 1), BLOCK)
    return np.concatenate([features(x[i : i + BLOCK].astype(np.float64)) for i in starts])
