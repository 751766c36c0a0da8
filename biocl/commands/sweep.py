"""Search over keys of a configuration, by the scores of inner validation patients."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from optuna.study import Study

from biocl.commands.setup import INNER, build_model, check_signal, split_record
from biocl.commands.sweep_trials import (
    SealedCohort,
    changed,
    check_looks,
    compute_trial,
    scoring_of,
    validation_cohort,
)
from biocl.config import nearest_key, set_key, to_yaml, yaml_text
from biocl.errors import BioclError, UsageError
from biocl.experiment import Experiment
from biocl.files import digest, read_json, write_json, write_text
from biocl.splits.file import write_splits
from biocl.sweeps.liveness import n_counted, trials_of
from biocl.sweeps.plots import draw_plots
from biocl.sweeps.results import default_trial, front, patients_of, ranked, score, summary, table, trial_lines
from biocl.sweeps.space import Changes, changes_of, corners, own_params, part_of
from biocl.sweeps.spec import ChoiceParameter, SweepSpec
from biocl.sweeps.storage import is_database, kind_of, open_storage
from biocl.sweeps.study import TRIALS, Plan, check_joinable, join_study, open_study
from biocl.sweeps.workers import Job, Objective, Outcome, Running, Timing, name_of_worker, run_trials, run_workers
from biocl.training.optimisation import resolve_device
from biocl.training.run import progress, redacted, start_run

FIXED = (
    *("name", "seed", "split", "variants", "sweep", "finetune.labels", "finetune.draw"),
    *("data.dataset", "data.store", "data.raw", "data.classes", "data.labels", "data.target", "data.missing"),
    "data.quality",
)
OF_EVALUATE = ("evaluate.probe", "evaluate.per_recording")
KEPT_COHORTS = 2
SPLIT, FRONT = "split_file.json", "front"


@dataclass
class TrialsOf:
    """The objective of a sweep: keys of the configuration to the score of the validation patients.

    Attributes
    ----------
    base : mapping
        The resolved configuration as it stands, without its sweep.
    spec : SweepSpec
    device : torch.device
    cohorts : dict
        Those of the latest trials, by what they depend on.
    """

    base: Mapping[str, Any]
    spec: SweepSpec
    device: torch.device
    cohorts: dict[str, SealedCohort] = field(default_factory=dict)

    def __call__(self, changes: Changes, running: Running) -> Outcome:
        """Compute one trial."""
        experiment = self.experiment(changes, f"trial {running.trial.number}")
        cohort = self.cohort(experiment)
        check_signal(experiment, cohort.windows)
        return compute_trial(experiment, cohort, self.spec, running, self.device)

    def experiment(self, changes: Changes, where: str) -> Experiment:
        """The experiment under changed keys."""
        return changed(self.base, changes, self.spec, where)

    def cohort(self, experiment: Experiment) -> SealedCohort:
        """Its cohort, without a test label; kept, since most trials share one."""
        key = digest([experiment.model_dump(mode="json", include={"data", "split"})])
        if key not in self.cohorts:
            while len(self.cohorts) >= KEPT_COHORTS:
                self.cohorts.pop(next(iter(self.cohorts)))
            self.cohorts[key] = validation_cohort(experiment, self.spec)
        return self.cohorts[key]


def sweep(
    experiment: Experiment,
    out: Path,
    *,
    storage: str | None = None,
    workers: int = 1,
    trials: int | None = None,
    device: str = "auto",
    resume: bool = False,
    timing: Timing | None = None,
) -> str:
    """Run the trials of ``sweep:`` and leave a run folder with the best configuration.

    Parameters
    ----------
    experiment : Experiment
        With a ``sweep:``.
    out : Path
        ``best.yaml`` is a configuration that ``pretrain`` and ``evaluate`` take; ``trials.csv`` has one line a trial,
        ``results.json`` everything, ``plots/`` the pictures.
    storage : str, optional
        Where the study is kept; see `biocl.sweeps.storage.open_storage`.
    workers : int
        Processes here. More may join from other machines, by the same storage and `resume`.
    trials : int, optional
        How many shall count, in place of ``sweep.trials``; a resume may ask for more.
    device : str
    resume : bool
        Go on with the study of this storage, or start it.
    timing : Timing, optional
        How often workers sign, and how long a silent one is waited for.

    Returns
    -------
    str
        The best trials beside the configuration as it stands, ready to print.

    Raises
    ------
    UsageError
        The configuration has no sweep, or its space holds what is no experiment; nothing was started.
    Interrupted
        On request; the same command with `resume` goes on.
    """
    if experiment.sweep is None:
        raise UsageError(
            "This configuration has no sweep: key, so there is nothing to search over",
            "sweep",
            "See `biocl config copy sweep-synthetic my.yaml`, or `biocl config explain sweep.space`",
        )
    spec, timing = experiment.sweep, timing or Timing()
    check_looks(experiment)
    base = tree_of(experiment, "sweep", "variants")
    objective = TrialsOf(base, spec, resolve_device(device))
    cohort = objective.cohort(objective.experiment({}, "configuration"))
    choices = check_space(objective)
    plan = plan_of(experiment, cohort, choices)
    database = open_storage(storage, out) if storage is not None and is_database(storage) else None
    if database is not None:
        check_joinable(plan, database, resume=resume)
    # Nothing is written before all that may be refused has been looked at.
    record = {"folds": [split_record(one, cohort.windows, cohort.parts(i)) for i, one in enumerate(cohort.splits)]}
    run = start_run(out, config=to_yaml(experiment), split=record, kind="sweep", resume=resume)
    same_storage(run, storage)
    assert cohort.outer is not None
    write_splits([cohort.outer], run / SPLIT)
    study = open_study(plan, database or open_storage(storage, run), resume=resume, trials=trials)
    total = study.user_attrs[TRIALS]
    with progress("sweep", total) as advance:
        shown = shower(advance)
        if workers == 1:
            run_trials(study, spec, objective, name_of_worker(0), timing, shown)
        else:
            n_threads = max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // workers))
            job = Job(open_worker, (plan, base, storage, run, device), spec, timing, n_threads)
            run_workers(study, job, workers, shown)
    return leave(study, experiment, cohort.n_folds, run, storage)


def tree_of(experiment: Experiment, *without: str) -> dict[str, Any]:
    """The resolved configuration as plain values; of ``data:`` what is given, so that the rest stays the data set's."""
    tree = experiment.model_dump(mode="json", exclude=set(without))
    return tree | {"data": experiment.data.model_dump(mode="json", exclude_unset=True)}


