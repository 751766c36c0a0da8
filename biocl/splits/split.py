"""A split: who is train, validation and test, and the rules that it may not break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from biocl.errors import LeakageError, UsageError
from biocl.files import digest
from biocl.splits.spec import Patient, Scope

PARTS = ("train", "validation", "test")
Interval = tuple[float, float]
UNKNOWN_PATIENTS = "patients unknown: each record counts as one"


@dataclass(frozen=True)
class Split:
    """One fold of a protocol. Making one checks it.

    ::

        scope      unit that is never on two sides                     narrowed by
        patient    the person                                          only
        time       a stretch of a recording, with a gap around it      intervals
        trial      a trial                                             trials

    Attributes
    ----------
    name, scope, seed, fold : str, str, int, int
        What it is called, its scope, the seed it was drawn with, its number in the protocol.
    parts : mapping of str to tuple of str
        Names of the patients in ``train``, ``validation`` and ``test``.
    only : mapping {part: {patient: recordings}}
        Of these patients only these recordings are in the part.
    intervals : mapping {part: {recording: ((start_s, stop_s), …)}}
        Scope time: windows that lie inside belong to the part. `gap_s` is the least distance between parts.
    trials : mapping {part: {recording: numbers}}
        Scope trial: the trials of the part, counted from 0 in each recording.
    allow_shared : tuple of str
        Patients that scope patient may have on several sides (with different recordings); such a split is
        marked.
    marks : tuple of str
        What every table of its results has to say.
    repeat : int
        Which draw of the whole protocol the fold belongs to, where it is drawn several times: the folds of a draw
        judge the patients once, and the draws are repeats of it.
    patient : {"patient", "record"}
        Whether the names in `parts` are people, or records of whom nobody knows.

    Raises
    ------
    LeakageError
        If a patient, a stretch of time or a trial is on two sides.
    UsageError
        If it contradicts itself in another way.
    """

    name: str
    scope: Scope
    parts: Mapping[str, tuple[str, ...]]
    only: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, tuple[Interval, ...]]] = field(default_factory=dict)
    trials: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    gap_s: float = 0.0
    allow_shared: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    seed: int = 0
    fold: int = 0
    patient: Patient = "patient"
    repeat: int = 0

    def __post_init__(self) -> None:
        check_lists(self)
        {"patient": check_patients, "time": check_intervals, "trial": check_trials}[self.scope](self)
        shared = shared_patients(self)
        if self.scope == "patient" and shared and not self.marks:
            object.__setattr__(self, "marks", (f"shared between parts: {', '.join(shared)}",))
        if self.patient == "record" and UNKNOWN_PATIENTS not in self.marks:
            object.__setattr__(self, "marks", (*self.marks, UNKNOWN_PATIENTS))

    @property
    def patient_independent(self) -> bool:
        """Whether results may be called so: scope patient, of known patients, and nobody on two sides."""
        return self.scope == "patient" and self.patient == "patient" and not shared_patients(self)

    @property
    def stamp(self) -> str:
        """What stands beside every result: the name, the scope and the marks."""
        apart = "record" if (self.scope, self.patient) == ("patient", "record") else self.scope
        scope = "patient-independent" if self.patient_independent else f"scope {apart}, NOT patient-independent"
        return "; ".join([f"{self.name} ({scope})", *self.marks])

    def to_json(self) -> dict[str, Any]:
        """A split file of this one fold."""
        return splits_to_json([self])

    def digest(self) -> str:
        """SHA-256 (hex) of the file's content."""
        return digest(self.to_json())


class GivenSplit(Split):
    """A split as somebody wrote it, leaks and all, for an audit: nothing that a result may be computed on."""

    def __post_init__(self) -> None:
        check_lists(self)


def splits_to_json(splits: Sequence[Split]) -> dict[str, Any]:
    """The folds of one protocol as the content of a split file."""
    first = splits[0]
    head: dict[str, Any] = {"format": 1, "name": first.name, "scope": first.scope, "seed": first.seed}
    if first.scope == "time":
        head["gap_s"] = first.gap_s
    if first.patient == "record":
        head["patient"] = "record"
    return {
        **head,
        "allow_shared": list(first.allow_shared),
        "marks": list(first.marks),
        "folds": [fold_to_json(split) for split in splits],
    }


