"""Run a whole protocol: folds, tasks, label sizes, draws, modes and floors, with paired comparisons."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.pretrain import pretrain
from biocl.commands.setup import Cohort, open_cohort, split_record
from biocl.commands.study import (
    Fold,
    check_unseen,
    draw_for,
    floor_arms,
    load_prediction,
    predict_cell,
    save_prediction,
)
from biocl.config import Experiment, to_yaml
from biocl.errors import UsageError
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.intervals import (
    bootstrap_mean,
    bootstrap_metrics,
    paired_difference,
    paired_pooled_difference,
)
from biocl.evaluation.metrics import metrics_by_unit
from biocl.evaluation.protocol import (
    FLOOR_MODE,
    PRETRAINED,
    UNTRAINED,
    Cell,
    cells,
    title_of,
)
from biocl.evaluation.tables import markdown, number, with_interval
from biocl.files import read_json, write_json, write_text
from biocl.training.checkpoint import Checkpoint, load_checkpoint
from biocl.training.optimisation import resolve_device
from biocl.training.run import progress, start_run

Row = tuple[tuple[str, ...], str, str, str]


def evaluate(
    experiment: Experiment, from_run: Path | None, out: Path, *, device: str = "auto", resume: bool = False
) -> str:
    """Compute every cell of the protocol and leave a run folder with tables.

    Parameters
    ----------
    experiment : Experiment
    from_run : Path, optional
        Run folder of a pretraining. Without it a finished pretraining with this configuration is looked
        for beside `out`, and otherwise each fold is pretrained inside `out`.
    out : Path
        The run folder. ``cells/`` holds the probabilities of every cell, ``predictions.csv`` one line per
        patient and cell, ``results.json`` the tables.
    device : str
    resume : bool
        Continue: cells that are there are not computed again.

    Returns
    -------
    str
        The tables, ready to print.

    Raises
    ------
    LeakageError
        The encoder was trained on test patients.
    """
    cohort = open_cohort(experiment)
    n_folds = len(cohort.splits)
    parts = [cohort.parts(fold) for fold in range(n_folds)]
    records = [split_record(split, cohort.windows, parts[i]) for i, split in enumerate(cohort.splits)]
    run = start_run(out, config=to_yaml(experiment), split={"folds": records}, kind="evaluate", resume=resume)
    marks = list(dict.fromkeys(mark for split in cohort.splits for mark in split.marks))
    folds = []
    for fold in range(n_folds):
        checkpoint = pretrained_checkpoint(experiment, cohort, fold, from_run, run, device)
        marks += check_unseen(checkpoint, cohort, parts[fold], allow=experiment.evaluate.allow_seen)
        folds.append(Fold(experiment, cohort, fold, parts[fold], checkpoint.best_weights, resolve_device(device)))
    class_sets = [tuple(names) for names in experiment.evaluate.class_sets or [list(cohort.windows.table.classes)]]
    planned = list(cells(experiment.evaluate, class_sets, floor_arms(folds[0]), n_folds))
    with progress("evaluate", len(planned)) as advance:
        for cell in planned:
            if load_prediction(run / "cells", cell) is None:
                save_prediction(run / "cells", cell, predict_cell(folds[cell.fold], cell))
            advance(1, f"{cell.mode} {cell.arm}")
    # From here on test labels are read: every classifier is chosen and its predictions are on disk.
    results = {
        "protocol": protocol_name(experiment, cohort),
        "marks": list(dict.fromkeys(marks)),
        "draws": [
            drawn_labels(folds[cell.fold], cell)
            for cell in planned
            if (cell.mode, cell.arm) == (planned[0].mode, planned[0].arm)
        ],
        **tabulate(folds, planned, run / "cells", n_draws=experiment.evaluate.bootstrap_draws),
    }
    write_json(run / "results.json", results)
    write_text(run / "predictions.csv", patient_lines(folds, planned, run / "cells"))
    text = format_results(results)
    write_text(run / "tables.md", text)
    return f"{text}\n\nrun folder: {run}"


def pretrained_checkpoint(
    experiment: Experiment, cohort: Cohort, fold: int, from_run: Path | None, run: Path, device: str
) -> Checkpoint:
    """The weights to judge: of the named run, of a finished run with this configuration, or trained now."""
    if from_run is not None:
        if not (from_run / "checkpoints").is_dir():
            raise UsageError(
                "This is not the run folder of a pretraining",
                from_run,
                "Give --from the folder that `biocl pretrain` left",
            )
        return load_checkpoint(from_run / "checkpoints", resolve_device(device))
    found = finished_pretraining(experiment, run.parent, fold)
    if found is None:
        found = run / f"pretrain-fold{fold}"
        pretrain(experiment, found, device=device, resume=True, fold=fold, cohort=cohort)
    return load_checkpoint(found / "checkpoints", resolve_device(device))


def finished_pretraining(experiment: Experiment, folder: Path, fold: int) -> Path | None:
    """The newest finished pretraining in a folder of runs with the same configuration and fold."""
    for path in sorted(folder.glob("*/results.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        run = path.parent
        if not (run / "checkpoints").is_dir() or read_json(run / "split.json").get("fold") != fold:
            continue
        if load_checkpoint(run / "checkpoints").state.get("pretraining_digest") == experiment.pretraining_digest:
            return run
    return None


def protocol_name(experiment: Experiment, cohort: Cohort) -> str:
    """What a table is headed with: data set, split, scope, and what the scope allows to say."""
    split = cohort.splits[0]
    independent = (
        "patient-independent"
        if split.scope == "patient" and not split.allow_shared
        else f"scope: {split.scope}, NOT patient-independent"
    )
    folds = f", {len(cohort.splits)} folds" if len(cohort.splits) > 1 else ""
    return f"{cohort.windows.store.meta['dataset']}, {split.name} ({independent}{folds}), seed {experiment.seed}"


def drawn_labels(fold: Fold, cell: Cell) -> dict[str, Any]:
    """Which patients and windows a draw labelled, for the run folder."""
    data = Labelled.make(fold.windows, list(cell.classes))
    _, drawn = draw_for(fold, data, cell.labels, cell.draw)
    return {"classes": list(cell.classes), "fold": cell.fold, "mark": drawn.mark(), **drawn.to_json()}


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


def patient_scores(y: np.ndarray, proba: np.ndarray, patients: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Each patient's own macro-F1, averaged over draws."""
    tables = [metrics_by_unit(y, draw, patients, classes) for draw in proba]
    return {name: float(np.mean([table[name]["macro_f1"] for table in tables])) for name in tables[0]}


