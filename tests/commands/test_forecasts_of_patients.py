"""A study of forecasts between patients: folds that differ in season, devices, and what cannot stand in one table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biocl.commands.evaluate import evaluate
from biocl.commands.forecast_cells import SEASON
from biocl.commands.pretrain import pretrain
from biocl.config import load_experiment
from biocl.datasets.dataset import Entry
from biocl.datasets.series import ETTH1
from biocl.errors import UsageError
from biocl.evaluation.protocol import FLOOR_MODE
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

N_TIMES, SFREQ = 320, 16.0
CHANNELS = [Channel(f"{device}_{axis}", "acc", "g", device=device) for device in ("wrist", "ankle") for axis in "xy"]


def rhythm(patient: int, period: int) -> np.ndarray:
    """A rhythm in noise; a walk without any for a period of 0."""
    noise = np.random.default_rng(patient).normal(size=(N_TIMES, len(CHANNELS)))
    if not period:
        return noise.cumsum(axis=0)
    return np.sin(2 * np.pi * (np.arange(N_TIMES)[:, None] + 3 * np.arange(len(CHANNELS))) / period) + 0.05 * noise


def make_store(folder: Path, periods: list[int]) -> Path:
    """A patient for each period."""
    values = {f"p{i}": rhythm(i, period).astype(np.float32) for i, period in enumerate(periods)}
    dataset = replace(
        ETTH1,
        name="many",
        modality="imu",
        entries=lambda raw: [Entry(name, patient=name, source="made") for name in values],
        read=lambda entry: Recording.from_array(entry.name, entry.patient, SFREQ, values[entry.name], CHANNELS),
        splits={},
    )
    return build_store(dataset, None, folder, ConditioningSpec()).path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("rhythm") / "store", [16] * 4)


def experiment_of(store: Path, *more: str, horizon_s: float = 0.5) -> Experiment:
    windows = f"{{kind: sliding, length_s: 2.0, step_s: 0.5, horizon_s: {horizon_s}}}"
    return load_experiment(
        Path("demo"),
        [
            f"data={{store: {store}, windows: {windows}, input_scale: train}}",
            "split={kind: random, fractions: [0.5, 0.25, 0.25]}",
            "encoder={name: dilated-cnn, depth: 1, hidden_dim: 6, embed_dim: 6}",
            "batch={kind: random, size: 16}",
            "views={clean: []}",
            "terms=[{head: forecasting, views: [clean]}]",
            "train={steps: 2, lr: 0.01}",
            "finetune={max_steps: 2, validate_every: 1}",
            "evaluate={seeds: 1, modes: [linear], bootstrap_draws: 20}",
            "variants={}",
            *more,
        ],
    )


def test_a_season_that_not_every_fold_has_is_no_row(tmp_path: Path) -> None:
    """Where one patient of three has a rhythm, the train part of a fold may have none."""
    made = make_store(tmp_path / "store", [0, 16, 16, 16])
    text = evaluate(experiment_of(made, "split={kind: k-fold, n_folds: 4, validation: 0.34}"), None, tmp_path / "run")
    rows = {(row["mode"], row["arm"]): row for row in read_json(tmp_path / "run" / "results.json")["rows"]}
    assert "not_run" in rows[FLOOR_MODE, SEASON]
    assert "not run: no season within a look-back of 32 steps in fold" in text
    assert {row["n_windows"] for row in rows.values() if "not_run" not in row} == {4 * 36}


def test_seasons_that_differ_between_folds_are_all_named(tmp_path: Path) -> None:
    made = make_store(tmp_path / "store", [16, 16, 12, 12])
    split = {"name": "two", "scope": "patient", "folds": [
        {"fold": 0, "train": ["p0"], "validation": ["p1"], "test": ["p2"]},
        {"fold": 1, "train": ["p3"], "validation": ["p2"], "test": ["p1"]},
    ]}  # fmt: skip
    from biocl.files import write_json

    write_json(tmp_path / "split.json", {"format": 1, **split})
    text = evaluate(experiment_of(made, f"split={{file: {tmp_path / 'split.json'}}}"), None, tmp_path / "run")
    assert "copy of the last 12 to 16 steps, by fold" in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["evaluate.devices=[each]"], "all devices together"),
        (["evaluate.devices=[all, each]"], "all devices together"),
        (["variants={one: {data.devices: [wrist]}}"], "one.*data.devices"),
        (["variants={one: {data.input_scale: window}}"], "one.*data.input_scale"),
        (["variants={one: {data.align: {kind: euclidean}}}"], "one.*data.align"),
        (["evaluate.modes=[joint]", "variants={one: {terms: [{views: [clean, clean], redraw_dropout: true, "
          "relation: same-sample, criterion: {name: nt-xent}}]}}"], "one.*trains no head"),
    ],
)  # fmt: skip
def test_what_cannot_stand_in_one_table_is_refused(store: Path, tmp_path: Path, more: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(experiment_of(store, *more), None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_run_of_another_horizon_is_refused_in_words(store: Path, tmp_path: Path) -> None:
    run = pretrain(experiment_of(store), tmp_path / "pretrained")
    with pytest.raises(UsageError, match="head"):
        evaluate(experiment_of(store, horizon_s=1.0), run, tmp_path / "run")
