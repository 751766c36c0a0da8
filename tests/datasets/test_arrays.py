"""Arrays as a data set."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.arrays import array_dataset
from biocl.errors import DataError
from biocl.signals.recording import Channel

X = np.random.default_rng(0).standard_normal((7, 2, 5)).astype(np.float32)
Y = ["b", "a", "a", "b", "b", "a", "b"]
PATIENT = [1, 2, 1, 1, 2, 2, 1]
TRIAL = [0, 0, 1, 1, 1, 1, 2]


def test_windows_come_back_bit_by_bit() -> None:
    dataset = pickle.loads(pickle.dumps(array_dataset(X, Y, PATIENT, TRIAL, sfreq=3.0)))
    assert dataset.classes == ("a", "b")
    entries = dataset.entries(Path())
    assert [entry.patient for entry in entries] == ["1", "2"]
    for entry in entries:
        mine = np.flatnonzero(np.array(PATIENT) == int(entry.patient))
        recording = dataset.read(entry)
        samples = recording.events.of_kind("sample")
        before = dataset.defaults["windows"]["before_s"] * recording.sfreq
        length = round(dataset.defaults["windows"]["after_s"] * recording.sfreq)
        for onset, label, index in zip(samples.onset_s, samples.label, mine, strict=True):
            start = round(onset * recording.sfreq - before)
            np.testing.assert_array_equal(recording.read(start, start + length).T, X[index])
            assert label == Y[index]
    trials = recording.events.of_kind("trial")
    np.testing.assert_allclose(trials.onset_s, [0, 5 / 3])
    np.testing.assert_allclose(trials.duration_s, [5 / 3, 10 / 3])
    assert trials.label.tolist() == ["a", ""]  # the second trial has both labels


def test_without_trials_every_window_is_one() -> None:
    dataset = array_dataset(X, Y, PATIENT, sfreq=3.0, channels=[Channel("a", "ecg", "mV"), Channel("b", "ecg", "mV")])
    recording = dataset.read(dataset.entries(Path())[0])
    assert len(recording.events.of_kind("trial")) == 4
    assert recording.channel_names == ("a", "b")


def test_bad_arrays_are_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(7, 2\)"):
        array_dataset(X[:, :, 0], Y, PATIENT, TRIAL, sfreq=3.0)
    with pytest.raises(DataError, match=r"y has shape \(3,\), X has 7"):
        array_dataset(X, Y[:3], PATIENT, TRIAL, sfreq=3.0)
    with pytest.raises(DataError, match="sampling rate"):
        array_dataset(X, Y, PATIENT, TRIAL, sfreq=0.0)
    with pytest.raises(DataError, match="interrupted"):
        array_dataset(X, Y, PATIENT, [0, 0, 1, 0, 1, 1, 2], sfreq=3.0)
    with pytest.raises(DataError, match="1 channels are named"):
        array_dataset(X, Y, PATIENT, TRIAL, sfreq=3.0, channels=[Channel("a", "ecg", "mV")])
