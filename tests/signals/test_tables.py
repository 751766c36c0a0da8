"""NumPy arrays and delimited text as recordings."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from biocl.errors import DataError
from biocl.signals.tables import read_csv, read_npy


def test_an_array_is_mapped(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((50, 3))
    np.save(tmp_path / "a.npy", values)
    found = read_npy(tmp_path / "a.npy", 10.0, name="a", patient="p")
    np.testing.assert_array_equal(found.read(5, 20), values[5:20].astype(np.float32))
    assert found.channel_names == ("channel-1", "channel-2", "channel-3")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_table_with_units_and_gaps(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    text = "II (mV),wrist x (m/s2)\n1,2\n3.5,\n-1e-3,4\n"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    found = read_csv(path, 10.0, name="a", patient="p")
    np.testing.assert_array_equal(found.signal(), np.array([[1, 2], [3.5, np.nan], [-1e-3, 4]], dtype=np.float32))
    assert [(c.name, c.kind, c.unit) for c in found.channels] == [
        ("II", "ecg", "mV"),
        ("wrist x", "acc", "m/s2"),
    ]


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b\n1,2\n3\n", "a,b\n1,2,3\n", "a,b\n1,x\n2,3\n"])
def test_a_broken_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=r"table.*a\.csv"):
        read_csv(tmp_path / "a.csv", 10.0, name="a", patient="p")


def test_a_broken_array(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="not a NumPy array"):
        read_npy(tmp_path / "a.npy", 10.0, name="a", patient="p")
    np.save(tmp_path / "b.npy", np.zeros(5))
    with pytest.raises(DataError, match=r"shape \(5,\)"):
        read_npy(tmp_path / "b.npy", 10.0, name="b", patient="p")
    (tmp_path / "c.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_csv(tmp_path / "c.csv.gz", 10.0, name="c", patient="p")
