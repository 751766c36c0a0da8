"""Floors of inertial measurements: where the sensor points, and how much it moves."""

from __future__ import annotations

import numpy as np

from biocl.evaluation.floors_common import Floats, Windows, by_block


def means(windows: Windows) -> Floats:
    """Mean over time of every axis, ``(n, n_chans)``: gravity, so how the sensor is worn and held."""
    return by_block(windows.x, lambda x: x.mean(axis=-1))


def statistics(windows: Windows) -> Floats:
    """Mean, standard deviation and spectral energy without the mean of every axis, ``(n, 3 * n_chans)``."""

    def three(x: Floats) -> Floats:
        energy = (np.abs(np.fft.rfft(x, axis=-1)[..., 1:]) ** 2).sum(axis=-1) / x.shape[-1]
        return np.concatenate([x.mean(axis=-1), x.std(axis=-1), energy], axis=-1)

    return by_block(windows.x, three)
