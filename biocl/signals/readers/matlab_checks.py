"""Is a MATLAB 5 file whole? Asked before SciPy reads it, which a damaged one can bring down with the process."""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from biocl.errors import DataError

COPY_AGAIN = "Copy or export the file again"
HDF5, V73 = b"\x89HDF", b"MATLAB 7.3"
HEADER_BYTES, CHUNK_BYTES, DEEPEST = 128, 2**20, 32
MATRIX, COMPRESSED = 14, 15
# Bytes of a number of each type; text types count by their bytes.
WIDTH = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
TEXT_TYPES = {1, 2, 4, 16, 17, 18}
CELL, STRUCT, OBJECT, CHAR, SPARSE = 1, 2, 3, 4, 5
NUMERIC = range(6, 16)
COMPLEX_FLAG = 0x0800


class Damaged(Exception):
    """What is wrong inside a file, and at which byte."""


@dataclass(frozen=True)
class Element:
    """One tag and where its content lies; `after` is the byte of the next tag."""

    kind: int
    begin: int
    size: int
    after: int


def check_matlab(path: Path) -> None:
    """Refuse a MATLAB file whose parts do not fit into each other; one of version 7.3 (HDF5) is left to its reader.

    Parameters
    ----------
    path : Path
        A ``.mat`` or ``.set`` file.

    Raises
    ------
    DataError
        If it does not begin like a MATLAB 5 file, or an element reaches over the end of what holds it.
    """
    if not path.is_file():
        raise DataError("This file does not exist", path, "Check the path")
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        if head.startswith((HDF5, V73)):
            return
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        if order is None or b"\x00" in head[:4]:  # a zero byte there is the mark of version 4
            raise DataError(f"This is not a MATLAB 5 file: it begins with {head[:20]!r}", path, COPY_AGAIN)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                walk_file(content, order)
            except (Damaged, struct.error, zlib.error) as error:
                raise DataError(f"This MATLAB file is damaged or cut short: {error}", path, COPY_AGAIN) from error


def walk_file(content: mmap.mmap, order: str) -> None:
    """Every variable of a file."""
    place = HEADER_BYTES
    if place == len(content):
        raise Damaged("it holds no variables")
    while place < len(content):
        variable = element(content, place, len(content), order)
        if variable.kind == COMPRESSED:
            check_compressed(content, variable)
            place = variable.begin + variable.size  # compressed variables are not padded
        elif variable.kind == MATRIX:
            walk_matrix(content, variable, order, 0)
            place = variable.after
        else:
            raise Damaged(f"the variable at byte {place} is of type {variable.kind}")


def check_compressed(content: mmap.mmap, variable: Element) -> None:
    """A compressed variable unpacks to what its own checksum says."""
    unpacker = zlib.decompressobj()
    end = variable.begin + variable.size
    for begin in range(variable.begin, end, CHUNK_BYTES):
        waiting = content[begin : min(begin + CHUNK_BYTES, end)]
        while waiting:
            unpacker.decompress(waiting, CHUNK_BYTES)
            waiting = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise Damaged(f"the variable at byte {variable.begin} is cut short")


def element(content: mmap.mmap, place: int, end: int, order: str) -> Element:
    """The element at a byte, which must end where what holds it does, or before."""
    if place + 8 > end:
        raise Damaged(f"something should follow at byte {place}")
    kind, size = struct.unpack(f"{order}II", content[place : place + 8])
    if kind >> 16:  # a small element: size and type in four bytes, content in the next four
        kind, size = kind & 0xFFFF, kind >> 16
        found = Element(kind, place + 4, size, place + 8)
        if size > 4:
            raise Damaged(f"the small element at byte {place} has {size} bytes")
        return found
    begin = place + 8
    if begin + size > end:
        raise Damaged(f"the element at byte {place} does not end inside what holds it")
    return Element(kind, begin, size, min(begin + size + -size % 8, end))


def walk_matrix(content: mmap.mmap, matrix: Element, order: str, depth: int) -> None:
    """An array and all that is in it."""
    if matrix.kind != MATRIX or depth > DEEPEST:
        raise Damaged(f"no array at byte {matrix.begin}")
    end = matrix.begin + matrix.size
    if not matrix.size:  # an empty array may leave out everything
        return
    flags = element(content, matrix.begin, end, order)
    if flags.kind != 6 or flags.size != 8:
        raise Damaged(f"the array at byte {matrix.begin} does not say what it is")
    (word,) = struct.unpack(f"{order}I", content[flags.begin : flags.begin + 4])
    kind = word & 0xFF
    if kind > 15:  # function handles and objects of newer classes: nothing here reads them
        return
    shape = element(content, flags.after, end, order)
    if shape.kind != 5 or shape.size % 4 or not 8 <= shape.size <= 128:
        raise Damaged(f"the array at byte {matrix.begin} has no shape")
    lengths = struct.unpack(f"{order}{shape.size // 4}i", content[shape.begin : shape.begin + shape.size])
    count = math.prod(lengths)
    if min(lengths) < 0 or count > len(content):
        raise Damaged(f"the array at byte {matrix.begin} has the shape {lengths}")
    name = element(content, shape.after, end, order)
    if name.kind != 1:
        raise Damaged(f"the array at byte {matrix.begin} has no name")
    if kind == CELL:
        walk_parts(content, name.after, end, count, order, depth)
    elif kind in (STRUCT, OBJECT):
        walk_struct(content, name.after, end, count, order, depth, kind == OBJECT)
    elif kind == CHAR:
        letters = element(content, name.after, end, order) if count or name.after < end else None
        if letters is not None and letters.kind not in TEXT_TYPES:
            raise Damaged(f"the text at byte {matrix.begin} is of type {letters.kind}")
    elif kind in NUMERIC:
        walk_numbers(content, name.after, end, count * (2 if word & COMPLEX_FLAG else 1), order)
    elif kind != SPARSE:  # SciPy checks those itself, and no recording is one
        raise Damaged(f"the array at byte {matrix.begin} is of class {kind}")


def walk_parts(content: mmap.mmap, place: int, end: int, count: int, order: str, depth: int) -> None:
    """Arrays one after the other."""
    for _ in range(count):
        part = element(content, place, end, order)
        walk_matrix(content, part, order, depth + 1)
        place = part.after


def walk_struct(content: mmap.mmap, place: int, end: int, count: int, order: str, depth: int, named: bool) -> None:
    """Names of fields, then their arrays."""
    if named:
        place = element(content, place, end, order).after
    width = element(content, place, end, order)
    names = element(content, width.after, end, order)
    if width.kind != 5 or width.size != 4 or names.kind not in (1, 2):
        raise Damaged(f"the struct at byte {place} does not name its fields")
    (length,) = struct.unpack(f"{order}i", content[width.begin : width.begin + 4])
    if length < 1 or names.size % length:
        raise Damaged(f"the struct at byte {place} names its fields with {length} letters")
    walk_parts(content, names.after, end, count * (names.size // length), order, depth)


def walk_numbers(content: mmap.mmap, place: int, end: int, count: int, order: str) -> None:
    """One or two elements (real and imaginary) that hold `count` numbers in all."""
    found = 0
    while found < count or place < end:
        numbers = element(content, place, end, order)
        if numbers.kind not in WIDTH or numbers.size % WIDTH[numbers.kind]:
            raise Damaged(f"the numbers at byte {place} are of type {numbers.kind}")
        found += numbers.size // WIDTH[numbers.kind]
        place = numbers.after
        if found > count:
            break
    if found != count:
        raise Damaged(f"the array that ends at byte {end} holds {found} numbers instead of {count}")
