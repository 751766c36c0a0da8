"""What a channel of an EEG file measures, and in which unit it is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biocl.signals.readers.eeg_channels import describe, unique_names


@pytest.mark.parametrize(
    ("name", "unit", "mne_type", "kind", "target", "factor"),
    [
        ("EEG Fp1-Ref", "µV", None, "eeg", "uV", 1.0),
        ("C3-A2", "mV", None, "eeg", "uV", 1e3),
        ("Fc5.", "uV", None, "eeg", "uV", 1.0),
        ("A17", "uV", None, "eeg", "uV", 1.0),
        ("D3", "uV", None, "eeg", "uV", 1.0),
        ("M1", "uV", None, "eeg", "uV", 1.0),
        ("EOG left", "V", None, "eog", "uV", 1e6),
        ("EMG chin", "uV", None, "emg", "uV", 1.0),
        ("ECG ECG1", "uV", None, "ecg", "mV", 1e-3),
        ("II", "uV", None, "ecg", "mV", 1e-3),
        ("SpO2", "%", None, "other", "%", 1.0),
        ("Cz", "", None, "other", "NU", 1.0),
        ("Light", "mV", None, "other", "mV", 1.0),
        ("V1", "V", "eeg", "eeg", "uV", 1e6),
        ("ECG", "V", "eeg", "ecg", "mV", 1e3),
        ("HEOG", "V", "eeg", "eog", "uV", 1e6),
        ("E17", "V", "eeg", "eeg", "uV", 1e6),
        ("LAM1", "V", "seeg", "eeg", "uV", 1e6),
        ("anything", "V", "ecg", "ecg", "mV", 1e3),
        ("GSR", "uS", "misc", "other", "uS", 1.0),
    ],
)
def test_kind_unit_and_factor(
    name: str, unit: str, mne_type: str | None, kind: str, target: str, factor: float
) -> None:
    channel, found = describe(name, unit, mne_type)
    assert (channel.name, channel.kind, channel.unit) == (name, kind, target)
    assert found == pytest.approx(factor)


def test_repeated_names_get_numbers_that_are_free() -> None:
    names, notes = unique_names(["A", "B", "A", "A-0", "A"])
    assert names == ["A-1", "B", "A-2", "A-0", "A-3"]
    assert notes == ("3 channels are named 'A'; running numbers tell them apart",)


@given(st.lists(st.sampled_from(["A", "B", "A-0", "A-1", "B-0", ""])))
def test_names_are_unique_and_those_that_were_stay(names: list[str]) -> None:
    found, _ = unique_names(names)
    assert len(set(found)) == len(found) == len(names)
    assert all(new == old for new, old in zip(found, names, strict=True) if names.count(old) == 1)
