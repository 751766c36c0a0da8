"""Pseudonyms are stable and keyed; sentences, commands and configurations name nobody, and numbers stay numbers."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from biocl.reports import privacy as module
from biocl.reports.privacy import Privacy, path_end, pseudonym, pseudonym_key, shown

KEY = b"k" * 32


def test_a_pseudonym_depends_on_person_data_set_and_key() -> None:
    name = pseudonym("P001", "mitdb", KEY)
    assert name == pseudonym("P001", "mitdb", KEY)
    others = {pseudonym("P002", "mitdb", KEY), pseudonym("P001", "ptbxl", KEY), pseudonym("P001", "mitdb", b"other")}
    assert name not in others
    assert len(others) == 3
    many = {pseudonym(f"P{n}", "mitdb", KEY) for n in range(20_000)}
    assert len(many) == 20_000


def test_the_key_is_made_once_and_is_the_owners_alone(own_home: Path) -> None:
    first, kept = pseudonym_key()
    assert (kept, len(first)) == (True, 32)
    assert pseudonym_key() == (first, True)
    assert stat.S_IMODE((own_home / module.KEY_FILE).stat().st_mode) == 0o600


def test_a_file_that_holds_no_key_is_left_as_it_is(own_home: Path) -> None:
    (own_home / module.KEY_FILE).write_text("not a key")
    key, kept = pseudonym_key()
    assert (len(key), kept) == (32, False)
    assert (own_home / module.KEY_FILE).read_text() == "not a key"


def test_a_home_that_cannot_be_written_to_gives_a_key_for_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BIOCL_HOME", str(tmp_path / "file" / "home"))
    (first, kept), (second, _) = pseudonym_key(), pseudonym_key()
    assert not kept
    assert first != second


PEOPLE = ("P001", "100", "3", "Ann Lee", "a.b+c", "N")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P001 and P002", "{P001} and P002"),
        ("xP001 P0012 sub-P001_1", "xP001 P0012 sub-{P001}_1"),
        ("trained on 100, 3", "trained on {100}, {3}"),
        ("100 samples, 3 folds, 3 %, step 100, seed 3, fold 3, 3.100 and 0.3", None),
        ("Ann Lee, a.b+c!", "{Ann Lee}, {a.b+c}!"),
        ("class N", None),
        ("of-P001-all and P001", "of-P001-all and {P001}"),
        (
            "see /home/ann/data/x.csv and ~/y, not 3/4 or https://a.org/b",
            "see …/x.csv and …/y, not {3}/4 or https://a.org/b",
        ),
        (r"at C:\Users\ann\store now", "at …/store now"),
        ("in /home/ann", "in …"),
    ],
)
def test_sentences(text: str, expected: str | None) -> None:
    privacy = Privacy.of("of-P001-all", PEOPLE, KEY, classes=["N", "V"])
    wanted = text if expected is None else expected
    for name in PEOPLE:
        wanted = wanted.replace(f"{{{name}}}", privacy.patient(name))
    assert privacy.prose(text) == wanted
    assert Privacy.of("d", PEOPLE, KEY, show=True).prose("P001 of 100") == "P001 of 100"


def test_values_and_commands() -> None:
    privacy = Privacy.of("d", PEOPLE, KEY, classes=["N", "V"])
    hidden = privacy.value({"steps": 100, "who": ["100", "N"], "store": "/srv/of ann/s", "labels": "3 patients"})
    assert hidden == {"steps": 100, "who": [privacy.patient("100"), "N"], "store": "…/s", "labels": "3 patients"}
    said = privacy.command(
        "biocl evaluate c.yaml --from /x/y/run train.steps=100 split.only=P001 --seed 3 name='Ann Lee'"
    )
    assert said.startswith("biocl evaluate c.yaml --from …/run train.steps=100")
    assert privacy.patient("P001") in said
    assert privacy.patient("Ann Lee") in said
    assert "--seed 3" in said
    assert "P001" not in said.replace(privacy.patient("P001"), "")


def test_a_long_sentence_takes_no_time() -> None:
    start = time.process_time()
    Privacy.of("d", PEOPLE, KEY).prose("/".join(["abc" * 40] * 200) + " /" + "a.b-c" * 4000 + '"')
    assert time.process_time() - start < 2


def test_people_to_be_told_apart_are_hidden_as_classes_too() -> None:
    privacy = Privacy.of("d", ["ann", "bob"], KEY, classes=["ann", "bob"])
    assert privacy.prose("classes ann bob") == f"classes {privacy.patient('ann')} {privacy.patient('bob')}"


def test_signs_that_nobody_sees_are_shown() -> None:
    assert shown("a\x00b\u202ec\nd\ud800") == "a�b�c d�"
    assert path_end("/a/b/") == "…/b"
