"""What is fitted across recordings, on training windows only: it belongs to the run and goes with its checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Block = tuple[NDArray[np.float32], NDArray[np.bool_] | None]


@dataclass(frozen=True)
class Fitted:
    """Scaler and alignment references; None for what the configuration does not ask for.

    Attributes
    ----------
    mean, std : ndarray of float64, shape (n_chans,)
        Of the signal in training windows: ``input_scale: train``.
    groups : tuple of str
        Keyed hashes of the training part's patients, sessions or recordings.
    references : ndarray of float64, shape (n_groups, n_chans, n_chans)
        Mean covariance of each of them over its training windows.
    overall : ndarray of float64, shape (n_chans, n_chans)
        Mean covariance of all training windows.
    """

    mean: Floats | None = None
    std: Floats | None = None
    groups: tuple[str, ...] = ()
    references: Floats | None = None
    overall: Floats | None = None

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything as named arrays, for a file; empty when nothing is fitted."""
        named: dict[str, NDArray[np.generic] | None] = {
            "mean": self.mean,
            "std": self.std,
            "references": self.references,
            "overall": self.overall,
        }
        if self.references is not None:
            raw = bytes.fromhex("".join(self.groups))
            named["groups"] = np.frombuffer(raw, np.uint8).reshape(len(self.groups), -1).copy()
        return {name: array for name, array in named.items() if array is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Fitted:
        """What `arrays` gave."""
        known = {name: np.asarray(array, np.float64) for name, array in arrays.items() if name != "groups"}
        groups = tuple(bytes(row).hex() for row in np.asarray(arrays["groups"])) if "groups" in arrays else ()
        return cls(groups=groups, **known)


def mean_and_std(blocks: Iterable[Block]) -> tuple[Floats, Floats]:
    """Mean and standard deviation (divisor n) of each channel over all valid steps, in float64.

    Parameters
    ----------
    blocks : iterable of (x, valid)
        `x` of shape (n, n_times, n_chans); `valid` of shape (n, n_times), or None where every step counts.
    """
    count: int = 0
    mean = squares = np.zeros(0)
    for x, valid in blocks:
        rows = x.reshape(-1, x.shape[2]) if valid is None else x[valid]
        columns = np.ascontiguousarray(rows.T).astype(np.float64)
        size = columns.shape[1]
        if not size:
            continue
        own = columns.mean(axis=1)
        own_squares = np.square(columns - own[:, None]).sum(axis=1)
        if not count:
            count, mean, squares = size, own, own_squares
            continue
        shift = own - mean  # Chan, Golub & LeVeque 1979
        mean = mean + shift * size / (count + size)
        squares = squares + own_squares + shift * shift * (count * size / (count + size))
        count += size
    return mean, np.sqrt(squares / max(count, 1))
