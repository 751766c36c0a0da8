"""Run a whole protocol: folds, tasks, label sizes, draws, modes and floors, with paired comparisons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from biocl.commands.agreements import agreements
from biocl.commands.arms import arm_of, every_fold, pretrain_arms, study_arms, take_encoders, trained_folds
from biocl.commands.forecasts import evaluate_forecasts
from biocl.commands.missing import lacking_windows
from biocl.commands.pretrained import choosing_marks, joined_marks, remember_encoders
from biocl.commands.regressions import (
    NUMBER,
    format_numbers,
    number_lines,
    predict_number,
    regression_draw,
    regression_floors,
    regression_tasks,
    tabulate_numbers,
)
from biocl.commands.results import patient_lines, tabulate
from biocl.commands.setup import Cohort, check_judged, check_repeats, open_cohort, split_record
from biocl.commands.several_labels import (
    LABELS,
    format_labels,
    label_draw,
    label_floors,
    label_lines,
    label_tasks,
    predict_labels,
    tabulate_labels,
)
from biocl.commands.step_regressions import format_steps, predict_steps, step_floors
from biocl.commands.study import (
    Fold,
    draw_for,
    floor_arms,
    load_prediction,
    predict_cell,
    save_prediction,
)
from biocl.commands.tables import Lines, format_results, of_classes
from biocl.config import to_yaml
from biocl.errors import UsageError
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.protocol import PRETRAINED, Cell, cells
from biocl.evaluation.spec import EvaluateSpec
from biocl.experiment import Experiment
from biocl.files import write_json, write_text
from biocl.splits.file import write_splits
from biocl.training.optimisation import resolve_device
from biocl.training.run import progress, start_run


@dataclass(frozen=True)
class Kind:
    """What is judged: how its tasks, labels, predictions and tables are made.

    Attributes
    ----------
    tasks : callable
        Experiment, cohort and parts of every fold to tasks; refuses what cannot be judged.
    floors : callable
        A fold to the names of its floors.
    draw, predict : callable
        Fold and cell to what the run folder says of the labels, and to predictions for the test windows.
    tabulate, lines, table : callable
        Predictions to rows and differences, to ``predictions.csv``, and these to text.
    file : str
        Name of the file of a cell's predictions.
    """

    tasks: Callable[..., list[tuple[str, ...]]]
    floors: Callable[[Fold], list[str]]
    draw: Callable[[Fold, Cell], dict[str, Any]]
    predict: Callable[[Fold, Cell], np.ndarray]
    tabulate: Callable[..., dict[str, Any]]
    lines: Callable[[Sequence[Fold], Sequence[Cell], Path], str]
    table: Callable[[Lines, Lines], list[str]]
    file: str


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
        The encoder was trained on patients who are judged.
    """
    if experiment.judged == "forecasting":
        return evaluate_forecasts(experiment, from_run, out, device=device, resume=resume)
    cohort, part = open_cohort(experiment), experiment.evaluate.part
    n_folds = len(cohort.splits)
    parts = [cohort.parts(fold) for fold in range(n_folds)]
    check_repeats(parts, cohort.splits)
    records = [split_record(split, cohort.windows, parts[i]) for i, split in enumerate(cohort.splits)]
    marks = [*(mark for split in cohort.splits for mark in split.marks), *cohort.marks]
    target = resolve_device(device)
    folds = [Fold(experiment, cohort, fold, parts[fold], None, target) for fold in range(n_folds)]
    kind = KINDS[experiment.judged]
    tasks = kind.tasks(experiment, cohort, parts)
    arms = study_arms(experiment, folds)
    marks += choosing_marks(part, experiment.evaluate.modes)
    marks += label_marks({name: own[0].experiment for (_, name), own in arms.items()}, experiment.evaluate)
    heads = {name: of_variant[0].experiment.has_head for (_, name), of_variant in arms.items() if name}
    floors = {devices: kind.floors(own[0]) for (devices, name), own in arms.items() if not name}
    planned = list(cells(experiment.evaluate, tasks, floors, n_folds, heads))
    check_apart(planned)
    # Nothing is written before all that may be refused has been looked at: labels, checkpoints, run folder.
    draws = [
        kind.draw(folds[cell.fold], cell)
        for cell in planned
        if (cell.devices, cell.mode, cell.arm) == (planned[0].devices, planned[0].mode, planned[0].arm)
    ]
    take_encoders(arms, from_run, out.parent)
    run = start_run(out, config=to_yaml(experiment), split={"folds": records}, kind="evaluate", resume=resume)
    write_splits(cohort.splits, run / "split_file.json")
    pretrain_arms(arms, run)
    encoders = remember_encoders(trained_folds(arms), run)
    with progress("evaluate", len(planned)) as advance:
        for _, together in groupby(planned, key=lambda cell: (cell.fold, cell.devices)):
            for cell in together:
                if load_prediction(run / "cells", cell, kind.file) is None:
                    save_prediction(run / "cells", cell, kind.predict(arm_of(arms, cell), cell), kind.file)
                advance(1, " ".join([cell.mode, cell.arm, *cell.devices]))
            for fold in every_fold(arms):
                fold.forget()
    own = [fold for (_, variant), of_arm in arms.items() if not variant for fold in of_arm]
    # Everything that predicts is chosen and its predictions are on disk; only now are they held against labels.
    results = {
        "protocol": protocol_name(experiment, cohort),
        "part": part,
        "marks": joined_marks([*marks, *(mark for fold in own for mark in fold.marks)], part),
        "encoders": encoders,
        "draws": draws,
        "agreement": agreements(trained_folds(arms)),
        "missing": lacking_windows(arms),
        **kind.tabulate(folds, planned, run / "cells", n_draws=experiment.evaluate.bootstrap_draws),
    }
    write_json(run / "results.json", results)
    write_text(run / "predictions.csv", kind.lines(folds, planned, run / "cells"))
    text = format_results(results, kind.table)
    write_text(run / "tables.md", text)
    return f"{text}\n\nrun folder: {run}"


