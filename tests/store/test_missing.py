"""Which windows lack a device: shares, classes and parts against a slow count, and what the draw may depend on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from biocl.errors import UsageError
from biocl.signals.recording import Channel
from biocl.store.missing import check_missing, taken_away
from biocl.store.spec import MissingSpec
from biocl.store.table import ROW, WindowTable

CHANNELS = [Channel(f"{device}-{axis}", "acc", "m/s2", device) for device in ("u1", "u2", "u3") for axis in "xy"]
CLASSES = ("walk", "sit", "fall")


@pytest.fixture(scope="module")
def table() -> WindowTable:
    """Thirty recordings with four to six windows in two trials, each trial of one class."""
    rng = np.random.default_rng(0)
    recording = np.repeat(np.arange(30), rng.integers(4, 7, 30))
    rows = np.zeros(len(recording), ROW)
    rows["recording"], rows["patient"] = recording, recording // 3
    rows["trial"] = 2 * recording + 7 + np.r_[False, recording[1:] == recording[:-1]]
    rows["label"] = rng.integers(0, 3, 100)[rows["trial"]]
    rows["length"] = rows["valid_length"] = 10
    names = {
        "recording": tuple(f"r{i}" for i in range(30)),
        "patient": tuple(f"p{i}" for i in range(10)),
        "session": ("1",),
        "label": CLASSES,
    }
    return WindowTable(rows, names, 25.0, np.zeros((len(rows), 0), np.float32))


def parts_of(table: WindowTable, test: tuple[int, ...] = (0, 1, 2)) -> dict[str, np.ndarray]:
    held = np.isin(table.patient, test)
    inner = np.isin(table.patient, [p for p in (3, 4, 5) if p not in test][:2])
    masks = {"train": ~held & ~inner, "validation": inner & ~held, "test": held}
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def gone(table: WindowTable, *rules: dict[str, Any], seed: int = 0, parts: Any = None) -> np.ndarray:
    made = [MissingSpec.model_validate(rule) for rule in rules]
    return taken_away(made, table, CHANNELS, parts_of(table) if parts is None else parts, seed)


@pytest.mark.parametrize("of", ["recording", "trial", "window"])
@pytest.mark.parametrize("share", [0.01, 0.333, 0.5, 1.0])
@pytest.mark.parametrize("classes", [None, ["fall", "walk"]])
def test_a_share_of_whole_recordings_of_each_part(table: WindowTable, of: str, share: float, classes: Any) -> None:
    found = gone(table, {"device": "u2", "share": share, "of": of, "classes": classes})
    assert not found[:, [0, 2]].any()
    unit = {"recording": table.recording, "trial": table.trial, "window": np.arange(len(table))}[of]
    counts = CLASSES if classes is None else classes
    for rows in parts_of(table).values():
        mine = [i for i in rows if CLASSES[table.label[i]] in counts]
        units = {int(unit[i]) for i in mine}
        lacking = {int(unit[i]) for i in rows if found[i, 1]}
        assert len(lacking) == max(1, round(share * len(units)))
        for i in rows:
            assert found[i, 1] == (i in mine and int(unit[i]) in lacking)


def test_parts_have_rules_of_their_own(table: WindowTable) -> None:
    found = gone(
        table,
        {"device": "u1", "classes": ["fall"], "parts": ["train"]},
        {"device": "u1", "classes": ["walk", "sit"], "parts": ["test"]},
        {"device": "u3", "share": 0.5, "parts": ["validation"]},
    )
    fall = table.label == CLASSES.index("fall")
    for name, rows in parts_of(table).items():
        expected = {"train": fall[rows], "test": ~fall[rows], "validation": np.zeros(len(rows))}[name]
        assert (found[rows, 0] == expected).all()
        assert found[rows, 2].any() == (name == "validation")
    without = {name: rows for name, rows in parts_of(table).items() if name != "test"}
    kept = gone(table, {"device": "u1"}, parts=without)
    assert kept[without["train"], 0].all()
    assert not kept[parts_of(table)["test"]].any()


def test_draws_depend_on_seed_and_device_and_little_else(table: WindowTable) -> None:
    third = {"device": "u1", "share": 0.333}
    found = gone(table, third)
    np.testing.assert_array_equal(found, gone(table, third))
    assert (found != gone(table, third, seed=1)).any()
    assert (found[:, 0] != gone(table, {**third, "device": "u2"})[:, 1]).any()
    larger = gone(table, {**third, "share": 0.6})
    assert (larger >= found).all()
    assert (larger != found).any()
    # A device that is missing is missing in every fold: another test part hardly moves the draw.
    every = [gone(table, third, parts=parts_of(table, test)) for test in ((0, 1, 2), (7, 8, 9), (2, 5, 8))]
    assert np.mean(every[0] != every[1]) < 0.05
    assert np.mean(every[0] != every[2]) < 0.05


def test_labels_outside_the_parts_are_not_read(table: WindowTable) -> None:
    parts = {name: rows for name, rows in parts_of(table).items() if name != "test"}
    rows = table.rows.copy()
    rows["label"][parts_of(table)["test"]] = -1
    rule = {"device": "u1", "share": 0.5, "of": "trial", "classes": ["fall"]}
    found = gone(table, rule, parts=parts)
    assert found.any()
    np.testing.assert_array_equal(found, gone(replace(table, rows=rows), rule, parts=parts))


def test_what_is_not_there_cannot_be_taken_away(table: WindowTable) -> None:
    def refused(rule: dict[str, Any], channels: list[Channel] = CHANNELS) -> str:
        with pytest.raises(UsageError) as refusal:
            check_missing([MissingSpec(device="u1"), MissingSpec.model_validate(rule)], table, channels)
        return refusal.value.paragraph()

    said = refused({"device": "u7"})
    assert "no device 'u7'" in said
    assert "u1, u2, u3" in said
    assert "data.missing.1" in said
    assert "no class 'fal'" in refused({"device": "u1", "classes": ["fal"]})
    assert "did you mean" in refused({"device": "u1", "classes": ["fal"]}).lower()
    assert "only device" in refused({"device": "u1"}, CHANNELS[:2])
    check_missing([MissingSpec(device="u3", classes=["fall"])], table, CHANNELS)


def test_a_rule_says_what_it_does() -> None:
    rules = [
        {"device": "u1", "share": 0.333},
        {"device": "u2", "classes": ["fall", "sit"], "parts": ["train"], "of": "trial"},
    ]
    assert [MissingSpec.model_validate(rule).said for rule in rules] == [
        "u1 is taken away from 33% of the recordings",
        "u2 is taken away from all of the trials of class fall, sit (train)",
    ]
