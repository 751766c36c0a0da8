"""Pretraining with contrast and every kind of head: what is logged, and that a run which was cut short goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.commands.pretrain import pretrain
from biocl.commands.setup import Cohort, open_cohort
from biocl.config import to_yaml
from biocl.datasets.arrays import array_dataset
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.files import write_json
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.training.checkpoint import load_checkpoint
from biocl.training.run import read_metrics

HEADS: list[dict[str, Any]] = [
    {"head": "forecasting", "loss": "mae"},
    {"head": "regression"},
    {"head": "reconstruction", "views": ["masked"]},
    {"head": "classification"},
]
CONTRAST = {"views": ["clean", "masked"], "relation": "same-sample", "criterion": {"name": "nt-xent"}}


def experiment(folder: Path, terms: list[dict[str, Any]], **keys: Any) -> Experiment:
    windows = {"kind": "sliding", "length_s": 1.0, "step_s": 0.25, "horizon_s": 0.25}
    known = {
        "data": {"store": str(folder / "store"), "windows": windows, "input_scale": "train", "normalise": "last"},
        "split": {"file": str(folder / "split.json")},
        "batch": {"kind": "random", "size": 16},
        "views": {"clean": [], "masked": [{"mask": "continuous", "at": "input"}]},
        "encoder": {"name": "dilated-cnn", "depth": 1, "hidden_dim": 6, "embed_dim": 6},
        "train": {"steps": 6, "validate_every": 3, "checkpoint_every": 2, "log_every": 1},
    }
    return Experiment.model_validate({**known, "terms": terms, **keys})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("heads")
    rng = np.random.default_rng(0)
    patients = [f"p{i // 2}" for i in range(12)]
    x = rng.standard_normal((12, 2, 64)).cumsum(axis=2)
    build_store(array_dataset(x, ["a", "b"] * 6, patients, sfreq=16.0), None, made / "store", ConditioningSpec())
    parts = {"train": ["p0", "p1", "p2", "p3"], "validation": ["p4"], "test": ["p5"]}
    write_json(made / "split.json", {"format": 1, "name": "heads", "scope": "patient", "folds": [{"fold": 0, **parts}]})
    return made


def with_numbers(made: Experiment) -> Cohort:
    cohort = open_cohort(made)
    table = cohort.windows.table
    target = np.arange(len(table), dtype=np.float32)
    return replace(cohort, windows=replace(cohort.windows, table=replace(table, target=target, target_name="n")))


def test_heads_and_contrast_are_trained_together_and_logged(folder: Path, tmp_path: Path) -> None:
    made = experiment(folder, [*HEADS, CONTRAST | {"weight": {"from": 1, "to": 0, "over": 0.5}}])
    pretrain(made, tmp_path / "whole", cohort=with_numbers(made))
    log = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    assert log[0].keys() == {"step", "initial_state"}
    steps = [line for line in log if "loss" in line]
    assert {"forecasting", "regression", "reconstruction", "classification", "same-sample"} <= steps[0].keys()
    assert [line["same-sample/weight"] for line in steps] == pytest.approx([1, 2 / 3, 1 / 3, 0, 0, 0])
    looks = [line for line in log if "validation/forecasting/mse" in line]
    assert [line["step"] for line in looks] == [3, 6]
    assert all(line["validation/regression/mae"] > 0 for line in looks)
    assert "same-sample" in to_yaml(made) or "from: 1" in to_yaml(made)


def test_a_run_that_was_cut_short_goes_on_bit_by_bit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment(folder, [*HEADS, CONTRAST])
    pretrain(made, tmp_path / "whole", cohort=with_numbers(made))

    class Killed(Exception):
        pass

    from biocl.training import loop

    own = loop.train_step

    def dying(model: Any, task: Any, spec: Any, optimiser: Any, batches: Any, at: Any, **more: Any) -> Any:
        if at.step == 5:
            raise Killed
        return own(model, task, spec, optimiser, batches, at, **more)

    monkeypatch.setattr(loop, "train_step", dying)
    with pytest.raises(Killed):
        pretrain(made, tmp_path / "cut", cohort=with_numbers(made))
    monkeypatch.setattr(loop, "train_step", own)
    pretrain(made, tmp_path / "cut", resume=True, cohort=with_numbers(made))
    whole, cut = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "cut"))
    assert whole == cut
    states = [
        (tmp_path / name / "checkpoints" / "step-0000006" / "average.safetensors").read_bytes()
        for name in ("whole", "cut")
    ]
    assert states[0] == states[1]


def test_with_and_without_contrast_begin_alike(folder: Path, tmp_path: Path) -> None:
    begun = []
    for name, weight in (("with", 1.0), ("without", 0.0)):
        made = experiment(folder, [HEADS[0], CONTRAST | {"weight": weight}], seed=5)
        pretrain(made, tmp_path / name)
        begun.append(read_metrics(tmp_path / name / "metrics.jsonl")[0]["initial_state"])
    assert begun[0] == begun[1]
    assert begun[0].keys() == {"encoder", "heads"}


def test_heads_that_the_data_cannot_serve_are_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    number = experiment(folder, [HEADS[1]])
    with pytest.raises(UsageError, match="windows have none"):
        pretrain(number, tmp_path / "run")
    plain = {"kind": "sliding", "length_s": 1.0, "step_s": 0.25}
    future = experiment(folder, [HEADS[0]], data={"store": str(folder / "store"), "windows": plain})
    with pytest.raises(UsageError, match="windows have no future"):
        pretrain(future, tmp_path / "run")
    assert not (tmp_path / "run").exists()


MOCO = {"views": ["clean", "masked"], "relation": "same-sample", "criterion": {"name": "info-nce"}, "keys": "momentum",
        "queue": {"size": 20}, "project": "small", "ignore": ["overlap"]}  # fmt: skip


@pytest.mark.parametrize("contrast", [CONTRAST | {"project": "small"}, MOCO], ids=["nt-xent", "moco"])
def test_a_contrast_of_weight_0_is_the_supervised_run_and_a_head_of_weight_0_pure_contrast(
    folder: Path, tmp_path: Path, contrast: dict[str, Any]
) -> None:
    """Bit by bit, against runs that do not name the other term at all."""
    projectors = {"projectors": {"small": {"hidden_dim": 6, "out_dim": 4}}}

    def weights(name: str, terms: list[dict[str, Any]]) -> dict[str, Any]:
        run = pretrain(experiment(folder, terms, **projectors), tmp_path / name)
        return load_checkpoint(run / "checkpoints").weights

    head = HEADS[0]
    found = {
        "supervised": (weights("a", [head, contrast | {"weight": 0.0}]), weights("b", [head]), ("encoder.", "heads.")),
        "contrast": (
            weights("c", [head | {"weight": 0.0}, contrast]),
            weights("d", [contrast]),
            ("encoder.", "projectors.", "momentum.", "queues."),
        ),
    }
    for name, (zero, without, prefixes) in found.items():
        shared = [key for key in without if key.startswith(prefixes)]
        assert shared, name
        assert all(torch.equal(zero[key], without[key]) for key in shared), name
    both = weights("e", [head, contrast])
    assert any(not torch.equal(value, both[key]) for key, value in found["supervised"][1].items() if key in both)
