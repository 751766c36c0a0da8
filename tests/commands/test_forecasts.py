"""A study of forecasts: floors, arms as trained and in two steps, seeds, and test targets that are read last."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.commands import forecasts
from biocl.commands.evaluate import evaluate
from biocl.commands.forecast_cells import (
    FORECAST,
    LAST,
    RIDGE,
    SEASON,
    blocks_of,
    forecaster_of,
    modes_of,
    predict_floor,
    season_of,
)
from biocl.commands.study import Fold, load_prediction
from biocl.config import load_experiment
from biocl.datasets.dataset import Entry
from biocl.datasets.series import ETTH1
from biocl.errors import UsageError
from biocl.evaluation.floors_series import fit_ridge
from biocl.evaluation.protocol import FLOOR_MODE, PRETRAINED, Cell
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.signals.recording import Channel, Recording
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.training.data import Windows

HOUR = 3600.0
ROWS, FIRST_HELD, FIRST_TESTED = 700, 420, 560
SMALL = [
    "split={name: cut, scope: time}",
    "encoder={each: {name: patch-transformer, patch_ms: 14400000, width: 8, depth: 1, n_heads: 2}, of: channel}",
    "batch={kind: random, size: 16}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    "terms=[{head: forecasting, views: [clean]}, {views: [clean, loud], relation: same-sample, ignore: [], "
    "criterion: {name: nt-xent}, weight: 0.1}]",
    "train={steps: 3, lr: 0.01}",
    "finetune={max_steps: 2, validate_every: 1}",
    "evaluate={seeds: 2, modes: [linear, full], bootstrap_draws: 20}",
    "variants={supervised: {terms.1.weight: 0}, two-step: {terms.0.weight: 0}}",
]


def series(seed: int = 0) -> np.ndarray:
    """A day's rhythm that differs between channels, a slow walk and noise."""
    rng = np.random.default_rng(seed)
    hours = np.arange(ROWS)[:, None]
    day = np.sin(2 * np.pi * (hours + np.array([0, 5, 11])) / 24) * [1, 2, 3]
    return (day + 0.1 * rng.normal(size=(ROWS, 3)).cumsum(axis=0) + 0.1 * rng.normal(size=(ROWS, 3))).astype(np.float32)


def make_store(folder: Path, values: np.ndarray) -> Path:
    recording = Recording.from_array(
        "series", "series", 1 / HOUR, values, [Channel(name, "other", "NU") for name in "abc"]
    )
    parts = {"train": (0, FIRST_HELD), "validation": (FIRST_HELD, FIRST_TESTED), "test": (FIRST_TESTED, ROWS)}
    fold = {
        "fold": 0,
        **{part: ["series"] for part in parts},
        "intervals": {part: {"series": [[a * HOUR, b * HOUR]]} for part, (a, b) in parts.items()},
    }
    split = {"format": 1, "scope": "time", "gap_s": 0.0, "allow_shared": [], "marks": [], "folds": [fold]}
    dataset = replace(
        ETTH1,
        name="made",
        entries=lambda raw: [Entry("series", patient="series", source="made")],
        read=lambda entry: recording,
        splits={"cut": split},
    )
    return build_store(dataset, None, folder, ConditioningSpec()).path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("series") / "store", series())


def experiment_of(store: Path, *more: str, length: int = 48, horizon: int = 12) -> Experiment:
    windows = f"{{kind: sliding, length_s: {length * HOUR}, step_s: 3600, horizon_s: {horizon * HOUR}}}"
    data = f"data={{store: {store}, windows: {windows}, input_scale: train, normalise: instance}}"
    return load_experiment(Path("demo"), [data, *SMALL, *more])


def fold_of(experiment: Experiment, variant: str = "") -> Fold:
    [spec] = forecasts.spans_of(experiment)
    span = forecasts.open_span(experiment, spec, torch.device("cpu"))
    return span.arms[experiment.seed][(), variant][0]


