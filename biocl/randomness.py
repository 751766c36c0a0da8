"""One named random stream per concern, so that adding a draw in one place changes no other."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one concern.

    Parameters
    ----------
    seed : int
        The run's seed.
    *names : str or int
        What the draws are for, for instance ``stream(seed, "sampling", epoch)``. Equal arguments give
        equal draws in every process and on every machine; text is hashed with CRC-32, not with Python's
        salted ``hash``.
    """
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=spawn_key(*names)))


def spawn_key(*names: str | int) -> tuple[int, ...]:
    """Integers that identify a stream."""
    return tuple(name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)


def integer_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for generators that want one number (``torch.Generator``, scikit-learn)."""
    return int(stream(seed, *names).integers(0, 2**63 - 1))
