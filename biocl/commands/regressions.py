"""Numbers rather than classes: the cells of a regression study and its tables.

A window has one number, or one at every time step (`biocl.commands.step_regressions` holds what is then different).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from biocl.commands.joint import train_jointly
from biocl.commands.results import Row, Tested, compared, each_patient, predictions_by_row, tested_rows
from biocl.commands.setup import Cohort, build_model
from biocl.commands.study import Fold, floor_arms, load_prediction
from biocl.commands.tables import Lines, each_value
from biocl.errors import DataError, UsageError
from biocl.evaluation.finetuning import Labelled, finetune_model
from biocl.evaluation.intervals import Resampled, bootstrap_mean, paired_difference, pooled_difference
from biocl.evaluation.labels import LabelDraw, draw_labels, parse_labels
from biocl.evaluation.protocol import FLOOR_MODE, UNTRAINED, Cell, devices_title, title_of
from biocl.evaluation.regression import (
    METRICS,
    correlation_over_units,
    fit_regressor,
    own_metrics,
    resample_regression,
)
from biocl.evaluation.tables import markdown, number, with_interval
from biocl.evaluation.values import are_known, numbers, predict_values, targets
from biocl.experiment import Experiment
from biocl.objectives.head_spec import RegressionTerm, StepRegressionTerm
from biocl.objectives.weight_spec import acts
from biocl.training.spec import FinetuneSpec

MEAN = "training mean"
NUMBER = "number"
"""Name of the file of a cell's predictions."""
NumberTerm = RegressionTerm | StepRegressionTerm
T = TypeVar("T", RegressionTerm, StepRegressionTerm)
PARTS = {"test": "test", "validation": "inner validation"}


def regression_tasks(experiment: Experiment, cohort: Cohort, parts: Sequence[Mapping[str, np.ndarray]]) -> list[Any]:
    """The one task: the target by its name.

    Raises
    ------
    UsageError
        The configuration names no target, or one of another kind, or tasks of classes.
    DataError
        No test window has a number.
    """
    windows = cohort.windows
    of_steps = windows.target_column is not None
    if of_steps != (experiment.judged == "step-regression"):
        has = "a number at every time step" if of_steps else "no number at every time step"
        raise UsageError(
            f"evaluate.task is {experiment.judged}, and data.target gives {has}",
            "evaluate.task",
            "Leave it out; step-regression needs data.target: {kind: channel, name: …}, regression another kind",
        )
    known = are_known(windows, np.arange(len(windows)))
    if experiment.evaluate.class_sets is not None:
        raise UsageError("A number has no classes", "evaluate.class_sets", "Leave it out, or set evaluate.task")
    for part in ("train", experiment.evaluate.part):
        if not any(known[one[part]].any() for one in parts):
            raise DataError(
                f"No {part} window has a known {windows.target_name}, so nothing can be judged",
                "split",
                "Check data.target and the patients of the split",
            )
    return [(windows.target_name,)]


def regression_floors(fold: Fold) -> list[str]:
    """The mean of the labelled rows, and a ridge on each set of features of the modality."""
    return [MEAN, *(name for name in floor_arms(fold) if not name.startswith("majority"))]


def known_among(fold: Fold, rows: np.ndarray) -> np.ndarray:
    """The table rows whose number, or one of whose numbers, is known."""
    return rows[are_known(fold.windows, rows)]


def drawn_rows(fold: Fold, labels: str, draw: int) -> tuple[np.ndarray, LabelDraw]:
    """Training rows of a draw, and what the run folder says of it."""
    train = known_among(fold, fold.parts["train"])
    names = np.array(fold.windows.table.names["patient"])
    drawn = draw_labels(
        parse_labels(labels),
        names[fold.windows.table.patient[train]],
        np.zeros(len(train), np.int64),
        (fold.windows.target_name,),
        seed=fold.experiment.seed,
        draw=draw,
    )
    return train[drawn.indices], drawn


def regression_draw(fold: Fold, cell: Cell) -> dict[str, Any]:
    """Which patients and windows a draw labelled, for the run folder."""
    _, drawn = drawn_rows(fold, cell.labels, cell.draw)
    return {"classes": list(cell.classes), "fold": cell.fold, "mark": drawn.mark(), **drawn.to_json()}


def predict_number(fold: Fold, cell: Cell) -> np.ndarray:
    """Numbers (n,) of the windows that a fold judges; their own numbers only choose which windows have one."""
    rows, _ = drawn_rows(fold, cell.labels, cell.draw)
    test, y = known_among(fold, fold.judged), targets(fold.windows)
    if cell.arm == MEAN:
        return np.full(len(test), y[rows].mean(dtype=np.float64))
    if cell.mode in ("linear", FLOOR_MODE):
        features = fold.features(cell.arm)
        probe = fit_regressor(
            features[rows],
            y[rows],
            fold.windows.table.patient[rows],
            spec=fold.experiment.evaluate.probe,
            seed=fold.experiment.seed + cell.draw,
        )
        return probe.predict(features[test])[:, 0]
    return predict_by_head(fold, cell, rows, test, regression_term(fold.experiment))


