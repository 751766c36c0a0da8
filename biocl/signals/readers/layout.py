"""A layout: the few lines that say how to read a file of numbers (delimited text, NumPy, MATLAB, Parquet).

Five IMU files with time stamps, as a wearable exports them, need this much::

    time: {column: timestamp, unit: ms}
    sfreq: 50
    columns:
      acc_*: {unit: g}
      gyr_*: {unit: deg/s}

Everything has a default: without a layout, the delimiter is found from the first lines, the first line names the
columns, and every column of numbers is a channel, whose name may end in its unit: ``II (mV)`` or ``II [mV]``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from biocl.errors import UsageError
from biocl.signals.channels import infer_kind
from biocl.signals.recording import Channel, ChannelKind
from biocl.spec import Spec

Column = str | int
UNIT_AT_END = re.compile(r"(?P<name>.*\S)\s*[(\[](?P<unit>[^()\[\]]*)[)\]]")
SEE_KEYS = "`biocl data formats` lists the keys of a layout and what they take"


class TimeSpec(Spec):
    """The column that holds the time of each row."""

    column: Column
    """Name of the column, or its number counted from 1."""
    unit: Literal["s", "ms", "us", "ns", "iso"] = "s"
    """Unit of its numbers, or ``iso`` for dates such as 2024-05-01T09:30:00.250Z."""


class ColumnSpec(Spec):
    """What a column is."""

    channel: str | None = Field(default=None, min_length=1)
    """Name of the channel; null keeps the column's own."""
    unit: str | None = Field(default=None, min_length=1)
    """Unit of its numbers; null takes it from a name like ``II (mV)``."""
    kind: ChannelKind | None = None
    """What it measures; null guesses from name and unit."""
    device: str | None = Field(default=None, min_length=1)
    """Device it belongs to; null takes the file's."""


class TableLayout(Spec):
    """How a file of numbers is to be read; the same file may describe many recordings."""

    delimiter: Literal["comma", "tab", "semicolon", "whitespace"] | None = None
    """What stands between the cells of a text; null finds it from the suffix and the first lines."""
    widths: list[int] | None = Field(default=None, min_length=1)
    """Characters of each column of a fixed-width text, in place of a delimiter."""
    header: bool | None = None
    """Whether the first line (after `skip_rows`) names the columns; null: it does unless it holds numbers only."""
    skip_rows: int = Field(default=0, ge=0)
    """Lines to leave out at the start of the file."""
    decimal: Literal[".", ","] = "."
    """The decimal sign."""
    missing: list[str] = Field(default_factory=list)
    """Texts that stand for a missing value, besides an empty cell and ``nan``."""
    encoding: Literal["utf-8", "utf-16", "latin-1"] = "utf-8"
    """How the text is encoded."""
    time: TimeSpec | None = None
    """The column of time stamps; null: rows are evenly spaced at `sfreq`."""
    sfreq: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Samples per second; with `time`, the rate of the common clock (null: estimated from the time stamps)."""
    columns: dict[Column, ColumnSpec] | None = Field(default=None, min_length=1)
    """Which columns are channels, by name (``acc_*`` means all that begin so) or number from 1; null: every one
    that holds numbers."""
    variable: str | None = Field(default=None, min_length=1)
    """Which variable of a MATLAB file or which array of an ``.npz`` holds the signal; null: the only one."""
    axis: Literal["time-first", "channels-first"] | None = None
    """Order of an array; null: time first, and refused if that gives more channels than time steps."""
    device: str = Field(default="main", min_length=1)
    """Device of the whole file."""

    @model_validator(mode="after")
    def fit_together(self) -> TableLayout:
        """Keys that exclude each other."""
        if self.widths is not None and self.delimiter is not None:
            raise ValueError("give widths or a delimiter, not both")
        if self.widths is not None and min(self.widths) < 1:
            raise ValueError("every width is at least 1 character")
        if self.decimal == "," and self.delimiter == "comma":
            raise ValueError("a comma cannot be both decimal sign and delimiter")
        for column in (*(self.columns or ()), self.time.column if self.time else 1):
            if isinstance(column, int) and column < 1:
                raise ValueError(f"columns are counted from 1, and {column} is none")
        return self

    @property
    def edges(self) -> list[tuple[int, int]] | None:
        """Start and stop of each fixed-width column."""
        if self.widths is None:
            return None
        stops = list(accumulate(self.widths))
        return list(zip([0, *stops[:-1]], stops, strict=True))


def load_layout(path: Path) -> TableLayout:
    """Read and check a layout.

    Raises
    ------
    UsageError
        If there is no such file, it is not YAML, or a key or value is wrong; the message names key and line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The layout cannot be read ({error.strerror})", path, "Check the path") from error
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else path
        reason = getattr(error, "problem", None) or type(error).__name__
        raise UsageError(f"The layout is not valid YAML ({reason})", where, "Mend that line") from error
    if not isinstance(tree, dict):
        raise UsageError("A layout is a mapping of keys to values", path, SEE_KEYS)
    try:
        return TableLayout.model_validate(plain(tree))
    except ValidationError as error:
        sentences = [explain(problem, tree) for problem in error.errors()]
        raise UsageError(" ".join(dict.fromkeys(sentences[:5])), path, SEE_KEYS) from error


