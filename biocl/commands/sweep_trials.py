"""What a sweep computes: the score of validation patients under changed keys, without a label of any other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from biocl.commands.evaluate import class_tasks
from biocl.commands.joint import train_jointly
from biocl.commands.regressions import predict_number, regression_tasks, tested_numbers
from biocl.commands.results import patient_scores, tested_windows
from biocl.commands.setup import Cohort, build_model, open_cohort
from biocl.commands.study import Fold, predict_cell
from biocl.config import refused, set_key
from biocl.errors import DataError, UsageError
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.probe import patient_folds
from biocl.evaluation.protocol import PRETRAINED, Cell
from biocl.evaluation.regression import own_errors
from biocl.experiment import Experiment
from biocl.objectives.model import Model
from biocl.splits.make import assign
from biocl.splits.split import Split
from biocl.store.sealed import blanked, sealed
from biocl.sweeps.space import Changes
from biocl.sweeps.spec import SweepSpec
from biocl.sweeps.study import Direction
from biocl.sweeps.workers import Outcome, Running
from biocl.training.averaging import Weights
from biocl.training.loop import Metrics


@dataclass(frozen=True)
class Scoring:
    """How a task is scored: who predicts, whose errors are whose, and which way is better.

    Attributes
    ----------
    tasks : callable
        Experiment, cohort and parts to tasks, of which the first is scored; refuses what cannot be judged.
    predict : callable
        Fold and cell to predictions of the windows that the fold judges.
    own : callable
        A fold, its task and the predictions of all draws to each patient's score.
    direction : {"maximize", "minimize"}
    """

    tasks: Callable[..., list[Any]]
    predict: Callable[[Fold, Cell], np.ndarray]
    own: Callable[[Fold, tuple[str, ...], np.ndarray], dict[Any, float]]
    direction: Direction


def own_classes(fold: Fold, classes: tuple[str, ...], proba: np.ndarray) -> dict[Any, float]:
    """Each validation patient's macro-F1 (or accuracy, see `patient_scores`), averaged over draws."""
    test = tested_windows([fold], classes)
    return patient_scores(test.y, proba, test.patient, classes)


def own_numbers(fold: Fold, task: tuple[str, ...], predicted: np.ndarray) -> dict[Any, float]:
    """Each validation patient's mean absolute error, averaged over draws."""
    test = tested_numbers([fold])
    tables = [own_errors(test.y, one, test.patient) for one in predicted]
    return {name: float(np.mean([table[name] for table in tables])) for name in tables[0]}


SCORINGS = {
    "classification": Scoring(class_tasks, predict_cell, own_classes, "maximize"),
    "regression": Scoring(regression_tasks, predict_number, own_numbers, "minimize"),
}


def scoring_of(experiment: Experiment) -> Scoring:
    """How what the experiment judges is scored.

    Raises
    ------
    UsageError
        It is nothing that each patient has a score of.
    """
    if experiment.judged not in SCORINGS:
        raise UsageError(
            f"A sweep scores classes or numbers, and this configuration is judged on {experiment.judged}",
            "evaluate.task",
            "Set evaluate.task: classification where the windows have classes",
        )
    return SCORINGS[experiment.judged]


def changed(base: Mapping[str, Any], changes: Changes, spec: SweepSpec, where: str) -> Experiment:
    """The experiment under the keys of one trial, judged on validation patients.

    Parameters
    ----------
    base : mapping
        The resolved configuration, as JSON; it stays as it is.
    changes : dict
        Outer keys are set before those inside them.
    spec : SweepSpec
    where : str
        What to call this in an error.

    Raises
    ------
    UsageError
        This is no experiment.
    """
    tree = deepcopy(dict(base))
    for key in sorted(changes, key=lambda key: key.count(".")):
        set_key(tree, key, deepcopy(changes[key]), where)
    judged = {"part": "validation", "modes": [spec.mode], "labels": [spec.labels], "draws": spec.draws}
    tree["evaluate"] = {**tree["evaluate"], **judged, "devices": ["all"]}
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        raise refused(error.errors(), tree, Path(where)) from error


@dataclass(frozen=True)
class SealedCohort(Cohort):
    """A cohort in which nobody's label is known who neither trains nor validates.

    Attributes
    ----------
    outer : Split
        The split's fold that `splits` are of: the same, or redrawn between train and validation.
    n_folds : int
        Folds of the whole split.
    """

    outer: Split | None = None
    n_folds: int = 1


def validation_cohort(experiment: Experiment, spec: SweepSpec) -> SealedCohort:
    """The cohort of one fold, without the labels of anybody who neither trains nor validates.

    The split is drawn from the whole table, as by every other verb. From then on labels and targets of all other
    windows are unknown, and the store has neither events nor labels. With ``sweep.inner_folds`` the splits are those.

    Raises
    ------
    UsageError
        There is no such fold, or inner folds of a split that cannot have any.
    DataError
        There are no validation patients.
    """
    cohort = open_cohort(experiment)
    if spec.fold >= len(cohort.splits):
        raise UsageError(
            f"The split has {len(cohort.splits)} folds, counted from 0, and no fold {spec.fold}",
            "sweep.fold",
            "Name one of them",
        )
    split, table = cohort.splits[spec.fold], cohort.windows.table
    parts = assign(split, table)
    readable = np.zeros(len(table), np.bool_)
    readable[np.concatenate([parts["train"], parts["validation"]])] = True
    windows = replace(
        cohort.windows, store=sealed(cohort.windows.store), table=blanked(table, readable), train=None, fitted=None
    )
    splits = [split] if spec.inner_folds is None else inner_splits(split, windows.table, readable, spec.inner_folds)
    hidden = SealedCohort(
        windows,
        splits,
        cohort.event_s,
        cohort.part,
        cohort.missing,
        cohort.seed,
        outer=split,
        n_folds=len(cohort.splits),
    )
    if any(len(hidden.parts(number)["validation"]) == 0 for number in range(len(splits))):
        raise DataError(
            "The split has no validation patients, and a sweep scores nobody else",
            "split",
            "Set split.validation (or the second of split.fractions) above 0, or sweep.inner_folds",
        )
    return hidden


