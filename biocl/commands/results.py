"""From the cells on disk to tables: rows with intervals over patients, and paired differences."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.study import Fold, load_prediction
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.intervals import (
    FEWEST_PATIENTS,
    Resampled,
    bootstrap_mean,
    bootstrap_metrics,
    paired_difference,
    pooled_difference,
    resample_metrics,
    units_to_resample,
)
from biocl.evaluation.metrics import AGGREGATIONS, aggregate, has_one_label, metrics_by_unit, own_scores
from biocl.evaluation.protocol import FLOOR_MODE, PRETRAINED, UNTRAINED, Cell, devices_title, title_of
from biocl.evaluation.within_folds import complete_folds, fold_of_units

Row = tuple[tuple[str, ...], str, str, str]


@dataclass(frozen=True)
class Tested:
    """The windows of a task that are judged, in an order that all repeats of the split share.

    Test patients are judged once in every draw of the whole split. Validation patients (``evaluate.part``) are drawn
    anew in every fold, so that one may be judged by several folds and another by none: rows are then the windows of all
    folds, one fold after another, and a patient's value is the mean over the folds that held the patient out, whose
    classifiers differ. A patient is still one patient: of a window that stands there m times each row counts 1/m in
    what is pooled, and intervals resample patients with all their rows.

    Attributes
    ----------
    y, patient : numpy.ndarray, shape (n,)
        Labels (or numbers that are predicted) and names of patients.
    unit : numpy.ndarray, shape (n,)
        What intervals are over: the patient, or the trial of a study within few patients.
    word : str
        ``"patients"`` or ``"trials"``.
    fold : numpy.ndarray of int, shape (n_repeats, n)
        Which fold tests a window in each repeat.
    order : tuple of numpy.ndarray of int, one for each repeat, each of shape (n,)
        Puts the windows of a repeat's folds, one fold after another, in the shared order.
    share : numpy.ndarray, shape (n,), or None
        How much each row counts, where folds judge the same windows; None where each stands once.
    n_times : (int, int)
        The least and the largest number of folds that judge a window (repeats of the split apart).
    """

    y: np.ndarray
    patient: np.ndarray
    unit: np.ndarray
    word: str
    fold: np.ndarray
    order: tuple[np.ndarray, ...]
    share: np.ndarray | None = None
    n_times: tuple[int, int] = (1, 1)


def tested_windows(folds: Sequence[Fold], classes: tuple[str, ...]) -> Tested:
    """The windows of a task that are judged: fold after fold, or as the table has them where the split is repeated."""
    data = Labelled.make(folds[0].windows, list(classes))
    return tested_rows(folds, lambda fold: data.among(fold.judged), data.labels)


def tested_rows(
    folds: Sequence[Fold],
    rows_in: Callable[[Fold], np.ndarray],
    wanted: Callable[[np.ndarray], np.ndarray],
) -> Tested:
    """The windows that `rows_in` each fold are judged, with what is `wanted` of table rows."""
    table = folds[0].windows.table
    own: dict[int, list[tuple[int, np.ndarray]]] = {}
    for fold in folds:
        own.setdefault(repeat_of(fold), []).append((fold.number, rows_in(fold)))
    rows_of = [np.concatenate([rows for _, rows in own[repeat]]) for repeat in sorted(own)]
    numbers = [np.concatenate([np.full(len(rows), n) for n, rows in own[repeat]]) for repeat in sorted(own)]
    repeated = len(own) > 1
    order = tuple(np.argsort(rows, kind="stable") if repeated else np.arange(len(rows)) for rows in rows_of)
    rows = rows_of[0][order[0]]
    patients = np.array(table.names["patient"])[table.patient[rows]]
    word, unit = units_to_resample(folds[0].cohort.splits[folds[0].number].scope, patients, table.rows["trial"][rows])
    fold_of = np.stack([fold[places] for fold, places in zip(numbers, order, strict=True)])
    times = np.bincount(rows)[rows]
    share = 1 / times if (times > 1).any() else None
    n_times = (int(times.min()), int(times.max())) if len(times) else (1, 1)
    return Tested(wanted(rows), patients, unit, word, fold_of, order, share, n_times)


def repeat_of(fold: Fold) -> int:
    """Which draw of the whole split a fold belongs to; all are one where each fold's validation patients are judged."""
    return fold.cohort.splits[fold.number].repeat if fold.experiment.evaluate.part == "test" else 0


