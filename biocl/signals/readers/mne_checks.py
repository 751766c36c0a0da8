"""Does a file hold what its header promises? Asked before mne opens it, which would believe the header."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from biocl.errors import DataError
from biocl.signals.readers.matlab_checks import check_matlab

COPY_AGAIN = "Copy or export the file again"
# GDF's numbers of sample types -> bytes.
GDF_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 16: 4, 17: 8}
GDF_UNITS = {4275: "uV", 4274: "mV", 4256: "V"}
BRAINVISION_BYTES = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}
EGI_BYTES = {2: 2, 4: 4, 6: 8}
FIF_HEAD = struct.Struct(">iIii")  # kind, type, size, next


def damaged(path: Path, why: str) -> DataError:
    """The error for a header that cannot be trusted."""
    return DataError(f"The header of this file is damaged or cut short: {why}", path, COPY_AGAIN)


def cut_short(path: Path, needed: int, size: int) -> DataError:
    """The error for a file that is shorter than its header says."""
    return DataError(
        f"This file is cut short: its header announces {needed} bytes, and it holds {size}", path, COPY_AGAIN
    )


def check_gdf(path: Path) -> dict[str, Any]:
    """Sizes of a GDF file.

    Returns
    -------
    dict
        ``exclude``: the slower channels, which mne cannot read in pieces. ``units``: for every other channel its
        unit, and the factor from mne's values to it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(256)
        match = re.fullmatch(rb"GDF (\d\.\d\d) ?", head[:8].rstrip(b"\x00"))
        if match is None or len(head) < 256:
            raise damaged(path, f"it begins with {head[:8]!r}, and a GDF file with its version")
        version = float(match[1])
        old = version < 1.9
        offset = int.from_bytes(head[184:192], "little") if old else 256 * int.from_bytes(head[184:186], "little")
        n_records, _, _ = struct.unpack("<qII", head[236:252])
        n_chans = int.from_bytes(head[252:256] if old else head[252:254], "little")
        if n_chans < 1 or offset != 256 * (n_chans + 1):
            raise damaged(path, f"its length ({offset} bytes) does not fit {n_chans} channels")
        variable = file.read(256 * n_chans)
        if len(variable) < 256 * n_chans:
            raise cut_short(path, offset, size)
        names = [variable[16 * i : 16 * i + 16].split(b"\x00")[0].decode("latin-1").strip() for i in range(n_chans)]
        per_record = np.frombuffer(variable, "<i4", n_chans, 216 * n_chans).astype(np.int64)
        types = np.frombuffer(variable, "<i4", n_chans, 220 * n_chans).tolist()
        if n_records < 1 or per_record.min() < 1:
            raise damaged(path, f"it announces {n_records} data records of {per_record.min()} samples")
        if unknown := sorted(set(types) - set(GDF_BYTES)):
            raise damaged(path, f"sample type {unknown[0]} does not exist")
        end = offset + n_records * sum(int(n) * GDF_BYTES[t] for n, t in zip(per_record, types, strict=True))
        if end > size:
            raise cut_short(path, end, size)
        check_gdf_events(path, file, end, size, version)
    slow = {name for name, n in zip(names, per_record.tolist(), strict=True) if n < per_record.max()}
    if old:
        fields = (variable[96 * n_chans + 8 * i :][:8].split(b"\x00")[0].decode("latin-1") for i in range(n_chans))
        units = ["uV" if unit.startswith("uV") else unit.strip() for unit in fields]
        factors = {"uV": 1e6}  # mne takes every other unit of GDF 1 as it is
    else:
        units = [GDF_UNITS.get(code, "") for code in np.frombuffer(variable, "<u2", n_chans, 102 * n_chans).tolist()]
        factors = {"uV": 1e6, "mV": 1e3}
    kept = [(unit, factors.get(unit, 1.0)) for name, unit in zip(names, units, strict=True) if name not in slow]
    return {"exclude": sorted(slow), "units": kept}


def check_gdf_events(path: Path, file: Any, end: int, size: int, version: float) -> None:
    """The table of events behind the data, if there is one, is whole."""
    file.seek(end)
    head = file.read(8)
    if not head:
        return
    if len(head) < 8 or head[0] not in (1, 3):
        raise damaged(path, "its table of events is cut short or of no known kind")
    n_events = int.from_bytes(head[1:4] if version >= 1.94 else head[4:8], "little")
    if end + 8 + n_events * (6 if head[0] == 1 else 12) > size:
        raise damaged(path, f"it announces {n_events} events, which the file does not hold")


