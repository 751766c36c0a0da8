"""Running trials: in this process, or in several that share the study."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from biocl.errors import BioclError, DataError, Interrupted
from biocl.sweeps.liveness import (
    DEFAULT,
    SURPLUS,
    Watch,
    beating,
    is_admitted,
    n_claimed,
    n_counted,
    release,
    release_of,
    trials_of,
)
from biocl.sweeps.space import Changes, drawn, suggest
from biocl.sweeps.spec import SweepSpec
from biocl.sweeps.study import TRIALS

REASON = "reason"


@dataclass(frozen=True)
class Timing:
    """How often workers sign, how long a silent one is waited for, and how often is looked, in seconds."""

    beat_s: float = 10.0
    grace_s: float = 120.0
    poll_s: float = 0.5


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes
    ----------
    score : float
        Mean over the validation patients.
    patients : mapping of str to float
        Each one's own.
    """

    score: float
    patients: dict[str, float]


class Running:
    """What an objective may say while it computes a trial.

    Parameters
    ----------
    trial : optuna.Trial
    spec : SweepSpec
    """

    def __init__(self, trial: Trial, spec: SweepSpec) -> None:
        self.trial, self.spec = trial, spec
        self.measured: dict[str, float] = {}

    def report(self, step: int, value: float) -> None:
        """A score on the way: of a look during training, or of a patient.

        Raises
        ------
        TrialPruned
            The pruner has seen enough.
        """
        self.trial.report(value, step)
        if self.trial.should_prune():
            raise TrialPruned(f"by {self.spec.pruner.name} at step {step}")

    def measure(self, name: str, value: float) -> None:
        """What the trial costs.

        Raises
        ------
        TrialPruned
            It is more than ``sweep.constraints`` allows.
        """
        self.measured[name] = value
        self.trial.set_user_attr(name, value)
        most = self.spec.constraints.get(name)  # type: ignore[call-overload]
        if most is None:
            return
        self.trial.set_constraint(name, value - most)
        if value > most:
            raise TrialPruned(f"{name} {value:g} above {most:g}")

    def values(self, outcome: Outcome) -> list[float]:
        """The numbers of all objectives."""
        return [outcome.score, *(self.measured[name] for name in self.spec.objectives[1:])]


class Objective(Protocol):
    """What is swept: changes of the configuration to a score, saying on the way what the pruner needs."""

    def __call__(self, changes: Changes, running: Running) -> Outcome:
        """Compute one trial."""


def run_trials(
    study: Study,
    spec: SweepSpec,
    objective: Objective,
    owner: str,
    timing: Timing,
    on_look: Callable[[Study], None] = lambda study: None,
) -> None:
    """Run trials until as many count as the study wants, here or by its other workers.

    Parameters
    ----------
    study : optuna.Study
    spec : SweepSpec
    objective : callable
    owner : str
        Name of this worker.
    timing : Timing
    on_look : callable
        Called with the study before each trial, and after the last.

    Raises
    ------
    BioclError
        The configuration as it stands cannot be computed.
    Interrupted
        On request; the trial at hand is in the queue again.
    """
    watch = Watch(timing.grace_s)
    while True:
        on_look(study)
        trials = trials_of(study)
        watch.clean(study, trials)
        total = study.user_attrs[TRIALS]
        if n_counted(trials) >= total:
            return
        if n_claimed(trials) >= total and not any(trial.state is TrialState.WAITING for trial in trials):
            time.sleep(timing.poll_s)  # the others are at the last ones, or gone
            continue
        trial = study.ask()
        # Who was taken for dead finds its trial failed, at whatever it writes next: it is somebody else's by now.
        try:
            with beating(study, trial, owner, timing.beat_s):
                state, values = run_one(study, trial, spec, objective, total)
        except UpdateFinishedTrialError:
            continue
        except BaseException:
            release(study, frozen(study, trial))
            raise
        with suppress(ValueError, UpdateFinishedTrialError):
            study.tell(trial, values, state)


def run_one(
    study: Study, trial: Trial, spec: SweepSpec, objective: Objective, total: int
) -> tuple[TrialState, list[float] | None]:
    """One trial: its state and values."""
    if not is_admitted(trial, trials_of(study), total):
        trial.set_user_attr(SURPLUS, True)
        return TrialState.FAIL, None
    is_default = bool(trial.user_attrs.get(DEFAULT))
    running = Running(trial, spec)
    try:
        changes = own_changes(study, trial, spec) if is_default else suggest(trial, spec.space)
        outcome = objective(changes, running)
    except TrialPruned as pruned:
        trial.set_user_attr(REASON, str(pruned))
        return TrialState.PRUNED, None
    except BioclError as error:
        if is_default or isinstance(error, Interrupted):
            raise
        # One of the corners nobody tried, or a loss without bounds: a bad trial, which the sampler should know of.
        trial.set_user_attr(REASON, error.what)
        return TrialState.PRUNED, None
    trial.set_user_attr("patients", outcome.patients)
    return TrialState.COMPLETE, running.values(outcome)


