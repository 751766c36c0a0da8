"""Weights that change in the course of training, and heads whose scales are part of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from biocl.encoders.spec import DilatedCNNSpec
from biocl.objectives.batch import Batch
from biocl.objectives.model import Model
from biocl.objectives.spec import Term
from biocl.objectives.terms import acting, needed_views
from biocl.objectives.weight_spec import Ramp, weight_at, weight_in_words
from biocl.training.checkpoint import digests_of, load_checkpoint
from biocl.training.loop import Metrics, Task, fit
from biocl.training.spec import TrainSpec
from biocl.views.spec import MaskStep

CPU = torch.device("cpu")
N, T, H = 24, 16, 3
SPEC = DilatedCNNSpec(depth=1, hidden_dim=8, embed_dim=6, dropout=0.1)
CONTRAST = {
    "views": ["clean", "clean"],
    "redraw_dropout": True,
    "relation": "same-trial",
    "criterion": {"name": "sup-con"},
}
VIEWS = {"clean": [], "masked": [MaskStep(mask="continuous", at="input", share=0.2)]}


def terms(*plain: Any) -> list[Term]:
    return TypeAdapter(list[Term]).validate_python(list(plain))


def data(rows: np.ndarray) -> Batch:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((N, 2, T + H)).astype(np.float32)[rows]
    target = (50 + 10 * draw.standard_normal(N)).astype(np.float32)[rows]
    ids = torch.from_numpy(np.asarray(rows).astype(np.int64))
    known, future = torch.from_numpy(x[:, :, :T].copy()), torch.from_numpy(x[:, :, T:].copy())
    return Batch(
        known, ids // 4, ids // 4, ids // 2, ids * T, torch.full_like(ids, T), ids % 2,
        future=future, target=torch.from_numpy(target),
    )  # fmt: skip


def plan(epoch: int) -> list[np.ndarray]:
    order = np.random.default_rng(epoch).permutation(N)
    return [order[:12], order[12:]]


def run(of: list[Term], steps: int = 8, **more: Any) -> tuple[list[Metrics], Model]:
    torch.manual_seed(0)
    net = Model(SPEC, n_chans=2, n_times=T, terms=of, n_outputs=2, horizon=H)
    net.fit_heads(target=data(np.arange(N)).target)
    log: list[Metrics] = []
    spec = TrainSpec(steps=steps, log_every=1, lr=1e-2, checkpoint_every=5)
    fit(net, Task(of, VIEWS, plan, data), spec, seed=3, device=CPU, on_log=lambda step, v: log.append(v), **more)
    return log, net


def test_the_line_of_a_weight() -> None:
    ramp = Ramp.model_validate({"from": 1.0, "to": 0.2, "over": 0.5})
    assert [weight_at(ramp, done) for done in (0.0, 0.25, 0.5, 0.9, 1.0)] == pytest.approx([1.0, 0.6, 0.2, 0.2, 0.2])
    assert weight_at(0.3, 0.9) == 0.3
    assert (weight_in_words(ramp), weight_in_words(0.3)) == ("1 to 0.2 over 50%", 0.3)
    assert ramp.model_dump(mode="json") == {"from": 1.0, "to": 0.2, "over": 0.5}


def test_the_weight_of_a_step_acts_and_is_logged() -> None:
    of = terms(CONTRAST | {"weight": {"from": 1.0, "to": 0.0, "over": 0.5}}, {"head": "forecasting", "weight": 0.5})
    log, _ = run(of)
    assert [line["same-trial/weight"] for line in log] == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0, 0, 0])
    assert all("forecasting/weight" not in line for line in log)
    for line in log:
        wanted = line["same-trial/weight"] * line["same-trial"] + 0.5 * line["forecasting"]
        assert line["loss"] == pytest.approx(wanted, rel=1e-5)


def test_a_weight_that_is_0_for_a_while_keeps_the_term() -> None:
    of = terms({"head": "forecasting", "weight": {"from": 0.0, "to": 1.0}})
    assert acting(of) == of
    log, _ = run(of, 4)
    assert [line["forecasting/weight"] for line in log] == [0, 0.25, 0.5, 0.75]
    masked = terms({"head": "reconstruction", "views": ["masked"], "weight": 0}, {"head": "forecasting"})
    assert needed_views(masked) == ["clean"]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({"from": 0, "to": 0}, "is written 0"),
        ({"from": 1, "to": 0, "over": 0}, "greater than 0"),
        ({"from": -1, "to": 0}, "greater than or equal to 0"),
        ({"from": 1}, "Field required"),
        (-0.1, "greater than or equal to 0"),
        ("much", "valid number"),
    ],
)
def test_a_weight_that_makes_no_sense_is_refused(weight: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        terms({"head": "forecasting", "weight": weight})


def test_all_heads_are_resumed_bit_by_bit(tmp_path: Path) -> None:
    """Scales of targets, forecasts, masks and changing weights: what was cut short goes on as if it had not been."""
    of = terms(
        CONTRAST | {"weight": {"from": 1.0, "to": 0.0}},
        {"head": "forecasting", "network": {"kind": "mlp"}},
        {"head": "regression"},
        {"head": "reconstruction", "views": ["masked"]},
        {"head": "classification", "network": {"kind": "mlp"}},
    )
    whole, net = run(of, 12, checkpoints=tmp_path / "whole")

    class Killed(Exception):
        pass

    def die(step: int) -> None:
        if step == 7:
            raise Killed

    with pytest.raises(Killed):
        run(of, 12, checkpoints=tmp_path / "cut", on_step=die)
    checkpoint = load_checkpoint(tmp_path / "cut")
    assert checkpoint.state["step"] == 5
    assert float(checkpoint.weights["heads.regression.target_std"]) > 5
    rest, resumed = run(of, 12, checkpoints=tmp_path / "cut", resume=checkpoint)
    assert rest == whole[5:]
    assert digests_of(net.state_dict()) == digests_of(resumed.state_dict())
    ends = [load_checkpoint(tmp_path / name).best_weights for name in ("whole", "cut")]
    assert digests_of(ends[0]) == digests_of(ends[1])


def test_digests_tell_the_parts_apart() -> None:
    torch.manual_seed(0)
    weights = Model(SPEC, n_chans=2, n_times=T, terms=terms({"head": "forecasting"}), horizon=H).state_dict()
    known = digests_of(weights)
    assert known.keys() == {"encoder", "heads"}
    assert digests_of(dict(reversed(weights.items()))) == known
    changed = dict(weights) | {"heads.forecasting.network.bias": weights["heads.forecasting.network.bias"] + 1}
    assert digests_of(changed)["encoder"] == known["encoder"]
    assert digests_of(changed)["heads"] != known["heads"]
