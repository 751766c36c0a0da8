"""The space: order, conditions, corners, and the configuration as it stands."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from pydantic import TypeAdapter, ValidationError

from biocl.errors import UsageError
from biocl.files import canonical_json
from biocl.sweeps.space import changes_of, corners, drawing_order, own_params, suggest
from biocl.sweeps.spec import ParameterSpec, SweepSpec


def space(**parameters: Any) -> dict[str, Any]:
    return {key.replace("__", "."): TypeAdapter(ParameterSpec).validate_python(one) for key, one in parameters.items()}


ENCODERS = [{"name": "tcn", "depth": 2}, {"name": "resnet1d"}]
NESTED = space(
    encoder__depth={"int": [2, 6], "when": {"encoder.name": "tcn"}},
    train__lr={"float": [1e-4, 1e-1], "log": True, "when": {"encoder.depth": [5, 6]}},
    encoder={"choice": ENCODERS},
    terms__0__weight={"float": [0.0, 1.0], "also": ["terms.1.weight"]},
)


def test_outer_keys_and_conditions_come_first() -> None:
    order = drawing_order(NESTED)
    assert order.index("encoder") < order.index("encoder.depth") < order.index("train.lr")


def test_parameters_are_there_where_their_conditions_hold() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = []
    for _ in range(60):
        trial = study.ask()
        changes = suggest(trial, NESTED)
        tcn = changes["encoder"]["name"] == "tcn"
        assert ("encoder.depth" in changes) == tcn
        assert ("train.lr" in changes) == (tcn and changes["encoder.depth"] >= 5)
        assert changes["terms.0.weight"] == changes["terms.1.weight"]
        assert 1e-4 <= changes.get("train.lr", 1e-3) <= 1e-1
        assert changes_of(trial.params, NESTED) == changes
        seen.append(frozenset(changes))
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"a": {"int": [1, 2], "when": {"b": 1}}}, "depends on b, which the space does not vary"),
        ({"a": {"int": [1, 2], "when": {"a": 1}}}, "depends on a, which the space does not vary"),
        (
            {"a": {"int": [1, 2], "when": {"b": 1}}, "b": {"int": [1, 2], "when": {"a": 1}}},
            "conditions of a, b wait for each other",
        ),
        ({"a": {"int": [1, 2], "when": {"b": 3}}, "b": {"int": [1, 2]}}, "is there when b is 3, which it never is"),
        (
            {"a": {"int": [1, 2], "when": {"b.name": "x"}}, "b": {"choice": [{"name": "y"}, {"name": "z"}]}},
            "is there when b.name is 'x', which it never is",
        ),
    ],
)
def test_a_condition_that_never_holds_is_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        list(corners(space(**parameters)))
    assert "\n" not in refusal.value.paragraph()


def test_choices_may_have_names() -> None:
    named = space(encoder={"choice": {"small": ENCODERS[0], "other": ENCODERS[1]}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(8):
        trial = study.ask()
        changes = suggest(trial, named)
        assert changes["encoder"] == {"small": ENCODERS[0], "other": ENCODERS[1]}[trial.params["encoder"]]
        assert changes_of(trial.params, named) == changes
    assert own_params(named, {"encoder": ENCODERS[1]}, {"encoder": ENCODERS}) == {"encoder": "other"}


def test_corners_hold_every_end_with_what_it_needs() -> None:
    found = list(corners(NESTED))
    ends = {(key, canonical_json(value)) for key, value, _ in found}
    assert ends == {
        *(("encoder", canonical_json(one)) for one in ENCODERS),
        *(("encoder.depth", canonical_json(depth)) for depth in (2, 6)),
        *(("train.lr", canonical_json(lr)) for lr in (1e-4, 1e-1)),
        *(("terms.0.weight", canonical_json(weight)) for weight in (0.0, 1.0)),
    }
    for key, value, changes in found:
        assert changes[key] == value
        if key == "train.lr":
            assert changes["encoder.depth"] in (5, 6)
            assert changes["encoder"]["name"] == "tcn"
        if key == "terms.0.weight":  # every other key stays as the configuration has it
            assert set(changes) == {"terms.0.weight", "terms.1.weight"}
    # A key inside a replaced piece has no value of its own any more, so both of its ends stand in it.
    depths = {c["encoder.depth"] for key, value, c in found if key == "encoder" and value["name"] == "tcn"}
    assert depths == {2, 6}
    assert all("encoder.depth" not in c for key, value, c in found if key == "encoder" and value["name"] != "tcn")


def test_the_configuration_as_it_stands_as_parameters() -> None:
    choices = {"encoder": [{"name": "tcn", "depth": 2, "width": 8}, {"name": "resnet1d", "width": 8}]}
    at = {"encoder": choices["encoder"][0], "encoder.depth": 5, "train.lr": 2.0, "terms.0.weight": 0.25}
    # The learning rate lies outside the space, so the sampler is not told of it.
    assert own_params(NESTED, at, choices) == {
        "encoder": canonical_json(ENCODERS[0]),
        "encoder.depth": 5,
        "terms.0.weight": 0.25,
    }
    assert own_params(NESTED, {**at, "encoder": choices["encoder"][1]}, choices) == {
        "encoder": canonical_json(ENCODERS[1]),
        "terms.0.weight": 0.25,
    }
    stepped = space(a={"int": [2, 8], "step": 3}, b={"float": [0.1, 0.7], "step": 0.2})
    assert own_params(stepped, {"a": 5, "b": 0.3}, {}) == {"a": 5, "b": 0.3}
    assert own_params(stepped, {"a": 6, "b": 0.4}, {}) == {}


SWEEP: dict[str, Any] = {"space": {"train.lr": {"float": [1e-4, 1e-1], "log": True}}}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"space": {}}, "at least 1 item"),
        ({"space": {"a": {"flaot": [0, 1]}}}, "a parameter is {float: "),
        ({"space": {"a": {"float": [1.0, 0.0]}}}, "the lower end comes first"),
        ({"space": {"a": {"float": [0.0, 1.0], "log": True}}}, "log needs a lower end above 0"),
        ({"space": {"a": {"int": [1, 8], "log": True, "step": 2}}}, "log and step exclude each other"),
        ({"space": {"a": {"choice": [1, 2, True]}}}, "choice names True twice"),
        ({"space": {"a": {"choice": {"one": 1, "same": 1}}}}, "choice names 1 twice"),
        ({"space": {"a": {"choice": [1]}}}, "at least 2 items"),
        ({"space": {"a": {"int": [1, 2], "also": ["b"]}, "b": {"int": [1, 2]}}}, "space sets b twice"),
        ({"space": {"a": {"int": [1, 2], "label": "b"}, "b": {"int": [1, 2]}}}, "two parameters by one label"),
        ({"objectives": ["parameters"]}, "begins with score"),
        ({"objectives": ["score", "score"]}, "begins with score"),
        ({"objectives": ["score", "seconds"], "pruner": {"name": "median"}}, "there are two objectives"),
        ({"pruner": {"name": "wilcoxon"}}, "set inner_folds"),
        ({"pruner": {"name": "hyperband"}, "inner_folds": 3}, "use wilcoxon"),
        ({"sampler": {"name": "brute-force"}}, "needs a step for every float"),
        ({"sampler": {"name": "tpe", "multivariate": False}}, "needs multivariate"),
        ({"sampler": {"name": "tpe", "population_size": 4}}, "population_size"),
        ({"sampler": {"name": "anneal"}}, "anneal"),
        ({"labels": 4}, "unit"),
        ({"constraints": {"memory": 1.0}}, "constraints"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SweepSpec.model_validate({**SWEEP, **keys})
