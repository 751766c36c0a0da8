"""The space of a sweep: in which order parameters are drawn, which of them are there, what they may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from biocl.errors import UsageError
from biocl.sweeps.spec import ChoiceParameter, FloatParameter, IntParameter, ParameterSpec

if TYPE_CHECKING:
    from optuna import Trial

Space = Mapping[str, ParameterSpec]
Changes = dict[str, Any]
"""Keys of the configuration and their values in one trial."""


def drawing_order(space: Space) -> list[str]:
    """The keys, each behind those that it stands inside and those that it depends on.

    ::

        encoder            {choice: [{name: tcn}, {name: resnet1d}]}
        encoder.depth      inside the first, so drawn after it
        train.lr           {when: {encoder.name: tcn}}: what the first chose

    Raises
    ------
    UsageError
        A condition names what the space does not vary, or conditions go round in a circle.
    """
    needs = {key: [*inside(key, space), *condition_keys(key, space)] for key in space}
    done: list[str] = []
    while len(done) < len(space):
        free = [key for key in space if key not in done and all(other in done for other in needs[key])]
        if not free:
            circle = [key for key in space if key not in done]
            raise UsageError(
                f"The conditions of {', '.join(circle)} wait for each other", "sweep.space", "Leave one of them out"
            )
        done += free
    return done


def inside(key: str, space: Space) -> list[str]:
    """The keys of the space that `key` is a part of."""
    return [other for other in space if key.startswith(f"{other}.")]


def condition_keys(key: str, space: Space) -> list[str]:
    """For each condition of a parameter the key of the space that decides it.

    Raises
    ------
    UsageError
        There is none.
    """
    found = []
    for condition in space[key].when:
        holders = [other for other in space if condition == other or condition.startswith(f"{other}.")]
        if not holders or holders == [key]:
            raise UsageError(
                f"The parameter {key} depends on {condition}, which the space does not vary",
                f"sweep.space.{key}.when",
                "Name a key of sweep.space, or one inside a choice of it, or leave the condition out",
            )
        found.append(max(holders, key=len))
    return found


def is_there(key: str, space: Space, changes: Mapping[str, Any]) -> bool:
    """Whether the conditions of a parameter hold, given what was drawn before it."""
    for (condition, wanted), holder in zip(space[key].when.items(), condition_keys(key, space), strict=True):
        if holder not in changes:
            return False
        value = part_of(changes[holder], condition.removeprefix(holder).lstrip("."))
        if value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def part_of(node: Any, path: str) -> Any:
    """What stands at ``key.0.sub`` inside a piece of YAML; None where there is nothing."""
    for part in path.split(".") if path else []:
        if isinstance(node, Mapping):
            node = node.get(part)
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return node


def restored(value: Any, parameter: ParameterSpec) -> Any:
    """What a storage's value means in the configuration."""
    return parameter.options[value] if isinstance(parameter, ChoiceParameter) else value


def with_also(key: str, value: Any, space: Space) -> Changes:
    """A parameter's value under all its keys."""
    return dict.fromkeys((key, *space[key].also), value)


def suggest(trial: Trial, space: Space) -> Changes:
    """Draw the parameters that are there, one after another; parameters of a trial that is repeated stay."""
    changes: Changes = {}
    for key in drawing_order(space):
        if is_there(key, space, changes):
            changes |= with_also(key, restored(drawn(trial, key, space[key]), space[key]), space)
    return changes


def drawn(trial: Trial, key: str, parameter: ParameterSpec) -> Any:
    """One parameter as storages keep it."""
    if isinstance(parameter, ChoiceParameter):
        return trial.suggest_categorical(key, list(parameter.options))
    if isinstance(parameter, FloatParameter):
        return trial.suggest_float(key, *parameter.float_, log=parameter.log, step=parameter.step)
    return trial.suggest_int(key, *parameter.int_, log=parameter.log, step=parameter.step or 1)