def predictions_by_row(
    folds: Sequence[Fold],
    planned: Sequence[Cell],
    folder: Path,
    tested: Mapping[tuple[str, ...], Tested],
    name: str = "proba",
) -> dict[Row, np.ndarray]:
    """Predictions (n_draws * n_repeats, n_test, …) of every table row: the repeats of each draw in turn."""
    rows: dict[Row, dict[tuple[int, int], list[np.ndarray]]] = {}
    for cell in planned:
        proba = load_prediction(folder, cell, name)
        assert proba is not None
        rows.setdefault(cell.row, {}).setdefault((cell.draw, repeat_of(folds[cell.fold])), []).append(proba)
    found = {}
    for row, runs in rows.items():
        order = tested[row[0]].order
        whole = [np.concatenate(runs[key]) for key in sorted(runs)]
        found[row] = np.stack([proba[order[i % len(order)]] for i, proba in enumerate(whole)])
    return found


def own_metric(y: np.ndarray, patients: np.ndarray) -> str:
    """How each patient's own windows are scored: macro-F1, or accuracy where a patient has one label throughout.

    With one label a patient, a single wrong window would halve a macro-F1.
    """
    return "accuracy" if has_one_label(y, patients) else "macro_f1"


def patient_scores(
    y: np.ndarray, proba: np.ndarray, patients: np.ndarray, classes: Sequence[str], fold: np.ndarray | None = None
) -> dict[Any, float]:
    """Each patient's (or trial's) own score (see `own_metric`), averaged over draws and repeats of the split.

    Where folds (n,) judge the same windows, the score of each is one more to be averaged.
    """
    metric = own_metric(y, patients)
    apart = [slice(None)] if fold is None else [fold == one for one in np.unique(fold)]
    tables = [own_scores(y[rows], draw[rows], patients[rows], classes, metric) for draw in proba for rows in apart]
    names = sorted({name for table in tables for name in table})
    return {name: float(np.mean([table[name] for table in tables if name in table])) for name in names}


