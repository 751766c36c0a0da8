"""Which trials count, who may begin another, and what becomes of those whose worker is gone."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from biocl.errors import DataError

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
OWNER, BEAT, AGAIN, SURPLUS, DEFAULT = "worker", "heartbeat", "attempts", "surplus", "default"
MOST_ATTEMPTS = 3
UNSIGNED_S = 10.0
"""A worker signs a trial right after it has begun it, so one that nobody signed by then has lost its worker between."""


def trials_of(study: Study) -> list[FrozenTrial]:
    """All trials, not copied."""
    return study.get_trials(deepcopy=False)


def n_counted(trials: Sequence[FrozenTrial]) -> int:
    """Trials that are finished, or were stopped by the pruner."""
    return sum(trial.state in COUNTED for trial in trials)


def n_claimed(trials: Sequence[FrozenTrial], below: int | None = None) -> int:
    """Trials that count or may still come to, among those numbered `below`."""
    return sum(trial.state is not TrialState.FAIL for trial in trials if below is None or trial.number < below)


def is_admitted(trial: Trial, trials: Sequence[FrozenTrial], total: int) -> bool:
    """Whether a trial that was begun may go on, so that exactly `total` will count.

    Workers that begin trials at the same moment may begin too many. Numbers are given out one after another, and a
    trial never comes to count again once it failed, so the claims below a number only become fewer: whoever finds
    fewer than `total` of them may go on, and there are never more who do.
    """
    return n_claimed(trials, below=trial.number) < total


@contextmanager
def beating(study: Study, trial: Trial, owner: str, every_s: float) -> Iterator[None]:
    """Sign a trial, and count its heartbeats until the body ends."""
    trial.set_user_attr(OWNER, owner)
    ended = threading.Event()
    identity = trial._trial_id
    storage = study._storage

    def beat() -> None:
        number = 0
        while not ended.wait(every_s):
            number += 1
            # Someone took this worker for dead and failed the trial, or the database stays away: the worker will see.
            with suppress(UpdateFinishedTrialError, DataError):
                storage.set_trial_user_attr(identity, BEAT, number)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=1)


@dataclass
class Watch:
    """What one process has seen of the others' heartbeats, by its own clock, since clocks of machines differ.

    Attributes
    ----------
    grace_s : float
        A running trial whose heartbeat stands still for so long, while this process looks on, has lost its worker.
        After a longer pause everybody is given this time anew: a database that was away took nobody's heartbeat.
    looked : float
        When this process looked last.
    seen : dict of int to (int, float)
        The last heartbeat of each running trial, and since when it is the last.
    """

    grace_s: float
    looked: float = -math.inf
    seen: dict[int, tuple[int, float]] = field(default_factory=dict)

    def clean(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        """Release the running trials whose heartbeat stands still."""
        now = time.monotonic()
        before = {} if now - self.looked > self.grace_s / 2 else self.seen
        self.looked, self.seen = now, {}
        for trial in trials:
            if trial.state is not TrialState.RUNNING:
                continue
            beat = trial.user_attrs.get(BEAT, 0)
            last, since = before.get(trial.number, (beat, now))
            self.seen[trial.number] = (beat, since if beat == last else now)
            grace_s = self.grace_s if OWNER in trial.user_attrs else min(self.grace_s, UNSIGNED_S)
            if beat == last and now - since > grace_s:
                release(study, trial)


def release(study: Study, trial: FrozenTrial) -> bool:
    """Fail a trial whose worker is gone, and put its parameters into the queue again; False if another did.

    One that was lost `MOST_ATTEMPTS` times is not tried again: it may be what kills its workers.
    """
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):
        return False
    attempts = trial.user_attrs.get(AGAIN, 1)
    if attempts < MOST_ATTEMPTS:
        kept = {AGAIN: attempts + 1, **({DEFAULT: True} if trial.user_attrs.get(DEFAULT) else {})}
        study.enqueue_trial({**trial.system_attrs.get("fixed_params", {}), **trial.params}, user_attrs=kept)
    return True


def release_of(study: Study, owner: str) -> int:
    """Release what a worker that is known to be gone was running; how many trials those were."""
    mine = [t for t in trials_of(study) if t.state is TrialState.RUNNING and t.user_attrs.get(OWNER) == owner]
    return sum(release(study, trial) for trial in mine)
