"""Data cards: every one is right, every data set has one, and mistakes are named."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from biocl.datasets.card import Card, Counts, card_line, cards_folder, compare, parse_card, read_card
from biocl.datasets.registry import dataset_names, find_dataset
from biocl.errors import DataError

REPOSITORY = Path(__file__).resolve().parents[2]
CARDS = sorted(path.stem for path in (REPOSITORY / "data_cards").glob("*.md"))
GOOD = """---
name: mine
title: Mine
modality: eeg
version: "1.0"
source: here
licence: CC BY 4.0
citation: [Me 2026]
access: open
consent: not stated by the source
patients: 3
recordings: 6
sfreq_hz: [128, 256.0]
channels: {eeg: 64}
devices: [main]
labels: {"yes": it was}
classes: {"yes": 10, "no": 0}
windows: 10
splits: {}
defects: []
conditioning: []
sample: {patients: 1, recordings: 2, windows: 4, classes: {"yes": 4}}
---
# Mine

Prose.
"""


def test_every_data_set_has_a_card_and_every_card_a_data_set() -> None:
    assert cards_folder() == REPOSITORY / "data_cards"
    assert list(dataset_names()) == CARDS


def test_the_cards_and_the_lists_of_patients_are_shipped() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["data_cards"] == "biocl/data_cards"
    assert wheel["packages"] == ["biocl"]  # all that is in it, biocl/datasets/splits/*.json included


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_right_and_agrees_with_its_data_set(name: str) -> None:
    card = read_card(name)
    dataset = find_dataset(name)
    assert card.modality == dataset.modality
    assert dataset.version == card.version or dataset.version.startswith(f"{card.version}-")
    assert card.licence == dataset.licence
    assert (card.access == "embedded") == (dataset.access == "embedded" or not dataset.homepage)
    assert set(card.splits) >= set(dataset.splits)
    if dataset.classes:
        assert set(card.labels) == set(dataset.classes)
    for counts in (card.counts, card.sample or Counts()):
        assert set(counts.classes or {}) <= set(dataset.classes)
    if dataset.patients == "unknown":
        assert card.patients in (None, card.recordings)
    assert card_line(name, "patients") == ("null" if card.patients is None else str(card.patients))
    assert "TODO" not in (cards_folder() / f"{name}.md").read_text(encoding="utf-8")


def test_a_good_card() -> None:
    card, prose = parse_card(GOOD, "here")
    assert card.counts == Counts(patients=3, recordings=6, windows=10, classes={"yes": 10, "no": 0})
    assert prose == "# Mine\n\nProse.\n"
    assert Card.model_validate(card.model_dump()) == card


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("patients: 3\n", "", "patients is missing"),
        ("patients: 3\n", "patients: three\n", "patients should be a valid integer"),
        ("patients: 3\n", "patients: -3\n", "patients should be greater than or equal to 0"),
        ("patients: 3\n", "patients: 3\npatienst: 4\n", "patienst is not a known key"),
        ('version: "1.0"', "version: 1.0", "version write it in quotes, '1.0'"),
        ("modality: eeg", "modality: meg", "modality should be 'ecg', 'eeg'"),
        ("access: open", "access: free", "access should be 'open'"),
        ("citation: [Me 2026]", "citation: []", "citation List should have at least 1 item"),
        ("licence: CC BY 4.0", 'licence: ""', "licence String should have at least 1 character"),
        ("windows: 4", "windows: 4.5", "sample.windows should be a valid integer"),
        ("sfreq_hz: [128, 256.0]", "sfreq_hz: 0", "sfreq_hz"),
        ("devices: [main]", "devices: [main", "not YAML"),
        ("title: Mine", "title: Mine\ntitle: Yours", "not YAML"),
        ("---\nname", "name", "between two lines of ---"),
        ("# Mine\n", "", "a title"),
    ],
)
def test_a_mistake_is_named(old: str, new: str, said: str) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(DataError) as refused:
        parse_card(GOOD.replace(old, new, 1), "cards/mine.md")
    assert said in str(refused.value)
    assert "Where: cards/mine.md" in str(refused.value)


def found(**changes: Any) -> dict[str, Any]:
    return {"patients": 3, "recordings": 6, "windows": 10, "classes": {"yes": 10, "no": 0}, **changes}


def test_counts_are_compared() -> None:
    card, _ = parse_card(GOOD, "here")
    assert compare(card, found()) == ["The counts are those of the data card: 3 patients, 6 recordings, 10 windows."]
    assert compare(card, found(patients=2, windows=9, classes={"yes": 8, "new": 1})) == [
        "patients: 2 here, 3 in the data card.",
        "windows: 9 here, 10 in the data card.",
        "windows of class yes: 8 here, 10 in the data card.",
        "windows of class new: 1 here, 0 in the data card.",
    ]
    assert compare(card, found(windows=9, classes={}), windows=False) == [
        "The counts are those of the data card: 3 patients, 6 recordings."
    ]


def test_a_part_is_compared_with_the_sample() -> None:
    card, _ = parse_card(GOOD, "here")
    part = {"patients": 1, "recordings": 2, "windows": 4, "classes": {"yes": 4}}
    assert compare(card, part) == [
        "The counts are those of the part that the card describes: 1 patient, 2 recordings, 4 windows."
    ]
    assert compare(card, {**part, "windows": 5}) == ["windows: 5 here, 4 in the data card."]
    other = {**part, "recordings": 3}
    assert compare(card, other)[:2] == [
        "patients: 1 here, 3 in the data card.",
        "recordings: 3 here, 6 in the data card.",
    ]


def test_a_card_without_counts() -> None:
    card, _ = parse_card(GOOD, "here")
    empty = card.model_copy(
        update={"patients": None, "recordings": None, "windows": None, "classes": None, "sample": None}
    )
    assert compare(empty, found()) == ["The data card states no counts to compare with."]
