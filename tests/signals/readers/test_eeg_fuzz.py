"""Damaged EEG files, 200 of each format: every one is read as it stands, or refused in one paragraph."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest
from damage import FUZZ, damages
from hypothesis import given, settings
from numpy.typing import NDArray

from biocl.errors import DataError
from biocl.signals.checks import check_recording, statistics
from biocl.signals.readers.mne_reader import read_mne
from biocl.signals.readers.smni_text import read_smni
from biocl.signals.recording import Recording

Read = Callable[..., Recording]
MOST_BYTES = 100_000_000
MOST_SECONDS = 20.0  # a hang, not a busy machine
RNG = np.random.default_rng(0)
WORDS = [b"0", b"9", b"-1", b"-", b"99999999", b"nan", b"1e9", b" ", b"=", b"\n", b"\0", b"\xff\xff"]


def outcome(read: Read, path: Path) -> Recording | None:
    """What becomes of a file: a recording that keeps its promises, or one error (None)."""
    paragraph = ""
    tracemalloc.start()
    begin = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            recording = read(path, name="r", patient="p")
            values = recording.read(0, recording.n_times)
        with np.errstate(over="ignore", invalid="ignore"):
            check(recording, values)
    except DataError as error:
        paragraph = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert time.monotonic() - begin < MOST_SECONDS
        assert peak < MOST_BYTES
    assert "\n" not in paragraph
    assert len(paragraph) < 1200
    return recording if not paragraph else None


def check(recording: Recording, values: NDArray[np.float32]) -> None:
    """Shapes are as announced, values finite or reported, events inside, names unique, and the size is bounded."""
    n_chans = len(recording.channels)
    assert recording.n_times >= 1
    assert n_chans >= 1
    assert np.isfinite(recording.sfreq)
    assert recording.sfreq > 0
    assert recording.n_times * n_chans <= 200 * 2**20
    assert len(set(recording.channel_names)) == n_chans
    assert values.shape == (recording.n_times, n_chans)
    assert values.dtype == np.float32
    missing = ~np.isfinite(values)
    reported = {
        finding.channel for finding in check_recording(recording, statistics(recording)) if finding.problem == "nan"
    }
    assert reported == {recording.channel_names[column] for column in np.flatnonzero(missing.any(axis=0))}
    middle = recording.n_times // 2
    np.testing.assert_array_equal(recording.read(middle, recording.n_times), values[middle:])
    for events in (recording.events.onset_s, recording.events.duration_s):
        assert np.isfinite(events).all()
        assert (events >= 0).all()
    assert (recording.events.onset_s <= recording.duration_s).all()


def raw_of(n_times: int = 200) -> mne.io.RawArray:
    info = mne.create_info(["Cz", "Pz", "STI 014"], 100.0, ["eeg", "eeg", "stim"])
    values = RNG.standard_normal((3, n_times)) * 20e-6
    values[2] = 0
    values[2, 50:60] = 3
    raw = mne.io.RawArray(values, info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([0.5, 1.0], [0.1, 0.0], ["a", "b"]))
    return raw


def egi_bytes() -> bytes:
    head = np.array([2], ">i4").tobytes() + np.array([2020, 1, 2, 3, 4, 5], ">i2").tobytes() + bytes(4)
    head += np.array([100, 3, 1, 16, 200], ">i2").tobytes() + np.array([120], ">i4").tobytes()
    head += np.array([1], ">i2").tobytes() + b"TRG1"
    values = RNG.integers(-900, 900, (120, 4))
    values[:, 3] = np.arange(120) % 40 == 7
    return head + values.astype(">i2").tobytes()


def nicolet_files(folder: Path) -> Path:
    head = (
        "start_ts=2015-01-01 12:00:00.000\nnum_samples=120\nsample_freq=100\nconversion_factor=0.179000\n"
        "num_channels=3\nelec_names=[FP1,EOG1,ECG]\npat_id=1\nadm_id=2\nrec_id=3\nduration_in_sec=1\nsample_bytes=2\n"
    )
    (folder / "a.head").write_text(head)
    (folder / "a.data").write_bytes(RNG.integers(-900, 900, (120, 3)).astype("<i2").tobytes())
    return folder / "a.data"


def brainvision_files(folder: Path) -> Path:
    channels = "Ch1=Cz,,0.5,µV\nCh2=Pz,,0.5,µV\nCh3=Resp,,0.5,mV\n"
    (folder / "a.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\nDataFile=a.eeg\n"
        "MarkerFile=a.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=3\n"
        f"SamplingInterval=10000\n\n[Binary Infos]\nBinaryFormat=INT_16\n\n[Channel Infos]\n{channels}",
        encoding="utf-8",
    )
    (folder / "a.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\nDataFile=a.eeg\n\n"
        "[Marker Infos]\nMk1=New Segment,,1,1,0,20200101000000000000\nMk2=Stimulus,S  1,30,1,0\n"
        "Mk3=Response,R  2,60,5,0\n",
        encoding="utf-8",
    )
    (folder / "a.eeg").write_bytes(RNG.integers(-900, 900, (120, 3)).astype("<i2").tobytes())
    return folder / "a.vhdr"


def smni_bytes() -> bytes:
    lines = ["# co2a0000364.rd", "# 120 trials, 3 chans, 416 samples 368 post_stim samples", "# 3.906000 msecs uV"]
    lines.append("# S1 obj , trial 0")
    for number, name in enumerate(("FP1", "X", "nd")):
        lines.append(f"# {name} chan {number}")
        lines += [f"0 {name} {step} {value:.3f}" for step, value in enumerate(RNG.standard_normal(40) * 10)]
    return ("\n".join(lines) + "\n").encode()


def edf_like(make_edf: Callable[..., bytes], plus: str, bdf: bool) -> bytes:
    signals = [
        {"label": "EEG Cz", "unit": "uV", "per_record": 40, "digital": RNG.integers(-1000, 1000, 160)},
        {"label": "Resp", "unit": "mV", "per_record": 10, "digital": RNG.integers(-1000, 1000, 40)},
        {
            "label": "Status",
            "unit": "",
            "per_record": 40,
            "digital": np.repeat([0, 5, 0, 9], 40),
            "limits": (0, 99, 0, 99),
        },
    ]
    onset = (0, 1, 4, 5) if plus.endswith("D") else (0, 1, 2, 3)
    tals = [b"+%d\x14\x14\x00+%d.5\x150.2\x14spike\x14\x00" % (t, t) for t in onset]
    return make_edf(signals, reserved=plus, tals=tals, bdf=bdf)


def test_the_files_are_right_before_they_are_damaged(tmp_path: Path, make_edf: Callable[..., bytes]) -> None:
    (tmp_path / "a.edf").write_bytes(edf_like(make_edf, "EDF+D", False))
    (tmp_path / "a.raw").write_bytes(egi_bytes())
    (tmp_path / "a.rd.000.gz").write_bytes(gzip.compress(smni_bytes()))
    for path in (tmp_path / "a.edf", tmp_path / "a.raw", brainvision_files(tmp_path), nicolet_files(tmp_path)):
        assert outcome(read_mne, path) is not None
    assert outcome(read_smni, tmp_path / "a.rd.000.gz") is not None


@pytest.mark.parametrize(("suffix", "plus"), [(".edf", "EDF+C"), (".edf", "EDF+D"), (".bdf", "BDF+C")])
def test_edf_and_bdf(tmp_path: Path, make_edf: Callable[..., bytes], suffix: str, plus: str) -> None:
    good, path = edf_like(make_edf, plus, suffix == ".bdf"), tmp_path / f"a{suffix}"
    head = 256 * 5

    @FUZZ
    @given(damages(good, words=WORDS, head=head))
    def holds(data: bytes) -> None:
        path.write_bytes(data)
        outcome(read_mne, path)

    holds()


@pytest.mark.parametrize("version", ["1.25", "2.20"])
def test_gdf(tmp_path: Path, make_gdf: Callable[..., bytes], version: str) -> None:
    digital = RNG.integers(-1000, 1000, (120, 3)).astype(np.int16)
    good, path = make_gdf(digital, version=version, events=[(11, 769, 20), (51, 770, 1)]), tmp_path / "a.gdf"
    path.write_bytes(good)
    assert outcome(read_mne, path) is not None

    @settings(FUZZ, max_examples=100)
    @given(damages(good, words=WORDS, head=1024))
    def holds(data: bytes) -> None:
        path.write_bytes(data)
        outcome(read_mne, path)

    holds()


@pytest.mark.parametrize(("damaged", "most"), [("a.vhdr", 120), ("a.vmrk", 50), ("a.eeg", 30)])
def test_brainvision(tmp_path: Path, damaged: str, most: int) -> None:
    header = brainvision_files(tmp_path)
    good = (tmp_path / damaged).read_bytes()

    @settings(FUZZ, max_examples=most)
    @given(damages(good, words=WORDS))
    def holds(data: bytes) -> None:
        (tmp_path / damaged).write_bytes(data)
        outcome(read_mne, header)

    holds()


def test_fif(tmp_path: Path) -> None:
    path = tmp_path / "a_raw.fif"
    raw_of().save(path, fmt="short", verbose="ERROR")
    good = path.read_bytes()
    assert outcome(read_mne, path) is not None

    @FUZZ
    @given(damages(good, words=WORDS))
    def holds(data: bytes) -> None:
        path.write_bytes(data)
        outcome(read_mne, path)

    holds()


def test_eeglab(tmp_path: Path) -> None:
    path = tmp_path / "a.set"
    raw_of().pick("eeg").export(path, verbose="ERROR")
    good = b"MATLAB 5.0 MAT-file, without the time of its writing".ljust(116) + path.read_bytes()[116:]
    assert outcome(read_mne, path) is not None

    @FUZZ
    @given(damages(good, words=WORDS))
    def holds(data: bytes) -> None:
        path.write_bytes(data)
        outcome(read_mne, path)

    holds()


def test_egi(tmp_path: Path) -> None:
    good, path = egi_bytes(), tmp_path / "a.raw"

    @FUZZ
    @given(damages(good, words=WORDS, head=40))
    def holds(data: bytes) -> None:
        path.write_bytes(data)
        outcome(read_mne, path)

    holds()


@pytest.mark.parametrize(("damaged", "most"), [("a.head", 150), ("a.data", 50)])
def test_nicolet(tmp_path: Path, damaged: str, most: int) -> None:
    path = nicolet_files(tmp_path)
    good = (tmp_path / damaged).read_bytes()

    @settings(FUZZ, max_examples=most)
    @given(damages(good, words=WORDS))
    def holds(data: bytes) -> None:
        (tmp_path / damaged).write_bytes(data)
        outcome(read_mne, path)

    holds()


@pytest.mark.parametrize("packed", [True, False])
def test_smni(tmp_path: Path, packed: bool) -> None:
    good = gzip.compress(smni_bytes(), mtime=0) if packed else smni_bytes()
    path = tmp_path / ("a.rd.000.gz" if packed else "a.rd.000")

    @settings(FUZZ, max_examples=100)
    @given(damages(good, words=WORDS))
    def holds(data: bytes) -> None:
        path.write_bytes(data)
        outcome(read_smni, path)

    holds()
