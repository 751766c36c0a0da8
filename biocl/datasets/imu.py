"""What the IMU data sets share: a strict reader of number columns, channels of a sensor, labels to stretches."""

from __future__ import annotations

import csv
import lzma
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.recording import Channel, ChannelKind, Events

PIECE = 2**22  # cells of text parsed at once
COPY = "The file is probably cut short or edited: copy or download it again"


@dataclass(frozen=True)
class Columns:
    """Columns of a text file: `numbers` (n_rows, n_numbers) float64, and the text columns by name."""

    numbers: NDArray[np.float64]
    text: Mapping[str | int, NDArray[np.str_]]


def axes(device: str, *sensors: tuple[ChannelKind, str]) -> tuple[Channel, ...]:
    """Channels ``device-sensor-axis`` of three-axis sensors, given as (kind, unit)."""
    return tuple(Channel(f"{device}-{kind}-{axis}", kind, unit, device) for kind, unit in sensors for axis in "xyz")


def present(path: Path) -> Path | None:
    """The file, plain or compressed; None if it is not there."""
    return next((p for suffix in ("", ".xz", ".gz") if (p := path.with_name(path.name + suffix)).is_file()), None)


def missing_files(missing: Sequence[str], n_files: int, raw: Path) -> DataError:
    """The error for a folder that does not hold what the data set is published with."""
    return DataError(
        f"{len(missing)} of the {n_files} files are missing, first {missing[0]}",
        raw,
        "Give the folder that holds the data set as it is published with --raw",
    )


def read_columns(
    source: Path | IO[bytes],
    numbers: Sequence[str] | Sequence[int],
    *,
    delimiter: str,
    n_columns: int,
    text: Sequence[str] | Sequence[int] = (),
    gaps: bool = False,
    where: str | Path | None = None,
) -> Columns:
    """Columns of delimited text, parsed in pieces, every cell checked.

    Parameters
    ----------
    source : Path or binary file
        Plain, ``.xz`` or ``.gz``.
    numbers, text : sequence of str or of int
        Columns to read as numbers, and as text: names where the file has a line of them, else counted from 0.
    delimiter : str
        A character, or a space for any white space.
    n_columns : int
        Fields of every row.
    gaps : bool
        Whether a cell may be ``NaN``. An empty cell never may.
    where : str or Path, optional
        For errors; default: the source.

    Raises
    ------
    DataError
        If the file cannot be read to its end, has no rows, has another number of columns, lacks one that is
        asked for, or a cell is not a number; the message names row and column, counted from 1.
    """
    import pandas as pd

    where = where if where is not None else source if isinstance(source, Path) else None
    named = isinstance(numbers[0], str)
    wanted = [*numbers, *text]
    options: dict[str, Any] = {
        "sep": r"\s+" if delimiter == " " else delimiter,
        "header": 0 if named else None,
        "encoding": "utf-8-sig" if named else "utf-8",
        "keep_default_na": False,
        "na_values": ["NaN", "nan"],
        "index_col": False,
        "quoting": csv.QUOTE_NONE,
    }
    found: list[NDArray[np.float64]] = []
    words: dict[str | int, list[Any]] = {column: [] for column in text}
    try:
        with warnings.catch_warnings(), pd.read_csv(source, chunksize=max(1, PIECE // n_columns), **options) as pieces:
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the line of names
            for piece in pieces:
                if len(piece.columns) != n_columns:
                    raise DataError(f"This file has {len(piece.columns)} columns instead of {n_columns}", where, COPY)
                absent = [column for column in wanted if column not in piece.columns]
                if absent:
                    raise DataError(f"This file has no column {absent[0]!r}", where, COPY)
                found.append(checked(piece, numbers, sum(map(len, found)), gaps, where))
                for column in text:
                    words[column].append(piece[column].to_numpy(dtype=np.str_))
    except pd.errors.EmptyDataError as error:
        raise DataError("This file is empty", where, COPY) from error
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        OSError,
        EOFError,
        lzma.LZMAError,
        zlib.error,
        BadZipFile,
        UnicodeError,
    ) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"This file cannot be read to its end ({reason})", where, COPY) from error
    values = np.concatenate(found) if found else np.empty((0, len(numbers)))
    if not len(values):
        raise DataError("This file has no rows of numbers", where, COPY)
    return Columns(values, {column: np.concatenate(parts) for column, parts in words.items()})


def checked(piece: Any, columns: Sequence[Any], n_before: int, gaps: bool, where: Any) -> NDArray[np.float64]:
    """Number columns of a parsed piece; the last column of every row must be there, whatever it is."""
    import pandas as pd

    values = np.empty((len(piece), len(columns)))
    for number, column in enumerate(columns):
        given = piece[column]
        parsed = given if given.dtype.kind in "iuf" else pd.to_numeric(given, errors="coerce")
        values[:, number] = parsed.to_numpy(dtype=np.float64)
        wrong = np.isinf(values[:, number]) | (np.isnan(values[:, number]) & (~given.isna().to_numpy() | (not gaps)))
        if wrong.any():
            row = int(np.argmax(wrong))
            name = column + 1 if isinstance(column, int) else repr(column)
            cell = str(given.iloc[row])
            raise DataError(f"Row {n_before + row + 1}, column {name} holds {cell!r}, not a number", where, COPY)
    short = (piece.iloc[:, -1] == "").to_numpy(dtype=np.bool_)
    if short.any():
        raise DataError(f"Row {n_before + int(np.argmax(short)) + 1} ends too early", where, COPY)
    return values


def bouts(codes: NDArray[Any], names: Mapping[Any, str], sfreq: float, kind: str, *, least_s: float = 0.0) -> Events:
    """Stretches of equal code as events.

    Parameters
    ----------
    codes : ndarray, shape (n_times,)
        A code for each time step.
    names : mapping
        Label of each code; a code that it lacks gives no event.
    sfreq : float
    kind : str
        Kind of the events.
    least_s : float
        A shorter stretch gives none.
    """
    begin = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    end = np.append(begin[1:], len(codes))
    keep = np.array([codes[at] in names for at in begin], dtype=np.bool_) & ((end - begin) >= least_s * sfreq)
    labels = [names[codes[at]] for at in begin[keep]]
    return Events.of(kind, begin[keep] / sfreq, (end - begin)[keep] / sfreq, labels)
