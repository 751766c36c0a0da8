"""Headers of EDF, EDF+, BDF and BDF+ files, parsed and held against the size of the file."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from biocl.errors import DataError
from biocl.signals.channels import unit_name

EDF, BDF = b"0       ", b"\xffBIOSEMI"
SUFFIXES = {".edf": EDF, ".rec": EDF, ".bdf": BDF}
SAMPLE_BYTES = {EDF: 2, BDF: 3}
FORMAT_NAME = {EDF: "EDF", BDF: "BDF"}
ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
TRIGGERS = ("status", "trigger")
# Bytes of each field of a signal, in the order of the header.
FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
COPY_AGAIN = "Copy or export the file again"


@dataclass(frozen=True)
class EdfSignal:
    """One signal of the header: value = gain * integer + offset."""

    label: str
    unit: str
    gain: float
    offset: float
    n_samples: int  # in a data record
    first: int  # its place in a data record, in samples

    @property
    def is_annotation(self) -> bool:
        """Whether it holds text rather than samples."""
        return self.label in ANNOTATIONS

    @property
    def is_trigger(self) -> bool:
        """Whether its values are trigger codes."""
        return self.label.lower() in TRIGGERS


@dataclass(frozen=True)
class EdfHeader:
    """What a file's header says, once it agrees with the file."""

    path: Path
    kind: bytes
    reserved: str
    n_records: int
    record_s: float
    signals: tuple[EdfSignal, ...]
    notes: tuple[str, ...] = ()
    patient: str = ""  # the field "local patient identification"

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample: 2 in EDF, 3 in BDF."""
        return SAMPLE_BYTES[self.kind]

    @property
    def data_offset(self) -> int:
        """Byte of the first data record."""
        return 256 * (len(self.signals) + 1)

    @property
    def record_samples(self) -> int:
        """Samples of all signals in a data record."""
        return sum(signal.n_samples for signal in self.signals)

    @property
    def is_discontinuous(self) -> bool:
        """EDF+D: the records' time stamps say where each lies."""
        return self.reserved[:5] in ("EDF+D", "BDF+D")


def read_header(path: Path) -> EdfHeader:
    """Parse and check a header.

    Raises
    ------
    DataError
        If the file is neither EDF nor BDF, its name says the other, a field is not the number it should be, or
        the file holds less than the header promises.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(256)
        kind = check_kind(path, head)
        n_signals = integer(path, head[252:256], "the number of signals")
        if n_signals < 1:
            raise damaged(path, f"it announces {n_signals} signals")
        if size < 256 * (n_signals + 1):
            raise damaged(path, f"it announces {n_signals} signals and ends before describing them")
        if integer(path, head[184:192], "the header's length") != 256 * (n_signals + 1):
            raise damaged(path, f"its length does not fit {n_signals} signals")
        columns = [[file.read(width) for _ in range(n_signals)] for width in FIELDS]
    record_s = number(path, head[244:252], "the length of a data record")
    signals, notes = parse_signals(path, columns, kind)
    header = EdfHeader(path, kind, text(head[192:236]), 0, record_s, signals, notes, text(head[8:88]))
    if not any(not signal.is_annotation for signal in signals):
        raise DataError("This file holds annotations and no signals", path, "Give the file that holds the signals")
    if record_s <= 0:
        raise damaged(path, f"its data records are {record_s:g} s long")
    return with_records(header, integer(path, head[236:244], "the number of data records"), size)


def check_kind(path: Path, head: bytes) -> bytes:
    """EDF or BDF by the first bytes, which must be what the file's name says."""
    if len(head) < 256:
        raise damaged(path, f"the file is {len(head)} bytes long, and a header has at least 256")
    kind = head[:8]
    if kind not in SAMPLE_BYTES:
        raise DataError(
            f"This is not an EDF or BDF file: it begins with {kind!r}", path, "Give the file the suffix of its format"
        )
    expected = SUFFIXES.get(path.suffix.lower(), kind)
    if kind != expected:
        raise DataError(
            f"This file is named like {FORMAT_NAME[expected]} and begins like {FORMAT_NAME[kind]}",
            path,
            "Give it the suffix of the format that it has",
        )
    return kind


def parse_signals(path: Path, columns: list[list[bytes]], kind: bytes) -> tuple[tuple[EdfSignal, ...], tuple[str, ...]]:
    """The signals with their scales, and what was wrong with a scale; codes in BDF are the integers themselves."""
    signals: list[EdfSignal] = []
    notes = []
    first = 0
    for index, label in enumerate(text(field) for field in columns[0]):
        low, high, digital_low, digital_high = (
            number(path, columns[field][index], f"a limit of signal {label!r}") for field in (3, 4, 5, 6)
        )
        n_samples = integer(path, columns[8][index], f"the samples of signal {label!r}")
        if n_samples < 0:
            raise damaged(path, f"signal {label!r} has {n_samples} samples in a data record")
        unit, gain, offset = unit_name(text(columns[2][index])), 1.0, 0.0
        signal = EdfSignal(label, unit, gain, offset, n_samples, first)
        if not signal.is_annotation and not (signal.is_trigger and kind == BDF):
            if high == low or digital_high == digital_low:
                notes.append(f"Channel {label} has no physical range, so its values are the file's integers")
                signal = replace(signal, unit="NU")
            else:
                gain = (high - low) / (digital_high - digital_low)
                signal = replace(signal, gain=gain, offset=low - digital_low * gain)
        signals.append(signal)
        first += n_samples
    return tuple(signals), tuple(notes)


def with_records(header: EdfHeader, promised: int, size: int) -> EdfHeader:
    """The header with the number of data records that the file holds."""
    record_bytes = header.record_samples * header.sample_bytes
    if not record_bytes:
        raise damaged(header.path, "its data records hold no samples")
    held, rest = divmod(size - header.data_offset, record_bytes)
    if promised > held:
        raise DataError(
            f"This file is cut short: its header announces {promised} data records, and it holds {held}",
            header.path,
            COPY_AGAIN,
        )
    if held < 1:
        raise DataError("This file holds no data records", header.path, COPY_AGAIN)
    notes = []
    if promised < 0:
        notes.append(f"The header does not say how many data records there are; the file holds {held}")
    elif promised < held:
        notes.append(f"The header announces {promised} data records, and the file holds {held}; all are read")
    if rest:
        notes.append(f"{rest} bytes after the last whole data record are left out")
    return replace(header, n_records=held, notes=(*header.notes, *notes))


def text(field: bytes) -> str:
    """A field without its padding; EDF is ASCII, and what is not is read as Latin-1 (Shift-JIS for micro)."""
    return field.replace(b"\x83\xca", b"u").split(b"\x00", 1)[0].decode("latin-1").strip()


def number(path: Path, field: bytes, what: str) -> float:
    """A finite number from a field; a decimal comma counts as a point."""
    try:
        value = float(text(field).replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise damaged(path, f"{what} is {text(field)!r}, which is not a number")
    return value


def integer(path: Path, field: bytes, what: str) -> int:
    """A whole number from a field."""
    value = number(path, field, what)
    if value != round(value):
        raise damaged(path, f"{what} is {text(field)!r}, which is not a whole number")
    return round(value)


def damaged(path: Path, why: str) -> DataError:
    """The error for a header that cannot be trusted."""
    return DataError(f"The header of this file is damaged or cut short: {why}", path, COPY_AGAIN)
