"""Floors of forecasts: the last value, a copy of the last season, and one linear map, each fitted on train alone.

What they reach on ETTh1 (official borders, z-scored by train, every test window kept), MSE / MAE:

================== =========== =========== =========== =========== ===========
look-back, horizon 48, 24      96, 48      168, 168    336, 336    720, 720
================== =========== =========== =========== =========== ===========
last value         1.222/.671  1.267/.695  1.325/.730  1.330/.746  1.335/.755
copy of 24 hours   .424/.389   .465/.407   .571/.462   .650/.501   .655/.514
ridge, one map     .318/.353   .342/.369   .414/.412   .425/.426   .426/.456
================== =========== =========== =========== =========== ===========
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Blocks = Callable[[], Iterator[tuple[Floats, Floats]]]
"""Look-backs (B, n_chans, L) and futures (B, n_chans, H), a bounded number at a time; every call begins again."""

DAY_S = 86_400.0
ALPHAS = tuple(10.0**exponent for exponent in range(-1, 7))
ALMOST, LEAST_LIKENESS = 0.75, 0.1
DEFAULT_ALPHA = 100.0
"""Penalty where there is no validation window."""
MOST_BYTES = 2**28
"""Sums of the normal equations that are held at once; bounds memory, changes no number."""


def last_value(x: Floats, horizon: int) -> Floats:
    """The last value of every channel, held: (B, n_chans, L) to (B, n_chans, horizon)."""
    return np.repeat(x[..., -1:], horizon, axis=-1)


def seasonal_copy(x: Floats, horizon: int, period: int) -> Floats:
    """The last `period` steps of every channel, over and over: (B, n_chans, L) to (B, n_chans, horizon).

    Raises
    ------
    ValueError
        The period is longer than the look-back.
    """
    if not 1 <= period <= x.shape[-1]:
        raise ValueError(f"a period of {period} steps does not fit into a look-back of {x.shape[-1]}")
    return np.asarray(x[..., x.shape[-1] - period + np.arange(horizon) % period])


def day_steps(sfreq: float, length: int) -> int | None:
    """Steps of a day, where the rate has a whole number of them (two at least) and the look-back holds them."""
    steps = DAY_S * sfreq
    whole = round(steps)
    return whole if abs(steps - whole) < 1e-6 * steps and 2 <= whole <= length else None


def find_period(blocks: Blocks) -> int | None:
    """The season of train windows, in steps of the look-back; None where there is none.

    The lag at which the autocorrelation of the steps from one value to the next, mean over windows and channels, has
    its highest local maximum above `LEAST_LIKENESS`, or the shortest lag that is `ALMOST` as high, since multiples of a
    season are seasons too. Steps rather than values, so that neither level nor trend looks like a season.
    """
    total: NDArray[np.float64] | None = None
    longest = 0
    for x, y in blocks():
        longest = x.shape[-1]
        steps = np.diff(np.concatenate([x, y], axis=-1).astype(np.float64), axis=-1)
        steps -= steps.mean(axis=-1, keepdims=True)
        n = steps.shape[-1]
        power = (np.abs(np.fft.rfft(steps, 2 * n, axis=-1)) ** 2).sum(axis=(0, 1))
        found = np.fft.irfft(power, 2 * n)[:n] / (n - np.arange(n))
        total = found if total is None else total + found
    if total is None or not total[0] > 0:
        return None
    likeness = total / total[0]
    lags = np.arange(2, min(longest, len(likeness) - 2) + 1)
    peaks = lags[(likeness[lags] > likeness[lags - 1]) & (likeness[lags] >= likeness[lags + 1])]
    least = max(LEAST_LIKENESS, ALMOST * likeness[peaks].max(initial=0.0))
    high = peaks[likeness[peaks] >= least]
    return int(high[0]) if len(high) else None


@dataclass(frozen=True)
class LinearMap:
    """A forecast that is linear in the distances from the last value, each channel for itself.

    Attributes
    ----------
    coef : numpy.ndarray of float64, shape (1 or n_chans, L, H)
        One map for all channels, or one each.
    alpha : tuple of float
        The penalty of each map.
    """

    coef: NDArray[np.float64]
    alpha: tuple[float, ...]

    def __call__(self, x: Floats) -> Floats:
        """Look-backs (B, n_chans, L) to forecasts (B, n_chans, H)."""
        last = x[..., -1:].astype(np.float64)
        centred = np.moveaxis(x - last, 1, 0)
        return np.asarray(np.moveaxis(centred @ self.coef, 0, 1) + last)


@dataclass(frozen=True)
class Sums:
    """What least squares need of windows: X'X (M, L, L), X'Y (M, L, H) and the sum of Y squared (M,), of M maps."""

    xx: NDArray[np.float64]
    xy: NDArray[np.float64]
    yy: NDArray[np.float64]


def fit_ridge(
    train: Blocks, validation: Blocks, n_chans: int, *, shared: bool = True, alphas: Sequence[float] = ALPHAS
) -> LinearMap:
    """The ridge of every horizon on the look-back, by exact normal equations.

    Look-back and future are taken as distances from the last value. No window is held: the sums over blocks are those
    over all windows, and the squared error of each penalty on validation follows from such sums as well.

    Parameters
    ----------
    train, validation : callable
        Blocks of windows. Without validation windows the penalty is `DEFAULT_ALPHA`.
    n_chans : int
    shared : bool
        One map for all channels, or one for each, with its own penalty.
    alphas : sequence of float
        Penalties on the squared coefficients of one horizon, of which the best on validation is taken.

    Raises
    ------
    ValueError
        There are no train windows.
    """
    if shared:
        groups = [np.arange(n_chans)]
    else:
        length, horizon = shape_of(train)
        size = max(1, MOST_BYTES // (16 * length * (length + horizon)))
        groups = [np.arange(n_chans)[start : start + size] for start in range(0, n_chans, size)]
    maps, chosen = [], []
    for channels in groups:
        fitted, held = sums_of(train, channels, shared), sums_of(validation, channels, shared)
        if fitted is None:
            raise ValueError("there are no train windows")
        for number in range(len(fitted.yy)):
            coef, alpha = best_ridge(fitted, held, number, alphas)
            maps.append(coef)
            chosen.append(alpha)
    return LinearMap(np.stack(maps), tuple(chosen))


def shape_of(blocks: Blocks) -> tuple[int, int]:
    """Look-back and horizon of the windows, in steps."""
    for x, y in blocks():
        return x.shape[-1], y.shape[-1]
    raise ValueError("there are no train windows")


def sums_of(blocks: Blocks, channels: NDArray[np.int64], shared: bool) -> Sums | None:
    """The sums over windows, of some channels together or each apart; None where there is no window."""
    total: Sums | None = None
    for x, y in blocks():
        last = x[:, channels, -1:].astype(np.float64)
        a, b = (np.moveaxis(part[:, channels] - last, 1, 0) for part in (x, y))
        if shared:
            a, b = (part.reshape(1, -1, part.shape[-1]) for part in (a, b))
        found = Sums(a.transpose(0, 2, 1) @ a, a.transpose(0, 2, 1) @ b, (b**2).sum(axis=(1, 2)))
        total = found if total is None else Sums(total.xx + found.xx, total.xy + found.xy, total.yy + found.yy)
    return total


def best_ridge(
    fitted: Sums, held: Sums | None, number: int, alphas: Sequence[float]
) -> tuple[NDArray[np.float64], float]:
    """Coefficients (L, H) of one map, and the penalty that validation prefers."""
    values, vectors = np.linalg.eigh(fitted.xx[number])
    turned = vectors.T @ fitted.xy[number]

    def solve(alpha: float) -> NDArray[np.float64]:
        return np.asarray(vectors @ (turned / (np.maximum(values, 0) + alpha)[:, None]))

    if held is None:
        return solve(DEFAULT_ALPHA), DEFAULT_ALPHA

    def squared_error(coef: NDArray[np.float64]) -> float:
        return float((coef * (held.xx[number] @ coef - 2 * held.xy[number])).sum() + held.yy[number])

    best = min(alphas, key=lambda alpha: squared_error(solve(alpha)))
    return solve(best), best
