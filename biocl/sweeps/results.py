"""What a sweep found: the best trial, the configuration's own, the front, and the tables of them."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from biocl.evaluation.tables import markdown
from biocl.sweeps.liveness import COUNTED, DEFAULT, trials_of
from biocl.sweeps.spec import SweepSpec
from biocl.sweeps.study import IDENTITY, TRIALS, VERSIONS
from biocl.sweeps.workers import REASON

COSTS = ("parameters", "seconds")
SHOWN = 5
BEST_SHARE = 0.25


def counted(study: Study) -> list[FrozenTrial]:
    """The trials that count, by number."""
    return sorted((trial for trial in trials_of(study) if trial.state in COUNTED), key=lambda trial: trial.number)


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial was finished within the constraints."""
    return trial.state is TrialState.COMPLETE and all(excess <= 0 for excess in trial.constraints.values())


def score(trial: FrozenTrial) -> float:
    """The first objective."""
    assert trial.values is not None
    return float(trial.values[0])


def ranked(study: Study) -> list[FrozenTrial]:
    """The finished trials within the constraints, the best score first, of equal ones the earlier."""
    found = [trial for trial in counted(study) if is_feasible(trial)]
    return sorted(found, key=lambda trial: (sign_of(study) * score(trial), trial.number))


def sign_of(study: Study) -> int:
    """What makes small scores the good ones."""
    return -1 if study.directions[0] is StudyDirection.MAXIMIZE else 1


def default_trial(study: Study) -> FrozenTrial | None:
    """The configuration as it stands, where its trial was finished."""
    mine = [trial for trial in counted(study) if trial.user_attrs.get(DEFAULT)]
    return next((trial for trial in mine if trial.state is TrialState.COMPLETE), None)


def front(study: Study) -> list[FrozenTrial]:
    """The trials that no other beats in both objectives, the best score first; the best alone where there is one."""
    found = ranked(study)
    if len(study.directions) == 1:
        return found[:1]
    kept: list[FrozenTrial] = []
    cheapest = float("inf")
    for trial in sorted(found, key=lambda trial: (found.index(trial), trial.values[1])):
        if trial.values[1] < cheapest:
            kept.append(trial)
            cheapest = trial.values[1]
    return kept


def importances(study: Study) -> dict[str, float]:
    """How much each parameter tells the best quarter of the trials from all, adding up to 1; empty for too few."""
    finished = [trial for trial in counted(study) if trial.state is TrialState.COMPLETE]
    if len(finished) < 2 or len({score(trial) for trial in finished}) < 2:
        return {}
    sign = sign_of(study)  # the evaluator takes low values of a target for good ones
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            evaluator = PedAnovaImportanceEvaluator(
                target_quantile=BEST_SHARE, region_quantile=1.0, evaluate_on_local=True
            )
            found = optuna.importance.get_param_importances(
                study, evaluator=evaluator, target=lambda trial: sign * score(trial)
            )
        except (ValueError, RuntimeError):
            return {}
    return {name: float(value) for name, value in found.items()}


def summary(study: Study, spec: SweepSpec) -> dict[str, Any]:
    """``results.json``."""
    trials = trials_of(study)
    best, own = ranked(study)[:1], default_trial(study)
    return {
        "study": study.study_name,
        "objectives": [
            {"name": name, "direction": direction.name.lower()}
            for name, direction in zip(spec.objectives, study.directions, strict=True)
        ],
        "wanted": study.user_attrs[TRIALS],
        "counted": len(counted(study)),
        "states": {state.name.lower(): sum(trial.state is state for trial in trials) for state in TrialState},
        "best": described(best[0]) if best else None,
        "default": described(own) if own else None,
        "front": [described(trial) for trial in front(study)],
        "importances": importances(study),
        "labels": spec.labels_of,
        "sampler": study.user_attrs["sampler"],
        "pruner": study.user_attrs["pruner"],
        "seed": study.user_attrs["seed"],
        "versions": study.user_attrs[VERSIONS],
        "identity": study.user_attrs[IDENTITY],
        "trials": [described(trial) for trial in counted(study)],
    }


def described(trial: FrozenTrial) -> dict[str, Any]:
    """One trial as JSON."""
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "default": bool(trial.user_attrs.get(DEFAULT)),
        "values": trial.values,
        "parameters": trial.params,
        "patients": trial.user_attrs.get("patients", {}),
        "steps": {str(step): value for step, value in trial.intermediate_values.items()},
        "cost": {name: trial.user_attrs[name] for name in COSTS if name in trial.user_attrs},
        "reason": trial.user_attrs.get(REASON, ""),
    }


def trial_lines(study: Study, spec: SweepSpec) -> str:
    """``trials.csv``: one line a trial that counts."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = list(spec.space)
    writer.writerow(["number", "state", "default", *spec.objectives, *COSTS, *keys, "reason"])
    for trial in counted(study):
        values = trial.values or []
        values = [*values, *[""] * (len(spec.objectives) - len(values))]
        writer.writerow(
            [trial.number, trial.state.name.lower(), int(bool(trial.user_attrs.get(DEFAULT))), *values]
            + [trial.user_attrs.get(name, "") for name in COSTS]
            + [trial.params.get(key, "") for key in keys]
            + [trial.user_attrs.get(REASON, "")]
        )
    return out.getvalue()


def table(study: Study, spec: SweepSpec) -> str:
    """The best trials and the configuration as it stands, ready to print."""
    best, own = ranked(study), default_trial(study)
    shown = best[:SHOWN]
    if own is not None and own not in shown:
        shown.append(own)
    costs = [name for name in COSTS if name in {*spec.objectives, *spec.constraints}]
    rows = [
        [
            "default" if trial.user_attrs.get(DEFAULT) else str(trial.number),
            f"{score(trial):.4f}",
            *(f"{trial.user_attrs[name]:g}" for name in costs),
            *(brief(trial.params[key]) if key in trial.params else "" for key in spec.space),
        ]
        for trial in shown
    ]
    return markdown(["trial", "score", *costs, *spec.labels_of.values()], rows)


def brief(value: Any) -> str:
    """A parameter's value in a table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def patients_of(trials: Sequence[FrozenTrial]) -> list[str]:
    """Names of the validation patients whom the trials were scored on."""
    return sorted({name for trial in trials for name in trial.user_attrs.get("patients", {})})
