"""Damaged tables, 200 of each format: read as an independent reader reads them, or refused in one paragraph."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import FUZZ, damages
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.readers.formats import open_recording
from biocl.signals.readers.layout import TableLayout
from biocl.signals.recording import Recording

VALUES = np.round(np.random.default_rng(0).standard_normal((12, 3)) * 10, 3).astype(np.float32)
NAMES = ["II (mV)", "wrist x (g)", "c"]
WIDTHS = [9, 12, 8]
MOST_BYTES = 50_000_000
MOST_SECONDS = 5.0
WORDS = [b"0", b"9", b"-", b"e", b".", b",", b";", b"\t", b'"', b"\n", b" ", b"x", b"\xb5", b"\0"]


def delimited(sign: str, decimal: str = ".") -> bytes:
    cells = [NAMES, *[[f"{value:g}".replace(".", decimal) for value in row] for row in VALUES.tolist()]]
    cells[5][1] = ""
    return "".join(sign.join(row) + "\n" for row in cells).encode()


def fixed_width() -> bytes:
    cells = [["II", "wrist x", "c"], *[[f"{value:g}" for value in row] for row in VALUES.tolist()]]
    return "".join("".join(c.ljust(w) for c, w in zip(row, WIDTHS, strict=True)) + "\n" for row in cells).encode()


def saved(save: Callable[[io.BytesIO], Any]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def matlab(file: io.BytesIO, **keys: Any) -> None:
    from scipy.io import savemat

    savemat(file, {"signal": VALUES, "fs": 10.0}, **keys)
    if keys.get("format") != "4":
        file.seek(0)
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))  # in place of the date


def matlab73(file: io.BytesIO) -> None:
    import h5py

    with h5py.File(file, "w", userblock_size=512) as archive:
        archive["signal"] = VALUES.T
    file.seek(0)
    file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")


def parquet(file: io.BytesIO) -> None:
    import pandas

    pandas.DataFrame(VALUES, columns=NAMES).to_parquet(file)


TEXTS: dict[str, tuple[str, bytes, TableLayout]] = {
    "csv": (".csv", delimited(","), TableLayout()),
    "tsv": (".tsv", delimited("\t"), TableLayout()),
    "semicolon": (".txt", delimited(";", ","), TableLayout(delimiter="semicolon", decimal=",")),
    "fixed": (".txt", fixed_width(), TableLayout(widths=WIDTHS)),
    "csv.gz": (".csv.gz", gzip.compress(delimited(","), mtime=0), TableLayout()),
    "csv.xz": (".csv.xz", lzma.compress(delimited(",")), TableLayout()),
    "csv.bz2": (".csv.bz2", bz2.compress(delimited(",")), TableLayout()),
}
ARRAYS: dict[str, tuple[str, bytes]] = {
    "npy": (".npy", saved(lambda file: np.save(file, VALUES))),
    "npz": (".npz", saved(lambda file: np.savez(file, signal=VALUES, fs=10.0))),
    "npz-packed": (".npz", saved(lambda file: np.savez_compressed(file, signal=VALUES))),
    "mat-4": (".mat", saved(lambda file: matlab(file, format="4"))),
    "mat-5": (".mat", saved(matlab)),
    "mat-7": (".mat", saved(lambda file: matlab(file, do_compression=True))),
    "mat-7.3": (".mat", saved(matlab73)),
    "parquet": (".parquet", saved(parquet)),
}


def outcome(path: Path, layout: TableLayout | None) -> tuple[Recording, NDArray[np.float32]] | None:
    """What a reader makes of a file: its signal, or None for one clear error; never much time or memory."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        found = open_recording(path, name="a", patient="p", sfreq=10.0, layout=layout)
        return found, found.signal()
    except DataError as error:
        text = str(error)
        assert "Where: " in text
        assert path.name in text
        assert len(text) < 2000
        assert "\n" not in text
        return None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MOST_BYTES, f"{peak} bytes"
        assert time.process_time() - begin < MOST_SECONDS


