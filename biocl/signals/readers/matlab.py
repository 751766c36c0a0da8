"""Matrices in MATLAB files of version 4 to 7.2; no size that a file states is believed before it is compared.

Version 4: one header of five 32-bit numbers (type, rows, columns, complex, length of the name) and one name before
each matrix. Version 5: elements of a tag (type, bytes) and content; a matrix is an element of elements (flags,
dimensions, name, values), which version 7 packs with zlib. Values stand column by column.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEADER = 128
MATRIX, PACKED = 14, 15
DTYPES_4 = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
DTYPES_5 = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC = range(6, 16)  # classes of plain numbers; others are texts, cells, structures, objects
COMPLEX = 0x0800
GLIMPSE = 4096  # bytes of a packed matrix that hold its name and shape


@dataclass(frozen=True)
class Variable:
    """A variable of a MATLAB file: its name, its shape (() if it holds no real numbers), and where it is."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    is_packed: bool


class DamagedError(ValueError):
    """A size, a type or a name that cannot be."""


def variables(data: memoryview) -> list[Variable]:
    """What a file holds, without reading values.

    Raises
    ------
    DamagedError
        If it makes no sense.
    """
    if is_version_4(data):
        return list(variables_4(data))
    found = []
    order = byte_order(data)
    for kind, start, stop in elements(data, order):
        if kind not in (MATRIX, PACKED):
            raise DamagedError(f"an element of type {kind}")
        content = data[start:stop]
        if kind == PACKED:
            content = memoryview(zlib.decompressobj().decompress(content, GLIMPSE))
            if tag(content, 0, order)[0] != MATRIX:
                raise DamagedError("a packed element is no matrix")
            content = content[8:]
        name, shape, _ = describe(content, order)
        found.append(Variable(name, shape, start, stop, kind == PACKED))
    return found


def read_variable(data: memoryview, variable: Variable) -> NDArray[np.generic]:
    """The values of a variable with a shape; nothing is copied where they are not packed.

    Raises
    ------
    DamagedError
        If there are fewer values than its shape says.
    """
    if is_version_4(data):
        order, dtype, *_ = header_4(data, variable.start)
        return in_columns(data[: variable.stop], f"{order}{dtype}", variable.shape, values_4(data, variable))
    order = byte_order(data)
    content = data[variable.start : variable.stop]
    if variable.is_packed:
        unpacker = zlib.decompressobj()
        most = 2 * GLIMPSE + 8 * int(np.prod(variable.shape, dtype=object))
        content = memoryview(unpacker.decompress(content, most))
        if not unpacker.eof:
            raise DamagedError("a packed matrix does not end")
        content = content[8:]
    _, shape, offset = describe(content, order)
    kind, start, stop = tag(content, offset, order)
    if kind not in DTYPES_5 or stop > len(content):
        raise DamagedError(f"values of type {kind}, {len(content) - stop} bytes before the end")
    return in_columns(content[:stop], f"{order}{DTYPES_5[kind]}", shape, start)


def in_columns(data: memoryview, dtype: str, shape: tuple[int, ...], start: int) -> NDArray[np.generic]:
    """Values from `start` on as an array of that shape, first axis fastest."""
    count = int(np.prod(shape, dtype=object))
    if start + count * np.dtype(dtype).itemsize != len(data):
        raise DamagedError(f"{len(data) - start} bytes for {shape} values of type {dtype[1:]}")
    values: NDArray[np.generic] = np.frombuffer(data, dtype, count, start).reshape(shape[::-1]).T
    return values


def is_version_4(data: memoryview) -> bool:
    """Version 4 begins with a small number, later ones with text."""
    return len(data) >= 4 and 0 in bytes(data[:4])


def header_4(data: memoryview, start: int) -> tuple[str, str, int, int, int, int, int]:
    """Byte order, type, kind of matrix, rows, columns, whether complex, and length of the name."""
    if start + 20 > len(data):
        raise DamagedError("a header is cut short")
    order = "<" if int(np.frombuffer(data, "<i4", 1, start)[0]) in range(5000) else ">"
    code, rows, columns, is_complex, length = np.frombuffer(data, f"{order}i4", 5, start).tolist()
    kind, number = code % 10, code // 10 % 10
    known = code in range(2000) and kind in (0, 1, 2) and number in DTYPES_4 and is_complex in (0, 1)
    if not known or min(rows, columns) < 0 or not 0 < length < GLIMPSE:
        raise DamagedError("a header of version 4 makes no sense")
    return order, DTYPES_4[number], kind, rows, columns, is_complex, length


def variables_4(data: memoryview) -> Iterator[Variable]:
    """The matrices of a version 4 file."""
    start = 0
    while start < len(data):
        _, dtype, kind, rows, columns, is_complex, length = header_4(data, start)
        stop = start + 20 + length + rows * columns * (1 + is_complex) * int(dtype[1:])
        if stop > len(data):
            raise DamagedError("a matrix is cut short")
        name = bytes(data[start + 20 : start + 20 + length]).rstrip(b"\0").decode("latin-1")
        yield Variable(name, (rows, columns) if kind == 0 and not is_complex else (), start, stop, False)
        start = stop


def values_4(data: memoryview, variable: Variable) -> int:
    """Where the values of a version 4 matrix begin."""
    return variable.start + 20 + header_4(data, variable.start)[-1]


def byte_order(data: memoryview) -> str:
    """``<`` or ``>``, from the end of a version 5 header."""
    orders = {b"IM": "<", b"MI": ">"}
    if len(data) < HEADER or bytes(data[126:128]) not in orders:
        raise DamagedError("its header is cut short")
    return orders[bytes(data[126:128])]


def tag(data: memoryview, at: int, order: str) -> tuple[int, int, int]:
    """Type of the element at `at`, and where its content begins and stops."""
    if at + 8 > len(data):
        raise DamagedError("an element is cut short")
    kind, size = np.frombuffer(data, f"{order}u4", 2, at).tolist()
    if kind >> 16:  # up to four bytes of content stand in the tag
        if kind >> 16 > 4:
            raise DamagedError("a small element is not small")
        return kind & 0xFFFF, at + 4, at + 4 + (kind >> 16)
    return kind, at + 8, at + 8 + size


def elements(data: memoryview, order: str) -> Iterator[tuple[int, int, int]]:
    """Type, start and stop of the content of one element after another, below the header."""
    at = HEADER
    while at < len(data):
        kind, start, stop = tag(data, at, order)
        if stop > len(data):
            raise DamagedError("an element is longer than the file")
        yield kind, start, stop
        at = max(at + 8, stop)


def describe(content: memoryview, order: str) -> tuple[str, tuple[int, ...], int]:
    """Name and shape of a matrix (() if it holds no real numbers), and where its values' element begins."""
    at = 0
    parts = []
    for _ in range(3):
        kind, start, stop = tag(content, at, order)
        if stop > len(content):
            raise DamagedError("the description of a matrix is cut short")
        parts.append((kind, bytes(content[start:stop])))
        at = max(at + 8, stop + (-stop % 8))
    (_, flags), (_, sizes), (_, name) = parts
    if len(flags) < 4 or len(sizes) % 4 or len(sizes) > 4 * 32:
        raise DamagedError("the description of a matrix makes no sense")
    flag = int(np.frombuffer(flags, f"{order}u4", 1)[0])
    shape = tuple(np.frombuffer(sizes, f"{order}i4").tolist())
    if min(shape, default=0) < 0:
        raise DamagedError(f"a matrix of shape {shape}")
    plain = flag & 0xFF in NUMERIC and not flag & COMPLEX
    return name.decode("latin-1"), shape if plain else (), at