def test_a_study_prints_floors_and_every_arm_over_seeds(store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store)
    text = evaluate(experiment, None, tmp_path / "run")
    rows = {(row["mode"], row["arm"]): row for row in read_json(tmp_path / "run" / "results.json")["rows"]}
    assert set(rows) == {
        *((FLOOR_MODE, name) for name in (LAST, SEASON, RIDGE, "ridge, a map a channel")),
        *(("joint", arm) for arm in (PRETRAINED, "supervised")),
        *((mode, arm) for mode in ("linear", "full") for arm in ("two-step", "untrained")),
    }
    for row in rows.values():
        assert (row["look_back"], row["horizon"], row["n_windows"]) == (48, 12, ROWS - FIRST_TESTED - 12 + 1)
        assert row["mse"]["low"] <= row["mse"]["mean"] <= row["mse"]["high"]
        assert len(row["mse_per_step"]) == len(row["mae_per_step"]) == 12
        assert row["seeds"] == ([0] if row["mode"] == FLOOR_MODE else [0, 1])
    assert rows["joint", PRETRAINED]["mse"]["low"] < rows["joint", PRETRAINED]["mse"]["high"]
    steps = {key: (row.get("encoder_steps"), row.get("finetune_steps")) for key, row in rows.items()}
    assert steps["joint", "supervised"] == (3, 0)
    assert steps["linear", "two-step"] == (3, 0)
    assert steps["full", "two-step"] == (3, 2)
    assert steps["full", "untrained"] == (0, 2)
    assert steps[FLOOR_MODE, LAST] == (None, None)
    assert "look-back 48 steps (2 days), horizon 12 steps (12 hours); 129 test windows, none left out" in text
    assert "copy of the last 24 steps" in text
    lines = [line for line in text.splitlines() if "two-step" in line or "from scratch" in line]
    assert [line.split("|")[-3].strip() for line in lines] == ["3 + ridge", "3 + 2", "0 + 2"]
    assert [line.split("|")[-2].strip() for line in lines] == ["1.00", "1.67", "0.67"]
    assert text.count("MARKED") == 0
    assert "NOT patient-independent" in text


def test_errors_are_those_of_the_saved_forecasts(store: Path, tmp_path: Path) -> None:
    experiment = experiment_of(store, "evaluate.seeds=1", "variants={}")
    evaluate(experiment, None, tmp_path / "run")
    [row] = [row for row in read_json(tmp_path / "run" / "results.json")["rows"] if row["mode"] == "joint"]
    forecast = load_prediction(tmp_path / "run" / "cells", Cell(("48to12",), "all", 0, "joint", PRETRAINED), FORECAST)
    assert forecast is not None
    train = series()[:FIRST_HELD].astype(np.float64)
    scaled = (series() - train.mean(axis=0)) / train.std(axis=0)
    future = np.stack([scaled[start : start + 12].T for start in range(FIRST_TESTED, ROWS - 11)])
    error = forecast - future
    assert row["mse"]["mean"] == pytest.approx((error**2).mean(), rel=1e-4)
    np.testing.assert_allclose(row["mae_per_step"], np.abs(error).mean(axis=(0, 1)), rtol=1e-4)


