"""A stretch of signal that stands in two recordings is found at any shift, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.dataset import Dataset, Entry
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.store.duplicates import duplicates
from biocl.store.store import Store

SFREQ = 100.0


def store_of(signals: dict[str, np.ndarray], folder: Path) -> Store:
    """A store of recordings of one patient each, shape (n_times, 2)."""
    channels = (Channel("a", "eeg", "uV"), Channel("b", "eeg", "uV"))
    dataset = Dataset(
        name="signals",
        modality="eeg",
        version="1",
        entries=lambda raw: [Entry(name, name) for name in signals],
        read=lambda entry: Recording.from_array(entry.name, entry.patient, SFREQ, signals[entry.name], channels),
        classes=(),
    )
    return build_store(dataset, None, folder / "store", ConditioningSpec(nan="keep", flat="keep", range="keep"))


def noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """Smooth noise with some drift, as in physiological signals."""
    white = rng.standard_normal((n, 2))
    kernel = np.hanning(9)
    return np.stack([10 * np.convolve(column, kernel / kernel.sum(), mode="same") for column in white.T], axis=1)


@pytest.mark.parametrize(
    ("n", "shift", "change"),
    [
        (300, 0, "none"),
        (300, 137, "none"),
        (120, 51, "none"),
        (1500, 137, "noise"),
        (1500, 240, "scale"),
        (1500, 61, "resampled"),
    ],
)
def test_a_copied_stretch_is_found_where_it_lies(n: int, shift: int, change: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    signals = {f"r{number}": noise(rng, 3000) for number in range(6)}
    piece = signals["r1"][400 : 400 + n].copy()
    if change == "noise":
        piece += 0.05 * piece.std() * rng.standard_normal(piece.shape)
    if change == "scale":
        piece = 3 * piece + 2
    if change == "resampled":  # half a sample later
        piece = (signals["r1"][400 : 400 + n] + signals["r1"][401 : 401 + n]) / 2
    signals["r4"][700 + shift : 700 + shift + n] = piece
    found = duplicates(store_of(signals, tmp_path))
    assert [(copy.one, copy.other) for copy in found] == [(1, 4)]
    stretch = found[0].stretch
    assert abs((stretch.other - stretch.one) - (300 + shift)) <= 1
    assert stretch.one >= 400 - 40
    assert stretch.one + stretch.n_times <= 400 + n + 40
    assert stretch.n_times >= (0.6 if change != "resampled" else 0.4) * n
    assert stretch.r > 0.97
    assert found[0].exact == (change == "none")


def test_alike_is_not_a_copy(tmp_path: Path) -> None:
    """Flat stretches, clipping, gaps and rhythms of one rate are in many recordings, and are not copies."""
    rng = np.random.default_rng(2)
    wave = np.sin(2 * np.pi * 1.1 * np.arange(3000) / SFREQ) ** 21
    signals = {}
    for number in range(6):
        signal = noise(rng, 3000) + 15 * np.stack([wave, -wave], axis=1)
        signal[200:600] = 0
        signal[900:1000] = 100
        signal[2000:2050] = np.nan
        signals[f"r{number}"] = signal
    assert duplicates(store_of(signals, tmp_path)) == []


def test_recordings_that_are_too_short_or_flat_are_passed_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    signals = {"short": noise(rng, 20), "flat": np.zeros((500, 2)), "long": noise(rng, 500)}
    assert duplicates(store_of(signals, tmp_path)) == []


def test_copies_under_two_ids_in_a_published_set(test_data: Path, tmp_path: Path) -> None:
    """PTB-XL has one tracing under the patients 16690 and 16723, and of three patients one tracing twice."""
    from biocl.datasets.registry import find_dataset

    ptbxl = find_dataset("ptbxl")
    wanted = ("00137", "00138", "00139", "00145", "00146", "00463", "00464")
    entries = [one for one in ptbxl.entries(test_data / "ecg" / "ptbxl") if one.name.startswith(wanted)]
    store = build_store(ptbxl, entries, tmp_path / "store", ConditioningSpec())
    names = store.recording_names
    found = [(names[copy.one][:5], names[copy.other][:5]) for copy in duplicates(store)]
    assert found == [("00137", "00138"), ("00145", "00463")]
