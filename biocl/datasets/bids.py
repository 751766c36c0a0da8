"""The participants table of a BIDS folder: who is who, by id and never by the order of a folder's listing."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from biocl.errors import DataError


def participants(table: Path, key: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a tab-separated table, in its order, values stripped; a person who stands in it again counts once.

    Parameters
    ----------
    table : Path
        ``participants.tsv`` or the like.
    key : str
        The column of the ids; rows without one are left out.
    columns : sequence of str
        Columns that must be there.

    Raises
    ------
    DataError
        If the table is missing, is no text, or lacks a column.
    """
    if not table.is_file():
        raise DataError("The table of participants is missing", table, "Put it back, or download the set again")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            lacking = [name for name in (key, *columns) if name not in (reader.fieldnames or [])]
            rows = [{name: (value or "").strip() for name, value in row.items() if name} for row in reader]
    except (UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise DataError(f"This table cannot be read ({error})", table, "Download it again") from error
    if lacking:
        raise DataError(f"This table has no column {lacking[0]!r}", table, "Download it again")
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row[key] not in ("", "nan", "n/a"):
            found.setdefault(row[key], row)
    return list(found.values())
