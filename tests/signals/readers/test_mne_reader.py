"""EEG files: every native format gives what mne says, in pieces, with units, events, gaps and notes."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest

from biocl.signals.readers import mne_reader
from biocl.signals.readers.mne_reader import read_mne
from biocl.signals.recording import Recording

NATIVE = (
    "edf/tests/data/test.edf",
    "edf/tests/data/test.bdf",
    "edf/tests/data/duplicate_channel_labels.edf",
    "edf/tests/data/test_bdf_stim_channel.bdf",
    "edf/tests/data/test_edf_stim_channel.edf",
    "edf/tests/data/test_stim_channel.edf",
    "brainvision/tests/data/test.vhdr",
    "brainvision/tests/data/testv2.vhdr",
    "brainvision/tests/data/test_units.vhdr",
    "brainvision/tests/data/test_mixed_lowpass.vhdr",
    "brainvision/tests/data/test_highpass.vhdr",
    "brainvision/tests/data/test_partially_disabled_hw_filter.vhdr",
    "brainvision/tests/data/test_old_layout_latin1_software_filter.vhdr",
    "brainvision/tests/data/test_old_layout_latin1_software_filter_longname.vhdr",
    "brainvision/tests/data/test_bin_raw.fif",
    "egi/tests/data/test_egi.raw",
    "nicolet/tests/data/test_nicolet_raw.data",
)
MNE_READERS: dict[str, Callable[..., Any]] = {
    ".edf": mne.io.read_raw_edf,
    ".bdf": mne.io.read_raw_bdf,
    ".gdf": mne.io.read_raw_gdf,
    ".vhdr": mne.io.read_raw_brainvision,
    ".fif": mne.io.read_raw_fif,
    ".set": mne.io.read_raw_eeglab,
    ".raw": mne.io.read_raw_egi,
    ".data": lambda path, **keys: mne.io.read_raw_nicolet(path, "eeg", **keys),
}
# From the units of recordings to what mne gives: SI where it knows the unit, the file's own where it does not.
SI = {"nV": 1e-9, "uV": 1e-6, "mV": 1e-3, "V": 1.0, "uS": 1e-6, "S": 1.0, "C": 1.0, "NU": 1.0}


def with_mne(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MNE_READERS[path.suffix](path, verbose="ERROR")


def opened(path: Path) -> Recording:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what mne warns of is a note, or nothing
        return read_mne(path, name="r", patient="p", session="2", labels={"age": "40"})


def columns_of(raw: Any, stim: bool) -> list[int]:
    return [i for i, kind in enumerate(raw.get_channel_types()) if (kind == "stim") == stim]


def assert_signal_is_mnes(recording: Recording, raw: Any) -> None:
    """Values block by block, but where the recording has gaps."""
    keep = columns_of(raw, stim=False)
    scale = np.array([SI[channel.unit] for channel in recording.channels])
    for start, block in recording.blocks(0.37):
        assert block.dtype == np.float32
        expected = raw.get_data(keep, start, start + len(block), verbose="ERROR").T / scale
        gaps = np.isnan(block)
        tolerance = 1e-6 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(np.where(gaps, 0, block), np.where(gaps, 0, expected), rtol=2e-7, atol=tolerance)


@pytest.mark.parametrize("name", NATIVE)
def test_a_native_file_is_what_mne_says(test_data: Path, name: str) -> None:
    path = test_data / "eeg" / "mne-testdata" / name
    recording, raw = opened(path), with_mne(path)
    keep = columns_of(raw, stim=False)
    assert list(recording.channel_names) == [raw.ch_names[i] for i in keep]
    assert recording.sfreq == raw.info["sfreq"]
    assert recording.n_times == raw.n_times
    assert (recording.name, recording.patient, recording.session) == ("r", "p", "2")
    assert recording.labels == {"age": "40"}
    assert recording.source == str(path)
    assert_signal_is_mnes(recording, raw)

    kind = "trigger" if path.suffix == ".raw" else "annotation"
    marks = recording.events.of_kind(kind)
    order = np.argsort(raw.annotations.onset, kind="stable")
    np.testing.assert_allclose(marks.onset_s, raw.annotations.onset[order])
    assert marks.label.tolist() == raw.annotations.description[order].tolist()
    np.testing.assert_allclose(marks.duration_s, raw.annotations.duration[order])
    if path.suffix != ".raw":
        expected = [
            (row[0] - raw.first_samp, str(row[2]))
            for i in columns_of(raw, stim=True)
            for row in mne.find_events(raw, raw.ch_names[i], shortest_event=1, verbose="ERROR")
        ]
        triggers = recording.events.of_kind("trigger")
        steps = np.rint(triggers.onset_s * recording.sfreq).astype(int)
        assert sorted(zip(steps.tolist(), triggers.label.tolist(), strict=True)) == sorted(expected)


def test_units_are_the_files_or_the_usual_ones(test_data: Path) -> None:
    data = test_data / "eeg" / "mne-testdata"
    units = {c.name: (c.kind, c.unit) for c in opened(data / "brainvision/tests/data/test.vhdr").channels}
    assert units["FP1"] == ("eeg", "uV")
    assert units["CP5"] == ("other", "NU")
    assert units["CP6"] == ("other", "uS")
    assert units["Vb"] == ("other", "S")
    assert units["ReRef"] == ("other", "C")
    nicolet = {c.name: (c.kind, c.unit) for c in opened(data / "nicolet/tests/data/test_nicolet_raw.data").channels}
    assert [nicolet[name] for name in ("FP1", "EOG1", "EMG", "ECG")] == [
        ("eeg", "uV"),
        ("eog", "uV"),
        ("emg", "uV"),
        ("ecg", "mV"),
    ]
    edf = {c.name: (c.kind, c.unit) for c in opened(data / "edf/tests/data/test_edf_stim_channel.edf").channels}
    assert [edf[name] for name in ("EEG Fp1", "ECG ECG1", "DIG DTRIG")] == [
        ("eeg", "uV"),
        ("ecg", "mV"),
        ("other", "uV"),
    ]
    uneven = {c.name: (c.kind, c.unit) for c in opened(data / "edf/tests/data/test_uneven_samp.edf").channels}
    assert uneven["3Hz +5/-5 V"] == ("other", "V")
    assert {c.unit for c in opened(data / "egi/tests/data/test_egi.raw").channels} == {"uV"}


def test_opening_reads_no_signal(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a signal was read")

    monkeypatch.setattr(mne.io.BaseRaw, "_read_segment", refuse)
    data = test_data / "eeg" / "mne-testdata"
    assert len(opened(data / "brainvision/tests/data/test.vhdr").events) == 13
    assert opened(data / "nicolet/tests/data/test_nicolet_raw.data").n_times == 512


def test_pieces_are_those_of_the_whole(test_data: Path) -> None:
    recording = opened(test_data / "eeg/mne-testdata/brainvision/tests/data/test.vhdr")
    whole = recording.signal()
    for start, stop in ((0, 0), (0, 1), (17, 4096), (7899, 7900)):
        np.testing.assert_array_equal(recording.read(start, stop), whole[start:stop])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(recording)).read(5, 9), whole[5:9])


def test_triggers_are_found_across_pieces(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = test_data / "eeg/mne-testdata/brainvision/tests/data/test_bin_raw.fif"
    expected = opened(path).events
    assert len(expected) == 10
    monkeypatch.setattr(mne_reader, "PIECE_VALUES", 33 * 7)
    found = opened(path).events
    np.testing.assert_array_equal(found.onset_s, expected.onset_s)
    assert found.label.tolist() == expected.label.tolist()


def test_a_joint_is_a_gap_of_one_sample(test_data: Path) -> None:
    recording = opened(
        test_data / "eeg/mne-testdata/brainvision/tests/data/test_old_layout_latin1_software_filter.vhdr"
    )
    assert any("Pieces were joined at 0.004 s" in note for note in recording.notes)
    missing = np.isnan(recording.signal()).all(axis=1)
    assert np.flatnonzero(missing).tolist() == [1]


def noise(n_chans: int, n_times: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((n_chans, n_times)) * 20e-6


def test_a_skip_in_a_fif_file_is_a_gap(tmp_path: Path) -> None:
    raw = mne.io.RawArray(noise(2, 6000), mne.create_info(["Cz", "Pz"], 100.0, "eeg"), first_samp=300, verbose="ERROR")
    raw.set_meas_date(0)
    raw.set_annotations(mne.Annotations([23.0, 43.0], [10.0, 0.5], ["BAD_ACQ_SKIP", "spike"], orig_time=0))
    raw.save(tmp_path / "a_raw.fif", buffer_size_sec=1.0, verbose="ERROR")
    recording = opened(tmp_path / "a_raw.fif")
    assert recording.notes == ("The file skips 10 s; they are gaps",)
    missing = np.isnan(recording.signal()).all(axis=1)
    assert np.flatnonzero(missing).tolist() == list(range(2000, 3000))
    np.testing.assert_allclose(recording.read(3000, 3100), raw.get_data(None, 3000, 3100).T * 1e6, rtol=1e-5, atol=1e-4)
    marks = recording.events.of_kind("annotation")
    spikes = marks.where(marks.label == "spike")
    assert (spikes.onset_s.tolist(), spikes.duration_s.tolist()) == ([40.0], [0.5])


def test_an_eeglab_file(tmp_path: Path) -> None:
    info = mne.create_info(["Cz", "Pz", "EOG1"], 100.0, ["eeg", "eeg", "eog"])
    raw = mne.io.RawArray(noise(3, 500), info, verbose="ERROR")
    raw.set_annotations(mne.Annotations([1.0, 2.0, 3.0], [0.0, 0.0, 0.5], ["target", "boundary", "standard"]))
    raw.export(tmp_path / "a.set", verbose="ERROR")
    recording = opened(tmp_path / "a.set")
    assert_signal_is_mnes(recording, with_mne(tmp_path / "a.set"))
    assert recording.channel_names == ("Cz", "Pz", "EOG1")
    assert {channel.unit for channel in recording.channels} == {"uV"}
    assert recording.events.label.tolist() == ["target", "boundary", "standard"]
    missing = np.isnan(recording.signal()).all(axis=1)
    assert np.flatnonzero(missing).tolist() == [200]
    assert any("joined at 2 s" in note for note in recording.notes)


def test_an_eeglab_file_beside_its_samples(tmp_path: Path) -> None:
    from scipy.io import savemat

    values = (noise(2, 400) * 1e6).astype("<f4")
    (tmp_path / "a.fdt").write_bytes(values.T.tobytes())
    places = np.array([("Cz",), ("Pz",)], dtype=[("labels", object)])
    head = {"nbchan": 2, "pnts": 400, "trials": 1, "srate": 100.0, "xmin": 0.0, "xmax": 3.99, "setname": "a", "ref": ""}
    empty = np.empty((0, 0))
    savemat(tmp_path / "a.set", {"EEG": {**head, "data": "a.fdt", "chanlocs": places, "event": empty, "epoch": empty}})
    recording = opened(tmp_path / "a.set")
    np.testing.assert_allclose(recording.signal(), values.T, rtol=1e-6)


@pytest.mark.parametrize("version", ["1.25", "2.20"])
@pytest.mark.parametrize("unit", ["uV", "mV", ""])
def test_a_gdf_file(tmp_path: Path, make_gdf: Callable[..., bytes], version: str, unit: str) -> None:
    digital = np.random.default_rng(1).integers(-1000, 1001, (300, 3)).astype(np.int16)
    path = tmp_path / "a.gdf"
    path.write_bytes(make_gdf(digital, version=version, unit=unit, events=[(51, 769, 100), (201, 770, 1)]))
    recording = opened(path)
    assert recording.channel_names == ("Fp1", "Cz", "ECG")
    assert (recording.sfreq, recording.n_times) == (100.0, 300)
    unit_of = {"uV": ["uV", "uV", "mV"], "mV": ["uV", "uV", "mV"], "": ["NU", "NU", "NU"]}[unit]
    assert [channel.unit for channel in recording.channels] == unit_of
    to_file = {"uV": [1, 1, 1e-3], "mV": [1e3, 1e3, 1], "": [1, 1, 1]}[unit]
    np.testing.assert_allclose(recording.signal(), digital * 0.1 * np.array(to_file), rtol=1e-5, atol=1e-6)
    assert recording.events.onset_s.tolist() == [0.5, 2.0]
    assert recording.events.label.tolist() == ["769", "770"]
    assert recording.events.duration_s.tolist() == [1.0, 0.01]


@pytest.mark.filterwarnings("ignore:Encountered unsupported")
def test_a_brainvision_file_of_another_writer(tmp_path: Path) -> None:
    import pybv

    values = noise(3, 500)
    pybv.write_brainvision(
        data=values,
        sfreq=250,
        ch_names=["Cz", "V1", "GSR"],
        fname_base="a",
        folder_out=tmp_path,
        unit=["µV", "mV", "n/a"],
        events=[{"onset": 100, "duration": 5, "description": 3, "type": "Stimulus"}],
    )
    recording = opened(tmp_path / "a.vhdr")
    assert [(c.name, c.kind, c.unit) for c in recording.channels] == [
        ("Cz", "eeg", "uV"),
        ("V1", "eeg", "uV"),
        ("GSR", "other", "NU"),
    ]
    np.testing.assert_allclose(recording.signal(), values.T * [1e6, 1e6, 1], rtol=1e-4, atol=0.1)
    assert recording.events.label.tolist() == ["Stimulus/S  3"]
    assert recording.events.onset_s.tolist() == [0.4]
