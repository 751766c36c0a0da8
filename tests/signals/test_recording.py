"""Recordings and events."""

from __future__ import annotations

import numpy as np
import pytest

from biocl.signals.channels import infer_kind, unit_name
from biocl.signals.recording import Channel, Events, Recording


def recording(n_times: int = 10, n_chans: int = 2) -> Recording:
    values = np.arange(n_times * n_chans, dtype=np.float32).reshape(n_times, n_chans)
    channels = [Channel(f"c{number}", "ecg", "mV", f"d{number % 2}") for number in range(n_chans)]
    return Recording.from_array("r", "p", 4.0, values, channels)


def test_blocks_cover_the_signal_once() -> None:
    whole = recording()
    starts, blocks = zip(*whole.blocks(0.75), strict=True)
    assert starts == (0, 3, 6, 9)
    np.testing.assert_array_equal(np.concatenate(blocks), whole.signal())
    assert whole.duration_s == 2.5
    assert whole.devices == ("d0", "d1")


def test_columns_are_chosen_and_ordered() -> None:
    whole = recording(n_chans=3)
    chosen = whole.with_columns([2, 0])
    assert chosen.channel_names == ("c2", "c0")
    np.testing.assert_array_equal(chosen.read(1, 4), whole.read(1, 4)[:, [2, 0]])


def test_events_sort_and_join() -> None:
    beats = Events.of("beat", [3.0, 1.0], label=["V", "N"])
    assert beats.onset_s.tolist() == [1.0, 3.0]
    assert beats.label.tolist() == ["N", "V"]
    both = Events.join(beats, Events.of("trial", [0.0], 5.0, "rest"))
    assert both.kind.tolist() == ["trial", "beat", "beat"]
    assert both.duration_s.tolist() == [5.0, 0.0, 0.0]
    assert both.of_kind("beat").label.tolist() == ["N", "V"]
    assert len(Events.empty()) == 0
    assert len(Events.join(Events.empty(), Events.empty())) == 0


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="n_times"):
        Recording.from_array("r", "p", 4.0, np.zeros((5, 3)), [Channel("a", "ecg", "mV")])


@pytest.mark.parametrize(
    ("name", "unit", "kind"),
    [
        ("MLII", "mV", "ecg"),
        ("avr", "uV", "ecg"),
        ("V5", "mV", "ecg"),
        ("ECG 1", "mV", "ecg"),
        ("Fp1", "uV", "eeg"),
        ("C3..", "µV", "eeg"),
        ("EOG left", "uV", "eog"),
        ("wrist x", "m/s2", "acc"),
        ("wrist x", "deg/s", "gyr"),
        ("PLETH", "NU", "other"),
        ("sig 0, fmt 8", "mV", "other"),
        ("V5", "NU", "other"),
    ],
)
def test_kinds_follow_names_and_units(name: str, unit: str, kind: str) -> None:
    assert infer_kind(name, unit) == kind


def test_units_have_one_spelling() -> None:
    assert unit_name("µV") == unit_name("μV") == "uV"
    assert unit_name(None) == "NU"
