"""From a configuration to splits, and from a split to rows of a window table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError, LeakageError, UsageError
from biocl.splits.chronological import chronological_splits
from biocl.splits.file import read_splits, splits_from_json
from biocl.splits.spec import (
    ChronologicalKFoldSplit,
    ChronologicalSplit,
    FileSplit,
    KFoldSplit,
    LeaveOneOutSplit,
    NamedSplit,
    Patient,
    RandomSplit,
    Scope,
)
from biocl.splits.split import PARTS, Split
from biocl.splits.splitters import patient_splits, time_splits, trial_numbers, trial_splits
from biocl.store.names import did_you_mean
from biocl.store.table import WindowTable


def make_splits(
    spec: NamedSplit
    | FileSplit
    | RandomSplit
    | KFoldSplit
    | LeaveOneOutSplit
    | ChronologicalSplit
    | ChronologicalKFoldSplit,
    table: WindowTable,
    dataset_splits: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    patients_known: bool = True,
) -> list[Split]:
    """All folds that ``split:`` asks for, checked against the windows.

    The result depends on names, labels and the seed, not on the order of the rows nor on the process.

    Parameters
    ----------
    spec : a form of SplitSpec
    table : WindowTable
    dataset_splits : mapping of str to split file content, optional
        The data set's published lists.
    patients_known : bool
        Whether the data say whose a recording is. If not, each record counts as a patient, which the
        configuration has to say (``patient: record``) and which every split is marked with.

    Raises
    ------
    UsageError
        If the list does not exist, names an unknown patient or cannot be drawn.
    LeakageError
        If a unit of the scope is on two sides, or may be since the patients are unknown.
    """
    check_patients_known(spec.scope, spec.patient, patients_known)
    match spec:
        case NamedSplit():
            known = dataset_splits or {}
            if spec.name not in known:
                raise UsageError(
                    f"This data set has no split named {spec.name!r}",
                    "split.name",
                    did_you_mean(spec.name, known),
                )
            splits = splits_from_json({"name": spec.name, **known[spec.name]}, f"the data set's split {spec.name!r}")
        case FileSplit():
            splits = read_splits(Path(spec.file))
        case ChronologicalSplit() | ChronologicalKFoldSplit():
            splits = chronological_splits(table, spec)
        case _ if spec.scope == "patient":
            splits = patient_splits(table, spec)
        case RandomSplit() | KFoldSplit() if spec.scope == "time":
            splits = time_splits(table, spec)
        case _:
            splits = trial_splits(table, spec)
    if not patients_known:
        splits = [replace(split, patient="record") for split in splits]
    for split in splits:
        if split.patient == "record" and patients_known:
            raise UsageError(KNOWN, f"split {split.name}", "Remove 'patient: record' from the split file")
        if split.scope != spec.scope:
            raise UsageError(
                f"The split has scope {split.scope}, and the configuration says {spec.scope}",
                f"split {split.name}",
                f"Write 'scope: {split.scope}' beside it, so that everybody sees what the results mean",
            )
        check_names(split, table)
    return splits


KNOWN = "The patients of these recordings are known, so a record cannot stand for one"


def check_patients_known(scope: Scope, patient: Patient, known: bool) -> None:
    """Scope patient needs patients; whoever goes on without them has to say so.

    Raises
    ------
    LeakageError
        If the patients are unknown, the scope is patient and ``patient: record`` is not said.
    UsageError
        If it is said although the patients are known.
    """
    if known and patient == "record":
        raise UsageError(KNOWN, "split.patient", "Leave split.patient out")
    if not known and scope == "patient" and patient == "patient":
        raise LeakageError(
            "The files of this data set do not say whose a recording is, so one person may be in training and in test, "
            "and no split of it is patient-independent",
            "split.scope",
            "To go on all the same, write 'patient: record' under split: each record then counts as a patient, and "
            "every table is marked",
        )


def check_names(split: Split, table: WindowTable) -> None:
    """Every patient and recording of the split exists in the store, and belongs together.

    Raises
    ------
    UsageError
        With the nearest known name.
    """
    where = f"split {split.name}"
    known = set(table.names["patient"])
    recordings = set(table.names["recording"])
    for part in PARTS:
        for patient in split.parts[part]:
            if patient not in known:
                fix = did_you_mean(patient, known)
                raise UsageError(f"The store has no patient {patient!r}, whom {part} lists", where, fix)
    named = [(part, recording) for part in PARTS for r in split.only.get(part, {}).values() for recording in r]
    named += [(part, r) for key in (split.intervals, split.trials) for part in key for r in key[part]]
    for part, recording in named:
        if recording not in recordings:
            fix = did_you_mean(recording, recordings)
            raise UsageError(f"The store has no recording {recording!r}, which {part} names", where, fix)
    if split.trials:
        last = np.full(len(table.names["recording"]), -1)
        np.maximum.at(last, table.rows["recording"], trial_numbers(table))
        highest = dict(zip(table.names["recording"], last.tolist(), strict=True))
        for part, trials in split.trials.items():
            for recording, wanted in trials.items():
                if max(wanted, default=0) > highest[recording] or min(wanted, default=0) < 0:
                    raise UsageError(
                        f"{part} names trials of recording {recording!r} that the windows do not have: they "
                        f"are numbered 0 to {highest[recording]}",
                        where,
                        "Draw the split again for these windows and trials",
                    )


def assign(split: Split, table: WindowTable) -> dict[str, NDArray[np.int64]]:
    """Row numbers of every part, ascending.

    See `assign_and_count`, which also says how many windows were left out.
    """
    return assign_and_count(split, table)[0]


def assign_and_count(split: Split, table: WindowTable) -> tuple[dict[str, NDArray[np.int64]], dict[str, int]]:
    """Row numbers of every part, and how many windows are in none.

    In the scopes time and trial, a window of train that overlaps in time with one of validation or test is
    dropped, and so is one of validation that overlaps with one of test. Of windows with a future see `extents`.

    Parameters
    ----------
    split : Split
    table : WindowTable

    Returns
    -------
    parts : dict of str to ndarray of int64
        ``train``, ``validation``, ``test``.
    left_out : dict of str to int
        ``overlaps another part``, ``in no part``.

    Raises
    ------
    DataError
        If a part lists patients and none of its windows exists.
    """
    masks = {part: part_mask(split, part, table) for part in PARTS}
    n_overlapping = 0
    if split.scope != "patient":
        for part, others in (("validation", ("test",)), ("train", ("validation", "test"))):
            for other in others:
                mine, theirs = (extents(table, name, split.scope) for name in (part, other))
                hit = masks[part] & overlapping(table.recording, mine, theirs, masks[other])
                masks[part] &= ~hit
                n_overlapping += int(hit.sum())
    for part in PARTS:
        if split.parts[part] and not masks[part].any():
            raise DataError(
                f"The part {part!r} lists {len(split.parts[part])} patients, and none of them has a window",
                f"split {split.name}, fold {split.fold}",
                "Check the windows, the classes and the split",
            )
    rows = {part: np.flatnonzero(mask) for part, mask in masks.items()}
    nowhere = ~np.logical_or.reduce(list(masks.values()))
    return rows, {"overlaps another part": n_overlapping, "in no part": int(nowhere.sum()) - n_overlapping}


def part_mask(split: Split, part: str, table: WindowTable) -> NDArray[np.bool_]:
    """Which windows a part claims."""
    rows = table.rows
    patient_code = {name: code for code, name in enumerate(table.names["patient"])}
    recording_code = {name: code for code, name in enumerate(table.names["recording"])}
    mask = np.isin(rows["patient"], [patient_code[name] for name in split.parts[part]])
    for patient, recordings in split.only.get(part, {}).items():
        others = ~np.isin(rows["recording"], [recording_code[name] for name in recordings])
        mask &= ~((rows["patient"] == patient_code[patient]) & others)
    if split.scope == "time":
        extent = extents(table, part, split.scope)
        mask &= inside(table.recording, extent, table.sfreq, recording_code, split.intervals.get(part, {}))
    if split.scope == "trial":
        pairs = [
            recording_code[name] << 40 | number
            for name, numbers in split.trials.get(part, {}).items()
            for number in numbers
        ]
        mask &= np.isin((rows["recording"].astype(np.int64) << 40) | trial_numbers(table), pairs)
    return mask


Extents = tuple[NDArray[np.int64], NDArray[np.int64]]
"""First time steps of windows, and those behind their ends."""


def extents(table: WindowTable, part: str, scope: Scope) -> Extents:
    """The time steps of each window that must lie in a part, and on no other side.

    ::

        train         [--- window ---][ future ]     all that is learned from
        validation     --- window --- [ future ]     what is judged; of scope time, what came before it was known
        test           --- window --- [ future ]     by then, whichever part it lies in

    Without a future, the whole window.
    """
    start, stop = table.start, table.start + table.n_times
    if not table.horizon:
        return start, stop
    return (stop if scope == "time" and part != "train" else start), stop + table.horizon


def inside(
    recording: NDArray[np.int32],
    extent: Extents,
    sfreq: float,
    recording_code: Mapping[str, int],
    intervals: Mapping[str, tuple[tuple[float, float], ...]],
) -> NDArray[np.bool_]:
    """Which windows lie wholly in one of the intervals of their recording."""
    order = np.argsort(recording, kind="stable")
    by_recording = recording[order]
    found = np.zeros(len(recording), np.bool_)
    tolerance = 1e-6  # seconds: borders in a file are rounded decimal numbers
    for name, stretches in intervals.items():
        begin, end = np.searchsorted(by_recording, [recording_code[name], recording_code[name] + 1])
        mine = order[begin:end]
        start, stop = (step[mine] / sfreq for step in extent)
        for a, b in stretches:
            found[mine] |= (start >= a - tolerance) & (stop <= b + tolerance)
    return found


def overlapping(
    recording: NDArray[np.int32], mine: Extents, theirs: Extents, others: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which windows share a time step with any of the `others` (a mask) of the same recording."""
    if not others.any():
        return np.zeros(len(recording), np.bool_)
    # One axis for all recordings: each begins behind the end of the one before it.
    shift = recording.astype(np.int64) * (int(max(mine[1].max(), theirs[1].max())) + 1)
    start, stop = mine[0] + shift, mine[1] + shift
    their_start, their_stop = (theirs[0] + shift)[others], (theirs[1] + shift)[others]
    order = np.argsort(their_start, kind="stable")
    starts = their_start[order]
    reach = np.maximum.accumulate(their_stop[order])
    before = np.searchsorted(starts, stop, side="left")  # others that begin before a window ends
    return (before > 0) & (reach[np.maximum(before - 1, 0)] > start)
