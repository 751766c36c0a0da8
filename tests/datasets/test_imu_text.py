"""The strict reader of number columns: against Python's own parsing, and on damaged text."""

from __future__ import annotations

import gzip
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biocl.datasets.imu import bouts, present, read_columns
from biocl.errors import DataError

TEXT = "t;a;b\n" + "".join(f"{i};{i * 0.37:.4f};{-(i**2) * 1e-3:.3e}\n" for i in range(60))


def by_hand(text: str) -> list[list[float]]:
    """Rows below the header, as Python's float reads them; an error if a row has another number of fields."""
    rows = [[float(cell) for cell in line.split(";")] for line in text.splitlines()[1:] if line.strip()]
    if any(len(row) != 3 for row in rows):
        raise ValueError
    return rows


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_numbers_are_python_s(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biocl.datasets.imu.PIECE", 30)  # many pieces
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    (tmp_path / f"x.txt{suffix}").write_bytes(pack(TEXT.encode()))
    path = present(tmp_path / "x.txt")
    assert path is not None
    found = read_columns(path, ["t", "b", "a"], delimiter=";", n_columns=3)
    np.testing.assert_allclose(found.numbers, np.array(by_hand(TEXT))[:, [0, 2, 1]], rtol=1e-14)


def test_damage_in_a_later_piece_has_its_own_row_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biocl.datasets.imu.PIECE", 30)
    path = tmp_path / "x.txt"
    path.write_text(TEXT.replace("\n50;", "\nfifty;"))
    with pytest.raises(DataError, match=r"Row 51, column 't' holds 'fifty'.*x\.txt"):
        read_columns(path, ["t", "a", "b"], delimiter=";", n_columns=3)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cut=st.integers(0, len(TEXT)),
    places=st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.sampled_from("x;\n 0.-eN\0\"'\r\xe9")), max_size=3),
    packed=st.booleans(),
    keep=st.floats(0, 1),
)
def test_any_damage_gives_the_right_numbers_or_one_error(
    tmp_path: Path, cut: int, places: list[tuple[int, str]], packed: bool, keep: float
) -> None:
    letters = list(TEXT)
    for place, letter in places:
        letters[place] = letter
    text = "".join(letters)[: len(TEXT) if cut % 3 else cut]
    content = text.encode("latin-1")
    path = tmp_path / ("x.txt.xz" if packed else "x.txt")
    if packed:
        content = lzma.compress(content)
        content = content[: len(content) if keep < 0.5 else round(keep * len(content))]
    path.write_bytes(content)
    try:
        found = read_columns(path, ["t", "a", "b"], delimiter=";", n_columns=3).numbers
    except DataError as error:
        paragraph = str(error)
    else:
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, by_hand(text), rtol=1e-12)
        paragraph = ""
    assert "\n" not in paragraph


def test_bouts_are_the_stretches_of_equal_code() -> None:
    codes = np.array([0, 0, 1, 1, 1, 2, 1, 0, 2, 2])
    found = bouts(codes, {1: "walk", 2: "sit"}, 10.0, "activity")
    assert found.label.tolist() == ["walk", "sit", "walk", "sit"]
    np.testing.assert_allclose(found.onset_s, [0.2, 0.5, 0.6, 0.8])
    np.testing.assert_allclose(found.duration_s, [0.3, 0.1, 0.1, 0.2])
    assert len(bouts(codes, {1: "walk", 2: "sit"}, 10.0, "activity", least_s=0.2)) == 2
    assert math.isclose(found.duration_s.sum(), 0.7)
