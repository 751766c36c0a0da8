"""WFDB records (``.hea`` with ``.dat``, ``.mat`` or FLAC files) to recordings, read in blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.channels import infer_kind, unit_name
from biocl.signals.readers.wfdb_annotations import read_events
from biocl.signals.recording import Channel, Events, Read, Recording

# Format -> (bytes per sample, the digital value that marks an invalid sample).
FORMATS: dict[str, tuple[float, int | None]] = {
    "8": (1, None),
    "16": (2, -(2**15)),
    "24": (3, -(2**23)),
    "32": (4, -(2**31)),
    "61": (2, -(2**15)),
    "80": (1, -(2**7)),
    "160": (2, -(2**15)),
    "212": (3 / 2, -(2**11)),
    "310": (4 / 3, -(2**9)),
    "311": (4 / 3, -(2**9)),
    "508": (0, -(2**7)),  # FLAC: the size on disk says nothing
    "516": (0, -(2**15)),
    "524": (0, -(2**23)),
}
WIDE = {"8", "24", "32", "524"}  # more than 16 bits once decoded
COPY_AGAIN = "Copy or download the record again"
LEVEL_STEP = 2**16
PIECE = 2**14


def read_wfdb(
    path: str | Path,
    annotator: str | None = None,
    *,
    name: str | None = None,
    patient: str | None = None,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
) -> Recording:
    """Open a single-segment WFDB record of any signal format; reads its header and annotations only.

    Parameters
    ----------
    path : str or Path
        The record, with or without ``.hea``.
    annotator : str, optional
        Extension of the annotation file (``atr``); none is read without it.
    name, patient : str, optional
        Default: the record's own name.
    session : str
        Which visit of the patient.
    labels : mapping, optional
        What is known of the whole recording.

    Returns
    -------
    Recording
        In the header's units, NaN where the file marks a sample as invalid. Channels with several samples a
        frame are averaged to the frame rate. Each read costs memory in proportion to its own length.

    Raises
    ------
    DataError
        If the header is damaged, a signal file is missing or shorter than the header says, or the record has
        several segments.
    """
    path = Path(path)
    record_path = path.with_suffix("") if path.suffix == ".hea" else path
    header = read_header(record_path)
    check_files(record_path, header)
    sfreq, n_times = float(header.fs), int(header.sig_len)
    read: Read = partial(read_samples, record_path, header)
    if "8" in header.fmt:
        read = partial(read_differences, record_path, header, [np.zeros(int(header.n_sig), dtype=np.int64)])
    return Recording(
        name=name or record_path.name,
        patient=patient or record_path.name,
        sfreq=sfreq,
        n_times=n_times,
        channels=header_channels(header),
        read=read,
        session=session,
        events=Events.empty()
        if annotator is None
        else read_events(record_path.parent / f"{record_path.name}.{annotator}", sfreq, n_times / sfreq),
        labels=dict(labels or {}),
        source=str(record_path),
        about=tuple(line.strip() for line in header.comments or ()),
    )


def read_header(record_path: Path) -> Any:
    """Parse and check a header; returns wfdb's record of fields."""
    import wfdb

    path = record_path.parent / f"{record_path.name}.hea"
    if not path.is_file():
        raise DataError("A record's header is missing", path, "Check the path; the record needs its .hea file")
    try:
        header = wfdb.rdheader(str(record_path))
    except Exception as error:  # whatever the parser stumbles over, the header is not readable
        raise damaged(path, f"it cannot be parsed ({type(error).__name__}: {error})") from error
    if isinstance(header, wfdb.MultiRecord):
        raise DataError(
            "This record is made of several segments, which are read one by one",
            path,
            f"Give its segments as recordings of their own: {', '.join(dict.fromkeys(header.seg_name))}",
        )
    named = [name for name in header.sig_name or [] if name is not None]
    if not header.n_sig or len(header.file_name or []) != header.n_sig:
        raise damaged(path, f"it announces {header.n_sig} signals and describes {len(header.file_name or [])}")
    if not header.sig_len or header.sig_len < 1:
        raise damaged(path, "it gives no number of samples in its first line")
    if not header.fs or not math.isfinite(header.fs) or header.fs <= 0:
        raise damaged(path, f"its sampling rate is {header.fs}")
    if named and len(named) != header.n_sig:
        raise damaged(path, f"only {len(named)} of its {header.n_sig} signals have a name")
    if unknown := sorted(set(header.fmt) - set(FORMATS)):
        raise damaged(path, f"signal format {unknown[0]!r} does not exist")
    return header


def damaged(path: Path, why: str) -> DataError:
    """The error for a header that cannot be trusted."""
    return DataError(f"This header is damaged or cut short: {why}", path, COPY_AGAIN)


def header_channels(header: Any) -> tuple[Channel, ...]:
    """Names, kinds and units of the signals; a nameless one is called by its number."""
    names = [name or f"channel-{number + 1}" for number, name in enumerate(header.sig_name)]
    units = [unit_name(unit) for unit in header.units]
    return tuple(Channel(name, infer_kind(name, unit), unit) for name, unit in zip(names, units, strict=True))


def samples_per_frame(header: Any) -> list[int]:
    """Samples of each channel in one frame."""
    return [count or 1 for count in header.samps_per_frame]