def tabulate(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path, *, n_draws: int) -> dict[str, Any]:
    """Rows with intervals over patients, and the paired differences that the rows suggest."""
    found = predictions_by_row(planned, folder)
    truths = {row[0]: truth(folds, row[0]) for row in found}
    rows, scores = [], {}
    for row, proba in found.items():
        classes, labels, mode, arm = row
        y, patients = truths[classes]
        scores[row] = patient_scores(y, proba, patients, classes)
        rows.append(
            {
                "classes": list(classes),
                "labels": labels,
                "mode": mode,
                "arm": arm,
                "title": title_of(mode, arm),
                "n_draws": len(proba),
                "n_test_patients": len(scores[row]),
                "metrics": {
                    name: interval.to_json()
                    for name, interval in bootstrap_metrics(y, proba, patients, classes, n_draws=n_draws).items()
                },
                "patient_macro_f1": bootstrap_mean(list(scores[row].values()), n_draws=n_draws).to_json(),
            }
        )
    differences = []
    for first, second in compared(list(found)):
        classes = first[0]
        y, patients = truths[classes]
        pooled = paired_pooled_difference(y, found[first], found[second], patients, classes, n_draws=n_draws)
        differences.append(
            {
                "classes": list(classes),
                "labels": first[1],
                "first": f"{title_of(*first[2:])} ({first[2]})",
                "second": f"{title_of(*second[2:])} ({second[2]})",
                "macro_f1": pooled["macro_f1"].to_json(),
                "patient_macro_f1": paired_difference(scores[first], scores[second], n_draws=n_draws).to_json(),
            }
        )
    return {"rows": rows, "differences": differences}


def compared(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Pretrained against untrained in every mode, and the linear probe against each floor of features."""
    pairs = []
    for row in rows:
        classes, labels, mode, arm = row
        if arm != PRETRAINED:
            continue
        others = [(classes, labels, mode, UNTRAINED)]
        if mode == "linear":
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
        blocks.append(
            f"classes {' '.join(classes)}, {rows[0]['n_test_patients']} test patients; "
            f"[{level:.0%} bootstrap interval over patients]; metrics over windows unless named per patient"
        )
        blocks.append(
            markdown(
                ["labels", "mode", "what", "macro-F1", "accuracy", "AUROC", "AUPRC", "macro-F1 per patient"],
                [
                    [
                        row["labels"],
                        row["mode"],
                        row["title"],
                        with_interval(row["metrics"]["macro_f1"]),
                        *(number(row["metrics"][name]["value"]) for name in ("accuracy", "auroc", "auprc")),
                        with_interval(row["patient_macro_f1"]),
                    ]
                    for row in rows
                ],
            )
        )
        pairs = [pair for pair in results["differences"] if tuple(pair["classes"]) == classes]
        blocks.append("differences (first minus second), paired over the same resampled patients")
        blocks.append(
            markdown(
                ["labels", "first", "second", "macro-F1", "macro-F1 per patient", "p (sign flip)"],
                [
                    [
                        pair["labels"],
                        pair["first"],
                        pair["second"],
                        with_interval({**pair["macro_f1"], "value": pair["macro_f1"]["mean"]}),
                        with_interval({**pair["patient_macro_f1"], "value": pair["patient_macro_f1"]["mean"]}),
                        number(pair["patient_macro_f1"]["p"]),
                    ]
                    for pair in sorted(pairs, key=lambda pair: sizes.index(pair["labels"]))
                ],
            )
        )
    return "\n\n".join(blocks)
