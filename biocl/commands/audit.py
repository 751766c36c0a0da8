"""Look for leakage of every kind, in a store and its splits or in what a run left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biocl.commands.audit_checks import Looked, checks_of, look_at_store
from biocl.commands.audit_shortcuts import NAME, rows_looked_at, shortcuts, store_shortcuts
from biocl.errors import DataError, LeakageError, UsageError
from biocl.splits.findings import Check, Finding, counted
from biocl.store.store import Store

if TYPE_CHECKING:
    from biocl.commands.audit_run import Run
    from biocl.evaluation.shortcuts import ToldApart

FORMAT = 1
MARK = {"leak": "LEAK", "warning": "WARNING", "note": "note"}


@dataclass(frozen=True)
class Audit:
    """What was audited, all checks, and how well patients and devices are told apart."""

    path: Path
    kind: str
    looked: Looked
    checks: list[Check]
    told: list[ToldApart]

    @property
    def leaks(self) -> list[Finding]:
        """The findings that spoil a result."""
        return [finding for check in self.checks for finding in check.findings if finding.level == "leak"]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; the keys stay."""
        meta = self.looked.store.meta
        return {
            "format": FORMAT,
            "path": str(self.path),
            "kind": self.kind,
            "dataset": meta["dataset"],
            "version": meta["version"],
            "store": str(self.looked.store.path),
            "splits": list(dict.fromkeys(one.split.name for one in self.looked.placed)),
            "found": counted(self.checks),
            "checks": [check.to_json() for check in self.checks],
            "shortcuts": [one.to_json() for one in self.told],
        }


def audit(path: Path, split: str | None = None) -> Audit:
    """Audit a store with its splits, or a run folder.

    Parameters
    ----------
    path : Path
        A store, or the folder of a pretraining, a fine-tuning or an evaluation.
    split : str, optional
        Of a store: the name of a published split, a split file or a configuration; default: all that it publishes.

    Raises
    ------
    DataError
        There is neither, or it is half-written or damaged.
    UsageError
        The split does not fit the store, or was given for a run, which has its own.
    """
    if not path.is_dir():
        raise DataError("There is no store and no run folder here", path, "Check the path")
    if (path / "store.json").is_file():
        looked = look_at_store(Store.open(path), split)
        check, told = store_shortcuts(looked.store, looked.table)
        return Audit(path, "store", looked, [*checks_of(looked), check], told)
    from biocl.commands.audit_run import is_run, read_run

    if not is_run(path):
        raise DataError(
            "This folder is neither a store (no store.json) nor a run (no run.json)",
            path,
            "Give a store that `biocl data prepare` made, or a run folder",
        )
    if split is not None:
        raise UsageError("A run has a split of its own", "--split", "Leave --split out, or audit the store")
    return audit_run(read_run(path))


def audit_run(run: Run) -> Audit:
    """Every check of a run: of its store and split, of its record, and of its encoders."""
    from biocl.commands.audit_encoders import first_embedding, fitted_check, open_encoders, pretraining_check
    from biocl.commands.audit_run import recorded_findings

    looked = run.looked
    encoders = open_encoders(run)
    pretraining, sides = pretraining_check(run, encoders)
    said = f"{len(run.records)} records in split.json" + ("" if run.is_finished else "; the run is not finished")
    record = Check("what the run recorded", said, tuple(recorded_findings(run)))
    rows = rows_looked_at(looked.table)
    embedding = first_embedding(run, encoders, rows)
    told: list[ToldApart] = []
    if isinstance(embedding, str) or not len(rows):
        last = Check(NAME, "frozen embedding", skipped=str(embedding))
    else:
        last, told = shortcuts(looked.store, looked.table, rows, *embedding)
    checks = [*checks_of(looked, sides), record, pretraining, fitted_check(run, encoders), last]
    return Audit(run.path, run.kind, looked, checks, told)


def print_audit(found: Audit, *, as_json: bool) -> None:
    """Print every check with what it looked at, and what it found."""
    if as_json:
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        return
    meta = found.looked.store.meta
    print(f"audit of {found.kind} {found.path}: {meta['dataset']} {meta['version']}, {found.looked.names}")
    for check in found.checks:
        print(f"\n{check.name}\n  looked at: {check.looked_at}")
        if check.skipped:
            print(f"  not checked: {check.skipped}")
        elif check.name == NAME:
            print("  never a leak by itself")
        elif not check.findings:
            print("  nothing found")
        for finding in check.findings:
            print(f"  {MARK[finding.level]}: {finding.what}.\n    where: {finding.where}\n    to do: {finding.fix}.")
    print(f"\n{verdict(found)}")


def verdict(found: Audit) -> str:
    """``no leak found (1 warning, 2 notes)``."""
    counts = counted(found.checks)
    other = ", ".join(f"{n} {word}{'s' * (n > 1)}" for word in ("warning", "note") if (n := counts[word]))
    n = counts["leak"]
    leaks = f"{n} leak{'s' * (n > 1)} found" if n else "no leak found"
    return f"{leaks}{f' ({other})' if other else ''}"


def refuse_leaks(found: Audit) -> None:
    """Raise what ends the command with exit code 4, where there is a leak.

    Raises
    ------
    LeakageError
        Naming the first leak.
    """
    if not found.leaks:
        return
    first, n = found.leaks[0], len(found.leaks)
    more = f" (the first of {n} leaks)" if n > 1 else ""
    raise LeakageError(f"{first.what}{more}", f"{found.path}, {first.where}", first.fix)