def test_what_came_is_read_when_every_forecast_is_on_disk(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = experiment_of(store, "evaluate.seeds=1")
    tested = forecasts.open_span(experiment, forecasts.spans_of(experiment)[0], torch.device("cpu"))
    rows = set(tested.arms[0][(), ""][0].parts["test"].tolist())
    expected = len(tested.cells)
    at_first_look: list[int] = []
    plain = Windows.future

    def spy(windows: Windows, indices: np.ndarray) -> np.ndarray:
        if rows & set(indices.tolist()) and not at_first_look:
            at_first_look.append(len(list((tmp_path / "run" / "cells").glob(f"*/{FORECAST}.npy"))))
        return plain(windows, indices)

    monkeypatch.setattr(Windows, "future", spy)
    evaluate(experiment, None, tmp_path / "run")
    assert at_first_look == [expected]


def test_other_test_targets_change_no_forecast(store: Path, tmp_path: Path) -> None:
    """The last 12 rows are nobody's look-back."""
    values = series()
    values[-12:] += 100
    other = make_store(tmp_path / "other", values)
    for name, path in (("a", store), ("b", other)):
        evaluate(experiment_of(path, "evaluate.seeds=1"), None, tmp_path / name)
    cells = sorted(path.parent.name for path in (tmp_path / "a" / "cells").glob(f"*/{FORECAST}.npy"))
    assert len(cells) == 10
    for cell in cells:
        one, two = (np.load(tmp_path / name / "cells" / cell / f"{FORECAST}.npy") for name in "ab")
        np.testing.assert_array_equal(one, two, err_msg=cell)
    errors = [read_json(tmp_path / name / "results.json")["rows"][0]["mse"]["mean"] for name in "ab"]
    assert errors[1] > errors[0] + 1


def test_a_resume_computes_what_is_missing_alone(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of(store, "evaluate.seeds=1")
    first = evaluate(experiment, None, tmp_path / "run")
    lost = tmp_path / "run" / "cells" / Cell(("48to12",), "all", 0, "linear", "two-step").file / f"{FORECAST}.npy"
    before = np.load(lost)
    lost.unlink()
    lost.parent.rmdir()
    seen: list[Cell] = []
    plain = forecasts.forecaster_of
    monkeypatch.setattr(forecasts, "forecaster_of", lambda fold, cell: seen.append(cell) or plain(fold, cell))
    assert evaluate(experiment, None, tmp_path / "run", resume=True) == first
    assert [(cell.mode, cell.arm) for cell in seen] == [("linear", "two-step")]
    np.testing.assert_array_equal(np.load(lost), before)


def test_spans_have_tables_and_keys_of_their_own(store: Path, tmp_path: Path) -> None:
    spans = [
        f"{{length_s: {24 * HOUR}, horizon_s: {6 * HOUR}, keys: {{train.steps: 2, data.input_scale: none}}}}",
        f"{{length_s: {48 * HOUR}, horizon_s: {24 * HOUR}}}",
        f"{{length_s: {96 * HOUR}, horizon_s: {48 * HOUR}, run: false}}",
    ]
    experiment = experiment_of(
        store, f"evaluate.spans=[{', '.join(spans)}]", "evaluate.seeds=1", "evaluate.modes=[linear]"
    )
    text = evaluate(experiment, None, tmp_path / "run")
    rows = read_json(tmp_path / "run" / "results.json")["rows"]
    assert {row["span"] for row in rows} == {"24to6", "48to24"}
    steps = {row["span"]: row["encoder_steps"] for row in rows if row["mode"] == "joint"}
    assert steps == {"24to6": 2, "48to24": 3}
    assert {row["n_windows"] for row in rows} == {135, 117}
    assert "look-back 345600 s, horizon 172800 s: not run (run: false)" in text
    headers = [line for line in text.splitlines() if line.startswith("look-back") and "none left out" in line]
    assert ["input scale none" in line for line in headers] == [True, False]
    assert ["input scale train" in line for line in headers] == [False, True]


def test_spans_alone_take_the_steps_that_suit_the_data_set(store: Path, tmp_path: Path) -> None:
    span = f"evaluate.spans=[{{length_s: {48 * HOUR}, horizon_s: {12 * HOUR}}}]"
    without = [f"data={{store: {store}, input_scale: train}}", *SMALL, span]
    experiment = load_experiment(Path("demo"), without)
    [spec] = forecasts.spans_of(experiment)
    found = forecasts.open_span(experiment, spec, torch.device("cpu")).cohort
    assert len(found.parts()["test"]) == ROWS - FIRST_TESTED - 12 + 1
    with pytest.raises(UsageError, match="do not slide"):
        evaluate(load_experiment(Path("demo"), ["data.windows=null", *SMALL[3:], span]), None, tmp_path / "run")


def test_rows_that_cannot_be_made_say_so(store: Path, tmp_path: Path) -> None:
    few = ["evaluate.seeds=1", "evaluate.modes=[linear]", "variants={}", "evaluate.season_s=360000"]
    text = evaluate(experiment_of(store, *few), None, tmp_path / "run")
    assert "not run: no season within a look-back of 48 steps" in text


def test_what_makes_no_study_is_refused(store: Path, tmp_path: Path) -> None:
    two = (
        f"evaluate.spans=[{{length_s: {24 * HOUR}, horizon_s: 21600}}, {{length_s: {24 * HOUR + 9}, horizon_s: 21600}}]"
    )
    with pytest.raises(UsageError, match="24 to 6 steps"):
        evaluate(experiment_of(store, two), None, tmp_path / "a")
    other = f"evaluate.spans=[{{length_s: {24 * HOUR}, horizon_s: 21600, keys: {{split.name: x}}}}]"
    with pytest.raises(UsageError, match="cannot differ between spans"):
        evaluate(experiment_of(store, other), None, tmp_path / "b")
    with pytest.raises(UsageError, match="one of each"):
        evaluate(experiment_of(store), tmp_path / "from", tmp_path / "c")
    whole = load_experiment(Path("demo"), ["evaluate.task=forecasting"])
    with pytest.raises(UsageError, match="windows with a future"):
        evaluate(whole, None, tmp_path / "d")
    assert not any((tmp_path / name).exists() for name in "abcd")


def test_floors_of_a_fold_are_those_of_its_windows(store: Path) -> None:
    fold = fold_of(experiment_of(store))
    rows = fold.parts["test"]
    x = fold.windows.arrays(rows)
    np.testing.assert_array_equal(predict_floor(fold, LAST), np.repeat(x[..., -1:], 12, axis=-1))
    np.testing.assert_array_equal(predict_floor(fold, SEASON), x[..., 24:36])
    train, held = (blocks_of(fold.windows, fold.parts[part]) for part in ("train", "validation"))
    np.testing.assert_allclose(predict_floor(fold, RIDGE), fit_ridge(train, held, 3)(x), atol=1e-5)
    assert season_of(fold_of(experiment_of(store, "evaluate.season_s=43200"))) == 12
    assert season_of(fold_of(experiment_of(store, length=20))) is None


@pytest.mark.parametrize("normalise", ["none", "instance", "last"])
@pytest.mark.parametrize("size", [1, 32])
def test_a_forecaster_says_what_the_head_was_trained_to_say(store: Path, normalise: str, size: int) -> None:
    from biocl.commands.setup import build_model
    from biocl.evaluation.values import predict_values

    fold = fold_of(experiment_of(store, f"data.normalise={normalise}"))
    model = build_model(fold.experiment, fold.windows)
    fold.pretrained = model.state_dict()
    rows = fold.parts["test"][:40]
    forecaster = forecaster_of(fold, Cell(("48to12",), "all", 0, "joint", PRETRAINED))
    expected = predict_values(model, fold.windows, rows, device=torch.device("cpu"))
    np.testing.assert_allclose(forecaster.predict(rows, size), expected, atol=1e-5)


def test_modes_follow_the_heads_that_act(store: Path) -> None:
    experiment = experiment_of(store, "evaluate.modes=[full, linear]")
    assert modes_of(experiment) == ["joint"]
    assert modes_of(fold_of(experiment, "two-step").experiment) == ["linear", "full"]


def test_choosing_looks_at_validation_alone(store: Path, tmp_path: Path) -> None:
    few = ["evaluate.seeds=1", "evaluate.modes=[full]", "evaluate.part=validation"]
    text = evaluate(experiment_of(store, *few), None, tmp_path / "run")
    rows = read_json(tmp_path / "run" / "results.json")["rows"]
    assert {row["n_windows"] for row in rows} == {FIRST_TESTED - FIRST_HELD - 12 + 1}
    assert "for choosing, not for reporting" in text
    assert "129 validation windows" in text
    assert "MARKED: mode full: the step that is kept was chosen on the patients judged, so scores are high" in text


def test_a_plan_counts_trainings(store: Path) -> None:
    from biocl.commands.plan import make_plan

    spans = f"evaluate.spans=[{{length_s: {24 * HOUR}, horizon_s: 21600}}, {{length_s: {48 * HOUR}, horizon_s: 21600}}]"
    found = make_plan(experiment_of(store, spans), device="cpu")["evaluate"]
    assert (found["judged"], found["trainings"]) == ("forecasting", 2 * 2 * 3)
    assert found["seconds"] > 0
