"""PTB: which recordings, COMET's beats bit by bit, its split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from biocl.datasets.card import read_card
from biocl.datasets.ptb_beats import (
    BEAT_STEPS,
    beat_positions,
    comet_trials,
    padded_beats,
    pseudo_trials,
    resampled_linearly,
    standardised,
    upward_peaks,
)
from biocl.datasets.ptbdb import COMET_LEFT_OUT, PTBDB, PTBDB_COMET
from biocl.errors import DataError
from biocl.signals.heartbeats import r_peaks
from biocl.splits.file import splits_from_json
from biocl.store.build import build_store
from biocl.store.gather import gather

Floats = NDArray[np.float64]
HEALTHY, INFARCTION = "Healthy control", "Myocardial infarction"
LEADS = ["i", "ii", "iii"]


def heart(n_times: int, sfreq: float, rr_s: float, seed: int = 0) -> Floats:
    """Three leads of triangles, one every `rr_s` seconds, shape (n_times, 3)."""
    time = np.arange(n_times) / sfreq
    beat = np.maximum(0, 1 - np.abs((time + rr_s / 2) % rr_s - rr_s / 2) / 0.04)
    noise = np.random.default_rng(seed).normal(size=(n_times, 3))
    return beat[:, None] * [1.0, 1.5, -0.8] + 0.01 * noise + [0.1, 0.2, 0.3]


def write_record(raw: Path, patient: str, name: str, reason: str | None, rr_s: float = 0.7, seconds: int = 12) -> None:
    """One record in the published layout."""
    import wfdb

    (raw / patient).mkdir(parents=True, exist_ok=True)
    comments = ["age: 60", "sex: male", "ECG date: 03/12/1991", "Diagnose:"]
    comments += [] if reason is None else [f"Reason for admission: {reason}"]
    signal = heart(1000 * seconds, 1000, rr_s, seed=len(name))
    wfdb.wrsamp(name, 1000, ["mV"] * 3, LEADS, signal, fmt=["16"] * 3, comments=comments, write_dir=str(raw / patient))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "ptb"
    write_record(folder, "patient002", "s0015lre", INFARCTION)
    write_record(folder, "patient104", "s0306lre", HEALTHY, rr_s=0.9)
    write_record(folder, "patient002", "s0011lre", INFARCTION, rr_s=0.8)
    write_record(folder, "patient023", "s0085lre", INFARCTION)
    write_record(folder, "patient200", "s0400lre", "Cardiomyopathy")
    return folder


def link_real_record(test_data: Path, raw: Path) -> None:
    """The one record of the database that the test data hold, where the database has it."""
    (raw / "patient001").mkdir(parents=True)
    for path in (test_data / "ecg" / "wfdb-python-sample").glob("s0010_re.*"):
        (raw / "patient001" / path.name).symlink_to(path)


def test_only_infarction_and_healthy_controls_are_listed(raw: Path) -> None:
    found = PTBDB.entries(raw)
    assert [(e.patient, e.name, e.labels["label"]) for e in found] == [
        ("patient002", "s0011lre", "MI"),
        ("patient002", "s0015lre", "MI"),
        ("patient023", "s0085lre", "MI"),
        ("patient104", "s0306lre", "HC"),
    ]
    assert found[0].session == found[0].labels["date"] == "1991-12-03"
    assert [e.name for e in PTBDB_COMET.entries(raw)] == ["s0011lre", "s0015lre", "s0306lre"]
    assert len(COMET_LEFT_OUT) == 10


def test_the_order_of_the_listing_changes_nothing(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = PTBDB.entries(raw)
    listed = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: sorted(listed(self, pattern), reverse=True))
    assert PTBDB.entries(raw) == expected


def test_a_header_without_a_reason_and_an_empty_folder_are_refused(raw: Path, tmp_path: Path) -> None:
    write_record(raw, "patient105", "s0303lre", None)
    with pytest.raises(DataError, match=r"reason for admission.*s0303lre\.hea"):
        PTBDB.entries(raw)
    with pytest.raises(DataError, match=r"patient001.*--download"):
        PTBDB.entries(tmp_path / "nothing")


def test_the_continuous_set_has_beats_as_events(raw: Path) -> None:
    recording = PTBDB.read(PTBDB.entries(raw)[0])
    beats = recording.events.of_kind("beat")
    assert recording.sfreq == 1000
    assert np.diff(beats.onset_s) == pytest.approx(0.8, abs=0.01)
    assert len(beats) == 14  # of the one at 0 s only half is there
    assert recording.notes


def test_the_real_record_has_the_interval_that_comet_printed(test_data: Path, tmp_path: Path) -> None:
    """183 steps is the median interval of patient001/s0010_re in COMET's published notebook."""
    link_real_record(test_data, tmp_path / "ptb")
    [entry] = PTBDB_COMET.entries(tmp_path / "ptb")
    assert (entry.patient, entry.labels["label"], entry.labels["age"]) == ("patient001", "MI", "81")
    recording = PTBDB_COMET.read(entry)
    assert recording.labels["median_rr_steps"] == "183"
    assert recording.n_times == 5 * 10 * BEAT_STEPS
    assert len(recording.channels) == 15
    assert {channel.kind for channel in recording.channels if channel.name != "vz"} == {"ecg"}
    assert len(PTBDB.read(PTBDB.entries(tmp_path / "ptb")[0]).events.of_kind("beat")) == 52


