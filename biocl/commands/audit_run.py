"""A run folder read for an audit: its record of the split, its windows, and the encoders that it judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from biocl.commands.audit_checks import Looked, Placed, given, place, splits_as_given
from biocl.commands.forecasts import experiment_of, spans_of
from biocl.commands.prepare import open_store, window_table
from biocl.config import load_experiment
from biocl.errors import DataError
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.splits.findings import Finding, names
from biocl.splits.split import PARTS

KINDS = ("pretrain", "finetune", "evaluate")
HALF = "The run was stopped before it began, or the folder was copied in part: start it again, or copy it whole"


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes
    ----------
    path : Path
    kind : {"pretrain", "finetune", "evaluate"}
    experiment : Experiment
        Of a study of several spans, the first one's.
    records : tuple of dict
        What ``split.json`` says of each fold.
    encoders : tuple of dict
        ``encoders.json``; of a pretraining, itself. Empty where the run did not come so far.
    """

    path: Path
    kind: str
    experiment: Experiment
    records: tuple[Mapping[str, Any], ...]
    encoders: tuple[Mapping[str, Any], ...]

    @property
    def is_finished(self) -> bool:
        """Whether its results are there."""
        return (self.path / "results.json").is_file()

    @cached_property
    def looked(self) -> Looked:
        """Store, windows and splits of the run.

        Raises
        ------
        DataError
            The store is not there, or is not the one that the run was made with.
        """
        data = self.experiment.data
        store = open_store(data)
        hashes = {record["store_hash"] for record in self.records}
        if hashes != {store.content_hash}:
            raise DataError(
                "The store is not the one this run was made with: it holds other recordings, or was conditioned "
                "otherwise",
                f"{self.path / 'split.json'}, {store.path}",
                "Prepare the store again as the run's config.yaml says, or audit the run where it was made",
            )
        table = window_table(store, data)
        written = self.path / "split_file.json"
        if written.is_file():
            splits = given(read_json(written), str(written))
        else:
            splits = splits_as_given(self.experiment, store, table)
        if self.kind != "evaluate":
            splits = [split for number, split in enumerate(splits) if number == self.records[0]["fold"]]
        if not splits:
            raise DataError("The split has no such fold as this run names", self.path / "split.json", HALF)
        return Looked(store, table, tuple(place(splits, table)))

    def record_of(self, fold: int) -> Mapping[str, Any]:
        """What is recorded of a fold."""
        return self.records[fold] if self.kind == "evaluate" and fold < len(self.records) else self.records[0]

    def placed_of(self, fold: int) -> Placed:
        """Split and rows of a fold."""
        placed = self.looked.placed
        return placed[fold] if self.kind == "evaluate" and fold < len(placed) else placed[0]


def is_run(path: Path) -> bool:
    """Whether a folder is, or was to become, a run's."""
    return any((path / name).is_file() for name in ("run.json", "split.json", "config.yaml", "command.txt"))


def read_run(path: Path) -> Run:
    """Read a run folder.

    Raises
    ------
    DataError
        It is half-written or cannot be read.
    UsageError
        Its configuration is not one that this version reads.
    """
    for name in ("run.json", "config.yaml", "split.json"):
        if not (path / name).is_file():
            raise DataError(f"This run folder has no {name}, so it cannot be audited", path, HALF)
    head, recorded = read_json(path / "run.json"), read_json(path / "split.json")
    kind = head.get("kind") if isinstance(head, dict) else None
    if kind not in KINDS:
        raise DataError(f"This folder says to be a run of kind {kind!r}", path / "run.json", f"Give {names(KINDS)}")
    folds = recorded.get("folds", [recorded]) if isinstance(recorded, dict) else []
    for record in folds or [None]:
        check_record(record, path / "split.json", of_one=kind != "evaluate")
    experiment = load_experiment(path / "config.yaml")
    if kind == "evaluate" and experiment.judged == "forecasting":
        experiment = experiment_of(experiment, spans_of(experiment)[0], experiment.seed)
    return Run(path, kind, experiment, tuple(folds), tuple(encoders_of(path, kind, folds)))


def check_record(record: Any, where: Path, *, of_one: bool) -> None:
    """Refuse a fold's record that lacks what the audit reads."""
    needed: dict[str, type] = {
        "name": str,
        "scope": str,
        "digest": str,
        "windows_digest": str,
        "store_hash": str,
        "patients": dict,
    }
    needed |= {"n_windows": dict, **({"fold": int} if of_one else {})}
    lacking = [
        key for key, kind in needed.items() if not isinstance(record, dict) or not isinstance(record.get(key), kind)
    ]
    lists = record.get("patients", {}).values() if not lacking else []
    if lacking or not all(isinstance(one, list) for one in lists):
        raise DataError(
            f"This record of the split is not whole: {names(lacking or ['patients'])} is missing or of another kind",
            where,
            HALF,
        )


def encoders_of(path: Path, kind: str, folds: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The encoders that a run judged; of a pretraining itself, once it has a checkpoint."""
    if kind == "pretrain":
        there = any((path / "checkpoints").glob("step-*"))
        return [{"fold": folds[0]["fold"], "run": str(path), "step": None, "weights": None}] if there else []
    written = path / "encoders.json"
    found = read_json(written) if written.is_file() else []
    if not isinstance(found, list) or not all(isinstance(one, dict) and {"fold", "run"} <= one.keys() for one in found):
        raise DataError("This list of encoders is not one", written, HALF)
    return found


def recorded_findings(run: Run) -> list[Finding]:
    """What the run's own record says: patients in two parts, and windows that the split does not give."""
    found = []
    for number, record in enumerate(run.records):
        if "span" in record and record["span"] != run.records[0]["span"]:
            continue
        where = f"run {run.path.name}, fold {record.get('fold', number)}"
        placed = run.placed_of(number)
        found += recorded_twice(record, where, placed) if record["scope"] == "patient" else []
        if record["windows_digest"] != run.looked.table.digest():
            found.append(
                Finding(
                    "warning",
                    (),
                    where,
                    "The windows that the configuration gives today are not those that the run used",
                    "Audit the run with the version of biocl that made it (environment.json)",
                )
            )
            continue
        found += other_windows(record, where, placed)
    return found


def recorded_twice(record: Mapping[str, Any], where: str, placed: Placed) -> list[Finding]:
    """Patients whom ``split.json`` lists in two parts although the split does not."""
    parts = {part: set(record["patients"].get(part, [])) for part in PARTS}
    known = {part: set(placed.split.parts[part]) for part in PARTS}
    found = []
    for one, other in (("train", "test"), ("validation", "test"), ("train", "validation")):
        for patient in sorted((parts[one] & parts[other]) - (known[one] & known[other])):
            found.append(
                Finding(
                    "leak",
                    (patient,),
                    f"{where}: {one} and {other}",
                    f"The run's record has patient {patient} in {one} and in {other}",
                    "Run it again; quote no result of this run as patient-independent",
                )
            )
    return found


def other_windows(record: Mapping[str, Any], where: str, placed: Placed) -> list[Finding]:
    """Parts of which the run used another number of windows than the split gives."""
    found = []
    for part, n in record["n_windows"].items():
        own = len(placed.rows[part]) if part in placed.rows else n
        if n != own:
            more = part == "train" and n > own
            found.append(
                Finding(
                    "leak" if more else "warning",
                    (),
                    f"{where}: {part}",
                    f"The run used {n} {part} windows, and its split gives {own}"
                    + (", the others overlapping with those judged or belonging to other parts" if more else ""),
                    "Run it again with the split that stands beside it",
                )
            )
    return found