def cells_of(line: str, name: str) -> list[str]:
    """The cells of one line, read naively."""
    if name == "fixed":
        edges = np.cumsum([0, *WIDTHS])
        return [line[a:b] for a, b in pairwise(edges)]
    import csv

    sign = {"tsv": "\t", "semicolon": ";"}.get(name, ",")
    if '"' not in line:
        return line.split(sign)
    return next(csv.reader([line], delimiter=sign, skipinitialspace=True))


def unpack(data: bytes, suffix: str) -> bytes:
    return {".gz": gzip.decompress, ".xz": lzma.decompress, ".bz2": bz2.decompress}.get(suffix, bytes)(data)


@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str, tmp_path: Path) -> None:
    suffix, whole, layout = TEXTS[name]
    path = tmp_path / f"a{suffix}"
    reads = []

    @FUZZ
    @given(st.one_of(damages(whole, words=() if "." in name else WORDS), st.just(whole)))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        found = outcome(path, None if name.startswith("csv") else layout)
        reads.append(found is not None)
        if found is None:
            return
        recording, signal = found
        text = unpack(data, path.suffix).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        while not lines[-1].strip() and not (name == "tsv" and lines[-1].strip(" ")) and len(lines[-1]) <= 21:
            lines.pop()
        table = [[cell.strip() for cell in cells_of(line, name)] for line in lines]
        assert len(table) - 1 <= len(signal) <= len(table)
        if "left out" in " ".join(recording.notes):
            return
        for row, values in zip(table[len(table) - len(signal) :], signal, strict=True):
            for cell, value in zip([*row, "", ""], values, strict=False):
                wanted = np.nan if cell.lower() in ("", "nan") else float(cell.replace(",", "."))
                np.testing.assert_equal(value, np.float32(wanted))

    check()
    assert 0 < sum(reads) < len(reads)


def reference(name: str, data: bytes) -> NDArray[Any]:
    """The array by the format's own library."""
    file = io.BytesIO(data)
    if name == "npy":
        return np.load(file)
    if name.startswith("npz"):
        with np.load(file) as archive:
            return next(archive[key] for key in archive.files if archive[key].ndim == 2)
    if name == "mat-7.3":
        import h5py

        with h5py.File(file) as archive:
            return next(iter(archive.values()))[()].T
    if name == "parquet":
        import pandas

        return pandas.read_parquet(file).to_numpy()
    from scipy.io import loadmat

    matrices = [value for value in loadmat(file).values() if isinstance(value, np.ndarray) and value.size > 1]
    return matrices[0]


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str, tmp_path: Path) -> None:
    suffix, whole = ARRAYS[name]
    path = tmp_path / f"a{suffix}"
    reads = []

    @FUZZ
    @given(st.one_of(damages(whole), st.just(whole)))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        found = outcome(path, None)
        reads.append(found is not None)
        if found is not None:
            try:
                expected = reference(name, data)
            except Exception:  # a stricter library stumbles over damage beside the signal
                assert np.mean(found[1][:12] == VALUES[: len(found[1])]) > 0.5
                return
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(found[1], expected.astype(np.float32))

    check()
    assert 0 < sum(reads) < len(reads)


def test_whole_files_are_read(tmp_path: Path) -> None:
    gap = VALUES.copy()
    gap[4, 1] = np.nan
    for suffix, data, layout in TEXTS.values():
        path = tmp_path / f"a{suffix}"
        path.write_bytes(data)
        found = open_recording(path, name="a", patient="p", sfreq=10.0, layout=layout)
        np.testing.assert_array_equal(found.signal(), VALUES if layout.widths else gap)
        assert found.channel_names == ("II", "wrist x", "c")
    for suffix, data in ARRAYS.values():
        path = tmp_path / f"a{suffix}"
        path.write_bytes(data)
        found = open_recording(path, name="a", patient="p", sfreq=10.0)
        np.testing.assert_array_equal(found.signal(), VALUES)
