"""The study of a sweep: made with all that decides its trials, joined only by who has the same."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import TrialState

from biocl import __version__
from biocl.errors import UsageError
from biocl.sweeps.liveness import DEFAULT, trials_of
from biocl.sweeps.optimisers import arguments_of, make_pruner, sweep_sampler
from biocl.sweeps.spec import SweepSpec
from biocl.training.run import version_of

TRIALS, IDENTITY, VERSIONS = "trials", "identity", "versions"
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Plan:
    """What makes a sweep this one.

    Attributes
    ----------
    name : str
        Name of the study in its storage.
    spec : SweepSpec
    direction : {"maximize", "minimize"}
        Of the score.
    identity : mapping of str to str
        Hashes of the configuration, the space, the split and the windows: who joins needs the same.
    own : mapping of str to Any
        The configuration as it stands, as parameters (`biocl.sweeps.space.own_params`).
    """

    name: str
    spec: SweepSpec
    direction: Direction
    identity: Mapping[str, str]
    own: Mapping[str, Any]

    @property
    def directions(self) -> list[Direction]:
        """Of all objectives; costs are to be small."""
        costs: list[Direction] = ["minimize"] * (len(self.spec.objectives) - 1)
        return [self.direction, *costs]


def open_study(plan: Plan, storage: BaseStorage, *, resume: bool, trials: int | None = None) -> Study:
    """Make the study, or join the one that is there.

    Parameters
    ----------
    plan : Plan
    storage : BaseStorage
    resume : bool
        Join what is there; without it a study that exists is refused.
    trials : int, optional
        How many shall count, in place of ``sweep.trials`` or of what the study was started with.

    Raises
    ------
    UsageError
        The study exists, or was started with another configuration, space, split or store.
    """
    check_joinable(plan, storage, resume=resume)
    with suppress(DuplicatedStudyError):
        optuna.create_study(study_name=plan.name, storage=storage, directions=plan.directions)
    study = join_study(plan, storage)
    remember(study, plan, trials)
    if not any(trial.user_attrs.get(DEFAULT) and trial.state is not TrialState.FAIL for trial in trials_of(study)):
        study.enqueue_trial(dict(plan.own), user_attrs={DEFAULT: True})
    return study


def join_study(plan: Plan, storage: BaseStorage) -> Study:
    """The study as a worker sees it, after `open_study` made it."""
    return optuna.load_study(
        study_name=plan.name,
        storage=storage,
        sampler=sweep_sampler(plan.spec),
        pruner=make_pruner(plan.spec.pruner),
    )


def check_joinable(plan: Plan, storage: BaseStorage, *, resume: bool) -> None:
    """Refuse a study that exists, or on a resume one of another configuration, space, split or store.

    Raises
    ------
    UsageError
    """
    if plan.name not in optuna.get_all_study_names(storage):
        return
    if not resume:
        raise UsageError(
            f"This storage holds a study named {plan.name}",
            "--storage",
            "Join it with --resume, or set another name: in the configuration",
        )
    now = dict(plan.identity)
    there = optuna.load_study(study_name=plan.name, storage=storage).user_attrs.get(IDENTITY, now)
    differ = [name for name, value in now.items() if there.get(name) != value]
    if differ:
        raise UsageError(
            f"The study {plan.name} was started with another {' and another '.join(differ)}",
            "--storage",
            "Resume with the same file and overrides on the same store, or set another name: in the configuration",
        )


def remember(study: Study, plan: Plan, trials: int | None) -> None:
    """Keep what decides the trials, and every combination of versions that ran any."""
    before = study.user_attrs
    now = {
        IDENTITY: dict(plan.identity),
        "sampler": {"name": plan.spec.sampler.name, **arguments_of(plan.spec.sampler)},
        "pruner": {"name": plan.spec.pruner.name, **arguments_of(plan.spec.pruner)},
        "seed": plan.spec.seed,
        "objectives": plan.spec.objectives,
    }
    total = trials or before.get(TRIALS, plan.spec.trials)
    versions = {"biocl": __version__, "optuna": optuna.__version__, "torch": version_of("torch")}
    known = before.get(VERSIONS, [])
    now |= {TRIALS: total, VERSIONS: known if versions in known else [*known, versions]}
    for key, value in now.items():
        if before.get(key) != value:
            study.set_user_attr(key, value)
