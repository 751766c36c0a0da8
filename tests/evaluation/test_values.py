"""Forecasts and numbers of real windows: predicted without a look at what is wanted, fine-tuned, trained jointly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from biocl.commands.joint import train_jointly
from biocl.commands.prepare import window_table
from biocl.commands.setup import Cohort, build_model
from biocl.datasets.arrays import array_dataset
from biocl.errors import UsageError
from biocl.evaluation.finetuning import Labelled, finetune_model
from biocl.evaluation.values import Best, predict_values, value_errors, wearing
from biocl.experiment import DataSpec, Experiment
from biocl.objectives.head_spec import ForecastingTerm, RegressionTerm
from biocl.objectives.model import Model
from biocl.signals.spec import ConditioningSpec
from biocl.splits.split import Split
from biocl.store.build import build_store
from biocl.training.data import Windows
from biocl.training.loop import Metrics
from biocl.training.spec import FinetuneSpec

CPU = torch.device("cpu")
PAST, FUTURE = 16, 4
ENCODER = {"name": "dilated-cnn", "depth": 2, "hidden_dim": 6, "embed_dim": 6, "dropout": 0.0, "pool": "mean"}
FORECAST = ForecastingTerm(head="forecasting")
REGRESS = RegressionTerm(head="regression", loss="mse")
CONTRAST = {
    "views": ["clean", "clean"],
    "redraw_dropout": True,
    "relation": "same-patient",
    "criterion": {"name": "sup-con"},
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Sines of two channels, of eight patients with a frequency and a level of their own; the frequency is the target.

    Every fifth window has no target. Patients p0 to p4 train, p5 validates, p6 and p7 test.
    """
    rng = np.random.default_rng(0)
    x, patient, speed = [], [], []
    for number in range(8):
        rates = 1 + 2 * rng.random(6)
        phase = rng.random((6, 2)) * 6
        steps = np.arange(60) / 32
        wave = np.sin(2 * np.pi * rates[:, None, None] * steps + phase[..., None])
        x.append(wave + 0.5 * number)
        patient += [f"p{number}"] * 6
        speed += rates.tolist()
    data = np.concatenate(x)
    dataset = array_dataset(data, ["k"] * len(data), patient, sfreq=32.0)
    store = build_store(dataset, None, tmp_path_factory.mktemp("values") / "store", ConditioningSpec())
    windows: Any = {"kind": "sliding", "length_s": PAST / 32, "step_s": 4 / 32, "horizon_s": FUTURE / 32}
    table = window_table(store, DataSpec(store=str(store.path), windows=windows))
    target = np.array(speed, np.float32)[table.rows["trial"]]
    target[::5] = np.nan
    parts = {"train": range(5), "validation": range(5, 6), "test": range(6, 8)}
    split = Split("values", "patient", {part: tuple(f"p{i}" for i in who) for part, who in parts.items()})
    made = Windows(store, replace(table, target=target, target_name="speed"), "none", normalise="instance")
    return Cohort(made, [split], 0.0)


def experiment(terms: Sequence[Any], **keys: Any) -> Experiment:
    known = {
        "data": {"store": "x"},
        "split": {"name": "values"},
        "encoder": ENCODER,
        "batch": {"kind": "random", "size": 32},
        "train": {"steps": 12, "lr": 0.01, "average": None, "log_every": 1},
    }
    plain = [term if isinstance(term, dict) else term.model_dump() for term in terms]
    return Experiment.model_validate({**known, "terms": plain, **keys})


def model_of(cohort: Cohort, terms: Sequence[Any], **keys: Any) -> Model:
    return build_model(experiment(terms, **keys), cohort.windows)