def own_changes(study: Study, trial: Trial, spec: SweepSpec) -> Changes:
    """Of the configuration as it stands: none; the sampler learns those of its parameters that the space holds."""
    for key in frozen(study, trial).system_attrs.get("fixed_params", {}):
        drawn(trial, key, spec.space[key])
    return {}


def frozen(study: Study, trial: Trial) -> FrozenTrial:
    """What the storage holds of a trial."""
    return next(one for one in trials_of(study) if one.number == trial.number)


def name_of_worker(number: int) -> str:
    """Unique, and readable in a table."""
    return f"{platform.node()}-{os.getpid()}-{number}-{uuid.uuid4().hex[:6]}"


@dataclass(frozen=True)
class Job:
    """What a worker process needs; sent through a pipe, so that no password stands on a command line.

    Attributes
    ----------
    open : callable
        Makes study and objective, in the worker.
    arguments : tuple
        What it is given.
    spec : SweepSpec
    timing : Timing
    n_threads : int
        Threads of each worker.
    """

    open: Callable[..., tuple[Study, Objective]]
    arguments: tuple[Any, ...]
    spec: SweepSpec
    timing: Timing
    n_threads: int


def run_workers(study: Study, job: Job, n_workers: int, on_look: Callable[[Study], None]) -> None:
    """Run trials in `n_workers` processes until as many count as the study wants.

    Trials of a worker that is killed are in the queue again at once; the others go on.

    Raises
    ------
    BioclError
        What a worker could not compute.
    DataError
        All workers were killed.
    Interrupted
        On request, after the workers stopped.
    """
    context = multiprocessing.get_context("spawn")
    processes: dict[str, tuple[Any, Connection]] = {}
    watch = Watch(job.timing.grace_s)
    try:
        for number in range(n_workers):
            name = name_of_worker(number)
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(job, name, there), name=name, daemon=True)
            process.start()
            there.close()
            processes[name] = (process, here)
        while n_counted(trials_of(study)) < study.user_attrs[TRIALS]:
            on_look(study)
            watch.clean(study, trials_of(study))
            for name in [name for name, (process, _) in processes.items() if not process.is_alive()]:
                said(*processes.pop(name))
                release_of(study, name)
            if not processes and n_counted(trials_of(study)) < study.user_attrs[TRIALS]:
                raise DataError(
                    "All worker processes were killed, probably for lack of memory",
                    None,
                    "The same command with --resume and fewer --workers goes on from there",
                )
            time.sleep(job.timing.poll_s)
        on_look(study)
    except BaseException:
        stop(processes)
        for name in processes:
            release_of(study, name)
        raise
    for process, _ in processes.values():
        process.join()


def said(process: Any, pipe: Connection) -> None:
    """Raise what a worker that ended could not go on with.

    Raises
    ------
    BioclError
    """
    process.join()
    if process.exitcode not in (0, None) and pipe.poll():
        try:
            error = pipe.recv()
        except EOFError:
            return
        raise error


def stop(processes: dict[str, tuple[Any, Connection]]) -> None:
    """Ask workers to stop, and wait until they have put their trials back."""
    for process, _ in processes.values():
        if process.is_alive():
            process.terminate()
    for process, _ in processes.values():
        process.join(timeout=60)
        if process.is_alive():
            process.kill()


def work(job: Job, name: str, pipe: Connection) -> None:
    """A worker process: join the study and run trials; end with the parent even if that is killed."""
    import torch

    def asked(number: int, frame: object) -> None:
        raise Interrupted("Stopped on request", fix="The same command with --resume goes on from there")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, asked)
    follow_parent()
    torch.set_num_threads(job.n_threads)
    try:
        study, objective = job.open(*job.arguments)
        run_trials(study, job.spec, objective, name, job.timing)
    except Interrupted:
        raise SystemExit(Interrupted.exit_code) from None
    except BioclError as error:
        pipe.send(plain_error(error))
        raise SystemExit(error.exit_code) from None
    except Exception:
        pipe.send(DataError(f"A worker ended by a fault of biocl's: {traceback.format_exc()}"))
        raise SystemExit(1) from None


def plain_error(error: BioclError) -> BioclError:
    """The same error without what cannot be sent."""
    return type(error)(error.what, None if error.where is None else str(error.where), error.fix)


def follow_parent() -> None:
    """Ask this process to stop when its parent is gone."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        assert parent is not None
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    if parent is not None:
        threading.Thread(target=follow, daemon=True).start()
