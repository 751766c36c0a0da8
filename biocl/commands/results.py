"""From the cells on disk to tables: rows with intervals over patients, and paired differences."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.study import Fold, load_prediction
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.intervals import (
    Resampled,
    bootstrap_mean,
    bootstrap_metrics,
    paired_difference,
    pooled_difference,
    resample_metrics,
)
from biocl.evaluation.metrics import AGGREGATIONS, aggregate, has_one_label, metrics_by_unit
from biocl.evaluation.protocol import FLOOR_MODE, PRETRAINED, UNTRAINED, Cell, title_of
from biocl.evaluation.tables import markdown, number, with_interval

Row = tuple[tuple[str, ...], str, str, str]


def truth(folds: Sequence[Fold], classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and patient names of a task's test windows, fold after fold."""
    labels, patients = [], []
    for fold in folds:
        data = Labelled.make(fold.windows, list(classes))
        test = data.among(fold.parts["test"])
        labels.append(data.labels(test))
        patients.append(np.array(fold.windows.table.names["patient"])[data.patients(test)])
    return np.concatenate(labels), np.concatenate(patients)


def predictions_by_row(planned: Sequence[Cell], folder: Path) -> dict[Row, np.ndarray]:
    """Probabilities (n_draws, n_test, n_classes) of every table row, folds one after another."""
    rows: dict[Row, dict[int, list[np.ndarray]]] = {}
    for cell in planned:
        proba = load_prediction(folder, cell)
        assert proba is not None
        rows.setdefault(cell.row, {}).setdefault(cell.draw, []).append(proba)
    return {row: np.stack([np.concatenate(draws[d]) for d in sorted(draws)]) for row, draws in rows.items()}


def own_metric(y: np.ndarray, patients: np.ndarray) -> str:
    """How each patient's own windows are scored: macro-F1, or accuracy where a patient has one label throughout.

    With one label a patient, a single wrong window would halve a macro-F1.
    """
    return "accuracy" if has_one_label(y, patients) else "macro_f1"


