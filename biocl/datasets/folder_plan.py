"""From rows to recordings: which files belong together, whose they are, and what is still missing to read them."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from biocl.datasets.folder_table import Row
from biocl.errors import BioclError, DataError
from biocl.files import digest
from biocl.signals.readers.formats import is_table, resolve
from biocl.signals.readers.layout import TableLayout, load_layout

Trial = tuple[str, str, float | None, float | None]


@dataclass(frozen=True)
class Part:
    """One file of a recording: where it is, how to read it if it is a table, and the device it comes from."""

    path: Path
    device: str
    sfreq: float | None
    layout: TableLayout | None


@dataclass(frozen=True)
class Plan:
    """One recording before it is read: its files, and its trials as (name, label, start, end)."""

    name: str
    patient: str
    session: str
    parts: tuple[Part, ...]
    trials: tuple[Trial, ...]
    labels: Mapping[str, str]
    revision: str


def plan_recordings(
    rows: Sequence[Row], base: Path, *, sfreq: float | None = None, layout: TableLayout | None = None
) -> list[Plan]:
    """One plan for each recording, in order of first appearance.

    Parameters
    ----------
    rows : sequence of Row
        Rows of the same `recording` are synchronous files of it; without one, each file is a recording.
    base : Path
        Folder from which paths count.
    sfreq, layout
        Of tables whose rows say nothing of their own.

    Raises
    ------
    DataError
        If a file is missing or of an unknown kind, two rows of a recording or file contradict each other, or the
        rate of a table is not known; the message names the lines.
    UsageError
        If a layout is wrong.
    """
    layouts: dict[str, TableLayout] = {}
    spelled: dict[Path, str] = {}  # one file may be spelled in several ways, and is named as at first
    groups: dict[tuple[bool, str], list[tuple[Row, str]]] = {}
    for row in rows:
        path = base / row.path
        file = spelled.setdefault(resolve(path).resolve(), row.path)
        if row.layout and row.layout not in layouts:
            layouts[row.layout] = load_layout(base / row.layout)
        groups.setdefault((bool(row.recording), row.recording or file), []).append((row, file))
    owner: dict[str, str] = {}
    plans = []
    for (_, name), members in groups.items():
        first = members[0][0]
        noun = f"recording {name}" if first.recording else f"file {name}"
        columns = ("patient", "session", *sorted({f"label:{key}" for row, _ in members for key in row.labels}))
        for column in columns:
            agree(noun, [row for row, _ in members], column)
        files: dict[str, list[Row]] = {}
        for row, file in members:
            if owner.setdefault(file, name) != name:
                both = f"{owner[file]} and {name}"
                raise DataError(f"The file {file} is in two recordings, {both}", row.where, "Keep it in one of them")
            files.setdefault(file, []).append(row)
        parts = []
        for file, mine in files.items():
            for column in ("sfreq", "device", "layout"):
                agree(f"file {file}", mine, column)
            parts.append(part_of(mine[0], base, sfreq, layouts.get(mine[0].layout, layout)))
        trials = tuple(dict.fromkeys((row.trial, row.label, row.start, row.end) for row, _ in members))
        content = [[part.sfreq, part.device, part.layout and part.layout.model_dump()] for part in parts]
        plans.append(
            Plan(
                name=name if first.recording else name.removesuffix(".hea"),
                patient=first.patient,
                session=first.session or "1",
                parts=tuple(parts),
                trials=trials,
                labels=dict(first.labels),
                revision=digest([content, trials, [file_stamp(part.path) for part in parts]]),
            )
        )
    refuse_equal_names(plans)
    return plans


def agree(noun: str, rows: Sequence[Row], column: str) -> None:
    """All rows of one thing must say the same in one column."""
    nouns = {"patient": "patients", "session": "sessions", "sfreq": "sampling rates"}
    values = [
        row.labels.get(column.removeprefix("label:"), "") if ":" in column else getattr(row, column) for row in rows
    ]
    for row, value in zip(rows, values, strict=True):
        if value != values[0]:
            raise DataError(
                f"The {noun} has two {nouns.get(column, f'values of {column}')}: {values[0]!r} in {rows[0].line} and "
                f"{value!r} in {row.line}",
                row.where.partition(", line")[0],
                "One file is one recording of one person: correct the row, or cut the file",
            )


def part_of(row: Row, base: Path, sfreq: float | None, layout: TableLayout | None) -> Part:
    """One file, which must be there, of a known kind, and have a rate if it is a table without time stamps."""
    given = base / row.path
    path = resolve(given, layout)
    try:
        table = is_table(given, layout)
    except BioclError as error:
        headless = str(error.where).endswith(".hea")
        raise DataError(
            f"The file {error.where} does not exist" if headless else error.what, row.where, error.fix
        ) from error
    if not path.exists():
        raise DataError(
            f"The file {path} does not exist", row.where, "Correct the path; it counts from the table's folder"
        )
    if not table and row.layout:
        raise DataError(
            f"{path.name} is not a table of numbers, so no layout describes it", row.where, "Leave it empty"
        )
    rate = row.sfreq or (layout.sfreq if layout else None) or sfreq
    if table and rate is None and (layout is None or layout.time is None):
        raise DataError(
            f"The sampling rate of {path.name} is not known",
            row.where,
            "Fill the column sfreq, in samples per second, or name the time column in a layout",
        )
    return Part(path, row.device, rate, layout if table else None)


def file_stamp(path: Path) -> list[list[object]]:
    """Name, size and time of the files that belong to a recording (of a WFDB record: header, signals, marks)."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    elif is_table(path, TableLayout()):
        files = [path]
    else:
        files = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]


def refuse_equal_names(plans: Sequence[Plan]) -> None:
    """A recording's name is its own."""
    names = [plan.name for plan in plans]
    if twice := next((name for name in names if names.count(name) > 1), None):
        where = plans[names.index(twice)].parts[0].path
        raise DataError(f"Two recordings are named {twice!r}", where, "Give every recording its own name")
