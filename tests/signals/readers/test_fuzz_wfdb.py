"""Damaged WFDB files, 200 of each sort: read as wfdb reads them, or refused in one paragraph."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import FUZZ, damages
from hypothesis import given
from hypothesis import strategies as st

from biocl.errors import DataError
from biocl.signals.readers.formats import open_recording
from biocl.signals.readers.wfdb_annotations import SYMBOLS, read_events, read_marks

N = 60
MOST_BYTES = 60_000_000
MOST_SECONDS = 5.0
WORDS = [b"0", b"9", b"-", b"/", b".", b"(", b")", b":", b"+", b"x", b"\n", b" ", b"#", b"\xb5"]


@pytest.fixture(params=["16", "212"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A record of two leads and eight marks."""
    import wfdb

    signal = np.random.default_rng(0).integers(-900, 900, size=(N, 2)) / 200
    wfdb.wrsamp(
        "r", 100, ["mV", "mV"], ["II", "V1"], p_signal=signal, fmt=[request.param] * 2,
        adc_gain=[200.0, 200.0], baseline=[0, 0], comments=["a comment"], write_dir=str(tmp_path),
    )  # fmt: skip
    wfdb.wrann(
        "r", "atr", np.array([3, 9, 20, 31, 40, 44, 50, 58]), list("N+VN~NNA"),
        aux_note=["", "(AFIB", "", "", "", "note", "", ""], write_dir=str(tmp_path),
    )  # fmt: skip
    return tmp_path / "r"


def refusal(error: DataError) -> None:
    """One clear paragraph."""
    text = str(error)
    assert "Where: " in text
    assert "\n" not in text
    assert len(text) < 2000


def fuzz(path: Path, check: Callable[[bytes], None], *, text: bool = False) -> None:
    """Damage a file 200 times; both outcomes must come up, and none may take long."""
    whole = path.read_bytes()
    outcomes = []

    @FUZZ
    @given(st.one_of(damages(whole, words=WORDS if text else ()), st.just(whole)))
    def once(data: bytes) -> None:
        path.write_bytes(data)
        begin = time.process_time()
        try:
            check(data)
        except DataError as error:
            refusal(error)
            outcomes.append(False)
        else:
            outcomes.append(True)
        assert time.process_time() - begin < MOST_SECONDS

    once()
    assert {True, False} == set(outcomes)


def test_headers(record: Path) -> None:
    import wfdb

    def check(data: bytes) -> None:
        found = open_recording(record, name="a", patient="p")
        tracemalloc.start()
        try:
            signal = found.signal()
            assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        finally:
            tracemalloc.stop()
        expected = wfdb.rdrecord(str(record))
        np.testing.assert_allclose(signal, expected.p_signal, rtol=3e-7, atol=1e-30, equal_nan=True)
        assert found.sfreq == expected.fs
        assert found.channel_names == tuple(expected.sig_name)

    fuzz(record.with_suffix(".hea"), check, text=True)


def test_signals(record: Path) -> None:
    is_212 = " 212 " in record.with_suffix(".hea").read_text()

    def check(data: bytes) -> None:
        found = open_recording(record, name="a", patient="p").signal()
        assert found.shape == (N, 2)
        digital = np.array(slowly_decoded(data, 2 * N, is_212=is_212)).reshape(N, 2)
        expected = np.where(digital == (-(2**11) if is_212 else -(2**15)), np.nan, digital / 200)
        np.testing.assert_array_equal(found, expected.astype(np.float32))

    fuzz(record.with_suffix(".dat"), check)


def slowly_decoded(data: bytes, count: int, *, is_212: bool) -> list[int]:
    """Samples of format 16, or of 212 (two of 12 bits in three bytes), one by one."""
    found = []
    for index in range(count):
        if is_212:
            first = index // 2 * 3
            high, low = data[first + 1], data[first + 2 * (index % 2)]
            value, sign = ((high >> 4 * (index % 2)) & 15) << 8 | low, 1 << 11
        else:
            value, sign = data[2 * index] | data[2 * index + 1] << 8, 1 << 15
        found.append(value - 2 * sign if value & sign else value)
    return found


def slowly_marked(data: bytes) -> list[tuple[int, int]]:
    """Sample and code of every mark, word by word."""
    found, sample, at = [], 0, 0
    while True:
        word = data[at] | data[at + 1] << 8
        code, value = word >> 10, word & 1023
        at += 2
        if word == 0:
            return found
        if code == 59:
            high, low = data[at] | data[at + 1] << 8, data[at + 2] | data[at + 3] << 8
            sample += (high << 16 | low) - (1 << 32) * (high >> 15)
            at += 4
        elif code == 63:
            if at + value + value % 2 > len(data):
                raise IndexError
            at += value + value % 2
        elif code <= 49:
            sample += value
            if code:
                found.append((sample, code))


def test_annotations(record: Path) -> None:
    path = record.with_suffix(".atr")

    def check(data: bytes) -> None:
        marks = read_marks(path)
        read_events(path, 100.0, N / 100)
        expected = slowly_marked(data)
        assert len(marks.sample) <= len(expected)  # less the notes that describe the file
        assert [sample for sample, code in expected if code != 22] == marks.sample[marks.symbol != '"'].tolist()
        symbols = [SYMBOLS.get(code, "") for _, code in expected if code != 22]
        assert symbols == marks.symbol[marks.symbol != '"'].tolist() or "definitions" in repr(data)

    fuzz(path, check)
    path.write_bytes(path.read_bytes()[:6])
    with pytest.raises(DataError, match="ends in the middle"):
        read_marks(path)


def test_marks_outside_the_record(record: Path) -> None:
    """A mark more than a second after the end belongs to another record."""
    with pytest.raises(DataError, match=r"marks 0.03 s, and its record lasts -1 s"):
        read_events(record.with_suffix(".atr"), 100.0, -1.0)
