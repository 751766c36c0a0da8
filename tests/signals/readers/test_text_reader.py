"""Text tables against a slow reader, cell by cell, and what is said of rows and cells that are wrong."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.errors import DataError
from biocl.signals.readers import text_reader
from biocl.signals.readers.layout import TableLayout
from biocl.signals.readers.text_reader import read_text
from biocl.signals.recording import Recording

PACK = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


def reading(path: Path, text: str | bytes, sfreq: float | None = 10.0, **layout: Any) -> Recording:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(PACK.get(path.suffix, bytes)(data))
    described = TableLayout.model_validate(layout) if layout else None
    return read_text(path, name="a", patient="p", sfreq=sfreq, layout=described)


def refusal(path: Path, text: str | bytes, **layout: Any) -> str:
    with pytest.raises(DataError) as caught:
        reading(path, text, **layout)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.xz", ".csv.bz2"])
def test_a_table_with_units_and_gaps(tmp_path: Path, suffix: str) -> None:
    found = reading(tmp_path / f"a{suffix}", "II (mV),wrist x (m/s2)\n1,2\n3.5,\n-1e-3,4\n")
    np.testing.assert_array_equal(found.signal(), np.array([[1, 2], [3.5, np.nan], [-1e-3, 4]], dtype=np.float32))
    assert [(c.name, c.kind, c.unit) for c in found.channels] == [("II", "ecg", "mV"), ("wrist x", "acc", "m/s2")]


CELLS = st.one_of(
    st.floats(-(2.0**90), 2.0**90, width=32).map(lambda value: f"{value:.9g}"),
    st.integers(-(2**31), 2**31).map(str),
    st.sampled_from(["", "nan", "NaN", " 7 ", "+1", ".5", "1.", "1E3", "NA", "-99", "-99.0"]),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12),
    sign=st.sampled_from([("comma", ","), ("tab", "\t"), ("semicolon", ";")]),
    piece=st.sampled_from([40, 200, 2**22]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_equals_a_slow_reader(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    sign: tuple[str, str],
    piece: int,
    ending: str,
) -> None:
    """Whatever way the lines are cut into pieces, and whether or not the fast parser can take them."""
    rows = [("1", "2", "3"), *rows]  # every column holds a number
    path = tmp_path_factory.mktemp("t") / "a.txt"
    text = ending.join([sign[1].join(row) for row in [("x", "y", "z"), *rows]]) + ending
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_reader, "PIECE", piece)
        found = reading(path, text, delimiter=sign[0], missing=["NA", "-99"]).signal()
    expected = [
        [np.nan if cell.strip() in ("", "nan", "NaN", "NA", "-99", "-99.0") else float(cell) for cell in row]
        for row in rows
    ]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("a\tb\n1\t2\n3\t4\n", {}),
        ("a;b\n1;2\n3;4\n", {}),
        ("a b\n1 2\n3  4\n", {}),
        ("\ufeffa,b\n1,2\n3,4", {}),
        ("a,b,\n1,2,\n3,4,\n", {}),
        ('"a" , "b"\n"1","2"\n3,4\n\n\n', {}),
        ("1,2.5\n3,4\n", {"header": False, "columns": {1: {"channel": "a"}, 2: {"channel": "b"}}}),
        ("made by X\n\na;b\n1,0;2,0\n3;4\n", {"skip_rows": 2, "decimal": ","}),
        ("a   b  \n1.0 2  \n3   4\n", {"widths": [4, 3]}),
        ("t,a,b,note\nx,1,2,q\ny,3,4,r\n", {"columns": {"a": {}, "b": {}}}),
    ],
)
def test_many_ways_to_write_a_table(tmp_path: Path, text: str, layout: dict[str, Any]) -> None:
    found = reading(tmp_path / "a.csv", text, **layout)
    expected = [[1, 2.5 if text.startswith("1,2.5") else 2], [3, 4]]
    np.testing.assert_array_equal(found.signal(), np.array(expected, dtype=np.float32))
    assert found.channel_names == ("a", "b")


def test_columns_of_text_are_left_out_and_named(tmp_path: Path) -> None:
    found = reading(tmp_path / "a.csv", "date,x,what\n2016-07-01 00:00:00,1,sit\n2016-07-01 01:00:00,2,walk\n")
    assert found.channel_names == ("x",)
    assert found.notes == ("Columns of text are left out: date, what",)


def test_a_table_of_numbers_only_has_no_header(tmp_path: Path) -> None:
    found = reading(tmp_path / "a.txt.gz", "0.7855,1.611\n0.7818,1.61\n")
    assert found.n_times == 2
    assert found.channel_names == ("channel-1", "channel-2")
    assert "called by their number" in found.notes[0]
    assert "may be a header" in refusal(tmp_path / "a.csv", "0,1,2\n5,6,7\n")
    assert reading(tmp_path / "a.csv", "0,1,2\n5,6,7\n", header=True).channel_names == ("0", "1", "2")
    assert reading(tmp_path / "a.csv", "0,1,2\n5,6,7\n", header=False).n_times == 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["empty"]),
        ("\n\n", ["empty"]),
        ("a,b\n", ["no rows of numbers"]),
        ("a,b\n1,2\n3\n", ["1 cell, the table has 2", "line 3"]),
        ("a,b\n1,2\n3\n4,5,6\n", ["1 cell", "line 3"]),
        ("a,b\n1,2,3\n", ["3 cells, the table has 2", "line 2"]),
        ("a,b\n1,2\n\n3,4\n", ["line 3"]),
        ("a,b\n1,x\n2,3\n", ["'x' in column 2 ('b') is not a number", "line 2"]),
        ("a,b\n" + "1,2\n" * 2000 + "1,two\n", ["'two' in column 2 ('b')", "line 2002"]),
        ("a,b\n1,inf\n2,3\n", ["'inf' in column 2"]),
        ("a,b\n1,1e39\n2,3\n", ["'1e39' in column 2"]),
        ("a;b\n1,5;2\n", ["'1,5' in column 1", "decimal: ','"]),
        ("a,b\nx,y\n", ["None of its columns holds numbers"]),
        ("a,a\n1,2\n", ["Two of its channels are named 'a'"]),
        ("a,\n1,2\n", ["column 2 has no name"]),
        ("a,b\n1,2\n3,4\x00\n", ["binary data"]),
        ("a" * (5 * 2**20), ["longer than"]),
    ],
)
def test_a_broken_table(tmp_path: Path, text: str, parts: list[str]) -> None:
    found = refusal(tmp_path / "a.csv", text)
    for part in parts:
        assert part in found


def test_broken_bytes(tmp_path: Path) -> None:
    assert "not UTF-8" in refusal(tmp_path / "a.csv", "µV,b\n1,2\n".encode("latin-1"))
    assert reading(tmp_path / "a.csv", "x (µV)\n1\n".encode("latin-1"), encoding="latin-1").channels[0].unit == "µV"
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 5000)
    path = tmp_path / "a.csv.gz"
    for data in (whole[: len(whole) // 2], b"no gzip", whole[:40] + b"\0" + whole[41:]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"cannot be read.*a\.csv\.gz"):
            read_text(path, name="a", patient="p", sfreq=1.0)
    (tmp_path / "a.csv.xz").write_bytes(lzma.compress(b"a,b\n" + b"1,2\n" * 5000)[:80])
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path / "a.csv.xz", name="a", patient="p", sfreq=1.0)


def test_fixed_width_rows_of_another_length(tmp_path: Path) -> None:
    assert "line 3" in refusal(tmp_path / "a.txt", "a   b  \n1   2  \n3\n", widths=[4, 3])
    assert "line 2" in refusal(tmp_path / "a.txt", "a   b  \n1   2  9\n", widths=[4, 3])


def test_rows_of_nothing_but_delimiters_are_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they stand at the end of a piece or of the file; blank lines at the end are nothing."""
    for text, layout in (
        ("a\tb\n" + "1\t2\n\t\n" * 30 + "\n \n", {"delimiter": "tab"}),
        ("a,b\n" + "1,2\n,\n" * 30 + "\n\n", {}),
        ("a b \n" + "1 2 \n    \n" * 30 + "\n\n", {"widths": [2, 2]}),
    ):
        for piece in (7, 11, 2**22):
            monkeypatch.setattr(text_reader, "PIECE", piece)
            found = reading(tmp_path / "a.txt", text, **layout).signal()
            np.testing.assert_array_equal(found, np.array([[1, 2], [np.nan, np.nan]] * 30, dtype=np.float32))


