"""What is said of a study: the best, the front, the importances, the tables."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import optuna
import pytest
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from biocl.sweeps.liveness import DEFAULT
from biocl.sweeps.plots import draw_plots
from biocl.sweeps.results import default_trial, front, importances, ranked, summary, table, trial_lines
from biocl.sweeps.spec import SweepSpec
from biocl.sweeps.study import IDENTITY, TRIALS, VERSIONS

SPEC = SweepSpec.model_validate(
    {
        "space": {
            "train.lr": {"float": [1e-4, 1e-1], "log": True},
            "terms.0.weight": {"float": [0, 1], "label": "sample level"},
            "views.masked": {"choice": {"long": [{"mask": "continuous"}], "short": [{"mask": "binomial"}]}},
        },
        "objectives": ["score", "parameters"],
        "constraints": {"parameters": 90.0},
    }
)


def study_of(sign: int = 1, *, costs: bool = False) -> Study:
    """Forty trials whose score depends on the learning rate alone, best at 1e-2."""
    best = "maximize" if sign > 0 else "minimize"
    study = optuna.create_study(directions=[best, "minimize"] if costs else [best])
    chance = optuna.samplers.RandomSampler(seed=0)._rng.rng
    distributions: dict[str, Any] = {
        "train.lr": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "terms.0.weight": optuna.distributions.FloatDistribution(0, 1),
        "views.masked": optuna.distributions.CategoricalDistribution(["long", "short"]),
    }
    for number in range(40):
        params: dict[str, Any] = {
            "train.lr": 10 ** chance.uniform(-4, -1),
            "terms.0.weight": chance.uniform(),
            "views.masked": ["long", "short"][chance.randint(2)],
        }
        score = sign * (1 - abs(math.log10(params["train.lr"]) + 2) / 3)
        cost = float(chance.randint(10, 100))
        trial = create_trial(
            values=[score, cost] if costs else [score],
            params=params,
            distributions=distributions,
            user_attrs={"parameters": cost, "patients": {"p1": score}, **({DEFAULT: True} if number == 0 else {})},
            system_attrs={"constraints:parameters": cost - 90},
        )
        study.add_trial(trial)
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.add_trial(
        create_trial(state=TrialState.PRUNED, params={}, distributions={}, user_attrs={"reason": "by median at step 2"})
    )
    for key, value in {
        TRIALS: 41,
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "seed": 0,
        VERSIONS: [],
        IDENTITY: {},
    }.items():
        study.set_user_attr(key, value)
    return study


def test_importance_is_for_good_scores_whichever_way_is_good() -> None:
    up, down = importances(study_of(1)), importances(study_of(-1))
    assert up == pytest.approx(down)
    assert sum(up.values()) == pytest.approx(1)
    assert up["train.lr"] > 0.7
    # Good scores lie in a narrow band of learning rates and bad ones far from it, so the wrong way round is another.
    wrong = study_of(1)
    turned = optuna.create_study(direction="minimize")
    turned.add_trials(wrong.trials)
    assert importances(turned) != pytest.approx(up)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_trials_are_within_the_constraints(sign: int) -> None:
    study = study_of(sign)
    found = ranked(study)
    scores = [sign * trial.values[0] for trial in found]
    assert scores == sorted(scores, reverse=True)
    assert all(trial.user_attrs["parameters"] <= 90 for trial in found)
    assert 30 < len(found) < 40
    assert front(study) == found[:1]
    assert default_trial(study).number == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_front_is_what_nobody_beats_in_both(sign: int) -> None:
    study = study_of(sign, costs=True)
    every = ranked(study)

    def beats(one: Any, other: Any) -> bool:
        a, b = ((sign * trial.values[0], -trial.values[1]) for trial in (one, other))
        return a != b and a[0] >= b[0] and a[1] >= b[1]

    expected = {trial.number for trial in every if not any(beats(other, trial) for other in every)}
    assert {trial.number for trial in front(study)} == expected
    assert len(expected) > 2


def test_tables_and_plots(tmp_path: Any) -> None:
    study = study_of(costs=True)
    lines = list(csv.DictReader(io.StringIO(trial_lines(study, SPEC))))
    assert len(lines) == 41
    assert [line["default"] for line in lines[:2]] == ["1", "0"]
    assert lines[-1]["state"] == "pruned"
    assert lines[-1]["reason"] == "by median at step 2"
    assert float(lines[3]["train.lr"]) == study.trials[3].params["train.lr"]
    text = table(study, SPEC)
    assert "| sample level |" in text
    assert text.splitlines()[2].startswith(f"| {ranked(study)[0].number} ")
    assert "| default" in text
    facts = summary(study, SPEC)
    assert (facts["counted"], facts["states"]["fail"], facts["states"]["pruned"]) == (41, 1, 1)
    paths = draw_plots(study, SPEC, tmp_path)
    assert [path.stem for path in paths] == ["history", "importance", "slice", "pareto"]
    drawn = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    assert "sample level" in drawn["importance"]
    assert all(name in drawn["slice"] for name in ("long", "short", "train.lr"))
    again = {path.stem: path.read_text(encoding="utf-8") for path in draw_plots(study, SPEC, tmp_path / "again")}
    assert again == drawn
