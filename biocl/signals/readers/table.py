"""A table: rows of numbers as one file gave them, before they have a clock."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.readers.layout import TableLayout, choose_columns
from biocl.signals.recording import Channel, Read

# seconds a unit; `iso` times are turned into seconds where they are read
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "iso": 1.0}


@dataclass(frozen=True)
class Table:
    """Rows of numbers.

    Attributes
    ----------
    channels : tuple of Channel
    n_times : int
    read : callable (start, stop) -> ndarray float32, shape (stop - start, n_chans)
        NaN where a cell is empty.
    source : Path
        The file.
    time_s : ndarray of float64, shape (n_times,), or None
        Time stamp of each row in seconds, as the file gives them. None: rows are evenly spaced.
    notes : tuple of str
        What was left out.
    """

    channels: tuple[Channel, ...]
    n_times: int
    read: Read
    source: Path
    time_s: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """The device; several in one file are joined by a plus sign."""
        return "+".join(dict.fromkeys(channel.device for channel in self.channels))


def columns_of(
    names: list[str], layout: TableLayout, numeric: list[bool], where: Path, device: str | None = None
) -> tuple[list[int], tuple[Channel, ...], int | None]:
    """`choose_columns`, with what it refuses as a `DataError` about the file."""
    try:
        return choose_columns(names, layout, numeric, device)
    except LookupError as error:
        raise DataError(
            f"This table does not fit its layout. {error.args[0]}",
            where,
            "Name every channel once in the first line, or list the columns to read in a layout (columns: …, --layout)",
        ) from error
