"""EEG files that are not what they should be: one paragraph each, and mne's warnings become notes."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest

from biocl.errors import DataError
from biocl.signals.readers import mne_reader
from biocl.signals.readers.mne_reader import SUFFIXES, read_mne
from biocl.signals.recording import Recording

RNG = np.random.default_rng(0)


def opened(path: Path) -> Recording:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = read_mne(path, name="r", patient="p")
        recording.read(0, recording.n_times)
    return recording


def refused(path: Path, said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        opened(path)
    assert "\n" not in str(error.value)
    assert "Where: " in str(error.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_file_and_an_empty_file(tmp_path: Path, suffix: str) -> None:
    refused(tmp_path / f"a{suffix}", "does not exist")
    (tmp_path / f"a{suffix}").write_bytes(b"")
    refused(tmp_path / f"a{suffix}", "is empty")
    (tmp_path / f"b{suffix}").mkdir()
    refused(tmp_path / f"b{suffix}", "damaged" if suffix == ".mff" else "does not exist")


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".rec"])
def test_the_wrong_suffix(tmp_path: Path, suffix: str) -> None:
    content = b"Brain Vision Data Exchange" if suffix != ".vhdr" else b"0       "
    (tmp_path / f"a{suffix}").write_bytes(content * 40)
    (tmp_path / "a.head").write_bytes(b"")
    refused(tmp_path / f"a{suffix}", ".")


@pytest.mark.parametrize(
    ("name", "give"), [("a.eeg", ".vhdr"), ("a.vmrk", ".vhdr"), ("a.fdt", ".set"), ("a.head", ".data")]
)
def test_a_companion_names_the_file_to_give(tmp_path: Path, name: str, give: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    refused(tmp_path / name, f"Give the {give} file")
    refused(tmp_path / "a.txt", "is no EEG format")


def brainvision(folder: Path, **changes: str) -> Path:
    keys = {
        "DataFile": "a.eeg",
        "MarkerFile": "a.vmrk",
        "DataFormat": "BINARY",
        "DataOrientation": "MULTIPLEXED",
        "NumberOfChannels": "2",
        "SamplingInterval": "4000",
        **changes,
    }
    lines = "\n".join(f"{key}={value}" for key, value in keys.items() if value)
    (folder / "a.vhdr").write_text(
        f"Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n{lines}\n[Binary Infos]\n"
        "BinaryFormat=INT_16\n[Channel Infos]\nCh1=Cz,,0.1,uV\nCh2=Pz,,0.1,uV\n"
    )
    (folder / "a.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=a.eeg\n[Marker Infos]\n"
        "Mk1=New Segment,,1,1,0,20200101000000000000\nMk2=Stimulus,S  1,30,1,0\n"
    )
    (folder / "a.eeg").write_bytes(RNG.integers(-900, 900, (100, 2)).astype("<i2").tobytes())
    return folder / "a.vhdr"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"DataFile": "b.eeg"}, r"data file of this header, b\.eeg, is missing.*renamed"),
        ({"DataFile": ""}, "it has no DataFile"),
        ({"NumberOfChannels": "3"}, "announces 3 channels and describes 2"),
        ({"NumberOfChannels": "1"}, "announces 1 channels and describes 2"),
        ({"NumberOfChannels": "two"}, "announces two channels"),
        ({"DataPoints": "101"}, "announces 101 time steps, and it holds 100"),
        ({"SamplingInterval": "0"}, "damaged"),
        ({"SamplingInterval": "-4"}, "damaged"),
        ({"SamplingInterval": "fast"}, "damaged"),
        ({"DataOrientation": "SIDEWAYS"}, "damaged"),
    ],
)
def test_brainvision_headers(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    assert opened(brainvision(tmp_path)).n_times == 100
    refused(brainvision(tmp_path, **changes), said)


def test_brainvision_files_that_are_cut_short_or_missing(tmp_path: Path) -> None:
    header = brainvision(tmp_path)
    (tmp_path / "a.eeg").write_bytes((tmp_path / "a.eeg").read_bytes()[:-3])
    refused(header, "397 bytes are not whole time steps of 2 channels")
    header = brainvision(tmp_path, MarkerFile="b.vmrk")
    (tmp_path / "a.vmrk").unlink()
    assert any("b.vmrk" in note for note in opened(header).notes)


@pytest.mark.parametrize("version", ["1.25", "2.20"])
def test_gdf_files(tmp_path: Path, make_gdf: Callable[..., bytes], version: str) -> None:
    digital = RNG.integers(-1000, 1000, (50, 3)).astype(np.int16)
    good, path = make_gdf(digital, version=version, events=[(11, 769, 5)]), tmp_path / "a.gdf"
    end = 4 * 256 + digital.nbytes
    for content, said in (
        (good[: end - 1], "cut short"),
        (good[: end + 4], "table of events is cut short"),
        (good[:-1], "announces 1 events"),
        (good[:600], "cut short"),
        (b"XDF" + good[3:], "begins with b'XDF"),
        (good[:236] + struct.pack("<q", 10**12) + good[244:], "cut short"),
        (good[:252] + b"\xff\xff" + good[254:], "does not fit 65535 channels"),
    ):
        path.write_bytes(content)
        refused(path, said)


def test_slower_channels_of_a_gdf_file_are_left_out(tmp_path: Path, make_gdf: Callable[..., bytes]) -> None:
    digital = np.arange(60, dtype=np.int16).reshape(20, 3)
    content = bytearray(make_gdf(digital, names=("Cz", "Pz", "Resp")))
    # Ten records of two, two and one samples in place of twenty of one each.
    content[236:244] = struct.pack("<q", 10)
    content[244:252] = struct.pack("<II", 2, 100)
    content[256 + 3 * 216 : 256 + 3 * 216 + 12] = struct.pack("<iii", 2, 2, 1)
    rows = np.arange(50, dtype="<i2").reshape(10, 5)
    (tmp_path / "a.gdf").write_bytes(bytes(content[:1024]) + rows.tobytes())
    recording = opened(tmp_path / "a.gdf")
    assert recording.channel_names == ("Cz", "Pz")
    assert recording.notes == ("Channels slower than the fastest are left out: Resp",)
    assert recording.sfreq == 100.0
    np.testing.assert_allclose(recording.signal()[:, 1], rows[:, 2:4].ravel() * 0.1, rtol=1e-5)


def test_fif_files(tmp_path: Path) -> None:
    info = mne.create_info(["Cz", "Pz"], 100.0, "eeg")
    raw = mne.io.RawArray(RNG.standard_normal((2, 300)) * 2e-5, info, verbose="ERROR")
    raw.save(tmp_path / "a_raw.fif", verbose="ERROR")
    good = (tmp_path / "a_raw.fif").read_bytes()
    epochs = mne.EpochsArray(RNG.standard_normal((3, 2, 50)), info, verbose="ERROR")
    epochs.save(tmp_path / "b-epo.fif", verbose="ERROR")
    refused(tmp_path / "b-epo.fif", "damaged or not what its name says")
    for content in (good[:-200], good[:1000], good[:10], b"\x00" * 64 + good[64:]):
        (tmp_path / "a_raw.fif").write_bytes(content)
        refused(tmp_path / "a_raw.fif", "damaged")
    circle = good[:12] + struct.pack(">i", 16) + good[16:28] + struct.pack(">i", 16) + good[32:]
    (tmp_path / "a_raw.fif").write_bytes(circle)
    refused(tmp_path / "a_raw.fif", "does not end inside the file")


def test_eeglab_files(tmp_path: Path) -> None:
    raw = mne.io.RawArray(RNG.standard_normal((2, 300)) * 2e-5, mne.create_info(2, 100.0, "eeg"), verbose="ERROR")
    raw.export(tmp_path / "a.set", verbose="ERROR")
    good = (tmp_path / "a.set").read_bytes()
    for content in (good[:-100], good[:128], good[:60], good[:132] + b"\xff\xff\xff\x7f" + good[136:]):
        (tmp_path / "a.set").write_bytes(content)
        refused(tmp_path / "a.set", "damaged|MATLAB")


def test_egi_and_nicolet_files(test_data: Path, tmp_path: Path) -> None:
    data = test_data / "eeg" / "mne-testdata"
    good = (data / "egi/tests/data/test_egi.raw").read_bytes()
    for content, said in (
        (good[:-1], "cut short"),
        (good[:30], "30 bytes long"),
        (b"\x00\x00\x00\x03" + good[4:], "holds segments"),
        (b"\x00\x00\x00\x09" + good[4:], "no EGI simple binary"),
        (good[:20] + b"\x00\x00" + good[22:], "at 0 Hz"),
    ):
        (tmp_path / "a.raw").write_bytes(content)
        refused(tmp_path / "a.raw", said)
    samples = (data / "nicolet/tests/data/test_nicolet_raw.data").read_bytes()
    head = (data / "nicolet/tests/data/test_nicolet_raw.head").read_text()
    (tmp_path / "a.data").write_bytes(samples)
    refused(tmp_path / "a.data", "The header of this file is missing")
    for text, said in (
        (head.replace("num_samples=512", "num_samples=513"), "cut short"),
        (head.replace("num_channels=29", "num_channels=28"), "29 of which are named"),
        (head.replace("num_channels=29", "num_channels=many"), "not a number"),
        (head.replace("sample_freq=256", "sample_freq=0"), "damaged"),
        (head.replace("sample_freq=256", "sample_freq=quick"), "damaged"),
    ):
        (tmp_path / "a.head").write_text(text)
        refused(tmp_path / "a.data", said)


def test_what_mne_warns_of_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def warn() -> str:
        warnings.warn("The clock stood still.\n Twice.", RuntimeWarning, stacklevel=1)
        warnings.warn("The clock stood still.\n Twice.", RuntimeWarning, stacklevel=1)
        warnings.warn("Channels contain different highpass filters", RuntimeWarning, stacklevel=1)
        return "done"

    assert mne_reader.quietly(tmp_path, warn) == ("done", ("The clock stood still. Twice.",))

    def lack() -> None:
        raise ModuleNotFoundError("No module named 'defusedxml'", name="defusedxml")

    with pytest.raises(DataError, match=r"defusedxml.*biocl\[formats\]"):
        mne_reader.quietly(tmp_path, lack)
