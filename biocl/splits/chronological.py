"""Splits inside patients that keep time's arrow: early trials train, or runs of neighbouring trials are tested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biocl.errors import UsageError
from biocl.splits.spec import ChronologicalKFoldSplit, ChronologicalSplit
from biocl.splits.split import PARTS, Split
from biocl.splits.splitters import TEST, TRAIN, VALIDATION, trial_numbers
from biocl.splits.stratify import seats
from biocl.store.names import natural_key
from biocl.store.table import WindowTable

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TimedTrials:
    """All trials, patient by patient and each patient's in recording order.

    Attributes
    ----------
    recording, number : ndarray of int, shape (n_trials,)
        Which recording (its place in the table's names), and the trial's number in it.
    patient : ndarray of int, shape (n_trials,)
        Whose trial it is (its place in the table's names).
    label : ndarray of int, shape (n_trials,)
        The class of most of its labelled windows (of equals, the first in the order of the classes); -1 where no
        window has a label.
    """

    recording: Ints
    number: Ints
    patient: Ints
    label: Ints


def chronological_splits(table: WindowTable, spec: ChronologicalSplit | ChronologicalKFoldSplit) -> list[Split]:
    """Splits in which the trials of every patient and class are cut along their time. Nothing is drawn.

    Trials are in the order of sessions, then of recordings (both by name: ``run-2`` before ``run-10``), then of
    their start. One patient with five trials each of L and R:

    ::

        time                    L  R  R  L  L  R  R  R  L  L

        chronological           tr tr tr tr tr tr tr te tr te       fractions [.8, 0, .2]

        chronological-k-fold    te te tr tr tr tr tr tr tr tr       fold 0
                                tr tr te te tr tr tr tr tr tr       fold 1
                                tr tr tr tr te te tr tr tr tr       fold 2
                                tr tr tr tr tr tr te tr te tr       fold 3
                                tr tr tr tr tr tr tr te tr te       fold 4

    Each class is cut by itself, so that every part has its share of it: inside a class and a patient all training
    comes before all testing (chronological), or the tested trials are neighbours (k-fold). In k-fold the runs of a
    class differ by at most one trial, and ``validation`` is the share of the trials not tested that comes last.

    A trial of windows with several labels counts as one of the most frequent label. Trials without a label are cut
    as if they were a class of their own (they may be pretrained on, and nobody is judged on them); where they are
    too few for that, they train.

    Returns
    -------
    list of Split
        With ``per_patient`` all folds of the first patient, then those of the next; each lists one patient.

    Raises
    ------
    UsageError
        If a patient has too few trials of a class for every part, or, with ``per_patient``, trials of a single
        class of several.
    """
    trials = timed_trials(table)
    everyone = list(dict.fromkeys(trials.patient.tolist()))
    if spec.per_patient:
        for patient in everyone:
            check_classes_of(table, trials, patient)
    parts = parts_of_folds(table, trials, spec)
    groups = [[patient] for patient in everyone] if spec.per_patient else [everyone]
    name = f"{spec.kind}, per patient" if spec.per_patient else spec.kind
    return [
        split_of_trials(table, trials, np.where(np.isin(trials.patient, group), own, -1), name, number)
        for number, (group, own) in enumerate((group, own) for group in groups for own in parts)
    ]


def timed_trials(table: WindowTable) -> TimedTrials:
    """The trials of a table in recording order, whatever the order of its rows and the numbers of its trials."""
    rows = table.rows
    _, first, inverse = np.unique(rows["trial"], return_index=True, return_inverse=True)
    start = np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(start, inverse, rows["start"])
    votes = np.zeros((len(first), max(1, len(table.classes))), np.int64)
    labelled = rows["label"] >= 0
    np.add.at(votes, (inverse[labelled], rows["label"][labelled]), 1)
    number = trial_numbers(table)[first]
    place = {key: rank_of(table.names[key])[rows[key][first]] for key in ("patient", "session", "recording")}
    order = np.lexsort((number, start, place["recording"], place["session"], place["patient"]))
    return TimedTrials(
        rows["recording"][first][order].astype(np.int64),
        number[order],
        rows["patient"][first][order].astype(np.int64),
        np.where(votes.any(axis=1), votes.argmax(axis=1), -1)[order],
    )


def rank_of(names: tuple[str, ...]) -> Ints:
    """The place of every name in natural order."""
    order = sorted(range(len(names)), key=lambda code: natural_key(names[code]))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank


def parts_of_folds(table: WindowTable, trials: TimedTrials, spec: ChronologicalSplit | ChronologicalKFoldSplit) -> Ints:
    """In every fold and of every trial, whether it trains, validates or is tested, shape (n_folds, n_trials)."""
    n_folds = spec.n_folds if isinstance(spec, ChronologicalKFoldSplit) else 1
    parts = np.full((n_folds, len(trials.label)), TRAIN, np.int64)
    for mine, patient, label in groups_of(trials):
        try:
            parts[:, mine] = cut_in_time(len(mine), spec)
        except ValueError as error:
            if label < 0 and table.classes:
                continue
            name, of_class = (
                table.names["patient"][patient],
                f" of class {table.classes[label]!r}" if label >= 0 else "",
            )
            ways = [f"Ask for fewer {'folds' if n_folds > 1 else 'parts'}"]
            raise UsageError(
                f"Patient {name!r} has {len(mine)} trial{'s' * (len(mine) != 1)}{of_class}, too few to reach every "
                "part of this split",
                "split",
                " or ".join(ways + ["leave the class out of data.classes"] * (label >= 0)),
            ) from error
    return parts


def groups_of(trials: TimedTrials) -> Iterator[tuple[Ints, int, int]]:
    """The trials of every patient and label, in time order, with the numbers of both."""
    for patient in dict.fromkeys(trials.patient.tolist()):
        own = np.flatnonzero(trials.patient == patient)
        for label in np.unique(trials.label[own]).tolist():
            yield own[trials.label[own] == label], patient, label


def cut_in_time(n: int, spec: ChronologicalSplit | ChronologicalKFoldSplit) -> Ints:
    """In every fold the parts of `n` trials that are in time order, shape (n_folds, n).

    Raises
    ------
    ValueError
        If they are too few to fill every part.
    """
    if isinstance(spec, ChronologicalSplit):
        return np.repeat([TRAIN, VALIDATION, TEST], seats(spec.fractions, n))[None]
    if n < spec.n_folds:
        raise ValueError(f"{n} trials for {spec.n_folds} folds")
    parts = np.full((spec.n_folds, n), TEST, np.int64)
    fold_of = np.arange(n) * spec.n_folds // n
    for fold, own in enumerate(parts):
        rest = fold_of != fold
        own[rest] = np.repeat([TRAIN, VALIDATION], seats([1 - spec.validation, spec.validation], int(rest.sum())))
    return parts


def check_classes_of(table: WindowTable, trials: TimedTrials, patient: int) -> None:
    """A patient who trains and is tested alone has trials of two classes at least, if there are so many."""
    own = np.unique(trials.label[(trials.patient == patient) & (trials.label >= 0)])
    if len(own) >= min(2, len(table.classes)):
        return
    held = f"of one class only, {table.classes[own[0]]!r}" if len(own) else "without a label only"
    raise UsageError(
        f"Patient {table.names['patient'][patient]!r} has trials {held}, so a model of this patient alone has nothing "
        "to tell apart",
        "split.per_patient",
        "Use per_patient: false",
    )


def split_of_trials(table: WindowTable, trials: TimedTrials, parts: Ints, name: str, fold: int) -> Split:
    """One fold; trials whose part is -1 are in none."""
    patients: dict[str, tuple[str, ...]] = {}
    numbers: dict[str, dict[str, tuple[int, ...]]] = {}
    for code, part in enumerate(PARTS):
        mine = np.flatnonzero(parts == code)
        patients[part] = tuple(table.names["patient"][p] for p in dict.fromkeys(trials.patient[mine].tolist()))
        for trial in mine.tolist():
            recording = table.names["recording"][trials.recording[trial]]
            here = numbers.setdefault(part, {})
            here[recording] = (*here.get(recording, ()), int(trials.number[trial]))
    return Split(name, "trial", patients, trials=numbers, fold=fold)
