"""NumPy arrays and delimited text to recordings."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.channels import infer_kind
from biocl.signals.recording import Channel, Recording


def read_npy(path: Path, sfreq: float, *, name: str, patient: str, session: str = "1") -> Recording:
    """A ``.npy`` file of shape (n_times, n_chans), memory-mapped; channels are numbered, without a unit."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"This is not a NumPy array of numbers ({error})", path, "Save it with numpy.save") from error
    if values.ndim != 2 or not values.size or values.dtype.kind not in "iuf":
        raise DataError(
            f"This array has shape {values.shape} and type {values.dtype}",
            path,
            "Save numbers of shape (n_times, n_chans)",
        )

    def read(start: int, stop: int) -> NDArray[np.float32]:
        return np.asarray(values[start:stop], dtype=np.float32)

    return Recording(
        name=name,
        patient=patient,
        sfreq=sfreq,
        n_times=len(values),
        channels=tuple(Channel(f"channel-{number + 1}", "other", "NU") for number in range(values.shape[1])),
        read=read,
        session=session,
        source=str(path),
    )


def numbers(file: TextIO) -> NDArray[np.float32]:
    """Comma-separated numbers, shape (n_rows, n_columns); the slower way, with gaps, only if needed."""
    lines = file.readlines()
    if not lines:
        return np.empty((0, 0), dtype=np.float32)
    try:
        return np.loadtxt(lines, delimiter=",", dtype=np.float32, ndmin=2)
    except ValueError:
        return np.loadtxt(lines, delimiter=",", dtype=np.float32, ndmin=2, converters=lambda text: float(text or "nan"))


def read_csv(path: Path, sfreq: float, *, name: str, patient: str, session: str = "1") -> Recording:
    """A ``.csv`` or ``.csv.gz`` file: channel names, then a row of numbers for each time step.

    An empty field is a gap (NaN). Held in memory whole. A name may end in its unit, ``II (mV)``.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            names = [text.strip().strip('"') for text in file.readline().split(",")]
            values = numbers(file)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"This table cannot be read ({error})", path, "Save numbers below one line of names") from error
    if not len(values) or values.shape[1] != len(names):
        raise DataError(
            f"This table names {len(names)} channels and has {values.shape[1] if values.size else 0} columns",
            path,
            "Give every column a name in the first line, and numbers below",
        )
    channels = []
    for text in names:
        head, bracket, unit = text.partition("(")
        unit = unit.rstrip(") ") if bracket else "NU"
        channels.append(Channel(head.strip(), infer_kind(head, unit), unit))
    return Recording.from_array(name, patient, sfreq, values, channels, session=session, source=str(path))
