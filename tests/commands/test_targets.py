"""Heart rates of the embedded cohort as targets: what plan says, and that every criterion trains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from biocl.commands.plan import make_plan
from biocl.commands.pretrain import pretrain
from biocl.commands.setup import epoch_plan, open_cohort
from biocl.config import load_experiment
from biocl.errors import DataError
from biocl.experiment import Experiment
from biocl.sampling.composition import spread

SUPREMIX = "{name: supremix, reach: 8}"


def heart_rates(*criteria: str, **changes: str) -> Experiment:
    """Windows of 10 s of the embedded recordings, and a term of each criterion."""
    lines = [
        f"{{label: t{number}, views: [one, two], relation: near-target, near: 2, criterion: {criterion}}}"
        for number, criterion in enumerate(criteria or [SUPREMIX])
    ]
    keys = {
        "data.windows": "{kind: sliding, length_s: 10, step_s: 5, keep_unlabelled: true}",
        "data.trials": "{kind: recording}",
        "data.target": "{kind: heart-rate}",
        "batch": "{kind: random, size: 64}",
        "views": "{clean: [], one: [{jitter: 0.1}], two: [{jitter: 0.1}]}",
        "encoder": "{name: dilated-cnn, depth: 2, hidden_dim: 8, embed_dim: 8}",
        "train": "{steps: 3, lr: 1e-3, validate_every: 3, log_every: 1}",
        "terms": f"[{', '.join(lines)}]",
        **changes,
    }
    return load_experiment(Path("demo"), [f"{key}={value}" for key, value in keys.items()])


def test_plan_says_what_the_targets_are_and_whom_a_window_meets() -> None:
    experiment = heart_rates(SUPREMIX, "{name: sup-con}", "{name: rnc}", "{name: cwcl}")
    plan = make_plan(experiment)
    cohort = open_cohort(experiment)
    target = cohort.windows.table.target
    assert target is not None
    assert f"mean {target.mean():.4g} (sd {target.std():.4g})" in plan["data"]["target"]
    assert plan["data"]["target"].startswith("heart rate [1/min]: mean")
    assert plan["data"]["target"].endswith(f"unknown 0 of {len(target)}")
    first = epoch_plan(experiment.batch, cohort.windows, cohort.parts()["train"], experiment.seed)(0)[0]
    y, rows = target[first], cohort.windows.table.rows[first]
    met = np.abs(y[:, None] - y) <= 2
    overlap = rows["recording"][:, None] == rows["recording"]
    overlap &= np.abs(rows["start"][:, None] - rows["start"]) < rows["length"]
    positives = (met & ~overlap).sum() / 64
    lines = {line["term"]: line for line in plan["terms"]}
    assert lines["t0"]["positives"] == lines["t1"]["positives"] == pytest.approx(positives)
    assert lines["t1"]["negatives"] == pytest.approx((~met & ~overlap).sum() / 64)
    assert lines["t2"]["graded"] == lines["t3"]["graded"] == pytest.approx((~overlap).sum() / 64)
    below = (y < y[:, None]) & (y > y[:, None] - 8) & ~overlap
    above = (y > y[:, None]) & (y < y[:, None] + 8) & ~overlap
    mixed = np.minimum(below.sum(1) * above.sum(1), 64).mean()
    assert lines["t0"]["mixed positives"] == pytest.approx(mixed)
    assert 0.7 < plan["batch"]["target_spread"] < 1.1
    assert plan["batch"]["target_known"] == 1
    patients = make_plan(heart_rates(batch="{kind: hierarchical, n_patients: 2, n_trials: 1, n_samples: 32}"))
    assert patients["batch"]["target_spread"] < plan["batch"]["target_spread"]


@pytest.mark.parametrize("criterion", [SUPREMIX, "{name: sup-con}", "{name: rnc}", "{name: cwcl, width: 4}"])
def test_every_criterion_trains_and_logs_its_alignment(criterion: str, tmp_path: Path) -> None:
    run = pretrain(heart_rates(criterion), tmp_path / "run")
    again = pretrain(heart_rates(criterion), tmp_path / "again")
    lines, same = (
        [json.loads(line) for line in (one / "metrics.jsonl").read_text().splitlines()] for one in (run, again)
    )
    losses = [line["t0"] for line in lines if "t0" in line]
    assert len(losses) >= 3
    assert np.isfinite(losses).all()
    assert losses == [line["t0"] for line in same if "t0" in line]  # mixtures are drawn from the run's seed
    logged = {key for line in lines for key in line}
    assert {"validation/t0/positive", "validation/t0/negative"} <= logged


def test_the_target_is_part_of_what_a_run_depends_on() -> None:
    plain, other = heart_rates(), heart_rates(**{"data.target": "{kind: elapsed}"})
    assert plain.pretraining_digest != other.pretraining_digest
    assert open_cohort(plain).windows.table.digest() != open_cohort(other).windows.table.digest()


def test_beats_of_short_windows_are_no_heart_rate() -> None:
    with pytest.raises(DataError, match="three beats"):
        open_cohort(heart_rates(**{"data.windows": "{kind: event, events: beat, before_s: 0.3, after_s: 0.5}"}))


def test_spread_of_known_numbers() -> None:
    values = np.array([1.0, 3.0, np.nan, 5.0, 7.0, np.nan])
    batches = [np.array([0, 1, 2]), np.array([3, 4, 5])]
    assert spread(batches, values) == pytest.approx({"target_known": 4 / 6, "target_spread": 1 / np.sqrt(5)})
    assert spread([np.array([2, 5])], values) == {"target_known": 0.0, "target_spread": 0.0}
    assert spread([], values) == {"target_known": 0.0, "target_spread": 0.0}
