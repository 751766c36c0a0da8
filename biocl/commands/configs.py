"""List, copy and explain configuration files."""

from __future__ import annotations

import difflib
import json
import re
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from biocl.config import find_config, shipped_configs, walk_keys
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.files import write_bytes
from biocl.views.spec import Step


def first_comment(path: Path) -> str:
    """The first line of a configuration: what it is."""
    return path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def print_configs(*, as_json: bool) -> None:
    """Names and first lines of the shipped configurations."""
    found = [{"name": name, "what": first_comment(path)} for name, path in shipped_configs().items()]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    width = max(len(config["name"]) for config in found)
    for config in found:
        print(f"{config['name']:<{width}}  {config['what']}")


def copy_config(name: str, target: Path) -> str:
    """Copy a shipped configuration; a file that exists is not touched."""
    source = find_config(Path(name))
    if target.exists():
        raise UsageError("This file exists, and is left as it is", target, "Choose another name")
    write_bytes(target, source.read_bytes())
    return f"{target} is a copy of {source.name}; check it with `biocl config validate {target}`"


def explain_key(key: str) -> str:
    """What a key takes, its default and what it does; a last part alone (``lr``) finds every such key."""
    known = list(walk_keys(Experiment))
    wanted = [entry for entry in known if re.fullmatch(spelled(entry[0]), key)]
    if not wanted:
        names = sorted({entry[0].split(".")[-1] for entry in known})
        near = difflib.get_close_matches(key.split(".")[-1], names, n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else "See a shipped configuration with `biocl config copy`"
        raise UsageError(f"There is no key {key!r}", fix=hint)
    lines = []
    for name, info, owner in wanted:
        default = "required" if info.default is PydanticUndefined and info.default_factory is None else ""
        if not default:
            default = f"default {info.get_default(call_default_factory=True)!r}"
        text = info.description or (owner.__doc__ or "").splitlines()[0]
        if issubclass(owner, Step) and name.rpartition(".")[2] == owner.key():
            text = f"{owner.__doc__} {text}"  # what the step does and assumes, then what its main setting is
        text = " ".join(text.split())
        takes = f"{describe(info.annotation)} ({default})"
        lines.append(f"{name}{of_which(name, owner, wanted)}: {takes}\n    {text}")
    return "\n".join(dict.fromkeys(lines))


def of_which(key: str, owner: type[BaseModel], entries: list[tuple[str, Any, type[BaseModel]]]) -> str:
    """``[eegnet]`` where several specs, told apart by ``name``, ``head`` or a view step's key, own the same key."""
    if issubclass(owner, Step):
        last = key.rpartition(".")[2]
        return f" [{owner.key()}]" if last in owner.__annotations__ and last != owner.key() else ""
    name = owner.model_fields.get("name") or owner.model_fields.get("head")
    if name is None or len({str(who) for where, _, who in entries if where == key}) < 2:
        return ""
    return f" [{describe(name.annotation)}]"


def spelled(key: str) -> str:
    """A pattern of all spellings of a key: ``terms[].weight`` is also ``terms.weight``, ``terms.0.weight`` and
    ``terms[0].weight``, ``views.NAME[].mask`` also ``views.masked_1.0.mask``, and any last parts will do."""
    parts = []
    for part in key.split("."):
        word, many = part.removesuffix("[]"), part.endswith("[]")
        pattern = r"[^.\[\]]+" if word == "NAME" else re.escape(word)
        parts.append(pattern + (r"(?:\[\d*\]|\.\d+)?" if many else ""))
    whole = parts[0]
    for part, word in zip(parts[1:], key.split(".")[1:], strict=True):
        whole = rf"(?:{whole}\.)?{part}" if not word.startswith("NAME") else rf"{whole}(?:\.{part})?"
    return whole


def form_of(spec: type[BaseModel]) -> str:
    """The one word that a mapping of this form has under ``name`` or ``kind``; else what the form is called."""
    for key in ("name", "kind"):
        words = typing.get_args(spec.model_fields[key].annotation) if key in spec.model_fields else ()
        if len(words) == 1 and isinstance(words[0], str):
            return words[0]
    return spec.__name__


def describe(annotation: object) -> str:
    """A type as a reader of YAML would say it."""
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, Step):
        return annotation.key()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return form_of(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(str(value) for value in typing.get_args(annotation))
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is list:
        return f"list of ({describe(arguments[0])})"
    if origin is dict:
        return f"mapping of names to ({describe(arguments[1])})"
    if origin is typing.Annotated:
        return describe(arguments[0])
    if arguments:
        return " | ".join(dict.fromkeys(describe(argument) for argument in arguments))
    return getattr(annotation, "__name__", str(annotation))
