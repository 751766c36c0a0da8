"""Which training windows are labelled: a number that always names its unit, and draws that can be compared.

Windows of one recording are near copies, so the honest unit is the patient::

    4 patients           the windows of four patients
    10% patients         of one patient in ten
    1% windows           one window in a hundred, from anybody, stratified by class
    first 1% windows     the first rows after one shuffle with seed 42, as COMET does it (not stratified,
                         the same rows in every draw)
    all

Within one draw (a number from 0) the sizes are nested: the patients of ``2 patients`` are among those of
``4 patients``, whichever sizes a study asks for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biocl.errors import DataError, UsageError
from biocl.randomness import stream

Integers = NDArray[np.int64]
Kind = Literal["patients", "share-patients", "share-windows", "reference-windows", "all"]
Lacking = Literal["error", "mark"]

GRAMMAR = "Write '2 patients', '10% patients', '1% windows', 'first 1% windows' or 'all'"
REFERENCE_SEED = 42


@dataclass(frozen=True)
class Labels:
    """A parsed amount of labels.

    Attributes
    ----------
    text : str
        As it stands in tables and file names, in one spelling.
    kind : str
        ``patients``, ``share-patients``, ``share-windows``, ``reference-windows`` or ``all``.
    amount : float
        A number of patients, or a share between 0 and 1.
    """

    text: str
    kind: Kind
    amount: float


@dataclass(frozen=True)
class LabelDraw:
    """The labelled rows of one draw, with what a reader of the run folder wants to know about them.

    Attributes
    ----------
    labels : Labels
    draw, seed : int
    indices : numpy.ndarray of int, shape (n_labelled,)
        Rows of the arrays that were given, rising (``reference-windows``: in shuffled order).
    patients : tuple of str
        Whose windows they are: in the order drawn for patient draws, else sorted.
    class_counts : dict of str to int
        Labelled windows of every class.
    lacking : tuple of str
        Classes of the training part that no labelled window has.
    """

    labels: Labels
    draw: int
    seed: int
    indices: Integers = field(repr=False)
    patients: tuple[str, ...]
    class_counts: dict[str, int]
    lacking: tuple[str, ...]

    def mark(self) -> str:
        """The words that stand beside a result of this draw; empty if it holds every class."""
        return f"draw {self.draw} of {self.labels.text} lacks {', '.join(self.lacking)}" if self.lacking else ""

    def to_json(self) -> dict[str, Any]:
        """For the run folder; ``rows`` lists half-open runs ``[start, stop]`` of the sorted indices."""
        rows = np.sort(self.indices)
        cuts = np.flatnonzero(np.diff(rows) != 1) + 1
        return {
            "labels": self.labels.text,
            "kind": self.labels.kind,
            "draw": self.draw,
            "seed": self.seed,
            "patients": list(self.patients),
            "n_windows": len(rows),
            "class_counts": self.class_counts,
            "lacking": list(self.lacking),
            "rows": [[int(run[0]), int(run[-1]) + 1] for run in np.split(rows, cuts) if len(run)],
        }


def parse_labels(text: str) -> Labels:
    """Read an amount of labels.

    Parameters
    ----------
    text : str
        ``"2 patients"``, ``"10% patients"``, ``"1% windows"``, ``"first 1% windows"`` or ``"all"``.

    Returns
    -------
    Labels

    Raises
    ------
    UsageError
        For anything else; a bare number is refused because 10 % of the windows and 10 % of the patients are
        different experiments.
    """
    words = " ".join(text.lower().replace("%", "% ").split())
    if words == "all":
        return Labels("all", "all", 1.0)
    match = re.fullmatch(r"(first )?(\d+(?:\.\d+)?)( ?%)?(?: (patients?|windows?))?", words)
    if match is None:
        raise UsageError(f"'{text}' is not an amount of labels", "labels", GRAMMAR)
    first, number, percent, unit = match.groups()
    if unit is None:
        raise UsageError(
            f"'{text}' is a number of labels without its unit, and the unit is mandatory", "labels", GRAMMAR
        )
    unit, amount = unit.rstrip("s") + "s", float(number)
    if amount <= 0 or (percent and amount > 100):
        raise UsageError(f"'{text}' is not between nothing and everything", "labels", GRAMMAR)
    if percent:
        kinds: dict[tuple[bool, str], Kind] = {
            (False, "patients"): "share-patients",
            (False, "windows"): "share-windows",
            (True, "windows"): "reference-windows",
        }
        if (bool(first), unit) not in kinds:
            raise UsageError(f"'{text}': 'first' is a share of windows", "labels", GRAMMAR)
        return Labels(f"{first or ''}{amount:g}% {unit}", kinds[bool(first), unit], amount / 100)
    if first or unit == "windows" or amount != int(amount):
        raise UsageError(f"'{text}' is neither a whole number of patients nor a share", "labels", GRAMMAR)
    return Labels(f"{amount:g} patient{'s' if amount > 1 else ''}", "patients", amount)


def draw_labels(
    labels: Labels,
    patient: ArrayLike,
    y: ArrayLike,
    classes: Sequence[str],
    *,
    seed: int,
    draw: int,
    lacking_class: Lacking = "error",
) -> LabelDraw:
    """Choose the labelled rows of the training part.

    Parameters
    ----------
    labels : Labels
        How many, of what.
    patient : array-like, shape (n,)
        Whose row it is (numbers or names), for the training rows only.
    y : array-like of int, shape (n,)
        Class numbers; rows with -1 have no label and are never drawn.
    classes : sequence of str
    seed : int
        The run's seed.
    draw : int
        Number of the draw, from 0. Draws are independent; sizes within a draw are nested.
    lacking_class : {"error", "mark"}
        What happens where the draw lacks a class that the training part has.

    Returns
    -------
    LabelDraw

    Raises
    ------
    UsageError
        If the draw would be empty, asks for more patients than there are, or lacks a class and
        `lacking_class` is "error".
    DataError
        If no row carries a label.
    """
    names, codes = np.unique(np.asarray(patient), return_inverse=True)
    target = np.asarray(y, dtype=np.int64)
    labelled = np.flatnonzero(target >= 0)
    if len(labelled) == 0:
        raise DataError("The training part holds no labelled window", "labels", "Check data.classes and the split")
    counts = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(counts, (codes[labelled], target[labelled]), 1)
    chosen: Sequence[int] | Integers
    if labels.kind in ("patients", "share-patients"):
        candidates = np.flatnonzero(counts.sum(axis=1) > 0)
        number = _how_many(labels, len(candidates))
        order = candidates[patient_order(counts[candidates] > 0, stream(seed, "labels", "patients", draw))]
        chosen = order[:number]
        rows = labelled[np.isin(codes[labelled], chosen)]
    else:
        if labels.kind == "reference-windows":
            rows = first_windows(labelled, labels.amount)
        elif labels.kind == "share-windows":
            rows = stratified_windows(labelled, target, labels.amount, stream(seed, "labels", "windows", draw))
        else:
            rows = labelled
        chosen = np.unique(codes[rows])
    if len(rows) == 0:
        raise UsageError(
            f"'{labels.text}' of {len(labelled)} labelled windows is less than one", "labels", "Ask for more"
        )
    held = np.bincount(target[rows], minlength=len(classes))
    available = counts.sum(axis=0)
    lacking = tuple(name for k, name in enumerate(classes) if available[k] and not held[k])
    if lacking and lacking_class == "error":
        raise UsageError(
            f"Draw {draw} of '{labels.text}' lacks class {', '.join(lacking)}, which the training part has",
            "labels",
            "Ask for more labels, leave the class out of data.classes, or set lacking_class: mark to go on "
            "with a mark beside the result",
        )
    return LabelDraw(
        labels,
        draw,
        seed,
        rows,
        tuple(str(names[code]) for code in chosen),
        {name: int(held[k]) for k, name in enumerate(classes)},
        lacking,
    )


def patient_order(carries: NDArray[np.bool_], rng: np.random.Generator) -> Integers:
    """A random order of the patients whose beginnings hold every class and mirror the whole.

    First come the fewest patients (at least two are considered together) that hold every class between them:
    each is drawn evenly among those with whom the cover can still be completed. If one of them holds every
    class alone, it is the first. Then every next patient is drawn evenly among the carriers of the class
    whose share of patients lags most behind its share in the whole.

    Parameters
    ----------
    carries : numpy.ndarray of bool, shape (n_patients, n_classes)
        Whether the patient has a window of the class.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of int, shape (n_patients,)
    """
    n_patients = len(carries)
    carries = carries[:, carries.any(axis=0)]
    masks = [int(sum(1 << int(k) for k in np.flatnonzero(row))) for row in carries]
    everything = (1 << carries.shape[1]) - 1
    patterns = frozenset(masks)
    size = min(n_patients, max(2, _fewest(everything, patterns)))
    order: list[int] = []
    missing = everything
    while len(order) < size:
        left = size - len(order) - 1
        able = [p for p in range(n_patients) if p not in order and _fewest(missing & ~masks[p], patterns) <= left]
        order.append(int(rng.choice(able)))
        missing &= ~masks[order[-1]]
    order.sort(key=lambda p: masks[p] != everything)
    share = carries.mean(axis=0)
    while len(order) < n_patients:
        rest = np.setdiff1d(np.arange(n_patients), order)
        lag = share * (len(order) + 1) - carries[order].sum(axis=0)
        lag[~carries[rest].any(axis=0)] = -np.inf
        neediest = np.flatnonzero(lag >= lag.max() - 1e-9)
        order.append(int(rng.choice(rest[carries[rest][:, rng.choice(neediest)]])))
    return np.array(order, dtype=np.int64)


def stratified_windows(rows: Integers, y: Integers, share: float, rng: np.random.Generator) -> Integers:
    """A share of every class, at least one window of each; smaller shares are inside larger ones."""
    parts = []
    for k in np.unique(y[rows]):
        own = rng.permutation(rows[y[rows] == k])
        parts.append(own[: max(1, round(share * len(own)))])
    return np.sort(np.concatenate(parts))


def first_windows(rows: Integers, share: float) -> Integers:
    """COMET's label fraction: the first ``int(n * share)`` rows after its seed-42 shuffle.

    The permutation is that of ``sklearn.utils.shuffle(..., random_state=42)``, which is the legacy NumPy one.
    """
    order = np.random.RandomState(REFERENCE_SEED).permutation(len(rows))
    return rows[order[: int(len(rows) * share)]]


def _how_many(labels: Labels, available: int) -> int:
    """Number of patients that an amount means."""
    number = round(labels.amount * available) if labels.kind == "share-patients" else int(labels.amount)
    if number < 1:
        raise UsageError(
            f"'{labels.text}' of {available} training patients is less than one: the draw would be empty",
            "labels",
            "Ask for a larger share or a number of patients",
        )
    if number > available:
        raise UsageError(
            f"'{labels.text}' were asked for, but the training part has {available} with labels",
            "labels",
            "Ask for fewer, or for 'all'",
        )
    return number


def _fewest(missing: int, patterns: frozenset[int]) -> int:
    """How few class patterns hold all missing classes between them (bit sets; every class is in some)."""
    reached, size = {0}, 0
    while missing not in reached:
        reached |= {(have | pattern) & missing for have in reached for pattern in patterns}
        size += 1
    return size
