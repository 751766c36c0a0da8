"""What a split lets through: a patient in two parts, windows that overlap or touch in time across parts.

The audit looks at splits as they stand in a file (`GivenSplit`), and at the rows of a window table that each part
claims, whatever a run would refuse or leave out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from biocl.errors import LeakageError
from biocl.splits.findings import Finding, names
from biocl.splits.make import assign, extents, overlapping, part_mask
from biocl.splits.split import PARTS, UNKNOWN_PATIENTS, Split, shared_patients
from biocl.store.table import WindowTable

Rows = Mapping[str, NDArray[np.int64]]
PAIRS = (("train", "test"), ("validation", "test"), ("train", "validation"))


def title(split: Split) -> str:
    """``split ds1-ds2, fold 0``."""
    return f"split {split.name}, fold {split.fold}"


def patients_in_two_parts(split: Split) -> list[Finding]:
    """Patients who are on two sides although the scope keeps patients apart; a split of other scope says so itself."""
    if split.scope != "patient":
        return [within_patients(split)]
    found = [shared_finding(split, patient) for patient in shared_patients(split)]
    if split.patient == "record" or UNKNOWN_PATIENTS in split.marks:
        found.append(
            Finding(
                "note",
                (),
                title(split),
                "Nobody knows whose the recordings are: each counts as a patient, and one person may be on two sides",
                "Say so wherever the results are shown; every table of biocl is marked",
            )
        )
    return found


def within_patients(split: Split) -> Finding:
    """What a split of scope time or trial means."""
    return Finding(
        "note",
        (),
        title(split),
        f"The scope is {split.scope}: patients are on both sides by design, and nothing computed on this split says "
        "how well a new patient is served",
        "Use a split of scope patient for that",
    )


def shared_finding(split: Split, patient: str) -> Finding:
    """A patient on two sides, with the recordings where the split tells them apart."""
    parts = [part for part in PARTS if patient in split.parts[part]]
    narrowed = {part: split.only.get(part, {}).get(patient) for part in parts}
    listed = [f"{part}{f' (recording {names(only)})' if only else ''}" for part, only in narrowed.items()]
    allowed = ", which the split allows (allow_shared) and every table of its results is marked with"
    return Finding(
        "leak",
        (patient,),
        f"{title(split)}: {' and '.join(parts)}",
        f"Patient {patient} is in {' and in '.join(listed)}{allowed if patient in split.allow_shared else ''}",
        f"Leave {patient} in one part, or quote no result of this split as patient-independent",
    )


def claimed(split: Split, table: WindowTable) -> dict[str, NDArray[np.int64]]:
    """Table rows that each part claims, before those that overlap with another part are left out of training."""
    return {part: np.flatnonzero(part_mask(split, part, table)) for part in PARTS}


def used(split: Split, table: WindowTable) -> dict[str, NDArray[np.int64]]:
    """Table rows that a run would use of each part; all that are claimed where a run would refuse the split.

    Raises
    ------
    DataError
        If none of the patients of a part has a window.
    """
    try:
        sound = Split(**{field.name: getattr(split, field.name) for field in fields(split)})
    except LeakageError:
        return claimed(split, table)
    return assign(sound, table)


def overlaps(split: Split, table: WindowTable, rows: Rows) -> list[Finding]:
    """Windows of one part that share a time step with windows of another.

    Parameters
    ----------
    split : Split
    table : WindowTable
    rows : mapping of str to ndarray of int
        The windows that are used of each part.

    Returns
    -------
    list of Finding
        One for each pair of parts.
    """
    found = []
    for one, other in PAIRS:
        hit = meeting(split, table, rows, one, other)
        if hit.any():
            mine = table.recording[rows[one][hit]]
            recordings = [table.names["recording"][number] for number in np.unique(mine)]
            found.append(
                Finding(
                    "leak",
                    tuple(recordings),
                    f"{title(split)}: {one} and {other}",
                    f"{int(hit.sum())} of {len(rows[one])} {one} windows share samples with {other} windows, in "
                    f"recordings {names(recordings)}",
                    "Move the borders apart, or let whole trials or patients be on one side; biocl leaves such windows "
                    "out of training",
                )
            )
    return found


def meeting(split: Split, table: WindowTable, rows: Rows, one: str, other: str, gap: int = 0) -> NDArray[np.bool_]:
    """Which windows of one part come nearer than `gap` time steps to one of another part (0: overlap)."""
    others = np.zeros(len(table), np.bool_)
    others[rows[other]] = True
    start, stop = extents(table, one, split.scope)
    mine = np.maximum(start - gap, 0), stop + gap
    return overlapping(table.recording, mine, extents(table, other, split.scope), others)[rows[one]]


def left_out(split: Split, table: WindowTable) -> int:
    """Windows of training and validation that a run leaves out, since they overlap with another part."""
    rows = claimed(split, table)
    hit = {
        part: np.zeros(len(rows[part]), np.bool_) if part == "test" else meeting(split, table, rows, part, "test")
        for part in PARTS
    }
    hit["train"] |= meeting(split, table, rows, "train", "validation")
    return int(sum(mask.sum() for mask in hit.values()))


def small_gaps(split: Split, table: WindowTable, rows: Rows) -> list[Finding]:
    """Of scope time, windows of two parts with less than one window between them.

    Neighbours in time resemble each other without sharing a sample. Of a series that is forecast the published borders
    leave no gap, so there it is a note.
    """
    if split.scope != "time":
        return []
    forecast, window_s = bool(table.horizon) or not table.classes, table.n_times / table.sfreq
    found = []
    for one, other in PAIRS:
        near = meeting(split, table, rows, one, other, gap=table.n_times)
        near &= ~meeting(split, table, rows, one, other)
        if near.any():
            recordings = [table.names["recording"][i] for i in np.unique(table.recording[rows[one][near]])]
            found.append(
                Finding(
                    "note" if forecast else "leak",
                    tuple(recordings),
                    f"{title(split)}: {one} and {other}",
                    f"{int(near.sum())} {one} windows lie less than one window ({window_s:g} s) from "
                    f"{other} windows, in recordings {names(recordings)}",
                    "Such borders are usual for forecasts: compare only with results on the same ones"
                    if forecast
                    else f"Leave {window_s:g} s or more between the intervals (gap_s)",
                )
            )
    return found


@dataclass(frozen=True)
class Sides:
    """Which recordings are on which side, of a split or of an encoder and those it is judged on.

    Attributes
    ----------
    where : str
        What findings call it.
    recordings : mapping of str to frozenset of str
        Names of the recordings of each side.
    rows : mapping of str to ndarray of int, or None
        Table rows of each side, where single windows are known.
    between_patients : bool
        Whether the sides promise to share no person.
    """

    where: str
    recordings: Mapping[str, frozenset[str]]
    rows: Rows | None = None
    between_patients: bool = True

    @classmethod
    def of(cls, split: Split, table: WindowTable, rows: Rows) -> Sides:
        """The sides of a split."""
        recordings = {
            part: frozenset(table.names["recording"][i] for i in np.unique(table.recording[mine]))
            for part, mine in rows.items()
        }
        return cls(title(split), recordings, rows, split.scope == "patient")

    def apart(self, one: Collection[str], other: Collection[str]) -> str:
        """``train and test`` if two groups of recordings are on different sides; empty if they are not."""
        mine = [side for side, there in self.recordings.items() if not there.isdisjoint(one)]
        theirs = [side for side, there in self.recordings.items() if not there.isdisjoint(other)]
        return two_sides(mine, theirs)

    def stretches_apart(self, table: WindowTable, one: tuple[str, int, int], other: tuple[str, int, int]) -> str:
        """The same for two stretches ``(recording, start, stop)``, by the windows that touch them where known."""
        if self.rows is None:
            return self.apart([one[0]], [other[0]])
        return two_sides(*(self.touching(table, *stretch) for stretch in (one, other)))

    def touching(self, table: WindowTable, recording: str, start: int, stop: int) -> list[str]:
        """Sides with a window that touches a stretch of a recording."""
        assert self.rows is not None
        number = table.names["recording"].index(recording)
        touches = (table.recording == number) & (table.start < stop) & (table.start + table.n_times > start)
        return [side for side, rows in self.rows.items() if touches[rows].any()]


def two_sides(mine: Collection[str], theirs: Collection[str]) -> str:
    """The first pair of different sides, those that matter most first; empty if there is none."""
    usual = [*PAIRS, *(pair for pair in combinations(dict.fromkeys([*mine, *theirs]), 2) if pair not in PAIRS)]
    for one, other in usual:
        if (one in mine and other in theirs) or (other in mine and one in theirs):
            return f"{one} and {other}"
    return ""
