"""The cards of the IMU sets: valid, of one mind with the code, and with the counts of what is here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from biocl.datasets.card import read_card
from biocl.datasets.registry import find_dataset
from biocl.store.build import build_store
from biocl.store.windows import default_windows

NAMES = ("physical-therapy", "sp-sw-har", "uci-har", "dsads", "mhealth", "pamap2", "opportunity", "realworld")
FOLDERS = {"physical-therapy": "physical-therapy-exercises", "sp-sw-har": "sp-sw-har"}


@pytest.mark.parametrize("name", NAMES)
def test_card_and_code_say_the_same(name: str) -> None:
    card, dataset = read_card(name), find_dataset(name)
    assert (card.name, card.version, card.licence, card.access, card.source, card.modality) == (
        dataset.name,
        dataset.version,
        dataset.licence,
        dataset.access,
        dataset.homepage,
        dataset.modality,
    )
    assert set(card.labels) == set(dataset.classes)
    assert set(card.splits) == set(dataset.splits)
    if card.classes is not None:
        assert sum(card.classes.values()) == card.windows
        assert list(card.classes) == dataset.defaults["classes"]


@pytest.mark.parametrize("name", FOLDERS)
def test_card_describes_what_is_here(name: str, test_data: Path) -> None:
    card, dataset = read_card(name), find_dataset(name)
    entries = dataset.entries(test_data / "imu" / FOLDERS[name])
    counts = card.sample or card.counts
    assert counts.recordings == len(entries)
    assert counts.patients == len({entry.patient for entry in entries})
    recording = dataset.read(entries[0])
    assert list(recording.devices) == card.devices
    assert Counter(channel.kind for channel in recording.channels) == card.channels


def test_windows_of_the_part_that_is_here_are_those_of_the_card(test_data: Path, tmp_path: Path) -> None:
    """physical-therapy's are counted in test_imu_sets."""
    card, dataset = read_card("sp-sw-har"), find_dataset("sp-sw-har")
    assert card.sample is not None
    table = default_windows(build_store(dataset, test_data / "imu" / "sp-sw-har", tmp_path / "store"))
    names = np.array(table.names["label"])[table.rows["label"]]
    assert len(table) == card.sample.windows
    assert Counter(names.tolist()) == card.sample.classes