def predict_by_head(fold: Fold, cell: Cell, rows: np.ndarray, test: np.ndarray, term: NumberTerm) -> np.ndarray:
    """What a head says of `test` windows: fine-tuned on the labelled `rows`, or trained with the encoder by them."""
    if cell.mode != "joint":
        model = finetune_model(
            lambda terms: build_model(fold.experiment, fold.windows, terms),
            None if cell.arm == UNTRAINED else fold.pretrained,
            fold.windows,
            rows,
            known_among(fold, fold.parts["validation"]),
            FinetuneSpec(**{**fold.experiment.finetune.model_dump(), "mode": cell.mode}),
            seed=fold.experiment.seed + cell.draw,
            device=fold.device,
            term=term,
        )
    else:
        model = build_model(fold.experiment, fold.windows).to(fold.device)
        if cell.labels == "all" and fold.source is None:
            assert fold.pretrained is not None
            model.load_state_dict(fold.pretrained)
        else:
            classes = list(fold.windows.table.classes)
            data = Labelled.make(fold.windows, classes) if classes else fold.windows
            train_jointly(model, fold.experiment, data, fold.parts["train"], rows, device=fold.device)
    return predict_values(model, fold.windows, test, device=fold.device, title=term.title)


def regression_term(experiment: Experiment) -> RegressionTerm:
    """The head that is judged: see `judged_term`."""
    return judged_term(experiment, RegressionTerm(head="regression"))


def judged_term(experiment: Experiment, plain: T) -> T:
    """The head that is judged, of the type of a `plain` one: the first that acts, else the first, else that."""
    terms: list[T] = [term for term in experiment.terms if isinstance(term, type(plain))]
    return next((term for term in terms if acts(term.weight)), terms[0] if terms else plain)


def tested_numbers(folds: Sequence[Fold]) -> Tested:
    """The windows that are judged, whose number is known, in an order that all repeats of the split share."""
    windows = folds[0].windows
    return tested_rows(folds, lambda fold: known_among(fold, fold.judged), lambda rows: numbers(windows, rows))


def tabulate_numbers(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path, *, n_draws: int) -> dict[str, Any]:
    """Rows with intervals over patients, and the paired differences that the rows of some devices suggest."""
    test = tested_numbers(folds)
    tables: dict[str, Any] = {"rows": [], "differences": []}
    for devices in dict.fromkeys(cell.devices for cell in planned):
        cells = [cell for cell in planned if cell.devices == devices]
        found = predictions_by_row(folds, cells, folder, {cells[0].classes: test}, NUMBER)
        for key, lines in tabulate_found(found, test, folds[0].experiment, n_draws).items():
            tables[key] += [{"devices": devices_title(devices), **line} for line in lines]
    return tables


def tabulate_found(
    found: Mapping[Row, np.ndarray], test: Tested, experiment: Experiment, n_draws: int
) -> dict[str, list[dict[str, Any]]]:
    """The rows and differences of predictions (n_draws * n_repeats, n_test, …) by row."""
    n_repeats = len(test.fold)
    rows: list[dict[str, Any]] = []
    scores: dict[Row, dict[Any, float]] = {}
    resampled: dict[Row, Resampled] = {}
    for row, predicted in found.items():
        classes, labels, mode, arm = row
        own = mean_metrics([own_metrics(test.y, one, test.unit) for one in predicted])
        scores[row] = {name: metrics["mae"] for name, metrics in own.items()}
        resampled[row] = resample_regression(test.y, predicted, test.unit, share=test.share, n_draws=n_draws)
        rows.append(
            {
                "classes": list(classes),
                "labels": labels,
                "mode": mode,
                "arm": arm,
                "title": title_of(mode, arm),
                "n_draws": len(predicted) // n_repeats,
                "n_repeats": n_repeats,
                "part": experiment.evaluate.part,
                "n_test_patients": len(np.unique(test.patient)),
                "n_test_windows": len(test.y),
                "unit": test.word,
                "metrics": {name: one.to_json() for name, one in resampled[row].intervals().items()},
                "per_patient": bootstrap_mean(list(scores[row].values()), n_draws=n_draws).to_json(),
                "own_metrics": {
                    metric: bootstrap_mean([one[metric] for one in own.values()], n_draws=n_draws).to_json()
                    for metric in METRICS
                },
                "r_over_patients": float(
                    np.mean([correlation_over_units(test.y, one, test.unit) for one in predicted])
                ),
                **each_patient(scores[row], test.word),
            }
        )
    differences = []
    for first, second in compared(list(found), experiment.variants):
        pooled = pooled_difference(resampled[first], resampled[second])
        differences.append(
            {
                "classes": list(first[0]),
                "labels": first[1],
                "first": f"{title_of(*first[2:])} ({first[2]})",
                "second": f"{title_of(*second[2:])} ({second[2]})",
                "mae": pooled["mae"].to_json(),
                "per_patient": paired_difference(scores[first], scores[second], n_draws=n_draws).to_json(),
                **each_patient(
                    {name: score - scores[second][name] for name, score in scores[first].items()}, test.word
                ),
            }
        )
    return {"rows": rows, "differences": differences}


