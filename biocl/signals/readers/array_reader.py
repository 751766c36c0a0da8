"""Arrays of NumPy, MATLAB and Parquet files to recordings; never objects, never more memory than the file explains."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.readers.devices import table_recording
from biocl.signals.readers.layout import TableLayout
from biocl.signals.readers.matlab import read_variable, variables
from biocl.signals.readers.table import SECONDS, Table, columns_of
from biocl.signals.recording import Recording

COMPRESSED: dict[str, Callable[..., IO[bytes]]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}  # type: ignore[dict-item]
MOST_PACKED = 1200  # deflate shrinks by 1032 at most: an array larger than that times its file is not in it
Matrix = NDArray[Any]
Stored = Path | io.BytesIO


def read_array(
    path: str | Path,
    *,
    name: str,
    patient: str,
    session: str = "1",
    labels: Mapping[str, str] | None = None,
    sfreq: float | None = None,
    layout: TableLayout | None = None,
) -> Recording:
    """A two-dimensional array of numbers as a recording.

    Parameters
    ----------
    path : str or Path
        ``.npy`` (memory-mapped), ``.npz``, ``.mat`` (version 4 to 7.3) or ``.parquet``; ``.gz``, ``.xz`` and
        ``.bz2`` of these are unpacked in memory.
    name, patient, session, labels
        Of the recording.
    sfreq : float, optional
        Samples per second, in place of the layout's.
    layout : TableLayout, optional
        `variable` and `axis` say where the signal is; `columns` address unnamed columns by number from 1.

    Returns
    -------
    Recording

    Raises
    ------
    DataError
        If the file cannot be read, holds no two-dimensional numbers or several such arrays, or a package is
        missing (the `formats` extra).
    """
    path, layout = Path(path), layout or TableLayout()
    return table_recording(
        load_array(path, layout),
        name=name,
        patient=patient,
        session=session,
        labels=labels,
        sfreq=sfreq or layout.sfreq,
    )


def load_array(path: Path, layout: TableLayout, device: str | None = None) -> Table:
    """The rows of an array file; `device` stands in place of the layout's."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    suffix = plain.suffix.lower()
    try:
        stored: Stored = path
        if plain != path:
            with COMPRESSED[path.suffix.lower()](path, "rb") as file:
                stored = io.BytesIO(file.read())
        if suffix == ".parquet":
            return load_parquet(stored, path, layout, device)
        matrix = {".npy": load_npy, ".npz": load_npz, ".mat": load_mat}[suffix](stored, path, layout)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, MemoryError) as error:
        raise damaged(path, error) from error
    return as_table(matrix, path, layout, device)


def damaged(path: Path, error: Exception | str) -> DataError:
    """The error for a file that its parser stumbles over."""
    why = " ".join((error if isinstance(error, str) else f"{type(error).__name__}: {error}").split())[:200]
    return DataError(f"This file is damaged or cut short ({why})", path, "Copy it or save it again")


def size_of(stored: Stored) -> int:
    """Bytes of a file, or of what was unpacked from it."""
    return len(stored.getbuffer()) if isinstance(stored, io.BytesIO) else stored.stat().st_size


def as_table(matrix: Matrix, path: Path, layout: TableLayout, device: str | None = None) -> Table:
    """An array of either order as a table; nothing is copied before it is read.

    Raises
    ------
    DataError
        If it is not two-dimensional numbers, or has fewer time steps than channels and the layout does not say so.
    """
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "biuf":
        raise DataError(
            f"This array has shape {matrix.shape} and type {matrix.dtype}, which is no table of numbers",
            path,
            "Save numbers of shape (n_times, n_chans)",
        )
    if layout.axis == "channels-first":
        matrix = matrix.T
    n_times, n_columns = matrix.shape
    if n_columns > n_times and layout.axis is None:
        raise DataError(
            f"Read as (n_times, n_chans), this array has {n_times} time steps of {n_columns} channels",
            path,
            "Say in a layout whether it is so (axis: time-first) or turned (axis: channels-first)",
        )
    names = [f"channel-{number + 1}" for number in range(n_columns)]
    columns, channels, time = columns_of(names, layout, [True] * n_columns, path, device)
    every = columns == list(range(n_columns))

    def read(start: int, stop: int) -> NDArray[np.float32]:
        block = matrix[start:stop] if every else matrix[start:stop][:, columns]
        with np.errstate(over="ignore"):
            return np.array(block, dtype=np.float32, order="C")  # a copy: the map ends with its file

    time_s = None
    if time is not None and layout.time is not None:
        if layout.time.unit == "iso":
            raise DataError("An array holds no dates", path, "Give the unit of its time column (s, ms, us, ns)")
        time_s = np.asarray(matrix[:, time], dtype=np.float64) * SECONDS[layout.time.unit]
    return Table(channels, n_times, read, path, time_s)


