"""The estimators keep scikit-learn's contract, know patients apart, and look at nobody they transform."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import biocl
from biocl import BiosignalClassifier, BiosignalEncoder
from biocl.config import load_experiment, shipped_configs
from biocl.errors import BioclError, UsageError
from biocl.signals.recording import Channel
from biocl.training.checkpoint import load_checkpoint

TINY = {
    "encoder.depth": 1,
    "encoder.hidden_dim": 8,
    "encoder.embed_dim": 16,
    "projectors.hierarchy.hidden_dim": 8,
    "projectors.hierarchy.out_dim": 8,
    "finetune.max_steps": 4,
}
SMALL: dict[str, Any] = {"overrides": TINY, "steps": 3, "random_state": 0, "device": "cpu"}
# Read once, without choosing C: scikit-learn's checks fit a hundred times.
QUICK: dict[str, Any] = {
    "config": load_experiment("comet", {**TINY, "evaluate.probe": {"c": 0.1}, "data": {"dataset": "arrays"}}),
    **{"steps": 1, "device": "cpu"},
}
ROUNDING = "float32: sums over a batch of another size round differently, by less than 1e-5 of a probability"


@pytest.fixture(scope="module")
def cohort() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four patients with 18 windows each of two channels, in two classes that a sine tells apart; levels differ."""
    rng = np.random.default_rng(0)
    groups = np.repeat(["dora", "anna", "carl", "ben"], 18)
    y = np.tile(["rest", "move"], 36)
    wave = np.sin(2 * np.pi * np.where(y == "rest", 1, 3)[:, None] * np.arange(32) / 32)
    x = 0.3 * rng.standard_normal((72, 2, 32)) + wave[:, None] + 0.2 * np.repeat(np.arange(4), 18)[:, None, None]
    return x, y, groups


@pytest.mark.parametrize(
    "estimator", [BiosignalEncoder(**QUICK), BiosignalClassifier(**QUICK)], ids=["encoder", "classifier"]
)
def test_scikit_learn_checks(estimator: Any) -> None:
    expected = {"check_methods_subset_invariance": ROUNDING}
    assert len(expected) <= 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(estimator, expected_failed_checks=expected, on_skip=None)
    assert len(found) > 40
    assert {one["check_name"] for one in found if one["status"] not in ("passed", "xfail")} == set()
    assert {one["check_name"] for one in found if one["status"] == "xfail"} <= set(expected)


def test_a_row_depends_on_its_own_window_alone(cohort: tuple[np.ndarray, ...]) -> None:
    x, y, groups = cohort
    for make in (BiosignalEncoder, BiosignalClassifier):
        fitted = make(**SMALL).fit(x, y, groups=groups)
        look = fitted.transform if make is BiosignalEncoder else fitted.predict_proba
        whole = look(x)
        for rows in (slice(0, 1), slice(5, 60), np.arange(72)[::-1]):
            np.testing.assert_allclose(look(x[rows]), whole[rows], atol=1e-5)


def test_transform_never_changes_what_was_fitted(cohort: tuple[np.ndarray, ...]) -> None:
    x, _, groups = cohort
    encoder = BiosignalEncoder(**SMALL).fit(x[:54], groups=groups[:54])
    before, seen = pickle.dumps(encoder), encoder.transform(x[:54])
    encoder.transform(1000 * x[54:] + 7)
    assert pickle.dumps(encoder) == before
    np.testing.assert_array_equal(encoder.transform(x[:54]), seen)
    # The scaler is that of the windows of fit.
    np.testing.assert_allclose(encoder.checkpoint_.fitted.mean, x[:54].mean(axis=(0, 2)), atol=1e-5)
    np.testing.assert_allclose(encoder.checkpoint_.fitted.std, x[:54].std(axis=(0, 2)), atol=1e-5)


