"""Errors of forecasts: mean squared and mean absolute, for every step of the horizon and over all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ForecastErrors:
    """Errors over windows and channels.

    Attributes
    ----------
    mse_per_step, mae_per_step : numpy.ndarray of float64, shape (H,)
        Of the first step ahead, the second, …
    n_windows : int
    """

    mse_per_step: NDArray[np.float64]
    mae_per_step: NDArray[np.float64]
    n_windows: int

    @property
    def mse(self) -> float:
        """Mean squared error over windows, channels and steps."""
        return float(self.mse_per_step.mean())

    @property
    def mae(self) -> float:
        """Mean absolute error over windows, channels and steps."""
        return float(self.mae_per_step.mean())

    def to_json(self) -> dict[str, Any]:
        """For ``results.json``."""
        return {
            "mse": self.mse,
            "mae": self.mae,
            "mse_per_step": self.mse_per_step.tolist(),
            "mae_per_step": self.mae_per_step.tolist(),
            "n_windows": self.n_windows,
        }


def forecast_errors(pairs: Iterable[tuple[Floats, Floats]]) -> ForecastErrors:
    """Errors of forecasts against what came, both (B, n_chans, H), batch after batch.

    Every window counts alike, whatever the batches: sums are kept in float64 and divided at the end.

    Raises
    ------
    ValueError
        There is no window, or shapes differ.
    """
    n_windows, count = 0, 0
    squared = absolute = np.zeros(0)
    for forecast, future in pairs:
        if forecast.shape != future.shape:
            raise ValueError(f"forecasts of shape {forecast.shape} and futures of shape {future.shape}")
        error = forecast.astype(np.float64) - future.astype(np.float64)
        if not len(squared):
            squared, absolute = np.zeros(error.shape[-1]), np.zeros(error.shape[-1])
        squared = squared + (error**2).sum(axis=(0, 1))
        absolute = absolute + np.abs(error).sum(axis=(0, 1))
        n_windows += len(error)
        count += len(error) * error.shape[1]
    if not count:
        raise ValueError("there is no window to judge a forecast by")
    return ForecastErrors(squared / count, absolute / count, n_windows)


def over_seeds(values: Sequence[float]) -> dict[str, float]:
    """Mean, least and greatest of the values that several seeds gave."""
    return {"mean": float(np.mean(values)), "low": float(min(values)), "high": float(max(values))}