def mean_metrics(tables: Sequence[Mapping[Any, Mapping[str, float]]]) -> dict[Any, dict[str, float]]:
    """Each unit's metrics, mean over draws and repeats of the split."""
    return {
        name: {metric: float(np.mean([table[name][metric] for table in tables])) for metric in METRICS}
        for name in tables[0]
    }


def number_lines(folds: Sequence[Fold], planned: Sequence[Cell], folder: Path) -> str:
    """``predictions.csv``: one line per cell and test patient."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["target", "labels", "draw", "fold", "mode", "arm", "patient", "n_windows"]
    writer.writerow([*head, "mean", "mean_predicted", *METRICS, "devices"])
    for cell in planned:
        test = tested_numbers([folds[cell.fold]])
        predicted = load_prediction(folder, cell, NUMBER)
        assert predicted is not None
        for patient, metrics in own_metrics(test.y, predicted, test.patient).items():
            mine = test.patient == patient
            known = np.isfinite(test.y[mine])
            values = [test.y[mine][known].mean(), predicted[mine][known].mean(), *metrics.values()]
            words = [cell.classes[0], cell.labels, cell.draw, cell.fold, cell.mode, cell.arm, patient, int(mine.sum())]
            writer.writerow([*words, *(f"{value:.6f}" for value in values), " ".join(devices_title(cell.devices))])
    return out.getvalue()


def format_numbers(rows: Lines, pairs: Lines) -> list[str]:
    """One table and that of its differences, sorted by the number of labels as the rows name it first."""
    unit, few = rows[0]["unit"], few_of(rows)
    table = markdown(
        ["labels", "mode", "what", "MAE", "r", f"MAE, mean over {unit}", *few, f"r of the {unit}' means"],
        [
            [
                *(row["labels"], row["mode"], row["title"], with_interval(row["metrics"]["mae"])),
                *(with_interval(row["metrics"]["r"]), with_interval(row["per_patient"])),
                *(each_value(row) for _ in few),
                number(row["r_over_patients"]),
            ]
            for row in by_size(rows)
        ],
    )
    return [header_of_numbers(rows[0]), table, *differences_of(pairs, unit, few)]


def few_of(rows: Lines) -> list[str]:
    """The column of each patient's value, where the patients are too few for an interval."""
    return ["each patient (median)"] if "patients" in rows[0] else []


def by_size(lines: Lines) -> Lines:
    """Lines sorted by the number of labels as they name it first."""
    sizes = list(dict.fromkeys(line["labels"] for line in lines))
    return sorted(lines, key=lambda line: sizes.index(line["labels"]))


def differences_of(pairs: Lines, unit: str, few: Sequence[str]) -> list[str]:
    """What stands over the table of differences, and the table."""
    said = f"differences (first minus second, less is better for the first), paired over the same resampled {unit}"
    differences = markdown(
        ["labels", "first", "second", "MAE", f"MAE, mean over {unit}", *few, "p (sign flip)"],
        [
            [
                *(pair["labels"], pair["first"], pair["second"]),
                *(with_interval({**pair[name], "value": pair[name]["mean"]}) for name in ("mae", "per_patient")),
                *(each_value(pair) for _ in few),
                number(pair["per_patient"]["p"]),
            ]
            for pair in by_size(pairs)
        ],
    )
    return [said, differences]


def header_of_numbers(row: Mapping[str, Any], pooled: str = "windows") -> str:
    """What stands over a table: the target, who is tested, what intervals and metrics are over."""
    n, unit, part = row["n_test_patients"], row["unit"], PARTS[row["part"]]
    level = row["metrics"]["mae"]["level"]
    over = unit if unit == "patients" else f"{unit} of {n} patient{'s' * (n != 1)}"
    words = [
        f"target {row['classes'][0]}, {n} {part} patient{'s' * (n != 1)}, {row['n_test_windows']} windows",
        "too few for an interval: each one's value, and the median"
        if row.get("patients")
        else f"[{level:.0%} bootstrap interval over {over}]",
        f"MAE and r over {pooled} unless {unit} are named",
    ]
    if row["n_repeats"] > 1:
        words.append(f"means of {row['n_repeats']} draws of the folds")
    return "; ".join(words)