@pytest.mark.parametrize("seed", [0, np.random.RandomState(1)], ids=["int", "RandomState"])
def test_equal_seeds_give_equal_encoders(cohort: tuple[np.ndarray, ...], seed: Any) -> None:
    x, _, groups = cohort
    encoder = BiosignalEncoder(**{**SMALL, "random_state": seed})
    one, two = (clone(encoder).fit(x, groups=groups).transform(x) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    other = clone(encoder).set_params(random_state=9).fit(x, groups=groups).transform(x)
    assert not np.allclose(one, other)


def test_the_method_is_that_of_a_run(cohort: tuple[np.ndarray, ...], tmp_path: Path) -> None:
    """Fit is `pretrain` on a store of the same windows, with a split in which all train."""
    from biocl.datasets.arrays import array_dataset
    from biocl.store.build import build_store

    x, _, groups = cohort
    build_store(array_dataset(x, [""] * 72, groups, sfreq=1.0), None, tmp_path / "store")
    names = sorted(set(groups.tolist()))
    fold = {"train": names, "validation": [], "test": []}
    (tmp_path / "split.json").write_text(json.dumps({"format": 1, "name": "all", "scope": "patient", "folds": [fold]}))
    keys = {
        **TINY,
        "train.steps": 3,
        "data": {"store": tmp_path / "store", "input_scale": "train"},
        "split": {"file": tmp_path / "split.json"},
    }
    run = biocl.pretrain("comet", keys, out=tmp_path / "run", device="cpu", seed=0)
    encoder = BiosignalEncoder(**SMALL).fit(x, groups=groups)
    saved = load_checkpoint(run.path / "checkpoints")
    assert saved.average.keys() == encoder.checkpoint_.average.keys()
    for name, value in saved.average.items():
        assert bool((value == encoder.checkpoint_.average[name]).all()), name
    np.testing.assert_array_equal(run.embed(x, patients=groups).vectors, encoder.transform(x))


def test_groups_are_the_patients(cohort: tuple[np.ndarray, ...]) -> None:
    x, _, groups = cohort
    with_groups = BiosignalEncoder(**SMALL).fit(x, groups=groups)
    without = BiosignalEncoder(**SMALL).fit(x)
    assert len(with_groups.checkpoint_.state["patients"]) == 4
    assert len(without.checkpoint_.state["patients"]) == 72
    assert with_groups.experiment_.batch.kind == "hierarchical"
    assert without.experiment_.batch.kind == "random"
    assert not np.allclose(with_groups.transform(x), without.transform(x))
    # That a patient's windows do not stand in a row changes nothing.
    mixed = np.argsort(np.arange(72) % 18, kind="stable")
    again = BiosignalEncoder(**SMALL).fit(x[mixed], groups=groups[mixed])
    np.testing.assert_array_equal(again.transform(x), with_groups.transform(x))


@pytest.mark.parametrize("n_windows", [2, 127, 129, 1000])
def test_no_window_is_alone_in_its_batch(n_windows: int) -> None:
    from biocl.commands.array_runs import fitting_batch

    spec = fitting_batch(load_experiment("comet").batch, n_windows, False)
    assert 1 < spec.size <= 128
    assert n_windows % spec.size != 1


def moabb_style(**more: Any) -> Any:
    """Windows to embeddings to a classifier, as benchmarks of many pipelines have it."""
    return make_pipeline(
        BiosignalEncoder(**{**SMALL, "steps": 8, "input_scale": "window"}, **more),
        StandardScaler(),
        LogisticRegression(),
    )


def test_leave_one_patient_out_without_routing(cohort: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, groups = cohort
    seen: list[set[str]] = []
    fit = BiosignalEncoder.fit

    def watched(self: BiosignalEncoder, X: Any, y: Any = None, groups: Any = None) -> BiosignalEncoder:
        seen.append(set(groups))
        assert len(X) == len(groups) == 54
        return fit(self, X, y, groups=groups)

    monkeypatch.setattr(BiosignalEncoder, "fit", watched)
    keys = {"cv": LeaveOneGroupOut(), "groups": groups, "params": {"biosignalencoder__groups": groups}}
    scores = cross_val_score(moabb_style(), x, y, **keys)
    assert scores.mean() > 0.7
    everyone = set(groups)
    assert [everyone - one for one in seen] == [{name} for name in sorted(everyone)]


def test_leave_one_patient_out_with_routing(cohort: tuple[np.ndarray, ...]) -> None:
    x, y, groups = cohort
    first, last = groups == "dora", groups != "dora"
    alone = moabb_style().fit(x[last], y[last], biosignalencoder__groups=groups[last]).score(x[first], y[first])
    with sklearn.config_context(enable_metadata_routing=True):
        routed = cross_val_score(moabb_style(), x, y, cv=LeaveOneGroupOut(), params={"groups": groups})
        scores = cross_val_score(
            BiosignalClassifier(**SMALL), x, y, cv=LeaveOneGroupOut(), params={"groups": groups}, error_score="raise"
        )
    assert routed.shape == scores.shape == (4,)
    assert routed[3] == alone  # the splitter sorts: anna, ben, carl, dora


def test_parameters_are_searched(cohort: tuple[np.ndarray, ...]) -> None:
    x, y, groups = cohort
    grid = {"biosignalencoder__input_scale": ["window", "train"], "biosignalencoder__steps": [1]}
    found = GridSearchCV(moabb_style(), grid, cv=2).fit(x, y, biosignalencoder__groups=groups)
    assert found.best_params_["biosignalencoder__input_scale"] in grid["biosignalencoder__input_scale"]


def test_output_may_be_a_table(cohort: tuple[np.ndarray, ...]) -> None:
    x, _, groups = cohort
    table = BiosignalEncoder(**SMALL).set_output(transform="pandas").fit(x, groups=groups).transform(x)
    assert list(table.columns[:2]) == ["biosignalencoder0", "biosignalencoder1"]
    assert table.shape == (72, 16)


@pytest.mark.parametrize("mode", ["linear", "partial", "full"])
def test_the_classifier_learns_and_survives_pickling(cohort: tuple[np.ndarray, ...], mode: str) -> None:
    x, y, groups = cohort
    tuning = {**TINY, "finetune.max_steps": 40, "finetune.lr": 1e-2, "encoder.depth": 3, "encoder.hidden_dim": 16}
    classifier = BiosignalClassifier(**{**SMALL, "overrides": tuning, "input_scale": "window"}, mode=mode)
    classifier.fit(x[:54], y[:54], groups=groups[:54])
    assert classifier.classes_.tolist() == ["move", "rest"]
    proba = classifier.predict_proba(x[54:])
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert classifier.score(x[54:], y[54:]) > 0.8
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(x[54:]), proba)
    same = clone(classifier).fit(x[:54], y[:54], groups=groups[:54])
    np.testing.assert_array_equal(same.predict_proba(x[54:]), proba)


def test_labels_may_be_numbers_and_may_look_alike(cohort: tuple[np.ndarray, ...]) -> None:
    x, _, groups = cohort
    y = np.tile([2.0, -1.0, 0.0], 24)
    assert BiosignalClassifier(**SMALL).fit(x, y, groups=groups).classes_.tolist() == [-1.0, 0.0, 2.0]
    alike = np.tile(np.array(["1", "1 "], dtype=object), 36)
    assert set(BiosignalClassifier(**SMALL).fit(x, alike, groups=groups).predict(x)) <= {"1", "1 "}
    empty = np.tile(np.array(["", "x"], dtype=object), 36)
    assert set(BiosignalClassifier(**SMALL).fit(x, empty, groups=groups).predict(x)) <= {"", "x"}


def test_one_channel_may_have_two_axes(cohort: tuple[np.ndarray, ...]) -> None:
    x, _, groups = cohort
    one = BiosignalEncoder(**SMALL).fit(x[:, 0], groups=groups)
    np.testing.assert_array_equal(one.transform(x[:, 0]), one.transform(x[:, :1]))
    assert (one.n_chans_, one.n_times_, one.n_features_in_) == (1, 32, 32)


def test_a_method_that_knows_electrodes_and_labels(cohort: tuple[np.ndarray, ...]) -> None:
    """MVCNet on arrays: two branches, reflected electrodes, and a head that is trained on labels."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((24, 4, 256)), np.tile(["left", "right"], 12)
    keys = {"sfreq": 128.0, "modality": "eeg", "channels": ["C3", "C4", "P3", "P4"], "steps": 1, "device": "cpu"}
    classifier = BiosignalClassifier("mvcnet", random_state=0, **keys).fit(x, y)
    assert [channel.kind for channel in classifier.channels_] == ["eeg"] * 4
    assert classifier.predict_proba(x).shape == (24, 2)
    with pytest.raises(UsageError, match="trained on labels"):
        BiosignalEncoder("mvcnet", random_state=0, **keys).fit(x)


BAD: list[tuple[str, Any, dict[str, Any], str]] = [
    (
        "nan",
        lambda x: np.where(np.arange(32) == 4, np.nan, x),
        {},
        r"X holds NaN in 72 of 72 windows, first at \[0, 0, 4\]",
    ),
    ("inf", lambda x: x * 1e39, {}, "X holds inf"),
    (
        "four axes",
        lambda x: x[..., None],
        {},
        r"X has shape \(72, 2, 32, 1\)\. Where: X\. Give \(n_windows, n_chans, n_times\)",
    ),
    ("one sample", lambda x: x[..., :1], {}, "Windows of one sample"),
    ("channels", lambda x: x, {"channels": ["C3"]}, "1 channels are named, and X has 2"),
    ("input scale", lambda x: x, {"input_scale": "recording"}, "cannot scale by 'recording'"),
    ("sfreq", lambda x: x, {"sfreq": -1.0}, "sampling rate is -1"),
    ("a key", lambda x: x, {"overrides": {"encoder.dept": 1}}, r"encoder\.dept is not a known key, did you mean depth"),
    ("a name", lambda x: x, {"config": "comett"}, "Did you mean comet"),
    (
        "alignment",
        lambda x: x,
        {"overrides": {"data.align": {"kind": "euclidean", "mode": "online"}}},
        "stands for itself",
    ),
]


@pytest.mark.parametrize(("change", "keys", "said"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_bad_input_is_one_paragraph(
    cohort: tuple[np.ndarray, ...], change: Any, keys: dict[str, Any], said: str
) -> None:
    x, _, groups = cohort
    with np.errstate(over="ignore"), pytest.raises(BioclError, match=said) as raised:
        BiosignalEncoder(**{**SMALL, **keys}).fit(change(x), groups=groups)
    assert "\n" not in str(raised.value)


def test_windows_of_another_shape_are_refused(cohort: tuple[np.ndarray, ...]) -> None:
    x, y, groups = cohort
    with pytest.raises(NotFittedError):
        BiosignalEncoder(**SMALL).transform(x)
    fitted = BiosignalEncoder(**SMALL).fit(x, groups=groups)
    for other in (x[:, :1], x[..., :-1], x[:, 0]):
        with pytest.raises(ValueError, match=r"fitted on windows of 2 channels and 32 samples\. Where: X\."):
            fitted.transform(other)
    with pytest.raises(ValueError, match="holds NaN"):
        fitted.transform(np.full_like(x, np.nan))
    with pytest.raises(ValueError, match=r"groups has shape \(71,\)"):
        BiosignalEncoder(**SMALL).fit(x, groups=groups[1:])
    with pytest.raises(ValueError, match="y has 71 labels"):
        BiosignalClassifier(**SMALL).fit(x, y[1:])
    with pytest.raises(ValueError, match="no mode 'probe'"):
        BiosignalClassifier(**SMALL, mode="probe").fit(x, y)


def test_channels_may_be_told_in_full(cohort: tuple[np.ndarray, ...]) -> None:
    x, _, groups = cohort
    told = [Channel("x", "acc", "m/s2", "wrist"), Channel("y", "acc", "m/s2", "wrist")]
    fitted = BiosignalEncoder(**{**SMALL, "input_scale": "kind"}, channels=told).fit(
        x * np.array([[1.0], [9.0]]), groups=groups
    )
    assert fitted.channels_ == tuple(told)
    assert fitted.checkpoint_.fitted.std[0] == fitted.checkpoint_.fitted.std[1]


def test_an_alignment_is_that_of_the_training_windows(cohort: tuple[np.ndarray, ...]) -> None:
    x, _, groups = cohort
    keys = {**SMALL, "overrides": {**TINY, "data.align": {"kind": "euclidean"}}}
    fitted = BiosignalEncoder(**keys).fit(x, groups=groups)
    assert fitted.checkpoint_.fitted.overall is not None
    np.testing.assert_allclose(fitted.transform(x[:3]), fitted.transform(x)[:3], atol=1e-4)


def test_what_a_configuration_says_of_its_data_does_not_count() -> None:
    from biocl.commands.array_runs import method_of

    for name in shipped_configs():
        experiment = load_experiment(name)
        method = method_of(name, {"data.align": None}, input_scale="window", steps=7, seed=1)
        assert method["train"]["steps"] == 7
        assert method["data"].keys() == {"input_scale", "align", "normalise"}
        assert method.get("terms") == experiment.model_dump(mode="json", exclude_unset=True)["terms"]
