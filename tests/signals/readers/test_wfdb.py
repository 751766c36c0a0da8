"""The WFDB reader against wfdb's own whole-record reading, and on damaged files."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from biocl.errors import DataError
from biocl.signals.readers.wfdb_annotations import read_marks
from biocl.signals.readers.wfdb_reader import LEVEL_STEP, read_wfdb

SAMPLES = ["100_3chan", "a103l", "binformats", "flacformats", "s0010_re", "test01_00s"]


@pytest.fixture
def samples(test_data: Path) -> Path:
    return test_data / "ecg" / "wfdb-python-sample"


@pytest.fixture
def copied(test_data: Path, tmp_path: Path) -> Path:
    """A copy of one MIT-BIH record, to be damaged."""
    for extension in ("hea", "dat", "atr"):
        shutil.copyfile(test_data / "ecg" / "mitdb" / f"100.{extension}", tmp_path / f"100.{extension}")
    return tmp_path / "100"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_equals_wfdb(samples: Path, name: str) -> None:
    import wfdb

    expected = wfdb.rdrecord(str(samples / name))
    found = read_wfdb(samples / name)
    assert found.channel_names == tuple(expected.sig_name)
    assert [channel.unit for channel in found.channels] == expected.units
    assert found.sfreq == expected.fs
    np.testing.assert_allclose(found.signal(), expected.p_signal, rtol=2e-7, equal_nan=True)


@pytest.mark.parametrize("name", SAMPLES)
def test_any_block_equals_the_whole(samples: Path, name: str) -> None:
    found = read_wfdb(samples / name)
    whole = found.signal()
    rng = np.random.default_rng(0)
    for _ in range(12):
        start, stop = np.sort(rng.integers(0, found.n_times + 1, 2))
        np.testing.assert_array_equal(found.read(start, stop), whole[start:stop])


def test_differences_are_followed_over_a_long_record(tmp_path: Path) -> None:
    steps = np.random.default_rng(0).integers(-20, 21, size=(2 * LEVEL_STEP + 5000, 2)).astype(np.int8)
    (tmp_path / "d.dat").write_bytes(steps.tobytes())
    line = "d.dat 8 200/mV 12 0 {} 0 0 {}\n"
    header = f"d 2 250 {len(steps)}\n" + line.format(7, "I") + line.format(-3, "II")
    (tmp_path / "d.hea").write_text(header)
    expected = ((np.cumsum(steps, axis=0, dtype=np.int64) + np.array([7, -3])) / 200).astype(np.float32)
    for start, stop in ((0, 10), (LEVEL_STEP - 3, LEVEL_STEP + 3), (2 * LEVEL_STEP, len(steps)), (5, 2000)):
        np.testing.assert_array_equal(read_wfdb(tmp_path / "d").read(start, stop), expected[start:stop])
    blocks = [block for _, block in read_wfdb(tmp_path / "d").blocks(30)]
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_frames_of_several_samples_are_averaged(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(-2000, 2000, size=(40_000, 5)).astype("<i2")
    frames[7, 1] = -(2**15)  # invalid
    (tmp_path / "m.dat").write_bytes(frames.tobytes())
    header = "m 2 50 40000\nm.dat 16x1 100/mV 16 0 0 0 0 I\nm.dat 16x4 10(50)/uV 16 0 0 0 0 EEG\n"
    (tmp_path / "m.hea").write_text(header)
    found = read_wfdb(tmp_path / "m")
    expected = np.stack([frames[:, 0] / 100, ((frames[:, 1:] - 50.0) / 10).mean(axis=1)], axis=1)
    expected[7, 1] = np.nan
    np.testing.assert_allclose(found.signal(), expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert [channel.kind for channel in found.channels] == ["ecg", "eeg"]


def test_memory_follows_the_block_not_the_record(samples: Path) -> None:
    found = read_wfdb(samples / "s0010_re")
    found.read(0, 10)
    tracemalloc.start()
    found.read(20_000, 20_500)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000  # the whole is 38,400 × 15 × 4 bytes = 2.3 MB in float32 alone


def test_annotations_equal_wfdb(test_data: Path) -> None:
    import wfdb

    for record in ("100", "114", "203", "207"):
        path = test_data / "ecg" / "mitdb" / record
        expected = wfdb.rdann(str(path), "atr")
        found = read_marks(path.with_suffix(".atr"))
        np.testing.assert_array_equal(found.sample, expected.sample)
        assert found.symbol.tolist() == expected.symbol
        assert found.text.tolist() == [note.strip("\0 ") for note in expected.aux_note]


def test_annotations_written_by_wfdb_come_back(tmp_path: Path) -> None:
    import wfdb

    sample = np.array([3, 40, 5000, 200_000, 200_001])  # long intervals need the skip code
    notes = ["(AFIB", "", "odd", "", "even"]
    wfdb.wrann(
        "x", "qrs", sample, ["+", "N", '"', "V", "z"], aux_note=notes, fs=500.0, write_dir=str(tmp_path),
        chan=np.array([0, 1, 0, 1, 0]), custom_labels=[("z", "own label")],
    )  # fmt: skip
    marks = read_marks(tmp_path / "x.qrs")
    assert marks.sfreq == 500
    assert marks.sample.tolist() == sample.tolist()
    assert marks.symbol.tolist() == ["+", "N", '"', "V", "z"]
    assert marks.text.tolist() == notes


def test_rhythms_last_until_the_next(test_data: Path) -> None:
    events = read_wfdb(test_data / "ecg" / "mitdb" / "203", "atr").events
    rhythm = events.of_kind("rhythm")
    assert set(rhythm.label.tolist()) == {"AFIB", "AFL", "T", "VT"}
    np.testing.assert_allclose(rhythm.onset_s[1:], (rhythm.onset_s + rhythm.duration_s)[:-1])
    assert rhythm.onset_s[-1] + rhythm.duration_s[-1] == pytest.approx(650_000 / 360)


def test_a_missing_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"header is missing.*nothing\.hea"):
        read_wfdb(tmp_path / "nothing")


@pytest.mark.parametrize("keep", [0, 3, 5, 8, 12, 16, 25, 50, 90])
def test_a_truncated_header(copied: Path, keep: int) -> None:
    path = copied.with_suffix(".hea")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"damaged or cut short.*100\.hea.*Copy or download"):
        read_wfdb(copied)


@pytest.mark.parametrize(
    "text",
    [
        "garbage\n",
        "\x00\x01\x02\xff" * 30,
        "100 2 zero 650000\n100.dat 212\n100.dat 212\n",
        "100 2 360 650000\n100.dat 999 200\n100.dat 999 200\n",
        "100 2 0 650000\n100.dat 212 200\n100.dat 212 200\n",
        "100 2 360\n100.dat 212 200\n100.dat 212 200\n",
    ],
)
def test_a_corrupted_header(copied: Path, text: str) -> None:
    copied.with_suffix(".hea").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="damaged or cut short"):
        read_wfdb(copied)


def test_several_segments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.hea").write_text("s/2 2 360 2000\na 1000\nb 1000\n")
    with pytest.raises(DataError, match=r"several segments.*a, b"):
        read_wfdb(tmp_path / "s")


def test_a_missing_signal_file(copied: Path) -> None:
    copied.with_suffix(".dat").unlink()
    with pytest.raises(DataError, match=r"signal file of record 100 is missing.*100\.dat"):
        read_wfdb(copied)


@pytest.mark.parametrize("keep", [0, 1000, 1_949_999])
def test_a_truncated_signal_file(copied: Path, keep: int) -> None:
    path = copied.with_suffix(".dat")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=rf"650000 samples \(1950000 bytes\), the file holds {keep} bytes"):
        read_wfdb(copied)


def test_a_truncated_flac_file(samples: Path, tmp_path: Path) -> None:
    for path in samples.glob("flacformats.*"):
        data = path.read_bytes()
        (tmp_path / path.name).write_bytes(data[: len(data) // 2] if path.suffix == ".d1" else data)
    with pytest.raises(DataError, match="cannot be read"):
        read_wfdb(tmp_path / "flacformats").signal()


def test_missing_and_truncated_annotations(copied: Path) -> None:
    path = copied.with_suffix(".atr")
    whole = path.read_bytes()
    for keep in (0, 1, 7, 11, len(whole) - 2):
        path.write_bytes(whole[:keep])
        with pytest.raises(DataError, match=r"ends in the middle.*100\.atr"):
            read_wfdb(copied, "atr")
    path.unlink()
    with pytest.raises(DataError, match="annotation file is missing"):
        read_wfdb(copied, "atr")
