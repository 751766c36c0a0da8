"""A view that the signal does not allow is refused by every verb before anything is written; one that it does runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from biocl.commands.plan import make_plan
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import open_cohort
from biocl.config import load_experiment
from biocl.datasets.arrays import array_dataset
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.signals.recording import Channel
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store

SHORT = [
    "train.steps=2",
    "train.average=null",
    "train.validate_every=2",
    "batch={kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}",
    "encoder={name: dilated-cnn, depth: 1, hidden_dim: 8, embed_dim: 8}",
    "projectors={}",
]


def motor(folder: Path, classes: tuple[str, str]) -> Path:
    """Six patients with C3 and C4 and two classes."""
    rng = np.random.default_rng(0)
    n = 6 * 8
    dataset = array_dataset(
        rng.standard_normal((n, 2, 64)).astype(np.float32),
        [classes[i % 2] for i in range(n)],
        [f"p{i // 8}" for i in range(n)],
        [f"t{i // 2}" for i in range(n)],
        sfreq=64.0,
        channels=[Channel("C3", "eeg", "uV"), Channel("C4", "eeg", "uV")],
        name="motor",
    )
    return build_store(dataset, None, folder / "store", ConditioningSpec()).path


def experiment(store: Path, *more: str) -> Experiment:
    terms = [
        "{views: [raw, mirrored], relation: same-sample, criterion: {name: nt-xent}}",
        "{head: classification, views: [raw, mirrored]}",
    ]
    return load_experiment(
        Path("own-data"),
        [
            f"data.store={store}",
            "data.windows=null",
            "data.trials=null",
            "data.input_scale=recording",
            "views={raw: [], mirrored: [reflect, {jitter: 0.1}]}",
            f"terms=[{', '.join(terms)}]",
            *SHORT,
            *more,
        ],
    )


@pytest.fixture(scope="module")
def left_right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return motor(tmp_path_factory.mktemp("motor"), ("left_hand", "right_hand"))


def test_a_reflected_view_is_trained_on_with_its_own_label(left_right: Path, tmp_path: Path) -> None:
    run = pretrain(experiment(left_right), tmp_path / "run")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert '"same-sample/skipped": 12' in lines[1]  # the first says which weights training began with
    plan = make_plan(experiment(left_right))
    assert plan["passes"]["views encoded a step"] == ["raw", "mirrored"]


def verbs() -> list[Callable[[Experiment, Path], object]]:
    return [
        lambda what, out: pretrain(what, out),
        lambda what, out: make_plan(what),
        lambda what, out: open_cohort(what),
    ]


@pytest.mark.parametrize("verb", verbs(), ids=["pretrain", "plan", "any"])
def test_a_view_that_does_not_fit_is_refused_before_anything_is_written(
    verb: Callable[[Experiment, Path], object], left_right: Path, tmp_path: Path
) -> None:
    for change, why in (
        ("views.mirrored=[lead-mix]", "fewer than two ECG leads"),
        ("views.mirrored=[rotate]", "input_scale"),
        ("finetune.view=[{mains: 10}]", "half the sampling rate"),
    ):
        with pytest.raises(UsageError, match=why):
            verb(experiment(left_right, change), tmp_path / "run")
        assert not (tmp_path / "run").exists()
    # A view that no acting term reads is not looked at.
    open_cohort(experiment(left_right, "views.unused=[lead-mix]"))


def test_reflection_needs_left_and_right_among_the_classes(tmp_path: Path) -> None:
    store = motor(tmp_path, ("alcoholic", "control"))
    with pytest.raises(UsageError, match="no class is left or right by name"):
        pretrain(experiment(store), tmp_path / "run")