def load_npy(stored: Stored, path: Path, layout: TableLayout) -> Matrix:
    """A ``.npy`` file, memory-mapped where it is not compressed."""
    try:
        if isinstance(stored, io.BytesIO):
            return array_in(stored, size_of(stored))
        array = np.load(stored, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of arrays")
        return array
    except Exception as error:  # a damaged header fails in a dozen ways
        reason = "it holds objects" if "pickle" in str(error) else " ".join(str(error).split())[:200]
        raise DataError(
            f"This is not a NumPy array of numbers ({reason})",
            path,
            "Save it with numpy.save",
        ) from error


def array_in(file: IO[bytes], size: int) -> Matrix:
    """One ``.npy`` array of a stream of `size` bytes; its header must not promise more than that."""
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version} of the format is not known")
    shape, in_columns, dtype = read_header[version](file)
    count = int(np.prod([int(length) for length in shape], dtype=object)) if shape else 1
    if dtype.hasobject or dtype.itemsize == 0:
        raise ValueError(f"it holds {dtype}, not numbers")
    if min(shape, default=0) < 0 or count * dtype.itemsize > size:
        raise ValueError(f"its header promises {shape} values of {dtype}, the file holds {size} bytes")
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise ValueError("it is cut short")
    values = np.frombuffer(data, dtype=dtype)
    return values.reshape(shape[::-1]).T if in_columns else values.reshape(shape)


def load_npz(stored: Stored, path: Path, layout: TableLayout) -> Matrix:
    """The one two-dimensional array of a ``.npz`` file, or the one that the layout names."""
    try:
        with zipfile.ZipFile(stored) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            shapes = {}
            for name, info in members.items():
                with archive.open(info) as file:
                    shapes[name] = header_shape(file)
            chosen = members[the_one(shapes, path, layout)]
            if chosen.file_size > MOST_PACKED * max(chosen.compress_size, 1):
                raise ValueError("its directory promises more than it holds")
            with archive.open(chosen) as file:
                return array_in(file, chosen.file_size)
    except DataError:
        raise
    except Exception as error:  # zipfile stumbles over damage in a dozen ways
        raise damaged(path, error) from error