def check_brainvision(path: Path) -> dict[str, Any]:
    """The data file of a BrainVision header is there and holds whole time steps."""
    content = path.read_bytes().decode("latin-1")
    if not content.lstrip("ï»¿").startswith(("Brain Vision", "BrainVision")):
        raise damaged(path, "a BrainVision header begins with the words Brain Vision")
    name, n_chans = field(path, content, "DataFile"), field(path, content, "NumberOfChannels")
    data = path.parent / decoded(path, name, content)
    if not data.is_file():
        raise DataError(
            f"The data file of this header, {data.name}, is missing",
            path,
            "Put it beside the header, under that name; if the files were renamed, write the new name into the header",
        )
    described = len(set(re.findall(r"(?im)^\s*ch(\d+)\s*=", content.split("[Coordinates]")[0])))
    if not n_chans.isdecimal() or int(n_chans) < 1 or int(n_chans) != described:
        raise damaged(path, f"it announces {n_chans} channels and describes {described}")
    size = data.stat().st_size
    if not size:
        raise DataError("This file is empty", data, COPY_AGAIN)
    if field(path, content, "DataFormat").upper() == "ASCII":
        return {}
    step = int(n_chans) * BRAINVISION_BYTES.get(field(path, content, "BinaryFormat").upper(), 1)
    if size % step:
        raise DataError(
            f"This file is cut short: its {size} bytes are not whole time steps of {n_chans} channels ({step} bytes)",
            data,
            COPY_AGAIN,
        )
    points = re.search(r"(?im)^\s*DataPoints\s*=\s*(\S+)", content)
    if points and (not points[1].isdecimal() or int(points[1]) * step > size):
        raise DataError(
            f"This file is cut short: its header announces {points[1]} time steps, and it holds {size // step}",
            data,
            COPY_AGAIN,
        )
    return {}


def field(path: Path, content: str, key: str) -> str:
    """The value of a key of a BrainVision header."""
    match = re.search(rf"(?im)^[ \t]*{key}[ \t]*=[ \t]*([^\r\n]*?)[ \t]*$", content.replace("\r", "\n"))
    if match is None or not match[1]:
        raise damaged(path, f"it has no {key}")
    return match[1]


def decoded(path: Path, name: str, content: str) -> str:
    """A file name in the header's own code page."""
    utf8 = re.search(r"(?im)^\s*Codepage\s*=\s*UTF-?8", content) is not None
    raw = name.encode("latin-1")
    return raw.decode("utf-8", "replace") if utf8 else name


def check_egi(path: Path) -> dict[str, Any]:
    """Sizes of an EGI simple binary file; a folder (.mff) is left to mne."""
    if path.is_dir():
        return {}
    with path.open("rb") as file:
        head = file.read(36)
    if len(head) < 36:
        raise damaged(path, f"the file is {len(head)} bytes long, and a header has at least 36")
    version = int.from_bytes(head[:4], "big")
    if version not in EGI_BYTES:
        what = "holds segments, not one continuous signal" if version in (3, 5, 7) else "is no EGI simple binary file"
        raise DataError(f"This file {what}", path, "Export the continuous recording again")
    sfreq, n_chans = struct.unpack(">hh", head[20:24])
    n_samples, n_events = struct.unpack(">ih", head[30:36])
    if sfreq < 1 or n_chans < 1 or n_samples < 1 or n_events < 0:
        raise damaged(path, f"it announces {n_samples} samples of {n_chans} channels at {sfreq} Hz, {n_events} events")
    needed = 36 + 4 * n_events + n_samples * (n_chans + n_events) * EGI_BYTES[version]
    if needed > path.stat().st_size:
        raise cut_short(path, needed, path.stat().st_size)
    return {}


def check_nicolet(path: Path) -> dict[str, Any]:
    """The header beside a Nicolet .data file fits it."""
    header = path.with_suffix(".head")
    if not header.is_file():
        raise DataError("The header of this file is missing", header, "Put it beside the .data file")
    lines = dict(line.split("=", 1) for line in header.read_text("latin-1").splitlines() if "=" in line)
    try:
        n_chans, n_samples, width = (int(lines[key]) for key in ("num_channels", "num_samples", "sample_bytes"))
        names = lines["elec_names"].strip().strip("[]").split(",")
    except (KeyError, ValueError) as error:
        raise damaged(header, f"{error} is not there, or not a number") from error
    if n_chans < 1 or n_samples < 1 or len(names) != n_chans or width != 2:
        raise damaged(
            header, f"{n_samples} samples of {width} bytes of {n_chans} channels, {len(names)} of which are named"
        )
    size = path.stat().st_size
    if n_chans * n_samples * width > size:
        raise cut_short(path, n_chans * n_samples * width, size)
    return {}


def check_fif(path: Path) -> dict[str, Any]:
    """The tags of a FIF file follow each other to its end; a damaged one could lead a reader in a circle."""
    if path.suffix.lower() == ".gz":
        return {}
    size = path.stat().st_size
    place = 0
    with path.open("rb") as file:
        while place + FIF_HEAD.size <= size:
            file.seek(place)
            _, _, length, following = FIF_HEAD.unpack(file.read(FIF_HEAD.size))
            end = place + FIF_HEAD.size + length
            if length < 0 or end > size or (following > 0 and following < end):
                raise damaged(path, f"the entry at byte {place} does not end inside the file")
            if following < 0:
                return {}
            place = following or end
    if place != size:
        raise damaged(path, f"the entry at byte {place} is not whole")
    return {}


def check_eeglab(path: Path) -> dict[str, Any]:
    """A .set file is a MATLAB file, and a whole one."""
    check_matlab(path)
    return {}


Check = Callable[[Path], dict[str, Any]]
