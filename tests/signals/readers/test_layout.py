"""Layouts: what a few lines of YAML say, and what they are told when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from biocl.errors import UsageError
from biocl.signals.readers.layout import ColumnSpec, TableLayout, TimeSpec, choose_columns, layout_markdown, load_layout

WEARABLE = """\
time: {column: timestamp, unit: ms}
sfreq: 50
columns:
  acc_*: {unit: g}
  gyr_*: {unit: deg/s, kind: gyr}
"""


def layout(tmp_path: Path, text: str) -> TableLayout:
    path = tmp_path / "layout.yaml"
    path.write_text(text, encoding="utf-8")
    return load_layout(path)


def test_a_wearable_in_five_lines(tmp_path: Path) -> None:
    found = layout(tmp_path, WEARABLE)
    assert found.time == TimeSpec(column="timestamp", unit="ms")
    assert found.sfreq == 50
    names = ["timestamp", "acc_x", "acc_y", "battery", "gyr_x"]
    columns, channels, time = choose_columns(names, found, [True] * 5, "wrist")
    assert columns == [1, 2, 4]
    assert time == 0
    assert [(c.name, c.kind, c.unit, c.device) for c in channels] == [
        ("acc_x", "acc", "g", "wrist"),
        ("acc_y", "acc", "g", "wrist"),
        ("gyr_x", "gyr", "deg/s", "wrist"),
    ]


def test_without_a_layout_every_column_of_numbers_is_a_channel() -> None:
    names = ["II (mV)", "note", "aVR [mV]", "x ()", "(odd)"]
    columns, channels, time = choose_columns(names, TableLayout(), [True, False, True, True, True])
    assert (columns, time) == ([0, 2, 3, 4], None)
    assert [(c.name, c.kind, c.unit) for c in channels] == [
        ("II", "ecg", "mV"),
        ("aVR", "ecg", "mV"),
        ("x", "other", "NU"),
        ("(odd)", "other", "NU"),
    ]


def test_columns_by_number_in_the_order_of_the_layout() -> None:
    described = TableLayout(columns={3: ColumnSpec(channel="II", unit="mV"), 1: ColumnSpec(device="ankle")})
    columns, channels, _ = choose_columns(["a", "b", "c"], described, [True] * 3)
    assert columns == [2, 0]
    assert [(c.name, c.kind, c.device) for c in channels] == [("II", "ecg", "main"), ("a", "other", "ankle")]


@pytest.mark.parametrize(
    ("names", "described", "part"),
    [
        (["a", "b"], TableLayout(columns={"c": ColumnSpec()}), "no column 'c'"),
        (["a", "b"], TableLayout(columns={3: ColumnSpec()}), "no column 3"),
        (["a", "a"], TableLayout(columns={"a": ColumnSpec()}), "two columns 'a'"),
        (["a", "a"], TableLayout(), "Two of its channels are named 'a'"),
        (["a", ""], TableLayout(), "column 2 has no name"),
        (["a", "b"], TableLayout(time=TimeSpec(column="t")), "no time column 't'"),
        (["a"], TableLayout(time=TimeSpec(column="a")), "None of its columns"),
    ],
)
def test_columns_that_are_not_there(names: list[str], described: TableLayout, part: str) -> None:
    with pytest.raises(LookupError, match=part):
        choose_columns(names, described, [True] * len(names))


def test_the_same_name_on_two_devices() -> None:
    described = TableLayout(
        columns={1: ColumnSpec(channel="x", device="left"), 2: ColumnSpec(channel="x", device="right")}
    )
    _, channels, _ = choose_columns(["a", "b"], described, [True, True])
    assert [(c.name, c.device) for c in channels] == [("x", "left"), ("x", "right")]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("delimeter: tab\n", ["delimeter (line 1) is not a known key, did you mean delimiter?"]),
        ("skip_rows: 2\ntime: {column: t, units: ms}\n", ["time.units (line 2)", "did you mean unit?"]),
        ("columns:\n  a: {kind: heart}\n", ["columns.a.kind (line 2)", "'ecg'"]),
        ("time: {unit: ms}\n", ["time.column is missing"]),
        ("sfreq: 0\n", ["sfreq (line 1)", "greater than 0"]),
        ("sfreq: fast\n", ["sfreq (line 1)"]),
        ("widths: [3, 0]\n", ["Every width is at least 1"]),
        ("widths: [3]\ndelimiter: tab\n", ["Give widths or a delimiter"]),
        ("decimal: ','\ndelimiter: comma\n", ["both decimal sign and delimiter"]),
        ("columns: {0: {}}\n", ["counted from 1"]),
        ("- a\n- b\n", ["mapping of keys"]),
        ("", ["mapping of keys"]),
        ("a: [1\n", ["not valid YAML"]),
        ("time: {column: t, unit: hours}\n", ["time.unit (line 1)", "'ms'"]),
    ],
)
def test_a_wrong_layout(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        layout(tmp_path, text)
    for part in [*parts, "layout.yaml"]:
        assert part in str(caught.value)


def test_a_missing_or_binary_layout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_layout(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\0a")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_layout(tmp_path / "b.yaml")


def test_every_key_explains_itself() -> None:
    for spec in (TableLayout, TimeSpec, ColumnSpec):
        for name, field in spec.model_fields.items():
            assert field.description, name
            assert f"{name}` | {' '.join(field.description.split())} |" in layout_markdown()
