"""Run a whole protocol: folds, tasks, label sizes, draws, modes and floors, with paired comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from biocl.commands.pretrained import pretrain_inside, remember_encoders, take_pretrained
from biocl.commands.results import format_results, patient_lines, tabulate
from biocl.commands.setup import Cohort, check_judged, check_repeats, check_signal, open_cohort, split_record
from biocl.commands.study import (
    Fold,
    draw_for,
    floor_arms,
    load_prediction,
    predict_cell,
    save_prediction,
)
from biocl.config import to_yaml, variants_of
from biocl.errors import UsageError
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.floors import FloorArm
from biocl.evaluation.protocol import FLOOR_MODE, Cell, cells
from biocl.experiment import Experiment
from biocl.files import write_json, write_text
from biocl.splits.file import write_splits
from biocl.training.optimisation import resolve_device
from biocl.training.run import progress, start_run


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
    check_repeats(parts, cohort.splits)
    records = [split_record(split, cohort.windows, parts[i]) for i, split in enumerate(cohort.splits)]
    marks = list(dict.fromkeys([*(mark for split in cohort.splits for mark in split.marks), *cohort.windows.marks]))
    target = resolve_device(device)
    folds = [Fold(experiment, cohort, fold, parts[fold], None, target) for fold in range(n_folds)]
    class_sets = [tuple(names) for names in experiment.evaluate.class_sets or [list(cohort.windows.table.classes)]]
    for classes in class_sets:
        Labelled.make(cohort.windows, list(classes))  # names of classes that there are
        check_judged(parts, cohort.windows, classes)
    studies = variant_folds(experiment, folds)
    heads = {name: of_variant[0].experiment.has_head for name, of_variant in studies.items()}
    planned = list(cells(experiment.evaluate, class_sets, floor_arms(folds[0]), n_folds, heads))
    every_fold = [*folds, *(fold for of_variant in studies.values() for fold in of_variant)]
    # Nothing is written before all that may be refused has been looked at: labels, checkpoints, run folder.
    draws = [
        drawn_labels(folds[cell.fold], cell)
        for cell in planned
        if (cell.mode, cell.arm) == (planned[0].mode, planned[0].arm)
    ]
    for fold in every_fold:
        take_pretrained(fold, None if fold.variant else from_run, out.parent)
    run = start_run(out, config=to_yaml(experiment), split={"folds": records}, kind="evaluate", resume=resume)
    write_splits(cohort.splits, run / "split_file.json")
    for fold in every_fold:
        if fold.pretrained is None:
            pretrain_inside(fold, run)
    encoders = remember_encoders(every_fold, run)
    with progress("evaluate", len(planned)) as advance:
        for number, of_fold in groupby(planned, key=lambda cell: cell.fold):
            for cell in of_fold:
                if load_prediction(run / "cells", cell) is None:
                    fold = studies[cell.arm][number] if is_variant(cell, studies) else folds[number]
                    save_prediction(run / "cells", cell, predict_cell(fold, cell))
                advance(1, f"{cell.mode} {cell.arm}")
            for of_any in (folds, *studies.values()):
                of_any[number].forget()
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


def variant_folds(experiment: Experiment, folds: list[Fold]) -> dict[str, list[Fold]]:
    """The same folds under the keys of each variant."""
    found = {}
    for name, variant in variants_of(experiment).items():
        if FloorArm.parse(name) is not None:
            raise UsageError("This is the name of a floor", f"variants: {name}", "Choose another name")
        check_signal(variant, folds[0].cohort.windows)
        windows = replace(folds[0].cohort.windows, scale=variant.data.input_scale, align=variant.data.align)
        cohort = replace(folds[0].cohort, windows=windows)
        found[name] = [
            Fold(variant, cohort, fold.number, fold.parts, None, fold.device, variant=name) for fold in folds
        ]
    return found


def is_variant(cell: Cell, studies: Mapping[str, list[Fold]]) -> bool:
    """Whether a cell is about a variant rather than the experiment itself."""
    return cell.mode != FLOOR_MODE and cell.arm in studies


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
