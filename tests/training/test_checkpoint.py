"""Checkpoints are complete or absent, and a newer one replaces the oldest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from biocl.errors import DataError, UsageError
from biocl.training.checkpoint import checkpoints, load_checkpoint, patient_hashes, save_checkpoint


def save(folder: Path, step: int) -> Path:
    return save_checkpoint(
        folder,
        weights={"w": torch.full((3,), float(step))},
        average={"w": torch.full((3,), -float(step))},
        optimiser={"state": {}, "param_groups": []},
        state={"step": step},
    )


def test_round_trip_and_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save(tmp_path, step)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000010", "step-0000015"]
    back = load_checkpoint(tmp_path)
    assert back.state["step"] == 15
    assert back.weights["w"].tolist() == [15.0] * 3
    assert back.best_weights["w"].tolist() == [-15.0] * 3


def test_a_failed_save_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 5)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("biocl.training.checkpoint.save_tensors", full)
    with pytest.raises(DataError, match="disk is full"):
        save(tmp_path, 10)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path).state["step"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000005"]


def test_missing_and_damaged_checkpoints_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint"):
        load_checkpoint(tmp_path)
    path = save(tmp_path, 5)
    (path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match="cannot be read"):
        load_checkpoint(tmp_path)


def test_patient_hashes_depend_on_data_set_version_and_patient_only() -> None:
    first = patient_hashes("mitdb", "1.0.0", ["100", "101"])
    assert first == patient_hashes("mitdb", "1.0.0", ["101", "100"])
    assert set(first).isdisjoint(patient_hashes("mitdb", "1.0.1", ["100", "101"]))
    assert set(first) & set(patient_hashes("mitdb", "1.0.0", ["100", "105"]))
