"""Files and folders appear complete or not at all, and errors read as one paragraph."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biocl.errors import BioclError, DataError, LeakageError, UsageError
from biocl.files import canonical_json, digest, new_folder, read_json, scratch_folder, write_json, write_text
from biocl.randomness import integer_seed, stream


def test_a_folder_appears_only_when_complete_and_remains_go(tmp_path: Path) -> None:
    final = tmp_path / "done"
    (tmp_path / ".done.partial-old").mkdir()
    with pytest.raises(RuntimeError), new_folder(final) as partial:  # noqa: PT012 - the body is what fails
        (partial / "a").write_text("1")
        assert not final.exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(final) as partial:
        (partial / "a").write_text("1")
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="disk is full"):
        write_text(path, "new")
    monkeypatch.undo()
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans()), max_size=5))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    turned = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(turned)
    assert digest(value) == digest(turned)


def test_streams_depend_on_all_their_names_and_on_nothing_else() -> None:
    first = stream(0, "views", 3).random(4).tolist()
    assert first == stream(0, "views", 3).random(4).tolist()
    others = [stream(1, "views", 3), stream(0, "views", 4), stream(0, "dropout", 3), stream(0, "views")]
    assert all(first != other.random(4).tolist() for other in others)
    assert integer_seed(0, "views", 3) == 2675669233645297451  # the same on every machine


@pytest.mark.parametrize(("error", "code"), [(UsageError, 2), (DataError, 3), (LeakageError, 4)])
def test_an_error_says_what_where_and_what_to_do(error: type[BioclError], code: int) -> None:
    paragraph = error("It broke", "here", "Mend it").paragraph()
    assert paragraph == "It broke. Where: here. Mend it."
    assert error.exit_code == code


def test_scratch_is_gone_at_the_end_and_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    with scratch_folder() as folder:
        write_text(folder / "deep" / "a.txt", "a")
        with new_folder(folder / "whole") as partial:
            (partial / "b.txt").write_text("b")
        assert (folder / "whole" / "b.txt").read_text() == "b"
        assert synced == []
        write_text(tmp_path / "kept.txt", "c")
        assert len(synced) == 1
    assert not folder.exists()