def test_rates(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sampling rate of a\.csv is not known"):
        reading(tmp_path / "a.csv", "a\n1\n2\n", None)
    path = tmp_path / "a.csv"
    assert read_text(path, name="a", patient="p", layout=TableLayout(sfreq=7.0)).sfreq == 7
    assert read_text(path, name="a", patient="p", sfreq=8.0, layout=TableLayout(sfreq=7.0)).sfreq == 8


def stamped(times: list[str]) -> str:
    return "t,a\n" + "".join(f"{time},{index}\n" for index, time in enumerate(times))


@pytest.mark.parametrize(
    ("unit", "write"),
    [
        ("s", lambda i: f"{1.7e9 + i / 50:.3f}"),
        ("ms", lambda i: f"{1_700_000_000_000 + 20 * i}"),
        ("us", lambda i: f"{20_000 * i}"),
        ("ns", lambda i: f"{20_000_000 * i}"),
        ("iso", lambda i: f"2024-05-01T09:30:{i / 50:06.3f}Z"),
        ("iso", lambda i: f"2024-05-01 09:30:{i / 50:06.3f}"),
    ],
)
def test_time_stamps_give_the_rate(tmp_path: Path, unit: str, write: Any) -> None:
    found = reading(
        tmp_path / "a.csv", stamped([write(i) for i in range(200)]), None, time={"column": "t", "unit": unit}
    )
    assert found.sfreq == 50
    assert found.channel_names == ("a",)
    assert abs(found.n_times - 200) <= 1
    np.testing.assert_allclose(found.signal()[:199, 0], np.arange(199), atol=0.02)


def test_a_gap_in_the_stamps_is_not_filled(tmp_path: Path) -> None:
    times = [i / 50 for i in range(400) if not 100 <= i < 200]
    found = reading(tmp_path / "a.csv", stamped([f"{t:.3f}" for t in times]), None, time={"column": "t"})
    missing = np.isnan(found.signal()[:, 0])
    assert 95 <= missing.sum() <= 101
    assert missing[105:195].all()


@pytest.mark.parametrize(
    ("times", "part"),
    [
        ([*range(100), *range(50)], "backwards"),
        ([5] * 40, "no sampling rate"),
        ([*range(50), ""], "not a number"),
        ([*range(50), "soon"], "'soon' in column 1 ('t') is not a number"),
        ([*range(50), 10**9], "unit of time"),
    ],
)
def test_stamps_that_make_no_sense(tmp_path: Path, times: list[Any], part: str) -> None:
    with pytest.raises(DataError, match=r"a\.csv") as caught:
        reading(tmp_path / "a.csv", stamped([str(t) for t in times]), None, time={"column": "t"})
    assert part in str(caught.value)


def test_a_bad_date(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'1.5.24 9:30' in column 't' is not an ISO date.*line 2"):
        reading(tmp_path / "a.csv", "t,a\n1.5.24 9:30,1\n", None, time={"column": "t", "unit": "iso"})


def test_memory_follows_the_signal_not_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reader, "PIECE", 2**16)
    row = "0.123456789012345678901234567890," * 3 + "0.5\n"
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(("a,b,c,d\n" + row * 60_000).encode(), 1))
    read_text(path, name="a", patient="p", sfreq=1.0)
    tracemalloc.start()
    found = read_text(path, name="a", patient="p", sfreq=1.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.n_times == 60_000
    assert peak < 4_500_000  # the signal is 0.96 MB, twice while it is put together; the text 6.2 MB


def test_real_tables(test_data: Path) -> None:
    import pandas

    ett = test_data / "forecasting" / "ETT-small" / "ETTh1.csv"
    found = read_text(ett, name="a", patient="p", sfreq=1 / 3600)
    expected = pandas.read_csv(ett)
    assert found.channel_names == tuple(expected.columns[1:])
    np.testing.assert_allclose(found.signal(), expected.iloc[:, 1:].to_numpy(), rtol=1e-6)
    imu = next((test_data / "imu" / "physical-therapy-exercises").rglob("test.txt.xz"))
    found = read_text(imu, name="a", patient="p", sfreq=25.0, layout=TableLayout(time=None))
    expected = pandas.read_csv(imu, sep=";")
    np.testing.assert_allclose(found.signal(), expected.to_numpy(), rtol=1e-6)
    assert [channel.kind for channel in found.channels[1:4]] == ["acc"] * 3