def shower(advance: Callable[..., None]) -> Callable[[Study], None]:
    """Moves a progress bar to the number of trials that count."""
    done = 0

    def show(study: Study) -> None:
        nonlocal done
        now, best = n_counted(trials_of(study)), ranked(study)[:1]
        if now > done:
            advance(now - done, f"best {score(best[0]):.4f}" if best else "")
            done = now

    return show


def open_worker(
    plan: Plan, base: Mapping[str, Any], storage: str | None, run: Path, device: str
) -> tuple[Study, Objective]:
    """Study and objective, in a worker process."""
    return join_study(plan, open_storage(storage, run, patient=True)), TrialsOf(base, plan.spec, resolve_device(device))


def plan_of(experiment: Experiment, cohort: SealedCohort, choices: Mapping[str, list[Any]]) -> Plan:
    """What makes this sweep this one."""
    spec = experiment.sweep
    assert spec is not None
    base = experiment.model_dump(mode="json", exclude={"sweep", "variants"})
    identity = {
        "configuration": digest(base),
        "search": digest(spec.model_dump(mode="json", exclude={"trials"})),
        "split": digest([split.digest() for split in cohort.splits]),
        "store": digest([cohort.windows.store.content_hash, cohort.windows.table.digest()]),
    }
    own = own_params(spec.space, {key: part_of(base, key) for key in spec.space}, choices)
    name = experiment.name if spec.fold == 0 else f"{experiment.name}-fold{spec.fold}"
    return Plan(name, spec, scoring_of(experiment).direction, identity, own)


def check_space(objective: TrialsOf) -> dict[str, list[Any]]:
    """Refuse a space of which a key, a choice or an end is no experiment.

    Returns
    -------
    dict of str to list
        The choices of each parameter as the resolved configuration has them.

    Raises
    ------
    UsageError
    """
    space = objective.spec.space
    for key in [one for name, parameter in space.items() for one in (name, *parameter.also)]:
        if is_fixed(key):
            raise UsageError(
                f"{key} cannot be swept: all trials share recordings, labels, patients and how they are judged",
                f"sweep.space.{key}",
                "Leave it out; `biocl config explain sweep.space` says what may vary",
            )
    choices: dict[str, list[Any]] = {}
    values: dict[str, list[Any]] = {}
    for key, value, changes in corners(space):
        where = f"sweep.space.{key}: {value}"
        try:
            experiment = objective.experiment(changes, where)
            check_known(objective, key, changes)
            windows = objective.cohort(experiment).windows
            check_signal(experiment, windows)
            build_model(experiment, windows)
        except BioclError as error:
            there = error.where if str(error.where).startswith("sweep.") else where
            raise UsageError(error.what, there, error.fix) from error
        if isinstance(space[key], ChoiceParameter) and value not in values.setdefault(key, []):
            values[key].append(value)
            choices.setdefault(key, []).append(part_of(experiment.model_dump(mode="json"), key))
    return choices


