"""Arrays of NumPy, MATLAB and Parquet files, and what is refused."""

from __future__ import annotations

import gzip
import io
import lzma
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biocl.errors import DataError
from biocl.signals.readers.array_reader import read_array
from biocl.signals.readers.layout import TableLayout
from biocl.signals.recording import Recording

VALUES = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)


def reading(path: Path, sfreq: float | None = 10.0, **layout: Any) -> Recording:
    described = TableLayout.model_validate(layout) if layout else None
    return read_array(path, name="a", patient="p", sfreq=sfreq, layout=described)


def matlab73(path: Path, **arrays: Any) -> Path:
    """A file as MATLAB writes it with -v7.3: a text block, then HDF5 with the axes turned."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = np.asarray(values).T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return path


def test_an_array_is_mapped(tmp_path: Path) -> None:
    values = VALUES.astype(np.float64)
    np.save(tmp_path / "a.npy", values)
    found = reading(tmp_path / "a.npy")
    np.testing.assert_array_equal(found.read(5, 20), values[5:20].astype(np.float32))
    assert found.channel_names == ("channel-1", "channel-2", "channel-3")
    values[7] = 5
    np.save(tmp_path / "a.npy", values)  # a new file of the same size: what is mapped is what is read
    assert reading(tmp_path / "a.npy").read(7, 8).tolist() == [[5, 5, 5]]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("pack", ["", ".gz", ".xz"])
def test_packed_arrays_of_either_order(tmp_path: Path, order: Any, pack: str) -> None:
    path = tmp_path / f"a.npy{pack}"
    file = io.BytesIO()
    np.save(file, np.asarray(VALUES, order=order))
    path.write_bytes({"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[pack](file.getvalue()))
    np.testing.assert_array_equal(reading(path).signal(), VALUES)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i2", "u1", "i8", ">i4", "bool"])
def test_every_kind_of_number(tmp_path: Path, dtype: str) -> None:
    values = (VALUES * 40).astype(np.int8).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", values)
    for name in ("a.npy", "a.npz"):
        np.testing.assert_array_equal(reading(tmp_path / name).signal(), values.astype(np.float32))


def test_the_only_table_of_an_archive(tmp_path: Path) -> None:
    from scipy.io import savemat

    content = {"signal": VALUES, "fs": 10.0, "name": "II"}
    np.savez(tmp_path / "a.npz", **content)
    savemat(tmp_path / "a.mat", content)
    matlab73(tmp_path / "b.mat", signal=VALUES, fs=[[10.0]])
    for name in ("a.npz", "a.mat", "b.mat"):
        np.testing.assert_array_equal(reading(tmp_path / name).signal(), VALUES)
    content["other"] = VALUES * 2
    np.savez(tmp_path / "a.npz", **content)
    savemat(tmp_path / "a.mat", content)
    matlab73(tmp_path / "b.mat", signal=VALUES, other=VALUES * 2)
    for name in ("a.npz", "a.mat", "b.mat"):
        with pytest.raises(DataError, match=r"2 tables of numbers.*signal 50×3.*variable: NAME"):
            reading(tmp_path / name)
        np.testing.assert_array_equal(reading(tmp_path / name, variable="other").signal(), VALUES * 2)
        with pytest.raises(DataError, match="no variable 'third'"):
            reading(tmp_path / name, variable="third")


def test_channels_first_must_be_said(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES.T)
    with pytest.raises(DataError, match=r"3 time steps of 50 channels.*channels-first"):
        reading(tmp_path / "a.npy")
    np.testing.assert_array_equal(reading(tmp_path / "a.npy", axis="channels-first").signal(), VALUES)
    assert len(reading(tmp_path / "a.npy", axis="time-first").channels) == 50


def test_columns_of_an_array_by_number(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    found = reading(tmp_path / "a.npy", columns={3: {"channel": "II", "unit": "mV"}, 1: {"channel": "V1"}})
    np.testing.assert_array_equal(found.read(2, 9), VALUES[2:9][:, [2, 0]])
    assert found.channel_names == ("II", "V1")
    stamped = np.column_stack([np.arange(50) * 20.0, VALUES])
    np.save(tmp_path / "b.npy", stamped)
    found = reading(tmp_path / "b.npy", None, time={"column": 1, "unit": "ms"})
    assert (found.sfreq, len(found.channels)) == (50, 3)
    np.testing.assert_allclose(found.signal()[:49], VALUES[:49], atol=1e-3)


def test_parquet(tmp_path: Path) -> None:
    import pandas

    frame = pandas.DataFrame(VALUES, columns=["II (mV)", "b", "c"])
    frame["note"] = "x"
    frame["when"] = pandas.date_range("2024-05-01", periods=50, freq="20ms")
    frame.loc[4, "b"] = None
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=7)
    found = reading(tmp_path / "a.parquet")
    expected = VALUES.copy()
    expected[4, 1] = np.nan
    np.testing.assert_array_equal(found.signal(), expected)
    assert (found.channels[0].name, found.channels[0].kind, found.channels[0].unit) == ("II", "ecg", "mV")
    assert found.notes == ("Columns without numbers are left out: note, when",)
    found = reading(tmp_path / "a.parquet", None, time={"column": "when", "unit": "iso"}, columns={"c": {}})
    assert (found.sfreq, found.channel_names) == (50, ("c",))
    np.testing.assert_allclose(found.signal()[:49, 0], VALUES[:49, 2], atol=1e-3)
    with pytest.raises(DataError, match="'note' holds"):
        reading(tmp_path / "a.parquet", columns={"note": {}})


class Evil:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled",))


def test_objects_are_never_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = np.array([[Evil(), Evil()]], dtype=object)
    np.save(tmp_path / "a.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "a.npz", evil)
    (tmp_path / "b.npy").write_bytes(np.zeros((3, 3)).dumps())
    (tmp_path / "a.npy.gz").write_bytes(gzip.compress((tmp_path / "a.npy").read_bytes()))
    for name in ("a.npy", "a.npz", "b.npy", "a.npy.gz"):
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            reading(tmp_path / name)
    with pytest.raises(DataError):
        reading(tmp_path / "a.npz", variable="arr_0")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("values", "part"),
    [
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros((0, 2)), r"shape \(0, 2\)|empty"),
        (np.zeros((5, 2), dtype=complex), "complex128"),
        (np.array([["a", "b"]] * 3), "<U1"),
    ],
)
def test_arrays_that_are_no_tables(tmp_path: Path, values: Any, part: str) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=part):
        reading(tmp_path / "a.npy")


def test_truncated_and_empty_files(tmp_path: Path) -> None:
    import pandas
    from scipy.io import savemat

    np.save(tmp_path / "a.npy", VALUES)
    np.savez_compressed(tmp_path / "a.npz", VALUES)
    savemat(tmp_path / "a.mat", {"x": VALUES}, do_compression=True)
    matlab73(tmp_path / "b.mat", x=VALUES)
    pandas.DataFrame(VALUES, columns=["a", "b", "c"]).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.npy.gz").write_bytes(gzip.compress((tmp_path / "a.npy").read_bytes()))
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        assert reading(path).n_times == 50
        for keep in (0, 1, 7, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:keep])
            with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
                reading(path).signal()
        path.write_bytes(whole)


def test_a_header_that_promises_more_than_the_file_holds(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    whole = (tmp_path / "a.npy").read_bytes()
    lies = whole.replace(b"'shape': (50, 3), }" + b" " * 7, b"'shape': (500000000, 3), }")
    assert len(lies) == len(whole)
    for name, data in (("a.npy", lies), ("a.npy.gz", gzip.compress(lies))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="not a NumPy array"):
            reading(tmp_path / name)


@pytest.mark.parametrize(("package", "name"), [("pyarrow", "a.parquet"), ("h5py", "a.mat")])
def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    (tmp_path / name).write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf"need the package {package}.*biocl\[formats\]"):
        reading(tmp_path / name)


def test_a_matlab_structure_is_no_table(tmp_path: Path) -> None:
    from scipy.io import savemat

    savemat(tmp_path / "a.mat", {"subject": {"data": VALUES, "fs": 50.0}})
    with pytest.raises(DataError, match=r"no tables of numbers.*subject.*Save the signal as a variable of its own"):
        reading(tmp_path / "a.mat")
