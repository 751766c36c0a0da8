"""Run a whole protocol: folds, tasks, label sizes, draws, modes and floors, with paired comparisons."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from biocl.commands.pretrained import pretrain_inside, remember_encoders, take_pretrained
from biocl.commands.results import format_results, patient_lines, tabulate
from biocl.commands.setup import Cohort, check_judged, open_cohort, split_record
from biocl.commands.study import (
    Fold,
    draw_for,
    floor_arms,
    load_prediction,
    predict_cell,
    save_prediction,
)
from biocl.config import Experiment, to_yaml
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.protocol import (
    Cell,
    cells,
)
from biocl.files import write_json, write_text
from biocl.splits.file import write_splits
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
    marks = list(dict.fromkeys([*(mark for split in cohort.splits for mark in split.marks), *cohort.windows.marks]))
    target = resolve_device(device)
    folds = [Fold(experiment, cohort, fold, parts[fold], None, target) for fold in range(n_folds)]
    class_sets = [tuple(names) for names in experiment.evaluate.class_sets or [list(cohort.windows.table.classes)]]
    for classes in class_sets:
        Labelled.make(cohort.windows, list(classes))  # names of classes that there are
        check_judged(parts, cohort.windows, classes)
    planned = list(cells(experiment.evaluate, class_sets, floor_arms(folds[0]), n_folds))
    # Nothing is written before all that may be refused has been looked at: labels, checkpoints, run folder.
    draws = [
        drawn_labels(folds[cell.fold], cell)
        for cell in planned
        if (cell.mode, cell.arm) == (planned[0].mode, planned[0].arm)
    ]
    for fold in folds:
        take_pretrained(fold, from_run, out.parent)
    run = start_run(out, config=to_yaml(experiment), split={"folds": records}, kind="evaluate", resume=resume)
    write_splits(cohort.splits, run / "split_file.json")
    for fold in folds:
        if fold.pretrained is None:
            pretrain_inside(fold, run)
    encoders = remember_encoders(folds, run)
    with progress("evaluate", len(planned)) as advance:
        for number, of_fold in groupby(planned, key=lambda cell: cell.fold):
            for cell in of_fold:
                if load_prediction(run / "cells", cell) is None:
                    save_prediction(run / "cells", cell, predict_cell(folds[number], cell))
                advance(1, f"{cell.mode} {cell.arm}")
            folds[number].forget()
    # Every classifier is chosen and its predictions are on disk; only now are they held against test labels.
    results = {
        "protocol": protocol_name(experiment, cohort),
        "marks": list(dict.fromkeys([*marks, *(mark for fold in folds for mark in fold.marks)])),
        "encoders": encoders,
        "draws": draws,
        **tabulate(folds, planned, run / "cells", n_draws=experiment.evaluate.bootstrap_draws),
    }
    write_json(run / "results.json", results)
    write_text(run / "predictions.csv", patient_lines(folds, planned, run / "cells"))
    text = format_results(results)
    write_text(run / "tables.md", text)
    return f"{text}\n\nrun folder: {run}"


def protocol_name(experiment: Experiment, cohort: Cohort, fold: int | None = None) -> str:
    """What a table is headed with: data set, split, scope, and what the scope allows to say."""
    n_folds = len(cohort.splits)
    folds = f", {n_folds} folds" if fold is None else f", fold {fold} of {n_folds} alone"
    folds = folds if n_folds > 1 else ""
    stamp = "; ".join([cohort.splits[0].stamp, *cohort.windows.marks])
    return f"{cohort.windows.store.meta['dataset']}, {stamp}{folds}, seed {experiment.seed}"


def drawn_labels(fold: Fold, cell: Cell) -> dict[str, Any]:
    """Which patients and windows a draw labelled, for the run folder."""
    data = Labelled.make(fold.windows, list(cell.classes))
    _, drawn = draw_for(fold, data, cell.labels, cell.draw)
    return {"classes": list(cell.classes), "fold": cell.fold, "mark": drawn.mark(), **drawn.to_json()}
