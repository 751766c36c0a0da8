"""Floors measure what their names say, and reproduce the known rows of MIT-BIH."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from biocl.errors import UsageError
from biocl.evaluation import floors_common
from biocl.evaluation.floors import FLOORS, FloorArm, Windows, floor_rows, floors_for, majority_proba
from biocl.evaluation.floors_common import amplitude, log_variance, raw
from biocl.evaluation.floors_ecg import rhythm, rr_intervals, shape
from biocl.evaluation.floors_eeg import BANDS_HZ, band_power
from biocl.evaluation.floors_imu import means, statistics
from biocl.evaluation.metrics import classification_metrics, macro_f1
from biocl.evaluation.probe import fit_probe
from biocl.evaluation.spec import ProbeSpec

DS1 = [
    "101",
    "106",
    "108",
    "109",
    "112",
    "114",
    "115",
    "116",
    "118",
    "119",
    "122",
    "124",
    "201",
    "203",
    "205",
    "207",
    "208",
    "209",
    "215",
    "220",
    "223",
    "230",
]
DS2 = [
    "100",
    "103",
    "105",
    "111",
    "113",
    "117",
    "121",
    "123",
    "200",
    "202",
    "210",
    "212",
    "213",
    "214",
    "219",
    "221",
    "222",
    "228",
    "231",
    "232",
    "233",
    "234",
]
VALIDATION = ["114", "118", "124", "205"]
AAMI = {
    **dict.fromkeys("NLRej", 0),
    **dict.fromkeys("SAaJ", 1),
    "V": 2,
    "E": 2,
    "F": 3,
    "/": -1,
    "f": -1,
    "Q": -1,
}


def windows(n: int = 40, n_chans: int = 2, n_times: int = 100, seed: int = 0, **more) -> Windows:
    x = np.random.default_rng(seed).normal(size=(n, n_chans, n_times)).astype(np.float32)
    return Windows(x, 125.0, np.arange(n) % 3, **more)


def test_which_floors_can_be_computed() -> None:
    def names(modality: str, w: Windows) -> list[str]:
        return [floor.name for floor in floors_for(modality, w)]

    beats = windows(event_s=0.3, rr=np.zeros((40, 6)))
    assert names("ecg", beats) == ["majority", "amplitude", "raw", "shape", "rr", "rr-shape"]
    assert names("ecg", windows(event_s=0.3)) == ["majority", "amplitude", "raw", "shape"]
    assert names("ecg", windows(rr=np.zeros((40, 6)))) == ["majority", "amplitude", "raw", "rr"]
    assert names("ecg", windows(event_s=0.1)) == ["majority", "amplitude", "raw"]
    seconds = windows(n_times=400)
    assert names("ecg", seconds) == ["majority", "amplitude", "raw", "rhythm"]
    assert names("ecg", replace(seconds, sfreq=40.0)) == ["majority", "amplitude", "raw"]
    eeg = ["majority", "amplitude", "log-variance", "band-power", "tangent-space", "minirocket", "raw"]
    assert names("eeg", windows()) == eeg
    assert names("eeg", windows(n_chans=1)) == [name for name in eeg if name != "tangent-space"]
    assert names("eeg", windows(n=5001, n_times=2)) == [name for name in eeg if name != "minirocket"]
    assert names("imu", windows()) == ["majority", "means", "statistics", "minirocket", "raw"]
    assert names("other", windows()) == ["majority", "amplitude", "raw"]


def test_rows_of_every_input_scale() -> None:
    floors = [FLOORS[name] for name in ("majority", "rr", "amplitude", "shape")]
    plain = [row.name for row in floor_rows(floors, None, per_recording=False)]
    assert plain == ["majority", "rr", "amplitude", "shape"]
    rows = floor_rows(floors, ["none", "window"], per_recording=True)
    assert [row.name for row in rows] == [
        "majority",
        "rr",
        "amplitude (raw input)",
        "shape (raw input)",
        "shape (z-scored windows)",
        "rr, per recording",
        "shape (raw input), per recording",
        "shape (z-scored windows), per recording",
    ]
    assert [FloorArm.parse(row.name) for row in rows] == rows
    assert FloorArm.parse("pretrained") is None
    assert FloorArm.parse("untrained (raw input)") is None


def test_nothing_is_left_of_levels_in_z_scored_windows() -> None:
    """The floors that are left out there are those, and only those, that would be the same for every window.

    An odd length: with an even one the energy counts one frequency, the Nyquist rate, twice.
    """
    x = windows(n_times=51).x.astype(np.float64)
    x = (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)
    scored = Windows(x, 125.0, np.arange(40))
    for name in ("amplitude", "log-variance", "means", "statistics", "band-power", "raw", "tangent-space"):
        spread = FLOORS[name].compute(scored, np.arange(40) < 30, 0).std(axis=0).max()
        assert (spread < 1e-9) == (FLOORS[name].scaling == "level"), name


@pytest.mark.parametrize("name", [name for name in FLOORS if name != "majority"])
def test_blocks_change_no_number(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    w = windows(event_s=0.3, rr=np.ones((40, 6)))
    train = np.arange(40) < 30
    whole = FLOORS[name].compute(w, train, 0)
    assert whole.shape[0] == 40
    assert np.isfinite(whole).all()
    monkeypatch.setattr(floors_common, "BLOCK", 7)
    np.testing.assert_array_equal(FLOORS[name].compute(w, train, 0), whole)


def test_amplitude_is_the_mean_log_variance() -> None:
    w = windows()
    np.testing.assert_allclose(amplitude(w)[:, 0], np.log(w.x.astype(float).var(-1) + 1e-6).mean(1))
    assert log_variance(w).shape == (40, 2)


def test_band_power_finds_the_band() -> None:
    time = np.arange(500) / 125.0
    x = np.sin(2 * np.pi * 10 * time)[None, None].astype(np.float32)
    power = band_power(Windows(x, 125.0, np.zeros(1)))[0]
    assert list(BANDS_HZ)[power.argmax()] == "alpha"


def test_statistics_of_axes() -> None:
    w = windows()
    x = w.x.astype(float)
    table = statistics(w)
    np.testing.assert_allclose(table[:, :2], x.mean(-1))
    np.testing.assert_allclose(table[:, 2:4], x.std(-1))
    np.testing.assert_allclose(means(w), x.mean(-1))


def test_raw_windows_keep_their_order_and_large_ones_are_averaged() -> None:
    w = windows()
    np.testing.assert_allclose(raw(w), w.x.reshape(40, -1))
    large = windows(n=4, n_chans=64, n_times=256)
    table = raw(large)
    assert table.shape == (4, 64 * 16)
    np.testing.assert_allclose(table[:, 0], large.x[:, 0, :16].mean(-1), rtol=1e-5)


def test_shape_sees_the_beat_wherever_it_stands_in_a_longer_window() -> None:
    beat = np.random.default_rng(1).normal(size=(12, 2, 100)).astype(np.float32)
    long = np.concatenate([np.zeros((12, 2, 50), np.float32), beat, np.zeros((12, 2, 50), np.float32)], axis=-1)
    short = shape(Windows(beat, 125.0, np.zeros(12), event_s=0.3))
    wide = shape(Windows(long, 125.0, np.zeros(12), event_s=0.7))
    assert short.shape == wide.shape == (12, 48)
    np.testing.assert_allclose(wide[:, -4:], short[:, -4:])  # likeness to the recording's median QRS


def test_likeness_is_one_for_the_usual_beat_and_knows_only_its_recording() -> None:
    rng = np.random.default_rng(0)
    usual, other = rng.normal(size=(2, 1, 100))
    x = np.stack([usual] * 5 + [other] + [other] * 3).astype(np.float32)
    table = shape(Windows(x, 125.0, np.array([0] * 6 + [1] * 3), event_s=0.3))
    correlation = table[:, -2]
    np.testing.assert_allclose(np.delete(correlation, 5), 1, atol=1e-5)
    assert correlation[5] < 0.9


def test_rhythm_counts_beats() -> None:
    sfreq, seconds = 100.0, 10.0
    time = np.arange(int(sfreq * seconds)) / sfreq

    def ecg(beats_s: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * ((time[:, None] - beats_s) / 0.015) ** 2).sum(axis=1)

    regular, early = np.arange(0.5, 10, 0.8), np.array([0.5, 1.5, 2.5, 3.1, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5])
    x = np.stack([ecg(regular), ecg(early), np.zeros_like(time)])[:, None]
    found = rhythm(Windows(x=x, sfreq=sfreq, recording=np.zeros(3)))
    np.testing.assert_allclose(found[0], [75, 75, 0, 0, 72], atol=0.3)
    steps = np.diff(np.diff(early))
    np.testing.assert_allclose(found[1, :2], [60, 60], atol=0.3)
    np.testing.assert_allclose(found[1, 2:4], [np.diff(early).std(), np.sqrt((steps**2).mean())], atol=0.01)
    np.testing.assert_array_equal(found[2], 0)


def test_floors_refuse_windows_without_what_they_need() -> None:
    with pytest.raises(UsageError, match="shape of a beat"):
        shape(windows())
    with pytest.raises(UsageError, match="no RR intervals"):
        rr_intervals(windows())


def test_majority_predicts_the_class_shares() -> None:
    np.testing.assert_allclose(majority_proba([0, 0, 0, 2], 2, 3), [[0.75, 0, 0.25]] * 2)


@pytest.fixture(scope="module")
def beats(test_data: Path) -> tuple[Windows, np.ndarray, np.ndarray]:
    """DS1 and DS2 at 125 Hz, z-scored by recording, 0.3 s before to 0.5 s after R; labels; patients."""
    import wfdb
    from scipy.signal import resample_poly

    folder = test_data / "ecg" / "mitdb"
    if not folder.is_dir():
        pytest.skip(f"MIT-BIH is not under {folder}")
    x, y, record, rr = [], [], [], []
    for name in sorted(DS1 + DS2):
        signal, meta = wfdb.rdsamp(str(folder / name))
        marks = wfdb.rdann(str(folder / name), "atr")
        first = meta["sig_name"].index("MLII")  # record 114 has V5 first
        signal = resample_poly(signal[:, [first, 1 - first]], 25, 72, axis=0)
        signal = (signal - signal.mean(0)) / signal.std(0)
        is_beat = np.isin(marks.symbol, list(AAMI))
        sample, label = marks.sample[is_beat], np.array([AAMI[s] for s in np.array(marks.symbol)[is_beat]])
        gaps = np.diff(sample) / 360
        median = np.median(gaps)
        before, after = np.append(median, gaps), np.append(gaps, median)
        around = np.array([gaps[max(0, i - 5) : i + 5].mean() for i in range(len(sample))])
        both = np.log(np.maximum(np.stack([before, after]), 0.01))
        aux = np.concatenate([both, both - np.log(median), both - np.log(around)]).T
        start = np.round(sample * 125 / 360 - 37.5).astype(int)
        inside = (start >= 0) & (start + 100 <= len(signal))
        x.append(np.stack([signal[s : s + 100].T for s in start[inside]]).astype(np.float32))
        y.append(label[inside])
        rr.append(aux[inside])
        record += [name] * int(inside.sum())
    names = np.array(record)
    patient = np.where(np.isin(names, ["201", "202"]), "201+202", names)
    return Windows(np.concatenate(x), 125.0, names, 0.3, np.concatenate(rr)), np.concatenate(y), patient


def parts(beats, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    w, y, _ = beats
    usable = (y >= 0) & (y < n_classes)
    in_train = np.isin(w.recording, [name for name in DS1 if name not in VALIDATION])
    return np.flatnonzero(usable & in_train), np.flatnonzero(usable & np.isin(w.recording, DS2))


@pytest.mark.parametrize(("n_classes", "known"), [(4, 0.236), (3, 0.315)])
def test_mitdb_majority(beats, n_classes: int, known: float) -> None:
    _, y, _ = beats
    train, test = parts(beats, n_classes)
    if n_classes == 4:
        assert np.bincount(y[test]).tolist() == [44239, 1837, 3220, 388]
    proba = majority_proba(y[train], len(test), n_classes)
    found = classification_metrics(y[test], proba, list("NSVF")[:n_classes])
    assert found["macro_f1"] == pytest.approx(known, abs=0.0006)
    assert found["auroc"] == 0.5


@pytest.fixture(scope="module")
def features(beats) -> Callable[[str], np.ndarray]:
    """Features by name, each computed once."""

    @cache
    def compute(name: str) -> np.ndarray:
        floor = FLOORS[name].features
        assert floor is not None
        return floor(beats[0])

    return compute


@pytest.mark.parametrize(
    ("name", "n_classes", "known"),
    [
        ("raw", 4, 0.369),
        ("raw", 3, 0.480),
        ("shape", 4, 0.544),
        ("shape", 3, 0.715),
        ("rr-shape", 4, 0.601),
        ("rr-shape", 3, 0.796),
    ],
)
def test_mitdb_row(beats, features, name: str, n_classes: int, known: float) -> None:
    """raw is specified exactly: within .01. The hand features may only be better than the known row."""
    _, y, patient = beats
    train, test = parts(beats, n_classes)
    table = features(name)
    probe = fit_probe(table[train], y[train], patient[train], n_classes=n_classes, spec=ProbeSpec())
    found = macro_f1(y[test], probe.predict_proba(table[test]).argmax(axis=1))
    assert found > known - 0.01
    assert found < known + (0.01 if name == "raw" else 0.1)
