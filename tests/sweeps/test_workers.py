"""Trials that count are counted exactly, whatever happens to workers and to the database."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres
import pytest
from optuna.study import Study
from optuna.trial import TrialState

from biocl.errors import DataError, Interrupted, UsageError
from biocl.sweeps import liveness
from biocl.sweeps.liveness import AGAIN, DEFAULT, OWNER, Watch, is_admitted, n_counted, release, trials_of
from biocl.sweeps.space import Changes
from biocl.sweeps.spec import SweepSpec
from biocl.sweeps.storage import open_storage
from biocl.sweeps.study import Plan, join_study, open_study
from biocl.sweeps.workers import Job, Objective, Outcome, Running, Timing, run_trials, run_workers

QUICK = Timing(beat_s=0.2, grace_s=1.5, poll_s=0.05)
PATIENT = Timing(beat_s=0.5, grace_s=60, poll_s=0.05)
SPEC: dict[str, Any] = {
    "trials": 24,
    "space": {"x": {"float": [0.0, 1.0]}, "y": {"choice": ["a", "b"]}},
    "sampler": {"name": "tpe", "n_startup_trials": 5},
}


def plan(name: str = "study", **keys: Any) -> Plan:
    spec = SweepSpec.model_validate({**SPEC, **keys})
    return Plan(name, spec, "maximize", {"configuration": "one"}, {"x": 0.5, "y": "a"})


def objective(changes: Changes, running: Running) -> Outcome:
    """Better towards x = 1 and y = b; as it stands 0.5."""
    if changes.get("slow"):
        time.sleep(60)
    value = changes.get("x", 0.5) + (0.1 if changes.get("y") == "b" else 0.0)
    running.measure("parameters", 10 * value)
    time.sleep(0.05)
    return Outcome(value, {"p1": value, "p2": value})


def open_here(plan: Plan, storage: str | None, folder: Path) -> tuple[Study, Objective]:
    """In a worker: wait for the other, so that both have trials to run."""
    (folder / f"here-{os.getpid()}").touch()
    deadline = time.monotonic() + 120
    while len(list(folder.glob("here-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    return join_study(plan, open_storage(storage, folder, patient=True)), objective


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.server() as one:
        yield one


def params_of(study: Study) -> list[dict[str, Any]]:
    return [trial.params for trial in trials_of(study)]


def test_one_seed_draws_one_sequence_also_when_it_is_interrupted(tmp_path: Path) -> None:
    few = plan(trials=10, sampler={"name": "tpe", "n_startup_trials": 4})

    def run(name: str, stops: list[int]) -> Study:
        folder = tmp_path / name
        for stop in [*stops, None]:
            study = open_study(few, open_storage(None, folder), resume=True)

            def until(changes: Changes, running: Running, stop: int | None = stop) -> Outcome:
                if running.trial.number == stop:
                    raise Interrupted("stopped")
                return objective(changes, running)

            try:
                run_trials(study, few.spec, until, "me", QUICK)
            except Interrupted:
                continue
        return study

    whole, again = run("whole", []), run("again", [])
    assert params_of(whole) == params_of(again)
    assert n_counted(trials_of(whole)) == len(trials_of(whole)) == 10
    # What was interrupted is tried again with the same parameters, once.
    cut = run("cut", [3, 7])
    assert n_counted(trials_of(cut)) == 10
    assert [trial.state for trial in trials_of(cut) if trial.number in (3, 7)] == [TrialState.FAIL] * 2
    assert trials_of(cut)[4].params == trials_of(cut)[3].params == trials_of(whole)[3].params
    assert trials_of(cut)[4].user_attrs[AGAIN] == 2
    other = plan(seed=1, trials=3)
    study = open_study(other, open_storage(None, tmp_path / "other"), resume=False)
    run_trials(study, other.spec, objective, "me", QUICK)
    assert params_of(study)[1:] != params_of(whole)[1:3]


def sabotaged(on: dict[int, Callable[[], Any]]) -> Callable[[Study], None]:
    """Do these things once so many trials count, and both workers had a part in them."""

    def look(study: Study) -> None:
        trials = trials_of(study)
        owners = {trial.user_attrs.get(OWNER) for trial in trials if trial.state is TrialState.COMPLETE}
        for number in [number for number in on if n_counted(trials) >= number and len(owners) == 2]:
            on.pop(number)()

    return look


def kill_one() -> None:
    victim = multiprocessing.active_children()[0]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)


@pytest.mark.parametrize("where", ["journal", "sqlite", "postgresql"])
def test_killed_workers_and_a_restarted_server_change_no_count(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    storage: str | None = None
    trouble: dict[int, Callable[[], Any]] = {4: kill_one}
    if where == "sqlite":
        storage = f"sqlite:///{tmp_path / 'study.db'}"
    if where == "postgresql":
        one = request.getfixturevalue("server")
        storage, trouble = one.url, {4: kill_one, 10: one.restart}
    study = open_study(plan(), open_storage(storage, tmp_path), resume=False)
    job = Job(open_here, (plan(), storage, tmp_path), plan().spec, PATIENT, 1)
    run_workers(study, job, 2, sabotaged(trouble))
    assert trouble == {}
    trials = trials_of(study)
    assert n_counted(trials) == 24
    assert all(trial.state in (TrialState.COMPLETE, TrialState.FAIL) for trial in trials)
    finished = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert len({trial.user_attrs[OWNER] for trial in finished}) == 2
    assert sum(bool(trial.user_attrs.get(DEFAULT)) for trial in finished) == 1
    assert max(trial.value or 0 for trial in finished) > 0.5
    # Whoever comes later finds nothing to do.
    run_trials(study, plan().spec, objective, "late", QUICK)
    assert len(trials_of(study)) == len(trials)
    # A resume may ask for more.
    study = open_study(plan(), open_storage(storage, tmp_path), resume=True, trials=26)
    run_trials(study, plan().spec, objective, "late", QUICK)
    assert n_counted(trials_of(study)) == 26


def test_a_trial_whose_worker_went_silent_is_tried_again(tmp_path: Path) -> None:
    study = open_study(plan(trials=3), open_storage(None, tmp_path), resume=False)
    silent = study.ask()  # the configuration as it stands; nobody will ever tell
    silent.suggest_float("x", 0, 1)
    silent.set_user_attr(OWNER, "gone")
    run_trials(study, plan(trials=3).spec, objective, "me", QUICK)
    trials = trials_of(study)
    assert [trial.state for trial in trials].count(TrialState.COMPLETE) == 3
    assert trials[silent.number].state is TrialState.FAIL
    again = next(trial for trial in trials if trial.user_attrs.get(AGAIN) == 2)
    assert again.user_attrs[DEFAULT]
    assert again.params == {"x": 0.5, "y": "a"}


def test_a_worker_that_was_taken_for_dead_goes_on_with_other_trials(tmp_path: Path) -> None:
    study = open_study(plan(trials=4), open_storage(None, tmp_path), resume=False)

    def slow(changes: Changes, running: Running) -> Outcome:
        if running.trial.number == 1:
            release(study, trials_of(study)[1])
        return objective(changes, running)

    run_trials(study, plan(trials=4).spec, slow, "me", QUICK)
    assert [trial.state for trial in trials_of(study)] == [
        *(TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE, TrialState.COMPLETE)
    ]
    assert trials_of(study)[2].params == trials_of(study)[1].params


def test_a_beating_worker_is_waited_for_however_long_nobody_looked(tmp_path: Path) -> None:
    study = open_study(plan(), open_storage(None, tmp_path), resume=False)
    trial, watch = study.ask(), Watch(0.2)
    trial.set_user_attr(OWNER, "other")
    for beat in range(6):
        trial.set_user_attr("heartbeat", beat)
        watch.clean(study, trials_of(study))
        time.sleep(0.08)
    assert trials_of(study)[0].state is TrialState.RUNNING
    time.sleep(0.5)  # a database that was away took the worker's heartbeats too
    watch.clean(study, trials_of(study))
    assert trials_of(study)[0].state is TrialState.RUNNING
    for _ in range(5):
        time.sleep(0.08)
        watch.clean(study, trials_of(study))
    assert trials_of(study)[0].state is TrialState.FAIL


def test_a_trial_that_nobody_signed_is_not_waited_for_as_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "UNSIGNED_S", 0.2)
    study = open_study(plan(), open_storage(None, tmp_path), resume=False)
    signed, _ = study.ask(), study.ask()
    signed.set_user_attr(OWNER, "other")
    watch = Watch(60)
    for _ in range(2):
        watch.clean(study, trials_of(study))
        time.sleep(0.3)
    watch.clean(study, trials_of(study))
    assert [trial.state for trial in trials_of(study)[:2]] == [TrialState.RUNNING, TrialState.FAIL]


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    study = open_study(plan(), open_storage(None, tmp_path), resume=False)
    for attempt in range(3):
        trial = study.ask()
        assert trial.user_attrs.get(AGAIN, 1) == attempt + 1
        assert release(study, trials_of(study)[trial.number])
        assert not release(study, trials_of(study)[trial.number])
    assert all(trial.state is TrialState.FAIL for trial in trials_of(study))


def test_of_trials_begun_at_the_same_moment_only_those_wanted_go_on(tmp_path: Path) -> None:
    study = open_study(plan(), open_storage(None, tmp_path), resume=False)
    begun = [study.ask() for _ in range(6)]
    admitted = [is_admitted(trial, trials_of(study), 4) for trial in reversed(begun)][::-1]
    assert admitted == [True] * 4 + [False] * 2
    study.tell(begun[0], state=TrialState.FAIL)
    assert is_admitted(begun[4], trials_of(study), 4)
    assert not is_admitted(begun[5], trials_of(study), 4)


def test_a_fault_of_the_configuration_as_it_stands_stops_the_sweep_and_any_other_counts(tmp_path: Path) -> None:
    def fails(changes: Changes, running: Running) -> Outcome:
        if changes.get("y") == "b":
            raise DataError("The loss is not finite")
        return objective(changes, running)

    study = open_study(plan(trials=12), open_storage(None, tmp_path / "some"), resume=False)
    run_trials(study, plan(trials=12).spec, fails, "me", QUICK)
    pruned = [trial for trial in trials_of(study) if trial.state is TrialState.PRUNED]
    assert pruned
    assert all(t.params["y"] == "b" and "not finite" in t.user_attrs["reason"] for t in pruned)
    assert n_counted(trials_of(study)) == 12

    def broken(changes: Changes, running: Running) -> Outcome:
        raise DataError("The store is gone")

    study = open_study(plan(), open_storage(None, tmp_path / "all"), resume=False)
    with pytest.raises(DataError, match="The store is gone"):
        run_trials(study, plan().spec, broken, "me", QUICK)
    assert n_counted(trials_of(study)) == 0
    assert trials_of(study)[-1].state is TrialState.WAITING


def broken_here(plan: Plan, storage: str | None, folder: Path) -> tuple[Study, Objective]:
    raise DataError("There is no prepared store here", folder, "Make it")


def test_what_workers_cannot_do_is_raised_by_who_started_them(tmp_path: Path) -> None:
    study = open_study(plan(), open_storage(None, tmp_path), resume=False)
    job = Job(broken_here, (plan(), None, tmp_path), plan().spec, QUICK, 1)
    with pytest.raises(DataError, match="There is no prepared store here") as error:
        run_workers(study, job, 1, lambda study: None)
    assert error.value.fix == "Make it"
    assert not multiprocessing.active_children()


def test_constraints_stop_what_costs_too_much(tmp_path: Path) -> None:
    limited = plan(constraints={"parameters": 6.0}, objectives=["score", "parameters"])
    study = open_study(limited, open_storage(None, tmp_path), resume=False)
    run_trials(study, limited.spec, objective, "me", QUICK)
    for trial in trials_of(study):
        assert trial.user_attrs["parameters"] > 6.0 or trial.state is TrialState.COMPLETE
        assert trial.state is TrialState.COMPLETE or "above 6" in trial.user_attrs["reason"]
        assert trial.constraints == pytest.approx({"parameters": trial.user_attrs["parameters"] - 6})
    assert {trial.state for trial in trials_of(study)} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_only_the_same_sweep_may_join(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = open_study(plan(), open_storage(storage, tmp_path), resume=False)
    attributes = study.user_attrs
    assert attributes["sampler"] == {
        "name": "tpe",
        "n_startup_trials": 5,
        "n_ei_candidates": 24,
        "multivariate": True,
        "group": True,
        "constant_liar": True,
    }
    assert attributes["pruner"] == {"name": "none"}
    assert set(attributes["versions"][0]) == {"biocl", "optuna", "torch"}
    with pytest.raises(UsageError, match="Join it with --resume"):
        open_study(plan(), open_storage(storage, tmp_path), resume=False)
    open_study(plan(), open_storage(storage, tmp_path), resume=True)
    assert len(trials_of(study)) == 1  # the configuration as it stands is in the queue once
    other = Plan("study", plan().spec, "maximize", {"configuration": "two"}, {})
    with pytest.raises(UsageError, match="started with another configuration"):
        open_study(other, open_storage(storage, tmp_path), resume=True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:secret@localhost:1/none", "cannot be opened"),
        ("sqlite:////no/such/folder/study.db", "cannot be opened"),
        ("nosuch://place", "cannot be opened"),
    ],
)
def test_a_storage_that_is_not_there_is_refused_without_its_password(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        open_storage(url, tmp_path)
    assert "secret" not in refusal.value.paragraph()
    assert "\n" not in refusal.value.paragraph()


@pytest.mark.parametrize("name", ["tpe", "random", "gp", "qmc", "nsga2", "brute-force"])
@pytest.mark.parametrize("pruner", ["none", "median", "hyperband", "successive-halving"])
def test_every_sampler_and_pruner_runs(name: str, pruner: str, tmp_path: Path) -> None:
    def stepwise(changes: Changes, running: Running) -> Outcome:
        value = changes.get("x", 0.5)
        for step in range(1, 10):
            running.report(step, value * step / 9)
        return Outcome(value, {"p": value})

    one = plan(
        trials=12,
        space={"x": {"float": [0.0, 1.0], "step": 0.05}, "y": {"choice": ["a", "b"]}},
        sampler={"name": name},
        pruner={"name": pruner},
    )
    study = open_study(one, open_storage(None, tmp_path), resume=False)
    run_trials(study, one.spec, stepwise, "me", QUICK)
    assert n_counted(trials_of(study)) == 12
    if pruner in ("hyperband", "successive-halving"):
        assert any(trial.state is TrialState.PRUNED for trial in trials_of(study))


def test_wilcoxon_stops_between_patients(tmp_path: Path) -> None:
    def by_patient(changes: Changes, running: Running) -> Outcome:
        value = changes.get("x", 0.9)
        own = {f"p{number}": value + 0.01 * number for number in range(12)}
        for number, score in enumerate(own.values()):
            running.report(number, score)
        return Outcome(sum(own.values()) / len(own), own)

    one = plan(pruner={"name": "wilcoxon"}, inner_folds=3, trials=10)
    study = open_study(one, open_storage(None, tmp_path), resume=False)
    run_trials(study, one.spec, by_patient, "me", QUICK)
    for trial in trials_of(study)[1:]:
        worse = trial.params["x"] < 0.9
        assert worse == (trial.state is TrialState.PRUNED) or trial.params["x"] > 0.9
        if trial.state is TrialState.PRUNED:
            assert len(trial.intermediate_values) < 12
    assert any(trial.state is TrialState.PRUNED for trial in trials_of(study))
