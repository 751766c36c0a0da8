"""A study on subsets of the devices: what is read, which encoder is judged, and what tables say."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.commands import arms
from biocl.commands.embed import embed_store
from biocl.commands.evaluate import check_apart, evaluate
from biocl.commands.plan import make_plan
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import build_model, open_cohort
from biocl.commands.study import Fold
from biocl.config import load_experiment
from biocl.datasets.synthetic import synthetic_dataset
from biocl.datasets.synthetic_spec import SyntheticSpec
from biocl.errors import UsageError
from biocl.evaluation.finetuning import load_encoder
from biocl.evaluation.protocol import ALL, Cell, device_subsets
from biocl.experiment import Experiment
from biocl.files import read_json
from biocl.signals.spec import ConditioningSpec
from biocl.store.build import build_store
from biocl.training.checkpoint import load_checkpoint
from biocl.training.data import embed

CPU = torch.device("cpu")
TERMS = [
    {"head": "classification", "views": ["clean"], "network": {"kind": "linear"}},
    {"views": ["clean", "loud"], "relation": "same-sample", "criterion": {"name": "nt-xent"}, "weight": 0.1},
]
SMALL = [
    "split={kind: random, fractions: [0.5, 0.2, 0.3]}",
    "encoder={name: tpn, widths: [4, 4, 6], kernels: [5, 5, 3]}",
    "batch={kind: hierarchical, n_patients: 3, n_trials: 2, n_samples: 2}",
    "views={clean: [], loud: [{jitter: 0.1}]}",
    f"terms={json.dumps(TERMS)}",
    "train={steps: 2, lr: 0.01}",
    "finetune={max_steps: 2, n_blocks: 1, head: {kind: linear}}",
    "evaluate={labels: [all], draws: 1, modes: [linear], bootstrap_draws: 10, probe: {c: 0.01}}",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients with a wrist and an ankle unit."""
    spec = SyntheticSpec(kind="imu", n_patients=10, n_trials=4, n_samples=3)
    path = tmp_path_factory.mktemp("imu") / "store"
    return build_store(synthetic_dataset(spec), None, path, ConditioningSpec()).path


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five patients."""
    spec = SyntheticSpec(kind="imu", n_patients=5, n_trials=6, n_samples=5)
    path = tmp_path_factory.mktemp("five") / "store"
    return build_store(synthetic_dataset(spec), None, path, ConditioningSpec()).path


def experiment_of(store: Path, *more: str) -> Experiment:
    return load_experiment(Path("demo"), [f"data={{store: {store}}}", *SMALL, *more])


def lines_of(run: Path, key: str, devices: list[str]) -> list[dict[str, Any]]:
    """Rows or differences of some devices, without their name."""
    every = read_json(run / "results.json")[key]
    return [
        {name: value for name, value in line.items() if name != "devices"}
        for line in every
        if line["devices"] == devices
    ]


@pytest.fixture(scope="module")
def judged(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of each device and of both, in every mode, with a variant."""
    run = tmp_path_factory.mktemp("judged") / "study"
    variant = 'variants={"CE only": {terms.1.weight: 0}}'
    modes = "evaluate.modes=[joint, linear, partial, full]"
    evaluate(experiment_of(store, "evaluate.devices=[each, all]", modes, variant), None, run)
    return run


def test_each_subset_is_the_study_of_these_devices_alone(judged: Path, store: Path, tmp_path: Path) -> None:
    """Floors, encoders, heads and probes: what stands for the ankle is what a configuration of the ankle gives."""
    variant = 'variants={"CE only": {terms.1.weight: 0}}'
    modes = "evaluate.modes=[joint, linear, partial, full]"
    alone = experiment_of(store, "data.devices=[ankle]", modes, variant)
    text = evaluate(alone, None, tmp_path / "alone")
    assert "devices" not in text
    for key in ("rows", "differences"):
        own = lines_of(judged, key, ["ankle"])
        assert own == lines_of(tmp_path / "alone", key, ["all"])
        others = [lines_of(judged, key, devices) for devices in (["wrist"], ["all"])]
        assert [len(lines) for lines in others] == [len(own)] * 2
        assert own not in others
    rows = lines_of(judged, "rows", ["all"])
    assert {(row["mode"], row["arm"]) for row in rows if row["mode"] != "floor"} == {
        *((mode, arm) for mode in ("joint", "linear", "partial", "full") for arm in ("pretrained", "CE only")),
        *((mode, "untrained") for mode in ("linear", "partial", "full")),
    }


