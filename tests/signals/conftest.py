"""Writers of EDF and GDF files, byte by byte as the formats say."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


def padded(value: Any, width: int) -> bytes:
    return str(value).encode("latin-1").ljust(width)[:width]


def edf_bytes(
    signals: Sequence[dict[str, Any]],
    *,
    record_s: float = 1.0,
    n_records: int | None = None,
    reserved: str = "",
    tals: Sequence[bytes] | None = None,
    bdf: bool = False,
) -> bytes:
    """An EDF or BDF file.

    Each signal has `label`, `unit`, `per_record` and integers `digital`; limits -100..100 for -1000..1000 unless
    `limits` (physical low, high, digital low, high) says otherwise. `tals`: the text of each record.
    """
    width = 3 if bdf else 2
    signals = [dict(signal) for signal in signals]
    count = len(signals[0]["digital"]) // signals[0]["per_record"]
    if tals is not None:
        size = -(-max(len(tal) + 1 for tal in tals) // width)
        text = b"".join(tal.ljust(size * width, b"\x00") for tal in tals)
        label = "BDF Annotations" if bdf else "EDF Annotations"
        signals.append({"label": label, "unit": "", "per_record": size, "bytes": text})
    fields: list[list[bytes]] = [[] for _ in range(10)]
    for signal in signals:
        limits = signal.get("limits", (-100, 100, -1000, 1000))
        values = (signal["label"], "", signal["unit"], *limits, "", signal["per_record"], "")
        for column, value, size in zip(fields, values, (16, 80, 8, 8, 8, 8, 8, 80, 8, 32), strict=True):
            column.append(padded(value, size))
    head = b"\xffBIOSEMI" if bdf else b"0       "
    head += padded("X X X X", 80) + padded("Startdate 01-JAN-2020 X X X", 80) + b"01.01.2000.00.00"
    head += padded(256 * (len(signals) + 1), 8) + padded(reserved, 44)
    head += padded(count if n_records is None else n_records, 8) + padded(f"{record_s:g}", 8) + padded(len(signals), 4)
    body = []
    for record in range(count):
        for signal in signals:
            n = signal["per_record"]
            if "bytes" in signal:
                body.append(signal["bytes"][record * n * width : (record + 1) * n * width])
            else:
                values = np.asarray(signal["digital"][record * n : (record + 1) * n], dtype="<i4")
                body.append(np.ascontiguousarray(values.view(np.uint8).reshape(-1, 4)[:, :width]).tobytes())
    return head + b"".join(b"".join(column) for column in fields) + b"".join(body)


def gdf_bytes(
    digital: NDArray[np.int16],
    *,
    version: str = "2.20",
    sfreq: int = 100,
    unit: str = "uV",
    names: Sequence[str] = ("Fp1", "Cz", "ECG"),
    events: Sequence[tuple[int, int, int]] = (),
) -> bytes:
    """A GDF file of one sample a record; `digital` (n_times, n_chans), events (position from 1, type, duration)."""
    n_times, n_chans = digital.shape
    old = float(version) < 1.9
    variable = [padded(name, 16) for name in names] + [bytes(80)] * n_chans
    low, high = struct.pack("<d", -100.0), struct.pack("<d", 100.0)
    if old:
        head = f"GDF {version}".encode() + bytes(160) + b"2020010100000000" + struct.pack("<q", 256 * (n_chans + 1))
        head += bytes(44) + struct.pack("<qIII", n_times, 1, sfreq, n_chans)
        variable += [padded(unit, 8)] * n_chans + [low] * n_chans + [high] * n_chans
        variable += [struct.pack("<q", -1000)] * n_chans + [struct.pack("<q", 1000)] * n_chans + [bytes(80)] * n_chans
    else:
        head = f"GDF {version}".encode() + bytes(176) + struct.pack("<H", n_chans + 1) + bytes(50)
        head += struct.pack("<qIIHH", n_times, 1, sfreq, n_chans, 0)
        code = {"uV": 4275, "mV": 4274, "": 0}[unit]
        variable += [bytes(6)] * n_chans + [struct.pack("<H", code)] * n_chans + [low] * n_chans + [high] * n_chans
        variable += [struct.pack("<d", -1000.0)] * n_chans + [struct.pack("<d", 1000.0)] * n_chans
        variable += [bytes(80)] * n_chans
    variable += [struct.pack("<i", 1)] * n_chans + [struct.pack("<i", 3)] * n_chans + [bytes(32)] * n_chans
    position, kind, duration = (np.array([event[i] for event in events], dtype="<u4") for i in range(3))
    count = len(events)
    table = b"\x03" + (
        sfreq.to_bytes(3, "little") + struct.pack("<I", count)
        if old
        else count.to_bytes(3, "little") + struct.pack("<f", sfreq)
    )
    table += position.tobytes() + kind.astype("<u2").tobytes() + bytes(2 * count) + duration.tobytes()
    return head + b"".join(variable) + digital.astype("<i2").tobytes() + table


@pytest.fixture(scope="session")
def make_edf() -> Callable[..., bytes]:
    """`edf_bytes`."""
    return edf_bytes


@pytest.fixture(scope="session")
def make_gdf() -> Callable[..., bytes]:
    """`gdf_bytes`."""
    return gdf_bytes
