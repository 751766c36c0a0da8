"""MVCNet's shipped configurations keep what they promise: pairs, protocols, views, one step on a processor."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.commands.setup import Cohort, build_model, check_signal, epoch_plan, open_cohort
from biocl.config import load_experiment, variants_of
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.objectives import terms as step
from biocl.objectives.batch import Batch
from biocl.objectives.contradictions import contradictions
from biocl.objectives.spec import ContrastTerm
from biocl.objectives.terms import make_views, step_loss
from biocl.randomness import integer_seed
from biocl.splits.splitters import trial_numbers
from biocl.training.optimisation import make_optimiser
from biocl.views.view import View

PACKAGE = Path(__file__).resolve().parents[2] / "biocl"
CPU = torch.device("cpu")
SHORT = ["data.resample_hz=100", "data.windows={kind: event, events: trial, before_s: 0, after_s: 1}"]


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load_experiment(Path("mvcnet"), SHORT)


@pytest.fixture(scope="module")
def cohort(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(tmp_path_factory.mktemp("home")))
        return open_cohort(experiment)


def first_batch(experiment: Experiment, cohort: Cohort) -> Batch:
    train = cohort.parts()["train"]
    plan = epoch_plan(experiment.batch, cohort.windows, train, experiment.seed)
    return cohort.for_fold(0).windows.batch(plan(0)[0], CPU)


def views_of(experiment: Experiment, cohort: Cohort, batch: Batch) -> dict[str, View]:
    return make_views(
        batch,
        experiment.views,
        experiment.terms,
        hidden_dim=None,
        generator=torch.Generator(),
        seed_of=partial(integer_seed, 0),
        signal=cohort.windows.signal,
    )


@pytest.mark.parametrize("name", ["mvcnet", "mvcnet-ablation", "mvcnet-reference"])
def test_only_the_published_terms_fight_over_pairs(name: str, cohort: Cohort) -> None:
    base = load_experiment(Path(name), SHORT)
    for one in (base, *variants_of(base).values()):
        terms = [term for term in one.terms if isinstance(term, ContrastTerm) and term.weight > 0]
        batch = first_batch(one, cohort)
        views = views_of(one, cohort, batch)
        found = contradictions(terms, batch, ["cnn", "transformer"], views)
        assert bool(found) == (name == "mvcnet-reference")


def test_the_reflected_trial_is_classified_as_what_it_shows(experiment: Experiment, cohort: Cohort) -> None:
    batch = first_batch(experiment, cohort)
    views = views_of(experiment, cohort, batch)
    target = views["space"].target
    assert target is not None
    assert torch.equal(target, 1 - batch.label)
    assert torch.equal(views["freq"].target if views["freq"].target is not None else batch.label, batch.label)


def test_nobody_tested_was_trained_on_and_nothing_of_them_is_looked_at(experiment: Experiment, cohort: Cohort) -> None:
    patient = cohort.windows.table.rows["patient"]
    tested = set()
    for fold, split in enumerate(cohort.splits):
        parts = cohort.parts(fold)
        assert split.patient_independent
        assert not set(patient[parts["train"]]) & set(patient[parts["test"]])
        tested |= set(patient[parts["test"]])
        # Other test windows, wherever they come from, change nothing in how a test window is read.
        one = cohort.for_fold(fold).windows
        alone = one.read(parts["test"][:1])
        np.testing.assert_array_equal(alone, one.read(parts["test"])[:1])
        if fold == 0:
            known = one.known
            assert known.references is not None
            assert len(known.references) == len(set(patient[parts["train"]]))
    assert tested == set(patient)
    assert cohort.windows.marks == ()
    # Only where the configuration asks for it, and then every table says so.
    looking = open_cohort(load_experiment(Path("mvcnet"), [*SHORT, "data.align.mode=transductive"]))
    assert "transductive" in looking.windows.marks[0]


def test_the_reference_tests_each_patients_last_trials(cohort: Cohort) -> None:
    reference = open_cohort(load_experiment(Path("mvcnet-reference"), SHORT))
    rows, number = reference.windows.table.rows, trial_numbers(reference.windows.table)
    assert len(reference.splits) == 9
    for fold, split in enumerate(reference.splits):
        parts = reference.parts(fold)
        assert not split.patient_independent
        assert len(set(rows["patient"][np.concatenate(list(parts.values()))])) == 1
        for label in (0, 1):
            train, test = (number[part[rows["label"][part] == label]] for part in (parts["train"], parts["test"]))
            assert train.max() < test.min()
        assert (np.diff(rows["start"][parts["test"]]) > 0).all()  # in the order of time, classes mixed
        assert (np.diff(rows["label"][parts["test"]]) != 0).sum() > 1


def test_each_view_is_made_and_encoded_once_a_step_and_the_step_runs_on_a_processor(
    experiment: Experiment, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = first_batch(experiment, cohort)
    model = build_model(experiment, cohort.windows)
    made, encoded = [], []
    make_view, trunk = step.make_view, model.trunk
    monkeypatch.setattr(step, "make_view", lambda *args, **keys: made.append(1) or make_view(*args, **keys))
    monkeypatch.setattr(model, "trunk", lambda view: encoded.append(1) or trunk(view))
    views = views_of(experiment, cohort, batch)
    optimiser = make_optimiser(model.parameters(), experiment.train)
    before = {name: value.clone() for name, value in model.named_parameters()}
    out = step_loss(model, batch, views, experiment.terms)
    out.total.backward()
    optimiser.step()
    assert len(made) == len(encoded) == len(experiment.views) == 4
    assert set(out.terms) == {"classification", "cross-view", "cross-model"}
    # Every weight of both branches, the projectors and the head has moved.
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_no_device_is_chosen_but_in_one_place() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ".cuda()" not in text, path
        chooses = "torch.cuda.is_available()" in text or 'device("cuda' in text
        assert not chooses or path.name in ("optimisation.py", "doctor.py", "run.py"), path


def test_a_task_without_left_and_right_is_refused_before_anything_is_trained(cohort: Cohort) -> None:
    """Mode joint trains anew for a task, by the same views; reflect needs left and right among its classes."""
    task = {"class_sets": [["left_hand", "feet"]], "modes": ["joint"], "labels": ["all"]}
    experiment = load_experiment(Path("mvcnet"), [*SHORT, f"evaluate={json.dumps(task)}"])
    with pytest.raises(UsageError, match="left and right"):
        check_signal(experiment, cohort.windows)
    check_signal(load_experiment(Path("mvcnet"), SHORT), cohort.windows)
