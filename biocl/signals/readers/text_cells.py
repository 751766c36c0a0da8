"""How the lines of a text table fall into cells, and cells become numbers; every cell is checked."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.readers.layout import TableLayout
from biocl.signals.readers.table import SECONDS

DELIMITERS = {"tab": "\t", "semicolon": ";", "comma": ",", "whitespace": " "}
DECIMAL = re.compile(r"[-+]?\d+[.,]\d+")
LARGEST = float(np.finfo(np.float32).max)


class Cells:
    """How a line of one file falls into cells, and cells become numbers.

    Attributes
    ----------
    delimiter : str or None
        None for fixed widths; a space stands for any white space.
    spare : int
        Nameless empty cells at the end of every line.
    """

    def __init__(self, layout: TableLayout, path: Path, first: str, second: str) -> None:
        self.layout, self.path, self.edges, self.spare = layout, path, layout.edges, 0
        self.missing = {"", "nan", *(text.strip().lower() for text in layout.missing)}
        self.missing_numbers = set(filter(None, map(number_in, layout.missing)))
        self.delimiter = None
        if self.edges is None:
            self.delimiter = DELIMITERS[layout.delimiter] if layout.delimiter else sniff(path, first, second)

    def of(self, line: str) -> list[str]:
        """The cells of one line."""
        if self.edges is not None:
            return [line[start:stop] for start, stop in self.edges]
        if self.delimiter == " ":
            return line.split()
        if '"' not in line:
            return line.split(self.delimiter)
        try:
            return next(csv.reader([line], delimiter=self.delimiter or ",", skipinitialspace=True))
        except csv.Error:
            return line.split(self.delimiter)

    def rows(self, lines: list[str], width: int, number: int) -> list[list[str]]:
        """Cells of some lines, each of `width` cells; line `number` is the first.

        Raises
        ------
        DataError
            If a line has fewer or more.
        """
        rows = []
        for offset, line in enumerate(lines):
            row = self.of(line)
            if self.is_blank(line) and (width == 1 or all(map(self.is_blank, lines[offset:]))):
                row = [""] * (width + self.spare)
            if problem := self.misfit(line, row, width):
                raise DataError(
                    problem,
                    f"{self.path}, line {number + offset}",
                    "Give every row a cell for every column (empty where a value is missing), or correct the layout",
                )
            rows.append(row[:width])
        return rows

    def is_blank(self, line: str) -> bool:
        """Whether a line holds no row; tabs and columns of spaces are a row whose values are all missing."""
        if line.strip():
            return False
        if self.edges is not None:
            return len(line) <= self.edges[-1][0]
        return self.delimiter != "\t" or "\t" not in line

    def without_blank_end(self, lines: list[str]) -> tuple[list[str], int]:
        """The lines up to the last one that is not blank, and how many follow it."""
        stop = len(lines)
        while stop and self.is_blank(lines[stop - 1]):
            stop -= 1
        return lines[:stop], len(lines) - stop

    def misfit(self, line: str, row: list[str], width: int) -> str | None:
        """What is wrong with the length of a row, as a sentence."""
        if self.edges is not None and width > 1:
            start, stop = self.edges[-1]
            if len(line) <= start or line[stop:].strip():
                return f"This row has {len(line)} characters, which does not fit the layout's {width} widths"
        if len(row) != width + self.spare or any(cell.strip() for cell in row[width:]):
            return f"This row has {len(row)} cell{'s' * (len(row) != 1)}, the table has {width}"
        return None

    def value(self, cell: str) -> float | None:
        """A cell as a number, NaN if it is missing, None if it is something else."""
        text = cell.strip()
        if text.lower() in self.missing:
            return float("nan")
        if self.layout.decimal != ".":
            if "." in text:
                return None
            text = text.replace(self.layout.decimal, ".")
        value = number_in(text)
        if value is None:
            return None
        if value in self.missing_numbers:
            return float("nan")
        return value if abs(value) <= LARGEST else None

    def is_numeric(self, column: list[str]) -> bool:
        """Whether the first cells of a column hold a number (in either decimal sign), or nothing at all."""
        values = [self.value(cell) for cell in column]
        some = any(value is not None and value == value for value in values)
        return some or None not in values or any(DECIMAL.fullmatch(cell.strip()) for cell in column)

    def has_header(self, names: list[str]) -> bool:
        """Whether the first line names the columns: it does unless all its cells are numbers.

        Raises
        ------
        DataError
            If it counts the columns (0, 1, 2 …), which may be a header or the first row.
        """
        if self.layout.header is not None:
            return self.layout.header
        if len(names) > 1 and names in [[str(index + first) for index in range(len(names))] for first in (0, 1)]:
            raise DataError(
                "The first line counts the columns, and may be a header or a row of numbers",
                self.path,
                "Say `header: true` or `header: false` in a layout (--layout)",
            )
        return any(self.value(name) is None for name in names)

    def numbers(
        self, lines: list[str], number: int, names: list[str], columns: list[int], time: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Signal (n, n_chans) and time stamps in seconds (n,) of some lines; no time column gives no stamps."""
        wanted = sorted({*columns, *([] if time is None else [time])})
        iso = time is not None and self.layout.time is not None and self.layout.time.unit == "iso"
        table = None if iso else self.fast(lines, wanted, len(names))
        if table is None:
            rows = self.rows(lines, len(names), number)
            table = np.empty((len(rows), len(wanted)))
            for place, index in enumerate(wanted):
                if iso and index == time:
                    table[:, place] = self.instants([row[index] for row in rows], number, names[index])
                    continue
                for offset, row in enumerate(rows):
                    value = self.value(row[index])
                    if value is None:
                        raise self.not_a_number(row[index], number + offset, index, names[index])
                    table[offset, place] = value
        signal = table[:, [wanted.index(index) for index in columns]].astype(np.float32)
        if time is None or self.layout.time is None:
            return signal, np.empty(0)
        return signal, table[:, wanted.index(time)] * SECONDS[self.layout.time.unit]

    def fast(self, lines: list[str], wanted: list[int], width: int) -> NDArray[np.float64] | None:
        """The wanted columns by pandas' parser, or None if any line or cell needs a closer look."""
        delimiter = self.delimiter
        if delimiter is None or any('"' in line for line in lines):
            return None
        if delimiter == " ":
            regular = all(len(line.split()) == width and line.isascii() for line in lines)
        else:
            count = width + self.spare - 1
            ending = delimiter * self.spare
            regular = all(line.count(delimiter) == count and line.endswith(ending) for line in lines)
        if not regular or (width == 1 and not all(line.strip() for line in lines)):
            return None
        import pandas

        try:
            table = pandas.read_csv(
                io.StringIO("\n".join(lines)),
                sep=r"\s+" if delimiter == " " else delimiter,
                header=None,
                index_col=False,
                names=range(width + self.spare),
                usecols=wanted,
                dtype=np.float64,
                decimal=self.layout.decimal,
                quoting=csv.QUOTE_NONE,
                keep_default_na=False,
                na_values=["", "nan", "NaN", *self.layout.missing],
                skip_blank_lines=False,
                engine="c",
            ).to_numpy()
        except (ValueError, OverflowError):
            return None
        fits = len(table) == len(lines) and not (np.abs(table) > LARGEST).any()
        return table if fits else None

    def instants(self, cells: list[str], number: int, name: str) -> NDArray[np.float64]:
        """ISO dates as seconds since 1970; without a time zone, as if they were UTC."""
        import pandas

        stamps = pandas.to_datetime([cell.strip() for cell in cells], format="ISO8601", utc=True, errors="coerce")
        if (wrong := np.asarray(stamps.isna())).any():
            offset = int(wrong.argmax())
            raise DataError(
                f"{cells[offset].strip()[:40]!r} in column {name!r} is not an ISO date",
                f"{self.path}, line {number + offset}",
                "Write dates like 2024-05-01T09:30:00.250, or correct time in the layout",
            )
        return np.asarray((stamps - pandas.Timestamp(0, tz="UTC")).total_seconds(), dtype=np.float64)

    def not_a_number(self, cell: str, line: int, index: int, name: str) -> DataError:
        """The error for a cell that holds something else."""
        decimal = DECIMAL.fullmatch(cell.strip())
        hint = "decimal: ','" if self.layout.decimal == "." else "decimal: '.'"
        return DataError(
            f"The cell {cell.strip()[:40]!r} in column {index + 1} ({name!r}) is not a number",
            f"{self.path}, line {line}",
            f"Correct it, leave it empty for a gap, or say in a layout {hint if decimal else 'missing: [TEXT]'}",
        )


def number_in(text: str) -> float | None:
    """What a text says as a number; None if it does not."""
    if not text.isascii() or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def sniff(path: Path, first: str, second: str) -> str:
    """The delimiter: tab, semicolon or comma, whichever gives the first two lines equally many cells, else space.

    The suffix comes first: ``.tsv`` means tabs.
    """
    if ".tsv" in [suffix.lower() for suffix in path.suffixes]:
        return "\t"
    for delimiter in ("\t", ";", ","):
        if first.count(delimiter) and (not second or first.count(delimiter) == second.count(delimiter)):
            return delimiter
    present = [delimiter for delimiter in ("\t", ";", ",") if delimiter in first]
    if present:
        return present[0]
    return " " if len(first.split()) > 1 and len(first.split()) == len(second.split()) else ","
