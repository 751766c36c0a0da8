"""Data that do not say whose a recording is: refused as patient-independent, and marked when it is insisted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from biocl.cli import main
from biocl.datasets.registry import find_dataset
from biocl.files import read_json
from biocl.store.build import build_store

SHORT = ["train.steps=2", "batch.n_samples=4", "evaluate.bootstrap_draws=20", "evaluate.labels=[all]"]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every command says of the store of an anonymous cohort."""
    dataset = replace(find_dataset("synthetic-ecg"), patients="unknown")
    build_store(dataset, None, tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    return ["demo", "data.store=store", *SHORT, "evaluate.modes=[linear]"]


def run(*words: str, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> None:
    monkeypatch.setattr("sys.argv", ["biocl", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code or 0) == code


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "evaluate", "plan"])
def test_no_verb_calls_it_patient_independent(
    verb: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(verb, *words, monkeypatch=monkeypatch, code=4)
    text = capsys.readouterr().err
    assert text.startswith("error: The files of this data set do not say whose a recording is")
    assert "'patient: record'" in text
    assert len(text.splitlines()) == 1
    assert not Path("runs").exists()


def test_said_in_the_configuration_it_is_marked_everywhere(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("evaluate", *words, "split.patient=record", "--out", "run", monkeypatch=monkeypatch)
    text = capsys.readouterr().out
    assert "MARKED: patients unknown: each record counts as one" in text
    assert "patient-independent" not in text.replace("NOT patient-independent", "")
    results = read_json(Path("run/results.json"))
    assert results["marks"] == ["patients unknown: each record counts as one"]
    assert "scope record, NOT patient-independent" in results["protocol"]
    split = read_json(Path("run/split.json"))["folds"][0]
    assert split["marks"] == ["patients unknown: each record counts as one"]