def check_apart(planned: Sequence[Cell]) -> None:
    """Refuse names by which the files of two cells would be one.

    Raises
    ------
    UsageError
    """
    seen: dict[str, Cell] = {}
    for cell in planned:
        other = seen.setdefault(cell.file, cell)
        if other is not cell:
            raise UsageError(
                f"{other.arm!r} and {cell.arm!r} are one name in a file", "variants", "Give one of them another name"
            )


def protocol_name(experiment: Experiment, cohort: Cohort, fold: int | None = None) -> str:
    """What a table is headed with: data set, split, scope, and what the scope allows to say."""
    n_folds = len(cohort.splits)
    folds = f", {n_folds} folds" if fold is None else f", fold {fold} of {n_folds} alone"
    folds = folds if n_folds > 1 else ""
    stamp = "; ".join([cohort.splits[0].stamp, *cohort.marks])
    return f"{cohort.windows.store.meta['dataset']}, {stamp}{folds}, seed {experiment.seed}"


def class_tasks(
    experiment: Experiment, cohort: Cohort, parts: Sequence[Mapping[str, np.ndarray]]
) -> list[tuple[str, ...]]:
    """The tasks of classes, each of which a window that is judged belongs to."""
    asked = experiment.evaluate.class_sets or [list(cohort.windows.table.classes)]
    for classes in asked:
        Labelled.make(cohort.windows, list(classes))  # names of classes that there are
        check_judged(parts, cohort.windows, classes, experiment.evaluate.part)
    return [tuple(classes) for classes in asked]


def label_marks(experiments: Mapping[str, Experiment], spec: EvaluateSpec) -> list[str]:
    """What has to be said where few labels are read by a probe or by fine-tuning, and the encoder was told them all.

    Parameters
    ----------
    experiments : mapping of str to Experiment
        By the name of the variant, empty for the experiment itself.
    spec : EvaluateSpec
    """
    few = [labels for labels in spec.labels if labels != "all"]
    modes = [mode for mode in spec.modes if mode != "joint"]
    told = [name or PRETRAINED for name, experiment in experiments.items() if experiment.reads_judged]
    if not (few and modes and told):
        return []
    return [
        f"labels {', '.join(few)} in mode {' and '.join(modes)}: the encoder of {', '.join(told)} was trained with the "
        "labels of all training patients"
    ]


def drawn_labels(fold: Fold, cell: Cell) -> dict[str, Any]:
    """Which patients and windows a draw labelled, for the run folder."""
    data = Labelled.make(fold.windows, list(cell.classes))
    _, drawn = draw_for(fold, data, cell.labels, cell.draw)
    return {"classes": list(cell.classes), "fold": cell.fold, "mark": drawn.mark(), **drawn.to_json()}


KINDS = {
    "classification": Kind(
        class_tasks, floor_arms, drawn_labels, predict_cell, tabulate, patient_lines, of_classes, "proba"
    ),
    "multi-label": Kind(
        label_tasks, label_floors, label_draw, predict_labels, tabulate_labels, label_lines, format_labels, LABELS
    ),
    "regression": Kind(
        regression_tasks,
        regression_floors,
        regression_draw,
        predict_number,
        tabulate_numbers,
        number_lines,
        format_numbers,
        NUMBER,
    ),
    "step-regression": Kind(
        regression_tasks,
        step_floors,
        regression_draw,
        predict_steps,
        tabulate_numbers,
        number_lines,
        format_steps,
        NUMBER,
    ),
}