def patient_level(
    y: np.ndarray,
    proba: np.ndarray,
    patients: np.ndarray,
    classes: Sequence[str],
    n_draws: int,
    fold: np.ndarray | None = None,
    share: np.ndarray | None = None,
) -> dict[str, Any]:
    """Metrics with one row a patient (or trial), by aggregation; empty where one has windows of several labels.

    A patient whom several repeats of the split test has one aggregate in each of them, since each is a classifier's
    verdict of its own; the repeats' metrics are averaged. So has one whom several folds judge, each of which then
    counts its `share` (n,). `fold` is (n_repeats, n), for draws in their order again.
    """
    if not has_one_label(y, patients):
        return {}
    found: dict[str, Any] = {}
    verdict = patients
    if share is not None and fold is not None:
        verdict = np.unique(np.stack([codes_of(patients), codes_of(fold[0])], axis=1), axis=0, return_inverse=True)[1]
        verdict = verdict.reshape(-1)
    first = np.unique(verdict, return_index=True)[1]
    folds = None
    if fold is not None and len(np.unique(fold)) > 1:
        folds = np.tile([fold_of_units(one, verdict) for one in fold], (len(proba) // len(fold), 1))
    shares = None if share is None else share[first]
    for how in AGGREGATIONS:
        scores = np.stack([aggregate(y, draw, verdict, how)[2] for draw in proba])
        intervals = bootstrap_metrics(
            y[first], scores, patients[first], classes, fold=folds, share=shares, n_draws=n_draws
        )
        found[how] = {name: interval.to_json() for name, interval in intervals.items()}
    return found


def codes_of(names: np.ndarray) -> np.ndarray:
    """Numbers that stand for names, in their order."""
    return np.asarray(np.unique(names, return_inverse=True)[1])


def tabulate(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path, *, n_draws: int) -> dict[str, Any]:
    """Rows with intervals over patients, and the paired differences that the rows of some devices suggest.

    Parameters
    ----------
    folds : sequence of Fold
        Of the experiment; all devices have the same windows.
    planned : sequence of Cell
    folder : Path
        Where the predictions are.
    n_draws : int
    """
    tested = {classes: tested_windows(folds, classes) for classes in dict.fromkeys(cell.classes for cell in planned)}
    tables: dict[str, Any] = {"rows": [], "differences": []}
    for devices in dict.fromkeys(cell.devices for cell in planned):
        cells = [cell for cell in planned if cell.devices == devices]
        for key, lines in tabulate_one(folds, cells, folder, tested, n_draws).items():
            tables[key] += [{"devices": devices_title(devices), **line} for line in lines]
    return tables


def tabulate_one(
    folds: Sequence[Fold],
    planned: Sequence[Cell],
    folder: Path,
    tested: dict[tuple[str, ...], Tested],
    n_draws: int,
) -> dict[str, list[dict[str, Any]]]:
    """The rows and differences of one subset of devices."""
    found = predictions_by_row(folds, planned, folder, tested)
    rows: list[dict[str, Any]] = []
    scores: dict[Row, dict[Any, float]] = {}
    resampled: dict[Row, Resampled] = {}
    for row, proba in found.items():
        classes, labels, mode, arm = row
        test = tested[classes]
        y, units, n_repeats = test.y, test.unit, len(test.fold)
        again = None if test.share is None else test.fold[0]
        several = len(np.unique(test.fold)) > 1
        fold = np.tile(test.fold, (len(proba) // n_repeats, 1)) if several else None
        scores[row] = patient_scores(y, proba, units, classes, again)
        resampled[row] = resample_metrics(y, proba, units, classes, fold=fold, share=test.share, n_draws=n_draws)
        rows.append(
            {
                "classes": list(classes),
                "labels": labels,
                "mode": mode,
                "arm": arm,
                "title": title_of(mode, arm),
                "n_draws": len(proba) // n_repeats,
                "n_repeats": n_repeats,
                "part": folds[0].experiment.evaluate.part,
                "n_times": list(test.n_times),
                "n_test_patients": len(np.unique(test.patient)),
                "unit": test.word,
                "n_folds": len(np.unique(test.fold)),
                "n_complete_folds": sum(len(complete_folds(y, one, len(classes))) for one in test.fold),
                "metrics": {name: interval.to_json() for name, interval in resampled[row].intervals().items()},
                "own_metric": own_metric(y, units),
                "per_patient": bootstrap_mean(list(scores[row].values()), n_draws=n_draws).to_json(),
                **each_patient(scores[row], test.word),
                # A trial of one window is that window.
                "patient_level": {}
                if test.word == "trials" and len(scores[row]) == len(y)
                else patient_level(y, proba, units, classes, n_draws, test.fold, test.share),
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
                **each_patient(
                    {name: score - scores[second][name] for name, score in scores[first].items()},
                    tested[first[0]].word,
                ),
            }
        )
    return {"rows": rows, "differences": differences}


def each_patient(scores: Mapping[Any, float], word: str) -> dict[str, Any]:
    """Every patient's value and their median, where the patients are too few for an interval."""
    if word != "patients" or not 0 < len(scores) < FEWEST_PATIENTS:
        return {}
    named = {str(name): float(scores[name]) for name in sorted(scores, key=str)}
    return {"patients": named, "median": float(np.nanmedian(list(named.values())))}


def compared(rows: Sequence[Row], variants: Collection[str] = ()) -> list[tuple[Row, Row]]:
    """The experiment against its variants, the untrained encoder and each floor of features, in every mode."""
    pairs = []
    for row in rows:
        classes, labels, mode, arm = row
        if arm != PRETRAINED:
            continue
        others = [(classes, labels, mode, name) for name in (*variants, UNTRAINED)]
        others += [
            other
            for other in rows
            if other[:3] == (classes, labels, FLOOR_MODE) and not other[3].startswith(("majority", "amplitude"))
        ]
        pairs += [(row, other) for other in others if other in rows]
    return pairs


def patient_lines(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path) -> str:
    """``predictions.csv``: one line per cell and patient who is judged."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["classes", "labels", "draw", "fold", "mode", "arm", "patient", "n_windows", "accuracy", "macro_f1", "devices"]
    )
    for cell in planned:
        test = tested_windows([folds[cell.fold]], cell.classes)
        y, patients = test.y, test.patient
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
                + [" ".join(devices_title(cell.devices))]
            )
    return out.getvalue()