# What follows holds the steps of the preprocessing to slow, separate computations.


def test_resampling_is_linear_interpolation_between_the_ends() -> None:
    from scipy.interpolate import interp1d

    signal = np.random.default_rng(0).normal(size=(1003, 2))
    found = resampled_linearly(signal, 1000.0)
    assert found.shape == (250, 2)
    assert np.array_equal(found[[0, -1]], signal[[0, -1]])
    steps = np.linspace(1, 1003, 1003)
    expected = interp1d(steps, signal, axis=0)(np.linspace(1, 1003, 250))
    assert found == pytest.approx(expected, abs=1e-12)


def test_standardising_is_that_of_scikit_learn() -> None:
    from sklearn.preprocessing import StandardScaler

    signal = np.random.default_rng(0).normal([0, 5, -2], [1, 1e-3, 40], (3000, 3))
    signal = np.hstack([signal, np.full((3000, 1), 4.0)])
    assert standardised(signal) == pytest.approx(StandardScaler().fit_transform(signal), abs=1e-9)
    assert not standardised(signal)[:, 3].any()


def test_peaks_are_upward_ones() -> None:
    """A lead with a small R wave and a deep S wave 40 ms behind it: the peak is the R wave, not the S."""
    time = np.arange(5000) / 250
    beats = np.arange(200, 4900, 200)
    lead = np.zeros(5000)
    for beat in beats / 250:
        lead += 0.4 * np.maximum(0, 1 - np.abs(time - beat) / 0.02) - np.maximum(
            0, 1 - np.abs(time - beat - 0.04) / 0.02
        )
    found = upward_peaks(lead, 250.0)
    assert np.array_equal(found, beats)
    assert np.abs(r_peaks(lead, 250.0) - beats).min() > 2


def test_positions_are_medians_over_leads() -> None:
    leads = [np.array([100, 300, 500]), np.array([102, 301, 503]), np.array([98, 310])]
    positions, interval = beat_positions(leads)
    assert positions.tolist() == [100, 301, 501.5]
    assert interval == np.median([200, 200.5, 212])
    assert np.isnan(beat_positions([np.array([5]), np.array([], dtype=np.int64)])[1])


def padded_slowly(signal: Floats, positions: Sequence[float], interval: float) -> Floats:
    """One value at a time: the step of the beat that a step of the signal lands on."""
    half = int(interval / 2)
    beats = np.zeros((len(positions), 300, signal.shape[1]))
    for number, position in enumerate(positions):
        steps = [s for s in range(int(position) - half, int(position) + half) if 0 <= s < len(signal)]
        left = (300 - len(steps)) // 2
        for k, step in enumerate(steps):
            beats[number, left + k] = signal[step]
    return beats


def test_padding_policy_bit_by_bit() -> None:
    """Zeros, on both sides, the odd one behind; a beat at an end of the recording is shorter."""
    signal = np.arange(1.0, 1001.0)[:, None] * [1.0, -1.0]
    beats = padded_beats(signal, np.array([50.0, 400.5, 950.0]), 183.0)  # half an interval is 91 steps
    assert beats.shape == (3, 300, 2)
    first, middle, last = beats[:, :, 0]
    assert np.array_equal(first, [0.0] * 79 + list(range(1, 142)) + [0.0] * 80)  # 141 steps: 0 to 140
    assert np.array_equal(middle, [0.0] * 59 + list(range(310, 492)) + [0.0] * 59)  # 182 steps: 309 to 490
    assert np.array_equal(last, [0.0] * 79 + list(range(860, 1001)) + [0.0] * 80)
    assert np.array_equal(beats[:, :, 1], -beats[:, :, 0])