def test_encoders_are_named_by_their_devices(judged: Path, store: Path, tmp_path: Path) -> None:
    kept = read_json(judged / "encoders.json")
    assert [(one["variant"], one["devices"]) for one in kept] == [
        (variant, devices) for variant in ("", "CE only") for devices in (["wrist"], ["ankle"], ["all"])
    ]
    assert len({one["weights"] for one in kept}) == len(kept)
    assert Path(kept[0]["run"]).name == "pretrain-fold0-wrist"
    state = load_checkpoint(judged / "pretrain-fold0-wrist" / "checkpoints", CPU).state
    assert state["n_chans"] == 6
    assert all(name.startswith("wrist") for name in state["channels"])
    # It is the run that its own configuration would be, so it is found again.
    pretrain(experiment_of(store, "data.devices=[wrist]"), tmp_path / "wrist")
    evaluate(experiment_of(store, "evaluate.devices=[[wrist]]"), None, tmp_path / "again")
    found = read_json(tmp_path / "again" / "encoders.json")
    assert [(one["run"], one["weights"]) for one in found] == [(str(tmp_path / "wrist"), kept[0]["weights"])]


def test_tables_and_predictions_name_devices(judged: Path) -> None:
    text = (judged / "tables.md").read_text()
    headings = [line.split(",")[0] for line in text.splitlines() if "test patient" in line]
    assert headings == ["devices wrist", "devices ankle", "devices all"]
    with (judged / "predictions.csv").open() as file:
        lines = list(csv.DictReader(file))
    cells = {(line["devices"], line["mode"], line["arm"]) for line in lines}
    assert {devices for devices, _, _ in cells} == {"wrist", "ankle", "all"}
    assert len(list((judged / "cells").iterdir())) == len(cells)


def test_a_lost_cell_of_a_subset_is_computed_again(judged: Path, store: Path, tmp_path: Path) -> None:
    run = tmp_path / "study"
    shutil.copytree(judged, run)
    before = read_json(run / "results.json")
    [lost] = (run / "cells").glob("*_linear_pretrained_fold0_on_ankle")
    proba = np.load(lost / "proba.npy")
    shutil.rmtree(lost)
    variant = 'variants={"CE only": {terms.1.weight: 0}}'
    modes = "evaluate.modes=[joint, linear, partial, full]"
    evaluate(experiment_of(store, "evaluate.devices=[each, all]", modes, variant), None, run, resume=True)
    np.testing.assert_array_equal(np.load(lost / "proba.npy"), proba)
    assert read_json(run / "results.json") == before