def inner_splits(split: Split, table: Any, readable: np.ndarray, n_folds: int) -> list[Split]:
    """Train and validation patients of a split, redrawn so that each validates once.

    Raises
    ------
    UsageError
        The split is not between patients, lists a patient twice, or has too few of them.
    """
    names = [*split.parts["train"], *split.parts["validation"]]
    if split.scope != "patient" or split.only or len(set(names)) < max(n_folds, 2, len(names)):
        raise UsageError(
            f"Train and validation of this split cannot be redrawn in {n_folds} folds of patients",
            "sweep.inner_folds",
            "Leave it out, ask for fewer folds, or use a split of scope patient in which everybody stands once",
        )
    rows = np.flatnonzero(readable)
    fold = patient_folds(table.label[rows], table.patient[rows], n_folds)
    held = {table.names["patient"][table.patient[row]]: number for row, number in zip(rows, fold, strict=True)}
    return [
        replace(
            split,
            name=f"{split.name}, inner fold {number}",
            parts={
                "train": tuple(name for name in names if held.get(name) != number),
                "validation": tuple(name for name in names if held.get(name) == number),
                "test": split.parts["test"],
            },
            fold=number,
        )
        for number in range(int(fold.max()) + 1)
    ]


def compute_trial(
    experiment: Experiment, cohort: Cohort, spec: SweepSpec, running: Running, device: torch.device
) -> Outcome:
    """Train on the training patients of every inner fold, and score its validation patients.

    Raises
    ------
    TrialPruned
        The pruner has seen enough, or a constraint is broken.
    DataError
        The loss is not finite, or memory does not suffice.
    """
    scoring = scoring_of(experiment)
    parts = [cohort.parts(number) for number in range(len(cohort.splits))]
    task = tuple(scoring.tasks(experiment, cohort, parts)[0])
    order = {name: number for number, name in enumerate(cohort.windows.table.names["patient"])}
    folds = [Fold(experiment, cohort, number, parts[number], None, device) for number in range(len(parts))]
    running.measure("parameters", n_parameters(build_model(experiment, folds[0].windows)))
    scores: dict[str, float] = {}
    seconds = 0.0
    for fold in folds:

        def score(fold: Fold = fold) -> dict[str, float]:
            draws = range(1 if spec.labels == "all" else spec.draws)
            cells = [Cell(task, spec.labels, draw, spec.mode, PRETRAINED, fold.number) for draw in draws]
            found = scoring.own(fold, task, np.stack([scoring.predict(fold, cell) for cell in cells]))
            return {str(name): float(value) for name, value in found.items()}

        began = time.monotonic()
        try:
            train(fold, looker(fold, score, running, spec))
        except torch.OutOfMemoryError as error:
            raise DataError("The accelerator's memory does not suffice for this trial", "batch", None) from error
        seconds += time.monotonic() - began
        for name, value in score().items():
            scores[name] = value
            if spec.pruner.over == "patients":
                running.report(order[name], value)
        fold.forget()
    running.measure("seconds", seconds)
    return Outcome(float(np.mean(list(scores.values()))), scores)


def n_parameters(model: Model) -> int:
    """Numbers that the encoder learns."""
    return sum(weight.numel() for weight in model.encoder.parameters() if weight.requires_grad)


def train(fold: Fold, look: Callable[[Weights, int], Metrics] | None) -> None:
    """Pretrain as ``biocl pretrain`` does, in memory; the fold keeps the weights that would be judged."""
    experiment, windows = fold.experiment, fold.windows
    train_rows = fold.parts["train"]
    if len(train_rows) == 0:
        raise DataError("The training part has no windows", "split", "Check the patients in the split file")
    classes = list(windows.table.classes)
    data = Labelled.make(windows, classes) if classes else windows
    model = build_model(experiment, windows).to(fold.device)
    train_jointly(model, experiment, data, train_rows, train_rows, device=fold.device, on_look=look)
    fold.pretrained = {name: value.detach().clone() for name, value in model.state_dict().items()}
    fold.take_fitted(windows.known)


def looker(
    fold: Fold, score: Callable[[], dict[str, float]], running: Running, spec: SweepSpec
) -> Callable[[Weights, int], Metrics] | None:
    """A look at the validation patients during training, for a pruner that compares looks."""
    if spec.pruner.over != "looks":
        return None
    n_looks = 0

    def look(weights: Weights, step: int) -> Metrics:
        nonlocal n_looks
        n_looks += 1
        fold.pretrained = weights
        fold.known.clear()
        value = float(np.mean(list(score().values())))
        fold.known.clear()
        running.report(n_looks, value)
        return {"validation/score": value}

    return look


def check_looks(experiment: Experiment) -> None:
    """A pruner that compares looks needs some before the last.

    Raises
    ------
    UsageError
    """
    assert experiment.sweep is not None
    if experiment.sweep.pruner.over == "looks" and experiment.train.validate_every is None:
        raise UsageError(
            f"The pruner {experiment.sweep.pruner.name} compares trials at each look at the validation patients, and "
            "there is only one, after the last step",
            "train.validate_every",
            "Set it, for instance to a tenth of train.steps",
        )
