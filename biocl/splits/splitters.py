"""Drawn splits: random, k-fold and leave-one-out, over patients, trials or time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import UsageError
from biocl.randomness import stream
from biocl.splits.spec import KFoldSplit, LeaveOneOutSplit, RandomSplit
from biocl.splits.split import PARTS, Interval, Split
from biocl.splits.stratify import deal_units, seats
from biocl.store.names import natural_key
from biocl.store.table import WindowTable

TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True)
class Units:
    """What is dealt to the parts: patients, or trials as (recording, number)."""

    word: str
    keys: tuple[Any, ...]
    presence: NDArray[np.bool_]  # (n_units, n_classes)


def patient_units(table: WindowTable, stratify: bool) -> Units:
    """Patients that have windows, in natural order of their names, whatever the order of the table."""
    codes = sorted(np.unique(table.rows["patient"]), key=lambda code: natural_key(table.names["patient"][code]))
    keys = tuple(table.names["patient"][code] for code in codes)
    return Units("patients", keys, presence(table.rows["patient"], codes, table, stratify))


def trial_units(table: WindowTable, stratify: bool) -> Units:
    """Trials in natural order of their recordings."""
    number = trial_numbers(table)
    _, first = np.unique(table.rows["trial"], return_index=True)
    names = table.names["recording"]
    found = [(names[table.rows["recording"][i]], int(number[i]), int(table.rows["trial"][i])) for i in first]
    found.sort(key=lambda unit: (natural_key(unit[0]), unit[1]))
    codes = [code for _, _, code in found]
    keys = tuple((recording, n) for recording, n, _ in found)
    return Units("trials", keys, presence(table.rows["trial"], codes, table, stratify))


def presence(ids: NDArray[Any], codes: Sequence[int], table: WindowTable, stratify: bool) -> NDArray[np.bool_]:
    """Which classes occur in which unit, shape (n_units, n_classes); no classes when not stratified."""
    if not stratify:
        return np.zeros((len(codes), 0), np.bool_)
    order = np.argsort(codes, kind="stable")
    unit = order[np.searchsorted(np.asarray(codes)[order], ids)]
    found = np.zeros((len(codes), len(table.classes)), np.bool_)
    labelled = table.rows["label"] >= 0
    found[unit[labelled], table.rows["label"][labelled]] = True
    return found


def trial_numbers(table: WindowTable) -> NDArray[np.int64]:
    """Of every window, the number of its trial in its recording, counted from 0."""
    trials, first, inverse = np.unique(table.rows["trial"], return_index=True, return_inverse=True)
    recording = table.rows["recording"][first]
    order = np.argsort(recording, kind="stable")
    starts = np.searchsorted(recording[order], recording[order])
    number = np.empty(len(trials), np.int64)
    number[order] = np.arange(len(trials)) - starts
    return number[inverse]


def random_parts(units: Units, spec: RandomSplit) -> Iterator[NDArray[np.int64]]:
    """One draw.

    ::

        p1  p2  p3  p4  p5  p6  p7  p8  p9  p10
        tr  tr  va  tr  te  tr  tr  va  te  tr       fractions [.6, .2, .2]

    Yields
    ------
    ndarray of int, shape (n_units,)
        0 train, 1 validation, 2 test.
    """
    rng = stream(spec.seed, "split", "random")
    yield deal_units(units.presence, seats_or_error(spec.fractions, units), rng)


def k_fold_parts(units: Units, spec: KFoldSplit) -> Iterator[NDArray[np.int64]]:
    """Every unit is tested in exactly one fold.

    ::

                p1  p2  p3  p4  p5  p6
        fold 0  te  tr  va  te  tr  tr
        fold 1  tr  te  tr  va  te  tr               n_folds 3, validation .25
        fold 2  va  tr  te  tr  tr  te

    With `repeats` the folds of the next draw follow.

    Yields
    ------
    ndarray of int, shape (n_units,)
        0 train, 1 validation, 2 test.
    """
    if spec.n_folds > len(units.keys):
        raise UsageError(
            f"{spec.n_folds} folds need at least as many {units.word}, and there are {len(units.keys)}",
            "split.n_folds",
            f"Ask for at most {len(units.keys)} folds",
        )
    equal = seats_or_error([1.0] * spec.n_folds, units)
    for repeat in range(spec.repeats):
        names: tuple[str | int, ...] = ("split", "k-fold", repeat) if repeat else ("split", "k-fold")
        fold_of = deal_units(units.presence, equal, stream(spec.seed, *names))
        for fold in range(spec.n_folds):
            yield with_validation(units, fold_of == fold, spec.validation, spec.seed, repeat * spec.n_folds + fold)


def leave_one_out_parts(units: Units, spec: LeaveOneOutSplit) -> Iterator[NDArray[np.int64]]:
    """As many folds as patients, each tested alone.

    ::

                p1  p2  p3  p4
        fold 0  te  tr  va  tr
        fold 1  tr  te  tr  va
        fold 2  va  tr  te  tr
        fold 3  tr  va  tr  te

    Yields
    ------
    ndarray of int, shape (n_units,)
        0 train, 1 validation, 2 test.
    """
    for fold in range(len(units.keys)):
        test = np.arange(len(units.keys)) == fold
        yield with_validation(units, test, spec.validation, spec.seed, fold)


def with_validation(units: Units, test: NDArray[np.bool_], share: float, seed: int, fold: int) -> NDArray[np.int64]:
    """Parts of one fold: a stratified share of what is not tested validates."""
    rest = np.flatnonzero(~test)
    parts = np.full(len(test), TEST, np.int64)
    left = Units(units.word, tuple(units.keys[i] for i in rest), units.presence[rest])
    rng = stream(seed, "split", "validation", fold)
    parts[rest] = deal_units(left.presence, seats_or_error([1 - share, share], left), rng)
    return parts


def seats_or_error(fractions: Sequence[float], units: Units) -> NDArray[np.int64]:
    """`seats`, or one paragraph that there are too few units."""
    try:
        return seats(fractions, len(units.keys))
    except ValueError as error:
        raise UsageError(
            f"{len(units.keys)} {units.word} are too few to fill all parts of this split",
            "split",
            "Ask for fewer folds or set the share of validation to 0",
        ) from error


def patient_splits(table: WindowTable, spec: RandomSplit | KFoldSplit | LeaveOneOutSplit) -> list[Split]:
    """Splits in which no person is on two sides."""
    units = patient_units(table, spec.stratify)
    return [
        Split(
            name=spec.kind,
            scope="patient",
            parts={part: chosen(units.keys, parts == code) for code, part in enumerate(PARTS)},
            seed=spec.seed,
            fold=fold,
            repeat=repeat_of(spec, fold),
        )
        for fold, parts in enumerate(dealt(units, spec))
    ]


def trial_splits(table: WindowTable, spec: RandomSplit | KFoldSplit | LeaveOneOutSplit) -> list[Split]:
    """Splits in which no trial is on two sides, though a person may be."""
    units = trial_units(table, spec.stratify)
    splits = []
    for fold, parts in enumerate(dealt(units, spec)):
        trials: dict[str, dict[str, tuple[int, ...]]] = {}
        for code, part in enumerate(PARTS):
            for recording, number in chosen(units.keys, parts == code):
                here = trials.setdefault(part, {})
                here[recording] = (*here.get(recording, ()), number)
        patients = {part: owners(table, trials.get(part, {})) for part in PARTS}
        repeat = repeat_of(spec, fold)
        splits.append(Split(spec.kind, "trial", patients, trials=trials, seed=spec.seed, fold=fold, repeat=repeat))
    return splits


def repeat_of(spec: RandomSplit | KFoldSplit | LeaveOneOutSplit, fold: int) -> int:
    """Which draw of the folds a fold belongs to."""
    return fold // spec.n_folds if isinstance(spec, KFoldSplit) else 0


def dealt(units: Units, spec: RandomSplit | KFoldSplit | LeaveOneOutSplit) -> Iterator[NDArray[np.int64]]:
    """The folds that a spec asks for."""
    match spec:
        case RandomSplit():
            return random_parts(units, spec)
        case KFoldSplit():
            return k_fold_parts(units, spec)
        case LeaveOneOutSplit():
            return leave_one_out_parts(units, spec)


def chosen(keys: Sequence[Any], mask: NDArray[np.bool_]) -> tuple[Any, ...]:
    """The keys for which the mask is true."""
    return tuple(keys[i] for i in np.flatnonzero(mask).tolist())


def owners(table: WindowTable, recordings: dict[str, Any]) -> tuple[str, ...]:
    """Patients of these recordings, in natural order."""
    mine = np.isin(np.asarray(table.names["recording"])[table.rows["recording"]], list(recordings))
    names = {table.names["patient"][code] for code in np.unique(table.rows["patient"][mine])}
    return tuple(sorted(names, key=natural_key))


def time_splits(table: WindowTable, spec: RandomSplit | KFoldSplit) -> list[Split]:
    """Splits in which every recording is cut along its time, with a gap at each cut.

    Both are in time order and draw nothing.

    ::

        random   |------- train -------|gap|- validation -|gap|--- test ---|

        k-fold   |- test -|gap|---------- train ----------|gap|validation|     fold 0
                 |-- train --|gap|- test -|gap|- train -|gap|-validation-|     fold 1
                 |--- train ---|gap|validation|gap|- train -|gap|- test -|     the last fold

    The gap is one window unless a longer one is asked. In k-fold the folds' stretches are equal and
    validation is the end of the longer stretch that is not tested. A recording too short for this is
    training throughout.
    """
    window_s = table.n_times / table.sfreq
    gap_s = window_s if spec.gap_s is None else spec.gap_s
    if gap_s < window_s - 1e-9:
        raise UsageError(
            f"A gap of {gap_s:g} s is shorter than a window ({window_s:g} s), so windows could overlap",
            "split.gap_s",
            f"Use at least {window_s:g} s or leave the key out",
        )
    n_folds = spec.n_folds if isinstance(spec, KFoldSplit) else 1
    extents = recording_extents(table)
    splits = []
    for fold in range(n_folds):
        intervals: dict[str, dict[str, tuple[Interval, ...]]] = {}
        for recording in sorted(extents, key=natural_key):
            start, stop = extents[recording]
            if isinstance(spec, KFoldSplit):
                cut = fold_stretches(start, stop, fold, n_folds, spec.validation, gap_s)
            else:
                cut = stretches_in_order(start, stop, spec.fractions, gap_s)
            if any(b - a < window_s - 1e-9 for _, a, b in cut if _ != "train") or not cut:
                cut = [("train", start, stop)]
            for part, a, b in cut:
                here = intervals.setdefault(part, {})
                here[recording] = (*here.get(recording, ()), (a, b))
        if "train" not in intervals or "test" not in intervals:
            raise UsageError(
                "No recording is long enough to be cut into train, validation and test with gaps between",
                "split",
                "Use scope: patient, a shorter window or a shorter gap",
            )
        patients = {part: owners(table, intervals.get(part, {})) for part in PARTS}
        splits.append(Split(spec.kind, "time", patients, intervals=intervals, gap_s=gap_s, seed=spec.seed, fold=fold))
    return splits


def recording_extents(table: WindowTable) -> dict[str, Interval]:
    """From the first window's start to the last window's end of every recording, in seconds."""
    order = np.argsort(table.rows["recording"], kind="stable")
    rows = table.rows[order]
    codes, first = np.unique(rows["recording"], return_index=True)
    starts = np.minimum.reduceat(rows["start"], first) / table.sfreq
    stops = np.maximum.reduceat(rows["start"] + rows["length"], first) / table.sfreq
    names = table.names["recording"]
    return {names[c]: (float(a), float(b)) for c, a, b in zip(codes, starts, stops, strict=True)}


def stretches_in_order(
    start: float, stop: float, fractions: Sequence[float], gap_s: float
) -> list[tuple[str, float, float]]:
    """Train, validation and test one after the other; empty if the gaps leave nothing."""
    wanted = [(part, share) for part, share in zip(PARTS, fractions, strict=True) if share > 0]
    usable = stop - start - gap_s * (len(wanted) - 1)
    if usable <= 0:
        return []
    cut, at = [], start
    for part, share in wanted:
        cut.append((part, at, at + usable * share))
        at += usable * share + gap_s
    return cut


def fold_stretches(
    start: float, stop: float, fold: int, n_folds: int, validation: float, gap_s: float
) -> list[tuple[str, float, float]]:
    """Test is the fold's stretch, validation the end of the longer rest; empty if the gaps leave nothing."""
    width = (stop - start) / n_folds
    test = (start + fold * width, start + (fold + 1) * width)
    before, after = (start, test[0] - gap_s), (test[1] + gap_s, stop)
    rest = [stretch for stretch in (before, after) if stretch[1] > stretch[0]]
    if not rest:
        return []
    cut = [("test", *test)]
    longer = max(rest, key=lambda stretch: stretch[1] - stretch[0])
    length = validation * sum(b - a for a, b in rest)
    for a, b in rest:
        if (a, b) != longer or length == 0:
            cut.append(("train", a, b))
        elif b - length - gap_s > a:
            cut += [("train", a, b - length - gap_s), ("validation", b - length, b)]
        else:
            return []
    return cut