def is_fixed(key: str) -> bool:
    """Whether a key is the same in all trials."""
    if key.startswith("evaluate") and not any(key == one or key.startswith(f"{one}.") for one in OF_EVALUATE):
        return True
    return any(key == one or key.startswith(f"{one}.") or one.startswith(f"{key}.") for one in FIXED)


def check_known(objective: TrialsOf, key: str, changes: Changes) -> None:
    """Refuse a key that the configuration does not have, given the pieces of YAML around it.

    Raises
    ------
    UsageError
    """
    for name in (key, *objective.spec.space[key].also):
        around = {outer: value for outer, value in changes.items() if name.startswith(f"{outer}.")}
        tree: Any = objective.experiment(around, f"sweep.space.{key}").model_dump(mode="json")
        outer, _, last = name.rpartition(".")
        holder = part_of(tree, outer)
        there = last in holder if isinstance(holder, dict) else part_of(tree, name) is not None
        if not there:
            near = nearest_key(name.split("."))
            raise UsageError(
                f"{name} is not a key of this configuration",
                f"sweep.space.{key}",
                f"Did you mean {near[0]}?" if near else "Write it as in an override on the command line",
            )


def same_storage(run: Path, storage: str | None) -> None:
    """Remember where the study is, without its password; a resume elsewhere is refused.

    Raises
    ------
    UsageError
    """
    path, now = run / "storage.json", {"storage": None if storage is None else redacted(storage)}
    if not path.is_file():
        write_json(path, now)
        return
    before = read_json(path)
    if before != now:
        raise UsageError(
            f"This run keeps its study in {before['storage'] or 'a journal in the run folder'}",
            path,
            "Resume with the same --storage, or without one if there was none",
        )


def leave(study: Study, experiment: Experiment, n_folds: int, run: Path, storage: str | None) -> str:
    """Write what the sweep found; the text to print."""
    spec = experiment.sweep
    assert spec is not None
    best, own = ranked(study), default_trial(study)
    write_text(run / "trials.csv", trial_lines(study, spec))
    write_json(run / "results.json", {**summary(study, spec), "marks": [INNER], "storage": kind_of(storage)})
    draw_plots(study, spec, run / "plots")
    if not best:
        return f"no trial was finished within the constraints; run folder {run}"
    for trial in front(study):
        path = run / ("best.yaml" if trial is best[0] else f"{FRONT}/trial-{trial.number}.yaml")
        write_text(path, best_yaml(study, experiment, n_folds, path, trial.number))
    n_counted_now, names = n_counted(trials_of(study)), patients_of(best)
    lines = [
        f"{study.study_name}: {n_counted_now} trials count; score of {len(names)} patients: {INNER}",
        table(study, spec),
        f"the best of {n_counted_now} is high by choice: report `biocl evaluate {run / 'best.yaml'}`, once",
    ]
    if own is not None:
        lines.insert(1, f"best {score(best[0]):.4f}, the configuration as it stands {score(own):.4f}")
    return "\n\n".join([*lines, f"run folder: {run}"])


def best_yaml(study: Study, experiment: Experiment, n_folds: int, path: Path, number: int) -> str:
    """A configuration of one trial, with a header on where it comes from.

    Of a split of several folds it keeps the sweep's fold alone: the test patients of the others had a say in it.
    """
    spec = experiment.sweep
    assert spec is not None
    trial = next(one for one in ranked(study) if one.number == number)
    own = default_trial(study)
    tree = tree_of(experiment, "sweep")
    changes = {} if own is not None and trial.number == own.number else changes_of(trial.params, spec.space)
    for key in sorted(changes, key=lambda key: key.count(".")):
        set_key(tree, key, changes[key], f"trial {number}")
    if n_folds > 1:
        of_fold = {
            "file": str(path.parents[path.parent.name == FRONT].joinpath(SPLIT).resolve()),
            "scope": experiment.split.scope,
        }
        tree["split"] = of_fold | ({"patient": "record"} if experiment.split.patient == "record" else {})
    header = [
        f"# Trial {number} of the sweep {study.study_name}, of {n_counted(trials_of(study))} that count.",
        f"#   biocl pretrain {path} && biocl evaluate {path}",
        f"# Score of {len(trial.user_attrs['patients'])} inner validation patients: {score(trial):.4f}"
        + (f"; of the configuration as it stood: {score(own):.4f}." if own is not None else "."),
        "# Chosen by these patients, so their score is high by choice; the test patients were not seen.",
    ]
    return "\n".join([*header, yaml_text(tree)])
