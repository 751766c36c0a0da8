"""Configuration files: found, read, overridden and checked, with one readable line for every mistake."""

from __future__ import annotations

import difflib
import io
import os
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from biocl.errors import UsageError
from biocl.experiment import CONDITIONING, DataSpec, Experiment

# Keys in which variants of an experiment may differ; what is not here makes results incomparable.
OF_A_VARIANT = (
    *("data.input_scale", "data.align", "data.normalise", "data.devices", "data.missing"),
    *("batch", "views", "encoder", "projectors", "terms", "train"),
)


Source = str | Path | Mapping[str, Any] | Experiment
Override = str | Mapping[str, Any]
Overrides = Sequence[Override] | Mapping[str, Any]


def load_experiment(source: Source, overrides: Overrides = (), *, seed: int | None = None) -> Experiment:
    """Read a configuration, apply ``key.sub=value`` overrides, and check every key.

    Parameters
    ----------
    source : path, str, mapping or Experiment
        A YAML file, the name of a shipped one (``biocl config list``), or the content of one.
    overrides : sequence of str or mapping, or one mapping
        In text, values are read as YAML: ``train.lr=1e-4``, ``data.classes=[N,S,V]``, ``terms.0.weight=0``. In a
        mapping they are values: ``{"train.lr": 1e-4, "data.classes": ["N", "S", "V"]}``.
    seed : int, optional
        Replaces the file's.

    Raises
    ------
    UsageError
        Naming file, line and key, with the nearest known key.
    """
    if isinstance(source, Experiment) and not overrides and seed is None:
        return source
    tree, path = read_config(source)
    for override in [overrides] if isinstance(overrides, Mapping | str) else overrides:
        apply_override(tree, override)
    if seed is not None:
        tree["seed"] = seed
    return validated(tree, path)


def read_config(source: Source) -> tuple[dict[str, Any], Path]:
    """The content of a configuration, and where it is."""
    if isinstance(source, Experiment):
        # Keys that were not given stay so: what is not said of the recordings is what suits the data set.
        return source.model_dump(mode="json", exclude_unset=True), Path(f"the experiment {source.name}")
    if isinstance(source, Mapping):
        return as_yaml(source), Path("the mapping given as configuration")
    path = find_config(Path(source))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"This configuration cannot be read ({error})", path, "Save it as a text file, UTF-8"
        ) from error
    return read_yaml(text, path), path