def changes_of(params: Mapping[str, Any], space: Space) -> Changes:
    """What parameters of a finished trial changed in the configuration."""
    changes: Changes = {}
    for key in drawing_order(space):
        if key in params:
            changes |= with_also(key, restored(params[key], space[key]), space)
    return changes


def ends(parameter: ParameterSpec) -> list[Any]:
    """Each choice, or both ends."""
    if isinstance(parameter, ChoiceParameter):
        return list(parameter.options.values())
    return list(parameter.float_ if isinstance(parameter, FloatParameter) else parameter.int_)


def corners(space: Space) -> Iterator[tuple[str, Any, Changes]]:
    """Every choice and both ends of every parameter, each with what it needs around it.

    Yields
    ------
    key : str
        The parameter.
    value : Any
        Its end.
    changes : dict
        This value; values of other parameters by which the conditions hold; and both ends of parameters inside a piece
        of YAML that one of these replaced. All others stay as the configuration has them.
    """
    order = drawing_order(space)
    for key in order:
        for value in ends(space[key]):
            held = holding(key, value, space, order)
            for which in (0, -1):
                changes: Changes = {}
                for other in order:
                    if other in held:
                        changes |= with_also(other, held[other], space)
                    elif any(holder in changes for holder in inside(other, space)) and is_there(other, space, changes):
                        changes |= with_also(other, ends(space[other])[which], space)
                yield key, value, changes


def holding(key: str, value: Any, space: Space, order: list[str]) -> Changes:
    """The value of a parameter with values of others by which its conditions hold.

    Raises
    ------
    UsageError
        No value of another parameter makes its condition true.
    """
    held = {key: value}
    for one in reversed(order):
        if one not in held:
            continue
        for (condition, wanted), holder in zip(space[one].when.items(), condition_keys(one, space), strict=True):
            path = condition.removeprefix(holder).lstrip(".")
            allowed = wanted if isinstance(wanted, list) else [wanted]
            fitting = [node for node in candidates(space[holder], allowed) if part_of(node, path) in allowed]
            if holder in held and held[holder] in fitting:
                continue
            if not fitting or holder in held:
                raise UsageError(
                    f"The parameter {one} is there when {condition} is {' or '.join(map(repr, allowed))}, which it "
                    "never is",
                    f"sweep.space.{one}.when",
                    f"Name values that sweep.space.{holder} may have",
                )
            held[holder] = fitting[0]
    return held


def candidates(parameter: ParameterSpec, allowed: list[Any]) -> list[Any]:
    """Values of a parameter that a condition may ask for."""
    if isinstance(parameter, ChoiceParameter):
        return list(parameter.options.values())
    low, high = ends(parameter)
    return [value for value in allowed if isinstance(value, int | float) and low <= value <= high]


def own_params(space: Space, at: Mapping[str, Any], choices: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The configuration as it stands, as parameters: those that are there and whose own value the space holds.

    Parameters
    ----------
    space : mapping
    at : mapping of str to Any
        What the resolved configuration has under each key of the space.
    choices : mapping of str to list
        The choices of each parameter as the resolved configuration would have them.
    """
    found: dict[str, Any] = {}
    seen: Changes = {}
    for key in drawing_order(space):
        parameter, value = space[key], at.get(key)
        if not is_there(key, space, seen):
            continue
        seen[key] = value
        if isinstance(parameter, ChoiceParameter):
            if value in choices[key]:
                found[key] = list(parameter.options)[choices[key].index(value)]
        elif holds(parameter, value):
            found[key] = value
    return found


def holds(parameter: FloatParameter | IntParameter, value: Any) -> bool:
    """Whether a value lies between the ends, and on a step."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    low, high = ends(parameter)
    steps = (value - low) / parameter.step if parameter.step else 0.0
    return bool(low <= value <= high) and abs(steps - round(steps)) < 1e-6