def header_shape(file: IO[bytes]) -> tuple[int, ...]:
    """Shape of a ``.npy`` array of numbers; () for anything else."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError:
        return ()
    return tuple(shape) if dtype.kind in "biuf" else ()


def the_one(shapes: Mapping[str, tuple[int, ...]], path: Path, layout: TableLayout) -> str:
    """The variable that the layout names, or the only one that is a table of numbers.

    Raises
    ------
    DataError
        If it is not there, or there is not exactly one.
    """
    known = ", ".join(f"{name} {'×'.join(map(str, shape)) or '(other)'}" for name, shape in list(shapes.items())[:20])
    if layout.variable is not None:
        if layout.variable not in shapes:
            raise DataError(
                f"This file has no variable {layout.variable!r}; it has {known or 'none'}", path, "Correct the layout"
            )
        return layout.variable
    tables = [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 0 and max(shape) > 1]
    if len(tables) != 1:
        raise DataError(
            f"This file has {len(tables) or 'no'} tables of numbers among its variables: {known or 'it is empty'}",
            path,
            "Name the signal in a layout (variable: NAME, --layout)"
            if tables
            else "Save the signal as a variable of its own, time steps × channels",
        )
    return tables[0]


def load_mat(stored: Stored, path: Path, layout: TableLayout) -> Matrix:
    """A matrix of a MATLAB file: of version 7.3 by h5py, of earlier ones memory-mapped where it is not packed."""
    head = stored.getbuffer()[:512].tobytes() if isinstance(stored, io.BytesIO) else first_bytes(stored, 512)
    if head.startswith((b"MATLAB 7.3", b"\x89HDF")):
        return load_hdf5(stored, path, layout)
    try:
        data = stored.getbuffer() if isinstance(stored, io.BytesIO) else np.memmap(stored, np.uint8, "r").data
        found = {variable.name: variable for variable in variables(data)}
        name = the_one({name: variable.shape for name, variable in found.items()}, path, layout)
        if found[name].shape == ():
            raise DataError(f"Variable {name} holds no real numbers", path, "Name another variable in a layout")
        return read_variable(data, found[name])
    except DataError:
        raise
    except (ValueError, zlib.error, OSError, UnicodeError) as error:
        raise damaged(path, error) from error


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(count)


def load_hdf5(stored: Stored, path: Path, layout: TableLayout) -> Matrix:
    """A matrix of a MATLAB 7.3 file; MATLAB stores columns first, so it is turned."""
    try:
        import h5py  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise extra_needed("MATLAB 7.3", "h5py", path) from error
    try:
        with h5py.File(stored, "r") as file:
            matrices = {key: item for key, item in file.items() if isinstance(item, h5py.Dataset)}
            shapes = {
                key: item.shape[::-1] if item.dtype.kind in "biuf" and item.attrs.get("MATLAB_class") != b"char" else ()
                for key, item in matrices.items()
            }
            name = the_one(shapes, path, layout)
            chosen = matrices[name]
            if np.prod([float(length) for length in chosen.shape]) > MOST_PACKED * size_of(stored):
                raise ValueError(f"{name} of shape {shapes[name]} is larger than the file")
            if chosen.dtype.kind not in "biuf":
                raise DataError(f"{name} holds {chosen.dtype}, not numbers", path, "Name another variable in a layout")
            matrix: Matrix = chosen[()]
            return matrix.T
    except DataError:
        raise
    except Exception as error:  # what h5py raises for damage is not documented
        raise damaged(path, error) from error


def load_parquet(stored: Stored, path: Path, layout: TableLayout, device: str | None = None) -> Table:
    """The columns of numbers of a Parquet file, batch by batch; time stamps of a date type need no unit."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
        import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise extra_needed("Parquet", "pyarrow", path) from error

    try:
        with pq.ParquetFile(stored) as file:
            fields = list(file.schema_arrow)
            kinds = pa.types
            numeric = [
                kinds.is_integer(field.type) or kinds.is_floating(field.type) or kinds.is_boolean(field.type)
                for field in fields
            ]
            names = [field.name for field in fields]
            columns, channels, time = columns_of(names, layout, numeric, path, device)
            for index in columns:
                if not numeric[index]:
                    raise DataError(
                        f"Column {names[index]!r} holds {fields[index].type}, not numbers", path, "Leave it out"
                    )
            n_rows = file.metadata.num_rows
            if not 0 < n_rows * len(columns) <= 2**16 * size_of(stored):
                raise ValueError(f"it promises {n_rows} rows in {size_of(stored)} bytes")
            wanted = [names[index] for index in {*columns, *([] if time is None else [time])}]
            values, stamps = [], []
            for batch in file.iter_batches(columns=wanted):
                block = np.empty((batch.num_rows, len(columns)), dtype=np.float32)
                for place, index in enumerate(columns):
                    block[:, place] = numbers_in(batch.column(names[index]))
                values.append(block)
                if time is not None and layout.time is not None:
                    column = batch.column(names[time])
                    is_date = kinds.is_timestamp(column.type)
                    scale = SECONDS[column.type.unit if is_date else layout.time.unit]
                    stamps.append(numbers_in(column.cast(pa.int64()) if is_date else column) * scale)
        signal = np.concatenate(values)
        if len(signal) != n_rows:
            raise ValueError(f"it promises {n_rows} rows and holds {len(signal)}")
    except DataError:
        raise
    except Exception as error:  # pyarrow's errors share no base with a meaning
        raise damaged(path, error) from error
    left_out = [name for name, ok in zip(names, numeric, strict=True) if not ok and name not in wanted]
    notes = (f"Columns without numbers are left out: {', '.join(left_out)}",) if left_out else ()
    return Table(
        channels,
        n_rows,
        lambda start, stop: signal[start:stop],
        path,
        None if time is None else np.concatenate(stamps),
        notes,
    )


def numbers_in(column: Any) -> NDArray[np.float64]:
    """A Parquet column as float64, NaN where it is null."""
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def extra_needed(what: str, package: str, path: Path) -> DataError:
    """The error for a format whose package is not installed."""
    return DataError(
        f"{what} files need the package {package}, which is not installed",
        path,
        "Install it with `pip install 'biocl[formats]'`",
    )
