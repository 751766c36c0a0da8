"""The checks of an audit that need a store, its windows and splits, whoever names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biocl.commands.inspect import looked_at
from biocl.commands.prepare import window_table
from biocl.config import load_experiment
from biocl.errors import BioclError, UsageError
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.splits.confounding import classes_of_recordings, confounded, recorded
from biocl.splits.file import splits_from_json
from biocl.splits.findings import Check, Finding, merged
from biocl.splits.leaks import Rows, Sides, left_out, overlaps, patients_in_two_parts, small_gaps, used
from biocl.splits.make import check_names, make_splits
from biocl.splits.spec import FileSplit, NamedSplit
from biocl.splits.split import GivenSplit, Split
from biocl.store.duplicates import Duplicate, duplicates
from biocl.store.identity import Identities, suspected_identities
from biocl.store.names import did_you_mean
from biocl.store.store import Store
from biocl.store.table import WindowTable


@dataclass(frozen=True)
class Placed:
    """A split with the rows that a run would use of each part."""

    split: Split
    rows: Rows


@dataclass(frozen=True)
class Looked:
    """What is audited: a store, its windows, splits of them, and why a published split could not be looked at."""

    store: Store
    table: WindowTable
    placed: tuple[Placed, ...]
    unusable: tuple[str, ...] = ()

    @property
    def sides(self) -> list[Sides]:
        """Who is on which side, of each split."""
        return [Sides.of(one.split, self.table, one.rows) for one in self.placed]

    @property
    def names(self) -> str:
        """``split ds1-ds2; split ds1-ds2-published``, with the number of folds of each."""
        folds: dict[str, int] = {}
        for one in self.placed:
            folds[one.split.name] = folds.get(one.split.name, 0) + 1
        said = [f"split {name}{f' ({n} folds)' if n > 1 else ''}" for name, n in folds.items()]
        return "; ".join(said) or "no split"


def look_at_store(store: Store, which: str | None) -> Looked:
    """A store with its default windows and splits: those it publishes, or the one that is named.

    Parameters
    ----------
    store : Store
    which : str, optional
        Name of a published split, a split file (``.json``), or a configuration, which also says how windows are cut.

    Raises
    ------
    UsageError
        There is no such split, or it names who is not in the store.
    """
    if which is None:
        table, _ = looked_at(store)
        placed, unusable = [], []
        for name in store.splits:
            try:
                placed += place(given(store.splits[name], name), table)
            except BioclError as error:
                unusable.append(f"{name} ({error.what})")
        return Looked(store, table, tuple(placed), tuple(unusable))
    if which in store.splits or which.endswith(".json"):
        table, _ = looked_at(store)
        content = store.splits[which] if which in store.splits else read_json(Path(which))
        return Looked(store, table, tuple(place(given(content, which), table)))
    if not Path(which).suffix and store.splits and not Path(which).exists():
        raise UsageError(
            f"This store publishes no split {which!r}",
            "--split",
            f"{did_you_mean(which, store.splits)}, or give a file",
        )
    experiment = load_experiment(Path(which))
    data = experiment.data.model_copy(update={"store": str(store.path), "dataset": None})
    table = window_table(store, data)
    return Looked(store, table, tuple(place(splits_as_given(experiment, store, table), table)))


def given(content: Mapping[str, Any], where: str) -> list[Split]:
    """The folds of a split file's content, leaks and all."""
    named = {"name": where, **content} if isinstance(content, Mapping) else content
    return splits_from_json(named, where, GivenSplit)


def splits_as_given(experiment: Experiment, store: Store, table: WindowTable) -> list[Split]:
    """The splits of a configuration; what stands in a list or a file is taken as it stands."""
    match experiment.split:
        case FileSplit() as spec:
            return given(read_json(Path(spec.file)), spec.file)
        case NamedSplit() as spec if spec.name in store.splits:
            return given(store.splits[spec.name], spec.name)
    known = bool(store.meta.get("patients_known", True))
    return make_splits(experiment.split, table, store.splits, patients_known=known)


def place(splits: Sequence[Split], table: WindowTable) -> list[Placed]:
    """Splits with their rows; whom a split names must be in the store."""
    for split in splits:
        check_names(split, table)
    return [Placed(split, used(split, table)) for split in splits]


def patients_check(looked: Looked) -> Check:
    """A patient in two parts."""
    found = [finding for one in looked.placed for finding in patients_in_two_parts(one.split)]
    return split_check("patients in two parts", looked, found, f"{len(looked.store.patient_names)} patients")


def overlap_check(looked: Looked) -> Check:
    """Windows that overlap, or nearly touch, across parts."""
    found, dropped = [], 0
    for split, rows in ((one.split, one.rows) for one in looked.placed):
        found += [*overlaps(split, looked.table, rows), *small_gaps(split, looked.table, rows)]
        n = left_out(split, looked.table) if split.scope != "patient" else 0
        dropped += n if not any(finding.level == "leak" for finding in found) else 0
    said = f"{len(looked.table)} windows of {looked.table.n_times / looked.table.sfreq:g} s"
    said += f"; biocl leaves {dropped} out of training, since they overlap with those judged" if dropped else ""
    return split_check("windows overlapping across parts", looked, found, said)


