"""One door for every format: which reader a file gets, and what is said of a file that is not what its name says."""

from __future__ import annotations

import gzip
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from biocl.errors import DataError
from biocl.signals.readers.formats import (
    FORMATS,
    format_of,
    formats_markdown,
    is_readable,
    known_suffixes,
    open_recording,
    resolve,
)
from biocl.signals.readers.layout import TableLayout


def opened(path: Path, sfreq: float | None = 10.0):  # type: ignore[no-untyped-def]
    return open_recording(path, name="a", patient="p", sfreq=sfreq)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        opened(path)
    return str(caught.value)


def test_every_reader_is_there_and_no_suffix_is_claimed_twice() -> None:
    assert len(set(known_suffixes())) == len(known_suffixes())
    for kind in FORMATS.values():
        for target in filter(None, (kind.reader, kind.loader)):
            module, function = target.split(":")
            assert callable(getattr(import_module(module), function))
        assert kind.tested


def test_the_table_names_every_suffix() -> None:
    text = formats_markdown()
    assert all(f"`{suffix}`" in text for suffix in known_suffixes())
    assert len({line.count("|") for line in text.splitlines()}) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.EDF", "edf"),
        ("a.b.csv", "text"),
        ("a.csv.xz", "text"),
        ("a.TXT.GZ", "text"),
        ("a.fif.gz", "fif"),
        ("a.npy.bz2", "numpy"),
        ("a.mat", "matlab"),
        ("a.set", "eeglab"),
        ("a.parquet", "parquet"),
    ],
)
def test_the_suffix_tells_the_format(name: str, kind: str) -> None:
    assert format_of(Path(name)) is FORMATS[kind]
    assert is_readable(Path(name))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a.xlsx", r"Files like a\.xlsx cannot be read.*\.edf"),
        ("a.edf.gz", "Unpack it first"),
        ("a.eeg", r"by way of the \.vhdr file"),
        ("a.zip", "An archive is not read"),
        ("a.tar.gz", "An archive is not read"),
        ("a", r"header is missing.*a\.hea"),
        ("a.dat", r"header is missing.*a\.hea.*--layout"),
    ],
)
def test_files_that_nobody_reads(name: str, part: str) -> None:
    with pytest.raises(DataError, match=part):
        format_of(Path(name))
    assert not is_readable(Path(name))


def test_a_record_by_any_of_its_files(tmp_path: Path) -> None:
    for name in ("r.hea", "r.dat", "r.mat"):
        (tmp_path / name).write_text("x")
        assert resolve(tmp_path / name) == tmp_path / "r.hea"
    assert resolve(tmp_path / "r") == tmp_path / "r.hea"
    assert resolve(tmp_path / "r.dat", TableLayout()) == tmp_path / "r.dat"
    assert resolve(tmp_path / "other.mat") == tmp_path / "other.mat"


def test_a_file_under_a_wrong_name(tmp_path: Path, test_data: Path) -> None:
    edf = next((test_data / "eeg" / "eegmmidb").rglob("*.edf"))
    for name in ("a.csv", "a.npy", "a.mat", "a.bdf", "a.hea", "a.parquet"):
        shutil.copyfile(edf, tmp_path / name)
        text = refusal(tmp_path / name)
        assert f"named {Path(name).suffix}, and begins like a file named .edf" in text
        assert name in text
    np.save(tmp_path / "b.npy", np.zeros((5, 2)))
    for name in ("b.csv", "b.edf", "b.mat", "b.npz", "b.csv.gz"):
        shutil.copyfile(tmp_path / "b.npy", tmp_path / name)
        assert "begins like a file named .npy" in refusal(tmp_path / name)
    (tmp_path / "c.csv").write_bytes(gzip.compress(b"a\n1\n"))
    assert "begins like a file named .gz" in refusal(tmp_path / "c.csv")
    (tmp_path / "d.npy").write_text("a,b\n1,2\n")
    assert "is no .npy file" in refusal(tmp_path / "d.npy")
    (tmp_path / "e.csv.gz").write_text("a,b\n1,2\n")
    assert "is no .gz file" in refusal(tmp_path / "e.csv.gz")


def test_text_of_fixed_width_may_begin_like_an_edf_header(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0       1.5     2.5\n1       2.5     3.5\n")
    layout = TableLayout(header=False, delimiter="whitespace")
    found = open_recording(tmp_path / "a.txt", name="a", patient="p", sfreq=10.0, layout=layout)
    assert found.signal().tolist() == [[0, 1.5, 2.5], [1, 2.5, 3.5]]


def test_missing_empty_and_folders(tmp_path: Path) -> None:
    for suffix in known_suffixes():
        if suffix == ".dat":
            continue
        path = tmp_path / f"a{suffix}"
        assert "does not exist" in refusal(path)
        path.write_bytes(b"")
        assert "is empty" in refusal(path)
        path.unlink()
    (tmp_path / "b.csv").mkdir()
    assert "is a folder" in refusal(tmp_path / "b.csv")


def test_every_wfdb_sample_equals_wfdb(test_data: Path) -> None:
    """Names, units, rate, length and signal of every public record, whichever of its files is given."""
    import wfdb

    folder = test_data / "ecg"
    headers = sorted((folder / "wfdb-python-sample").glob("*.hea")) + sorted((folder / "cinc2021-sample").glob("*.hea"))
    assert len(headers) == 56
    for number, header in enumerate(headers):
        given = next((p for p in (header.with_suffix(".mat"), header.with_suffix(".dat")) if p.is_file()), header)
        found = opened([header, header.with_suffix(""), given][number % 3])
        expected = wfdb.rdrecord(str(header.with_suffix("")))
        assert found.channel_names == tuple(expected.sig_name)
        assert [channel.unit for channel in found.channels] == expected.units
        assert (found.sfreq, found.n_times) == (expected.fs, expected.sig_len)
        np.testing.assert_allclose(found.signal(), expected.p_signal, rtol=2e-7, equal_nan=True)
        assert len(found.events) == 0  # none of these has annotations beside it


def test_annotations_beside_a_record_are_its_events(test_data: Path, tmp_path: Path) -> None:
    import wfdb

    record = test_data / "ecg" / "mitdb" / "100"
    marks = wfdb.rdann(str(record), "atr")
    beats = [symbol in "NLRBAaJSVrFejnE/fQ?" for symbol in marks.symbol]
    found = opened(record)
    assert found.events.of_kind("beat").label.tolist() == [s for s, ok in zip(marks.symbol, beats, strict=True) if ok]
    np.testing.assert_allclose(found.events.of_kind("beat").onset_s, marks.sample[beats] / 360)
    for suffix in (".hea", ".dat"):
        shutil.copyfile(record.with_suffix(suffix), tmp_path / f"100{suffix}")
    assert len(opened(tmp_path / "100").events) == 0
