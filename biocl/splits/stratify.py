"""Dealing patients (or trials) to parts so that every part sees every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def seats(fractions: Sequence[float], n: int) -> NDArray[np.int64]:
    """How many of `n` units each part gets: largest remainders, and at least one where a share is asked.

    Raises
    ------
    ValueError
        If there are fewer units than parts that ask for some.
    """
    share = np.asarray(fractions, dtype=np.float64)
    asked = share > 0
    if n < asked.sum():
        raise ValueError(f"{n} units for {asked.sum()} parts")
    exact = share / share.sum() * n
    given = np.floor(exact + 1e-9).astype(np.int64)
    for part in np.argsort(given - exact, kind="stable")[: n - given.sum()]:
        given[part] += 1
    for part in np.flatnonzero(asked & (given == 0)):
        given[np.argmax(given)] -= 1
        given[part] = 1
    return given


def deal_units(
    presence: NDArray[np.bool_], seats_of_part: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Give every unit a part: iterative stratification with exact part sizes.

    A patient is stratified by *which* classes occur in its windows, not by how many windows there are: with
    patients as the unit of inference, a part needs patients with the class, and one patient with a thousand
    ectopic beats is still one patient. The rarest class left is dealt first, each of its patients to the
    part that still lacks most of that class; ties go to the part with most free seats, then to chance. For
    one label per patient this is ordinary stratification.

    Parameters
    ----------
    presence : ndarray of bool, shape (n_units, n_classes)
        Whether a unit holds a class. No classes, or all False: a plain random draw.
    seats_of_part : ndarray of int, shape (n_parts,)
        Sizes, adding up to `n_units`.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (n_units,)

    References
    ----------
    Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011.
    """
    n_units, n_classes = presence.shape
    free = seats_of_part.astype(np.float64)
    wanted = np.outer(free / max(n_units, 1), presence.sum(axis=0))  # (n_parts, n_classes)
    part = np.full(n_units, -1, np.int64)
    while True:
        left = presence[part < 0].sum(axis=0) if n_classes else np.zeros(0, int)
        if not left.any():
            break
        rarest = int(np.argmin(np.where(left > 0, left, n_units + 1)))
        for unit in rng.permutation(np.flatnonzero((part < 0) & presence[:, rarest])):
            need = np.where(free > 0, wanted[:, rarest], -np.inf)
            best = np.flatnonzero(need >= need.max() - 1e-9)
            best = best[free[best] == free[best].max()]
            choice = best[rng.integers(len(best))]
            part[unit] = choice
            free[choice] -= 1
            wanted[choice] -= presence[unit]
    rest = np.flatnonzero(part < 0)
    part[rest] = rng.permutation(np.repeat(np.arange(len(free)), free.astype(np.int64)))
    return part