def layout_markdown() -> str:
    """The keys of a layout, as a Markdown table."""
    lines = ["| key of a layout | what it says |", "|---|---|"]
    inside: tuple[tuple[str, type[Spec]], ...] = (("", TableLayout), ("time.", TimeSpec), ("columns.NAME.", ColumnSpec))
    for prefix, spec in inside:
        for name, field in spec.model_fields.items():
            lines.append(f"| `{prefix}{name}` | {' '.join((field.description or '').split())} |")
    return "\n".join(lines)


def plain(value: Any) -> Any:
    """ruamel's line-keeping containers and scalars as plain Python ones; numbers stay numbers as keys too."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), value)


def explain(problem: Mapping[str, Any], tree: Any) -> str:
    """One validation error as a sentence: key path, line, what is wrong, what is near."""
    shown: list[str] = []
    line = None
    for part in problem["loc"]:
        if isinstance(tree, dict) and part in tree:
            lines = getattr(getattr(tree, "lc", None), "data", None) or {}
            line = lines[part][0] + 1 if part in lines else line
            tree = tree[part]
            shown.append(str(part))
        elif not shown or problem["type"] == "extra_forbidden":
            shown.append(str(part))
    place = f"{'.'.join(shown)}{f' (line {line})' if line else ''}"
    if problem["type"] == "extra_forbidden":
        known = {name for spec in (TableLayout, TimeSpec, ColumnSpec) for name in spec.model_fields}
        near = difflib.get_close_matches(shown[-1], sorted(known), n=1)
        return f"{place} is not a known key{f', did you mean {near[0]}?' if near else '.'}"
    if problem["type"] == "missing":
        return f"{'.'.join(str(part) for part in problem['loc'])} is missing."
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    return f"{place}: {message}." if shown else f"{message[:1].upper()}{message[1:]}."


def place_of(column: Column, names: list[str]) -> int | None:
    """Index of a column by name or by number from 1; None if there is none or several."""
    if isinstance(column, int):
        return column - 1 if column <= len(names) else None
    return names.index(column) if names.count(column) == 1 else None


def choose_columns(
    names: list[str], layout: TableLayout, numeric: list[bool], device: str | None = None
) -> tuple[list[int], tuple[Channel, ...], int | None]:
    """Which columns are channels, what they are called, and which one holds the time.

    Parameters
    ----------
    names : list of str, length n_columns
        Names in the file.
    layout : TableLayout
    numeric : list of bool, length n_columns
        Whether a column holds numbers; one that does not is a channel only if the layout names it.
    device : str, optional
        In place of the layout's device.

    Returns
    -------
    indices : list of int
    channels : tuple of Channel
        In the order of the layout's `columns`; without them, in the order of the file.
    time : int or None

    Raises
    ------
    LookupError
        If a column is not there, or a name stands for several; the message is the sentence to show.
    """
    time = None
    if layout.time is not None:
        time = place_of(layout.time.column, names)
        if time is None:
            raise LookupError(f"It has no time column {layout.time.column!r}; its columns are {listed(names)}")
    found: dict[int, ColumnSpec] = {}
    if layout.columns is None:
        found = {index: ColumnSpec() for index in range(len(names)) if index != time and numeric[index]}
    for column, spec in (layout.columns or {}).items():
        many = isinstance(column, str) and "*" in column and column not in names
        pattern = str(column).replace("[", "[[]")
        places = [index for index, name in enumerate(names) if many and fnmatchcase(name, pattern) and index != time]
        if not many and (place := place_of(column, names)) is not None:
            places = [place]
        if not places:
            twice = "two columns" if isinstance(column, str) and column in names else "no column"
            raise LookupError(f"It has {twice} {column!r}; its columns are {listed(names)}")
        for place in places:
            found.setdefault(place, spec)
    channels = tuple(named(names[index], spec, device or layout.device) for index, spec in found.items())
    if not channels:
        raise LookupError(f"None of its columns holds numbers: {listed(names)}")
    known = [(channel.device, channel.name) for channel in channels]
    if shared := next((name for name in known if known.count(name) > 1), None):
        raise LookupError(f"Two of its channels are named {shared[1]!r}")
    if "" in [channel.name for channel in channels]:
        number = next(index for index, channel in zip(found, channels, strict=True) if not channel.name) + 1
        raise LookupError(f"Its column {number} has no name")
    return list(found), channels, time


def named(text: str, spec: ColumnSpec, device: str) -> Channel:
    """A channel from a column's name, which may end in its unit in brackets, and what the layout says of it."""
    name, unit = text.strip(), "NU"
    if ending := UNIT_AT_END.fullmatch(name):
        name, unit = ending["name"], ending["unit"].strip() or "NU"
    name, unit = spec.channel or name, spec.unit or unit
    return Channel(name, spec.kind or infer_kind(name, unit), unit, spec.device or device)


def listed(names: list[str]) -> str:
    """The first names, in quotes."""
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown
