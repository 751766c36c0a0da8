"""Tables and headers that list a data set's recordings, and what to say when some are not there."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from biocl.errors import DataError

Row = dict[str, str]


def read_listing(path: Path, columns: Sequence[str], what: str) -> list[Row]:
    """The rows of a CSV file; a value in quotes may contain line breaks.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Columns that have to be there.
    what : str
        What the file is, for the message: ``PTB-XL's list of records``.

    Raises
    ------
    DataError
        If the file is missing, is not text, lacks a column, has a row of another length, or holds no row.
    """
    if not path.is_file():
        raise DataError(
            f"{what} is missing",
            path,
            "Give the folder that holds it with --raw, as the data set is published",
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval=None)
            header = list(reader.fieldnames or [])
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{what} cannot be read ({error})", path, "Copy or download it again") from error
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(f"{what} has no column {missing[0]!r}", path, "Copy or download it again")
    for number, row in enumerate(rows, 1):
        if None in row.values() or ("" in row and "" not in header):
            raise DataError(
                f"Row {number} of {what} has another number of values than the header", path, "Copy it again"
            )
    if not rows:
        raise DataError(f"{what} lists nothing", path, "Copy or download it again")
    return rows


def absent_note(absent: Sequence[str], n_listed: int, where: str) -> tuple[str, ...]:
    """What the first entry says about records that are listed and not there; nothing if all are."""
    if not absent:
        return ()
    return (
        f"{len(absent)} of the {n_listed} records that {where} lists are not in the folder and were left out, "
        f"first {absent[0]}",
    )


def none_present(absent: Sequence[str], where: str, raw: Path) -> DataError:
    """The error for a list of which no record is there."""
    return DataError(
        f"None of the {len(absent)} records that {where} lists is here, first {absent[0]}",
        raw,
        "Put the record files beside the list, as the data set is published, or fetch them with --download",
    )


def header_comments(path: Path) -> Row:
    """The comments of a WFDB header that read ``key: value``, keys in lower case; of two equal keys the first.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    found: Row = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"A header cannot be read ({error.strerror})", path, "Check the file") from error
    for line in text.splitlines():
        key, colon, value = line.lstrip("#").partition(":")
        if line.startswith("#") and colon:
            found.setdefault(key.strip().strip("<>").lower(), value.strip())
    return found


def known(value: str | None) -> bool:
    """Whether a value says anything."""
    return value is not None and value.strip().lower() not in ("", "n/a", "unknown", "nan")