def as_yaml(value: Any) -> Any:
    """A value of Python as a YAML file would hold it: lists, plain numbers, paths as text (a store is its folder)."""
    if isinstance(value, Mapping):
        return {str(key): as_yaml(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_yaml(item) for item in value]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "numpy":
        return value.tolist()
    return value


def load_data(source: Path) -> DataSpec:
    """The ``data:`` keys of a configuration, or of a file with nothing else, which need not name a data set.

    Raises
    ------
    UsageError
        As `load_experiment`.
    """
    tree, path = read_config(source)
    section = tree.get("data")
    if set(tree) != {"data"} or not isinstance(section, dict):
        return validated(tree, path).data
    try:
        return DataSpec.model_validate({"dataset": "", **plain(section)})
    except ValidationError as error:
        raise refused(
            [{**problem, "loc": ("data", *problem["loc"])} for problem in error.errors()], tree, path
        ) from error


def shipped_configs() -> dict[str, Path]:
    """Names and paths of the configuration files that come with biocl."""
    here = Path(__file__).resolve().parent
    folders = [folder for folder in (here / "configs", here.parent / "configs") if folder.is_dir()]
    return {path.stem: path for folder in folders[:1] for path in sorted(folder.glob("*.yaml"))}


def find_config(source: Path) -> Path:
    """A file as given, or a shipped configuration by name, with or without ``configs/`` and ``.yaml``."""
    if source.is_file():
        return source
    shipped = shipped_configs()
    if source.stem in shipped and source.parent.name in ("", "configs"):
        return shipped[source.stem]
    near = difflib.get_close_matches(source.stem, shipped, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError("There is no such configuration file", source, f"{hint}`biocl config list` names the shipped ones")


def read_yaml(text: str, where: Path | str) -> dict[str, Any]:
    """YAML 1.2 to plain values that remember their lines."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UsageError(
            f"This is not valid YAML: {error.problem}", f"{where}, line {line}", "Mend that line"
        ) from error
    except YAMLError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"This is not valid YAML: {reason}", where, "Save it again as plain text") from error
    if not isinstance(tree, dict):
        raise UsageError(
            "A configuration is a mapping of keys to values", where, "See `biocl config copy demo my.yaml`"
        )
    return tree


def apply_override(tree: dict[str, Any], override: Override) -> None:
    """Set ``key.sub=value`` in the tree, or each entry of a mapping; numbers address list items."""
    if isinstance(override, Mapping):
        for name, given in override.items():
            set_key(tree, name, as_yaml(given), f"override {name}")
        return
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise UsageError(
            f"{override!r} is not of the form key.sub=value",
            "command line",
            "Write for instance train.lr=1e-4",
        )
    value = read_yaml(f"value: {text}", f"override {override}")["value"]
    set_key(tree, key, value, f"override {override}")


def set_key(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set ``key.sub`` in the tree; numbers address list items.

    Raises
    ------
    UsageError
        There is no such place.
    """
    parts = key.split(".")
    here: Any = tree
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(here, list):
            if not part.isdigit() or int(part) >= len(here):
                raise UsageError(
                    f"{'.'.join(parts[:depth])} is a list of {len(here)}, so {part!r} does not name an item",
                    where,
                    f"Use a number from 0 to {len(here) - 1}",
                )
            part = int(part)  # type: ignore[assignment]
        elif not isinstance(here, dict):
            raise UsageError(f"{'.'.join(parts[:depth])} has no keys below it", where, "Check the key")
        if last:
            here[part] = value
        else:
            if isinstance(here, dict) and here.get(part) is None:
                here[part] = {}
            here = here[part]


def validated(tree: Mapping[str, Any], path: Path) -> Experiment:
    """The typed experiment, its variants checked too, or one paragraph on the first mistakes."""
    try:
        experiment = Experiment.model_validate(plain(tree))
    except ValidationError as error:
        raise refused(error.errors(), tree, path) from error
    variants_of(experiment, path)
    return experiment


def variants_of(experiment: Experiment, path: Path | str = "configuration") -> dict[str, Experiment]:
    """The experiment under the keys of each of its variants, by name.

    Raises
    ------
    UsageError
        A variant changes nothing, what all share, or something into what is no experiment.
    """
    made = {}
    for name, changes in experiment.variants.items():
        where = f"{path}, variants: {name}"
        tree = resolved(experiment, "variants")
        if not changes:
            raise UsageError("This variant changes nothing", where, "Say which keys differ, such as terms.1.weight: 0")
        for key, value in changes.items():
            if not any(key == known or key.startswith(f"{known}.") for known in OF_A_VARIANT):
                raise UsageError(
                    f"{key} cannot differ: all variants share recordings, windows, patients and protocol",
                    where,
                    f"Change keys of {', '.join(OF_A_VARIANT)}, or run another configuration",
                )
            set_key(tree, key, value, where)
        # A variant without a head is left out of mode joint, rather than refused.
        tree["evaluate"]["task"] = experiment.judged
        tree["evaluate"]["modes"] = [mode for mode in tree["evaluate"]["modes"] if mode != "joint"] or ["linear"]
        try:
            one = Experiment.model_validate(tree)
        except ValidationError as error:
            raise refused(error.errors(), tree, Path(where)) from error
        judged = experiment.evaluate.model_copy(update={"task": experiment.judged})
        made[name] = one.model_copy(update={"evaluate": judged})
    return made


def refused(problems: Sequence[Mapping[str, Any]], tree: Any, path: Path) -> UsageError:
    """One paragraph on the first mistakes of a configuration."""
    sentences = [explain_problem(problem, tree, path) for problem in problems]
    return UsageError(" ".join(dict.fromkeys(sentences[:5])), path, "`biocl config explain KEY` says what a key takes")


def plain(value: Any) -> Any:
    """ruamel's line-keeping containers and scalars as plain Python ones."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def explain_problem(problem: Mapping[str, Any], tree: Any, path: Path) -> str:
    """One validation error as a sentence: key path, line, what is wrong, what is near."""
    shown, line, here = [], None, tree
    for part in problem["loc"]:
        known = (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int))
        if known:
            lines = getattr(getattr(here, "lc", None), "data", None) or {}
            line = lines[part][0] + 1 if part in lines else None  # an override has no line
            here = here[part]
            shown.append(str(part))
        elif not is_union_tag(part):
            shown.append(str(part))
    key = ".".join(shown)
    place = f" (line {line})" if line else ""
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        near = nearest_key(shown)
        return f"{key}{place} is not a known key{f', did you mean {near[0]}?' if near else '.'}"
    if problem["type"] == "missing":
        return f"{key} is missing."
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        discriminator = context["discriminator"].strip("'")
        return f"{key}{place}: {discriminator} is {context['tag']!r}, not one of {context['expected_tags']}."
    if not key:
        return f"{message}."
    message = message.replace("Input should", "should", 1)
    got = f", not {problem['input']!r}" if isinstance(problem.get("input"), str | int | float | bool) else ""
    return f"{key}{place}: {message}{got}."


def nearest_key(shown: list[str]) -> list[str]:
    """The known key nearest to the last part: among those that stand beside it, else among all."""
    parent = re.sub(r"\.\d+", "[]", ".".join(shown[:-1]))
    beside = {name.rpartition(".")[2] for name, _, _ in walk_keys(Experiment) if name.rpartition(".")[0] == parent}
    for known in (beside, {name.split(".")[-1] for name, _, _ in walk_keys(Experiment)}):
        if near := difflib.get_close_matches(shown[-1], sorted(known), n=1):
            return near
    return []


def is_union_tag(part: Any) -> bool:
    """Location parts that pydantic adds for the members of a union are not keys of the file."""
    return isinstance(part, str) and ("-" in part or part[:1].isupper() or "[" in part or part in UNION_TAGS)


UNION_TAGS = {
    "uniform",
    "ema",
    "event",
    "sliding",
    "trial",
    "mean",
    "neighbours",
    "recording",
    "stretch",
    "channel",
    "elapsed",
    "hierarchical",
    "random",
    "int",
    "float",
    "str",
}


def walk_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, type[BaseModel]]]:
    """Every key with its pydantic field and the spec that owns it: ``train.lr``, ``terms[].weight``."""
    for name, info in model.model_fields.items():
        key = f"{prefix}{info.alias or name}"
        yield key, info, model
        for inner, many in specs_in(info.annotation):
            yield from walk_keys(inner, f"{key}{many}.")


def specs_in(annotation: Any, many: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Specs inside an annotation, with ``[]`` or ``.NAME`` for lists and mappings of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, many
        return
    origin = getattr(annotation, "__origin__", None)
    if origin is list:
        many += "[]"
    elif origin is dict:
        many += ".NAME"
    if origin is not None or isinstance(annotation, types.UnionType):
        for inner in get_args(annotation):
            yield from specs_in(inner, many)


def resolved(experiment: Experiment, *without: str) -> dict[str, Any]:
    """The experiment as plain values, every default filled in.

    Of the keys that condition a store only those that are given. The others are the data set's own, or the store's, and
    written out as our defaults they would ask for another store when the experiment is read again.
    """
    tree = experiment.model_dump(mode="json", exclude=set(without))
    own = set(CONDITIONING) - experiment.data.model_fields_set
    return tree | {"data": {key: value for key, value in tree["data"].items() if key not in own}}


def to_yaml(experiment: Experiment) -> str:
    """The resolved configuration."""
    return yaml_text(resolved(experiment))


def yaml_text(tree: Mapping[str, Any]) -> str:
    """Plain values as YAML."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 110
    yaml.default_flow_style = False
    out = io.StringIO()
    yaml.dump(dict(tree), out)
    return out.getvalue()