def test_a_named_run_judges_all_devices_and_subsets_get_their_own(store: Path, tmp_path: Path) -> None:
    run = pretrain(experiment_of(store), tmp_path / "pretrained")
    study = tmp_path / "elsewhere" / "study"
    evaluate(experiment_of(store, "evaluate.devices=[[wrist], all]"), run, study)
    assert [one["run"] for one in read_json(study / "encoders.json")] == [str(study / "pretrain-fold0-wrist"), str(run)]
    with pytest.raises(UsageError, match="reads the channels of all devices at once"):
        evaluate(experiment_of(store, "evaluate.devices=each"), run, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_an_encoder_of_each_device_is_trained_once_and_reads_devices_it_was_not_trained_on(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arms, "reads_devices_apart", lambda experiment: True)
    seen: list[Fold] = []
    kinds = evaluate.__globals__["KINDS"]
    kind = kinds["classification"]
    watched = replace(kind, predict=lambda fold, cell: (seen.append(fold), kind.predict(fold, cell))[1])
    monkeypatch.setitem(kinds, "classification", watched)
    # Both units have six channels, so that an ordinary encoder stands in.
    keys = ("data.devices=[wrist]", "data.input_scale=train", "evaluate.devices=[all, [ankle]]")
    experiment = experiment_of(store, *keys, "evaluate.modes=[joint, linear]")
    evaluate(experiment, None, tmp_path / "study")
    [kept] = read_json(tmp_path / "study" / "encoders.json")
    assert kept["run"] == str(tmp_path / "study" / "pretrain-fold0")
    weights = load_checkpoint(Path(kept["run"]) / "checkpoints", CPU).best_weights
    ankle = next(fold for fold in seen if fold.devices == ("ankle",))
    windows = replace(open_cohort(experiment).for_fold(0).windows, devices=("ankle",))
    model = build_model(experiment, windows, terms=[])
    load_encoder(model, weights)
    np.testing.assert_array_equal(
        ankle.features("pretrained")[ankle.used], embed(model, windows, ankle.used, device=CPU)
    )
    # What is trained together with its encoder is trained on these devices.
    alone = experiment_of(store, "data.devices=[ankle]", *keys[1:2], "evaluate.modes=[joint]")
    evaluate(alone, None, tmp_path / "alone")
    joint = [lines_of(tmp_path / run, "rows", devices) for run, devices in (("study", ["ankle"]), ("alone", ["all"]))]
    values = [[row["metrics"] for row in rows if row["mode"] == "joint"] for rows in joint]
    assert len(values[0]) == 1
    assert values[0] == values[1]


def test_variants_on_other_devices(store: Path, tmp_path: Path) -> None:
    variant = "variants={ankle alone: {data.devices: [ankle]}}"
    with pytest.raises(UsageError, match="cannot be judged on a subset"):
        evaluate(experiment_of(store, variant, "evaluate.devices=each"), None, tmp_path / "refused")
    evaluate(experiment_of(store, variant), None, tmp_path / "study")
    evaluate(experiment_of(store, "data.devices=[ankle]"), None, tmp_path / "alone")

    def metrics(run: str, arm: str) -> Any:
        return next(r["metrics"] for r in lines_of(tmp_path / run, "rows", ["all"]) if (r["mode"], r["arm"]) == arm)

    assert metrics("study", ("linear", "ankle alone")) == metrics("alone", ("linear", "pretrained"))


def test_embeddings_of_a_run_on_some_devices(store: Path, tmp_path: Path) -> None:
    run = pretrain(experiment_of(store, "data.devices=[wrist]"), tmp_path / "run")
    said = embed_store(run, store, tmp_path / "e.npz")
    assert "120 windows, 6 features" in said


def test_unknown_devices_are_refused_before_anything_is_written(store: Path, tmp_path: Path) -> None:
    for keys in ("data.devices=[wrist, hip]", "evaluate.devices=[[hip]]", "variants={v: {data.devices: [hip]}}"):
        with pytest.raises(UsageError, match="no device 'hip'") as refusal:
            evaluate(experiment_of(store, keys), None, tmp_path / "study")
        assert "wrist, ankle" in refusal.value.paragraph()
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("given", ["singles", "[wrist]", "[[]]", "[]", "[[wrist], hip]"])
def test_devices_are_lists_or_known_words(store: Path, given: str) -> None:
    with pytest.raises(UsageError, match=r"evaluate\.devices"):
        experiment_of(store, f"evaluate.devices={given}")


def test_subsets_of_devices() -> None:
    there = ("u1", "u2", "u3")
    assert device_subsets(["all"], there) == [ALL]
    assert device_subsets(["each"], there) == [("u1",), ("u2",), ("u3",)]
    assert device_subsets(["pairs"], there) == [("u1", "u2"), ("u1", "u3"), ("u2", "u3")]
    assert device_subsets([["u3", "u1", "u3"], ["u1", "u3"], ["u2"], "each"], there) == [
        *(("u1", "u3"), ("u2",)),
        *(("u1",), ("u3",)),
    ]
    assert device_subsets([["u3", "u2", "u1"], ["other"]], there) == [ALL, ("other",)]
    assert device_subsets(["each", "pairs", "all"], ("u1",)) == [ALL]


def test_files_of_cells_are_apart() -> None:
    subsets = [ALL, ("a",), ("b",), ("a", "b"), ("a-b",), ("a b",), ("a_b",), ("on", "a")]
    names = [Cell(("N", "V"), "all", 0, "linear", "pretrained", 0, devices).file for devices in subsets]
    assert len(set(names)) == len(names)
    assert names[0] == "N-V_all_draw0_linear_pretrained_fold0"
    assert names[1] == "N-V_all_draw0_linear_pretrained_fold0_on_a"


def test_variants_whose_files_would_be_one_are_refused() -> None:
    planned = [Cell(("N", "V"), "all", 0, "linear", arm) for arm in ("a b", "a-b", "c")]
    with pytest.raises(UsageError, match="'a b' and 'a-b' are one name in a file"):
        check_apart(planned)
    check_apart(planned[1:])


def test_the_plan_counts_the_encoders_of_subsets(store: Path) -> None:
    plain = make_plan(experiment_of(store))["evaluate"]
    planned = make_plan(experiment_of(store, "evaluate.devices=[each, all]"))["evaluate"]
    assert plain["pretraining_s"] == 0
    assert planned["pretraining_s"] > 0
    assert planned["cells"] == 3 * plain["cells"]


def test_five_patients_are_shown_one_by_one(five: Path, tmp_path: Path) -> None:
    """Leave-one-out with the labels of one patient, a share of the windows and all of them, for either device."""
    labels = "evaluate.labels=[1 patients, 1% windows, 100% windows, all]"
    experiment = experiment_of(five, "split={kind: leave-one-out}", labels, "evaluate.devices=each")
    text = evaluate(experiment, None, tmp_path / "study")
    results = read_json(tmp_path / "study" / "results.json")
    sizes = ["1 patient", "1% windows", "100% windows", "all"]
    names = sorted(open_cohort(experiment).windows.table.names["patient"])
    for row in results["rows"]:
        assert sorted(row["patients"]) == names
        assert row["median"] == np.median(list(row["patients"].values()))
        assert row["per_patient"]["value"] == pytest.approx(np.mean(list(row["patients"].values())))
        assert row["per_patient"]["low"] is None
    for devices in (["wrist"], ["ankle"]):
        own = [row for row in results["rows"] if row["devices"] == devices]
        assert [row["labels"] for row in own if row["arm"] == "pretrained"] == sizes
        # All windows are the same labels by another name.
        whole = [
            [{**row, "labels": "", "n_draws": 1} for row in own if row["labels"] == size]
            for size in ("100% windows", "all")
        ]
        assert whole[0] == whole[1]
    first = {(row["labels"], row["title"]): row for row in results["rows"] if row["devices"] == ["wrist"]}
    pair = next(pair for pair in results["differences"] if pair["second"] == "untrained (linear)")
    mine, other = (first[pair["labels"], title]["patients"] for title in ("pretrained", "untrained"))
    assert pair["patients"] == {name: mine[name] - other[name] for name in names}
    assert pair["per_patient"]["test"] == "exact sign-flip"
    assert round(pair["per_patient"]["p"] * 32) == pytest.approx(pair["per_patient"]["p"] * 32)
    assert pair["devices"] == ["wrist"]
    line = next(line for line in text.splitlines() if "| pretrained" in line)
    assert all(f"{name} ." in line or f"{name} 1." in line for name in names)
    # One labelled patient is one.
    drawn = [draw for draw in results["draws"] if draw["labels"] == "1 patient"]
    assert all(len(draw["patients"]) == 1 for draw in drawn)
    assert len(drawn) == 5
