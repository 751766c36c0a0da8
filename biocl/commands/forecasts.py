"""Run a study of forecasts: look-backs and horizons, seeds, arms and floors; errors are read at the very end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from biocl.commands.arms import Arms, arm_of, every_fold, pretrain_arms, study_arms, take_encoders, trained_folds
from biocl.commands.forecast_cells import (
    FORECAST,
    forecast_cells,
    forecaster_of,
    modes_of,
    predict_floor,
    save_receptive,
)
from biocl.commands.forecast_tables import format_forecasts, tabulate_forecasts
from biocl.commands.prepare import open_store, windows_spec
from biocl.commands.pretrained import choosing_marks, joined_marks, remember_encoders
from biocl.commands.setup import Cohort, check_repeats, open_cohort, split_record
from biocl.commands.study import Fold, load_prediction, save_prediction
from biocl.config import OF_A_VARIANT, refused, resolved, set_key, to_yaml, variants_of
from biocl.errors import DataError, UsageError
from biocl.evaluation.protocol import FLOOR_MODE, Cell
from biocl.evaluation.spec import SpanSpec
from biocl.experiment import Experiment
from biocl.files import write_json, write_text
from biocl.splits.file import write_splits
from biocl.store.spec import SlidingWindows
from biocl.training.optimisation import resolve_device
from biocl.training.run import progress, start_run

OF_ALL_ROWS = ("devices", "input_scale", "align")
"""Keys of ``data:`` that say what an error is of."""


@dataclass(frozen=True)
class Span:
    """One look-back and horizon: the cohort, the arms of every seed, and the cells.

    Attributes
    ----------
    title : str
        ``48to24``, in steps.
    spec : SpanSpec
    cohort : Cohort
    arms : dict of int to Arms
        By seed.
    cells : list of Cell
    """

    title: str
    spec: SpanSpec
    cohort: Cohort
    arms: dict[int, Arms]
    cells: list[Cell]


def evaluate_forecasts(
    experiment: Experiment, from_run: Path | None, out: Path, *, device: str = "auto", resume: bool = False
) -> str:
    """Train every arm on every span and seed, forecast what is judged, and only then look at what came.

    Parameters
    ----------
    experiment : Experiment
    from_run : Path, optional
        Run folder of a pretraining, where there is one span and one seed.
    out : Path
        The run folder. ``cells/`` holds all forecasts, ``receptive/`` which past the forecasts of every arm look at,
        ``results.json`` and ``tables.md`` the errors.
    device : str
    resume : bool
        Continue: cells that are there are not computed again.

    Returns
    -------
    str
        The tables, ready to print.
    """
    target = resolve_device(device)
    check_one_table(experiment)
    specs = spans_of(experiment)
    spans = [open_span(experiment, spec, target) for spec in specs if spec.run]
    check_from(from_run, experiment, spans)
    check_titles(spans)
    for span in spans:
        for arms in span.arms.values():
            take_encoders(arms, from_run, out.parent)
    records = [
        {"span": span.title, **split_record(split, span.cohort.windows, span.cohort.parts(number))}
        for span in spans
        for number, split in enumerate(span.cohort.splits)
    ]
    run = start_run(out, config=to_yaml(experiment), split={"folds": records}, kind="evaluate", resume=resume)
    write_splits(spans[0].cohort.splits, run / "split_file.json")
    for span in spans:
        for seed, arms in span.arms.items():
            pretrain_arms(arms, run / f"{span.title}-seed{seed}")
    trained = [fold for span in spans for arms in span.arms.values() for fold in trained_folds(arms)]
    encoders = remember_encoders(trained, run)
    with progress("evaluate", sum(len(span.cells) for span in spans)) as advance:
        for span in spans:
            for cell in span.cells:
                if load_prediction(run / "cells", cell, FORECAST) is None:
                    compute(span, cell, run)
                advance(1, " ".join([span.title, cell.mode, cell.arm]))
            for arms in span.arms.values():
                for fold in every_fold(arms):
                    fold.forget()
    # Everything is trained and chosen, and all forecasts are on disk; only now are they held against what came.
    marks = [mark for span in spans for split in span.cohort.splits for mark in split.marks]
    marks += [mark for span in spans for mark in span.cohort.marks]
    modes = dict.fromkeys(cell.mode for span in spans for cell in span.cells)
    marks += choosing_marks(experiment.evaluate.part, list(modes))
    if spans[0].cohort.splits[0].scope == "patient":  # of one series cut in time, train and test always share the name
        marks += [mark for fold in trained for mark in fold.marks]
    rows = [row for span in spans for row in tabulate_forecasts(span.cells, span.arms, run / "cells", experiment)]
    results: dict[str, Any] = {
        "protocol": protocol_of(experiment, spans[0].cohort),
        "marks": joined_marks(marks, experiment.evaluate.part),
        "encoders": encoders,
        "rows": rows,
        "not_run": [spec.model_dump() for spec in specs if not spec.run],
    }
    write_json(run / "results.json", results)
    text = format_forecasts(results)
    write_text(run / "tables.md", text)
    return f"{text}\n\nrun folder: {run}"


def compute(span: Span, cell: Cell, run: Path) -> None:
    """Forecast what is judged in one cell and keep it, with the receptive field of the first seed and fold."""
    arms = span.arms[cell.draw]
    fold = arm_of(arms, cell)
    if cell.mode == FLOOR_MODE:
        save_prediction(run / "cells", cell, predict_floor(fold, cell.arm), FORECAST)
        return
    forecaster = forecaster_of(fold, cell)
    if cell.draw == min(span.arms) and cell.fold == 0:
        save_receptive(run / "receptive", cell, forecaster, fold.judged)
    save_prediction(run / "cells", cell, forecaster.predict(fold.judged), FORECAST)


def spans_of(experiment: Experiment) -> list[SpanSpec]:
    """The spans that are asked for, by default that of ``data.windows``.

    Raises
    ------
    UsageError
        Windows do not slide, or have no future.
    """
    windows = experiment.data.windows
    if experiment.evaluate.spans is not None:
        return experiment.evaluate.spans
    if not isinstance(windows, SlidingWindows) or windows.horizon_s is None:
        raise UsageError(
            "A study of forecasts needs windows with a future",
            "data.windows",
            "Set data.windows: {kind: sliding, length_s: …, step_s: …, horizon_s: …}, or evaluate.spans",
        )
    return [SpanSpec(length_s=windows.length_s, horizon_s=windows.horizon_s)]


def check_one_table(experiment: Experiment) -> None:
    """Refuse rows whose errors are not of the same channels in the same units, and arms without a row.

    Raises
    ------
    UsageError
    """
    if experiment.evaluate.devices != ["all"]:
        raise UsageError(
            "A study of forecasts judges all devices together",
            "evaluate.devices",
            "Leave it out, and name the devices to be read in data.devices",
        )
    for name, variant in variants_of(experiment).items():
        differ = [key for key in OF_ALL_ROWS if getattr(variant.data, key) != getattr(experiment.data, key)]
        if differ:
            raise UsageError(
                f"The errors of {name} would be of other channels, or in other units, than those of all other rows: it "
                f"changes data.{differ[0]}",
                f"variants: {name}",
                "Run it as a configuration of its own, or change data.normalise, which a forecast takes back",
            )
        if not modes_of(variant):
            raise UsageError(
                f"The variant {name} trains no head that forecasts, and evaluate.modes has no other way to judge it",
                "evaluate.modes",
                "Add linear, partial or full",
            )


def open_span(experiment: Experiment, spec: SpanSpec, device: torch.device) -> Span:
    """Windows, folds and arms of one span, for every seed."""
    seeds = [experiment.seed + number for number in range(experiment.evaluate.seeds)]
    own = {seed: experiment_of(experiment, spec, seed) for seed in seeds}
    cohort = open_cohort(own[seeds[0]])
    parts = [cohort.parts(number) for number in range(len(cohort.splits))]
    check_repeats(parts, cohort.splits)
    part = experiment.evaluate.part
    if not any(len(one[part]) for one in parts):
        raise DataError(f"The {part} part has no window, so nothing can be judged", "split", "Check the split")
    arms = {
        seed: study_arms(one, [Fold(one, cohort, number, rows, None, device) for number, rows in enumerate(parts)])
        for seed, one in own.items()
    }
    title = f"{cohort.windows.n_times}to{cohort.windows.table.horizon}"
    return Span(title, spec, cohort, arms, list(forecast_cells(title, arms)))


def sliding_windows(experiment: Experiment) -> dict[str, Any]:
    """How windows are cut but for their length and horizon: as configured, or as suits the data set.

    Raises
    ------
    UsageError
        Windows of the data set do not slide, and the configuration names none.
    """
    windows = experiment.data.windows
    if windows is None:
        windows = windows_spec(open_store(experiment.data), experiment.data)
        if not isinstance(windows, SlidingWindows):
            raise UsageError(
                "Windows of this data set do not slide, and nothing says how far apart those of evaluate.spans begin",
                "data.windows",
                "Set data.windows: {kind: sliding, length_s: …, step_s: …, horizon_s: …}",
            )
    return windows.model_dump(mode="json")


def experiment_of(experiment: Experiment, spec: SpanSpec, seed: int) -> Experiment:
    """The experiment of one span and seed.

    Raises
    ------
    UsageError
        A key of the span is not one that may differ.
    """
    from pydantic import ValidationError

    where = f"evaluate.spans, {spec.length_s:g} s to {spec.horizon_s:g} s"
    tree = resolved(experiment)
    tree["data"]["windows"] = {**sliding_windows(experiment), "length_s": spec.length_s, "horizon_s": spec.horizon_s}
    tree["seed"] = seed
    for key, value in spec.keys.items():
        if not any(key == known or key.startswith(f"{known}.") for known in (*OF_A_VARIANT, "finetune")):
            raise UsageError(
                f"{key} cannot differ between spans", where, f"Change keys of {', '.join(OF_A_VARIANT)}, finetune"
            )
        set_key(tree, key, value, where)
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise refused(error.errors(), tree, Path(where)) from error


def check_from(from_run: Path | None, experiment: Experiment, spans: Sequence[Span]) -> None:
    """One run was pretrained for one span and seed.

    Raises
    ------
    UsageError
    """
    if from_run is not None and (len(spans) > 1 or experiment.evaluate.seeds > 1):
        raise UsageError(
            f"The study has {len(spans)} spans and {experiment.evaluate.seeds} seeds, and one run was pretrained for "
            "one of each",
            "--from",
            "Leave --from out: what is missing is then trained; or set evaluate.seeds=1 and one span",
        )


def check_titles(spans: Sequence[Span]) -> None:
    """Two spans are not the same number of steps.

    Raises
    ------
    UsageError
    """
    titles = [span.title for span in spans]
    for title in titles:
        if titles.count(title) > 1:
            raise UsageError(f"Two spans are {title.replace('to', ' to ')} steps", "evaluate.spans", "Leave one out")
    for span in spans:
        names = [cell.file for cell in span.cells]
        if len(set(names)) < len(names):
            raise UsageError("Two variants are one name in a file", "variants", "Give one of them another name")


def protocol_of(experiment: Experiment, cohort: Cohort) -> str:
    """What the tables are headed with."""
    stamp = "; ".join([cohort.splits[0].stamp, *cohort.marks])
    folds = f", {len(cohort.splits)} folds" if len(cohort.splits) > 1 else ""
    first, n = experiment.seed, experiment.evaluate.seeds
    seeds = f"seeds {first} to {first + n - 1}" if n > 1 else f"seed {first}"
    return f"{cohort.windows.store.meta['dataset']}, {stamp}{folds}, {seeds}"