def state_of(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def all_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


class Blind(Windows):
    """Windows whose future nobody may read."""

    def future(self, indices: np.ndarray) -> np.ndarray:
        raise AssertionError("the future was read")


def test_predictions_are_those_of_the_head_and_read_nothing_that_is_wanted(cohort: Cohort) -> None:
    windows, test = cohort.windows, cohort.parts()["test"]
    model = model_of(cohort, [FORECAST, REGRESS])
    model.fit_heads(target=torch.from_numpy(windows.table.target))
    batch = windows.batch(test, CPU)
    with torch.no_grad():
        latents = model.eval().read(batch.x)
        wanted = model.heads["forecasting"](latents) * batch.level[1] + batch.level[0]
        numbers = model.heads["regression"](latents.vec)
    rows = windows.table.rows.copy()
    rows["label"] = -1
    hidden = replace(windows.table, rows=rows, target=None)
    blind = Blind(windows.store, hidden, windows.scale, normalise="instance")
    said = predict_values(model, blind, test, device=CPU, title="forecasting", batch_size=7)
    assert said.shape == (len(test), 2, FUTURE)
    np.testing.assert_allclose(said, wanted.numpy(), atol=1e-5)
    told = predict_values(model, blind, test, device=CPU, title="regression")
    np.testing.assert_allclose(told, numbers.numpy(), atol=1e-5)
    errors = value_errors(model, windows, test, device=CPU, title="forecasting", batch_size=7)
    off = wanted.numpy() - windows.future(test)
    assert errors == pytest.approx({"mse": float((off**2).mean()), "mae": float(np.abs(off).mean())}, rel=1e-5)
    errors = value_errors(model, windows, test, device=CPU, title="regression", batch_size=7)
    off = numbers.numpy() - windows.table.target[test]
    assert errors == pytest.approx({"mse": float(np.nanmean(off**2)), "mae": float(np.nanmean(np.abs(off)))}, rel=1e-5)


def test_a_head_among_several_is_named(cohort: Cohort) -> None:
    with pytest.raises(UsageError, match="heads forecasting, regression"):
        predict_values(model_of(cohort, [FORECAST, REGRESS]), cohort.windows, np.arange(2), device=CPU)
    with pytest.raises(UsageError, match="no head"):
        predict_values(model_of(cohort, [CONTRAST]), cohort.windows, np.arange(2), device=CPU)


@pytest.mark.parametrize(
    ("term", "error"), [(FORECAST, "mse"), (REGRESS, "mse"), (RegressionTerm(head="regression"), "mae")]
)
def test_fine_tuning_keeps_the_weights_of_the_least_error_on_validation_patients(
    cohort: Cohort, term: Any, error: str
) -> None:
    windows, parts = cohort.windows, cohort.parts()
    built: list[Model] = []
    looks: list[tuple[float, dict[str, torch.Tensor]]] = []

    def build(terms: Any) -> Model:
        built.append(build_model(experiment([FORECAST]), windows, terms))
        return built[0]

    def on_log(step: int, values: Metrics) -> None:
        if f"validation/{error}" in values:
            looks.append((values[f"validation/{error}"], state_of(built[0])))

    spec = FinetuneSpec(mode="full", max_steps=30, validate_every=3, batch_size=32, lr=0.03)
    model = finetune_model(
        build, None, windows, parts["train"], parts["validation"], spec, seed=0, device=CPU, on_log=on_log, term=term
    )
    best = int(np.argmin([score for score, _ in looks]))
    assert 0 < best < len(looks) - 1 or looks[best][0] < looks[0][0]
    assert all_equal(state_of(model), looks[best][1])
    assert value_errors(model, windows, parts["validation"], device=CPU)[error] == pytest.approx(looks[best][0])
    if isinstance(term, RegressionTerm):
        known = windows.table.target[parts["train"]]
        assert float(model.heads["regression"].target_mean) == pytest.approx(float(np.nanmean(known)), rel=1e-5)


def test_fine_tuning_a_forecast_learns_and_reads_training_and_validation_windows_alone(cohort: Cohort) -> None:
    windows, parts = cohort.windows, cohort.parts()
    read: list[int] = []

    class Noted(Windows):
        def future(self, indices: np.ndarray) -> np.ndarray:
            read.extend(np.asarray(indices).tolist())
            return super().future(indices)

    noted = Noted(windows.store, windows.table, windows.scale, normalise="instance")
    spec = FinetuneSpec(mode="full", max_steps=150, batch_size=64, lr=0.02)
    model = finetune_model(
        lambda terms: build_model(experiment([FORECAST]), windows, terms),
        None, noted, parts["train"], parts["validation"], spec, seed=0, device=CPU, term=FORECAST,
    )  # fmt: skip
    assert set(read) == {*parts["train"].tolist(), *parts["validation"].tolist()}
    mean = windows.future(parts["test"]).var()
    assert value_errors(model, windows, parts["test"], device=CPU)["mse"] < 0.3 * mean


def test_a_view_of_fine_tuning_that_moves_time_is_refused(cohort: Cohort) -> None:
    spec = FinetuneSpec(mode="full", view=["reverse"], max_steps=1)
    with pytest.raises(UsageError, match=r"reverse in the view finetune.*finetune\.view"):
        finetune_model(
            lambda terms: model_of(cohort, terms), None, cohort.windows, np.arange(9), np.arange(0), spec,
            seed=0, device=CPU, term=FORECAST,
        )  # fmt: skip


def jointly(
    cohort: Cohort, terms: Sequence[Any], labelled: np.ndarray | None = None, **keys: Any
) -> tuple[Model, list[Metrics]]:
    log: list[Metrics] = []
    made = experiment(terms, **keys)
    model = build_model(made, cohort.windows)
    parts = cohort.parts()
    rows = parts["train"] if labelled is None else labelled
    train_jointly(
        model, made, cohort.windows, parts["train"], rows, device=CPU, on_log=lambda step, values: log.append(values)
    )
    return model, log


def test_contrast_of_weight_0_is_the_supervised_run_bit_by_bit(cohort: Cohort) -> None:
    """Check 6: losses and weights; and a weight of 1 for the contrast alone is pure contrast."""
    projector = {"projectors": {"p": {"hidden_dim": 8, "out_dim": 4}}}
    contrast = {**CONTRAST, "project": "p"}
    alone, log = jointly(cohort, [FORECAST], **projector)
    both, log_of_both = jointly(cohort, [{**contrast, "weight": 0}, FORECAST], **projector)
    assert log == log_of_both
    assert all_equal(state_of(alone), state_of(both))
    forecast_off = FORECAST.model_copy(update={"weight": 0})
    pure, log_of_pure = jointly(cohort, [contrast, forecast_off], **projector)
    assert all(line["loss"] == line["same-patient"] for line in log_of_pure if "loss" in line)
    assert not all_equal(state_of(alone), state_of(pure))


def test_with_and_without_contrast_training_begins_with_the_same_weights(cohort: Cohort) -> None:
    """Check 7, also where the contrast stands behind a projector of its own."""
    projector = {"projectors": {"p": {}}}
    with_contrast = model_of(cohort, [{**CONTRAST, "project": "p"}, FORECAST], **projector)
    off = model_of(cohort, [{**CONTRAST, "project": "p", "weight": 0}, FORECAST], **projector)
    assert all_equal(state_of(with_contrast), state_of(off))


def test_joint_training_reads_the_numbers_of_labelled_windows_alone(cohort: Cohort) -> None:
    windows, train = cohort.windows, cohort.parts()["train"]
    labelled = train[::3]
    target = windows.table.target.copy()
    target[np.setdiff1d(np.arange(len(target)), labelled)] = 1e6
    spoilt = replace(cohort, windows=replace(windows, table=replace(windows.table, target=target)))
    first, _ = jointly(cohort, [REGRESS, FORECAST], labelled)
    second, _ = jointly(spoilt, [REGRESS, FORECAST], labelled)
    assert all_equal(state_of(first), state_of(second))
    assert float(first.heads["regression"].target_mean) < 5


@pytest.mark.parametrize("average", [None, {"kind": "uniform"}])
def test_joint_training_keeps_the_best_look_at_validation_windows(cohort: Cohort, average: Any) -> None:
    made = experiment([FORECAST], train={"steps": 24, "lr": 0.05, "validate_every": 3, "average": average})
    model, parts = build_model(made, cohort.windows), cohort.parts()
    looks: list[float] = []

    def on_log(step: int, values: Metrics) -> None:
        looks.extend([values["validation/mse"]] if "validation/mse" in values else [])

    validation = parts["validation"]
    train_jointly(
        model, made, cohort.windows, parts["train"], parts["train"], device=CPU, validation=validation, on_log=on_log
    )
    assert len(looks) == 8
    assert value_errors(model, cohort.windows, validation, device=CPU)["mse"] == pytest.approx(min(looks))


def test_a_classifier_beside_a_forecast_is_trained_by_its_labels(cohort: Cohort) -> None:
    made = experiment([{"head": "classification"}, FORECAST, CONTRAST])
    model, parts = build_model(made, cohort.windows), cohort.parts()
    log: list[Metrics] = []
    data = Labelled.make(cohort.windows, ["k"])
    train_jointly(
        model, made, data, parts["train"], parts["train"], device=CPU, validation=parts["validation"],
        on_log=lambda step, values: log.append(values),
    )  # fmt: skip
    assert {"classification", "forecasting", "same-patient"} <= log[0].keys()
    assert log[-1].keys() == {"validation/macro_f1"}


def test_the_best_of_equal_scores_is_the_first_and_a_model_gets_its_own_weights_back(cohort: Cohort) -> None:
    model = model_of(cohort, [FORECAST]).train()
    before = state_of(model)
    other = {name: value + 1 for name, value in before.items()}
    best = Best()
    for score, weights in ((0.1, before), (0.5, other), (0.5, before), (float("nan"), before)):
        best.offer(score, weights)
    assert all_equal(best.weights, other)
    with wearing(model, other):
        assert all_equal(state_of(model), other)
        assert not model.training
    assert all_equal(state_of(model), before)
    assert model.training
