"""Leave one subject out: each is held out once, and reaches nothing that is chosen, scaled or fitted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.commands.prepare import prepare
from biocl.commands.pretrain import pretrain
from biocl.commands.pretrained import load_pretrained
from biocl.commands.setup import open_cohort
from biocl.commands.study import Fold, draw_for, floor_arms, linear_probe, tuned_model
from biocl.config import load_experiment
from biocl.datasets.dataset import Dataset
from biocl.datasets.registry import find_dataset
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.evaluation.finetuning import Labelled
from biocl.evaluation.protocol import PRETRAINED, UNTRAINED, Cell
from biocl.experiment import Experiment
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.training.checkpoint import load_checkpoint

CPU = torch.device("cpu")
HELD_OUT = "P003"
TERMS = [
    {"head": "classification", "views": ["clean"], "network": {"kind": "linear", "class_weights": "balanced"}},
    {"views": ["clean", "loud"], "relation": "same-sample", "criterion": {"name": "nt-xent"}, "weight": 0.1},
]
SMALL = [
    "split={kind: leave-one-out, validation: 0.3}",
    "encoder={name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}",
    "batch={kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    f"terms={json.dumps(TERMS)}",
    "train={steps: 3, lr: 0.01}",
    "finetune={max_steps: 6, validate_every: 2, batch_size: 16, head: {kind: linear}}",
]


def test_physical_therapy_holds_out_each_of_its_five_subjects_once(test_data: Path, tmp_path: Path) -> None:
    raw = test_data / "imu" / "physical-therapy-exercises"
    store = prepare(find_dataset("physical-therapy"), raw=raw, out=tmp_path / "store")
    cohort = open_cohort(load_experiment(Path("demo"), [f"data={{store: {store.path}}}", *SMALL]))
    patient = cohort.windows.table.patient
    tested = []
    for number in range(len(cohort.splits)):
        parts = cohort.parts(number)
        people = {name: set(patient[rows].tolist()) for name, rows in parts.items()}
        assert len(people["test"]) == 1
        assert people["validation"]
        assert not people["train"] & people["validation"]
        assert not people["test"] & (people["train"] | people["validation"])
        assert set().union(*people.values()) == set(range(5))
        assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(patient)))
        tested += people["test"]
    assert sorted(tested) == list(range(5))


@pytest.fixture(scope="module", params=["[wrist]", "null"])
def folds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Fold]:
    """The fold of one held-out subject, pretrained: as it is, and where this subject is another person."""
    spec = SyntheticSpec(kind="imu", n_patients=6, n_trials=4, n_samples=4)
    plain, other = synthetic_dataset(spec), synthetic_dataset(spec.model_copy(update={"seed": 1}))
    strangers = {entry.name: entry for entry in other.entries(None)}

    def read(entry: object) -> object:
        return other.read(strangers[entry.name]) if entry.patient == HELD_OUT else plain.read(entry)  # type: ignore[attr-defined]

    made = []
    for dataset in (plain, replace(plain, read=read)):
        made.append(pretrained_fold(dataset, tmp_path_factory.mktemp("loso"), request.param))
    return made


def pretrained_fold(dataset: Dataset, folder: Path, devices: str) -> Fold:
    store = build_store(dataset, None, folder / "store", ConditioningSpec())
    fitted = "input_scale: train, align: {kind: euclidean}"
    experiment: Experiment = load_experiment(
        Path("demo"), [f"data={{store: {store.path}, devices: {devices}, {fitted}}}", *SMALL]
    )
    cohort = open_cohort(experiment)
    [number] = [i for i, split in enumerate(cohort.splits) if split.parts["test"] == (HELD_OUT,)]
    run = pretrain(experiment, folder / "run", fold=number, cohort=cohort)
    fold = Fold(experiment, cohort, number, cohort.parts(number), None, CPU)
    load_pretrained(fold, run)
    assert load_checkpoint(run / "checkpoints", CPU).fitted.mean is not None
    return fold


def same(folds: list[Fold], made: Callable[[Fold], dict[str, np.ndarray]]) -> None:
    first, second = (made(fold) for fold in folds)
    assert first.keys() == second.keys()
    assert first
    for name, value in first.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(second[name]), err_msg=name)


def test_the_two_held_out_subjects_differ(folds: list[Fold]) -> None:
    tested = [fold.windows.arrays(fold.parts["test"]) for fold in folds]
    assert tested[0].shape == tested[1].shape
    assert not np.array_equal(*tested)
    labels = [fold.windows.table.rows["label"][fold.parts["test"]] for fold in folds]
    assert not np.array_equal(*labels)


def test_scaling_alignment_and_pretraining_do_not_know_the_held_out_subject(folds: list[Fold]) -> None:
    same(folds, lambda fold: dict(fold.windows.known.arrays()))
    same(folds, lambda fold: {name: value.numpy() for name, value in fold.pretrained.items()})
    same(folds, lambda fold: fold.parts)


def test_floors_and_probes_do_not_know_the_held_out_subject(folds: list[Fold]) -> None:
    names = [name for name in floor_arms(folds[0]) if name != "majority"]
    train = folds[0].parts["train"]
    same(folds, lambda fold: {name: fold.features(name)[train] for name in [*names, PRETRAINED, UNTRAINED]})

    def probe(fold: Fold) -> dict[str, np.ndarray]:
        data = Labelled.make(fold.windows, list(fold.windows.table.classes))
        rows, _ = draw_for(fold, data, "1 patient", 0)
        return dict(linear_probe(fold, data, rows, fold.features(PRETRAINED), 0).arrays())

    same(folds, probe)


@pytest.mark.parametrize("mode", ["partial", "full"])
def test_the_selected_checkpoint_does_not_know_the_held_out_subject(folds: list[Fold], mode: str) -> None:
    """Neither its windows nor its labels choose the step that is kept."""

    def tuned(fold: Fold) -> dict[str, np.ndarray]:
        data = Labelled.make(fold.windows, list(fold.windows.table.classes))
        rows, _ = draw_for(fold, data, "2 patients", 0)
        model = tuned_model(fold, data, rows, Cell(data.classes, "2 patients", 0, mode, PRETRAINED))
        return {name: value.numpy() for name, value in model.state_dict().items()}

    same(folds, tuned)