def fold_to_json(split: Split) -> dict[str, Any]:
    """One fold of a split file."""
    fold: dict[str, Any] = {"fold": split.fold, **{part: list(split.parts[part]) for part in PARTS}}
    if split.repeat:
        fold["repeat"] = split.repeat
    for key in ("only", "intervals", "trials"):
        narrowed = getattr(split, key)
        if narrowed:
            fold[key] = {
                part: {name: [list(v) if key == "intervals" else v for v in values] for name, values in names.items()}
                for part, names in narrowed.items()
            }
    return fold


def shared_patients(split: Split) -> list[str]:
    """Patients that stand in more than one part, in the split's order."""
    times = Counter(patient for part in PARTS for patient in split.parts[part])
    return [patient for patient, n in times.items() if n > 1]


def check_lists(split: Split) -> None:
    """Parts are complete, nobody is listed twice in one, and what narrows names someone who is there."""
    if set(split.parts) != set(PARTS):
        raise UsageError(f"The parts of a split are {', '.join(PARTS)}, not {', '.join(split.parts)}", split.name)
    for part, patients in split.parts.items():
        twice = [patient for patient, n in Counter(patients).items() if n > 1]
        if twice:
            raise UsageError(
                f"Patient {twice[0]!r} is listed twice in {part}",
                f"split {split.name}",
                "Remove one of the lines",
            )
    for part, patients_only in split.only.items():
        for patient in patients_only:
            if patient not in split.parts.get(part, ()):
                raise UsageError(
                    f"'only' narrows patient {patient!r} in {part}, but {part} does not list this patient",
                    f"split {split.name}",
                    f"Add the patient to {part} or remove the line",
                )
    for key, scope in (("intervals", "time"), ("trials", "trial")):
        if bool(getattr(split, key)) != (split.scope == scope):
            raise UsageError(
                f"The scope is {split.scope}, and '{key}' belongs to scope {scope} and to no other",
                f"split {split.name}",
                f"Change the scope or the '{key}'",
            )


def check_patients(split: Split) -> None:
    """Scope patient: nobody on two sides, but those allowed, with other recordings."""
    for one, other in combinations(PARTS, 2):
        for patient in split.parts[one]:
            if patient not in split.parts[other]:
                continue
            if patient not in split.allow_shared:
                raise LeakageError(
                    f"Patient {patient!r} is in {one} and in {other}",
                    f"split {split.name}",
                    "Leave the patient in one of them; to keep a published split as it is, name the patient "
                    "in 'allow_shared', and every table will be marked",
                )
            mine, theirs = (split.only.get(part, {}).get(patient) for part in (one, other))
            if not mine or not theirs or set(mine) & set(theirs):
                raise LeakageError(
                    f"Patient {patient!r} may be shared, but {one} and {other} hold the same recordings",
                    f"split {split.name}",
                    "Say in 'only' which recordings of the patient belong to which part",
                )


def check_intervals(split: Split) -> None:
    """Scope time: stretches of one recording in different parts keep the gap."""
    placed: dict[str, list[tuple[float, float, str]]] = {}
    for part, recordings in split.intervals.items():
        for recording, intervals in recordings.items():
            for start, stop in intervals:
                if not 0 <= start < stop:
                    raise UsageError(
                        f"Interval [{start:g}, {stop:g}] of recording {recording!r} in {part} has no length",
                        f"split {split.name}",
                        "An interval is [start, stop] in seconds from the recording's first sample",
                    )
                placed.setdefault(recording, []).append((start, stop, part))
    for recording, stretches in placed.items():
        stretches.sort()
        reach: dict[str, float] = {}  # the latest end so far of each part
        for start, stop, part in stretches:
            for other, end in reach.items():
                if other != part and start - end < split.gap_s - 1e-9:
                    raise LeakageError(
                        f"In recording {recording!r}, {part} begins at {start:g} s although {other} lasts "
                        f"until {end:g} s and the gap is {split.gap_s:g} s",
                        f"split {split.name}",
                        "Move the borders apart",
                    )
            reach[part] = max(stop, reach.get(part, 0.0))


def check_trials(split: Split) -> None:
    """Scope trial: no trial on two sides."""
    holder: dict[tuple[str, int], str] = {}
    for part, recordings in split.trials.items():
        for recording, numbers in recordings.items():
            for number in numbers:
                other = holder.setdefault((recording, number), part)
                if other != part:
                    raise LeakageError(
                        f"Trial {number} of recording {recording!r} is in {other} and in {part}",
                        f"split {split.name}",
                        "Leave it in one of them",
                    )
