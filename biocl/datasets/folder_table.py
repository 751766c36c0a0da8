"""The table of a user's own recordings: a CSV with one line a trial, read and checked line by line."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from biocl.errors import DataError

REQUIRED = ("path", "patient")
OPTIONAL = ("trial", "label", "start", "end", "session", "sfreq", "recording", "device", "layout")
LABEL = "label:"


@dataclass(frozen=True)
class Row:
    """One trial of one file.

    Attributes
    ----------
    where, line : str
        For errors: ``recordings.csv, line 4`` and ``line 4``.
    path : str
        The file, relative to the table's folder.
    patient, trial, label, session, recording, device, layout : str
        As in the table; empty where it says nothing.
    start, end : float or None
        Seconds; None for the start and the end of the recording.
    sfreq : float or None
        Samples per second.
    labels : mapping of str to str
        The columns ``label:NAME``, what is known of the whole recording.
    """

    where: str
    line: str
    path: str
    patient: str
    trial: str = ""
    label: str = ""
    start: float | None = None
    end: float | None = None
    session: str = ""
    sfreq: float | None = None
    recording: str = ""
    device: str = ""
    layout: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def read_rows(table: Path) -> list[Row]:
    """The lines of a table.

    Raises
    ------
    DataError
        If it cannot be read, a column is missing or unknown, a line has too few or too many fields, a patient is
        missing, or a time makes no sense; the message names the line.
    """
    header, lines = read_lines(table)
    known = (*REQUIRED, *OPTIONAL)
    missing = [name for name in REQUIRED if name not in header]
    unknown = [name for name in header if name not in known and not (name.startswith(LABEL) and name != LABEL)]
    twice = [name for name in header if header.count(name) > 1]
    if missing or unknown or twice:
        what = "is missing" if missing else "is not known" if unknown else "stands there twice"
        raise DataError(
            f"Column {(missing or unknown or twice)[0]!r} {what}",
            f"{table}, line 1",
            f"Use the columns {', '.join(REQUIRED)} and, if needed, {', '.join(OPTIONAL)}; what else is known of a "
            f"recording goes into columns like {LABEL}age",
        )
    if not lines:
        raise DataError("The table of recordings has no rows", table, "Add one row for each trial")
    return [row_of(dict(zip(header, values, strict=True)), table, number) for number, values in lines]


def read_lines(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and number and fields of every line below it; values stripped."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, [value.strip() for value in row]) for row in reader if row]
    except FileNotFoundError as error:
        raise DataError("The table of recordings does not exist", table, "Check the path") from error
    except OSError as error:
        raise DataError(
            f"The table of recordings cannot be read ({error.strerror})", table, "Check the path"
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"The table of recordings is not a CSV file ({error})", table, "Save it as CSV, UTF-8"
        ) from error
    for number, values in lines:
        if len(values) != len(header):
            raise DataError(
                f"This row does not have the {len(header)} fields of the first line",
                f"{table}, line {number}",
                "Add or remove commas; quote a value that holds one",
            )
    return header, lines


def row_of(values: Mapping[str, str], table: Path, number: int) -> Row:
    """One line as a row."""
    where = f"{table}, line {number}"
    for name in REQUIRED:
        if not values[name]:
            raise DataError(f"The {name} is empty", where, f"Every row needs its {name}")
    start, end = seconds(values.get("start", ""), "start", where), seconds(values.get("end", ""), "end", where)
    if end is not None and end <= (start or 0.0):
        raise DataError(f"The trial ends at {end:g} s, before it starts", where, "Give end > start, in seconds")
    texts = {name: values.get(name, "") for name in ("trial", "label", "session", "recording", "device", "layout")}
    return Row(
        where=where,
        line=f"line {number}",
        path=values["path"],
        patient=values["patient"],
        start=start,
        end=end,
        sfreq=positive(values["sfreq"], "sfreq", where) if values.get("sfreq") else None,
        labels={name.removeprefix(LABEL): text for name, text in values.items() if name.startswith(LABEL) and text},
        **texts,
    )


def seconds(text: str, column: str, where: str) -> float | None:
    """A time in seconds, or None if empty."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise DataError(f"{column} is {text!r}", where, "Give seconds from the start of the file, or leave it empty")
    return value


def positive(text: str, column: str, where: str) -> float:
    """A number above zero."""
    value = seconds(text, column, where)
    if not value:
        raise DataError(f"{column} is {text!r}", where, "Give samples per second")
    return value