def patient_scores(y: np.ndarray, proba: np.ndarray, patients: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Each patient's own score (see `own_metric`), averaged over draws."""
    metric = own_metric(y, patients)
    tables = [metrics_by_unit(y, draw, patients, classes) for draw in proba]
    return {name: float(np.mean([table[name][metric] for table in tables])) for name in tables[0]}


def patient_level(
    y: np.ndarray, proba: np.ndarray, patients: np.ndarray, classes: Sequence[str], n_draws: int
) -> dict[str, Any]:
    """Metrics with one row a patient, by aggregation; empty where a patient has windows of several labels."""
    if not has_one_label(y, patients):
        return {}
    found: dict[str, Any] = {}
    for how in AGGREGATIONS:
        per_draw = [aggregate(y, draw, patients, how) for draw in proba]
        names, labels, _ = per_draw[0]
        scores = np.stack([one[2] for one in per_draw])
        intervals = bootstrap_metrics(labels, scores, names, classes, n_draws=n_draws)
        found[how] = {name: interval.to_json() for name, interval in intervals.items()}
    return found


def tabulate(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path, *, n_draws: int) -> dict[str, Any]:
    """Rows with intervals over patients, and the paired differences that the rows suggest."""
    found = predictions_by_row(planned, folder)
    truths = {row[0]: truth(folds, row[0]) for row in found}
    rows: list[dict[str, Any]] = []
    scores: dict[Row, dict[str, float]] = {}
    resampled: dict[Row, Resampled] = {}
    for row, proba in found.items():
        classes, labels, mode, arm = row
        y, patients = truths[classes]
        scores[row] = patient_scores(y, proba, patients, classes)
        resampled[row] = resample_metrics(y, proba, patients, classes, n_draws=n_draws)
        rows.append(
            {
                "classes": list(classes),
                "labels": labels,
                "mode": mode,
                "arm": arm,
                "title": title_of(mode, arm),
                "n_draws": len(proba),
                "n_test_patients": len(scores[row]),
                "metrics": {name: interval.to_json() for name, interval in resampled[row].intervals().items()},
                "own_metric": own_metric(y, patients),
                "per_patient": bootstrap_mean(list(scores[row].values()), n_draws=n_draws).to_json(),
                "patient_level": patient_level(y, proba, patients, classes, n_draws),
            }
        )
    differences = []
    for first, second in compared(list(found), folds[0].experiment.variants):
        pooled = pooled_difference(resampled[first], resampled[second])
        differences.append(
            {
                "classes": list(first[0]),
                "labels": first[1],
                "first": f"{title_of(*first[2:])} ({first[2]})",
                "second": f"{title_of(*second[2:])} ({second[2]})",
                "macro_f1": pooled["macro_f1"].to_json(),
                "per_patient": paired_difference(scores[first], scores[second], n_draws=n_draws).to_json(),
            }
        )
    return {"rows": rows, "differences": differences}


def compared(rows: Sequence[Row], variants: Collection[str] = ()) -> list[tuple[Row, Row]]:
    """The experiment against its variants and the untrained encoder in every mode, and against each floor of features.

    Floors are compared with the modes that stand for what was learned before fine-tuning: joint and linear.
    """
    pairs = []
    for row in rows:
        classes, labels, mode, arm = row
        if arm != PRETRAINED:
            continue
        others = [(classes, labels, mode, name) for name in (*variants, UNTRAINED)]
        if mode in ("joint", "linear"):
            others += [
                other
                for other in rows
                if other[:3] == (classes, labels, FLOOR_MODE) and other[3] not in ("majority", "amplitude")
            ]
        pairs += [(row, other) for other in others if other in rows]
    return pairs


def patient_lines(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path) -> str:
    """``predictions.csv``: one line per cell and test patient."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["classes", "labels", "draw", "fold", "mode", "arm", "patient", "n_windows", "accuracy", "macro_f1"]
    )
    for cell in planned:
        y, patients = truth([folds[cell.fold]], cell.classes)
        proba = load_prediction(folder, cell)
        assert proba is not None
        for patient, scores in metrics_by_unit(y, proba, patients, cell.classes).items():
            n_windows = int((patients == patient).sum())
            writer.writerow(
                [
                    " ".join(cell.classes),
                    cell.labels,
                    cell.draw,
                    cell.fold,
                    cell.mode,
                    cell.arm,
                    patient,
                    n_windows,
                ]
                + [f"{scores[name]:.6f}" for name in ("accuracy", "macro_f1")]
            )
    return out.getvalue()


def format_results(results: dict[str, Any]) -> str:
    """The tables as text: one per task, then the differences."""
    blocks = [f"protocol: {results['protocol']}"]
    blocks += [f"MARKED: {mark}" for mark in results["marks"]]
    blocks += sorted(
        {f"note: {draw['mark']} ({' '.join(draw['classes'])})" for draw in results["draws"] if draw["mark"]}
    )
    for classes in dict.fromkeys(tuple(row["classes"]) for row in results["rows"]):
        rows = [row for row in results["rows"] if tuple(row["classes"]) == classes]
        sizes = list(dict.fromkeys(row["labels"] for row in rows))
        rows.sort(key=lambda row: sizes.index(row["labels"]))
        level = rows[0]["metrics"]["macro_f1"]["level"]
        own = f"{rows[0]['own_metric'].replace('_f1', '-F1')}, mean over patients"
        levels = list(rows[0]["patient_level"])
        blocks.append(
            f"classes {' '.join(classes)}, {rows[0]['n_test_patients']} test patients; "
            f"[{level:.0%} bootstrap interval over patients]; metrics over windows unless patients are named"
        )
        blocks.append(
            markdown(
                [
                    "labels",
                    "mode",
                    "what",
                    "macro-F1",
                    "accuracy",
                    "AUROC",
                    "AUPRC",
                    own,
                    *(f"patients' macro-F1 ({how})" for how in levels),
                ],
                [
                    [
                        row["labels"],
                        row["mode"],
                        row["title"],
                        with_interval(row["metrics"]["macro_f1"]),
                        *(number(row["metrics"][name]["value"]) for name in ("accuracy", "auroc", "auprc")),
                        with_interval(row["per_patient"]),
                        *(with_interval(row["patient_level"][how]["macro_f1"]) for how in levels),
                    ]
                    for row in rows
                ],
            )
        )
        pairs = [pair for pair in results["differences"] if tuple(pair["classes"]) == classes]
        blocks.append("differences (first minus second), paired over the same resampled patients")
        blocks.append(
            markdown(
                ["labels", "first", "second", "macro-F1", own, "p (sign flip)"],
                [
                    [
                        pair["labels"],
                        pair["first"],
                        pair["second"],
                        with_interval({**pair["macro_f1"], "value": pair["macro_f1"]["mean"]}),
                        with_interval({**pair["per_patient"], "value": pair["per_patient"]["mean"]}),
                        number(pair["per_patient"]["p"]),
                    ]
                    for pair in sorted(pairs, key=lambda pair: sizes.index(pair["labels"]))
                ],
            )
        )
    return "\n\n".join(blocks)
