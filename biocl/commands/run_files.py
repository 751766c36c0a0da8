"""A finished run folder read back: what it says of itself, without its store."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from biocl.config import load_experiment
from biocl.errors import DataError, UsageError
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.training.run import read_metrics

PATIENT_SCORES = {"classification": ("macro_f1", "accuracy"), "regression": ("mae",)}
OF_A_ROW = {
    "evaluate": {"devices", "classes", "labels", "mode", "arm", "title", "part", "unit", "n_draws", "n_test_patients"},
    "forecasting": {"span", "mode", "arm", "title", "part", "look_back", "horizon"},
    "finetune": {"protocol", "marks", "part", "unit", "labels", "mode", "over_windows", "per_patient"},
}
"""Keys of ``results.json`` that a page and a comparison read."""
RowKey = tuple[str, str, str, str, str]
"""Devices, classes (or target), labels, mode, arm, as they stand in ``predictions.csv``."""


@dataclass(frozen=True)
class RunFiles:
    """What a run folder holds.

    Attributes
    ----------
    path : Path
    kind : str
        ``pretrain``, ``finetune`` or ``evaluate``.
    experiment : Experiment
    config, command : str
        ``config.yaml`` and ``command.txt``.
    environment : mapping
    splits : list of mapping
        What the folder says of each fold: patients and windows by part, hashes.
    results : mapping or None
        ``results.json`` with NaN where it has null; None in a run that was not finished.
    encoders : list of mapping
        Which pretrained weights were judged; none in a pretraining.
    """

    path: Path
    kind: str
    experiment: Experiment
    config: str
    command: str
    environment: Mapping[str, Any]
    splits: list[dict[str, Any]]
    results: dict[str, Any] | None
    encoders: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def judged(self) -> str:
        """What is judged: ``classification``, ``multi-label``, ``regression`` or ``forecasting``."""
        return "classification" if self.kind == "finetune" else self.experiment.judged

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the tables."""
        return list((self.results or {}).get("rows", []))

    def patients(self, part: str | None = None) -> list[str]:
        """Every patient of a part, or of any."""
        parts = [fold["patients"] for fold in self.splits]
        named = {who for one in parts for key, people in one.items() if part in (None, key) for who in people}
        return sorted(named)

    def log(self, folder: Path | None = None) -> list[dict[str, Any]]:
        """Lines of a ``metrics.jsonl``; none where there is no such file, or it cannot be read."""
        try:
            return read_metrics((folder or self.path) / "metrics.jsonl")
        except (OSError, ValueError):
            return []

    def predictions(self) -> Iterator[dict[str, str]]:
        """Lines of ``predictions.csv``."""
        path = self.path / "predictions.csv"
        if not path.is_file():
            return
        csv.field_size_limit(2**24)
        with path.open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines)


def read_run(path: Path) -> RunFiles:
    """Read a run folder.

    Raises
    ------
    UsageError
        It is not one.
    DataError
        One of its files cannot be read.
    """
    if not (path / "run.json").is_file():
        raise UsageError(
            "This is not the folder of a biocl run",
            path,
            "Name a folder that `biocl pretrain`, `finetune` or `evaluate` left",
        )
    split = read_json(path / "split.json")
    results, encoders = path / "results.json", path / "encoders.json"
    try:
        config = (path / "config.yaml").read_text(encoding="utf-8")
        command = (path / "command.txt").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"This run folder is not complete ({error})", path, "Take another copy of it") from error
    kind, experiment = str(read_json(path / "run.json").get("kind")), load_experiment(path / "config.yaml")
    found = undefined(read_json(results)) if results.is_file() else None
    check_results(found, kind, experiment.judged, results)
    return RunFiles(
        path,
        kind,
        experiment,
        config,
        command,
        read_json(path / "environment.json"),
        split.get("folds", [split]),
        found,
        read_json(encoders) if encoders.is_file() else [],
    )


def check_results(results: Any, kind: str, judged: str, path: Path) -> None:
    """Refuse results that an earlier biocl wrote, whose tables were others.

    Raises
    ------
    DataError
    """
    if results is None or kind == "pretrain":
        return
    rows = results.get("rows", []) if kind == "evaluate" else [results]
    needed = OF_A_ROW[kind if kind != "evaluate" else "forecasting" if judged == "forecasting" else kind]
    lacking = sorted({key for row in rows for key in needed - set(row)})
    if lacking or (kind == "evaluate" and not rows):
        raise DataError(
            f"These results are not such as this biocl writes ({', '.join(lacking) or 'rows'} missing)",
            path,
            "Give the command in command.txt again with --resume: tables are made anew from the predictions",
        )


def undefined(value: Any) -> Any:
    """The same with NaN where a metric's value is null: JSON has no NaN, and tables tell it from nothing."""
    if isinstance(value, dict):
        return {
            key: float("nan") if item is None and key in ("value", "mean", "median") else undefined(item)
            for key, item in value.items()
        }
    return [undefined(item) for item in value] if isinstance(value, list) else value


def row_key(row: Mapping[str, Any]) -> RowKey:
    """How a row of the tables is called in ``predictions.csv``."""
    return (" ".join(row["devices"]), " ".join(row["classes"]), row["labels"], row["mode"], row["arm"])


def own_scores_of(files: RunFiles) -> dict[str, dict[RowKey, dict[str, float]]]:
    """Each patient's own score in every row, means over draws and folds, by the name of the score.

    As `biocl.commands.results.patient_scores` has them where patients are the unit.
    """
    metrics = PATIENT_SCORES.get(files.judged, ())
    found: dict[str, dict[RowKey, dict[str, list[float]]]] = {metric: {} for metric in metrics}
    for line in files.predictions() if files.kind == "evaluate" else ():
        classes = line["target"] if files.judged == "regression" else line.get("classes", "")
        key = (line["devices"], classes, line["labels"], line["mode"], line["arm"])
        for metric in metrics:
            found[metric].setdefault(key, {}).setdefault(line["patient"], []).append(float(line[metric]))
    return {
        metric: {key: {who: float(np.mean(values)) for who, values in own.items()} for key, own in rows.items()}
        for metric, rows in found.items()
    }


def windows_of_patients(files: RunFiles) -> dict[str, int]:
    """How many windows of each patient were judged, of the first task (in one fold, where several judge them)."""
    found: dict[str, int] = {}
    first = None
    keys = ("classes", "target", "labels", "draw", "mode", "arm", "devices")
    for line in files.predictions():
        row = [line.get(key) for key in keys]
        first = first or row
        if row == first:
            n = found.get(line["patient"], 0) + 1
            found[line["patient"]] = int(line.get("n_windows", n))
    return found