@settings(max_examples=50, deadline=None)
@given(
    n_times=st.integers(1, 900),
    interval=st.floats(2, 300),
    places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=6),
)
def test_padding_equals_the_slow_way(n_times: int, interval: float, places: list[float]) -> None:
    signal = np.random.default_rng(n_times).normal(size=(n_times, 2))
    positions = [place * n_times for place in places]
    expected = padded_slowly(signal, positions, interval)
    assert np.array_equal(padded_beats(signal, np.array(positions), interval), expected)


def test_too_long_an_interval_keeps_the_middle() -> None:
    signal = np.arange(1000.0)[:, None]
    assert np.array_equal(padded_beats(signal, np.array([500.0]), 420.0)[0, :, 0], np.arange(350.0, 650.0))


def test_a_trial_is_ten_beats_standardised_with_their_padding() -> None:
    rng = np.random.default_rng(0)
    beats = padded_beats(rng.normal(size=(6000, 2)), np.arange(100, 5900, 230.0), 200.0)
    trials = pseudo_trials(beats)
    assert trials.shape == (len(beats) // 10, 3000, 2) == (2, 3000, 2)
    joined = np.concatenate(list(beats[10:20]))
    assert np.array_equal(trials[1], (joined - joined.mean(axis=0)) / joined.std(axis=0))
    # What was zero has one value per lead, and it is not zero: it takes part in the mean.
    padding = trials[1].reshape(10, 300, 2)[:, :50]
    assert np.array_equal(padding, np.broadcast_to(-joined.mean(axis=0) / joined.std(axis=0), padding.shape))


def test_statistics_of_a_trial_do_not_depend_on_the_others() -> None:
    beats = padded_beats(np.random.default_rng(1).normal(size=(6000, 2)), np.arange(100, 5900, 230.0), 200.0)
    changed = beats.copy()
    changed[10:] *= 1000
    assert np.array_equal(pseudo_trials(changed)[0], pseudo_trials(beats)[0])
    assert not len(pseudo_trials(beats[:9]))


def test_the_store_holds_the_trials_bit_by_bit(raw: Path, tmp_path: Path) -> None:
    store = build_store(PTBDB_COMET, raw, tmp_path / "store")
    table = store.windows
    assert (table.n_times, store.sfreq, table.classes) == (300, 250.0, ("HC", "MI"))
    for number, entry in enumerate(PTBDB_COMET.entries(raw)):
        signal = PTBDB.read(next(e for e in PTBDB.entries(raw) if e.name == entry.name)).signal()
        trials, _ = comet_trials(signal.astype(np.float64), 1000.0)
        rows = np.flatnonzero(table.recording == number)
        assert len(rows) == 10 * len(trials) > 0
        assert np.array_equal(gather(store, table, rows), trials.reshape(-1, 300, 3).astype(np.float32))
        assert np.bincount(table.trial[rows] - table.trial[rows[0]]).tolist() == [10] * len(trials)
        assert {table.classes[label] for label in table.label[rows]} == {entry.labels["label"]}


def test_a_recording_with_few_beats_is_named(tmp_path: Path) -> None:
    write_record(tmp_path, "patient104", "s0306lre", HEALTHY, rr_s=0.9, seconds=6)
    with pytest.raises(DataError, match=r"Fewer than 10 heartbeats.*s0306lre"):
        PTBDB_COMET.read(PTBDB_COMET.entries(tmp_path)[0])


def test_the_split_is_comets() -> None:
    """Ordered by number within each group: the last 7 and 21 are test, those before them validation."""
    [split] = splits_from_json({"name": "comet", **PTBDB_COMET.splits["comet"]}, "comet")
    assert split.patient_independent
    train, validation, test = (split.parts[part] for part in ("train", "validation", "test"))
    assert [len(train), len(validation), len(test)] == [142, 28, 28]
    healthy = [*train[:37], *validation[:7], *test[:7]]
    ill = [*train[37:], *validation[7:], *test[7:]]
    assert healthy == sorted(healthy)
    assert ill == sorted(ill)
    assert (healthy[0], healthy[-1], ill[0], ill[-1]) == ("patient104", "patient284", "patient001", "patient294")
    assert len({*healthy, *ill}) == 198
    assert not {"patient273", "patient277"} & {*healthy, *ill}


def test_the_card_says_what_comet_counted() -> None:
    card = read_card("ptbdb-comet")
    assert (card.patients, card.windows) == (198, 62_370)
    assert card.classes is not None
    assert sum(card.classes.values()) == 62_370
    assert card.recordings == 448 - len(COMET_LEFT_OUT)
