"""EDF and BDF: scales, rates, pauses, annotations and triggers against what was written and mne."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biocl.datasets.dataset import Dataset, Entry
from biocl.errors import DataError
from biocl.signals.readers import edf_reader
from biocl.signals.readers.edf_reader import read_edf
from biocl.signals.recording import Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

Make = Callable[..., bytes]
RNG = np.random.default_rng(0)


def opened(path: Path, content: bytes | None = None) -> Recording:
    if content is not None:
        path.write_bytes(content)
    return read_edf(path, name="r", patient="p")


def signal(label: str, unit: str = "uV", per_record: int = 20, n_records: int = 4, **keys: Any) -> dict[str, Any]:
    digital = RNG.integers(-1000, 1001, per_record * n_records)
    return {"label": label, "unit": unit, "per_record": per_record, "digital": digital, **keys}


def stamps(*onset_s: float, said: str = "") -> list[bytes]:
    return [b"+%g\x14\x14\x00" % t + (said.encode() if said else b"") for t in onset_s]


@pytest.mark.parametrize("bdf", [False, True])
def test_values_are_what_was_written(tmp_path: Path, make_edf: Make, bdf: bool) -> None:
    largest = 2**23 - 1 if bdf else 2**15 - 1
    cz = {
        "label": "EEG Cz-Ref",
        "unit": "uV",
        "per_record": 3,
        "digital": np.array([-largest - 1, -1, 0, 1, 77, largest]),
    }
    ecg = {"label": "ECG", "unit": "uV", "per_record": 3, "digital": np.arange(6), "limits": (0, 500, 0, 5)}
    flow = {"label": "Flow", "unit": "L/min", "per_record": 3, "digital": np.arange(6), "limits": (10, -10, 0, 4)}
    recording = opened(tmp_path / f"a.{'bdf' if bdf else 'edf'}", make_edf([cz, ecg, flow], bdf=bdf, record_s=0.5))
    assert recording.sfreq == 6.0
    assert [(c.name, c.kind, c.unit) for c in recording.channels] == [
        ("EEG Cz-Ref", "eeg", "uV"),
        ("ECG", "ecg", "mV"),
        ("Flow", "other", "L/min"),
    ]
    expected = np.column_stack([cz["digital"] * 0.1, np.arange(6) * 0.1, 10 - np.arange(6) * 5.0])
    np.testing.assert_allclose(recording.signal(), expected, rtol=1e-6)
    assert recording.notes == ()


def test_a_file_of_another_writer(tmp_path: Path) -> None:
    import edfio

    values = [RNG.standard_normal(1000) * 50, RNG.standard_normal(1000)]
    signals = [
        edfio.EdfSignal(values[0], 200, label="EEG Fp1", physical_dimension="uV", physical_range=(-400, 400)),
        edfio.EdfSignal(values[1], 200, label="ECG II", physical_dimension="mV", physical_range=(-8, 8)),
    ]
    said = [edfio.EdfAnnotation(1.25, 0.5, "arousal"), edfio.EdfAnnotation(2.0, None, "Müdigkeit")]
    edfio.Edf(signals, annotations=said).write(tmp_path / "a.edf")
    recording = opened(tmp_path / "a.edf")
    assert [c.unit for c in recording.channels] == ["uV", "mV"]
    np.testing.assert_allclose(recording.signal(), np.column_stack(values), atol=0.02)
    events = recording.events.of_kind("annotation")
    assert events.onset_s.tolist() == [1.25, 2.0]
    assert events.duration_s.tolist() == [0.5, 0.0]
    assert events.label.tolist() == ["arousal", "Müdigkeit"]


def test_annotations_are_read_without_the_signals(
    tmp_path: Path, make_edf: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "+0.5\x150.25\x14spike\x14\x00"
    (tmp_path / "a.edf").write_bytes(make_edf([signal("Cz")], reserved="EDF+C", tals=stamps(0, 1, 2, 3, said=said)))

    def refuse(*_: Any) -> None:
        raise AssertionError("a signal was read")

    monkeypatch.setattr(edf_reader, "read_records", refuse)
    recording = opened(tmp_path / "a.edf")
    assert recording.events.label.tolist() == ["spike"] * 4
    assert recording.events.duration_s.tolist() == [0.25] * 4
    with pytest.raises(AssertionError, match="a signal was read"):
        recording.read(0, 1)


def test_annotations_count_from_the_first_sample_and_are_ended(tmp_path: Path, make_edf: Make) -> None:
    tals = [
        b"+0.5\x14\x14\x00+1.5\x152\x14one@@Cz\x14two\x14\x00",
        b"+1.5\x14\x14\x00-9\x14early\x14\x00",
        b"+2.5\x14\x14\x00rubbish\x14\x00",
        b"+3.5\x14\x14\x00+4\x159\x14long\x14\x00+99\x14late\x14\x00",
    ]
    recording = opened(tmp_path / "a.edf", make_edf([signal("Cz")], reserved="EDF+C", tals=tals))
    assert recording.events.label.tolist() == ["one", "two", "long"]
    assert recording.events.onset_s.tolist() == [1.0, 1.0, 3.5]
    assert recording.events.duration_s.tolist() == [2.0, 2.0, 0.5]
    assert len(recording.notes) == 3
    for said in ("2 annotations lie outside", "1 annotations reach over the end", "1 entries of the annotation signal"):
        assert any(note.startswith(said) for note in recording.notes)


def slow_read(parts: list[dict[str, Any]], onset_s: list[float]) -> np.ndarray:
    """The recording sample by sample; the fastest signal first."""
    fast = parts[0]["per_record"]
    n_times = round(onset_s[-1] * fast) + fast
    out = np.full((n_times, len(parts)), np.nan)
    for record, onset in enumerate(onset_s):
        begin = round(onset * fast)
        follows = record + 1 < len(onset_s) and round(onset_s[record + 1] * fast) == begin + fast
        for column, part in enumerate(parts):
            n = part["per_record"]
            values = list(part["digital"][record * n : (record + 1) * n] * 0.1)
            values.append(part["digital"][(record + 1) * n] * 0.1 if follows else values[-1])
            for step in range(fast):
                place, rest = divmod(step * n, fast)
                share = rest / fast
                out[begin + step, column] = values[place] * (1 - share) + values[place + 1] * share
    return out


@pytest.mark.parametrize(("reserved", "onset_s"), [("", [0, 1, 2, 3]), ("EDF+D", [0, 1, 3.5, 4.5])])
def test_rates_and_pauses_in_any_piece(tmp_path: Path, make_edf: Make, reserved: str, onset_s: list[float]) -> None:
    parts = [signal("Cz", per_record=20), signal("Resp", per_record=5), signal("SpO2", "uV", per_record=3)]
    tals = stamps(*onset_s) if reserved else None
    recording = opened(tmp_path / "a.edf", make_edf(parts, reserved=reserved, tals=tals))
    expected = slow_read(parts, onset_s)
    assert recording.n_times == len(expected)
    np.testing.assert_allclose(recording.signal(), expected, rtol=1e-5, atol=1e-4)
    assert "Resp (5 Hz), SpO2 (3 Hz)" in recording.notes[0]
    if reserved:
        assert recording.notes[1] == "The recording pauses (1 pauses, 1.5 s in all); the pauses are gaps"
        assert np.isnan(recording.signal()[40:70]).all()

    @settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, recording.n_times), st.integers(0, recording.n_times))
    def pieces(one: int, other: int) -> None:
        start, stop = sorted((one, other))
        np.testing.assert_array_equal(recording.read(start, stop), recording.signal()[start:stop])

    pieces()


def test_mixed_rates_of_a_native_file(test_data: Path) -> None:
    path = test_data / "eeg/mne-testdata/edf/tests/data/test_uneven_samp.edf"
    recording = opened(path)
    raw = mne.io.read_raw_edf(path, verbose="ERROR")
    assert recording.sfreq == raw.info["sfreq"]
    assert list(recording.channel_names) == raw.ch_names
    np.testing.assert_allclose(recording.signal()[:, 0], raw.get_data([0])[0], rtol=1e-6)
    assert "0.2Hz Blk 1/0uV (12.8 Hz)" in recording.notes[0]
    only = mne.io.read_raw_edf(path, exclude=[raw.ch_names[0]], verbose="ERROR").get_data()[0] * 1e6
    at = np.arange(0, recording.n_times, 125)  # where samples of both rates coincide
    np.testing.assert_allclose(recording.signal()[at, 1], only[at * 16 // 125], rtol=1e-5, atol=1e-3)


def test_time_that_goes_backwards_is_refused(tmp_path: Path, make_edf: Make) -> None:
    content = make_edf([signal("Cz")], reserved="EDF+D", tals=stamps(0, 1, 0.5, 3))
    with pytest.raises(DataError, match=r"Time goes backwards: data record 3 begins at 0\.5 s"):
        opened(tmp_path / "a.edf", content)
    content = make_edf([signal("Cz")], reserved="EDF+D", tals=[*stamps(0, 1, 2), b"+9000000\x14\x14\x00"])
    with pytest.raises(DataError, match="pauses of"):
        opened(tmp_path / "a.edf", content)
    content = make_edf([signal("Cz")], reserved="EDF+D", tals=[*stamps(0, 1, 2), b"\x00"])
    with pytest.raises(DataError, match="Data record 4 has no time stamp"):
        opened(tmp_path / "a.edf", content)


@pytest.mark.parametrize("piece", [1, 10**6])
def test_triggers(tmp_path: Path, make_edf: Make, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(edf_reader, "PIECE_BYTES", piece)
    codes = np.array([7] * 5 + [0] * 14 + [3] * 4 + [9] * 4 + [2] * 4 + [0] * 8 + [65536 + 4])
    status = {"label": "Status", "unit": "", "per_record": 10, "digital": codes}
    content = make_edf([signal("Cz", per_record=10), status], bdf=True)
    recording = opened(tmp_path / "a.bdf", content)
    assert recording.channel_names == ("Cz",)
    events = recording.events.of_kind("trigger")
    assert events.onset_s.tolist() == [1.9, 2.3, 3.9]
    assert events.label.tolist() == ["3", "9", "65540"]
    raw = mne.io.read_raw_bdf(tmp_path / "a.bdf", verbose="ERROR")
    found = mne.find_events(raw, shortest_event=1, verbose="ERROR")
    assert (found[:, 0] / 10).tolist() == events.onset_s.tolist()[: len(found)]


def test_names_scales_and_lengths_that_need_a_word(tmp_path: Path, make_edf: Make) -> None:
    parts = [signal("Cz"), signal("Cz"), signal("Pz", limits=(0, 0, -1000, 1000)), signal("Oz", "")]
    content = make_edf(parts, n_records=-1)
    recording = opened(tmp_path / "a.edf", content + b"abc")
    assert recording.channel_names == ("Cz-0", "Cz-1", "Pz", "Oz")
    assert [c.unit for c in recording.channels] == ["uV", "uV", "NU", "NU"]
    np.testing.assert_array_equal(recording.signal()[:, 2], parts[2]["digital"])
    for said in (
        "2 channels are named 'Cz'",
        "Channel Pz has no physical range",
        "does not say how many",
        "3 bytes after",
    ):
        assert any(said in note for note in recording.notes), said


@pytest.mark.parametrize(
    ("unit", "said"),
    [("mV", r"varies by \d\d\.\d+ mV .* not mV but uV"), ("nV", r"varies by \d\d\.\d+ nV .* not nV but uV")],
)
def test_a_wrong_unit_is_named_as_the_file_names_it(tmp_path: Path, make_edf: Make, unit: str, said: str) -> None:
    recording = opened(tmp_path / "a.edf", make_edf([signal("Cz", unit)]))
    assert recording.file_units == {"Cz": unit}
    assert [channel.unit for channel in recording.channels] == ["uV"]
    dataset = Dataset("own", "eeg", "1", lambda raw: [Entry("r", "p")], lambda entry: recording, ())
    with pytest.raises(DataError, match=said):
        build_store(dataset, None, tmp_path / "store", ConditioningSpec())


def damaged(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


@pytest.mark.parametrize(
    ("suffix", "change", "said"),
    [
        (".bdf", lambda b: b, "named like BDF and begins like EDF"),
        (".edf", lambda b: b[:-1], "announces 4 data records, and it holds 3"),
        (".edf", lambda b: b[:300], "ends before describing them"),
        (".edf", lambda b: b[:100], "the file is 100 bytes long"),
        (".edf", lambda b: b[:512], "announces 4 data records, and it holds 0"),
        (".edf", lambda b: b"garbage!" + b[8:], "not an EDF or BDF file"),
        (".edf", lambda b: damaged(b, 236, b"many    "), "the number of data records is 'many', which is not a number"),
        (".edf", lambda b: damaged(b, 236, b"9999    "), "announces 9999 data records"),
        (".edf", lambda b: damaged(b, 244, b"0       "), "its data records are 0 s long"),
        (".edf", lambda b: damaged(b, 244, b"nan     "), "not a number"),
        (".edf", lambda b: damaged(b, 252, b"0   "), "it announces 0 signals"),
        (".edf", lambda b: damaged(b, 252, b"9999"), "ends before describing them"),
        (".edf", lambda b: damaged(b, 184, b"1024    "), "its length does not fit 1 signals"),
        (".edf", lambda b: damaged(b, 256 + 104, b"high    "), "a limit of signal 'Cz' is 'high'"),
        (".edf", lambda b: damaged(b, 256 + 216, b"-20     "), "-20 samples in a data record"),
        (".edf", lambda b: damaged(b, 256 + 216, b"2.5     "), "not a whole number"),
        (".edf", lambda b: damaged(b, 256, b"EDF Annotations "), "holds annotations and no signals"),
        (".edf", lambda b: damaged(b, 256, b"Status          "), "no signals beside triggers"),
    ],
)
def test_a_bad_file_is_one_paragraph(
    tmp_path: Path, make_edf: Make, suffix: str, change: Callable[[bytes], bytes], said: str
) -> None:
    with pytest.raises(DataError, match=said) as refused:
        opened(tmp_path / f"a{suffix}", change(make_edf([signal("Cz")])))
    assert f"Where: {tmp_path / f'a{suffix}'}." in str(refused.value)
    assert "\n" not in str(refused.value)