def split_check(name: str, looked: Looked, found: list[Finding], said: str) -> Check:
    """A check of all splits."""
    said = f"{said}, {looked.names}"
    if looked.unusable:
        said += f"; not looked at: {', '.join(looked.unusable)}"
    if not looked.placed:
        return Check(name, said, skipped="there is no split to look at: name one with --split")
    return Check(name, said, merged(found))


def identity_check(store: Store, sides: Sequence[Sides], found: Identities) -> Check:
    """One person under two ids: a leak on two sides, and else a thing to know."""
    recordings = recordings_of(store)
    findings: list[Finding] = []
    for suspicion in found.suspicions:
        one, other = suspicion.patients
        hit = [(side.where, parts) for side in sides if (parts := apart_of(side, recordings[one], recordings[other]))]
        what = f"Patients {one} and {other} may be one person: {suspicion.why}"
        findings += sorted_out(hit, suspicion.patients, what, f"Look at both; if they are one, give them one id{KEEP}")
    return Check("one person under two ids", found.looked_at, merged(findings))


KEEP = ", or keep both on one side of every split"


def apart_of(side: Sides, one: Sequence[str], other: Sequence[str]) -> str:
    """The parts that two groups of recordings are in, where the sides promise to keep people apart."""
    return side.apart(one, other) if side.between_patients else ""


def sorted_out(hit: list[tuple[str, str]], who: tuple[str, ...], what: str, fix: str) -> list[Finding]:
    """A leak for each split with both sides; one note if there is none."""
    if not hit:
        return [Finding("note", who, "on no two sides of what was looked at", what, fix)]
    return [Finding("leak", who, f"{where}: {parts}", what, fix) for where, parts in hit]


def recordings_of(store: Store) -> dict[str, list[str]]:
    """Names of the recordings of each patient."""
    found: dict[str, list[str]] = {name: [] for name in store.patient_names}
    columns = store.meta["recordings"]
    for name, patient in zip(columns["name"], columns["patient"], strict=True):
        found[patient].append(name)
    return found


def duplicates_check(store: Store, table: WindowTable, sides: Sequence[Sides], found: list[Duplicate]) -> Check:
    """Copies of a stretch of signal: a leak on two sides; under two ids on one side, a thing to know."""
    columns = store.meta["recordings"]
    findings: list[Finding] = []
    for copy in found:
        one, other = columns["name"][copy.one], columns["name"][copy.other]
        whose = columns["patient"][copy.one], columns["patient"][copy.other]
        n, stretch = copy.stretch.n_times, copy.stretch
        places = (one, stretch.one, stretch.one + n), (other, stretch.other, stretch.other + n)
        hit = [(side.where, parts) for side in sides if (parts := side.stretches_apart(table, *places))]
        if not hit and whose[0] == whose[1]:
            continue  # the same person twice on one side: nothing leaks, and the data set may mean it
        kind = "a copy" if copy.exact else f"nearly a copy (r {stretch.r:.3f})"
        ids = f" under two ids ({whose[0]}, {whose[1]})" if whose[0] != whose[1] else f" of patient {whose[0]}"
        what = (
            f"{n / store.sfreq:.4g} s of recording {one} from {stretch.one / store.sfreq:.4g} s on are {kind} of "
            f"recording {other} from {stretch.other / store.sfreq:.4g} s on{ids}"
        )
        findings += sorted_out(hit, tuple(dict.fromkeys(whose)), what, f"Leave one of them out{KEEP}")
    seconds = float(store.numbers["n_times"].sum()) / store.sfreq
    return Check("the same signal twice", f"{len(store)} recordings, {seconds:.6g} s, at every shift", merged(findings))


def confounding_check(store: Store, table: WindowTable) -> Check:
    """Classes that coincide with a device or a site."""
    name = "classes that coincide with device or site"
    known, classes = recorded(store), classes_of_recordings(table)
    if not known:
        return Check(name, "labels of recordings", skipped="no label says on which device or at which site")
    if not classes:
        return Check(name, "labels of recordings", skipped="no recording has windows of one class only")
    compared = [confounded(one, classes, f"store {store.path.name}") for one in known]
    findings = merged([finding for _, finding in compared if finding is not None])
    return Check(name, "; ".join(said for said, _ in compared), findings)


def checks_of(looked: Looked, more: Sequence[Sides] = ()) -> list[Check]:
    """Every check of a store and its splits; `more` are sides of another kind, such as an encoder's."""
    store, sides = looked.store, [*looked.sides, *more]
    return [
        patients_check(looked),
        identity_check(store, sides, suspected_identities(store)),
        duplicates_check(store, looked.table, sides, duplicates(store)),
        overlap_check(looked),
        confounding_check(store, looked.table),
    ]