def check_files(record_path: Path, header: Any) -> None:
    """Refuse a signal file that is missing or shorter than the header says."""
    per_frame = samples_per_frame(header)
    for file_name in dict.fromkeys(header.file_name):
        path = record_path.parent / file_name
        if not path.is_file():
            raise DataError(
                f"A signal file of record {record_path.name} is missing",
                path,
                "Put it beside the header, under the name that the header gives",
            )
        columns = [index for index, other in enumerate(header.file_name) if other == file_name]
        samples = int(header.sig_len) * sum(per_frame[index] for index in columns)
        needed = math.ceil(samples * FORMATS[header.fmt[columns[0]]][0]) + (header.byte_offset[columns[0]] or 0)
        size = path.stat().st_size
        if size < max(needed, 1):
            raise DataError(
                f"A signal file is cut short: the header of record {record_path.name} announces "
                f"{header.sig_len} samples ({needed} bytes), the file holds {size} bytes",
                path,
                COPY_AGAIN,
            )


def read_samples(record_path: Path, header: Any, start: int, stop: int) -> NDArray[np.float32]:
    """Time steps `start` to `stop` in physical units, shape (stop - start, n_chans)."""
    return physical(read_digital(record_path, header, start, stop), header, stop - start)


def read_differences(
    record_path: Path, header: Any, levels: list[NDArray[np.int64]], start: int, stop: int
) -> NDArray[np.float32]:
    """The same for records that hold format 8, which stores differences between samples.

    wfdb starts every read from the header's initial value, so what the signal rose before `start` is added.
    `levels[k]` is that rise at time step ``k * LEVEL_STEP``; it grows as the record is read.
    """
    while len(levels) * LEVEL_STEP <= start:
        first = (len(levels) - 1) * LEVEL_STEP
        levels.append(levels[-1] + rise(read_digital(record_path, header, first, first + LEVEL_STEP), header))
    anchor = start // LEVEL_STEP
    level = levels[anchor]
    if start > anchor * LEVEL_STEP:
        level = level + rise(read_digital(record_path, header, anchor * LEVEL_STEP, start), header)
    digital = read_digital(record_path, header, start, stop)
    shifted = [
        column.astype(np.int64) + level[index] if header.fmt[index] == "8" else column
        for index, column in enumerate(digital)
    ]
    return physical(shifted, header, stop - start)


def rise(digital: list[NDArray[Any]], header: Any) -> NDArray[np.int64]:
    """How much each format-8 channel rose over a stretch that was read from the initial value."""
    initial = [value or 0 for value in header.init_value]
    return np.array(
        [
            int(column[-1]) - initial[index] if header.fmt[index] == "8" and len(column) else 0
            for index, column in enumerate(digital)
        ],
        dtype=np.int64,
    )


def read_digital(record_path: Path, header: Any, start: int, stop: int) -> list[NDArray[Any]]:
    """Integer samples of each channel, all samples of each frame."""
    import wfdb

    if stop <= start:
        return [np.empty(0, dtype=np.int32) for _ in range(header.n_sig)]
    # wfdb cannot return the integers of format 61 (their byte order confuses it), only physical values.
    as_physical = "61" in header.fmt
    bits = 64 if as_physical else 32 if WIDE.intersection(header.fmt) else 16
    try:
        record = wfdb.rdrecord(
            str(record_path),
            sampfrom=start,
            sampto=stop,
            physical=as_physical,
            smooth_frames=False,
            return_res=bits,
        )
    except Exception as error:
        raise DataError(
            f"Samples {start} to {stop} cannot be read ({type(error).__name__}: {error})",
            record_path,
            COPY_AGAIN,
        ) from error
    if as_physical:
        return [integers(column, header, index) for index, column in enumerate(record.e_p_signal)]
    digital: list[NDArray[Any]] = record.e_d_signal
    return digital


def integers(values: NDArray[np.float64], header: Any, index: int) -> NDArray[np.int64]:
    """Physical values of one channel back to the integers they came from (exact: 32 bits fit a float64)."""
    digital = np.rint(values * header.adc_gain[index] + header.baseline[index])
    return np.where(np.isnan(values), FORMATS[header.fmt[index]][1] or 0, digital).astype(np.int64)


def physical(digital: list[NDArray[Any]], header: Any, length: int) -> NDArray[np.float32]:
    """Integers to physical units: (value - baseline) / gain, NaN where the file says invalid.

    Computed in float64 a piece at a time, so that the intermediate stays in the processor's cache.
    """
    signal = np.empty((length, len(digital)), dtype=np.float32)
    scratch = np.empty(PIECE, dtype=np.float64)
    for index, (column, per_frame) in enumerate(zip(digital, samples_per_frame(header), strict=True)):
        invalid = FORMATS[header.fmt[index]][1]
        step = max(1, PIECE // per_frame)
        for start in range(0, length, step):
            stop = min(start + step, length)
            piece = column[start * per_frame : stop * per_frame]
            values = scratch[: len(piece)] if len(piece) <= PIECE else np.empty(len(piece))
            np.subtract(piece, header.baseline[index], out=values, dtype=np.float64)
            values /= header.adc_gain[index]
            if invalid is not None and (gaps := piece == invalid).any():
                values[gaps] = np.nan
            if per_frame > 1:
                values = values.reshape(-1, per_frame).mean(axis=1)
            signal[start:stop, index] = values
    return signal
