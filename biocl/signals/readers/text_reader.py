"""Delimited and fixed-width text, plain or compressed, to recordings; parsed in pieces, every cell checked."""

from __future__ import annotations

import io
import lzma
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.readers.devices import table_recording
from biocl.signals.readers.layout import TableLayout
from biocl.signals.readers.table import Table, columns_of
from biocl.signals.readers.text_cells import Cells
from biocl.signals.recording import Recording

PIECE = 2**22  # characters of text held at once, and the longest line that is still a row of a table
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeError)
NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def read_text(
    path: str | Path,
    *,
    name: str,
    patient: str,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
    sfreq: float | None = None,
    layout: TableLayout | None = None,
) -> Recording:
    """A text table as a recording, held in memory as float32.

    Parameters
    ----------
    path : str or Path
        Comma-, tab-, semicolon- or whitespace-separated or fixed-width text, plain or ``.gz``, ``.xz``, ``.bz2``.
    name, patient, session, labels
        Of the recording.
    sfreq : float, optional
        Samples per second, in place of the layout's.
    layout : TableLayout, optional
        How to read it; default: see `TableLayout`.

    Returns
    -------
    Recording
        NaN where a cell is empty.

    Raises
    ------
    DataError
        If the file cannot be read, a row is too short or too long, or a cell is not a number (line and column are
        named); if time goes backwards or the rate is not known.
    """
    path, layout = Path(path), layout or TableLayout()
    return table_recording(
        load_text(path, layout),
        name=name,
        patient=patient,
        session=session,
        labels=labels,
        sfreq=sfreq or layout.sfreq,
    )


def load_text(path: Path, layout: TableLayout, device: str | None = None) -> Table:
    """The rows of a text table; `device` stands in place of the layout's."""
    try:
        with open_text(path, layout.encoding) as file:
            return parse(pieces(file, path), path, layout, device)
    except UNREADABLE as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeError) else error
        raise DataError(
            f"This table cannot be read ({reason})", path, "Copy it again, or save it as UTF-8 text (layout: encoding)"
        ) from error


def open_text(path: Path, encoding: str) -> io.TextIOBase:
    """Open plain or compressed text; a byte order mark is no part of the text."""
    import bz2
    import gzip

    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
    opener = openers.get(path.suffix.lower(), open)
    file: io.TextIOBase = opener(path, "rt", encoding=encoding, newline=None)
    return file


def pieces(file: io.TextIOBase, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Whole lines of a text, at most `PIECE` characters at once, with the number of the first.

    Raises
    ------
    DataError
        If a line is longer than that, or the text holds control characters.
    """
    number, rest = 1, ""
    while chunk := file.read(PIECE):
        if NOT_TEXT.search(chunk):
            raise DataError("This is not a table but binary data", path, "Check the file and its suffix")
        lines = (rest + chunk).split("\n")
        rest = lines.pop()
        if len(rest) > PIECE:
            raise DataError(f"Line {number + len(lines)} is longer than {PIECE} characters", path, "Check the file")
        if lines:
            yield number, lines
            number += len(lines)
    if rest:
        yield number, [rest]


def parse(stream: Iterator[tuple[int, list[str]]], path: Path, layout: TableLayout, device: str | None) -> Table:
    """Header, columns and numbers of a table whose lines come in pieces."""
    number, lines = next(stream, (1, []))
    while len(lines) <= layout.skip_rows + 1 and (more := next(stream, None)) is not None:
        lines += more[1]  # lines so long that header and first row came apart
    lines, number = lines[layout.skip_rows :], number + layout.skip_rows
    if not any(line.strip() for line in lines):
        raise DataError("This table is empty", path, "Check the file (layout: skip_rows)")
    cells = Cells(layout, path, lines[0], next((line for line in lines[1:] if line.strip()), ""))
    names = [text.strip() for text in cells.of(lines[0])]
    if cells.has_header(names):
        lines, number = lines[1:], number + 1
        notes: tuple[str, ...] = ()
    else:
        notes = ("The first line holds numbers, so the columns are called by their number",) * (layout.header is None)
        names = [f"channel-{index + 1}" for index in range(len(names))]
    while names and not names[-1] and not any(row[-1].strip() for row in cells.rows(lines[:100], len(names), number)):
        names.pop()  # every line ends in a delimiter
        cells.spare += 1
    sample = cells.rows(cells.without_blank_end(lines[:1000])[0], len(names), number)
    if not sample:
        raise DataError("This table has no rows of numbers", path, "Check the file (layout: header, skip_rows)")
    numeric = [cells.is_numeric([row[index] for row in sample]) for index in range(len(names))]
    columns, channels, time = columns_of(names, layout, numeric, path, device)
    if layout.columns is None and (text := [names[i] for i, ok in enumerate(numeric) if not ok and i != time]):
        notes += (f"Columns of text are left out: {', '.join(text)}",)
    values: list[NDArray[np.float32]] = []
    times: list[NDArray[np.float64]] = []
    gaps = 0  # blank lines: an end of the file, or rows that are missing from a single column
    while True:
        lines, blank = cells.without_blank_end(lines)
        if lines and gaps:
            lines, number, gaps = [""] * gaps + lines, number - gaps, 0
        if lines:
            block, stamps = cells.numbers(lines, number, names, columns, time)
            values.append(block)
            times.append(stamps)
        gaps += blank
        number += len(lines) + blank
        if (more := next(stream, None)) is None:
            break
        number, lines = more
    signal = np.concatenate(values)
    del values
    stamps = np.concatenate(times)
    return Table(
        channels, len(signal), lambda start, stop: signal[start:stop], path, None if time is None else stamps, notes
    )
